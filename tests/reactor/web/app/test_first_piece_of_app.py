"""An error before a stream's first piece is an error of its endpoint: handlers, hooks, groups."""

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from reactor import (
    Application,
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


@pytest.mark.parametrize("endpoint", [plain])
def test_an_error_of_a_plain_generator_passes_the_middlewares(endpoint: Any) -> None:
    with Client(app_of(endpoint, Stamp())) as client:
        assert client.get("/").headers["X-Stamp"] == "404"
        assert client.get("/?user=1").headers["X-Stamp"] == "200"


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
def test_an_error_at_the_top_of_events_is_the_response(
    retry: int | None, asynchronous: bool
) -> None:
    def plain_source() -> Iterator[str]:
        if retry != -1:
            raise ProtocolError(403, "Not yours.")
        yield ""

    async def source() -> AsyncIterator[str]:
        if retry != -1:
            raise ProtocolError(403, "Not yours.")
        yield ""

    app = Application()
    made = source if asynchronous else plain_source
    app.get("/")(lambda request: events(made(), retry=retry))
    with Client(app) as client:
        assert client.get("/").status == 403
