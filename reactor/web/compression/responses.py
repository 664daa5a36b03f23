"""An answer, made fit for what its client accepts (RFC 9110, sections 8.4 and 12.5.3).

`compress` takes whatever a handler has answered. Few bytes are coded where we stand, more of them
on a thread: a loop that compresses answers nobody else. Where the pool has no place left, the
answer is not coded, which costs the network and nobody's time. Streams are coded as they flow (see
compression/streams.py); files have a way of their own (see static/compressed_cache.py).

An answer that is coded is another representation: its strong ETag changes, what was said of the
other's bytes (length, ranges, digests) goes. Whenever another client might have got another coding,
Vary says so, most of all where this one got none.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from reactor.errors import PoolFull, ProtocolError
from reactor.messages.headers import Fields
from reactor.messages.request import Request
from reactor.messages.response import Response, Trailed
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
from reactor.web.streams import PieceSource, close_source

# Of a handler's streams: a zstd encoder holds a MiB and more, and they may be many and long.
_MADE_OF_STREAMS: Final = ("gzip",)
_LEFT_ALONE: Final = frozenset({204, 206})  # no content, and a part of it
_SAFE: Final = frozenset({"GET", "HEAD"})
_OF_THE_BYTES: Final = frozenset(  # what is true of them only as long as they are not coded
    {
        *("content-length", "accept-ranges"),
        *("content-digest", "repr-digest", "digest", "content-md5"),  # RFC 9530
    }
)

_Body: TypeAlias = bytes | memoryview | PieceSource


async def encode_in_pool(data: bytes | memoryview, coding: str) -> bytes | None:
    """`data` in one of the codings of MADE, made on a thread; None when the pool is full."""
    try:
        return await in_pool(encode, data, coding, lane=Lane.COMPRESSION)
    except PoolFull:
        return None


def compress(
    request: Request, response: Response, *, least: int = LEAST_BYTES
) -> Response | Awaitable[Response]:
    """The response in the best coding that its client accepts and that makes it smaller.

    Left alone are bodies of less than `least` bytes, types that do not shrink, what is coded
    already, parts (206, Content-Range), files, and what `Cache-Control: no-transform` protects.
    With `least=0` every body of a type that shrinks is coded, even if it grows. A client that
    refuses the plain bytes (`identity;q=0`) gets a coding wherever one is possible.

    Raises ProtocolError: 406 where the answer to a GET or HEAD can have no form that is accepted,
    503 where only a coded one is and the pool is full.
    """
    answer = _Answer(request, response, least)
    body = _codable(response.body)
    if body is None or not answer.may_be_coded():
        return response
    if response.status == 304:
        return answer.plain()
    try:
        coding = answer.choose(body)
    except ProtocolError as error:
        return _refuse(body, error)
    if coding == IDENTITY:
        return answer.plain()
    if not isinstance(body, bytes | memoryview):
        return answer.coded(_with_trailers(response.body, encode_stream(body, coding)), coding)
    if len(body) > INLINE_BYTES:
        return _compress_long(answer, body, coding)
    return answer.smaller(body, encode(body, coding), coding)


def _codable(body: Any) -> _Body | None:
    """The body; None for one that is left to others: files, and what is no body at all."""
    if isinstance(body, Trailed):
        return body.pieces
    if isinstance(body, memoryview):
        return body.cast("B")
    if isinstance(body, bytes) or hasattr(body, "__next__") or hasattr(body, "__anext__"):
        found: bytes | PieceSource = body
        return found
    return None


def _with_trailers(body: Any, coded: AsyncIterator[bytes]) -> AsyncIterator[bytes] | Trailed:
    """The coded stream with the trailers of the plain one, but for what they say of its bytes."""
    if not isinstance(body, Trailed):
        return coded

    of_the_bytes = {*_OF_THE_BYTES, "etag"}

    def trailers() -> Fields:
        return [field for field in body.trailers() if field[0].lower() not in of_the_bytes]

    names = [name for name in body.announced if name.lower() not in of_the_bytes]
    return Trailed(coded, trailers, announce=names)


async def _compress_long(answer: "_Answer", body: bytes | memoryview, coding: str) -> Response:
    coded = await encode_in_pool(body, coding)
    if coded is not None:
        return answer.smaller(body, coded, coding)
    if answer.insists():
        raise ProtocolError(503, "The server is too busy to encode this answer.")
    return answer.plain()


def _refuse(body: _Body, error: ProtocolError) -> Awaitable[Response]:
    """The answer is the error, and nobody will send the body."""
    if isinstance(body, bytes | memoryview):
        raise error
    return _close_and_refuse(body, error)


async def _close_and_refuse(body: PieceSource, error: ProtocolError) -> Response:
    await close_source(body)
    raise error


class _Answer:
    """A response whose coding is being negotiated."""

    __slots__ = ("_accepted", "_fields", "_least", "_request", "_response", "_varies")

    def __init__(self, request: Request, response: Response, least: int) -> None:
        self._request = request
        self._response = response
        self._least = least
        self._accepted = request.headers.get("accept-encoding")
        self._fields = _gather(response.headers)
        # A 304 says no type and must vary as its 200 does (RFC 9110, section 15.4.5).
        unknown = "text/" if response.status == 304 else ""
        self._varies = shrinks(self._fields.get("content-type", unknown))

    def may_be_coded(self) -> bool:
        fields, status = self._fields, self._response.status
        return (
            status >= 200
            and status not in _LEFT_ALONE
            and "content-encoding" not in fields
            and "content-range" not in fields
            and "no-transform" not in _members(fields.get("cache-control", ""))
        )

    def choose(self, body: _Body) -> str:
        """The coding of this body. Raises ProtocolError(406)."""
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
        """Whether no answer is better than the plain bytes.

        After a POST it is not: what has been done, or has gone wrong, matters more than its coding.
        """
        harmless = self._request.method in _SAFE and self._response.status < 300
        return harmless and self.refuses_identity()

    def refuses_identity(self) -> bool:
        """Whether the client does not want the plain bytes (`identity;q=0`)."""
        return refuses_identity(self._accepted)

    def plain(self) -> Response:
        """Not coded; another client might have got it coded."""
        response, vary = self._response, self._vary()
        if not self._varies or vary == self._fields.get("vary"):
            return response
        headers = [field for field in response.headers if field[0].lower() != "vary"]
        return response.replace(headers=[*headers, ("Vary", vary)])

    def smaller(self, body: bytes | memoryview, coded: bytes, coding: str) -> Response:
        """Coded where that has saved something."""
        if len(coded) < len(body) or self._least == 0 or self.refuses_identity():
            return self.coded(coded, coding)
        return self.plain()

    def coded(self, body: bytes | AsyncIterator[bytes] | Trailed, coding: str) -> Response:
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
        """What the handler said, and Accept-Encoding (RFC 9110, section 12.5.5)."""
        vary = self._fields.get("vary", "")
        if not vary:
            return "Accept-Encoding"
        return vary if _members(vary) & {"*", "accept-encoding"} else f"{vary}, Accept-Encoding"


def _gather(headers: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Fields by their names in lower case; several lines are joined."""
    found: dict[str, str] = {}
    for name, value in headers:
        folded = name.lower()
        found[folded] = f"{found[folded]}, {value}" if folded in found else value
    return found


def _members(value: str) -> set[str]:
    return {member.strip(" \t").lower() for member in value.split(",")}
