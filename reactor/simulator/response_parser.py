"""From bytes to a response, as a client has to read it (RFC 9112, sections 4 to 7).

The parser shares no code with the server's own understanding of HTTP. Bytes are fed as they arrive,
then the caller pulls a head and the pieces of the body; a pull returns None while it needs more
bytes. Each framing of a body is one small class. Bytes that break a rule of the RFC raise
BadResponse, and a response that is cut raises IncompleteResponse: a lenient client would hide the
faults that a stricter one will meet.
"""

import re
from typing import Final, NamedTuple, Protocol

from reactor.messages.headers import Headers

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([^\r\n\0]*)")
_FIELD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*")
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class BadResponse(Exception):
    """The bytes are no HTTP/1 response; the message says which of them break the rules."""


class IncompleteResponse(ConnectionError):
    """The connection ended before the response did."""


class ResponseHead(NamedTuple):
    """A status and fields; `raw` is the head as it came."""

    status: int
    reason: str
    headers: Headers
    raw: bytes
    minor: int  # the version is HTTP/1.minor

    @property
    def status_code(self) -> int:
        """The status, under the name that other clients have for it."""
        return self.status


class _Framing(Protocol):
    """Where a body ends."""

    def next_piece(self, buffer: bytearray, fin: bool) -> bytes | None: ...


class _Counted:
    """A body of so many bytes; 0 where there is none."""

    def __init__(self, length: int) -> None:
        self._left = length

    def next_piece(self, buffer: bytearray, fin: bool) -> bytes | None:
        piece = _take(buffer, self._left)
        self._left -= len(piece)
        return piece if piece or not self._left else None


class _UntilClose:
    """A body that ends with the connection."""

    def next_piece(self, buffer: bytearray, fin: bool) -> bytes | None:
        return _take(buffer, len(buffer)) if buffer or fin else None


class _Chunked:
    """Chunks and trailers. A chunk is a piece, as far as it is there."""

    SIZE, DATA, TRAILERS, END = range(4)

    def __init__(self) -> None:
        self.trailers = Headers()
        self._left = 0
        self._expected = self.SIZE

    def next_piece(self, buffer: bytearray, fin: bool) -> bytes | None:
        if self._expected == self.SIZE:
            self._take_size(buffer)
        if self._expected == self.DATA:
            return self._take_data(buffer)
        if self._expected == self.TRAILERS:
            self._take_trailers(buffer)
        return b"" if self._expected == self.END else None

    def _take_size(self, buffer: bytearray) -> None:
        end = buffer.find(b"\r\n")
        if end < 0:
            return
        line = _take(buffer, end + 2)[:-2]
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BadResponse(f"not the size of a chunk: {line!r}")
        self._left = int(match[1], 16)
        self._expected = self.DATA if self._left else self.TRAILERS

    def _take_data(self, buffer: bytearray) -> bytes | None:
        """Returns the bytes of the chunk so far; the last of them when its CRLF has arrived too."""
        count = min(len(buffer), self._left)
        if count < self._left:
            self._left -= count
            return _take(buffer, count) or None
        if len(buffer) < count + 2:
            return None
        piece, end = _take(buffer, count), _take(buffer, 2)
        if end != b"\r\n":
            raise BadResponse(f"a chunk is followed by {end!r}: it is not as long as its size says")
        self._left = 0
        self._expected = self.SIZE
        return piece

    def _take_trailers(self, buffer: bytearray) -> None:
        end = 0 if buffer.startswith(b"\r\n") else buffer.find(b"\r\n\r\n") + 2
        if end == 1:
            return
        self.trailers = _parse_fields(_take(buffer, end))
        del buffer[:2]
        self._expected = self.END


class ResponseParser:
    """The response to one request, with its interim responses."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._buffer = bytearray()
        self._framing: _Framing | None = None
        self._end = ""  # how the connection ended: "fin", "reset"; "" while it is open
        self._received = 0
        self.complete = False
        self.keep_alive = False  # another request may follow on this connection

    def feed(self, data: bytes) -> None:
        """Append bytes that have arrived."""
        self._received += len(data)
        self._buffer += data

    def feed_end(self, end: str) -> None:
        """The connection has ended, by a "fin" or a "reset"."""
        self._end = end

    @property
    def surplus(self) -> int:
        """Bytes that have come and belong to nothing that was pulled."""
        return len(self._buffer)

    @property
    def trailers(self) -> Headers:
        """The fields behind a chunked body; none before its end."""
        return self._framing.trailers if isinstance(self._framing, _Chunked) else Headers()

    def next_head(self) -> ResponseHead | None:
        """The next head; pull again after an interim one, of a status below 200 (not 101)."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            self._check_end()
            return None
        head = _parse_head(_take(self._buffer, end + 4))
        if head.status >= 200 or head.status == 101:
            self._frame(head)
        return head

    def next_piece(self) -> bytes | None:
        """A piece of the body; b"" at its end."""
        assert self._framing is not None, "the head comes first"
        piece = self._framing.next_piece(self._buffer, self._end == "fin")
        if piece is None:
            self._check_end()
        elif not piece:
            self.complete = True
        return piece

    def _frame(self, head: ResponseHead) -> None:
        """Where the body ends (RFC 9112, section 6.3), and whether the connection goes on."""
        headers, length = head.headers, head.headers.get("content-length")
        coding = headers.get("transfer-encoding").lower()
        if coding and (coding != "chunked" or "content-length" in headers):
            raise BadResponse(f"Transfer-Encoding: {coding}, Content-Length: {length or 'none'}")
        if "content-length" in headers and not re.fullmatch("[0-9]{1,19}", length):
            raise BadResponse(f"Content-Length: {length}")
        if self._method == "HEAD" or head.status in (101, 204, 304):
            self._framing = _Counted(0)
        elif coding:
            self._framing = _Chunked()
        elif length:
            self._framing = _Counted(int(length))
        else:
            self._framing = _UntilClose()
        tokens = {token.strip() for token in headers.get("connection").lower().split(",")}
        persistent = "close" not in tokens if head.minor else "keep-alive" in tokens
        framed = not isinstance(self._framing, _UntilClose)
        self.keep_alive = framed and persistent and head.status != 101

    def _check_end(self) -> None:
        if self._end:
            how = "was reset" if self._end == "reset" else "ended"
            raise IncompleteResponse(
                f"the connection {how} in the middle of the response, after {self._received} bytes"
                if self._received
                else f"the connection {how} without a response"
            )


def _parse_head(raw: bytes) -> ResponseHead:
    first, _, rest = raw.partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise BadResponse(f"not a status line: {first!r}")
    reason = match[3].decode("latin-1")
    return ResponseHead(int(match[2]), reason, _parse_fields(rest[:-2]), raw, int(match[1]))


def _parse_fields(lines: bytes) -> Headers:
    """Fields, each ended by CRLF."""
    fields = lines.split(b"\r\n")[:-1]
    for line in fields:
        if not _FIELD.fullmatch(line):
            raise BadResponse(f"not a field: {line!r}")
    return Headers("".join(f"\r\n{line.decode('latin-1')}" for line in fields))


def _take(buffer: bytearray, count: int) -> bytes:
    """The first `count` bytes, as far as they are there."""
    piece = bytes(buffer[:count])
    del buffer[:count]
    return piece
