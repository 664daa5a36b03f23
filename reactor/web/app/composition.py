"""Routes composed into routers: callables for each route, and one for paths without a route.

This is done once, before an application serves, and again after a change of its routes. Mistakes in
patterns, names and the order of middlewares are found here, and the errors name the routes. A
composed route holds no reference to its Application.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reactor.web.app.adapters import innermost
from reactor.web.app.chain import Inner, MiddlewareKind, compose, is_plain, kind_of
from reactor.web.app.converters import Converter
from reactor.web.app.error_handlers import ErrorHandlers
from reactor.web.app.functions import describe
from reactor.web.app.group import Route, Scope
from reactor.web.app.not_found import NotFound, NotFoundChains, prefix_key
from reactor.web.app.router import ANY, Leaf, Parameter, RouteError, Router, parse_pattern
from reactor.web.endpoint import CompositionError, Endpoint


class Routes(NamedTuple):
    """The composed routes, in two routers with the same patterns and methods."""

    router: Router[Endpoint]  # the routes
    # The responses to OPTIONS and 405, each with the middlewares of the route at its place; a
    # route for any method stands here as it is, since it takes these requests as well.
    others: Router[Endpoint]
    methods: set[str]  # all of them, with HEAD and OPTIONS


def compose_routes(
    routes: Iterable[Route], converters: Mapping[str, Converter], errors: ErrorHandlers
) -> Routes:
    """Compose the routes. Raises RouteError, CompositionError.

    `errors` are the error handlers of routes without their own.
    """
    composed = Routes(Router(converters), Router(converters), {"OPTIONS"})
    names: dict[str, Route] = {}
    leaves: dict[int, Leaf[Endpoint]] = {}
    for route in routes:
        _check_name(names, route)
        handlers = route.errors or errors
        call = _composed(route, _inner_of(route, converters, handlers), handlers)
        unrouted = Inner(NotFound(composed.router, handlers, composed.methods), "405")
        other = _composed(route, unrouted, handlers)
        place = describe(route.endpoint)
        for method in route.methods:
            leaf = composed.router.add(method, route.pattern, call, place)
            value = call if method == ANY else other
            beside = composed.others.add(method, route.pattern, value, place)
            leaves |= {id(leaf): leaf, id(beside): beside}
        composed.methods.update(route.methods)
    for leaf in leaves.values():
        if "GET" in leaf and ANY not in leaf:
            leaf.setdefault("HEAD", leaf["GET"])
    if "GET" in composed.methods:
        composed.methods.add("HEAD")
    composed.methods.discard(ANY)
    return composed


def compose_not_found(
    scopes: Iterable[Scope],
    converters: Mapping[str, Converter],
    routes: Routes,
    redirects: bool,
    errors: ErrorHandlers,
) -> NotFoundChains:
    """The handlers of paths that have no route, with the middlewares of the scopes around them.

    A 404 passes them as well: nobody knows which of the groups with one prefix it belongs to, so
    that it passes the middlewares of all. Raises RouteError, CompositionError.
    """
    together: dict[tuple[object, ...], Scope] = {}
    for scope in scopes:
        key = prefix_key(scope.prefix, converters)
        known = together.setdefault(key, scope)
        middlewares = {id(one): one for one in (*known.middlewares, *scope.middlewares)}
        together[key] = known._replace(middlewares=tuple(middlewares.values()))
    chains = NotFoundChains(converters)
    for scope in together.values():
        handlers = scope.errors or errors
        inner = Inner(NotFound(routes.router, handlers, routes.methods, redirects), "404")
        chains.add(scope.prefix, _composed_scope(scope, inner, handlers))
    return chains


def _composed_scope(scope: Scope, inner: Inner, errors: ErrorHandlers) -> Endpoint:
    try:
        return compose(scope.middlewares, inner, errors)
    except CompositionError:
        # The plain middlewares of one group may not stand above those of another.
        middlewares = sorted(
            scope.middlewares, key=lambda one: kind_of(one) is MiddlewareKind.PLAIN
        )
        return compose(middlewares, inner, errors)


def _inner_of(route: Route, converters: Mapping[str, Converter], errors: ErrorHandlers) -> Inner:
    """The innermost step of a route's chain. Raises RouteError, which names the route."""
    # A middleware may want to catch an exception that has no error handler.
    on_error = errors.respond_if_expected if route.middlewares else errors.respond
    try:
        parts = parse_pattern(route.pattern, converters)
        parameters = frozenset(part.name for part in parts if isinstance(part, Parameter))
        can_wait = not any(map(is_plain, route.middlewares))
        return innermost(route.endpoint, parameters, on_error, errors.respond, can_wait=can_wait)
    except RouteError as error:
        place = describe(route.endpoint)
        text = str(error) if place in str(error) else f"{error} ({place})"
        raise RouteError(f"{' '.join(route.methods)} {route.pattern}: {text}") from None


def _composed(route: Route, inner: Inner, errors: ErrorHandlers) -> Endpoint:
    try:
        return compose(route.middlewares, inner, errors)
    except CompositionError as error:
        raise CompositionError(f"{' '.join(route.methods)} {route.pattern}: {error}") from None


def _check_name(names: dict[str, Route], route: Route) -> None:
    """Raise RouteError if two paths were given one name; the name of a function may recur."""
    known = names.setdefault(route.name, route)
    given = route.name.rpartition(".")[2] != getattr(route.endpoint, "__name__", "")
    if given and known.pattern != route.pattern:
        raise RouteError(f"{route.pattern} and {known.pattern} have the same name, {route.name!r}")
