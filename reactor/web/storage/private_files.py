"""Small files that are the server's own: opened, read, written and removed safely."""

import errno
import logging
import os
import stat
from typing import Final

log = logging.getLogger("reactor")
# A link in the place of a file of ours is not followed, and nothing else is waited for.
SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
NEW: Final = os.O_CREAT | os.O_EXCL | SAFE
_NOT_OURS: Final = frozenset((errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO))


def open_private(name: str, flags: int, directory: int) -> int | None:
    """A file of ours; None where there is none, or something else that we have not made."""
    try:
        file = os.open(name, flags | SAFE, dir_fd=directory)
    except OSError as error:
        if error.errno in _NOT_OURS:
            return None
        raise
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def status_at(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def unlink(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass


def tidy(name: str, directory: int) -> None:
    """An error here changes nothing about how the upload has ended: the sweep comes back to it."""
    try:
        unlink(name, directory)
    except OSError:
        log.exception("%s is left behind by an upload", name)


def set_time(file: int, now: float) -> None:
    os.utime(file, (now, now))
