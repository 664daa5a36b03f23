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
from typing import Any, Final, NamedTuple, TypeAlias

from reactor.files.file import File
from reactor.tasks.futures import Future
from reactor.tasks.operations import in_pool
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
    """An open file, and its status when it was opened."""

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


# Of a walk, for those who wait for it: what was found, an errno, or None if it was given up.
_Outcome: TypeAlias = Entry | int | None


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
    ) -> None:
        """At most `most` descriptors; an entry is good for `age`, and kept for `idle` seconds.

        `share` caches of this process share its part of RLIMIT_NOFILE.
        """
        self._root = root
        self._most = most
        self._age = age
        self._idle = idle
        self._clock = clock
        self._share = share
        self._affordable: int | None = None
        self._entries: OrderedDict[Key, Entry] = OrderedDict()  # who may have to go soon is first
        self._by_place: dict[Place, set[Key]] = {}
        self._walks: dict[Key, tuple[float, Future[_Outcome]]] = {}
        self._changes = 0  # that we were told of
        self.descriptors = 0  # that entries hold

    def fresh(self, key: Key) -> Entry | None:
        """The entry for the path, if it needs no new walk."""
        opened = self._entries.get(key)
        if opened is None or self._clock() - opened.checked >= self._age:
            return None
        opened.used = True
        return opened

    def changed(self, key: Key, opened: Entry) -> bool:
        """Whether the file has been written to since it was opened; then the entry is dropped.

        What is there in its name's place now, a new walk tells.
        """
        try:
            now = _version(os.fstat(opened.found.plain.file.descriptor))
        except OSError:
            now = None
        if now == opened.found.plain.version:
            return False
        if self._entries.get(key) is opened:
            self._drop(key)
        return True

    async def find(self, key: Key, segments: Sequence[str]) -> Entry:
        """Where `segments` lead, to be remembered under `key`. Raises OSError.

        The files are held by the cache, or by nobody: `hold` them before anything is awaited.
        """
        while True:
            opened = self.fresh(key)
            if opened is not None:
                return opened
            walk = self._walks.get(key)
            if walk is None or self._clock() - walk[0] >= self._age:
                return await self._walk(key, segments)
            outcome = await walk[1]
            if isinstance(outcome, int):
                raise OSError(outcome, os.strerror(outcome))
            if outcome is not None and not outcome.found.plain.file.closed:
                return outcome
            # The walk was given up, or what it found was dropped before it was our turn.

    def forget(self, place: Place) -> None:
        """This name in this directory has changed: nothing that depended on it is served again."""
        self._changes += 1
        self._walks.clear()
        for key in tuple(self._by_place.get(place, ())):
            self._drop(key)

    def close_idle(self) -> None:
        """Close what nobody has asked for: a deleted file keeps its disk space while it is open."""
        now = self._clock()
        for key, opened in tuple(self._entries.items()):
            if opened.used:
                opened.used, opened.wanted = False, now
            elif now - opened.wanted >= self._idle:
                self._drop(key)

    def close(self) -> None:
        """Close all that nobody else holds."""
        for key in tuple(self._entries):
            self._drop(key)

    # --- inside ----------------------------------------------------------------------------------

    async def _walk(self, key: Key, segments: Sequence[str]) -> Entry:
        changes = self._changes
        done: Future[_Outcome] = Future()
        self._walks[key] = walk = (self._clock(), done)
        outcome: _Outcome = None
        try:
            found = await in_pool(_walk, self._root, segments, self._clock)
            known = changes == self._changes
            outcome = opened = self._remember(key, found) if known else Entry(found)
            return opened
        except OSError as error:
            self._drop(key)  # what it has led to keeps its disk space while it is open
            outcome = error.errno  # not the error itself: each that is raised has its own way
            raise
        finally:
            if self._walks.get(key) is walk:
                del self._walks[key]
            done.set_result(outcome)

    def _remember(self, key: Key, found: Found) -> Entry:
        opened = self._entries.get(key)
        if opened is not None and opened.checked > found.began:
            return opened  # a walk that began later was faster
        if opened is not None and opened.found.versions() == found.versions():
            self._unlink(key, opened)
            opened.found = opened.found._replace(places=found.places)
            opened.checked = found.began
            opened.used = True
            for file in found.files():
                file.release()
        else:
            self._drop(key)
            opened = self._entries[key] = Entry(found)
            self.descriptors += len(found.files())
        for place in found.places:
            self._by_place.setdefault(place, set()).add(key)
        self._make_room(key)
        return opened

    def _make_room(self, newest: Key) -> None:
        """Who was used since it was last looked at here gets a second chance."""
        if self._affordable is None:
            self._affordable = min(self._most, max(4, _affordable() // self._share))
        while self.descriptors > self._affordable and len(self._entries) > 1:
            key = next(iter(self._entries))
            opened = self._entries[key]
            if opened.used or key == newest:
                opened.used = key == newest
                self._entries.move_to_end(key)
            else:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        opened = self._entries.pop(key, None)
        if opened is None:
            return
        self._unlink(key, opened)
        files = opened.found.files()
        self.descriptors -= len(files)
        for file in files:
            file.release()

    def _unlink(self, key: Key, opened: Entry) -> None:
        for place in opened.found.places:
            keys = self._by_place[place]
            keys.discard(key)
            if not keys:
                del self._by_place[place]


def _affordable() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (1 << 20) if soft == resource.RLIM_INFINITY else soft // DESCRIPTOR_SHARE


def _walk(root: Root, segments: Sequence[str], clock: Callable[[], float]) -> Found:
    """On the pool: the file and its siblings, opened; each closes itself if nobody comes for it."""
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
