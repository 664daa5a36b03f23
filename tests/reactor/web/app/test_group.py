"""Groups: prefixes, names and middlewares of their own."""

from typing import Any

import pytest

from reactor import Response
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.group import Group
from reactor.web.app.requests import Request
from reactor.web.app.router import RouteError
from tests.support.app_parts import Notes


def nested_groups(notes: list[str]) -> Application:
    app = Application(Notes("app", notes))
    api = Group("/api", Notes("api", notes), name="api")
    users = api.group("/users", Notes("users", notes), name="users")

    @users.get("/{number:int}")
    def user(request: Request, number: int) -> str:
        return f"user {number}"

    @api.get("/version", middlewares=[Notes("own", notes)])
    def version(request: Request) -> str:
        return "1"

    @app.get("/")
    def home(request: Request) -> str:
        return "home"

    app.include(api)
    return app


def test_groups_have_their_own_prefixes_names_and_middlewares() -> None:
    notes: list[str] = []
    app = nested_groups(notes)
    assert app.url("api.users.user", number=7) == "/api/users/7"
    with Client(app) as client:
        assert client.get("/api/users/7").text == "user 7"
        assert notes == [
            *("app in", "api in", "users in"),
            *("users out 200", "api out 200", "app out 200"),
        ]
        notes.clear()
        assert client.get("/api/version").text == "1"
        assert notes[2] == "own in"
        notes.clear()
        assert client.get("/").text == "home"
        assert notes == ["app in", "app out 200"]
        notes.clear()
        assert client.get("/api/users/x").status == 404
        assert notes[:3] == ["app in", "api in", "users in"], "the path is below all of them"
        notes.clear()
        assert client.get("/apis").status == 404
        assert notes == ["app in", "app out 404"]
        notes.clear()
        assert client.options("/api/users/7").headers.get("allow") == "GET, HEAD, OPTIONS"
        assert notes[:3] == ["app in", "api in", "users in"], "a preflight is for all of them"


@pytest.mark.parametrize("prefix", ["api", "/api/", "/"])
def test_malformed_prefixes_of_groups(prefix: str) -> None:
    with pytest.raises(RouteError):
        Group(prefix)


# --- methods -------------------------------------------------------------------------------------


def test_methods_are_upper_case_and_any_token() -> None:
    app = Application()
    app.add("get", "/a", lambda request: "a")
    app.add(["Put", "PUT", "propfind", "M-SEARCH"], "/a", lambda request: request.method)
    with Client(app) as client:
        assert client.get("/a").text == "a"
        for method in ("PUT", "PROPFIND", "M-SEARCH"):
            assert client.request(method, "/a").text == method
        allow = "GET, HEAD, M-SEARCH, OPTIONS, PROPFIND, PUT"
        response = client.post("/a")
        assert (response.status, response.headers["Allow"]) == (405, allow)
        assert client.options("/a").headers["Allow"] == allow
        assert client.options("*").headers["Allow"] == allow


@pytest.mark.parametrize(
    ("methods", "cause"),
    [
        ("GET, POST", "'GET, POST'; a method is a token, such as 'GET'; several are a list"),
        ("GE T\r\nX: y", "is a token"),
        ("", "is a token"),
        (["GET", ""], "is a token"),
        (["GET", None], "None; a method is a token"),
        ((), "has no method"),
        ([], "has no method"),
        ("connect", "CONNECT"),
    ],
)
def test_a_malformed_method_is_refused_where_it_is_added(methods: Any, cause: str) -> None:
    app = Application()

    def endpoint(request: Request) -> str:
        return ""

    with pytest.raises(RouteError) as raised:
        app.add(methods, "/a", endpoint)
    message = str(raised.value)
    assert cause in message
    assert message.startswith("the route /a (")
    assert "endpoint" in message
    assert "test_group.py, line" in message
    assert not list(app.routes())


def test_methods_that_no_route_names_are_not_implemented() -> None:
    app = Application()
    app.add("PROPFIND", "/dav", lambda request: "dav")
    app.add("GET", "/a", lambda request: "a")
    app.mount("/raw", lambda request: Response(200, request.method.encode()))
    with Client(app) as client:
        assert client.request("PROPFIND", "/dav").text == "dav"
        assert client.request("PROPFIND", "/a").status == 405, "it is known, for another path"
        assert client.request("PROPFIND", "/none").status == 404
        assert client.request("PURGE", "/raw/x").text == "PURGE", "a handler takes all methods"
        for method in ("PURGE", "get", "QUERY", "*"):
            for path in ("/dav", "/a", "/none"):
                assert client.request(method, path).status == 501, (method, path)


def test_a_405_passes_the_chain_of_the_paths_route() -> None:
    notes: list[str] = []
    app = Application()
    app.group("/api", Notes("read", notes)).add("GET", "/x", lambda request: "x")
    app.group("/api", Notes("write", notes)).add("PUT", "/y", lambda request: "y")
    with Client(app) as client:
        for path, group in (("/api/x", "read"), ("/%61pi/%79", "write")):
            notes.clear()
            assert client.delete(path).status == 405
            assert notes == [f"{group} in", f"{group} out 405"]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_404_passes_all_groups_with_its_prefix(reverse: bool) -> None:
    notes: list[str] = []
    app = Application(Notes("app", notes))
    prefixes = {"read": "/api", "write": "/api", "elsewhere": "/other", "none": ""}
    for name in reversed(prefixes) if reverse else prefixes:
        group = app.group(prefixes[name], Notes(name, notes))
        group.add("GET", f"/{name}", lambda request: "")
    app.include(Group("/{part}", Notes("first", notes))).add("GET", "/1", lambda request: "")
    app.include(Group("/{other}", Notes("second", notes))).add("GET", "/2", lambda request: "")
    with Client(app) as client:
        assert client.get("/api/none").status == 404
        assert {note for note in notes if note.endswith(" in")} == {"app in", "read in", "write in"}
        assert notes.count("app in") == 1
        notes.clear()
        assert client.get("/x/none").status == 404
        assert notes[:3] == ["app in", "first in", "second in"]
        notes.clear()
        assert client.get("/").status == 404
        assert notes == ["app in", "app out 404"]


@pytest.mark.parametrize("reverse", [False, True])
def test_groups_that_could_not_share_a_chain_share_a_404(reverse: bool) -> None:
    notes: list[str] = []

    def plain(request: Request, next: Any) -> Any:
        notes.append("plain")
        return next(request)

    async def asynchronous(request: Request, next: Any) -> Any:
        notes.append("async")
        return await next(request)

    app = Application()
    for middleware in (asynchronous, plain) if reverse else (plain, asynchronous):
        app.group("/api", middleware)
    with Client(app) as client:
        assert client.get("/api/none").status == 404
        assert notes == ["async", "plain"]
