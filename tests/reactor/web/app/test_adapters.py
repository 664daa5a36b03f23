"""Adapters: the results of endpoints, and path parameters as arguments."""

import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final
from uuid import UUID

import pytest

from reactor import Response, form_of, json_of, sleep, text_of
from reactor.simulator import simulation
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.app.router import RouteError
from reactor.web.endpoint import before_only, may_wait, reads_body
from tests.support.app_parts import (
    served,
)
from tests.support.worlds import CalmWorld as World
from tests.support.worlds import only


def generated(request: Request) -> Iterator[str]:
    yield "one "
    yield "two"


async def generated_later(request: Request) -> AsyncIterator[bytes]:
    yield b"one "
    await sleep(1)
    yield b"two"


TEXT = "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("value", "status", "kind", "body"),
    [
        ("é", 200, TEXT, "é".encode()),
        (b"\xff", 200, "application/octet-stream", b"\xff"),
        ({"a": "é"}, 200, "application/json", '{"a":"é"}'.encode()),
        ([1, None], 200, "application/json", b"[1,null]"),
        ((201, "made"), 201, TEXT, b"made"),
        ((404, {"no": 1}, [("X-A", "b")]), 404, "application/json", b'{"no":1}'),
        ((200, "<p>", [("Content-Type", "text/html")]), 200, "text/html", b"<p>"),
        (Response(200, b"x", [("Content-Type", "a/b")]), 200, "a/b", b"x"),
    ],
)
@pytest.mark.parametrize("how", ["plain", "async", "may wait"])
def test_results_of_endpoints(value: Any, status: int, kind: str, body: bytes, how: str) -> None:
    app = Application()

    def plain(request: Request) -> Any:
        return value

    async def later(request: Request) -> Any:
        await sleep(0.1)
        return value

    endpoint: Any = plain if how == "plain" else later if how == "async" else may_wait(plain)
    app.add("GET", "/", endpoint)
    with Client(app) as client:
        response = client.get("/")
        assert (response.status, response.headers.get("content-type")) == (status, kind)
        assert response.content == body
        assert client.head("/").headers.get("content-length") == str(len(body))


@pytest.mark.parametrize("value", [None, 7, object(), ("x", 200), (200, "x", [], 1), {1, 2}])
def test_other_results_are_failures(value: Any) -> None:
    app = Application()
    app.add("GET", "/", lambda request: value)
    with served(app) as client:
        assert client.get("/").status == 500
    with Client(app) as client, pytest.raises(TypeError):
        client.get("/")


@pytest.mark.parametrize("endpoint", [generated, generated_later])
def test_a_generator_is_a_stream(endpoint: Callable[..., Any]) -> None:
    app = Application()
    app.add("GET", "/", endpoint)
    with Client(app) as client:
        response = client.get("/")
        assert response.headers.get("transfer-encoding") == "chunked"
        assert response.content == b"one two"


def test_an_empty_dict_is_json_and_empty_bytes_are_no_content() -> None:
    app = Application()
    app.add("GET", "/", lambda request: (200, {}))
    app.add("GET", "/nothing", lambda request: (204, b""))
    with Client(app) as client:
        assert client.get("/").json() == {}
        assert client.get("/nothing").status == 204


def test_endpoints_get_the_parameters_that_they_name() -> None:
    app = Application()
    got: list[Any] = []

    @app.get("/{a:int}/{b}/{c:uuid}")
    def some(request: Request, b: str, a: int, extra: str = "e") -> str:
        got.append((a, b, extra, request.params["c"]))
        return ""

    @app.get("/all/{a:int}/{b}")
    def everything(request: Request, **params: Any) -> str:
        got.append(params)
        return ""

    @app.get("/one/{name}")
    async def one(request: Request, name: str) -> str:
        got.append(name)
        return ""

    @app.get("/none/{name}")
    def none(request: Request) -> str:
        got.append(dict(request.params))
        return ""

    number = UUID(int=7)
    with Client(app) as client:
        for path in (f"/5/x%2Fy/{number}", "/all/6/z", "/one/%C3%A9", "/none/n"):
            assert client.get(path).status == 200
        assert client.get(f"/five/x/{number}").status == 404
    assert got == [(5, "x/y", "e", number), {"a": 6, "b": "z"}, "é", {"name": "n"}]


class Shelf:
    def by_method(self, request: Request, item: str) -> str:
        return item

    def __call__(self, request: Request, item: str) -> str:
        return item


def keyword_only(request: Request, *, item: str) -> str:
    return item


def with_default(request: Request, item: str = "none") -> str:
    return item


def anything(request: Request, **params: Any) -> str:
    return str(params["item"])


def first_is_optional(request: Request, other: str = "", item: str = "none") -> str:
    return item + other


@functools.wraps(with_default)
def wrapped(*arguments: Any, **params: Any) -> str:
    assert len(arguments) == 1
    return with_default(*arguments, **params)


@functools.wraps(with_default)
def renamed(request: Request, /, **params: Any) -> str:
    return with_default(request, **params)


def one(request: Request, item: str) -> str:
    return item


@may_wait
def now(request: Request, item: str) -> str:
    return item


async def later(request: Request, item: str) -> str:
    return item


WAYS_TO_TAKE_ONE: Final = (
    *(Shelf().by_method, Shelf(), keyword_only, with_default, anything, first_is_optional),
    *(wrapped, renamed, one, now, later, functools.partial(one)),
)


@pytest.mark.parametrize("pattern", ["/{item}", "/{shelf}/{item}"])
@pytest.mark.parametrize("endpoint", WAYS_TO_TAKE_ONE)
def test_every_way_to_take_one_parameter(endpoint: Any, pattern: str) -> None:
    """Whether by place or by name, and whether the path has another one, which is not wanted."""
    app = Application()
    app.get(pattern)(endpoint)
    with Client(app) as client:
        assert client.get(pattern.replace("{item}", "a%20b").format(shelf="x")).text == "a b"


def test_a_parameter_with_a_default_may_be_taken_away_by_a_middleware() -> None:
    def forget(request: Request, next: Any) -> Any:
        request.params = {}
        return next(request)

    app = Application(forget)
    app.get("/{item}")(with_default)
    with Client(app) as client:
        assert client.get("/a").text == "none"


@pytest.mark.parametrize(
    "endpoint",
    [
        *(lambda: "", lambda *, request: "", lambda **fields: "", lambda request, missing: ""),
        *(lambda request, *, m: "", lambda request, name, /: ""),
    ],
)
def test_an_endpoint_must_not_require_unknown_parameters(endpoint: Callable[..., Any]) -> None:
    app = Application()
    with pytest.raises(RouteError, match=rf"lambda> \({re.escape(__file__)}, line \d+\)"):
        app.add("GET", "/{name}", endpoint)
        app.prepare()


# --- the body of a GET ---------------------------------------------------------------------------

UNSENT = (b"Content-Length: 1048576\r\n", b"Transfer-Encoding: chunked\r\n")


def size_of(request: Request) -> str:
    return f"{len(request.content)}"


@before_only
def passing(request: Any, next: Any) -> Any:
    return next(request)


def looking(request: Any, next: Any) -> Any:
    assert not request.content
    return next(request)


async def waiting(request: Any, next: Any) -> Any:
    return await next(request)


def head_of(method: bytes, framing: bytes) -> bytes:
    return b"%b / HTTP/1.1\r\nHost: sim\r\n%b\r\n" % (method, framing)


@pytest.mark.parametrize(
    ("mark", "middlewares"),
    [
        *((None, ones) for ones in ((), (passing,), (looking,), (waiting,), (waiting, looking))),
        *((may_wait, ones) for ones in ((), (passing,), (waiting,), (waiting, passing))),
    ],
)
@pytest.mark.parametrize("framing", UNSENT)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_the_body_of_a_get_is_not_waited_for(
    method: bytes, framing: bytes, middlewares: tuple[Any, ...], mark: Any
) -> None:
    app = Application(*middlewares)
    app.add(["GET", "POST"], "/", mark(lambda request: size_of(request)) if mark else size_of)
    with simulation():
        world = World(app)
        client = world.client(head_of(method, framing))
        assert only(client, method.decode()).status == 200
        assert not world.client(head_of(b"POST", framing)).received, "this body is waited for"


def test_unrouted_requests_do_not_wait_for_their_body() -> None:
    app = Application(passing, looking)
    app.add("GET", "/here", size_of)
    with simulation():
        world = World(app)
        for target, status in ((b"/here", 405), (b"/nowhere", 404)):
            head = head_of(b"POST", UNSENT[0]).replace(b" / ", b" %b " % target)
            assert only(world.client(head)).status == status


def test_a_marked_endpoint_gets_the_body_of_a_get() -> None:
    app = Application(passing)

    @app.get("/")
    @reads_body
    def total(request: Request) -> Any:
        return {"sum": sum(json_of(request))}

    @app.get("/plainly", middlewares=[passing])
    @may_wait
    @reads_body
    def size(request: Request) -> str:
        return size_of(request)

    @app.get("/later")
    async def later(request: Request) -> Any:
        return {"sum": sum(await request.json())}

    with Client(app) as client:
        for path in ("/", "/later"):
            assert client.request("GET", path, json=[1, 2]).json() == {"sum": 3}
        assert client.request("GET", "/plainly", content=[b"ab", b"c"]).text == "3"


@pytest.mark.parametrize("read", [json_of, text_of, form_of])
def test_reading_a_body_without_asking_for_it_is_an_error_that_names_the_mark(read: Any) -> None:
    app = Application()
    form = "application/x-www-form-urlencoded" if read is form_of else "application/json"
    app.add("GET", "/", lambda request: str(read(request)))
    with Client(app) as client, pytest.raises(RuntimeError, match="mark the endpoint with @reads"):
        client.request("GET", "/", content=b"7", headers={"Content-Type": form})


@pytest.mark.parametrize("content", [b"", []])
def test_a_body_that_is_empty_has_been_read(content: Any) -> None:
    app = Application()
    app.add("GET", "/", reads_body(text_of))
    app.add("POST", "/", text_of)
    with Client(app) as client:
        for method in ("GET", "POST"):
            assert client.request(method, "/", content=content).text == ""
