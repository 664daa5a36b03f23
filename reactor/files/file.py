"""Bytes of an open file, to be sent without ever being held.

A File is a descriptor with a count of those who hold it: a cache, a queued region, a job on a
thread. Only the last one closes it; otherwise the number could be another client's file by the
time it is used. A FileRegion is a stretch of a File.

`look` reads what the page cache has and never waits for a disk (`RWF_NOWAIT`, preadv2(2)); where it
says False, a thread of the pool has to `load` the bytes first. A look copies, which for what is
sent from the file itself is half the cost of sending it. So a window that was once found whole is
from then on asked for and not copied (see files/page_cache.py), and that only when it was last
found more than FRESH_SECONDS ago: to count the pages of a large file costs a tenth of sending it,
and what is sent so often is not what a kernel drops first. The first window that is missing ends
that for the whole file.
"""

import os
import time
from array import array
from typing import Final

from reactor.files.page_cache import resident

WINDOW_BYTES: Final = 256 * 1024  # of a file, looked at at a time; a copy fits into a cache
SEEN_WINDOWS: Final = 64 * 1024  # of one file that are remembered, eight bytes each
FRESH_SECONDS: Final = 0.1  # a window that was found in memory is taken to be there still
SCRATCH: Final = memoryview(
    bytearray(WINDOW_BYTES)
)  # what looks are copied to; the loop's thread's
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", None)  # Linux 4.14; elsewhere every look says None


class File:
    """An open regular file and how many hold it. It is closed when the last one lets go."""

    __slots__ = ("_others", "_seen", "closed", "descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self.closed = False
        self._others: list[None] = []  # an item for each holder beside the first
        self._seen = array("d")  # by window: until when it is fresh; 0: it was not found whole

    def hold(self) -> "File":
        """Count one more holder; each calls `release` once."""
        if self.closed:
            raise ValueError("the file is closed")
        self._others.append(None)
        return self

    def release(self) -> None:
        """Count one holder less; the last one closes the file."""
        if self.closed:
            raise ValueError("the file was let go more often than held")
        # Append and pop are one step each, also where threads share the file: so exactly one holder
        # finds the list empty, without a lock. A number would be read, changed and written.
        try:
            self._others.pop()
        except IndexError:
            self.closed = True
            self._close()

    @property
    def holders(self) -> int:
        """How many hold it."""
        return 0 if self.closed else 1 + len(self._others)

    def look(self, offset: int, into: memoryview) -> bool:
        """Fill all of `into` from memory, without waiting; False if any of it is not there."""
        if _NOWAIT is not None:
            try:
                if os.preadv(self.descriptor, [into], offset, _NOWAIT) == len(into):
                    return True
            except OSError:  # EAGAIN: on disk only; EOPNOTSUPP: the file system cannot tell (tmpfs)
                pass
        self._seen = array("d")  # the kernel may read ahead now, and counts what it begins to read
        return False

    def in_memory(self, offset: int, count: int) -> bool:
        """Whether these bytes, at least one, are in memory. SCRATCH may be written."""
        end = offset + count
        if end > self.size:
            return False
        first, last = offset // WINDOW_BYTES, (end - 1) // WINDOW_BYTES
        seen = self._seen[first : last + 1]
        fresh = min(seen) if len(seen) == last + 1 - first else 0.0
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
        """Have these bytes in memory, waiting for the disk: on a thread. False: it has fewer."""
        for place in range(offset, offset + count, WINDOW_BYTES):
            wanted = min(WINDOW_BYTES, offset + count - place)
            if len(self.load(place, wanted)) != wanted:
                return False
        return True

    def _ask(self, first: int, last: int) -> bool:
        """Whether the windows, which were found whole before, are there still."""
        begin, end = first * WINDOW_BYTES, min((last + 1) * WINDOW_BYTES, self.size)
        if not self._resident(begin, end - begin):
            return False
        self._seen[first : last + 1] = array("d", [self._now() + FRESH_SECONDS]) * (
            last + 1 - first
        )
        return True

    def _look_into(self, window: int, begin: int, end: int) -> bool:
        """Whether what there is of a window from `begin` on, and before `end`, is in memory."""
        stop = min(end, (window + 1) * WINDOW_BYTES)
        if not self.look(begin, SCRATCH[: stop - begin]):
            return False
        if begin % WINDOW_BYTES == 0 and (stop % WINDOW_BYTES == 0 or stop == self.size):
            self._remember(window)
        return True

    def _now(self) -> float:
        return time.monotonic()

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
        # The result of a job that nobody waits for any more: its hold is dropped with it.
        if not getattr(self, "closed", True):
            self.closed = True
            self._close()
