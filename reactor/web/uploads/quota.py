"""The quota of the partial uploads of a directory: their number, and their bytes together.

Room is counted by the bytes that are there, not by those that a client has announced: it is
reserved before each piece is written. An upload whose announced length would never fit is refused
at once, but takes no room from others for it.

Where there is no room, uploads that no request works on are evicted: first those without any bytes,
the oldest first; then those idle for `idle` seconds, the longest idle first; then those that were
refused for lack of room themselves: of several that cannot all be completed, some are. The same
happens where the disk is full (`make_room`). No upload is evicted in vain, and never one that keeps
growing. A client whose upload was evicted gets 404 and starts again.

A client that has created more than a quarter of them, by number or by bytes, has no more than that
quarter for sure: where one that has less finds no room, its uploads are evicted as those that were
refused. Otherwise one client could take all room for `idle` seconds. Clients are networks
(net/client_network.py), and known to this process alone: uploads found on the disk belong to
nobody.

Uploads found on the disk have their room already, even beyond the limits, which an operator may
have lowered. Finished uploads need no bytes; they have a limit of the same number, and the oldest
are forgotten first.
"""

import logging
from collections import Counter
from collections.abc import Set
from typing import Final, NamedTuple

from reactor.errors import ProtocolError
from reactor.tasks.operations import in_pool
from reactor.web.storage.disk_errors import WHEN_WRITING, on_disk
from reactor.web.storage.safe_path import Place
from reactor.web.uploads.limits import UploadLimits
from reactor.web.uploads.partial_store import PartialStore, UploadSummary
from reactor.web.uploads.partial_upload import PartialUpload
from reactor.web.uploads.takeover import Leases

log = logging.getLogger("reactor")

_SLICE: Final = 32  # uploads that one job inspects
CLIENT_PART: Final = 4  # the part of the room that a client has for sure


class _Room(NamedTuple):
    """The room of a partial upload, and the facts that decide whether it may be evicted."""

    size: int  # bytes that are there, or are being written
    changed: float  # when the last byte came, or the upload was created
    refused: bool = False  # the last request for it found no room
    client: str = ""  # the network that has created it; empty where that is unknown


class UploadQuota:
    """The quota of the uploads of one directory."""

    def __init__(self, uploads: PartialStore, leases: Leases, limits: UploadLimits) -> None:
        self.counted = False  # whether the uploads on the disk are counted
        self._uploads = uploads
        self._leases = leases
        self._most = limits.resumable_uploads
        self._most_bytes = limits.resumable_bytes
        self._idle = limits.resumable_idle
        self._total = 0
        self._unfinished: dict[str, _Room] = {}
        self._finished: dict[str, None] = {}  # the oldest first

    async def reserve(self, name: str, size: int, now: float, client: str = "") -> None:
        """Reserve `size` bytes in all for this upload; others are evicted where that makes room.

        `client` is the network that creates it. Raises ProtocolError(507), with nothing changed
        unless other requests have taken the room.
        """
        while evicted := self._evictable(name, size, now, client):
            for other in evicted:
                await self._evict(other, now)
        if self._count(name) > self._most:
            raise ProtocolError(507, "The server has too many partial uploads.")
        if self._bytes(name, size) > self._most_bytes:
            self.refuse(name)
            raise _no_room()
        known = self._unfinished.get(name, _Room(0, now, client=client))
        self._set(name, known._replace(size=size, refused=False))

    def check(self, name: str, size: int, now: float, client: str = "") -> None:
        """Raise ProtocolError(507) where `size` bytes cannot find room even by evicting others.

        `client` is the network that creates the upload.
        """
        much = self._bytes(name, size) - self._most_bytes
        if much <= 0:
            return
        greedy = self._greedy(name, size, client)
        if much > sum(self._unfinished[it].size for it in self._idle_ones(name, now, greedy)):
            self.refuse(name)
            raise _no_room()

    def refuse(self, name: str) -> None:
        """Count an upload as one that has found no room; it may be evicted when nobody uses it."""
        known = self._unfinished.get(name)
        if known is not None:
            self._set(name, known._replace(refused=True))

    async def make_room(self, place: Place | None, now: float) -> bool:
        """Evict one upload with bytes from the full disk; return whether there was one to evict."""
        if place is not None and place[0] != await on_disk(WHEN_WRITING, self._uploads.device):
            return False
        for name in self._idle_ones("", now):
            size = self._unfinished[name].size
            if size and await self._evict(name, now):
                log.info("Evicted a partial upload of %d bytes: the disk is full", size)
                return True
        return False

    def note(self, part: PartialUpload) -> None:
        """Count an upload that is on the disk."""
        known = self._unfinished.get(part.name, _Room(0, 0.0))
        self._set(part.name, known._replace(size=part.size, changed=part.changed))

    def see(self, part: PartialUpload, now: float) -> None:
        """Count an upload again after a request has worked on it, if it is still there."""
        known = self._unfinished.get(part.name)
        if known is not None:
            changed = now if part.unsynced else part.changed
            self._set(part.name, known._replace(size=part.size, changed=changed))

    async def finish(self, name: str) -> None:
        """Count an upload as finished, and forget the oldest finished ones beyond the limit."""
        if name in self._finished:
            return
        self.drop(name)
        self._finished[name] = None
        while len(self._finished) > self._most:
            oldest = next(iter(self._finished))
            del self._finished[oldest]
            try:
                await on_disk(WHEN_WRITING, self._uploads.forget, oldest)
            # The result of this upload does not depend on it.
            except (OSError, ProtocolError) as error:
                log.warning("Cannot remove the record of a finished upload: %s", error)

    def drop(self, name: str) -> None:
        """Return the room of an upload that is gone, if it had any."""
        known = self._unfinished.pop(name, None)
        if known is not None:
            self._total -= known.size
        self._finished.pop(name, None)

    async def take_stock(self, now: float, age: float) -> None:
        """Count the uploads on the disk, and remove those older than `age` seconds.

        Uploads that a request works on are left alone. Raises ProtocolError, OSError.
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
                known = self._unfinished.get(it.name, _Room(0, 0.0))
                self._set(it.name, known._replace(size=it.size, changed=it.changed))
        self.counted = True

    # --- inside ----------------------------------------------------------------------------------

    def _set(self, name: str, room: _Room) -> None:
        self.drop(name)
        self._unfinished[name] = room
        self._total += room.size

    def _count(self, name: str) -> int:
        """The number of partial uploads, including this one."""
        return len(self._unfinished) + (name not in self._unfinished)

    def _bytes(self, name: str, size: int) -> int:
        """The bytes of all partial uploads, if this one has `size`."""
        known = self._unfinished.get(name)
        return self._total + size - (0 if known is None else known.size)

    def _evictable(self, name: str, size: int, now: float, client: str) -> list[str]:
        """Return the uploads to evict so that there is room; none where that would not suffice."""
        many = self._count(name) - self._most
        much = self._bytes(name, size) - self._most_bytes
        evicted: list[str] = []
        if many > 0 or much > 0:
            for other in self._idle_ones(name, now, self._greedy(name, size, client)):
                room = self._unfinished[other].size
                if many > 0 or (much > 0 and room):
                    evicted.append(other)
                    many -= 1
                    much -= room
        return [] if many > 0 or much > 0 else evicted

    def _greedy(self, name: str, size: int, client: str) -> Set[str]:
        """Return the clients whose uploads may be evicted for this one, if it has `size` bytes."""
        known = self._unfinished.get(name)
        client = client if known is None else known.client
        places, sizes = Counter([client]), Counter({client: size})
        for other, room in self._unfinished.items():
            if other != name:
                places[room.client] += 1
                sizes[room.client] += room.size
        greedy = {
            one
            for one in places
            if places[one] > self._most / CLIENT_PART or sizes[one] > self._most_bytes / CLIENT_PART
        }
        return greedy - {""} if client and client not in greedy else frozenset()

    def _idle_ones(self, but: str, now: float, greedy: Set[str] = frozenset()) -> list[str]:
        """Return the uploads that may be evicted, in the order of eviction."""
        found = [
            (bool(room.size), not self._is_idle(room, now), room.changed, name)
            for name, room in self._unfinished.items()
            if (not room.size or room.refused or room.client in greedy or self._is_idle(room, now))
            and name != but
            and name not in self._leases
        ]
        return [name for *_, name in sorted(found)]

    def _is_idle(self, room: _Room, now: float) -> bool:
        return abs(now - room.changed) > self._idle

    async def _evict(self, name: str, now: float) -> bool:
        """Evict an upload and return True; where it is in use, correct its room instead."""
        if name in self._leases or name not in self._unfinished:
            return False
        lease = self._leases.enter(name)  # a request for it waits now, and then finds nothing
        try:
            room = self._unfinished[name]  # with bytes and not idle: refused, or of a greedy client
            idle = self._idle if not room.size or self._is_idle(room, now) else -1.0
            try:
                gone = await in_pool(self._uploads.evict, name, now, idle)
            except (OSError, ProtocolError) as error:
                log.warning("Cannot evict a partial upload: %s", error)
                gone = False
            room = self._unfinished[name]
            self.drop(name)
            if not gone:  # and its client is forgotten, or it would be tried for ever
                self._set(name, _Room(max(1, room.size), now))
            return gone
        finally:
            self._leases.leave(name, lease)


def _no_room() -> ProtocolError:
    return ProtocolError(507, "The partial uploads leave no room for this one.")
