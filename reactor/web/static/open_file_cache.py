"""Files that are kept open, so that one that is asked for often costs neither a thread nor a walk.

An entry says what a path has led to: the file, and its precompressed siblings. For
`Limits.open_file_age` seconds it is served as it is; after that the path is walked again, on the
pool, before it is served, and the entry is kept if the walk led to the same files. So what others
change is seen within that time. What we change ourselves is told (`forget`), and is seen at once:
an entry knows every place, a name in a directory, that decided what was found.

Only one walk for a path is under way; who comes meanwhile waits for it and shares what it finds, an
error too: if each of them had to walk in turn, a slow disk would keep the last one for minutes. A
walk that began before a change is nobody's who comes after it, and leaves no entry.

Everybody who uses a file holds it (see reactor/files/region.py), the entry too, so one that is
dropped while it is sent is closed when it is sent. The cache is bounded in descriptors: what was
not used since the last look goes first. It knows nothing of HTTP but the names of codings; what an
answer needs is left in `Entry.prepared` by whoever makes answers.
"""

import os
import resource
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from reactor.files.file import File
from reactor.tasks.operations import Operation, in_pool
from reactor.tasks.single_flight import SingleFlight
from reactor.web.storage.safe_path import Place, Root, place_in

SIBLINGS: Final = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}  # by coding
DESCRIPTOR_SHARE: Final = 16  # one descriptor of the process in so many may be kept open here
_SECOND: Final = 10**9  # ns

Key: TypeAlias = tuple[str, ...]  # the segments of a path, as they were asked for


class Version(NamedTuple):
    """What is different when a file is another one."""

    device: int
    inode: int
    size: int
    modified: int  # ns
    changed: int  # ns


class OpenFile(NamedTuple):
    """An open file, and its status when it was entry."""

    file: File
    status: os.stat_result
    version: Version


class Found(NamedTuple):
    """Where a path has led."""

    plain: OpenFile
    siblings: Mapping[str, OpenFile]  # by coding
    places: frozenset[Place]
    began: float  # when the walk did

    def versions(self) -> tuple[Version, ...]:
        return self.plain.version, *(one.version for one in self.siblings.values())

    def files(self) -> list[File]:
        return [self.plain.file, *(one.file for one in self.siblings.values())]


class Entry:
    """What the cache knows of a path."""

    __slots__ = ("checked", "found", "prepared", "used", "wanted")

    def __init__(self, found: Found) -> None:
        self.found = found
        self.checked = found.began
        self.prepared: Any = None
        self.used = True  # since the last look for one that can go
        self.wanted = found.began  # about when it was last asked for


class OpenFileCache:
    """The files below one root. Its methods are for the loop's thread."""

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
    ) -> None:
        """At most `most` descriptors; an entry is good for `age`, and kept for `idle` seconds.

        `share` caches of this process share its part of RLIMIT_NOFILE. `prepare` is called with the
        segments and the entry after each walk, on the loop, before the entry can be found.
        """
        self._root = root
        self._most = most
        self._age = age
        self._idle = idle
        self._clock = clock
        self._share = share
        self._prepare = prepare
        self._affordable: int | None = None
        self._entries: OrderedDict[Key, Entry] = OrderedDict()  # who may have to go soon is first
        self._by_place: dict[Place, set[Key]] = {}
        self._walks: SingleFlight[Key, Entry] = SingleFlight(age, clock)
        self._changes = 0  # that we were told of
        self.descriptors = 0  # that entries hold

    def fresh(self, key: Key) -> Entry | None:
        """The entry for the path, if it needs no new walk."""
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.checked >= self._age:
            return None
        entry.used = True
        return entry

    def changed(self, key: Key, entry: Entry) -> bool:
        """Whether the file has been written to since it was entry; then the entry is dropped.

        What is there in its name's place now, a new walk tells.
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
        """Where `segments` lead, to be remembered under `key`. Raises OSError.

        The files are held by the cache, or by nobody: `hold` them before anything is awaited.
        """
        while True:
            entry = self.fresh(key)
            if entry is None:
                entry = await self._walks.run(key, partial(self._walk, key, segments))
            if not entry.found.plain.file.closed:
                return entry
            # It was dropped between the end of the walk and this task's step.

    def forget(self, place: Place) -> None:
        """This name in this directory has changed: nothing that depended on it is served again."""
        self._changes += 1
        self._walks.forget_all()
        for key in tuple(self._by_place.get(place, ())):
            self._drop(key)

    def close_idle(self) -> None:
        """Close what nobody has asked for: a deleted file keeps its disk space while it is open."""
        now = self._clock()
        for key, entry in tuple(self._entries.items()):
            if entry.used:
                entry.used, entry.wanted = False, now
            elif now - entry.wanted >= self._idle:
                self._drop(key)

    def close(self) -> None:
        """Close all that nobody else holds."""
        for key in tuple(self._entries):
            self._drop(key)

    # --- inside ----------------------------------------------------------------------------------

    def _walk(self, key: Key, segments: Sequence[str]) -> Operation[Entry]:
        walked = partial(self._walked, key, segments, self._changes)
        failed = partial(self._failed, key)
        return in_pool(_walk, self._root, segments, self._clock).then(walked, failed)

    def _walked(self, key: Key, segments: Sequence[str], changes: int, found: Found) -> Entry:
        """A walk that began before a change is for its waiters only and leaves no entry."""
        if changes == self._changes:
            return self._remember(key, segments, found)
        entry = Entry(found)
        self._prepare(segments, entry)
        return entry

    def _failed(self, key: Key, error: BaseException) -> None:
        if isinstance(error, OSError):
            self._drop(key)  # an open file keeps its disk space

    def _remember(self, key: Key, segments: Sequence[str], found: Found) -> Entry:
        entry = self._entries.get(key)
        if entry is not None and entry.checked > found.began:
            return entry  # a walk that began later was faster
        if entry is not None and entry.found.versions() == found.versions():
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
        """Who was used since it was last looked at here gets a second chance."""
        if self._affordable is None:
            self._affordable = min(self._most, max(4, _affordable() // self._share))
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


def _affordable() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (1 << 20) if soft == resource.RLIM_INFINITY else soft // DESCRIPTOR_SHARE


def _walk(root: Root, segments: Sequence[str], clock: Callable[[], float]) -> Found:
    """On the pool: the file and its siblings, entry; each closes itself if nobody comes for it."""
    began = clock()
    places: set[Place] = set()
    plain = _open(root, segments, places)
    siblings = {}
    for coding in _present_siblings(root, segments, places):
        try:
            sibling = _open(root, (*segments[:-1], segments[-1] + SIBLINGS[coding]), places)
        except OSError:
            continue  # nothing that may be served
        if _is_of(sibling.version.modified, plain.version.modified):
            siblings[coding] = sibling
    return Found(plain, siblings, frozenset(places), began)


def _is_of(coded: int, plain: int) -> bool:
    """Whether the one may have been made of the other, by their times: an older one was not.

    Tools that give it the file's own time may leave out the fraction of the second. A time that
    has one is compared as it is: both may have been written within one second.
    """
    return coded >= (plain if coded % _SECOND else plain - plain % _SECOND)


def _present_siblings(root: Root, segments: Sequence[str], places: set[Place]) -> list[str]:
    """The codings whose sibling seems to be there: mostly none, at the price of one walk."""
    present = []
    directory = root.find_directory(segments[:-1])
    try:
        for coding, suffix in SIBLINGS.items():
            name = (segments[-1] + suffix).encode()
            places.add(place_in(directory, name))
            try:
                os.stat(name, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue
            present.append(coding)
    finally:
        os.close(directory)
    return present


def _open(root: Root, segments: Sequence[str], places: set[Place]) -> OpenFile:
    descriptor, status = root.find_file(segments, places)
    return OpenFile(File(descriptor, status.st_size), status, _version(status))


def _version(status: os.stat_result) -> Version:
    return Version(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
