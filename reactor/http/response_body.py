"""A response body on its way: pulled piece by piece as the peer reads.

A source has one verb, `next_piece`: it returns bytes or a region that can be sent now, a Future of
one that cannot, or None at the end. The sources hide where the waiting is: in an asynchronous
generator, on a disk, nowhere. A ResponseBodyStream puts the frame around the pieces and holds the
body to the length that its head has promised.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, cast

from reactor.errors import ResponseError, all_but_interrupts
from reactor.files.file import WINDOW_BYTES, File
from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.headers import Fields
from reactor.messages.response import Response, ResponseBody, Trailed, close_pieces
from reactor.net.send_queue import JOIN_BYTES
from reactor.protocol.chunked import LAST_CHUNK, encode_chunk, last_chunk
from reactor.protocol.response_encoder import encode_trailers
from reactor.tasks.futures import Future
from reactor.tasks.operations import in_pool
from reactor.tasks.task import Runtime, Task

LONGEST_AT_HAND: Final = 256 * 1024  # a longer body is pulled, so that its progress is known

log = logging.getLogger("reactor")

Piece: TypeAlias = bytes | memoryview | FileRegion


def at_hand(head: bytes, region: FileRegion, runtime: Runtime) -> Sequence[bytes | FileRegion]:
    """The pieces of a whole response, if its body is not long and in memory; else nothing.

    A short response is one piece for one send, and the region is released.
    """
    file, offset, length = region.file, region.offset, region.length
    if length > JOIN_BYTES:
        fits = length <= LONGEST_AT_HAND
        return (head, region) if fits and runtime.in_memory(file, offset, length) else ()
    window = runtime.scratch[:length]
    if not file.look(offset, window):
        return ()
    response = head + window
    region.release()
    return (response,)


def discard(response: Response, runtime: Runtime) -> None:
    """Close the body of a response that is not sent; an error in doing so is logged."""
    if isinstance(response.body, bytes):
        return
    try:
        response.close(runtime)
    except all_but_interrupts():
        log.exception("the body of a response could not be closed")


class Source(Protocol):
    """A source of pieces."""

    def next_piece(self, most: int) -> "Piece | Future[Any] | None":
        """The next piece, a Future of it, or None at the end."""

    def close(self) -> None:
        """Release what the source holds, finished or not."""


class _BytesSource:
    """Bytes: one piece."""

    def __init__(self, body: bytes | memoryview) -> None:
        self._body: bytes | memoryview | None = body

    def next_piece(self, most: int) -> bytes | memoryview | None:
        body, self._body = self._body, None
        return body

    def close(self) -> None:
        self._body = None


class _IteratorSource:
    """A synchronous iterator."""

    def __init__(self, iterator: Iterator[bytes]) -> None:
        self._iterator = iterator

    def next_piece(self, most: int) -> bytes | None:
        for piece in self._iterator:
            return _not_none(piece)
        return None

    def close(self) -> None:
        close_pieces(self._iterator)


class _AsyncIteratorSource:
    """An asynchronous iterator; all its pieces are made in one context."""

    def __init__(self, iterator: AsyncIterator[bytes], runtime: Runtime) -> None:
        self._iterator = iterator
        self._runtime = runtime
        begun: Context | None = getattr(iterator, "context", None)  # where it was begun before
        self._context = copy_context() if begun is None else begun
        self._task: Task[bytes | None] | None = None

    def next_piece(self, most: int) -> bytes | Future[Any] | None:
        task = self._runtime.spawn(self._advance(), self._context)
        if task.done:
            return task.result()
        self._task = task
        return task

    def close(self) -> None:
        """Cancel the step that waits, and close the iterator, which may wait for a while."""
        task, self._task = self._task, None  # the frames of its error refer to us: a cycle
        if task is not None and not task.done:
            task.cancel()
        closing = close_pieces(self._iterator)
        if closing is not None:
            self._runtime.spawn(closing).cancel_later()

    async def _advance(self) -> bytes | None:
        try:
            return _not_none(await anext(self._iterator))
        except StopAsyncIteration:
            return None


class _FileSource:
    """A stretch of a file, window by window, each in memory before the loop touches it."""

    def __init__(self, region: FileRegion, runtime: Runtime) -> None:
        self._region: FileRegion | None = region
        self._runtime = runtime

    def next_piece(self, most: int) -> Piece | Future[Any] | None:
        region = self._region
        if region is None or region.length == 0:
            return None
        offset = region.offset
        count = min(region.length, most - offset % WINDOW_BYTES)
        if count <= JOIN_BYTES:
            window = self._runtime.scratch[:count]
            if region.file.look(offset, window):
                return _take(region, count, window)
        elif self._runtime.in_memory(region.file, offset, count):
            return _take(region, count)
        # The job holds the file, since this body may be closed before the job ends.
        job = in_pool(_fetch, region.file, offset, count, holding=region.file)
        return job.then(partial(self._fetched, count)).start(self._runtime)

    def close(self) -> None:
        region, self._region = self._region, None
        if region is not None:
            region.release()

    def _fetched(self, count: int, data: bytes) -> Piece:
        """The next piece, now in memory; an empty one where this body is closed already."""
        return b"" if self._region is None else _take(self._region, count, data)


class _MultiRegionSource:
    """Bytes and regions, one after the other."""

    def __init__(self, parts: MultiRegion, runtime: Runtime) -> None:
        self._parts = parts
        self._runtime = runtime
        self._source: _BytesSource | _FileSource | None = None

    def next_piece(self, most: int) -> Piece | Future[Any] | None:
        while True:
            piece = self._source.next_piece(most) if self._source is not None else None
            if piece is not None:
                return piece
            if not self._parts.pieces:
                return None
            self._next_source()

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._parts.release()

    def _next_source(self) -> None:
        if self._source is not None:
            self._source.close()
        part = self._parts.pieces.pop(0)
        self._source = (
            _BytesSource(part) if isinstance(part, bytes) else _FileSource(part, self._runtime)
        )


def _not_none(piece: bytes) -> bytes:
    """The piece. Raises TypeError for None, which would end the body as if it were whole."""
    if piece is None:
        raise TypeError("a response body has yielded None: its pieces are bytes")
    return piece


def _fetch(file: File, offset: int, count: int) -> bytes:
    """On a thread: bring a stretch into memory, for `_take`.

    Raises ResponseError if the file has become shorter.
    """
    if count > JOIN_BYTES:
        data, whole = b"", file.warm(offset, count)
    else:
        data = file.load(offset, count)
        whole = len(data) == count
    if not whole:
        raise ResponseError("the file has become shorter")
    return data


def _take(region: FileRegion, count: int, data: bytes | memoryview = b"") -> Piece:
    """The next `count` bytes of the region: as bytes where they are few, else from the file."""
    offset = region.offset
    region.offset += count
    region.length -= count
    if count <= JOIN_BYTES:
        return bytes(data)
    return FileRegion(region.file.hold(), offset, count)


class ResponseBodyStream:
    """A body and its frame. A piece may be b"", which sends nothing."""

    __slots__ = ("_chunked", "_first", "_source", "_trailers", "framing", "length", "sent")

    def __init__(
        self,
        body: ResponseBody,
        length: int | None,
        chunked: bool,
        runtime: Runtime,
        with_trailers: bool = False,
        begun: tuple[Source, list[Piece | Future[Any] | None]] | None = None,
    ) -> None:
        """`length` is as the head has promised; None: until the last chunk, or until close.

        `with_trailers`: the client accepts trailers; those of a body are dropped otherwise.
        `begun`: the body's source, and the first piece if it has been pulled, or a Future of it.
        """
        self._trailers: Callable[[], Fields] | None = None
        if isinstance(body, Trailed) and chunked and with_trailers:
            self._trailers = body.trailers
        self._source, self._first = begun or (source_of(body, runtime), [])
        self.length = length
        self._chunked = chunked
        self.sent = 0  # bytes of the body that were queued
        self.framing = 0  # bytes around its pieces that were queued

    def next_piece(self, most: int = WINDOW_BYTES) -> Piece | Future[Any] | None:
        """The next piece, a Future of it, or None at the end. Raises what the iterator raises.

        A piece of a file has at most `most` bytes, a multiple of WINDOW_BYTES.
        """
        return self._first.pop() if self._first else self._source.next_piece(most)

    def frame(self, piece: Piece | None) -> Sequence[Piece]:
        """The items to send for a piece, or for the end.

        Raises ResponseError for more bytes, or at the end fewer, than the head has promised.
        """
        if piece is None:
            if self.length is not None and self.sent != self.length:
                raise ResponseError(
                    f"the body has {self.sent} bytes; the head has promised {self.length}"
                )
            return (self._last_chunk(),) if self._chunked else ()
        if not isinstance(piece, bytes | memoryview | FileRegion):
            raise _not_a_piece(piece)
        size = piece.length if isinstance(piece, FileRegion) else len(piece)
        self.sent += size
        if self.length is not None and self.sent > self.length:
            raise ResponseError(
                f"the body has more than the {self.length} bytes that the head has promised"
            )
        if size == 0:
            return ()  # a chunk of no bytes would be the last one
        if not self._chunked:
            return (piece,)
        if isinstance(piece, bytes) and size <= JOIN_BYTES:
            chunk = encode_chunk(piece)
            self.framing += len(chunk) - size
            return (chunk,)
        head = b"%x\r\n" % size
        self.framing += len(head) + 2
        return (head, piece, b"\r\n")  # too large to be copied for its frame

    def close(self) -> None:
        """Close the source, finished or not."""
        self._source.close()

    def _last_chunk(self) -> bytes:
        """The last chunk with its trailers.

        Raises ResponseError without them: the client would take the body for a whole one.
        """
        if self._trailers is None:
            return LAST_CHUNK
        try:
            return last_chunk(encode_trailers(self._trailers()))
        except all_but_interrupts() as error:
            raise ResponseError("the trailers of a body cannot be sent") from error


def checked_piece(piece: Any) -> Piece | None:
    """The piece, or None at the end. Raises ResponseError for what is neither."""
    if piece is None or isinstance(piece, bytes | memoryview | FileRegion):
        return piece
    raise _not_a_piece(piece)


def _not_a_piece(piece: object) -> ResponseError:
    return ResponseError(f"a piece of a body must be bytes, not {type(piece).__name__}")


def source_of(body: ResponseBody, runtime: Runtime) -> Source:
    """The source of this body's pieces."""
    if isinstance(body, Trailed):
        body = body.pieces
    if isinstance(body, bytes):
        return _BytesSource(body)
    if isinstance(body, memoryview):
        return _BytesSource(body.cast("B"))
    if isinstance(body, FileRegion):
        return _FileSource(body, runtime)
    if isinstance(body, MultiRegion):
        return _MultiRegionSource(body, runtime)
    if hasattr(body, "__anext__"):
        return _AsyncIteratorSource(cast(AsyncIterator[bytes], body), runtime)
    return _IteratorSource(body)
