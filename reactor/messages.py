"""The nouns of HTTP: what a handler gets and what it gives back.

A Request is made by the parser and completed by the connection. Its head is whole; its body is a
stream that is pulled. Headers are kept as the bytes came, and a look-up is a search in them: most
handlers ask for one or two fields of ten, so an index would cost more than it saves.

A Response is a status, a body and fields. How it is framed (Content-Length, chunked, until close)
is the connection's business; a handler only says what it knows.
"""

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from reactor.budgets import MemoryBudget
from reactor.errors import Cancelled, ProtocolError
from reactor.futures import Future
from reactor.regions import FileRegion, Parts

Fields: TypeAlias = Sequence[tuple[str, str]]
Pieces: TypeAlias = Iterator[bytes] | AsyncIterator[bytes]

PIECE_BYTES = 64 * 1024  # what one recv brings at most, and what a pull asks for by default


@lru_cache(maxsize=256)
def _key(name: str) -> str:
    """How a field begins, in lower case."""
    return f"\r\n{name.lower()}:"


class Headers:
    """Header fields as they were received: ordered, multi-valued, names in any case."""

    __slots__ = ("_folded", "_raw")

    def __init__(self, raw: str = "") -> None:
        """`raw`: fields, each begun by CRLF, already checked; decoded as Latin-1."""
        self._raw = raw
        self._folded: str | None = None  # made for the first look-up

    def get(self, name: str, default: str = "") -> str:
        """The field's value; several lines are joined by ", " (RFC 9110, section 5.3)."""
        folded = self._folded
        if folded is None:
            folded = self._fold()
        key = _key(name)
        start = folded.find(key)
        if start < 0:
            return default
        if folded.find(key, start + 1) >= 0:
            return ", ".join(self.get_all(name))
        begin = start + len(key)
        end = folded.find("\r\n", begin)
        return (self._raw[begin:end] if end >= 0 else self._raw[begin:]).strip(" \t")

    def get_all(self, name: str) -> list[str]:
        """The field's values, one a line, without the white space around them."""
        folded = name.lower()
        return [value for other, value in self if other.lower() == folded]

    def __contains__(self, name: str) -> bool:
        return _key(name) in (self._folded or self._fold())

    def has_prefix(self, prefix: str) -> bool:
        """Whether any field begins with this, in lower case; cheap, for families like `if-`."""
        return "\r\n" + prefix in (self._folded or self._fold())

    def folded(self) -> str:
        """All of them in lower case, each begun by CRLF, for who has several things to look for."""
        return self._folded or self._fold()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for line in self._raw.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            yield name, value.strip(" \t")

    def _fold(self) -> str:
        """The same in lower case, for look-ups."""
        self._folded = self._raw.lower()
        return self._folded


class BodySource(Protocol):
    """Where a body comes from: the connection."""

    def pull(self, most: int) -> bytes | Future[bytes]: ...
    def inform(self, status: int, headers: Fields) -> bool: ...


class Body:
    """A request's body: a stream that is pulled, with the socket not read while nobody pulls.

    Every pull raises ProtocolError when the body is malformed (400), too slow (408) or too large
    (413); that is then the answer, whatever the handler does.
    """

    __slots__ = ("_budget", "_come", "_held", "_limit", "_most", "_room", "_source", "length")

    def __init__(
        self, source: BodySource | None, length: int | None, most: int, budget: MemoryBudget
    ) -> None:
        self.length = length  # None where it is chunked
        self._source = source
        self._most = most
        self._limit = sys.maxsize
        self._come = 0  # bytes that were pulled
        self._budget = budget
        self._held = 0
        self._room: Future[int] | None = None  # memory that is waited for

    async def read(self, most: int = -1) -> bytes:
        """At most `most` bytes as soon as there are any; b"" at the end.

        Without `most`, the whole rest, which is held in memory and therefore bounded by
        `Limits.memory_body_bytes`: ProtocolError(413) beyond.
        """
        if self._source is None:
            raise RuntimeError("this request is answered; its body is gone")
        if most < 0 and self.length != 0:
            return await self._read_all()
        if most == 0 or self.length == 0:
            return b""
        if self._come > self._limit:
            raise _too_large(self._limit)
        # One byte more than there may be tells that there are too many.
        pulled = self._source.pull(min(most, self._limit - self._come + 1))
        piece = pulled if isinstance(pulled, bytes) else await pulled
        self._come += len(piece)
        if self._come > self._limit:
            raise _too_large(self._limit)
        return piece

    def limit(self, most: int) -> None:
        """Have all of it be no more than `most` bytes: a pull that finds more raises 413.

        For who knows what a handler needs, which may be less than what the server takes. A limit
        can be lowered, never raised.
        """
        if self.length != 0:  # one that is not there is shared
            self._limit = min(self._limit, most)
            self._most = min(self._most, most)

    def inform(self, status: int, headers: Fields = ()) -> bool:
        """Send an informational answer (RFC 9110, section 15.2) before the final one, now.

        False, and nothing is sent, where the client is of HTTP/1.0, which knows none, where the
        final answer has begun, or where there is no body. Raises ResponseError for bad fields.
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
        """The request is answered: pulls fail from now on, and the memory is given back."""
        self._source = None
        if self._room is not None:
            if self._room.done:  # it came in this very turn, and nobody will use it
                self._held += self._room.result()
            self._room.set_exception(Cancelled())
            self._room = None
        if self._held:
            held, self._held = self._held, 0
            self._budget.give(held)

    async def _read_all(self) -> bytes:
        if self.length is not None and self.length > self._most:
            raise _too_large(self._most)
        # Room for the whole is taken before any of it is read: what waits for room waits in the
        # kernel, and no two bodies that are half read wait for each other.
        room = self._most if self.length is None else self.length
        await self._hold(room)
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read(PIECE_BYTES):
            size += len(piece)
            if size > self._most:
                raise _too_large(self._most)
            pieces.append(piece)
        self._held -= room - size
        self._budget.give(room - size)
        return b"".join(pieces)

    async def _hold(self, count: int) -> None:
        self._room = self._budget.take(count)
        if self._room is not None:
            await self._room
            self._room = None
        self._held += count


def _too_large(most: int) -> ProtocolError:
    return ProtocolError(413, f"This body may have {most} bytes at most.")


class _NoBody:
    """The source of a body that is not there."""

    def pull(self, most: int) -> bytes:
        return b""

    def inform(self, status: int, headers: Fields) -> bool:
        return False


NO_BODY = Body(_NoBody(), 0, 0, MemoryBudget(0))


_NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


class Request:
    """A request whose head is whole.

    `path` and `query` are the target's parts as they came, still percent-encoded; `host` is the
    Host field or, before it, the authority of an absolute target. `content` is the body's bytes
    where something has read them for a plain handler, `params` what a router found in the path.
    `_state` is for whoever makes a class of its own of this one, and not there until it is set.

    For the logs: `started` is when it was served, in seconds of the reactor's clock; who makes an
    identifier for the request sets `id`; and where `logged` is set to False the access log has no
    line of it.
    """

    _state: dict[str, Any]

    __slots__ = (
        "_state",
        "body",
        "client",
        "client_closed",
        "content",
        "expects_continue",
        "headers",
        "host",
        "id",
        "keep_alive",
        "length",
        "logged",
        "method",
        "minor",
        "params",
        "path",
        "query",
        "scheme",
        "started",
        "target",
    )

    def __init__(
        self, method: str, target: str, path: str, query: str, minor: int, headers: Headers
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.minor = minor  # of HTTP/1.minor
        self.headers = headers
        self.scheme = "http"
        self.host = ""
        self.keep_alive = minor > 0
        self.length: int | None = 0  # of the body in bytes; None: chunked
        self.expects_continue = False
        self.body = NO_BODY
        self.content = b""
        self.params: Mapping[str, Any] = _NO_PARAMS
        self.client: tuple[Any, ...] = ("", 0)
        self.client_closed = False  # it sends no more; it may still read
        self.started = 0.0
        self.id = ""
        self.logged = True

    def __repr__(self) -> str:
        return f"<{self.method} {self.target} HTTP/1.{self.minor}>"


class Trailed:
    """A body of pieces, and the fields that are known when the last of them is made: a digest.

    They are sent where the client has said `TE: trailers` and the body goes out chunked, and are
    dropped, `trailers` not even called, everywhere else (RFC 9110, section 6.5): whoever depends on
    them is told elsewhere. A field that frames, routes, authenticates or describes what came before
    it is refused (section 6.5.1), and a body whose trailers are refused, or cannot be made, is cut.
    """

    __slots__ = ("announced", "pieces", "trailers")

    def __init__(
        self, pieces: Pieces, trailers: Callable[[], Fields], *, announce: Iterable[str] = ()
    ) -> None:
        """`announce`: names for the `Trailer` field (section 6.6.2).

        Raises TypeError where the body is not an iterator or asynchronous iterator.
        """
        if not hasattr(pieces, "__next__") and not hasattr(pieces, "__anext__"):
            raise TypeError(f"a body with trailers is an iterator, not {type(pieces).__name__}")
        self.pieces = pieces
        self.trailers = trailers
        self.announced = tuple(announce)


ResponseBody: TypeAlias = bytes | memoryview | FileRegion | Parts | Pieces | Trailed


class Response:
    """An answer: status, body, fields.

    The body is bytes, a FileRegion, Parts of both, or an iterator or async iterator of bytes, with
    trailers where it is Trailed, that is pulled as the client reads and closed if it leaves. An
    iterator whose length is known is given a Content-Length, and must keep it; otherwise it goes
    out chunked. `Date`, `Content-Length` of bytes and regions, `Transfer-Encoding` and `Connection`
    are written for you.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int = 200, body: ResponseBody = b"", headers: Fields = ()) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def plain_response(status: int, sentence: str, headers: Fields = ()) -> Response:
    """A sentence in plain text, as errors are told."""
    fields = (("Content-Type", "text/plain; charset=utf-8"), *headers)
    return Response(status, f"{sentence}\n".encode(), fields)
