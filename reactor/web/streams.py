"""Response bodies made piece by piece: one interface for both kinds of iterator, and closing."""

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from typing import Any, TypeAlias

from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.response import Response, Trailed

PieceSource: TypeAlias = Iterator[bytes] | AsyncIterator[bytes]


class BodyStream(AsyncGenerator[bytes, None]):
    """An asynchronous generator as a class; the connection closes it as it closes any other."""

    async def next_piece(self) -> bytes:
        """Raises StopAsyncIteration at the end."""
        raise NotImplementedError

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self.next_piece()

    async def asend(self, value: None) -> bytes:
        return await self.next_piece()

    async def athrow(self, error: Any, value: Any = None, traceback: Any = None) -> bytes:
        await self.aclose()
        raise error


async def close_source(pieces: PieceSource) -> None:
    """Close an iterator that can be closed; it may wait in doing so."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()
    elif (close := getattr(pieces, "close", None)) is not None:
        close()


def discard(response: Response) -> None:
    """Close a body that will not be sent. What would have to wait in doing so is not waited for."""
    body = response.body
    if isinstance(body, FileRegion | MultiRegion):
        body.release()
    elif not isinstance(body, bytes | memoryview):
        closing = close_source(body.pieces if isinstance(body, Trailed) else body).__await__()
        next(closing, None)
        closing.close()
