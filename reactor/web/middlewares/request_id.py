"""An id for each request, which its log lines, log records and response share.

It has 64 random bits: enough that no two requests of a log have the same, and no secret. The id of
a request's own field is used only if the sender is trusted (a proxy that overwrites the field of
its clients), and only if it can do no harm in a log or a page.
"""

import os
import re
from typing import Final

from reactor.messages.response import Response
from reactor.protocol.grammar import is_token
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware
from reactor.web.middlewares.fields import has_field

ID_BYTES: Final = 8
LONGEST_ID: Final = 128

_SAFE: Final = re.compile(rf"[A-Za-z0-9_.:+/=@~-]{{1,{LONGEST_ID}}}")


class RequestId(Middleware):
    """Sets an id in `request.state["request_id"]`, `request.id` and a field of the response.

        app = Application(RequestId())

    The access log and the 500 of a failure contain it. A response that has the field keeps it.
    """

    def __init__(self, header: str = "X-Request-Id", *, trust: bool = False) -> None:
        """`header` is the name of the field. With `trust` the id of a request's own field is used.

        It may have up to 128 letters, digits and `_.:+/=@~-`; any other is replaced by a new id.
        Raises ValueError for a malformed field name.
        """
        if not is_token(header):
            raise ValueError(f"header must be a token (RFC 9110, section 5.6.2), not {header!r}")
        self._header = header
        self._folded = header.lower()
        self._trust = trust

    def before(self, request: Request) -> None:
        given = request.headers.get(self._header) if self._trust else ""
        known = given if _SAFE.fullmatch(given) else os.urandom(ID_BYTES).hex()
        request.state["request_id"] = request.id = known

    def after(self, request: Request, response: Response) -> Response:
        if has_field(response, self._folded):
            return response
        return response.with_headers((self._header, request.state["request_id"]))
