"""gzip, for bodies that are in memory.

What is large is compressed on a thread: a loop that compresses answers nobody else. Where the pool
has no place left, the answer is not compressed, which costs the network and nobody's time.

What is too short to shrink is not compressed but stored (RFC 1951, section 3.2.4): the result is
gzip all the same, some bytes longer, at a fifth of what setting up a compressor costs.
"""

import struct
import zlib
from typing import Final

from reactor import Lane, PoolFull, in_pool

INLINE_BYTES: Final = 4096  # compressed where we stand: less than a tenth of a millisecond
STORED_BYTES: Final = 32  # deflate seldom saves a byte on less

_HEADER: Final = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # no name, no time, any system (RFC 1952)
_LAST_BLOCK: Final = b"\x01"  # and it is stored
_LENGTHS: Final = struct.Struct("<HH")
_TRAILER: Final = struct.Struct("<II")


def gzip_bytes(data: bytes) -> bytes:
    """`data` as one gzip member, always the same for the same data."""
    size = len(data)
    if size > STORED_BYTES:
        return zlib.compress(data, wbits=31)
    lengths = _LENGTHS.pack(size, size ^ 0xFFFF)
    return b"".join((_HEADER, _LAST_BLOCK, lengths, data, _TRAILER.pack(zlib.crc32(data), size)))


async def gzip_in_pool(data: bytes) -> bytes | None:
    """`data` as gzip, made on a thread; None when the pool is full."""
    try:
        return await in_pool(gzip_bytes, data, lane=Lane.COMPRESSION)
    except PoolFull:
        return None
