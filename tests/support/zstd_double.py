"""The part of compression.zstd that reactor/web/ uses, as the documentation of Python 3.14 has it.

The Pythons before 3.14, on which these tests mostly run, have no such module. This one has its
names, its arguments and what they mean, and around zlib's bytes a frame with zstd's magic number:
nothing but itself can read that. It cannot show that the real one gives valid zstd.
"""

import zlib
from typing import Final

from reactor.web.compression import encoders

MAGIC: Final = b"\x28\xb5\x2f\xfd"


class ZstdError(Exception):
    pass


class ZstdCompressor:
    CONTINUE = 0
    FLUSH_BLOCK = 1
    FLUSH_FRAME = 2

    def __init__(self, level: int | None = None) -> None:
        self.last_mode = self.FLUSH_FRAME
        self._level = 3 if level is None else level
        self._deflate = zlib.compressobj(self._level)

    def compress(self, data: bytes | memoryview, mode: int = CONTINUE) -> bytes:
        return self._begin() + self._deflate.compress(data) + self._end(mode)

    def flush(self, mode: int = FLUSH_FRAME) -> bytes:
        if mode not in (self.FLUSH_BLOCK, self.FLUSH_FRAME):
            raise ValueError("flushing is FLUSH_BLOCK or FLUSH_FRAME")
        return self._begin() + self._end(mode)

    def _begin(self) -> bytes:
        if self.last_mode != self.FLUSH_FRAME:
            return b""
        self._deflate = zlib.compressobj(self._level)
        return MAGIC

    def _end(self, mode: int) -> bytes:
        self.last_mode = mode
        if mode == self.CONTINUE:
            return b""
        return self._deflate.flush(zlib.Z_SYNC_FLUSH if mode == self.FLUSH_BLOCK else zlib.Z_FINISH)


class ZstdDecompressor:
    """One frame."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj()
        self._magic = b""

    def decompress(self, data: bytes) -> bytes:
        missing = len(MAGIC) - len(self._magic)
        self._magic += data[:missing]
        if not MAGIC.startswith(self._magic):
            raise ZstdError("no frame")
        return self._inflate.decompress(data[missing:])

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data


def compress(data: bytes | memoryview, level: int | None = None) -> bytes:
    return ZstdCompressor(level).compress(data, ZstdCompressor.FLUSH_FRAME)


class Reader:
    """Reads a coding as a client does, from the bytes that have come."""

    def __init__(self, coding: str) -> None:
        # Nothing here says that _zstd is this double: from 3.14 on it is the real one.
        self._zstd = encoders._zstd.ZstdDecompressor() if coding == "zstd" else None
        self._gzip = zlib.decompressobj(wbits=31)

    def read(self, data: bytes) -> bytes:
        if self._zstd is not None:
            text: bytes = self._zstd.decompress(data)
            return text
        return self._gzip.decompress(data)

    @property
    def ended(self) -> bool:
        """At the end of the encoded bytes, with nothing behind it."""
        reader = self._gzip if self._zstd is None else self._zstd
        return bool(reader.eof and not reader.unused_data)


def decode(data: bytes, coding: str) -> bytes:
    """All of it; asserts that it is whole, and one frame."""
    reader = Reader(coding)
    text = reader.read(data)
    assert reader.ended
    return text
