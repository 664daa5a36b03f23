"""The content codings that the server makes itself (RFC 9110, section 8.4).

gzip is always available, zstd (RFC 8878) where Python's standard library has it, from 3.14 on; on
older versions the tests replace it by a double (tests/support/zstd_double.py). Everything here is
pure and knows no request: middlewares/compression.py, static/compressed_cache.py and
semantics/negotiation.py decide what is encoded, and for whom. Two rules keep it small:

- A whole body is encoded by one call, which releases the GIL while it runs. Callers with more than
  INLINE_BYTES make that call on a thread.
- A body in pieces is flushed after each piece, so that the client can read what was sent.

Data too short to shrink is stored instead of compressed (RFC 1951, section 3.2.4): the result is
still gzip, some bytes longer, at a fifth of the cost of setting up a compressor.
"""

import pkgutil
import struct
import zlib
from functools import lru_cache
from typing import Any, Final, Protocol

IDENTITY: Final = "identity"  # the absence of a coding

INLINE_BYTES: Final = 4096  # this much is compressed on the loop, in under 0.1 ms
STORED_BYTES: Final = 32  # deflate rarely saves a byte on less

# A head and a body of 1 KiB fit into one packet. Fewer bytes would arrive no earlier, and
# compressing them costs 30 µs, several times the rest of a small response.
LEAST_BYTES: Final = 1024

# 1 MiB of Python source: level 1 leaves 28.9 % at 12 ns a byte, 4 leaves 24.8 % at 17, 6 (zlib's
# default) 23.5 % at 41, 9 23.3 % at 124: beyond 4, time buys next to nothing.
_GZIP_LEVEL: Final = 4
# Level 3 leaves 23.9 % at 6.5 ns a byte. Its window of 2 MiB is one that every client must be able
# to hold; more than 8 MiB, as from level 20 on, would not be (RFC 9659).
_ZSTD_LEVEL: Final = 3
# A stream of gzip looks back 8 KiB and takes 64 KiB of memory, where zlib by default takes 256 and
# saves 6 % more: there are as many streams as there are clients.
_STREAM_WINDOW: Final = 13 + 16  # the power of two, and gzip's frame
_STREAM_MEMORY: Final = 6

GZIP_HEADER: Final = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # no name, no time, any system (RFC 1952)
_LAST_BLOCK: Final = b"\x01"  # the last block, stored
_LENGTHS: Final = struct.Struct("<HH")
_TRAILER: Final = struct.Struct("<II")

# Text types outside of text/; fonts that are not compressed already, as WOFF is; bitmaps.
_SHRINKING: Final = frozenset(
    {
        *("application/json", "application/xml", "application/xml-dtd", "application/sql"),
        *("application/javascript", "application/x-javascript", "application/ecmascript"),
        *("application/ndjson", "application/x-ndjson", "application/json-seq"),
        *("application/yaml", "application/toml", "application/graphql", "application/rtf"),
        *("application/wasm", "application/vnd.ms-fontobject", "application/x-font-ttf"),
        *("application/vnd.apple.mpegurl", "application/postscript", "application/x-subrip"),
        *("font/ttf", "font/otf", "font/collection", "font/sfnt"),
        *("image/bmp", "image/x-icon", "image/vnd.microsoft.icon"),
    }
)
_SHRINKING_SUFFIXES: Final = ("+json", "+xml", "+yaml", "+json-seq")  # RFC 6839, 9512, 8091


def _module(name: str) -> Any:
    """Return a module of the standard library; None where this Python does not have it."""
    try:
        return pkgutil.resolve_name(f"{name}:")
    except ImportError:
        return None


_zstd: Final = _module("compression.zstd")

MADE: Final[tuple[str, ...]] = ("gzip",) if _zstd is None else ("zstd", "gzip")
"""The codings that the server can make, the best one first."""


@lru_cache(maxsize=256)
def shrinks(media_type: str) -> bool:
    """Return whether a body of this type is worth compressing; parameters are ignored."""
    essence = media_type.partition(";")[0].strip(" \t").lower()
    if essence.startswith("text/"):
        return True
    return essence in _SHRINKING or essence.endswith(_SHRINKING_SUFFIXES)


def encode(data: bytes | memoryview, coding: str) -> bytes:
    """Return `data` in one of the codings of MADE; equal data gives equal bytes.

    Raises ValueError for any other coding.
    """
    if coding == "gzip":
        return gzip_bytes(data)
    if coding == "zstd" and _zstd is not None:
        encoded: bytes = _zstd.compress(data, _ZSTD_LEVEL)
        return encoded
    raise _unknown(coding)


def gzip_bytes(data: bytes | memoryview) -> bytes:
    """Return `data` as one gzip member."""
    size = len(data)
    if size > STORED_BYTES:
        return zlib.compress(data, _GZIP_LEVEL, 31)
    lengths = _LENGTHS.pack(size, size ^ 0xFFFF)
    trailer = _TRAILER.pack(zlib.crc32(data), size)
    return b"".join((GZIP_HEADER, _LAST_BLOCK, lengths, data, trailer))


class Encoder(Protocol):
    """Encodes a body that comes in pieces. Used by one thread at a time."""

    def encode(self, piece: bytes) -> bytes:
        """Return the encoded piece, flushed: the client can decode everything up to it."""

    def end(self) -> bytes:
        """Return the bytes after the last piece."""


def new_encoder(coding: str) -> Encoder:
    """Return a new encoder for one of the codings of MADE. Raises ValueError for any other."""
    if coding == "gzip":
        return _Gzip()
    if coding == "zstd" and _zstd is not None:
        return _Zstd()
    raise _unknown(coding)


class _Gzip:
    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _STREAM_WINDOW, _STREAM_MEMORY)

    def encode(self, piece: bytes) -> bytes:
        return self._deflate.compress(piece) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._deflate.flush()


class _Zstd:
    def __init__(self) -> None:
        self._compressor = _zstd.ZstdCompressor(_ZSTD_LEVEL)

    def encode(self, piece: bytes) -> bytes:
        encoded: bytes = self._compressor.compress(piece, self._compressor.FLUSH_BLOCK)
        return encoded

    def end(self) -> bytes:
        rest: bytes = self._compressor.flush()
        return rest


def _unknown(coding: str) -> ValueError:
    return ValueError(f"The coding {coding!r} cannot be made here, only {', '.join(MADE)}.")
