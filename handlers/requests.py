"""A request as applications like it: arguments, cookies, JSON and forms taken apart.

It is the very object that the connection has made; an Application gives it this class (see
application.py), which costs less than an object around it. What is taken apart is kept, in the one
place that middlewares may leave things in as well, `state`.

A body is read once, whole, into `content`, and bounded by `Limits.memory_body_bytes`. Whoever is
`async def` says `await request.json()`; a plain endpoint is called when `content` is there, and
says `json_of(request)`. What cannot be read is the client's fault, and told in a sentence: 415 for
a type or an encoding that is none of ours, 400 for what is malformed in one that is.
"""

import codecs
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

import reactor
from handlers.forms import FormParser, Part, boundary_of
from reactor import Limits, ProtocolError

FORM_FIELDS: Final = 1000  # of a query or of a form that is no multipart
PIECE_BYTES: Final = 64 * 1024

_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_CHARSET: Final = re.compile(r';[ \t]*charset="?([A-Za-z0-9_.:-]+)"?', re.IGNORECASE)
_LIMITS: Final = Limits()


class Arguments:
    """Names and values, in their order; a name may come several times."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str, default: str = "") -> str:
        """The first value of this name."""
        return next((value for key, value in self._pairs if key == name), default)

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def __getitem__(self, name: str) -> str:
        """As `get`; raises ProtocolError(400) where there is none."""
        for key, value in self._pairs:
            if key == name:
                return value
        raise ProtocolError(400, f"The request has no argument {name!a}.")

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        return f"Arguments({self._pairs!r})"


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a form that is held in memory."""

    name: str  # as its sender calls it: one plain name
    media_type: str
    content: bytes


class Form(Arguments):
    """A form's fields, and its files by the names of their fields."""

    __slots__ = ("files",)

    def __init__(self, pairs: list[tuple[str, str]], files: list[tuple[str, UploadedFile]]) -> None:
        super().__init__(pairs)
        self.files = files

    def file(self, name: str) -> UploadedFile | None:
        """The first file of the field of this name."""
        return next((file for key, file in self.files if key == name), None)


class Request(reactor.Request):
    """`reactor.Request` and what can be made of it. Methods raise ProtocolError as said above."""

    __slots__ = ()

    @property
    def state(self) -> dict[str, Any]:
        """A place for middlewares to leave things, for as long as the request lasts."""
        try:
            state: dict[str, Any] = self._state
        except AttributeError:
            state = self._state = {}
        return state

    @property
    def args(self) -> Arguments:
        """The arguments in the query."""
        found: Arguments | None = self.state.get("reactor.args")
        if found is None:
            found = self.state["reactor.args"] = Arguments(parse_pairs(self.query))
        return found

    @property
    def cookies(self) -> dict[str, str]:
        """By name. Of several of one name the first counts: its path is longer (RFC 6265, 5.4)."""
        found: dict[str, str] | None = self.state.get("reactor.cookies")
        if found is None:
            value = ";".join(self.headers.get_all("cookie"))
            found = self.state["reactor.cookies"] = parse_cookies(value)
        return found

    async def read(self) -> bytes:
        """The whole body. Raises ProtocolError(413) for one that is too large for the memory."""
        if not self.content and self.length != 0:
            self.content = await self.body.read()
        return self.content

    async def text(self) -> str:
        """The body as text, of the charset that its type says, or UTF-8."""
        await self.read()
        return text_of(self)

    async def json(self) -> Any:
        """What the body says as JSON (RFC 8259)."""
        check_json_type(self)
        await self.read()
        return json_of(self)

    async def form(self) -> Form:
        """The fields and files of a form, of either of the two types that browsers send."""
        form_type(self)
        await self.read()
        return form_of(self)

    def parts(self, limits: Limits = _LIMITS) -> "AsyncIterator[Part | bytes]":
        """A form (multipart/form-data) as it comes: each Part, then its content piece by piece.

        Nothing is held but one piece; a part may be as long as `Limits.upload_bytes` lets the body
        be. Only `form_parts` and `form_head_bytes` of the limits count.
        """
        boundary = boundary_of(self.headers.get("content-type"))
        if boundary is None:
            raise _wrong_type("multipart/form-data")
        return _stream_parts(self, FormParser(boundary, limits.form_parts, limits.form_head_bytes))


async def _stream_parts(request: Request, parser: FormParser) -> AsyncIterator[Part | bytes]:
    while piece := await request.body.read(PIECE_BYTES):
        parser.feed(piece)
        while (event := parser.next_event()) is not None:
            if isinstance(event, Part | bytes):
                yield event
    parser.end()


# --- of what is there, for plain endpoints -------------------------------------------------------


def text_of(request: reactor.Request) -> str:
    """`content` as text. Raises ProtocolError: 415, 400."""
    _check_coding(request)
    match = _CHARSET.search(request.headers.get("content-type"))
    charset = match[1] if match else "utf-8"
    try:
        codec = codecs.lookup(charset)
        if not codec._is_text_encoding:  # base64 and its like
            raise LookupError
        return request.content.decode(codec.name)
    except LookupError:
        raise ProtocolError(415, f"The charset {charset!a} is not known here.") from None
    except UnicodeError:
        raise ProtocolError(400, f"The body is not {charset}.") from None


def json_of(request: reactor.Request) -> Any:
    """`content` as JSON. Raises ProtocolError: 415, 400."""
    check_json_type(request)
    try:
        return json.loads(text_of(request), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ProtocolError(400, f"The body is no JSON: {error.msg} at {place}.") from None
    except (ValueError, RecursionError) as error:
        raise ProtocolError(400, f"The body is no JSON: {_sentence(error)}") from None


def form_of(request: reactor.Request) -> Form:
    """`content` as a form. Raises ProtocolError: 415, 400, 413."""
    if form_type(request) == _FORM_TYPE:
        return Form(parse_pairs(text_of(request)), [])
    boundary = boundary_of(request.headers.get("content-type"))
    assert boundary is not None
    return _multipart(request.content, boundary)


def check_json_type(request: reactor.Request) -> None:
    """Raise ProtocolError(415) for a body that says that it is no JSON. One may say nothing."""
    kind = _media_type(request)
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise _wrong_type("application/json")
    _check_coding(request)


def form_type(request: reactor.Request) -> str:
    """Which of the two types of forms it has. Raises ProtocolError(415)."""
    kind = _media_type(request)
    if kind not in (_FORM_TYPE, "multipart/form-data"):
        raise _wrong_type(f"{_FORM_TYPE} or multipart/form-data")
    _check_coding(request)
    return kind


def _multipart(content: bytes, boundary: bytes) -> Form:
    parser = FormParser(boundary, _LIMITS.form_parts, _LIMITS.form_head_bytes)
    parser.feed(content)
    found: list[tuple[Part, list[bytes]]] = []
    while (event := parser.next_event()) is not None:
        if isinstance(event, Part):
            found.append((event, []))
        elif isinstance(event, bytes):
            found[-1][1].append(event)
    parser.end()
    files, pairs = [], []
    for part, pieces in found:
        data = b"".join(pieces)
        if part.filename is None:
            pairs.append((part.name, _field_text(part.name, data)))
        elif part.filename or data:
            files.append((part.name, UploadedFile(part.filename, part.media_type, data)))
    return Form(pairs, files)


def _field_text(name: str, data: bytes) -> str:
    try:
        return data.decode()  # RFC 7578, section 5.1.2, and what browsers send
    except UnicodeDecodeError:
        raise ProtocolError(400, f"The field {name!a} of the form is not UTF-8.") from None


# --- pure functions ------------------------------------------------------------------------------


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """`a=1&b=2` (URL Standard, section 5.1). Raises ProtocolError: 400 for what is no UTF-8."""
    if not text:
        return []
    pairs = text.split("&")
    if len(pairs) > FORM_FIELDS:
        raise ProtocolError(413, f"There may be {FORM_FIELDS} fields at most.")
    return [
        (_unquote(name), _unquote(value))
        for name, _, value in (pair.partition("=") for pair in pairs if pair)
    ]


def _unquote(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise ProtocolError(400, "The fields are not UTF-8.") from None


def parse_cookies(value: str) -> dict[str, str]:
    """A Cookie field (RFC 6265, section 4.2.1); pieces without a name are passed over."""
    found: dict[str, str] = {}
    for pair in value.split(";"):
        name, equals, text = pair.strip(" \t").partition("=")
        if equals and name and name not in found:
            found[name] = text.strip('"')
    return found


def _media_type(request: reactor.Request) -> str:
    return request.headers.get("content-type").partition(";")[0].strip(" \t").lower()


def _check_coding(request: reactor.Request) -> None:
    coding = request.headers.get("content-encoding").lower()
    if coding not in ("", "identity"):
        accept = [("Accept-Encoding", "identity")]
        raise ProtocolError(415, f"A body in the coding {coding!a} is not taken here.", accept)


def _wrong_type(wanted: str) -> ProtocolError:
    return ProtocolError(415, f"The body's Content-Type is to be {wanted}.")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no value.")


def _sentence(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "It is nested too deeply."
    return str(error)
