"""An application: routes, middlewares and error handlers, put together into one handler.

    app = Application()

    @app.get("/hello/{name}")
    def hello(request, name):
        return f"Hello, {name}!"

Everything is collected first and composed once, when a server takes the application (`prepare`) or
at its first request: each route's middlewares become one callable (see app/chain.py), and what
cannot stand together is refused then, with both places named. After that a request costs a look-up
and a call.

A Group is a part of an application: a prefix, middlewares and routes of its own; it may stand in
another module and be included. A whole application, or any other handler, can be mounted.

What the paths leave open is answered here: HEAD by GET, OPTIONS and 405 with the methods that there
are, 404, and a redirect where only a slash is different, if that is wanted. It knows no socket and
no bytes of the protocol.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode
from weakref import ref

from reactor.messages.response import Response
from reactor.web.app.adapters import Mounted, innermost
from reactor.web.app.chain import Inner, compose, name_of
from reactor.web.app.converters import CONVERTERS, Converter
from reactor.web.app.error_handlers import ErrorHandler, Errors
from reactor.web.app.group import Group, Route, Scope, checked_prefix
from reactor.web.app.not_found import NotFound, allow_field, methods_of
from reactor.web.app.requests import Request, with_limits
from reactor.web.app.router import (
    ANY,
    SHORT,
    Leaf,
    Parameter,
    RouteError,
    Router,
    build_path,
    parse_pattern,
)
from reactor.web.endpoint import CompositionError, Endpoint, ResponseOrAwaitable
from reactor.web.static.mount import StaticFiles


class _Included(Group):
    """A mounted application: its routes, whose errors are its own business first."""

    def __init__(self, prefix: str, application: "Application") -> None:
        super().__init__(prefix)
        self._application = application
        application._around.append(ref(self))

    def routes(self) -> Iterator[Route]:
        self._parts = [
            route._replace(errors=route.errors or self._application.errors)
            for route in self._application.routes()
        ]
        return super().routes()

    def scopes(self) -> Iterator[Scope]:
        for scope in self._application.scopes():
            errors = scope.errors or self._application.errors
            yield Scope(self._prefix + scope.prefix, scope.middlewares, errors)


class Application(Group):
    """A handler for a Server, made of routes."""

    def __init__(self, *middlewares: Any, redirect_slashes: bool = False) -> None:
        """`redirect_slashes`: a path that is there with a slash at its end, or without, is told."""
        super().__init__("", *middlewares)
        self.errors = Errors()
        self._redirects = redirect_slashes
        self._converters: dict[str, Converter] = dict(CONVERTERS)
        self._mounted: list[Any] = []
        self._request_class = Request
        self._router: Router[Endpoint] | None = None  # once it is composed
        # Of paths that lead nowhere, by prefix, the longest first; there once there is a router.
        self._nowhere: list[tuple[str, Endpoint]] = []
        self._placed: dict[tuple[int, str], StaticFiles] = {}

    # --- what it is made of ----------------------------------------------------------------------

    @property
    def debug(self) -> bool:
        """Whether an answer to a failure shows how it came about. Not for the public."""
        return self.errors.debug

    @debug.setter
    def debug(self, on: bool) -> None:
        self.errors.debug = on

    def _changed(self) -> None:
        self._router = None
        super()._changed()

    def converter(
        self, kind: str, read: Callable[[str], Any], write: Callable[[Any], str] = str
    ) -> None:
        """Let `{name:kind}` stand for a segment that `read` takes without a ValueError.

        `read` is pure and its values do not change: they are shared between requests.
        """
        if kind in self._converters:
            raise RouteError(f"the kind {kind!r} of parameters is there already")
        self._converters[kind] = Converter(kind, read, write)
        self._changed()

    def error(self, what: int | type[Exception]) -> Callable[[ErrorHandler], ErrorHandler]:
        """A decorator: have `handler(request, error)` answer this status or exception."""

        def decorate(handler: ErrorHandler) -> ErrorHandler:
            self.errors.add(what, handler)
            return handler

        return decorate

    def mount(self, prefix: str, handler: Any) -> None:
        """Leave all paths below the prefix to an application, or to any other handler.

        An application's routes become routes here, with its middlewares and error handlers, and
        its own error handlers go first. Any other handler gets requests as they came, with the
        body unread, and what is left of the path in `request.params["rest"]`.
        """
        checked_prefix(prefix)
        if isinstance(handler, Application):
            handler.errors.around = self.errors
            self.include(_Included(prefix, handler))
        else:
            for pattern in (prefix, f"{prefix}/{{rest:segments}}"):
                if pattern:
                    self.add(ANY, pattern, Mounted(handler))
        self._mounted.append(handler)

    def static(self, prefix: str, directory: str | os.PathLike[str], **options: Any) -> None:
        """Serve what is below a directory, to be read, with all that the file server can.

        The options are those of StaticFiles (see static/mount.py). Raises OSError for a directory
        that is none.
        """
        files = StaticFiles(f"{checked_prefix(prefix)}/", directory, **options)
        self.add("GET", f"{prefix}/{{name:segments}}", files)

    def url(self, name: str, /, query: Mapping[str, Any] | None = None, **values: Any) -> str:
        """The path of the route of this name, with these parameters, and a query.

        Raises LookupError where there is no such name or more than one route has it, or where a
        parameter is missing; ValueError for a parameter that does not fit.
        """
        patterns = {route.pattern for route in self.routes() if route.name == name}
        if len(patterns) != 1:
            raise LookupError(f"{len(patterns) or 'no'} routes are called {name!r}")
        parts = parse_pattern(patterns.pop(), self._all_converters())
        wanted = {part.name for part in parts if isinstance(part, Parameter)}
        if wanted != values.keys():
            raise LookupError(f"the parameters of {name!r} are {sorted(wanted)}")
        path = build_path(parts, values)
        return f"{path}?{urlencode(query, doseq=True)}" if query else path

    # --- putting it together ---------------------------------------------------------------------

    def prepare(self, server: Any = None) -> None:
        """Compose everything; a server that takes the application calls this before it serves.

        Its limits are then those of the requests, `request.limits`. Raises RouteError or
        CompositionError, both of them ValueErrors, for what is wrong with routes and middlewares.
        """
        self._compose()
        if server is not None:
            self._request_class = with_limits(server.limits)
        for files in self._placed.values():
            files.prepare(server, len(self._placed))
        for handler in self._foreign():
            if hasattr(handler, "prepare"):
                handler.prepare(server)

    def _foreign(self) -> Iterator[Any]:
        """The handlers that are mounted, here and further in, and are no applications."""
        for handler in self._mounted:
            if isinstance(handler, Application):
                yield from handler._foreign()
            else:
                yield handler

    def _compose(self) -> Router[Endpoint]:
        converters = self._all_converters()
        router: Router[Endpoint] = Router(converters)
        names: dict[str, Route] = {}
        leaves: dict[int, tuple[Leaf[Endpoint], Route]] = {}
        for route in self.routes():
            _check_name(names, route)
            errors = route.errors or self.errors
            if isinstance(route.endpoint, StaticFiles):
                route = route._replace(endpoint=self._place(route.endpoint, route.pattern))
            call = _composed(route, _inner_of(route, converters, errors), errors)
            for method in route.methods:
                leaf = router.add(method, route.pattern, call, name_of(route.endpoint))
                leaves.setdefault(id(leaf), (leaf, route))
        for leaf, route in leaves.values():
            _add_automatic(router, leaf, route, route.errors or self.errors)
        methods = {method for leaf, _ in leaves.values() for method in leaf} - {ANY}
        self._nowhere = self._compose_nowhere(router, methods)
        self._router = router
        return router

    def _compose_nowhere(
        self, router: Router[Endpoint], methods: set[str]
    ) -> list[tuple[str, Endpoint]]:
        """For each prefix what answers below it where no route does, the longest prefix first."""
        chains: dict[str, Endpoint] = {}
        for scope in self.scopes():
            errors = scope.errors or self.errors
            inner = Inner(NotFound(router, errors, methods, self._redirects), "404")
            chains.setdefault(scope.prefix, compose(scope.middlewares, inner, errors))
        return sorted(chains.items(), key=lambda one: -len(one[0]))

    def _place(self, files: StaticFiles, pattern: str) -> StaticFiles:
        """The directory where the whole of its pattern puts it."""
        prefix = pattern.partition("{")[0]
        return self._placed.setdefault((id(files), prefix), files.at(prefix))

    def _all_converters(self) -> dict[str, Converter]:
        found = self._converters
        for handler in self._mounted:
            if isinstance(handler, Application):
                others = handler._all_converters()
                clash = [kind for kind in others if found.get(kind, others[kind]) != others[kind]]
                if clash:
                    raise RouteError(f"two applications mean different things by {clash}")
                found = {**others, **found}
        return found

    # --- a request -------------------------------------------------------------------------------

    def __call__(self, request: Any) -> ResponseOrAwaitable:
        request.__class__ = self._request_class
        try:
            router = self._router or self._compose()
            path = request.path
            found = router.find_short(path) if len(path) <= SHORT else router.find_long(path)
            if found is not None:
                target = found[0].get(request.method)
                if target is not None:
                    if values := found[1]:
                        names = target.names  # mostly there is one, and zip is slow to begin
                        request.params = (
                            {names[0]: values[0]}
                            if len(values) == 1
                            else dict(zip(names, values, strict=True))
                        )
                    return target.value(request)
            return self._elsewhere(request)
        except Exception as error:
            return self.errors.answer(request, error)

    def _elsewhere(self, request: Request) -> ResponseOrAwaitable:
        """A route that is not the first for its path; a mounted handler; nothing."""
        assert self._router is not None
        for leaf, values in self._router.find_all(request.path):
            target = leaf.get(request.method) or leaf.get(ANY)
            if target is not None:
                request.params = dict(zip(target.names, values, strict=True))
                return target.value(request)
        path = request.path
        for prefix, nowhere in self._nowhere:
            if not prefix or path == prefix or path.startswith(f"{prefix}/"):
                return nowhere(request)
        raise AssertionError("the application's own prefix is none")


def _inner_of(route: Route, converters: Mapping[str, Converter], errors: Errors) -> Inner:
    parts = parse_pattern(route.pattern, converters)
    there = frozenset(part.name for part in parts if isinstance(part, Parameter))
    # Where there is a middleware, it may want to catch what nobody has expected.
    told = errors.expected if route.middlewares else errors.answer
    try:
        return innermost(route.endpoint, there, told)
    except RouteError as error:
        raise RouteError(f"{' '.join(route.methods)} {route.pattern}: {error}") from None


def _composed(route: Route, inner: Inner, errors: Errors) -> Endpoint:
    try:
        return compose(route.middlewares, inner, errors)
    except CompositionError as error:
        raise CompositionError(f"{' '.join(route.methods)} {route.pattern}: {error}") from None


def _add_automatic(
    router: Router[Endpoint], leaf: Leaf[Endpoint], route: Route, errors: Errors
) -> None:
    """HEAD and OPTIONS, with the middlewares that the path has otherwise."""
    if ANY in leaf:
        return
    if "GET" in leaf:
        leaf.setdefault("HEAD", leaf["GET"])
    if "OPTIONS" not in leaf:

        def answer(request: Request) -> Response:
            return allow_field(methods_of(router, request.path))

        call = _composed(route, Inner(answer, "OPTIONS"), errors)
        leaf["OPTIONS"] = next(iter(leaf.values()))._replace(value=call)


def _check_name(names: dict[str, Route], route: Route) -> None:
    """A name that was given to two paths would be a matter of luck; a function's own may recur."""
    known = names.setdefault(route.name, route)
    given = route.name.rpartition(".")[2] != getattr(route.endpoint, "__name__", "")
    if given and known.pattern != route.pattern:
        raise RouteError(f"{route.pattern} and {known.pattern} have the same name, {route.name!r}")
