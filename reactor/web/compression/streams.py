"""Streams in a content coding: pieces in, coded pieces out, each as soon as it is said.

A coded stream gives a piece for each piece of its source and flushes it, so that an event reaches
the client when it happens and not when a buffer is full. Few bytes are coded where we stand, more
of them on a thread. The head of the answer has left by then, so where the pool is full there is no
way back to plain bytes: the stream waits for a place, for a while.

Errors of the source pass through, and nothing follows one: what is cut looks cut. Whoever closes a
coded stream closes its source, and a source may hold a file, so nothing here is a generator: one
that was never begun leaves out its `finally`. A class does not.
"""

from collections.abc import AsyncIterator
from typing import Final, cast

from reactor.errors import PoolFull
from reactor.tasks.futures import Lane
from reactor.tasks.operations import in_pool, sleep
from reactor.web.compression.encoders import INLINE_BYTES, Encoder, encoder
from reactor.web.streams import BodyStream, PieceSource, close_source

RETRY_SECONDS: Final = 0.05  # until a full pool is asked again
RETRIES: Final = 200  # and then the connection is given up: it has waited for ten seconds


def encode_stream(pieces: PieceSource, coding: str) -> BodyStream:
    """A stream in one of the codings of MADE: a piece for each piece, and one for the end.

    A step raises what the source raises, and PoolFull when the pool has had no place for ten
    seconds. Closing it closes the source.
    """
    return _Coded(pieces, encoder(coding))


class _Coded(BodyStream):
    def __init__(self, source: PieceSource, coder: Encoder) -> None:
        self._source = source
        self._coder: Encoder | None = coder

    async def next_piece(self) -> bytes:
        coder, self._coder = self._coder, None  # an error ends it, as it ends a generator
        if coder is None:
            raise StopAsyncIteration
        piece = await _next_of(self._source)
        if piece is None:
            return coder.end()
        coded = await _code(coder, piece) if piece else b""
        self._coder = coder
        return coded

    async def aclose(self) -> None:
        self._coder = None
        await close_source(self._source)


async def _next_of(pieces: PieceSource) -> bytes | None:
    if not hasattr(pieces, "__anext__"):
        return next(pieces, None)
    try:
        return await anext(cast(AsyncIterator[bytes], pieces))
    except StopAsyncIteration:
        return None


async def _code(coder: Encoder, piece: bytes) -> bytes:
    if len(piece) <= INLINE_BYTES:
        return coder.code(piece)
    for _ in range(RETRIES):
        try:
            return await in_pool(coder.code, piece, lane=Lane.COMPRESSION)
        except PoolFull:
            await sleep(RETRY_SECONDS)
    raise PoolFull
