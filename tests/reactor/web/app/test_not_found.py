"""Requests without a route: OPTIONS, 405, redirects for slashes, 404."""

from typing import Any

import pytest

from reactor import Headers, Response
from reactor.messages.request import BaseRequest
from reactor.protocol.paths import decode_path
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.endpoint import Endpoint, ResponseOrAwaitable
from reactor.web.middlewares import BasicAuth


def test_slashes_are_redirected_if_wanted() -> None:
    for redirects in (False, True):
        app = Application(redirect_slashes=redirects)
        app.add("GET", "/a", lambda request: "a")
        app.add("POST", "/b/", lambda request: "b")
        app.add("GET", "/{x}/{y}/", lambda request: "xy")
        with Client(app) as client:
            for path, where in (
                ("/a/?q=1", "../a?q=1"),
                ("/b", "b/"),
                ("/%2f%2Fevil.example/y", "y/"),
            ):
                response = client.post(path) if path == "/b" else client.get(path)
                assert response.status == (308 if redirects else 404)
                assert response.headers.get("location") == (where if redirects else "")
            assert client.get("//evil.example").headers.get("location", "/").count("//") == 0
            assert client.get("/c/").status == 404


def test_a_path_that_cannot_be_decoded() -> None:
    app = Application()
    app.add("GET", "/{x}", lambda request: "x")
    with Client(app) as client:
        assert client.get("/%zz").status == 400
        assert client.get("/%ff").status == 400
        response = client.get("/%ff", headers={"Accept": "application/json"})
        assert response.headers.get("content-type") == "application/problem+json"
        assert client.request("OPTIONS", "/x").status == 204


def test_options_list_the_methods_of_all_patterns() -> None:
    app = Application()
    app.add("PUT", "/x/{n:int}", lambda request: "")
    app.add("GET", "/x/{n}", lambda request: "")
    with Client(app) as client:
        assert client.options("/x/5").headers["Allow"] == "GET, HEAD, OPTIONS, PUT"


GUARDED = (
    "/admin/users",
    "/%61dmin/users",
    "/%61%64%6d%69%6E/users",
    "/admin/nothing",
    "/%61dmin/nothing",
    "/admin",
    "/%61dmin",
    "/admin/",
    "/admin//users",
    "/admin/./users",
    "/admin/users/",
    "/admin/a%2Fb",
    "/acme/inner/users",
    "/acme/%69nner/users",
    "/ac%20me/inner/nothing",
    "/100%25/secret",
    "/100%25/nothing",
    "/s%C3%BC%C3%9F/secret",
)
OPEN = ("/ADMIN/users", "/admins", "/admin%2Fusers", "/%2561dmin/users", "//admin/users", "/x")


@pytest.mark.parametrize("redirects", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_a_guard_stands_before_every_path_of_its_prefix(method: str, redirects: bool) -> None:
    """No spelling of the prefix shows what is behind it: not by 404, 405, 308 or Allow."""
    guard = BasicAuth({"ann": "secret"}, realm="guard")
    app = Application(redirect_slashes=redirects)
    inner = Application(guard)
    for prefix in ("/admin", "/100%", "/süß"):
        group = app.group(prefix, guard)
        group.add("GET", "/users", lambda request: "users")
        group.add("GET", "/secret", lambda request: "secret")
    inner.add("GET", "/users", lambda request: "users")
    app.mount("/{tenant}/inner", inner)
    for paths, status in ((GUARDED, 401), (OPEN, 404)):
        for path in paths:  # as they are: a client would remove dot segments
            response = app(BaseRequest(method, path, decode_path(path), "", 1, Headers()))
            assert isinstance(response, Response)
            assert response.status == status, path


def test_a_chain_of_a_prefix_with_parameters_gets_them() -> None:
    app, inner = Application(), Application()
    seen = []

    @inner.use
    def note(request: Request, next: Endpoint) -> ResponseOrAwaitable:
        seen.append(dict(request.params))
        return next(request)

    app.mount("/{tenant}/{number:int}", inner)
    with Client(app) as client:
        assert client.get("/acme/7/nothing").status == 404
        assert client.get("/acme/7").status == 404
        assert client.get("/acme/x").status == 404
    assert seen == [{"tenant": "acme", "number": 7}] * 2


def returning(status: int) -> Any:
    return lambda request, next: Response(status)


def test_prefixes_that_fit_the_same_paths_share_the_chain_of_the_first() -> None:
    app = Application()
    app.group("/{a}", returning(401))
    app.group("/{b}", returning(403))
    with Client(app) as client:
        assert client.get("/x/y").status == 401


def test_the_innermost_prefix_that_fits_counts() -> None:
    app = Application()
    app.group("/a", returning(401)).group("/b", returning(402))
    app.group("/{x}/b/c", returning(403))
    app.group("/a/b/d", returning(404))
    with Client(app) as client:
        for path, status in (("/a/x", 401), ("/a/b/x", 401), ("/a/b/c/x", 401), ("/z/b/c/", 403)):
            assert client.get(path).status == status, path


def test_a_middleware_sees_the_decoded_path() -> None:
    """The issue's own case: a guard by the beginning of the path."""

    def guard(request: Request, next: Endpoint) -> ResponseOrAwaitable:
        return Response(401) if request.path.startswith("/admin") else next(request)

    app = Application(guard)
    app.add("GET", "/admin/{rest:path}", lambda request: "secret")
    app.add("GET", "/url", lambda request: request.url)
    with Client(app, base_url="http://a.example") as client:
        for path in ("/admin/x", "/%61dmin/x", "/%61%64%6D%69%6e/x", "/admin/a%2fb"):
            assert client.get(path).status == 401
        assert client.get("/%75rl?%61").text == "http://a.example/%75rl?%61"
