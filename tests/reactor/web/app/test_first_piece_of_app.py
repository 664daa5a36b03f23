"""An error before a stream's first piece is an error of its endpoint: handlers, hooks, groups."""

import gzip
import logging
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from reactor import (
    Application,
    Cancelled,
    Middleware,
    ProtocolError,
    Request,
    Response,
    events,
    sleep,
    stream,
)
from reactor.testing import Client
from reactor.web.middlewares import Compression
from tests.support.worlds import GET, CalmWorld


def plain(request: Request) -> Iterator[bytes]:
    if request.args.get("fail"):
        raise LookupError("gone")
    if not request.args.get("user"):
        raise ProtocolError(404, "There is no such user.")
    yield b"one"
    yield b"two"


async def waiting(request: Request) -> AsyncIterator[bytes]:
    for piece in plain(request):
        yield piece


async def late(request: Request) -> AsyncIterator[bytes]:
    await sleep(1)
    for piece in plain(request):
        yield piece


def returned(request: Request) -> Response:
    return stream(late(request))


async def awaited(request: Request) -> Response:
    await sleep(0.1)
    return stream(waiting(request))


ENDPOINTS = [plain, waiting, late, returned, awaited]
GENERATORS = pytest.mark.parametrize("endpoint", ENDPOINTS)


class Stamp(Middleware):
    def after(self, request: Request, response: Response) -> Response:
        return response.with_headers(("X-Stamp", str(response.status)))


def app_of(endpoint: Any, *middlewares: Any, inner: bool = False) -> Application:
    app = Application(*middlewares)
    part = Application() if inner else app
    part.get("/")(endpoint)

    @part.error(404)
    def missing(request: Request, error: ProtocolError) -> tuple[int, str]:
        return 404, f"Handled: {error.reason}"

    @app.error(LookupError)
    async def gone(request: Request, error: LookupError) -> tuple[int, str]:
        await sleep(0.1)
        return 410, f"It is {error}."

    if inner:
        app.mount("", part)
    return app


@GENERATORS
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("middlewares", [(), (Compression(),)])
def test_error_handlers_are_used(endpoint: Any, method: str, inner: bool, middlewares: Any) -> None:
    with Client(app_of(endpoint, *middlewares, inner=inner)) as client:
        response = client.request(method, "/")
        assert response.status == 404
        assert response.text == ("" if method == "HEAD" else "Handled: There is no such user.")
        response = client.request(method, "/?fail=1")
        assert response.status == 410
        assert response.text == ("" if method == "HEAD" else "It is gone.")
        response = client.request(method, "/?user=1")
        assert (response.status, response.text) == (200, "" if method == "HEAD" else "onetwo")


async def around(request: Request, next: Any) -> Response:
    response: Response = await next(request)
    return response.with_headers(("X-Around", str(response.status)))


def plain_around(request: Request, next: Any) -> Response:
    response: Response = next(request)
    return response.with_headers(("X-Plain", "seen"))


@GENERATORS
@pytest.mark.parametrize("inner", [False, True])
def test_the_error_passes_the_middlewares(endpoint: Any, inner: bool) -> None:
    with Client(app_of(endpoint, Stamp(), around, Stamp(), inner=inner)) as client:
        for query, status in (("", 404), ("?fail=1", 410), ("?user=1", 200)):
            response = client.get(f"/{query}")
            assert response.headers["X-Stamp"] == f"{status}, {status}"
            assert response.headers["X-Around"] == str(status)


@pytest.mark.parametrize("endpoint", [plain, waiting, late, returned])
def test_a_plain_middleware_does_not_wait(endpoint: Any) -> None:
    """It sees the error of a plain generator, and the response of an asynchronous one."""
    app = app_of(endpoint, plain_around)
    app.errors._by_type.clear()  # an `async def` could not stand below a plain middleware
    with Client(app) as client:
        assert client.get("/").status == 404
        assert client.get("/?user=1").headers["X-Plain"] == "seen"
        assert client.get("/?user=1").text == "onetwo"


def test_a_generator_keeps_its_context() -> None:
    """A variable that is set before the first piece can be reset behind it."""
    variable: ContextVar[int] = ContextVar("variable", default=0)

    async def pieces(request: Request) -> AsyncIterator[bytes]:
        token = variable.set(1)
        yield b"one"
        await sleep(1)
        assert variable.get() == 1
        variable.reset(token)
        yield b"two"

    async def respond(request: Request) -> Response:
        return stream(pieces(request))

    for middlewares in ((), (Compression(),), (around,)):
        app = Application(*middlewares)
        app.get("/")(pieces)
        app.get("/stream")(respond)
        with Client(app) as client:
            for path in ("/", "/stream"):
                response = client.get(path, headers={"accept-encoding": "gzip"})
                encoded = "content-encoding" in response.headers
                content = gzip.decompress(response.content) if encoded else response.content
                assert content == b"onetwo"


@pytest.mark.parametrize("endpoint", ["generator", "stream", "async"])
def test_a_client_that_leaves_before_the_first_piece(endpoint: str) -> None:
    seen: list[str] = []

    async def pieces(request: Request) -> AsyncIterator[bytes]:
        try:
            await sleep(1000)
            yield b"never"
        except Cancelled:
            seen.append("cancelled")
            raise
        finally:
            seen.append("closed")

    async def respond(request: Request) -> Response:
        return stream(pieces(request))

    app = Application(Stamp())
    made = {"generator": pieces, "stream": lambda r: stream(pieces(r)), "async": respond}
    app.get("/")(made[endpoint])
    world = CalmWorld(app)
    client = world.client(GET)
    world.run(1)
    client.reset()
    world.run(1)
    assert seen == ["cancelled", "closed"]
    assert not world.server.connections
    assert not client.received


@GENERATORS
def test_an_unexpected_error_is_logged_once(
    endpoint: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = Application()
    app.debug = True
    app.get("/")(endpoint)
    caplog.set_level(logging.ERROR)
    with Client(app, raise_server_exceptions=False) as client:
        response = client.get("/?fail=1", headers={"accept": "text/html"})
    assert response.status == 500
    assert "LookupError: gone" in response.text
    assert len(caplog.records) == 1


# --- events --------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry", [None, 5])
@pytest.mark.parametrize("heartbeat", [0, 15])
def test_events_send_their_head_at_once(retry: int | None, heartbeat: float) -> None:
    async def source() -> AsyncIterator[str]:
        await sleep(5)
        yield "late"

    app = Application()
    app.get("/")(lambda request: events(source(), retry=retry, heartbeat=heartbeat))
    with Client(app) as client, client.stream("GET", "/") as response:
        assert response.status == 200
        assert client.now < 1
        pieces = b"".join(response.iter_bytes())
    assert pieces == (b"retry: 5\n\n" if retry else b"") + b"data: late\n\n"


@pytest.mark.parametrize("retry", [None, 5])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("middlewares", [(), (Compression(),)])
def test_an_error_at_the_top_of_events_is_the_response(
    retry: int | None, asynchronous: bool, middlewares: Any
) -> None:
    def plain_source() -> Iterator[str]:
        if retry != -1:
            raise ProtocolError(403, "Not yours.")
        yield ""

    async def source() -> AsyncIterator[str]:
        if retry != -1:
            raise ProtocolError(403, "Not yours.")
        yield ""

    app = Application(*middlewares)
    made = source if asynchronous else plain_source
    app.get("/")(lambda request: events(made(), retry=retry))
    with Client(app) as client:
        assert client.get("/", headers={"accept-encoding": "gzip"}).status == 403
