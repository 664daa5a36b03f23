"""Uploads that are not finished, on the disk: bytes, what they are to become, and for how long.

They live in the directory `.uploads` of a directory, whose name is never served. `<id>.part` has
the bytes, and its size says how many; `<id>.json` has the rest, and is replaced as a whole. Whoever
works on an upload has its part locked (flock), so that neither another process nor the sweep does
at the same time. There is no other state: a server that starts anew finds all of it.

An upload that ends says so in its record first and then gives its bytes away, in one rename or
link. So a record that says "ending" and has no part is that of a file in its place, and one that
still has its part can end once more, whenever the server was killed.

How old an upload is, is the time of its last change, set by our clock. All of this waits for the
disk and runs on the pool. It knows nothing of HTTP.
"""

import errno
import logging
import os
import re
from collections.abc import Iterable
from threading import Lock
from typing import Final, NamedTuple

from reactor.errors import ProtocolError
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
from reactor.web.storage.safe_path import Place, Root, place_in
from reactor.web.uploads.atomic_file import Precondition, Stored, publish_file, sync_directory
from reactor.web.uploads.metadata import Record, read_record, write_record

log = logging.getLogger("reactor")

UPLOADS_DIRECTORY: Final = ".uploads"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")  # 128 bits, as secrets.token_urlsafe writes them
_FILE: Final = re.compile(r"([A-Za-z0-9_-]{22})\.(?:part|json|new)")

_KINDS: Final = ("json", "new", "part")  # of files that an upload may have
_NO_LINKS: Final = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


class InUse(DirectoryBusy):
    """Another process, or the sweep, has this upload; `retry_while_busy` tries again."""

    def __init__(self) -> None:
        reason = "Another process works on this upload."
        ProtocolError.__init__(self, 503, reason, [("Retry-After", "1")])


class Finished(NamedTuple):
    """An upload whose bytes have become their file."""

    record: Record
    changed: float  # the time of its end


class UploadSummary(NamedTuple):
    """What a sweep has found of an upload: the bytes that are kept for it, or are to come."""

    name: str
    size: int
    empty: bool  # no byte is there
    finished: bool
    changed: float


class PartialUpload:
    """An upload's bytes, open and locked. The last to let go of it closes it, whatever happens."""

    def __init__(self, name: str, record: Record, directory: int, file: int) -> None:
        """Takes over both descriptors."""
        self.name = name
        self.record = record
        status = os.fstat(file)
        self.size = status.st_size
        self.changed = status.st_mtime
        self.unsynced = 0  # bytes written since the last `sync`
        self.place: Place | None = None  # known once it ends
        self.kept = True  # False: nobody can come back to it, and closing it leaves nothing
        self._lock = Lock()  # a cancelled request's job may still run when `close` comes
        self._directory: int | None = directory
        self._file: int | None = file

    @property
    def closed(self) -> bool:
        """For good, or because nothing is left of it."""
        return self._file is None

    @property
    def room(self) -> int:
        """Bytes that are there or are to come."""
        return self.size if self.record.length is None else self.record.length

    def write(self, piece: bytes) -> None:
        """Append all of it; what is written of it before an error counts. Raises OSError."""
        with self._lock:
            _, file = self._descriptors()
            rest = memoryview(piece)
            while rest:  # a disk that becomes full takes a part first (write(2))
                count = os.pwrite(file, rest, self.size)
                self.size += count
                self.unsynced += count
                rest = rest[count:]

    def read(self, offset: int, most: int) -> bytes:
        with self._lock:
            return os.pread(self._descriptors()[1], most, offset)

    def sync(self, now: float) -> None:
        """All that is written is on the disk, and its age begins anew. Raises OSError."""
        with self._lock:
            file = self._descriptors()[1]
            if self.unsynced:
                set_time(file, now)
                self.changed = now
            os.fsync(file)
            self.unsynced = 0

    def save(self, record: Record, now: float) -> None:
        """Replace the record, on the disk. Raises OSError."""
        with self._lock:
            directory, _ = self._descriptors()
            write_record(directory, self.name, record, now)
            self.record = record

    def put(self, root: Root, precondition: Precondition | None) -> Stored | None:
        """The bytes, which are on the disk, become the file. None if they have to be copied.

        Raises what `publish_file` does; `place` tells then which name may mean the file already.
        """
        with self._lock:
            directory, file = self._descriptors()
            target = root.open_directory(self.record.segments[:-1])
            try:
                self.place = place_in(target, self.record.segments[-1].encode())
                temporary = _lend(self.name, directory, target)
                if temporary is None:
                    return None
                try:
                    check = precondition and _unless_it_is(file, precondition)
                    stored = publish_file(root, self.record.segments, target, temporary, check)
                finally:
                    unlink_or_log(temporary, target)
            finally:
                os.close(target)
            unlink_or_log(f"{self.name}.part", directory)
            return stored

    def drop_bytes(self) -> None:
        """They are in their place by another way."""
        with self._lock:
            unlink_or_log(f"{self.name}.part", self._descriptors()[0])

    def remove(self) -> None:
        """Leave nothing of the upload. Raises OSError."""
        with self._lock:
            _remove(self.name, self._descriptors()[0])
            self._close()

    def close(self) -> None:
        with self._lock:
            self._close()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self._close()

    def _descriptors(self) -> tuple[int, int]:
        if self._directory is None or self._file is None:
            raise RuntimeError("this upload is closed")
        return self._directory, self._file

    def _close(self) -> None:
        directory, self._directory = self._directory, None
        file, self._file = self._file, None
        if directory is not None and not self.kept:
            for kind in _KINDS:
                unlink_or_log(f"{self.name}.{kind}", directory)
        for descriptor in (file, directory):
            if descriptor is not None:
                os.close(descriptor)


class PartialStore:
    """The uploads of one directory."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def create(self, name: str, record: Record, now: float) -> PartialUpload:
        """A new upload without bytes, on the disk. It is not `kept` yet. Raises OSError."""
        directory = self._open_directory(make=True)
        assert directory is not None
        try:
            file = os.open(f"{name}.part", os.O_RDWR | NEW, 0o666, dir_fd=directory)
            try:
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

    def open(self, name: str) -> PartialUpload | Finished | None:
        """The upload of this name, locked; None if there is none. Raises InUse, OSError."""
        directory = self._open_directory() if _ID.fullmatch(name) else None
        if directory is None:
            return None
        found: PartialUpload | Finished | None = None
        try:
            found = _open(name, directory)
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

    def evict(self, name: str, now: float, idle: float) -> bool:
        """Remove it if it has no bytes, or none has come for so long; whether it takes no room now.

        Raises InUse, OSError.
        """
        upload = self.open(name)
        if not isinstance(upload, PartialUpload):
            return True
        try:
            if upload.size and abs(now - upload.changed) <= idle:
                return False
            upload.remove()
            return True
        finally:
            upload.close()

    def names(self) -> list[str]:
        """What is there, finished or not, whole or not. Raises OSError."""
        directory = self._open_directory()
        if directory is None:
            return []
        try:
            matches = map(_FILE.fullmatch, os.listdir(directory))
            return list({match[1] for match in matches if match is not None})
        finally:
            os.close(directory)

    def inspect(self, names: Iterable[str], now: float, age: float) -> list[UploadSummary]:
        """What is kept of these; those of more than this age (in seconds) are removed.

        A time in the future is as good as one in the past. Raises OSError.
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
        """A directory of ours or nothing: a link in its place would lead anywhere."""
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


def _open(name: str, directory: int) -> PartialUpload | Finished | None:
    file = open_private(f"{name}.part", os.O_RDWR, directory)
    if file is None:
        return _finished(name, directory)
    part = None
    try:
        if not lock_while_open(file):
            raise InUse
        record = read_record(name, directory)  # now nobody else changes it
        size = os.fstat(file).st_size
        if record is not None and (record.length is None or size <= record.length):
            part = PartialUpload(name, record, directory, file)
        return part
    finally:
        if part is None:
            os.close(file)


def _finished(name: str, directory: int) -> Finished | None:
    record = read_record(name, directory)
    status = status_at(f"{name}.json", directory)
    if record is None or not record.ending or status is None:
        return None
    return Finished(record, status.st_mtime)


def _inspect(name: str, directory: int, now: float, age: float) -> UploadSummary | None:
    part, *others = (status_at(f"{name}.{kind}", directory) for kind in ("part", "json", "new"))
    changed = max((it.st_mtime for it in (part, *others) if it is not None), default=now)
    if abs(now - changed) > age and _remove_old(name, directory):
        return None
    record = read_record(name, directory)
    if part is None:
        finished = record is not None and record.ending
        return UploadSummary(name, 0, True, True, changed) if finished else None
    size = part.st_size if record is None or record.length is None else record.length
    return UploadSummary(name, size, part.st_size == 0, False, changed)


def _remove_old(name: str, directory: int) -> bool:
    """Whether it could be removed: nobody has it."""
    file = open_private(f"{name}.part", os.O_RDWR, directory)
    try:
        if file is not None and not lock_while_open(file):
            return False
        _remove(name, directory)
    except OSError as error:
        log.warning("cannot remove an old upload in %s: %s", UPLOADS_DIRECTORY, error)
        return False
    finally:
        if file is not None:
            os.close(file)
    return True


def _remove(name: str, directory: int) -> None:
    """The record first: bytes without a record are nothing, a record alone could be a success."""
    for kind in _KINDS:
        unlink(f"{name}.{kind}", directory)


def _lend(name: str, directory: int, target: int) -> str | None:
    """A second name for the bytes, in the directory of the file that they become; None: other disk.

    It is such a name as unfinished files there have, so that the sweep there removes it, should the
    server be killed now.
    """
    temporary = f".{os.urandom(8).hex()}.part"
    part = f"{name}.part"
    try:
        os.link(part, temporary, src_dir_fd=directory, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV or error.errno in _NO_LINKS:
            return None
        raise
    return temporary


def _unless_it_is(file: int, precondition: Precondition) -> Precondition:
    """The bytes may have become the file already, just before the server was killed."""

    def check(status: os.stat_result | None) -> None:
        if status is None or not os.path.samestat(status, os.fstat(file)):
            precondition(status)

    return check
