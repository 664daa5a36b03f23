"""Streams in a content coding: pieces in, encoded pieces out, each as soon as it is there.

An encoded stream returns one piece for each piece of its source, flushed, so that an event reaches
the client when it happens and not when a buffer is full. Short pieces are encoded on the loop,
longer ones on a thread. The head of the response has left by then, so identity is no longer an
option where the pool is full: the stream waits for a place, in a lane of its own.

Errors of the source pass through, and nothing follows an error, so that a cut response looks cut.
Closing an encoded stream closes its source. A source may hold a file, so nothing here is a
generator: a generator that never began skips its `finally`; a class does not.
"""

from collections.abc import AsyncIterator
from contextvars import Context
from typing import cast

from reactor.tasks.futures import Lane
from reactor.tasks.operations import in_pool
from reactor.web.compression.encoders import INLINE_BYTES, Encoder, new_encoder
from reactor.web.streams import BodyStream, PieceSource, close_source


def encode_stream(pieces: PieceSource, coding: str) -> BodyStream:
    """Return a stream in one of the codings of MADE: one piece for each piece, and one for the end.

    A step raises what the source raises, and PoolFull when the pool has had no place for it within
    `Limits.pool_timeout`. Closing it closes the source.
    """
    known = pieces.encoded(coding) if isinstance(pieces, BodyStream) else None
    if known is not None:
        return known
    return _EncodedStream(pieces, new_encoder(coding))


class _EncodedStream(BodyStream):
    def __init__(self, source: PieceSource, encoder: Encoder) -> None:
        self._source = source
        self.context: Context | None = getattr(source, "context", None)  # see BegunStream
        self.begins_at_once = getattr(source, "begins_at_once", False)
        self._encoder: Encoder | None = encoder

    async def next_piece(self) -> bytes:
        # An error ends the stream, as it ends a generator.
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            raise StopAsyncIteration
        piece = await _next_of(self._source)
        if piece is None:
            return encoder.end()
        encoded = await _encode(encoder, piece) if piece else b""
        self._encoder = encoder
        return encoded

    async def aclose(self) -> None:
        self._encoder = None
        await close_source(self._source)


async def _next_of(pieces: PieceSource) -> bytes | None:
    if not hasattr(pieces, "__anext__"):
        return next(pieces, None)
    try:
        return await anext(cast(AsyncIterator[bytes], pieces))
    except StopAsyncIteration:
        return None


async def _encode(encoder: Encoder, piece: bytes) -> bytes:
    if len(piece) <= INLINE_BYTES:
        return encoder.encode(piece)
    return await in_pool(encoder.encode, piece, lane=Lane.STREAMS)
