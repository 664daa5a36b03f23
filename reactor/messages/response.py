"""A response: status, body and header fields, which never change.

The connection decides how a response is framed (Content-Length, chunked, until close); a handler
states only what it knows. A body that is not sent must be closed: `Response.close` is the one place
that does it.

One Response may be a constant of its module, which many requests get at the same time. Helpers,
hooks and middlewares therefore return a new one, and assigning to a Response raises an error.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, TypeAlias

from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.headers import Fields, GivenFields, as_pairs
from reactor.tasks.task import Runtime

# The statuses whose responses never have content, as with HEAD (RFC 9110, section 6.4.1).
WITHOUT_BODY: Final = frozenset({204, 205, 304})

# The way to a new Response with another value of an attribute, for error messages.
_HELPERS: Final = {
    "status": "replace(status=...)",
    "body": "replace(body=...)",
    "headers": "with_headers((name, value)) or response.replace(headers=...)",
}

Pieces: TypeAlias = Iterator[bytes] | AsyncIterator[bytes]


class Trailed:
    """A body of pieces, and fields that are known when the last piece is made, such as a digest.

    `trailers` is called after the last piece. The fields are sent to a client that has said
    `TE: trailers`, with a chunked body; for all others `trailers` is not even called (RFC 9110,
    section 6.5), so a client must be able to do without. Fields that frame, route, authenticate or
    describe the content are refused (section 6.5.1). A body whose trailers are refused, or raise,
    is cut.
    """

    __slots__ = ("announced", "pieces", "trailers")

    def __init__(
        self, pieces: Pieces, trailers: Callable[[], Fields], *, announce: Iterable[str] = ()
    ) -> None:
        """`announce`: names for the `Trailer` field (section 6.6.2).

        Raises TypeError for a body that is neither an iterator nor an asynchronous iterator.
        """
        if not hasattr(pieces, "__next__") and not hasattr(pieces, "__anext__"):
            raise TypeError(f"a body with trailers is an iterator, not {type(pieces).__name__}")
        self.pieces = pieces
        self.trailers = trailers
        self.announced = tuple(announce)

    def with_pieces(self, pieces: Pieces) -> "Trailed":
        """The same trailers behind other pieces, as an encoder makes them of its own."""
        return Trailed(pieces, self.trailers, announce=self.announced)


ResponseBody: TypeAlias = bytes | memoryview | FileRegion | MultiRegion | Pieces | Trailed


class Response:
    """A response: status, body, header fields.

    The body is bytes, a FileRegion, a MultiRegion of both, or an iterator or async iterator of
    bytes, with trailers where it is Trailed, that is pulled as the client reads and closed if it
    leaves. An iterator whose length is known is given a Content-Length, and must keep it; otherwise
    it goes out chunked. `Date`, `Content-Length` of bytes and regions, `Transfer-Encoding` and
    `Connection` are written for you.

    `headers` are pairs of name and value, or a mapping, and are kept as a tuple of pairs.

    A Response is immutable, since a handler may return the same one to many requests: `replace` and
    `with_headers` return a new Response, and an assignment raises an AttributeError that names
    them. The body of a Response for many requests is bytes: an iterator is spent by the first.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, status: int = 200, body: ResponseBody = b"", headers: GivenFields = ()
    ) -> None:
        """Raises TypeError for header fields that are no pairs of texts."""
        self.status: Final = status
        self.body: Final = body
        self.headers: Final[Fields] = headers if isinstance(headers, tuple) else as_pairs(headers)
        if type(self) is Response:
            # A `__setattr__` of this class would be called for each of the three lines above, which
            # takes longer than all the rest; the subclass refuses what comes after them.
            self.__class__ = _SealedResponse

    def __init_subclass__(cls) -> None:
        cls.__setattr__ = _set_once  # type: ignore[method-assign, assignment]
        cls.__delattr__ = _refuse_to_delete  # type: ignore[method-assign, assignment]

    def __reduce__(self) -> tuple[type["Response"], tuple[int, ResponseBody, Fields]]:
        """How `copy` and `pickle` make another one: by its three arguments."""
        return Response, (self.status, self.body, self.headers)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    def replace(
        self,
        *,
        status: int | None = None,
        body: ResponseBody | None = None,
        headers: GivenFields | None = None,
    ) -> "Response":
        """A new response with this status, body and header fields; those not given are kept.

        A body that is replaced is not closed: that is the caller's to do.
        """
        return Response(
            self.status if status is None else status,
            self.body if body is None else body,
            self.headers if headers is None else headers,
        )

    def with_headers(self, *fields: tuple[str, str]) -> "Response":
        """A new response with these fields behind its own; fields of the same name all stay."""
        return Response(self.status, self.body, (*self.headers, *fields))

    def close(self, runtime: Runtime | None = None) -> None:
        """Close a body that will not be sent: release its files, close its iterator.

        An asynchronous iterator may wait while it closes. With a runtime a task waits for it, for
        `Runtime.cancel_timeout` at most; without one it is closed as far as it gets at once. Raises
        what a plain iterator raises when it is closed.
        """
        body = self.body
        if isinstance(body, FileRegion | MultiRegion):
            body.release()
        elif not isinstance(body, bytes | memoryview):
            closing = close_pieces(body.pieces if isinstance(body, Trailed) else body)
            if closing is None:
                return
            if runtime is not None:
                runtime.spawn(closing).cancel_later()
                return
            steps = closing.__await__()
            next(steps, None)
            steps.close()


def _set_once(self: Response, name: str, value: object) -> None:
    """Set an attribute that a subclass adds, or one of the three that is not set yet."""
    if name not in _HELPERS:
        if isinstance(self, _SealedResponse):
            raise AttributeError(f"a Response has a status, a body and headers, and no {name!r}")
    elif hasattr(self, name):
        raise AttributeError(
            f"a Response is immutable, since other requests may get the same one: {name!r} cannot "
            f"be assigned; response.{_HELPERS[name]} returns a new Response"
        )
    object.__setattr__(self, name, value)


def _refuse_to_delete(self: Response, name: str) -> None:
    raise AttributeError(f"a Response is immutable: {name!r} cannot be deleted")


class _SealedResponse(Response):
    """The class of every Response once it is made; see Response.__init__."""

    __slots__ = ()


def close_pieces(pieces: object) -> Coroutine[Any, Any, None] | None:
    """Close an iterator of either kind, if it has a method for that.

    Returns None when the iterator is closed, and for an asynchronous one the coroutine that closes
    it, for the caller to run.
    """
    close = getattr(pieces, "aclose", None)
    if close is not None:
        closing: Coroutine[Any, Any, None] = close()
        return closing
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
    return None


def plain_response(status: int, sentence: str, headers: Fields = ()) -> Response:
    """A sentence in plain text, the form of every error response."""
    fields = (("Content-Type", "text/plain; charset=utf-8"), *headers)
    return Response(status, f"{sentence}\n".encode(), fields)
