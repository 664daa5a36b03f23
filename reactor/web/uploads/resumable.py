"""Uploads that survive a broken connection: draft-ietf-httpbis-resumable-upload-11.

A PUT or POST with Upload-Complete makes an upload resource, `<prefix>.uploads/<id>`, and its bytes
go there. HEAD tells how many have come, PATCH appends more, DELETE gives up; what completes the
upload is answered as the whole would have been in one request. Sections named here are the
draft's.

The offset that a client is told is on the disk: it may forget these bytes. What has come of a
request that broke off is kept, as far as it was written. Of two requests for one upload the newer
takes over (section 4.6; see leases), whatever it is for.

Room is counted for all uploads of a directory (see ledger), and what there is on the disk (see
unfinished) is listed at the start and now and then, which is also when the old is removed. A
finished upload is remembered as long, so that a client that missed the answer can ask.
"""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import quote

from reactor.errors import ProtocolError
from reactor.messages.request import Request
from reactor.messages.response import Response
from reactor.protocol.grammar import SEGMENT_SAFE
from reactor.tasks.guard import Shared, exclusive
from reactor.tasks.operations import in_pool
from reactor.web.semantics.cross_site import refuse_foreign
from reactor.web.storage.disk_errors import WHEN_WRITING, on_disk
from reactor.web.storage.safe_path import Place, Root
from reactor.web.uploads.limits import UploadLimits
from reactor.web.uploads.metadata import Record
from reactor.web.uploads.partial_store import (
    UPLOADS_DIRECTORY,
    Finished,
    PartialStore,
    PartialUpload,
)
from reactor.web.uploads.publish import PIECE_BYTES, check_target, precondition_of_record, put_part
from reactor.web.uploads.quota import UploadQuota
from reactor.web.uploads.resumable_fields import (
    ACCEPT_PATCH,
    INTEROP_FIELD,
    NO_STORE,
    Fields,
    Problem,
    appended_at,
    completed_upload,
    hears_104,
    inconsistent_length,
    is_complete,
    length_of,
    mismatching_offset,
    written_complete,
    written_offset,
)
from reactor.web.uploads.takeover import Lease, Leases, TakenOver

SYNC_BYTES: Final = 8 * 1024 * 1024  # written before they are on the disk for sure, and told

_CONDITIONS: Final = ("If-Match", "If-None-Match", "If-Unmodified-Since")

T = TypeVar("T")

log = logging.getLogger("reactor")


class _NoResource(Exception):
    """None could be made; `error` says why."""

    def __init__(self, error: ProtocolError) -> None:
        super().__init__(error)
        self.error = error


class ResumableUploads(Shared):
    """The endpoints of upload resources, and what makes one."""

    def __init__(
        self,
        root: Root,
        prefix: str,
        limits: UploadLimits,
        forget: Callable[[Place], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`prefix` is the path of the root and ends in a slash.

        `forget` is called, on the loop, with each name that means another file now; `wall` is the
        clock that says how old an upload is.
        """
        super().__init__()
        self._root = root
        self._prefix = prefix
        self._forget = forget
        self._wall = wall
        self._age = limits.resumable_age
        self._most = min(limits.upload_bytes, limits.resumable_bytes)
        self._uploads = PartialStore(root)
        self._leases = Leases()
        self._quota = UploadQuota(self._uploads, self._leases, limits)

    @property
    def offers(self) -> Fields:
        """What an answer to OPTIONS says of a path that takes such uploads (section 4.1.4)."""
        return ACCEPT_PATCH, self._limit(self._age)

    @staticmethod
    def asks(request: Request) -> bool:
        """Whether it starts a resumable upload, for `create`; otherwise it is one like any other.

        Nobody could resume what comes as a whole from a client that cannot be told where
        (section 4.2.2: "the server can choose").
        """
        complete = is_complete(request.headers)
        return complete is False or (bool(complete) and request.length != 0 and hears_104(request))

    # --- the endpoints ---------------------------------------------------------------------------

    @exclusive
    async def create(self, request: Request, segments: Sequence[str]) -> Response | None:
        """Section 4.2. What any upload is refused for has been looked at before.

        None, with nothing read or told, where there can be no resource but all of the file comes:
        the ordinary way may well have room, and may write where the directory of resources is not.
        """
        name = secrets.token_urlsafe(16)
        try:
            await _needed(self._count())
            return await self._in_turn(
                name, lambda lease: self._create(request, segments, name, lease)
            )
        except _NoResource as refusal:
            if is_complete(request.headers) is False:
                raise refusal.error from None
            return None

    @exclusive
    async def head(self, request: Request) -> Response:
        """Section 4.3: how far the upload is."""
        name = _name(request)
        return await self._in_turn(name, lambda _: self._tell(name))

    @exclusive
    async def append(self, request: Request) -> Response:
        """Section 4.4: the content goes behind what is there."""
        refuse_foreign(request)
        if "content-range" in request.headers:  # RFC 9110, section 14.5: of no meaning here
            raise ProtocolError(400, "What is appended begins at Upload-Offset, not Content-Range.")
        name, (offset, complete) = _name(request), appended_at(request)
        return await self._in_turn(
            name, lambda lease: self._append(request, name, offset, complete, lease)
        )

    @exclusive
    async def cancel(self, request: Request) -> Response:
        """Section 4.5: nothing is left of the upload. What it has become, if it has, stays."""
        refuse_foreign(request)
        name = _name(request)
        return await self._in_turn(name, lambda _: self._cancel(name))

    def options(self, request: Request) -> Response:
        return Response(204, headers=(("Allow", "DELETE, HEAD, OPTIONS, PATCH"), *self.offers))

    @exclusive
    async def expire(self) -> None:
        """Count what there is, and remove what nobody has added to for `resumable_age`.

        For the start, and now and then. An error is told in the log.
        """
        try:
            await self._quota.take_stock(self._wall(), self._age)
        except (OSError, ProtocolError) as error:
            log.warning("cannot look at the unfinished uploads of %s: %s", self._prefix, error)

    async def _count(self) -> None:
        """What there is, once."""
        if not self._quota.counted:
            await self._quota.take_stock(self._wall(), self._age)

    # --- what they do in their turn --------------------------------------------------------------

    async def _in_turn(
        self, name: str, work: Callable[[Lease], Coroutine[Any, Any, Response]]
    ) -> Response:
        await self._count()
        lease = self._leases.enter(name)
        try:
            await lease.turn()
            return await work(lease)
        except Problem as problem:
            return problem.response()
        except TakenOver:
            raise ProtocolError(409, "Another request goes on with this upload.") from None
        finally:
            self._leases.leave(name, lease)

    async def _create(
        self, request: Request, segments: Sequence[str], name: str, lease: Lease
    ) -> Response:
        length = length_of(request, 0, None)
        self._check_size(length, request.length or 0)
        conditions = [(it, request.headers.get(it)) for it in _CONDITIONS if it in request.headers]
        record = Record(tuple(segments), length, tuple(conditions))
        precondition = precondition_of_record(record, self._wall)
        await on_disk(WHEN_WRITING, check_target, self._root, record.segments, precondition)
        part = None
        try:
            part = await _needed(self._make(name, record))
            return await self._with(part, self._begin(request, part, lease))
        finally:
            if part is None or not part.kept:
                self._quota.drop(name)

    async def _make(self, name: str, record: Record) -> PartialUpload:
        await self._quota.reserve(name, record.length or 0, self._wall())
        return await on_disk(WHEN_WRITING, self._uploads.create, name, record, self._wall())

    async def _begin(self, request: Request, part: PartialUpload, lease: Lease) -> Response:
        """The part is kept from when its client is told where it is."""
        location = ("Location", f"{self._prefix}{UPLOADS_DIRECTORY}/{part.name}")
        resource = (location, self._limit(self._age))
        if hears_104(request):
            part.kept = request.body.inform(104, (*resource, INTEROP_FIELD))
        try:
            await self._receive(request, part, lease)
            answer = None
            if is_complete(request.headers) is not False:
                answer = await self._end(part)
        except ProtocolError as error:
            if part.kept and not part.closed:  # section 4.2.2: the client may go on with it
                error.headers = (*error.headers, location, *await self._progress(part))
            raise
        part.kept = True
        return answer or Response(201, headers=(*resource, *_so_far(part)))

    async def _progress(self, part: PartialUpload) -> Fields:
        """What an error says of an upload that goes on all the same."""
        try:
            await on_disk(WHEN_WRITING, part.sync, self._wall())
        except (OSError, ProtocolError):
            return (written_complete(False),)  # how much there is can be asked for
        return written_complete(False), written_offset(part.size)

    async def _append(
        self, request: Request, name: str, offset: int, complete: bool, lease: Lease
    ) -> Response:
        part = await self._open(name)
        if isinstance(part, Finished):
            return await _refuse_finished(request, part, offset, lease)
        return await self._with(part, self._append_to(request, part, offset, complete, lease))

    async def _append_to(
        self, request: Request, part: PartialUpload, offset: int, complete: bool, lease: Lease
    ) -> Response:
        if offset != part.size:
            await on_disk(WHEN_WRITING, part.sync, self._wall())
            raise mismatching_offset(part.size, offset)
        length = length_of(request, offset, part.record.length)
        self._check_size(length, offset + (request.length or 0))
        if length != part.record.length:
            assert length is not None  # one that is known does not become unknown
            await self._quota.reserve(part.name, length, self._wall())
            record = replace(part.record, length=length)
            await on_disk(WHEN_WRITING, part.save, record, self._wall())
        await self._receive(request, part, lease)
        if complete:
            return await self._end(part)
        return Response(204, headers=(*_so_far(part), self._limit(self._age)))

    async def _receive(self, request: Request, part: PartialUpload, lease: Lease) -> None:
        """All of the content to the disk, for sure; as much of it as comes."""
        told = hears_104(request)
        while piece := await lease.read(request.body, PIECE_BYTES):
            await self._admit(part, len(piece))
            await on_disk(WHEN_WRITING, part.write, piece)
            if part.unsynced >= SYNC_BYTES:
                await on_disk(WHEN_WRITING, part.sync, self._wall())
                if told:
                    request.body.inform(104, (written_offset(part.size), INTEROP_FIELD))
        await on_disk(WHEN_WRITING, part.sync, self._wall())

    async def _admit(self, part: PartialUpload, count: int) -> None:
        """Whether so many bytes more may come. Their number was not known before."""
        size, length = part.size + count, part.record.length
        if length is None:
            self._check_size(size, 0)
            await self._quota.reserve(part.name, size, self._wall())
        elif size > length:  # the upload is invalid from now on (section 4.4.2)
            await self._remove(part)
            raise inconsistent_length()

    async def _end(self, part: PartialUpload) -> Response:
        """All bytes are there: they become the file, or why they cannot."""
        if part.record.length not in (None, part.size):
            raise inconsistent_length()
        record = replace(part.record, length=part.size, ending=True)
        await on_disk(WHEN_WRITING, part.save, record, self._wall())
        precondition = precondition_of_record(record, self._wall)
        try:
            stored = await put_part(part, self._root, precondition)
        except ProtocolError as error:
            if error.status >= 500:
                raise  # this may pass: it can end once more (section 4.4.1)
            await self._remove(part)
            error.headers = (*error.headers, written_complete(True))
            raise
        await self._quota.finish(part.name)
        headers = (written_complete(True), NO_STORE)
        if stored.replaced:
            return Response(204, headers=headers)
        return Response(201, headers=(("Location", self._path(record)), *headers))

    async def _tell(self, name: str) -> Response:
        upload = await self._open(name)
        if isinstance(upload, Finished):
            state = self._state(upload.record, upload.record.length or 0, upload.changed)
            location = ("Location", self._path(upload.record))
            return Response(204, headers=(written_complete(True), *state, location))
        return await self._with(upload, self._tell_of(upload))

    async def _tell_of(self, part: PartialUpload) -> Response:
        await on_disk(WHEN_WRITING, part.sync, self._wall())
        state = self._state(part.record, part.size, part.changed)
        return Response(204, headers=(written_complete(False), *state))

    async def _cancel(self, name: str) -> Response:
        upload = await self._open(name)
        if isinstance(upload, Finished):
            await on_disk(WHEN_WRITING, self._uploads.forget, name)
            self._quota.drop(name)
        else:
            await self._with(upload, self._remove(upload))
        return Response(204)

    # --- what they have in common ----------------------------------------------------------------

    async def _open(self, name: str) -> PartialUpload | Finished:
        """Raises ProtocolError: 404, or 503 while another process has it."""
        upload = await on_disk(WHEN_WRITING, self._uploads.open, name)
        if upload is None:
            self._quota.drop(name)
            raise ProtocolError(404, "There is no such upload.")
        if isinstance(upload, Finished):
            await self._quota.finish(name)
        else:  # it may be new to us: another process has made it
            self._quota.note(upload)
        return upload

    async def _with(self, part: PartialUpload, work: Awaitable[T]) -> T:
        """Close the part when the work with it has ended, however that is; what it may have
        changed is told then.
        """
        try:
            result = await work
        except GeneratorExit:
            self._settle(part)
            raise  # nothing can be awaited any more: Part.__del__ closes it
        except BaseException:
            await self._close(part)
            raise
        await self._close(part)
        return result

    async def _close(self, part: PartialUpload) -> None:
        """After a job of it that is under way."""
        try:
            await in_pool(part.close)
        except ProtocolError:
            pass  # the pool is full: Part.__del__ does it
        finally:
            self._settle(part)

    def _settle(self, part: PartialUpload) -> None:
        self._quota.see(part, self._wall())
        if part.place is not None:
            self._forget(part.place)

    async def _remove(self, part: PartialUpload) -> None:
        await on_disk(WHEN_WRITING, part.remove)
        self._quota.drop(part.name)

    def _check_size(self, length: int | None, size: int) -> None:
        if max(length or 0, size) > self._most:
            limit = [self._limit(self._age)]
            raise ProtocolError(413, f"An upload may have {self._most} bytes at most.", limit)

    def _limit(self, left: float) -> tuple[str, str]:
        return "Upload-Limit", f"max-size={self._most}, max-age={max(0, int(left))}"

    def _state(self, record: Record, size: int, changed: float) -> Fields:
        length = () if record.length is None else (("Upload-Length", str(record.length)),)
        left = self._limit(changed + self._age - self._wall())
        return (written_offset(size), *length, left, NO_STORE)

    def _path(self, record: Record) -> str:
        return self._prefix + "/".join(quote(segment, SEGMENT_SAFE) for segment in record.segments)


async def _needed(work: Awaitable[T]) -> T:
    """A step without which there is no resource."""
    try:
        return await work
    except ProtocolError as error:
        raise _NoResource(error) from error


def _name(request: Request) -> str:
    name: str = request.params["id"]
    return name


def _so_far(part: PartialUpload) -> Fields:
    return written_complete(False), written_offset(part.size), NO_STORE


async def _refuse_finished(
    request: Request, finished: Finished, offset: int, lease: Lease
) -> Response:
    length = finished.record.length or 0
    if offset != length:
        raise mismatching_offset(length, offset)
    if request.length != 0 and await lease.read(request.body, 1):
        raise inconsistent_length()
    raise completed_upload()
