"""Compresses a response for what its client accepts (RFC 9110, sections 8.4 and 12.5.3).

`compress` accepts any response of a handler. A short body is encoded on the loop, a longer one on
a thread: a loop that compresses serves nobody else. Where the pool has no place left, the body is
sent as it is, which costs bandwidth and nobody's time. Streams are encoded as they flow (see
compression/streams.py); files have their own way (see static/compressed_cache.py).

An encoded response is another representation: its strong ETag changes, and fields about the plain
bytes (length, ranges, digests) are removed. Whenever another client might get another coding, Vary
says so, also on a response that was left as it is.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from reactor.errors import PoolFull, ProtocolError
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, Trailed
from reactor.protocol.grammar import list_members
from reactor.tasks.futures import Lane
from reactor.tasks.operations import in_pool
from reactor.web.compression.encoders import (
    IDENTITY,
    INLINE_BYTES,
    LEAST_BYTES,
    MADE,
    encode,
    shrinks,
)
from reactor.web.compression.streams import encode_stream
from reactor.web.semantics.negotiation import choose_coding, refuses_identity
from reactor.web.semantics.validators import encoded_tag
from reactor.web.semantics.vary import vary_with
from reactor.web.streams import PieceSource, close_source

# For streams of handlers only gzip: a zstd encoder holds a MiB and more, and streams may be many
# and long.
_MADE_OF_STREAMS: Final = ("gzip",)
_LEFT_ALONE: Final = frozenset({204, 205, 206})  # no content, and a part of a representation
_SAFE: Final = frozenset({"GET", "HEAD"})
_OF_THE_BYTES: Final = frozenset(  # fields that are true of the plain bytes only
    {
        *("content-length", "accept-ranges"),
        *("content-digest", "repr-digest", "digest", "content-md5"),  # RFC 9530
    }
)

_Body: TypeAlias = bytes | memoryview | PieceSource


async def encode_in_pool(data: bytes | memoryview, coding: str) -> bytes | None:
    """Return `data` in one of the codings of MADE, made on a thread; None when the pool is full."""
    try:
        return await in_pool(encode, data, coding, lane=Lane.COMPRESSION)
    except PoolFull:
        return None


def compress(
    request: BaseRequest, response: Response, *, least: int = LEAST_BYTES
) -> Response | Awaitable[Response]:
    """Return the response in the best coding that its client accepts and that makes it smaller.

    Left as they are: bodies of less than `least` bytes, types that do not shrink, encoded bodies,
    parts (206, Content-Range), files, and responses that `Cache-Control: no-transform` protects.
    With `least=0` every body of a type that shrinks is encoded, even if it grows. A client that
    refuses the plain bytes (`identity;q=0`) gets a coding wherever one is possible.

    Raises ProtocolError: 406 where no accepted representation of the response to a GET or HEAD
    exists, 503 where only an encoded one is accepted and the pool is full.
    """
    exchange = _Negotiation(request, response, least)
    body = _encodable(response.body)
    if body is None or not exchange.may_be_encoded():
        return response
    if response.status == 304:
        return exchange.plain()
    try:
        coding = exchange.choose(body)
    except ProtocolError as error:
        return _refuse(body, error)
    if coding == IDENTITY:
        return exchange.plain()
    if not isinstance(body, bytes | memoryview):
        return exchange.encoded(_with_trailers(response.body, encode_stream(body, coding)), coding)
    if len(body) > INLINE_BYTES:
        return _compress_long(exchange, body, coding)
    return exchange.smaller(body, encode(body, coding), coding)


def _encodable(body: Any) -> _Body | None:
    """Return the body, or None if it is left to others: files, and values that are no body."""
    if isinstance(body, Trailed):
        return body.pieces
    if isinstance(body, memoryview):
        return body.cast("B")
    if isinstance(body, bytes) or hasattr(body, "__next__") or hasattr(body, "__anext__"):
        found: bytes | PieceSource = body
        return found
    return None


def _with_trailers(body: Any, encoded: AsyncIterator[bytes]) -> AsyncIterator[bytes] | Trailed:
    """Return the encoded stream with the trailers of the plain one, less those about its bytes."""
    if not isinstance(body, Trailed):
        return encoded

    of_the_bytes = {*_OF_THE_BYTES, "etag"}

    def trailers() -> Fields:
        return [field for field in body.trailers() if field[0].lower() not in of_the_bytes]

    names = [name for name in body.announced if name.lower() not in of_the_bytes]
    return Trailed(encoded, trailers, announce=names)


async def _compress_long(
    exchange: "_Negotiation", body: bytes | memoryview, coding: str
) -> Response:
    encoded = await encode_in_pool(body, coding)
    if encoded is not None:
        return exchange.smaller(body, encoded, coding)
    if exchange.insists():
        raise PoolFull("The server is too busy to compress the response.")
    return exchange.plain()


def _refuse(body: _Body, error: ProtocolError) -> Awaitable[Response]:
    """Raise the error, or close a stream first; the body will not be sent."""
    if isinstance(body, bytes | memoryview):
        raise error
    return _close_and_refuse(body, error)


async def _close_and_refuse(body: PieceSource, error: ProtocolError) -> Response:
    await close_source(body)
    raise error


class _Negotiation:
    """A response whose coding is being negotiated."""

    __slots__ = ("_accepted", "_fields", "_least", "_request", "_response", "_varies")

    def __init__(self, request: BaseRequest, response: Response, least: int) -> None:
        self._request = request
        self._response = response
        self._least = least
        self._accepted = request.headers.get("accept-encoding")
        self._fields = _gather(response.headers)
        # A 304 has no type, and must vary as its 200 does (RFC 9110, section 15.4.5).
        unknown = "text/" if response.status == 304 else ""
        self._varies = shrinks(self._fields.get("content-type", unknown))

    def may_be_encoded(self) -> bool:
        fields, status = self._fields, self._response.status
        return (
            status >= 200
            and status not in _LEFT_ALONE
            and "content-encoding" not in fields
            and "content-range" not in fields
            and "no-transform" not in _members(fields.get("cache-control", ""))
        )

    def choose(self, body: _Body) -> str:
        """Return the coding of this body. Raises ProtocolError(406)."""
        made = MADE
        if not isinstance(body, bytes | memoryview):
            made = _MADE_OF_STREAMS
        elif len(body) < self._least:
            self._varies = False
        try:
            if not self._varies and not self.refuses_identity():
                return IDENTITY
            return choose_coding(self._accepted, made)
        except ProtocolError as error:
            if self.insists():
                error.headers = (*error.headers, ("Vary", self._vary()))
                raise
            return IDENTITY

    def insists(self) -> bool:
        """Return whether an error is better than the plain bytes.

        After a POST it is not: what was done, or went wrong, matters more than its coding.
        """
        harmless = self._request.method in _SAFE and self._response.status < 300
        return harmless and self.refuses_identity()

    def refuses_identity(self) -> bool:
        """Return whether the client refuses the plain bytes (`identity;q=0`)."""
        return refuses_identity(self._accepted)

    def plain(self) -> Response:
        """Return the response as it is, with Vary if another client might get it encoded."""
        response, vary = self._response, self._vary()
        if not self._varies or vary == self._fields.get("vary"):
            return response
        headers = [field for field in response.headers if field[0].lower() != "vary"]
        return response.replace(headers=[*headers, ("Vary", vary)])

    def smaller(self, body: bytes | memoryview, encoded: bytes, coding: str) -> Response:
        """Return the encoded response if encoding saved bytes, or else the plain one."""
        if len(encoded) < len(body) or self._least == 0 or self.refuses_identity():
            return self.encoded(encoded, coding)
        return self.plain()

    def encoded(self, body: bytes | AsyncIterator[bytes] | Trailed, coding: str) -> Response:
        headers = [("Content-Encoding", coding)]
        for name, value in self._response.headers:
            folded = name.lower()
            if folded == "etag" and value.startswith('"'):
                value = encoded_tag(value, coding)
            if folded != "vary" and folded not in _OF_THE_BYTES:
                headers.append((name, value))
        headers.append(("Vary", self._vary()))
        return self._response.replace(body=body, headers=headers)

    def _vary(self) -> str:
        """Return the handler's Vary, with Accept-Encoding added."""
        return vary_with(self._fields.get("vary", ""), "Accept-Encoding")


def _gather(headers: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Return the fields by their names in lower case; repeated fields are joined."""
    found: dict[str, str] = {}
    for name, value in headers:
        folded = name.lower()
        found[folded] = f"{found[folded]}, {value}" if folded in found else value
    return found


def _members(value: str) -> set[str]:
    return set(list_members(value.lower()))
