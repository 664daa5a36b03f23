"""Opens files below a root directory, from the segments of a path, and never outside of it.

The path is walked name by name. Each name is looked up in the descriptor of the directory before it
(openat(2)), and no call here follows a symbolic link by itself. Checking a whole path and opening
it afterwards leaves a gap in which a directory can be replaced by a link; this leaves none.

A link is read, and its target is walked by the same rules: a relative target from where the link
is, an absolute one only if it begins with the root's own path. `..`, which only links may contain,
returns to the descriptor that it came from and never above the root.

A name is the UTF-8 encoding of its segment, whose surrogate escapes are the bytes that are not
UTF-8. Names that begin with a dot do not exist, behind links either; a root for readers makes an
exception of `.well-known` in the root itself. A path that breaks a rule raises FileNotFoundError,
as a missing file does: no client learns the difference. All of this may wait for a disk, so it runs
on the pool. This module knows nothing of HTTP.
"""

import errno
import os
import stat
from collections.abc import Sequence, Set
from contextlib import suppress
from types import TracebackType
from typing import Final, TypeAlias

from reactor.web.semantics.file_names import WELL_KNOWN, is_name, is_served, name_of

MOST_LINKS: Final = 40  # as many as the kernel follows (path_resolution(7))
# A name in a directory: the directory's device and inode, and the name.
Place: TypeAlias = tuple[int, int, bytes]
# Flags of a directory in which names are looked up. That takes only the right to search it (mode
# 0711, say) where the system has descriptors for just that (O_PATH, open(2)).
_SEARCHABLE: Final = (
    getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
)
_READABLE: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# If a FIFO or a terminal takes the file's name after it was checked, opening it neither waits for a
# writer nor makes it the server's controlling terminal (open(2)).
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Root:
    """A directory that no path leaves.

    It is opened anew for each walk, so that a directory that is replaced while the server runs, as
    deployments do by moving a link, is seen. Its own path is the operator's and may contain links.
    """

    def __init__(self, path: str | os.PathLike[str], *, well_known: bool = False) -> None:
        """`well_known`: the directory `.well-known` in it can be read.

        Raises OSError if there is no such directory, or if names cannot be looked up in it.
        """
        if not os.fspath(path):
            # An empty path must not mean the current directory.
            raise FileNotFoundError(errno.ENOENT, "the path of the directory is empty")
        self._path = os.path.join(os.getcwdb(), os.fsencode(path))
        # The names in it that may begin with a dot.
        self._dotted = frozenset((WELL_KNOWN,) if well_known else ())
        directory = self.find_directory(())
        try:
            os.stat(".", dir_fd=directory)
        finally:
            os.close(directory)

    def open_file(self, segments: Sequence[str]) -> tuple[int, os.stat_result]:
        """Open a regular file for reading; return its file descriptor and its status.

        Raises FileNotFoundError where there is none, IsADirectoryError for a directory, and any
        other OSError unchanged.
        """
        return self.find_file(segments, set())

    def find_file(self, segments: Sequence[str], places: set[Place]) -> tuple[int, os.stat_result]:
        """Open a file as `open_file` does, and add to `places` every name that decides the outcome.

        These are the last name and the links on the way: the names whose renaming can change what
        is found, or that nothing is found.
        """
        descriptor, status, _ = self.locate_file(segments, places, ())
        return descriptor, status

    def locate_file(
        self, segments: Sequence[str], places: set[Place], roots: Sequence["Root"]
    ) -> tuple[int, os.stat_result, bool]:
        """Open a file as `find_file` does; the third value is whether it is below one of `roots`.

        It is if a directory above the file, up to this root, is the one that one of `roots` has
        now; links on the way make no difference. A part of that directory that is mounted a second
        time elsewhere is not recognized.
        """
        with _Walk(self._path, self._dotted, segments, places) as walk:
            descriptor, status = walk.to_file()
            try:
                return descriptor, status, bool(roots) and walk.is_below(roots)
            except BaseException:
                os.close(descriptor)
                raise

    def may_be_within(self, other: "Root") -> bool:
        """Return whether this is the other's directory or lies below it, as far as can be seen.

        Returns True where a directory above it cannot be searched. Raises other OSErrors.
        """
        wanted = other.identity()
        directory = self.find_directory(())
        try:
            here = _identity(os.fstat(directory))
            while here != wanted:
                parent = os.open("..", _SEARCHABLE, dir_fd=directory)
                os.close(directory)
                directory, below = parent, here
                here = _identity(os.fstat(directory))
                if here == below:  # the root of the file system is its own parent
                    return False
            return True
        except PermissionError:
            return True
        finally:
            os.close(directory)

    def identity(self) -> tuple[int, int]:
        """Return the device and the inode of the directory as it is now.

        Raises OSError, FileNotFoundError where it is gone.
        """
        return _identity(os.stat(self._path))

    def open_directory(self, segments: Sequence[str]) -> int:
        """Open a directory for reading; without segments, the root itself. Raises OSError.

        Reading rights are needed to list a directory, to lock it, or to sync it to the disk.
        """
        found = self.find_directory(segments)
        try:
            return os.open(".", _READABLE, dir_fd=found)
        finally:
            os.close(found)

    def find_directory(self, segments: Sequence[str]) -> int:
        """Open a directory as `open_directory` does, but only for looking up names in it."""
        with _Walk(self._path, self._dotted, segments) as walk:
            return walk.to_directory()


class _Walk:
    """A walk down from the root: the directories opened so far, and the names still to walk."""

    __slots__ = ("_directories", "_dotted", "_links", "_names", "_places", "_root")

    def __init__(
        self,
        root: bytes,
        dotted: Set[bytes],
        segments: Sequence[str],
        places: set[Place] | None = None,
    ) -> None:
        """`dotted` are the names in the root itself that may begin with a dot."""
        if not is_served(segments):
            raise _not_found()
        self._root = root
        self._dotted = dotted
        # Reversed: the next name is last.
        self._names = [name_of(segment) for segment in segments][::-1]
        self._places = places  # not None if the caller wants them
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
                return open_regular(name, self._directories[-1])
            self._descend(name)
        raise _is_directory()

    def to_directory(self) -> int:
        while (name := self._next_name()) is not None:
            self._descend(name)
        return self._directories.pop()

    def is_below(self, roots: Sequence[Root]) -> bool:
        """Return whether the walk is below one of these roots. Raises OSError.

        A root that is gone has nothing below it. Any other failure is raised, since the caller must
        not take the file for another one.
        """
        wanted = set()
        for root in roots:
            with suppress(FileNotFoundError):
                wanted.add(root.identity())
        return any(_identity(os.fstat(directory)) in wanted for directory in self._directories)

    def _next_name(self) -> bytes | None:
        """Return the next name in the last directory that is no link; None at the path's end."""
        while self._names:
            name = self._names.pop()
            if name == b"..":
                self._ascend()
            elif name not in (b"", b"."):
                # Segments were checked at the start, but for this set; names in links were not.
                if not is_name(name) and not (len(self._directories) == 1 and name in self._dotted):
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
        """Continue with the names in the link's target."""
        self._links += 1
        if self._links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        try:
            target = os.readlink(link, dir_fd=self._directories[-1])
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._names.append(link)  # a rename has replaced the link: look at the name again
            return
        if target.startswith(b"/"):
            target = self._below_root(target)
            self._close_above(1)
        self._names += target.split(b"/")[::-1]

    def _below_root(self, target: bytes) -> bytes:
        """Return the part of an absolute path below the root, whose path may be that of a link.

        Only text is compared; the walk then continues from the root, by the rules.
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
    """Return the place of a name in the open directory. Raises OSError."""
    status = os.fstat(directory)
    return status.st_dev, status.st_ino, name


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _status(name: bytes, directory: int) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def open_regular(name: bytes, directory: int) -> tuple[int, os.stat_result]:
    """Open a regular file by its name in an open directory; return its descriptor and its status.

    Raises OSError, as `Root.open_file` does. Anything else is not even opened: opening a device can
    have effects.
    """
    _check_regular(_status(name, directory))
    descriptor = os.open(name, _FILE, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        _check_regular(status)  # again: another file may have taken the name
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
