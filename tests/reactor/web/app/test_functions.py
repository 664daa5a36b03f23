"""Functions of an author that cannot work: refused where they are added, by name, file and line."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from reactor import Group, Response
from reactor.web.app.application import Application
from reactor.web.app.functions import describe, misfit
from reactor.web.app.requests import Request
from reactor.web.app.router import RouteError
from reactor.web.endpoint import CompositionError, Middleware, before_only
from reactor.web.middlewares import RequestId

HERE = rf"\({re.escape(__file__)}, line \d+\)"


def home(request: Request) -> str:
    return ""


class Page:
    def __call__(self, request: Request) -> str:
        return ""

    def show(self, request: Request) -> str:
        return ""


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (home, "home"),
        (functools.partial(home), "home"),
        (functools.partial(functools.partial(home)), "home"),
        (functools.wraps(home)(lambda request: ""), "home"),
        (Page(), "Page"),
        (Page().show, r"Page\.show"),
        (functools.partial(Page().show), r"Page\.show"),
    ],
)
def test_names(function: Any, name: str) -> None:
    assert re.fullmatch(f"{name} {HERE}", describe(function))


def test_a_built_in_fits_and_has_no_file() -> None:
    assert describe(len) == "len"
    assert describe(Page) == "Page"
    assert misfit(dict, "request") == ""


@pytest.mark.parametrize("table", [Application(), Group("/api")])
@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda app: app.get("a")(home), rf"'a' \(home {HERE}\) must begin with a slash.*'/a'"),
        (lambda app: app.get("{a}")(home), rf"home {HERE}\) must begin with a slash"),
        (lambda app: app.get(home), rf"needs a path, not home {HERE}.*@app\.get\(\"/\"\)"),
        (lambda app: app.route(home), "needs a path, not home"),
        (lambda app: app.get("/")(lambda: ""), rf"lambda> {HERE}\) must take the request"),
        (lambda app: app.get("/")(None), r"must be a function, not None"),
        (lambda app: app.get("/")("home"), r"must be a function, not 'home'"),
    ],
)
def test_routes_are_refused_where_they_are_added(table: Group, add: Any, message: str) -> None:
    with pytest.raises(RouteError, match=message):
        add(table)


def test_a_coroutine_is_no_endpoint() -> None:
    async def make() -> Any:
        return home

    with pytest.raises(RouteError, match=rf"The coroutine of .*make {HERE} was not awaited"):
        Application().add("GET", "/", make())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "endpoint", "message"),
    [
        ("/a/{x}", lambda request, y: "", rf"GET /a/{{x}}: .*lambda> {HERE} requires 'y'.*'x'"),
        ("/a", lambda request, y: "", r"requires 'y'.*parameters: none"),
        ("/a/{x}", lambda request, x, /: "", rf"lambda> {HERE} takes 'x' by place alone"),
        ("/{x", home, rf"home {HERE}"),
        ("/{x:none}", home, rf"'none' .* is unknown.*home {HERE}"),
        ("", home, rf"must begin with a slash.*home {HERE}"),
    ],
)
def test_routes_that_are_refused_before_they_serve(
    pattern: str, endpoint: Any, message: str
) -> None:
    app = Application()
    app.add("GET", pattern, endpoint)
    with pytest.raises(RouteError, match=message):
        app.prepare()


def test_parameters_of_a_prefix_count() -> None:
    group = Group("/{tenant}")
    group.add("GET", "/{x}", lambda request, tenant, x: "")
    app = Application()
    app.include(group)
    app.prepare()


class OneArgument(Middleware):
    def after(self, response: Response) -> Response:  # type: ignore[override]
        return response


class NoArgument(Middleware):
    def before(self) -> None:  # type: ignore[override]
        return None


class Yields(Middleware):
    def after(self, request: Any, response: Response) -> Any:
        yield response


def generates(request: Any, next: Any) -> Iterator[Any]:
    yield next(request)


async def generates_later(request: Any, next: Any) -> Any:
    yield next(request)


@pytest.mark.parametrize(
    ("middleware", "message"),
    [
        (home, rf"middleware home {HERE} does not fit.*\(request, next\), and takes \(request"),
        (before_only(lambda next: next), rf"lambda> {HERE} does not fit"),
        (OneArgument(), rf"hook OneArgument\.after {HERE} does not fit.*\(request, response\)"),
        (NoArgument(), rf"hook NoArgument\.before {HERE} does not fit"),
        (generates, rf"generates {HERE} is a generator function"),
        (generates_later, rf"generates_later {HERE} is a generator function"),
        (Yields(), rf"hook Yields\.after {HERE} is a generator function"),
        (RequestId, r"not the class RequestId: RequestId\(\)"),
        ("x", "'x'"),
    ],
)
def test_middlewares(middleware: Any, message: str) -> None:
    app = Application(middleware)
    app.add("GET", "/", home)
    with pytest.raises(CompositionError, match=message):
        app.prepare()


@pytest.mark.parametrize(
    ("what", "handler", "message"),
    [
        (404, home, rf"error handler home {HERE} does not fit.*\(request, error\)"),
        (404, None, "is a function, not None"),
        (KeyError, lambda error: "", rf"lambda> {HERE} does not fit"),
        (home, home, rf"status from 400 to 599 or an Exception class, not home {HERE}"),
        (200, home, "not 200"),
        (SystemExit, home, "not SystemExit"),
    ],
)
def test_error_handlers(what: Any, handler: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Application().error(what)(handler)


def test_an_error_decorator_without_parentheses_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="not home"):
        Application().error(home)  # type: ignore[arg-type]
