"""Applications: routes, middlewares, requests and responses.

Read application.py first, then group.py, router.py and converters.py (paths), chain.py (middlewares
composed into one callable), adapters.py (functions to endpoints), requests.py, request_data.py,
responses.py, cookies.py, file_response.py, and for what goes wrong not_found.py, error_handlers.py
and debug_page.py.
"""
