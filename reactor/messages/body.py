"""A request's body: a stream of bytes that is read from the socket only while the handler pulls.

A handler pulls a piece (`read`, `async for`) or the whole (`read()`). The whole is held in memory,
which all bodies of a server share: a WeightedSemaphore makes bodies wait for room. Where the pieces
come from is the connection's business (BodySource).
"""

import sys
from typing import Protocol

from reactor.errors import Cancelled, ProtocolError
from reactor.messages.headers import Fields
from reactor.tasks.futures import Future
from reactor.tasks.semaphore import WeightedSemaphore

PIECE_BYTES = 64 * 1024  # one recv brings at most so many, and a pull asks for as many by default


class BodySource(Protocol):
    """The source of a body's bytes: the connection, see http/request_body.py."""

    def pull(self, most: int) -> bytes | Future[bytes]:
        """At most `most` bytes, or a future of them; b"" at the end. Raises ProtocolError."""

    def inform(self, status: int, headers: Fields) -> bool:
        """Send an informational response. Returns whether it was sent."""


class Body:
    """A request's body: a stream that is pulled. The socket is not read between two pulls.

    `length` is in bytes, and None for a chunked body. Every pull raises ProtocolError when the body
    is malformed (400), too slow (408) or too large (413). That error then makes the response, even
    if the handler catches it.
    """

    __slots__ = (
        "_budget",
        "_held",
        "_limit",
        "_most",
        "_pulled",
        "_room",
        "_source",
        "ended",
        "length",
    )

    def __init__(
        self, source: BodySource | None, length: int | None, most: int, budget: WeightedSemaphore
    ) -> None:
        self.length = length
        self._source = source
        self._most = most
        self._limit = sys.maxsize
        self._pulled = 0  # bytes
        self._budget = budget
        self._held = 0  # bytes of the budget
        self._room: Future[int] | None = None  # the memory that `read` waits for
        self.ended = False  # it has been read whole

    async def read(self, most: int = -1) -> bytes:
        """Return at most `most` bytes as soon as some have arrived, and b"" at the end.

        Without `most`, returns the whole rest, which is held in memory: ProtocolError(413) beyond
        `Limits.memory_body_bytes`. Raises RuntimeError after the response.
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
        self._source = None
        if self._room is not None:
            if self._room.done:  # the memory came in this very turn, and `read` will not use it
                self._held += self._room.result()
            self._room.set_exception(Cancelled())
            self._room = None
        if self._held:
            held, self._held = self._held, 0
            self._budget.release(held)

    async def _read_all(self) -> bytes:
        if self.length is not None and self.length > self._most:
            raise _too_large(self._most)
        # Room for the whole is taken before any of it is read: a body that waits for room waits in
        # the kernel, and no two bodies that are half read wait for each other.
        room = self._most if self.length is None else self.length
        await self._hold(room)
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read(PIECE_BYTES):
            size += len(piece)
            if size > self._most:
                raise _too_large(self._most)
            pieces.append(piece)
        self._held -= room - size
        self._budget.release(room - size)
        self.ended = True
        return b"".join(pieces)

    async def _hold(self, count: int) -> None:
        self._room = self._budget.acquire(count)
        if self._room is not None:
            await self._room
            self._room = None
        self._held += count


def _too_large(most: int) -> ProtocolError:
    return ProtocolError(413, f"The request's body is larger than {most} bytes.")


class _NoBody:
    """The source of an empty body."""

    def pull(self, most: int) -> bytes:
        return b""

    def inform(self, status: int, headers: Fields) -> bool:
        return False


NO_BODY = Body(_NoBody(), 0, 0, WeightedSemaphore(0))
