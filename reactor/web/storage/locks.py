"""Advisory locks: on directories whose names change, and on files that are being written.

A check and the change that follows from it belong together. `directory_lock` admits one such pair
at a time in a directory: a Lock excludes the other threads of this process, flock(2) on the
directory excludes other processes, where the file system supports it. Code under the lock must not
wait for a disk to take bytes.

Nobody waits long for a lock that another program keeps. A job tries a few times and raises
DirectoryBusy; the rest of the waiting happens on the loop (`retry_while_busy`), so that a foreign
program that keeps a directory locked occupies no pool threads.

An unfinished file is locked for as long as it is open (`lock_while_open`). The lock ends with its
process, however that ends, and so a sweep finds the files that are left over.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from reactor.errors import ProtocolError
from reactor.tasks.operations import in_pool, sleep

PATIENCE: Final = 2.0  # seconds to wait for a directory's lock before the request fails
_PAUSE: Final = 0.05  # seconds between two tries
_TRIES: Final = 3  # tries of one job, a millisecond apart: they block a pool thread

# The errors of file systems without locks; NFS reports one for a directory, which cannot be open
# for writing.
_NO_LOCKS: Final = frozenset(
    (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF, errno.ENOLCK)
)

T = TypeVar("T")

_directory_locks: Final[WeakValueDictionary[tuple[int, int], Lock]] = WeakValueDictionary()
_all_locks: Final = Lock()


class DirectoryBusy(ProtocolError):
    """503: another process holds the directory's lock. `retry_while_busy` tries again."""

    def __init__(self) -> None:
        super().__init__(503, "Another program has locked the directory.", [("Retry-After", "1")])


async def retry_while_busy(function: Callable[..., T], *arguments: Any) -> T:
    """Run the function on the pool; while it raises DirectoryBusy, try again for PATIENCE seconds.

    The waiting happens on the loop: a lock that is kept for ever occupies no thread. Raises what
    the function raises, and DirectoryBusy when the time is up.
    """
    for _ in range(round(PATIENCE / _PAUSE)):
        try:
            return await in_pool(function, *arguments)
        except DirectoryBusy:
            await sleep(_PAUSE)
    return await in_pool(function, *arguments)


@contextmanager
def directory_lock(directory: int) -> Iterator[None]:
    """Hold the lock of the open directory: one thread at a time, among processes that do the same.

    Raises DirectoryBusy when the lock is not free after a moment.
    """
    status = os.fstat(directory)
    lock = _lock_of(status.st_dev, status.st_ino)
    if not lock.acquire(timeout=PATIENCE):
        raise DirectoryBusy
    try:
        locked = _lock_directory(directory)
        try:
            yield
        finally:
            if locked:
                fcntl.flock(directory, fcntl.LOCK_UN)
    finally:
        lock.release()


def _lock_of(device: int, inode: int) -> Lock:
    """Return the directory's lock among threads; it exists while a thread uses it."""
    with _all_locks:
        lock = _directory_locks.get((device, inode))
        if lock is None:
            lock = _directory_locks[device, inode] = Lock()
        return lock


def _lock_directory(directory: int) -> bool:
    """Lock the directory among processes; return False where the file system locks no directories.

    Raises DirectoryBusy.
    """
    try:
        for _ in range(_TRIES):
            if try_lock(directory):
                return True
            time.sleep(0.001)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    raise DirectoryBusy


def try_lock(descriptor: int) -> bool:
    """Lock an open file if no other process has locked it; return whether that worked.

    Raises OSError where the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_while_open(file: int) -> bool:
    """Lock a new file for as long as it is open, so that no sweep removes it as left over.

    Returns False if a sweep has locked it, or has removed its name.
    """
    try:
        locked = try_lock(file)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        locked = True  # without locks, no sweep can lock the file either
    return locked and os.fstat(file).st_nlink > 0
