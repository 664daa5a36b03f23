"""From what a test asks for to a request: a URL, fields, a body.

Everything is what a browser or a well-behaved client would send, and nothing is invented: no
Accept-Encoding, so that content comes as it was made. Input that would not be one request, a line
end in a field, a body given in two ways, raises ValueError before anything is sent.
"""

import json
import mimetypes
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os.path import basename
from typing import IO, Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from reactor.protocol.grammar import SEGMENT_SAFE, is_token

Pairs: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]]
Content: TypeAlias = bytes | str | Iterable[bytes | str]
FileContent: TypeAlias = bytes | str | IO[bytes]
# The content alone, or a name and the content, or these and a media type.
FileSpec: TypeAlias = FileContent | tuple[str, FileContent] | tuple[str, FileContent, str]
Files: TypeAlias = Mapping[str, FileSpec] | Sequence[tuple[str, FileSpec]]

_PORTS: Final = {"http": 80, "https": 443}
# The characters that stand in a target unencoded (RFC 3986, section 3.3), and `%` of escapes.
_PATH: Final = "/%" + SEGMENT_SAFE
_QUERY: Final = _PATH + "?"
_VALUE: Final = re.compile(r"[^\r\n\0]*")
# The methods that mean something with a body, so that its absence is said (RFC 9110, section 8.6).
_EXPECT_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class Url(NamedTuple):
    """Where a request goes."""

    scheme: str
    host: str  # in lower case; an IPv6 address in brackets
    port: int | None  # without one, the scheme's own
    target: str  # path and query, percent-encoded
    user: str | None = None
    password: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Connections are kept for one (RFC 6454)."""
        return self.scheme, self.host, self.port or _PORTS[self.scheme]

    @property
    def authority(self) -> str:
        """The Host field."""
        if self.port in (None, _PORTS[self.scheme]):
            return self.host
        return f"{self.host}:{self.port}"

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


class EncodedBody(NamedTuple):
    """The body behind a head. `pieces` of no known length are sent in chunks."""

    content: bytes | None = None  # all of it; without one, none or in pieces
    pieces: Iterator[object] | None = None  # each is bytes or str
    media_type: str = ""


def parse_url(base: str, url: str, params: Pairs | None) -> Url:
    """`url` as a link on the page `base`, and the parameters behind its query.

    Raises ValueError for what is none of http or https.
    """
    parts = urlsplit(urljoin(base, url) if url != "*" else base)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"not a URL of http or https: {parts.geturl()!r}")
    host = parts.hostname.encode("idna").decode() if ":" not in parts.hostname else parts.hostname
    query = quote(parts.query, _QUERY)
    if params:
        query = "&".join(part for part in (query, _encode_pairs(params)) if part)
    target = "*" if url == "*" else quote(parts.path, _PATH) or "/"
    return Url(
        parts.scheme,
        f"[{host}]" if ":" in host else host,
        parts.port,
        f"{target}?{query}" if query else target,
        unquote(parts.username) if parts.username is not None else None,
        unquote(parts.password or ""),
    )


def encode_body(
    content: Content | None, data: Pairs | None, files: Files | None, value: Any
) -> EncodedBody:
    """The body that one of them describes; `data` and `files` go together. Raises ValueError."""
    if (content is not None) + (data is not None or files is not None) + (value is not None) > 1:
        raise ValueError("a body is content, or data and files, or json")
    if value is not None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return EncodedBody(text.encode(), None, "application/json")
    if files is not None:
        boundary, form = _encode_form(_pairs(data or {}), _pairs(files))
        return EncodedBody(form, None, f"multipart/form-data; boundary={boundary}")
    if data is not None:
        return EncodedBody(_encode_pairs(data).encode(), None, "application/x-www-form-urlencoded")
    if content is None or isinstance(content, bytes | str):
        return EncodedBody(content.encode() if isinstance(content, str) else content)
    return EncodedBody(None, iter(content))


def encode_head(
    method: str, url: Url, fields: Sequence[tuple[str, str]], body: EncodedBody
) -> tuple[bytes, bool]:
    """A request's head, and whether its body is sent in chunks. Raises ValueError.

    Host and what frames the body are added where `fields` do not have them.
    """
    if not is_token(method):
        raise ValueError(f"not a method: {method!r}")
    names = {name.lower() for name, _ in fields}
    lines = [] if "host" in names else [("Host", url.authority)]
    lines += fields
    if body.media_type and "content-type" not in names:
        lines.append(("Content-Type", body.media_type))
    chunked = False
    if "content-length" not in names and "transfer-encoding" not in names:
        if body.pieces is not None:
            chunked = True
            lines.append(("Transfer-Encoding", "chunked"))
        elif body.content is not None or method in _EXPECT_BODY:
            lines.append(("Content-Length", str(len(body.content or b""))))
    for name, value in lines:
        if not is_token(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"not a field: {name!r}: {value!r}")
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"{method} {url.target} HTTP/1.1\r\n{text}\r\n".encode("latin-1"), chunked


def merge_fields(*several: Mapping[str, str] | Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Fields of all of them; a name in a later one replaces those of the earlier ones."""
    merged: list[tuple[str, str]] = []
    for fields in several:
        added = _pairs(fields)
        names = {name.lower() for name, _ in added}
        merged = [field for field in merged if field[0].lower() not in names] + added
    return merged


def basic_credentials(user: str, password: str) -> str:
    """The Authorization field of RFC 7617. Raises ValueError for a user with a colon."""
    if ":" in user:
        raise ValueError("a user's name has no colon in Basic authentication")
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _pairs(fields: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return list(fields.items()) if isinstance(fields, Mapping) else list(fields)


def _texts(pairs: Pairs) -> Iterator[tuple[str, str]]:
    """A list is one pair for each of its items."""
    for name, value in _pairs(pairs):
        for one in value if isinstance(value, list | tuple) else (value,):
            yield name, _text(one)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _encode_pairs(pairs: Pairs) -> str:
    return urlencode(list(_texts(pairs)))


def _encode_form(fields: Pairs, files: Sequence[tuple[str, FileSpec]]) -> tuple[str, bytes]:
    """A boundary and a form (RFC 7578); the fields come first, as a browser sends them."""
    parts = [
        (f'form-data; name="{_quoted(name)}"', "", value.encode()) for name, value in _texts(fields)
    ]
    for name, spec in files:
        filename, content, media_type = _file(spec)
        where = f'form-data; name="{_quoted(name)}"; filename="{_quoted(filename)}"'
        parts.append((where, f"Content-Type: {media_type}\r\n", content))
    number = 0
    while any(_boundary(number).encode() in content for *_, content in parts):
        number += 1
    boundary = _boundary(number)
    pieces = [
        f"--{boundary}\r\nContent-Disposition: {where}\r\n{media_type}\r\n".encode()
        + content
        + b"\r\n"
        for where, media_type, content in parts
    ]
    return boundary, b"".join((*pieces, f"--{boundary}--\r\n".encode()))


def _boundary(number: int) -> str:
    """Always the same, unless the content has it: a test's requests are the same each time."""
    return f"----reactor-testing-{number}"


def _file(spec: FileSpec) -> tuple[str, bytes, str]:
    """Its name, content and media type; the name of an open file is its own."""
    name, content, *rest = spec if isinstance(spec, tuple) else ("", spec)
    if isinstance(content, bytes | str):
        data = content.encode() if isinstance(content, str) else content
    else:
        data = content.read()
        name = name or basename(str(getattr(content, "name", "")))
    name = name or "upload"
    # A MimeTypes of its own has the table of Python, without the files of the machine.
    guessed = mimetypes.MimeTypes().guess_type(name)[0] or "application/octet-stream"
    return name, data, rest[0] if rest else guessed


def _quoted(text: str) -> str:
    """As browsers do it (HTML Standard, "multipart form data")."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
