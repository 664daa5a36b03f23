"""The parts that an application is made of: endpoints and middlewares, their types and their marks.

Shared by the packages of `web`: static files and uploads are endpoints, and app/ composes endpoints
and middlewares into one handler. Three rules hold for all of them:

- An endpoint takes a Request and returns a Response, or an awaitable of one.
- A function that returns an awaitable only sometimes is marked with `may_wait`; an `async def`
  needs no mark.
- A middleware is `middleware(request, next)`, or a subclass of Middleware with hooks.

The types leave the request as Any, so that a function may declare the request class that it needs.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from reactor.messages.response import Response

ResponseOrAwaitable: TypeAlias = Response | Awaitable[Response]
Endpoint: TypeAlias = Callable[[Any], ResponseOrAwaitable]
ErrorResponder: TypeAlias = Callable[[Any, BaseException], ResponseOrAwaitable]
F = TypeVar("F", bound=Callable[..., Any])


async def settled(response: ResponseOrAwaitable) -> Response:
    """The response, awaited if it has to be; for coroutines on the way to an error's response."""
    return response if isinstance(response, Response) else await response


class CompositionError(ValueError):
    """The middlewares of a route cannot stand in this order. The message names both of them."""


class Middleware:
    """Base class of middlewares with hooks: `before` the endpoint, `after` it, or both.

        class Stamp(Middleware):
            def after(self, request, response):
                return response.with_headers(("X-Stamp", "seen"))

    Hooks do not wait, so a Middleware may stand above everything, asynchronous endpoints included.
    An `after` that has to wait is `async def`, or is marked with `may_wait`; no plain middleware
    may stand above it then.
    """

    def before(self, request: Any) -> Response | None:
        """Return None to call the parts further in, or a Response to send instead."""
        return None

    def after(self, request: Any, response: Response) -> ResponseOrAwaitable:
        """Return the response to send: `response`, which came from further in, or another."""
        return response


AnyMiddleware: TypeAlias = Middleware | Callable[[Any, Any], Any]


def before_only(middleware: F) -> F:
    """Mark a plain middleware that returns the result of `next` without looking at it.

    It may then stand above asynchronous endpoints, and it costs nothing there:

        @before_only
        def members_only(request, next):
            return next(request) if "X-Member" in request.headers else text("Members only.", 403)
    """
    middleware.is_before_only = True  # type: ignore[attr-defined]
    return middleware


def may_wait(endpoint: F) -> F:
    """Mark a plain endpoint or `after` hook that returns either a Response or an awaitable of one.

    It returns a Response where it can, which spares a coroutine, and an awaitable where it has to
    wait. A marked endpoint is called when the whole body has been read, as any plain endpoint is.
    """
    endpoint.may_wait = True  # type: ignore[attr-defined]
    return endpoint


def reads_body(endpoint: F) -> F:
    """Mark a plain endpoint that wants the body of a GET or HEAD request in `request.content`.

    Such a body means nothing to HTTP (RFC 9110, section 9.3.1), so it is left unread, and takes no
    memory, unless the endpoint asks for it:

        @app.get("/search")
        @reads_body
        def search(request):
            return find(json_of(request))

    The body of every other method is always read for a plain endpoint. An `async def` needs no
    mark: it asks with `await request.json()`.
    """
    endpoint.reads_body = True  # type: ignore[attr-defined]
    return endpoint
