"""Who may change a directory's names, and which files are in the making: advisory locks.

A check and the change that follows from it belong together. `directory_lock` has one at a time do
this in a directory: among the threads of this process by a Lock, among processes by flock(2) on the
directory, where its file system has that. Nothing in there may wait for a disk to take bytes.

Nobody waits long for who does not let go. A job tries a few times and says DirectoryBusy; the rest
of the waiting is done on the loop (`retry_while_busy`), so that a foreign program that keeps a
directory locked takes no threads from anybody.

A file in the making is locked for as long as it is open (`hold`). The lock ends with its process,
however that ends, which is how a sweep tells what is left over.
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

PATIENCE: Final = 2.0  # seconds until somebody who holds a directory's lock is the answer
_PAUSE: Final = 0.05  # seconds between two tries
_TRIES: Final = 3  # of a job, a millisecond apart: it is a thread that waits there

# What file systems without locks say; NFS does for a directory, which cannot be open for writing.
_NO_LOCKS: Final = frozenset(
    (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF, errno.ENOLCK)
)

T = TypeVar("T")

_directory_locks: Final[WeakValueDictionary[tuple[int, int], Lock]] = WeakValueDictionary()
_all_locks: Final = Lock()


class DirectoryBusy(ProtocolError):
    """Another process keeps the directory's lock; `retry_while_busy` tries again."""

    def __init__(self) -> None:
        super().__init__(503, "The directory is in use by another program.", [("Retry-After", "1")])


async def retry_while_busy(function: Callable[..., T], *arguments: Any) -> T:
    """Run it on the pool, again and again for PATIENCE while it raises DirectoryBusy.

    The waiting is done out here: whoever keeps a lock for ever keeps no thread.
    """
    for _ in range(round(PATIENCE / _PAUSE)):
        try:
            return await in_pool(function, *arguments)
        except DirectoryBusy:
            await sleep(_PAUSE)
    return await in_pool(function, *arguments)


@contextmanager
def directory_lock(directory: int) -> Iterator[None]:
    """One at a time in this directory: of this process's threads, and of processes that do the
    same.

    Raises DirectoryBusy after a moment.
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
    """The directory's lock among threads; it is there while somebody has it or waits for it."""
    with _all_locks:
        lock = _directory_locks.get((device, inode))
        if lock is None:
            lock = _directory_locks[device, inode] = Lock()
        return lock


def _lock_directory(directory: int) -> bool:
    """Whether it is locked now; False where the file system locks no directories."""
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
    """Whether nobody else has it locked; then we have. Raises OSError where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hold(file: int) -> bool:
    """Lock a new file for as long as it is open, so that no sweep takes it for left over.

    False when a sweep has it, or has had it: it has no name any more, or will have none.
    """
    try:
        locked = try_lock(file)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        locked = True  # as well as it can be: no sweep can lock it either
    return locked and os.fstat(file).st_nlink > 0
