"""Routes composed into a router: one callable for each route, and one for paths without a route.

This is done once, before an application serves, and again after a change of its routes. Mistakes in
patterns, names and the order of middlewares are found here, and the errors name the routes. A
composed route holds no reference to its Application.
"""

from collections.abc import Iterable, Mapping

from reactor.messages.response import Response
from reactor.web.app.adapters import innermost
from reactor.web.app.chain import Inner, compose, describe
from reactor.web.app.converters import Converter
from reactor.web.app.error_handlers import ErrorHandlers
from reactor.web.app.group import Route, Scope
from reactor.web.app.not_found import NotFound, methods_of, options_response
from reactor.web.app.requests import Request
from reactor.web.app.router import ANY, Leaf, Parameter, RouteError, Router, parse_pattern
from reactor.web.endpoint import CompositionError, Endpoint


def compose_routes(
    routes: Iterable[Route], converters: Mapping[str, Converter], errors: ErrorHandlers
) -> tuple[Router[Endpoint], set[str]]:
    """The router of these routes, and all their methods. Raises RouteError, CompositionError.

    `errors` are the error handlers of routes without their own.
    """
    router: Router[Endpoint] = Router(converters)
    names: dict[str, Route] = {}
    leaves: dict[int, tuple[Leaf[Endpoint], Route]] = {}
    for route in routes:
        _check_name(names, route)
        handlers = route.errors or errors
        call = _composed(route, _inner_of(route, converters, handlers), handlers)
        for method in route.methods:
            leaf = router.add(method, route.pattern, call, describe(route.endpoint))
            leaves.setdefault(id(leaf), (leaf, route))
    for leaf, route in leaves.values():
        _add_automatic(router, leaf, route, route.errors or errors)
    return router, {method for leaf, _ in leaves.values() for method in leaf} - {ANY}


def compose_not_found(
    scopes: Iterable[Scope],
    router: Router[Endpoint],
    methods: set[str],
    redirects: bool,
    errors: ErrorHandlers,
) -> list[tuple[str, Endpoint]]:
    """For each prefix the handler of paths below it that have no route, longest prefix first.

    It has the middlewares of its prefix, so that a 404 passes them as well. Raises
    CompositionError.
    """
    chains: dict[str, Endpoint] = {}
    for scope in scopes:
        handlers = scope.errors or errors
        inner = Inner(NotFound(router, handlers, methods, redirects), "404")
        chains.setdefault(scope.prefix, compose(scope.middlewares, inner, handlers))
    return sorted(chains.items(), key=lambda one: -len(one[0]))


def _inner_of(route: Route, converters: Mapping[str, Converter], errors: ErrorHandlers) -> Inner:
    """The innermost step of a route's chain. Raises RouteError, which names the route."""
    parts = parse_pattern(route.pattern, converters)
    parameters = frozenset(part.name for part in parts if isinstance(part, Parameter))
    # A middleware may want to catch an exception that has no error handler.
    on_error = errors.respond_if_expected if route.middlewares else errors.respond
    try:
        return innermost(route.endpoint, parameters, on_error)
    except RouteError as error:
        raise RouteError(f"{' '.join(route.methods)} {route.pattern}: {error}") from None


def _composed(route: Route, inner: Inner, errors: ErrorHandlers) -> Endpoint:
    try:
        return compose(route.middlewares, inner, errors)
    except CompositionError as error:
        raise CompositionError(f"{' '.join(route.methods)} {route.pattern}: {error}") from None


def _add_automatic(
    router: Router[Endpoint], leaf: Leaf[Endpoint], route: Route, errors: ErrorHandlers
) -> None:
    """Add HEAD and OPTIONS to a path, with the middlewares of its first route."""
    if ANY in leaf:
        return
    if "GET" in leaf:
        leaf.setdefault("HEAD", leaf["GET"])
    if "OPTIONS" not in leaf:

        def respond(request: Request) -> Response:
            return options_response(methods_of(router, request.path))

        call = _composed(route, Inner(respond, "OPTIONS"), errors)
        leaf["OPTIONS"] = next(iter(leaf.values()))._replace(value=call)


def _check_name(names: dict[str, Route], route: Route) -> None:
    """Raise RouteError if two paths were given one name; the name of a function may recur."""
    known = names.setdefault(route.name, route)
    given = route.name.rpartition(".")[2] != getattr(route.endpoint, "__name__", "")
    if given and known.pattern != route.pattern:
        raise RouteError(f"{route.pattern} and {known.pattern} have the same name, {route.name!r}")
