"""From a function that somebody has written to the innermost step of a chain.

An endpoint is called with the request and, where it names them, parameters of the path. It may be
a `def`, an `async def`, a generator of either kind, or a plain function that sometimes has to wait
(`may_wait`); what it returns becomes a Response (see app/responses.py), and what it raises what the
application makes of it. There is a step for each kind, so that nothing is asked for each request
that could be known before.
"""

import inspect
from collections.abc import Awaitable, Callable, Set
from typing import Any

from reactor.messages.request import Request
from reactor.messages.response import Response
from reactor.web.app.chain import Inner, is_asynchronous, name_of, reader
from reactor.web.app.responses import respond
from reactor.web.app.router import RouteError
from reactor.web.endpoint import Endpoint, ErrorResponder, ResponseOrAwaitable


class Mounted:
    """A handler that is no endpoint: it reads the body itself, and may wait."""

    may_wait = True

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def __call__(self, request: Request) -> Any:
        return self.handler(request)


def innermost(endpoint: Callable[..., Any], there: Set[str], told: ErrorResponder) -> Inner:
    """The step that calls the endpoint and makes a Response of what it returns or raises.

    `there` are the names of the path's parameters, `told` says what becomes of an exception. Raises
    RouteError for an endpoint that wants what the path does not have.
    """
    name = name_of(endpoint)
    wanted = _wanted_of(endpoint, there)
    call = endpoint if not wanted or wanted == there else _with_some(endpoint, wanted)
    if is_asynchronous(endpoint):
        return Inner(_awaiting(call, bool(wanted), told), name, waits=True)
    if isinstance(endpoint, Mounted):
        return Inner(_either(call, False, told, None), name, waits=True)
    waits = getattr(endpoint, "may_wait", False)
    make = _either if waits else _plain
    with_body = make(call, bool(wanted), told, None)
    read_and_call = reader(with_body, told)
    return Inner(with_body, name, waits, make(call, bool(wanted), told, read_and_call))


def _wanted_of(endpoint: Callable[..., Any], there: Set[str]) -> Set[str]:
    """The parameters of the path that the endpoint wants as arguments."""
    first, *others = inspect.signature(endpoint).parameters.values() or (None,)
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise RouteError(f"{name_of(endpoint)} takes no request")
    named = [one for one in others if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    for one in named:
        if one.name not in there and one.default is one.empty:
            raise RouteError(
                f"{name_of(endpoint)} wants {one.name!r}, which is no part of the path"
            )
    if any(one.kind is one.VAR_KEYWORD for one in others):
        return there
    return there & {one.name for one in named}


def _with_some(endpoint: Callable[..., Any], wanted: Set[str]) -> Callable[..., Any]:
    """The endpoint, with those arguments of all that it wants."""

    def with_some(request: Request, **params: Any) -> Any:
        return endpoint(request, **{name: params[name] for name in wanted})

    return with_some


def _plain(
    endpoint: Callable[..., Any], params: bool, told: ErrorResponder, read_and_call: Endpoint | None
) -> Endpoint:
    """`params`: whether it is handed them as arguments.

    `read_and_call` does the same, for when the body is not there yet; None: it always is.
    """

    def call(request: Request) -> ResponseOrAwaitable:
        if read_and_call is not None and request.length != 0:
            return read_and_call(request)
        try:
            answer = endpoint(request, **request.params) if params else endpoint(request)
            return answer if isinstance(answer, Response) else respond(answer)
        except Exception as error:
            return told(request, error)

    return call


def _either(
    endpoint: Callable[..., Any], params: bool, told: ErrorResponder, read_and_call: Endpoint | None
) -> Endpoint:
    """The same for an endpoint whose answer may have to be awaited."""

    async def finish(request: Request, awaitable: Awaitable[Any]) -> Response:
        try:
            return respond(await awaitable)
        except Exception as error:
            return told(request, error)

    def call(request: Request) -> ResponseOrAwaitable:
        if read_and_call is not None and request.length != 0:
            return read_and_call(request)
        try:
            answer = endpoint(request, **request.params) if params else endpoint(request)
            if isinstance(answer, Response):
                return answer
            return finish(request, answer) if inspect.isawaitable(answer) else respond(answer)
        except Exception as error:
            return told(request, error)

    return call


def _awaiting(endpoint: Callable[..., Any], params: bool, told: ErrorResponder) -> Endpoint:
    async def call(request: Request) -> Response:
        try:
            called = endpoint(request, **request.params) if params else endpoint(request)
            answer = await called
            return answer if isinstance(answer, Response) else respond(answer)
        except Exception as error:
            return told(request, error)

    return call
