"""Applications: routes, middlewares, requests and responses.

An Application is a handler, and knows no socket and no protocol. Read application.py first, then
group.py, router.py and converters.py (paths), composition.py (routes composed into a router),
chain.py (middlewares composed into one callable), adapters.py (functions to endpoints), requests.py
and request_data.py, responses.py, json_encoder.py, cookies.py and file_response.py, lifecycle.py
(functions at the start and end, and periodic ones), and for errors not_found.py, error_handlers.py
and debug_page.py, wrong_results.py (results that are no responses) and functions.py (how functions
are named and called).
"""
