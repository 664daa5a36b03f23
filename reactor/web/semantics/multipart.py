"""The bytes of a form to its parts: multipart/form-data (RFC 7578, RFC 2046 section 5.1).

A pure function of bytes: they are fed in pieces cut anywhere, and `next_event` answers with a Part,
pieces of its content and PART_END; None means "more bytes". Nothing is kept but what cannot be told
yet: the head of a part, or the few bytes that may begin a boundary. Each byte is looked at a small
number of times, whatever it is.

A boundary line counts once it is whole; only then has the part before it ended. What looks like one
and is none is an error and not content (RFC 2046 forbids it there), so nobody can tell two readers
of the same form different things. The same goes for a head: what is doubtful is refused.

The name of a file comes from whoever made the form. It must be one plain name, as in a path; it is
refused otherwise, never repaired into something that nobody asked for.
"""

import re
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from reactor.errors import ProtocolError
from reactor.messages.headers import Headers
from reactor.web.semantics.file_names import is_plain

NAME_BYTES: Final = 255  # of a file's name, as most file systems have it
PADDING_BYTES: Final = 256  # after a boundary on its line; nobody sends any

# RFC 2046, section 5.1.1; a space may not be the last.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
# Without quotes anything that does not end a parameter: who makes boundaries forgets the quotes.
_PARAMETER: Final = re.compile(
    r'[ \t]*+;[ \t]*+(?:([!#$%&\'*+.^_`|~0-9A-Za-z-]++)=(?:"((?:[^"\\]|\\.)*+)"|([^\s";\\]++)))?+'
)
_HEAD: Final = re.compile(rb"(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+)*+")
_LINE_END: Final = re.compile(rb"[ \t]*+\r\n")  # of a boundary (RFC 2046: transport padding)
_LINE_BEGIN: Final = re.compile(rb"-?+|[ \t]*+\r?+")
_ESCAPED: Final = re.compile(r'\\(["\\])|%(22|0[AaDd])')
_PLAIN_ENCODINGS: Final = frozenset(("7bit", "8bit", "binary"))


class FormPart(NamedTuple):
    """A part begins. `filename` is None for a field that is no file, "" for a file not chosen."""

    name: str
    filename: str | None
    media_type: str


class FormEvent(Enum):
    """What is no content."""

    PART_END = "the part has ended"


PART_END: Final = FormEvent.PART_END

Event: TypeAlias = FormPart | bytes | FormEvent


class _State(Enum):
    CONTENT = "content"  # of a part, or what stands before the first
    BOUNDARY = "boundary"  # the rest of its line
    HEAD = "head"  # with the line's end before it
    BLANK = "blank line"  # after a head; it may begin the next boundary
    END = "end"  # what follows is nobody's


def boundary_of(content_type: str) -> bytes | None:
    """The boundary of a multipart/form-data; None where the type is another.

    Raises ProtocolError(400) for one that is missing or malformed.
    """
    kind, semicolon, rest = content_type.partition(";")
    if kind.strip(" \t").lower() != "multipart/form-data":
        return None
    parameters = parse_parameters(semicolon + rest)
    if parameters is None or not _BOUNDARY.fullmatch(parameters.get("boundary", "")):
        raise ProtocolError(400, "The form's Content-Type has no boundary, or not a proper one.")
    return parameters["boundary"].encode()


class FormParser:
    """`feed` it, then ask for events until there is none; when the body has ended, `end`."""

    def __init__(self, boundary: bytes, most_parts: int, head_bytes: int) -> None:
        """`head_bytes`: of the fields of one part."""
        self._delimiter = b"\r\n--" + boundary
        self._most_parts = most_parts
        self._head_bytes = head_bytes
        self._parts = 0
        self._in_part = False
        self._state = _State.CONTENT
        self._buffer = b"\r\n"  # as if a line had ended: the first boundary needs none before it
        self._at = 0  # what is before this is done
        self._seen = 0  # no head ends before this

    def feed(self, data: bytes) -> None:
        """More of the body. All events of what was fed before must have been taken."""
        rest = self._buffer[self._at :]
        self._buffer = rest + data if rest else data
        self._seen = max(0, self._seen - self._at)
        self._at = 0

    def next_event(self) -> Event | None:
        """What comes next; None for more bytes.

        Raises ProtocolError: 400 for what is malformed, 413 for too many parts or a head that is
        too long, 415 for a part in an encoding.
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
        """The body is over. Raises ProtocolError(400) if the form is not."""
        if self._state is not _State.END:
            raise _malformed("It ends before its last boundary.")

    # --- one step each ---------------------------------------------------------------------------

    def _next_content(self) -> bytes | None:
        """Bytes before the next boundary; b"" when it was passed, None for more bytes."""
        buffer, at = self._buffer, self._at
        found = buffer.find(self._delimiter, at)
        if found == at:
            self._at += len(self._delimiter)
            self._state = _State.BOUNDARY
            return b""
        self._at = found if found >= 0 else self._doubtful_from()
        return buffer[at : self._at] if self._at > at else None

    def _doubtful_from(self) -> int:
        """Where the bytes at the end begin that may be the beginning of a boundary."""
        buffer, delimiter = self._buffer, self._delimiter
        place = buffer.find(b"\r", max(self._at, len(buffer) - len(delimiter) + 1))
        while place >= 0:
            if delimiter.startswith(buffer[place:]):
                return place
            place = buffer.find(b"\r", place + 1)
        return len(buffer)

    def _pass_boundary(self) -> bool:
        """The rest of a boundary's line; False for more bytes."""
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
            raise _malformed("A line begins with its boundary and goes on with something else.")
        return False

    def _next_part(self) -> FormPart | None:
        at = self._at
        found = self._buffer.find(b"\r\n\r\n", self._seen)
        end = found if found >= 0 else len(self._buffer) - 3
        if end - at > self._head_bytes + 2:  # with the line's end before it
            raise ProtocolError(
                413, f"The fields of a form's part may have {self._head_bytes} bytes at most."
            )
        if found < 0:
            self._seen = max(at, end)
            return None
        if self._parts == self._most_parts:
            raise ProtocolError(413, f"A form may have {self._most_parts} parts at most.")
        self._parts += 1
        self._in_part = True
        self._at = found + 2
        self._state = _State.BLANK
        head = self._buffer[at:found]
        if self._delimiter in head:  # a boundary may look like a field
            raise _malformed("A part has no blank line after its fields.")
        return _read_head(head)

    def _pass_blank_line(self) -> bool:
        """A part without content may end here (RFC 2046: `MIME-part-headers [CRLF *OCTET]`)."""
        begin = self._buffer[self._at : self._at + len(self._delimiter)]
        if begin != self._delimiter:
            if self._delimiter.startswith(begin):
                return False
            self._at += 2
        self._state = _State.CONTENT
        return True


# --- the head of a part --------------------------------------------------------------------------


def _read_head(head: bytes) -> FormPart:
    """Of fields that are each begun by CRLF."""
    if not _HEAD.fullmatch(head):
        raise _malformed("The fields of a part are not 'name: value' lines.")
    fields = Headers(head.decode("latin-1"))
    encoding = fields.get("content-transfer-encoding", "binary")
    if encoding.lower() not in _PLAIN_ENCODINGS:  # RFC 7578, section 4.7: not to be used
        raise ProtocolError(
            415, "A part of the form is in an encoding; send the bytes as they are."
        )
    dispositions = fields.get_all("content-disposition")
    if len(dispositions) != 1:
        raise _malformed("Each part has one Content-Disposition.")
    parameters = _read_disposition(dispositions[0])
    name, filename = parameters["name"], parameters.get("filename")
    if filename is None and "filename*" in parameters:  # section 4.2: not to be used
        raise _malformed(f"Part {name!a} has a filename* and no filename.")
    if filename:
        _check_filename(name, filename)
    return FormPart(name, filename, fields.get("content-type"))


def _read_disposition(value: str) -> dict[str, str]:
    """The parameters of a Content-Disposition, a name among them (RFC 7578, section 4.2)."""
    try:
        value = value.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise _malformed("A Content-Disposition is not UTF-8.") from None
    kind, semicolon, rest = value.partition(";")
    parameters = parse_parameters(semicolon + rest)
    if kind.strip(" \t").lower() != "form-data" or not parameters or "name" not in parameters:
        raise _malformed("A Content-Disposition is not 'form-data' with a name.")
    return parameters


def parse_parameters(text: str) -> dict[str, str] | None:
    """What follows a type: each parameter begun by a semicolon, names in lower case.

    None for what is malformed or comes twice.
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
            if name.lower() in found:
                return None
            found[name.lower()] = bare if quoted is None else _unescape(quoted)
        at = match.end()
    return found


def _unescape(quoted: str) -> str:
    """As browsers escape (HTML, section "Multipart form data"), and as curl and others do.

    A backslash before anything else stands for itself: it is part of a path, which is refused.
    """
    return _ESCAPED.sub(lambda found: found[1] or chr(int(found[2], 16)), quoted)


def _check_filename(name: str, filename: str) -> None:
    if not is_plain((filename,)):
        raise _malformed(f"The file of part {name!a} has a name that no file can have here.")
    if len(filename.encode()) > NAME_BYTES:
        raise ProtocolError(414, f"The file of part {name!a} has a name that is too long.")


def _malformed(sentence: str) -> ProtocolError:
    return ProtocolError(400, f"This form cannot be read. {sentence}")
