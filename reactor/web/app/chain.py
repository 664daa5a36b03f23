"""What stands between a request and its endpoint, put together once, at the start.

A middleware is `middleware(request, next)`; `next(request)` goes on, and what it returns is the
answer of all that is further in. There are four kinds:

    plain        a `def`, which gets a Response from `next` and may change it;
    asynchronous an `async def`, which awaits `next`;
    before-only  a `def` marked so: it answers by itself or returns what `next` returns, unseen;
    hooks        a Middleware with `before` and `after`, which fits everywhere.

A chain is composed from the inside out. Where all of it is plain it stays plain: one Python call
for each middleware. A plain one above anything that has to be awaited would get a coroutine in
place of a Response, so that is refused when the chain is composed, and the error names both.

What `next` returns is a Response also where a ProtocolError was raised further in, or an exception
that the application has an error handler for. Any other exception passes through, to be caught by
who likes, as far as the first hooks or the application; there it becomes an answer.

A plain endpoint is called when all of its request's body is there. The body is read where the
plain part of its chain begins, so whatever is further out can refuse the request before a byte of
the body has come.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from reactor.messages.request import Request
from reactor.messages.response import Response
from reactor.web.endpoint import (
    CompositionError,
    Endpoint,
    ErrorResponder,
    Middleware,
    ResponseOrAwaitable,
)
from reactor.web.streams import discard

F = TypeVar("F", bound=Callable[..., Any])


class Kind(Enum):
    PLAIN = "plain"
    ASYNCHRONOUS = "async"
    BEFORE_ONLY = "before-only"
    HOOKS = "hooks"


class ErrorAnswers(Protocol):
    """What becomes of exceptions."""

    def expected(self, request: Any, error: Exception) -> Response:
        """The answer; raises the error where nobody has expected it."""

    def answer(self, request: Any, error: Exception) -> Response: ...


class Inner(NamedTuple):
    """The innermost step: an endpoint whose answers are Responses, whatever it returns itself."""

    call: Endpoint
    name: str
    waits: bool = False  # its answer may have to be awaited
    reading: Endpoint | None = None  # the same, where `call` is for when the body is there


def kind_of(middleware: Any) -> Kind:
    """Raises CompositionError for what is no middleware."""
    if isinstance(middleware, Middleware):
        if is_asynchronous(middleware.before):
            raise CompositionError(f"the hook {name_of(middleware.before)} cannot be `async def`")
        return Kind.HOOKS
    if not callable(middleware):
        raise CompositionError(f"a middleware is callable, and {middleware!r} is not")
    if is_asynchronous(middleware):
        return Kind.ASYNCHRONOUS
    return Kind.BEFORE_ONLY if getattr(middleware, "is_before_only", False) else Kind.PLAIN


def is_asynchronous(function: Any) -> bool:
    """Whether calling it makes a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def waits_after(middleware: Any) -> bool:
    """Whether these are hooks, and the one on the way out may have to be awaited."""
    if not isinstance(middleware, Middleware):
        return False
    return getattr(middleware.after, "may_wait", False) or is_asynchronous(middleware.after)


def name_of(function: Any) -> str:
    """What it is called, and where it is."""
    function = getattr(inspect.unwrap(function), "__func__", function)
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", None) or type(function).__name__
    return f"{name} ({code.co_filename}, line {code.co_firstlineno})" if code else name


def compose(middlewares: Sequence[Any], inner: Inner, errors: ErrorAnswers) -> Endpoint:
    """One callable of all of them, which raises nothing; the first middleware is the outermost.

    Raises CompositionError.
    """
    kinds = [kind_of(middleware) for middleware in middlewares]
    begin = _begin_of_plain_part(middlewares, kinds, inner)
    waits = inner.waits or Kind.ASYNCHRONOUS in kinds or any(map(waits_after, middlewares))
    call = inner.call
    if inner.reading is not None and begin == len(middlewares):
        call, waits = inner.reading, True
    for place in range(len(middlewares) - 1, -1, -1):
        call = _MAKERS[kinds[place]](middlewares[place], call, errors)
        if inner.reading is not None and place == begin:
            call = _reading(call, errors.expected if waits else errors.answer)
    return _guarded(call, errors) if waits and middlewares else call


def _begin_of_plain_part(middlewares: Sequence[Any], kinds: Sequence[Kind], inner: Inner) -> int:
    """The outermost plain middleware, above which the body is read; none: the endpoint."""
    waits = inner.name if inner.waits else ""
    begin = len(middlewares)
    for place in range(len(middlewares) - 1, -1, -1):
        if kinds[place] is Kind.ASYNCHRONOUS or waits_after(middlewares[place]):
            waits = name_of(middlewares[place])
        elif kinds[place] is Kind.PLAIN:
            if waits:
                raise CompositionError(
                    f"the middleware {name_of(middlewares[place])} is plain, and what is below it "
                    f"has to be awaited: {waits}; make it `async def`, or mark it @before_only"
                )
            begin = place
    return begin


def _guarded(call: Endpoint, errors: ErrorAnswers) -> Endpoint:
    """What raises while it is awaited; what raises at once is caught by who calls."""

    async def finish(request: Request, awaitable: Awaitable[Response]) -> Response:
        try:
            return await awaitable
        except Exception as error:
            return errors.answer(request, error)

    def guarded(request: Request) -> ResponseOrAwaitable:
        answer = call(request)
        return answer if isinstance(answer, Response) else finish(request, answer)

    return guarded


def reader(call: Endpoint, told: ErrorResponder) -> Callable[[Any], Awaitable[Response]]:
    """What brings in a request's body before it goes on; errors become what is `told`."""

    async def read_and_call(request: Request) -> Response:
        try:
            if not request.content:  # a middleware may have read it
                request.content = await request.body.read()
            answer = call(request)
            return answer if isinstance(answer, Response) else await answer
        except Exception as error:
            return told(request, error)

    return read_and_call


def _reading(call: Endpoint, told: ErrorResponder) -> Endpoint:
    read_and_call = reader(call, told)

    def reading(request: Request) -> ResponseOrAwaitable:
        return call(request) if request.length == 0 else read_and_call(request)

    return reading


def _plain(middleware: Any, following: Endpoint, errors: ErrorAnswers) -> Endpoint:
    def plain(request: Request) -> ResponseOrAwaitable:
        try:
            answer: ResponseOrAwaitable = middleware(request, following)
        except Exception as error:
            return errors.expected(request, error)
        return answer

    return plain


def _asynchronous(middleware: Any, following: Endpoint, errors: ErrorAnswers) -> Endpoint:
    async def awaited(request: Request) -> Response:
        answer = following(request)
        return answer if isinstance(answer, Response) else await answer

    next_step: Endpoint = following if is_asynchronous(following) else awaited

    async def asynchronous(request: Request) -> Response:
        try:
            answer: Response = await middleware(request, next_step)
        except Exception as error:
            return errors.expected(request, error)
        return answer

    return asynchronous


def _hooks(middleware: Middleware, following: Endpoint, errors: ErrorAnswers) -> Endpoint:
    before = _own(middleware, "before")
    after = _own(middleware, "after")

    def on_the_way_in(request: Request) -> ResponseOrAwaitable:
        try:
            answer = middleware.before(request)
        except Exception as error:
            return errors.answer(request, error)
        return following(request) if answer is None else answer

    async def finish(request: Request, awaitable: Awaitable[Response]) -> Response:
        try:
            answer = await awaitable
        except Exception as error:
            answer = errors.answer(request, error)
        try:
            changed = middleware.after(request, answer)
            return changed if isinstance(changed, Response) else await changed
        except Exception as error:
            discard(answer)
            return errors.answer(request, error)

    inside = following if before is None else on_the_way_in

    def around(request: Request) -> ResponseOrAwaitable:
        try:
            answer = inside(request)
        except Exception as error:
            answer = errors.answer(request, error)
        if not isinstance(answer, Response):
            return finish(request, answer)
        try:
            return middleware.after(request, answer)
        except Exception as error:
            discard(answer)
            return errors.answer(request, error)

    if after is None:
        return on_the_way_in
    return _guarded(around, errors) if waits_after(middleware) else around


def _own(middleware: Middleware, hook: str) -> Any:
    """The hook, unless it is the one that does nothing."""
    found = getattr(type(middleware), hook)
    return None if found is getattr(Middleware, hook) else found


_MAKERS: Final[dict[Kind, Callable[[Any, Endpoint, ErrorAnswers], Endpoint]]] = {
    Kind.PLAIN: _plain,
    Kind.ASYNCHRONOUS: _asynchronous,
    Kind.BEFORE_ONLY: _plain,
    Kind.HOOKS: _hooks,
}
