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
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from reactor.messages.headers import Fields
from reactor.messages.response import Response, close_pieces
from reactor.protocol.response_encoder import FieldBlock
from reactor.web.streams import BodyStream, close_source

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
        close_pieces(self._source)


class _AsyncText(BodyStream):
    def __init__(self, source: AsyncIterator[bytes | str]) -> None:
        self._source = source

    async def next_piece(self) -> bytes:
        return _as_bytes(await anext(self._source))

    async def aclose(self) -> None:
        await close_source(self._source)
