"""The event loop. One turn is six words: wait, now, events, timers, soon, bulk.

    wait    ask the selector what is ready, no longer than until the next timer
    now     read the clock, once
    events  let each ready socket have its turn
    timers  call those that are due
    soon    call what was queued for "not from here, but in this turn"
    bulk    call what can wait, for a slice of time

Three rules keep it small. Nothing here knows what a connection is: a selector key's data, a timer
or a queued callback is called, and an exception that it raises is logged and costs its owner its
life (`abort`), never the loop. Timers and callbacks are the Scheduler's (see scheduler.py). Other
threads have one door, `call_soon_threadsafe`.

Fairness: the first five words do what somebody waits for, a request or a small response; what is
long or left over is bulk: a further stretch of a file, the rest of a pipeline, the end of a
connection (`call_bulk`). It waits in one queue for what is left of TURN_SECONDS, or for BULK_SHARE
of a turn that is longer than that. While something is in it the loop does not sleep, so a new
request waits for one slice of the bulk of others, and bulk work never starves.

No phase does more than a slice at a time. When more sockets are ready, the loop runs timers,
`soon`, `bulk` and the urgent handlers (listeners) between slices, so that a new client never waits
for the whole backlog. Timers and callbacks beyond a slice wait for the next one, or the next turn.

All that watches the loop is a tracer: `attach` puts steps that report in the place of the ones
here, and `detach` removes them (see tracer.py).
"""

import selectors
import time
from collections import deque
from collections.abc import Callable
from selectors import EVENT_READ, SelectorKey
from typing import Any, Final, Protocol

from reactor.errors import all_but_interrupts
from reactor.loop.scheduler import SLICE, Call, LoopSnapshot, Scheduler
from reactor.loop.timers import Callback
from reactor.loop.tracer import BULK, URGENT, Reason, Tracer
from reactor.loop.tracing import Tracing
from reactor.loop.waker import Waker

LONGEST_WAIT: Final = 86400.0  # seconds; epoll_wait takes no more than 24 days
TURN_SECONDS: Final = 0.0015  # for a turn with bulk work, unless its other work takes longer
BULK_SHARE: Final = 0.25  # the part of a longer turn that is for bulk work
BULK_PART: Final = BULK_SHARE / (1 - BULK_SHARE)  # the same, as a part of its other work


class EventHandler(Protocol):
    """The data of a selector key."""

    def on_events(self, mask: int) -> None:
        """Take a turn; `mask` has the events that are ready."""

    def abort(self) -> None:
        """Called if `on_events` raises."""


class Reactor(Scheduler):
    """One thread's loop. The selector, the clock and the waker are arguments, for simulators."""

    def __init__(
        self,
        selector: selectors.BaseSelector | None = None,
        clock: Callable[[], float] = time.monotonic,
        waker: Waker | None = None,
    ) -> None:
        super().__init__(clock)
        self.selector = selector or selectors.DefaultSelector()
        self._wait: Callable[[float | None], list[tuple[SelectorKey, int]]] = self.selector.select
        self.bulk: deque[Call] = deque()  # work that can wait; see `call_bulk`
        self.behind = False  # more sockets are ready than fit into this slice
        self.urgent: list[EventHandler] = []  # called between slices, ready or not
        self.tracers: tuple[Tracer, ...] = ()  # see `attach`
        self._traced: dict[str, Callable[..., object]] = {}  # the steps that report to them
        self._stopping = False
        self.waker = waker or Waker()
        self.selector.register(self.waker, EVENT_READ, self.waker)

    def run(self) -> None:
        """Make one turn after the other until `stop`; none where that came before."""
        with self.waker.woken_by_signals():
            while not self._stopping:
                self.run_once()
        self._stopping = False

    def stop(self) -> None:
        """Make `run` return after this turn. From another thread: `call_soon_threadsafe(stop)`."""
        self._stopping = True

    def call_bulk(self, callback: Callback, *arguments: Any) -> None:
        """Call it in a `bulk` phase, behind all bulk work that was queued before.

        The callback should do a stretch of its work that takes much less than TURN_SECONDS, and
        queue itself again for the next one.
        """
        self.bulk.append((callback, arguments))

    def run_once(self, longest: float | None = None) -> None:
        """Make one turn, which waits `longest` seconds at most (None: until something happens)."""
        timers = self._timers
        if self._soon or self._foreign or self.unflushed or self.bulk:
            longest = 0.0
        elif timers:
            # Comparisons in place of min and max: their calls cost a third of a turn.
            until = timers[0][0] - self.clock()
            if until < 0.0:
                until = 0.0
            elif until > LONGEST_WAIT:
                until = LONGEST_WAIT
            if longest is None or until < longest:
                longest = until
        ready = self._wait(longest)
        self.now = self.clock()
        self.ready = count = len(ready)
        if count > SLICE:
            self._run_in_slices(ready)
        else:
            self._run_events(ready)
            if self.unflushed:
                self._flush()
        if timers and timers[0][0] <= self.now:
            self._run_timers()
        if self._soon or self._foreign or self.unflushed:
            self._run_soon()
        if self.bulk:
            used = self.clock() - self.now
            self._run_bulk(max(TURN_SECONDS - used, used * BULK_PART))

    def wake(self) -> None:
        """End the wait, from another thread or a signal handler."""
        self.waker.wake()

    def look(self, handler: EventHandler) -> None:
        """Call a handler outside the usual order, whether or not it is ready."""
        self._call(handler.on_events, (EVENT_READ,), URGENT)

    def close(self) -> None:
        """Close the waker and the selector; the reactor is not usable afterwards."""
        self._trace(())
        self.selector.unregister(self.waker)
        self.waker.close()
        self.selector.close()

    # --- tracers ---------------------------------------------------------------------------------

    def attach(self, tracer: Tracer) -> None:
        """Report to this tracer from the next step on, until `detach` or `close`."""
        self._trace((*self.tracers, tracer))

    def detach(self, tracer: Tracer) -> None:
        """Report to this tracer no longer. Raises ValueError where it is not attached."""
        if tracer not in self.tracers:
            raise ValueError(f"{tracer!r} is not attached to this reactor")
        self._trace(tuple(one for one in self.tracers if one is not tracer))

    def snapshot(self) -> LoopSnapshot:
        """The state at this moment, for reports and tests."""
        return super().snapshot()._replace(bulk=tuple(self.bulk))

    def wait_reason(self, timeout: float | None) -> Reason:
        """Why the wait that is about to begin has this timeout."""
        if self._soon or self._foreign or self.unflushed or self.bulk:
            return Reason.QUEUED
        if timeout is None:
            return Reason.NOTHING
        if self._timers:
            until = self._timers[0][0] - self.clock()
            if until <= timeout or timeout == LONGEST_WAIT:
                return Reason.TIMER
        return Reason.CALLER

    def _trace(self, tracers: tuple[Tracer, ...]) -> None:
        """Put the steps that report to these tracers in the place of those of the class."""
        steps = Tracing(self, tracers).steps()
        for name in self._traced:
            delattr(self, name)
        self._wait = self.selector.select
        self.tracers = tracers
        self._traced = steps
        for name, step in self._traced.items():
            setattr(self, name, step)

    # --- the phases ------------------------------------------------------------------------------

    def _run_events(self, ready: list[tuple[SelectorKey, int]]) -> None:
        for key, mask in ready:
            try:
                key.data.on_events(mask)
            except all_but_interrupts():
                self.blame(key.data)

    def _run_bulk(self, seconds: float) -> None:
        """Call bulk work in its order, each once at most, until its time is over.

        Each call's output is sent at once, so that its time is counted.
        """
        bulk, clock = self.bulk, self.clock
        until = clock() + seconds
        for _ in range(len(bulk)):
            self._call(*bulk.popleft(), BULK)
            if self.unflushed:
                self._flush()
            if clock() >= until:
                return

    def _run_in_slices(self, ready: list[tuple[SelectorKey, int]]) -> None:
        """Work through a backlog in its order, with all else in between."""
        self.behind = True
        for start in range(0, len(ready), SLICE):
            began = self.clock()
            self._run_events(ready[start : start + SLICE])
            self._flush()
            self.now = self.clock()
            self._run_timers()
            self._run_soon()
            self._run_bulk((self.clock() - began) * BULK_PART)
            for handler in self.urgent:
                self.look(handler)
        self.behind = False
