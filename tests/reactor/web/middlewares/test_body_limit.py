"""BodyLimit: bodies that are refused before they are read, or while they are read."""

from collections.abc import Iterator
from typing import Any

import pytest

from reactor import Limits, ProtocolError
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.endpoint import Middleware
from reactor.web.middlewares import BodyLimit
from tests.support.middleware_app import PATHS, STATUSES, served

ENDPOINTS = ["/plain", "/async", "/read", "/pieces"]
SENTENCE = "The request's body is larger than 1000 bytes."


def chunked(size: int, piece: int) -> Iterator[bytes]:
    """So many bytes in chunks, without a Content-Length."""
    while size > 0:
        yield b"x" * min(piece, size)
        size -= piece


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_content_length_is_refused_before_a_byte_is_read(path: str) -> None:
    with served(BodyLimit(1000)) as client:
        expecting = {"Expect": "100-continue"}
        response = client.post(path, content=b"x" * 1001, headers=expecting)
        assert (response.status, response.text) == (413, f"{SENTENCE}\n")
        assert response.informational == []
        response = client.post(path, content=b"x" * 1000, headers=expecting)
        assert response.status == 200
        assert [one.status for one in response.informational] == [100]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("piece", [1, 999, 1000, 5000])
def test_chunked_bodies_are_counted_while_they_are_read(path: str, piece: int) -> None:
    with served(BodyLimit(1000)) as client:
        assert client.post(path, content=chunked(1000, piece)).status == 200
        response = client.post(path, content=chunked(1001, piece))
        assert response.status == 413
        assert response.text.startswith(SENTENCE)


def test_reading_stops_at_the_first_byte_too_many() -> None:
    with served(BodyLimit(1000)) as client:
        response = client.post("/pieces", content=chunked(10_000_000, 100_000))
        assert response.status == 413
        assert int(response.text.split()[-1]) <= 1000


def test_the_limit_may_be_above_the_memory_limit() -> None:
    limits = Limits(memory_body_bytes=500)
    with served(BodyLimit(1000), limits=limits) as client:
        assert client.post("/pieces", content=chunked(1000, 100)).text == "1000"
        response = client.post("/pieces", content=chunked(1001, 100))
        assert response.text.startswith(SENTENCE)
        response = client.post("/read", content=chunked(501, 100))
        assert response.text == "The request's body is larger than 500 bytes.\n"


@pytest.mark.parametrize("limits", [(1000, 2000), (2000, 1000), (1000, 1000)])
def test_the_lowest_of_several_counts(limits: tuple[int, int]) -> None:
    with served(*map(BodyLimit, limits)) as client:
        for content in (b"x" * 1001, chunked(1001, 10)):
            response = client.post("/pieces", content=content)
            assert (response.status, response.text.startswith(SENTENCE)) == (413, True)


def test_reading_on_raises_again() -> None:
    statuses: list[int] = []
    app = Application(BodyLimit(1000))

    @app.post("/")
    async def stubborn(request: Any) -> Any:
        for most in (-1, 1, 100_000, -1):
            try:
                await request.body.read(most)
            except ProtocolError as error:
                statuses.append(error.status)
        return "enough"

    with Client(app) as client:
        assert client.post("/", content=chunked(100_000, 5000)).text == "enough"
        assert statuses == [413] * 4
        statuses.clear()
        assert client.post("/", content=b"x" * 1000).text == "enough"
        assert statuses == []


def test_below_a_plain_middleware_the_body_has_been_read() -> None:
    def plain(request: Any, next: Any) -> Any:
        return next(request)

    app = Application(plain, BodyLimit(1000))
    app.add("POST", "/", lambda request: str(len(request.content)))
    with Client(app) as client:
        assert client.post("/", content=chunked(1000, 10)).text == "1000"
        for content in (b"x" * 1001, chunked(1001, 10)):
            assert client.post("/", content=content).status == 413


@pytest.mark.parametrize("path", PATHS)
def test_requests_without_a_body_pass(path: str) -> None:
    with served(BodyLimit(0)) as client:
        assert client.get(path).status == STATUSES[path]
        assert client.post(path, content=b"x").status == 413


def test_the_refusal_passes_the_middlewares_further_out() -> None:
    class Marking(Middleware):
        def after(self, request: Any, response: Any) -> Any:
            return response.with_headers(("X-Mark", "1"))

    with served(Marking(), BodyLimit(10)) as client:
        for content in (b"x" * 11, chunked(11, 1)):
            response = client.post(
                "/async", content=content, headers={"Accept": "application/json"}
            )
            assert (response.status, response.headers["x-mark"]) == (413, "1")
            assert response.json()["status"] == 413


def test_options() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        BodyLimit(-1)
