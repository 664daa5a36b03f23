"""Compression of every response below it; see compression/responses.py.

A long body is compressed on a pool thread, so the response may have to be awaited: no plain
middleware may stand above this one. A response with a secret beside text that an attacker may
choose should not be compressed, since its length reveals the secret (BREACH).
"""

from reactor.messages.response import Response
from reactor.web.app.requests import Request
from reactor.web.compression.encoders import LEAST_BYTES
from reactor.web.compression.responses import compress
from reactor.web.endpoint import Middleware, ResponseOrAwaitable, may_wait


class Compression(Middleware):
    """Compresses bodies and streams in the best content coding that the client accepts.

    Files and responses with a Content-Encoding are left as they are. A client that accepts no
    possible coding gets 406.
    """

    def __init__(self, least: int = LEAST_BYTES) -> None:
        """Bodies of fewer than `least` bytes are not compressed. Raises ValueError below 0."""
        if least < 0:
            raise ValueError(f"least must be 0 bytes or more, not {least}")
        self._least = least

    @may_wait
    def after(self, request: Request, response: Response) -> ResponseOrAwaitable:
        """The response in the coding that its request accepts best."""
        return compress(request, response, least=self._least)
