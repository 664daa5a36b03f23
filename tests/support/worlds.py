"""Worlds without sockets and without waiting, in which a test says what happens next.

RuntimeWorld  a loop and its tasks; the clock moves when the loop waits
CalmWorld     a server in the simulator, where nothing happens by chance
"""

import selectors
from collections.abc import Coroutine, Iterator
from selectors import EVENT_READ, SelectorKey
from typing import Any

from reactor import Limits
from reactor.http.connection import HttpConnection
from reactor.http.context import Handler
from reactor.http.states import ConnectionState
from reactor.loop.reactor import Reactor
from reactor.simulator import Faults, SimClient, SimNetwork, SimResponse, SimWorld
from reactor.simulator.client import BUFFERS
from reactor.tasks.task import Runtime, Task
from reactor.tasks.thread_pool import ThreadPool

GET = b"GET / HTTP/1.1\r\nHost: sim\r\n\r\n"
SMALL_BUFFERS = (65536, 65536, 4096, 4096)


def post(length: int, fields: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: sim\r\n%bContent-Length: %d\r\n\r\n" % (fields, length)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.readings = 0

    def __call__(self) -> float:
        self.readings += 1
        return self.time


class Selector(selectors.BaseSelector):
    """The test says what is ready; waiting moves the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ready: list[tuple[SelectorKey, int]] = []
        self.timeouts: list[float | None] = []
        self.keys: dict[Any, SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        self.keys[fileobj] = SelectorKey(fileobj, 0, events, data)
        return self.keys[fileobj]

    def unregister(self, fileobj: Any) -> SelectorKey:
        return self.keys.pop(fileobj)

    def get_map(self) -> Any:
        return self.keys

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        self.timeouts.append(timeout)
        ready, self.ready = self.ready, []
        if not ready and timeout is not None:
            self.clock.time += timeout
        return ready

    def make_ready(self, handler: object, mask: int = EVENT_READ) -> None:
        self.ready.append((SelectorKey(-1, 0, mask, handler), mask))


class RuntimeWorld:
    """A runtime whose time is a number."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.reactor = Reactor(Selector(self.clock), self.clock)
        self.pool = ThreadPool(self.reactor, 2, 10, 5.0)
        self.runtime = Runtime(self.reactor, self.pool, 1.0)
        self.seen: list[Any] = []

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Task[Any]:
        return self.runtime.spawn(coroutine)

    def turns(self, count: int = 20, seconds: float = 0.0) -> None:
        for _ in range(count):
            self.reactor.run_once(seconds)

    def entries(self) -> int:
        """The number of entries in the heap of timers, dead ones included."""
        state = self.reactor.snapshot()
        return len(state.timers) + state.dead_timers

    def drop_dead_timers(self) -> None:
        """Drop dead timers now, which the loop does when there are many, and their owners."""
        self.reactor.compact()


def until_done(world: RuntimeWorld, task: Task[Any]) -> float:
    """Turn after turn; how many seconds that took."""
    began = world.clock.time
    for _ in range(20_000):
        if task.done:
            return world.clock.time - began
        world.reactor.run_once(1000)
    raise AssertionError("it does not end")


def timers(world: RuntimeWorld) -> int:
    """The number of timers that have not been cancelled."""
    return len(world.reactor.snapshot().timers)


class CalmWorld(SimWorld):
    """A calm one, and short words for what a test does in it."""

    def __init__(self, handler: Handler, faults: Faults | None = None, **limits: float) -> None:
        chosen = Limits(**{"connections": 10_000, **limits})  # type: ignore[arg-type]
        super().__init__(SimNetwork(0, calm=True), handler, chosen, faults)
        self.clients = 0

    def client(
        self,
        data: bytes = b"",
        reads: bool = True,
        buffers: object = BUFFERS,
        address: str = "",
    ) -> SimClient:
        """Connect, send, and read all that comes. Without `address` each client has its own."""
        self.clients += 1
        name = f"client-{self.clients}"
        sizes = SMALL_BUFFERS if buffers is SMALL_BUFFERS else BUFFERS
        client = SimClient(self.network, self.listener, name, sizes, (address or name, 0))
        client.connect()
        assert client.send(data) == len(data)
        if reads:
            self.network.start(client.reading())
        self.run(0.01)
        return client

    def connection(self) -> HttpConnection:
        (connection,) = self.server.open_connections
        return connection

    @property
    def state(self) -> ConnectionState:
        return self.connection().state

    def drip(self, client: SimClient, data: bytes, step: int, pause: float) -> None:
        def script() -> Iterator[float]:
            for at in range(0, len(data), step):
                yield pause
                client.send(data[at : at + step])

        self.network.start(script())  # type: ignore[arg-type]

    def until_gone(self) -> float:
        """How many seconds that takes; clients hear of it a moment later."""
        seconds = self.run_until(lambda: not self.server.connections)
        self.run(0.1)
        return seconds


def only(client: SimClient, method: str = "GET") -> SimResponse:
    (response,) = client.responses([method])
    assert response.whole
    return response
