"""A request's body: a stream of bytes that is read from the socket only while the handler pulls.

A handler pulls a piece (`read`, `async for`) or the whole (`read()`). The whole is held in memory,
which all bodies of a server share. Where the pieces come from, and whether there is room for them,
is the connection's business (BodySource).
"""

import sys
from collections.abc import Awaitable
from typing import Protocol

from reactor.errors import ProtocolError
from reactor.messages.headers import Fields
from reactor.tasks.futures import Future

PIECE_BYTES = 64 * 1024  # one recv brings at most so many, and a pull asks for as many by default

# Smaller pieces of a body that is read whole are gathered in one buffer: an object for every two
# bytes that a client sends would take twenty times as much memory as is counted.
SMALL_PIECE_BYTES = 512


class BodySource(Protocol):
    """The source of a body's bytes: the connection, see http/request_body.py."""

    def pull(self, most: int) -> bytes | Future[bytes]:
        """At most `most` bytes, or a future of them; b"" at the end. Raises ProtocolError."""

    def inform(self, status: int, headers: Fields) -> bool:
        """Send an informational response. Returns whether it was sent."""

    def hold(self, size: int) -> Awaitable[None] | None:
        """Room in memory for `size` bytes in all: None where it is there. Raises ProtocolError."""

    def release(self) -> None:
        """The memory is no longer needed."""


class Body:
    """A request's body: a stream that is pulled. The socket is not read between two pulls.

    `length` is in bytes, and None for a chunked body. Every pull raises ProtocolError when the body
    is malformed (400), too slow (408) or too large (413). That error then makes the response, even
    if the handler catches it.
    """

    __slots__ = (
        "_limit",
        "_most",
        "_pulled",
        "_source",
        "ended",
        "length",
    )

    def __init__(self, source: BodySource | None, length: int | None, most: int) -> None:
        """`most` is the size in bytes of the longest body that is read whole."""
        self.length = length
        self._source = source
        self._most = most
        self._limit = sys.maxsize
        self._pulled = 0  # bytes
        self.ended = False  # it has been read whole

    async def read(self, most: int = -1) -> bytes:
        """Return at most `most` bytes as soon as some have arrived, and b"" at the end.

        Without `most`, returns the whole rest, which is held in memory: ProtocolError(413) beyond
        `Limits.memory_body_bytes`, and 503 where it waits for memory that others hold for longer
        than `Limits.memory_timeout`. Raises RuntimeError after the response.
        """
        if self._source is None:
            raise RuntimeError("the body of a request cannot be read after its response")
        if most < 0 and self.length != 0:
            return await self._read_all()
        if most == 0 or self.length == 0:
            return b""
        if self._pulled > self._limit:
            raise _too_large(self._limit)
        # One byte more than the limit is enough to see that the body exceeds it.
        pulled = self._source.pull(min(most, self._limit - self._pulled + 1))
        piece = pulled if isinstance(pulled, bytes) else await pulled
        self._pulled += len(piece)
        if self._pulled > self._limit:
            raise _too_large(self._limit)
        return piece

    def limit(self, most: int) -> None:
        """Allow `most` bytes in all: a pull that exceeds them raises ProtocolError(413).

        For middlewares, since a handler may need less than the server accepts. A second call can
        lower the limit, but not raise it.
        """
        if self.length != 0:  # requests without a body share one Body
            self._limit = min(self._limit, most)
            self._most = min(self._most, most)

    def inform(self, status: int, headers: Fields = ()) -> bool:
        """Send an informational response (RFC 9110, section 15.2) before the final one, now.

        Returns False, and sends nothing, to a client of HTTP/1.0, which does not know such
        responses, after the final response has begun, and for a request without a body. Raises
        ResponseError for a wrong status or wrong fields.
        """
        return self._source is not None and self._source.inform(status, headers)

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        piece = await self.read(PIECE_BYTES)
        if not piece:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """The response is there: pulls fail from now on, and the memory is released."""
        source, self._source = self._source, None
        if source is not None:
            source.release()

    async def _read_all(self) -> bytes:
        if self.length is not None and self.length > self._most:
            raise _too_large(self._most)
        pieces: list[bytes | bytearray] = []
        size = 0
        while piece := await self.read(PIECE_BYTES):
            size += len(piece)
            if size > self._most:
                raise _too_large(self._most)
            room = None if self._source is None else self._source.hold(size)
            if room is not None:
                await room
            if len(piece) >= SMALL_PIECE_BYTES or self._pulled == self.length:
                pieces.append(piece)
            elif pieces and isinstance(pieces[-1], bytearray):
                pieces[-1] += piece
            else:
                pieces.append(bytearray(piece))
            if self._pulled == self.length:
                break
        self.ended = True
        return b"".join(pieces)


def _too_large(most: int) -> ProtocolError:
    return ProtocolError(413, f"The request's body is larger than {most} bytes.")


class _NoBody:
    """The source of an empty body."""

    def pull(self, most: int) -> bytes:
        return b""

    def inform(self, status: int, headers: Fields) -> bool:
        return False

    def hold(self, size: int) -> None:
        return None

    def release(self) -> None:
        """Nothing is held."""


NO_BODY = Body(_NoBody(), 0, 0)
