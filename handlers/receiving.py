"""PUT, POST and DELETE of files: what is refused, what is stored, and what is said then.

Everything that can be refused is refused before a byte of the body is read, and so before a client
that waits for 100 (Continue) has sent any. The bytes are pulled a piece at a time and written
before the next is pulled; nothing is held. How a file comes into being is the business of uploads,
what a form is that of forms.

A path that ends in a slash is a folder's: nothing can be put there, and a form posted to it leaves
its files in it, one by one as they end. What was stored stays if a later part fails, and the answer
says so.

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

from handlers.conditions import check_write, has_conditions
from handlers.forms import FormParser, Part, boundary_of
from handlers.negotiation import prefers_json
from handlers.ondisk import NOT_FOUND, WHEN_REMOVING, WHEN_WRITING, on_disk
from handlers.origin import refuse_foreign
from handlers.safepath import Place, Root, is_plain
from handlers.uploads import Precondition, Stored, Upload, remove_file
from handlers.validators import entity_tag, last_modified
from reactor import Body, Headers, Limits, ProtocolError, Request, Response, in_pool, sleep

PIECE_BYTES: Final = 256 * 1024  # of a body, pulled and written at a time
FIELD_BYTES: Final = 64 * 1024  # of a form's part that is no file; it is dropped
_TURN: Final = 64  # pieces and events of a form, after which others have their turn

# What may stand in a path as it is (RFC 3986, section 3.3), and escapes that are there already.
_PATH: Final = "/%:@!$&'()*+,;=~"
_FOLDER_TAG: Final = 'W/"folder"'  # a folder has none; no condition names this one
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
        limits: Limits,
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
            raise ProtocolError(409, "A name that ends in a slash is a folder's.")
        return await self._receive(request, segments)

    async def post(self, request: Request) -> Response:
        """As PUT; to a folder, the files of a form."""
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
            await on_disk(WHEN_REMOVING, _refuse_folder, self._root, segments[:-1])
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
        upload = Upload(self._root, segments, precondition_of(request.headers, time.time))
        try:
            stored = await _store(upload, request.body)
        except GeneratorExit:
            raise  # nothing can be awaited any more: Upload.__del__ does the same
        except BaseException:
            await give_up(upload)
            if upload.place is not None:  # it may have its name, though not yet on the disk
                self._forget(upload.place)
            raise
        self._forget(stored.place)
        if stored.replaced:
            return Response(204)
        return Response(201, headers=[("Location", _location(request.path))])

    async def _receive_form(self, request: Request, folder: tuple[str, ...]) -> Response:
        boundary = boundary_of(request.headers.get("content-type"))
        if boundary is None:
            accept = [("Accept-Post", "multipart/form-data")]
            raise ProtocolError(415, "A folder takes forms (multipart/form-data) only.", accept)
        await on_disk(WHEN_WRITING, _check_folder, self._root, folder)
        _check_folder_condition(request)
        parser = FormParser(boundary, self._limits.form_parts, self._limits.form_head_bytes)
        files = _FormFiles(self._root, folder, self._forget)
        await files.receive(parser, request.body)
        if prefers_html(request.headers.get("accept")):  # a browser's own form: back to the folder
            return Response(303, headers=[("Location", _location(request.path))])
        answer = json.dumps({"stored": files.stored}).encode() + b"\n"
        return Response(201 if files.stored else 200, answer, _JSON)

    def _check_method(self, allowed: bool) -> None:
        if not allowed:
            methods = ["GET", "HEAD", "OPTIONS"]
            methods += ["POST", "PUT"] if self._uploads else []
            methods += ["DELETE"] if self._deletes else []
            allow = ", ".join(sorted(methods))
            raise ProtocolError(405, f"Here the methods are {allow}.", [("Allow", allow)])

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


class _FormFiles:
    """The files of one form, each of them an upload."""

    def __init__(
        self, root: Root, folder: tuple[str, ...], forget: Callable[[Place], None]
    ) -> None:
        self.stored: list[dict[str, object]] = []
        self._root = root
        self._folder = folder
        self._forget = forget
        self._part = Part("", None, "")
        self._size = 0  # of a part that is no file
        self._steps = 0
        self._upload: Upload | None = None

    async def receive(self, parser: FormParser, body: Body) -> None:
        """All of the form. After an error what was stored stays; what has begun is discarded."""
        try:
            while piece := await body.read(PIECE_BYTES):
                parser.feed(piece)
                await self._take_events(parser)
                await self._step()
            parser.end()
        except GeneratorExit:
            raise
        except BaseException as error:
            await self._give_up()
            if isinstance(error, ProtocolError) and self.stored:
                error.reason += f" Of this form {_files(len(self.stored))} stored before that."
            raise

    async def _take_events(self, parser: FormParser) -> None:
        while (event := parser.next_event()) is not None:
            if isinstance(event, Part):
                await self._begin(event)
            elif isinstance(event, bytes):
                await self._write(event)
            else:
                await self._end()
            await self._step()

    async def _step(self) -> None:
        """Others have their turn now and then: what is no file waits for nothing."""
        self._steps += 1
        if self._steps % _TURN == 0:
            await sleep(0)

    async def _begin(self, part: Part) -> None:
        self._part = part
        self._size = 0
        if part.filename:
            self._upload = Upload(self._root, (*self._folder, part.filename))
            await on_disk(WHEN_WRITING, self._upload.begin)

    async def _write(self, piece: bytes) -> None:
        if self._upload is not None:
            await on_disk(WHEN_WRITING, self._upload.write, piece)
            return
        if self._part.filename is not None:
            raise ProtocolError(400, f"Part {self._part.name!a} has a file without a name.")
        self._size += len(piece)
        if self._size > FIELD_BYTES:
            raise ProtocolError(413, f"Part {self._part.name!a} is no file, and too large.")

    async def _end(self) -> None:
        if self._upload is None:
            return
        stored = await on_disk(WHEN_WRITING, self._upload.commit)
        self._forget(stored.place)
        size, self._upload = self._upload.size, None
        name = self._part.filename
        self.stored.append({"name": name, "size": size, "replaced": stored.replaced})

    async def _give_up(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            await give_up(upload)
            if upload.place is not None:
                self._forget(upload.place)


async def give_up(upload: Upload) -> None:
    """Discard it, after a job of it that is under way."""
    try:
        await in_pool(upload.discard)
    except ProtocolError:
        pass  # the pool is full: Upload.__del__ does it


async def _store(upload: Upload, body: Body) -> Stored:
    """The whole body to the disk."""
    await on_disk(WHEN_WRITING, upload.begin)
    while piece := await body.read(PIECE_BYTES):
        await on_disk(WHEN_WRITING, upload.write, piece)
    return await on_disk(WHEN_WRITING, upload.commit)


def _locate(request: Request) -> tuple[str, ...]:
    """The path's segments, the last of them empty for a folder. Raises ProtocolError(404)."""
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
            raise _condition_failed()

    return check


def _check_folder_condition(request: Request) -> None:
    """A folder is there, and has neither tag nor date (RFC 9110, section 13.1)."""
    if has_conditions(request.headers) and not check_write(request.headers, _FOLDER_TAG, None):
        raise _condition_failed()


def _condition_failed() -> ProtocolError:
    return ProtocolError(412, "What is there is not what the request says.")


def _check_folder(root: Root, segments: Sequence[str]) -> None:
    """Raises OSError where no file can be made in it."""
    folder = root.open_folder(segments)
    try:
        # Told now rather than after the first gigabyte; a file system that is read-only says so.
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder):
            raise PermissionError(EACCES, os.strerror(EACCES))
    finally:
        os.close(folder)


def _refuse_folder(root: Root, segments: Sequence[str]) -> None:
    os.close(root.find_folder(segments))
    raise IsADirectoryError(EISDIR, os.strerror(EISDIR))


def _location(path: str) -> str:
    """The path as a reference to this server: two slashes would begin the name of another."""
    return "/" + quote(path, _PATH).lstrip("/")


def prefers_html(accept: str) -> bool:
    """Whether a page is expected, as by a form that a browser sends itself."""
    return "text/html" in accept.lower() and not prefers_json(accept)


def _files(count: int) -> str:
    return "1 file was" if count == 1 else f"{count} files were"
