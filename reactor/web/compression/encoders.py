"""The content codings that are made here (RFC 9110, section 8.4): bytes in, fewer bytes out.

gzip always, zstd (RFC 8878) where Python's standard library has it, from 3.14 on; on an older one
the tests play it with a double (tests/support/zstd_double.py). All of it is pure and knows no
request: what is coded, and for whom, is said in middlewares/compression.py,
static/compressed_cache.py and semantics/negotiation.py. Two rules keep it small:

- What is whole is coded by one call, which gives the GIL away for as long as it takes. Whoever has
  more than INLINE_BYTES makes that call on a thread.
- What comes in pieces is flushed after each, so that the client can read what has been said.

What is too short to shrink is not compressed but stored (RFC 1951, section 3.2.4): the result is
gzip all the same, some bytes longer, at a fifth of what setting up a compressor costs.
"""

import pkgutil
import struct
import zlib
from functools import lru_cache
from typing import Any, Final, Protocol

IDENTITY: Final = "identity"  # no coding

INLINE_BYTES: Final = 4096  # compressed where we stand: less than a tenth of a millisecond
STORED_BYTES: Final = 32  # deflate seldom saves a byte on less

# A head and a body of 1 KiB go into one packet. With fewer bytes it would arrive no earlier, and
# compressing it costs 30 µs, several times what the rest of a small answer does.
LEAST_BYTES: Final = 1024

# Of 1 MiB of Python source, level 1 leaves 28.9 % at 12 ns a byte, 4 leaves 24.8 % at 17, 6 (zlib's
# default) 23.5 % at 41, 9 23.3 % at 124: beyond 4, time buys next to nothing.
_GZIP_LEVEL: Final = 4
# Level 3 leaves 23.9 % at 6.5 ns a byte. Its window of 2 MiB is one that every client must be able
# to hold; more than 8 MiB, as from level 20 on, would not be (RFC 9659).
_ZSTD_LEVEL: Final = 3
# A stream of gzip looks back 8 KiB and takes 64 KiB of memory, where zlib by default takes 256 and
# saves 6 % more: there are as many streams as there are clients.
_STREAM_WINDOW: Final = 13 + 16  # the power of two, and gzip's frame
_STREAM_MEMORY: Final = 6

_HEADER: Final = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # no name, no time, any system (RFC 1952)
_LAST_BLOCK: Final = b"\x01"  # and it is stored
_LENGTHS: Final = struct.Struct("<HH")
_TRAILER: Final = struct.Struct("<II")

# Text by another name; fonts that are not compressed already, as WOFF is; bitmaps.
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
    """A module of the standard library that not every Python has; None where it is missing."""
    try:
        return pkgutil.resolve_name(f"{name}:")
    except ImportError:
        return None


_zstd: Final = _module("compression.zstd")

MADE: Final[tuple[str, ...]] = ("gzip",) if _zstd is None else ("zstd", "gzip")
"""The codings that can be made, the better one first."""


@lru_cache(maxsize=256)
def shrinks(media_type: str) -> bool:
    """Whether a body of this type is worth compressing; parameters such as charset do not count."""
    essence = media_type.partition(";")[0].strip(" \t").lower()
    if essence.startswith("text/"):
        return True
    return essence in _SHRINKING or essence.endswith(_SHRINKING_SUFFIXES)


def encode(data: bytes | memoryview, coding: str) -> bytes:
    """`data` in one of the codings of MADE, always the same for the same data."""
    if coding == "gzip":
        return gzip_bytes(data)
    if coding == "zstd" and _zstd is not None:
        coded: bytes = _zstd.compress(data, _ZSTD_LEVEL)
        return coded
    raise _unknown(coding)


def gzip_bytes(data: bytes | memoryview) -> bytes:
    """`data` as one gzip member."""
    size = len(data)
    if size > STORED_BYTES:
        return zlib.compress(data, _GZIP_LEVEL, 31)
    lengths = _LENGTHS.pack(size, size ^ 0xFFFF)
    return b"".join((_HEADER, _LAST_BLOCK, lengths, data, _TRAILER.pack(zlib.crc32(data), size)))


class Encoder(Protocol):
    """A coding of something that comes in pieces. Used by one thread at a time."""

    def code(self, piece: bytes) -> bytes:
        """The piece, coded so that it and all before it can be read."""

    def end(self) -> bytes:
        """What comes after the last piece."""


def encoder(coding: str) -> Encoder:
    """A new encoder for one of the codings of MADE."""
    if coding == "gzip":
        return _Gzip()
    if coding == "zstd" and _zstd is not None:
        return _Zstd()
    raise _unknown(coding)


class _Gzip:
    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _STREAM_WINDOW, _STREAM_MEMORY)

    def code(self, piece: bytes) -> bytes:
        return self._deflate.compress(piece) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._deflate.flush()


class _Zstd:
    def __init__(self) -> None:
        self._compressor = _zstd.ZstdCompressor(_ZSTD_LEVEL)

    def code(self, piece: bytes) -> bytes:
        coded: bytes = self._compressor.compress(piece, self._compressor.FLUSH_BLOCK)
        return coded

    def end(self) -> bytes:
        rest: bytes = self._compressor.flush()
        return rest


def _unknown(coding: str) -> ValueError:
    return ValueError(f"a coding that cannot be made here: {coding!r}")
