"""A file that is written and then published: all of it takes its name at once, or nothing is left.

The bytes go to a file that no client sees. Where the file system allows that, it has no name at all
(O_TMPFILE, open(2)) until all of it is on the disk; elsewhere it has a name that begins with a dot,
which is never served. Then it is published (see publish.py).

An unfinished file is locked as long as it is open. A file that a killed server has left is not, and
so the sweep knows it. Where files cannot be locked, left-over files stay.

All of this waits for the disk and runs on the pool. A cancelled upload may still have a job that
runs or is queued when `discard` comes: a lock lets the running job end first, and a later one is
refused. In any case, dropping the last reference to an AtomicFile discards it.
"""

import os
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Final

from reactor.errors import ProtocolError
from reactor.files.descriptors import check_lasting
from reactor.tasks.operations import in_pool
from reactor.web.semantics.file_names import name_of
from reactor.web.storage.disk_errors import WHEN_WRITING, refusal_of
from reactor.web.storage.locks import DirectoryBusy, lock_while_open, try_lock
from reactor.web.storage.private_files import write_all
from reactor.web.storage.safe_path import Place, Root, place_in
from reactor.web.uploads.directories import Made, is_gone, open_or_make, remove_made
from reactor.web.uploads.limits import UploadLimits
from reactor.web.uploads.publish import (
    Precondition,
    Published,
    remove_temporary,
    status_behind,
    sync_directory,
    take_name,
    temporary_name,
)

WRITE_BYTES: Final = 256 * 1024  # pulled from a body, or read from a file, and written at a time
_FLAGS: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = 0o666  # less the umask, which the kernel applies: as any new file
# The flag, where it exists and a nameless file can get a name by way of /proc (open(2)).
_NAMELESS: Final[int] = getattr(os, "O_TMPFILE", 0) if os.path.isdir("/proc/self/fd") else 0
_TRIES: Final = 10


class AtomicFile:
    """One upload of a whole file: `begin`, `write` its pieces, `commit`; or `discard` any time."""

    def __init__(
        self,
        root: Root,
        segments: Sequence[str],
        precondition: Precondition | None = None,
        depth: int = UploadLimits.directory_depth,
    ) -> None:
        """`segments` are plain names (see file_names.py): those of the directory, and the file's.

        A missing directory is made, at most `depth` deep (see directories.py).

        `precondition` is called with the status of the file that has the name, or None: before
        anything is written, and again when the name is taken. An error that it raises ends the
        upload.
        """
        self.size = 0  # bytes written
        self.place: Place | None = None  # known from `begin` on
        self._root = root
        self._segments = segments
        self._precondition = precondition
        self._lock = Lock()
        self._over = False
        self._synced = False
        self._published: Published | None = None  # once it has its name
        # Owned descriptors, and the file's name until it has its own; None while there is none.
        self._directory: int | None = None
        self._file: int | None = None
        self._temporary: str | None = None
        self._depth = depth
        self._made: Made = []  # directories; removed unless the file is published

    def begin(self) -> None:
        """Open a new file in the directory.

        Raises OSError, and ProtocolError for a name that it cannot take: every error is raised
        before a byte of the body is read, and a failed precondition only where all else is well
        (RFC 9110, section 13.2.1). It can be called again after an error.
        """
        with self._lock:
            self._check()
            self._close()
            directory = self._open_directory()
            status = status_behind(self._root, self._segments, directory)
            file = self._open_file(directory)
            check_lasting(directory, file)
            if self._precondition is not None:
                self._precondition(status)

    def write(self, piece: bytes | memoryview) -> None:
        """Append all of the piece. Raises OSError, after which `size` counts the bytes written."""
        with self._lock:
            self._check()
            assert self._file is not None  # it has begun
            write_all(piece, partial(self._append, self._file))

    def commit(self) -> Published:
        """Publish the file, complete on the disk.

        Raises OSError, and ProtocolError for a name that it cannot take, a precondition that
        fails, or bytes that do not get to the disk. After DirectoryBusy or an OSError it can be
        called again.
        """
        with self._lock:
            self._check()
            assert self._file is not None
            # The bytes before the name: a crash in between must not leave an empty file in the
            # place of a good one.
            if not self._synced:
                self._sync(self._file)
            if self._published is None:
                self._published = self._take_name(self._file)
            assert self._directory is not None
            sync_directory(self._directory)
            self._made.clear()
            self._clean_up()
            return self._published

    def discard(self) -> None:
        """Leave nothing behind, unless the file is published already."""
        with self._lock:
            self._clean_up()

    def __del__(self) -> None:
        # A safety net, on any thread: for when the coroutine was closed, or the pool too full.
        self._clean_up()

    # --- under the lock --------------------------------------------------------------------------

    def _check(self) -> None:
        if self._over:
            raise RuntimeError("this upload has ended")

    def _append(self, file: int, rest: memoryview) -> int:
        count = os.write(file, rest)
        self.size += count
        return count

    def _sync(self, file: int) -> None:
        """Bring the bytes to the disk.

        Where that fails they are lost: the kernel reports it once, and a second fsync(2) succeeds.
        """
        try:
            os.fsync(file)
        except OSError as error:
            self._over = True
            refusal = refusal_of(WHEN_WRITING, error)
            if refusal is None:
                raise
            raise refusal from error
        self._synced = True

    def _open_directory(self) -> int:
        self._directory, made = open_or_make(self._root, self._segments[:-1], self._depth)
        self._made += made
        self.place = place_in(self._directory, name_of(self._segments[-1]))
        return self._directory

    def _open_file(self, directory: int) -> int:
        self._file = _open_nameless(directory)
        try:
            if self._file is None:
                self._open_named(directory)
        except FileNotFoundError:
            if is_gone(directory):  # another upload that failed has removed it, or a client
                raise DirectoryBusy from None
            raise
        assert self._file is not None
        return self._file

    def _take_name(self, file: int) -> Published:
        if self._temporary is None:
            self._temporary = self._name_nameless(file)
        directory = self._directory
        assert directory is not None
        published = take_name(
            self._root, self._segments, directory, self._temporary, self._precondition
        )
        self._temporary = None
        return published

    def _name_nameless(self, file: int) -> str:
        """Give a nameless file a temporary name; make its directory again if that was removed."""
        for _ in range(_TRIES):
            directory = self._open_directory() if self._directory is None else self._directory
            try:
                return _name_nameless(file, directory)
            except FileNotFoundError:
                if not is_gone(directory):
                    raise
                self._directory = None
                os.close(directory)
        raise DirectoryBusy

    def _open_named(self, directory: int) -> None:
        """Open a named file and lock it; try again if a sweep removes it before it is locked."""
        for _ in range(_TRIES):
            name = temporary_name()
            self._file = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=directory)
            self._temporary = name
            if lock_while_open(self._file):
                return
            self._drop_file(directory)
        raise ProtocolError(503, "Left-over files are being removed from the directory.")

    def _clean_up(self) -> None:
        self._over = True
        self._close()

    def _close(self) -> None:
        directory, self._directory = self._directory, None
        self._drop_file(directory)
        if directory is not None:
            os.close(directory)
        remove_made(self._root, self._made)

    def _drop_file(self, directory: int | None) -> None:
        file, self._file = self._file, None
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            remove_temporary(temporary, directory)
        if file is not None:
            os.close(file)


async def discard_in_pool(upload: AtomicFile) -> None:
    """Discard the upload after its running job."""
    try:
        await in_pool(upload.discard)
    except ProtocolError:
        pass  # the pool is full: AtomicFile.__del__ discards it


def _open_nameless(directory: int) -> int | None:
    """Return a file without a name; None where the file system has none, or on any error."""
    if not _NAMELESS:
        return None
    try:
        file = os.open(".", _FLAGS | _NAMELESS, _MODE, dir_fd=directory)
    except OSError:
        return None
    try:
        try_lock(file)  # it will have a temporary name for a moment
    except OSError:
        pass  # without locks no sweep can lock it either
    return file


def _name_nameless(file: int, directory: int) -> str:
    """Give a nameless file a temporary name: link(2) takes free names only, rename(2) any."""
    name = temporary_name()
    os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=directory, follow_symlinks=True)
    return name
