"""Responses of the usual kinds, and a Response made of the result of an endpoint.

An endpoint returns a Response, or a value that one is made of: text, bytes, a dict, a list or a
dataclass (JSON, see app/json_encoder.py), a tuple of a status and one of these, with header fields
behind it if wanted, or a generator, whose pieces are sent as they come. Header fields are given as
pairs or as a mapping, and a Content-Type among them replaces the usual one. `None` is a body beside
a status that has none: 204, 205, 304.

Any other value is a mistake, and most mistakes are of a few kinds (see http/wrong_results.py): the
error names the function that has returned the value, and the likely cause.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from reactor.http.wrong_results import shown
from reactor.messages.headers import Fields, GivenFields, as_pairs
from reactor.messages.response import WITHOUT_BODY, Response, close_pieces
from reactor.protocol.response_encoder import FieldBlock
from reactor.web.app.json_encoder import encode_json, is_record
from reactor.web.app.wrong_results import WrongResult, named, wrong_result
from reactor.web.streams import BodyStream, close_source

Stream: TypeAlias = Iterator[bytes | str] | AsyncIterator[bytes | str]

_TEXT: Final = FieldBlock([("Content-Type", "text/plain; charset=utf-8")])
_HTML: Final = FieldBlock([("Content-Type", "text/html; charset=utf-8")])
_JSON: Final = FieldBlock([("Content-Type", "application/json")])
_BYTES: Final = FieldBlock([("Content-Type", "application/octet-stream")])
_URL_CHARACTERS: Final = "!#$%&'()*+,/:;=?@[]~"  # those that `redirect` leaves as they are


# --- responses of one kind -----------------------------------------------------------------------


def text(body: str, status: int = 200, headers: GivenFields = ()) -> Response:
    """A response of plain text, encoded as UTF-8.

    A Content-Type in `headers` replaces `text/plain; charset=utf-8`. Raises UnicodeEncodeError for
    text with half of a surrogate pair.
    """
    return Response(status, body.encode(), _typed(_TEXT, headers) if headers else _TEXT)


def html(body: str, status: int = 200, headers: GivenFields = ()) -> Response:
    """A response of HTML, encoded as UTF-8.

    Nothing is escaped: data from a client has to pass through `html.escape` before it is put into
    the page.
    """
    return Response(status, body.encode(), _typed(_HTML, headers) if headers else _HTML)


def json(value: Any, status: int = 200, headers: GivenFields = ()) -> Response:
    """A response of `value` as JSON (RFC 8259), without spaces, encoded as UTF-8.

    Beside the types of JSON it may contain dataclasses, dates and times (ISO 8601), UUIDs, Decimals
    (both as text) and enums (their values). Raises TypeError for other types, and ValueError for
    NaN, infinity and a value that contains itself.
    """
    return Response(status, encode_json(value), _typed(_JSON, headers) if headers else _JSON)


def redirect(location: str, status: int = 303, headers: GivenFields = ()) -> Response:
    """A redirect to a path or a URL (RFC 9110, section 15.4).

    303 has the client fetch the location by GET, as after a form; 301 and 308 are permanent; 307
    and 308 keep the method. Characters that cannot be in a URL are percent-encoded, and nothing
    else is checked: `//evil.example` is another server, so a location that a client has sent needs
    a look before it is used. Raises ValueError for a status that is not 301, 302, 303, 307 or 308.
    """
    if status not in (301, 302, 303, 307, 308):
        raise ValueError(f"{status} is no redirect; use 301, 302, 303, 307 or 308")
    location = quote(location, safe=_URL_CHARACTERS)
    return Response(status, b"", (("Location", location), *as_pairs(headers)))


def stream(
    pieces: Stream, content_type: str = _TEXT[0][1], status: int = 200, headers: GivenFields = ()
) -> Response:
    """A response whose body is made while it is sent.

        rows = (f"{number};{number**2}\\n" for number in range(100))
        return stream(rows, "text/csv; charset=utf-8")

    `pieces` is an iterator or asynchronous iterator of bytes or text. It is asked for the next
    piece when the one before has left, and closed when the client leaves. A plain iterator runs on
    the loop: it should take no longer than a few milliseconds for a piece. Raises TypeError for any
    other object.
    """
    body: Iterator[bytes] | AsyncIterator[bytes]
    if isinstance(pieces, AsyncIterator):
        body = AsyncEncodedPieces(pieces)
    elif hasattr(pieces, "__next__"):
        body = _EncodedPieces(pieces)
    else:
        raise TypeError(f"a stream is an iterator, not {type(pieces).__name__}")
    return Response(status, body, _typed((("Content-Type", content_type),), headers))


# --- the result of an endpoint -------------------------------------------------------------------


def respond(value: Any, function: object = None, role: str = "endpoint") -> Response:
    """A Response made of the result of a function: of an endpoint, or an error handler.

    Raises TypeError for any other value, and ValueError for data that JSON or UTF-8 does not have.
    The error names the function.
    """
    try:
        if isinstance(value, str):
            return Response(200, value.encode(), _TEXT)
        if isinstance(value, Response):
            return value
        if isinstance(value, dict | list):
            return json(value)
        if isinstance(value, bytes):
            return Response(200, value, _BYTES)
        if isinstance(value, tuple):
            return _respond_with(value, function, role)
        if is_record(value):
            return json(value)
        if hasattr(value, "__anext__") or hasattr(value, "__next__"):
            return stream(value)
    except WrongResult:
        raise
    except (TypeError, ValueError) as error:
        if not hasattr(error, "__notes__"):
            error.add_note(f"It is about the result of {named(function, role)}.")
        raise
    raise wrong_result(function, role, value)


def _respond_with(value: tuple[Any, ...], function: object, role: str) -> Response:
    """The response of a status, a body and header fields. Raises WrongResult for other members."""
    count = len(value)
    if not 1 <= count <= 3 or not isinstance(value[0], int) or isinstance(value[0], bool):
        raise wrong_result(function, role, value)
    status = int(value[0])
    body = value[1] if count > 1 else b""
    given = as_pairs(value[2]) if count > 2 else ()
    if (isinstance(body, bytes) and not body) or (body is None and status in WITHOUT_BODY):
        return Response(status, b"", given)
    if status == 204 and body != "":
        raise wrong_result(function, role, value)
    try:
        if isinstance(body, tuple):
            raise WrongResult
        response = respond(body, function, role)
    except WrongResult:
        raise wrong_result(function, role, value) from None
    fields = without_types(response.headers) if types_in(given) else response.headers
    return Response(status, response.body, (*fields, *given))


# --- header fields as they are given -------------------------------------------------------------


def types_in(fields: Fields) -> list[str]:
    """The values of all Content-Type fields."""
    return [value for name, value in fields if name.lower() == "content-type"]


def without_types(fields: Fields) -> Fields:
    """All other fields than Content-Type."""
    return tuple(field for field in fields if field[0].lower() != "content-type")


def _typed(usual: Fields, headers: GivenFields) -> Fields:
    """The fields, behind the usual Content-Type if they have none of their own."""
    given = as_pairs(headers)
    return given if types_in(given) else (*usual, *given)


# --- the pieces of a stream ----------------------------------------------------------------------


def _encoded(piece: Any, source: object) -> bytes:
    """A piece as bytes. Raises TypeError for another type, and names the generator."""
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, bytes | memoryview):
        return piece  # type: ignore[return-value]
    raise TypeError(
        f"a piece of a stream is bytes or text, not {shown(piece)}, which {_name_of(source)} yields"
    )


def _name_of(source: Any) -> str:
    code = getattr(source, "gi_code", None) or getattr(source, "ag_code", None)
    if code is None:
        return f"the {type(source).__name__}"
    return f"{code.co_qualname} ({code.co_filename}, line {code.co_firstlineno})"


class _EncodedPieces(Iterator[bytes]):
    """Pieces as bytes. A generator would not close its source if it was never begun."""

    def __init__(self, source: Iterator[bytes | str]) -> None:
        self._source = source

    def __next__(self) -> bytes:
        try:
            piece = next(self._source)
        except StopIteration as end:
            if end.value is not None:
                raise TypeError(
                    f"{_name_of(self._source)} is a generator, since it has a `yield`: its "
                    f"`return {shown(end.value)}` makes no response. Raise a ProtocolError in its "
                    "place, or return a stream(...) of another generator"
                ) from None
            raise
        return _encoded(piece, self._source)

    def close(self) -> None:
        close_pieces(self._source)


class AsyncEncodedPieces(BodyStream):
    """The same for an asynchronous source."""

    def __init__(self, source: AsyncIterator[bytes | str]) -> None:
        self._source = source

    async def next_piece(self) -> bytes:
        return _encoded(await anext(self._source), self._source)

    async def aclose(self) -> None:
        await close_source(self._source)
