"""The send queue: unsent bytes and regions of files, in order.

Small items next to each other are joined, since one send of 64 KiB costs less than two system
calls. Larger ones are never copied: the rest of a partial send is a view or an offset.
"""

from typing import Final, TypeAlias

from reactor.files.region import FileRegion

JOIN_BYTES: Final = 64 * 1024  # the largest item that joining makes

Item: TypeAlias = bytes | memoryview | FileRegion


class SendQueue(list[Item]):
    """First in, first out; no item is empty, and memoryviews are of bytes (format "B").

    The queue owns its regions: it releases each when it is sent, or when `drop` empties the queue.
    """

    __slots__ = ()

    @property
    def unsent(self) -> int:
        """Number of bytes."""
        return sum(map(len, self))

    def first(self) -> Item:
        """The item to send next, after joining small ones. The queue must not be empty."""
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
        """Remove `count` bytes of the first item, which were sent."""
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
        """Remove all items, unsent."""
        for item in self:
            if isinstance(item, FileRegion):
                item.release()
        self.clear()
