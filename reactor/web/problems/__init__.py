"""Responses to errors: a page, problem details or a sentence, as the client prefers.

Read responses.py first, then page.py. Every error response of the site, of an application and of
the server itself is made here, unless an error handler makes it. The package knows the request's
path and fields; it knows neither routes nor files.
"""
