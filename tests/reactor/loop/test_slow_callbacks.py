"""Callbacks that hold the loop are logged: sockets by their request, others by function."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from selectors import EVENT_READ

import pytest

from reactor import Limits, Response, Server, sleep
from reactor.http.context import Handler
from reactor.loop.reactor import Reactor
from reactor.loop.scheduler import SLICE
from reactor.loop.slow_callbacks import SlowCallbacks
from reactor.messages.request import BaseRequest
from tests.support.fake_loop import FakeHandler, LoopWorld
from tests.support.raw_client import request
from tests.support.request_bench import entered

LIMIT = 0.05
SLOW = 0.08


def slow(*_: object) -> None:
    """By the processor: what the loop may be held with."""
    until = time.monotonic() + SLOW
    while time.monotonic() < until:
        pass


def timed(clock: Callable[[], float] = time.monotonic) -> Reactor:
    """A loop whose slow callbacks are logged."""
    reactor = Reactor(clock=clock)
    reactor.attach(SlowCallbacks(LIMIT, reactor.selector))
    return reactor


class World:
    """A timed loop whose turns the test makes, with sockets that are ready."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.reactor = timed()
        self.pairs: list[socket.socket] = []
        self.servers: list[Server] = []
        self._caplog = caplog

    def ready(self, on_events: Callable[[int], object]) -> None:
        ours, theirs = socket.socketpair()
        self.pairs += [ours, theirs]
        theirs.send(b"x")
        self.reactor.selector.register(ours, EVENT_READ, Ready(ours, on_events))

    def connect(self, handler: Handler) -> socket.socket:
        """A client's end."""
        self.servers.append(Server(handler, Limits(connections=100), reactor=self.reactor))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.servers[-1].connect(ours, ("192.0.2.7", 1))
        self.pairs.append(theirs)
        return theirs

    def logged(self) -> list[str]:
        """The lines since the last call, without the durations."""
        found = []
        for message in self._caplog.messages:
            match = re.fullmatch(r"(.*) held the loop for ([0-9.]+) s; (.*)", message)
            if match is not None:
                assert float(match[2]) >= LIMIT
                found.append(f"{match[1]}; {match[3]}")
        self._caplog.clear()
        return found

    def close(self) -> None:
        for server in self.servers:
            for connection in tuple(server.open_connections):
                connection.abort()
            server.pool.close()
        self.reactor.close()
        for one in self.pairs:
            one.close()


class Ready:
    """A selector key's handler, which reads the byte that has made its socket ready."""

    def __init__(self, ours: socket.socket, on_events: Callable[[int], object]) -> None:
        self._socket = ours
        self._on_events = on_events

    def on_events(self, mask: int) -> None:
        self._socket.recv(1)
        self._on_events(mask)

    def end_turn(self) -> None: ...
    def abort(self) -> None: ...

    def describe(self) -> str:
        return "a socket"


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    world = World(caplog)
    yield world
    world.close()


def place(function: Callable[..., object]) -> str:
    code = function.__code__
    return f"{code.co_qualname} ({Path(__file__)}, line {code.co_firstlineno})"


def test_quick_callbacks_are_not_logged(world: World) -> None:
    for _ in range(10):
        world.ready(lambda mask: None)
        world.reactor.call_soon(lambda: None)
        world.reactor.call_later(0.0, lambda: None)
    world.reactor.run_once(0)
    world.reactor.run_once(0)
    assert world.logged() == []


def test_a_slow_socket_is_named_and_those_that_waited_are_counted(world: World) -> None:
    """Three are ready; the first to have its turn is slow, and the other two wait."""
    turns: list[int] = []

    def first_is_slow(mask: int) -> None:
        turns.append(mask)
        if len(turns) == 1:
            slow()

    for _ in range(3):
        world.ready(first_is_slow)
    world.reactor.run_once(0)
    assert world.logged() == ["a socket; 2 sockets waited"]
    assert len(turns) == 3


def test_many_quick_sockets_are_not_taken_for_a_slow_one(caplog: pytest.LogCaptureFixture) -> None:
    """Time is counted from the end of the one before, in slices too."""
    loop = LoopWorld()
    loop.reactor.attach(SlowCallbacks(LIMIT, loop.selector))

    def quick() -> None:
        loop.clock.time += LIMIT * 0.9

    for _ in range(3 * SLICE):
        loop.selector.make_ready(FakeHandler(quick))
    began = loop.clock.time
    loop.reactor.run_once(0)
    assert loop.clock.time - began > 100 * LIMIT
    assert caplog.messages == []
    loop.reactor.close()


def test_a_slow_socket_in_a_later_slice_is_named(world: World) -> None:
    turns: list[int] = []

    def hundredth_is_slow(mask: int) -> None:
        turns.append(mask)
        if len(turns) == 100:
            slow()

    for _ in range(3 * SLICE):
        world.ready(hundredth_is_slow)
    world.reactor.call_soon(slow)  # after the first slice
    world.reactor.run_once(0)
    rest = 3 * SLICE - 100
    assert world.logged() == [
        f"{place(slow)}; {2 * SLICE} sockets waited",
        f"a socket; {rest} sockets waited",
    ]


def test_timers_and_callbacks_are_named_by_their_function(world: World) -> None:
    world.reactor.call_soon(slow)
    world.reactor.run_once(0)
    assert world.logged() == [f"{place(slow)}; 0 sockets waited"]
    world.reactor.call_later(0.0, slow, 1)
    world.ready(lambda mask: None)
    world.reactor.call_soon(lambda: world.ready(lambda mask: None))
    world.reactor.run_once(0.1)
    assert world.logged() == [f"{place(slow)}; 0 sockets waited"]


def test_a_slow_callback_that_raises_is_named_too(world: World) -> None:
    def fail(mask: int) -> None:
        slow()
        raise ValueError

    world.ready(fail)
    world.reactor.call_soon(fail, 0)
    world.reactor.run_once(0)
    assert world.logged() == ["a socket; 0 sockets waited", f"{place(fail)}; 0 sockets waited"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_handler_is_named_by_its_request(world: World, asynchronous: bool) -> None:
    def handler(request: BaseRequest) -> Response:
        slow()
        return Response(200, b"done")

    async def later(request: BaseRequest) -> Response:
        return handler(request)

    client = world.connect(later if asynchronous else handler)
    client.send(request("/slow?q=1", method="DELETE"))
    world.reactor.run_once(0)
    assert world.logged() == ["<DELETE /slow?q=1 HTTP/1.1>; 0 sockets waited"]


def test_a_later_step_is_named_by_its_coroutine(world: World) -> None:
    async def handler(request: BaseRequest) -> Response:
        await sleep(0)
        slow()
        await sleep(1000)  # line + 3
        raise AssertionError

    client = world.connect(handler)
    client.send(request())
    for _ in range(5):
        world.reactor.run_once(0.01)
    code = handler.__code__
    line = code.co_firstlineno + 3
    assert world.logged() == [
        f"{code.co_qualname} ({Path(__file__)}, line {line}); 0 sockets waited"
    ]


def test_a_response_made_piece_by_piece_is_named_by_its_request(world: World) -> None:
    def pieces() -> Iterator[bytes]:
        for number in range(40):
            if number == 30:
                slow()
            yield b"x"

    client = world.connect(lambda request: Response(200, pieces()))
    client.send(request("/pieces"))
    for _ in range(40):  # a turn ends early where the machine is busy
        world.reactor.run_once(0)
    assert world.logged() == ["<GET /pieces HTTP/1.1>; 0 sockets waited"]


def test_a_connection_is_not_named_by_an_earlier_request(world: World) -> None:
    """The request of an earlier turn has nothing to do with this one."""
    client = world.connect(lambda request: Response(200, b"x"))
    client.send(request("/before"))
    world.reactor.run_once(0)
    (connection,) = world.servers[0].open_connections
    time.sleep(0.001)
    world.reactor.run_once(0)
    assert connection.describe() == "<IDLE 192.0.2.7>"


def test_a_quick_turn_enters_no_more_frames_than_without(world: World) -> None:
    """A socket and, in the same turn, a flush: what most requests are."""

    def frames_of(reactor: Reactor) -> list[str]:
        ours, theirs = socket.socketpair()
        output = Ready(ours, lambda mask: None)
        world.pairs += [ours, theirs]
        reactor.selector.register(
            ours, EVENT_READ, Ready(ours, lambda mask: reactor.unflushed.append(output))
        )
        theirs.send(b"x")
        return entered(lambda: reactor.run_once(0))

    plain = Reactor()
    timed, untimed = frames_of(world.reactor), frames_of(plain)
    plain.close()
    assert len(timed) == len(untimed) > 2, timed


def test_a_server_attaches_the_tracer_where_its_limit_is_not_0() -> None:
    for seconds, limits in ((0.1, [0.1]), (0.0, [])):
        server = Server(lambda request: Response(200), Limits(slow_callback=seconds))
        try:
            assert [tracer.limit for tracer in server.reactor.tracers] == limits
            assert all(isinstance(tracer, SlowCallbacks) for tracer in server.reactor.tracers)
        finally:
            server.close()


def test_the_clock_is_read_once_for_each_ready_socket() -> None:
    looks: list[float] = []

    def clock() -> float:
        looks.append(time.monotonic())
        return looks[-1]

    for reactor, more in ((Reactor(clock=clock), 0), (timed(clock), 20)):
        pairs = [socket.socketpair() for _ in range(20)]
        for ours, theirs in pairs:
            theirs.send(b"x")
            reactor.selector.register(ours, EVENT_READ, Ready(ours, lambda mask: None))
        looks.clear()
        reactor.run_once(0)
        assert len(looks) == 1 + more
        for ours, theirs in pairs:
            ours.close()
            theirs.close()
        reactor.close()
