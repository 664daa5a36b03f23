"""Compressed files, made once and kept in memory: a hot text costs as much as one on the disk.

A file is known here by its version, which is whatever changes when its bytes do. What is kept is
bounded in bytes, and what was not asked for the longest goes first. Those who ask for the same
version while it is made wait for one job; it goes on when one of them gives up, and is left when
all have.

Making one takes two jobs. The first reads the file in the files' lane and throws the bytes away, so
that they are in the page cache; the second reads it again, from memory, and compresses it. So a
cold disk never holds up one of the two threads that may compress, and files are held by those two
only, however many wait. Reading twice costs a hundredth of compressing.

A file above STREAMED_BYTES is coded window by window as it is sent, and not kept. It knows nothing
of HTTP, and of names: whose version a file is, the caller knows.
"""

from collections import OrderedDict
from collections.abc import Hashable
from functools import partial
from typing import Any, Final, TypeAlias

from reactor.errors import PoolFull, ProtocolError
from reactor.files.file import File
from reactor.tasks.futures import Future, Lane
from reactor.web.compression.encoders import encode
from reactor.web.compression.streams import encode_stream
from reactor.web.streams import BodyStream

STREAMED_BYTES: Final = 8 * 1024 * 1024  # a larger file is streamed: 0.15 s of a thread at most
WINDOW_BYTES: Final = 256 * 1024  # of a file, read and coded at a time
ENTRY_BYTES: Final = 512  # what an entry takes beside its data: keys, links, and their objects
_LARGEST_SHARE: Final = 8  # one result may take an eighth of the memory, or is not kept

_Key: TypeAlias = tuple[Hashable, str]


class CompressedCache:
    """Compressed files by version and coding, `most_bytes` of them together."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()  # the one used last is last
        self._making: dict[_Key, _Making] = {}
        self.bytes = 0  # of all that is kept, with ENTRY_BYTES for each

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def get(self, version: Hashable, coding: str) -> bytes | None:
        """The whole file in this coding, if it is kept."""
        key = (version, coding)
        data = self._kept.get(key)
        if data is not None:
            self._kept.move_to_end(key)
        return data

    async def make(self, file: File, version: Hashable, coding: str) -> bytes | None:
        """The whole file in one of the codings of MADE: kept, or made now, on threads.

        None when the pool is full or the file has become shorter; then send it as it is. The file
        is held as long as it is needed. Raises OSError where it cannot be read.
        """
        key = (version, coding)
        data = self.get(version, coding)
        if data is not None:
            return data
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = _Making(file, coding)
            making.add_callback(partial(self._made, key))
        making.waiting += 1
        try:
            return await making
        finally:
            making.waiting -= 1

    def _made(self, key: _Key, making: Future[bytes | None]) -> None:
        del self._making[key]
        try:
            data = making.result()
        except Exception:
            return  # for those who wait to see
        if data is not None:
            self._keep(key, data)

    def _keep(self, key: _Key, data: bytes) -> None:
        size = len(data) + ENTRY_BYTES
        if size * _LARGEST_SHARE > self._most:
            return
        self._kept[key] = data
        self.bytes += size
        while self.bytes > self._most:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= len(oldest) + ENTRY_BYTES


def stream(file: File, size: int, coding: str) -> BodyStream:
    """The first `size` bytes of the file, coded window by window, to be an answer's body.

    It holds the file until it is closed. A step raises EOFError when the file has become shorter,
    OSError where it cannot be read, and what a coded stream and the pool raise.
    """
    return encode_stream(_Windows(file, size), coding)


class _Making(Future["bytes | None"]):
    """One file on its way. It begins when the first one waits for it, and all wait for its end.

    As a future it is its own wish: a task that awaits it starts it, with its own runtime.
    """

    __slots__ = ("_coding", "_file", "_runtime", "waiting")

    def __init__(self, file: File, coding: str) -> None:
        super().__init__()
        self._file = file
        self._coding = coding
        self._runtime: Any = None  # once it has begun
        self.waiting = 0  # tasks

    def start(self, runtime: Any) -> "_Making":
        if self._runtime is None:
            self._runtime = runtime
            self._file.hold()
            warming = runtime.submit(Lane.FILES, self._file.warm, 0, self._file.size)
            warming.add_callback(self._warmed)
        return self

    def _warmed(self, warming: Future[bool]) -> None:
        try:
            whole = warming.result()
            if not whole or not self.waiting:
                self._end(None)
                return
            job = self._runtime.submit(Lane.COMPRESSION, _encode_file, self._file, self._coding)
        except (PoolFull, ProtocolError):  # no place for compressing; none for reading in time
            self._end(None)
        except Exception as error:
            self._fail(error)
        else:
            job.add_callback(self._encoded)

    def _encoded(self, job: Future[bytes | None]) -> None:
        try:
            data = job.result()
        except Exception as error:
            self._fail(error)
        else:
            self._end(data)

    def _end(self, data: bytes | None) -> None:
        self._file.release()
        self.set_result(data)

    def _fail(self, error: Exception) -> None:
        self._file.release()
        self.set_exception(error)


def _encode_file(file: File, coding: str) -> bytes | None:
    """The whole file, coded; None if it has become shorter. On a thread."""
    data = file.load(0, file.size)
    return encode(data, coding) if len(data) == file.size else None


class _Windows(BodyStream):
    """A file, window by window."""

    def __init__(self, file: File, size: int) -> None:
        self._file: File | None = file.hold()
        self._size = size
        self._offset = 0

    async def next_piece(self) -> bytes:
        if self._file is None or self._offset == self._size:
            raise StopAsyncIteration
        count = min(WINDOW_BYTES, self._size - self._offset)
        data = await _Loading(self._file, self._offset, count)
        if len(data) != count:
            raise EOFError("the file has become shorter")
        self._offset += count
        return data

    async def aclose(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.release()


class _Loading(Future[bytes]):
    """A window on its way. Who waits for it may leave before: the job holds the file for itself."""

    __slots__ = ("_count", "_file", "_offset")

    def __init__(self, file: File, offset: int, count: int) -> None:
        super().__init__()
        self._file = file
        self._offset = offset
        self._count = count

    def start(self, runtime: Any) -> "_Loading":
        file = self._file.hold()
        job = runtime.submit(Lane.FILES, file.load, self._offset, self._count)
        job.add_callback(self._loaded)
        return self

    def _loaded(self, job: Future[bytes]) -> None:
        self._file.release()
        try:
            self.set_result(job.result())
        except Exception as error:
            self.set_exception(error)
