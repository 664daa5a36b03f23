"""Work after responses: when it begins, in which order, what ends it, what its errors change."""

import logging
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

import pytest

from reactor import (
    Application,
    Cancelled,
    Future,
    Limits,
    ProtocolError,
    Request,
    Response,
    in_pool,
    sleep,
)
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest
from reactor.testing import Client
from tests.conftest import Serve
from tests.support.cycles import Cycles
from tests.support.raw_client import TIMEOUT
from tests.support.raw_client import request as raw_request
from tests.support.worlds import GET, CalmWorld


class Work:
    """An application with work behind the responses of `/`, and an order of events."""

    def __init__(self) -> None:
        self.app = Application()
        self.seen: list[Any] = []

    async def later(self, entry: Any, seconds: float = 1.0) -> None:
        await sleep(seconds)
        self.seen.append(entry)


@pytest.fixture
def work() -> Work:
    return Work()


def test_calls_run_one_after_the_other_behind_the_response(work: Work) -> None:
    @work.app.get("/")
    def root(request: Request) -> str:
        request.after(work.later, "slow")
        request.after(work.seen.append, "plain")
        request.after(partial(work.later, "partial", seconds=0))
        request.after(in_pool, work.seen.append, "pool")
        work.seen.append("handler")
        return "ok"

    with Client(work.app) as client:
        with client.stream("GET", "/") as response:
            assert response.read() == b"ok"
            assert work.seen == ["handler"]
        assert work.seen == ["handler", "slow", "plain", "partial", "pool"]
        work.seen.clear()
        client.get("/")
        assert work.seen == ["handler", "slow", "plain", "partial", "pool"]


def test_the_connection_goes_on_meanwhile(serve: Serve, work: Work) -> None:
    go_on: Future[None] = Future()

    @work.app.get("/")
    async def root(request: Request) -> str:
        request.after(wait)
        return "ok"

    async def wait() -> None:
        await go_on
        work.seen.append("done")

    running = serve(work.app)
    client = running.connect()
    for _ in range(3):
        response = client.ask("/")
        assert (response.status, response.get("connection")) == (200, None)
    client.send(raw_request("/") * 5)
    assert [client.read_response().status for _ in range(5)] == [200] * 5
    assert work.seen == []
    running.call(lambda: go_on.set_result(None))
    running.wait_until(lambda: work.seen == ["done"] * 8)


def test_a_plain_function_runs_when_the_response_has_been_sent(serve: Serve, work: Work) -> None:
    """Also one that holds up the loop: the client has its response already."""
    received = {path: threading.Event() for path in ("/", "/async")}

    @work.app.get("/")
    def root(request: Request) -> str:
        request.after(lambda: work.seen.append(received[request.path].wait(20)))
        return "ok"

    @work.app.get("/async")
    async def asynchronous(request: Request) -> str:
        await sleep(0.01)
        request.after(lambda: work.seen.append(received[request.path].wait(20)))
        return "ok"

    running = serve(work.app)
    for path in received:
        client = running.connect()
        assert client.ask(path).body == b"ok"
        received[path].set()
    running.wait_until(lambda: work.seen == [True, True])


def test_an_error_is_logged_and_ends_its_own_call_alone(
    work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> None:
        await sleep(1)
        raise LookupError("no such mail")

    def exits() -> None:
        raise SystemExit("out")

    @work.app.get("/")
    def root(request: Request) -> str:
        request.after(fails)
        request.after(exits)
        request.after(work.seen.append, "next")
        return "ok"

    with Client(work.app, raise_server_exceptions=False) as client:
        assert client.get("/").status == 200
        assert client.get("/").status == 200
    assert work.seen == ["next", "next"]
    first, second, *_ = [one.getMessage() for one in caplog.records if one.exc_info]
    assert "fails (" in first
    assert "test_after_work.py, line " in first
    assert "exits (" in second
    assert "<GET / HTTP/1.1>" in second
    failing = Client(work.app)
    with pytest.raises(LookupError, match="no such mail"):
        failing.get("/")
    failing.close()


@pytest.mark.parametrize("how", ["raise", "protocol", "await", "handler", "plain handler"])
def test_nothing_runs_where_the_handler_has_failed(work: Work, how: str) -> None:
    @work.app.get("/raise")
    def fails(request: Request) -> str:
        request.after(work.seen.append, "never")
        raise ValueError

    @work.app.get("/protocol")
    def refuses(request: Request) -> str:
        request.after(work.seen.append, "never")
        raise ProtocolError(409, "No.")

    @work.app.get("/await")
    async def fails_later(request: Request) -> str:
        request.after(work.seen.append, "never")
        await sleep(1)
        raise ValueError

    @work.app.get("/handler")
    def fails_for_a_handler(request: Request) -> str:
        request.after(work.seen.append, "never")
        raise KeyError

    @work.app.error(KeyError)
    def missing(request: Request, error: KeyError) -> tuple[int, str]:
        request.after(work.seen.append, "by the error handler")
        return 404, "missing"

    def plain(request: BaseRequest) -> Response:
        request.after(work.seen.append, "never")
        raise ValueError

    handler: Any = plain if how == "plain handler" else work.app
    with Client(handler, raise_server_exceptions=False) as client:
        assert client.get(f"/{how}").status >= 400
        assert client.server.after_work.count == 0
    assert work.seen == (["by the error handler"] if how == "handler" else [])


def test_an_error_response_that_is_returned_is_a_response(work: Work) -> None:
    @work.app.get("/")
    def root(request: Request) -> tuple[int, str]:
        request.after(work.seen.append, "ran")
        return 500, "no"

    with Client(work.app) as client:
        assert client.get("/").status == 500
    assert work.seen == ["ran"]


def test_a_middleware_may_add_to_it(work: Work) -> None:
    def around(request: Request, following: Any) -> Any:
        request.after(work.seen.append, "middleware")
        return following(request)

    work.app.use(around)

    @work.app.get("/")
    def root(request: Request) -> str:
        request.after(work.seen.append, "endpoint")
        return "ok"

    with Client(work.app) as client:
        client.get("/")
        client.head("/")
    assert work.seen == ["middleware", "endpoint"] * 2


def test_a_client_that_leaves_in_the_middle_of_the_response(work: Work) -> None:
    @work.app.get("/")
    def root(request: Request) -> Iterator[bytes]:
        request.after(work.seen.append, "ran")
        while True:
            yield b"x" * 65536

    with Client(work.app) as client:
        with client.stream("GET", "/") as response:
            next(response.iter_bytes())
            assert work.seen == []
        assert work.seen == ["ran"]


def test_a_client_that_leaves_while_the_handler_runs_cancels_it_all(work: Work) -> None:
    async def handler(request: BaseRequest) -> Response:
        request.after(work.seen.append, "never")
        await sleep(1000)
        raise AssertionError

    world = CalmWorld(handler)
    client = world.client(GET)
    assert world.server.after_work.count == 1
    client.reset()
    world.run(10)
    assert (work.seen, world.server.after_work.count) == ([], 0)


def test_a_handler_that_is_too_slow_cancels_it_all(work: Work) -> None:
    async def handler(request: BaseRequest) -> Response:
        request.after(work.seen.append, "never")
        await sleep(1000)
        raise AssertionError

    world = CalmWorld(handler, handler_timeout=5)
    world.client(GET)
    world.run(10)
    assert (work.seen, world.server.after_work.count) == ([], 0)


def test_a_stream_is_sent_whole_first(work: Work) -> None:
    @work.app.get("/")
    def root(request: Request) -> Iterator[bytes]:
        request.after(work.seen.append, "after")
        for number in range(3):
            work.seen.append(number)
            yield b"x" * 100_000

    with Client(work.app) as client:
        client.get("/")
    assert work.seen == [0, 1, 2, "after"]


def test_the_drain_waits_for_it(work: Work) -> None:
    """And the functions of the end are behind it."""

    @work.app.get("/")
    def root(request: Request) -> str:
        request.after(work.later, "after", 5)
        return "ok"

    work.app.on_stop(lambda: work.seen.append("stopped"))
    world = CalmWorld(work.app)
    world.server.begin_start()
    world.client(GET)
    began = world.network.time
    world.server.shut_down()
    world.run_until(lambda: world.server.ended)
    assert work.seen == ["after", "stopped"]
    assert 4 < world.network.time - began < 6


def test_the_drain_waits_no_longer_than_its_limit(
    work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    @work.app.get("/")
    def root(request: Request) -> str:
        request.after(work.later, "too long", 500)
        request.after(work.seen.append, "behind it")
        return "ok"

    work.app.on_stop(lambda: work.seen.append("stopped"))
    world = CalmWorld(work.app, shutdown_timeout=20)
    world.server.begin_start()
    world.client(GET)
    began = world.network.time
    world.server.shut_down()
    world.run_until(lambda: world.server.ended)
    assert work.seen == ["stopped"]
    assert 19 < world.network.time - began < 21
    (message,) = [one.getMessage() for one in caplog.records]
    assert message.startswith("Cancelled 2 calls after responses, since they had not ended after")
    assert "Work.later (" in message


def test_a_second_signal_ends_it(work: Work) -> None:
    @work.app.get("/")
    def root(request: Request) -> str:
        request.after(work.later, "too long", 500)
        return "ok"

    world = CalmWorld(work.app)
    world.client(GET)
    world.server.shut_down()
    world.run(1)
    world.server.shut_down()
    world.run_until(lambda: world.server.ended, 0.1)
    assert work.seen == []


def test_it_sees_the_context_of_its_handler(work: Work) -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")

    @work.app.get("/")
    async def root(request: Request) -> str:
        user.set("somebody")
        request.after(lambda: work.seen.append(user.get()))
        return "ok"

    with Client(work.app) as client:
        client.get("/")
    assert work.seen == ["somebody"]
    assert user.get() == "nobody"


def test_more_calls_than_the_limit(work: Work) -> None:
    @work.app.get("/")
    def root(request: Request) -> str:
        for number in range(int(request.query)):
            request.after(work.seen.append, number)
        return "ok"

    with Client(work.app, limits=Limits(after_calls=3)) as client:
        assert client.get("/?3").status == 200
        response = client.get("/?4")
        assert (response.status, response.headers["retry-after"]) == (503, "1")
        assert client.get("/?3").status == 200
    assert work.seen == [0, 1, 2] * 2


def test_work_that_waits_for_the_next_request_lets_the_test_go_on(work: Work) -> None:
    released: Future[None] = Future()

    @work.app.get("/")
    def root(request: Request) -> str:
        request.after(wait)
        return "ok"

    async def wait() -> None:
        await released
        work.seen.append("released")

    @work.app.get("/release")
    def release(request: Request) -> str:
        released.set_result(None)
        return "ok"

    with Client(work.app) as client:
        assert client.get("/").status == 200
        assert work.seen == []
        client.get("/release")
        assert work.seen == ["released"]


def test_an_object_that_cannot_be_called(work: Work) -> None:
    @work.app.get("/")
    def root(request: Request) -> str:
        with pytest.raises(TypeError, match="a function and its arguments, not "):
            request.after(cast(Any, "no function"))
        return "ok"

    with Client(work.app) as client:
        assert client.get("/").status == 200


def test_a_request_that_no_server_has_received() -> None:
    request = BaseRequest("GET", "/", "/", "", 1, Headers())
    request.forget_after()
    with pytest.raises(RuntimeError, match="a request that a server has received"):
        request.after(print)


def test_a_call_that_is_added_behind_the_response_begins_at_once(work: Work) -> None:
    """By a call before it, also in a chain of them."""

    @work.app.get("/")
    def root(request: Request) -> str:
        def again(left: int) -> None:
            work.seen.append(left)
            if left:
                request.after(again, left - 1)

        request.after(again, 3)
        return "ok"

    with Client(work.app) as client:
        client.get("/")
        assert work.seen == [3, 2, 1, 0]
        assert client.server.after_work.count == 0


def test_a_call_that_is_added_long_after_the_response_is_made(work: Work) -> None:
    """By code of the program that has kept the request, whether or not there was a call before."""
    kept: list[Request] = []

    @work.app.get("/")
    def root(request: Request) -> str:
        kept.append(request)
        if request.query:
            request.after(work.seen.append, request.query)
        return "ok"

    @work.app.get("/stream")
    def stream(request: Request) -> Iterator[bytes]:
        kept.append(request)
        yield b"ok"

    with Client(work.app) as client:
        for path in ("/", "/?before", "/stream"):
            client.get(path)
        client.advance(100)
        for number, request in enumerate(kept):
            request.after(work.seen.append, number)
            request.after(work.later, f"later {number}")
        client.advance(2)
        assert work.seen == ["before", 0, 1, 2, "later 0", "later 1", "later 2"]
        assert client.server.after_work.count == 0
        assert not client.server.after_work.registered


@pytest.mark.parametrize("waits", [False, True])
def test_a_call_that_raises_cancelled_is_one_that_fails(
    work: Work, caplog: pytest.LogCaptureFixture, waits: bool
) -> None:
    """Nobody has cancelled it: the next call is made, and no place is lost."""

    async def fails() -> None:
        if waits:
            await sleep(1)
        raise Cancelled

    @work.app.get("/")
    def root(request: Request) -> str:
        request.after(fails)
        request.after(work.seen.append, "next")
        return "ok"

    with Client(work.app, raise_server_exceptions=False) as client:
        assert client.get("/").status == 200
        assert client.server.after_work.count == 0
    assert work.seen == ["next"]
    (message,) = [one.getMessage() for one in caplog.records if one.exc_info]
    assert "fails (" in message


def test_a_call_that_is_added_while_a_handler_cleans_up_is_made(work: Work) -> None:
    async def handler(request: BaseRequest) -> Response:
        request.after(work.seen.append, "never")
        try:
            await sleep(1000)
        finally:
            request.after(work.seen.append, "cleaned up")
        raise AssertionError

    def stream(request: BaseRequest) -> Response:
        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
            finally:
                request.after(work.seen.append, "closed")

        return Response(200, pieces())

    for one, expected in ((handler, "cleaned up"), (stream, "closed")):
        work.seen.clear()
        world = CalmWorld(one)
        client = world.client(GET)
        client.reset()
        world.run(10)
        assert (work.seen, world.server.after_work.count) == ([expected], 0)


def test_a_slow_call_is_logged_by_its_name(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()

    def slow() -> None:
        threading.Event().wait(0.05)
        ended.set()

    def handler(request: BaseRequest) -> Response:
        request.after(slow)
        return Response(200)

    running = serve(handler, slow_callback=0.01)
    assert running.connect().ask("/").status == 200
    assert ended.wait(TIMEOUT)
    running.call(lambda: None)
    messages = [one.getMessage() for one in caplog.records]
    assert any("slow (" in one and "<GET / HTTP/1.1>" in one for one in messages), messages


def test_it_leaves_no_cycles(work: Work) -> None:
    async def fails() -> None:
        await sleep(0.001)
        raise LookupError

    def handler(request: BaseRequest) -> Response:
        request.after(work.later, "after", 0.001)
        request.after(fails)
        return Response(200)

    world = CalmWorld(handler)
    client = world.client(GET)
    with Cycles():
        client.send(GET)
        world.run(1)
