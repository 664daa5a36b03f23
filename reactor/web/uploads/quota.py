"""How much room unfinished uploads have taken: in number and, together, in bytes.

Room is taken before it is used, and what an upload has declared is taken as a whole: whoever was
let in can end. Were that all, a few who declare much and send nothing would shut everybody out for
a day. So where there is no room, uploads that no request works on give way to who needs it: those
of which no byte has come, the oldest first, then those to which none has come for `idle` seconds,
the one that has waited longest first. Nobody gives way in vain, and whoever keeps sending never.
A client whose upload has gone is told 404 and begins anew.

What is found on the disk has its room already, even beyond the limits, which an operator may have
lowered. Finished uploads need no bytes; there are as many of them, at most, and the oldest go
first.
"""

import logging
from typing import Final, NamedTuple

from reactor.errors import ProtocolError
from reactor.tasks.operations import in_pool
from reactor.web.storage.disk_errors import WHEN_WRITING, on_disk
from reactor.web.uploads.limits import UploadLimits
from reactor.web.uploads.partial_store import PartialStore, PartialUpload, UploadSummary
from reactor.web.uploads.takeover import Leases

log = logging.getLogger("reactor")

_SLICE: Final = 32  # uploads that one job looks at


class _Room(NamedTuple):
    """What an unfinished upload takes, and by what it is judged when it may have to go."""

    size: int  # bytes that are there or are to come
    empty: bool
    changed: float  # when the last byte came, or it was made


class UploadQuota:
    """The uploads of one directory."""

    def __init__(self, uploads: PartialStore, leases: Leases, limits: UploadLimits) -> None:
        self.counted = False  # what is on the disk is in here
        self._uploads = uploads
        self._leases = leases
        self._most = limits.resumable_uploads
        self._most_bytes = limits.resumable_bytes
        self._idle = limits.resumable_idle
        self._total = 0
        self._unfinished: dict[str, _Room] = {}
        self._finished: dict[str, None] = {}  # the oldest first

    async def reserve(self, name: str, size: int, now: float) -> None:
        """So many bytes in all for this upload; others give way where it needs theirs.

        Raises ProtocolError(507), with nothing changed unless others were faster to take the room.
        """
        while going := self._evictable(name, size, now):
            for other in going:
                await self._evict(other, now)
        if self._count(name) > self._most:
            raise ProtocolError(507, "There are too many unfinished uploads.")
        if self._bytes(name, size) > self._most_bytes:
            raise ProtocolError(507, "PartialStore uploads take too much room already.")
        known = self._unfinished.get(name, _Room(0, True, now))
        self._set(name, known._replace(size=size))

    def note(self, part: PartialUpload) -> None:
        """An upload that is there is like this."""
        self._set(part.name, _Room(part.room, part.size == 0, part.changed))

    def see(self, part: PartialUpload, now: float) -> None:
        """The same where a request has worked on it, if it is still there."""
        known = self._unfinished.get(part.name)
        if known is not None:
            changed = now if part.unsynced else part.changed
            self._set(part.name, known._replace(empty=part.size == 0, changed=changed))

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
        known = self._unfinished.pop(name, None)
        if known is not None:
            self._total -= known.size
        self._finished.pop(name, None)

    async def take_stock(self, now: float, age: float) -> None:
        """Count what is on the disk, and remove what is older than `age` (in seconds).

        What a request works on is left to it. Raises ProtocolError, OSError.
        """
        gone = {*self._unfinished, *self._finished}
        kept: list[UploadSummary] = []
        names = await on_disk(WHEN_WRITING, self._uploads.names)
        for start in range(0, len(names), _SLICE):
            some = names[start : start + _SLICE]
            kept += await on_disk(WHEN_WRITING, self._uploads.inspect, some, now, age)
        for name in gone.difference(it.name for it in kept):
            if name not in self._leases:
                self.drop(name)
        for it in sorted(kept, key=lambda it: it.changed):
            if it.name in self._leases:
                continue
            if it.finished:
                await self.finish(it.name)
            else:
                self._set(it.name, _Room(it.size, it.empty, it.changed))
        self.counted = True

    # --- inside ----------------------------------------------------------------------------------

    def _set(self, name: str, room: _Room) -> None:
        self.drop(name)
        self._unfinished[name] = room
        self._total += room.size

    def _count(self, name: str) -> int:
        """Of all uploads, this one among them."""
        return len(self._unfinished) + (name not in self._unfinished)

    def _bytes(self, name: str, size: int) -> int:
        """The same of their bytes, if this one has so many."""
        known = self._unfinished.get(name)
        return self._total + size - (0 if known is None else known.size)

    def _evictable(self, name: str, size: int, now: float) -> list[str]:
        """Those that have to go, and can, so that there is room; none where there would be none."""
        many = self._count(name) - self._most
        much = self._bytes(name, size) - self._most_bytes
        going: list[str] = []
        if many > 0 or much > 0:
            for other in self._idle_ones(name, now):
                room = self._unfinished[other].size
                if many > 0 or (much > 0 and room):
                    going.append(other)
                    many -= 1
                    much -= room
        return [] if many > 0 or much > 0 else going

    def _idle_ones(self, but: str, now: float) -> list[str]:
        """Those that may go, in the order in which they do."""
        idle = [
            (not room.empty, room.changed, name)
            for name, room in self._unfinished.items()
            if (room.empty or abs(now - room.changed) > self._idle)
            and name != but
            and name not in self._leases
        ]
        return [name for _, _, name in sorted(idle)]

    async def _evict(self, name: str, now: float) -> None:
        """It is gone afterwards or, as the disk knows better, none that may go."""
        if name in self._leases or name not in self._unfinished:
            return
        lease = self._leases.enter(name)  # whoever comes for it now waits, and does not find it
        try:
            try:
                gone = await in_pool(self._uploads.evict, name, now, self._idle)
            except (OSError, ProtocolError) as error:
                log.warning("an unfinished upload cannot give way: %s", error)
                gone = False
            room = self._unfinished[name]
            self.drop(name)
            if not gone:
                self._set(name, room._replace(empty=False, changed=now))
        finally:
            self._leases.leave(name, lease)
