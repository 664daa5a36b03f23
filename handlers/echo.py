"""GET /echo/{text}: the text, in the content coding that the client accepts, however short it is.

A pattern with `:path` matches slashes, too. The header fields are the same in each response, so
they are declared once, in a PreparedResponse.
"""

from collections.abc import Awaitable
from typing import Final

from reactor import PreparedResponse, Request, Response, may_wait

PLAIN: Final = PreparedResponse(
    [("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff")]
)


@may_wait  # a long text is compressed on a thread
def echo(request: Request) -> Response | Awaitable[Response]:
    """The rest of the path, percent-decoded."""
    return PLAIN.encoded(request, request.params["text"].encode())
