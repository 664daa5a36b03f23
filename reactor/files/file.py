"""An open file with a count of its holders, read without waiting for a disk where that is possible.

A File is a file descriptor and the number of its holders: a cache, a queued region, a job on a
thread. The last one closes it; otherwise the number could be another client's file by the time it
is used.

`look` copies bytes from the page cache and never waits for a disk (`RWF_NOWAIT`, preadv2(2)). Where
it returns False, a thread of the pool has to `load` the bytes first.

`in_memory` only asks. A look for bytes that are then sent from the file itself costs half as much
as the sending, because it copies. So a window that a look has found whole is from then on asked for
without copying (see page_cache.py), and that only if it was last found more than FRESH_SECONDS ago:
counting the pages of a large file costs a tenth of sending it, and a kernel does not drop first
what is sent so often. The first window that is missing ends this for the whole file.
"""

import os
import time
from array import array
from typing import Final

from reactor.files.page_cache import resident

WINDOW_BYTES: Final = 256 * 1024  # read at a time; a copy of it fits into a CPU's cache
SEEN_WINDOWS: Final = 64 * 1024  # remembered of one file, 8 bytes each
FRESH_SECONDS: Final = 0.1  # a window that was found in memory is taken to be there still
SCRATCH: Final = memoryview(bytearray(WINDOW_BYTES))  # looks of the loop's thread copy into it
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", None)  # Linux 4.14; elsewhere every look returns False


class File:
    """An open regular file and the number of its holders. The last `release` closes it."""

    __slots__ = ("_others", "_seen", "closed", "descriptor", "size")

    _now = staticmethod(time.monotonic)  # on the class, so that a simulated file has its own

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self.closed = False
        self._others: list[None] = []  # an item for each holder beside the first
        self._seen = array("d")  # by window: until when it is fresh; 0: it was not found whole

    def hold(self) -> "File":
        """Count one more holder, who calls `release` once. Raises ValueError if it is closed."""
        if self.closed:
            raise ValueError("cannot hold this file: it is closed")
        self._others.append(None)
        return self

    def release(self) -> None:
        """Count one holder less; the last one closes the file.

        Raises ValueError if the file is closed already.
        """
        if self.closed:
            raise ValueError("cannot release this file: it has no holder any more")
        # Append and pop are one step each, also where threads share the file: so exactly one holder
        # finds the list empty, without a lock. A number would be read, changed and written.
        try:
            self._others.pop()
        except IndexError:
            self.closed = True
            self._close()

    @property
    def holders(self) -> int:
        """The number of holders; 0 once it is closed."""
        return 0 if self.closed else 1 + len(self._others)

    def look(self, offset: int, into: memoryview) -> bool:
        """Fill all of `into` from memory, without waiting; False if a part of it is not there."""
        if _NOWAIT is not None:
            try:
                if os.preadv(self.descriptor, [into], offset, _NOWAIT) == len(into):
                    return True
            except OSError:  # EAGAIN: on disk only; EOPNOTSUPP: the file system cannot say (tmpfs)
                pass
        # The kernel may read ahead now, and counts pages that it begins to read.
        self._seen = array("d")
        return False

    def in_memory(self, offset: int, count: int) -> bool:
        """Whether these bytes, at least one, are in memory. SCRATCH may be overwritten."""
        end = offset + count
        if end > self.size:
            return False
        first, last = offset // WINDOW_BYTES, (end - 1) // WINDOW_BYTES
        seen = self._seen
        if last >= len(seen):
            fresh = 0.0
        elif first == last:
            fresh = seen[first]
        else:
            fresh = min(seen[first : last + 1])
        if fresh and (self._now() < fresh or self._ask(first, last)):
            return True
        return all(
            self._look_into(window, max(offset, window * WINDOW_BYTES), end)
            for window in range(first, last + 1)
        )

    def load(self, offset: int, count: int) -> bytes:
        """Read `count` bytes, waiting for the disk: on a thread. Shorter only at the file's end."""
        pieces = []
        while count and (piece := os.pread(self.descriptor, count, offset)):
            pieces.append(piece)
            offset += len(piece)
            count -= len(piece)
        return b"".join(pieces)

    def warm(self, offset: int, count: int) -> bool:
        """Bring these bytes into memory, waiting for the disk: on a thread.

        Returns False if the file has become shorter.
        """
        for place in range(offset, offset + count, WINDOW_BYTES):
            wanted = min(WINDOW_BYTES, offset + count - place)
            if len(self.load(place, wanted)) != wanted:
                return False
        return True

    def _ask(self, first: int, last: int) -> bool:
        """Whether these windows, which were found whole before, are still in memory."""
        begin, end = first * WINDOW_BYTES, min((last + 1) * WINDOW_BYTES, self.size)
        if not self._resident(begin, end - begin):
            return False
        self._seen[first : last + 1] = array("d", [self._now() + FRESH_SECONDS]) * (
            last + 1 - first
        )
        return True

    def _look_into(self, window: int, begin: int, end: int) -> bool:
        """Whether the bytes of a window from `begin` to `end` are in memory."""
        stop = min(end, (window + 1) * WINDOW_BYTES)
        if not self.look(begin, SCRATCH[: stop - begin]):
            return False
        if begin % WINDOW_BYTES == 0 and (stop % WINDOW_BYTES == 0 or stop == self.size):
            self._remember(window)
        return True

    def _resident(self, offset: int, count: int) -> bool:
        return resident(self.descriptor, offset, count)

    def _remember(self, window: int) -> None:
        seen = self._seen
        if window < SEEN_WINDOWS:
            seen.extend([0.0] * (window + 1 - len(seen)))
            seen[window] = self._now() + FRESH_SECONDS

    def _close(self) -> None:
        os.close(self.descriptor)

    def __del__(self) -> None:
        # A job has opened the file, and its result was dropped because no task waits any more.
        if not getattr(self, "closed", True):
            self.closed = True
            self._close()
