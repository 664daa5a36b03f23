"""A directory as it was read: its entries in three orders, small in memory, never changed.

The entries are kept in the order of names, directories first: a list of names, and their sizes and
dates as arrays. The orders by size and by date are arrays of places in it, made when somebody first
asks for them, in short steps. A descending order is the ascending one read backwards, within the
directories and within the files.
"""

from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

from reactor.tasks.operations import sleep

MERGED: Final = 512  # entries that one step on the loop merges: a millisecond
SNAPSHOT_BYTES: Final = 2048  # memory of a snapshot besides its entries
NAME_BYTES: Final = 72  # memory of an entry besides its name's bytes: its objects and numbers
_RUN: Final = 1024  # keys that are sorted together
_PLACE_BITS: Final = 32


class Order(NamedTuple):
    """The order of a listing: by "name", "size" or "date"; directories always come first."""

    by: str = "name"
    descending: bool = False


class ListedEntry(NamedTuple):
    """A file or, where `size` is None, a directory. `modified` is in seconds since 1970."""

    name: bytes
    size: int | None
    modified: int


class Summary(NamedTuple):
    """Facts of a snapshot, for those who must not keep it alive."""

    digest: bytes  # equal snapshots have equal ones
    complete: bool
    omitted: int  # names of which the file cannot be served
    directories: int
    files: int
    size: int  # the sum of all files, in bytes

    @property
    def total(self) -> int:
        """The number of entries."""
        return self.directories + self.files


class Snapshot:
    """The entries of a directory; `complete` is False where there were too many.

    `omitted` is the number of names that are no entries, since what they lead to cannot be served.
    """

    def __init__(self, *, complete: bool = True, omitted: int = 0) -> None:
        self.complete = complete
        self.omitted = omitted
        self.directories = 0
        self.size = 0  # the sum of all files, in bytes
        self.bytes = SNAPSHOT_BYTES  # all memory
        self.digest = b""  # when it is closed
        self._names: list[bytes] = []
        self._sizes = array("q")
        self._seconds = array("q")
        self._nanoseconds = array("I")
        self._orders: dict[str, Sequence[int]] = {}
        self._hash = blake2b(b"complete" if complete else b"", digest_size=16)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def files(self) -> int:
        """The number of files."""
        return len(self._names) - self.directories

    def add(self, entries: Sequence[tuple[bytes, int | None, int, int]]) -> None:
        """Append entries: name, size (None for a directory), seconds and nanoseconds of its date.

        They come in the order of names, directories first.
        """
        for name, size, seconds, nanoseconds in entries:
            self._names.append(name)
            self.directories += size is None
            self._sizes.append(size or 0)
            self._seconds.append(seconds)
            self._nanoseconds.append(nanoseconds)
            self.size += size or 0
            self.bytes += len(name) + NAME_BYTES
        self._hash.update(b"".join([b"%b\0" % entry[0] for entry in entries]))

    def close(self) -> None:
        """End the entries: the digest is that of all of them."""
        self._hash.update(b"\0%d\0%d\0" % (self.directories, self.omitted))
        for numbers in (self._sizes, self._seconds, self._nanoseconds):
            self._hash.update(numbers)
        self.digest = self._hash.digest()
        self._orders["name"] = range(len(self._names))

    def summary(self) -> Summary:
        """Return the facts of a closed snapshot."""
        return Summary(
            self.digest, self.complete, self.omitted, self.directories, self.files, self.size
        )

    async def prepare(self, by: str) -> None:
        """Make the order, in short steps, unless it is there. One task at a time calls this."""
        if by in self._orders:
            return
        places = array("I")
        for kind in (range(self.directories), range(self.directories, len(self))):
            runs = []
            for start in range(0, len(kind), _RUN):
                runs.append(sorted(self._keys(by, kind[start : start + _RUN])))
                await sleep(0)  # let other connections have their turn
            merged = merge(*runs)
            while part := [key & ((1 << _PLACE_BITS) - 1) for key in islice(merged, MERGED)]:
                places.extend(part)
                await sleep(0)
        self._orders[by] = places

    def entries(self, order: Order, start: int, end: int) -> list[ListedEntry]:
        """Return the entries from `start` to before `end` of a prepared order."""
        places = self._orders[order.by]
        if order.descending:
            found = [places[self._turned(at)] for at in range(start, min(end, len(self)))]
        else:
            found = list(places[start:end])
        return [self._entry(place) for place in found]

    def _entry(self, place: int) -> ListedEntry:
        size = None if place < self.directories else self._sizes[place]
        return ListedEntry(self._names[place], size, self._seconds[place])

    def _turned(self, at: int) -> int:
        """Return the place in the ascending order of what is at this one in the descending."""
        if at < self.directories:
            return self.directories - 1 - at
        return len(self) - 1 - (at - self.directories)

    def _keys(self, by: str, places: Sequence[int]) -> Iterator[int]:
        """Yield numbers that sort as the order does, with the places in their lowest bits."""
        for place in places:
            if by == "size":
                key = self._sizes[place]
            else:
                key = self._seconds[place] << 30 | self._nanoseconds[place]  # below 2**30
            yield key << _PLACE_BITS | place
