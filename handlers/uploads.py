"""A file in the making: all of it takes its name at once, or nothing is left.

The bytes go to a file that nobody can see. Where the file system can, it has no name at all
(O_TMPFILE, open(2)) until all of it is on the disk, so that even a killed server leaves nothing;
elsewhere a name that begins with a dot, which is never served. Then rename(2) puts it in its place:
readers see the old file or the new one, and of two uploads the one that ends last wins, whole.

All methods wait for the disk and run on the pool. A cancelled upload may still have a job under way
or in the pool's queue when `discard` comes: the lock lets the running one end first, and one that
begins later is refused. Whatever happens, the last to let go of an Upload discards it.
"""

import errno
import logging
import os
import stat
from collections.abc import Sequence
from threading import Lock
from typing import Final

from handlers.safepath import Root
from reactor import ProtocolError

log = logging.getLogger("reactor")

_FLAGS: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = 0o666  # less the umask, which the kernel applies: as any new file
# The flag, where there is one and a nameless file can be given a name by way of /proc (open(2)).
_NAMELESS: Final[int] = getattr(os, "O_TMPFILE", 0) if os.path.isdir("/proc/self/fd") else 0


class Upload:
    """begin, write as often as there is something, commit; or discard at any time."""

    def __init__(self, root: Root, segments: Sequence[str]) -> None:
        """`segments` are plain names (see safepath): the file's folder, and the file."""
        self._root = root
        self._segments = segments
        self._name = segments[-1].encode()
        self._lock = Lock()
        self._over = False
        # Owned, and None while there is none.
        self._folder: int | None = None
        self._file: int | None = None
        self._temporary: str | None = None  # the file's name until it has its own

    def begin(self) -> None:
        """Open a new file in the folder. Raises OSError; ProtocolError for a name it cannot take.

        A missing folder, as anything else that is wrong, is told before a byte of the body is read.
        """
        with self._lock:
            self._check()
            self._folder = self._root.open_folder(self._segments[:-1])
            self._replaces(self._folder)
            self._file = self._open_nameless(self._folder)
            if self._file is None:
                name = _temporary_name()
                flags = _FLAGS | os.O_CREAT | os.O_EXCL
                self._file = os.open(name, flags, _MODE, dir_fd=self._folder)
                self._temporary = name

    def write(self, piece: bytes) -> None:
        """Append all of the piece. Raises OSError."""
        with self._lock:
            self._check()
            assert self._file is not None  # it has begun
            rest = memoryview(piece)
            while rest:  # a disk that becomes full takes a part first (write(2))
                rest = rest[os.write(self._file, rest) :]

    def commit(self) -> bool:
        """Put the file in its place, complete on the disk; whether it has replaced one.

        Raises OSError, and ProtocolError for a name that it cannot take.
        """
        with self._lock:
            self._check()
            assert self._file is not None
            assert self._folder is not None
            # The bytes before the name: a crash in between must not leave an empty file in the
            # place of a good one.
            os.fsync(self._file)
            replaced = self._rename(self._file, self._folder)
            _sync_folder(self._folder)
            self._clean_up()
            return replaced

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

    def _open_nameless(self, folder: int) -> int | None:
        """None where the file system has no such thing, or anything else is wrong with this."""
        if _NAMELESS:
            try:
                return os.open(".", _FLAGS | _NAMELESS, _MODE, dir_fd=folder)
            except OSError:
                pass
        return None

    def _replaces(self, folder: int) -> bool:
        """Whether there is a file of this name.

        A link that leads to a file in here counts as that file, and it is the link that is
        replaced; what is behind it stays. One that leads nowhere is left alone.
        """
        try:
            mode = os.stat(self._name, dir_fd=folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISLNK(mode):
            os.close(self._open_target())
        elif not stat.S_ISREG(mode):
            raise ProtocolError(409, "This name belongs to something that is not a file.")
        return True

    def _open_target(self) -> int:
        try:
            return self._root.open_file(self._segments)[0]
        except FileNotFoundError:
            raise ProtocolError(404, "There is no such file.") from None

    def _rename(self, file: int, folder: int) -> bool:
        if self._temporary is None:
            # A nameless file can only take a free name; rename(2), then, any.
            name = _temporary_name()
            os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=folder, follow_symlinks=True)
            self._temporary = name
        replaced = self._replaces(folder)
        os.replace(self._temporary, self._name, src_dir_fd=folder, dst_dir_fd=folder)
        self._temporary = None
        return replaced

    def _clean_up(self) -> None:
        self._over = True
        folder, self._folder = self._folder, None
        file, self._file = self._file, None
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            _remove(temporary, folder)
        for descriptor in (file, folder):
            if descriptor is not None:
                os.close(descriptor)


def _temporary_name() -> str:
    return f".{os.urandom(8).hex()}.part"


def _remove(name: str, folder: int | None) -> None:
    """An error here must not stand in the place of the one that ended the upload."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass  # somebody else has tidied up
    except OSError:
        log.exception("an upload that broke off is left behind as %s", name)


def _sync_folder(folder: int) -> None:
    """Until its folder is on the disk, a file's name is not (fsync(2))."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # this file system syncs no folders (CIFS, some FUSE)
            raise
