"""The first piece of a response body that is made piece by piece, pulled before the head leaves.

An error before the first piece is an error of the request: it makes the response, as one in the
handler does, and the client gets a status instead of a reset. So the first piece is waited for like
the handler's response, in the state HANDLER. A HEAD request pulls it as well, for the same status.
An empty piece is a piece: a body that yields b"" at once has its head sent at once. An event stream
(text/event-stream) may be silent for long, and its client waits for the head: that is sent at once
where the first event has to be waited for.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeGuard

from reactor.errors import all_but_interrupts
from reactor.files.file import WINDOW_BYTES
from reactor.files.region import FileRegion, MultiRegion
from reactor.http.response_body import Piece, Source, checked_piece, discard, source_of
from reactor.messages.request import BaseRequest
from reactor.messages.response import WITHOUT_BODY, Pieces, Response, ResponseBody, Trailed
from reactor.tasks.futures import Future
from reactor.tasks.task import Runtime

log = logging.getLogger("reactor")


class BegunResponse(Response):
    """A response whose body can be sent: `first` has the piece that was pulled of its source."""

    __slots__ = ("first", "source")

    def __init__(
        self, response: Response, source: Source, first: Piece | Future[Any] | None
    ) -> None:
        super().__init__(response.status, response.body, response.headers)
        self.source = source
        self.first = [first]

    def close(self, runtime: Runtime | None = None) -> None:
        self.source.close()


def has_to_begin(response: Response) -> bool:
    """Whether the body is made piece by piece, and its first piece has not been pulled."""
    return _is_made(response.body) and not isinstance(response, BegunResponse)


def is_event_stream(response: Response) -> bool:
    """Whether the body has server-sent events, and may wait long for the first of them.

    A body with the attribute `begins_at_once` does not: it makes an empty piece if it has to wait.
    """
    return not getattr(response.body, "begins_at_once", False) and any(
        name.lower() == "content-type" and value.lower().startswith("text/event-stream")
        for name, value in response.headers
    )


def leave_out(response: Response, runtime: Runtime) -> ResponseBody:
    """The body of a response that is sent without it: b"", and its own is closed.

    A body that has to begin is returned itself, since an error in it changes the status.
    """
    if response.status not in WITHOUT_BODY and has_to_begin(response):
        return response.body
    discard(response, runtime)
    return b""


def begin(response: Response, runtime: Runtime) -> Future[Response]:
    """Pull the first piece. Returns a Future of the response with it.

    It raises what the body raises, and TypeError or ResponseError for a piece that is not bytes;
    the body is closed then.
    """
    source = source_of(response.body, runtime)
    begun: Future[Response] = Future()
    try:
        piece = source.next_piece(WINDOW_BYTES)
        if isinstance(piece, Future) and is_event_stream(response):
            begun.set_result(BegunResponse(response, source, piece))
            return begun
        if isinstance(piece, Future):
            return runtime.spawn(_first_of(response, source, piece))
        begun.set_result(BegunResponse(response, source, checked_piece(piece)))
    except all_but_interrupts() as error:
        _close(source)
        begun.set_exception(error)
    return begun


def response_to(
    request: BaseRequest,
    error: BaseException,
    error_response: Callable[[BaseRequest, BaseException], Response],
) -> Response | Awaitable[Response]:
    """The response to an error: the application's, where it has put `on_error` into the request.

    Otherwise `error_response` makes it. The application is asked once for a request, since the
    response to an error may fail as well.
    """
    respond: Callable[[Any, BaseException], Any] | None = getattr(request, "on_error", None)
    if respond is None:
        return error_response(request, error)
    del request.on_error
    try:
        response: Response | Awaitable[Response] = respond(request, error)
    except all_but_interrupts() as other:
        return error_response(request, other)
    return response


async def _first_of(response: Response, source: Source, coming: Future[Any]) -> Response:
    try:
        piece = checked_piece(await coming)
    except BaseException:
        _close(source)
        raise
    finally:
        del coming  # or error, frame and future are a cycle
    return BegunResponse(response, source, piece)


def _is_made(body: ResponseBody) -> TypeGuard[Pieces | Trailed]:
    return not isinstance(body, bytes | memoryview | FileRegion | MultiRegion)


def _close(source: Source) -> None:
    try:
        source.close()
    except all_but_interrupts():
        log.exception("the body of a response could not be closed")
