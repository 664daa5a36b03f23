"""The real server in a simulated world.

Everything that the server takes as an argument is replaced here, and nothing else: the selector,
the clock, the waker's sockets, the thread pool, the wall clock, and of the transport the two
methods that hand a descriptor to the kernel by other ways than the socket.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from reactor.files.region import FileRegion
from reactor.http.context import Handler
from reactor.http.wall_clock import WallClock
from reactor.limits import ServerLimits
from reactor.loop.reactor import Reactor
from reactor.loop.timers import NEVER
from reactor.loop.waker import Waker
from reactor.net.spare_descriptors import SpareDescriptors
from reactor.net.transport import Transport
from reactor.server.server import Server
from reactor.simulator.disk import SimFile, SimPool
from reactor.simulator.fairness import FairnessWatch
from reactor.simulator.invariants import Invariants
from reactor.simulator.network import SimNetwork, Violation
from reactor.simulator.selector import SimSelector
from reactor.simulator.sockets import SimListener, SimSocket, connected_pair
from reactor.simulator.tls import SecureSimSocket, secure_way

EPOCH: Final = 1_700_000_000.25  # the time of day when the simulation begins
CONNECTIONS: Final = 1000  # a limit, where the scenario sets none


class SimTransport(Transport):
    """The number of a simulated descriptor must never reach the kernel: it may be a real one."""

    __slots__ = ()

    def unacknowledged(self) -> int:
        return cast(SimSocket, self._socket).unacknowledged()

    def _sendfile(self, region: FileRegion, count: int) -> int:
        """A file that is none of the simulator's is a real one, and is read: it is in memory."""
        file = region.file
        count = max(1, min(count, cast(SimSocket, self._socket).room))
        stretch = file.stretch if isinstance(file, SimFile) else file.load
        data = stretch(region.offset, count)
        if not data:
            raise OSError("the file has become shorter")
        return self._socket.send(data)


class SimReactor(Reactor):
    """The real loop. An exception that reaches its last `except` is a bug, a Violation."""

    after_turn: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, selector: SimSelector, network: SimNetwork, waker: Waker) -> None:
        super().__init__(selector, network.clock, waker)
        self._network = network

    def run_once(self, longest: float | None = None) -> None:
        super().run_once(longest)
        self.after_turn()

    def _run_bulk(self, seconds: float) -> None:
        """Time passes only where a handler spends it, so chance ends the slice, and not time."""
        bulk = self.bulk
        if self._network.calm or not bulk:
            super()._run_bulk(seconds)
            return
        count = self._network.random.randint(1, len(bulk))
        later = [bulk.pop() for _ in range(len(bulk) - count)]
        super()._run_bulk(NEVER)
        new = [bulk.pop() for _ in range(len(bulk))]
        bulk.extend(reversed(later))
        bulk.extend(reversed(new))

    def blame(self, culprit: object) -> None:
        error = sys.exc_info()[1]
        raise Violation(f"{culprit!r} failed in the loop: {error!r}") from error


@dataclass
class Faults:
    """The faults of a world, and how often they occur."""

    abortion: float = 0.0  # probability that a client has gone again when it is accepted
    empty_interest: bool = True  # whether the selector knows one
    job_seconds: Callable[[], float] = lambda: 0.001  # that a job takes on its thread


class SimWorld:
    """A network, and a server that listens on it."""

    def __init__(
        self,
        network: SimNetwork,
        handler: Handler,
        limits: ServerLimits | None = None,
        faults: Faults | None = None,
        epoch: float = EPOCH,
        *,
        secure: bool = False,
    ) -> None:
        """`epoch`: the time of day when it begins, in seconds since 1970.

        `secure`: all clients speak the double of TLS.
        """
        limits = limits or ServerLimits(connections=CONNECTIONS)
        faults = faults or Faults()
        self.network = network
        self.selector = SimSelector(network, faults.empty_interest)
        pair = connected_pair(network, ("waker", "waker's writer"), (4096, 0, 4096, 0))
        for end in pair:
            end.adopt()
        waker = Waker(cast(Any, pair))
        self.reactor = SimReactor(self.selector, network, waker)
        self.selector.has_wakeup = lambda: bool(self.reactor._foreign)
        self.selector.has_work = lambda: bool(self.reactor.bulk)
        sizes = (limits.pool_threads, limits.pool_jobs, limits.pool_timeout)
        self.pool = SimPool(network, self.reactor, *sizes, faults.job_seconds)
        self.server = Server(
            handler,
            limits,
            reactor=self.reactor,
            pool=self.pool,
            wall=WallClock(lambda: epoch + network.time),
            transport=SimTransport,
            spare=SpareDescriptors(0),  # the simulated ones are never used up
        )
        self._abortion = faults.abortion
        self.listener = self.listen(secure=secure)
        self.invariants = Invariants(self.server, network, self.selector)
        self.reactor.after_turn = self.invariants.check_turn

    def listen(self, *, secure: bool) -> SimListener:
        """A listener of the server; `secure`: its clients speak the double of TLS."""
        listener = SimListener(self.network, self._abortion)
        if secure:
            way = secure_way(self.server, self.network)
            listener.wrap = lambda one: cast(SimSocket, SecureSimSocket(self.network, one))
            self.server.listeners.add_way(cast(Any, listener), way, is_secure=True)
        else:
            self.server.listen_on(cast(Any, listener))
        return listener

    def watch(self) -> FairnessWatch:
        """Check from now on that no call holds up the others: the loop runs its traced steps."""
        return FairnessWatch(self.server, self.network)

    def run(self, seconds: float) -> None:
        """Let so much simulated time pass."""
        until = self.network.time + seconds
        while self.network.time < until:
            self.reactor.run_once(until - self.network.time)

    def run_until(self, condition: Callable[[], bool], longest: float = 1000.0) -> float:
        """Turn after turn until it is true; how many seconds that took."""
        begin = self.network.time
        while not condition():
            if self.network.time - begin > longest:
                raise Violation(f"after {longest:g} s it has not come true")
            self.reactor.run_once(longest)
        return self.network.time - begin

    @property
    def stuck(self) -> bool:
        """The server waits, and nothing will ever happen unless a client does something."""
        reactor = self.reactor
        busy = (
            reactor.bulk
            or reactor._soon
            or reactor._foreign
            or reactor.unflushed
            or not self.network.idle
        )
        return not (
            busy
            or any(
                when == timer.armed and timer.deadline != NEVER
                for when, _, timer in reactor._timers
            )
            or self.selector.is_ready()
        )

    def check_end(self) -> None:
        """After `server.close`: no descriptor is left. Raises Violation."""
        left = [owner for owner in self.network.descriptors.values() if owner is not None]
        if left:
            raise Violation(f"{len(left)} descriptors are open: {left[:3]}")


@contextmanager
def simulation() -> Iterator[None]:
    """No garbage collection, whose time nobody controls, and this thread's hooks as they were."""
    hooks = sys.get_asyncgen_hooks()
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*hooks)
        if collects:
            gc.enable()
