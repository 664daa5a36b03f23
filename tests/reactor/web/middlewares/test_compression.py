"""Compression as a middleware: where it fits, what it waits for, what it refuses."""

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
    answer = await next(request)
    assert isinstance(answer, Response)
    return answer


@pytest.mark.parametrize("called", [endpoint, later])
@pytest.mark.parametrize("outer", [RequestId(), Compression(), asynchronous])
def test_bodies_are_coded_for_who_accepts_it(called: Any, outer: Any) -> None:
    app = Application(outer, Compression())
    app.add("GET", "/{size}", called)
    with Client(app) as client:
        for size, whole in (("long", LONG), ("short", SHORT)):
            answer = client.get(f"/{size}", headers=GZIP)
            assert answer.headers["content-encoding"] == "gzip"
            assert gzip.decompress(answer.content).decode() == whole
            assert answer.headers["vary"] == "Accept-Encoding"
            assert client.get(f"/{size}").text == whole
        answer = client.get("/tiny", headers=GZIP)
        assert (answer.text, answer.headers.get("content-encoding")) == ("x", "")


@pytest.mark.parametrize("path", ["/stream", "/later"])
def test_streams_are_coded(path: str) -> None:
    with served(Compression()) as client:
        answer = client.get(path, headers=GZIP)
        assert gzip.decompress(answer.content) == b"one two"


@pytest.mark.parametrize("path", PATHS)
def test_what_is_below(path: str) -> None:
    with served(RequestId(), Compression(0)) as client:
        answer = client.get(path, headers=GZIP)
        assert answer.status == STATUSES[path]
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["x-request-id"]
        assert gzip.decompress(answer.content)


def test_the_least_that_is_coded() -> None:
    app = Application(Compression(5000))
    app.add("GET", "/{size}", endpoint)
    with Client(app) as client:
        assert client.get("/short", headers=GZIP).text == SHORT
        assert client.get("/long", headers=GZIP).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("called", [endpoint, later])
def test_who_accepts_nothing_is_refused_as_the_application_does(called: Any) -> None:
    seen = []

    async def outer(request: Any, next: Any) -> Response:
        answer: Response = await next(request)
        seen.append(answer.status)
        return answer

    app = Application(RequestId(), outer, Compression())
    app.add("GET", "/{size}", called)

    @app.error(406)
    def refused(request: Any, error: ProtocolError) -> Any:
        return 406, "mine"

    with Client(app) as client:
        answer = client.get("/short", headers={"Accept-Encoding": "identity;q=0, *;q=0"})
        assert (answer.status, answer.text) == (406, "mine")
        assert answer.headers["x-request-id"]
    assert seen == [406]


@pytest.mark.parametrize("path", PATHS)
def test_who_accepts_nothing_gets_the_errors_all_the_same(path: str) -> None:
    with served(RequestId(), Compression()) as client:
        answer = client.get(path, headers={"Accept-Encoding": "identity;q=0, *;q=0"})
        assert answer.status == (406 if STATUSES[path] == 200 else STATUSES[path])
        assert answer.headers["x-request-id"]
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
