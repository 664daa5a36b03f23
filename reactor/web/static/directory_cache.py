"""Keeps directories that were read, so that all readers of a directory share one reading of it.

Each request looks at the directory itself: one job on the pool, two system calls. Where its times
are those of the snapshot that is kept, no name was added, removed or renamed since. The sizes and
dates of files change without a trace in their directory, so a snapshot is also too old after a
second, or after ten times what its reading took: a directory of 100,000 names is not read again and
again. A directory that changed less than a second before it was read may change again within the
same tick of its clock; its snapshot is good for those who came before the reading began.

At most one reading of a directory is under way. A request whose directory has changed since that
one began waits for its end, and all such requests share the next.

The cache is bounded in bytes and evicts the least recently used; what nobody has asked for is
dropped. This module knows nothing of pages and clients' memory.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from errno import ENOENT
from functools import partial
from itertools import islice
from os import strerror
from typing import Final, NamedTuple

from reactor.tasks.operations import in_pool
from reactor.web.static.directory_reader import (
    Reading,
    ReadingTurns,
    Stamp,
    examine_directory,
)
from reactor.web.static.snapshot import Snapshot
from reactor.web.storage.safe_path import Root

ATTEMPTS: Final = 3  # to find the same directory behind a path twice
LEAST_AGE: Final = 1.0  # seconds that the sizes in a snapshot are trusted
MOST_AGE: Final = 60.0  # seconds
AGE_FACTOR: Final = 10  # times what the reading took; so reading takes a tenth of the time at most
IDLE: Final = 60.0  # seconds until a snapshot is dropped that nobody has asked for
DROPPED: Final = 1000  # idle snapshots at a time

_Place = tuple[int, int]  # a directory's device and inode


class _Kept(NamedTuple):
    """A snapshot, and what is known of the directory."""

    snapshot: Snapshot
    stamp: Stamp
    settled: bool
    began: float
    age: float

    def shows(self, stamp: Stamp, since: float, now: float) -> bool:
        """Return whether it is as good as a reading that begins now, for who came at `since`."""
        if self.began > since:
            return True
        return self.settled and self.stamp == stamp and now - self.began < self.age


class DirectoryCache:
    """The directories of one mount."""

    def __init__(
        self,
        most_bytes: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`most_bytes`: of memory, for all snapshots that are kept together, and for a reading."""
        self.bytes = 0
        self.turns = ReadingTurns()
        self._most_bytes = most_bytes
        self._clock = clock
        self._wall = wall
        self._kept: OrderedDict[_Place, _Kept] = OrderedDict()  # the most recently used is last
        self._wanted: dict[_Place, float] = {}  # when it was last asked for
        self._readings: dict[_Place, Reading] = {}

    def __len__(self) -> int:
        """The number of directories that are kept."""
        return len(self._kept)

    async def find(
        self, client: Hashable, root: Root, segments: Sequence[str], most: int
    ) -> Snapshot:
        """Return the entries of the directory, at most `most` of them. Raises OSError."""
        for _ in range(ATTEMPTS):
            since = self._clock()
            stamp = await in_pool(examine_directory, root, tuple(segments))
            place = stamp.device, stamp.inode
            while True:
                found = self._find(place, stamp, since)
                if found is not None:
                    return found
                reading = self._readings.get(place)
                if reading is None:
                    ended = partial(self._ended, place)
                    reading = Reading(
                        *(self.turns, root, segments, most, self._most_bytes, ended),
                        clock=self._clock,
                        wall=self._wall,
                    )
                    self._readings[place] = reading
                if not reading.shows(stamp, since):
                    with suppress(Exception):
                        await reading.wait(client)
                    continue
                snapshot = await reading.wait(client)
                if reading.stamp is not None and reading.stamp[:2] == place:
                    return snapshot
                break
        raise FileNotFoundError(ENOENT, strerror(ENOENT))

    def drop_idle(self) -> None:
        """Drop some snapshots that nobody has asked for; to be called now and then."""
        now = self._clock()
        for place in tuple(islice(self._kept, DROPPED)):
            if now - self._wanted[place] >= IDLE:
                self._drop(place)

    def _find(self, place: _Place, stamp: Stamp, since: float) -> Snapshot | None:
        kept = self._kept.get(place)
        now = self._clock()
        if kept is None or not kept.shows(stamp, since, now):
            return None
        self._kept.move_to_end(place)
        self._wanted[place] = now
        return kept.snapshot

    def _ended(self, place: _Place, reading: Reading, snapshot: Snapshot | None) -> None:
        del self._readings[place]
        self._drop(place)
        stamp, began = reading.stamp, reading.began
        if snapshot is None or stamp is None or began is None or stamp[:2] != place:
            return
        now = self._clock()
        age = min(max(LEAST_AGE, AGE_FACTOR * (now - began)), MOST_AGE)
        self._kept[place] = _Kept(snapshot, stamp, reading.settled, began, age)
        self._wanted[place] = now
        self.bytes += snapshot.bytes
        while self.bytes > self._most_bytes and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, place: _Place) -> None:
        kept = self._kept.pop(place, None)
        if kept is not None:
            del self._wanted[place]
            self.bytes -= kept.snapshot.bytes
