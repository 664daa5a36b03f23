"""A connection's bulk work: which of its work that is, in which order, and its end."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from reactor import FileRegion, Response, sleep
from reactor.files.region import MultiRegion
from reactor.http.connection import REQUESTS_PER_TURN
from reactor.http.states import PRODUCE
from reactor.loop.tracer import BULK, EVENTS, SOON, Phase, Tracer
from reactor.messages.request import BaseRequest
from reactor.simulator import SimClient, SimFile, simulation
from reactor.simulator.client import BUFFERS
from tests.support.worlds import GET, SMALL_BUFFERS, CalmWorld

HEAD = b"HTTP/1.1 200 OK"
FILE_BYTES = 2_000_000


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


def get(number: object) -> bytes:
    return b"GET /%s HTTP/1.1\r\nHost: sim\r\n\r\n" % str(number).encode()


def named(request: BaseRequest) -> Response:
    return Response(200, request.target.encode())


class Requests(Tracer):
    """The number of requests that each call has begun, by its phase."""

    phases = (EVENTS, SOON, BULK)

    def __init__(self, world: "Held") -> None:
        self._world = world
        self.calls: list[tuple[Phase, int]] = []

    def called(self, phase: Phase, *_: object) -> None:
        begun, self._world.begun = self._world.begun, 0
        if begun:
            self.calls.append((phase, begun))


class Held(CalmWorld):
    """A world whose bulk phase calls as many as the test says; None: all."""

    def __init__(self, handler: Callable[[BaseRequest], object]) -> None:
        self.begun = 0
        self.slice: int | None = None

        def counted(request: BaseRequest) -> object:
            self.begun += 1
            return handler(request)

        super().__init__(counted)  # type: ignore[arg-type]
        run_bulk = self.reactor._run_bulk

        def run_slice(seconds: float) -> None:
            bulk = self.reactor.bulk
            count = len(bulk) if self.slice is None else self.slice
            later = [bulk.pop() for _ in range(len(bulk) - count)]
            if bulk:
                run_bulk(seconds)
            new = [bulk.pop() for _ in range(len(bulk))]
            bulk.extend(reversed(later))
            bulk.extend(reversed(new))

        self.reactor._run_bulk = run_slice  # type: ignore[method-assign]
        self.reactor.after_turn = lambda: None
        self.selector.spin_turns = 1_000_000
        self.requests = Requests(self)
        self.reactor.attach(self.requests)

    def together(
        self, *data: bytes, buffers: tuple[int, int, int, int] = BUFFERS
    ) -> list[SimClient]:
        """Clients whose bytes are there in the same turn, and which read nothing by themselves."""
        clients = [
            SimClient(self.network, self.listener, f"client-{n}", buffers) for n in range(len(data))
        ]
        for client in clients:
            client.connect()
        self.run_until(lambda: self.server.connections == len(data))
        for client, sent in zip(clients, data, strict=True):
            assert client.send(sent) == len(sent)
        return clients

    def turn(self) -> None:
        self.reactor.run_once(0)

    def settle(self) -> None:
        """Turns until nothing is queued."""
        for _ in range(100_000):
            self.turn()
            if not (self.reactor.bulk or self.reactor._soon or self.reactor.unflushed):
                return
        raise AssertionError("it does not settle")


def bodies(client: SimClient) -> list[bytes]:
    while client.read(1 << 20):
        pass
    return [response.body for response in client.responses(())]


# --- pipelines -----------------------------------------------------------------------------------


def test_one_of_a_pipeline_is_served_at_once_where_others_are_ready() -> None:
    world = Held(named)
    count = 50
    pipeline = b"".join(map(get, range(count)))
    world.slice = 0
    clients = world.together(pipeline, pipeline)
    world.turn()
    assert [bodies(client) for client in clients] == [[b"/0"], [b"/0"]]
    assert world.requests.calls == [(EVENTS, 1), (EVENTS, 1)]
    world.requests.calls.clear()
    world.slice = 1
    world.settle()
    stretches = [count for _, count in world.requests.calls]
    assert {phase for phase, _ in world.requests.calls} == {BULK}
    assert stretches == [16, 16, 16, 16, 16, 16, 1, 1], "in turns"
    assert bodies(clients[0]) == bodies(clients[1]) == [b"/%d" % n for n in range(count)]


def test_16_of_a_pipeline_are_served_at_once_where_nobody_else_is_ready() -> None:
    world = Held(named)
    world.slice = 0
    (client,) = world.together(b"".join(map(get, range(50))))
    world.turn()
    assert world.requests.calls == [(EVENTS, REQUESTS_PER_TURN)]
    assert len(bodies(client)) == REQUESTS_PER_TURN
    world.slice = None
    world.settle()
    assert bodies(client) == [b"/%d" % n for n in range(50)]


def waiting(request: BaseRequest) -> object:
    async def later() -> Response:
        await sleep(0)
        return named(request)

    return later() if request.target.endswith("s") else named(request)


def test_the_rest_of_a_pipeline_behind_a_coroutine_is_bulk_too() -> None:
    """A response that ends later is followed by one request, and not by 16 in the `soon` phase."""
    world = Held(waiting)
    pipeline = get("0s") + b"".join(map(get, range(1, 50)))
    world.slice = 0
    clients = world.together(*[pipeline] * 5)
    for _ in range(4):
        world.turn()
    assert world.requests.calls == [(EVENTS, 1)] * 5 + [(SOON, 1)] * 5
    world.slice = None
    world.settle()
    expected = [b"/0s", *(b"/%d" % number for number in range(1, 50))]
    assert all(bodies(client) == expected for client in clients)


def test_the_rest_of_a_pipeline_behind_an_unread_body_is_bulk_too() -> None:
    world = Held(named)
    post = b"POST /0 HTTP/1.1\r\nHost: sim\r\nContent-Length: 10\r\n\r\n12345"
    world.slice = 0
    clients = world.together(post, post)
    world.turn()
    world.requests.calls.clear()
    for client in clients:
        client.send(b"67890" + b"".join(map(get, range(1, 50))))
    world.turn()
    assert world.requests.calls == [(EVENTS, 1)] * 2
    world.slice = None
    world.settle()
    assert all(bodies(client) == [b"/%d" % n for n in range(50)] for client in clients)


@pytest.mark.parametrize("step", [1, 7, 64, 100_000])
@pytest.mark.parametrize("crowd", [1, 3])
def test_a_pipeline_gets_the_same_bytes_however_it_comes(step: int, crowd: int) -> None:
    file: SimFile

    def respond(request: BaseRequest) -> object:
        kind = int(request.target[1:]) % 5
        if kind == 1:
            return Response(200, iter([b"a" * 300, b"b" * 300]))
        if kind == 2:
            return Response(200, FileRegion(file.hold(), 0, 100_000))
        if kind == 3:
            return waiting(request)
        return named(request)

    pipeline = b"".join(map(get, range(40)))

    def play(step: int, crowd: int) -> list[bytes]:
        nonlocal file
        world = CalmWorld(respond)  # type: ignore[arg-type]
        world.watch()
        file = SimFile(world.network, bytes(FILE_BYTES))
        clients = [SimClient(world.network, world.listener, f"client-{n}") for n in range(crowd)]
        for client in clients:
            client.connect()
            world.drip(client, pipeline, step, 0.0001)  # within one second of the Date
            world.network.start(client.reading())
        world.run(60)
        assert file.holders == 1
        return [bytes(client.received) for client in clients]

    (expected,) = play(1_000_000, 1)
    assert expected.count(HEAD) == 40
    assert play(step, crowd) == [expected] * crowd


# --- long bodies ---------------------------------------------------------------------------------


def pieces() -> Iterator[bytes]:
    for number in range(100):
        yield b"%d," % number


async def async_pieces() -> AsyncIterator[bytes]:
    for piece in pieces():
        yield piece


def test_the_first_stretch_of_a_long_file_is_bulk() -> None:
    world = Held(lambda request: Response(200, FileRegion(file.hold(), 0, FILE_BYTES)))
    file = SimFile(world.network, bytes(FILE_BYTES))
    world.slice = 0
    one, other = world.together(GET, GET)
    world.turn()
    assert {connection.state for connection in world.server.open_connections} == {PRODUCE}
    for client in (one, other):
        client.read(1 << 20)
        assert client.received.startswith(HEAD)
        assert client.received.endswith(b"\r\n\r\n")
    world.slice = 1
    world.turn()
    assert one.read(1 << 20)
    assert not other.read(1 << 20)


@pytest.mark.parametrize("make", [pieces, async_pieces])
def test_the_first_pieces_of_a_generator_are_not_bulk(make: Callable[[], object]) -> None:
    world = Held(lambda request: Response(200, make()))  # type: ignore[arg-type]
    world.slice = 0
    clients = world.together(GET, GET)
    for _ in range(3):
        world.turn()
    for client in clients:
        client.read(1 << 20)
        assert b"0," in client.received
        assert b"99," not in client.received
    world.slice = 1
    world.settle()
    assert [bodies(client) for client in clients] == [[b"".join(pieces())]] * 2


def test_room_is_not_waited_for_behind_an_empty_piece() -> None:
    """The rest of a head leaves with the piece behind it; the invariants look at the interest."""
    world = CalmWorld(
        lambda request: Response(200, MultiRegion([b"", FileRegion(file.hold(), 0, 10), b"end"]))
    )
    file = SimFile(world.network, bytes(100), coldness=1.0)
    world.network.some = lambda most: max(1, most - 9) if most > 60 else most  # type: ignore
    client = world.client(GET)
    world.run(5)
    assert client.responses(())[0].body == bytes(10) + b"end"
    assert file.holders == 1


# --- while something waits -----------------------------------------------------------------------


def test_a_deadline_passes_while_the_connection_waits_in_the_queue() -> None:
    """The time of an idle connection is over, and its pipeline is there: it is served."""
    world = Held(named)
    world.slice = 0
    (client, other) = world.together(get(0) + get(1), get(0) + get(1))
    world.turn()
    world.network.time += 1000
    world.turn()
    world.slice = None
    world.settle()
    world.run(1)
    for one in (client, other):
        assert bodies(one) in ([b"/0"], [b"/0", b"/1"])
        assert one.end in ("", "fin")


def test_a_reader_that_makes_room_is_not_cut_while_its_turn_is_to_come() -> None:
    """It has read; that its send waits in the queue is the server's doing."""
    world = Held(lambda request: Response(200, bytes(500_000)))
    (client, _) = world.together(GET, GET, buffers=SMALL_BUFFERS)
    world.settle()
    client.read(1 << 20)
    world.slice = 0
    for _ in range(5):
        world.turn()
        world.network.time += world.server.limits.min_rate_timeout / 6
    world.slice = None
    world.network.start(client.reading())
    world.run(5)
    assert len(bodies(client)[0]) == 500_000


# --- the end -------------------------------------------------------------------------------------


def crowd_of_all_kinds() -> tuple[Held, SimFile, list[SimClient]]:
    """A queue with one of each kind of bulk work in it."""

    def respond(request: BaseRequest) -> Response:
        if request.target == "/file":
            return Response(200, FileRegion(file.hold(), 0, FILE_BYTES))
        if request.target == "/pieces":
            return Response(200, iter([b"x" * 100] * 100))
        return Response(200, b"x")

    world = Held(respond)
    file = SimFile(world.network, bytes(FILE_BYTES))
    clients = world.together(
        *([get("file")] * 3), *([get("pieces")] * 2), *([GET * 100] * 3), *([GET] * 6)
    )
    for _ in range(2):  # readers of files are blocked, and then have made room
        world.run(0.01)
        for client in clients[:3]:
            client.read(200_000)
        world.slice = 0
    for client in clients[5:8]:
        client.send(GET * 100)
    clients[8].close()
    clients[9].reset()
    clients[10].half_close()
    for _ in range(3):
        world.turn()
    owners = {call.__name__ for call, _ in world.reactor.bulk}
    assert owners >= {"_send_more", "serve_more", "_end_input", "abort"}, owners
    return world, file, clients


@pytest.mark.parametrize("how", ["close", "drain", "abort", "each"])
def test_nothing_is_left_or_called_where_the_server_ends_with_a_full_queue(how: str) -> None:
    world, file, clients = crowd_of_all_kinds()
    served = world.network.work.requests
    if how == "drain":
        world.server.shut_down()
        world.slice = 1
        for client in clients:
            world.network.start(client.reading())
        world.run_until(lambda: world.server.connections == 0)
    elif how == "abort":
        world.server.shut_down()
        world.server.shut_down()
        assert world.server.connections == 0
    elif how == "each":
        for connection in tuple(world.server.open_connections):
            connection.abort()
    if how != "close":
        world.slice = None
        before = world.network.work.sends, world.begun
        world.settle()
        world.run(1)
        assert (world.network.work.sends, world.begun) == before or how == "drain"
        assert not world.reactor.bulk
        assert file.holders == 1
    before = world.network.work.sends, world.begun
    world.server.close()
    assert (world.network.work.sends, world.begun) == before
    assert world.network.work.requests == served
    assert file.holders == 1
    file.release()
    world.check_end()


def test_a_drain_serves_the_rest_of_a_pipeline_that_waits() -> None:
    world = Held(named)
    world.slice = 0
    clients = world.together(*[b"".join(map(get, range(30)))] * 3)
    world.turn()
    world.server.shut_down()
    for client in clients:
        world.network.start(client.reading())
    world.slice = 1
    world.run_until(lambda: world.server.connections == 0)
    world.run(0.1)
    for client in clients:
        assert bodies(client) == [b"/%d" % number for number in range(30)]
        assert client.end == "fin"
