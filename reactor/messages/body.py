"""A request's body: a stream of bytes that is read from the socket only while the handler pulls.

A handler pulls a piece (`read(most)`, `async for`) or the whole (`whole`, `read()`). Where the
pieces come from, and whether there is room for them, is the connection's business (BodySource).

Several functions may want one body: middlewares, and then an endpoint. Bytes that were pulled are
therefore held for those that ask later, until the response is there, by two rules:

- The whole is held in memory that all bodies of a server share and count.
- Of a body that is pulled piece by piece the first `small_body_bytes` are held, which belong to its
  connection and are not counted. With the first byte beyond them nothing is held any more: the
  body is a stream, however long it is. A later look at its beginning raises an error that names the
  function that has pulled it.
"""

import sys
from collections.abc import Awaitable
from types import FrameType
from typing import Final, Protocol

from reactor.errors import ProtocolError
from reactor.messages.headers import Fields
from reactor.tasks.futures import Future

PIECE_BYTES = 64 * 1024  # one recv brings at most so many, and a pull asks for as many by default

# Smaller pieces of a body that is read whole are gathered in one buffer: an object for every two
# bytes that a client sends would take twenty times as much memory as is counted.
SMALL_PIECE_BYTES = 512

READS_FOR_CALLERS: Final = True  # so that an error names the caller of a function of this module


class BodySource(Protocol):
    """The source of a body's bytes: the connection, see http/request_body.py."""

    def pull(self, most: int) -> bytes | Future[bytes]:
        """At most `most` bytes, or a future of them; b"" at the end. Raises ProtocolError."""

    def inform(self, status: int, headers: Fields) -> bool:
        """Send an informational response. Returns whether it was sent."""

    def hold(self, size: int) -> Awaitable[None] | None:
        """Room in memory for `size` bytes in all: None where it is there. Raises ProtocolError."""

    def release(self) -> None:
        """The memory is no longer needed."""


class Body:
    """A request's body: a stream that is pulled. The socket is not read between two pulls.

    `length` is in bytes, and None for a chunked body. Every pull raises ProtocolError when the body
    is malformed (400), too slow (408) or too large (413). That error then makes the response, even
    if the handler catches it.

    Reading goes on where it was, and begins at the first byte again for each function that the
    request is passed on to: for `next` of a middleware, and behind it, unless the response is made
    piece by piece, since that may be reading still; for a mounted handler. A
    body whose beginning is no longer held raises a RuntimeError then, which names the function that
    has pulled it.
    """

    __slots__ = (
        "_consumer",
        "_first",
        "_held",
        "_limit",
        "_most",
        "_place",
        "_pulled",
        "_small",
        "_source",
        "ended",
        "length",
    )

    def __init__(
        self, source: BodySource | None, length: int | None, most: int, small: int | None = None
    ) -> None:
        """`most`: bytes of the longest body that is read whole; `small`: held of any other body."""
        self.length = length
        self._source = source
        self._most = most
        self._small = most if small is None else small
        self._limit = sys.maxsize
        # Offsets in bytes, of what was pulled, what is read next, and what is held of it. All that
        # was pulled is held, from the first byte on, until it is too much: nothing is held then.
        self._pulled = 0
        self._place = 0
        self._first = 0
        self._held: list[bytes | bytearray] = []
        self._consumer = ""  # the function that has pulled too much
        self.ended = False  # it has been read whole

    async def read(self, most: int = -1) -> bytes:
        """Return at most `most` bytes as soon as some have arrived, and b"" at the end.

        Without `most`, returns the whole rest, which is held in memory: ProtocolError(413) beyond
        `Limits.memory_body_bytes`, and 503 where it waits for memory that others hold for longer
        than `Limits.memory_timeout`. The rest stays in its place: a second call returns it again.

        Raises RuntimeError after the response, and for bytes that were pulled and are not held.
        """
        if self._source is None:
            raise RuntimeError("the body of a request cannot be read after its response")
        if most == 0 or self.length == 0:
            return b""
        if most < 0:
            return await self._hold_from(self._place)
        if self._pulled > self._limit:
            raise _too_large(self._limit)
        # One byte more than the limit is enough to see that the body exceeds it.
        most = min(most, self._limit - self._place + 1)
        if self._place < self._pulled:
            piece = self._joined(self._place, most)
        else:
            piece = await self._pull(most)
            if self._pulled > self._small and not self.ended:
                self._let_go()
        self._place += len(piece)
        if self._pulled > self._limit:
            raise _too_large(self._limit)
        return piece

    async def whole(self) -> bytes:
        """Return the whole body from its first byte on, wherever reading is; else as `read()`."""
        if self.length == 0:
            return b""
        return await self._hold_from(0)

    def rewind(self) -> None:
        """Begin reading at the first byte again: the next function is to read this body."""
        if self.length != 0:  # requests without a body share one Body
            self._place = 0

    def limit(self, most: int) -> None:
        """Allow `most` bytes in all: a pull that exceeds them raises ProtocolError(413).

        For middlewares, since a handler may need less than the server accepts. A second call can
        lower the limit, but not raise it.
        """
        if self.length != 0:  # requests without a body share one Body
            self._limit = min(self._limit, most)
            self._most = min(self._most, most)

    def inform(self, status: int, headers: Fields = ()) -> bool:
        """Send an informational response (RFC 9110, section 15.2) before the final one, now.

        Returns False, and sends nothing, to a client of HTTP/1.0, which does not know such
        responses, after the final response has begun, and for a request without a body. Raises
        ResponseError for a wrong status or wrong fields.
        """
        return self._source is not None and self._source.inform(status, headers)

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        piece = await self.read(PIECE_BYTES)
        if not piece:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """The response is there: pulls fail from now on, and the memory is released."""
        source, self._source = self._source, None
        if source is not None:
            self._held = []
            self._first = self._pulled
            source.release()

    async def _hold_from(self, begin: int) -> bytes:
        """The bytes from this offset to the end, which are held from now on."""
        if self.length is not None and self.length > self._most:
            raise _too_large(self._most)
        if begin < self._first:
            raise self._gone()
        while not self.ended and self._pulled != self.length:
            piece = await self._pull(PIECE_BYTES)
            size = self._pulled - self._first
            if size > self._most:
                raise _too_large(self._most)
            room = None if self._source is None else self._source.hold(size)
            if room is not None:
                await room
            self.ended = not piece
        self.ended = True
        content = self._joined(begin)
        if len(content) > self._most:  # a limit that was set when it had been read
            raise _too_large(self._most)
        return content

    async def _pull(self, most: int) -> bytes:
        """The next piece of the source, which is held where all before it are."""
        if self._source is None:
            raise RuntimeError("the body of a request cannot be read after its response")
        pulled = self._source.pull(most)
        piece = pulled if isinstance(pulled, bytes) else await pulled
        self._pulled += len(piece)
        held = self._held
        if len(piece) >= SMALL_PIECE_BYTES or self._pulled == self.length:
            held.append(piece)
        elif held and isinstance(held[-1], bytearray):
            held[-1] += piece
        else:
            held.append(bytearray(piece))
        return piece

    def _joined(self, begin: int, most: int | None = None) -> bytes:
        """At most `most` of the bytes that are held from this offset on, or all of them.

        Raises RuntimeError where they are no longer held.
        """
        if begin < self._first:
            raise self._gone()
        content = b"".join(self._held)
        self._held = [content]
        begin -= self._first
        return content[begin:] if most is None else content[begin : begin + most]

    def _gone(self) -> RuntimeError:
        """The error of asking for bytes that are no longer held."""
        return RuntimeError(
            f"the beginning of the request's body is no longer there: {self._consumer} pulled "
            f"more of it than the {self._small} bytes that are held of a body that is read "
            "piece by piece; `await request.read()` leaves the whole for others"
        )

    def _let_go(self) -> None:
        """Hold nothing: this is a stream that is read piece by piece."""
        if not self._consumer:
            self._consumer = _caller()
        self._held = []
        self._first = self._pulled


def _caller() -> str:
    """The function that pulls a body, with its file and line."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (
        "READS_FOR_CALLERS" in frame.f_globals or frame.f_code.co_name.endswith(("comp>", "expr>"))
    ):
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__", "").startswith("reactor.tasks."):
        return "a task (of gather, timeout or first_of)"
    code = frame.f_code
    return f"{code.co_qualname} ({code.co_filename}, line {frame.f_lineno})"


def _too_large(most: int) -> ProtocolError:
    return ProtocolError(413, f"The request's body is larger than {most} bytes.")


class _NoBody:
    """The source of an empty body."""

    def pull(self, most: int) -> bytes:
        return b""

    def inform(self, status: int, headers: Fields) -> bool:
        return False

    def hold(self, size: int) -> None:
        return None

    def release(self) -> None:
        """Nothing is held."""


NO_BODY = Body(_NoBody(), 0, 0)
