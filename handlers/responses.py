"""What an endpoint may return, made into a Response; and Responses of the usual kinds.

An endpoint returns a Response, or what one can be made of: text, bytes, a dict or a list (JSON), a
tuple of a status and any of these, with fields behind it if it likes, or a generator, whose pieces
are sent as they come.

Cookies are added to a Response that is there (RFC 6265, section 4.1). A name or value that no
cookie can have is an error of whoever sets it, and raises ValueError before anything is sent;
nothing is encoded in silence.
"""

import json as jsons
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

from handlers.codedstreams import Pieces
from handlers.conditions import check_read, range_applies
from handlers.mediatypes import media_type as media_type_of
from handlers.ondisk import NOT_FOUND, WHEN_READING, on_disk
from handlers.ranges import content_range, multipart, parse_ranges
from handlers.validators import entity_tag, last_modified
from reactor import (
    Fields,
    File,
    FileRegion,
    Parts,
    ProtocolError,
    Request,
    Response,
    http_date,
)

RANGES: Final = 32  # of one file in one request; more: the whole

Stream: TypeAlias = Iterator[bytes | str] | AsyncIterator[bytes | str]

_TEXT: Final = (("Content-Type", "text/plain; charset=utf-8"),)
_HTML: Final = (("Content-Type", "text/html; charset=utf-8"),)
_JSON: Final = (("Content-Type", "application/json"),)
_BYTES: Final = (("Content-Type", "application/octet-stream"),)

_encode: Final = jsons.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def text(body: str, status: int = 200, headers: Fields = ()) -> Response:
    return Response(status, body.encode(), (*_TEXT, *headers) if headers else _TEXT)


def html(body: str, status: int = 200, headers: Fields = ()) -> Response:
    """A page. What a client has sent is escaped by whoever puts it in (`html.escape`)."""
    return Response(status, body.encode(), (*_HTML, *headers) if headers else _HTML)


def json(value: Any, status: int = 200, headers: Fields = ()) -> Response:
    """`value` as JSON (RFC 8259). Raises TypeError or ValueError for what JSON cannot say."""
    return Response(status, _encode(value).encode(), (*_JSON, *headers) if headers else _JSON)


def redirect(location: str, status: int = 303, headers: Fields = ()) -> Response:
    """Somewhere else: a path, or a URL; what is beyond ASCII is percent-encoded.

    303: to be fetched by GET, as after a form. 301 and 308 are for ever, 307 and 308 keep the
    method. Raises ValueError for a status that is no redirect.
    """
    if status not in (301, 302, 303, 307, 308):
        raise ValueError(f"{status} is no redirect")
    location = quote(location, safe="!#$%&'()*+,/:;=?@[]~")
    return Response(status, b"", (("Location", location), *headers))


def stream(
    pieces: Stream, content_type: str = _TEXT[0][1], status: int = 200, headers: Fields = ()
) -> Response:
    """Pieces, bytes or text, that are sent as they come and asked for as the client reads.

    The iterator is closed when the client leaves.
    """
    return Response(status, _encoded(pieces), (("Content-Type", content_type), *headers))


def respond(value: Any) -> Response:
    """What an endpoint has returned. Raises TypeError for what no answer can be made of."""
    if isinstance(value, Response):
        return value
    if isinstance(value, str):
        return Response(200, value.encode(), _TEXT)
    if isinstance(value, dict | list):
        return json(value)
    if isinstance(value, bytes):
        return Response(200, value, _BYTES)
    if isinstance(value, tuple):
        return _respond_with(*value)
    if hasattr(value, "__anext__") or hasattr(value, "__next__"):
        return stream(value)
    raise TypeError(f"no answer can be made of {value!r}")


def _respond_with(
    status: Any = None, value: Any = b"", headers: Fields = (), *rest: Any
) -> Response:
    if not isinstance(status, int) or rest:
        raise TypeError("a tuple is (status, body) or (status, body, fields)")
    answer = respond(value)
    fields = (*answer.headers, *headers)
    given = {name.lower() for name, _ in headers}
    if "content-type" in given:
        fields = (*(one for one in answer.headers if one[0].lower() != "content-type"), *headers)
    return Response(status, answer.body, fields if value != b"" else headers)


def _encoded(pieces: Stream) -> Iterator[bytes] | AsyncIterator[bytes]:
    return _AsyncText(pieces) if isinstance(pieces, AsyncIterator) else _Text(pieces)


class _Text(Iterator[bytes]):
    """Pieces as bytes. No generator: one that was never begun would not close its source."""

    def __init__(self, source: Iterator[bytes | str]) -> None:
        self._source = source

    def __next__(self) -> bytes:
        piece = next(self._source)
        return piece.encode() if isinstance(piece, str) else piece

    def close(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


class _AsyncText(Pieces):
    def __init__(self, source: AsyncIterator[bytes | str]) -> None:
        self._source = source

    async def next_piece(self) -> bytes:
        piece = await anext(self._source)
        return piece.encode() if isinstance(piece, str) else piece

    async def aclose(self) -> None:
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()


# --- files ---------------------------------------------------------------------------------------


async def file(
    request: Request,
    path: str | os.PathLike[str],
    *,
    media_type: str = "",
    download_as: str = "",
    headers: Fields = (),
) -> Response:
    """A file that the application has chosen, with validators, conditions and ranges.

    `path` is the application's own: whatever a client may choose of it belongs to a static mount,
    which nothing leads out of. `download_as` is the name under which a browser is to save it.
    Raises ProtocolError: 404 where there is no such regular file, 412, 416.
    """
    opened, status = await on_disk(WHEN_READING, _open, os.fspath(path))
    try:
        fields = _fields_of(os.fspath(path), media_type, download_as, headers)
        return _answer_with(request, opened, status, fields)
    finally:
        opened.release()


def _open(path: str) -> tuple[File, os.stat_result]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    opened = File(descriptor, status.st_size)
    if not stat.S_ISREG(status.st_mode):
        opened.release()
        raise ProtocolError(*NOT_FOUND)
    return opened, status


def _fields_of(path: str, media_type: str, download_as: str, headers: Fields) -> Fields:
    kind = media_type or media_type_of(os.path.basename(path))
    fields = (("Content-Type", kind), ("Accept-Ranges", "bytes"), *headers)
    if download_as:
        fields = (*fields, ("Content-Disposition", attachment(download_as)))
    return fields


def _answer_with(
    request: Request, opened: File, status: os.stat_result, fields: Fields
) -> Response:
    """In the order of RFC 9110, section 13.2.2: conditions, then the range."""
    headers, now = request.headers, time.time()
    tag, modified = entity_tag(status, now), last_modified(status, now)
    validators = (("ETag", tag), ("Last-Modified", http_date(modified)))
    failed = check_read(headers, tag, modified, now)
    if failed == 304:
        return Response(304, b"", validators)
    if failed is not None:
        raise ProtocolError(failed, "The file is not what the request expects.")
    fields = (*fields, *validators)
    ranged = request.method == "GET" and range_applies(headers, tag, modified, now)
    found = parse_ranges(headers.get("range"), opened.size, RANGES) if ranged else None
    if found is None:
        return Response(200, FileRegion(opened.hold(), 0, opened.size), fields)
    if len(found) == 1:
        offset, length = found[0]
        fields = (*fields, ("Content-Range", content_range(offset, length, opened.size)))
        return Response(206, FileRegion(opened.hold(), offset, length), fields)
    kind, pieces = multipart(
        found,
        opened.size,
        fields[0][1],
        lambda offset, length: FileRegion(opened.hold(), offset, length),
        os.urandom(12).hex(),
    )
    return Response(206, Parts(pieces), (("Content-Type", kind), *fields[1:]))


def attachment(name: str) -> str:
    """A Content-Disposition that has a browser save the answer as `name` (RFC 6266, section 4)."""
    plain = re.sub(r'[^ !#-\[\]-~]|"', "_", name)
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


# --- cookies -------------------------------------------------------------------------------------

_COOKIE_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token
_COOKIE_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]*")  # cookie-octets
_ATTRIBUTE: Final = re.compile(r"[ -:<-~]*")


def set_cookie(
    response: Response,
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    expires: datetime | None = None,
    path: str = "/",
    domain: str = "",
    secure: bool = False,
    http_only: bool = True,
    same_site: Literal["Strict", "Lax", "None"] | None = "Lax",
    partitioned: bool = False,
) -> Response:
    """The same response with a cookie; `max_age` is in seconds, and 0 takes the cookie away.

    By default it is for the whole site, out of reach of scripts, not sent along from other sites,
    and gone with the browser. Raises ValueError for what a cookie cannot be: a name that is no
    token, a value with spaces, commas, semicolons, quotes or what is not ASCII, `SameSite=None` or
    `Partitioned` without `Secure`.
    """
    if not _COOKIE_NAME.fullmatch(name):
        raise ValueError(f"no name of a cookie: {name!r}")
    if not _COOKIE_VALUE.fullmatch(value):
        raise ValueError(f"no value of a cookie, unless it is encoded: {value!r}")
    if not secure and (same_site == "None" or partitioned):
        raise ValueError("browsers take SameSite=None and Partitioned only with Secure")
    _check_prefix(name, secure, path, domain)
    attributes = [f"{name}={value}"]
    if max_age is not None:
        attributes.append(f"Max-Age={max_age:d}")
    if expires is not None:
        attributes.append(f"Expires={http_date(int(expires.timestamp()))}")
    for attribute, text in (("Domain", domain), ("Path", path), ("SameSite", same_site or "")):
        if not _ATTRIBUTE.fullmatch(text):
            raise ValueError(f"no {attribute} of a cookie: {text!r}")
        if text:
            attributes.append(f"{attribute}={text}")
    flags = (("Secure", secure), ("HttpOnly", http_only), ("Partitioned", partitioned))
    attributes += [flag for flag, wanted in flags if wanted]
    response.headers = (*response.headers, ("Set-Cookie", "; ".join(attributes)))
    return response


def delete_cookie(
    response: Response, name: str, *, path: str = "/", domain: str = "", secure: bool = False
) -> Response:
    """The same response, taking the cookie away; path and domain are those that it was set with."""
    return set_cookie(response, name, "", max_age=0, path=path, domain=domain, secure=secure)


def _check_prefix(name: str, secure: bool, path: str, domain: str) -> None:
    """What browsers ask of the two prefixes (draft-ietf-httpbis-rfc6265bis, section 4.1.3)."""
    if name.startswith(("__Secure-", "__Host-")) and not secure:
        raise ValueError(f"a cookie of this name has to be Secure: {name!r}")
    if name.startswith("__Host-") and (path != "/" or domain):
        raise ValueError(f"a cookie of this name has the path / and no domain: {name!r}")
