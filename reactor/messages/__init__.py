"""The nouns of HTTP: the request that a handler gets and the response that it returns.

Read request.py first, then headers.py, body.py and response.py; kinds.py makes values of texts. A
Request is made by the parser and
completed by the connection; a Response is made by the handler and framed by the connection.
"""
