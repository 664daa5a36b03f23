"""What is to be sent and has not been: bytes and stretches of files, in order.

Small pieces next to each other are joined, since one send of 64 KiB costs less than two system
calls; larger ones are never copied: what remains of a partial send is a view or an offset.
"""

from typing import Final, TypeAlias

from reactor.files.region import FileRegion

JOIN_BYTES: Final = 64 * 1024

Item: TypeAlias = bytes | memoryview | FileRegion


class SendQueue(list[Item]):
    """First in, first out; no item is empty, and memoryviews are of bytes (format "B").

    A region in it is let go when it is sent or the queue is emptied by `drop`.
    """

    __slots__ = ()

    @property
    def unsent(self) -> int:
        """How many bytes."""
        return sum(map(len, self))

    def first(self) -> Item:
        """What to send next, small items joined. The queue must not be empty."""
        pieces: list[bytes | memoryview] = []
        room = JOIN_BYTES
        for item in self:
            if isinstance(item, FileRegion) or len(item) > room:
                break
            room -= len(item)
            pieces.append(item)
        if len(pieces) > 1:
            self[: len(pieces)] = [b"".join(pieces)]
        return self[0]

    def sent(self, count: int) -> None:
        """`count` bytes of the first item have left."""
        item = self[0]
        if isinstance(item, FileRegion):
            item.offset += count
            item.length -= count
            if item.length:
                return
            item.release()
        elif count < len(item):
            self[0] = memoryview(item)[count:]
            return
        del self[0]

    def drop(self) -> None:
        """Empty it, unsent."""
        for item in self:
            if isinstance(item, FileRegion):
                item.release()
        self.clear()
