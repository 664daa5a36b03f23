"""A file as a response to a request: conditions, ranges and validators of RFC 9110."""

import os
import re
import stat
import time
from urllib.parse import quote

from reactor.errors import ProtocolError
from reactor.files.file import File
from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.headers import Fields
from reactor.messages.request import Request
from reactor.messages.response import Response
from reactor.protocol.dates import http_date
from reactor.web.app.request_data import limits_of
from reactor.web.app.responses import GivenFields, _but_type, _pairs, _types_in
from reactor.web.semantics.media_types import media_type as media_type_of
from reactor.web.semantics.preconditions import check_read, range_applies
from reactor.web.semantics.ranges import content_range, multipart, parse_ranges
from reactor.web.semantics.validators import entity_tag, last_modified
from reactor.web.storage.disk_errors import NOT_FOUND, WHEN_READING, on_disk


async def file(
    request: Request,
    path: str | os.PathLike[str],
    *,
    media_type: str = "",
    download_as: str = "",
    headers: GivenFields = (),
) -> Response:
    """A file that the application has chosen, with validators, conditions and ranges.

    `path` is the application's own: whatever a client may choose of it belongs to a static mount,
    which nothing leads out of. `download_as` is the name under which a browser is to save it.
    Raises ProtocolError: 404 where there is no such regular file, 412, 416.
    """
    path = os.fsdecode(path)
    kind, fields = _fields_of(path, media_type, download_as, _pairs(headers))
    opened, status = await on_disk(WHEN_READING, _open, path)
    try:
        return _answer_with(request, opened, status, kind, fields)
    finally:
        opened.release()


def _open(path: str) -> tuple[File, os.stat_result]:
    if "\0" in path:  # in no name
        raise ProtocolError(*NOT_FOUND)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    opened = File(descriptor, status.st_size)
    if not stat.S_ISREG(status.st_mode):
        opened.release()
        raise ProtocolError(*NOT_FOUND)
    return opened, status


def _fields_of(path: str, media_type: str, download_as: str, given: Fields) -> tuple[str, Fields]:
    """The media type and all other fields that do not depend on the file's state."""
    kinds = [media_type] if media_type else _types_in(given)
    kind = kinds[0] if kinds else media_type_of(os.path.basename(path))
    fields = _but_type(given)
    if download_as:
        fields = (*fields, ("Content-Disposition", attachment(download_as)))
    return kind, fields


def _answer_with(
    request: Request, opened: File, status: os.stat_result, kind: str, fields: Fields
) -> Response:
    """In the order of RFC 9110, section 13.2.2: conditions, then the range."""
    headers, now = request.headers, time.time()
    tag, modified = entity_tag(status, now), last_modified(status, now)
    # To other methods a condition is about what they change (section 13.1).
    reading = request.method in ("GET", "HEAD")
    failed = check_read(headers, tag, modified, now) if reading else None
    if failed == 304:
        return Response(304, b"", (("ETag", tag), *_for_caches(fields)))
    if failed is not None:
        raise ProtocolError(failed, "The file is not what the request expects.")
    fields = (
        *(("X-Content-Type-Options", "nosniff"), ("Accept-Ranges", "bytes")),
        *(("ETag", tag), ("Last-Modified", http_date(modified))),
        *fields,
    )
    ranged = request.method == "GET" and range_applies(headers, tag, modified, now)
    most = limits_of(request).ranges
    found = parse_ranges(headers.get("range"), opened.size, most) if ranged else None

    def region(offset: int, length: int) -> FileRegion:
        return FileRegion(opened.hold(), offset, length)

    typed = (("Content-Type", kind), *fields)
    if found is None:
        return Response(200, region(0, opened.size), typed)
    if len(found) == 1:
        content = content_range(*found[0], opened.size)
        return Response(206, region(*found[0]), (*typed, ("Content-Range", content)))
    kind, pieces = multipart(found, opened.size, kind, region, os.urandom(12).hex())
    return Response(206, MultiRegion(pieces), (("Content-Type", kind), *fields))


def _for_caches(fields: Fields) -> Fields:
    """What a 304 tells besides (RFC 9110, section 15.4.5): nothing about a content it has not."""
    return tuple(
        field
        for field in fields
        if not (name := field[0].lower()).startswith("content-") or name == "content-location"
    )


def attachment(name: str) -> str:
    """A Content-Disposition that has a browser save the answer as `name` (RFC 6266, section 4).

    What parts a path, and control characters, become underscores: it is one plain name.
    """
    name = re.sub(r"[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]", "_", name)
    # A percent sign might be taken for an encoding (appendix D).
    plain = re.sub(r'[^ -~]|["%]', "_", name)
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
