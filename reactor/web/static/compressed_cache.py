"""Compressed files, made once and kept in memory: a hot text costs as much as a file on the disk.

The caller names the version of a file, which changes whenever its bytes do. The cache is bounded in
bytes and evicts the least recently used. Requests for the same version while it is made wait for
one job, which goes on when one of them is cancelled and ends early when all are.

Making one takes two jobs. The first reads the file in the files' lane and drops the bytes, so that
they are in the page cache; the second reads it again, from memory, and compresses it. So a cold
disk never occupies one of the two threads that may compress, and only these two jobs hold files,
however many requests wait. Reading twice costs a hundredth of compressing.

A file above STREAMED_BYTES is encoded window by window as it is sent, and not kept; readers of gzip
share the windows (see shared_windows.py). This module knows neither HTTP nor names.
"""

from collections import OrderedDict
from collections.abc import Hashable
from functools import partial
from typing import Final, TypeAlias

from reactor.errors import PoolFull
from reactor.files.file import File
from reactor.tasks.futures import Lane
from reactor.tasks.operations import in_pool
from reactor.tasks.single_flight import SingleFlight
from reactor.web.compression.encoders import encode
from reactor.web.compression.streams import encode_stream
from reactor.web.streams import BodyStream

STREAMED_BYTES: Final = 8 * 1024 * 1024  # a larger file is streamed: at most 0.15 s of a thread
WINDOW_BYTES: Final = 256 * 1024  # read from a file and encoded at a time
ENTRY_BYTES: Final = 512  # memory of an entry beside its data: keys, links, and their objects
LARGEST_SHARE: Final = 8  # an eighth of the memory: a larger result is not kept

_Key: TypeAlias = tuple[Hashable, str]


class CompressedCache:
    """Compressed files by version and coding, at most `most` bytes of them together."""

    def __init__(self, most_bytes: int) -> None:
        self.most = most_bytes
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()  # the most recently used is last
        self._making: SingleFlight[_Key, bytes | None] = SingleFlight()
        self.bytes = 0  # the size of all entries, with ENTRY_BYTES for each
        self._beside = 0  # bytes of the memory that are left to others

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._kept)

    def get(self, version: Hashable, coding: str) -> bytes | None:
        """Return the whole file in this coding, or None if it is not kept."""
        key = (version, coding)
        data = self._kept.get(key)
        if data is not None:
            self._kept.move_to_end(key)
        return data

    async def make(self, file: File, version: Hashable, coding: str) -> bytes | None:
        """Return the whole file in one of the codings of MADE: kept, or made now, on threads.

        Returns None when the pool is full or the file has become shorter; then send the plain file.
        The file is held as long as it is needed. Raises OSError where it cannot be read.
        """
        key = (version, coding)
        data = self.get(version, coding)
        if data is None:
            data = await self._making.run(key, partial(self._make, key, file))
        return data

    async def _make(self, key: _Key, file: File) -> bytes | None:
        """Make an entry. Each job holds the file itself: a task that is closed leaves its job."""
        file.hold()
        try:
            whole = await in_pool(file.warm, 0, file.size, holding=file)
            if not whole or not self._making.waiting(key):
                return None
            data = await in_pool(_encode_file, file, key[1], lane=Lane.COMPRESSION, holding=file)
        except PoolFull:  # no place to compress, or none to read in time
            return None
        finally:
            file.release()
        if data is not None:
            self._keep(key, data)
        return data

    def leave(self, count: int) -> None:
        """Leave this many bytes of the memory to windows of large files."""
        self._beside = count
        self._evict()

    def _keep(self, key: _Key, data: bytes) -> None:
        size = len(data) + ENTRY_BYTES
        if size * LARGEST_SHARE > self.most:
            return
        self._kept[key] = data
        self.bytes += size
        self._evict()

    def _evict(self) -> None:
        while self.bytes and self.bytes + self._beside > self.most:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= len(oldest) + ENTRY_BYTES


def stream(file: File, size: int, coding: str) -> BodyStream:
    """Return a response body: the first `size` bytes of the file, encoded window by window.

    It holds the file until it is closed. A step raises EOFError when the file has become shorter,
    OSError where it cannot be read, and what an encoded stream and the pool raise.
    """
    return encode_stream(_Windows(file, size), coding)


def _encode_file(file: File, coding: str) -> bytes | None:
    """Return the whole file, encoded; None if it has become shorter. Runs on a thread."""
    data = file.load(0, file.size)
    return encode(data, coding) if len(data) == file.size else None


class _Windows(BodyStream):
    """The plain bytes of a file, window by window."""

    def __init__(self, file: File, size: int) -> None:
        self._file: File | None = file.hold()
        self._size = size
        self._offset = 0

    async def next_piece(self) -> bytes:
        if self._file is None or self._offset == self._size:
            raise StopAsyncIteration
        count = min(WINDOW_BYTES, self._size - self._offset)
        file = self._file
        data = await in_pool(file.load, self._offset, count, holding=file)
        if len(data) != count:
            raise EOFError("the file has become shorter since the response began")
        self._offset += count
        return data

    async def aclose(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.release()
