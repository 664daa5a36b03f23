"""What is in a directory, sorted: read on the pool and put in order on the loop, never long in
either.

A thread that runs Python makes the loop wait for the interpreter, and one long step on the loop
makes everybody wait. So a directory is read in jobs of 64 names, hardly more than one system call
for each, and a Desk lets two such jobs run at a time, whoever asks: what is left of the pool is for
files. What they find is sorted in runs of about a thousand. The runs are merged while the entries
are taken, so there is no moment at which 100,000 names are sorted.

An entry waits as one bytes object, a row: its sort key, name, size and date with NULs between,
which no name has. Bytes compare in C, UTF-8 in the order of its characters, and a row of a usual
name costs 150 bytes of memory, of the longest 1,200. A Desk bounds what all listings hold.

Names that begin with a dot or have a backslash are not there, nor is what is neither a file nor a
directory, nor a link to what safepath would not open. It knows nothing of pages.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

from reactor.errors import ProtocolError
from reactor.files.file import File
from reactor.tasks.guard import Shared, exclusive
from reactor.tasks.operations import in_pool
from reactor.tasks.semaphore import WeightedSemaphore
from reactor.web.storage.safe_path import Root

BATCH: Final = 64  # names of one job
RUN: Final = 1024  # rows that are sorted at once
READERS: Final = 2  # jobs at a time
HELD_BYTES: Final = 256 * 1024 * 1024  # of memory, by the rows of all listings of a desk together
ROW_BYTES: Final = 48  # of memory, by a row besides its bytes: its head and its place in a list

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NUMBER: Final = re.compile("[0-9]+")
_NUMBERS: Final = 16  # in one name, that are compared as such
_WIDEST: Final = 10**20 - 1  # what 20 digits can say


class Order(NamedTuple):
    """By "name", "size" or "date"; directories come first in any order."""

    by: str = "name"
    descending: bool = False


class ListedEntry(NamedTuple):
    """A file or, where `size` is None, a directory. `modified` is in seconds since 1970."""

    name: bytes
    size: int | None
    modified: int


class _DirectoryEntry(NamedTuple):
    """A name as the directory has it, and of its status what counts; `modified` in nanoseconds."""

    name: bytes
    directory: bool
    size: int
    modified: int


class ListingQuota(Shared):
    """What the listings of one mount share: turns to read, and memory for rows."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = WeightedSemaphore(READERS)
        self.rows = WeightedSemaphore(HELD_BYTES)  # in bytes of memory

    @exclusive
    def return_rows(self, count: int) -> None:
        """Return `count` bytes of memory. Rows are dropped outside of the calls for a request."""
        self.rows.release(count)


class Contents:
    """The entries of a directory; `complete` is False where there were too many."""

    def __init__(self, quota: ListingQuota, order: Order) -> None:
        self.order = order
        self.directories = 0
        self.files = 0
        self.size = 0  # of all files, in bytes
        self.complete = True
        self._quota = quota
        self._held = 0
        self._runs: list[list[bytes]] = []

    def __len__(self) -> int:
        return self.directories + self.files

    def take(self) -> Iterator[ListedEntry]:
        """Each entry in order, and only once: to let go of all of them at the end takes long."""
        for row in merge(*map(_drain, self._runs), reverse=self.order.descending):
            _, name, size, modified = row.split(b"\0")
            yield ListedEntry(name, int(size) if size else None, int(modified))

    def __del__(self) -> None:
        # Not in a `finally` of who sends them: a generator that never began has none.
        self._quota.return_rows(self._held)

    def add(self, batch: Sequence[_DirectoryEntry]) -> None:
        rows = [_row(one, self.order) for one in batch]
        held = sum(map(len, rows)) + ROW_BYTES * len(rows)
        if not self._quota.rows.try_acquire(held):
            reason = "The server is listing too many large directories."
            raise ProtocolError(503, reason, [("Retry-After", "5")])
        self._held += held
        if not self._runs or len(self._runs[-1]) >= RUN:
            self._runs.append([])
        self._runs[-1] += rows
        # What is sorted already costs little. The first one is taken from the end.
        self._runs[-1].sort(reverse=not self.order.descending)
        directories = sum(one.directory for one in batch)
        self.directories += directories
        self.files += len(batch) - directories
        self.size += sum(one.size for one in batch if not one.directory)


async def read_directory(
    quota: ListingQuota, root: Root, segments: Sequence[str], order: Order, most: int
) -> Contents:
    """What is in the directory, `most` entries of it. Raises OSError; ProtocolError(503) when busy.

    Which ones, where there are more, is up to the file system.
    """
    contents = Contents(quota, order)
    reader = await in_pool(_Reader, root, tuple(segments))
    more = True
    while more:
        async with quota.turns.hold():
            batch, more = await in_pool(reader.read)
        room = most - len(contents)
        contents.add(batch[:room])
        if len(batch) > room:
            contents.complete = more = False
    return contents


class _Reader:
    """An open directory.

    It is closed when the last one lets go: the listing or, when that was cancelled, the job under
    way, whose descriptor must not become somebody else's.
    """

    def __init__(self, root: Root, segments: tuple[str, ...]) -> None:
        self._root = root
        self._segments = segments
        self._directory = File(root.open_directory(segments), 0)  # which closes itself
        self._names = os.scandir(self._directory.descriptor)  # on a descriptor of its own

    def __del__(self) -> None:
        if hasattr(self, "_names"):
            self._names.close()

    def read(self) -> tuple[list[_DirectoryEntry], bool]:
        """The next few entries that are shown, and whether there may be more."""
        batch = list(islice(self._names, BATCH))
        names = (os.fsencode(one.name) for one in batch)
        found = (self._look(name) for name in names if name[:1] != b"." and b"\\" not in name)
        return [one for one in found if one is not None], len(batch) == BATCH

    def _look(self, name: bytes) -> _DirectoryEntry | None:
        """None where there is nothing to show; the name may have gone by now."""
        try:
            status = os.stat(name, dir_fd=self._directory.descriptor, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                status = self._follow(name)
        except (OSError, UnicodeDecodeError):
            return None
        directory = stat.S_ISDIR(status.st_mode)
        if not directory and not stat.S_ISREG(status.st_mode):
            return None
        return _DirectoryEntry(name, directory, status.st_size, status.st_mtime_ns)

    def _follow(self, link: bytes) -> os.stat_result:
        """The status of what is behind the link, found as a request for it would find it."""
        segments = (*self._segments, link.decode())
        try:
            descriptor, status = self._root.open_file(segments)
        except IsADirectoryError:
            descriptor = self._root.find_directory(segments)
            status = os.fstat(descriptor)
        os.close(descriptor)
        return status


def _drain(run: list[bytes]) -> Iterator[bytes]:
    while run:
        yield run.pop()


def _row(found: _DirectoryEntry, order: Order) -> bytes:
    name, directory, size, modified = found
    first = b"1" if directory is order.descending else b"0"  # what descends begins with its ones
    if order.by == "size":
        first += b"%020d" % (0 if directory else size)
    elif order.by == "date":
        first += b"%020d" % min(max(modified + 2**63, 0), _WIDEST)  # there is time before 1970
    told = b"" if directory else b"%d" % size
    return b"%b%b\0%b\0%b\0%d" % (first, natural(name), name, told, modified // 10**9)


def natural(name: bytes) -> bytes:
    """A key that sorts names as people do: in any case, and a2 before a10."""
    return _NUMBER.sub(_weigh, name.decode(errors="replace").casefold(), _NUMBERS).encode()


def _weigh(number: re.Match[str]) -> str:
    """The number of its digits first: of two numbers the longer one is larger."""
    digits = number[0].lstrip("0")
    return chr(0x30 + len(digits)) + digits
