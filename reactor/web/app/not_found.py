"""Requests that no route answers: 404, 405, OPTIONS, and the redirect for a missing slash."""

from collections.abc import Set
from urllib.parse import quote

from reactor.errors import ProtocolError
from reactor.messages.response import Response, plain_response
from reactor.web.app.error_handlers import Errors
from reactor.web.app.requests import Request
from reactor.web.app.router import ANY, Router, segments
from reactor.web.endpoint import Endpoint


class NotFound:
    """The answer where there is no route."""

    def __init__(
        self, router: Router[Endpoint], errors: Errors, methods: set[str], redirects: bool
    ) -> None:
        self._router = router
        self._errors = errors
        self._methods = methods
        self._redirects = redirects

    def __call__(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except ProtocolError as error:
            return self._errors.answer(request, error)

    def _answer(self, request: Request) -> Response:
        """Raises ProtocolError: 405, 404."""
        path = request.path
        if path == ANY:  # RFC 9110, section 9.3.7
            return allow_field(self._methods)
        methods = methods_of(self._router, path)
        if methods:
            allow = ", ".join(sorted(methods))
            raise ProtocolError(405, f"Here the methods are {allow}.", [("Allow", allow)])
        if self._redirects and (other := self._with_other_slash(path)):
            location = f"{other}?{request.query}" if request.query else other
            return plain_response(308, f"It is at {location}", (("Location", location),))
        raise ProtocolError(404, "There is nothing here.")

    def _with_other_slash(self, path: str) -> str:
        """The path with a slash more or less at its end, if that leads anywhere; otherwise ""."""
        other = path[:-1] if path.endswith("/") else path + "/"
        if path == "/" or next(self._router.find_all(other), None) is None:
            return ""
        # Made anew of its segments: two slashes would begin another server's name.
        written = "/".join(quote(segment, safe="") for segment in segments(other))
        return "/" + written.lstrip("/")


def allow_field(methods: Set[str]) -> Response:
    return Response(204, b"", (("Allow", ", ".join(sorted({*methods, "OPTIONS"}))),))


def methods_of(router: Router[Endpoint], path: str) -> set[str]:
    """Of everything that fits the path."""
    return {method for leaf, _ in router.find_all(path) for method in leaf}
