"""Response bodies made piece by piece: one interface for both kinds of iterator, and closing."""

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from itertools import islice
from typing import Any, TypeAlias

from reactor.messages.response import close_pieces

PieceSource: TypeAlias = Iterator[bytes] | AsyncIterator[bytes]


class BodyStream(AsyncGenerator[bytes, None]):
    """An asynchronous iterator of pieces that a class implements; the connection closes it.

    Subclasses implement `next_piece`, and `aclose` if they hold anything. Unlike a generator, such
    a stream is closed properly even if it never began.
    """

    async def next_piece(self) -> bytes:
        """Return the next piece. Raises StopAsyncIteration at the end."""
        raise NotImplementedError

    def encoded(self, coding: str) -> "BodyStream | None":
        """Return this stream in a content coding, for one that was encoded before; else None."""
        return None

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        return self.next_piece()

    async def asend(self, value: None) -> bytes:
        return await self.next_piece()

    async def athrow(self, error: Any, value: Any = None, traceback: Any = None) -> bytes:
        await self.aclose()
        raise error


class BegunPieces(Iterator[bytes]):
    """A plain iterator whose first piece was made before its response was used.

    Making one raises what the iterator raises; the iterator is closed then.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._first: list[bytes] = []
        try:
            self._first.extend(islice(pieces, 1))
        except BaseException:
            close_pieces(pieces)
            raise

    def __next__(self) -> bytes:
        return self._first.pop() if self._first else next(self._pieces)

    def close(self) -> None:
        """Close the iterator."""
        close_pieces(self._pieces)


async def close_source(pieces: Iterator[Any] | AsyncIterator[Any]) -> None:
    """Close an iterator that can be closed, and wait until an asynchronous one is closed."""
    closing = close_pieces(pieces)
    if closing is not None:
        await closing
