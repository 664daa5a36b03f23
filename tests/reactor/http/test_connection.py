"""One connection, state by state: what it waits for, for how long, and what happens then.

All of it runs in a calm simulation: the real server, no chance, and minutes that take no time.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from reactor import (
    Body,
    Cancelled,
    FileRegion,
    Future,
    MultiRegion,
    ProtocolError,
    Response,
    in_pool,
    sleep,
)
from reactor.files.file import WINDOW_BYTES
from reactor.http.connection import REQUESTS_PER_TURN
from reactor.http.response_writer import PIECES_PER_TURN
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
from reactor.messages.request import Request
from reactor.net.stream import PAUSED
from reactor.simulator import Faults, SimClient, SimFile, simulation
from tests.support.worlds import GET, SMALL_BUFFERS, only
from tests.support.worlds import CalmWorld as World

BYTE = 0.01  # seconds of slack around a deadline


def post(length: int, fields: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: sim\r\n%bContent-Length: %d\r\n\r\n" % (fields, length)


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


def hello(request: Request) -> Response:
    return Response(200, b"hello")


async def read_all(request: Request) -> Response:
    return Response(200, b"%d" % len(await request.body.read()))


async def count(request: Request) -> Response:
    size = 0
    async for piece in request.body:
        size += len(piece)
    return Response(200, b"%d" % size)


# --- the table of deadlines ----------------------------------------------------------------------


def test_idle_75_seconds_then_silence() -> None:
    world = World(hello)
    client = world.client()
    assert world.state is IDLE
    world.until_gone()
    assert (bytes(client.received), client.end) == (b"", "fin")
    assert client.end_time == pytest.approx(75, abs=0.1)


def test_idle_begins_again_with_each_answer() -> None:
    world = World(hello)
    client = world.client(GET)
    world.run(70)
    client.send(GET)
    world.until_gone()
    assert client.end_time == pytest.approx(145, abs=0.1)
    assert [answer.status for answer in client.responses(())] == [200, 200]


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


def test_a_body_error_is_the_answer_whatever_the_handler_makes_of_it() -> None:
    seen = []

    async def stubborn(request: Request) -> Response:
        for _ in range(2):
            try:
                await request.body.read(10)
            except ProtocolError as error:
                seen.append(error.status)
        return Response(200, b"fine")

    world = World(stubborn)
    client = world.client(post(10))
    world.until_gone()
    assert (seen, only(client).status) == ([408, 408], 408)


def test_handler_60_seconds_then_503() -> None:
    ended = []

    async def slow(request: Request) -> Response:
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
    async def slow(request: Request) -> Response:
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

    def answer(request: Request) -> Response:
        return Response(200, body if whole else iter([body[:30_000], body[30_000:]]))

    world = World(answer)
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    world.network.start(client.reading(lambda: (600, 1.0)))
    world.run(150)
    assert client.heard_time > 95
    assert only(client).body == body


def test_drain_what_the_kernel_has_swallowed_is_not_progress() -> None:
    """4 MiB of kernel buffers would hide a reader that has stopped."""
    world = World(lambda request: Response(200, iter([b"x" * 60_000] * 100)))
    world.client(GET, reads=False)
    assert world.state is DRAIN
    assert world.until_gone() == pytest.approx(20, abs=0.1)


def test_a_blocked_answer_is_drained_though_a_later_one_is_quick() -> None:
    """The answer before was blocked when this one came: its reader is watched all the same."""
    ready: Future[Response] = Future()

    def answer(request: Request) -> Response | Awaitable[Response]:
        return Response(200, b"x" * 20_000) if request.target == "/" else ready

    world = World(answer)
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


def test_linger_saves_the_answer_to_an_upload_that_goes_on() -> None:
    world = World(hello)
    client = world.client(post(100_000) + b"x" * 1000, reads=False)
    client.send(b"x" * 50_000)
    world.run(1)
    client.read()
    assert (only(client).body, only(client).fields["connection"]) == (b"hello", "close")


@pytest.mark.parametrize("begun", [True, False])
def test_half_closed_10_seconds_for_the_whole_answer(begun: bool) -> None:
    ended = []

    async def drops() -> AsyncIterator[bytes]:
        try:
            while True:
                await sleep(1)
                yield b"drop"
        finally:
            ended.append(world.network.time)

    async def slow(request: Request) -> Response:
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


def test_half_closed_in_time_is_answered_and_closed() -> None:
    flags = []

    async def answer(request: Request) -> Response:
        await sleep(5)
        flags.append(request.client_closed)
        return Response(200, b"hello")

    world = World(answer)
    client = world.client(GET + GET)
    client.half_close()
    world.until_gone()
    assert flags == [True, True]
    assert [answer.body for answer in client.responses(())] == [b"hello", b"hello"]
    assert client.end == "fin"


def test_half_closed_within_a_head_is_400() -> None:
    world = World(hello)
    client = world.client(GET + b"GET /")
    client.half_close()
    world.until_gone()
    assert [answer.status for answer in client.responses(())] == [200, 400]


def test_half_closed_within_a_body_is_400() -> None:
    world = World(count)
    client = world.client(post(10) + b"12345")
    client.half_close()
    world.until_gone()
    assert only(client).status == 400


# --- fairness ------------------------------------------------------------------------------------


def test_16_pipelined_requests_a_turn() -> None:
    calls = 0
    by_turn = []

    def answer(request: Request) -> Response:
        nonlocal calls
        calls += 1
        return Response(200, b"x")

    world = World(answer)

    def after_turn() -> None:
        nonlocal calls
        by_turn.append(calls)
        calls = 0

    world.reactor.after_turn = after_turn
    client = world.client(GET * 100)
    assert len(client.responses(())) == 100
    # A turn has one event and one call of each connection.
    assert max(by_turn) <= 2 * REQUESTS_PER_TURN


@pytest.mark.parametrize("is_async", [True, False])
def test_a_body_that_never_waits_does_not_hold_the_loop(is_async: bool) -> None:
    made = 0
    by_turn: list[int] = []

    async def endless_async() -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x"

    def endless() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x"

    def answer(request: Request) -> Response:
        if request.target == "/":
            return Response(200, endless_async() if is_async else endless())
        return Response(200, b"hello")

    world = World(answer)

    def after_turn() -> None:
        nonlocal made
        by_turn.append(made)
        made = 0

    world.reactor.after_turn = after_turn
    endless_client = world.client(GET)
    other = world.client(GET.replace(b"/ ", b"/other "))
    assert only(other).body == b"hello"
    assert 0 < max(by_turn) <= 2 * PIECES_PER_TURN
    endless_client.reset()
    world.run(1)


def test_a_timer_and_a_new_client_are_served_within_a_backlog_of_5000() -> None:
    served = 0
    timer_at: list[int] = []
    newcomer_at: list[int] = []

    def answer(request: Request) -> Response:
        nonlocal served
        served += 1
        world.network.time += 0.001
        if request.target == "/new":
            newcomer_at.append(served)
        if served == 1000:
            world.client_sends_in_passing(GET.replace(b"/ ", b"/new "))
        return Response(200, b"hello")

    class Busy(World):
        def client_sends_in_passing(self, data: bytes) -> None:
            client = SimClient(self.network, self.listener, "client-new")
            client.connect()
            client.send(data)

    world = Busy(answer)
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
    assert 1000 < newcomer_at[0] < 1200


def test_who_came_last_is_not_served_more_often_than_the_others() -> None:
    """Each of 512 clients asks again as soon as it is heard, so that the loop is always behind."""
    heard: Counter[str] = Counter()
    crowd: dict[str, SimClient] = {}

    def answer(request: Request) -> Response:
        heard[request.target] += 1
        if sum(heard.values()) < 8 * len(crowd):
            crowd[request.target].send(GET.replace(b"/ ", request.target.encode() + b" "))
        return Response(200, b"hello")

    world = World(answer)
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


# --- bodies are pulled ---------------------------------------------------------------------------


def test_100_leaves_at_the_first_pull_and_once() -> None:
    ready: Future[None] = Future()

    async def late(request: Request) -> Response:
        await ready
        return Response(200, b"%d" % len(await request.body.read()))

    world = World(late)
    client = world.client(post(10, b"Expect: 100-continue\r\n"))
    assert client.received == b""
    ready.set_result(None)
    world.run(0.01)
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"12345")
    world.run(0.01)
    client.send(b"67890")
    world.run(0.01)
    assert client.received.count(b"100 Continue") == 1
    assert only(client).body == b"10"


def test_no_100_for_who_has_not_waited() -> None:
    world = World(read_all)
    client = world.client(post(5, b"Expect: 100-continue\r\n") + b"12345")
    assert b"100 Continue" not in client.received
    assert only(client).body == b"5"


def test_no_100_after_a_final_answer() -> None:
    world = World(hello)
    client = world.client(post(10, b"Expect: 100-continue\r\n"))
    assert b"100 Continue" not in client.received
    assert only(client).fields["connection"] == "close"


# --- interim answers -----------------------------------------------------------------------------

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
LINK = [("Link", "</a>")]


def test_an_interim_answer_leaves_now_and_in_order() -> None:
    """Before the body has come, and before the 100 that the first pull says."""
    told: list[bool] = []

    async def hinting(request: Request) -> Response:
        told.append(request.body.inform(103, LINK))
        await sleep(1)
        size = len(await request.body.read(3))
        told.append(request.body.inform(104, [("Upload-Offset", str(size))]))
        return await read_all(request)

    world = World(hinting)
    client = world.client(post(10, b"Expect: 100-continue\r\n"))
    assert client.received == HINT
    world.run(2)
    assert client.received == HINT + b"HTTP/1.1 100 Continue\r\n\r\n"
    client.received.clear()
    client.send(b"123")
    world.run(0.1)
    offset = b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 3\r\n\r\n"
    assert client.received == offset
    client.send(b"4567890")
    world.run(0.1)
    assert client.received.startswith(offset + b"HTTP/1.1 200 OK\r\n")
    assert (only(client).body, told) == (b"7", [True, True])
    assert world.state is IDLE


def test_an_interim_answer_of_a_plain_handler_comes_before_its_answer() -> None:
    def hinting(request: Request) -> Response:
        assert request.body.inform(103, LINK)
        return hello(request)

    world = World(hinting)
    client = world.client(post(2) + b"12" + post(1) + b"1")
    first, second = client.received.split(HINT)[1:]
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "request_line", [b"GET / HTTP/1.1", b"POST / HTTP/1.0", b"PUT / HTTP/1.0", b"HEAD / HTTP/1.1"]
)
def test_no_interim_answer_to_http_10_nor_without_a_body(request_line: bytes) -> None:
    told: list[bool] = []

    async def hinting(request: Request) -> Response:
        told.append(request.body.inform(103, LINK))
        return await read_all(request)

    world = World(hinting)
    length = b"Content-Length: 5\r\n" if b"1.0" in request_line else b""
    head = b"%b\r\nHost: sim\r\nExpect: 100-continue\r\n%b\r\n" % (request_line, length)
    client = world.client(head)
    client.send(b"12345" if length else b"")
    world.run(0.1)
    assert told == [False]
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("how", ["answered", "streaming", "lost", "timed out", "408"])
def test_no_interim_answer_after_the_final_one(how: str) -> None:
    bodies: list[Body] = []
    told: list[bool] = []

    async def late(request: Request) -> Response:
        try:
            await sleep(100)
        except Cancelled:
            await sleep(0.5)
            told.append(request.body.inform(103, LINK))
        return Response()

    async def pieces(body: Body) -> AsyncIterator[bytes]:
        told.append(body.inform(103, LINK))
        yield b"piece"
        await sleep(1)
        told.append(body.inform(103, LINK))

    async def answer(request: Request) -> Response:
        bodies.append(request.body)
        if how == "streaming":
            return Response(200, pieces(request.body))
        if how == "answered":
            return hello(request)
        return await (read_all(request) if how == "408" else late(request))

    world = World(answer)
    client = world.client(post(10) + (b"x" if how == "408" else b"1234567890"))
    if how == "lost":
        client.reset()
    world.run(100)
    told.append(bodies[0].inform(103, LINK))
    world.run(1)
    assert set(told) == {False}
    assert b"103" not in client.received


def test_an_interim_answer_waits_its_turn_behind_what_is_blocked() -> None:
    """The answer before it has not left, and nothing of either is lost or mixed."""

    async def answer(request: Request) -> Response:
        if request.length == 0:
            return Response(200, b"x" * 30_000)
        for _ in range(20):
            assert request.body.inform(103, LINK)
            await request.body.read(1)
        return Response(200, b"y" * 100)

    world = World(answer)
    data = GET + post(20) + b"z" * 20 + GET
    client = world.client(data, reads=False, buffers=SMALL_BUFFERS)
    world.run(1)
    assert not client.received
    assert world.connection().transport.unsent
    world.network.start(client.reading())
    world.run(5)
    assert [len(one.body) for one in client.responses(())] == [30_000, 100, 30_000]
    assert client.received.count(HINT) == 20


@pytest.mark.parametrize(
    ("status", "fields"),
    [(103, [("X", "a\r\nY: b")]), (103, [("Content-Length", "5")]), (200, []), (101, [])],
)
def test_an_interim_answer_that_is_wrong_is_not_sent(
    status: int, fields: list[tuple[str, str]]
) -> None:
    async def wrong(request: Request) -> Response:
        request.body.inform(status, fields)
        return Response()

    world = World(wrong)
    client = world.client(post(1) + b"x" + GET)
    assert [answer.status for answer in client.responses(())] == [500, 200]
    assert client.received.startswith(b"HTTP/1.1 500 ")


def test_a_body_that_is_there_and_unread_is_dropped_and_the_connection_kept() -> None:
    world = World(hello)
    client = world.client(post(5) + b"12345" + GET)
    assert [answer.fields.get("connection") for answer in client.responses(())] == [None, None]
    assert world.state is IDLE


def test_nothing_is_read_while_nobody_pulls() -> None:
    pull: Future[None] = Future()

    async def late(request: Request) -> Response:
        await pull
        return await count(request)

    world = World(late, handler_timeout=0)
    client = world.client(post(400_000), buffers=(65536, 65536, 65536, 65536))
    world.network.start(client.sending(b"x" * 400_000))
    world.run(10)
    assert len(world.connection().parser.buffer) <= 65536
    assert world.connection().transport.input is PAUSED
    pull.set_result(None)
    world.run(10)
    assert only(client).body == b"400000"


def test_bodies_in_memory_wait_for_room() -> None:
    world = World(read_all, memory_body_bytes=1000, memory_bodies_bytes=1500)
    first = world.client(post(1000) + b"x" * 500)
    second = world.client(post(1000) + b"x" * 1000)
    assert not second.received
    first.send(b"x" * 500)
    world.run(0.1)
    assert (only(first).body, only(second).body) == (b"1000", b"1000")
    assert world.server.snapshot().body_bytes == 0


@pytest.mark.parametrize("who", ["first", "second", "both"])
def test_memory_is_given_back_by_who_leaves(who: str) -> None:
    world = World(read_all, memory_body_bytes=1000, memory_bodies_bytes=1500)
    first = world.client(post(1000) + b"x" * 500)
    second = world.client(post(1000) + b"x" * 1000)
    third = world.client(post(1000) + b"x" * 1000)
    if who != "second":
        first.reset()
    if who != "first":
        second.reset()
    world.run(0.1)
    if who != "second":
        assert only(third).body == b"1000"
        assert world.server.snapshot().body_bytes == 0


def test_a_body_larger_than_may_be_held_is_413() -> None:
    world = World(read_all, memory_body_bytes=1000)
    assert only(world.client(post(1001))).status == 413
    head = b"POST / HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = world.client(head + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n")
    assert only(chunked).status == 413


# --- the end of a handler ------------------------------------------------------------------------


def test_a_handler_is_cancelled_when_its_client_resets() -> None:
    events: list[str] = []

    async def slow(request: Request) -> Response:
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

    async def slow(request: Request) -> Response:
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


@pytest.mark.parametrize("is_async", [True, False])
def test_a_body_is_closed_when_its_client_leaves(is_async: bool) -> None:
    events: list[str] = []

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            events.append("closed")

    async def async_pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                await sleep(1)
                yield b"x" * 1000
        finally:
            events.append("closed")

    world = World(lambda request: Response(200, async_pieces() if is_async else pieces()))
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    world.run(3)
    client.reset()
    world.run(3)
    assert events == ["closed"]


def _raises() -> Iterator[bytes]:
    yield b"some"
    raise ValueError("in the middle")


@pytest.mark.parametrize(
    "response",
    [
        lambda: Response(200, _raises()),
        lambda: Response(200, iter([b"some"]), [("Content-Length", "5")]),
        lambda: Response(200, iter([b"some", b"more"]), [("Content-Length", "5")]),
        lambda: Response(200, iter([b"some", "more"])),  # type: ignore[arg-type]
    ],
)
def test_what_fails_after_the_head_is_reset(response: Callable[[], Response]) -> None:
    world = World(lambda request: response())
    client = world.client(GET)
    (answer,) = client.responses(())
    assert (answer.whole, client.end) == (False, "reset")
    assert not world.server.connections


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
def test_what_cannot_be_sent_is_500_and_the_connection_kept(response: Response) -> None:
    world = World(lambda request: response if request.target == "/" else hello(request))
    client = world.client(GET + GET.replace(b"/ ", b"/hello "))
    assert [answer.status for answer in client.responses(())] == [500, 200]


def test_a_handler_that_raises_is_500_and_the_connection_kept() -> None:
    async def fails(request: Request) -> Response:
        await sleep(1)
        raise SystemExit(3)

    world = World(fails)
    client = world.client(GET + GET)
    world.run(5)
    assert [answer.status for answer in client.responses(())] == [500, 500]


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("coldness", [0.0, 1.0])
@pytest.mark.parametrize("size", [0, 10, 100_000, 1_000_000])
def test_a_file_comes_whole_hot_or_cold(coldness: float, size: int) -> None:
    content = bytes(range(256)) * 4000
    world = World(lambda request: Response(200, FileRegion(file.hold(), 100, size)))
    file = SimFile(world.network, content, coldness=coldness)
    client = world.client(GET)
    world.run(5)
    assert only(client).body == content[100 : 100 + size]
    assert file.holders == 1


def parts(file: SimFile) -> MultiRegion:
    return MultiRegion(
        [
            b"begin ",
            FileRegion(file.hold(), 10, 100),
            b" middle ",
            FileRegion(file.hold(), WINDOW_BYTES - 50_000, 150_000),
            FileRegion(file.hold(), 0, 0),
            b"",
            b" end",
        ]
    )


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("coldness", [0.0, 1.0])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_parts_come_whole_hot_or_cold(method: str, coldness: float, minor: int) -> None:
    content = bytes(range(256)) * (WINDOW_BYTES // 256 + 600)
    world = World(lambda request: Response(206, parts(file)))
    file = SimFile(world.network, content, coldness=coldness)
    get = b"%b / HTTP/1.%d\r\nHost: sim\r\nConnection: keep-alive\r\n\r\n"
    client = world.client(get % (method.encode(), minor) * 2)
    world.run(5)
    begin = WINDOW_BYTES - 50_000
    expected = b"begin %b middle %b end" % (content[10:110], content[begin : begin + 150_000])
    responses = client.responses([method, method])
    assert [one.body for one in responses] == [expected if method == "GET" else b""] * 2
    for answer in responses:
        assert answer.fields["content-length"] == str(len(expected))
        assert "transfer-encoding" not in answer.fields
    assert file.holders == 1
    assert world.state is IDLE


@pytest.mark.parametrize("status", [204, 304, 500])
@pytest.mark.parametrize("body", ["parts", "region", "nothing"])
def test_parts_and_files_that_are_not_wanted_are_let_go(status: int, body: str) -> None:
    """By an answer that has no body, and by one that cannot be sent."""

    def answer(request: Request) -> Response:
        fields = [("Bad Name", "x")] if status == 500 else []
        if body == "parts":
            return Response(status, parts(file), fields)
        region = FileRegion(file.hold(), 0, 0 if body == "nothing" else 100)
        return Response(status, region, fields)

    world = World(lambda request: answer(request) if request.target == "/" else hello(request))
    file = SimFile(world.network, bytes(2 * WINDOW_BYTES))
    client = world.client(GET + GET.replace(b"/ ", b"/next "))
    found = status if status != 204 or body == "nothing" else 500  # a 204 has no length
    assert [one.status for one in client.responses(())] == [found, 200]
    assert file.holders == 1


@pytest.mark.parametrize("coldness", [0.0, 1.0])
@pytest.mark.parametrize("seconds", [0.0001, 0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("how", ["reset", "leave", "server"])
def test_who_leaves_in_the_middle_of_parts_lets_go_of_all(
    how: str, seconds: float, coldness: float
) -> None:
    world = World(lambda request: Response(206, parts(file)), Faults(job_seconds=lambda: 0.01))
    file = SimFile(world.network, bytes(2 * WINDOW_BYTES), coldness=coldness)
    client = SimClient(world.network, world.listener, "client", SMALL_BUFFERS)
    client.connect()
    client.send(GET)
    world.network.start(client.reading(lambda: (4096, 0.002)))
    world.run(seconds)
    if how == "server":
        for connection in tuple(world.server.open_connections):
            connection.abort()
    elif how == "reset":
        client.reset()
    else:
        client.close()
    world.run(30)
    assert not world.server.connections
    assert file.holders == 1


def test_a_file_among_parts_that_has_become_shorter_is_reset() -> None:
    world = World(lambda request: Response(206, parts(file)))
    file = SimFile(world.network, bytes(WINDOW_BYTES))
    client = world.client(GET)
    world.run(5)
    assert client.end == "reset"
    assert not client.responses(())[0].whole
    assert file.holders == 1


def test_a_short_file_leaves_with_its_head() -> None:
    """One send for the two; and a 1.0 client is told that the connection is kept, or closed."""
    world = World(lambda request: Response(200, FileRegion(file.hold(), 0, 10)))
    file = SimFile(world.network, b"0123456789")
    for version, kept in ((b"1.1", True), (b"1.0", False)):
        before = len(world.network.trace)
        client = world.client(GET.replace(b"1.1", version))
        assert only(client).body == b"0123456789"
        assert only(client).fields["content-length"] == "10"
        sends = [what for who, what in sent_by_server(world, before)]
        assert len(sends) == 1
        assert (only(client).fields.get("connection") != "close") == kept
    assert file.holders == 1


def sent_by_server(world: World, since: int) -> list[tuple[str, str]]:
    return [
        (who, what)
        for _, who, what in world.network.trace[since:]
        if who.endswith("'s server") and what.startswith("send ")
    ]


def test_a_file_that_is_not_wanted_is_let_go() -> None:
    world = World(lambda request: Response(200, FileRegion(file.hold(), 0, 10)))
    file = SimFile(world.network, b"x" * 10)
    client = world.client(GET.replace(b"GET", b"HEAD"))
    assert only(client, "HEAD").fields["content-length"] == "10"
    assert file.holders == 1


def test_a_file_that_has_become_shorter_is_reset() -> None:
    world = World(lambda request: Response(200, FileRegion(file.hold(), 0, 500_000)))
    file = SimFile(world.network, b"x" * 300_000)
    client = world.client(GET)
    world.run(5)
    assert client.end == "reset"
    assert file.holders == 1


def test_nothing_follows_a_file_that_has_become_shorter() -> None:
    """What could not be sent is not taken for sent: no next request, and no plain close."""
    targets = []

    def answer(request: Request) -> Response:
        targets.append(request.target)
        return Response(200, FileRegion(file.hold(), 0, 100_000))

    world = World(answer)
    file = SimFile(world.network, b"x" * 100_000)
    data = GET + GET.replace(b"/ ", b"/next ")
    client = world.client(data, reads=False, buffers=SMALL_BUFFERS)
    client.half_close()
    world.run(0.1)
    assert world.state is DRAIN
    file.shrink(50_000)
    world.network.start(client.reading())
    world.run(1)
    assert (targets, client.end) == (["/"], "reset")
    assert file.holders == 1


def test_a_client_that_leaves_while_the_disk_works_lets_go_of_the_file() -> None:
    world = World(
        lambda request: Response(200, FileRegion(file.hold(), 0, 10)),
        Faults(job_seconds=lambda: 5.0),
    )
    file = SimFile(world.network, b"x" * 10, coldness=1.0)
    world.client(GET).reset()
    world.run(1)
    assert file.holders == 2, "the job's"
    world.run(5)
    assert file.holders == 1


def test_a_job_without_a_place_is_503_after_5_seconds() -> None:
    async def job(request: Request) -> Response:
        return Response(200, await in_pool(lambda: b"done"))

    world = World(job, Faults(job_seconds=lambda: 50.0), pool_threads=1, pool_jobs=1)
    clients = [world.client(GET) for _ in range(3)]
    world.run(10)
    assert clients[2].heard_time == pytest.approx(5, abs=0.1)
    assert only(clients[2]).status == 503


# --- the server's end ----------------------------------------------------------------------------


def test_too_many_clients_are_told_so() -> None:
    world = World(hello, connections=1)
    world.client()
    client = world.client()
    answer = only(client)
    assert (answer.status, answer.fields["retry-after"]) == (503, "1")
    assert client.end == "fin"


def test_shutting_down_closes_the_idle_and_answers_the_others() -> None:
    async def slow(request: Request) -> Response:
        await sleep(5)
        return Response(200, b"done")

    world = World(slow)
    idle, busy = world.client(), world.client(GET + GET)
    world.server.shut_down()
    world.run(1)
    assert (idle.end, busy.end) == ("fin", "")
    world.run(5)
    answer = only(busy)
    assert (answer.body, answer.fields["connection"]) == (b"done", "close")
    late = SimClient(world.network, world.listener, "client-late")
    assert not late.connect()


def test_shutting_down_takes_10_seconds_at_most() -> None:
    async def slow(request: Request) -> Response:
        await sleep(50)
        return Response()

    world = World(slow)
    client = world.client(GET)
    world.server.shut_down()
    assert world.until_gone() == pytest.approx(10, abs=0.1)
    world.run(1)
    assert client.end == "reset"


def test_descriptors_that_have_run_out_come_back() -> None:
    world = World(hello)
    world.listener.exhausted_until = 1.0
    client = world.client(GET)
    assert not client.received
    world.run(2)
    assert only(client).body == b"hello"


# --- the table of transitions --------------------------------------------------------------------


def test_every_state_has_its_row_and_closed_is_the_end() -> None:
    assert set(TRANSITIONS) == set(ConnectionState)
    assert {state for row in TRANSITIONS.values() for state in row} == set(ConnectionState)
    assert not TRANSITIONS[ConnectionState.CLOSED]
