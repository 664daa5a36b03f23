"""One connection: its turns, the end of a handler, and the end of the server.

All of it runs in a calm simulation: the real server, no chance, and minutes that take no time.
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from reactor import (
    Cancelled,
    Response,
    in_pool,
    sleep,
)
from reactor.http.closing import SHUTDOWN_LINGER
from reactor.http.connection import REQUESTS_PER_TURN, HttpConnection
from reactor.messages.request import BaseRequest
from reactor.simulator import Faults, SimClient, simulation
from tests.support.handlers import hello
from tests.support.worlds import GET, only
from tests.support.worlds import CalmWorld as World


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


# --- turns ----------------------------------------------------------------------------------------


def test_16_pipelined_requests_a_turn() -> None:
    calls = 0
    by_turn = []

    def respond(request: BaseRequest) -> Response:
        nonlocal calls
        calls += 1
        return Response(200, b"x")

    world = World(respond)

    def after_turn() -> None:
        nonlocal calls
        by_turn.append(calls)
        calls = 0

    world.reactor.after_turn = after_turn
    client = world.client(GET * 100)
    assert len(client.responses(())) == 100
    # A turn has one event and one call of each connection.
    assert max(by_turn) <= 2 * REQUESTS_PER_TURN


@pytest.mark.slow
def test_a_timer_and_a_new_client_are_served_within_a_backlog_of_5000() -> None:
    served = 0
    timer_at: list[int] = []
    client_at: list[int] = []

    def respond(request: BaseRequest) -> Response:
        nonlocal served
        served += 1
        world.network.time += 0.001
        if request.target == "/new":
            client_at.append(served)
        if served == 1000:
            world.client_sends_in_passing(GET.replace(b"/ ", b"/new "))
        return Response(200, b"hello")

    class Busy(World):
        def client_sends_in_passing(self, data: bytes) -> None:
            client = SimClient(self.network, self.listener, "client-new")
            client.connect()
            client.send(data)

    world = Busy(respond)
    crowd = [SimClient(world.network, world.listener, f"client-{n}") for n in range(5000)]
    for client in crowd:
        client.connect()
    world.run_until(lambda: world.server.connections == 5000)
    for client in crowd:
        client.send(GET)
    world.reactor.call_later(0.5, lambda: timer_at.append(served))
    world.reactor.after_turn = lambda: None
    world.run_until(lambda: served == 5001)
    assert 500 <= timer_at[0] < 700
    assert 1000 < client_at[0] < 1200


def test_the_last_client_is_not_served_more_often_than_the_others() -> None:
    """Each of 512 clients sends a request during its last one, so the loop is always behind."""
    heard: Counter[str] = Counter()
    crowd: dict[str, SimClient] = {}

    def respond(request: BaseRequest) -> Response:
        heard[request.target] += 1
        if sum(heard.values()) < 8 * len(crowd):
            crowd[request.target].send(GET.replace(b"/ ", request.target.encode() + b" "))
        return Response(200, b"hello")

    world = World(respond)
    for number in range(512):
        client = crowd[f"/{number}"] = SimClient(world.network, world.listener, f"client-{number}")
        client.connect()
    world.run_until(lambda: world.server.connections == len(crowd))
    for target, client in crowd.items():
        client.send(GET.replace(b"/ ", target.encode() + b" "))
    world.reactor.after_turn = lambda: None
    world.run_until(lambda: sum(heard.values()) >= 6 * len(crowd))
    assert len(heard) == len(crowd)
    assert max(heard.values()) <= 2 * min(heard.values())


# --- the end of a handler -------------------------------------------------------------------------


def test_a_handler_is_cancelled_when_its_client_resets() -> None:
    events: list[str] = []

    async def slow(request: BaseRequest) -> Response:
        try:
            await sleep(50)
        except Cancelled:
            events.append(f"cancelled, {request.client_closed}")
            await sleep(0.5)
            events.append("cleaned up")
            raise
        return Response()

    world = World(slow)
    world.client(GET).reset()
    world.run(1)
    assert events == ["cancelled, True", "cleaned up"]
    world.invariants.check_rest()


def test_a_handler_that_does_not_end_is_closed_a_second_later() -> None:
    events: list[float] = []

    async def slow(request: BaseRequest) -> Response:
        try:
            while True:
                try:
                    await sleep(50)
                except Cancelled:
                    pass
        finally:
            events.append(world.network.time)

    world = World(slow)
    world.client(GET).reset()
    world.run(5)
    assert events == [pytest.approx(1, abs=0.1)]
    world.invariants.check_rest()


@pytest.mark.parametrize(
    "response",
    [
        Response(200, b"x", [("Transfer-Encoding", "chunked")]),
        Response(200, b"x", [("Content-Length", "2")]),
        Response(200, b"x", [("Date", "today")]),
        Response(200, b"x", [("X", "a\r\nY: b")]),
        Response(204, b"x"),
        Response(101),
        "no response",
        None,
    ],
)
def test_a_response_that_cannot_be_sent_is_500_and_the_connection_kept(response: Response) -> None:
    world = World(lambda request: response if request.target == "/" else hello(request))
    client = world.client(GET + GET.replace(b"/ ", b"/hello "))
    assert [response.status for response in client.responses(())] == [500, 200]


def test_a_handler_that_raises_is_500_and_the_connection_kept() -> None:
    async def fails(request: BaseRequest) -> Response:
        await sleep(1)
        raise SystemExit(3)

    world = World(fails)
    client = world.client(GET + GET)
    world.run(5)
    assert [response.status for response in client.responses(())] == [500, 500]


def test_a_job_without_a_place_is_503_after_5_seconds() -> None:
    async def job(request: BaseRequest) -> Response:
        return Response(200, await in_pool(lambda: b"done"))

    world = World(job, Faults(job_seconds=lambda: 50.0), pool_threads=1, pool_jobs=1)
    clients = [world.client(GET) for _ in range(3)]
    world.run(10)
    assert clients[2].heard_time == pytest.approx(5, abs=0.1)
    assert only(clients[2]).status == 503


# --- the end of the server ------------------------------------------------------------------------


def test_too_many_clients_get_503() -> None:
    world = World(hello, connections=1)
    world.client()
    client = world.client()
    response = only(client)
    assert (response.status, response.fields["retry-after"]) == (503, "1")
    assert client.end == "fin"


def test_shutting_down_closes_the_idle_and_serves_the_others() -> None:
    async def slow(request: BaseRequest) -> Response:
        await sleep(5)
        return Response(200, b"done")

    world = World(slow)
    idle, busy = world.client(), world.client(GET + GET)
    world.server.shut_down()
    world.run(1)
    assert (idle.end, busy.end) == ("fin", "")
    world.run(5)
    response = only(busy)
    assert (response.body, response.fields["connection"]) == (b"done", "close")
    late = SimClient(world.network, world.listener, "client-late")
    assert not late.connect()


@pytest.mark.parametrize("age", [0.0, SHUTDOWN_LINGER / 2, SHUTDOWN_LINGER * 1.5])
def test_shutting_down_lingers_where_the_last_response_is_young(age: float) -> None:
    """Its client may not have read it, and a reset by bytes that come later would destroy it."""
    world = World(hello)
    client = world.client(GET, reads=False)
    world.run(age)
    world.server.shut_down()
    world.run(SHUTDOWN_LINGER / 10)
    is_young = age < SHUTDOWN_LINGER
    assert world.server.connections == is_young
    client.send(GET)
    world.run(SHUTDOWN_LINGER / 10)
    assert client.socket is not None
    assert client.socket.lost is not is_young
    if is_young:
        world.network.start(client.reading())
        world.run(SHUTDOWN_LINGER / 10)
        assert (only(client).body, client.end) == (b"hello", "fin")
    world.run(SHUTDOWN_LINGER)
    assert world.server.ended


@pytest.mark.parametrize("from_handler", [True, False])
def test_requests_that_came_while_the_loop_was_behind_are_served_at_the_end(
    from_handler: bool,
) -> None:
    """A handler holds the loop for half a second; meanwhile all others send, and a signal comes."""
    served: list[str] = []

    def respond(request: BaseRequest) -> Response:
        served.append(f"begin {request.target}")
        if request.target == "/block":
            world.network.time += 0.5
            for client in (idle, blocker):
                client.send(GET.replace(b"/ ", b"/late "))
            assert late_client.connect()
            late_client.send(GET.replace(b"/ ", b"/new "))
            if from_handler:
                world.server.shut_down()
            else:
                world.reactor.call_soon_threadsafe(world.server.shut_down)
        served.append(f"end {request.target}")
        return hello(request)

    world = World(respond)
    idle, blocker = world.client(GET), world.client(GET)
    late_client = SimClient(world.network, world.listener, "client-new")
    served.clear()
    blocker.send(GET.replace(b"/ ", b"/block "))
    world.run_until(lambda: bool(served))
    world.network.start(late_client.reading())
    world.until_gone()
    assert [one.status for one in idle.responses(())] == [200, 200]
    assert only(late_client).status == 200
    assert [one.body for one in blocker.responses(())][:2] == [b"hello", b"hello"]
    begins = [line for line in served if line.startswith("begin")]
    assert served == [line for one in begins for line in (one, one.replace("begin", "end"))]
    assert {client.end for client in (idle, blocker, late_client)} == {"fin"}


def test_shutting_down_takes_10_seconds_at_most() -> None:
    async def slow(request: BaseRequest) -> Response:
        await sleep(50)
        return Response()

    world = World(slow)
    client = world.client(GET)
    world.server.shut_down()
    assert world.until_gone() == pytest.approx(10, abs=0.1)
    world.run(1)
    assert client.end == "reset"


@pytest.mark.parametrize("how", ["a second call", "close"])
def test_a_connection_that_cannot_be_aborted_keeps_no_other_from_it(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow(request: BaseRequest) -> Response:
        await sleep(50)
        return Response()

    world = World(slow)
    clients = [world.client(GET) for _ in range(3)]
    first = next(iter(world.server.open_connections))
    abort = HttpConnection.abort

    def refuse(connection: HttpConnection) -> None:
        if connection is first:
            raise SystemExit
        abort(connection)

    monkeypatch.setattr(HttpConnection, "abort", refuse)
    if how == "close":
        world.server.close()
    else:
        world.server.shut_down()
        world.server.shut_down()
        assert world.reactor._stopping
        world.run(1)
        assert [client.end for client in clients] == ["", "reset", "reset"]
    assert list(world.server.open_connections) == [first]
    assert "could not be aborted" in caplog.text


def test_descriptors_that_have_run_out_come_back() -> None:
    world = World(hello)
    world.listener.exhausted_until = 1.0
    client = world.client(GET)
    assert not client.received
    world.run(2)
    assert only(client).body == b"hello"
