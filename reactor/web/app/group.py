"""Groups of routes: a prefix, and the middlewares that only its routes have.

A Group is a part of an application; it may stand in another module and be included. What is
collected here is composed by application.py.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar
from weakref import ref

from reactor.web.app.error_handlers import Errors
from reactor.web.app.router import RouteError

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")


class Route(NamedTuple):
    """One entry of the table, as it was added."""

    methods: tuple[str, ...]
    pattern: str
    endpoint: Callable[..., Any]
    name: str
    middlewares: tuple[Any, ...]
    errors: Errors | None  # None: those of the application that it is added to


class Scope(NamedTuple):
    """A prefix, and what stands around the paths below it."""

    prefix: str
    middlewares: tuple[Any, ...]
    errors: Errors | None


class Group:
    """Routes under one prefix, with middlewares that only they have, the outermost first."""

    def __init__(self, prefix: str = "", *middlewares: Any, name: str = "") -> None:
        """`name`, with a dot behind it, begins the names of its routes. Raises RouteError."""
        self._prefix = checked_prefix(prefix)
        self._name = f"{name}." if name else ""
        self._middlewares = list(middlewares)
        self._parts: list[Route | Group] = []
        self._around: list[ref[Group]] = []  # that it is included in, and has to tell of changes

    def add(
        self, methods: str | Sequence[str], pattern: str, endpoint: Callable[..., Any], *,
        name: str = "", middlewares: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        """Call `endpoint` for these methods on what `pattern` describes (see app/router.py).

        `endpoint(request)` returns what an answer can be made of (see app/responses.py), as a
        `def`, an `async def` or a generator. Parameters of the path that it names are handed to it
        as keyword arguments; all are in `request.params`. Its `name`, by default the function's, is
        for `Application.url`.
        """
        methods = (methods,) if isinstance(methods, str) else tuple(methods)
        name = name or getattr(endpoint, "__name__", "")
        self._parts.append(Route(methods, pattern, endpoint, name, tuple(middlewares), None))
        self._changed()

    def route(
        self, pattern: str, methods: str | Sequence[str] = "GET", *, name: str = "",
        middlewares: Sequence[Any] = (),
    ) -> Callable[[F], F]:  # fmt: skip
        """`add` as a decorator."""

        def decorate(endpoint: F) -> F:
            self.add(methods, pattern, endpoint, name=name, middlewares=middlewares)
            return endpoint

        return decorate

    def get(self, pattern: str, **options: Any) -> Callable[[F], F]:
        return self.route(pattern, "GET", **options)

    def post(self, pattern: str, **options: Any) -> Callable[[F], F]:
        return self.route(pattern, "POST", **options)

    def put(self, pattern: str, **options: Any) -> Callable[[F], F]:
        return self.route(pattern, "PUT", **options)

    def patch(self, pattern: str, **options: Any) -> Callable[[F], F]:
        return self.route(pattern, "PATCH", **options)

    def delete(self, pattern: str, **options: Any) -> Callable[[F], F]:
        return self.route(pattern, "DELETE", **options)

    def use(self, middleware: M) -> M:
        """Add a middleware, further in than those before it; also as a decorator."""
        self._middlewares.append(middleware)
        self._changed()
        return middleware

    def group(self, prefix: str = "", *middlewares: Any, name: str = "") -> "Group":
        """A new group in this one."""
        return self.include(Group(prefix, *middlewares, name=name))

    def include(self, group: "Group") -> "Group":
        """Add a group that was made elsewhere."""
        self._parts.append(group)
        group._around.append(ref(self))
        self._changed()
        return group

    def scopes(self) -> Iterator["Scope"]:
        """What stands around paths that lead nowhere: its own, and that of each group in it."""
        yield Scope(self._prefix, tuple(self._middlewares), None)
        for part in self._parts:
            if isinstance(part, Group):
                for scope in part.scopes():
                    yield Scope(
                        self._prefix + scope.prefix,
                        (*self._middlewares, *scope.middlewares),
                        scope.errors,
                    )

    def _changed(self) -> None:
        """What was composed of it is to be composed anew."""
        for reference in self._around:
            around = reference()
            if around is not None:
                around._changed()

    def routes(self) -> Iterator[Route]:
        """All that is in it, with its prefix and its middlewares."""
        for part in self._parts:
            inner = (part,) if isinstance(part, Route) else part.routes()
            for route in inner:
                yield route._replace(
                    pattern=self._prefix + route.pattern,
                    name=self._name + route.name,
                    middlewares=(*self._middlewares, *route.middlewares),
                )


def checked_prefix(prefix: str) -> str:
    """Raises RouteError for what is no prefix."""
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise RouteError(f"a prefix begins with a slash and does not end in one: {prefix!r}")
    return prefix
