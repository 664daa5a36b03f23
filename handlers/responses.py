"""What an endpoint may return, made into a Response; and Responses of the usual kinds.

An endpoint returns a Response, or what one can be made of: text, bytes, a dict or a list (JSON), a
tuple of a status and any of these, with fields behind it if it likes, or a generator, whose pieces
are sent as they come. Fields are pairs or a mapping, and a Content-Type among them counts in place
of the usual one.

Cookies are added to a Response that is there (RFC 6265, section 4.1). A name or value that no
cookie can have is an error of whoever sets it, and raises ValueError before anything is sent;
nothing is encoded in silence.
"""

import json as jsons
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

from handlers.codedstreams import Pieces
from handlers.conditions import check_read, range_applies
from handlers.mediatypes import media_type as media_type_of
from handlers.ondisk import NOT_FOUND, WHEN_READING, on_disk
from handlers.ranges import content_range, multipart, parse_ranges
from handlers.requests import limits_of
from handlers.validators import entity_tag, last_modified
from reactor import (
    FieldBlock,
    Fields,
    File,
    FileRegion,
    Parts,
    ProtocolError,
    Request,
    Response,
    http_date,
)

Stream: TypeAlias = Iterator[bytes | str] | AsyncIterator[bytes | str]
GivenFields: TypeAlias = Fields | Mapping[str, str]

_TEXT: Final = FieldBlock([("Content-Type", "text/plain; charset=utf-8")])
_HTML: Final = FieldBlock([("Content-Type", "text/html; charset=utf-8")])
_JSON: Final = FieldBlock([("Content-Type", "application/json")])
_BYTES: Final = FieldBlock([("Content-Type", "application/octet-stream")])

_encode: Final = jsons.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def _pairs(headers: GivenFields) -> Fields:
    return tuple(headers.items() if isinstance(headers, Mapping) else headers)


def _typed(usual: Fields, headers: GivenFields) -> Fields:
    """The fields, with their own Content-Type or the usual one."""
    given = _pairs(headers)
    return given if _types_in(given) else (*usual, *given)


def _types_in(fields: Fields) -> list[str]:
    return [value for name, value in fields if name.lower() == "content-type"]


def _but_type(fields: Fields) -> Fields:
    return tuple(field for field in fields if field[0].lower() != "content-type")


def text(body: str, status: int = 200, headers: GivenFields = ()) -> Response:
    return Response(status, body.encode(), _typed(_TEXT, headers) if headers else _TEXT)


def html(body: str, status: int = 200, headers: GivenFields = ()) -> Response:
    """A page. What a client has sent is escaped by whoever puts it in (`html.escape`)."""
    return Response(status, body.encode(), _typed(_HTML, headers) if headers else _HTML)


def json(value: Any, status: int = 200, headers: GivenFields = ()) -> Response:
    """`value` as JSON (RFC 8259). Raises TypeError or ValueError for what JSON cannot say."""
    return Response(status, _encode(value).encode(), _typed(_JSON, headers) if headers else _JSON)


def redirect(location: str, status: int = 303, headers: GivenFields = ()) -> Response:
    """Somewhere else: a path, or a URL; what no URL may have is percent-encoded.

    303: to be fetched by GET, as after a form. 301 and 308 are for ever, 307 and 308 keep the
    method. Where it leads is the application's to say: `//evil.example` is another server, so what
    a client has sent is looked at before it is handed on. Raises ValueError for a status that is no
    redirect.
    """
    if status not in (301, 302, 303, 307, 308):
        raise ValueError(f"{status} is no redirect")
    location = quote(location, safe="!#$%&'()*+,/:;=?@[]~")
    return Response(status, b"", (("Location", location), *_pairs(headers)))


def stream(
    pieces: Stream, content_type: str = _TEXT[0][1], status: int = 200, headers: GivenFields = ()
) -> Response:
    """Pieces, bytes or text, that are sent as they come and asked for as the client reads.

    The iterator is closed when the client leaves. Raises TypeError for what is no iterator.
    """
    body: Iterator[bytes] | AsyncIterator[bytes]
    if isinstance(pieces, AsyncIterator):
        body = _AsyncText(pieces)
    elif hasattr(pieces, "__next__"):
        body = _Text(pieces)
    else:
        raise TypeError(f"a stream is an iterator, not {type(pieces).__name__}")
    return Response(status, body, _typed((("Content-Type", content_type),), headers))


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
    status: Any = None, value: Any = b"", headers: GivenFields = (), *rest: Any
) -> Response:
    if not isinstance(status, int) or isinstance(status, bool) or rest:
        raise TypeError("a tuple is (status, body) or (status, body, fields)")
    answer = respond(value)
    given = _pairs(headers)
    if isinstance(value, bytes) and not value:
        return Response(int(status), b"", given)
    fields = _but_type(answer.headers) if _types_in(given) else answer.headers
    return Response(int(status), answer.body, (*fields, *given))


def _as_bytes(piece: Any) -> bytes:
    """Of a piece of a stream. Raises TypeError for None, which would look like the end of it."""
    if piece is None:
        raise TypeError("a piece of a stream is bytes or text, not None")
    encoded: bytes = piece.encode() if isinstance(piece, str) else piece
    return encoded


class _Text(Iterator[bytes]):
    """Pieces as bytes. No generator: one that was never begun would not close its source."""

    def __init__(self, source: Iterator[bytes | str]) -> None:
        self._source = source

    def __next__(self) -> bytes:
        return _as_bytes(next(self._source))

    def close(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


class _AsyncText(Pieces):
    def __init__(self, source: AsyncIterator[bytes | str]) -> None:
        self._source = source

    async def next_piece(self) -> bytes:
        return _as_bytes(await anext(self._source))

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
    return Response(206, Parts(pieces), (("Content-Type", kind), *fields))


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


# --- cookies -------------------------------------------------------------------------------------

_COOKIE_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token
_COOKIE_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]*")  # cookie-octets
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|")
_PATH: Final = re.compile(r"/[ -:<-~]*|")
_SAME_SITE: Final = ("Strict", "Lax", "None")
_COOKIE_BYTES: Final = 4096  # of name and value; browsers drop more (rfc6265bis, section 5.6)


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
    and gone with the browser. An empty `path` is that of the request, an empty `domain` the host
    alone. Raises ValueError for what a cookie cannot be, or what browsers would drop: a name that
    is no token, a value with spaces, commas, semicolons, quotes or what is not ASCII, more than
    4,096 bytes, a time without a zone, `SameSite=None` or `Partitioned` without `Secure`.
    """
    _check_cookie(name, value)
    _check_scope(name, path, domain, secure)
    _check_sites(same_site, secure, partitioned)
    attributes = [f"{name}={value}"]
    if max_age is not None:
        attributes.append(f"Max-Age={max_age:d}")
    if expires is not None:
        attributes.append(f"Expires={_expiry(expires)}")
    texts = (("Domain", domain), ("Path", path), ("SameSite", same_site))
    attributes += [f"{attribute}={value}" for attribute, value in texts if value]
    flags = (("Secure", secure), ("HttpOnly", http_only), ("Partitioned", partitioned))
    attributes += [flag for flag, wanted in flags if wanted]
    response.headers = (*response.headers, ("Set-Cookie", "; ".join(attributes)))
    return response


def delete_cookie(
    response: Response,
    name: str,
    *,
    path: str = "/",
    domain: str = "",
    secure: bool = False,
    same_site: Literal["Strict", "Lax", "None"] | None = "Lax",
    partitioned: bool = False,
) -> Response:
    """The same response, taking the cookie away.

    `path`, `domain` and `partitioned` are those that it was set with; it would be another cookie
    otherwise. Raises ValueError as `set_cookie` does.
    """
    return set_cookie(
        response, name, "", max_age=0, path=path, domain=domain, secure=secure,
        same_site=same_site, partitioned=partitioned,
    )  # fmt: skip


def _check_cookie(name: str, value: str) -> None:
    if not _COOKIE_NAME.fullmatch(name):
        raise ValueError(f"no name of a cookie: {name!r}")
    if not _COOKIE_VALUE.fullmatch(value):
        raise ValueError(f"no value of a cookie, unless it is encoded: {value!r}")
    if len(name) + len(value) > _COOKIE_BYTES:
        raise ValueError(f"more than {_COOKIE_BYTES} bytes in the cookie {name!r}")


def _check_scope(name: str, path: str, domain: str, secure: bool) -> None:
    if not _PATH.fullmatch(path):
        raise ValueError(f"no path of a cookie: {path!r}")
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"no domain of a cookie: {domain!r}")
    # What browsers ask of the two prefixes, in any case (rfc6265bis, section 4.1.3).
    folded = name.lower()
    if folded.startswith(("__secure-", "__host-")) and not secure:
        raise ValueError(f"a cookie of this name has to be Secure: {name!r}")
    if folded.startswith("__host-") and (path != "/" or domain):
        raise ValueError(f"a cookie of this name has the path / and no domain: {name!r}")


def _check_sites(same_site: str | None, secure: bool, partitioned: bool) -> None:
    if same_site is not None and same_site not in _SAME_SITE:
        raise ValueError(f"SameSite is one of {', '.join(_SAME_SITE)}, not {same_site!r}")
    if not secure and (same_site == "None" or partitioned):
        raise ValueError("browsers take SameSite=None and Partitioned only with Secure")


def _expiry(expires: datetime) -> str:
    if expires.utcoffset() is None:  # it would be taken for the server's local time
        raise ValueError(f"a time without a zone: {expires}")
    return http_date(expires.timestamp())
