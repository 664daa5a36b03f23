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

from collections.abc import Sequence

from reactor.files.file import File


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


class MultiRegion:
    """Bytes and regions, to be sent one after the other; together of a known length."""

    def __init__(self, pieces: Sequence[bytes | FileRegion]) -> None:
        self.pieces = list(pieces)
        self.length = sum(map(len, self.pieces))

    def __len__(self) -> int:
        return self.length

    def release(self) -> None:
        """Let go of all regions that are left in it."""
        pieces, self.pieces = self.pieces, []
        for piece in pieces:
            if isinstance(piece, FileRegion):
                piece.release()
