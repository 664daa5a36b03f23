"""Compression as a middleware: its place in a chain, its responses, its refusals."""

import gzip
from typing import Any

import pytest

from reactor import ProtocolError, Response, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.responses import text
from reactor.web.endpoint import CompositionError
from reactor.web.middlewares import Compression, RequestId
from tests.support.middleware_app import PATHS, STATUSES, served

LONG = "abcdefgh" * 10_000  # compressed on a thread
SHORT = "abcdefgh" * 200
GZIP = {"Accept-Encoding": "gzip"}


def endpoint(request: Any) -> Response:
    return text({"long": LONG, "short": SHORT, "tiny": "x"}[request.params["size"]])


async def later(request: Any) -> Response:
    await sleep(0.1)
    return endpoint(request)


async def asynchronous(request: Any, next: Any) -> Response:
    response = await next(request)
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize("called", [endpoint, later])
@pytest.mark.parametrize("outer", [RequestId(), Compression(), asynchronous])
def test_bodies_are_encoded_if_accepted(called: Any, outer: Any) -> None:
    app = Application(outer, Compression())
    app.add("GET", "/{size}", called)
    with Client(app) as client:
        for size, whole in (("long", LONG), ("short", SHORT)):
            response = client.get(f"/{size}", headers=GZIP)
            assert response.headers["content-encoding"] == "gzip"
            assert gzip.decompress(response.content).decode() == whole
            assert response.headers["vary"] == "Accept-Encoding"
            assert client.get(f"/{size}").text == whole
        response = client.get("/tiny", headers=GZIP)
        assert (response.text, response.headers.get("content-encoding")) == ("x", "")


@pytest.mark.system
@pytest.mark.parametrize("path", ["/stream", "/later"])
def test_streams_are_encoded(path: str) -> None:
    with served(Compression()) as client:
        response = client.get(path, headers=GZIP)
        assert gzip.decompress(response.content) == b"one two"


@pytest.mark.parametrize("path", PATHS)
def test_every_response_below_it_is_encoded(path: str) -> None:
    with served(RequestId(), Compression(0)) as client:
        response = client.get(path, headers=GZIP)
        assert response.status == STATUSES[path]
        assert response.headers["content-encoding"] == "gzip"
        assert response.headers["x-request-id"]
        assert gzip.decompress(response.content)


def test_the_smallest_body_that_is_encoded() -> None:
    app = Application(Compression(5000))
    app.add("GET", "/{size}", endpoint)
    with Client(app) as client:
        assert client.get("/short", headers=GZIP).text == SHORT
        assert client.get("/long", headers=GZIP).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("called", [endpoint, later])
def test_a_406_is_made_by_the_application(called: Any) -> None:
    seen = []

    async def outer(request: Any, next: Any) -> Response:
        response: Response = await next(request)
        seen.append(response.status)
        return response

    app = Application(RequestId(), outer, Compression())
    app.add("GET", "/{size}", called)

    @app.error(406)
    def refused(request: Any, error: ProtocolError) -> Any:
        return 406, "mine"

    with Client(app) as client:
        response = client.get("/short", headers={"Accept-Encoding": "identity;q=0, *;q=0"})
        assert (response.status, response.text) == (406, "mine")
        assert response.headers["x-request-id"]
    assert seen == [406]


@pytest.mark.parametrize("path", PATHS)
def test_errors_are_sent_even_if_no_coding_is_accepted(path: str) -> None:
    with served(RequestId(), Compression()) as client:
        response = client.get(path, headers={"Accept-Encoding": "identity;q=0, *;q=0"})
        assert response.status == (406 if STATUSES[path] == 200 else STATUSES[path])
        assert response.headers["x-request-id"]
        assert client.get("/plain").status == 200


def test_a_plain_middleware_above_it_is_refused() -> None:
    def plain(request: Any, next: Any) -> Any:
        return next(request)

    app = Application(plain, Compression())
    app.add("GET", "/{size}", endpoint)
    with pytest.raises(CompositionError, match=r"plain .*awaited: Compression"):
        app.prepare()
    app = Application(Compression(), plain)
    app.add("GET", "/{size}", endpoint)
    with Client(app) as client:
        assert client.get("/long", headers=GZIP).headers["content-encoding"] == "gzip"


def test_options() -> None:
    with pytest.raises(ValueError, match="0 bytes or more"):
        Compression(-1)
