"""Every answer below it in the best coding that its client accepts; see
reactor/web/compression/responses.py.

A long body is compressed on a thread, so the answer may have to be awaited: the middlewares above
this one are not plain ones. Whatever sends secrets beside what an attacker may choose, in one
answer, should not be compressed: its length tells of the secret (BREACH).
"""

from reactor.messages.response import Response
from reactor.web.app.requests import Request
from reactor.web.compression.encoders import LEAST_BYTES
from reactor.web.compression.responses import compress
from reactor.web.endpoint import Middleware, ResponseOrAwaitable, may_wait


class Compression(Middleware):
    """Codes bodies and streams; files and what is coded already are left as they are."""

    def __init__(self, least: int = LEAST_BYTES) -> None:
        """`least`: bodies of fewer bytes are not worth it. Raises ValueError for less than 0."""
        if least < 0:
            raise ValueError(f"a body has no fewer than 0 bytes: least={least}")
        self._least = least

    @may_wait
    def after(self, request: Request, response: Response) -> ResponseOrAwaitable:
        return compress(request, response, least=self._least)
