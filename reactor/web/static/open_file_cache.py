"""Keeps files open, so that a hot file costs neither a pool thread nor a walk of its path.

An entry holds what a path leads to: the file, and its precompressed siblings. For
`Limits.open_file_age` seconds it is trusted; after that the path is walked again, on the pool,
before it is served, and the entry is kept if the walk leads to the same files. So changes by other
programs are seen within that time. Changes by this server are reported (`forget`) and seen at once:
an entry knows every place, a name in a directory, that decided what was found.

For each path at most one walk is under way; later requests share its result, an error too: if each
walked in turn, a slow disk would keep the last one for minutes. A walk that began before a change
is not shared with requests after it, and leaves no entry.

Every user of a file holds it (see reactor/files/file.py), the entry too, so a file that is dropped
while it is sent is closed when it is sent. The cache is bounded in descriptors and evicts what was
not used since the last pass. It knows nothing of HTTP but the names of codings; the file server
keeps what a response needs in `Entry.prepared`.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from errno import ENOENT
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from reactor.files.descriptors import most_descriptors
from reactor.files.file import File
from reactor.tasks.operations import Operation, in_pool
from reactor.tasks.single_flight import SingleFlight
from reactor.web.semantics.file_names import name_of
from reactor.web.storage.safe_path import Place, Root, place_in
from reactor.web.storage.trust import Trust

SIBLINGS: Final = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}  # by coding
# At most one in so many of the process's descriptors is kept open here.
DESCRIPTOR_SHARE: Final = 16
_SECOND: Final = 10**9  # ns

Key: TypeAlias = tuple[str, ...]  # the segments of a requested path


class Version(NamedTuple):
    """The numbers of which at least one differs when a file is another one."""

    device: int
    inode: int
    size: int
    modified: int  # ns
    changed: int  # ns


class OpenFile(NamedTuple):
    """An open file, and its status when it was opened."""

    file: File
    status: os.stat_result
    version: Version


class Found(NamedTuple):
    """The result of a walk."""

    plain: OpenFile
    siblings: Mapping[str, OpenFile]  # by coding
    places: frozenset[Place]
    began: float  # when the walk began, by the cache's clock
    trusted: bool  # whether the file is the operator's; if not, clients may have uploaded it

    def same_as(self, other: "Found") -> bool:
        """Whether the file and its siblings are those of the other walk, and trusted as they."""
        return self.trusted == other.trusted and self.versions() == other.versions()

    def versions(self) -> tuple[Version, ...]:
        """The versions of the file and its siblings; equal versions mean the same files."""
        return self.plain.version, *(one.version for one in self.siblings.values())

    def files(self) -> list[File]:
        """The file and its siblings."""
        return [self.plain.file, *(one.file for one in self.siblings.values())]


class Entry:
    """A path in the cache."""

    __slots__ = ("checked", "found", "prepared", "used", "wanted")

    def __init__(self, found: Found) -> None:
        self.found = found
        self.checked = found.began
        self.prepared: Any = None
        self.used = True  # since the last pass
        self.wanted = found.began  # about when it was last requested


class _Result:
    """The entry that a walk has led to, with its files held until all who wait have seen it.

    Many walks can end in one turn of the loop. Without the hold the later ones would evict the
    entries of the earlier ones before their requests are stepped, and those would walk again.
    """

    __slots__ = ("_held", "entry")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._held: Sequence[File] = [file.hold() for file in entry.found.files()]

    def leave_open(self) -> None:
        """Never release the files: each closes itself when its last user drops it."""
        self._held = ()

    def __del__(self) -> None:
        for file in self._held:
            file.release()


class OpenFileCache:
    """The open files below one root. Its methods belong to the loop's thread."""

    def __init__(
        self,
        root: Root,
        *,
        most: int,
        age: float,
        idle: float,
        share: int = 1,
        clock: Callable[[], float] = time.monotonic,
        prepare: Callable[[Sequence[str], "Entry"], object] = lambda segments, entry: None,
        trust: Trust = Trust(),  # noqa: B008
    ) -> None:
        """The cache keeps at most `most` descriptors; `age` and `idle` are in seconds.

        An entry is trusted for `age` after its walk, and closed when nobody has requested it for
        `idle`. `share` caches of this process share its part of RLIMIT_NOFILE. `prepare` is called
        with the segments and the entry after each walk, on the loop, before the entry can be found.

        A file that `trust` calls an upload has no siblings, since clients may have uploaded those
        as well, and is never found in the place of a directory.
        """
        self._root = root
        self._most = most
        self._age = age
        self._idle = idle
        self._clock = clock
        self._share = share
        self._prepare = prepare
        self._trust = trust
        self._affordable: int | None = None
        # The next candidate for eviction is first.
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._by_place: dict[Place, set[Key]] = {}
        self._walks: SingleFlight[Key, _Result] = SingleFlight(age, clock)
        self._changes = 0  # the number of calls of `forget`
        self.descriptors = 0  # held by entries

    def fresh(self, key: Key) -> Entry | None:
        """Return the entry for the path, or None if the path must be walked."""
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.checked >= self._age:
            return None
        entry.used = True
        return entry

    def changed(self, key: Key, entry: Entry) -> bool:
        """Return whether the file was written to since it was opened; then the entry is dropped.

        A new walk finds what has its name now.
        """
        try:
            now = _version(os.fstat(entry.found.plain.file.descriptor))
        except OSError:
            now = None
        if now == entry.found.plain.version:
            return False
        if self._entries.get(key) is entry:
            self._drop(key)
        return True

    async def find(self, key: Key, segments: Sequence[str]) -> Entry:
        """Walk `segments`, or share a walk; the entry is kept under `key`. Raises OSError.

        Its files are held by the cache, or by nobody: `hold` them before the next await.
        """
        entry = self.fresh(key)
        if entry is not None:
            return entry
        result = await self._walks.run(key, partial(self._walk, key, segments))
        if self._entries.get(key) is not result.entry:
            result.leave_open()  # dropped between the end of the walk and this task's step
        return result.entry

    def forget(self, place: Place) -> None:
        """Drop all that depends on this name in this directory: it has changed."""
        self._changes += 1
        self._walks.forget_all()
        for key in tuple(self._by_place.get(place, ())):
            self._drop(key)

    def close_idle(self) -> None:
        """Close files that nobody has requested: an open deleted file keeps its disk space."""
        now = self._clock()
        for key, entry in tuple(self._entries.items()):
            if entry.used:
                entry.used, entry.wanted = False, now
            elif now - entry.wanted >= self._idle:
                self._drop(key)

    def close(self) -> None:
        """Drop all entries; their files close unless somebody else holds them."""
        for key in tuple(self._entries):
            self._drop(key)

    # --- inside ----------------------------------------------------------------------------------

    def _walk(self, key: Key, segments: Sequence[str]) -> Operation[_Result]:
        walked = partial(self._walked, key, segments, self._changes)
        failed = partial(self._failed, key)
        index = key[-1:] == ("",)
        walk = in_pool(_walk, self._root, segments, self._trust, self._clock, index)
        return walk.then(walked, failed)

    def _walked(self, key: Key, segments: Sequence[str], changes: int, found: Found) -> _Result:
        """Keep what a walk has found, unless something has changed since it began."""
        if changes == self._changes:
            return _Result(self._remember(key, segments, found))
        entry = Entry(found)
        self._prepare(segments, entry)
        return _Result(entry)

    def _failed(self, key: Key, error: BaseException) -> None:
        if isinstance(error, OSError):
            self._drop(key)  # an open file keeps its disk space

    def _remember(self, key: Key, segments: Sequence[str], found: Found) -> Entry:
        entry = self._entries.get(key)
        if entry is not None and entry.checked > found.began:
            return entry  # a walk that began later was faster
        if entry is not None and entry.found.same_as(found):
            self._unlink(key, entry)
            entry.found = entry.found._replace(places=found.places)
            entry.checked = found.began
            entry.used = True
            self._prepare(segments, entry)
            for file in found.files():
                file.release()
        else:
            self._drop(key)
            entry = Entry(found)
            self._prepare(segments, entry)
            self._entries[key] = entry
            self.descriptors += len(found.files())
        for place in found.places:
            self._by_place.setdefault(place, set()).add(key)
        self._make_room(key)
        return entry

    def _make_room(self, newest: Key) -> None:
        """Evict entries; one that was used since the last pass gets a second chance."""
        if self._affordable is None:
            self._affordable = min(
                self._most, max(4, most_descriptors() // DESCRIPTOR_SHARE // self._share)
            )
        while self.descriptors > self._affordable and len(self._entries) > 1:
            key = next(iter(self._entries))
            entry = self._entries[key]
            if entry.used or key == newest:
                entry.used = key == newest
                self._entries.move_to_end(key)
            else:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._unlink(key, entry)
        files = entry.found.files()
        self.descriptors -= len(files)
        for file in files:
            file.release()

    def _unlink(self, key: Key, entry: Entry) -> None:
        for place in entry.found.places:
            keys = self._by_place[place]
            keys.discard(key)
            if not keys:
                del self._by_place[place]


def _walk(
    root: Root,
    segments: Sequence[str],
    trust: Trust,
    clock: Callable[[], float],
    index: bool,
) -> Found:
    """Open the file and its siblings, on the pool; dropped files close themselves.

    Raises OSError; FileNotFoundError for an upload in the place of an `index`.
    """
    began = clock()
    places: set[Place] = set()
    plain, trusted = _open(root, segments, trust, places)
    if not trusted and index:
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
    siblings = {}
    for coding in _present_siblings(root, segments, places) if trusted else ():
        name = segments[-1] + SIBLINGS[coding]
        try:
            sibling, may_be_used = _open(root, (*segments[:-1], name), trust, places)
        except OSError:
            continue  # it may not be served
        if may_be_used and _may_be_made_of(sibling.version.modified, plain.version.modified):
            siblings[coding] = sibling
    return Found(plain, siblings, frozenset(places), began, trusted)


def _may_be_made_of(encoded: int, plain: int) -> bool:
    """Return whether the encoded file may be made of the plain one: it must not be older.

    Tools that copy the time of the plain file may drop the fraction of a second. A time with a
    fraction is compared exactly: both files may have been written within one second.
    """
    return encoded >= (plain if encoded % _SECOND else plain - plain % _SECOND)


def _present_siblings(root: Root, segments: Sequence[str], places: set[Place]) -> list[str]:
    """Return the codings whose sibling seems to exist: mostly none, at the price of one walk."""
    present = []
    directory = root.find_directory(segments[:-1])
    try:
        for coding, suffix in SIBLINGS.items():
            name = name_of(segments[-1] + suffix)
            places.add(place_in(directory, name))
            try:
                os.stat(name, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue
            present.append(coding)
    finally:
        os.close(directory)
    return present


def _open(
    root: Root, segments: Sequence[str], trust: Trust, places: set[Place]
) -> tuple[OpenFile, bool]:
    """Open a file; the second value is whether it is trusted. Raises OSError."""
    descriptor, status, trusted = trust.find_file(root, segments, places)
    return OpenFile(File(descriptor, status.st_size), status, _version(status)), trusted


def _version(status: os.stat_result) -> Version:
    return Version(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
