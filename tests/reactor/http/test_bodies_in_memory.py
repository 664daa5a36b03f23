"""Bodies that are read whole share memory: by what has arrived, and nobody takes all of it.

All of it runs in a calm simulation, whose clients have an address each unless they say otherwise.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from reactor import Cancelled, Limits, ProtocolError, Response, gather, sleep, timeout
from reactor.http.states import DRAIN, HANDLER, IDLE
from reactor.messages.request import BaseRequest
from reactor.simulator import SimClient, SimNetwork, SimWorld, simulation
from reactor.simulator.network import Script
from tests.support.handlers import hello, read_all
from tests.support.worlds import GET, SMALL_BUFFERS, only, post
from tests.support.worlds import CalmWorld as World

SMALL = 1000  # bytes that a body has for itself
LARGEST = 10_000
CHUNKED = b"POST / HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n"
OLD = b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


def world_of(
    bodies: float, handler: Callable[[BaseRequest], Awaitable[Response]] = read_all, **limits: Any
) -> World:
    """A world whose memory has room for so many bodies beyond their small beginning."""
    chosen: dict[str, Any] = {
        "small_body_bytes": SMALL,
        "memory_body_bytes": LARGEST,
        "memory_bodies_bytes": int(bodies * LARGEST),
        "memory_client_bytes": int(bodies * LARGEST),
        **limits,
    }
    return World(handler, **chosen)


def whole(size: int) -> bytes:
    return post(size) + b"x" * size


def half(world: World, address: str = "", size: int = LARGEST, sent: int = 6000) -> SimClient:
    """A client that has sent a part of its body."""
    return world.client(post(size) + b"x" * sent, address=address)


def full(bodies: int, **limits: Any) -> tuple[World, list[SimClient]]:
    """A world that holds so many unfinished bodies, and has room for 1,001 bytes."""
    world = world_of(bodies, **limits)
    clients = [half(world, sent=LARGEST - 1) for _ in range(bodies)]
    assert world.server.snapshot().body_bytes == bodies * (LARGEST - 1 - SMALL)
    return world, clients


# --- what is announced takes nothing -------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        post(LARGEST),
        CHUNKED,
        CHUNKED + b"2710\r\n",
        post(LARGEST, b"Expect: 100-continue\r\n"),
        post(LARGEST) + b"x" * SMALL,
        CHUNKED + b"1;%b\r\nx\r\n" % (b"e" * 240) * 100,
    ],
    ids=["length", "chunked", "a chunk's size", "100", "a beginning", "framing"],
)
@pytest.mark.parametrize("address", ["", "same"])
def test_bodies_that_do_not_come_hold_up_nobody(data: bytes, address: str) -> None:
    world = world_of(2)
    for _ in range(64):
        world.client(data, address=address)
    assert world.server.snapshot().body_bytes == 0
    for size in (SMALL, LARGEST):
        assert only(world.client(whole(size), address=address)).body == b"%d" % size


def test_bodies_that_drip_hold_up_nobody() -> None:
    """64 clients send at the minimum rate; what they have sent is far less than the memory."""
    world = world_of(20)
    for _ in range(64):
        client = world.client(post(LARGEST))
        world.drip(client, b"x" * LARGEST, 520, 1.0)
    for _ in range(5):
        world.run(0.5)
        assert only(world.client(whole(LARGEST))).body == b"10000"


def test_small_bodies_never_wait() -> None:
    world, _ = full(2)
    for address in ("", "client-1"):
        for data in (whole(SMALL), CHUNKED + b"3e8\r\n" + b"x" * SMALL + b"\r\n0\r\n\r\n"):
            assert only(world.client(data, address=address)).body == b"1000"
    assert world.server.snapshot().body_waiters == 0
    large = world.client(whole(SMALL + 1002))
    assert not large.received
    assert world.server.snapshot().body_waiters == 1


def test_two_bytes_at_a_time_cost_no_object_for_each() -> None:
    """A list of pieces of two bytes each would take twenty times as much as is counted."""
    world = world_of(2)
    client = world.client(CHUNKED)
    for _ in range(10):
        client.send(b"2\r\nxx\r\n" * 100)
        world.run(0.01)
    assert world.server.snapshot().body_bytes == 2000 - SMALL
    client.send(b"0\r\n\r\n")
    world.run(0.01)
    assert only(client).body == b"2000"


# --- waiting for room ----------------------------------------------------------------------------


def test_a_body_without_room_waits_and_its_socket_is_not_read() -> None:
    world, clients = full(2)
    waiting = world.client(whole(LARGEST))
    *_, connection = world.server.open_connections
    assert connection.state is HANDLER
    assert not waiting.received
    clients[0].send(b"x")
    world.run(0.1)
    assert only(waiting).body == b"10000"
    assert world.server.snapshot().body_bytes == LARGEST - 1 - SMALL


def test_bodies_that_are_half_there_do_not_wait_for_each_other() -> None:
    """Each holds more than half of a body, and there is memory for three."""
    world = world_of(3)
    clients = [half(world, size=LARGEST, sent=4000) for _ in range(6)]
    for client in clients:
        client.send(b"x" * (LARGEST - 4000))
    world.run(1)
    assert [only(client).body for client in clients] == [b"10000"] * 6
    assert world.server.snapshot().body_bytes == 0


@pytest.mark.parametrize("bodies", [0.0001, 0.5, 1, 1.5])
@pytest.mark.parametrize("address", ["", "same"])
def test_memory_that_is_smaller_than_a_body_is_for_one_at_a_time(
    bodies: float, address: str
) -> None:
    world = world_of(bodies)
    clients = [half(world, address) for _ in range(5)]
    for client in clients:
        client.send(b"x" * 4000)
    world.run(1)
    assert [only(client).body for client in clients] == [b"10000"] * 5


def test_a_body_that_waits_too_long_is_503() -> None:
    world, clients = full(2, memory_timeout=3)
    waiting = world.client(whole(LARGEST))
    for client in clients:
        world.drip(client, b"xx", 1, 2.9)  # the first byte ends the body, and the second is spare
    world.run(2.8)
    assert not waiting.received
    world.run(5)
    assert only(waiting).body == b"10000"

    world, clients = full(2, memory_timeout=3)
    waiting = world.client(whole(LARGEST))
    world.run(3.1)
    response = only(waiting)
    assert (response.status, response.fields["retry-after"]) == (503, "1")
    assert b"There is no memory for the request" in response.body
    assert world.server.snapshot().body_waiters == 0
    for client in clients:
        client.send(b"x")
    world.run(0.1)
    assert world.server.snapshot().body_bytes == 0


def test_all_waits_of_a_body_count_together() -> None:
    """Otherwise it may wait for each of its pieces, and 503 comes after minutes."""
    world, (first, second) = full(2, memory_timeout=5)
    waiting = world.client(post(LARGEST) + b"x" * 2500)  # 1,500 bytes, and there is room for 1,001
    world.run(3)
    second.reset()
    world.run(0.1)
    assert world.server.snapshot().body_waiters == 0
    half(world, sent=LARGEST - 2000)
    waiting.send(b"x" * (LARGEST - 2500))
    world.run(1.5)
    assert not waiting.received
    world.run(0.5)
    assert only(waiting).status == 503
    assert not first.received


def test_the_deadline_of_the_handler_counts_while_its_body_waits() -> None:
    world, _ = full(2, memory_timeout=30, handler_timeout=2, slow_body_timeout=100)
    waiting = world.client(whole(LARGEST))
    world.run(2.1)
    response = only(waiting)
    assert (response.status, response.fields.get("retry-after")) == (503, None)
    assert world.server.snapshot().body_waiters == 0


@pytest.mark.parametrize("how", ["reset", "fin", "timeout", "cancelled"])
def test_a_reader_that_leaves_gives_up_its_place(how: str) -> None:
    ends: list[str] = []

    async def read_or_not(request: BaseRequest) -> Response:
        try:
            if how == "timeout":
                await timeout(1, request.body.read())
            elif how == "cancelled":
                await gather(request.body.read(), fail_soon())
        except (TimeoutError, LookupError) as error:
            ends.append(type(error).__name__)
            return Response(200, b"left")
        try:
            return await read_all(request)
        except Cancelled:
            ends.append("Cancelled")
            raise

    async def fail_soon() -> None:
        await sleep(1)
        raise LookupError

    world = world_of(2, read_or_not if how in ("timeout", "cancelled") else read_all)
    clients = [half(world, sent=LARGEST - 1) for _ in range(2)]
    leaving = world.client(whole(LARGEST))
    assert world.server.snapshot().body_waiters == 1
    if how == "reset":
        leaving.reset()
    elif how == "fin":
        leaving.half_close()
    world.run(1.5)
    if how != "fin":
        assert world.server.snapshot().body_waiters == 0
    for client in clients:
        client.send(b"x")
    world.run(0.2)
    if how == "fin":
        assert only(leaving).body == b"10000"
    assert world.server.snapshot().body_bytes == 0


@pytest.mark.parametrize("who", ["holder", "waiter", "both"])
def test_memory_is_released_by_a_client_that_leaves(who: str) -> None:
    world, (first, second) = full(2)
    waiting, third = world.client(whole(LARGEST)), world.client(whole(LARGEST))
    if who != "waiter":
        first.reset()
    if who != "holder":
        waiting.reset()
    world.run(0.1)
    if who == "waiter":
        assert not third.received
        second.send(b"x")
        world.run(0.1)
    assert only(third).body == b"10000"


def test_a_shutdown_serves_the_bodies_that_wait() -> None:
    world, clients = full(2)
    waiting = world.client(whole(LARGEST))
    world.server.shut_down()
    world.run(1)
    for client in clients:
        client.send(b"x")
    world.run(1)
    for client in (*clients, waiting):
        response = only(client)
        assert (response.body, response.fields["connection"]) == (b"10000", "close")


def test_a_shutdown_that_lasts_too_long_ends_the_bodies_that_wait() -> None:
    world, _ = full(2, shutdown_timeout=1, memory_timeout=30)
    waiting = world.client(whole(LARGEST))
    world.server.shut_down()
    world.run(3)
    assert waiting.end == "reset"
    assert (world.server.snapshot().body_bytes, world.server.snapshot().body_waiters) == (0, 0)


def test_pipelined_requests_follow_a_body_that_has_waited() -> None:
    world, clients = full(2)
    waiting = world.client(whole(LARGEST) + whole(LARGEST) + whole(5) + post(0))
    assert not waiting.received
    clients[0].send(b"x")
    world.run(0.2)
    responses = waiting.responses(["POST"] * 4)
    assert [one.body for one in responses] == [b"10000", b"10000", b"5", b"0"]


def test_a_client_of_http_1_0_waits_as_well() -> None:
    world, clients = full(2, memory_timeout=3)
    first, second = (world.client(OLD % LARGEST + b"x" * LARGEST) for _ in range(2))
    clients[0].send(b"x")
    world.run(0.2)
    assert only(first).body == only(second).body == b"10000"
    half(world, sent=LARGEST - 1)
    late = world.client(OLD % LARGEST + b"x" * LARGEST)
    world.run(3.1)
    assert only(late).status == 503


def test_a_connection_is_kept_after_its_body_has_waited() -> None:
    world, clients = full(2)
    waiting = world.client(whole(LARGEST))
    clients[0].send(b"x")
    world.run(0.2)
    assert only(waiting).fields.get("connection") is None
    *_, connection = world.server.open_connections
    assert connection.state is IDLE
    waiting.send(GET)
    world.run(0.1)
    assert len(waiting.responses(["POST", "GET"])) == 2


def test_a_handler_may_catch_the_503() -> None:
    async def patient(request: BaseRequest) -> Response:
        try:
            return await read_all(request)
        except ProtocolError as error:
            return Response(429, b"%d" % error.status)

    world = world_of(1, patient)
    half(world)
    late = half(world)
    world.run(6)
    assert (only(late).status, only(late).body) == (429, b"503")


# --- one client ----------------------------------------------------------------------------------


def test_one_client_gets_a_quarter() -> None:
    world = world_of(12, memory_client_bytes=0, memory_timeout=30)
    for _ in range(40):
        half(world, "greedy", sent=9000)
    assert world.server.snapshot().body_bytes <= 3 * LARGEST
    assert world.server.snapshot().body_waiters > 15
    for _ in range(4):
        assert only(world.client(whole(LARGEST))).body == b"10000"
    assert only(world.client(whole(SMALL), address="greedy")).body == b"1000"


def test_ipv6_addresses_of_one_network_are_one_client() -> None:
    world = world_of(12, memory_client_bytes=0, memory_timeout=30)
    for number in range(40):
        half(world, f"2001:db8:0:{number:x}::1", sent=9000)
    assert world.server.snapshot().body_bytes <= 3 * LARGEST
    assert only(world.client(whole(LARGEST), address="2001:db8:1::1")).body == b"10000"


def test_a_client_beyond_its_part_waits_and_is_503() -> None:
    world = world_of(12, memory_client_bytes=LARGEST, memory_timeout=2)
    first, second = half(world, "same"), half(world, "same")
    assert world.server.snapshot().body_waiters == 1
    world.run(2.1)
    assert only(second).status == 503
    third = world.client(whole(LARGEST), address="same")
    first.send(b"x" * 4000)
    world.run(0.1)
    assert only(first).body == only(third).body == b"10000"


def test_a_body_larger_than_the_part_of_a_client_is_served() -> None:
    world = world_of(2, memory_client_bytes=0)  # half of a body
    clients = [world.client(whole(LARGEST), address="same") for _ in range(4)]
    world.run(0.1)
    assert [only(client).body for client in clients] == [b"10000"] * 4


# --- bodies that arrive slowly -------------------------------------------------------------------


def test_a_slow_body_is_evicted_when_another_one_waits() -> None:
    world = world_of(2, slow_body_timeout=30, min_rate=0.5)
    slow = [half(world, sent=LARGEST - 100) for _ in range(2)]
    for client in slow:
        world.drip(client, b"x" * 99, 1, 1.0)
    world.run(31)
    assert not any(client.received for client in slow), "nobody needs their memory"
    waiting = world.client(whole(LARGEST))
    assert only(waiting).body == b"10000"
    response = only(slow[0])
    assert (response.status, response.fields["connection"]) == (408, "close")
    assert not slow[1].received


def test_a_slow_body_whose_response_has_begun_is_reset() -> None:
    async def stream(body: Any) -> Any:
        yield b"begun"
        yield b"%d" % len(await body.read())

    def respond(request: BaseRequest) -> Any:
        return Response(200, stream(request.body)) if request.query else read_all(request)

    world = world_of(1, respond)
    slow = world.client(post(LARGEST).replace(b" / ", b" /?slow ") + b"x" * 5000)
    world.drip(slow, b"x" * 3000, 60, 1.0)
    world.run(31)
    assert only(world.client(whole(LARGEST))).body == b"10000"
    assert slow.end == "reset"


@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_does_not_read_its_response_is_reset_when_memory_is_short(
    reads: bool,
) -> None:
    """The body is held for as long as its response is not queued whole."""

    async def respond(request: BaseRequest) -> Response:
        await request.body.read()
        return Response(200, iter([b"x" * 10_000] * 50))

    world = world_of(1, respond, min_rate_timeout=100)
    slow = world.client(whole(LARGEST), reads=False, buffers=SMALL_BUFFERS)
    if reads:
        world.network.start(slow.reading(lambda: (600, 1.0)))
    world.run(29)
    assert world.server.snapshot().body_bytes == LARGEST - SMALL
    assert world.state is DRAIN
    world.run(1)
    other = world.client(whole(LARGEST))
    world.run(0.1)
    assert only(other).status == 200
    world.run(1)
    assert slow.socket is not None
    assert slow.socket.lost


def test_whole_bodies_are_not_evicted() -> None:
    async def slow(request: BaseRequest) -> Response:
        response = await read_all(request)
        await sleep(50)
        return response

    world = world_of(2, slow, memory_timeout=40, handler_timeout=0)
    first, second = world.client(whole(LARGEST)), world.client(whole(LARGEST))
    world.run(31)
    waiting = world.client(whole(LARGEST))
    world.run(20)
    assert only(first).body == only(second).body == b"10000"
    world.run(51)
    assert only(waiting).body == b"10000"


def test_a_handler_that_does_not_read_its_body_takes_no_memory() -> None:
    world = World(hello, small_body_bytes=0, memory_body_bytes=10, memory_bodies_bytes=10)
    assert only(world.client(whole(LARGEST))).body == b"hello"
    assert world.server.snapshot().body_bytes == 0


# --- by chance -----------------------------------------------------------------------------------


def uploads(
    client: SimClient, bodies: list[int], chance: random.Random, step: int, leaves: bool
) -> Script:
    """Sends these bodies one after the other, and may go before the last byte."""
    data = b"".join(whole(size) for size in bodies)
    sent, most = 0, len(data) - leaves
    while sent < most:
        sent += client.send(data[sent : min(sent + chance.randint(1, step), most)])
        yield chance.random() * 0.1
    if leaves:
        client.reset()


def small_limits(chance: random.Random) -> Limits:
    return Limits(
        connections=100,
        small_body_bytes=chance.choice([0, 100, SMALL]),
        memory_body_bytes=LARGEST,
        memory_bodies_bytes=chance.choice([100, LARGEST, 3 * LARGEST]),
        memory_client_bytes=chance.choice([0, LARGEST, 2 * LARGEST]),
        memory_timeout=chance.choice([0.2, 2.0]),
        slow_body_timeout=chance.choice([1.0, 10.0]),
    )


@pytest.mark.parametrize("seed", range(40))
def test_every_body_ends(seed: int) -> None:
    network = SimNetwork(seed)
    chance = network.random

    async def respond(request: BaseRequest) -> Response:
        response = await read_all(request)
        await sleep(chance.choice([0, 0, 0.1, 1]))
        return response

    world = SimWorld(network, respond, small_limits(chance))
    clients: list[tuple[SimClient, list[int]]] = []
    for number in range(30):
        address = chance.choice(["192.0.2.1", "2001:db8::1", f"client-{number}"])
        client = SimClient(network, world.listener, f"client-{number}", peer=(address, number))
        client.connect()
        bodies = [chance.choice([10, 3000, LARGEST]) for _ in range(chance.randint(1, 3))]
        leaves = chance.random() < 0.2
        if not leaves:
            clients.append((client, bodies))
        step = chance.choice([300, 3000, LARGEST])
        network.start(uploads(client, bodies, chance, step, leaves))
        network.start(client.reading())
    world.run_until(lambda: network.scripts == 0 or world.stuck, 500)
    world.run(100)
    seen = Counter[int]()
    for client, bodies in clients:
        responses = client.responses(["POST"] * len(bodies))
        seen.update(one.status for one in responses)
        for size, response in zip(bodies, responses, strict=False):
            assert response.status != 200 or response.body == b"%d" % size
        assert len(responses) == len(bodies) or responses[-1].status in (408, 503)
    assert seen.keys() <= {200, 408, 503}
    assert seen  # in some worlds there is memory for none of them
    snapshot = world.server.snapshot()
    assert (snapshot.body_bytes, snapshot.body_waiters, len(snapshot.connections)) == (0, 0, 0)
