"""Partial uploads on the disk: their bytes, their records, and their age.

They live in the directory `.uploads` of a served directory; that name is never served. `<id>.part`
has the bytes, and its size is their number; `<id>.json` is the record, and is replaced as a whole.
A process that works on an upload has its part locked (flock), so that neither another process nor
the sweep works on it at the same time. There is no other state: a restarted server finds all of it.

An upload that completes sets `ending` in its record first and then publishes its bytes, by one
rename or link. So an ending record without a part is that of a published file, and one with a part
can be completed again, whenever the server was killed.

The age of an upload is the time since its last change, by our clock. All of this waits for the disk
and runs on the pool. It knows nothing of HTTP.
"""

import errno
import logging
import os
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from reactor.errors import ProtocolError
from reactor.files.descriptors import check_lasting
from reactor.web.storage.locks import DirectoryBusy, lock_while_open
from reactor.web.storage.private_files import (
    NEW,
    SAFE,
    open_private,
    set_time,
    status_at,
    unlink,
    unlink_or_log,
)
from reactor.web.storage.safe_path import Root
from reactor.web.uploads.metadata import Record, read_record, write_record
from reactor.web.uploads.partial_upload import PartialUpload, remove_files
from reactor.web.uploads.publish import (
    sync_directory,
)

log = logging.getLogger("reactor")

UPLOADS_DIRECTORY: Final = ".uploads"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")  # 128 bits, as secrets.token_urlsafe writes them
_FILE: Final = re.compile(r"([A-Za-z0-9_-]{22})\.(?:part|json|new)")


class InUse(DirectoryBusy):
    """503: another process, or the sweep, uses this upload; `retry_while_busy` tries again."""

    def __init__(self) -> None:
        reason = "Another process is working on this upload."
        ProtocolError.__init__(self, 503, reason, [("Retry-After", "1")])


class FinishedUpload(NamedTuple):
    """The record of an upload whose bytes have become their file."""

    record: Record
    changed: float  # the time when it was published


class UploadSummary(NamedTuple):
    """The size and the age of an upload; `size` is the bytes that are there."""

    name: str
    size: int
    finished: bool
    changed: float


class PartialStore:
    """The partial uploads of one directory."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def create(self, name: str, record: Record, now: float) -> PartialUpload:
        """Create an upload without bytes, on the disk. It is not `kept` yet. Raises OSError."""
        directory = self._open_directory(make=True)
        assert directory is not None
        try:
            file = os.open(f"{name}.part", os.O_RDWR | NEW, 0o666, dir_fd=directory)
            try:
                check_lasting(directory, file)
                if not lock_while_open(file):
                    raise InUse
                set_time(file, now)
                write_record(directory, name, record, now)
                part = PartialUpload(name, record, directory, file)
                part.kept = False
                return part
            except BaseException:
                unlink_or_log(f"{name}.part", directory)
                os.close(file)
                raise
        except BaseException:
            os.close(directory)
            raise

    def open(self, name: str, *, to_append: bool = False) -> PartialUpload | FinishedUpload | None:
        """Open and lock the upload of this name; None if there is none. Raises InUse, OSError.

        Appending lasts as long as its client likes, so it leaves the last descriptors alone.
        """
        directory = self._open_directory() if _ID.fullmatch(name) else None
        if directory is None:
            return None
        found: PartialUpload | FinishedUpload | None = None
        try:
            found = _open(name, directory, to_append)
        finally:
            if not isinstance(found, PartialUpload):
                os.close(directory)
        return found

    def forget(self, name: str) -> None:
        """Remove the record of a finished upload. Raises OSError."""
        directory = self._open_directory()
        if directory is not None:
            try:
                unlink(f"{name}.json", directory)
            finally:
                os.close(directory)

    def device(self) -> int | None:
        """Return the device that stores the uploads; None where none are. Raises OSError."""
        directory = self._open_directory()
        if directory is None:
            return None
        try:
            return os.fstat(directory).st_dev
        finally:
            os.close(directory)

    def evict(self, name: str, now: float, idle: float) -> bool:
        """Remove an upload without bytes, a damaged one, or one idle for more than `idle` seconds.

        Returns whether it takes no room now. Raises InUse, OSError.
        """
        upload = self.open(name)
        if upload is None:
            return self._remove_damaged(name)
        if isinstance(upload, FinishedUpload):
            return True
        try:
            if upload.size and abs(now - upload.changed) <= idle:
                return False
            upload.remove()
            return True
        finally:
            upload.close()

    def _remove_damaged(self, name: str) -> bool:
        directory = self._open_directory() if _ID.fullmatch(name) else None
        if directory is None:
            return True
        try:
            return _remove_old(name, directory)
        finally:
            os.close(directory)

    def names(self) -> list[str]:
        """Return the names of all uploads, finished or not, damaged or not. Raises OSError."""
        directory = self._open_directory()
        if directory is None:
            return []
        try:
            matches = map(_FILE.fullmatch, os.listdir(directory))
            return list({match[1] for match in matches if match is not None})
        finally:
            os.close(directory)

    def inspect(self, names: Iterable[str], now: float, age: float) -> list[UploadSummary]:
        """Summarize these uploads, and remove those older than `age` seconds.

        A time in the future counts as its distance from now. Raises OSError.
        """
        directory = self._open_directory()
        if directory is None:
            return []
        try:
            found = [_inspect(name, directory, now, age) for name in names]
        finally:
            os.close(directory)
        return [kept for kept in found if kept is not None]

    def _open_directory(self, *, make: bool = False) -> int | None:
        """Open the directory of uploads; None where there is none. A link there is an error."""
        root = self._root.open_directory(()) if make else self._root.find_directory(())
        try:
            if make:
                try:
                    os.mkdir(UPLOADS_DIRECTORY, 0o700, dir_fd=root)
                    sync_directory(root)
                except FileExistsError:
                    pass
            return os.open(UPLOADS_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | SAFE, dir_fd=root)
        except FileNotFoundError:
            return None
        except (NotADirectoryError, OSError) as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise PermissionError(
                    errno.EACCES, f"{UPLOADS_DIRECTORY} is not a directory"
                ) from None
            raise
        finally:
            os.close(root)


def _open(name: str, directory: int, to_append: bool) -> PartialUpload | FinishedUpload | None:
    file = open_private(f"{name}.part", os.O_RDWR, directory)
    if file is None:
        return _finished(name, directory)
    part = None
    try:
        if to_append:
            check_lasting(directory, file)
        if not lock_while_open(file):
            raise InUse
        record = read_record(name, directory)  # locked: no other process changes it now
        size = os.fstat(file).st_size
        if record is not None and (record.length is None or size <= record.length):
            part = PartialUpload(name, record, directory, file)
        return part
    finally:
        if part is None:
            os.close(file)


def _finished(name: str, directory: int) -> FinishedUpload | None:
    record = read_record(name, directory)
    status = status_at(f"{name}.json", directory)
    if record is None or not record.ending or status is None:
        return None
    return FinishedUpload(record, status.st_mtime)


def _inspect(name: str, directory: int, now: float, age: float) -> UploadSummary | None:
    part, *others = (status_at(f"{name}.{kind}", directory) for kind in ("part", "json", "new"))
    changed = max((it.st_mtime for it in (part, *others) if it is not None), default=now)
    if abs(now - changed) > age and _remove_old(name, directory):
        return None
    record = read_record(name, directory)
    if part is None:
        finished = record is not None and record.ending
        return UploadSummary(name, 0, True, changed) if finished else None
    return UploadSummary(name, part.st_size, False, changed)


def _remove_old(name: str, directory: int) -> bool:
    """Remove the upload; return whether that worked. Another process may be using it."""
    file = open_private(f"{name}.part", os.O_RDWR, directory)
    try:
        if file is not None and not lock_while_open(file):
            return False
        remove_files(name, directory)
    except OSError as error:
        log.warning("Cannot remove an old upload in %s: %s", UPLOADS_DIRECTORY, error)
        return False
    finally:
        if file is not None:
            os.close(file)
    return True
