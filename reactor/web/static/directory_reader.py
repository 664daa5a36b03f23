"""Reads a directory into sorted entries: on the pool and on the loop, in short steps on both.

A thread that runs Python makes the loop wait for the interpreter, and one long step on the loop
makes every connection wait. So a directory is read in jobs of 64 names, each hardly more than one
system call per name, and a semaphore admits two such jobs at a time, for all listings together: the
rest of the pool is for files. The rows are sorted in runs of about a thousand. The runs are merged
while the entries are taken, so there is no moment at which 100,000 names are sorted.

An entry waits as one bytes object, a row: its sort key, name, size and date, separated by NULs,
which no name contains. Bytes compare in C, UTF-8 in the order of its characters, and a row of a
usual name costs 150 bytes of memory, of the longest 1,200. A quota bounds the rows of all listings.

Names that begin with a dot or contain a backslash are left out, and so is anything but files,
directories, and links to what storage/safe_path.py would open. This module knows nothing of pages.
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

BATCH: Final = 64  # names in one job
RUN: Final = 1024  # rows that are sorted together
READERS: Final = 2  # jobs at a time
HELD_BYTES: Final = 256 * 1024 * 1024  # memory for the rows of all listings of a mount together
ROW_BYTES: Final = 48  # memory of a row besides its bytes: its head and its place in a list

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NUMBER: Final = re.compile("[0-9]+")
_NUMBERS: Final = 16  # numbers in one name that are compared as numbers
_WIDEST: Final = 10**20 - 1  # the largest number of 20 digits


class Order(NamedTuple):
    """The order of a listing: by "name", "size" or "date"; directories always come first."""

    by: str = "name"
    descending: bool = False


class ListedEntry(NamedTuple):
    """A file or, where `size` is None, a directory. `modified` is in seconds since 1970."""

    name: bytes
    size: int | None
    modified: int


class _DirectoryEntry(NamedTuple):
    """A name in the directory, and the status that counts; `modified` is in nanoseconds."""

    name: bytes
    directory: bool
    size: int
    modified: int


class ListingQuota(Shared):
    """The shared limits of the listings of one mount: turns to read, and memory for rows."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = WeightedSemaphore(READERS)
        self.rows = WeightedSemaphore(HELD_BYTES)  # in bytes of memory

    @exclusive
    def return_rows(self, count: int) -> None:
        """Return `count` bytes of memory. Rows are dropped outside of the calls for a request."""
        self.rows.release(count)


class Contents:
    """The sorted entries of a directory; `complete` is False where there were too many."""

    def __init__(self, quota: ListingQuota, order: Order) -> None:
        self.order = order
        self.directories = 0
        self.files = 0
        self.size = 0  # the sum of all files, in bytes
        self.complete = True
        self._quota = quota
        self._held = 0
        self._runs: list[list[bytes]] = []

    def __len__(self) -> int:
        return self.directories + self.files

    def take(self) -> Iterator[ListedEntry]:
        """Yield each entry in order, and only once: dropping all of them at the end takes long."""
        for row in merge(*map(_drain, self._runs), reverse=self.order.descending):
            _, name, size, modified = row.split(b"\0")
            yield ListedEntry(name, int(size) if size else None, int(modified))

    def __del__(self) -> None:
        # Not in a `finally` of the sender: a generator that never began skips its own.
        self._quota.return_rows(self._held)

    def add(self, batch: Sequence[_DirectoryEntry]) -> None:
        """Add the rows of a batch. Raises ProtocolError(503) where the quota is used up."""
        rows = [_row(one, self.order) for one in batch]
        held = sum(map(len, rows)) + ROW_BYTES * len(rows)
        if not self._quota.rows.try_acquire(held):
            reason = "The server is listing too many large directories."
            raise ProtocolError(503, reason, [("Retry-After", "5")])
        self._held += held
        if not self._runs or len(self._runs[-1]) >= RUN:
            self._runs.append([])
        self._runs[-1] += rows
        # Sorting rows that are sorted already costs little. The first row is popped from the end.
        self._runs[-1].sort(reverse=not self.order.descending)
        directories = sum(one.directory for one in batch)
        self.directories += directories
        self.files += len(batch) - directories
        self.size += sum(one.size for one in batch if not one.directory)


async def read_directory(
    quota: ListingQuota, root: Root, segments: Sequence[str], order: Order, most: int
) -> Contents:
    """Return the entries of the directory, at most `most` of them.

    Where there are more, the file system decides which ones. Raises OSError; ProtocolError(503)
    where the listings together take too much memory.
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

    It is closed when its last user drops it: the listing or, when that was cancelled, the running
    job, whose descriptor must not become another file's.
    """

    def __init__(self, root: Root, segments: tuple[str, ...]) -> None:
        self._root = root
        self._segments = segments
        self._directory = File(root.open_directory(segments), 0)  # a File closes itself
        self._names = os.scandir(self._directory.descriptor)  # on a duplicate of the descriptor

    def __del__(self) -> None:
        if hasattr(self, "_names"):
            self._names.close()

    def read(self) -> tuple[list[_DirectoryEntry], bool]:
        """Return the next few visible entries, and whether there may be more."""
        batch = list(islice(self._names, BATCH))
        names = (os.fsencode(one.name) for one in batch)
        found = (self._examine(name) for name in names if name[:1] != b"." and b"\\" not in name)
        return [one for one in found if one is not None], len(batch) == BATCH

    def _examine(self, name: bytes) -> _DirectoryEntry | None:
        """Return the entry of a name; None if it is hidden, or gone by now."""
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
        """Return the status behind the link, found as a request for it would find it."""
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
    # A descending order begins with its ones.
    first = b"1" if directory is order.descending else b"0"
    if order.by == "size":
        first += b"%020d" % (0 if directory else size)
    elif order.by == "date":
        first += b"%020d" % min(max(modified + 2**63, 0), _WIDEST)  # times before 1970 are negative
    size_field = b"" if directory else b"%d" % size
    return b"%b%b\0%b\0%b\0%d" % (first, natural(name), name, size_field, modified // 10**9)


def natural(name: bytes) -> bytes:
    """Return a key that sorts names as people do: ignoring case, and a2 before a10."""
    return _NUMBER.sub(_weigh, name.decode(errors="replace").casefold(), _NUMBERS).encode()


def _weigh(number: re.Match[str]) -> str:
    """Prefix a number by the count of its digits: of two numbers the longer one is larger."""
    digits = number[0].lstrip("0")
    return chr(0x30 + len(digits)) + digits
