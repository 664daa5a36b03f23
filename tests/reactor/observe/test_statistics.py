"""The statistics of a server: its counters, their beginning, and the times of the loop."""

import threading
import time
from collections.abc import Callable, Iterator
from selectors import DefaultSelector
from typing import Any

import pytest

from reactor import Response, Server, in_pool, sleep
from reactor.loop.reactor import Reactor
from reactor.loop.slow_callbacks import SlowCallbacks
from reactor.messages.request import BaseRequest
from reactor.observe.statistics import DURATIONS, OTHER, WINDOW_SECONDS, LoopTimes, Statistics
from reactor.tasks.thread_pool import PoolSnapshot
from tests.conftest import Running, Serve
from tests.support.raw_client import TIMEOUT, request


class Handler:
    """Asks for the statistics of its server, as it may."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def prepare(self, server: Server) -> None:
        self.statistics: Statistics = server.statistics

    async def __call__(self, request: BaseRequest) -> Response:
        if request.path == "/slow":
            await sleep(0.03)
        if request.path == "/never":
            await sleep(1000)
        if request.path == "/pool":
            await in_pool(self.gate.wait, TIMEOUT)
        if request.path == "/stream":
            return Response(201, iter([b"x" * 1000, b"y"]))
        if request.path == "/cut":
            return Response(200, cut())
        return Response(200, await request.body.read())


def cut() -> Iterator[bytes]:
    yield b"12345"
    raise ValueError


def counted(running: Running, handler: Handler) -> dict[tuple[str, int], int]:
    return running.call(
        lambda: {
            (method, status): count
            for method, by_status in handler.statistics.requests.items()
            for status, count in by_status.items()
        }
    )


def test_each_response_is_counted_once(serve: Serve) -> None:
    handler = Handler()
    running = serve(handler, handler_timeout=0.2)
    client = running.connect()
    client.ask()
    client.ask("/", method="PUT", body=b"abc")
    client.ask("/", method="HEAD")
    client.ask("/stream")
    client.ask("/slow")
    client.ask("/never")
    client = running.connect()
    client.send(request("/cut"))
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    for nonsense in (b"nonsense\r\n\r\n", b"CONNECT t:1 HTTP/1.1\r\nHost: t\r\n\r\n"):
        client = running.connect()
        client.send(nonsense)
        client.read_response()
    assert counted(running, handler) == {
        ("GET", 200): 3,
        ("PUT", 200): 1,
        ("HEAD", 200): 1,
        ("GET", 201): 1,
        ("GET", 503): 1,
        (OTHER, 400): 1,
        (OTHER, 501): 1,
    }
    statistics = handler.statistics
    assert sum(statistics.durations) == 9
    assert len(statistics.durations) == len(DURATIONS) + 1
    slow = [one for one, bound in zip(statistics.durations, DURATIONS, strict=False) if bound > 0.1]
    assert sum(slow) + statistics.durations[-1] >= 1, "the one that took 0.2 s"
    assert 0.23 <= statistics.duration_seconds < 60


def test_an_unknown_method_is_counted_as_other(serve: Serve) -> None:
    """A middleware may put anything there; the number of counters stays what it is."""

    class Odd(Handler):
        async def __call__(self, request: BaseRequest) -> Response:
            request.method = request.path
            return Response(200)

    handler = Odd()
    running = serve(handler)
    client = running.connect()
    before = len(handler.statistics.requests)
    for number in range(20):
        client.ask(f"/{number}")
    assert counted(running, handler) == {(OTHER, 200): 20}
    assert len(handler.statistics.requests) == before


def test_connections_are_counted_by_their_state(serve: Serve) -> None:
    handler = Handler()
    running = serve(handler)
    idle, head, working = (running.connect() for _ in range(3))
    idle.ask()
    head.send(b"GET /")
    working.send(request("/never"))
    running.wait_until(lambda: handler.statistics.connections()["handler"] == 1)
    running.wait_until(lambda: handler.statistics.connections()["head"] == 1)
    found = running.call(handler.statistics.connections)
    assert {state: count for state, count in found.items() if count} == {
        "idle": 1,
        "head": 1,
        "handler": 1,
    }
    assert set(found) == {"idle", "head", "body", "handler", "produce", "drain", "skip", "linger"}
    idle.close()
    running.wait_for_connections(2)
    assert running.call(handler.statistics.connections)["idle"] == 0
    assert running.call(lambda: handler.statistics.accepted) == 3


@pytest.mark.plain  # records are longer than what they say
def test_bytes_are_counted_at_the_sockets(serve: Serve) -> None:
    """Heads and framing are included, in both directions, for bodies of any size."""
    handler = Handler()
    running = serve(handler)
    client = running.connect()
    sent = request("/", method="POST", body=b"z" * 700_000)
    client.send(sent)
    first = client.read_response()
    second = client.ask("/stream")
    framed = len("3e8\r\n") + 1002 + len("1\r\ny\r\n") + len("0\r\n\r\n")
    received = len(first.head) + len(first.body) + len(second.head) + framed
    running.wait_until(lambda: handler.statistics.sent_bytes == received)
    asked = len(sent) + len(request("/stream"))
    assert running.call(lambda: handler.statistics.received_bytes) == asked


def test_the_pools_queue_is_seen(serve: Serve) -> None:
    handler = Handler()
    running = serve(handler, pool_threads=1, pool_jobs=1)
    clients = [running.connect() for _ in range(3)]
    try:
        for number, client in enumerate(clients, 1):
            client.send(request("/pool"))
            running.wait_until(lambda number=number: sum(handler.statistics.pool[2:]) == number - 1)  # type: ignore[misc]
            if number == 1:
                running.wait_until(lambda: handler.statistics.pool.files == 0)
        assert handler.statistics.pool == PoolSnapshot(1, 0, 1, 0, 0, 0, 1)
    finally:
        handler.gate.set()
    for client in clients:
        client.read_response()
    running.wait_until(lambda: handler.statistics.pool == PoolSnapshot(1, 1, 0, 0, 0, 0, 0))


def test_counting_begins_when_statistics_are_asked_for(serve: Serve) -> None:
    """Until then the connection calls no observer, and no tracer watches the loop's waits."""
    running = serve(lambda request: Response(200))
    server = running.server
    client = running.connect()
    client.ask()
    assert server._context.state.observe is None
    assert running.call(lambda: [type(one) for one in server.reactor.tracers]) == [SlowCallbacks]
    assert running.call(lambda: server.reactor._wait == server.reactor.selector.select)
    statistics = running.call(lambda: server.statistics)
    assert running.call(lambda: server.statistics) is statistics
    client.ask()
    assert running.call(lambda: dict(statistics.requests["GET"])) == {200: 1}
    assert running.call(lambda: statistics.loop.turns) > 0


def test_the_access_log_is_written_as_well(serve: Serve, tmp_path: Any) -> None:
    with open(tmp_path / "log", "wb") as file:
        handler = Handler()
        running = serve(handler, access_log=file.fileno())
        running.connect().ask("/x")
        assert counted(running, handler) == {("GET", 200): 1}
        assert running.call(handler.statistics.lost_lines) == {"access": 0}
        running.stop()
    assert '"GET /x HTTP/1.1" 200 0' in (tmp_path / "log").read_text()


def test_an_error_of_prepare_ends_the_start_of_the_server(no_leaks: None) -> None:
    class Unready(Handler):
        def prepare(self, server: Server) -> None:
            assert server.limits.connections
            raise LookupError("not today")

    with pytest.raises(LookupError, match="not today"):
        Server(Unready())


# --- the loop's times ----------------------------------------------------------------------------


class Waiting(DefaultSelector):
    """Waits as long as the test says, by the test's clock."""

    def __init__(self, wait: Callable[[], None]) -> None:
        super().__init__()
        self._wait_for = wait

    def select(self, timeout: float | None = None) -> list[Any]:
        self._wait_for()
        return []


class Clock:
    """A loop that waits and works as long as the test says."""

    def __init__(self) -> None:
        self.time = 0.0
        self.reactor = Reactor(Waiting(self.wait), clock=lambda: self.time)
        self.waits = 0.0
        self.times = LoopTimes(self.reactor)

    def wait(self) -> None:
        self.time += self.waits

    def turn(self, waits: float, works: float) -> None:
        self.waits = waits
        self.reactor.run_once(0)
        self.time += works


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.reactor.close()


def test_busy_time_is_time_without_waiting(clock: Clock) -> None:
    for _ in range(100):
        clock.turn(waits=0.3, works=0.1)
    clock.turn(waits=1000, works=0)
    assert clock.times.turns == 101
    assert clock.times.busy_seconds == pytest.approx(10.0)


def test_lag_and_utilisation_are_of_the_last_window(clock: Clock) -> None:
    assert (clock.times.lag, clock.times.utilisation) == (0, 0)
    clock.turn(waits=0.5, works=0.4)
    while clock.time < WINDOW_SECONDS + 1:
        clock.turn(waits=0.3, works=0.1)
    assert clock.times.lag == pytest.approx(0.4)
    assert clock.times.utilisation == pytest.approx(0.25, rel=0.2)
    while clock.time < 2 * WINDOW_SECONDS + 2:
        clock.turn(waits=0.1, works=0.1)
    assert clock.times.lag == pytest.approx(0.1)
    assert clock.times.utilisation == pytest.approx(0.5, rel=0.2)


def test_a_loop_that_sleeps_has_no_lag(clock: Clock) -> None:
    """No turn ends the window meanwhile; reading the figures does."""
    clock.turn(waits=0, works=5)
    clock.turn(waits=3600, works=0)
    assert clock.times.lag == 5
    assert clock.times.utilisation < 0.01
    clock.turn(waits=WINDOW_SECONDS, works=0)
    assert (clock.times.lag, clock.times.utilisation) == (0, 0)


def test_a_loop_that_only_works_is_all_busy(clock: Clock) -> None:
    for _ in range(30):
        clock.turn(waits=0, works=1)
    assert clock.times.utilisation == 1.0
    clock.time += 2 * WINDOW_SECONDS  # the turn goes on, and asks
    assert clock.times.lag == 2 * WINDOW_SECONDS + 1
    assert clock.times.utilisation == 1.0


def test_times_are_real(no_leaks: None) -> None:
    reactor = Reactor()
    times = LoopTimes(reactor)
    reactor.call_soon(time.sleep, 0.05)
    reactor.run_once(0)
    reactor.run_once(0.05)
    reactor.run_once(0)
    assert times.turns == 3
    assert 0.05 <= times.busy_seconds < 15
    reactor.close()
