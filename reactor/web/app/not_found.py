"""Requests that no route takes: OPTIONS, 405, the redirect for a slash, and 404."""

from collections.abc import Set
from typing import Any, TypeAlias
from urllib.parse import quote

from reactor.errors import ProtocolError
from reactor.messages.response import Response, plain_response
from reactor.protocol.grammar import METHODS
from reactor.web.app.error_handlers import ErrorHandlers
from reactor.web.app.requests import Request
from reactor.web.app.router import ANY, Router, Target, segments
from reactor.web.endpoint import Endpoint, ResponseOrAwaitable
from reactor.web.semantics.cross_site import is_preflight
from reactor.web.semantics.methods import method_not_allowed

# A stored endpoint, and the values of its path parameters.
Choice: TypeAlias = tuple[Target[Endpoint], tuple[Any, ...]]


class NotFound:
    """The endpoint of all paths and methods that have no route."""

    def __init__(
        self,
        router: Router[Endpoint],
        errors: ErrorHandlers,
        methods: Set[str],
        redirects: bool = False,
    ) -> None:
        """Make it for these routes. `methods` are those of all of them, and the only ones known."""
        self._router = router
        self._errors = errors
        self._methods = methods
        self._redirects = redirects

    def __call__(self, request: Request) -> ResponseOrAwaitable:
        try:
            return self._respond(request)
        except ProtocolError as error:
            if error.status == 404:
                return self._errors.respond_not_found(request, error, self._router.routes)
            return self._errors.respond(request, error)

    def _respond(self, request: Request) -> Response:
        """Raises ProtocolError: 405, 404, 501."""
        path = request.path
        if path == ANY:  # OPTIONS * is about the server as a whole (RFC 9110, section 9.3.7)
            return _options_response(self._methods)
        methods = {method for leaf, _ in self._router.find_all(path) for method in leaf}
        known = METHODS | self._methods
        if methods and request.method == "OPTIONS":
            return _options_response(methods)
        if methods or request.method not in known:
            raise method_not_allowed(request.method, {*methods, "OPTIONS"}, known)
        if self._redirects and (other := self._with_other_slash(path)):
            location = f"{other}?{request.query}" if request.query else other
            return plain_response(308, f"It is at {location}", (("Location", location),))
        raise ProtocolError(404, "There is nothing here.")

    def _with_other_slash(self, path: str) -> str:
        """The path with or without a slash at its end, if that has a route; otherwise ""."""
        other = path[:-1] if path.endswith("/") else path + "/"
        if path == "/" or next(self._router.find_all(other), None) is None:
            return ""
        # Built anew from its segments: two slashes would begin another server's name.
        written = "/".join(quote(segment, safe="") for segment in segments(other))
        return "/" + written.lstrip("/")


def find_next(router: Router[Endpoint], request: Request) -> Choice | None:
    """The route that takes the request where the best match of its path has not its method."""
    for leaf, values in router.find_all(request.path):
        target = leaf.get(request.method) or leaf.get(ANY)
        if target is not None:
            return target, values
        if request.method == "OPTIONS":  # the best match responds for itself
            break
    return None


def find_other(router: Router[Endpoint], request: Request) -> Choice | None:
    """The OPTIONS or the 405 of the request's path, in the router of these, and its parameters.

    It is that of the first route; for a preflight (Fetch Standard, section 3.3.2) that of the route
    which takes the request, since its middlewares decide about other origins.
    """
    first = None
    asked = request.headers.get("access-control-request-method") if is_preflight(request) else ""
    for leaf, values in router.find_all(request.path):
        target = (leaf.get(asked) or leaf.get(ANY)) if asked else None
        if target is not None:
            return target, values
        first = first or (next(iter(leaf.values())), values)
    return first


def _options_response(methods: Set[str]) -> Response:
    """A 204 whose Allow field lists these methods and OPTIONS."""
    return Response(204, b"", (("Allow", ", ".join(sorted({*methods, "OPTIONS"}))),))
