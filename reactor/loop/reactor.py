"""The event loop. One turn is five words: wait, now, events, timers, soon.

    wait    ask the selector what is ready, no longer than until the next timer
    now     read the clock, once
    events  let each ready socket have its turn
    timers  fire what is due
    soon    run what was queued for "not from here, but in this turn"

Three rules keep it small. Nothing here knows what a connection is: a selector key's data is called,
a timer is called, a queued callback is called, and what they raise is logged and costs them their
own life (`abort`), never the loop's. Deadlines move without touching the heap: a Deadline is a
number on an object, its heap entry wakes up at the old time, looks at the number and goes back to
sleep. Threads have one door, `call_soon_threadsafe`.

Fairness: no phase does more than a slice at a time. When more sockets are ready, the loop looks
between slices at timers, soon and the urgent ones (listeners), so what is new never waits for the
whole backlog; timers and callbacks beyond a slice wait for the next one, or the next turn.
"""

import logging
import selectors
import time
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from selectors import EVENT_READ, SelectorKey
from typing import Any, Final, Protocol

from reactor.loop.timers import NEVER, Callback, Deadline, Timer
from reactor.loop.waker import Waker

SLICE: Final = 64  # sockets, timers or callbacks that have their turn before others are looked at
LONGEST_WAIT: Final = 86400.0  # seconds; epoll_wait takes no more than 24 days
STALE_ENTRIES: Final = 1024  # so many dead timers may lie in the heap before it is rebuilt
log = logging.getLogger("reactor")


class EventHandler(Protocol):
    """What a selector key carries."""

    def on_events(self, mask: int) -> None: ...
    def abort(self) -> None: ...


class Output(Protocol):
    """What has queued bytes outside its own turn."""

    def end_turn(self) -> None: ...
    def abort(self) -> None: ...


class Reactor:
    """One thread's loop. The selector, the clock and the waker are arguments, for simulators."""

    def __init__(
        self,
        selector: selectors.BaseSelector | None = None,
        clock: Callable[[], float] = time.monotonic,
        waker: Waker | None = None,
    ) -> None:
        self.selector = selector or selectors.DefaultSelector()
        # Who times it puts itself in its place.
        self.wait: Callable[[float | None], list[tuple[SelectorKey, int]]] = self.selector.select
        self.clock = clock
        self.now = clock()  # read once a turn
        self.ready = 0  # how many sockets were, in this turn
        self.behind = False  # more is ready than this slice
        self.received = 0  # bytes, and
        self.sent = 0  # through all sockets; their transports count
        self.unflushed: list[Output] = []  # who queued output outside its own turn
        self.urgent: list[EventHandler] = []  # looked at between slices, ready or not
        self._timers: list[tuple[float, int, Deadline]] = []
        self._serial = 0  # makes timer tuples comparable
        self._stale = 0
        self._soon: deque[tuple[Callback, tuple[Any, ...]]] = deque()
        self._foreign: deque[tuple[Callback, tuple[Any, ...]]] = deque()
        self._running = False
        self.waker = waker or Waker()
        self.selector.register(self.waker, EVENT_READ, self.waker)

    # --- what others ask of the loop -------------------------------------------------------------

    def call_soon(self, callback: Callback, *arguments: Any) -> None:
        """Call it in the `soon` phase: of this turn, or of the next if that is where we are."""
        self._soon.append((callback, arguments))

    def call_soon_threadsafe(self, callback: Callback, *arguments: Any) -> None:
        """The only method for other threads (and signal handlers): `call_soon`, and wake up."""
        self._foreign.append((callback, arguments))
        self.waker.wake()

    def call_later(self, seconds: float, callback: Callback, *arguments: Any) -> Timer:
        """Call it after `seconds`, counted from a fresh clock: `now` is old in a slow turn."""
        timer = Timer(self, callback, arguments)
        timer.deadline = self.clock() + seconds
        self.arm(timer)
        return timer

    def arm(self, timer: Deadline) -> None:
        """Make sure that `timer.deadline` is noticed; needed where it may have moved earlier."""
        if timer.deadline < timer.armed:
            if timer.armed != NEVER:
                self._stale += 1
            self._push(timer)

    def disarm(self, timer: Deadline) -> None:
        """Forget the timer. What is cancelled must not stay in the heap until its time."""
        timer.deadline = NEVER
        if timer.armed != NEVER:
            timer.armed = NEVER
            self._stale += 1
            if self._stale > STALE_ENTRIES and self._stale > len(self._timers) // 2:
                self._timers = [entry for entry in self._timers if entry[0] == entry[2].armed]
                heapify(self._timers)
                self._stale = 0

    # --- the loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Turn after turn until `stop`."""
        self._running = True
        while self._running:
            self.run_once()

    def stop(self) -> None:
        """Let `run` return after this turn. From another thread: `call_soon_threadsafe(stop)`."""
        self._running = False

    def run_once(self, longest: float | None = None) -> None:
        """One turn; `wait` takes `longest` seconds at most (None: until something happens)."""
        if self._soon or self._foreign or self.unflushed:
            longest = 0.0
        elif self._timers:
            until = min(max(0.0, self._timers[0][0] - self.clock()), LONGEST_WAIT)
            longest = until if longest is None else min(until, longest)
        ready = self.wait(longest)
        self.now = self.clock()
        self.ready = len(ready)
        if self.ready > SLICE:
            self._run_in_slices(ready)
        else:
            self._run_events(ready)
            if self.unflushed:
                self._flush()
        if self._timers and self._timers[0][0] <= self.now:
            self._run_timers()
        if self._soon or self._foreign or self.unflushed:
            self._run_soon()

    def close(self) -> None:
        """Close the waker and the selector; the reactor is not usable afterwards."""
        self.selector.unregister(self.waker)
        self.waker.close()
        self.selector.close()

    def look(self, handler: EventHandler) -> None:
        """Give it a turn out of turn, ready or not."""
        self._call(handler.on_events, (EVENT_READ,))

    # --- the phases ------------------------------------------------------------------------------

    def _run_events(self, ready: list[tuple[SelectorKey, int]]) -> None:
        for key, mask in ready:
            try:
                key.data.on_events(mask)
            except Exception:
                self._blame(key.data)

    def _run_in_slices(self, ready: list[tuple[SelectorKey, int]]) -> None:
        """A backlog is worked in the order in which it came, and no newcomer waits for its end."""
        self.behind = True
        for start in range(0, len(ready), SLICE):
            self._run_events(ready[start : start + SLICE])
            self._flush()
            self.now = self.clock()
            self._run_timers()
            self._run_soon()
            for handler in self.urgent:
                self.look(handler)
        self.behind = False

    def _run_timers(self) -> None:
        """What is due, a slice of it: ten thousand idle connections may be due at once."""
        timers, now = self._timers, self.now
        for _ in range(SLICE):
            if not timers or timers[0][0] > now:
                return
            when, _, timer = heappop(timers)
            if when != timer.armed:
                self._stale -= 1  # moved earlier, or cancelled, since it was pushed
            elif timer.deadline > now:
                timer.armed = NEVER
                if timer.deadline != NEVER:
                    self._push(timer)
            else:
                timer.armed = timer.deadline = NEVER
                self._call(timer.deadline_passed)
            timers = self._timers  # it may have been rebuilt

    def _run_soon(self) -> None:
        """A slice of what is there at the start: what it queues itself waits for the next turn."""
        soon, foreign = self._soon, self._foreign
        while foreign:
            soon.append(foreign.popleft())
        for _ in range(min(len(soon), SLICE)):
            self._call(*soon.popleft())
        self._flush()

    def _flush(self) -> None:
        """Output that was queued by a timer or a callback has no event of its own to leave with."""
        unflushed, self.unflushed = self.unflushed, []
        for output in unflushed:
            try:
                output.end_turn()
            except Exception:
                self._blame(output)

    def _call(self, callback: Callback, arguments: tuple[Any, ...] = ()) -> None:
        """What it raises costs its owner its life, and nobody else."""
        try:
            callback(*arguments)
        except Exception:
            self._blame(getattr(callback, "__self__", callback))

    def _push(self, timer: Deadline) -> None:
        self._serial += 1
        timer.armed = timer.deadline
        heappush(self._timers, (timer.deadline, self._serial, timer))

    def _blame(self, culprit: object) -> None:
        """Log the exception; a half-done turn must not be continued, so its owner is aborted."""
        log.exception("%r failed in the loop", culprit)
        abort = getattr(culprit, "abort", None)
        if abort is not None:
            try:
                abort()
            except Exception:
                log.exception("%r could not be aborted", culprit)
