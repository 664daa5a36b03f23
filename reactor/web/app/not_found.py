"""Requests that no route takes: OPTIONS, 405, the redirect for a slash, and 404."""

from collections.abc import Set
from urllib.parse import quote

from reactor.errors import ProtocolError
from reactor.messages.response import Response, plain_response
from reactor.web.app.error_handlers import ErrorHandlers
from reactor.web.app.requests import Request
from reactor.web.app.router import ANY, Router, segments
from reactor.web.endpoint import Endpoint
from reactor.web.semantics.methods import method_not_allowed


class NotFound:
    """The endpoint of all paths and methods that have no route."""

    def __init__(
        self, router: Router[Endpoint], errors: ErrorHandlers, methods: set[str], redirects: bool
    ) -> None:
        """`methods` are those of all routes, for `OPTIONS *`."""
        self._router = router
        self._errors = errors
        self._methods = methods
        self._redirects = redirects

    def __call__(self, request: Request) -> Response:
        try:
            return self._respond(request)
        except ProtocolError as error:
            return self._errors.respond(request, error)

    def _respond(self, request: Request) -> Response:
        """Raises ProtocolError: 405, 404."""
        path = request.path
        if path == ANY:  # OPTIONS * is about the server as a whole (RFC 9110, section 9.3.7)
            return options_response(self._methods)
        methods = methods_of(self._router, path)
        if methods:
            raise method_not_allowed(methods)
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


def options_response(methods: Set[str]) -> Response:
    """A 204 whose Allow field lists these methods and OPTIONS."""
    return Response(204, b"", (("Allow", ", ".join(sorted({*methods, "OPTIONS"}))),))


def methods_of(router: Router[Endpoint], path: str) -> set[str]:
    """The methods of all routes that fit the path."""
    return {method for leaf, _ in router.find_all(path) for method in leaf}
