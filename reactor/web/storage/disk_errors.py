"""Runs disk operations on the pool and turns their errors into statuses.

A file system reports a refusal as one of some hundred numbers. The numbers that depend on the
request have a status here, in one table for each kind of operation; all others are the server's
fault and pass through (500). A full disk and a lack of file descriptors concern the operator, too:
they are records of the error log, one a minute.
"""

import logging
from collections.abc import Callable, Mapping
from errno import (
    EACCES,
    EBUSY,
    EDQUOT,
    EEXIST,
    EFBIG,
    EISDIR,
    ELOOP,
    EMFILE,
    ENAMETOOLONG,
    ENFILE,
    ENODEV,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    ENXIO,
    EPERM,
    EROFS,
)
from typing import Any, Final, TypeAlias, TypeVar

from reactor.errors import ProtocolError, reason_of
from reactor.log_limit import LogLimit
from reactor.web.storage.locks import retry_while_busy

NO_SPACE: Final = frozenset((ENOSPC, EDQUOT))
StatusTable: TypeAlias = Mapping[int | None, tuple[int, str]]
T = TypeVar("T")

NOT_FOUND: Final = (404, "There is no such file.")
IS_DIRECTORY: Final = (409, "This name belongs to something other than a file.")
_FORBIDDEN: Final = (403, "The file system does not allow the server to do this.")
_BUSY: Final = (503, "The server has too many files open.")
_NO_DIRECTORY: Final = (409, "There is no such directory.")
_FULL: Final = (507, "The disk has no room for this file.")

WHEN_READING: Final[StatusTable] = {
    **dict.fromkeys((ENOENT, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG, ENXIO, ENODEV), NOT_FOUND),
    **dict.fromkeys((EACCES, EPERM), _FORBIDDEN),
    **dict.fromkeys((EMFILE, ENFILE), _BUSY),
}
WHEN_WRITING: Final[StatusTable] = {
    **dict.fromkeys((ENOENT, ENOTDIR, ELOOP), _NO_DIRECTORY),
    **dict.fromkeys((EISDIR, EBUSY), IS_DIRECTORY),
    ENAMETOOLONG: (414, "This name is longer than the file system allows."),
    EFBIG: (413, "This file is larger than the file system allows."),
    **dict.fromkeys(NO_SPACE, _FULL),
    **dict.fromkeys((EACCES, EPERM, EROFS), _FORBIDDEN),
    **dict.fromkeys((EMFILE, ENFILE), _BUSY),
}
# The names of files in a form are content: no status about the request's target suits them.
WHEN_STORING_FORMS: Final[StatusTable] = {
    **WHEN_WRITING,
    ENAMETOOLONG: (400, "A filename of the form is longer than the file system allows."),
}
WHEN_REMOVING: Final[StatusTable] = {
    **WHEN_WRITING,
    **dict.fromkeys((ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG), NOT_FOUND),
    **dict.fromkeys((ENOTEMPTY, EEXIST), (409, "The directory is not empty.")),
}

log = logging.getLogger("reactor")
_full_disks = LogLimit(log.error)
_lacks = LogLimit(log.error)


class DiskFull(ProtocolError):
    """507: the disk has no room. The operation can be tried again once there is some."""


def refusal_of(table: StatusTable, error: OSError) -> ProtocolError | None:
    """Return the ProtocolError that the table has for an error, or None."""
    status = table.get(error.errno)
    return None if status is None else ProtocolError(*status)


async def on_disk(table: StatusTable, function: Callable[..., T], *arguments: Any) -> T:
    """Run the function on the pool and return its result.

    An OSError that `table` lists becomes the ProtocolError that the table has for it, DiskFull
    where there is no room; other errors pass through. While the function raises DirectoryBusy, it
    is tried again (see locks.py).
    """
    try:
        return await attempt_on_disk(table, function, *arguments)
    except ProtocolError as refusal:
        record_refusal(refusal)
        raise


async def attempt_on_disk(table: StatusTable, function: Callable[..., T], *arguments: Any) -> T:
    """Do what `on_disk` does, for a caller that may try again and records the last refusal."""
    try:
        return await retry_while_busy(function, *arguments)
    except OSError as error:
        refusal = refusal_of(table, error)
        if refusal is None:
            raise
        if error.errno in NO_SPACE:
            refusal = DiskFull(refusal.status, refusal.reason)
        raise refusal from error


def record_refusal(refusal: ProtocolError) -> None:
    """Record an error that is the server's trouble and not the request's."""
    error = refusal.__cause__
    if isinstance(error, OSError) and refusal.status in (503, 507):
        limited = _full_disks if refusal.status == 507 else _lacks
        limited.log("A request for a file gets %d: %s", refusal.status, reason_of(error))
