"""TimeLimit: a 503 for handlers that take too long, in simulated time."""

from typing import Any

import pytest

from reactor import Cancelled, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.endpoint import CompositionError
from reactor.web.middlewares import RequestId, TimeLimit
from tests.support.middleware_app import PATHS, STATUSES, served


@pytest.mark.parametrize("path", PATHS)
def test_handlers_that_are_fast_enough(path: str) -> None:
    with served(RequestId(), TimeLimit(0.6)) as client:
        assert client.get(path).status == STATUSES[path]


@pytest.mark.parametrize(
    ("path", "status"), [("/plain", 200), ("/stream", 200), ("/later", 200), ("/none", 404)]
)
def test_only_the_time_to_the_response_counts(path: str, status: int) -> None:
    with served(TimeLimit(0.4)) as client:
        assert client.get(path).status == status


@pytest.mark.parametrize("path", ["/async", "/fails-later"])
def test_a_handler_that_takes_too_long_is_a_503(path: str) -> None:
    with served(RequestId(), TimeLimit(0.4)) as client:
        response = client.get(path)
        assert (response.status, response.text) == (503, "The response took too long.\n")
        assert response.elapsed == pytest.approx(0.4, abs=0.01)
        assert response.headers["x-request-id"]
        assert client.get("/plain").status == 200


def test_waiting_for_a_body_counts() -> None:
    def dripping() -> Any:
        yield b"x"

    with served(TimeLimit(0.4)) as client:
        response = client.post("/async", content=dripping())
        assert response.status == 503


def test_a_cancelled_handler_cleans_up() -> None:
    ended: list[str] = []
    app = Application(TimeLimit(1))

    @app.get("/")
    async def waits(request: Any) -> Any:
        try:
            await sleep(5)
        except Cancelled:
            ended.append("cancelled")
            raise
        finally:
            ended.append("cleaned up")

    @app.get("/stubborn")
    async def stubborn(request: Any) -> Any:
        try:
            await sleep(5)
        except Cancelled:
            return "all the same"

    with Client(app) as client:
        assert client.get("/").status == 503
        assert ended == ["cancelled", "cleaned up"]
        assert client.get("/stubborn").text == "all the same"


def test_a_timeout_error_of_the_handler_is_raised() -> None:
    app = Application(TimeLimit(1))

    @app.get("/")
    async def fails(request: Any) -> Any:
        await sleep(0.1)
        raise TimeoutError("the database")

    with Client(app, raise_server_exceptions=False) as client:
        assert client.get("/").status == 500
    with Client(app) as client, pytest.raises(TimeoutError, match="the database"):
        client.get("/")


def test_a_plain_middleware_above_it_is_refused() -> None:
    app = Application(lambda request, next: next(request), TimeLimit(1))
    app.add("GET", "/", lambda request: "x")
    with pytest.raises(CompositionError, match="awaited: TimeLimit"):
        app.prepare()


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_options(seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        TimeLimit(seconds)
