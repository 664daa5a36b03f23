"""A request's body: a stream of bytes that is read from the socket only while somebody pulls."""

import sys
from typing import Protocol

from reactor.errors import Cancelled, ProtocolError
from reactor.messages.headers import Fields
from reactor.tasks.futures import Future
from reactor.tasks.semaphore import WeightedSemaphore

PIECE_BYTES = 64 * 1024  # what one recv brings at most, and what a pull asks for by default


class BodySource(Protocol):
    """Where a body comes from: the connection."""

    def pull(self, most: int) -> bytes | Future[bytes]: ...
    def inform(self, status: int, headers: Fields) -> bool: ...


class Body:
    """A request's body: a stream that is pulled, with the socket not read while nobody pulls.

    Every pull raises ProtocolError when the body is malformed (400), too slow (408) or too large
    (413); that is then the answer, whatever the handler does.
    """

    __slots__ = ("_budget", "_come", "_held", "_limit", "_most", "_room", "_source", "length")

    def __init__(
        self, source: BodySource | None, length: int | None, most: int, budget: WeightedSemaphore
    ) -> None:
        self.length = length  # None where it is chunked
        self._source = source
        self._most = most
        self._limit = sys.maxsize
        self._come = 0  # bytes that were pulled
        self._budget = budget
        self._held = 0
        self._room: Future[int] | None = None  # memory that is waited for

    async def read(self, most: int = -1) -> bytes:
        """At most `most` bytes as soon as there are any; b"" at the end.

        Without `most`, the whole rest, which is held in memory and therefore bounded by
        `Limits.memory_body_bytes`: ProtocolError(413) beyond.
        """
        if self._source is None:
            raise RuntimeError("this request is answered; its body is gone")
        if most < 0 and self.length != 0:
            return await self._read_all()
        if most == 0 or self.length == 0:
            return b""
        if self._come > self._limit:
            raise _too_large(self._limit)
        # One byte more than there may be tells that there are too many.
        pulled = self._source.pull(min(most, self._limit - self._come + 1))
        piece = pulled if isinstance(pulled, bytes) else await pulled
        self._come += len(piece)
        if self._come > self._limit:
            raise _too_large(self._limit)
        return piece

    def limit(self, most: int) -> None:
        """Have all of it be no more than `most` bytes: a pull that finds more raises 413.

        For who knows what a handler needs, which may be less than what the server takes. A limit
        can be lowered, never raised.
        """
        if self.length != 0:  # one that is not there is shared
            self._limit = min(self._limit, most)
            self._most = min(self._most, most)

    def inform(self, status: int, headers: Fields = ()) -> bool:
        """Send an informational answer (RFC 9110, section 15.2) before the final one, now.

        False, and nothing is sent, where the client is of HTTP/1.0, which knows none, where the
        final answer has begun, or where there is no body. Raises ResponseError for bad fields.
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
        """The request is answered: pulls fail from now on, and the memory is given back."""
        self._source = None
        if self._room is not None:
            if self._room.done:  # it came in this very turn, and nobody will use it
                self._held += self._room.result()
            self._room.set_exception(Cancelled())
            self._room = None
        if self._held:
            held, self._held = self._held, 0
            self._budget.release(held)

    async def _read_all(self) -> bytes:
        if self.length is not None and self.length > self._most:
            raise _too_large(self._most)
        # Room for the whole is taken before any of it is read: what waits for room waits in the
        # kernel, and no two bodies that are half read wait for each other.
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
        return b"".join(pieces)

    async def _hold(self, count: int) -> None:
        self._room = self._budget.acquire(count)
        if self._room is not None:
            await self._room
            self._room = None
        self._held += count


def _too_large(most: int) -> ProtocolError:
    return ProtocolError(413, f"This body may have {most} bytes at most.")


class _NoBody:
    """The source of a body that is not there."""

    def pull(self, most: int) -> bytes:
        return b""

    def inform(self, status: int, headers: Fields) -> bool:
        return False


NO_BODY = Body(_NoBody(), 0, 0, WeightedSemaphore(0))
