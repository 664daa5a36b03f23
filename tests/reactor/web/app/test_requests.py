"""Requests of applications: cached data, limits, and bodies read through a server."""

import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from reactor import Headers, Limits, Response
from reactor.messages.request import BaseRequest
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.request_data import (
    form_of,
    json_of,
    text_of,
)
from reactor.web.app.requests import Request
from reactor.web.semantics.multipart import FormPart
from tests.support.form_data import FORM, MULTIPART, multipart, refusal, request_for, request_with


def test_decoded_data_is_cached() -> None:
    request = request_for("a=1")
    request.state["mine"] = 1
    assert request.args is request.args
    assert request.cookies is request.cookies
    assert request.state["mine"] == 1
    assert "mine" not in request_for("").state


def test_the_url_of_a_request() -> None:
    app = Application()
    app.add(("GET", "OPTIONS"), "/{rest:path}", lambda request: request.url)
    with Client(app, "http://host:81") as client:
        assert client.get("/a%20b?c=%2F").text == "http://host:81/a%20b?c=%2F"
        assert client.get("/").text == "http://host:81/"
    request = request_with(b"")
    assert refusal(lambda: request.url).status == 400
    request.host, request.path = "host", "*"
    assert request.url == "http://host"


def test_cookies_in_several_lines() -> None:
    request = request_with(b"")
    request.headers = Headers("\r\nCookie: a=1\r\nX: y\r\ncookie: a=2; b=3\r\nCookie:")
    assert request.cookies == {"a": "1", "b": "3"}


# --- limits --------------------------------------------------------------------------------------


def test_the_limits_are_those_of_the_server() -> None:
    limits = Limits(form_parts=2, form_head_bytes=100)
    app = Application()
    app.add("POST", "/", lambda request: str(len(form_of(request))))
    app.add("GET", "/", lambda request: str(len(request.args)))
    with Client(app, limits=limits) as client:
        app.prepare(client.server)
        assert client.post("/", data={"a": "1", "b": "2"}).text == "2"
        assert client.post("/", data={"a": "1", "b": "2", "c": "3"}).status == 413
        assert client.get("/?a&b&c").status == 414
        assert client.post("/", data={"a": ""}, files={"b": b"", "c": b""}).status == 413
        assert client.post("/", data={"a" * 100: ""}, files={}).status == 413


def test_limits_without_a_server_are_the_defaults() -> None:
    request = Request("GET", "/", "/", "", 1, Headers())
    assert request.limits == Limits()
    assert not hasattr(request, "__dict__")


def test_a_request_of_the_base_class_is_adopted() -> None:
    """A handler around an application, which has no `request_class`, passes the request on."""
    app = Application()

    @app.get("/")
    def show(request: Request) -> str:
        request.id = "seen"
        request.state["a"] = 1
        return f"{request.limits.ranges} {request.args['b']}"

    seen: list[BaseRequest] = []

    def around(request: BaseRequest) -> Any:
        seen.append(request)
        assert type(request) is BaseRequest
        return app(request)

    with Client(around, limits=Limits(ranges=7)) as client:
        assert client.get("/?b=2").text == "7 2"
    assert type(seen[0]) is Request
    assert seen[0].id == "seen"
    with Client(app) as client:
        assert client.get("/?b=2").text == "32 2"


# --- through a server ----------------------------------------------------------------------------


def application() -> Application:
    app = Application()
    for name, function in (("text", text_of), ("json", json_of), ("form", form_of)):
        app.add(
            "POST", f"/plain/{name}", lambda request, function=function: shown(function(request))
        )
    app.add("POST", "/plain/read", lambda request: request.content)

    @app.post("/async/{how}")
    async def read(request: Request, how: str) -> Any:
        first = await getattr(request, how)()
        again = await getattr(request, how)()
        assert shown(first) == shown(again)
        return shown(first)

    return app


def shown(value: Any) -> Any:
    return value if isinstance(value, bytes) else repr(value)


@pytest.mark.parametrize("how", ["plain", "async"])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_read_by_either_kind_of_endpoint(how: str, chunked: bool) -> None:
    def sent(content: bytes) -> Any:
        pieces = [content[:1], content[1:]]
        return (piece for piece in pieces if piece) if chunked else content

    def typed(kind: str) -> dict[str, str]:
        return {"Content-Type": kind}

    with Client(application(), limits=Limits(memory_body_bytes=1000)) as client:
        for content in (b"", b"x", b"x" * 1000):
            assert client.post(f"/{how}/read", content=sent(content)).content == content
            assert client.post(f"/{how}/text", content=sent(content)).text == repr(content.decode())
        for kind in ("read", "text", "json", "form"):
            response = client.post(
                f"/{how}/{kind}",
                content=sent(b"1" * 1001),
                headers=typed(FORM if kind == "form" else "application/json"),
            )
            assert response.status == 413
            assert "1000 bytes" in response.text
        assert client.post(f"/{how}/json", content=sent(b"[1]")).text == "[1]"
        assert client.post(f"/{how}/json", content=sent(b"[1")).status == 400
        form = client.post(f"/{how}/form", content=sent(b"a=b"), headers=typed(FORM))
        assert form.text == "Form([('a', 'b')])"
        assert client.post(f"/{how}/form", content=sent(b"a=b")).status == 415


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/async/json", {"Content-Type": "text/plain"}),
        ("/async/form", {"Content-Type": "text/plain"}),
        ("/async/text", {"Content-Type": "text/plain; charset=punycode"}),
        ("/async/json", {"Content-Type": "application/json; charset=punycode"}),
        ("/async/text", {"Content-Encoding": "gzip"}),
        ("/async/parts", {"Content-Type": MULTIPART, "Content-Encoding": "gzip"}),
        ("/async/parts", {"Content-Type": FORM}),
    ],
)
def test_an_unsupported_body_is_refused_before_it_comes(path: str, fields: dict[str, str]) -> None:
    with Client(application()) as client:
        headers = {"Expect": "100-continue", "Accept": "application/json", **fields}
        response = client.post(path, content=b"x", headers=headers)
        assert (response.status, response.informational) == (415, [])
        assert response.headers.get("content-type") == "application/problem+json"
        assert response.json()["detail"].endswith(".")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_a_middleware_has_read_is_there_for_the_endpoint(chunked: bool) -> None:
    seen: list[bytes] = []

    async def signed(request: Request, next: Any) -> Response:
        seen.append(await request.read())
        response: Response = await next(request)
        return response

    app = Application(signed)
    app.add("POST", "/plain", lambda request: request.content)

    @app.post("/async")
    async def endpoint(request: Request) -> bytes:
        return await request.read()

    @app.post("/parts")
    async def parts(request: Request) -> str:
        return repr([event async for event in request.parts()])

    body = multipart(('name="a"', b"1"))
    fields = {"Content-Type": MULTIPART}
    with Client(app) as client:
        for path in ("/plain", "/async", "/parts"):
            content: Any = [body] if chunked else body
            response = client.post(path, content=content, headers=fields)
            expected = repr([FormPart("a", None, ""), b"1"]).encode() if path == "/parts" else body
            assert response.content == expected
    assert seen == [body] * 3


# --- a form that is streamed ---------------------------------------------------------------------


def streaming(seen: list[Any]) -> Application:
    app = Application()

    @app.post("/")
    async def receive(request: Request) -> dict[str, int]:
        sizes: dict[str, int] = {}
        name = ""
        async for event in request.parts():
            if isinstance(event, FormPart):
                name = event.name
                sizes[name] = 0
                seen.append(event)
            else:
                sizes[name] += len(event)
        return sizes

    return app


def test_the_parts_of_a_form_as_they_arrive() -> None:
    seen: list[Any] = []
    body = multipart(
        ('name="a"', b"1" * 100),
        ('name="e"', b""),
        ('name="f"; filename="x"', b"-b-\r\n--c" * 100),
    )
    fields = {"Content-Type": MULTIPART}
    for size in (1, 7, 10_000):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        with Client(streaming(seen)) as client:
            response = client.post("/", content=pieces, headers=fields)
            assert response.json() == {"a": 100, "e": 0, "f": 800}
    assert seen[:3] == [FormPart("a", None, ""), FormPart("e", None, ""), FormPart("f", "x", "")]


def test_a_part_may_be_larger_than_the_memory() -> None:
    count, piece = 64, b"x" * 256 * 1024

    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
        for _ in range(count):
            yield piece
        yield b"\r\n--b--"

    with Client(streaming([]), limits=Limits(memory_body_bytes=1000)) as client:
        tracemalloc.start()
        response = client.post("/", content=body(), headers={"Content-Type": MULTIPART})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert response.json() == {"f": count * len(piece)}
    assert peak < 16 * len(piece)  # 4 MiB; the form has 16


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"nothing", 400),
        (multipart(('name="a"', b"1"))[:-6], 400),
        (multipart(("x", b"1")), 400),
        (multipart(*[('name="a"', b"")] * 3), 413),
        (multipart((f'name="{"a" * 200}"', b"")), 413),
    ],
)
def test_a_malformed_streamed_form(body: bytes, status: int) -> None:
    app = streaming([])
    with Client(app, limits=Limits(form_parts=2, form_head_bytes=100)) as client:
        app.prepare(client.server)
        response = client.post("/", content=body, headers={"Content-Type": MULTIPART})
        assert response.status == status


def test_a_form_may_be_read_in_part() -> None:
    app = Application()

    @app.post("/")
    async def first(request: Request) -> str:
        events: AsyncIterator[Any] = request.parts()
        async for event in events:
            return str(event.name)
        return ""

    with Client(app) as client:
        body = multipart(('name="a"', b"x" * 500_000))
        response = client.post("/", content=body, headers={"Content-Type": MULTIPART})
        assert response.text == "a"
        assert client.post("/", content=body, headers={"Content-Type": MULTIPART}).text == "a"
