"""The chunked transfer coding (RFC 9112, section 7), in both directions.

The decoder gets the parser's buffer and a position in it, and returns a piece of the body and the
position behind it. It holds no bytes itself: bytes that it cannot use yet stay in the buffer.
"""

import re
from enum import IntEnum
from typing import Final

from reactor.errors import ProtocolError
from reactor.limits import ServerLimits
from reactor.protocol.grammar import FIELD, QUOTED_STRING, TOKEN

LAST_CHUNK: Final = b"0\r\n\r\n"
JOINED_CHUNKS: Final = 256  # at most in one piece: half a millisecond of very small ones
EXTENSION_BYTES: Final = 256  # in the line with the size of a chunk, its end included

# chunk-size [ chunk-ext ] CRLF; extensions are checked and then ignored (section 7.1.1).
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?>(?:[ \t]*+;[ \t]*+%b++(?:[ \t]*+=[ \t]*+(?:%b++|%b))?)*)\r\n"
    % (TOKEN, TOKEN, QUOTED_STRING)
)
_TRAILER = re.compile(FIELD + rb"\r\n")


class _Expected(IntEnum):
    SIZE = 0
    DATA = 1
    DATA_END = 2  # the CRLF behind a chunk's data
    TRAILERS = 3
    NOTHING = 4


class ChunkedDecoder:
    """Decodes one chunked body. Raises ProtocolError: 400, 413 (`upload_bytes`), 431 (trailers)."""

    __slots__ = (
        "_error",
        "_expected",
        "_fields",
        "_limits",
        "_remaining",
        "_total",
        "_trailer_bytes",
    )

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._expected = _Expected.SIZE
        self._remaining = 0  # bytes of this chunk that are to come
        self._total = 0  # bytes of all chunks so far, as their sizes announce them
        self._fields = 0
        self._trailer_bytes = 0
        self._error: ProtocolError | None = None  # found behind a piece, and raised after it

    def next_piece(self, buffer: bytes, position: int, most: int) -> tuple[bytes | None, int]:
        """A piece of at most `most` bytes (b"": the end; None: more needed) and the new position.

        Several chunks that have come make one piece: its reader may pay a job on a disk for each.
        """
        if self._error is not None:
            raise self._error
        pieces: list[bytes] = []
        while len(pieces) < JOINED_CHUNKS and most:
            try:
                piece, position = self._next_of_chunk(buffer, position, most)
            except ProtocolError as error:
                if not pieces:
                    raise
                self._error = error
                break
            if not piece:
                return b"".join(pieces) or piece, position
            pieces.append(piece)
            most -= len(piece)
        return b"".join(pieces), position

    def _next_of_chunk(self, buffer: bytes, position: int, most: int) -> tuple[bytes | None, int]:
        while self._expected is not _Expected.NOTHING:
            if self._expected is _Expected.DATA:
                piece = buffer[position : position + min(most, self._remaining)]
                self._remaining -= len(piece)
                if not self._remaining:
                    self._expected = _Expected.DATA_END
                return piece or None, position + len(piece)
            line_end = buffer.find(b"\n", position) + 1
            if not line_end:
                self._check_unfinished(buffer, position)
                return None, position
            self._line(buffer[position:line_end])
            position = line_end
        return b"", position

    def _line(self, line: bytes) -> None:
        """Parse a whole line."""
        if self._expected is _Expected.SIZE:
            self._size_line(line)
        elif self._expected is _Expected.DATA_END:
            if line != b"\r\n":
                raise ProtocolError(400, "A chunk has more bytes than its size says.")
            self._expected = _Expected.SIZE
        elif line == b"\r\n":
            self._expected = _Expected.NOTHING
        else:
            self._trailer_line(line)

    def _size_line(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line) if len(line) <= EXTENSION_BYTES else None
        if match is None:
            raise ProtocolError(400, "The size of a chunk must be 1 to 16 hexadecimal digits.")
        self._remaining = int(match[1], 16)
        self._total += self._remaining
        if self._total > self._limits.upload_bytes:
            raise body_too_large(self._limits)
        self._expected = _Expected.DATA if self._remaining else _Expected.TRAILERS

    def _trailer_line(self, line: bytes) -> None:
        """Check a trailer and drop it: no code may rely on trailers (RFC 9110, section 6.5.1)."""
        self._fields += 1
        self._trailer_bytes += len(line)
        if (
            self._fields > self._limits.head_fields
            or self._trailer_bytes > self._limits.trailer_bytes
        ):
            raise _trailers_too_large()
        if not _TRAILER.fullmatch(line):
            raise ProtocolError(400, "A trailer must have the form of a header field.")

    def _check_unfinished(self, buffer: bytes, position: int) -> None:
        """Refuse a line that is too long, or wrong, although its end has not come."""
        size = len(buffer) - position
        if self._expected is _Expected.TRAILERS:
            if (
                self._trailer_bytes + size > self._limits.trailer_bytes
                and buffer[position:] != b"\r"  # the last empty line does not count
            ):
                raise _trailers_too_large()
        elif self._expected is _Expected.SIZE:
            if size > EXTENSION_BYTES:
                raise ProtocolError(
                    400, f"The size of a chunk has more than {EXTENSION_BYTES} bytes."
                )
        elif size and buffer[position:] != b"\r":
            raise ProtocolError(400, "A chunk has more bytes than its size says.")


def body_too_large(limits: ServerLimits) -> ProtocolError:
    """The error of a body that exceeds `upload_bytes`, by its length or its chunks."""
    return ProtocolError(413, f"The request's body is larger than {limits.upload_bytes} bytes.")


def _trailers_too_large() -> ProtocolError:
    return ProtocolError(431, "The trailers of the request's body are too large.")


def last_chunk(trailers: bytes) -> bytes:
    """The last chunk with these field lines behind it, each with its CRLF (section 7.1.2)."""
    return b"0\r\n%b\r\n" % trailers


def encode_chunk(piece: bytes) -> bytes:
    """`piece` as one chunk; an empty piece would be the last chunk, so there must be a byte."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
