"""Groups of routes: a prefix, and the middlewares that only its routes have.

A Group is a part of an application; it may stand in a module of its own and be included. It only
collects: app/application.py composes its routes into a router. A group keeps weak references to the
groups that include it, so that a change has their application composed anew.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar
from weakref import ref

from reactor.http.wrong_results import likely_cause, shown
from reactor.protocol.grammar import is_token
from reactor.web.app.error_handlers import ErrorHandlers
from reactor.web.app.functions import describe, takes_first
from reactor.web.app.router import RouteError
from reactor.web.endpoint import AnyMiddleware

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=AnyMiddleware)


class Route(NamedTuple):
    """A route as it was added."""

    methods: tuple[str, ...]
    pattern: str
    endpoint: Callable[..., Any]
    name: str
    middlewares: tuple[AnyMiddleware, ...]
    errors: ErrorHandlers | None  # by default those of the application around the route


class Scope(NamedTuple):
    """A prefix, with the middlewares and error handlers of the paths below it."""

    prefix: str
    middlewares: tuple[AnyMiddleware, ...]
    errors: ErrorHandlers | None  # by default those of the application around the scope


class Group:
    """Routes below one prefix, with middlewares of their own.

        api = Group("/api", RateLimit(rate=10, burst=20), name="api")

        @api.get("/users/{number:int}")
        def user(request, number):
            return {"number": number}

        app.include(api)  # GET /api/users/7, and app.url("api.user", number=7)

    Routes are added with `get`, `post`, `put`, `patch`, `delete`, `route` or `add`.
    """

    def __init__(self, prefix: str = "", *middlewares: AnyMiddleware, name: str = "") -> None:
        """Make an empty group.

        `prefix` begins with a slash and does not end with one, or is empty. The first middleware is
        the outermost. `name` and a dot are put before the names of its routes. Raises RouteError
        for any other prefix.
        """
        self._prefix = checked_prefix(prefix)
        self._name = f"{name}." if name else ""
        self._middlewares = list(middlewares)
        self._parts: list[Route | Group] = []
        self._parents: list[ref[Group]] = []  # the groups that include this one

    def add(
        self,
        methods: str | Sequence[str],
        pattern: str,
        endpoint: Callable[..., Any],
        *,
        name: str = "",
        middlewares: Sequence[AnyMiddleware] = (),
    ) -> None:
        """Add a route: call `endpoint` for requests with these methods whose path fits `pattern`.

        `pattern` is a path whose segments may be parameters: `{name}`, or `{name:kind}` with the
        kind `str`, `int`, `float`, `uuid`, `path`, `segments`, `names`, or one of
        `Application.converter`.
        `endpoint(request)` is a `def`, an `async def` or a generator of either kind. It may declare
        parameters of the path as arguments; all are in `request.params`. It returns a Response or
        a value of which one is made: `str`, `bytes`, `dict`, `list`, a dataclass, `(status, body)`
        or `(status, body, fields)`. `name` is for `Application.url`, and is the function's name by
        default. `middlewares` are for this route alone, inside those of its groups, the outermost
        first.

        A method in lower case is taken as upper case, since the case of methods counts (RFC 9110,
        section 9.1). Any token may be one, as in `["PROPFIND", "QUERY"]`, but CONNECT, which is for
        proxies. Raises RouteError for another, and where there is none; for a pattern without a
        slash at its beginning; and for an endpoint that does not take a request. Mistakes that
        depend on the prefixes and the middlewares around the route raise RouteError or
        CompositionError when the application is composed, before it serves.
        """
        check_endpoint(pattern, endpoint)
        methods = checked_methods(methods, pattern, endpoint)
        name = name or getattr(endpoint, "__name__", "")
        self._parts.append(Route(methods, pattern, endpoint, name, tuple(middlewares), None))
        self._changed()

    def route(
        self,
        pattern: str,
        methods: str | Sequence[str] = "GET",
        *,
        name: str = "",
        middlewares: Sequence[AnyMiddleware] = (),
    ) -> Callable[[F], F]:
        """Return a decorator that adds its function as a route.

            @app.route("/notes", ["GET", "POST"])
            async def notes(request): ...

        The arguments are those of `add`.
        """

        if not isinstance(pattern, str):
            raise RouteError(
                f"a route needs a path, not {describe(pattern)}: "
                'the decorator is written with parentheses, as in @app.get("/")'
            )

        def decorate(endpoint: F) -> F:
            self.add(methods, pattern, endpoint, name=name, middlewares=middlewares)
            return endpoint

        return decorate

    def get(
        self, pattern: str, *, name: str = "", middlewares: Sequence[AnyMiddleware] = ()
    ) -> Callable[[F], F]:
        """Return a decorator that adds a route for GET, and so for HEAD; see `add`."""
        return self.route(pattern, "GET", name=name, middlewares=middlewares)

    def post(
        self, pattern: str, *, name: str = "", middlewares: Sequence[AnyMiddleware] = ()
    ) -> Callable[[F], F]:
        """Return a decorator that adds a route for POST; see `add`."""
        return self.route(pattern, "POST", name=name, middlewares=middlewares)

    def put(
        self, pattern: str, *, name: str = "", middlewares: Sequence[AnyMiddleware] = ()
    ) -> Callable[[F], F]:
        """Return a decorator that adds a route for PUT; see `add`."""
        return self.route(pattern, "PUT", name=name, middlewares=middlewares)

    def patch(
        self, pattern: str, *, name: str = "", middlewares: Sequence[AnyMiddleware] = ()
    ) -> Callable[[F], F]:
        """Return a decorator that adds a route for PATCH; see `add`."""
        return self.route(pattern, "PATCH", name=name, middlewares=middlewares)

    def delete(
        self, pattern: str, *, name: str = "", middlewares: Sequence[AnyMiddleware] = ()
    ) -> Callable[[F], F]:
        """Return a decorator that adds a route for DELETE; see `add`."""
        return self.route(pattern, "DELETE", name=name, middlewares=middlewares)

    def use(self, middleware: M) -> M:
        """Add a middleware inside those that were added before, and return it.

        It may be used as a decorator. Routes that were added before have it as well.
        """
        self._middlewares.append(middleware)
        self._changed()
        return middleware

    def group(self, prefix: str = "", *middlewares: AnyMiddleware, name: str = "") -> "Group":
        """Make a group inside this one and return it; the arguments are those of Group."""
        return self.include(Group(prefix, *middlewares, name=name))

    def include(self, group: "Group") -> "Group":
        """Add a group that was made elsewhere, and return it. It may still be added to."""
        self._parts.append(group)
        group._parents.append(ref(self))
        self._changed()
        return group

    def routes(self) -> Iterator[Route]:
        """All routes of the group and its groups, with their full patterns and middlewares."""
        for part in self._parts:
            inner = (part,) if isinstance(part, Route) else part.routes()
            for route in inner:
                yield route._replace(
                    pattern=self._prefix + route.pattern,
                    name=self._name + route.name,
                    middlewares=(*self._middlewares, *route.middlewares),
                )

    def scopes(self) -> Iterator[Scope]:
        """The scope of the group and of each group in it, for paths that have no route.

        A group in it without a prefix of its own has no such paths.
        """
        yield Scope(self._prefix, tuple(self._middlewares), None)
        for part in self._parts:
            if isinstance(part, Group):
                for scope in part.scopes():
                    if scope.prefix:
                        yield Scope(
                            self._prefix + scope.prefix,
                            (*self._middlewares, *scope.middlewares),
                            scope.errors,
                        )

    def _around(self) -> Iterator["Group"]:
        """The groups and applications that include this one, and those that include these."""
        for reference in self._parents:
            parent = reference()
            if parent is not None:
                yield parent
                yield from parent._around()

    def _places(self) -> set[str]:
        """The prefixes at which the routes of this group stand, without its own prefix."""
        parents = [parent for reference in self._parents if (parent := reference()) is not None]
        places = {place + one._prefix for one in parents for place in one._places()}
        return places or {""}

    def _changed(self) -> None:
        """Have the applications that include this group composed anew."""
        for reference in self._parents:
            parent = reference()
            if parent is not None:
                parent._changed()


def check_endpoint(pattern: str, endpoint: Callable[..., Any]) -> None:
    """Check what is known of a route where it is added. Raises RouteError."""
    if not callable(endpoint):
        raise RouteError(
            f"the endpoint of {pattern!r} must be a function, not {shown(endpoint)}"
            f"{likely_cause(endpoint)}"
        )
    route = f"the route {pattern!r} ({describe(endpoint)})"
    if not isinstance(pattern, str) or (pattern and not pattern.startswith("/")):
        raise RouteError(f"{route} must begin with a slash, as in {f'/{pattern}'!r}")
    if not takes_first(endpoint):
        raise RouteError(f"{route} must take the request as its first argument")


def checked_methods(
    given: str | Sequence[str], pattern: str, endpoint: Callable[..., Any]
) -> tuple[str, ...]:
    """The methods of a route, in upper case and each once.

    Raises RouteError for one that a request cannot have.
    """
    methods = (given,) if isinstance(given, str) else tuple(given)
    route = f"the route {pattern} ({describe(endpoint)})"
    if not methods:
        raise RouteError(f"{route} has no method; it needs one at least, such as 'GET'")
    for method in methods:
        if not isinstance(method, str) or not is_token(method):
            hint = "; several are a list of texts" if "," in str(method) else ""
            raise RouteError(
                f"{route} has the method {method!r}; a method is a token, such as 'GET'{hint}"
            )
        if method.upper() == "CONNECT":
            raise RouteError(f"{route} has the method CONNECT, which this server never serves")
    return tuple(dict.fromkeys(method.upper() for method in methods))


def checked_prefix(prefix: str) -> str:
    """Return the prefix. Raises RouteError for one that is malformed."""
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise RouteError(f"a prefix must begin with a slash and not end with one: {prefix!r}")
    return prefix
