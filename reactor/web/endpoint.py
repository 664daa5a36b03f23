"""What an endpoint and a middleware are, and how a function is marked as one that may wait.

Shared by the packages of `web`: static files and uploads are endpoints, `app/` composes them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from reactor.messages.response import Response

ResponseOrAwaitable: TypeAlias = Response | Awaitable[Response]
Endpoint: TypeAlias = Callable[[Any], ResponseOrAwaitable]  # of a Request
ErrorResponder: TypeAlias = Callable[[Any, Exception], Response]
F = TypeVar("F", bound=Callable[..., Any])


class CompositionError(ValueError):
    """Middlewares that cannot stand in this order."""


class Middleware:
    """Two hooks; a subclass has either or both. They do not wait, and fit above everything.

    An `after` that may have to wait is `async def`, or marked with `may_wait`; then the middlewares
    above it cannot be plain.
    """

    def before(self, request: Any) -> Response | None:
        """The answer, or None: go on."""
        return None

    def after(self, request: Any, response: Response) -> ResponseOrAwaitable:
        """What becomes of the answer of all that is further in."""
        return response


def before_only(middleware: F) -> F:
    """Mark a plain middleware that never looks at what `next` returns, only returns it."""
    middleware.is_before_only = True  # type: ignore[attr-defined]
    return middleware


def may_wait(endpoint: F) -> F:
    """Mark a plain endpoint, or hook, that returns a Response where it can, else an awaitable."""
    endpoint.may_wait = True  # type: ignore[attr-defined]
    return endpoint
