"""The bytes of one partial upload, open and locked: written, synced, published or removed.

Three things may happen to them at any time, and none publishes a file that is not whole: the disk
is full (a step can be tried again, and goes on where it has failed), the disk loses bytes that it
has taken (they are cut off), or the server is killed (see partial_store.py).

All of this waits for the disk and runs on the pool.
"""

import errno
import logging
import os
from functools import partial
from threading import Lock
from typing import Final

from reactor.web.semantics.file_names import name_of
from reactor.web.storage.disk_errors import WHEN_WRITING, refusal_of
from reactor.web.storage.private_files import set_time, unlink, unlink_or_log, write_all
from reactor.web.storage.safe_path import Place, Root, place_in
from reactor.web.uploads.directories import writable_directory
from reactor.web.uploads.metadata import Record, write_record
from reactor.web.uploads.publish import (
    Precondition,
    Published,
    add_temporary_name,
    publish_file,
)

log = logging.getLogger("reactor")

KINDS: Final = ("json", "new", "part")  # the files that an upload may have


class PartialUpload:
    """The bytes of an upload, open and locked. Dropping the last reference closes it."""

    def __init__(self, name: str, record: Record, directory: int, file: int) -> None:
        """The object owns both descriptors from now on."""
        self.name = name
        self.record = record
        status = os.fstat(file)
        self.size = status.st_size
        self.changed = status.st_mtime
        self.unsynced = 0  # bytes written since the last `sync`
        self._synced = 0 if self.size == 0 else None  # bytes that are known to be on the disk
        self.place: Place | None = None  # known once it is being published
        # Whether closing keeps it: no client can resume one whose address was not sent.
        self.kept = True
        self._lock = Lock()  # a cancelled request's job may still run when `close` comes
        self._directory: int | None = directory
        self._file: int | None = file

    @property
    def closed(self) -> bool:
        """Whether it is closed, also because it was removed."""
        return self._file is None

    def write(self, piece: bytes | memoryview) -> None:
        """Append all of the piece. Raises OSError, after which `size` counts the bytes written."""
        with self._lock:
            write_all(piece, partial(self._append, self._descriptors()[1]))

    def read(self, offset: int, most: int) -> bytes:
        """Return at most `most` bytes from the offset. Raises OSError."""
        with self._lock:
            return os.pread(self._descriptors()[1], most, offset)

    def sync(self, now: float) -> None:
        """Bring all written bytes to the disk, and restart the age at `now`.

        Raises OSError, and ProtocolError where bytes do not get there: these are no longer part of
        the upload, or the upload is removed.
        """
        with self._lock:
            file = self._descriptors()[1]
            if self.unsynced:
                set_time(file, now)
                self.changed = now
            try:
                os.fsync(file)
            except OSError as error:
                self._drop_lost_bytes(file)
                refusal = refusal_of(WHEN_WRITING, error)
                if refusal is None:
                    raise
                raise refusal from error
            self._synced = self.size
            self.unsynced = 0

    def save(self, record: Record, now: float) -> None:
        """Replace the record, on the disk. Raises OSError."""
        with self._lock:
            directory, _ = self._descriptors()
            write_record(directory, self.name, record, now)
            self.record = record

    def publish(
        self, root: Root, precondition: Precondition | None, depth: int
    ) -> Published | None:
        """Publish the bytes, which are on the disk, as the file.

        A missing directory is made, at most `depth` deep. Returns None if the bytes must be copied.
        Raises what `publish_file` and `open_or_make` raise; `place` is then the name that may mean
        the file already.
        """
        with self._lock:
            directory, file = self._descriptors()
            segments = self.record.segments
            with writable_directory(root, segments[:-1], depth) as (target, made):
                self.place = place_in(target, name_of(segments[-1]))
                temporary = add_temporary_name(f"{self.name}.part", directory, target)
                if temporary is None:
                    return None
                try:
                    check = precondition and _unless_it_is(file, precondition)
                    published = publish_file(root, segments, target, temporary, check)
                finally:
                    unlink_or_log(temporary, target)
                made.clear()
            unlink_or_log(f"{self.name}.part", directory)
            return published

    def drop_bytes(self) -> None:
        """Remove the bytes: a copy of them is published."""
        with self._lock:
            unlink_or_log(f"{self.name}.part", self._descriptors()[0])

    def remove(self) -> None:
        """Remove all of the upload. Raises OSError."""
        with self._lock:
            remove_files(self.name, self._descriptors()[0])
            self._close()

    def close(self) -> None:
        """Close the descriptors; remove the upload unless it is `kept`."""
        with self._lock:
            self._close()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self._close()

    def _append(self, file: int, rest: memoryview) -> int:
        count = os.pwrite(file, rest, self.size)
        self.size += count
        self.unsynced += count
        return count

    def _drop_lost_bytes(self, file: int) -> None:
        """Cut off the bytes that may be lost; remove the upload where none is known to be there.

        The kernel reports lost bytes once: a second fsync(2) succeeds, and they would be published.
        """
        try:
            if self._synced is None:
                raise OSError(errno.EIO, "no byte is known to be on the disk")
            os.ftruncate(file, self._synced)
            self.size, self.unsynced = self._synced, 0
        except OSError as error:
            log.warning("Removing a partial upload, whose bytes may be lost: %s", error)
            self.kept = False
            self._close()

    def _descriptors(self) -> tuple[int, int]:
        if self._directory is None or self._file is None:
            raise RuntimeError("this upload is closed")
        return self._directory, self._file

    def _close(self) -> None:
        directory, self._directory = self._directory, None
        file, self._file = self._file, None
        if directory is not None and not self.kept:
            for kind in KINDS:
                unlink_or_log(f"{self.name}.{kind}", directory)
        for descriptor in (file, directory):
            if descriptor is not None:
                os.close(descriptor)


def remove_files(name: str, directory: int) -> None:
    """Remove the record first: bytes without a record are void, a record alone means success."""
    for kind in KINDS:
        unlink(f"{name}.{kind}", directory)


def _unless_it_is(file: int, precondition: Precondition) -> Precondition:
    """Wrap a precondition: the bytes may have been published just before the server was killed."""

    def check(status: os.stat_result | None) -> None:
        if status is None or not os.path.samestat(status, os.fstat(file)):
            precondition(status)

    return check
