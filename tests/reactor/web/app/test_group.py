"""Groups: prefixes, names and middlewares of their own."""

import pytest

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
