"""Reads a directory into a snapshot: on the pool and on the loop, in short steps on both.

A thread that runs Python makes the loop wait for the interpreter, and one long step on the loop
makes every connection wait. So a directory is read in jobs of 64 names, each hardly more than one
system call per name, and a semaphore admits two such jobs at a time, for all directories together:
the rest of the pool is for files. The rows are sorted in runs of about a thousand, and the runs are
merged in short steps, so there is no moment at which 100,000 names are sorted.

Small directories do not wait for large ones. A reading that finds more than SHORT names stops,
drops them, and begins again when it is its turn among the long ones, of which one is under way at a
time. Both kinds of turns go round the clients (tasks/fair_turns.py). So the memory of readings
is bounded, however many are asked for.

While it is sorted, a name waits as one bytes object, a row: its sort key, name, size and date.
Bytes compare in C, UTF-8 in the order of its characters. Names that begin with a dot are left out,
and so is anything but files, directories, and links to what storage/safe_path.py would open; the
latter are counted. This module knows nothing of pages.
"""

import os
import re
import stat
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from errno import ENOENT
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

from reactor.files.file import File
from reactor.tasks.fair_turns import FairTurns, QueuedJob
from reactor.tasks.operations import in_pool, sleep
from reactor.tasks.semaphore import WeightedSemaphore
from reactor.web.semantics.file_names import is_name
from reactor.web.static.snapshot import MERGED, Snapshot
from reactor.web.storage.safe_path import Root

BATCH: Final = 64  # names in one job
RUN: Final = 1024  # rows that are sorted together
READERS: Final = 2  # jobs at a time
SHORT: Final = 4096  # names of a directory that is read without waiting for long readings
SHORT_READINGS: Final = 4  # at a time
LONG_READINGS: Final = 1  # at a time
ROW_BYTES: Final = 48  # memory of a row besides its bytes: its head and its place in a list

_YOUNG: Final = 1.0  # seconds; file systems have ticks of up to one
_NUMBER: Final = re.compile("[0-9]+")
_NUMBERS: Final = 16  # numbers in one name that are compared as numbers
_STATUS: Final = struct.Struct(">qqI")  # size, seconds and nanoseconds of a row
_DIRECTORY: Final = -1  # in place of its size


class Stamp(NamedTuple):
    """The numbers of a directory of which at least one differs after a name in it has changed."""

    device: int
    inode: int
    modified: int  # ns
    changed: int  # ns


class _DirectoryEntry(NamedTuple):
    """A name in the directory, and the status that counts; `modified` is in nanoseconds."""

    name: bytes
    directory: bool
    size: int
    modified: int


class ReadingTurns:
    """The turns of all readings of one mount."""

    def __init__(self) -> None:
        self.short = FairTurns(SHORT_READINGS)
        self.long = FairTurns(LONG_READINGS)
        self.jobs = WeightedSemaphore(READERS)


class Abandoned(Exception):
    """A job ended early because nobody waited for it any more."""


class Reading(QueuedJob[Snapshot]):
    """One reading of a directory, for all that wait for it. The result is a Snapshot.

    `wait` raises OSError where the directory cannot be read. Where it has more than `most` names,
    the file system decides which ones the snapshot holds, and so it does where they would take more
    than `most_bytes`.
    """

    def __init__(
        self,
        turns: ReadingTurns,
        root: Root,
        segments: Sequence[str],
        most: int,
        most_bytes: int,
        ended: Callable[["Reading", Snapshot | None], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`ended` is called at the end, before any task that waits is stepped."""
        self.began: float | None = None  # when the directory was opened, by `clock`
        self.stamp: Stamp | None = None  # as it was then
        self.settled = False  # whether any change since then has changed the stamp
        self._turns = turns
        self._root = root
        self._segments = tuple(segments)
        self._most = most
        self._most_bytes = most_bytes
        self._ended = ended
        self._clock = clock
        self._wall = wall
        super().__init__()

    def shows(self, stamp: Stamp, since: float) -> bool:
        """Return whether the result is as good as that of a reading that begins now.

        `stamp` is the directory's, found by somebody who came at `since`.
        """
        if self.began is None or self.began > since:
            return True
        return self.settled and self.stamp == stamp

    async def run(self) -> Snapshot:
        snapshot = None
        try:
            async with self.turn(self._turns.short):
                snapshot = await self._read(min(SHORT, self._most))
            if snapshot is None:
                self.began = None
                async with self.turn(self._turns.long):
                    snapshot = await self._read(self._most)
            assert snapshot is not None
            return snapshot
        finally:
            self._ended(self, snapshot)

    async def _read(self, most: int) -> Snapshot | None:
        """Return the sorted entries; None where there are more than `most`, and more may be."""
        self._look_for_waiters()
        began = self._clock()
        reader = await in_pool(DirectoryReader, self._root, self._segments)
        self.began, self.stamp = began, reader.stamp
        self.settled = self._wall() - reader.stamp.changed / 10**9 >= _YOUNG
        rows = _Rows(most, self._most_bytes)
        more = True
        while more and not rows.full:
            self._look_for_waiters()
            async with self._turns.jobs.hold():
                batch, more = await in_pool(reader.read)
            rows.add(batch)
        if rows.full and most < self._most:
            return None
        snapshot = Snapshot(complete=not rows.full, omitted=reader.omitted)
        merged = rows.take()
        while part := list(islice(merged, MERGED)):
            snapshot.add(part)
            await sleep(0)  # let other connections have their turn
            self._look_for_waiters()
        snapshot.close()
        return snapshot

    def _look_for_waiters(self) -> None:
        if not self.wanted:
            raise Abandoned


class DirectoryReader:
    """An open directory.

    It is closed when its last user drops it: the reading or, when that was abandoned, the running
    job, whose descriptor must not become another file's.
    """

    def __init__(self, root: Root, segments: tuple[str, ...]) -> None:
        self._root = root
        self._segments = segments
        self._directory = File(root.open_directory(segments), 0)  # a File closes itself
        self.stamp = _stamp(self._directory.descriptor)
        self.omitted = 0  # names that are not hidden, but lead to nothing that can be served
        self._names = os.scandir(self._directory.descriptor)  # on a duplicate of the descriptor

    def __del__(self) -> None:
        if hasattr(self, "_names"):
            self._names.close()

    def read(self) -> tuple[list[_DirectoryEntry], bool]:
        """Return the next few visible entries, and whether there may be more. Raises OSError."""
        batch = list(islice(self._names, BATCH))
        if len(batch) < BATCH and not os.fstat(self._directory.descriptor).st_nlink:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))  # it was deleted meanwhile
        names = (os.fsencode(one.name) for one in batch)
        found = (self._examine(name) for name in names if is_name(name))
        return [one for one in found if one is not None], len(batch) == BATCH

    def _examine(self, name: bytes) -> _DirectoryEntry | None:
        """Return the entry of a name; None if it is omitted, or gone by now."""
        try:
            status = os.stat(name, dir_fd=self._directory.descriptor, follow_symlinks=False)
        except OSError:
            return None
        try:
            if stat.S_ISLNK(status.st_mode):
                status = self._follow(name)
        except OSError:
            self.omitted += 1
            return None
        directory = stat.S_ISDIR(status.st_mode)
        if not directory and not stat.S_ISREG(status.st_mode):
            self.omitted += 1
            return None
        return _DirectoryEntry(name, directory, status.st_size, status.st_mtime_ns)

    def _follow(self, link: bytes) -> os.stat_result:
        """Return the status behind the link, found as a request for it would find it."""
        segments = (*self._segments, link.decode("utf-8", "surrogateescape"))
        try:
            descriptor, status = self._root.open_file(segments)
        except IsADirectoryError:
            descriptor = self._root.find_directory(segments)
            status = os.fstat(descriptor)
        os.close(descriptor)
        return status


def examine_directory(root: Root, segments: Sequence[str]) -> Stamp:
    """Return the stamp of a directory that may be listed. Raises OSError. Runs on the pool."""
    descriptor = root.open_directory(segments)
    try:
        return _stamp(descriptor)
    finally:
        os.close(descriptor)


def _stamp(descriptor: int) -> Stamp:
    status = os.fstat(descriptor)
    return Stamp(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)


class _Rows:
    """The names read so far, as sorted runs of rows."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.full = False  # whether there were more names than there is room for
        self._room = most
        self._room_bytes = most_bytes
        self._runs: list[list[bytes]] = []

    def add(self, batch: Sequence[_DirectoryEntry]) -> None:
        rows = [_row(one) for one in batch[: self._room]]
        self._room -= len(rows)
        self._room_bytes -= sum(map(len, rows)) + ROW_BYTES * len(rows)
        self.full = len(rows) < len(batch) or self._room_bytes < 0
        if not self._runs or len(self._runs[-1]) >= RUN:
            self._runs.append([])
        self._runs[-1] += rows
        # Sorting rows that are sorted already costs little. The first row is popped from the end.
        self._runs[-1].sort(reverse=True)

    def take(self) -> Iterator[tuple[bytes, int | None, int, int]]:
        """Yield name, size (None for a directory), seconds and nanoseconds of each row, in order.

        A row is dropped when it is taken: dropping all of them at the end takes long.
        """
        for row in merge(*map(_drain, self._runs)):
            _, name, status = row.split(b"\0", 2)  # no name contains a NUL
            size, seconds, nanoseconds = _STATUS.unpack(status)
            yield name, None if size == _DIRECTORY else size, seconds, nanoseconds


def _drain(run: list[bytes]) -> Iterator[bytes]:
    while run:
        yield run.pop()


def _row(found: _DirectoryEntry) -> bytes:
    """Return a row: directories come first, then the natural order; equal keys compare by name."""
    name, directory, size, modified = found
    status = _STATUS.pack(_DIRECTORY if directory else size, *divmod(modified, 10**9))
    return b"%b%b\0%b\0%b" % (b"0" if directory else b"1", natural(name), name, status)


def natural(name: bytes) -> bytes:
    """Return a key that sorts names as people do: ignoring case, and a2 before a10."""
    return _NUMBER.sub(_weigh, name.decode(errors="replace").casefold(), _NUMBERS).encode()


def _weigh(number: re.Match[str]) -> str:
    """Prefix a number by the count of its digits: of two numbers the longer one is larger."""
    digits = number[0].lstrip("0")
    return chr(0x30 + len(digits)) + digits
