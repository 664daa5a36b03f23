"""The functions of an application's start and end, and its periodic tasks, in simulated time."""

import logging
from typing import Any

import pytest

from reactor import Application, Cancelled, Future, Limits, Response, Server, sleep
from reactor.server.lifecycle import StartHookError
from reactor.testing import Client, Deadlock
from tests.conftest import Serve
from tests.support.raw_client import request


class Diary:
    """An application whose functions write down that they were called."""

    def __init__(self) -> None:
        self.app = Application()
        self.seen: list[Any] = []
        self.app.get("/")(lambda request: "ok")

    def write(self, entry: Any) -> None:
        self.seen.append(entry)

    def start(self, name: str, seconds: float = 0.0, error: BaseException | None = None) -> None:
        self.app.on_start(self._async(f"start {name}", seconds, error))

    def stop(self, name: str, seconds: float = 0.0, error: BaseException | None = None) -> None:
        self.app.on_stop(self._async(f"stop {name}", seconds, error))

    def _async(self, entry: str, seconds: float, error: BaseException | None) -> Any:
        async def function() -> None:
            await sleep(seconds)
            self.write(entry)
            if error is not None:
                raise error

        return function


@pytest.fixture
def diary() -> Diary:
    return Diary()


def served(diary: Diary, **limits: float) -> Client:
    return Client(diary.app, limits=Limits(**limits))  # type: ignore[arg-type]


# --- the start and the end -----------------------------------------------------------------------


def test_starts_in_order_and_ends_in_reverse(diary: Diary) -> None:
    """Each begins when the one before has ended, plain and asynchronous ones alike."""
    diary.start("slow", 5)
    diary.stop("first")
    diary.app.on_start(lambda: diary.write("start plain"))
    diary.app.on_stop(lambda: diary.write("stop plain"))
    diary.stop("slow", 7)
    with served(diary) as client:
        assert client.now == pytest.approx(5, abs=0.01)
        assert client.get("/").text == "ok"
        assert diary.seen == ["start slow", "start plain"]
    assert diary.seen[2:] == ["stop slow", "stop plain", "stop first"]


def test_without_a_context_nothing_is_called_unless_it_is_started(diary: Diary) -> None:
    diary.start("a")
    diary.stop("a")
    diary.app.every(1)(lambda: diary.write("tick"))
    client = served(diary)
    assert client.get("/").text == "ok"
    client.advance(10)
    assert diary.seen == []
    client.start()
    client.start()
    client.advance(2.5)
    assert diary.seen == ["start a", "tick", "tick"]
    client.close()
    assert diary.seen[3:] == ["stop a"]


def test_each_server_of_an_application_has_a_start_of_its_own(diary: Diary) -> None:
    diary.start("a")
    with served(diary), served(diary):
        pass
    assert diary.seen == ["start a", "start a"]


@pytest.mark.parametrize("error", [OSError("no route"), SystemExit("no database"), Cancelled()])
def test_a_failed_start_ends_what_was_started(diary: Diary, error: BaseException) -> None:
    """Functions of the end behind the one that fails are not called."""
    diary.start("a")
    diary.stop("a")
    diary.start("b", 1, error)
    diary.stop("b")
    diary.start("c")
    place = "cannot start: .*function .*test_lifecycle.py, line"
    with pytest.raises(StartHookError, match=place) as e:
        served(diary).__enter__()
    assert e.value.__cause__ is error
    assert f"{type(error).__name__}: {error}" in str(e.value)
    assert diary.seen == ["start a", "start b", "stop a"]


def test_the_line_of_a_failed_start_is_the_one_that_failed(diary: Diary) -> None:
    @diary.app.on_start
    def connect() -> None:
        diary.write("before")
        int("x")

    line = connect.__code__.co_firstlineno + 3
    with pytest.raises(StartHookError, match=rf"connect \(.*, line {line}\) failed: ValueError: "):
        served(diary).start()


def test_an_error_of_asyncio_says_what_to_use_instead(
    diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    import asyncio

    async def wait() -> None:
        await asyncio.sleep(1)

    def begin() -> None:
        asyncio.get_running_loop()

    for function in (wait, begin):
        app = Application()
        app.on_start(function)
        with pytest.raises(StartHookError, match="reactor"):
            Client(app).start()
    diary.app.get("/after")(lambda request: request.after(wait) or "ok")
    diary.app.every(1)(wait)
    diary.app.on_stop(begin)
    with Client(diary.app, raise_server_exceptions=False) as client:
        client.get("/after")
        client.advance(1.5)
    errors = [one.exc_info[1] for one in caplog.records if one.exc_info]
    assert len(errors) == 3
    assert all("reactor" in str(getattr(one, "__notes__", "")) for one in errors)


def test_a_start_that_takes_too_long(diary: Diary) -> None:
    diary.stop("before")
    diary.start("endless", 1000)
    with pytest.raises(StartHookError, match="TimeoutError: the timeout of 60 s is over"):
        served(diary).start()
    assert diary.seen == ["stop before"]
    with pytest.raises(StartHookError, match="the timeout of 3 s is over"):
        served(diary, start_timeout=3).start()
    client = served(diary, start_timeout=0)
    client.start()
    assert client.now >= 1000


def test_a_start_that_nothing_ends_is_a_deadlock(diary: Diary) -> None:
    @diary.app.on_start
    async def wait() -> None:
        await Future()

    with pytest.raises(Deadlock, match="on_start"):
        served(diary, start_timeout=0).start()


def test_a_failed_end_is_logged_and_the_others_go_on(
    diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    diary.stop("a")
    diary.stop("endless", 1000)
    diary.stop("b", 1, ValueError("broken"))
    client = served(diary, stop_timeout=300)
    client.start()
    with pytest.raises(ValueError, match="broken"):
        client.close()
    assert diary.seen == ["stop b", "stop a"]
    failed = [one for one in caplog.records if one.getMessage().endswith("failed at the end")]
    assert [type(one.exc_info[1]) for one in failed if one.exc_info] == [ValueError, TimeoutError]
    assert all("function" in one.getMessage() and ", line " in one.getMessage() for one in failed)
    assert client.now == pytest.approx(1 + 300, abs=0.1)


def test_the_end_of_a_start_that_a_signal_interrupts(diary: Diary) -> None:
    """The server ends the part that was started, and calls nothing else."""
    diary.start("a")
    diary.stop("a", 0.05)
    diary.start("slow", 1000)
    diary.start("never")
    server = Server(diary.app, Limits())
    server.reactor.call_later(0.05, server.shut_down)
    assert server.start() is False
    server.run()
    assert diary.seen == ["start a", "stop a"]
    assert server.ended


def test_a_second_signal_ends_the_end_at_once(
    diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    diary.stop("never called")
    diary.stop("slow", 1000)
    server = Server(diary.app, Limits(stop_timeout=0))
    for seconds in (0.02, 0.1):
        server.reactor.call_later(seconds, server.shut_down)
    server.run()
    assert diary.seen == []
    messages = [one.getMessage() for one in caplog.records]
    assert any("is not called: the server ends at once" in one for one in messages)


def test_an_end_from_within_a_start(diary: Diary) -> None:
    server = Server(diary.app, Limits())
    diary.start("a")
    diary.stop("a")
    diary.app.on_start(server.shut_down)
    diary.start("never")
    server.run()
    assert diary.seen == ["start a", "stop a"]


def test_a_server_that_has_ended_before_it_starts_calls_nothing(diary: Diary) -> None:
    diary.start("a")
    server = Server(diary.app, Limits())
    server.shut_down()
    server.run()
    assert diary.seen == []


# --- with clients --------------------------------------------------------------------------------


def test_no_client_is_accepted_before_the_start_has_ended(serve: Serve) -> None:
    app, order = Application(), []

    @app.on_start
    async def slow() -> None:
        await sleep(0.3)
        order.append("started")

    @app.get("/")
    def root(request: Any) -> str:
        order.append("request")
        return "ok"

    running = serve(app)
    with running.connect() as client:
        assert client.ask().body == b"ok"
    assert order == ["started", "request"]


def test_the_end_comes_behind_the_last_request_and_may_wait(serve: Serve) -> None:
    app, order = Application(), []

    @app.get("/")
    async def slow(request: Any) -> str:
        order.append("begun")
        await sleep(0.3)
        order.append("response")
        return "ok"

    @app.on_stop
    async def stop() -> None:
        await sleep(0.05)
        order.append("stopped")

    running = serve(app)
    client = running.connect()
    client.send(request("/"))
    running.wait_until(lambda: order == ["begun"])
    running.shut_down()
    assert client.read_response().body == b"ok"
    assert running.join()
    assert order == ["begun", "response", "stopped"]


def test_the_end_comes_after_connections_were_aborted(serve: Serve) -> None:
    app, order = Application(), []

    @app.get("/")
    async def endless(request: Any) -> str:
        await sleep(1000)
        return "never"

    app.on_stop(lambda: order.append("stopped"))
    running = serve(app, shutdown_timeout=0.1)
    client = running.connect()
    client.send(request("/"))
    running.wait_until(lambda: any(one.task for one in running.server.open_connections))
    running.shut_down()
    assert running.join()
    assert order == ["stopped"]


def test_a_second_signal_during_the_delay_stops_the_application_too(serve: Serve) -> None:
    app, order = Application(), []
    app.on_stop(lambda: order.append("stopped"))
    running = serve(app, shutdown_delay=1000)
    running.shut_down()
    running.shut_down()
    assert running.join()
    assert order == ["stopped"]


def test_a_handler_without_steps_is_served_as_before(serve: Serve) -> None:
    running = serve(lambda request: Response(200, b"plain"))
    assert running.connect().ask().body == b"plain"


# --- mounted ones --------------------------------------------------------------------------------


def test_a_mounted_application_has_its_place_in_the_order_and_counts_once() -> None:
    outer, inner, seen = Application(), Application(), list[str]()
    outer.on_start(lambda: seen.append("outer 1"))
    outer.mount("/a", inner)
    outer.mount("/b", inner)
    outer.on_start(lambda: seen.append("outer 2"))
    inner.on_start(lambda: seen.append("inner"))
    inner.on_stop(lambda: seen.append("inner stops"))
    outer.on_stop(lambda: seen.append("outer stops"))
    with Client(outer):
        assert seen == ["outer 1", "inner", "outer 2"]
    assert seen[3:] == ["outer stops", "inner stops"]


def test_an_application_behind_another_handler() -> None:
    """A handler that passes `prepare` on, mounted or around it."""
    inner, seen = Application(), list[str]()
    inner.on_start(lambda: seen.append("inner"))

    class Around:
        def prepare(self, server: Server) -> None:
            inner.prepare(server)

        def __call__(self, request: Any) -> Any:
            return inner(request)

    outer = Application()
    outer.mount("/x", Around())
    for handler in (Around(), outer):
        seen.clear()
        with Client(handler):
            assert seen == ["inner"]


# --- periodic tasks ------------------------------------------------------------------------------


def test_a_periodic_task_keeps_its_times_and_never_overlaps() -> None:
    app, begun, running = Application(), list[float](), list[int]()
    client = Client(app)
    slow = [0.0, 2.5, 0.0, 1.5, 0.0]

    @app.every(1)
    async def tick() -> None:
        assert not running
        running.append(1)
        begun.append(round(client.now, 2))
        await sleep(slow.pop(0) if slow else 0)
        running.clear()

    client.start()
    client.advance(9.5)
    assert begun == [1, 2, 5, 6, 8, 9]
    client.close()
    assert len(begun) == 6


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("error", [LookupError("no such thing"), Cancelled(), StopIteration()])
def test_a_failing_periodic_task_is_logged_and_goes_on(
    caplog: pytest.LogCaptureFixture, error: BaseException, waits: bool
) -> None:
    """Cancelled is an error as well, where nobody has cancelled it."""
    app, runs = Application(), list[int]()

    async def tick_later() -> None:
        await sleep(1)
        runs.append(1)
        raise error

    @app.every(10)
    def tick() -> Any:
        if waits:
            return tick_later()
        runs.append(1)
        raise error

    with Client(app, raise_server_exceptions=False) as client:
        client.advance(35)
        assert len(runs) == 3
    messages = [one.getMessage() for one in caplog.records if one.exc_info]
    assert len(messages) == 3
    assert all("tick (" in one and "test_lifecycle.py, line " in one for one in messages)


def test_a_periodic_task_fails_the_test_that_advances() -> None:
    app = Application()

    @app.every(10)
    async def tick() -> None:
        raise LookupError("no such thing")

    client = Client(app)
    client.start()
    with pytest.raises(LookupError):
        client.advance(11)
    client.close()


def test_a_periodic_task_is_cancelled_before_the_end(diary: Diary) -> None:
    @diary.app.every(1)
    async def long() -> None:
        try:
            await sleep(1000)
        finally:
            await sleep(0.5)
            diary.write("cleaned up")

    diary.stop("a")
    with served(diary) as client:
        client.advance(5)
    assert diary.seen == ["cleaned up", "stop a"]


def test_a_periodic_task_that_does_not_end_is_closed(diary: Diary) -> None:
    @diary.app.every(1)
    async def stubborn() -> None:
        while True:
            try:
                await sleep(1000)
            except Cancelled:
                diary.write("no")

    diary.stop("a")
    with served(diary) as client:
        client.advance(2)
    assert diary.seen == ["no", "stop a"]


def test_periodic_tasks_begin_behind_the_start(diary: Diary) -> None:
    diary.app.every(1)(lambda: diary.write("tick"))
    diary.start("slow", 10)
    with served(diary) as client:
        assert diary.seen == ["start slow"]
        client.advance(1.5)
        assert diary.seen == ["start slow", "tick"]
