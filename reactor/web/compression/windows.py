"""gzip in windows that are encoded independently of each other, so that clients can share them.

A gzip member is a header, deflate blocks, and a checksum of all bytes (RFC 1952). The blocks of a
window refer to bytes of that window only and end at a byte (RFC 1951, section 3.2.3), so windows
encoded at different times are joined by joining their bytes. The checksum of two windows follows
from the checksums of both: CRC-32 is the remainder of a polynomial division, and putting `n` bytes
behind others multiplies their polynomial by x to the power of 8 `n`.

Everything here is pure and knows no file.
"""

import struct
import zlib
from functools import lru_cache
from typing import Final, NamedTuple

GZIP_HEAD: Final = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # no name, no time, any system

_LEVEL: Final = 4  # see encoders.py
_LAST_BLOCK: Final = b"\x03\x00"  # the last block, empty
_END: Final = struct.Struct("<II")
_POLYNOMIAL: Final = 0xEDB88320  # CRC-32: x^31 is the lowest bit
_ONE: Final = 1 << 31  # the polynomial 1
_X: Final = 1 << 30  # the polynomial x


class Window(NamedTuple):
    """A stretch of a body."""

    encoded: bytes  # deflate blocks
    checksum: int  # CRC-32 of the plain bytes
    size: int  # number of plain bytes


def encode_window(data: bytes) -> Window:
    """The window of these bytes. Takes 17 ns for a byte, and releases the GIL."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    encoded = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return Window(encoded, zlib.crc32(data), len(data))


def gzip_end(checksum: int, size: int) -> bytes:
    """The bytes behind the last window; checksum and size are those of all plain bytes."""
    return _LAST_BLOCK + _END.pack(checksum, size & 0xFFFFFFFF)


@lru_cache(maxsize=1024)  # the readers of a file all need the same ones
def joined_checksum(first: int, second: int, size: int) -> int:
    """The CRC-32 of two stretches, of which the second one has `size` bytes."""
    return _product(_power(size), first) ^ second


@lru_cache(maxsize=64)
def _power(size: int) -> int:
    """x to the power of 8 `size`: by repeated squaring."""
    power, square, exponent = _ONE, _X, 8 * size
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return power


def _product(one: int, other: int) -> int:
    """The product of two polynomials, modulo that of CRC-32."""
    product = 0
    while one:
        if one & _ONE:
            product ^= other
        one = (one << 1) & 0xFFFFFFFF
        other = (other >> 1) ^ _POLYNOMIAL if other & 1 else other >> 1
    return product
