"""Encodes responses: their heads, how their bodies are framed, and trailers.

The fields that a handler sets are checked once and cached, since most come again with the next
response. The four fields that frame and date a response (RFC 9112, sections 6 and 9) are written
here. A handler may set Content-Length and `Connection: close` where they hold; for every other use
of these fields ResponseError is raised.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import starmap
from typing import Final, NamedTuple

from reactor.errors import ResponseError
from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, ResponseBody, Trailed
from reactor.protocol.grammar import TOKEN, VALUE, list_members
from reactor.protocol.reason_phrases import reason_phrase

CLOSE: Final = b"Connection: close\r\n"
KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"

_LENGTH: Final = b"Content-Length: %d\r\n"
# Formatting an int takes five times as long as finding its line here.
_LENGTHS: Final = tuple(_LENGTH % length for length in range(1000))
_FIELD = re.compile(rb"(%b++): (%b*+)\r\n" % (TOKEN, VALUE))
_FRAMING_NAMES: Final = {"content-length", "transfer-encoding", "connection", "date"}
# These fields must be known before the content (RFC 9110, section 6.5.1): framing, routing,
# modifiers and controls, authentication (cookies are of that kind). So must those that begin with
# `content-`, which describe its format; a digest does not, and may follow (RFC 9530, section 2).
_NO_TRAILERS: Final = {
    *_FRAMING_NAMES,
    *("trailer", "te", "upgrade", "keep-alive", "proxy-connection"),
    *("host", "max-forwards", "via", "location", "forwarded"),
    *("cache-control", "pragma", "expires", "age", "vary", "warning", "retry-after"),
    *("expect", "range", "accept-ranges", "if-match", "if-none-match", "if-range"),
    *("if-modified-since", "if-unmodified-since"),
    *("authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate"),
    *("cookie", "set-cookie"),
}


class Declared(NamedTuple):
    """The framing that a handler's own fields declare."""

    length: int | None = None
    close: bool = False


class FieldBlock(tuple[tuple[str, str], ...]):
    """Fields of a response that is sent many times: checked and encoded once.

    Raises ResponseError for a malformed field, and for one that the server writes itself.
    """

    lines: bytes

    def __new__(cls, fields: Iterable[tuple[str, str]]) -> "FieldBlock":
        block = super().__new__(cls, fields)
        for name, _ in block:
            if name.lower() in _FRAMING_NAMES:
                raise ResponseError(
                    f"{name} depends on the response, and cannot be in a FieldBlock"
                )
        block.lines = b"".join(starmap(_checked_line, block))
        return block


class _FramingFieldError(Exception):
    """No error, but a sign that the field must be looked at each time."""


@lru_cache(maxsize=256)
def _field_lines(fields: tuple[tuple[str, str], ...]) -> bytes:
    """The lines of all fields of a response, which mostly are a constant of the handler."""
    return b"".join(starmap(_field_line, fields))


@lru_cache(maxsize=256)
def _field_line(name: str, value: str) -> bytes:
    if name.lower() in _FRAMING_NAMES:
        raise _FramingFieldError
    return _checked_line(name, value)


def _checked_line(name: str, value: str) -> bytes:
    if not isinstance(name, str) or not isinstance(value, str):  # a None would be sent as the word
        raise ResponseError(f"a header field is a pair of texts, not {name!r}: {value!r}")
    try:
        line = f"{name}: {value}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        line = b""
    match = _FIELD.fullmatch(line)
    if match is None or match.end(1) != len(name) or match[2] != match[2].strip(b" \t"):
        raise ResponseError(f"this is not a header field: {name!r}: {value!r}")
    return line


def _encode_with_framing(fields: Sequence[tuple[str, str]]) -> tuple[bytes, Declared]:
    lines = []
    declared = Declared()
    for name, value in fields:
        folded = name.lower()
        if folded == "content-length":
            if declared.length is not None or not re.fullmatch("[0-9]{1,19}", value):
                raise ResponseError(
                    f"Content-Length must be one number of at most 19 digits, not {value!r}"
                )
            declared = declared._replace(length=int(value))
        elif folded == "connection" and value.lower() == "close":
            declared = declared._replace(close=True)
        elif folded in _FRAMING_NAMES:
            raise ResponseError(f"the server writes this field itself: {name}: {value}")
        else:
            lines.append(_checked_line(name, value))
    return b"".join(lines), declared


def encode_head(
    status_line: bytes, request: BaseRequest, response: Response, keep_alive: bool
) -> tuple[bytes, int | None, bool]:
    """Encode the head of a response.

    Returns the head, the length of the body (None: until the last chunk or close), and whether the
    connection is kept. Raises ResponseError for a malformed field (a CR, an LF, a character beyond
    Latin-1) and for a declared length that is not the body's.
    """
    body, status = response.body, response.status
    length = len(body) if isinstance(body, bytes) else _size(body)
    headers = response.headers
    try:
        if isinstance(headers, FieldBlock):
            fields = headers.lines
        else:
            fields = _field_lines(headers if isinstance(headers, tuple) else tuple(headers))
    except TypeError:
        raise ResponseError(f"header fields must be pairs of strings, not {headers!r}") from None
    except _FramingFieldError:
        fields, declared = _encode_with_framing(headers)
        length = _declared_length(declared, length, request, status)
        keep_alive = keep_alive and not declared.close
    if status < 200 or 204 <= status <= 205:
        framing, length = _framing_of_nothing(status, length)
    elif length is not None:
        # The length of a 304 is that of the 200 in its place, which 0 is not.
        if status == 304 and not length:
            framing = b""
        elif length < len(_LENGTHS):
            framing = _LENGTHS[length]
        else:
            framing = _LENGTH % length
    elif request.method == "HEAD":
        framing = b""
    elif request.minor:
        framing = CHUNKED
        if isinstance(body, Trailed) and status != 304 and takes_trailers(request, body):
            framing += _announcement(body.announced) if body.announced else b""
    else:
        framing = b""
        keep_alive = False  # the body ends with the connection (RFC 9112, section 6.3)
    connection = CLOSE if not keep_alive else b"" if request.minor else KEEP_ALIVE
    head = b"".join((status_line, fields, framing, connection, b"\r\n"))
    return head, length, keep_alive


def _framing_of_nothing(status: int, length: int | None) -> tuple[bytes, int]:
    """The framing of a response that never has a body, and its length. Raises ResponseError.

    A 205 has the client clear its form; the body that a handler returns with it is not sent
    (RFC 9110, section 15.3.6). A 204 with a body is a mistake that costs data, so it is an error.
    """
    if status == 205:
        return b"Content-Length: 0\r\n", 0
    if status < 200:
        raise ResponseError(f"a final response cannot have the status {status}")
    if length != 0:
        raise ResponseError(f"a response with the status {status} cannot have a body")
    return b"", 0


def encode_informational(status: int, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Encode a head that comes before the final one. Raises ResponseError as `encode_head` does."""
    if not 100 <= status <= 199 or status == 101:
        raise ResponseError(f"an informational status is 100 to 199 and not 101: {status!r}")
    try:
        fields = _field_lines(tuple(headers))
    except TypeError:
        raise ResponseError(f"header fields must be pairs of strings, not {headers!r}") from None
    except _FramingFieldError:
        raise ResponseError(
            f"an informational response cannot have framing fields: {headers!r}"
        ) from None
    phrase = reason_phrase(status).encode()
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, phrase, fields)


def takes_trailers(request: BaseRequest, body: ResponseBody) -> bool:
    """Whether the body has trailers and the client accepts them.

    It accepts them by `TE: trailers` (RFC 9110, section 10.1.4): a member of a list, without a
    weight.
    """
    if not isinstance(body, Trailed):
        return False
    return "trailers" in list_members(request.headers.get("te").lower())


def encode_trailers(fields: Fields) -> bytes:
    """Encode trailers. Raises ResponseError for a malformed field or a forbidden one."""
    try:
        return b"".join(starmap(_trailer_line, fields))
    except TypeError:
        raise ResponseError(f"trailer fields must be pairs of strings, not {fields!r}") from None


def _trailer_line(name: str, value: str) -> bytes:
    _check_trailer(name)
    return _checked_line(name, value)


@lru_cache(maxsize=64)
def _announcement(names: tuple[str, ...]) -> bytes:
    for name in names:
        _check_trailer(name)
        _checked_line(name, "")
    return _checked_line("Trailer", ", ".join(names))


def _check_trailer(name: str) -> None:
    folded = name.lower() if isinstance(name, str) else ""
    described = folded.startswith("content-") and folded != "content-digest"
    if folded in _NO_TRAILERS or described or not folded:
        raise ResponseError(f"this field cannot be a trailer: {name!r}")


def _size(body: object) -> int | None:
    """The length of a body in bytes; None for an iterator, whose length is not known yet."""
    if isinstance(body, FileRegion):
        if body.file.closed:
            raise ResponseError("the file of this response is closed: it is the body of one alone")
        return body.length
    if isinstance(body, MultiRegion):
        return body.length
    if isinstance(body, memoryview) and body.c_contiguous:
        return body.nbytes
    if hasattr(body, "__next__") or hasattr(body, "__anext__") or isinstance(body, Trailed):
        return None
    raise ResponseError(
        f"a body is bytes, a FileRegion, a MultiRegion or an iterator, not {type(body).__name__}"
        f"{': its encode() makes bytes of it' if isinstance(body, str) else ''}"
    )


def _declared_length(
    declared: Declared, size: int | None, request: BaseRequest, status: int
) -> int | None:
    """The length that a handler declares, if it holds. Raises ResponseError otherwise."""
    if declared.length is None or declared.length == size:
        return size
    without_content = request.method == "HEAD" or status == 304
    if size is None or (size == 0 and without_content):
        return declared.length
    raise ResponseError(f"Content-Length is {declared.length}, but the body has {size} bytes")
