"""What is to be sent and has not been: bytes and stretches of files, in order.

Small pieces next to each other are joined, since one send of 64 KiB costs less than two system
calls; larger ones are never copied: what remains of a partial send is a view or an offset.
"""

from typing import Final, TypeAlias

from reactor.regions import FileRegion

JOIN_BYTES: Final = 64 * 1024

Item: TypeAlias = bytes | memoryview | FileRegion


class SendQueue:
    """First in, first out. A region in it is let go when it is sent or the queue is cleared."""

    __slots__ = ("_items", "unsent")

    def __init__(self) -> None:
        self._items: list[Item] = []
        self.unsent = 0  # bytes

    def append(self, item: Item) -> None:
        """Memoryviews are of bytes (format "B")."""
        length = item.length if isinstance(item, FileRegion) else len(item)
        if length:
            self._items.append(item)
            self.unsent += length
        elif isinstance(item, FileRegion):
            item.release()

    def first(self) -> Item:
        """What to send next. The queue must not be empty."""
        items = self._items
        if len(items) > 1:
            self._join()
        return items[0]

    def sent(self, count: int) -> None:
        """`count` bytes of the first item have left."""
        item = self._items[0]
        self.unsent -= count
        if isinstance(item, FileRegion):
            item.offset += count
            item.length -= count
            if item.length == 0:
                del self._items[0]
                item.release()
        elif count == len(item):
            del self._items[0]
        else:
            self._items[0] = memoryview(item)[count:]

    def clear(self) -> None:
        for item in self._items:
            if isinstance(item, FileRegion):
                item.release()
        self._items.clear()
        self.unsent = 0

    def _join(self) -> None:
        """Make one item of the small ones at the front."""
        pieces: list[bytes | memoryview] = []
        room = JOIN_BYTES
        for item in self._items:
            if isinstance(item, FileRegion) or len(item) > room:
                break
            room -= len(item)
            pieces.append(item)
        if len(pieces) > 1:
            self._items[: len(pieces)] = [b"".join(pieces)]
