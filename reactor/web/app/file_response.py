"""A file as the response to a request: validators, preconditions and ranges of RFC 9110.

For a file that the application has chosen. Files below a directory, chosen by the path of the
request, are served by a static mount (see static/file_server.py).
"""

import os
import stat
import time

from reactor.errors import ProtocolError
from reactor.files.file import File
from reactor.files.region import FileRegion
from reactor.messages.headers import Fields, GivenFields, as_pairs
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.protocol.dates import http_date
from reactor.web.app.request_data import limits_of
from reactor.web.app.responses import types_in, without_types
from reactor.web.semantics.file_names import attachment
from reactor.web.semantics.media_types import media_type as media_type_of
from reactor.web.semantics.preconditions import (
    PRECONDITION_FAILED,
    check_read,
    range_applies,
)
from reactor.web.semantics.uploaded_files import asks_for_worker, policy_for, worker_refusal
from reactor.web.semantics.validators import entity_tag, last_modified
from reactor.web.static.partial_content import partial_response
from reactor.web.storage.disk_errors import NOT_FOUND, WHEN_READING, on_disk


async def file(
    request: BaseRequest,
    path: str | os.PathLike[str],
    *,
    media_type: str = "",
    download_as: str = "",
    headers: GivenFields = (),
    trusted: bool = True,
) -> Response:
    """A response with a file, for GET and HEAD: validators, preconditions and ranges.

        return await file(request, "reports/2026.pdf", download_as="report.pdf")

    `path` must not depend on the client: use `Application.static` for that, since no request leads
    out of its directory. `media_type` is guessed from the extension if empty. `download_as` is the
    name under which a browser saves the file. A Content-Type in `headers` counts as `media_type`.
    `trusted=False` is for a file that a client has uploaded: browsers run no script in it. Raises
    ProtocolError: 404 if there is no regular file at `path`, 403 if the server may not read it or
    an uploaded one is to be the script of a service worker, 412 for a failed precondition, 416 for
    a range beyond the end, 503 if too many files are open. Any other OSError is raised as it is.
    """
    path = os.fsdecode(path)
    kind, fields = _fields_of(path, media_type, download_as, as_pairs(headers))
    if not trusted:
        policy = policy_for([kind])
        if asks_for_worker(request):
            raise worker_refusal(policy)
        fields = (*fields, *policy)
    opened, status = await on_disk(WHEN_READING, _open, path)
    try:
        return _respond_with_file(request, opened, status, kind, fields)
    finally:
        opened.release()


def _open(path: str) -> tuple[File, os.stat_result]:
    if "\0" in path:  # no file name has one
        raise ProtocolError(*NOT_FOUND)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    opened = File(descriptor, status.st_size)
    if not stat.S_ISREG(status.st_mode):
        opened.release()
        raise ProtocolError(*NOT_FOUND)
    return opened, status


def _fields_of(path: str, media_type: str, download_as: str, given: Fields) -> tuple[str, Fields]:
    """The media type, and all other fields that do not depend on the state of the file."""
    kinds = [media_type] if media_type else types_in(given)
    kind = kinds[0] if kinds else media_type_of(os.path.basename(path))
    fields = without_types(given)
    if download_as:
        fields = (*fields, ("Content-Disposition", attachment(download_as)))
    return kind, fields


def _respond_with_file(
    request: BaseRequest, opened: File, status: os.stat_result, kind: str, fields: Fields
) -> Response:
    """The order is that of RFC 9110, section 13.2.2: preconditions, then the range."""
    headers, now = request.headers, time.time()
    tag, modified = entity_tag(status, now), last_modified(status, now)
    # With other methods a precondition is about the resource that they change (section 13.1).
    reading = request.method in ("GET", "HEAD")
    failed = check_read(headers, tag, modified, now) if reading else None
    if failed == 304:
        return Response(304, b"", (("ETag", tag), *_for_caches(fields)))
    if failed is not None:
        raise ProtocolError(*PRECONDITION_FAILED)
    fields = (
        ("Content-Type", kind),
        *(("X-Content-Type-Options", "nosniff"), ("Accept-Ranges", "bytes")),
        *(("ETag", tag), ("Last-Modified", http_date(modified))),
        *fields,
    )
    ranged = request.method == "GET" and range_applies(headers, tag, modified, now)
    if ranged:
        most = limits_of(request).ranges
        part = partial_response(headers.get("range"), opened, kind, fields, most)
        if part is not None:
            return part
    return Response(200, FileRegion(opened.hold(), 0, opened.size), fields)


def _for_caches(fields: Fields) -> Fields:
    """The other fields of a 304 (RFC 9110, section 15.4.5): none about the content it lacks."""
    return tuple(
        field
        for field in fields
        if not (name := field[0].lower()).startswith("content-")
        or name.startswith(("content-location", "content-security-policy"))
    )
