"""The chain of middlewares between a request and its endpoint, composed once, at the start.

A middleware is `middleware(request, next)`; `next(request)` calls the parts further in and
returns their response. There are four kinds:

    plain         a `def`, which gets a Response from `next` and may replace it;
    asynchronous  an `async def`, which awaits `next`;
    before-only   a `def` with that mark: it responds itself, or returns the result of `next`;
    hooks         a Middleware with `before` and `after`, which may stand anywhere.

A chain is composed from the inside out. A chain of plain parts stays plain: one Python call for
each middleware. A plain middleware above anything that has to be awaited would get a coroutine in
place of a Response, so that is refused when the chain is composed, and the error names both.

An error handler that has to be awaited counts as such a part of every chain below it.

`next` returns a Response also where a ProtocolError was raised further in, or an exception that has
an error handler. Any other exception passes through the middlewares, which may catch it, up to the
first hooks or the application; there it becomes a response.

A plain endpoint is called when the whole body of its request is there, except that of a GET or a
HEAD (see `reads_body`). The body is read where the plain part of its chain begins, so that
everything further out can refuse the request before a byte of the body has come. Parts that can
wait may read the body themselves, and each of them reads from the first byte on (`Body.rewind`).
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence, Set
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from reactor.errors import all_but_cancelling, all_but_interrupts
from reactor.http.first_piece import has_to_begin
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.web.app.functions import (
    describe,
    is_asynchronous,
    is_generator_function,
    misfit,
)
from reactor.web.app.wrong_results import wrong_result
from reactor.web.endpoint import (
    AnyMiddleware,
    CompositionError,
    Endpoint,
    ErrorResponder,
    Middleware,
    ResponseOrAwaitable,
    settled,
)


class MiddlewareKind(Enum):
    """The four kinds of middlewares; see above."""

    PLAIN = "plain"
    ASYNCHRONOUS = "async"
    BEFORE_ONLY = "before-only"
    HOOKS = "hooks"


class ErrorPolicy(Protocol):
    """Makes responses of exceptions."""

    def respond(self, request: Any, error: BaseException) -> ResponseOrAwaitable:
        """The response to any exception. Never raises."""

    def respond_if_expected(self, request: Any, error: BaseException) -> ResponseOrAwaitable:
        """The response to an exception that is expected; raises any other again."""

    def waiting(self) -> str:
        """The name of an error handler whose response has to be awaited, or ""."""


class Inner(NamedTuple):
    """The innermost step of a chain: it calls the endpoint and returns a Response or raises."""

    call: Endpoint
    name: str
    waits: bool = False  # whether its response may have to be awaited
    reading: Endpoint | None = None  # reads the body first; `call` needs it to be there
    unread: Set[str] = frozenset()  # the methods whose requests are not read for it


# --- kinds of middlewares ------------------------------------------------------------------------


def kind_of(middleware: AnyMiddleware) -> MiddlewareKind:
    """The kind of the middleware. Raises CompositionError for another object."""
    if isinstance(middleware, Middleware):
        if is_asynchronous(middleware.before):
            raise CompositionError(f"the hook {describe(middleware.before)} cannot be `async def`")
        _check_fit("hook", middleware.before, "request")
        _check_fit("hook", middleware.after, "request", "response")
        return MiddlewareKind.HOOKS
    if not callable(middleware):
        raise CompositionError(f"a middleware must be callable, or a Middleware: {middleware!r}")
    if isinstance(middleware, type):
        name = middleware.__qualname__
        raise CompositionError(f"a middleware must be an object, not the class {name}: {name}()")
    _check_fit("middleware", middleware, "request", "next")
    if is_asynchronous(middleware):
        return MiddlewareKind.ASYNCHRONOUS
    before_only = getattr(middleware, "is_before_only", False)
    return MiddlewareKind.BEFORE_ONLY if before_only else MiddlewareKind.PLAIN


def _check_fit(role: str, function: Any, *names: str) -> None:
    """Raise CompositionError for a function that cannot be called with these arguments."""
    if wrong := misfit(function, *names):
        raise CompositionError(f"the {role} {describe(function)} does not fit: {wrong}")
    if is_generator_function(function):
        raise CompositionError(
            f"the {role} {describe(function)} is a generator function, since it has a `yield`; "
            f"a {role} returns a Response"
        )


def is_plain(middleware: AnyMiddleware) -> bool:
    """Whether no part further in may have to be awaited."""
    try:
        return kind_of(middleware) is MiddlewareKind.PLAIN
    except CompositionError:  # `compose` raises it, too, and names the route
        return True


def waits_after(middleware: AnyMiddleware) -> bool:
    """Whether the middleware has an `after` hook whose result may have to be awaited."""
    if not isinstance(middleware, Middleware):
        return False
    return getattr(middleware.after, "may_wait", False) or is_asynchronous(middleware.after)


# --- composing -----------------------------------------------------------------------------------


def compose(middlewares: Sequence[AnyMiddleware], inner: Inner, errors: ErrorPolicy) -> Endpoint:
    """Compose middlewares, the outermost first, and the innermost step into one callable.

    The callable never raises. Raises CompositionError.
    """
    kinds = [kind_of(middleware) for middleware in middlewares]
    waiting = inner.name if inner.waits else errors.waiting()
    begin = _begin_of_plain_part(middlewares, kinds, waiting)
    waits = (
        inner.waits or MiddlewareKind.ASYNCHRONOUS in kinds or any(map(waits_after, middlewares))
    )
    call = inner.call
    if inner.reading is not None and begin == len(middlewares):
        call, waits = inner.reading, True
    for place in range(len(middlewares) - 1, -1, -1):
        call = _STEPS[kinds[place]](middlewares[place], call, errors)
        if inner.reading is not None and place == begin:
            on_error = errors.respond_if_expected if waits else errors.respond
            call = _reading_step(call, on_error, inner.unread)
    return _guarded(call, errors) if waits and middlewares else call


def reader(call: Endpoint, on_error: ErrorResponder) -> Callable[[Any], Awaitable[Response]]:
    """A coroutine function that reads the request's body before `call`; `on_error` has errors."""

    async def read_and_call(request: BaseRequest) -> Response:
        try:
            if not request.content:  # a middleware may have read it
                request.content = await request.body.read()
            response = call(request)
            return response if isinstance(response, Response) else await response
        except all_but_cancelling() as error:
            return await settled(on_error(request, error))

    return read_and_call


def _begin_of_plain_part(
    middlewares: Sequence[AnyMiddleware], kinds: Sequence[MiddlewareKind], waiting: str
) -> int:
    """The place of the outermost plain middleware, above which the body is read.

    Without one it is the place of the endpoint. `waiting` names what has to be awaited below all
    middlewares, if anything has to. Raises CompositionError for a plain middleware above that.
    """
    begin = len(middlewares)
    for place in range(len(middlewares) - 1, -1, -1):
        if kinds[place] is MiddlewareKind.ASYNCHRONOUS or waits_after(middlewares[place]):
            waiting = describe(middlewares[place])
        elif kinds[place] is MiddlewareKind.PLAIN:
            if waiting:
                raise CompositionError(
                    f"the middleware {describe(middlewares[place])} is plain, but a part further "
                    f"in has to be awaited: {waiting}; make it `async def`, or mark it @before_only"
                )
            begin = place
    return begin


def _guarded(call: Endpoint, errors: ErrorPolicy) -> Endpoint:
    """Catch errors raised while the response is awaited; the application catches all others."""

    async def finish(request: BaseRequest, awaitable: Awaitable[Response]) -> Response:
        try:
            return await awaitable
        except all_but_cancelling() as error:
            return await settled(errors.respond(request, error))

    def guarded(request: BaseRequest) -> ResponseOrAwaitable:
        response = call(request)
        return response if isinstance(response, Response) else finish(request, response)

    return guarded


# --- one step for each kind ----------------------------------------------------------------------


def _reading_step(call: Endpoint, on_error: ErrorResponder, unread: Set[str]) -> Endpoint:
    """Read the body before `call` if the request has one, and not one of the methods `unread`."""
    read_and_call = reader(call, on_error)

    def reading(request: BaseRequest) -> ResponseOrAwaitable:
        if request.length == 0 or request.method in unread:
            return call(request)
        return read_and_call(request)

    return reading


def _plain_step(middleware: Any, following: Endpoint, errors: ErrorPolicy) -> Endpoint:
    passes_on = kind_of(middleware) is MiddlewareKind.BEFORE_ONLY

    def plain(request: BaseRequest) -> ResponseOrAwaitable:
        try:
            response: ResponseOrAwaitable = middleware(request, following)
            if isinstance(response, Response) or (passes_on and inspect.isawaitable(response)):
                return response
            raise wrong_result(middleware, "middleware", response)
        except all_but_interrupts() as error:
            return errors.respond_if_expected(request, error)

    return plain


def _asynchronous_step(middleware: Any, following: Endpoint, errors: ErrorPolicy) -> Endpoint:
    async def awaited(request: BaseRequest) -> Response:
        response = following(request)
        return response if isinstance(response, Response) else await response

    next_step: Endpoint = following if is_asynchronous(following) else awaited

    async def with_body(request: BaseRequest) -> Response:
        request.body.rewind()
        try:
            response = await awaited(request)
        except BaseException:
            request.body.rewind()
            raise
        _rewind_behind(request, response)
        return response

    async def asynchronous(request: BaseRequest) -> Response:
        try:
            response = await middleware(request, with_body if request.length != 0 else next_step)
            if isinstance(response, Response):
                return response
            raise wrong_result(middleware, "middleware", response)
        except all_but_cancelling() as error:
            return await settled(errors.respond_if_expected(request, error))

    return asynchronous


def _hooks_step(middleware: Middleware, following: Endpoint, errors: ErrorPolicy) -> Endpoint:
    before = _before_step(middleware, following, errors)
    if not _overrides(middleware, "after"):
        return before
    inside = before if _overrides(middleware, "before") else following
    return _after_step(middleware, inside, errors)


def _before_step(middleware: Middleware, following: Endpoint, errors: ErrorPolicy) -> Endpoint:
    def before(request: BaseRequest) -> ResponseOrAwaitable:
        try:
            response = middleware.before(request)
            if response is not None and not isinstance(response, Response):
                raise wrong_result(middleware.before, "hook", response)
        except all_but_interrupts() as error:
            return errors.respond(request, error)
        return following(request) if response is None else response

    return before


def _after_step(middleware: Middleware, following: Endpoint, errors: ErrorPolicy) -> Endpoint:
    async def finish(request: BaseRequest, awaitable: Awaitable[Response]) -> Response:
        try:
            response = await awaitable
        except all_but_cancelling() as error:
            response = await settled(errors.respond(request, error))
        return await _changed(middleware, request, response, None, errors)

    def after(request: BaseRequest) -> ResponseOrAwaitable:
        try:
            response = following(request)
        except all_but_interrupts() as error:
            response = errors.respond(request, error)
        if not isinstance(response, Response):
            return finish(request, response)
        try:
            changed = middleware.after(request, response)
            if isinstance(changed, Response):
                return changed
            if inspect.isawaitable(changed):
                return _changed(middleware, request, response, changed, errors)
            raise wrong_result(middleware.after, "hook", changed)
        except all_but_interrupts() as error:
            response.close()
            return errors.respond(request, error)

    return after


async def _changed(
    middleware: Middleware,
    request: BaseRequest,
    response: Response,
    changed: Awaitable[Response] | None,
    errors: ErrorPolicy,
) -> Response:
    """The response that the `after` hook makes; `changed` is its result where it was called."""
    try:
        result: Any = changed
        if result is None:
            _rewind_behind(request, response)
            result = middleware.after(request, response)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, Response):
            return result
        raise wrong_result(middleware.after, "hook", result)
    except all_but_cancelling() as error:
        response.close()
        return await settled(errors.respond(request, error))
    except BaseException:  # the client is gone
        response.close()
        raise


def _rewind_behind(request: BaseRequest, response: Response) -> None:
    """Have the parts behind a response read the body of its request from the first byte on.

    A response that is made piece by piece may have begun to read the body, and goes on where it is.
    """
    if request.length != 0 and not has_to_begin(response):
        request.body.rewind()


def _overrides(middleware: Middleware, hook: str) -> bool:
    """Whether the middleware has a hook of its own; the inherited one does nothing."""
    return getattr(type(middleware), hook) is not getattr(Middleware, hook)


_STEPS: Final[dict[MiddlewareKind, Callable[[Any, Endpoint, ErrorPolicy], Endpoint]]] = {
    MiddlewareKind.PLAIN: _plain_step,
    MiddlewareKind.ASYNCHRONOUS: _asynchronous_step,
    MiddlewareKind.BEFORE_ONLY: _plain_step,
    MiddlewareKind.HOOKS: _hooks_step,
}
