"""States: the event that each waits for, the deadline, and what happens when it passes.

All of it runs in a calm simulation: the real server, no chance, and minutes that take no time.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Iterator

import pytest

from reactor import (
    Future,
    Response,
    sleep,
)
from reactor.http.states import (
    BODY,
    DRAIN,
    HANDLER,
    HEAD,
    IDLE,
    LINGER,
    PRODUCE,
    TRANSITIONS,
    ConnectionState,
)
from reactor.messages.request import BaseRequest
from reactor.simulator import simulation
from reactor.simulator.world import SimTransport
from tests.support.handlers import count, hello
from tests.support.worlds import GET, SMALL_BUFFERS, only, post
from tests.support.worlds import CalmWorld as World


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


# --- the table of transitions ---------------------------------------------------------------------


def test_every_state_has_its_row_and_closed_is_the_end() -> None:
    assert set(TRANSITIONS) == set(ConnectionState)
    assert {state for row in TRANSITIONS.values() for state in row} == set(ConnectionState)
    assert not TRANSITIONS[ConnectionState.CLOSED]


# --- the table of deadlines -----------------------------------------------------------------------


def test_idle_75_seconds_then_silence() -> None:
    world = World(hello)
    client = world.client()
    assert world.state is IDLE
    world.until_gone()
    assert (bytes(client.received), client.end) == (b"", "fin")
    assert client.end_time == pytest.approx(75, abs=0.1)


def test_idle_begins_again_with_each_response() -> None:
    world = World(hello)
    client = world.client(GET)
    world.run(70)
    client.send(GET)
    world.until_gone()
    assert client.end_time == pytest.approx(145, abs=0.1)
    assert [response.status for response in client.responses(())] == [200, 200]


def test_head_10_seconds_from_its_first_byte_though_it_drips() -> None:
    world = World(hello)
    client = world.client()
    world.run(50 - world.network.time)
    client.send(b"G")
    world.run(0.01)
    assert world.state is HEAD
    world.drip(client, b"ET / HTTP/1.1\r\nHost: ", 1, 0.9)
    world.run_until(lambda: world.state is LINGER)
    world.run(0.1)
    assert client.heard_time == pytest.approx(60, abs=0.1)
    assert (only(client).status, only(client).fields["connection"]) == (408, "close")


def test_body_that_stalls_is_408_after_20_seconds() -> None:
    world = World(count)
    client = world.client(post(10_000) + b"x" * 100)
    assert world.state is BODY
    world.run_until(lambda: world.state is LINGER)
    world.run(0.1)
    assert client.heard_time == pytest.approx(20, abs=0.5)
    assert only(client).status == 408


def test_body_that_drips_is_408_little_later() -> None:
    world = World(count)
    client = world.client(post(10_000))
    world.drip(client, b"x" * 10_000, 10, 1.0)
    world.until_gone()
    assert 20 < client.heard_time < 22
    assert only(client).status == 408


def test_body_at_600_bytes_a_second_is_not_cut() -> None:
    world = World(count)
    client = world.client(post(60_000))
    world.drip(client, b"x" * 60_000, 600, 1.0)
    world.run(110)
    assert client.heard_time > 99
    assert (only(client).status, only(client).body) == (200, b"60000")


def test_handler_60_seconds_then_503() -> None:
    ended = []

    async def slow(request: BaseRequest) -> Response:
        try:
            await sleep(100)
        finally:
            ended.append(world.network.time)
        return Response()

    world = World(slow)
    client = world.client(GET)
    assert world.state is HANDLER
    world.run_until(lambda: world.state is LINGER)
    world.run(0.1)
    assert client.heard_time == pytest.approx(60, abs=0.1)
    assert ended == [pytest.approx(60, abs=0.1)]
    assert (only(client).status, only(client).fields["connection"]) == (503, "close")
    world.until_gone()
    world.invariants.check_rest()


def test_handler_timeout_0_is_none() -> None:
    async def slow(request: BaseRequest) -> Response:
        await sleep(1000)
        return Response(200, b"at last")

    world = World(slow, handler_timeout=0)
    client = world.client(GET)
    world.run(1001)
    assert only(client).body == b"at last"


def test_produce_has_no_deadline() -> None:
    async def quiet() -> AsyncIterator[bytes]:
        yield b"one"
        await sleep(500)
        yield b"two"

    world = World(lambda request: Response(200, quiet()))
    client = world.client(GET)
    assert world.state is PRODUCE
    assert world.connection().transport.deadline == float("inf")
    world.run(501)
    assert only(client).body == b"onetwo"


def test_drain_a_reader_that_stops_is_reset_after_20_seconds() -> None:
    world = World(lambda request: Response(200, b"x" * 100_000))
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    assert world.state is DRAIN
    assert world.until_gone() == pytest.approx(20, abs=0.2)
    assert client.socket is not None
    assert client.socket.lost


def test_drain_a_reader_of_one_byte_a_minute_is_cut() -> None:
    world = World(lambda request: Response(200, b"x" * 100_000), min_rate_timeout=100)
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    world.network.start(client.reading(lambda: (1, 60.0)))
    assert 99 < world.until_gone() < 130
    assert client.socket is not None
    assert client.socket.lost


@pytest.mark.parametrize("whole", [True, False])
def test_drain_a_slow_but_steady_reader_is_not_cut(whole: bool) -> None:
    body = b"x" * 60_000

    def respond(request: BaseRequest) -> Response:
        return Response(200, body if whole else iter([body[:30_000], body[30_000:]]))

    world = World(respond)
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    world.network.start(client.reading(lambda: (600, 1.0)))
    world.run(150)
    assert client.heard_time > 95
    assert only(client).body == body


def bytewise(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x"


def test_drain_seconds_are_not_given_anew_with_each_piece() -> None:
    """A reader below the minimum rate makes room for many small pieces, and is cut all the same."""
    world = World(lambda request: Response(200, bytewise(100_000)))
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    world.network.start(client.reading(lambda: (100, 1.0)))
    assert world.until_gone() < 40
    assert client.socket is not None
    assert client.socket.lost


def piecewise(count: int, size: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * size


PAUSES = {
    "steady": [1.0],
    "bursts": [13.0],
    "short ones, whose bytes are not asked for, before a long one": [9.0, 9.0, 13.0],
    "a long one after many bytes": [0.1, 0.1, 13.0],
}


@pytest.mark.parametrize("size", [1, 700, 5000, 20_000])
@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
def test_drain_a_reader_in_bursts_within_the_rate_is_not_cut(
    pauses: list[float], size: int
) -> None:
    """However many pieces it takes in one of its bursts, and between two of them."""
    count = 40_000 // size if size > 1 else 8000
    world = World(lambda request: Response(200, piecewise(count, size)))
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    turns = itertools.cycle(pauses)

    def burst() -> tuple[int, float]:
        pause = next(turns)
        return int(600 * max(pause, 1.0)), pause

    world.network.start(client.reading(burst))
    world.run(400)
    assert only(client).body == b"x" * count * size


@pytest.mark.parametrize("size", [100, 700, 5000, 20_000])
@pytest.mark.parametrize("burst", [1, 500, 5000, 50_000])
def test_drain_a_reader_that_stops_after_a_burst_is_cut(burst: int, size: int) -> None:
    """At most the seconds that it has, and those that its burst has earned."""
    world = World(lambda request: Response(200, piecewise(10_000_000 // size, size)))
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    portions = itertools.chain([(burst, 1.0)] * 10, itertools.repeat((1, 60.0)))
    world.network.start(client.reading(lambda: next(portions)))
    world.run(10)
    assert world.until_gone() < 2 * 20 + 1
    assert client.socket is not None
    assert client.socket.lost


@pytest.mark.parametrize("size", [1, 700, 20_000])
def test_drain_the_kernel_is_asked_once_for_a_reader_that_keeps_up(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask = SimTransport.unacknowledged

    def unacknowledged(transport: SimTransport) -> int:
        asked.append(ask(transport))
        return asked[-1]

    monkeypatch.setattr(SimTransport, "unacknowledged", unacknowledged)
    count = 10_000 if size == 1 else 200_000 // size
    world = World(lambda request: Response(200, piecewise(count, size)))
    client = world.client(GET, buffers=SMALL_BUFFERS)
    world.run(20)
    assert len(only(client).body) == count * size
    assert len(asked) == 1


def test_drain_the_framing_of_a_response_counts() -> None:
    """The server has chosen it, and the peer reads at more than the minimum rate."""
    world = World(lambda request: Response(200, bytewise(10_000)))
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    world.network.start(client.reading(lambda: (600, 1.0)))
    world.run(200)
    assert only(client).body == b"x" * 10_000


def test_drain_bytes_in_the_buffers_of_the_kernel_are_not_progress() -> None:
    """Otherwise 4 MiB of kernel buffers would hide a reader that has stopped."""
    world = World(lambda request: Response(200, iter([b"x" * 60_000] * 100)))
    world.client(GET, reads=False)
    assert world.state is DRAIN
    assert world.until_gone() == pytest.approx(20, abs=0.1)


def test_a_blocked_response_is_drained_though_a_later_one_is_quick() -> None:
    """The response before was blocked when this one came: the reader must still keep its rate."""
    ready: Future[Response] = Future()

    def respond(request: BaseRequest) -> Response | Awaitable[Response]:
        return Response(200, b"x" * 20_000) if request.target == "/" else ready

    world = World(respond)
    world.client(GET + GET.replace(b"/ ", b"/later "), reads=False, buffers=SMALL_BUFFERS)
    assert world.state is HANDLER
    ready.set_result(Response(200, b"later"))
    world.run(0.01)
    assert world.state is DRAIN
    assert world.until_gone() == pytest.approx(20, abs=0.1)


def test_linger_2_seconds_after_the_last_byte() -> None:
    world = World(hello)
    client = world.client(b"nonsense\r\n\r\n")
    assert world.state is LINGER
    world.run(1)
    client.send(b"more")
    assert world.until_gone() == pytest.approx(2, abs=0.1)
    assert (only(client).status, client.end) == (400, "fin")


def test_linger_30_seconds_at_most() -> None:
    world = World(hello)
    client = world.client(b"nonsense\r\n\r\n")
    world.drip(client, b"x" * 100, 1, 1.0)
    assert world.until_gone() == pytest.approx(30, abs=0.1)


def test_linger_ends_with_the_peers_fin() -> None:
    world = World(hello)
    client = world.client(b"nonsense\r\n\r\n")
    client.half_close()
    assert world.until_gone() < 0.1


def test_linger_saves_the_response_to_an_upload_that_goes_on() -> None:
    world = World(hello)
    client = world.client(post(100_000) + b"x" * 1000, reads=False)
    client.send(b"x" * 50_000)
    world.run(1)
    client.read()
    assert (only(client).body, only(client).fields["connection"]) == (b"hello", "close")


@pytest.mark.parametrize("begun", [True, False])
def test_half_closed_10_seconds_for_the_whole_response(begun: bool) -> None:
    ended = []

    async def drops() -> AsyncIterator[bytes]:
        try:
            while True:
                await sleep(1)
                yield b"drop"
        finally:
            ended.append(world.network.time)

    async def slow(request: BaseRequest) -> Response:
        if begun:
            return Response(200, drops())
        try:
            await sleep(50)
        finally:
            ended.append(world.network.time)
        return Response()

    world = World(slow)
    client = world.client(GET)
    client.half_close()
    world.until_gone()
    assert ended == [pytest.approx(10, abs=0.1)]
    assert client.end == "reset"


def test_half_closed_in_time_gets_its_responses_and_is_closed() -> None:
    flags = []

    async def respond(request: BaseRequest) -> Response:
        await sleep(5)
        flags.append(request.client_closed)
        return Response(200, b"hello")

    world = World(respond)
    client = world.client(GET + GET)
    client.half_close()
    world.until_gone()
    assert flags == [True, True]
    assert [response.body for response in client.responses(())] == [b"hello", b"hello"]
    assert client.end == "fin"


def test_half_closed_within_a_head_is_400() -> None:
    world = World(hello)
    client = world.client(GET + b"GET /")
    client.half_close()
    world.until_gone()
    assert [response.status for response in client.responses(())] == [200, 400]


def test_half_closed_within_a_body_is_400() -> None:
    world = World(count)
    client = world.client(post(10) + b"12345")
    client.half_close()
    world.until_gone()
    assert only(client).status == 400
