"""Adapters from an author's function to the innermost step of a chain.

An endpoint is called with the request and with the path parameters that it names. It may be a
`def`, an `async def`, a generator of either kind, or a plain function that sometimes has to wait
(`may_wait`). Its result is made into a Response (see app/responses.py); `on_error` makes a Response
of the exceptions that it raises. There is one step for each kind of function, so that a request
asks nothing that is known when the application is composed.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Set
from typing import Any, Final, NamedTuple

from reactor.errors import all_but_cancelling, all_but_interrupts
from reactor.files.region import FileRegion
from reactor.http.first_piece import has_to_begin, is_event_stream
from reactor.messages.request import BaseRequest
from reactor.messages.response import WITHOUT_BODY, Response, Trailed
from reactor.web.app.chain import Inner, reader
from reactor.web.app.functions import describe, is_asynchronous
from reactor.web.app.responses import AsyncEncodedPieces, respond
from reactor.web.app.router import RouteError
from reactor.web.endpoint import Endpoint, ErrorResponder, ResponseOrAwaitable, settled
from reactor.web.semantics.methods import WITHOUT_CONTENT
from reactor.web.streams import BegunPieces, BegunStream, begin_stream

_BEGUN: Final = (bytes, FileRegion)  # bodies without pieces that somebody has yet to make


class MountedHandler:
    """A handler that is mounted as it is: it reads the body itself, and may wait."""

    may_wait = True

    def __init__(self, handler: Any) -> None:
        self.handler = handler
        self.__wrapped__ = handler  # for error messages

    def __call__(self, request: BaseRequest) -> Any:
        return self.handler(request)


def innermost(
    endpoint: Callable[..., Any],
    parameters: Set[str],
    on_error: ErrorResponder,
    on_late_error: ErrorResponder | None = None,
    *,
    can_wait: bool = False,
) -> Inner:
    """The step that calls the endpoint and makes a Response of its result or its exception.

    `parameters` are the names of the path's parameters. `on_late_error` makes the response to an
    error of a stream that waits for its first piece; it never raises. `can_wait`: no middleware of
    the route is plain. Raises RouteError for an endpoint that takes no request, or requires an
    argument that is not a parameter of the path.
    """
    streams = _Streams(on_late_error or on_error, can_wait)
    name = describe(endpoint)
    call = _adapt(endpoint, parameters)
    if is_asynchronous(endpoint):
        return Inner(_asynchronous_call(call, on_error, streams), name, waits=True)
    if isinstance(endpoint, MountedHandler):
        mounted = _Adapted(endpoint.handler)
        return Inner(_call_that_may_wait(mounted, on_error, streams), name, waits=True)
    waits = getattr(endpoint, "may_wait", False)
    unread = frozenset() if getattr(endpoint, "reads_body", False) else WITHOUT_CONTENT
    make = _call_that_may_wait if waits else _plain_call
    with_body = make(call, on_error, streams)
    reading = make(call, on_error, streams, reader(with_body, on_error), unread)
    return Inner(with_body, name, waits, reading, unread)


class _Streams:
    """Begins the responses of an endpoint whose bodies are made piece by piece.

    An error before the first piece is an error of the endpoint, so the first piece is made here,
    and such an error passes the middlewares as any other. A plain middleware cannot wait for the
    first piece of an asynchronous generator; behind one the connection does that, and calls
    `on_error` of the request.
    """

    def __init__(self, on_error: ErrorResponder, can_wait: bool) -> None:
        self._on_error = on_error
        self._can_wait = can_wait

    def begin(self, request: BaseRequest, response: Response) -> ResponseOrAwaitable:
        """The response with its first piece, or an awaitable of it that never raises."""
        if not has_to_begin(response):
            return response
        request.on_error = self._on_error
        pieces = _pieces_of(response)
        if isinstance(pieces, Iterator):
            return _with_pieces(response, BegunPieces(pieces))
        if self._can_wait and pieces is not None:
            return self._begin_later(request, response)
        return response

    async def wait(self, request: BaseRequest, response: Response) -> Response:
        """The same for a coroutine. Raises what the body raises."""
        pieces = _pieces_of(response) if has_to_begin(response) else None
        if not isinstance(pieces, AsyncIterator):
            return await settled(self.begin(request, response))
        request.on_error = self._on_error
        return _with_pieces(response, await begin_stream(pieces))

    async def _begin_later(self, request: BaseRequest, response: Response) -> Response:
        try:
            return await self.wait(request, response)
        except all_but_cancelling() as error:
            return await settled(self._on_error(request, error))


def _pieces_of(response: Response) -> Iterator[bytes] | AsyncIterator[bytes] | None:
    """The pieces of a body that can be begun here, an author's, or else None.

    A stream of another class has its own ways: an encoded form, a head that is sent at once.
    """
    body = response.body
    pieces = body.pieces if isinstance(body, Trailed) else body
    if response.status in WITHOUT_BODY:
        return None
    if isinstance(pieces, Iterator):
        return pieces
    if isinstance(pieces, AsyncEncodedPieces) or inspect.isasyncgen(pieces):
        return None if is_event_stream(response) else pieces
    return None


def _with_pieces(response: Response, begun: BegunPieces | BegunStream) -> Response:
    body = response.body
    return response.replace(body=body.with_pieces(begun) if isinstance(body, Trailed) else begun)


class _Adapted(NamedTuple):
    """An endpoint, and the way in which it gets the parameters of the path."""

    function: Callable[..., Any]
    by_name: bool = False  # all of them
    alone: str = ""  # the one that it gets, as its second argument: half the cost of `by_name`


def _adapt(endpoint: Callable[..., Any], parameters: Set[str]) -> _Adapted:
    """The endpoint with its way to get the parameters of the path. Raises RouteError."""
    wanted = _wanted_parameters(endpoint, parameters)
    if len(wanted) == 1 and inspect.isfunction(endpoint) and not endpoint.__defaults__:
        [alone] = wanted
        code = endpoint.__code__
        if code.co_varnames[1 : code.co_argcount] == (alone,):
            return _Adapted(endpoint, alone=alone)
    if wanted and wanted != parameters:
        return _Adapted(_with_some(endpoint, wanted), by_name=True)
    return _Adapted(endpoint, by_name=bool(wanted))


def _wanted_parameters(endpoint: Callable[..., Any], parameters: Set[str]) -> Set[str]:
    """The path parameters that the endpoint takes as arguments. Raises RouteError."""
    others = list(inspect.signature(endpoint).parameters.values())[1:]
    named = [one for one in others if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    for one in named:
        if one.name not in parameters and one.default is one.empty:
            known = ", ".join(map(repr, sorted(parameters))) or "none"
            raise RouteError(
                f"{describe(endpoint)} requires {one.name!r}, which is no parameter of the path; "
                f"its parameters: {known}"
            )
    for one in others:
        if one.kind is one.POSITIONAL_ONLY and one.default is one.empty:
            raise RouteError(
                f"{describe(endpoint)} takes {one.name!r} by place alone; the parameters of a path "
                "are given by name"
            )
    if any(one.kind is one.VAR_KEYWORD for one in others):
        return parameters
    return parameters & {one.name for one in named}


def _with_some(endpoint: Callable[..., Any], wanted: Set[str]) -> Callable[..., Any]:
    """The endpoint, called with the wanted path parameters alone."""

    def with_some(request: BaseRequest, **params: Any) -> Any:
        return endpoint(request, **{name: params[name] for name in wanted})

    with_some.__wrapped__ = endpoint  # type: ignore[attr-defined]  # for error messages
    return with_some


def _plain_call(
    adapted: _Adapted,
    on_error: ErrorResponder,
    streams: "_Streams",
    read_and_call: Endpoint | None = None,
    unread: Set[str] = frozenset(),
) -> Endpoint:
    """Call a plain endpoint.

    `read_and_call` does the same where the body has yet to be read; None: the body is always there.
    It is not read for the methods `unread`.
    """
    endpoint, by_name, alone = adapted

    def call(request: BaseRequest) -> ResponseOrAwaitable:
        if request.length != 0 and read_and_call is not None and request.method not in unread:
            return read_and_call(request)
        try:
            if alone:
                result = endpoint(request, request.params[alone])
            else:
                result = endpoint(request, **request.params) if by_name else endpoint(request)
            if not isinstance(result, Response):
                result = respond(result, endpoint)
            return result if isinstance(result.body, bytes) else streams.begin(request, result)
        except all_but_interrupts() as error:
            return on_error(request, error)

    return call


def _call_that_may_wait(
    adapted: _Adapted,
    on_error: ErrorResponder,
    streams: "_Streams",
    read_and_call: Endpoint | None = None,
    unread: Set[str] = frozenset(),
) -> Endpoint:
    """The same for an endpoint whose result may have to be awaited."""
    endpoint, by_name, alone = adapted

    async def finish(request: BaseRequest, awaitable: Awaitable[Any]) -> Response:
        try:
            return await streams.wait(request, respond(await awaitable, endpoint))
        except all_but_cancelling() as error:
            return await settled(on_error(request, error))

    def call(request: BaseRequest) -> ResponseOrAwaitable:
        if request.length != 0 and read_and_call is not None and request.method not in unread:
            return read_and_call(request)
        try:
            if alone:
                result = endpoint(request, request.params[alone])
            else:
                result = endpoint(request, **request.params) if by_name else endpoint(request)
            if not isinstance(result, Response):
                if inspect.isawaitable(result):
                    return finish(request, result)
                result = respond(result, endpoint)
            begun = isinstance(result.body, _BEGUN)
            return result if begun else streams.begin(request, result)
        except all_but_interrupts() as error:
            return on_error(request, error)

    return call


def _asynchronous_call(
    adapted: _Adapted, on_error: ErrorResponder, streams: "_Streams"
) -> Endpoint:
    endpoint, by_name, alone = adapted

    async def call(request: BaseRequest) -> Response:
        try:
            if alone:
                result = await endpoint(request, request.params[alone])
            else:
                called = endpoint(request, **request.params) if by_name else endpoint(request)
                result = await called
            if not isinstance(result, Response):
                result = respond(result, endpoint)
            return result if isinstance(result.body, bytes) else await streams.wait(request, result)
        except all_but_cancelling() as error:
            return await settled(on_error(request, error))

    return call
