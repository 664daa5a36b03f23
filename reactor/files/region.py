"""Bytes of open files as the body of a response: sent from the file, never held in memory.

A region owns one hold of its File, and releases it when it was sent or given up.
"""

from collections.abc import Sequence

from reactor.files.file import File


class FileRegion:
    """`length` bytes of `file` from `offset` on.

    The region takes over one hold of the file. Its owner calls `release` when it was sent or given
    up; a region that is a response's body belongs to the connection.
    """

    __slots__ = ("file", "length", "offset")

    def __init__(self, file: File, offset: int, length: int) -> None:
        if offset < 0 or length < 0:
            raise ValueError(
                f"the offset is {offset} and the length {length}; neither may be negative"
            )
        self.file = file
        self.offset = offset
        self.length = length

    def __len__(self) -> int:
        return self.length

    def release(self) -> None:
        """Release the file."""
        self.file.release()


class MultiRegion:
    """Bytes and regions that are sent one after the other; `length` is their total."""

    def __init__(self, pieces: Sequence[bytes | FileRegion]) -> None:
        self.pieces = list(pieces)
        self.length = sum(map(len, self.pieces))

    def __len__(self) -> int:
        return self.length

    def release(self) -> None:
        """Release all regions that are left in it."""
        pieces, self.pieces = self.pieces, []
        for piece in pieces:
            if isinstance(piece, FileRegion):
                piece.release()
