"""Cookies: Set-Cookie fields, and values that are refused."""

from datetime import UTC, datetime, timedelta, timezone
from http.cookies import SimpleCookie
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import Response
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.cookies import delete_cookie, set_cookie
from reactor.web.app.requests import Request
from reactor.web.app.responses import text


def cookie(name: str = "a", value: str = "b", **options: Any) -> str:
    response = set_cookie(Response(), name, value, **options)
    ((field, line),) = response.headers
    assert field == "Set-Cookie"
    return line


THEN = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "a=b; Path=/; SameSite=Lax; HttpOnly"),
        ({"http_only": False, "same_site": None, "path": ""}, "a=b"),
        ({"value": "", "max_age": 0}, "a=; Max-Age=0; Path=/; SameSite=Lax; HttpOnly"),
        ({"max_age": -1}, "a=b; Max-Age=-1; Path=/; SameSite=Lax; HttpOnly"),
        (
            {"expires": THEN, "http_only": False},
            "a=b; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Path=/; SameSite=Lax",
        ),
        (
            {"expires": THEN.astimezone(timezone(timedelta(hours=5))), "http_only": False},
            "a=b; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Path=/; SameSite=Lax",
        ),
        (
            {"expires": datetime(1970, 1, 1, tzinfo=UTC), "same_site": "Strict"},
            "a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; SameSite=Strict; HttpOnly",
        ),
        (
            {"expires": datetime(1960, 1, 1, tzinfo=UTC), "same_site": None},
            "a=b; Expires=Fri, 01 Jan 1960 00:00:00 GMT; Path=/; HttpOnly",
        ),
        (
            {"domain": "example.com", "path": "/x y"},
            "a=b; Domain=example.com; Path=/x y; SameSite=Lax; HttpOnly",
        ),
        (
            {"same_site": "None", "secure": True, "partitioned": True},
            "a=b; Path=/; SameSite=None; Secure; HttpOnly; Partitioned",
        ),
        (
            {"name": "__Host-a", "secure": True},
            "__Host-a=b; Path=/; SameSite=Lax; Secure; HttpOnly",
        ),
        (
            {"name": "__Secure-a", "secure": True, "path": "/x", "domain": ".a.b"},
            "__Secure-a=b; Domain=.a.b; Path=/x; SameSite=Lax; Secure; HttpOnly",
        ),
        ({"name": "!#$%&'*+.^_`|~", "http_only": False}, "!#$%&'*+.^_`|~=b; Path=/; SameSite=Lax"),
    ],
)
def test_cookies(options: dict[str, Any], line: str) -> None:
    assert cookie(**options) == line


@pytest.mark.parametrize(
    "options",
    [
        *({"name": name} for name in ("", "a b", "a=b", "a;b", "é", "a\n", '"a"', "a,b", "\0")),
        *({"value": value} for value in ("a b", "a,b", "a;b", 'a"', "a\\b", "é", "a\r\nb", "\x7f")),
        *({"path": path} for path in ("x", "/;x", "/\n", "/é", " /")),
        *({"domain": domain} for domain in ("a b", "a;b", "a\n", "é.de", "..", "a/b", "a:80")),
        *({"same_site": value} for value in ("lax", "none", "", "Lax; Secure")),
        {"same_site": "None"},
        {"partitioned": True},
        {"name": "__Host-a"},
        {"name": "__host-a"},
        {"name": "__SECURE-a"},
        {"name": "__Host-a", "secure": True, "path": "/x"},
        {"name": "__Host-a", "secure": True, "domain": "a.de"},
        {"expires": datetime(2030, 1, 1)},
        {"value": "x" * 4096},
        {"max_age": 1.5},
    ],
)
def test_cookies_that_browsers_would_drop(options: dict[str, Any]) -> None:
    response = Response()
    with pytest.raises(ValueError):
        set_cookie(response, options.pop("name", "a"), options.pop("value", "b"), **options)
    assert response.headers == ()


def test_a_cookie_makes_a_new_response() -> None:
    shared = text("x")
    assert set_cookie(shared, "a", "1").headers != shared.headers
    delete_cookie(shared, "a")
    assert shared.headers == text("x").headers


def test_several_cookies_and_a_deleted_one() -> None:
    app = Application()

    @app.get("/")
    def endpoint(request: Request) -> Response:
        response = set_cookie(text(repr(request.cookies)), "a", "1")
        return delete_cookie(set_cookie(response, "b", "2", path="/x"), "c")

    with Client(app, cookies={"c": "3"}) as client:
        response = client.get("/")
        assert response.text == "{'c': '3'}"
        assert response.headers.get_all("set-cookie") == [
            "a=1; Path=/; SameSite=Lax; HttpOnly",
            "b=2; Path=/x; SameSite=Lax; HttpOnly",
            "c=; Max-Age=0; Path=/; SameSite=Lax; HttpOnly",
        ]
        assert client.get("/").text == "{'c': '3', 'a': '1'}"  # b has another path


def test_a_cookie_is_deleted_with_the_options_it_was_set_with() -> None:
    options: dict[str, Any] = {
        "path": "/x",
        "domain": "a.de",
        "secure": True,
        "same_site": "None",
        "partitioned": True,
    }
    response = delete_cookie(Response(), "a", **options)
    assert response.headers[0][1] == cookie("a", "", max_age=0, **options)
    with pytest.raises(ValueError):
        delete_cookie(Response(), "__Host-a")
    delete_cookie(Response(), "__Host-a", secure=True)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=127)))
def test_any_accepted_cookie_is_read_back(value: str) -> None:
    try:
        line = cookie("a", value)
    except ValueError:
        return
    read = SimpleCookie(line.partition(";")[0])
    assert read["a"].value == value
