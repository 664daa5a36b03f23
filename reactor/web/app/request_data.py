"""What a request carries, decoded: text, JSON, forms, query arguments, cookies.

Pure functions of a request's fields and bytes. Each raises ProtocolError (400, 413, 414 or 415)
for data that is not what its Content-Type says.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf
from typing import Any, Final
from urllib.parse import unquote_plus

from reactor.errors import ProtocolError
from reactor.limits import Limits
from reactor.messages.request import Request
from reactor.web.semantics.multipart import FormParser, FormPart, boundary_of, parse_parameters

_DEFAULT_LIMITS: Final = Limits()
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
# Those of browsers (Encoding Standard, section 4.2), and no other codec of Python: some of them
# are slow with bytes that are made for it (punycode, idna), some are no charsets; and Python
# remembers every name that it was asked for in vain.
_CHARSETS: Final = frozenset(
    (
        *("utf-8", "utf8", "us-ascii", "ascii", "latin1", "macintosh", "koi8-r", "koi8-u"),
        *(f"iso-8859-{number}" for number in range(1, 17) if number != 12),
        *(f"windows-{number}" for number in range(1250, 1259)),
        *("utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be"),
        *("shift_jis", "euc-jp", "iso-2022-jp", "euc-kr", "gb2312", "gbk", "gb18030", "big5"),
    )
)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")  # an escape in JSON; mostly one of a pair


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
        return f"{type(self).__name__}({self._pairs!r})"


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


def text_of(request: Request) -> str:
    """`content` as text, without a BOM. Raises ProtocolError: 415, 400."""
    charset = charset_of(request)
    try:
        return request.content.decode(charset).removeprefix("\ufeff")
    except UnicodeError:
        raise ProtocolError(400, f"The body is not {charset}.") from None


def json_of(request: Request) -> Any:
    """`content` as JSON (RFC 8259). Raises ProtocolError: 415, 400.

    Of several members of one name the last counts. What another implementation might not take
    back is refused: NaN and Infinity, in words or in digits, a whole number of more than 4,300
    digits, half a surrogate pair, and some hundreds of levels.
    """
    check_json_type(request)
    text = text_of(request)
    try:
        value = _DECODER.decode(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _no_json(f"{error.msg} at {place}.") from None
    except RecursionError:
        raise _no_json("It is nested too deeply.") from None
    except UnicodeEncodeError:
        raise _no_json("It has one half of a surrogate pair.") from None
    except ValueError:  # of int()
        raise _no_json("A number in it has too many digits.") from None
    return value


def form_of(request: Request) -> Form:
    """`content` as a form. Raises ProtocolError: 415, 400, 413."""
    if form_type(request) != _FORM_TYPE:
        boundary = boundary_of(request.headers.get("content-type"))
        assert boundary is not None
        return _multipart(request.content, form_parser(request, boundary))
    # It is UTF-8, whatever its type says: it has no parameters (HTML, section "URL-encoded form
    # data", and the type's registration).
    try:
        text = request.content.decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None
    return Form(parse_pairs(text, limits_of(request).form_parts), [])


def check_json_type(request: Request) -> None:
    """Raise ProtocolError(415) for a body that says that it is no JSON. One may say nothing."""
    kind = _media_type(request)
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise wrong_type("application/json")
    charset_of(request)


def check_coding(request: Request) -> None:
    """Raise ProtocolError(415) for a body that is compressed (RFC 9110, section 8.4)."""
    coding = request.headers.get("content-encoding").lower()
    if coding not in ("", "identity"):
        accept = [("Accept-Encoding", "identity")]  # section 12.5.3
        raise ProtocolError(415, f"A body in the coding {coding!a} is not taken here.", accept)


def charset_of(request: Request) -> str:
    """What its text is written in. Raises ProtocolError: 415 for what is not known, 400."""
    check_coding(request)
    _, semicolon, rest = request.headers.get("content-type").partition(";")
    parameters = parse_parameters(semicolon + rest)
    if parameters is None:
        raise ProtocolError(400, "The parameters of the Content-Type are malformed.")
    charset = parameters.get("charset", "utf-8").lower()
    if charset not in _CHARSETS:
        raise ProtocolError(415, f"The charset {charset!a} is not known here.")
    return charset


def form_type(request: Request) -> str:
    """Which of the two types of forms it has. Raises ProtocolError(415)."""
    kind = _media_type(request)
    if kind not in (_FORM_TYPE, "multipart/form-data"):
        raise wrong_type(f"{_FORM_TYPE} or multipart/form-data")
    check_coding(request)
    return kind


def _multipart(content: bytes, parser: FormParser) -> Form:
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
        return data.decode()  # RFC 7578, section 5.1.2, and what browsers send
    except UnicodeDecodeError:
        raise ProtocolError(400, f"The field {name!a} of the form is not UTF-8.") from None


def parse_pairs(text: str, most: int, too_many: int = 413) -> list[tuple[str, str]]:
    """`a=1&b=2` (URL Standard, section 5.1); a % that encodes nothing stands for itself.

    Raises ProtocolError: 400 for what is no UTF-8, `too_many` where there are more than `most`.
    """
    if text.count("&") >= most:
        raise ProtocolError(too_many, f"There may be {most} fields at most.")
    return [
        (_unquote(name), _unquote(value))
        for name, _, value in (pair.partition("=") for pair in text.split("&") if pair)
    ]


def _unquote(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise _not_utf8() from None


def parse_cookies(value: str) -> dict[str, str]:
    """A Cookie field (RFC 6265, section 4.2.1); pieces without a name are passed over.

    Quotes around a value are no part of it. What is beyond ASCII is UTF-8, as browsers send it.
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


def _media_type(request: Request) -> str:
    return request.headers.get("content-type").partition(";")[0].strip(" \t").lower()


def wrong_type(wanted: str) -> ProtocolError:
    return ProtocolError(415, f"The body's Content-Type is to be {wanted}.")


def _not_utf8() -> ProtocolError:
    return ProtocolError(400, "The fields are not UTF-8.")


def _no_json(sentence: str) -> ProtocolError:
    return ProtocolError(400, f"The body is no JSON: {sentence}")


def _refuse_constant(name: str) -> float:
    raise _no_json(f"{name} is no value.")


def _finite(digits: str) -> float:
    """`1e999` would be another way of saying Infinity (RFC 8259, section 6)."""
    number = float(digits)
    if isinf(number):
        raise _no_json("A number in it is too large.")
    return number


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def limits_of(request: Request) -> Limits:
    """The limits of a request that may have no application."""
    limits: Limits = getattr(request, "limits", _DEFAULT_LIMITS)
    return limits


def form_parser(request: Request, boundary: bytes) -> FormParser:
    limits = limits_of(request)
    return FormParser(boundary, limits.form_parts, limits.form_head_bytes)
