"""From an upload that has all its bytes to the file that it was for.

Where the file system can, the bytes are lent a second name in the file's directory, which is then
renamed (see unfinished). Where they lie on another one the file is made anew, a piece at a time,
like any other that is uploaded. Either way the conditions of the first request hold when the name
is taken, and readers see all of the file or nothing of it.

It knows nothing of the exchange that has brought the bytes.
"""

from collections.abc import Callable, Sequence
from typing import Final

from reactor.messages.headers import Headers
from reactor.web.storage.disk_errors import WHEN_WRITING, on_disk
from reactor.web.storage.safe_path import Root
from reactor.web.uploads.atomic_file import AtomicFile, Precondition, Stored, discard_in_pool
from reactor.web.uploads.metadata import Record
from reactor.web.uploads.partial_store import PartialUpload
from reactor.web.uploads.receiver import precondition_of

PIECE_BYTES: Final = 256 * 1024  # read and written at a time


def precondition_of_record(record: Record, wall: Callable[[], float]) -> Precondition | None:
    """What the first request has asked for."""
    fields = "".join(f"\r\n{name}: {value}" for name, value in record.conditions)
    return precondition_of(Headers(fields), wall)


def check_target(root: Root, segments: Sequence[str], precondition: Precondition | None) -> None:
    """What is wrong with the name is told before a byte has come. Raises OSError, ProtocolError."""
    upload = AtomicFile(root, segments, precondition)
    try:
        upload.begin()
    finally:
        upload.discard()


async def put_part(part: PartialUpload, root: Root, precondition: Precondition | None) -> Stored:
    """The bytes, which are on the disk, become the file. Raises ProtocolError, OSError."""
    stored = await on_disk(WHEN_WRITING, part.put, root, precondition)
    return await _copy(part, root, precondition) if stored is None else stored


async def _copy(part: PartialUpload, root: Root, precondition: Precondition | None) -> Stored:
    """Another file system."""
    upload = AtomicFile(root, part.record.segments, precondition)
    try:
        await on_disk(WHEN_WRITING, upload.begin)
        while upload.size < part.size:
            await on_disk(WHEN_WRITING, _copy_piece, part, upload)
        return await on_disk(WHEN_WRITING, _commit_copy, part, upload)
    except GeneratorExit:
        raise
    except BaseException:
        await discard_in_pool(upload)
        raise


def _copy_piece(part: PartialUpload, upload: AtomicFile) -> None:
    upload.write(part.read(upload.size, PIECE_BYTES))


def _commit_copy(part: PartialUpload, upload: AtomicFile) -> Stored:
    stored = upload.commit()
    part.drop_bytes()
    return stored
