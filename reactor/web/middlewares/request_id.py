"""An id for each request, by which its lines in all logs, and its answer, are found again.

It is 64 bits by chance: enough that no two of a log are the same, and no secret. An id that comes
with a request is taken over only where whoever sends it is trusted to (a proxy that sets the field,
whatever its client has sent), and only if it can do no harm in a log or a page.
"""

import os
import re
from typing import Final

from reactor.messages.response import Response
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware
from reactor.web.middlewares.fields import has_field

ID_BYTES: Final = 8
LONGEST_ID: Final = 128

_SAFE: Final = re.compile(rf"[A-Za-z0-9_.:+/=@~-]{{1,{LONGEST_ID}}}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class RequestId(Middleware):
    """Leaves an id in `request.state["request_id"]`, for the logs, and in a field of the answer.

    An answer that has the field already keeps it.
    """

    def __init__(self, header: str = "X-Request-Id", *, trust: bool = False) -> None:
        """`trust`: take over the id that a request has, if it is one.

        It may have 128 characters at most, letters, digits and `_.:+/=@~-`; instead of any other a
        new one is made. Raises ValueError for what is no name of a field.
        """
        if not _TOKEN.fullmatch(header):
            raise ValueError(f"no name of a field: {header!r}")
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
