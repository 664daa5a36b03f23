"""Counters of a server, for a page of metrics.

Counting begins when a handler asks the server for its statistics. Until then it costs nothing: the
connection calls one observer, or none, and no tracer is attached to the loop. Nothing here is a
list that grows: there is a counter for each method and status, a fixed set of buckets, and two
windows of time.

A turn of the loop is the time between two waits, and an event that comes meanwhile waits for its
end. So the longest turn of a window is the loop's lag, and the share of time that is not spent
waiting is its utilisation.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from selectors import SelectorKey
from typing import Final

from reactor.http.connection import HttpConnection
from reactor.http.context import Observer, ServerContext
from reactor.http.states import ConnectionState
from reactor.loop.reactor import Reactor
from reactor.loop.tracer import WAIT, Reason, Tracer
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.net.handshakes import Handshakes
from reactor.observe.log_writer import LogWriter
from reactor.protocol.grammar import METHODS
from reactor.tasks.thread_pool import PoolSnapshot, ThreadPool

# Upper bounds of the buckets in seconds, the bound itself included. One more bucket is for longer
# durations than the last bound.
DURATIONS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
WINDOW_SECONDS: Final = 10.0  # lag and utilisation are those of the last whole window
OTHER: Final = "other"  # in place of a method beyond METHODS, and of a missing one


class Statistics:
    """Counters of one server, from the moment when they were asked for."""

    def __init__(
        self,
        reactor: Reactor,
        context: ServerContext,
        pool: ThreadPool,
        connections: Mapping[HttpConnection, float],
        logs: Mapping[str, LogWriter],
        handshakes: Handshakes,
        expirations: Callable[[], Mapping[str, datetime]],
    ) -> None:
        # Responses, by method and status.
        self.requests: dict[str, dict[int, int]] = {one: {} for one in (*sorted(METHODS), OTHER)}
        self.durations = [0] * (len(DURATIONS) + 1)  # responses, by the buckets of DURATIONS
        self.duration_seconds = 0.0  # the sum over all responses
        self.loop = LoopTimes(reactor)
        self._context = context
        self._clock = reactor.clock
        self._pool = pool
        self._connections = connections
        self._logs = logs
        self.handshakes = handshakes
        self.expirations = expirations  # the ends of certificates, by their first names

    def count(self, request: BaseRequest, status: int, fields: Fields, size: int) -> None:
        """Count a response that was queued whole or has broken off. This is an Observer."""
        by_status = self.requests.get(request.method)
        if by_status is None:
            by_status = self.requests[OTHER]
        by_status[status] = by_status.get(status, 0) + 1
        seconds = self._clock() - request.started
        self.duration_seconds += seconds
        self.durations[bisect_left(DURATIONS, seconds)] += 1

    @property
    def accepted(self) -> int:
        """The number of accepted connections since the server's start."""
        return self._context.state.accepted

    @property
    def received_bytes(self) -> int:
        """Bytes that all connections have received since the loop's start."""
        return self._context.reactor.received

    @property
    def sent_bytes(self) -> int:
        """Bytes that all connections have sent since the loop's start."""
        return self._context.reactor.sent

    @property
    def pool(self) -> PoolSnapshot:
        """Threads and jobs of the thread pool at this moment."""
        return self._pool.snapshot()

    def connections(self) -> dict[str, int]:
        """The number of connections in each state, by its name in lower case. Visits each one."""
        counts = [0] * len(ConnectionState)
        for connection in self._connections:
            counts[connection.state] += 1
        return {
            state.name.lower(): counts[state]
            for state in ConnectionState
            if state is not ConnectionState.CLOSED
        }

    def lost_lines(self) -> dict[str, int]:
        """The number of lines that could not be written, by the name of the log."""
        return {name: writer.lost for name, writer in self._logs.items()}


class LoopTimes(Tracer):
    """How long the loop works and waits, from a tracer of its waits."""

    phases = (WAIT,)

    def __init__(self, reactor: Reactor) -> None:
        """Attaches itself to the reactor."""
        self.turns = 0
        self.busy_seconds = 0.0
        self._clock = reactor.clock
        self._woke = self._begun = self._clock()
        self._longest = 0.0
        self._busy_before = 0.0  # busy_seconds when the window began
        self._last = (0.0, 0.0)  # lag and utilisation of the window before
        reactor.attach(self)

    def waited(
        self,
        began: float,
        ended: float,
        timeout: float | None,
        reason: Reason,
        ready: Sequence[tuple[SelectorKey, int]],
    ) -> None:
        """Count the turn that has ended with this wait."""
        busy = began - self._woke
        self.turns += 1
        self.busy_seconds += busy
        if busy > self._longest:
            self._longest = busy
        if began - self._begun >= WINDOW_SECONDS:
            self._turn_over(began, self.busy_seconds)
        self._woke = ended

    @property
    def lag(self) -> float:
        """The longest turn of the last window, in seconds."""
        return self._window()[0]

    @property
    def utilisation(self) -> float:
        """The share of the last window that was not spent waiting, from 0 to 1."""
        return self._window()[1]

    def _window(self) -> tuple[float, float]:
        now = self._clock()
        if now - self._begun >= WINDOW_SECONDS:
            turn = now - self._woke  # so far: the caller is a part of it
            self._longest = max(self._longest, turn)
            self._turn_over(now, self.busy_seconds + turn)
        return self._last

    def _turn_over(self, now: float, busy: float) -> None:
        share = (busy - self._busy_before) / (now - self._begun)
        self._last = (self._longest, min(1.0, share))
        self._begun, self._longest, self._busy_before = now, 0.0, busy


def observe_both(first: Observer | None, second: Observer) -> Observer:
    """An observer that calls two."""
    if first is None:
        return second
    other = first

    def observe(request: BaseRequest, status: int, fields: Fields, size: int) -> None:
        other(request, status, fields, size)
        second(request, status, fields, size)

    return observe
