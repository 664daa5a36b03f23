"""Requests that no route takes: OPTIONS, 405, the redirect for a slash, and 404.

They pass the middlewares of the route, or of the group or mount whose prefix fits their path, so a
guard stands before them as well. A prefix is compared as the router compares a path, segment by
segment and decoded: no spelling of a path leads around it.
"""

from collections.abc import Mapping, Set
from typing import Any, Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, plain_response
from reactor.protocol.grammar import METHODS
from reactor.web.app.converters import CONVERTERS, Converter
from reactor.web.app.error_handlers import ErrorHandlers
from reactor.web.app.requests import Request
from reactor.web.app.router import ANY, Parameter, Router, Target, parse_pattern
from reactor.web.endpoint import Endpoint, ResponseOrAwaitable
from reactor.web.semantics.cross_site import is_preflight
from reactor.web.semantics.methods import method_not_allowed
from reactor.web.semantics.paths import name_segments, relative_reference

_REST: Final = "_rest"  # the parameter for the path behind a prefix

# A stored endpoint, and the values of its path parameters.
Choice: TypeAlias = tuple[Target[Endpoint], tuple[Any, ...]]


class NotFoundChains:
    """The handlers of paths without a route, by the prefixes of their scopes."""

    def __init__(self, converters: Mapping[str, Converter] = CONVERTERS) -> None:
        self._converters = converters
        self._chains: Router[Endpoint] = Router(converters)
        self._whole: Endpoint | None = None  # the handler of the empty prefix

    def add(self, prefix: str, chain: Endpoint) -> None:
        """Add the handler of a prefix. Raises RouteError for a malformed or a known prefix."""
        self._chains.add(ANY, f"{prefix}/{{{_REST}:names}}", chain)
        if prefix:
            self._chains.add(ANY, prefix, chain)
        else:
            self._whole = chain

    def respond(self, request: Request) -> ResponseOrAwaitable:
        """Call the handler of the prefix that fits the path best, as the router finds routes."""
        for leaf, values in self._chains.find_all(request.path):
            target = leaf[ANY]
            request.params = {
                name: value
                for name, value in zip(target.names, values, strict=True)
                if name != _REST
            }
            return target.value(request)
        assert self._whole is not None
        return self._whole(request)  # OPTIONS *


def prefix_key(prefix: str, converters: Mapping[str, Converter]) -> tuple[object, ...]:
    """The same for prefixes that fit the same paths. Raises RouteError for a malformed prefix."""
    parts = parse_pattern(prefix, converters) if prefix else ()
    return tuple(part.converter if isinstance(part, Parameter) else part for part in parts)


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
        if self._redirects and (location := self._with_other_slash(request)):
            return plain_response(308, f"It is at {location}", (("Location", location),))
        raise ProtocolError(404, "There is nothing here.")

    def _with_other_slash(self, request: Request) -> str:
        """A reference to the path with or without a slash at its end; "" if that has no route."""
        path = request.path
        other = path[:-1] if path.endswith("/") else path + "/"
        target = name_segments(other)
        # No reference leads to a last segment of dots: a client removes it.
        if path == "/" or {".", ".."}.intersection(target[-2:]):
            return ""
        if next(self._router.find_all(other), None) is None:
            return ""
        return relative_reference(request.raw_path, target, request.query)


def find_next(router: Router[Endpoint], request: BaseRequest) -> Choice | None:
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
