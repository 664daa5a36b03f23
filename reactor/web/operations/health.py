"""Health checks for supervisors and load balancers: is the server alive, and does it want work?

`/healthz` is 200 as long as the loop runs. `/readyz` is 200 until the server shuts down, and 503
from then on, so that a load balancer sends new clients elsewhere. Both are requested every few
seconds, so neither has a line in the access log.
"""

from typing import Final

from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.protocol.response_encoder import FieldBlock
from reactor.server.server import Server

_FIELDS: Final = FieldBlock(
    (
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    )
)


def healthz(request: BaseRequest) -> Response:
    """A 200: a server that is not alive would not respond at all."""
    request.logged = False
    return Response(200, b"ok\n", _FIELDS)


class Readiness:
    """The endpoint that is 200 while the server accepts requests, and 503 while it shuts down."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __call__(self, request: BaseRequest) -> Response:
        request.logged = False
        if self._server.draining:
            return Response(503, b"shutting down\n", _FIELDS)
        return Response(200, b"ready\n", _FIELDS)
