"""Small files that only the server uses: opened, removed and dated safely."""

import errno
import logging
import os
import stat
from collections.abc import Callable
from typing import Final

log = logging.getLogger("reactor")
# A symbolic link in the place of such a file is not followed, and opening never blocks.
SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
NEW: Final = os.O_CREAT | os.O_EXCL | SAFE
_NOT_PRIVATE: Final = frozenset((errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO))


def open_private(name: str, flags: int, directory: int) -> int | None:
    """Open a regular file of the server; return None where there is none, or anything else.

    Raises any other OSError.
    """
    try:
        file = os.open(name, flags | SAFE, dir_fd=directory)
    except OSError as error:
        if error.errno in _NOT_PRIVATE:
            return None
        raise
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def status_at(name: str, directory: int) -> os.stat_result | None:
    """Return the status of this name in the directory, links not followed; None if it is free."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def unlink(name: str, directory: int) -> None:
    """Remove the name, if it is there. Raises any other OSError."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass


def unlink_or_log(name: str, directory: int) -> None:
    """Remove the name; log an error instead of raising it.

    The upload has ended already, and its result does not depend on this: the sweep tries again.
    """
    try:
        unlink(name, directory)
    except OSError:
        log.exception("Cannot remove %s, which an upload has left behind", name)


def write_all(piece: bytes | memoryview, write: Callable[[memoryview], int]) -> None:
    """Call `write` until all of the piece is written. Raises what it raises.

    A disk that becomes full takes a part first (write(2)).
    """
    rest = memoryview(piece)
    while rest:
        rest = rest[write(rest) :]


def set_time(file: int, now: float) -> None:
    """Set both times of the open file, in seconds since the epoch."""
    os.utime(file, (now, now))
