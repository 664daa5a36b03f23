"""A file in the making: all of it takes its name at once, or nothing is left.

The bytes go to a file that nobody can see. Where the file system can, it has no name at all
(O_TMPFILE, open(2)) until all of it is on the disk; elsewhere a name that begins with a dot, which
is never served. Then rename(2) puts it in its place: readers see the old file or the new one, and
of two uploads the one that ends last wins, whole.

What a name belongs to is looked at, and any condition on that checked, in one order with the rename
(see locks): between the two nobody else who keeps to that order changes it.

An unfinished file is locked as long as it is open. One that a killed server has left is not, and so
`sweep` knows it. Where files cannot be locked, what is left over stays.

All of this waits for the disk and runs on the pool. A cancelled upload may still have a job under
way or in the pool's queue when `discard` comes: its lock lets the running one end first, and one
that begins later is refused. Whatever happens, the last to let go of an Upload discards it.
"""

import errno
import logging
import os
import re
import stat
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, NamedTuple, TypeAlias

from reactor.errors import ProtocolError
from reactor.tasks.operations import in_pool
from reactor.web.storage.locks import DirectoryBusy, directory_lock, lock_while_open, try_lock
from reactor.web.storage.safe_path import Place, Root, place_in

log = logging.getLogger("reactor")
_FLAGS: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = 0o666  # less the umask, which the kernel applies: as any new file
# The flag, where there is one and a nameless file can be given a name by way of /proc (open(2)).
_NAMELESS: Final[int] = getattr(os, "O_TMPFILE", 0) if os.path.isdir("/proc/self/fd") else 0
_TRIES: Final = 10
_NO_LINKS: Final = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))
_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{16}\.part")
PIECE_BYTES: Final = 256 * 1024  # of a body, pulled and written at a time
Precondition: TypeAlias = Callable[[os.stat_result | None], None]


class Stored(NamedTuple):
    """What became of a file: whether there was one before, and where it is."""

    replaced: bool
    place: Place


class AtomicFile:
    """begin, write as often as there is something, commit; or discard at any time."""

    def __init__(
        self, root: Root, segments: Sequence[str], precondition: Precondition | None = None
    ) -> None:
        """`segments` are plain names (see safepath): the file's directory, and the file.

        `precondition` is called with the status of the file that has the name, or None: first
        before anything is written, then when the name is taken. What it raises ends the upload.
        """
        self.size = 0  # bytes written
        self.place: Place | None = None  # known from `begin` on
        self._root = root
        self._segments = segments
        self._precondition = precondition
        self._lock = Lock()
        self._over = False
        self._synced = False
        # Owned, and None while there is none.
        self._directory: int | None = None
        self._file: int | None = None
        self._temporary: str | None = None  # the file's name until it has its own

    def begin(self) -> None:
        """Open a new file in the directory. Raises OSError; ProtocolError for a name it cannot
        take.

        A missing directory, as anything else that is wrong, is told before a byte of the body is
        read; a failed condition only where all else is well (RFC 9110, section 13.2.1).
        """
        with self._lock:
            self._check()
            self._directory = self._root.open_directory(self._segments[:-1])
            self.place = place_in(self._directory, self._segments[-1].encode())
            status = _status_of(self._root, self._segments, self._directory)
            self._file = _open_nameless(self._directory)
            if self._file is None:
                self._open_named(self._directory)
            if self._precondition is not None:
                self._precondition(status)

    def write(self, piece: bytes) -> None:
        """Append all of the piece. Raises OSError."""
        with self._lock:
            self._check()
            assert self._file is not None  # it has begun
            rest = memoryview(piece)
            while rest:  # a disk that becomes full takes a part first (write(2))
                rest = rest[os.write(self._file, rest) :]
            self.size += len(piece)

    def commit(self) -> Stored:
        """Put the file in its place, complete on the disk.

        Raises OSError, and ProtocolError for a name that it cannot take or a condition that fails.
        After DirectoryBusy, and only then, it can be called again.
        """
        with self._lock:
            self._check()
            assert self._file is not None
            assert self._directory is not None
            # The bytes before the name: a crash in between must not leave an empty file in the
            # place of a good one.
            if not self._synced:
                os.fsync(self._file)
                self._synced = True
            if self._temporary is None:
                self._temporary = _give_name(self._file, self._directory)
            stored = publish_file(
                self._root, self._segments, self._directory, self._temporary, self._precondition
            )
            self._temporary = None
            self._clean_up()
            return stored

    def discard(self) -> None:
        """Leave nothing behind, unless all of it is in its place already."""
        with self._lock:
            self._clean_up()

    def __del__(self) -> None:
        # A net, on whatever thread this is: the coroutine was closed, or the pool too full.
        self._clean_up()

    # --- under the lock --------------------------------------------------------------------------

    def _check(self) -> None:
        if self._over:
            raise RuntimeError("this upload is over")

    def _open_named(self, directory: int) -> None:
        """A file with a name, locked: made anew as often as a sweep is faster than our lock."""
        for _ in range(_TRIES):
            name = _temporary_name()
            self._file = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=directory)
            self._temporary = name
            if lock_while_open(self._file):
                return
            self._drop_file(directory)
        raise ProtocolError(503, "The directory is being tidied up.")

    def _clean_up(self) -> None:
        self._over = True
        directory, self._directory = self._directory, None
        self._drop_file(directory)
        if directory is not None:
            os.close(directory)

    def _drop_file(self, directory: int | None) -> None:
        file, self._file = self._file, None
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            _remove(temporary, directory)
        if file is not None:
            os.close(file)


async def discard_in_pool(upload: AtomicFile) -> None:
    """Discard it, after a job of it that is under way."""
    try:
        await in_pool(upload.discard)
    except ProtocolError:
        pass  # the pool is full: AtomicFile.__del__ does it


def _open_nameless(directory: int) -> int | None:
    """None where the file system has no such thing, or anything else is wrong with this."""
    if not _NAMELESS:
        return None
    try:
        file = os.open(".", _FLAGS | _NAMELESS, _MODE, dir_fd=directory)
    except OSError:
        return None
    try:
        try_lock(file)  # it will have a name for a moment
    except OSError:
        pass  # a sweep cannot lock it either
    return file


def _give_name(file: int, directory: int) -> str:
    """A nameless file can only take a free name; rename(2), then, any."""
    name = _temporary_name()
    os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=directory, follow_symlinks=True)
    return name


def _temporary_name() -> str:
    return f".{os.urandom(8).hex()}.part"


def _remove(name: str, directory: int | None) -> None:
    """An error here must not stand in the place of the one that ended the upload."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass  # somebody else has tidied up
    except OSError:
        log.exception("an upload that broke off is left behind as %s", name)


def publish_file(
    root: Root,
    segments: Sequence[str],
    directory: int,
    temporary: str,
    precondition: Precondition | None,
) -> Stored:
    """Give the file `temporary` in the directory, which is on the disk already, its name.

    Raises DirectoryBusy, with nothing changed; what the precondition raises; ProtocolError for a
    name that is no file's; OSError. When it returns the name is on the disk as well.
    """
    with directory_lock(directory):
        status = _status_of(root, segments, directory)
        if precondition is not None:
            precondition(status)
        if status is not None or precondition is None:
            _rename(temporary, segments, directory)
        else:
            _take_free_name(temporary, segments, directory)
    sync_directory(directory)
    return Stored(status is not None, place_in(directory, segments[-1].encode()))


def remove_file(root: Root, segments: Sequence[str], precondition: Precondition | None) -> Place:
    """Remove the file of this name; of a link the link, not what is behind it.

    Raises FileNotFoundError, DirectoryBusy, and what `publish_file` does.
    """
    directory = root.open_directory(segments[:-1])
    try:
        with directory_lock(directory):
            status = _status_of(root, segments, directory)
            if status is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if precondition is not None:
                precondition(status)
            os.unlink(segments[-1].encode(), dir_fd=directory)
        sync_directory(directory)
        return place_in(directory, segments[-1].encode())
    finally:
        os.close(directory)


def _status_of(root: Root, segments: Sequence[str], directory: int) -> os.stat_result | None:
    """The status of the file that has this name; None if the name is free.

    A link that leads to a file in here counts as that file, and it is the link that is replaced or
    removed; what is behind it stays. One that leads nowhere is left alone.
    """
    try:
        status = os.stat(segments[-1].encode(), dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return _status_behind(root, segments)
    if not stat.S_ISREG(status.st_mode):
        raise ProtocolError(409, "This name belongs to something other than a file.")
    return status


def _status_behind(root: Root, segments: Sequence[str]) -> os.stat_result:
    try:
        target, status = root.open_file(segments)
    except FileNotFoundError:
        raise ProtocolError(404, "There is no such file.") from None
    os.close(target)
    return status


def _rename(temporary: str, segments: Sequence[str], directory: int) -> None:
    os.replace(temporary, segments[-1].encode(), src_dir_fd=directory, dst_dir_fd=directory)


def _take_free_name(temporary: str, segments: Sequence[str], directory: int) -> None:
    """A condition holds because the name is free: rename(2) would not see that it no longer is."""
    name = segments[-1].encode()
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        raise DirectoryBusy from None  # with somebody who knows no locks; to be looked at again
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename(temporary, segments, directory)
    else:
        _remove(temporary, directory)


def sync_directory(directory: int) -> None:
    """Until its directory is on the disk, a file's name is not (fsync(2))."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # this file system syncs no directories (CIFS, some FUSE)
            raise
