"""Whether the server lives, and whether it wants work: what supervisors and balancers ask for.

`/healthz` is answered with 200 by whatever loop still turns. `/readyz` is that, too, until the
server shuts down; then it is 503, and a balancer sends new clients elsewhere. Both are asked for
every few seconds, so neither has a line in the access log.
"""

from typing import Final

from reactor.messages.request import Request
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


def healthz(request: Request) -> Response:
    """200: it is alive, or nobody would answer."""
    request.logged = False
    return Response(200, b"ok\n", _FIELDS)


class Readiness:
    """200 while the server takes requests, 503 when it shuts down."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __call__(self, request: Request) -> Response:
        request.logged = False
        if self._server.draining:
            return Response(503, b"shutting down\n", _FIELDS)
        return Response(200, b"ready\n", _FIELDS)
