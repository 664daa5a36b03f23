"""The application layer: what knows URLs, and knows no socket.

endpoint.py and streams.py are shared by its packages. From the lowest up: semantics (RFC 9110 as
pure functions), compression, storage (paths, locks, errors of the disk), operations (health and
metrics), realtime (server-sent events), static (files to be read), uploads (files to be written),
app (routes, requests and responses for applications), middlewares, and site (what the command line
serves). An application is written with the names that `reactor` exports.
"""
