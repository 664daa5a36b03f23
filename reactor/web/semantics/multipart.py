"""Parses multipart/form-data into parts (RFC 7578, RFC 2046 section 5.1).

The parser is a pure function of bytes. It is fed pieces that are cut anywhere; `next_event` returns
a FormPart, pieces of its content, and PART_END, or None when it needs more bytes. It keeps only
bytes that cannot be classified yet: the head of a part, or the few bytes that may begin a boundary.
It looks at each byte a small number of times, so its time is linear.

A boundary line counts once it is whole; only then does the part before it end. A line that begins
like a boundary and goes on otherwise is an error, not content (RFC 2046 forbids it there), so that
two readers of one form never see different parts. The same holds for the head of a part: doubtful
heads are refused.

The client chooses the name of a file. It must be one plain name, as in a path. Other names are
refused, never repaired into a name that the client did not send. RFC 7578 forbids `filename*`, and
yet .NET and PowerShell send it beside a `filename` that nobody can read, and others send it alone.
So it is the name where it is there (RFC 6266, section 4.3). No other encoding of a name is decoded.
"""

import re
from enum import Enum
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from reactor.errors import ProtocolError
from reactor.messages.headers import Headers
from reactor.protocol.grammar import FIELD, TOKEN_TEXT
from reactor.web.semantics.file_names import is_plain

NAME_BYTES: Final = 255  # the limit of most file systems for a name
# Real parts have one or two of each. More would cost time: a form has room for many.
MOST_PARAMETERS: Final = 10  # after a type or a disposition
PART_FIELDS: Final = 16
PADDING_BYTES: Final = 256  # after a boundary on its line; real clients send none

# RFC 2046, section 5.1.1; the last character may not be a space.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
# An unquoted value may be anything that does not end a parameter: clients forget the quotes around
# boundaries.
_PARAMETER: Final = re.compile(
    rf'[ \t]*+;[ \t;]*+(?:({TOKEN_TEXT}++)=(?:"((?:[^"\\]|\\.)*+)"|([^\s";\\]++)))?+'
)
_HEAD: Final = re.compile(rb"(?:\r\n%b)*+" % FIELD)
# The end of a boundary's line (RFC 2046: transport padding).
_LINE_END: Final = re.compile(rb"[ \t]*+\r\n")
_LINE_BEGIN: Final = re.compile(rb"-?+|[ \t]*+\r?+")
# In this order: a NUL, which occurs in no field, stands for an escaped backslash until the end.
_ESCAPED: Final = (
    *(("\\\\", "\0"), ('\\"', '"'), ("%22", '"')),
    *(("%0A", "\n"), ("%0a", "\n"), ("%0D", "\r"), ("%0d", "\r"), ("\0", "\\")),
)
# ext-value (RFC 8187, section 3.2.1), in the two character encodings that recipients know.
_EXTENDED: Final = re.compile(
    r"(utf-8|iso-8859-1)'[a-z0-9-]*+'((?:%[0-9a-f]{2}|[a-z0-9!#$&+.^_`|~-])*+)", re.ASCII | re.I
)
_PLAIN_ENCODINGS: Final = frozenset(("7bit", "8bit", "binary"))


class FormPart(NamedTuple):
    """A part begins. `filename` is None for an ordinary field, "" for a file input left empty.

    `media_type` is the part's Content-Type, "" where the part has none.
    """

    name: str
    filename: str | None
    media_type: str


class FormEvent(Enum):
    """Events that are neither the beginning of a part nor content."""

    PART_END = "the part has ended"


PART_END: Final = FormEvent.PART_END

Event: TypeAlias = FormPart | bytes | FormEvent


class _State(Enum):
    CONTENT = "content"  # content of a part, or the preamble before the first boundary
    BOUNDARY = "boundary"  # the rest of the boundary's line
    HEAD = "head"  # preceded by the line's end
    BLANK = "blank line"  # after a head; it may begin the next boundary
    END = "end"  # the epilogue, which is ignored


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary of a multipart/form-data type, or None for any other type.

    Raises ProtocolError(400) for a boundary that is missing or malformed.
    """
    kind, semicolon, rest = content_type.partition(";")
    if kind.strip(" \t").lower() != "multipart/form-data":
        return None
    parameters = parse_parameters(semicolon + rest)
    if parameters is None or not _BOUNDARY.fullmatch(parameters.get("boundary", "")):
        raise ProtocolError(400, "The form's Content-Type has no valid boundary.")
    return parameters["boundary"].encode()


class FormParser:
    """Parser of one form: `feed` it, call `next_event` until it returns None, and `end` it last."""

    def __init__(self, boundary: bytes, most_parts: int, head_bytes: int) -> None:
        """`most_parts` limits the number of parts, `head_bytes` the size of one part's fields."""
        self._delimiter = b"\r\n--" + boundary
        self._most_parts = most_parts
        self._head_bytes = head_bytes
        self._parts = 0
        self._in_part = False
        self._state = _State.CONTENT
        # As if a line had just ended: the first boundary needs no line before it.
        self._buffer = b"\r\n"
        self._at = 0  # offset of the first unconsumed byte
        self._seen = 0  # offset before which no head ends

    def feed(self, data: bytes) -> None:
        """Add more of the body. All events of the bytes fed before must have been taken."""
        rest = self._buffer[self._at :]
        self._buffer = rest + data if rest else data
        self._seen = max(0, self._seen - self._at)
        self._at = 0

    def next_event(self) -> Event | None:
        """Return the next event, or None when more bytes are needed.

        Raises ProtocolError: 400 for malformed input, 413 for too many parts or a head that is too
        long, 415 for a part in a transfer encoding.
        """
        while True:
            match self._state:
                case _State.CONTENT:
                    piece = self._next_content()
                    if piece is None or (piece and self._in_part):
                        return piece
                case _State.BOUNDARY:
                    if not self._pass_boundary():
                        return None
                    if self._in_part:
                        self._in_part = False
                        return PART_END
                case _State.HEAD:
                    return self._next_part()
                case _State.BLANK:
                    if not self._pass_blank_line():
                        return None
                case _State.END:
                    self._at = len(self._buffer)
                    return None

    def end(self) -> None:
        """Check, at the end of the body, that the form is complete. Raises ProtocolError(400)."""
        if self._state is not _State.END:
            raise _malformed("It ends before its last boundary.")

    # --- one step each ---------------------------------------------------------------------------

    def _next_content(self) -> bytes | None:
        """Return bytes before the next boundary, b"" after one, None when more bytes are needed."""
        buffer, at = self._buffer, self._at
        found = buffer.find(self._delimiter, at)
        if found == at:
            self._at += len(self._delimiter)
            self._state = _State.BOUNDARY
            return b""
        self._at = found if found >= 0 else self._doubtful_from()
        return buffer[at : self._at] if self._at > at else None

    def _doubtful_from(self) -> int:
        """Return the offset from which the last bytes may be the beginning of a boundary."""
        buffer, delimiter = self._buffer, self._delimiter
        place = buffer.find(b"\r", max(self._at, len(buffer) - len(delimiter) + 1))
        while place >= 0:
            if delimiter.startswith(buffer[place:]):
                return place
            place = buffer.find(b"\r", place + 1)
        return len(buffer)

    def _pass_boundary(self) -> bool:
        """Consume the rest of a boundary's line; return False when more bytes are needed."""
        buffer, at = self._buffer, self._at
        if buffer.startswith(b"--", at):
            self._state = _State.END
            return True
        line_end = _LINE_END.match(buffer, at)
        if line_end is not None:
            self._at = self._seen = line_end.end() - 2
            self._state = _State.HEAD
            return True
        if len(buffer) - at > PADDING_BYTES or not _LINE_BEGIN.fullmatch(buffer, at):
            raise _malformed("A line that begins with the boundary has other text behind it.")
        return False

    def _next_part(self) -> FormPart | None:
        at = self._at
        found = self._buffer.find(b"\r\n\r\n", self._seen)
        end = found if found >= 0 else len(self._buffer) - 3
        if end - at > self._head_bytes + 2:  # preceded by the line's end
            raise ProtocolError(
                413, f"The fields of a part of a form may have at most {self._head_bytes} bytes."
            )
        if found < 0:
            self._seen = max(at, end)
            return None
        if self._parts == self._most_parts:
            raise ProtocolError(413, f"A form may have at most {self._most_parts} parts.")
        self._parts += 1
        self._in_part = True
        self._at = found + 2
        self._state = _State.BLANK
        head = self._buffer[at:found]
        if self._delimiter in head:  # a boundary may have the form of a field
            raise _malformed("A part has no blank line after its fields.")
        return _read_head(head)

    def _pass_blank_line(self) -> bool:
        """Consume the blank line; a part without content may end here.

        RFC 2046: `MIME-part-headers [CRLF *OCTET]`.
        """
        begin = self._buffer[self._at : self._at + len(self._delimiter)]
        if begin != self._delimiter:
            if self._delimiter.startswith(begin):
                return False
            self._at += 2
        self._state = _State.CONTENT
        return True


# --- the head of a part --------------------------------------------------------------------------


def _read_head(head: bytes) -> FormPart:
    """Parse the fields of a part; each field begins with CRLF."""
    if head.count(b"\r\n") > PART_FIELDS:
        raise ProtocolError(413, f"A part of a form may have at most {PART_FIELDS} fields.")
    if not _HEAD.fullmatch(head):
        raise _malformed("The fields of a part must be lines of the form 'name: value'.")
    fields = Headers(head.decode("latin-1"))
    encoding = fields.get("content-transfer-encoding", "binary")
    if encoding.lower() not in _PLAIN_ENCODINGS:  # RFC 7578, section 4.7, deprecates the field
        raise ProtocolError(
            415, "Parts of a form must be sent without a Content-Transfer-Encoding."
        )
    dispositions = fields.get_all("content-disposition")
    if len(dispositions) != 1:
        raise _malformed("Each part must have one Content-Disposition.")
    parameters = _read_disposition(dispositions[0])
    name, filename = parameters["name"], _filename(parameters)
    if filename:
        _check_filename(name, filename)
    return FormPart(name, filename, fields.get("content-type"))


def _read_disposition(value: str) -> dict[str, str]:
    """Return the parameters of a Content-Disposition with its name (RFC 7578, section 4.2)."""
    try:
        value = value.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise _malformed("A Content-Disposition is not valid UTF-8.") from None
    kind, semicolon, rest = value.partition(";")
    parameters = parse_parameters(semicolon + rest)
    if kind.strip(" \t").lower() != "form-data" or not parameters or "name" not in parameters:
        raise _malformed("A Content-Disposition must be 'form-data' with a name.")
    return parameters


def _filename(parameters: dict[str, str]) -> str | None:
    """Return the filename of a disposition, None where it has none."""
    for parameter, value in parameters.items():
        if parameter == "filename*":
            return _decode_extended(parameters["name"], value)
        if parameter.startswith("filename*"):  # RFC 2231, section 3; RFC 8187 leaves it out
            raise _malformed(f"Part {parameters['name']!a} has a filename in several parameters.")
    return parameters.get("filename")


def _decode_extended(name: str, value: str) -> str:
    match = _EXTENDED.fullmatch(value)
    try:
        if match is not None:
            return unquote_to_bytes(match[2]).decode(match[1])
    except UnicodeDecodeError:
        pass
    raise _malformed(
        f"The filename* of part {name!a} must be percent-encoded UTF-8 or ISO-8859-1, as in "
        "utf-8''na%C3%AFve.txt."
    )


def parse_parameters(text: str) -> dict[str, str] | None:
    """Parse the parameters that follow a type, each begun by a semicolon; names in lower case.

    Returns None for malformed or repeated parameters, and for more than MOST_PARAMETERS.
    """
    found: dict[str, str] = {}
    text = text.rstrip(" \t")
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            return None
        name, quoted, bare = match.groups()
        if name is not None:
            if name.lower() in found or len(found) == MOST_PARAMETERS:
                return None
            found[name.lower()] = bare if quoted is None else _unescape(quoted)
        at = match.end()
    return found


def _unescape(quoted: str) -> str:
    """Undo the escapes of browsers (HTML, section "Multipart form data") and of curl and others.

    A backslash before any other character stands for itself: it is part of a path, which is
    refused.
    """
    for escaped, character in _ESCAPED:
        quoted = quoted.replace(escaped, character)
    return quoted


def _check_filename(name: str, filename: str) -> None:
    if not is_plain((filename,)):
        raise _malformed(f"The filename of part {name!a} is not allowed.")
    if len(filename.encode()) > NAME_BYTES:
        raise _malformed(f"The filename of part {name!a} has more than {NAME_BYTES} bytes.")


def _malformed(sentence: str) -> ProtocolError:
    return ProtocolError(400, f"The form is malformed. {sentence}")
