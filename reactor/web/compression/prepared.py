"""Responses with the same header fields each time, in the content coding that the client accepts.

The fields of each coding are checked and encoded once, when the object is made, so that a short
response costs no more than its body.
"""

from collections.abc import Awaitable, Iterable

from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.protocol.response_encoder import FieldBlock
from reactor.web.compression.encoders import IDENTITY, INLINE_BYTES, MADE, encode
from reactor.web.compression.responses import compress
from reactor.web.semantics.negotiation import choose_coding


class PreparedResponse:
    """Makes responses that differ in their bodies only."""

    def __init__(self, fields: Iterable[tuple[str, str]], status: int = 200) -> None:
        """`fields` are pairs of name and value, without Vary; see FieldBlock for errors."""
        self._status = status
        self._plain = FieldBlock([*fields, ("Vary", "Accept-Encoding")])
        self._encoded = {
            coding: FieldBlock([*self._plain, ("Content-Encoding", coding)]) for coding in MADE
        }

    def encoded(self, request: BaseRequest, body: bytes) -> Response | Awaitable[Response]:
        """Return a response with this body, compressed whenever the client accepts it.

        A body over 4 KiB is compressed on a thread, so an endpoint that is no `async def` is marked
        with `may_wait`. Raises ProtocolError (406) for a client that refuses every coding.
        """
        accepted = request.headers.get("accept-encoding")
        coding = choose_coding(accepted, MADE) if accepted else IDENTITY
        if coding == IDENTITY:
            return Response(self._status, body, self._plain)
        if len(body) <= INLINE_BYTES:
            return Response(self._status, encode(body, coding), self._encoded[coding])
        return compress(request, Response(self._status, body, self._plain), least=0)
