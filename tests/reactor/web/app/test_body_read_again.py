"""A body that one part of a chain has read is there for every part that asks later."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from reactor import (
    Application,
    Group,
    Limits,
    Middleware,
    Request,
    Response,
    form_of,
    json_of,
    stream,
    text_of,
)
from reactor.testing import Client

BODY = b'{"note": "' + b"x" * 1000 + b'"}'
SMALL = 4000  # bytes that are held of a body that is read piece by piece
PIECES = [BODY[:3], BODY[3:500], BODY[500:]]

Next = Callable[[Request], Awaitable[Response]]
Read = Callable[[Request], Awaitable[Any]]


async def all_of_it(request: Request) -> bytes:
    return await request.read()


async def all_of_the_body(request: Request) -> bytes:
    return await request.body.read()


async def four_bytes(request: Request) -> bytes:
    return await request.body.read(4)


async def every_piece(request: Request) -> bytes:
    return b"".join([piece async for piece in request.body])


async def one_piece(request: Request) -> bytes:
    async for piece in request.body:
        return piece
    return b""


async def byte_by_byte(request: Request) -> bytes:
    read = b""
    while byte := await request.body.read(1):
        read += byte
    return read


async def as_text(request: Request) -> bytes:
    return (await request.text()).encode()


async def as_json(request: Request) -> bytes:
    return BODY if (await request.json())["note"] == "x" * 1000 else b""


READERS: list[Read] = [
    all_of_it,
    all_of_the_body,
    four_bytes,
    every_piece,
    one_piece,
    byte_by_byte,
    as_text,
    as_json,
]
WHOLE: list[Read] = [all_of_it, all_of_the_body, every_piece, byte_by_byte, as_text, as_json]


def reading(read: Read) -> Any:
    async def middleware(request: Request, next: Next) -> Response:
        await read(request)
        return await next(request)

    return middleware


def send(app: Any, content: Any = BODY, limits: Limits | None = None) -> bytes:
    with Client(app, limits=limits or Limits(small_body_bytes=SMALL)) as client:
        response = client.post("/", content=content, headers={"content-type": "application/json"})
    assert response.status == 200, response.text
    return response.content


@pytest.mark.parametrize("content", [BODY, PIECES], ids=["whole", "chunked"])
@pytest.mark.parametrize("later", WHOLE)
@pytest.mark.parametrize("first", READERS)
def test_a_later_reader_gets_all_of_it(first: Read, later: Read, content: Any) -> None:
    app = Application(reading(first), reading(four_bytes))

    @app.post("/")
    async def endpoint(request: Request) -> bytes:
        return bytes(await later(request))

    assert send(app, content if isinstance(content, bytes) else iter(content)) == BODY


@pytest.mark.parametrize("first", READERS)
def test_a_plain_endpoint_gets_all_of_it(first: Read) -> None:
    app = Application(reading(first))

    @app.post("/")
    def endpoint(request: Request) -> bytes:
        assert json_of(request)["note"]
        assert text_of(request).encode() == request.content
        return request.content

    assert send(app) == BODY


@pytest.mark.parametrize("first", READERS)
@pytest.mark.parametrize("later", WHOLE)
def test_a_mounted_handler_gets_all_of_it(first: Read, later: Read) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, await every_piece(request))

    app = Application(reading(first))
    app.mount("", handler)
    assert send(app) == BODY
    assert send(around(first, inner_application(later))) == BODY


def inner_application(read: Read) -> Application:
    app = Application()

    @app.post("/")
    async def endpoint(request: Request) -> bytes:
        return bytes(await read(request))

    return app


def around(read: Read, app: Application) -> Any:
    """A handler of its own around an application, which knows nothing of middlewares."""

    async def handler(request: Any) -> Response:
        await request.body.read(7)
        response = app(request)
        return response if isinstance(response, Response) else await response

    return handler


@pytest.mark.parametrize("later", WHOLE)
def test_a_body_that_the_endpoint_has_read_is_there_behind_it(later: Read) -> None:
    seen: list[bytes] = []

    async def middleware(request: Request, next: Next) -> Response:
        response = await next(request)
        seen.append(await later(request))
        return response

    class Hook(Middleware):
        async def after(self, request: Request, response: Response) -> Response:
            seen.append(await later(request))
            return response

    app = Application(Hook(), middleware)

    @app.post("/")
    async def endpoint(request: Request) -> bytes:
        return await byte_by_byte(request)

    assert send(app) == BODY
    assert seen == [BODY, BODY]


def test_one_function_reads_on_where_it_was() -> None:
    app = Application()

    @app.post("/")
    async def endpoint(request: Request) -> list[str]:
        first, second = await request.body.read(2), await request.body.read(3)
        rest = [piece async for piece in request.body]
        return [piece.decode() for piece in (first, second, b"".join(rest))]

    assert send(app) == b'["{\\"","not","' + BODY[5:].replace(b'"', b'\\"') + b'"]'


@pytest.mark.parametrize("kind", ["form", "parts"])
@pytest.mark.parametrize("first", [all_of_it, four_bytes, every_piece, one_piece])
def test_forms_are_whole(first: Read, kind: str) -> None:
    app = Application(reading(first))

    @app.post("/")
    async def endpoint(request: Request) -> bytes:
        if kind == "form":
            return (await request.form())["note"].encode()
        read = b""
        async for event in request.parts():
            read += event if isinstance(event, bytes) else b""
        return read

    @app.put("/")
    def plain(request: Request) -> bytes:
        return form_of(request)["note"].encode()

    with Client(app, limits=Limits(small_body_bytes=SMALL)) as client:
        files = {"file": ("empty.txt", b"")}
        for method in ("POST", "PUT"):
            response = client.request(method, "/", data={"note": "one"}, files=files)
            assert response.content == b"one"


# --- what is no longer held ----------------------------------------------------------------------


LARGE = [b"%05d" % number * 2000 for number in range(10)]  # 100 kB


@pytest.mark.parametrize(
    "later", [all_of_it, all_of_the_body, every_piece, four_bytes, as_text, None]
)
@pytest.mark.parametrize("length", [True, False])
def test_a_body_that_was_streamed_away_names_who_did_it(
    later: Read | None, length: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def greedy(request: Request, next: Next) -> Response:
        assert len(await every_piece(request)) == 100_000
        return await next(request)

    group = Group("", greedy)
    if later is None:

        @group.post("/")
        def plain(request: Request) -> bytes:
            return b"never"

    else:

        @group.post("/")
        async def waiting(request: Request) -> bytes:
            assert later is not None
            await later(request)
            return b"never"

    app = Application()
    app.include(group)
    limits = Limits(small_body_bytes=SMALL)
    with Client(app, limits=limits, raise_server_exceptions=False) as client:
        caplog.set_level(logging.ERROR)
        content: Any = b"".join(LARGE) if length else iter(LARGE)
        response = client.post("/", content=content, headers={"content-type": "text/plain"})
    assert response.status == 500
    assert b"never" not in response.content
    (record,) = caplog.records
    assert record.exc_info is not None
    sentence = str(record.exc_info[1])
    assert "every_piece (" in sentence
    assert f"{__file__}, line " in sentence
    assert "await request.read()" in sentence


def test_a_long_stream_goes_on() -> None:
    app = Application()

    @app.post("/")
    async def endpoint(request: Request) -> dict[str, int]:
        begin = await request.body.read(10)
        middle = 0
        for _ in range(20):
            middle += len(await request.body.read(1000))
        rest = await request.body.read()
        return {"read": len(begin) + middle + len(rest)}

    assert send(app, b"".join(LARGE)) == b'{"read":100000}'


# --- a response that reads the body while it is sent ---------------------------------------------


async def passes_on(request: Request, next: Next) -> Response:
    return await next(request)


async def reads_behind(request: Request, next: Next) -> Response:
    response = await next(request)
    return response.with_headers(("X-Length", str(len(await request.read()))))


class Marks(Middleware):
    """Has a hook of each kind, and does not look at the body."""

    def before(self, request: Request) -> Response | None:
        return None

    def after(self, request: Request, response: Response) -> Response:
        return response.with_headers(("X-Mark", "1"))


def by_iteration(request: Request) -> AsyncIterator[bytes]:
    async def pieces() -> AsyncIterator[bytes]:
        async for piece in request.body:
            yield piece

    return pieces()


def by_reading(request: Request) -> AsyncIterator[bytes]:
    async def pieces() -> AsyncIterator[bytes]:
        while piece := await request.body.read(100):
            yield piece

    return pieces()


@pytest.mark.parametrize("echo", [by_iteration, by_reading])
@pytest.mark.parametrize("size", [50, 3000, 300_000])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    "middlewares",
    [[passes_on], [Marks()], [Marks(), passes_on, Marks(), passes_on], [reads_behind]],
)
def test_a_stream_reads_on_behind_the_middlewares(
    middlewares: list[Any], size: int, chunked: bool, echo: Callable[[Request], Any]
) -> None:
    """Its first piece is made inside of them: they must not lead it back to the beginning."""
    app = Application(*middlewares)

    @app.post("/")
    async def root(request: Request) -> Response:
        return stream(echo(request))

    if reads_behind in middlewares and size > SMALL:
        return  # an error by rights: nobody holds it
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    pieces = [content[place : place + 1000] for place in range(0, size, 1000)]
    with Client(app, limits=Limits(small_body_bytes=SMALL)) as client:
        assert client.post("/", content=iter(pieces) if chunked else content).content == content
