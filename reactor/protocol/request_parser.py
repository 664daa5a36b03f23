"""Parses requests from bytes: RFC 9112, to the letter, and the safe choice where it leaves one.

The parser owns the bytes that have arrived and are not consumed. It is fed and pulled:
`next_request` and `next_piece` return None when they need more bytes, and raise ProtocolError when
more bytes cannot help. After an error the connection is unusable, since where the next request
begins is in doubt.

A head is cut at its blank line, and then into its request line and its field lines. Each line is
checked by one possessive regular expression that cannot back-track, so the time is linear; lines
that come again are known already (see field_lines.py). When a line is wrong, head_errors.py goes
through the head for a sentence that helps.
"""

import re
from collections.abc import Mapping
from typing import ClassVar, Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.limits import ServerLimits
from reactor.messages.request import BaseRequest
from reactor.protocol.chunked import ChunkedDecoder, body_too_large
from reactor.protocol.field_lines import MalformedHeadError, field_reader, read_host
from reactor.protocol.framing_fields import check_codings, check_expectation, keeps_alive
from reactor.protocol.grammar import TOKEN_TEXT
from reactor.protocol.head_errors import (
    bare_line_end,
    begins_tls,
    can_go_on,
    explain,
    explain_begun,
    head_too_large,
    target_too_long,
)
from reactor.protocol.paths import decode_path
from reactor.remembered import remember

EMPTY_LINES: Final = 8  # before a request (RFC 9112, section 2.2: at least one is to be ignored)
SHORT_BYTES: Final = 256  # parsed request lines are remembered up to this length
LINES: Final = 256  # so many are remembered, and then forgotten all at once

_CR: Final = 13

_REQUEST_LINE = re.compile(f'({TOKEN_TEXT}++) ([!"$-~]++) HTTP/1\\.([0-9])')
_LIMITING = re.compile(rb"\r\n(host|content-length):", re.I)  # where a second one is refused
_CODINGS = re.compile(rb"\r\ntransfer-encoding:[^\r]*+", re.I)
_LENGTH = re.compile("[0-9]{1,19}")
_ABSOLUTE = re.compile(r"(https?)://([^/?]*)([^?]*)", re.I)


# The line as text, its method and target, the decoded path and the query, the minor version.
RequestLine: TypeAlias = tuple[str, str, str, str, str, int]

# Short request lines come again: many clients ask for the same path. Long ones are not worth it.
_lines: dict[bytes, RequestLine] = {}


def _read_line(line: bytes) -> RequestLine:
    """Parse a request line that is not remembered. Raises MalformedHeadError."""
    text = line.decode("latin-1")
    match = _REQUEST_LINE.fullmatch(text)
    if match is None:
        raise MalformedHeadError
    method, target, minor = match.groups()
    if method == "CONNECT":
        raise ProtocolError(501, "CONNECT is for proxies, and this is none.")
    path, _, query = target.partition("?")
    if "%" in path:
        path = decode_path(path)
    # 1.2 is taken for 1.1 (RFC 9110, section 2.5).
    parsed = text, method, target, path, query, 0 if minor == "0" else 1
    if len(line) <= SHORT_BYTES:
        remember(_lines, line, parsed, LINES)
    return parsed


class RequestParser:
    """Parses the requests of one connection, one after the other, each with its body."""

    __slots__ = (
        "_checked",
        "_chunked",
        "_empty_lines",
        "_limits",
        "_position",
        "_reader",
        "_request_class",
        "_seen",
        "buffer",
        "remaining",
    )

    scheme: ClassVar[str] = "http"  # absolute targets that are served have it

    def __init__(
        self, limits: ServerLimits, request_class: type[BaseRequest] = BaseRequest
    ) -> None:
        self._limits = limits
        self._request_class = request_class
        usual_bytes = min(limits.request_line_bytes, limits.head_bytes)
        self._reader = field_reader(limits.head_fields, usual_bytes)
        self.buffer = b""  # received bytes; empty when all of them are consumed
        self._position = 0  # offset of the first unconsumed byte
        self._seen = 0  # so many unconsumed bytes are known not to have the end of a head
        self._checked = b""  # stands for the lines of a begun head that were checked
        self._empty_lines = 0  # before this request
        self.remaining = 0  # bytes to come of a body with a length; 0 where it is chunked
        self._chunked: ChunkedDecoder | None = None

    @property
    def request_line(self) -> str:
        """The first line of the unconsumed bytes, for the log of a refused request."""
        line = self.buffer[self._position : self._position + self._limits.request_line_bytes]
        if begins_tls(line):
            return line[:3].decode("latin-1") + " (TLS hello)"
        return line.partition(b"\r\n")[0].decode("latin-1")

    @property
    def unconsumed(self) -> int:
        """Number of bytes that have arrived and are not consumed."""
        return len(self.buffer) - self._position

    @property
    def has_head(self) -> bool:
        """Whether the head of another request has come whole behind the current one."""
        # Empty lines alone are no head, and what follows them may never come.
        return self.body_complete and b"\r\n\r\n" in self.buffer[self._position :].lstrip(b"\r\n")

    @property
    def body_complete(self) -> bool:
        """Whether the current request's body has been pulled to its end."""
        return self.remaining == 0 and self._chunked is None

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        if not self.buffer:
            self.buffer = data
        else:
            self.buffer = self.buffer[self._position :] + data
        self._position = 0

    def next_request(self) -> BaseRequest | None:
        """The next request, with its body still to be pulled; None when more bytes are needed.

        Raises ProtocolError: 400, 413, 414, 417, 421, 431, 501 or 505. It may be called only when
        the body before it is complete.
        """
        buffer, begin = self.buffer, self._position
        if not buffer:
            return None
        if self._seen or (end := buffer.find(b"\r\n\r\n", begin)) < 0 or buffer[begin] == _CR:
            end = self._find_slowly()
            if end < 0:
                return None
            buffer, begin = self.buffer, self._position
        limits, reader = self._limits, self._reader
        line_end = buffer.find(b"\r\n", begin)
        if end + 4 - begin > reader.usual_bytes:
            self._check_size(line_end - begin, end + 4 - begin)
        line, fields = buffer[begin:line_end], buffer[line_end:end]
        try:
            text, method, target, path, query, minor = _lines.get(line) or _read_line(line)
            headers, values, host, is_framing = reader.blocks.get(fields) or reader.read(fields)
        except MalformedHeadError:
            raise explain(buffer[begin : end + 2], limits) from None
        if host is None:
            if minor:
                raise ProtocolError(400, "HTTP/1.1 requires a Host field.")
            host = ""
        request = self._request_class(
            method, target, path, query, minor, headers, limits, host, text
        )
        if is_framing:
            self._read_framing(request, values)
        if target[0] != "/":
            _read_target(request, self.scheme)
        self._empty_lines = 0
        self._position = end + 4
        if end + 4 == len(buffer):
            self.buffer = b""
            self._position = 0
        return request

    def next_piece(self, most: int) -> bytes | None:
        """At most `most` bytes of the current body; b"" at its end, None when more are needed.

        Raises ProtocolError: 400, 413 or 431.
        """
        if self._chunked is not None:
            piece, self._position = self._chunked.next_piece(self.buffer, self._position, most)
            if piece == b"":
                self._chunked = None
        elif self.remaining == 0:
            piece = b""
        else:
            most = min(most, self.remaining)
            piece = self.buffer[self._position : self._position + most] or None
            if piece is not None:
                self._position += len(piece)
                self.remaining -= len(piece)
        self._consume(self._position)
        return piece

    def _consume(self, position: int) -> None:
        """Consume the bytes before `position`; a buffer without unconsumed bytes is not kept."""
        if position == len(self.buffer):
            self.buffer = b""
            self._position = 0
        else:
            self._position = position

    def _find_slowly(self) -> int:
        """Where the fields of a head end that did not come whole; -1 when more bytes are needed.

        Raises ProtocolError.
        """
        self._skip_empty_lines()
        buffer, begin = self.buffer, self._position
        end = buffer.find(b"\r\n\r\n", max(begin, begin + self._seen - 3))
        if end < 0:
            self._check_unfinished(buffer, begin)
            self._seen = len(buffer) - begin
        else:
            self._seen = 0
            self._checked = b""
        return end

    def _check_size(self, line: int, head: int) -> None:
        """Refuse a request line, or else a head, that has more bytes than are allowed."""
        if line > self._limits.request_line_bytes:
            raise target_too_long(self._limits)
        if head > self._limits.head_bytes:
            raise head_too_large(self._limits)

    def _skip_empty_lines(self) -> None:
        """Skip the empty line that a client may send after a body (RFC 9112, section 2.2)."""
        while self.buffer.startswith(b"\r\n", self._position):
            self._position += 2
            self._seen = 0
            self._empty_lines += 1
            if self._empty_lines > EMPTY_LINES:
                raise ProtocolError(
                    400, f"There are more than {EMPTY_LINES} empty lines before the request."
                )
        self._consume(self._position)  # an empty line does not begin a head

    def _check_unfinished(self, buffer: bytes, begin: int) -> None:
        """Refuse a head that is wrong already, before it is whole."""
        limits = self._limits
        size, most = len(buffer) - begin, limits.request_line_bytes + 1
        # The line's end is looked for once, when it must be there.
        if self._seen <= most < size and buffer.find(b"\r\n", begin, begin + most + 1) < 0:
            raise target_too_long(limits)
        if size > limits.head_bytes:
            raise head_too_large(limits)
        # Only the new bytes are checked, and a CR before them; the last one may be such a CR again.
        new = begin + self._seen
        new -= buffer.endswith(b"\r", begin, new)
        unchecked = buffer[new:].replace(b"\r\n", b"")
        if b"\n" in unchecked or b"\r" in unchecked[:-1]:
            raise bare_line_end()
        if not can_go_on(buffer, begin, new):
            raise explain_begun(buffer[begin:], limits)
        end = buffer.rfind(b"\r\n", max(begin, begin + self._seen - 1))
        if end >= 0:
            last = buffer.rfind(b"\n", begin, begin + self._seen)  # in a CRLF: no LF stands alone
            self._check_lines(buffer[begin if last < 0 else last - 1 : end])

    def _check_lines(self, lines: bytes) -> None:
        """Refuse a head whose first lines no further line can heal; `lines` are those that are new.

        Raises ProtocolError.
        """
        # A scratch parser reads them as if they were all. Later lines can add the Host field, and
        # change what is wrong with Transfer-Encoding, which therefore waits for the end.
        head = self._checked + _CODINGS.sub(b"\r\nX:", lines)
        fields = [name.lower() for name in _LIMITING.findall(head)]
        if b"host" not in fields and not head.partition(b"\r\n")[0].endswith(b"1.0"):
            head += b"\r\nHost:"
        scratch = type(self)(self._limits)
        scratch.feed(head + b"\r\n\r\n")
        request = scratch.next_request()
        assert request is not None
        # Short stand-ins are kept of lines that limit the next ones, so that time is linear.
        self._checked = b"GET / HTTP/1.%d" % request.minor
        if b"host" in fields:
            self._checked += b"\r\nHost:"
        if b"content-length" in fields:
            self._checked += b"\r\nContent-Length:0"

    def _read_framing(self, request: BaseRequest, fields: Mapping[str, str]) -> None:
        """Set keep-alive and the body's length, and check the expectation."""
        options = fields.get("connection")
        if options is not None:
            request.keep_alive = keeps_alive(options, request.keep_alive)
        expectation = fields.get("expect")
        if expectation is not None:
            check_expectation(request, expectation)
        length, codings = fields.get("content-length"), fields.get("transfer-encoding")
        if length is not None or codings is not None:
            self._read_body_framing(request, length, codings)

    def _read_body_framing(
        self, request: BaseRequest, length: str | None, codings: str | None
    ) -> None:
        """Set the body's length (RFC 9112, section 6.3); a case that leaves doubt is refused."""
        if codings is not None:
            if length is not None:
                raise ProtocolError(
                    400, "A request has either Content-Length or Transfer-Encoding, not both."
                )
            if not request.minor:
                raise ProtocolError(400, "HTTP/1.0 does not have Transfer-Encoding.")
            check_codings(codings)
            request.length = None
            self._chunked = ChunkedDecoder(self._limits)
            return
        assert length is not None
        # Several lengths are joined by commas, and no number.
        if not _LENGTH.fullmatch(length):
            raise ProtocolError(400, "Content-Length must be one number of at most 19 digits.")
        request.length = self.remaining = int(length)
        if self.remaining > self._limits.upload_bytes:
            raise body_too_large(self._limits)


class SecureRequestParser(RequestParser):
    """The same for a connection that is encrypted."""

    __slots__ = ()

    scheme = "https"


def _read_target(request: BaseRequest, scheme: str) -> None:
    """Parse the forms of a target without a slash at its start (RFC 9112, section 3.2)."""
    if request.target == "*":
        if request.method != "OPTIONS":
            raise ProtocolError(400, "The target '*' is for OPTIONS only.")
        return
    match = _ABSOLUTE.match(request.target)
    host = read_host(match[2]) if match else None
    if (
        match is None or not host or host[0] == ":"
    ):  # an http URI has a host (RFC 9110, section 4.2.1)
        raise ProtocolError(400, "The request's target must be a path or an http URI.")
    if match[1].lower() != scheme:  # RFC 9110, section 7.4
        raise ProtocolError(421, f"Only {scheme} URLs are served here.")
    request.host = host  # it wins over the Host field (section 3.2.2)
    path = match[3] or ("*" if request.method == "OPTIONS" and not request.query else "/")
    request.path = decode_path(path)
