"""The rule of fairness, written a second time and from outside: one call is one stretch of work.

A FairnessWatch is a tracer of the loop. Behind each call it compares what the simulated kernel and
the handler have counted (`Work`) with what such a call may cost. So everybody waits for a bounded
part of each other's work: a ready socket has one turn, which is one read and one request; all that
is longer is bulk, a stretch at a time, and it has a turn after each slice of the rest.
"""

from dataclasses import replace
from typing import Final

from reactor.loop.describe import describe
from reactor.loop.reactor import Reactor
from reactor.loop.scheduler import SLICE
from reactor.loop.tracer import BULK, EVENTS, FLUSH, SOON, TIMERS, URGENT, Phase, Tracer
from reactor.net.arrivals import Arrivals
from reactor.net.listener import Listener
from reactor.net.pacing import FAST
from reactor.net.transport import Transport
from reactor.server.server import Server
from reactor.simulator.network import SimNetwork, Violation, Work

READ_BYTES: Final = 64 * 1024  # from one socket in one turn
REQUESTS: Final = 16  # that one connection makes in one stretch
PIECES: Final = 16
SEND_BYTES: Final = 256 * 1024  # in one send of a stretch
FAST_SEND_BYTES: Final = 4 * 1024 * 1024
SENDS: Final = 4  # the rest of a response, a stretch of it, and the same of the next one
SEND_CALLS: Final = 4 * (PIECES + 1)  # a piece may be in several parts
ACCEPTS: Final = 256
OTHERS: Final = 8 * SLICE  # calls of other phases while bulk work waits, between two of its slices

NOTHING: Final = Work()  # may be done for a ready socket that has no bytes: its end is bulk too
LISTENER: Final = Work(accepts=ACCEPTS, closes=ACCEPTS, sends=ACCEPTS, sent=READ_BYTES)

# The most that one call may do, where bytes have come. A socket that is ready alone may make more
# requests.
MOST: Final[dict[Phase, Work]] = {
    EVENTS: Work(1, READ_BYTES, SEND_CALLS, SENDS * SEND_BYTES, 0, 1, 1),
    URGENT: Work(1, READ_BYTES, SEND_CALLS, SENDS * SEND_BYTES, 0, 1, 1),
    FLUSH: Work(0, 0, SEND_CALLS, SEND_BYTES, 0, 0, 0),
    TIMERS: Work(0, 0, SEND_CALLS, SENDS * SEND_BYTES, 0, 1, 1),
    SOON: Work(0, 0, SEND_CALLS, SENDS * SEND_BYTES, 0, 1, 1),
    BULK: Work(0, 0, SEND_CALLS, SENDS * SEND_BYTES, 0, 1, REQUESTS, handshakes=1),
}


class FairnessWatch(Tracer):
    """Checks one server's loop, call by call, until the server drains. Raises Violation."""

    phases = tuple(Phase)

    def __init__(self, server: Server, network: SimNetwork) -> None:
        """Attaches itself, and counts the requests that the handler gets."""
        self._server = server
        self._reactor: Reactor = server.reactor
        self._network = network
        self._before = replace(network.work)
        self._had_turns: set[int] = set()  # the ready sockets of this turn that had theirs
        self._others = 0  # calls of other phases, while bulk work waits
        self.longest_queue = 0
        context = server._context
        handler = context.handler

        def counted(request: object) -> object:
            network.work.requests += 1
            return handler(request)  # type: ignore[arg-type]

        object.__setattr__(context, "handler", counted)
        self._reactor.attach(self)

    def waited(self, *_: object) -> None:
        """A turn begins."""
        self._had_turns.clear()
        self._before = replace(self._network.work)
        self.longest_queue = max(self.longest_queue, len(self._reactor.bulk))

    def called(
        self, phase: Phase, callback: object, began: float, ended: float, late: float
    ) -> None:
        """Compare what this call has done with what it may do."""
        done = self._network.work.since(self._before)
        self._before = replace(self._network.work)
        if self._server.draining:
            return  # the last clients are accepted, and each connection is read once more
        self._count(phase, callback)
        most = self._most(phase, callback, done)
        for name, count in vars(done).items():
            allowed = vars(most)[name]
            if count > allowed:
                raise Violation(
                    f"{describe(callback)} holds up the others in its turn of {phase.name}:"
                    f" {name} {count} in place of {allowed}"
                )

    def _count(self, phase: Phase, callback: object) -> None:
        """A ready socket has one turn, and bulk work waits for one slice of each other phase."""
        if phase is EVENTS:
            if id(callback) in self._had_turns:
                raise Violation(f"{describe(callback)} has two turns in one")
            self._had_turns.add(id(callback))
        self._others = 0 if phase is BULK or not self._reactor.bulk else self._others + 1
        if self._others > OTHERS:
            raise Violation(f"bulk work waits for {self._others} calls of other phases")

    def _most(self, phase: Phase, callback: object, done: Work) -> Work:
        if isinstance(getattr(callback, "__self__", callback), Listener | Arrivals):
            return LISTENER
        if phase in (EVENTS, URGENT) and not done.reads:
            return NOTHING
        most = MOST[phase]
        if done.sent > most.sent and self._may_be_fast(callback):
            most = replace(most, sent=most.sent // SEND_BYTES * FAST_SEND_BYTES)
        if phase is EVENTS and self._reactor.ready <= 1:
            most = replace(most, requests=REQUESTS)
        return most

    def _may_be_fast(self, callback: object) -> bool:
        """Whether the peer of this call has a larger share; one of all, where it is not known."""
        owner = getattr(callback, "__self__", callback)
        owner = getattr(owner, "_connection", owner)
        owner = getattr(owner, "transport", owner)
        known = isinstance(owner, Transport)
        connections = self._server.open_connections
        transports = [owner] if known else [connection.transport for connection in connections]
        return any(isinstance(one, Transport) and one.pace is FAST for one in transports)
