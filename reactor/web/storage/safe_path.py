"""From the segments of a path to a file below a directory, and never out of it.

The path is walked name by name, each looked up in the descriptor of the directory before it
(openat(2)), and no call here follows a symbolic link by itself. A check of a whole path that is
opened afterwards has a gap in which a directory can become a link; this has none.

A link is read and its target walked by the same rules: a relative one from where the link is, an
absolute one only if it begins with the directory's own path. `..`, which only links may have, goes
back to the descriptor it came from and never above the root.

A name is the UTF-8 of its segment. Names that begin with a dot are not there, under any link. What
breaks a rule raises FileNotFoundError, like what does not exist: nobody learns the difference. All
of this may wait for a disk, so it runs on the pool. It knows nothing of HTTP.
"""

import errno
import os
import stat
from collections.abc import Sequence
from types import TracebackType
from typing import Final, TypeAlias

from reactor.web.semantics.file_names import _NAME, is_plain

MOST_LINKS: Final = 40  # as many as the kernel follows (path_resolution(7))
Place: TypeAlias = tuple[int, int, bytes]  # a name in a directory: its device, its inode, the name
# To look names up in, which takes no more than the right to search a directory (its mode may be
# 0711) where the system has descriptors for just that (O_PATH, open(2)).
_SEARCHABLE: Final = (
    getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
)
_READABLE: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Should a FIFO or a terminal have taken the file's name since it was looked at, opening it neither
# waits for a writer nor makes it the server's controlling terminal (open(2)).
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Root:
    """The directory that nothing leads out of.

    It is opened for each walk: one that is replaced while the server runs, as deployments do by
    moving a link, is seen. Its own path is the operator's and may contain links.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises OSError when there is no such directory or nothing can be looked up in it."""
        if not os.fspath(path):
            raise FileNotFoundError(errno.ENOENT, "its name is empty")  # not the current one
        self._path = os.path.join(os.getcwdb(), os.fsencode(path))
        directory = self.find_directory(())
        try:
            os.stat(".", dir_fd=directory)
        finally:
            os.close(directory)

    def open_file(self, segments: Sequence[str]) -> tuple[int, os.stat_result]:
        """The descriptor of a regular file, for reading, and its status.

        Raises FileNotFoundError where there is none, IsADirectoryError for a directory, and any
        other OSError as it is.
        """
        return self.find_file(segments, set())

    def find_file(self, segments: Sequence[str], places: set[Place]) -> tuple[int, os.stat_result]:
        """As `open_file`; every name that decides what is found, or that nothing is, is added.

        These are the last name and the links on the way: what a rename in here can change.
        """
        with _Walk(self._path, segments, places) as walk:
            return walk.to_file()

    def open_directory(self, segments: Sequence[str]) -> int:
        """The descriptor of a directory; without segments, of the directory itself. Raises OSError.

        It is for reading: whoever lists the directory, locks it or puts it on the disk needs that.
        """
        found = self.find_directory(segments)
        try:
            return os.open(".", _READABLE, dir_fd=found)
        finally:
            os.close(found)

    def find_directory(self, segments: Sequence[str]) -> int:
        """The same, and all that can be done with it is to look up names."""
        with _Walk(self._path, segments) as walk:
            return walk.to_directory()


class _Walk:
    """A way down from the root: the directories that it has opened and the names still to go."""

    __slots__ = ("_directories", "_links", "_names", "_places", "_root")

    def __init__(
        self, root: bytes, segments: Sequence[str], places: set[Place] | None = None
    ) -> None:
        if not is_plain(segments):
            raise _not_found()
        self._root = root
        self._names = [segment.encode() for segment in segments][::-1]  # the next one is last
        self._places = places  # where they are wanted
        self._links = 0
        self._directories = [os.open(root, _SEARCHABLE & ~os.O_NOFOLLOW)]

    def __enter__(self) -> "_Walk":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_above(0)

    def to_file(self) -> tuple[int, os.stat_result]:
        while (name := self._next_name()) is not None:
            if not self._names:
                return _open_regular(name, self._directories[-1])
            self._descend(name)
        raise _is_directory()

    def to_directory(self) -> int:
        while (name := self._next_name()) is not None:
            self._descend(name)
        return self._directories.pop()

    def _next_name(self) -> bytes | None:
        """The next name in the last directory that is no link; None at the end of the way."""
        while self._names:
            name = self._names.pop()
            if name == b"..":
                self._ascend()
            elif name not in (b"", b"."):
                if not _NAME.fullmatch(name):  # of a link's target; a segment has been checked
                    raise _not_found()
                if not self._names:
                    self._note(name)
                if not stat.S_ISLNK(_status(name, self._directories[-1]).st_mode):
                    return name
                self._note(name)
                self._follow(name)
        return None

    def _note(self, name: bytes) -> None:
        if self._places is not None:
            self._places.add(place_in(self._directories[-1], name))

    def _descend(self, name: bytes) -> None:
        self._directories.append(os.open(name, _SEARCHABLE, dir_fd=self._directories[-1]))

    def _ascend(self) -> None:
        if len(self._directories) == 1:
            raise _not_found()
        os.close(self._directories.pop())

    def _follow(self, link: bytes) -> None:
        """Go on with the names in the link's target."""
        self._links += 1
        if self._links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        try:
            target = os.readlink(link, dir_fd=self._directories[-1])
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._names.append(link)  # a rename has put something else there: look again
            return
        if target.startswith(b"/"):
            target = self._below_root(target)
            self._close_above(1)
        self._names += target.split(b"/")[::-1]

    def _below_root(self, target: bytes) -> bytes:
        """The part of an absolute path that is below the root, whose path may be a link's.

        Only text is compared, but then the way goes on from the root, by the rules.
        """
        for root in (self._root, os.path.realpath(self._root)):
            prefix = root.rstrip(b"/") + b"/"
            if target.startswith(prefix) or target == root:
                return target[len(prefix) :]
        raise _not_found()

    def _close_above(self, kept: int) -> None:
        while len(self._directories) > kept:
            os.close(self._directories.pop())


def place_in(directory: int, name: bytes) -> Place:
    """The place of a name in the directory of this descriptor. Raises OSError."""
    status = os.fstat(directory)
    return status.st_dev, status.st_ino, name


def _status(name: bytes, directory: int) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _open_regular(name: bytes, directory: int) -> tuple[int, os.stat_result]:
    """What is no regular file is not even opened: opening a device can have effects."""
    _check_regular(_status(name, directory))
    descriptor = os.open(name, _FILE, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        _check_regular(status)  # again: it may be another one by now
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _is_directory()
    if not stat.S_ISREG(status.st_mode):
        raise _not_found()


def _not_found() -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _is_directory() -> IsADirectoryError:
    return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
