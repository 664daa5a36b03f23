"""Uploads that survive a broken connection: draft-ietf-httpbis-resumable-upload-11.

A PUT or POST with Upload-Complete creates an upload resource, `<prefix>.uploads/<id>`, and its
bytes go there. HEAD says how many have arrived, PATCH appends more, DELETE cancels; the request
that completes the upload gets the response that one whole request would have got. Section numbers
in this module are the draft's.

An offset is sent to the client only when the bytes before it are on the disk: the client may forget
them. The bytes of a request that broke off are kept, as far as they were written. If there are two
requests for one upload, the newer takes over (section 4.6; see takeover.py), whichever methods they
have.

A quota covers all uploads of a directory (see quota.py). The uploads on the disk (see
partial_store.py) are listed at the start and now and then, which is also when old ones are removed.
A finished upload is remembered as long, so that a client that missed the response can ask.
"""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence, Set
from dataclasses import replace
from typing import Any, Final, TypeVar

from reactor.errors import ProtocolError
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.tasks.guard import Shared, exclusive
from reactor.web.semantics.cross_site import refuse_foreign
from reactor.web.semantics.upload_protocols import (
    refuse_older_fields,
    refuse_tus,
    refuse_unknown_length,
)
from reactor.web.storage.disk_errors import WHEN_WRITING, on_disk
from reactor.web.storage.safe_path import Place, Root
from reactor.web.uploads.access import UploadAccess
from reactor.web.uploads.atomic_file import WRITE_BYTES
from reactor.web.uploads.completion import check_target, precondition_of_record, publish_part
from reactor.web.uploads.limits import UploadLimits
from reactor.web.uploads.metadata import Record
from reactor.web.uploads.partial_store import UPLOADS_DIRECTORY, FinishedUpload
from reactor.web.uploads.partial_upload import PartialUpload
from reactor.web.uploads.resumable_fields import (
    ACCEPT_PATCH,
    INTEROP_FIELD,
    NO_STORE,
    Problem,
    accepts_104,
    appended_at,
    completed_upload,
    completes,
    inconsistent_length,
    is_complete,
    length_of,
    location_of,
    mismatching_offset,
    written_complete,
    written_offset,
)
from reactor.web.uploads.takeover import Lease, Leases, TakenOver

SYNC_BYTES: Final = 8 * 1024 * 1024  # written between two syncs to the disk, each followed by a 104

_CONDITIONS: Final = ("If-Match", "If-None-Match", "If-Unmodified-Since")

T = TypeVar("T")

log = logging.getLogger("reactor")


class _NoResource(Exception):
    """The upload resource could not be created; `error` says why."""

    def __init__(self, error: ProtocolError) -> None:
        super().__init__(error)
        self.error = error


class ResumableUploads(Shared):
    """The endpoints of upload resources, and the creation of one."""

    def __init__(
        self,
        root: Root,
        prefix: str,
        limits: UploadLimits,
        forget: Callable[[Place], None],
        wall: Callable[[], float] = time.time,
        trusted_origins: Set[str] = frozenset(),
    ) -> None:
        """`prefix` is the path of the mount, for log records.

        `forget` is called, on the loop, with each name that means another file now; `wall` is the
        clock that measures the age of an upload. Pages of `trusted_origins` may send requests as
        those of the server's own origin may.
        """
        super().__init__()
        self._root = root
        self._prefix = prefix
        self._wall = wall
        self._trusted_origins = trusted_origins
        self._age = limits.resumable_age
        self._depth = limits.directory_depth
        self._most = min(limits.upload_bytes, limits.resumable_bytes)
        self._leases = Leases()
        self._access = UploadAccess(root, self._leases, limits, forget, wall)

    @property
    def offers(self) -> Fields:
        """The fields of a response to OPTIONS of a path that takes such uploads (section 4.1.4)."""
        return ACCEPT_PATCH, self._limit(self._age)

    @staticmethod
    def asks(request: BaseRequest) -> bool:
        """Return whether the request starts a resumable upload, for `create`.

        A whole file from a client that cannot receive the resource's address could not be resumed:
        it is an ordinary upload (section 4.2.2: "the server can choose").
        """
        complete = is_complete(request.headers)
        return complete is False or (
            bool(complete) and request.length != 0 and accepts_104(request)
        )

    # --- the endpoints ---------------------------------------------------------------------------

    @exclusive
    async def create(self, request: BaseRequest, segments: Sequence[str]) -> Response | None:
        """Section 4.2. The caller has checked everything that refuses any upload.

        Returns None, with nothing read or sent, where no resource can be created but all of the
        file comes: the ordinary way may have room, and may write where the directory of resources
        is not. Raises ProtocolError.
        """
        name = secrets.token_urlsafe(16)
        try:
            await _needed(self._access.count())
            return await self._in_turn(
                name, lambda lease: self._create(request, segments, name, lease)
            )
        except _NoResource as refusal:
            if is_complete(request.headers) is False:
                raise refusal.error from None
            return None

    @exclusive
    async def head(self, request: BaseRequest) -> Response:
        """Section 4.3: the progress of the upload."""
        refuse_tus(request.headers)
        name = _name(request)
        return await self._in_turn(name, lambda _: self._report(request, name))

    @exclusive
    async def append(self, request: BaseRequest) -> Response:
        """Section 4.4: the content is appended to the bytes that are there."""
        refuse_tus(request.headers)
        refuse_older_fields(request.headers)
        refuse_foreign(request, self._trusted_origins)
        refuse_unknown_length(request)
        if "content-range" in request.headers:  # RFC 9110, section 14.5: it has no meaning here
            reason = "Appended bytes are placed by Upload-Offset, not by Content-Range."
            raise ProtocolError(400, reason)
        name, (offset, complete) = _name(request), appended_at(request)
        return await self._in_turn(
            name, lambda lease: self._append(request, name, offset, complete, lease)
        )

    @exclusive
    async def cancel(self, request: BaseRequest) -> Response:
        """Section 4.5: the upload is removed. A file that it has become already stays."""
        refuse_tus(request.headers)
        refuse_foreign(request, self._trusted_origins)
        name = _name(request)
        return await self._in_turn(name, lambda _: self._cancel(name))

    def options(self, request: BaseRequest) -> Response:
        """204 with the methods and the limits of upload resources."""
        refuse_tus(request.headers)
        return Response(204, headers=(("Allow", "DELETE, HEAD, OPTIONS, PATCH"), *self.offers))

    @exclusive
    async def expire(self) -> None:
        """Count the uploads, and remove those that have not grown for `resumable_age`.

        To be called at the start, and now and then. Errors are logged.
        """
        try:
            await self._access.take_stock()
        except (OSError, ProtocolError) as error:
            log.warning("Cannot list the partial uploads of %s: %s", self._prefix, error)

    async def make_room(self, place: Place | None) -> bool:
        """Evict an idle upload from the full disk of this place; return whether there was one."""
        return await self._access.make_room(place)

    # --- in the turn of the request --------------------------------------------------------------

    async def _in_turn(
        self, name: str, work: Callable[[Lease], Coroutine[Any, Any, Response]]
    ) -> Response:
        await self._access.count()
        lease = self._leases.enter(name)
        try:
            await lease.turn()
            return await work(lease)
        except Problem as problem:
            return problem.response()
        except TakenOver:
            raise ProtocolError(409, "A newer request has taken over this upload.") from None
        finally:
            self._leases.leave(name, lease)

    async def _create(
        self, request: BaseRequest, segments: Sequence[str], name: str, lease: Lease
    ) -> Response:
        length = length_of(request, 0, None)
        self._check_size(length, request.length or 0)
        conditions = [(it, request.headers.get(it)) for it in _CONDITIONS if it in request.headers]
        record = Record(tuple(segments), length, tuple(conditions))
        precondition = precondition_of_record(record, self._wall)
        target = self._root, record.segments, precondition, self._depth
        await on_disk(WHEN_WRITING, check_target, *target)
        part = None
        try:
            part = await _needed(self._access.create(name, record, str(request.client[0])))
            return await self._access.using(part, self._begin(request, part, lease))
        finally:
            if part is None or not part.kept:
                self._access.drop(name)

    async def _begin(self, request: BaseRequest, part: PartialUpload, lease: Lease) -> Response:
        """The part is kept from the moment when its address is sent to the client."""
        location = location_of(request, part.record.segments, (UPLOADS_DIRECTORY, part.name))
        resource = (location, self._limit(self._age))
        if accepts_104(request):
            part.kept = request.body.inform(104, (*resource, INTEROP_FIELD))
        try:
            await self._receive(request, part, lease)
            response = None
            if completes(request, part.record.length):
                response = await self._complete(request, part, part.record.segments)
                if response.status == 204:  # clients of older revisions fail without a Location
                    response = response.replace(headers=(*response.headers, location))
        except ProtocolError as error:
            if part.kept and not part.closed:  # section 4.2.2: the client may resume it
                error.headers = (*error.headers, location, *await self._progress(part))
            raise
        part.kept = True
        return response or Response(201, headers=(*resource, *_so_far(part)))

    async def _progress(self, part: PartialUpload) -> Fields:
        """The fields of an error after which the upload can be resumed."""
        try:
            await self._access.sync(part)
        except (OSError, ProtocolError):
            return (written_complete(False),)  # the client can ask for the offset
        return written_complete(False), written_offset(part.size)

    async def _append(
        self, request: BaseRequest, name: str, offset: int, complete: bool, lease: Lease
    ) -> Response:
        part = await self._access.open(name, to_append=True)
        if isinstance(part, FinishedUpload):
            return await _refuse_finished(request, part, offset, lease)
        work = self._append_to(request, part, offset, complete, lease)
        return await self._access.using(part, work)

    async def _append_to(
        self, request: BaseRequest, part: PartialUpload, offset: int, complete: bool, lease: Lease
    ) -> Response:
        if offset != part.size:
            await self._access.sync(part)
            raise mismatching_offset(part.size, offset)
        length = length_of(request, offset, part.record.length)
        self._check_size(length, offset + (request.length or 0))
        self._access.check(part, max(length or 0, offset + (request.length or 0)))
        if length != part.record.length:
            assert length is not None  # a known length does not become unknown
            await self._access.save(part, replace(part.record, length=length))
        await self._receive(request, part, lease)
        if complete:
            return await self._complete(request, part, (UPLOADS_DIRECTORY, part.name))
        return Response(204, headers=(*_so_far(part), self._limit(self._age)))

    async def _receive(self, request: BaseRequest, part: PartialUpload, lease: Lease) -> None:
        """Write all of the content, or as much as comes, and sync it to the disk."""
        informed = accepts_104(request)
        while piece := await lease.read(request.body, WRITE_BYTES):
            await self._admit(part, len(piece))
            await self._access.write(part, piece)
            if part.unsynced >= SYNC_BYTES:
                await self._access.sync(part)
                if informed:
                    request.body.inform(104, (written_offset(part.size), INTEROP_FIELD))
        await self._access.sync(part)

    async def _admit(self, part: PartialUpload, count: int) -> None:
        """Check whether `count` more bytes may come; a chunked body does not announce them."""
        size, length = part.size + count, part.record.length
        if length is None:
            self._check_size(size, 0)
        elif size > length:  # the upload is invalid from now on (section 4.4.2)
            await self._access.remove(part)
            raise inconsistent_length()

    async def _complete(
        self, request: BaseRequest, part: PartialUpload, asked: Sequence[str]
    ) -> Response:
        """All bytes are there: make them the file, or raise why they cannot be.

        `asked` are the segments of the request's path below the mount.
        """
        if part.record.length not in (None, part.size):
            raise inconsistent_length()
        record = replace(part.record, length=part.size, ending=True)
        await self._access.save(part, record)
        precondition = precondition_of_record(record, self._wall)
        try:
            published = await publish_part(
                part, self._root, precondition, self.make_room, self._depth
            )
        except ProtocolError as error:
            if error.status >= 500:
                raise  # this may pass: the client can complete it again (section 4.4.1)
            await self._access.remove(part)
            error.headers = (*error.headers, written_complete(True))
            raise
        await self._access.finish(part)
        # The offset: clients of older revisions fail without it.
        headers = (written_complete(True), written_offset(part.size), NO_STORE)
        if published.replaced:
            return Response(204, headers=headers)
        return Response(201, headers=(location_of(request, asked, record.segments), *headers))

    async def _report(self, request: BaseRequest, name: str) -> Response:
        upload = await self._access.open(name)
        if isinstance(upload, FinishedUpload):
            state = self._state(upload.record, upload.record.length or 0, upload.changed)
            location = location_of(request, (UPLOADS_DIRECTORY, name), upload.record.segments)
            return Response(204, headers=(written_complete(True), *state, location))
        return await self._access.using(upload, self._report_part(upload))

    async def _report_part(self, part: PartialUpload) -> Response:
        await self._access.sync(part)
        state = self._state(part.record, part.size, part.changed)
        return Response(204, headers=(written_complete(False), *state))

    async def _cancel(self, name: str) -> Response:
        upload = await self._access.open(name)
        if isinstance(upload, FinishedUpload):
            await self._access.forget_finished(name)
        else:
            await self._access.using(upload, self._access.remove(upload))
        return Response(204)

    # --- fields ----------------------------------------------------------------------------------

    def _check_size(self, length: int | None, size: int) -> None:
        if max(length or 0, size) > self._most:
            limit = [self._limit(self._age)]
            raise ProtocolError(413, f"An upload may have at most {self._most} bytes.", limit)

    def _limit(self, left: float) -> tuple[str, str]:
        return "Upload-Limit", f"max-size={self._most}, max-age={max(0, int(left))}"

    def _state(self, record: Record, size: int, changed: float) -> Fields:
        length = () if record.length is None else (("Upload-Length", str(record.length)),)
        left = self._limit(changed + self._age - self._wall())
        return (written_offset(size), *length, left, NO_STORE)


async def _needed(work: Awaitable[T]) -> T:
    """Await a step without which there is no resource. Raises _NoResource for its refusal."""
    try:
        return await work
    except ProtocolError as error:
        raise _NoResource(error) from error


def _name(request: BaseRequest) -> str:
    name: str = request.params["id"]
    return name


def _so_far(part: PartialUpload) -> Fields:
    return written_complete(False), written_offset(part.size), NO_STORE


async def _refuse_finished(
    request: BaseRequest, finished: FinishedUpload, offset: int, lease: Lease
) -> Response:
    length = finished.record.length or 0
    if offset != length:
        raise mismatching_offset(length, offset)
    if request.length != 0 and await lease.read(request.body, 1):
        raise inconsistent_length()
    raise completed_upload()
