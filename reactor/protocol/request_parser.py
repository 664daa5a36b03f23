"""Parses requests from bytes: RFC 9112, to the letter, and the safe choice where it leaves one.

The parser owns the bytes that have arrived and are not consumed. It is fed and pulled:
`next_request` and `next_piece` return None when they need more bytes, and raise ProtocolError when
more bytes cannot help. After an error the connection is unusable, since where the next request
begins is in doubt.

One possessive regular expression decides whether a head is right, whole and within its limits, all
at once; it cannot back-track, so its time is linear. When it does not match, head_errors.py goes
through the head line by line for a sentence that helps. A second expression picks the five fields
that matter for framing (sections 6 and 9), so that a head is never split into fields without a
reader.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from reactor.errors import ProtocolError
from reactor.limits import ServerLimits
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest
from reactor.protocol.chunked import ChunkedDecoder, body_too_large
from reactor.protocol.framing_fields import check_codings, check_expectation, keeps_alive
from reactor.protocol.grammar import AUTHORITY, FIELD, TOKEN
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

EMPTY_LINES: Final = 8  # before a request (RFC 9112, section 2.2: at least one is to be ignored)
HOST_BYTES: Final = 512  # a name of the DNS has 253 at most; checked ones are cached
SHORT_BYTES: Final = 256  # parsed request lines and fields are cached up to this length

_FRAMING = re.compile(
    rb"\r\n(host|content-length|transfer-encoding|connection|expect):[ \t]*([^\r]*)", re.I
)
_CODINGS = re.compile(rb"\r\ntransfer-encoding:[^\r]*+", re.I)
_ABSOLUTE = re.compile(r"(https?)://([^/?]*)([^?]*)", re.I)
_VALID_AUTHORITY = re.compile(AUTHORITY)


@lru_cache(maxsize=64)
def _head_pattern(most_fields: int) -> re.Pattern[bytes]:
    """The pattern of a whole head: its request line, and its fields, each begun by a CRLF."""
    return re.compile(
        rb"(%b++ [!\"$-~]++ HTTP/1\.[0-9])((?>(?:\r\n%b){0,%d}))\r\n\r\n"
        % (TOKEN, FIELD, min(most_fields, 1 << 31))
    )


def _read_line(line: bytes) -> tuple[str, str, str, str, int]:
    """Method, target, its decoded path and its query, minor version."""
    method, target, version = line.decode("ascii").split(" ")
    if method == "CONNECT":
        raise ProtocolError(501, "CONNECT is for proxies, and this is none.")
    path, _, query = target.partition("?")
    if "%" in path:
        path = decode_path(path)
    return method, target, path, query, 0 if version[-1] == "0" else 1  # 1.2: RFC 9110, 2.5


@lru_cache(maxsize=256)
def _host(value: bytes) -> str | None:
    """The host and port of a Host field (RFC 9110, section 7.2), or ""; None if it is malformed."""
    match = _VALID_AUTHORITY.fullmatch(value.strip(b" \t"))
    if match is None or int(match["port"] or 0) > 65535:
        return None
    if match["ipv6"] is not None and not _is_ipv6(match["ipv6"].decode("ascii")):
        return None
    return match[0].decode("ascii")


def _is_ipv6(text: str) -> bool:
    """Whether it is an address as RFC 3986, section 3.2.2 has it; a zone identifier is none."""
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _read_fields(fields: bytes) -> tuple[Headers, str | None, list[tuple[bytes, bytes]]]:
    """All fields of a head, the host, and the other fields that matter for framing."""
    host = None
    others = []
    for field in _FRAMING.findall(fields):
        if len(field[0]) != 4:
            others.append(field)
        elif host is not None:
            raise ProtocolError(400, "The request has two Host fields; one is allowed.")
        else:
            host = _host(field[1]) if len(field[1]) <= HOST_BYTES else None
            if host is None:
                raise ProtocolError(
                    400, "The Host field is not a host name or address, with or without a port."
                )
    return Headers(fields.decode("latin-1")), host, others


# Short lines and fields come again: programs send the same few fields with each request, and many
# clients ask for the same path. Long ones, a browser's cookies and queries, are not worth memory.
_read_short_line = lru_cache(maxsize=256)(_read_line)
_read_short_fields = lru_cache(maxsize=256)(_read_fields)


class RequestParser:
    """Parses the requests of one connection, one after the other, each with its body."""

    __slots__ = (
        "_checked",
        "_chunked",
        "_empty_lines",
        "_limits",
        "_pattern",
        "_position",
        "_request_class",
        "_seen",
        "buffer",
        "remaining",
    )

    def __init__(
        self, limits: ServerLimits, request_class: type[BaseRequest] = BaseRequest
    ) -> None:
        self._limits = limits
        self._request_class = request_class
        self._pattern = _head_pattern(limits.head_fields)
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
        if not self.buffer:
            return None
        if self._seen or (match := self._pattern.match(self.buffer, self._position)) is None:
            match = self._match_slowly()
            if match is None:
                return None
        line, fields = match.groups()
        limits = self._limits
        if len(line) > limits.request_line_bytes:
            raise target_too_long(limits)
        if len(line) + len(fields) + 4 > limits.head_bytes:
            raise head_too_large(limits)
        method, target, path, query, minor = (
            _read_short_line(line) if len(line) <= SHORT_BYTES else _read_line(line)
        )
        headers, host, others = (
            _read_short_fields(fields) if len(fields) <= SHORT_BYTES else _read_fields(fields)
        )
        request = self._request_class(method, target, path, query, minor, headers, limits)
        if host is not None:
            request.host = host
        elif minor:
            raise ProtocolError(400, "HTTP/1.1 requires a Host field.")
        if others:
            self._read_framing(request, others)
        if target[0] != "/":
            _read_target(request)
        self._empty_lines = 0
        end = match.end()
        if end == len(self.buffer):
            self.buffer = b""
            self._position = 0
        else:
            self._position = end
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

    def _match_slowly(self) -> re.Match[bytes] | None:
        """Find a head that did not come whole and right in one piece. Raises ProtocolError."""
        self._skip_empty_lines()
        buffer, begin, limits = self.buffer, self._position, self._limits
        end = buffer.find(b"\r\n\r\n", max(begin, begin + self._seen - 3))
        if end < 0:
            self._check_unfinished(buffer, begin)
            self._seen = len(buffer) - begin
            return None
        self._seen = 0
        self._checked = b""
        match = self._pattern.match(buffer, begin)
        if match is None:
            raise explain(buffer[begin : end + 2], limits)
        return match

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
        fields = [name.lower() for name, _ in _FRAMING.findall(head)]
        if b"host" not in fields and not head.partition(b"\r\n")[0].endswith(b"1.0"):
            head += b"\r\nHost:"
        scratch = RequestParser(self._limits)
        scratch.feed(head + b"\r\n\r\n")
        request = scratch.next_request()
        assert request is not None
        # Short stand-ins are kept of lines that limit the next ones, so that time is linear.
        self._checked = b"GET / HTTP/1.%d" % request.minor
        if b"host" in fields:
            self._checked += b"\r\nHost:"
        if b"content-length" in fields:
            self._checked += b"\r\nContent-Length:0"

    def _read_framing(self, request: BaseRequest, fields: list[tuple[bytes, bytes]]) -> None:
        """Set keep-alive and the body's length, and check the expectation."""
        options: list[bytes] = []
        lengths: list[bytes] = []
        codings: list[bytes] = []
        for field, value in fields:
            name = field.lower()
            if name == b"connection":
                options.append(value)
            elif name == b"content-length":
                lengths.append(value.rstrip(b" \t"))
            elif name == b"transfer-encoding":
                codings.append(value)
            else:
                check_expectation(request, value)
        if options:
            request.keep_alive = keeps_alive(b",".join(options), request.keep_alive)
        if lengths or codings:
            self._read_body_framing(request, lengths, codings)

    def _read_body_framing(
        self, request: BaseRequest, lengths: list[bytes], codings: list[bytes]
    ) -> None:
        """Set the body's length (RFC 9112, section 6.3); a case that leaves doubt is refused."""
        if codings:
            if lengths:
                raise ProtocolError(
                    400, "A request has either Content-Length or Transfer-Encoding, not both."
                )
            if not request.minor:
                raise ProtocolError(400, "HTTP/1.0 does not have Transfer-Encoding.")
            check_codings(b",".join(codings))
            request.length = None
            self._chunked = ChunkedDecoder(self._limits)
            return
        if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 19:
            raise ProtocolError(400, "Content-Length must be one number of at most 19 digits.")
        request.length = self.remaining = int(lengths[0])
        if self.remaining > self._limits.upload_bytes:
            raise body_too_large(self._limits)


def _read_target(request: BaseRequest) -> None:
    """Parse the forms of a target without a slash at its start (RFC 9112, section 3.2)."""
    if request.target == "*":
        if request.method != "OPTIONS":
            raise ProtocolError(400, "The target '*' is for OPTIONS only.")
        return
    match = _ABSOLUTE.match(request.target)
    host = _host(match[2].encode("ascii")) if match and len(match[2]) <= HOST_BYTES else None
    if (
        match is None or not host or host[0] == ":"
    ):  # an http URI has a host (RFC 9110, section 4.2.1)
        raise ProtocolError(400, "The request's target must be a path or an http URI.")
    if match[1].lower() != request.scheme:  # RFC 9110, section 7.4
        raise ProtocolError(421, f"Only {request.scheme} URLs are served here.")
    request.host = host  # it wins over the Host field (section 3.2.2)
    path = match[3] or ("*" if request.method == "OPTIONS" and not request.query else "/")
    request.path = decode_path(path)
