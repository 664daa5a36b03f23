"""How much room unfinished uploads have taken: in number and, together, in bytes.

Room is taken before it is used, and what an upload has declared is taken as a whole: whoever was
let in can end. What is found on the disk has its room already, even beyond the limits, which an
operator may have lowered. Finished uploads need no bytes; there are as many of them, at most, and
the oldest go first.
"""

import logging
from collections.abc import Container
from typing import Final

from handlers.ondisk import WHEN_WRITING, on_disk
from handlers.unfinished import Kept, Unfinished
from reactor import ProtocolError

log = logging.getLogger("reactor")

_SLICE: Final = 32  # uploads that one job looks at


class Ledger:
    """The uploads of one directory."""

    def __init__(self, uploads: Unfinished, most: int, most_bytes: int) -> None:
        self.counted = False  # what is on the disk is in here
        self._uploads = uploads
        self._most = most
        self._most_bytes = most_bytes
        self._total = 0
        self._unfinished: dict[str, int] = {}
        self._finished: dict[str, None] = {}  # the oldest first

    def reserve(self, name: str, size: int) -> None:
        """So many bytes in all for this upload. Raises ProtocolError(507), with nothing changed."""
        if name not in self._unfinished and len(self._unfinished) >= self._most:
            raise ProtocolError(507, "There are too many unfinished uploads.")
        if self._total - self._unfinished.get(name, 0) + size > self._most_bytes:
            raise ProtocolError(507, "Unfinished uploads take too much room already.")
        self.note(name, size)

    def note(self, name: str, size: int) -> None:
        """An upload that is there has this size."""
        self.drop(name)
        self._unfinished[name] = size
        self._total += size

    async def finish(self, name: str) -> None:
        """It is finished; what is too much of such is forgotten, on the disk too."""
        if name in self._finished:
            return
        self.drop(name)
        self._finished[name] = None
        while len(self._finished) > self._most:
            oldest = next(iter(self._finished))
            del self._finished[oldest]
            try:
                await on_disk(WHEN_WRITING, self._uploads.forget, oldest)
            except (OSError, ProtocolError) as error:  # how this one has ended is another matter
                log.warning("cannot forget a finished upload: %s", error)

    def drop(self, name: str) -> None:
        """It is gone, if it was there."""
        self._total -= self._unfinished.pop(name, 0)
        self._finished.pop(name, None)

    async def take_stock(self, busy: Container[str], now: float, age: float) -> None:
        """Count what is on the disk, and remove what is older than `age` (in seconds).

        Whatever is `busy` is left to its request. Raises ProtocolError, OSError.
        """
        gone = {*self._unfinished, *self._finished}
        kept: list[Kept] = []
        names = await on_disk(WHEN_WRITING, self._uploads.names)
        for start in range(0, len(names), _SLICE):
            some = names[start : start + _SLICE]
            kept += await on_disk(WHEN_WRITING, self._uploads.inspect, some, now, age)
        for name in gone.difference(it.name for it in kept):
            if name not in busy:
                self.drop(name)
        for it in sorted(kept, key=lambda it: it.changed):
            if it.name in busy:
                continue
            if it.finished:
                await self.finish(it.name)
            else:
                self.note(it.name, it.size)
        self.counted = True
