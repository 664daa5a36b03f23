"""Sessions: their data, their cookies, and cookies that are refused."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from reactor import Response
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.file_response import file
from reactor.web.app.responses import stream
from reactor.web.middlewares import RequestId, Sessions
from reactor.web.middlewares.sessions import COOKIE_BYTES, FORTNIGHT, Session
from tests.support.middleware_app import PATHS, SHARED, STATUSES, served

SECRET = "s" * 32
OTHER = b"o" * 40


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def shop(sessions: Sessions, **options: Any) -> Client:
    """A client of an application that uses the session in all ways."""
    app = Application(RequestId(), sessions)
    add_readers(app)
    add_writers(app)
    return Client(app, raise_server_exceptions=False, **options)


def add_readers(app: Application) -> None:
    @app.get("/look")
    def look(request: Any) -> Any:
        return dict(request.state["session"])

    @app.get("/ignore")
    def ignore(request: Any) -> Any:
        return "x"


def add_writers(app: Application) -> None:
    @app.get("/put/{name}/{value}")
    async def put(request: Any, name: str, value: str) -> Any:
        request.state["session"][name] = value
        return "kept"

    @app.get("/add/{value}")
    def add(request: Any, value: str) -> Any:
        request.state["session"].setdefault("cart", []).append(value)
        return stream(iter(["add", "ed"]))

    @app.get("/clear")
    def clear(request: Any) -> Any:
        request.state["session"].clear()
        return "cleared"

    @app.get("/replace")
    def replace(request: Any) -> Any:
        request.state["session"] = {"new": 1} if "empty" not in request.query else None
        return "replaced"

    @app.get("/long/{count:int}")
    def long(request: Any, count: int) -> Any:
        request.state["session"]["long"] = "x" * count
        return SHARED

    @app.get("/shared")
    def shared(request: Any) -> Any:
        request.state["session"]["n"] = request.state["session"].get("n", 0) + 1
        return SHARED


# --- data that lasts -----------------------------------------------------------------------------


def test_a_session_lasts_from_request_to_request() -> None:
    with shop(Sessions(SECRET)) as client:
        assert client.get("/look").json() == {}
        assert client.get("/put/a/1").text == "kept"
        assert client.get("/put/b/%C3%BC").text == "kept"
        assert client.get("/look").json() == {"a": "1", "b": "ü"}


def test_the_cookie_and_its_attributes() -> None:
    with shop(Sessions(SECRET)) as client:
        (cookie,) = client.get("/put/a/1").headers.get_all("set-cookie")
        assert cookie.split("; ")[1:] == [
            *(f"Max-Age={FORTNIGHT}", "Path=/", "SameSite=Lax", "HttpOnly")
        ]
        content, _, _ = cookie.partition(";")[0].removeprefix("session=").split(".")
        assert json.loads(base64.urlsafe_b64decode(content + "==")) == {"a": "1"}
    own = Sessions(SECRET, cookie="__Host-s", secure=True, same_site="None", max_age=60)
    with shop(own, base_url="https://testserver") as client:
        (cookie,) = client.get("/put/a/1").headers.get_all("set-cookie")
        assert cookie.split("; ")[1:] == [
            *("Max-Age=60", "Path=/", "SameSite=None", "Secure", "HttpOnly")
        ]
        assert cookie.startswith("__Host-s=")
    with shop(Sessions(SECRET, path="/put/a")) as client:
        client.get("/put/a/1")
        assert client.get("/look").json() == {}


def test_the_cookie_is_set_only_after_a_change() -> None:
    with shop(Sessions(SECRET)) as client:
        assert "set-cookie" in client.get("/put/a/1").headers
        assert "set-cookie" not in client.get("/put/a/1").headers
        assert "set-cookie" not in client.get("/look").headers
        assert "set-cookie" in client.get("/put/a/2").headers
        for value in ("x", "y"):  # inside a list
            response = client.get(f"/add/{value}")
            assert response.text == "added"
            assert "set-cookie" in response.headers
        assert client.get("/look").json() == {"a": "2", "cart": ["x", "y"]}


def test_the_response_varies_if_the_session_was_used() -> None:
    with shop(Sessions(SECRET)) as client:
        for path in ("/look", "/put/a/1", "/put/a/1", "/clear", "/look"):
            response = client.get(path)
            assert response.headers.get_all("vary") == ["Cookie"]
            assert "cache-control" not in response.headers
        assert "vary" not in client.get("/ignore").headers


def test_the_cookie_is_deleted_when_the_session_is_emptied() -> None:
    with shop(Sessions(SECRET)) as client:
        assert "set-cookie" not in client.get("/clear").headers
        client.get("/put/a/1")
        (cookie,) = client.get("/clear").headers.get_all("set-cookie")
        assert cookie == "session=; Max-Age=0; Path=/; SameSite=Lax; HttpOnly"
        assert client.get("/look").json() == {}
        assert client.cookies.get("session") in (None, "")


def test_the_session_can_be_replaced_by_a_dict() -> None:
    with shop(Sessions(SECRET)) as client:
        client.get("/put/a/1")
        assert client.get("/replace").text == "replaced"
        assert client.get("/look").json() == {"new": 1}
        client.get("/replace?empty")
        assert client.get("/look").json() == {}


def test_a_shared_response_is_not_changed() -> None:
    with shop(Sessions(SECRET)) as client:
        for count in range(1, 4):
            assert len(client.get("/shared").headers.get_all("set-cookie")) == 1
            assert client.get("/look").json() == {"n": count}
    assert len(SHARED.headers) == 1


@pytest.mark.parametrize("path", PATHS)
def test_an_unused_session_sets_no_cookie(path: str) -> None:
    with served(Sessions(SECRET)) as client:
        response = client.get(path, headers={"Cookie": "session=x"})
        assert response.status == STATUSES[path]
        assert "set-cookie" not in response.headers
        assert "Cookie" not in response.headers.get("vary")


def test_changes_of_a_failing_handler_are_kept() -> None:
    app = Application(Sessions(SECRET))

    @app.get("/")
    async def fails(request: Any) -> Any:
        request.state["session"]["tries"] = request.state["session"].get("tries", 0) + 1
        raise ZeroDivisionError

    @app.get("/look")
    def look(request: Any) -> Any:
        return dict(request.state["session"])

    with Client(app, raise_server_exceptions=False) as client:
        assert [client.get("/").status for _ in range(2)] == [500, 500]
        assert client.get("/look").json() == {"tries": 2}


# --- cookies that are accepted -------------------------------------------------------------------


def look(sessions: Sessions, value: str) -> Any:
    with shop(sessions) as client:
        response = client.get("/look", headers=[("Cookie", f"session={value}")])
        assert response.status == 200
        assert "set-cookie" not in response.headers
        return response.json()


def test_a_changed_cookie_is_ignored(clock: Clock) -> None:
    sessions = Sessions(SECRET, clock=clock)
    value = sessions.sign(b'{"user":"ann"}')
    assert look(sessions, value) == {"user": "ann"}
    for place in range(len(value)):
        for letter in ("A", "B", ".", "0", "1"):
            if value[place] != letter:
                assert sessions.verified(value[:place] + letter + value[place + 1 :]) == b""
    for place in (0, 5, 20, len(value) - 1):
        assert look(sessions, f"{value[:place]}_{value[place + 1 :]}") == {}


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "a.b.c", "a.1.c", "é.1.x", "a." + "9" * 5000 + ".x", "a.1." + "A" * 43, "{}"],
)
def test_an_unsigned_cookie_is_ignored(value: str) -> None:
    assert look(Sessions(SECRET), value.encode().decode("latin-1")) == {}


def test_a_signature_is_for_one_name_time_and_content(clock: Clock) -> None:
    """The signature covers the dots and the name of the cookie."""
    sessions = Sessions(SECRET, clock=clock)
    content, seconds, signature = sessions.sign(b'{"a":1}').split(".")
    assert sessions.verified(f"{content}{seconds[0]}.{seconds[1:]}.{signature}") == b""
    assert sessions.verified(f"{content}.{seconds}.{signature}=") == b""
    assert sessions.verified(f"{content}.{seconds}.{signature}\n") == b""
    other = Sessions(SECRET, cookie="other", clock=clock)
    assert other.verified(f"{content}.{seconds}.{signature}") == b""


def test_it_ends_by_the_servers_clock(clock: Clock) -> None:
    sessions = Sessions(SECRET, max_age=100, clock=clock)
    value = sessions.sign(b'{"a":1}')
    clock.now += 99
    assert look(sessions, value) == {"a": 1}
    clock.now += 1
    assert look(sessions, value) == {}


def test_secrets_can_be_replaced_one_by_one() -> None:
    value = Sessions(SECRET).sign(b'{"a":1}')
    rotated = Sessions([OTHER, SECRET])
    assert look(rotated, value) == {"a": 1}
    assert look(rotated, Sessions(OTHER).sign(b'{"b":1}')) == {"b": 1}
    assert look(Sessions(OTHER), value) == {}
    assert look(Sessions(OTHER), rotated.sign(b'{"c":1}')) == {"c": 1}
    assert look(Sessions(SECRET), rotated.sign(b'{"c":1}')) == {}


# --- content that is refused ---------------------------------------------------------------------


def longest(client: Client) -> int:
    low, high = 0, COOKIE_BYTES
    while low < high:
        middle = (low + high + 1) // 2
        if client.get(f"/long/{middle}").status == 200:
            low = middle
        else:
            high = middle - 1
    return low


def test_a_cookie_that_is_too_long_is_an_error() -> None:
    with shop(Sessions(SECRET)) as client:
        most = longest(client)
        (cookie,) = client.get(f"/long/{most - 1}").headers.get_all("set-cookie")
        assert COOKIE_BYTES - 4 <= len(cookie) <= COOKIE_BYTES
        response = client.get(f"/long/{most + 1}")
        assert response.status == 500
        assert "set-cookie" not in response.headers
        assert response.headers["x-request-id"]
        assert client.get("/look").json() == {"long": "x" * (most - 1)}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("value", [{1, 2}, b"x", float("nan"), object()])
def test_values_that_json_does_not_have_are_errors(value: Any, asynchronous: bool) -> None:
    app = Application(Sessions(SECRET))

    def keep(request: Any) -> Any:
        request.state["session"]["a"] = value
        return "x"

    async def keep_later(request: Any) -> Any:
        return keep(request)

    app.add("GET", "/", keep_later if asynchronous else keep)
    with Client(app) as client, pytest.raises((TypeError, ValueError)):
        client.get("/")


def test_the_body_of_a_failed_response_is_closed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    app = Application(Sessions(SECRET))
    closed = []

    class Source:
        def __iter__(self) -> "Source":
            return self

        def __next__(self) -> bytes:
            return b"x"

        def close(self) -> None:
            closed.append(1)

    @app.get("/file")
    async def of_file(request: Any) -> Response:
        request.state["session"]["a"] = "x" * 5000
        return await file(request, tmp_path / "file")

    @app.get("/stream")
    def of_pieces(request: Any) -> Any:
        request.state["session"]["a"] = "x" * 5000
        return stream(Source())

    before = set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()
    with Client(app, raise_server_exceptions=False) as client:
        assert client.get("/stream").status == 500
        assert closed == [1]
        assert client.get("/file").status == 500
    if before:
        assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_keys_are_text() -> None:
    session = Session(lambda: b"")
    with pytest.raises(TypeError, match="not 1"):
        session[1] = "x"  # type: ignore[index]


def test_a_session_is_a_dict_that_is_decoded_once() -> None:
    read = []

    def reading() -> bytes:
        read.append(1)
        return b'{"a":1,"b":[2]}'

    session = Session(reading)
    assert not session.used
    assert read == []
    assert session == {"a": 1, "b": [2]}
    assert (len(session), list(session), "a" in session, session.get("x")) == (
        *(2, ["a", "b"], True, None),
    )
    assert session.encoded() == session.stored
    del session["a"]
    assert session.pop("b") == [2]
    assert (session.encoded(), repr(session), read) == (b"", "Session({})", [1])


@pytest.mark.parametrize(
    ("secret", "options"),
    [
        ("short", {}),
        ("x" * 31, {}),
        ([SECRET, "short"], {}),
        ([], {}),
        (SECRET, {"max_age": 0}),
        (SECRET, {"cookie": "a b"}),
        (SECRET, {"cookie": "__Host-a", "path": "/x", "secure": True}),
        (SECRET, {"cookie": "__Host-a", "secure": False}),
        (SECRET, {"same_site": "None", "secure": False}),
        (SECRET, {"path": "/;x"}),
    ],
)
def test_options(secret: Any, options: Any) -> None:
    with pytest.raises(ValueError):
        Sessions(secret, **options)


def test_the_secret_is_not_revealed() -> None:
    assert SECRET not in repr(Sessions(SECRET))
    with pytest.raises(ValueError) as caught:
        Sessions("short")
    assert "'short'" not in str(caught.value)
