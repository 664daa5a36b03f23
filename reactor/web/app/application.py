"""An application: routes, middlewares and error handlers, composed into one handler.

    app = Application()

    @app.get("/hello/{name}")
    def hello(request, name):
        return f"Hello, {name}!"

Everything is collected first and composed once, when a server takes the application (`prepare`) or
at the first request: the middlewares of each route become one callable (see app/chain.py), and
combinations that cannot work are refused then, with both places named. After that a request costs a
look-up and a call.

A Group is a part of an application: a prefix, middlewares and routes of its own; it may stand in
another module and be included. A whole application, or any other handler, can be mounted.

The application itself responds where the routes leave something open: HEAD is served by GET;
OPTIONS and 405 list the methods of a path; a path without a route is a 404, or a redirect where
only a slash is different, if that is wanted (see app/not_found.py). It knows no socket and no bytes
of the protocol.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlencode
from weakref import ref

from reactor.errors import ProtocolError, all_but_interrupts
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.server.server import Server, prepare_handler
from reactor.web.app.adapters import MountedHandler
from reactor.web.app.composition import compose_not_found, compose_routes
from reactor.web.app.converters import CONVERTERS, Converter
from reactor.web.app.error_handlers import ErrorHandler, ErrorHandlers, check_kind_of_error
from reactor.web.app.group import Group, Route, Scope, checked_prefix
from reactor.web.app.lifecycle import LifecycleSteps
from reactor.web.app.not_found import NotFoundChains, find_next, find_other
from reactor.web.app.requests import Request, adopt
from reactor.web.app.router import (
    ANY,
    Parameter,
    RouteError,
    Router,
    build_path,
    parse_pattern,
)
from reactor.web.endpoint import (
    AnyMiddleware,
    Endpoint,
    ResponseOrAwaitable,
)
from reactor.web.semantics.hosts import Hosts
from reactor.web.static.file_server import Mount
from reactor.web.static.mount import StaticFiles

H = TypeVar("H", bound=ErrorHandler)


class _MountedApplication(Group):
    """The routes of a mounted application, whose own error handlers are asked first."""

    def __init__(self, prefix: str, application: "Application") -> None:
        super().__init__(prefix)
        self._application = application
        application._parents.append(ref(self))

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


class Application(LifecycleSteps, Group):
    """A handler made of routes, for `reactor.serve`, a Server, or the test client.

    Routes are added with the decorators of Group: `get`, `post`, `put`, `patch`, `delete`, `route`.
    """

    request_class: Final = Request  # the class that a server makes the requests of

    def __init__(self, *middlewares: AnyMiddleware, redirect_slashes: bool = False) -> None:
        """Make an application without routes.

        The middlewares are for all of its paths, also those without a route; the first is the
        outermost. With `redirect_slashes` a path without a route is redirected (308) where the same
        path with a slash at its end, or without it, has one.
        """
        Group.__init__(self, "", *middlewares)
        LifecycleSteps.__init__(self)
        self.errors = ErrorHandlers()
        # Whether directories of the command line become routes of this application, behind its
        # middlewares and error handlers. Otherwise they stand before it.
        self.takes_mounts = False
        self.mounts: list[tuple[str, Mount]] = []  # by prefix; the command line fills the list
        # The hosts that are served, by this application and those mounted in it; all where it is
        # None. Requests for other hosts get a 421. The command line sets them.
        self.hosts: Hosts | None = None
        self._redirects = redirect_slashes
        self._converters: dict[str, Converter] = dict(CONVERTERS)
        self._mounted: list[Any] = []
        self._router: Router[Endpoint] | None = None  # made by _compose
        self._others: Router[Endpoint] = Router()  # OPTIONS and 405; set with the router
        self._not_found = NotFoundChains()  # for paths without a route; set with the router
        self._static: dict[int, StaticFiles] = {}  # by identity; set with the router

    # --- its parts -------------------------------------------------------------------------------

    @property
    def debug(self) -> bool:
        """Whether 500 responses show the traceback. False by default; never True in production.

        They do so for the hosts of `show_debug_to` alone.
        """
        return self.errors.debug

    @debug.setter
    def debug(self, on: bool) -> None:
        self.errors.debug = on

    def show_debug_to(self, *hosts: str) -> None:
        """Show debug pages for these hosts too: names, addresses, `*.example.com`, or `*` for all.

        Without them a page is shown for localhost, names below it, and addresses, since a page of
        another site could read it under a name of its own. Raises ValueError for a malformed host.
        """
        self.errors.show_debug_to(*hosts)

    def _changed(self) -> None:
        self._router = None
        super()._changed()

    def converter(
        self, kind: str, read: Callable[[str], Any], write: Callable[[Any], str] = str
    ) -> None:
        """Let patterns use `{name:kind}` for one segment that `read` converts to a value.

            app.converter("date", date.fromisoformat, date.isoformat)

        `read(text)` gets the decoded segment and raises ValueError for a text that is not of this
        kind; the route does not fit then. It has to be pure, and its values immutable: they are
        cached with the path and shared between requests. `write(value)` is for `url`. Raises
        RouteError if the kind exists.
        """
        if kind in self._converters:
            raise RouteError(f"the parameter kind {kind!r} exists already")
        self._converters[kind] = Converter(kind, read, write)
        self._changed()

    def error(self, what: int | type[Exception]) -> Callable[[H], H]:
        """Return a decorator for the error handler of a status (400 to 599) or an exception class.

            @app.error(LookupError)
            def missing(request, error):
                return 404, f"It is {error}."

        The handler is a `def` or an `async def`; its result is like that of an endpoint. The
        narrowest class counts, then the status of a ProtocolError. An `async def` has to be
        awaited, so no plain middleware may stand above it. Raises ValueError for another `what`,
        and for a second handler of the same status or class.
        """

        check_kind_of_error(what)

        def decorate(handler: H) -> H:
            self.errors.add(what, handler)
            self._changed()  # an `async def` may not stand below the middlewares that there are
            return handler

        return decorate

    def mount(self, prefix: str, handler: Any) -> None:
        """Leave all paths below the prefix to another Application, or to any other handler.

        An application's routes become routes here, with its middlewares and error handlers; its own
        error handlers are asked first. Any other handler is called with the body unread, and finds
        the rest of the path in `request.params["rest"]`, a tuple of decoded segments. Raises
        RouteError for a malformed prefix.
        """
        checked_prefix(prefix)
        if isinstance(handler, Application):
            handler.errors.outer = self.errors
            self._steps.append(handler)
            self.include(_MountedApplication(prefix, handler))
        else:
            for pattern in (prefix, f"{prefix}/{{rest:segments}}"):
                if pattern:
                    self.add(ANY, pattern, MountedHandler(handler))
        self._mounted.append(handler)

    def static(
        self,
        prefix: str,
        directory: str | os.PathLike[str],
        *,
        listing: bool = False,
        spa: str = "",
        headers: Fields = (),
        cache_control: str = "",
        types: Mapping[str, str] | None = None,
        trusted: bool = True,
    ) -> None:
        """Serve the files below a directory, for GET and HEAD: ranges, validators, compression.

            app.static("/assets", "public", cache_control="max-age=3600")

        `listing` adds a page for directories without an index.html. `spa` is the path, below the
        directory, of the file that is served for unknown paths (a single-page application).
        `headers` are added to every response. `cache_control` is the value of Cache-Control.
        `types` maps extensions (".md") and whole names ("LICENSE") to media types, beside the usual
        ones. `trusted=False` is for files that clients have uploaded: browsers run no script in
        them, and an index.html is a file like any other (see "What others uploaded" in
        docs/files.md). No request leads out of the directory. Raises OSError for a directory that
        cannot be opened, ValueError for a wrong type, RouteError for a malformed prefix.
        """
        files = StaticFiles(
            directory,
            listing=listing,
            spa=spa,
            headers=headers,
            cache_control=cache_control,
            types=types,
            trusted=trusted,
        )
        self.add("GET", f"{checked_prefix(prefix)}/{{name:names}}", files)

    def url(self, name: str, /, query: Mapping[str, Any] | None = None, **values: object) -> str:
        """The path of the route of this name, with these parameters, and a query.

            app.url("note", number=7, query={"page": 2})  # "/notes/7?page=2"

        Values are converted and percent-encoded; a list in `query` repeats its name. In a mounted
        application the path begins with the prefix of the mount, whose parameters are values too.
        Raises LookupError if no route or more than one has the name, if the application is mounted
        at several places, or if the parameters are not exactly those of the path; ValueError for a
        value that is not of its parameter's kind.
        """
        patterns = {route.pattern for route in self.routes() if route.name == name}
        if len(patterns) != 1:
            raise LookupError(f"{len(patterns) or 'no'} routes have the name {name!r}")
        place, *others = sorted(self._places())
        if others:
            raise LookupError(
                f"the application of the route {name!r} is mounted at {', '.join((place, *others))}"
                "; mount an application of its own at each place, or write the path"
            )
        converters = self._all_converters()
        for outer in self._around():
            if isinstance(outer, Application):
                converters = {**outer._all_converters(), **converters}
        parts = parse_pattern(place + patterns.pop(), converters)
        wanted = {part.name for part in parts if isinstance(part, Parameter)}
        if wanted != values.keys():
            raise LookupError(
                f"the route {name!r} has the parameters {sorted(wanted)}, not {sorted(values)}"
            )
        path = build_path(parts, values)
        return f"{path}?{urlencode(query, doseq=True)}" if query else path

    # --- composing them --------------------------------------------------------------------------

    def prepare(self, server: Server | None = None) -> None:
        """Compose everything. A Server calls this before it serves, with itself.

        Raises RouteError or CompositionError, both ValueErrors, for mistakes in routes and in the
        order of middlewares.
        """
        self._compose()
        for files in self._static.values():
            files.prepare(server, len(self._static))
        if server is not None:
            server.add_steps(self.lifecycle)
            for handler in self._foreign_handlers():
                prepare_handler(handler, server)

    def _foreign_handlers(self) -> Iterator[Any]:
        """The mounted handlers that are not applications, those of mounted applications too."""
        for handler in self._mounted:
            if isinstance(handler, Application):
                yield from handler._foreign_handlers()
            else:
                yield handler

    def _compose(self) -> Router[Endpoint]:
        routes = list(self.routes())
        endpoints = (route.endpoint for route in routes)
        self._static = {id(one): one for one in endpoints if isinstance(one, StaticFiles)}
        converters = self._all_converters()
        composed = compose_routes(routes, converters, self.errors)
        self._not_found = compose_not_found(
            self.scopes(), converters, composed, self._redirects, self.errors
        )
        self._others = composed.others
        self._router = composed.router
        return composed.router

    def _all_converters(self) -> dict[str, Converter]:
        """The converters of this application and those mounted in it. Raises RouteError."""
        found = self._converters
        for handler in self._mounted:
            if isinstance(handler, Application):
                others = handler._all_converters()
                clash = [kind for kind in others if found.get(kind, others[kind]) != others[kind]]
                if clash:
                    raise RouteError(f"two applications define different converters for {clash}")
                found = {**others, **found}
        return found

    def error_response(self, request: BaseRequest, error: BaseException) -> Response:
        """Respond to an error that the server has found in a request of this application.

        A server calls this for a body that is malformed or late, a handler that takes too long, and
        a response that cannot be sent, which the log says with the name of its endpoint. Its error
        handlers count, except those that are awaited.
        """
        if self._router is not None and not isinstance(error, ProtocolError):
            with suppress(ProtocolError):  # a path that cannot be decoded has no route
                if (found := find_next(self._router, request)) is not None:
                    error.add_note(f"The response is that of {found[0].route}.")
        return self.errors.respond_at_once(request, error)

    # --- a request -------------------------------------------------------------------------------

    def __call__(self, request: Any) -> ResponseOrAwaitable:
        """Respond to a request. Never raises: every error becomes a response."""
        if type(request) is not Request:
            adopt(request)
        try:
            hosts = self.hosts
            if hosts is not None and request.host not in hosts.known:
                hosts.admit(request.host)
            router = self._router or self._compose()
            path = request.path
            found = router.known.get(path) or router.find(path)
            if found is not None:
                leaf, values = found
                target = leaf.get(request.method)
                if target is not None:
                    if values:
                        names = target.names  # one in most cases, and zip is slow to begin
                        request.params = (
                            {names[0]: values[0]}
                            if len(values) == 1
                            else dict(zip(names, values, strict=True))
                        )
                    return target.value(request)
            return self._fall_back(request)
        except all_but_interrupts() as error:
            return self.errors.respond(request, error)

    def _fall_back(self, request: Request) -> ResponseOrAwaitable:
        """Call the next route of the path that takes the method.

        Where there is none, the path has OPTIONS or a 405, or else its prefix a 404. Below a mount
        of files the path of the request becomes the resolved one, for the middlewares as well.
        """
        assert self._router is not None
        request.path = self._router.resolve(request.path)
        found = find_next(self._router, request) or find_other(self._others, request)
        if found is not None:
            target, values = found
            request.params = dict(zip(target.names, values, strict=True))
            return target.value(request)
        return self._not_found.respond(request)
