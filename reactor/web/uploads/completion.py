"""Completing a resumable upload: its bytes, all of them on the disk, become the file.

Where the file system has hard links, the bytes get a second name in the file's directory, which is
then published (see partial_store.py). Where they lie on another file system, the file is written
anew, a piece at a time, like any other upload. Either way the preconditions of the first request
are checked when the name is taken, and readers see all of the file or nothing of it.

This module knows nothing of the requests that have brought the bytes.
"""

from collections.abc import Callable, Sequence

from reactor.messages.headers import Headers
from reactor.web.storage.disk_errors import WHEN_WRITING, on_disk
from reactor.web.storage.safe_path import Root
from reactor.web.uploads.atomic_file import WRITE_BYTES, AtomicFile, discard_in_pool
from reactor.web.uploads.disk_room import MakeRoom, append_with_room, with_room
from reactor.web.uploads.metadata import Record
from reactor.web.uploads.partial_upload import PartialUpload
from reactor.web.uploads.publish import Precondition, Published
from reactor.web.uploads.receiver import precondition_of


def precondition_of_record(record: Record, wall: Callable[[], float]) -> Precondition | None:
    """Return the precondition of the first request, or None if it had none."""
    fields = "".join(f"\r\n{name}: {value}" for name, value in record.conditions)
    return precondition_of(Headers(fields), wall)


def check_target(
    root: Root, segments: Sequence[str], precondition: Precondition | None, depth: int
) -> None:
    """Check the name before a byte has come. Raises OSError, ProtocolError."""
    upload = AtomicFile(root, segments, precondition, depth)
    try:
        upload.begin()
    finally:
        upload.discard()


async def publish_part(
    part: PartialUpload,
    root: Root,
    precondition: Precondition | None,
    make_room: MakeRoom,
    depth: int,
) -> Published:
    """Publish the bytes, which are on the disk, as the file. Raises ProtocolError, OSError.

    A missing directory is made, at most `depth` deep.
    """
    published = await with_room(make_room, None, part.publish, root, precondition, depth)
    if published is None:
        return await _copy(
            part, AtomicFile(root, part.record.segments, precondition, depth), make_room
        )
    return published


async def _copy(part: PartialUpload, upload: AtomicFile, make_room: MakeRoom) -> Published:
    """Copy the bytes to the other file system, and publish the copy."""
    try:
        await with_room(make_room, None, upload.begin)
        while upload.size < part.size:
            piece = await on_disk(WHEN_WRITING, part.read, upload.size, WRITE_BYTES)
            await append_with_room(make_room, upload.place, upload, piece)
        return await with_room(make_room, upload.place, _commit_copy, part, upload)
    except GeneratorExit:
        raise
    except BaseException:
        await discard_in_pool(upload)
        raise


def _commit_copy(part: PartialUpload, upload: AtomicFile) -> Published:
    published = upload.commit()
    part.drop_bytes()
    return published
