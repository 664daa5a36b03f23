"""One Response that is the response to many requests: no field of one request stays in it.

Every helper that takes a response and every middleware of the box is tried. A new one that is
missing in the tables here fails a test.
"""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import pytest

import reactor.web
from reactor import Middleware, ProtocolError, Response, sleep
from reactor.messages.headers import Headers
from reactor.protocol.response_encoder import FieldBlock
from reactor.testing import Client
from reactor.web import middlewares
from reactor.web.app.application import Application
from reactor.web.app.cookies import delete_cookie, set_cookie
from reactor.web.app.requests import Request
from reactor.web.app.responses import html, respond
from reactor.web.compression.responses import compress
from reactor.web.middlewares.fields import varying
from reactor.web.static.listing import unless_known
from tests.support.worlds import CalmWorld as World

PAGE: Final = "<p>Home</p>" * 200
HTML: Final = ("Content-Type", "text/html")
HOMES: Final = {
    "pairs": Response(200, PAGE.encode(), (HTML, ("ETag", '"1"'))),
    "list": Response(200, PAGE.encode(), [HTML, ("Vary", "Origin"), ("Set-Cookie", "a=b")]),
    "block": html(PAGE),
    "view": html(PAGE).replace(body=memoryview(PAGE.encode())),
}


def state_of(response: Response) -> tuple[object, ...]:
    assert isinstance(response.body, bytes | memoryview)
    headers = response.headers
    lines = headers.lines if isinstance(headers, FieldBlock) else b""
    return response.status, bytes(response.body), tuple(headers), id(headers), lines


@pytest.fixture(params=HOMES)
def home(request: Any) -> Iterator[Response]:
    """A shared response, which must be as it was after the test."""
    shared = HOMES[request.param]
    before = state_of(shared)
    yield shared
    assert state_of(shared) == before


def finished(result: Any) -> Response:
    """The response, also that of a coroutine that does not wait."""
    if isinstance(result, Coroutine):
        try:
            result.send(None)
        except StopIteration as end:
            result = end.value
    assert isinstance(result, Response)
    return result


# --- helpers -------------------------------------------------------------------------------------


def asked(**fields: str) -> Request:
    lines = "".join(f"\r\n{name.replace('_', '-')}: {value}" for name, value in fields.items())
    return Request("GET", "/", "/", "", 1, Headers(lines))


def closed(home: Response) -> Response:
    home.close()
    return home


HELPERS: Final[dict[str, list[Callable[[Response], Any]]]] = {
    "Response.replace": [
        lambda home: home.replace(status=404),
        lambda home: home.replace(body=b"other"),
        lambda home: home.replace(headers=[("User", "ann")]),
    ],
    "Response.with_headers": [lambda home: home.with_headers(("User", "ann"), HTML)],
    "Response.close": [closed],
    "set_cookie": [
        lambda home: set_cookie(home, "user", "ann"),
        lambda home: set_cookie(set_cookie(home, "user", "ann"), "user", "bob"),
    ],
    "delete_cookie": [lambda home: delete_cookie(home, "user")],
    "compress": [
        lambda home: compress(asked(accept_encoding="gzip"), home),
        lambda home: compress(asked(accept_encoding="br"), home),
        lambda home: compress(asked(), home, least=0),
    ],
    "varying": [lambda home: varying(home, "User")],
    "unless_known": [
        lambda home: unless_known(asked(if_none_match='"1"'), home),
        lambda home: unless_known(asked(), home),
    ],
    "respond": [respond],
}


@pytest.mark.parametrize("name", HELPERS)
def test_helpers_return_a_new_response(name: str, home: Response) -> None:
    for helper in HELPERS[name]:
        finished(helper(home))
        assert finished(helper(home)).headers == finished(helper(home)).headers


def functions_that_take_a_response() -> Iterator[str]:
    for module in pkgutil.walk_packages(reactor.web.__path__, "reactor.web."):
        if module.name.endswith("__main__"):
            continue
        for name, function in vars(importlib.import_module(module.name)).items():
            if not inspect.isfunction(function) or name.startswith("_"):
                continue
            hints = typing.get_type_hints(function)
            made = hints.pop("return", None)
            if Response in hints.values() and "Response" in repr(made):
                yield name


def test_no_helper_is_missing_here() -> None:
    methods = {
        f"Response.{name}"
        for name in vars(Response)
        if not name.startswith("_") and callable(getattr(Response, name))
    }
    found = {*functions_that_take_a_response(), *methods}
    assert len(found) > 6
    assert found == HELPERS.keys() - {"respond"}


# --- middlewares ---------------------------------------------------------------------------------


class Stamp(Middleware):
    """An application's own hook."""

    def after(self, request: Request, response: Response) -> Response:
        return response.with_headers(("X-User", request.headers.get("user")))


class LaterStamp(Middleware):
    async def after(self, request: Request, response: Response) -> Response:
        await sleep(0.5)
        return response.with_headers(("X-User", request.headers.get("user")))


def plain(request: Request, next: Any) -> Response:
    return set_cookie(next(request), "user", request.headers.get("user"))


async def asynchronous(request: Request, next: Any) -> Response:
    response = await next(request)
    await sleep(0.5)
    return set_cookie(response, "user", request.headers.get("user"))


MIDDLEWARES: Final[dict[str, Callable[[], Any]]] = {
    "BasicAuth": lambda: middlewares.BasicAuth(lambda user, password: True),
    "BodyLimit": lambda: middlewares.BodyLimit(1000),
    "CORS": lambda: middlewares.CORS(
        ["https://ann.example", "https://bob.example"], expose="X-A", credentials=True
    ),
    "Compression": lambda: middlewares.Compression(),
    "RateLimit": lambda: middlewares.RateLimit(10, 20, key=lambda request: "all"),
    "RequestId": lambda: middlewares.RequestId(trust=True),
    "SecurityHeaders": lambda: middlewares.SecurityHeaders(),
    "Sessions": lambda: middlewares.Sessions("s" * 32),
    "TimeLimit": lambda: middlewares.TimeLimit(60),
    "TrustedHosts": lambda: middlewares.TrustedHosts(["*"]),
    "Stamp": Stamp,
    "LaterStamp": LaterStamp,
    "plain": lambda: plain,
    "asynchronous": lambda: asynchronous,
}


def shared_application(home: Response, *chain: Any, plain_alone: bool = False) -> Application:
    """The ways in which one response gets to many requests."""
    app = Application(*chain)

    def endpoint(request: Request) -> Response:
        request.state.get("session", {}).update(user=request.headers.get("user"))
        return home

    async def later(request: Request) -> Response:
        await sleep(1)
        return endpoint(request)

    def fails(request: Request) -> Response:
        raise ProtocolError(409, "Not now.", [("X-Own", request.headers.get("user"))])

    app.add("GET", "/plain", endpoint)
    app.add("GET", "/later", endpoint if plain_alone else later)
    app.add("GET", "/fails", fails)
    app.error(409)(lambda request, error: home.replace(status=409))
    app.error(404)(lambda request, error: home)
    return app


PATHS: Final = ("/plain", "/later", "/fails", "/none")
OTHER: Final = {"ann": b"bob", "bob": b"ann"}


def get(path: str, user: str) -> bytes:
    token = {"ann": "YW5uOjE=", "bob": "Ym9iOjE="}[user]
    lines = (
        f"GET {path} HTTP/1.1\r\nHost: sim\r\nUser: {user}\r\nOrigin: https://{user}.example\r\n"
        f"Authorization: Basic {token}\r\nX-Request-Id: id-of-{user}\r\n"
    )
    return f"{lines}Accept-Encoding: gzip\r\n\r\n".encode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", [*MIDDLEWARES, "all", "none"])
def test_middlewares_leave_a_shared_response_as_it_is(name: str, path: str, home: Response) -> None:
    """Two users at the same time, and both once more: with no field of the other one."""
    names = [name] if name in MIDDLEWARES else [one for one in MIDDLEWARES if name == "all"]
    plain_alone = name == "plain"
    chain = [MIDDLEWARES[one]() for one in names if one != "plain" or plain_alone]
    world = World(shared_application(home, *chain, plain_alone=plain_alone))
    clients = [(user, world.client(get(path, user))) for user in ("ann", "bob", "ann", "bob")]
    world.run(60)
    for user, client in clients:
        head = bytes(client.received).partition(b"\r\n\r\n")[0]
        assert head.startswith(b"HTTP/1.1 409 " if path == "/fails" else b"HTTP/1.1 200 ")
        assert OTHER[user] not in head
        own = sum(field[0] == "Set-Cookie" for field in home.headers)
        assert head.count(b"\r\nSet-Cookie:") <= own + 2


def test_no_middleware_is_missing_here() -> None:
    assert set(middlewares.__all__) - {"Session"} <= MIDDLEWARES.keys()


def test_sessions_of_two_users_in_one_response() -> None:
    home = HOMES["block"]
    app = shared_application(home, middlewares.Sessions("s" * 32))
    cookies = []
    for user in ("ann", "bob"):
        with Client(app) as client:
            response = client.get("/plain", headers={"User": user})
            (cookie,) = response.headers.get_all("set-cookie")
            cookies.append(cookie)
            assert client.get("/none").headers.get_all("set-cookie") == []
    assert cookies[0] != cookies[1]
