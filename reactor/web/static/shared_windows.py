"""Large files in gzip, window by window, each window made once for all who read it.

A text above STREAMED_BYTES is not kept as a whole, and a client may take hours to read it. Without
sharing, 800 readers of one text would be 800 compressions of it. So its windows are encoded
independently of each other (see compression/splice.py). Readers of one version who come to a
window while it is made, or soon after, share it. The windows made last are kept, in an eighth of
the memory for compressed files.

Making one takes two jobs, as in compressed_cache.py: the first one brings the window into the page
cache, the second one encodes it. No job and no window waits in memory for a slow reader: a reader
asks for its next window when it has taken the one before.
"""

from collections import OrderedDict
from collections.abc import Hashable
from functools import partial
from typing import Final, TypeAlias

from reactor.files.file import File
from reactor.tasks.futures import Lane
from reactor.tasks.guard import Shared, exclusive
from reactor.tasks.operations import in_pool
from reactor.tasks.single_flight import SingleFlight
from reactor.web.compression.encoders import GZIP_HEADER
from reactor.web.compression.splice import Window, combine, encode_window, gzip_end
from reactor.web.static.compressed_cache import ENTRY_BYTES, LARGEST_SHARE, CompressedCache
from reactor.web.streams import BodyStream

SHARED_WINDOW_BYTES: Final = 256 * 1024  # read and encoded at a time

_Key: TypeAlias = tuple[Hashable, int]  # the version of a file, and an offset


class SharedWindows(Shared):
    """The windows of large files that were made last."""

    def __init__(self, cache: CompressedCache) -> None:
        """`cache` leaves some of its memory to the windows."""
        super().__init__()
        self._cache = cache
        self._most = cache.most // LARGEST_SHARE
        self._kept: OrderedDict[_Key, Window] = OrderedDict()  # the most recently used is last
        self._making: SingleFlight[_Key, Window | None] = SingleFlight()
        self.bytes = 0  # the size of all windows, with ENTRY_BYTES for each

    def __len__(self) -> int:
        """The number of windows."""
        return len(self._kept)

    def stream(self, file: File, version: Hashable) -> BodyStream:
        """Return a response body: the file in gzip. `version` changes whenever its bytes do.

        It holds the file until it is closed. A step raises EOFError when the file has become
        shorter, OSError where it cannot be read, and PoolFull.
        """
        return _WindowStream(self, file, version)

    @exclusive
    async def window(self, file: File, version: Hashable, offset: int) -> Window:
        """The window at this offset, kept or made now; raises as a step of a stream."""
        key = (version, offset)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        made = await self._making.run(key, partial(self._make, key, file))
        if made is None:
            raise EOFError("the file has become shorter since the response began")
        return made

    async def _make(self, key: _Key, file: File) -> Window | None:
        """Make a window; None where the file has become shorter."""
        offset = key[1]
        count = min(SHARED_WINDOW_BYTES, file.size - offset)
        file.hold()
        try:
            if not await in_pool(file.warm, offset, count, holding=file):
                return None
            job = in_pool(_encode, file, offset, count, lane=Lane.STREAMS, holding=file)
            made = await job
        finally:
            file.release()
        if made is not None:
            self._keep(key, made)
        return made

    def _keep(self, key: _Key, window: Window) -> None:
        self._kept[key] = window
        self.bytes += len(window.encoded) + ENTRY_BYTES
        while self.bytes > self._most:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= len(oldest.encoded) + ENTRY_BYTES
        self._cache.leave(self.bytes)


def _encode(file: File, offset: int, count: int) -> Window | None:
    """On a thread: the window; None where the file has become shorter."""
    data = file.load(offset, count)
    return encode_window(data) if len(data) == count else None


class _WindowStream(BodyStream):
    """One reader of a file's windows: the head, the windows, and the end of gzip."""

    def __init__(self, windows: SharedWindows, file: File, version: Hashable) -> None:
        self._windows = windows
        self._file: File | None = file.hold()
        self._version = version
        self._offset = -1  # the head is to come
        self._checksum = 0  # CRC-32 of the windows so far

    async def next_piece(self) -> bytes:
        file, offset = self._file, self._offset
        if file is None:
            raise StopAsyncIteration
        if offset < 0:
            self._offset = 0
            return GZIP_HEADER
        if offset >= file.size:
            await self.aclose()
            return gzip_end(self._checksum, file.size)
        window = await self._windows.window(file, self._version, offset)
        self._checksum = combine(self._checksum, window.checksum, window.size)
        self._offset += window.size
        return window.encoded

    async def aclose(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.release()
