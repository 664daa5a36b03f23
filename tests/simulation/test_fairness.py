"""Nobody waits for the bulk of others: counted in calls, bytes and requests, not in seconds.

The world is calm and its clock stands still within a turn, so a slice of bulk work takes the whole
queue here, unless the test makes each call take time.
"""

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from reactor import FileRegion, Response, sleep
from reactor.http import connection, response_writer
from reactor.http.connection import REQUESTS_PER_TURN
from reactor.loop import reactor
from reactor.loop.reactor import TURN_SECONDS
from reactor.loop.scheduler import SLICE
from reactor.loop.tracer import BULK, EVENTS, FLUSH, SOON, TIMERS, Phase, Tracer
from reactor.messages.request import BaseRequest
from reactor.net.listener import ACCEPTS_PER_TURN
from reactor.simulator import SimClient, SimFile, Violation, simulation
from reactor.simulator.fairness import FairnessWatch
from tests.support.worlds import GET, CalmWorld, only

HELLO = GET.replace(b"/ ", b"/hello ")
FILE_BYTES = 10 * 1024 * 1024
BUFFERS = (1 << 16, 1 << 16, 1 << 20, 1 << 16)
CALL_SECONDS = 0.51 * TURN_SECONDS  # a slice has two calls


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


class Counter(Tracer):
    """Counts the calls of each phase, and makes each bulk call take its time."""

    phases = (EVENTS, FLUSH, TIMERS, SOON, BULK)

    def __init__(self, world: "Crowded") -> None:
        self._world = world
        self.calls = dict.fromkeys(self.phases, 0)
        self.begun = False  # whether the bystander's request is there

    def called(self, phase: Phase, callback: object, *_: object) -> None:
        if phase is BULK:
            self._world.network.time += CALL_SECONDS
        if self.begun and not self._world.had_response:
            self.calls[phase] += 1


class Crowded(CalmWorld):
    """A crowd, and a bystander that asks for a little on a connection that it has."""

    def __init__(self, handler: Callable[[BaseRequest], object]) -> None:
        super().__init__(handler)  # type: ignore[arg-type]
        self.reactor.after_turn = lambda: None  # looking at 1,000 connections takes long
        self.bystander = SimClient(self.network, self.listener, "bystander")
        self.bystander.connect()
        self.run(0.01)
        self.counter = Counter(self)
        self.watcher = self.watch()
        self.reactor.attach(self.counter)

    @property
    def had_response(self) -> bool:
        """Whether the response has left, which the bystander reads between two turns."""
        assert self.bystander.socket is not None
        return bool(self.bystander.socket.incoming.data)

    def arrive(self, count: int, data: bytes = b"") -> list[SimClient]:
        crowd = []
        for number in range(count):
            client = SimClient(self.network, self.listener, f"crowd-{number}", BUFFERS)
            client.connect()
            client.send(data)
            crowd.append(client)
        return crowd

    def ask(self) -> dict[Phase, int]:
        """Send a request; the calls that were made until its response came."""
        before = len(self.bystander.received)
        self.bystander.send(HELLO)
        self.counter.calls = dict.fromkeys(self.counter.phases, 0)
        self.counter.begun = True
        self.run_until(lambda: self.bystander.read() is not None)
        self.counter.begun = False
        assert self.bystander.received[before:].endswith(b"hello")
        return self.counter.calls


def last(world: Crowded) -> None:
    """Have the selector name the bystander behind all others."""
    keys = world.selector._keys
    number = next(n for n, (_, end) in keys.items() if str(end).startswith("bystander"))
    keys[number] = keys.pop(number)


def assert_waits_little(calls: dict[Phase, int]) -> None:
    """For one slice of ready sockets and one of bulk work."""
    assert calls[EVENTS] <= 2 * SLICE
    assert calls[FLUSH] <= 2 * SLICE + 4
    assert calls[SOON] + calls[TIMERS] <= 2 * SLICE
    assert calls[BULK] <= 4


def readers(count: int) -> tuple[Crowded, SimFile, list[SimClient]]:
    """So many clients that have come and ask for a long file, which each reads slowly."""
    file: SimFile

    def respond(request: BaseRequest) -> Response:
        if request.target == "/hello":
            return Response(200, b"hello")
        return Response(200, FileRegion(file.hold(), 0, FILE_BYTES))

    world = Crowded(respond)
    file = SimFile(world.network, bytes(FILE_BYTES))
    return world, file, world.arrive(count, GET)


def test_500_slow_readers_arrive() -> None:
    world, file, crowd = readers(500)
    for _ in range(8):
        assert_waits_little(world.ask())
    world.run_until(lambda: world.server.connections == 501 and not world.reactor.bulk)
    assert all(client.read() for client in crowd)
    assert world.watcher.longest_queue > 100
    assert file.holders > 500


def test_500_readers_make_room_at_once() -> None:
    """Each is sent more as bulk work: none of their sends comes before the bystander's response."""
    world, file, crowd = readers(500)
    world.run_until(lambda: world.server.connections == 501 and not world.reactor.bulk)
    for client in crowd:
        client.read(1 << 21)
    last(world)
    calls = world.ask()
    assert calls[EVENTS] <= 501, "each is reported, and queued"
    # One call for each slice of ready sockets, and what is left of the slice before.
    assert calls[BULK] <= 501 // SLICE + 4
    world.selector.spin_turns = 2000  # two calls a turn: no connection ends in the first hundreds
    for client in crowd:
        client.close()
    world.run_until(lambda: world.server.connections == 1)
    assert file.holders == 1


@pytest.mark.parametrize("waits", [False, True])
def test_50_clients_pipeline(waits: bool) -> None:
    served = 0

    async def later() -> Response:
        await sleep(0)
        return Response(200, b"x")

    def respond(request: BaseRequest) -> object:
        nonlocal served
        served += 1
        if request.target == "/hello":
            return Response(200, b"hello")
        return later() if waits and served % 10 == 0 else Response(200, b"x")

    world = Crowded(respond)
    crowd = world.arrive(50, GET * 200)
    world.run_until(lambda: world.server.connections == 51)
    for _ in range(8):
        before = served
        assert_waits_little(world.ask())
        assert served - before <= 2 * SLICE + 4 * REQUESTS_PER_TURN
    world.run_until(lambda: not world.reactor.bulk and served >= 50 * 200)
    world.run(1)
    for client in crowd:
        client.read(1 << 21)
        assert len(client.responses(())) == 200


@pytest.mark.parametrize("how", ["close", "reset"])
def test_1000_connections_are_closed_at_once(how: str) -> None:
    world = Crowded(lambda request: Response(200, b"hello"))
    crowd = world.arrive(1000)
    world.run_until(lambda: world.server.connections == 1001)
    for client in crowd:
        getattr(client, how)()
    closed = world.network.work.closes
    last(world)
    calls = world.ask()
    # All of them are ready, and each costs one read. Their ends wait.
    assert calls[EVENTS] <= 1001 + SLICE
    assert calls[BULK] <= 2 * (calls[EVENTS] // SLICE + 2)
    assert world.network.work.closes - closed <= calls[BULK] + 4, "the rest of the turn"
    assert_waits_little(world.ask())
    world.run_until(lambda: world.server.connections == 1)
    assert not world.reactor.bulk


def test_1000_clients_arrive_at_once() -> None:
    world = Crowded(lambda request: Response(200, b"hello"))
    crowd = world.arrive(1000, GET)
    accepted = world.network.work.accepts
    calls = world.ask()
    assert_waits_little(calls)
    assert world.network.work.accepts - accepted <= 3 * ACCEPTS_PER_TURN
    world.run_until(lambda: world.server.connections == 1001)
    world.run(1)
    assert all(client.read() and only(client).status == 200 for client in crowd)


def test_bulk_work_goes_on_under_a_full_load_of_requests() -> None:
    """128 clients ask again and again, each with its response: a download gets its share."""
    file: SimFile

    def respond(request: BaseRequest) -> Response:
        world.network.time += 0.0001
        if request.target == "/hello":
            return Response(200, b"hello")
        return Response(200, FileRegion(file.hold(), 0, FILE_BYTES))

    world = Crowded(respond)
    file = SimFile(world.network, bytes(FILE_BYTES))
    reader = SimClient(
        world.network, world.listener, "reader", (1 << 16, 1 << 16, 1 << 18, 1 << 18)
    )
    reader.connect()
    reader.send(GET)
    crowd = world.arrive(128)
    world.run_until(lambda: world.server.connections == 130)
    requests = 0
    while len(reader.received) < FILE_BYTES:
        for client in crowd:
            if client.read() is not None or not client.received:
                client.send(HELLO)
        reader.read(1 << 20)
        world.reactor.run_once(0.001)
        requests = world.network.work.requests
        assert requests < 128 * 200, len(reader.received)


def test_the_watch_counts_from_outside() -> None:
    world = CalmWorld(lambda request: Response(200, b"hello"))
    assert isinstance(world.watch(), FairnessWatch)
    world.client(GET)
    work = world.network.work
    assert (work.accepts, work.reads, work.received, work.requests) == (1, 1, len(GET), 1)
    assert (work.sends, work.closes) == (1, 0)


# --- the watch: each bound is shown to be one ----------------------------------------------------


def pieces() -> Iterator[bytes]:
    for _ in range(1000):
        yield b"x"


def play(what: str) -> None:
    """A client that takes all at once what is long."""
    world = CalmWorld(lambda request: respond())
    world.watch()
    size = 4 * FILE_BYTES  # more than the largest stretches of a fast peer
    file = SimFile(world.network, bytes(size))

    def respond() -> Response:
        if what == "pieces":
            return Response(200, pieces())
        return Response(200, b"x" if what == "pipeline" else FileRegion(file.hold(), 0, size))

    client = SimClient(
        world.network, world.listener, "client", (1 << 16, 1 << 16, 1 << 26, 1 << 26)
    )
    other = SimClient(world.network, world.listener, "other")
    for one in (client, other):
        one.connect()
    world.run(0.01)
    client.send(GET * (1000 if what == "pipeline" else 1))
    other.send(HELLO[:-2])
    world.network.start(client.reading())
    world.run(10)
    whole = sum(response.whole for response in client.responses(()))
    assert whole == (1000 if what == "pipeline" else 1)
    world.server.close()


@pytest.mark.parametrize(
    ("what", "module", "limit", "found"),
    [
        ("pipeline", connection, "REQUESTS_PER_TURN", "BULK: requests"),
        ("pieces", response_writer, "PIECES_PER_TURN", "EVENTS: sends"),
        ("file", response_writer, "TURN_BYTES", "BULK: sent"),
    ],
)
def test_a_stretch_without_an_end_is_found(
    what: str, module: ModuleType, limit: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(what)
    monkeypatch.setattr(module, limit, 1 << 30)
    with pytest.raises(Violation, match=f"{found} [0-9]+ in place of"):
        play(what)


def test_bulk_work_that_waits_for_a_whole_backlog_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def world_of_a_backlog() -> None:
        world = CalmWorld(lambda request: Response(200, b"x"))
        world.watch()
        world.reactor.after_turn = lambda: None
        crowd = [SimClient(world.network, world.listener, f"{n}") for n in range(1000)]
        for client in crowd:
            client.connect()
        world.run(1)
        crowd[0].close()
        for client in crowd[1:]:
            client.send(GET)
        world.run(1)
        world.server.close()

    world_of_a_backlog()
    monkeypatch.setattr(reactor, "SLICE", 10_000)
    with pytest.raises(Violation, match="bulk work waits for 513 calls of other phases"):
        world_of_a_backlog()
