"""The application layer: it knows URLs, and no socket.

endpoint.py and streams.py are shared by its packages; limits.py has the limits of all of them in
one object. The packages are, from the lowest up: semantics (RFC 9110 as pure functions),
compression, storage (paths, locks, errors of the disk), operations (health and metrics), realtime
(server-sent events), static (files that are read), uploads (files that are written), app (routes,
requests and responses), middlewares, and site (the handler of the command line). Applications
import the names that `reactor` exports.
"""
