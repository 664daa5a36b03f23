"""Reads a directory as a tar archive, a piece at a time, in constant memory.

Members are found as the archive is read: one open directory for each level, never a list of names.
They are what the file server serves: no hidden names, no devices, links followed within the root
and nowhere else. A linked directory that is open already would have no end; it is left out.

An archive that lacks something must not look whole. A file that becomes shorter while it is read,
an error of the disk, or too many members end it without its end. Names that may not be read, and
directories that are too deep, are named in a last member, NOT-ARCHIVED.txt. Names that are gone by
the time they are read are left out in silence, as in a listing.

Headers are in the format of POSIX (pax), which every tar reads, with sizes and names of any length,
in UTF-8 or, where a name is not UTF-8, as its bytes. All of this waits for the disk and runs on the
pool, one job at a time.
"""

import os
import stat
import tarfile
import time
from collections.abc import Iterator
from errno import EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO, EPERM
from typing import Final, NamedTuple

from reactor.errors import ResponseError, reason_of
from reactor.files.descriptors import check_lasting
from reactor.web.semantics.file_names import is_name, name_of
from reactor.web.storage.safe_path import Root, open_regular

PIECE_BYTES: Final = 256 * 1024  # returned by one job, with a header more at most
BATCH: Final = 16  # names of one job: each takes some system calls and a tenth of a millisecond
NOTED: Final = 1000  # names in NOT-ARCHIVED.txt; the rest is counted
NOTE_NAME: Final = "NOT-ARCHIVED.txt"

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE: Final = frozenset((ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, ENXIO))
_FORBIDDEN: Final = frozenset((EACCES, EPERM))
_BLOCK: Final = tarfile.BLOCKSIZE


class _Level(NamedTuple):
    """An open directory, the names that are still to be read, and its path in the archive."""

    descriptor: int
    identity: tuple[int, int]
    names: Iterator[os.DirEntry[str]]
    path: tuple[str, ...]  # below the directory that is archived

    def close(self) -> None:
        self.names.close()  # type: ignore[attr-defined]  # an iterator of os.scandir
        os.close(self.descriptor)


class ArchiveReader:
    """The archive of a directory. It is closed at its end, after an error, and when it is dropped.

    A job that runs when a client has left keeps it open until the job ends.
    """

    def __init__(
        self, root: Root, segments: tuple[str, ...], name: str, depth: int, entries: int
    ) -> None:
        """The paths of all members begin with `name`. Raises OSError.

        At most `depth` levels of directories below it, and `entries` members, are read.
        """
        self._levels: list[_Level] = []
        self._file: int | None = None
        self._path = ""  # where it is in the archive
        self._left = 0  # bytes of it that are to come
        self._padding = b""  # behind it
        self._root = root
        self._segments = segments
        self._name = name
        self._depth = depth
        self._entries = entries
        self._noted: list[str] = []
        self._unnoted = 0
        self._begin = self._enter((), root.open_directory(segments))

    def read(self) -> tuple[bytes, bool]:
        """Return the next bytes, perhaps none, and whether more follow.

        Raises ResponseError where the archive cannot be completed, OSError.
        """
        pieces, self._begin = [self._begin], b""
        size = names = 0
        try:
            while size < PIECE_BYTES and names < BATCH:
                if self._file is None and not self._levels:
                    pieces.append(self._end())
                    return b"".join(pieces), False
                names += self._file is None
                pieces.append(
                    self._next_member() if self._file is None else self._content(PIECE_BYTES - size)
                )
                size += len(pieces[-1])
        except BaseException:
            self.close()
            raise
        return b"".join(pieces), True

    def close(self) -> None:
        """Close all descriptors."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
        while self._levels:
            self._levels.pop().close()

    def __del__(self) -> None:
        if hasattr(self, "_levels"):
            self.close()

    def _next_member(self) -> bytes:
        """Return the header of the next member; nothing where the next name is none."""
        level = self._levels[-1]
        entry = next(level.names, None)
        if entry is None:
            self._levels.pop().close()
            return b""
        name = os.fsencode(entry.name)
        if not is_name(name):
            return b""
        path = (*level.path, name.decode("utf-8", "surrogateescape"))
        try:
            return self._member(level.descriptor, path)
        except OSError as error:
            if error.errno in _FORBIDDEN:
                self._note(path, reason_of(error))
            elif error.errno not in _GONE:
                raise
            return b""

    def _member(self, directory: int, path: tuple[str, ...]) -> bytes:
        """Open a name in the directory. Raises OSError."""
        name = name_of(path[-1])
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            return self._enter(path, os.open(name, _DIRECTORY, dir_fd=directory))
        if stat.S_ISREG(mode):
            return self._open(path, *open_regular(name, directory))
        if not stat.S_ISLNK(mode):
            return b""
        segments = (*self._segments, *path)
        try:
            found = self._root.open_file(segments)
        except IsADirectoryError:
            return self._enter(path, self._root.open_directory(segments))
        return self._open(path, *found)

    def _enter(self, path: tuple[str, ...], directory: int) -> bytes:
        """Go on with the names of an open directory."""
        try:
            check_lasting(directory)
            status = os.fstat(directory)
            identity = status.st_dev, status.st_ino
            problem = ""
            if len(self._levels) > self._depth:
                problem = f"more than {self._depth} levels of directories"
            elif identity in [level.identity for level in self._levels]:
                problem = "a link to a directory above it"
            names = os.scandir(directory) if not problem else None
        except BaseException:
            os.close(directory)
            raise
        if names is None:
            os.close(directory)
            self._note(path, problem)
            return b""
        self._levels.append(_Level(directory, identity, names, path))
        return self._header(path, status)

    def _open(self, path: tuple[str, ...], file: int, status: os.stat_result) -> bytes:
        """Go on with the content of an open file."""
        self._file = file
        self._path = "/".join((self._name, *path))
        self._left = status.st_size
        self._padding = bytes(-status.st_size % _BLOCK)
        header = self._header(path, status)
        return header if self._left else header + self._content(0)

    def _content(self, most: int) -> bytes:
        """Return bytes of the open file; at its end, close it and add the padding."""
        assert self._file is not None
        piece = os.read(self._file, min(most, self._left))
        self._left -= len(piece)
        if not self._left:
            file, self._file = self._file, None
            os.close(file)
            return piece + self._padding
        if not piece:
            raise ResponseError(f"{self._path!r} has become shorter while it was archived")
        return piece

    def _header(self, path: tuple[str, ...], status: os.stat_result) -> bytes:
        if not self._entries:
            raise ResponseError(f"the archive of {self._name!r} has too many members")
        self._entries -= 1
        directory = stat.S_ISDIR(status.st_mode)
        info = tarfile.TarInfo("/".join((self._name, *path)))
        info.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
        info.size = 0 if directory else status.st_size
        info.mtime = int(status.st_mtime)
        # Neither the owner nor the rights are the client's: only what a program needs to run.
        info.mode = 0o755 if directory or status.st_mode & stat.S_IXUSR else 0o644
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")

    def _note(self, path: tuple[str, ...], why: str) -> None:
        if len(self._noted) < NOTED:
            self._noted.append(f"{'/'.join((self._name, *path))!r}: {why}\n")
        else:
            self._unnoted += 1

    def _end(self) -> bytes:
        """Return the note, if there is something to say, and the end of the archive."""
        end = bytes(2 * _BLOCK)
        if not self._noted:
            return end
        rest = f"and {self._unnoted} more\n" if self._unnoted else ""
        text = "".join(("Not in this archive:\n", *self._noted, rest)).encode()
        info = tarfile.TarInfo(NOTE_NAME)
        info.size, info.mtime = len(text), int(time.time())
        header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        return header + text + bytes(-len(text) % _BLOCK) + end
