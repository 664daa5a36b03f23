"""PUT, POST and DELETE of files: what is refused, what is stored, and what is said then.

Everything that can be refused is refused before a byte of the body is read, and so before a client
that waits for 100 (Continue) has sent any. The bytes are pulled a piece at a time and written
before the next is pulled; nothing is held. How a file comes into being is the business of uploads,
what a form is that of forms.

A path that ends in a slash is a directory's: nothing can be put there, and a form posted to it
leaves its files in it, one by one as they end. What was stored stays if a later part fails, and the
answer says so.

Whatever has changed is told (`forget`) before the answer leaves, so that nobody who has seen the
answer is given the old file.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from errno import EACCES, EISDIR
from typing import Final, Protocol
from urllib.parse import quote

from reactor.errors import ProtocolError
from reactor.messages.body import Body
from reactor.messages.headers import Headers
from reactor.messages.request import Request
from reactor.messages.response import Response
from reactor.protocol.grammar import SEGMENT_SAFE
from reactor.web.semantics.cross_site import refuse_foreign
from reactor.web.semantics.file_names import is_plain
from reactor.web.semantics.methods import method_not_allowed
from reactor.web.semantics.multipart import FormParser, boundary_of
from reactor.web.semantics.negotiation import prefers_json
from reactor.web.semantics.preconditions import PRECONDITION_FAILED, check_write, has_conditions
from reactor.web.semantics.validators import entity_tag, last_modified
from reactor.web.storage.disk_errors import NOT_FOUND, WHEN_REMOVING, WHEN_WRITING, on_disk
from reactor.web.storage.safe_path import Place, Root
from reactor.web.uploads.atomic_file import (
    PIECE_BYTES,
    AtomicFile,
    Precondition,
    Stored,
    discard_in_pool,
    remove_file,
)
from reactor.web.uploads.form_upload import FormFiles
from reactor.web.uploads.limits import UploadLimits

# What may stand in a path as it is (RFC 3986, section 3.3), and escapes that are there already.
_PATH: Final = "/%" + SEGMENT_SAFE
_DIRECTORY_TAG: Final = 'W/"directory"'  # a directory has none; no condition names this one
_JSON: Final = (("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"))


class Resumes(Protocol):
    """What takes the uploads that can be resumed."""

    def asks(self, request: Request) -> bool: ...

    async def create(self, request: Request, segments: Sequence[str]) -> Response | None: ...


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
    ) -> None:
        """`forget` is called, on the loop, with each name that means another file now."""
        self._root = root
        self._limits = limits
        self._forget = forget
        self._uploads = uploads
        self._deletes = deletes
        self._resumable = resumable

    async def put(self, request: Request) -> Response:
        """The body becomes the file: 201 with its Location, 204 where it has replaced one."""
        segments = self._check_upload(request)
        if not segments[-1]:
            raise ProtocolError(409, "A name that ends in a slash is a directory's.")
        return await self._receive(request, segments)

    async def post(self, request: Request) -> Response:
        """As PUT; to a directory, the files of a form."""
        segments = self._check_upload(request)
        if not segments[-1]:
            return await self._receive_form(request, segments[:-1])
        return await self._receive(request, segments)

    async def delete(self, request: Request) -> Response:
        """204 when the file is gone."""
        self._check_method(self._deletes)
        refuse_foreign(request)
        segments = _locate(request)
        if not segments[-1]:
            await on_disk(WHEN_REMOVING, _refuse_directory, self._root, segments[:-1])
        condition = precondition_of(request.headers, time.time)
        place = await on_disk(WHEN_REMOVING, remove_file, self._root, segments, condition)
        self._forget(place)
        return Response(204)

    async def _receive(self, request: Request, segments: tuple[str, ...]) -> Response:
        resumable = self._resumable
        if resumable is not None and resumable.asks(request):
            response = await resumable.create(request, segments)
            if response is not None:  # otherwise it comes as a whole, and could not be resumed here
                return response
        upload = AtomicFile(self._root, segments, precondition_of(request.headers, time.time))
        try:
            stored = await _store(upload, request.body)
        except GeneratorExit:
            raise  # nothing can be awaited any more: Upload.__del__ does the same
        except BaseException:
            await discard_in_pool(upload)
            if upload.place is not None:  # it may have its name, though not yet on the disk
                self._forget(upload.place)
            raise
        self._forget(stored.place)
        if stored.replaced:
            return Response(204)
        return Response(201, headers=[("Location", _location(request.path))])

    async def _receive_form(self, request: Request, directory: tuple[str, ...]) -> Response:
        boundary = boundary_of(request.headers.get("content-type"))
        if boundary is None:
            accept = [("Accept-Post", "multipart/form-data")]
            raise ProtocolError(415, "A directory takes forms (multipart/form-data) only.", accept)
        await on_disk(WHEN_WRITING, _check_directory, self._root, directory)
        _check_directory_condition(request)
        parser = FormParser(boundary, self._limits.form_parts, self._limits.form_head_bytes)
        files = FormFiles(self._root, directory, self._forget)
        await files.receive(parser, request.body)
        # a browser's own form: back to the directory
        if prefers_html(request.headers.get("accept")):
            return Response(303, headers=[("Location", _location(request.path))])
        answer = json.dumps({"stored": files.stored}).encode() + b"\n"
        return Response(201 if files.stored else 200, answer, _JSON)

    def _check_method(self, allowed: bool) -> None:
        if not allowed:
            methods = ["GET", "HEAD", "OPTIONS"]
            methods += ["POST", "PUT"] if self._uploads else []
            methods += ["DELETE"] if self._deletes else []
            raise method_not_allowed(methods)

    def _check_upload(self, request: Request) -> tuple[str, ...]:
        self._check_method(self._uploads)
        if "content-range" in request.headers:  # RFC 9110, section 14.5: never as if it were whole
            raise ProtocolError(400, "A part of a file cannot be stored by Content-Range.")
        # Section 12.5.3 says what the field means in this answer, 15.5.16 that it is wanted there.
        if request.headers.get("content-encoding").lower() not in ("", "identity"):
            accept = [("Accept-Encoding", "identity")]
            raise ProtocolError(415, "Files are stored as they are; send them uncoded.", accept)
        refuse_foreign(request)
        return _locate(request)


async def _store(upload: AtomicFile, body: Body) -> Stored:
    """The whole body to the disk."""
    await on_disk(WHEN_WRITING, upload.begin)
    while piece := await body.read(PIECE_BYTES):
        await on_disk(WHEN_WRITING, upload.write, piece)
    return await on_disk(WHEN_WRITING, upload.commit)


def _locate(request: Request) -> tuple[str, ...]:
    """The path's segments, the last of them empty for a directory. Raises ProtocolError(404)."""
    segments: tuple[str, ...] = request.params["name"]
    names = segments if segments and segments[-1] else segments[:-1]
    if not segments or not is_plain(names):
        raise ProtocolError(*NOT_FOUND)
    return segments


def precondition_of(headers: Headers, wall: Callable[[], float]) -> Precondition | None:
    """What these fields ask of the file that is there when it is checked."""
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


def _check_directory_condition(request: Request) -> None:
    """A directory is there, and has neither tag nor date (RFC 9110, section 13.1)."""
    headers = request.headers
    if has_conditions(headers) and not check_write(headers, _DIRECTORY_TAG, None, time.time()):
        raise ProtocolError(*PRECONDITION_FAILED)


def _check_directory(root: Root, segments: Sequence[str]) -> None:
    """Raises OSError where no file can be made in it."""
    directory = root.open_directory(segments)
    try:
        # Told now rather than after the first gigabyte; a file system that is read-only says so.
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory):
            raise PermissionError(EACCES, os.strerror(EACCES))
    finally:
        os.close(directory)


def _refuse_directory(root: Root, segments: Sequence[str]) -> None:
    os.close(root.find_directory(segments))
    raise IsADirectoryError(EISDIR, os.strerror(EISDIR))


def _location(path: str) -> str:
    """The path as a reference to this server: two slashes would begin the name of another."""
    return "/" + quote(path, _PATH).lstrip("/")


def prefers_html(accept: str) -> bool:
    """Whether a page is expected, as by a form that a browser sends itself."""
    return "text/html" in accept.lower() and not prefers_json(accept)
