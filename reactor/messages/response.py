"""A response: status, body and header fields.

The connection decides how a response is framed (Content-Length, chunked, until close); a handler
states only what it knows.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TypeAlias

from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.headers import Fields

Pieces: TypeAlias = Iterator[bytes] | AsyncIterator[bytes]


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


ResponseBody: TypeAlias = bytes | memoryview | FileRegion | MultiRegion | Pieces | Trailed


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
