"""Bytes of an open file, to be sent without ever being held.

A File is a descriptor with a count of those who hold it: a cache, a queued region, a job on a
thread. Only the last one closes it; otherwise the number could be another client's file by the
time it is used. A FileRegion is a stretch of a File.

`look` reads what the page cache has and never waits for a disk (`RWF_NOWAIT`, preadv2(2)); where it
says None, a thread of the pool has to `load` the bytes first.
"""

import os
from typing import Final

_NOWAIT: Final = getattr(os, "RWF_NOWAIT", None)  # Linux 4.14; elsewhere every look says None


class File:
    """An open regular file and how many hold it. It is closed when the last one lets go."""

    __slots__ = ("_holders", "descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self._holders = 1

    def hold(self) -> "File":
        """Count one more holder; each calls `release` once."""
        if self._holders == 0:
            raise ValueError("the file is closed")
        self._holders += 1
        return self

    def release(self) -> None:
        if self._holders == 0:
            raise ValueError("the file was let go more often than held")
        self._holders -= 1
        if self._holders == 0:
            self._close()

    @property
    def closed(self) -> bool:
        return self._holders == 0

    def look(self, offset: int, into: memoryview) -> bool:
        """Fill all of `into` from memory, without waiting; False if any of it is not there."""
        if _NOWAIT is None:
            return False
        try:
            return os.preadv(self.descriptor, [into], offset, _NOWAIT) == len(into)
        except OSError:  # EAGAIN: on disk only; EOPNOTSUPP: this file system cannot tell (tmpfs)
            return False

    def load(self, offset: int, count: int) -> bytes:
        """Read `count` bytes, waiting for the disk: on a thread. Shorter only at the file's end."""
        pieces = []
        while count and (piece := os.pread(self.descriptor, count, offset)):
            pieces.append(piece)
            offset += len(piece)
            count -= len(piece)
        return b"".join(pieces)

    def _close(self) -> None:
        os.close(self.descriptor)

    def __del__(self) -> None:
        # The result of a job that nobody waits for any more: its hold is dropped with it.
        if getattr(self, "_holders", 0):
            self._holders = 0
            self._close()


class FileRegion:
    """`length` bytes of `file` from `offset` on; as a response's body it is its owner's hold.

    Whoever gets a region as a body calls `release` when it is sent or given up.
    """

    __slots__ = ("file", "length", "offset")

    def __init__(self, file: File, offset: int, length: int) -> None:
        if offset < 0 or length < 0:
            raise ValueError("a region has no negative offset or length")
        self.file = file
        self.offset = offset
        self.length = length

    def __len__(self) -> int:
        return self.length

    def release(self) -> None:
        self.file.release()
