"""PUT, POST and DELETE of files: what is refused, what is stored, and the responses.

Every refusal happens before a byte of the body is read, and so before a client that waits for 100
(Continue) has sent any. The body is pulled a piece at a time, and each piece is written before the
next is pulled; nothing is collected in memory. See atomic_file.py for how a file appears, and
form_upload.py for forms.

A path that ends in a slash is a directory's: nothing can be put there, and a form that is posted to
it has its files published in it, one by one as they end. Published files stay if a later part
fails, and the response says how many there are. Missing directories are made (see directories.py),
and empty ones can be deleted.

Every changed name is reported (`forget`) before the response leaves, so that no client that has
seen the response gets the old file.
"""

import json
import os
import time
from collections.abc import Callable, Sequence, Set
from errno import EACCES
from functools import partial
from typing import Final, Protocol

from reactor.errors import ProtocolError
from reactor.messages.body import Body
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.web.semantics.cross_site import refuse_foreign
from reactor.web.semantics.file_names import is_name, is_plain, name_of
from reactor.web.semantics.methods import method_not_allowed
from reactor.web.semantics.multipart import FormParser, boundary_of
from reactor.web.semantics.negotiation import prefers_html
from reactor.web.semantics.paths import name_segments, quote_segment, relative_reference
from reactor.web.semantics.preconditions import PRECONDITION_FAILED, check_write, has_conditions
from reactor.web.semantics.upload_protocols import (
    refuse_older_fields,
    refuse_tus,
    refuse_unknown_length,
)
from reactor.web.semantics.validators import entity_tag, last_modified
from reactor.web.storage.disk_errors import NOT_FOUND, WHEN_REMOVING, WHEN_WRITING, on_disk
from reactor.web.storage.safe_path import Place, Root
from reactor.web.uploads.atomic_file import WRITE_BYTES, AtomicFile, discard_in_pool
from reactor.web.uploads.directories import writable_directory
from reactor.web.uploads.disk_room import MakeRoom, append_with_room, with_room
from reactor.web.uploads.form_upload import FormFiles
from reactor.web.uploads.limits import UploadLimits
from reactor.web.uploads.publish import Precondition, Published, remove_name
from reactor.web.uploads.resumable_fields import (
    Problem,
    inconsistent_length,
    is_complete,
    refuse_resuming,
    whole_length,
    written_offset,
)

_DIRECTORY_TAG: Final = 'W/"directory"'  # a directory has no tag; no client can know this one
_JSON: Final = (("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"))


class Resumes(Protocol):
    """The part of ResumableUploads that Receiver uses."""

    def asks(self, request: BaseRequest) -> bool:
        """Return whether the request starts a resumable upload."""

    async def create(self, request: BaseRequest, segments: Sequence[str]) -> Response | None:
        """Create one; None where the whole file is to be received in the ordinary way."""

    async def make_room(self, place: Place | None) -> bool:
        """Evict an idle upload from the full disk of this place; return whether there was one."""


class Receiver:
    """The endpoints. The router leaves the path's decoded segments in `params["name"]`."""

    def __init__(
        self,
        root: Root,
        limits: UploadLimits,
        forget: Callable[[Place], None],
        *,
        uploads: bool = True,
        deletes: bool = False,
        resumable: Resumes | None = None,
        trusted_origins: Set[str] = frozenset(),
    ) -> None:
        """`forget` is called, on the loop, with each name that means another file now.

        Pages of `trusted_origins` may send requests as those of the server's own origin may.
        """
        self._root = root
        self._limits = limits
        self._forget = forget
        self._uploads = uploads
        self._deletes = deletes
        self._resumable = resumable
        self._trusted_origins = trusted_origins

    async def put(self, request: BaseRequest) -> Response:
        """Store the body as the file: 201 with its Location, or 204 where it has replaced one."""
        segments = self._check_upload(request)
        if not segments[-1]:
            raise ProtocolError(409, "A path that ends in a slash belongs to a directory.")
        return await self._receive(request, segments)

    async def post(self, request: BaseRequest) -> Response:
        """Store the body as PUT does; for a directory, store the files of a form."""
        segments = self._check_upload(request)
        if not segments[-1]:
            return await self._receive_form(request, segments[:-1])
        return await self._receive(request, segments)

    async def delete(self, request: BaseRequest) -> Response:
        """Remove the file, or the empty directory, with its final slash or without: 204."""
        refuse_tus(request.headers)
        self._check_method(request, self._deletes)
        refuse_older_fields(request.headers)
        refuse_foreign(request, self._trusted_origins)
        segments: tuple[str, ...] = request.params["name"]
        if segments == ("",):
            raise ProtocolError(403, "The directory of the mount itself cannot be deleted.")
        names = segments if segments[-1] else segments[:-1]
        if not all(is_name(name_of(one)) for one in names):
            raise ProtocolError(*NOT_FOUND)
        condition = precondition_of(request.headers, time.time)
        of_directory = partial(_check_directory_condition, request)
        place = await on_disk(
            WHEN_REMOVING, remove_name, self._root, segments, condition, of_directory
        )
        self._forget(place)
        return Response(204)

    async def _receive(self, request: BaseRequest, segments: tuple[str, ...]) -> Response:
        try:
            _refuse_form(request)
            return await self._receive_file(request, segments, whole_length(request))
        except Problem as problem:
            return problem.response()

    async def _receive_file(
        self, request: BaseRequest, segments: tuple[str, ...], length: int | None
    ) -> Response:
        """`length` is what the client has announced besides Content-Length, or None."""
        resumable = self._resumable
        if resumable is not None and resumable.asks(request):
            response = await resumable.create(request, segments)
            # Otherwise all of the file comes now, and could not be resumed.
            if response is not None:
                return response
        elif is_complete(request.headers) is False:
            raise ProtocolError(400, "Uploads cannot be resumed here: send all of the file.")
        precondition = precondition_of(request.headers, time.time)
        upload = AtomicFile(self._root, segments, precondition, self._limits.directory_depth)
        try:
            stored = await _store(upload, request.body, length, self._make_room)
        except GeneratorExit:
            raise  # nothing can be awaited any more: AtomicFile.__del__ discards it
        except BaseException:
            await discard_in_pool(upload)
            if upload.place is not None:  # it may have its name already, though not yet on the disk
                self._forget(upload.place)
            raise
        self._forget(stored.place)
        location = ("Location", _reference(request))
        if is_complete(request.headers):  # clients of older revisions want both (tus-js-client 4)
            fields = (location, written_offset(upload.size))
            return Response(204 if stored.replaced else 201, headers=fields)
        return Response(204) if stored.replaced else Response(201, headers=(location,))

    async def _make_room(self, place: Place | None) -> bool:
        return self._resumable is not None and await self._resumable.make_room(place)

    async def _receive_form(self, request: BaseRequest, directory: tuple[str, ...]) -> Response:
        boundary = boundary_of(request.headers.get("content-type"))
        if boundary is None:
            accept = [("Accept-Post", "multipart/form-data")]
            raise ProtocolError(
                415, "Only forms (multipart/form-data) can be posted to a directory.", accept
            )
        refuse_resuming(request.headers)
        depth = self._limits.directory_depth
        is_there = await on_disk(WHEN_WRITING, _check_directory, self._root, directory, depth)
        _check_directory_condition(request, _DIRECTORY_TAG if is_there else None)
        parser = FormParser(boundary, self._limits.form_parts, self._limits.form_head_bytes)
        files = FormFiles(self._root, directory, self._forget, self._make_room, depth)
        await files.receive(parser, request.body)
        # A browser has sent the form: back to the listing.
        if prefers_html(request.headers.get("accept")):
            return Response(303, headers=[("Location", _reference(request))])
        content = json.dumps({"stored": files.stored}).encode() + b"\n"
        return Response(201 if files.stored else 200, content, _JSON)

    def _check_method(self, request: BaseRequest, allowed: bool) -> None:
        if not allowed:
            methods = ["GET", "HEAD", "OPTIONS"]
            methods += ["POST", "PUT"] if self._uploads else []
            methods += ["DELETE"] if self._deletes else []
            raise method_not_allowed(request.method, methods)

    def _check_upload(self, request: BaseRequest) -> tuple[str, ...]:
        refuse_tus(request.headers)
        self._check_method(request, self._uploads)
        refuse_older_fields(request.headers)
        # RFC 9110, section 14.5: a part must not be stored as the whole.
        if "content-range" in request.headers:
            raise ProtocolError(400, "Files must be uploaded whole, without Content-Range.")
        # In a response, Accept-Encoding lists the codings that the server accepts (section 12.5.3);
        # a 415 should have it (section 15.5.16).
        if request.headers.get("content-encoding").lower() not in ("", "identity"):
            accept = [("Accept-Encoding", "identity")]
            raise ProtocolError(
                415, "Files are stored as they are: send them without a content coding.", accept
            )
        refuse_foreign(request, self._trusted_origins)
        refuse_unknown_length(request)
        return _locate(request)


async def _store(
    upload: AtomicFile, body: Body, length: int | None, make_room: MakeRoom
) -> Published:
    """Write the whole body to the disk and publish it. Raises Problem for another length."""
    await with_room(make_room, None, upload.begin)
    while piece := await body.read(WRITE_BYTES):
        await append_with_room(make_room, upload.place, upload, piece)
    if length not in (None, upload.size):
        raise inconsistent_length()
    return await with_room(make_room, upload.place, upload.commit)


def _refuse_form(request: BaseRequest) -> None:
    """Raise ProtocolError(415) for a form, whose envelope would be stored as the file."""
    kind = request.headers.get("content-type").partition(";")[0].strip(" \t").lower()
    if kind == "multipart/form-data":
        directory = "/".join(map(quote_segment, [*name_segments(request.path)[:-1], ""]))
        raise ProtocolError(
            415,
            "A form is no file: post it to its directory, "
            f"{directory}, or send the file as the body itself.",
        )
    if kind == "multipart/byteranges":  # as Content-Range
        raise ProtocolError(400, "Files must be uploaded whole, without byte ranges.")


def _locate(request: BaseRequest) -> tuple[str, ...]:
    """Return the path's segments, the last of them empty for a directory.

    Raises ProtocolError(404) for a name that no file can have.
    """
    segments: tuple[str, ...] = request.params["name"]
    names = segments if segments and segments[-1] else segments[:-1]
    if not segments or not is_plain(names):
        raise ProtocolError(*NOT_FOUND)
    return segments


def precondition_of(headers: Headers, wall: Callable[[], float]) -> Precondition | None:
    """Return the preconditions of these fields as a check of the file's status, or None."""
    if not has_conditions(headers):
        return None

    def check(status: os.stat_result | None) -> None:
        tag = modified = None
        now = wall()
        if status is not None:
            tag, modified = entity_tag(status, now), last_modified(status, now)
        if not check_write(headers, tag, modified, now):
            raise ProtocolError(*PRECONDITION_FAILED)

    return check


def _check_directory_condition(request: BaseRequest, tag: str | None = _DIRECTORY_TAG) -> None:
    """Evaluate preconditions for a directory, which has no validators (RFC 9110, section 13.1).

    `tag` is None for one that is missing.
    """
    headers = request.headers
    if has_conditions(headers) and not check_write(headers, tag, None, time.time()):
        raise ProtocolError(*PRECONDITION_FAILED)


def _check_directory(root: Root, segments: Sequence[str], depth: int) -> bool:
    """Return whether the directory is there. Raises OSError where no file can be created in it."""
    with writable_directory(root, segments, depth) as (directory, made):
        # Now rather than after the first gigabyte; a read-only file system fails here, too.
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory):
            raise PermissionError(EACCES, os.strerror(EACCES))
        return not made


def _reference(request: BaseRequest) -> str:
    """Return the reference to the file or the directory of the request."""
    return relative_reference(request.raw_path, name_segments(request.path))
