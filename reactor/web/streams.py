"""Response bodies made piece by piece: one interface for both kinds of iterator, and closing."""

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextvars import Context, copy_context
from itertools import islice
from typing import Any, TypeAlias

from reactor.messages.response import close_pieces
from reactor.tasks.combinators import result_of
from reactor.tasks.futures import Cancellable, Future, RuntimeLike
from reactor.tasks.operations import Operation

PieceSource: TypeAlias = Iterator[bytes] | AsyncIterator[bytes]


class BodyStream(AsyncGenerator[bytes, None]):
    """An asynchronous iterator of pieces that a class implements; the connection closes it.

    Subclasses implement `next_piece`, and `aclose` if they hold anything. Unlike a generator, such
    a stream is closed properly even if it never began.
    """

    begins_at_once = False  # whether the first piece never waits for anything outside

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


class BegunStream(BodyStream):
    """An asynchronous iterator whose first piece was made before its response was used.

    `context` is that of all its steps: the connection makes the others in it, too.
    """

    def __init__(self, pieces: AsyncIterator[bytes], context: Context, first: bytes | None) -> None:
        """`first` is None for an iterator that has ended."""
        self.context = context
        self._pieces = pieces
        self._first = [] if first is None else [first]

    def __anext__(self) -> Any:
        return self.next_piece() if self._first else anext(self._pieces)

    async def next_piece(self) -> bytes:
        return self._first.pop() if self._first else await anext(self._pieces)

    async def aclose(self) -> None:
        await close_source(self._pieces)


async def begin_stream(pieces: AsyncIterator[bytes]) -> BegunStream:
    """Wait for the first piece. Raises what the iterator raises, which is closed then."""
    context = copy_context()
    step = await _Spawned(_step(pieces), context)
    try:
        return BegunStream(pieces, context, await result_of(step))
    except BaseException:
        await close_source(pieces)
        raise
    finally:
        del step  # or error, frame and step are a cycle


class _Spawned(Operation[Cancellable[Any]]):
    """A coroutine as a task in a context of its own; the result is the task."""

    __slots__ = ("_context", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> None:
        self._coroutine = coroutine
        self._context = context

    def start(self, runtime: RuntimeLike) -> Future[Cancellable[Any]]:
        spawned: Future[Cancellable[Any]] = Future()
        spawned.set_result(runtime.spawn(self._coroutine, self._context))
        return spawned


async def _step(pieces: AsyncIterator[bytes]) -> bytes | None:
    try:
        piece = await anext(pieces)
    except StopAsyncIteration:
        return None
    if piece is None:
        raise TypeError("a response body has yielded None: its pieces are bytes")
    return piece


async def close_source(pieces: Iterator[Any] | AsyncIterator[Any]) -> None:
    """Close an iterator that can be closed, and wait until an asynchronous one is closed."""
    closing = close_pieces(pieces)
    if closing is not None:
        await closing
