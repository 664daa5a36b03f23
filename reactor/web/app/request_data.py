"""The data of a request, decoded: text, JSON, forms, query arguments, cookies.

Pure functions of a request's header fields and bytes. Each raises ProtocolError for data that does
not fit its Content-Type: 400 if it is malformed, 413 or 414 if there is too much of it, 415
for a type, a charset or a content coding that is not supported. `content` has to be there: a plain
endpoint is called when it is, and an `async def` uses the methods of Request (app/requests.py). A
body that has not been read is a RuntimeError.

Everything that is decoded can be encoded again, as UTF-8 or as JSON; data that could not be is
refused.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf
from typing import Any, ClassVar, Final, TypeVar, overload

from reactor.errors import ProtocolError
from reactor.messages.kinds import Kind, convert, missing
from reactor.messages.request import BaseRequest
from reactor.web.limits import Limits
from reactor.web.semantics.form_encoding import decode_component
from reactor.web.semantics.multipart import FormParser, FormPart, boundary_of, parse_parameters

T = TypeVar("T")
K = TypeVar("K")

_NOT_GIVEN: Final = object()
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
# The charsets of browsers (Encoding Standard, section 4.2), and no other codec of Python: some are
# slow with bytes that are made for it (punycode, idna), some are no charsets; and Python caches
# every unknown name that it was asked for.
_CHARSETS: Final = frozenset(
    (
        *("utf-8", "utf8", "us-ascii", "ascii", "latin1", "macintosh", "koi8-r", "koi8-u"),
        *(f"iso-8859-{number}" for number in range(1, 17) if number != 12),
        *(f"windows-{number}" for number in range(1250, 1259)),
        *("utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be"),
        *("shift_jis", "euc-jp", "iso-2022-jp", "euc-kr", "gb2312", "gbk", "gb18030", "big5"),
    )
)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")  # an escape in JSON, mostly one of a pair


class Arguments:
    """Names and values in their order; a name may occur several times.

    `request.args` is one, and so is a Form. Iterating yields (name, value) pairs.
    """

    __slots__ = ("_pairs",)

    _place: ClassVar[str] = "argument"  # in the sentence of an error

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    @overload
    def get(self, name: str, default: str = "") -> str: ...
    @overload
    def get(self, name: str, default: T) -> str | T: ...
    @overload
    def get(self, name: str, *, kind: Kind[K]) -> K | None: ...
    @overload
    def get(self, name: str, default: T, *, kind: Kind[K]) -> K | T: ...
    def get(
        self, name: str, default: object = _NOT_GIVEN, *, kind: Kind[Any] | None = None
    ) -> object:
        """The first value of this name, or `default`, which is "".

            page = request.args.get("page", 1, kind=int)

        With a `kind`, the value of that kind: int, float, bool, Decimal, UUID, date, datetime, an
        Enum (by its values), or any callable that raises ValueError for a text that it does not
        accept. The default is None then. Raises ArgumentError for a text that is not of the kind:
        a 400 that names the argument, what was given and what is accepted.
        """
        for key, value in self._pairs:
            if key == name:
                return value if kind is None else convert(value, kind, self._place, name)
        if default is _NOT_GIVEN:
            return "" if kind is None else None
        return default

    @overload
    def get_all(self, name: str) -> list[str]: ...
    @overload
    def get_all(self, name: str, kind: Kind[K]) -> list[K]: ...
    def get_all(self, name: str, kind: Kind[Any] = str) -> list[Any]:
        """All values of this name, in their order. Raises ArgumentError as `get` does."""
        return [
            convert(value, kind, self._place, name) for key, value in self._pairs if key == name
        ]

    @overload
    def require(self, name: str) -> str: ...
    @overload
    def require(self, name: str, kind: Kind[K]) -> K: ...
    def require(self, name: str, kind: Kind[Any] = str) -> object:
        """The first value of this name, of this kind. Raises ArgumentError if there is none."""
        for key, value in self._pairs:
            if key == name:
                return convert(value, kind, self._place, name)
        raise missing(self._place, name, kind)

    def __getitem__(self, name: str) -> str:
        """The first value of this name. Raises ArgumentError, a 400, if there is none."""
        return self.require(name)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._pairs!r})"


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a form, held in memory.

    `name` is the file name from the client, one plain name without a directory; `media_type`
    is the client's word for the type; `content` are its bytes.
    """

    name: str
    media_type: str
    content: bytes


class Form(Arguments):
    """The text fields of a form as Arguments, and its uploaded files.

    `files` is a list of (field name, UploadedFile) pairs, in their order.
    """

    __slots__ = ("files",)

    _place = "form field"

    def __init__(self, pairs: list[tuple[str, str]], files: list[tuple[str, UploadedFile]]) -> None:
        super().__init__(pairs)
        self.files = files

    def file(self, name: str) -> UploadedFile | None:
        """The first file of the field of this name, or None."""
        return next((file for key, file in self.files if key == name), None)

    def require_file(self, name: str) -> UploadedFile:
        """The first file of the field of this name. Raises ArgumentError if there is none."""
        if (found := self.file(name)) is None:
            raise missing("file", name)
        return found


# --- text and JSON -------------------------------------------------------------------------------


def text_of(request: BaseRequest) -> str:
    """`request.content` as text, without a byte order mark.

    The charset is that of the Content-Type, or UTF-8. Raises ProtocolError: 415 for an unknown
    charset or an encoded body, 400 for bytes that are not in the charset.
    """
    charset = charset_of(request)
    try:
        return _content_of(request).decode(charset).removeprefix("\ufeff")
    except UnicodeError:
        raise ProtocolError(400, f"The body is not valid {charset}.") from None


def json_of(request: BaseRequest) -> Any:
    """`request.content` as JSON (RFC 8259): dict, list, str, int, float, bool or None.

    The last of several members with one name counts. JSON that another implementation might not
    accept is refused: NaN and Infinity, in words or in digits, an integer of more than 4,300
    digits, half of a surrogate pair, and some hundreds of levels. Raises ProtocolError: 415 for
    another Content-Type, 400 for malformed JSON.
    """
    check_json_type(request)
    text = text_of(request)
    try:
        value = _DECODER.decode(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _not_json(f"{error.msg} at {place}.") from None
    except RecursionError:
        raise _not_json("It is nested too deeply.") from None
    except UnicodeEncodeError:
        raise _not_json("It has one half of a surrogate pair.") from None
    except ValueError:  # from int()
        raise _not_json("A number in it has too many digits.") from None
    return value


def check_json_type(request: BaseRequest) -> None:
    """Raise ProtocolError (415) for a Content-Type other than JSON. A missing one is accepted."""
    media_type = _media_type(request)
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise unsupported_type("application/json")
    charset_of(request)


def charset_of(request: BaseRequest) -> str:
    """The charset of the body, in lower case.

    Raises ProtocolError: 415 for an unknown charset or an encoded body, 400 for a malformed
    Content-Type.
    """
    check_coding(request)
    _, semicolon, rest = request.headers.get("content-type").partition(";")
    parameters = parse_parameters(semicolon + rest)
    if parameters is None:
        raise ProtocolError(400, "The parameters of the Content-Type are malformed.")
    charset = parameters.get("charset", "utf-8").lower()
    if charset not in _CHARSETS:
        raise ProtocolError(415, f"The charset {charset!a} is not supported.")
    return charset


def check_coding(request: BaseRequest) -> None:
    """Raise ProtocolError (415) for a body with a content coding (RFC 9110, section 8.4)."""
    coding = request.headers.get("content-encoding").lower()
    if coding not in ("", "identity"):
        accept = [("Accept-Encoding", "identity")]  # section 12.5.3
        raise ProtocolError(415, f"The content coding {coding!a} is not supported here.", accept)


def _refuse_constant(name: str) -> float:
    raise _not_json(f"{name} is not a JSON value.")


def _finite(digits: str) -> float:
    """`1e999` would be another way of writing Infinity (RFC 8259, section 6)."""
    number = float(digits)
    if isinf(number):
        raise _not_json("A number in it is too large.")
    return number


def _content_of(request: BaseRequest) -> bytes:
    """`request.content`. Raises RuntimeError where the request has a body that was not read."""
    if not request.content and request.length != 0 and not request.body.ended:
        raise RuntimeError(
            f"the body of {request!r} has not been read: mark the endpoint with @reads_body, or "
            "make it an `async def` that awaits request.read()"
        )
    return request.content


def _not_json(sentence: str) -> ProtocolError:
    return ProtocolError(400, f"The body is not valid JSON: {sentence}")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


# --- forms ---------------------------------------------------------------------------------------


def form_of(request: BaseRequest) -> Form:
    """`request.content` as a form, of either of the two types that browsers send.

    Raises ProtocolError: 415 for another Content-Type, 400 for a malformed form, 413 for more
    fields than `Limits.form_parts`.
    """
    if form_type(request) != _FORM_TYPE:
        boundary = boundary_of(request.headers.get("content-type"))
        assert boundary is not None
        return _parse_multipart(_content_of(request), form_parser(request, boundary))
    # The type has no charset parameter and is always UTF-8 (HTML, section "URL-encoded form data",
    # and the type's registration).
    try:
        text = _content_of(request).decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None
    return Form(parse_pairs(text, limits_of(request).form_parts), [])


def form_type(request: BaseRequest) -> str:
    """The media type of the form, one of two. Raises ProtocolError (415) for any other."""
    media_type = _media_type(request)
    if media_type not in (_FORM_TYPE, "multipart/form-data"):
        raise unsupported_type(f"{_FORM_TYPE} or multipart/form-data")
    check_coding(request)
    return media_type


def limits_of(request: BaseRequest) -> Limits:
    """The limits of the request's server."""
    return Limits.of(request.limits)


def form_parser(request: BaseRequest, boundary: bytes) -> FormParser:
    """A parser of multipart/form-data with the limits of the request's server."""
    limits = limits_of(request)
    return FormParser(boundary, limits.form_parts, limits.form_head_bytes)


def _parse_multipart(content: bytes, parser: FormParser) -> Form:
    parser.feed(content)
    found: list[tuple[FormPart, list[bytes]]] = []
    while (event := parser.next_event()) is not None:
        if isinstance(event, FormPart):
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
        return data.decode()  # RFC 7578, section 5.1.2, and the practice of browsers
    except UnicodeDecodeError:
        raise ProtocolError(400, f"A field of the form is not UTF-8: {name!a}.") from None


# --- query arguments and cookies -----------------------------------------------------------------


def parse_pairs(text: str, limit: int, status: int = 413) -> list[tuple[str, str]]:
    """The pairs of `a=1&b=2` (URL Standard, section 5.1); a lone % stands for itself.

    Raises ProtocolError: 400 for bytes that are not UTF-8, `status` for more than `limit` pairs.
    """
    if text.count("&") >= limit:
        raise ProtocolError(status, f"There may be {limit} fields at most.")
    return [
        (_decoded(name), _decoded(value))
        for name, _, value in (pair.partition("=") for pair in text.split("&") if pair)
    ]


def parse_cookies(value: str) -> dict[str, str]:
    """The cookies of a Cookie field (RFC 6265, section 4.2.1), by name.

    The first of one name counts, and pieces without a name are skipped. Quotes around a value are
    not part of it. Bytes beyond ASCII are UTF-8, as browsers send them.
    """
    found: dict[str, str] = {}
    if not value.isascii():
        value = value.encode("latin-1").decode(errors="replace")
    for pair in value.split(";"):
        name, equals, text = pair.partition("=")
        name, text = name.strip(" \t"), text.strip(" \t")
        if equals and name and name not in found:
            quoted = len(text) > 1 and text[0] == text[-1] == '"'
            found[name] = text[1:-1] if quoted else text
    return found


def _decoded(text: str) -> str:
    try:
        return decode_component(text)
    except UnicodeDecodeError:
        raise _not_utf8() from None


# --- shared --------------------------------------------------------------------------------------


def unsupported_type(wanted: str) -> ProtocolError:
    """A 415 that names the Content-Type that is accepted."""
    return ProtocolError(415, f"The body's Content-Type must be {wanted}.")


def _media_type(request: BaseRequest) -> str:
    return request.headers.get("content-type").partition(";")[0].strip(" \t").lower()


def _not_utf8() -> ProtocolError:
    return ProtocolError(400, "The fields are not UTF-8.")
