"""The nouns of HTTP: what a handler gets and what it returns.

Read request.py first, then headers.py, body.py and response.py. A Request is made by the parser and
completed by the connection; a Response is made by the handler and framed by the connection.
"""
