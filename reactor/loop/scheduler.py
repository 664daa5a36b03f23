"""Callbacks and timers of one thread: the half of the loop that needs no sockets.

    timers  call those that are due, in the order of their times
    soon    call what was queued for "not from here, but in this turn", then flush queued output

The Reactor adds the other half, which waits for sockets; a thread that waits for one socket only
can be a Scheduler too. Two rules hold here. An exception that a callback raises is logged and costs
its owner its life (`abort`), never the loop. Deadlines move without touching the heap: a Deadline
is a number on an object; when its heap entry comes up at the old time, the number is read again and
the entry goes back to sleep.

No phase does more than a slice at a time: timers and callbacks beyond a slice wait for the next
one, or the next turn.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from reactor.errors import all_but_interrupts
from reactor.loop.describe import safe_repr
from reactor.loop.timers import NEVER, Callback, Deadline, Timer
from reactor.loop.tracer import SOON, TIMERS, Phase

SLICE: Final = 64  # sockets, timers or callbacks that are called before another phase has its turn
STALE_ENTRIES: Final = 1024  # dead timers that may lie in the heap before it is compacted

Call: TypeAlias = tuple[Callback, tuple[Any, ...]]  # a callback and its arguments

log = logging.getLogger("reactor")


class Flushable(Protocol):
    """An output that has queued bytes outside its own turn."""

    def end_turn(self) -> None:
        """Send what is queued."""

    def abort(self) -> None:
        """Called if `end_turn` raises."""


class LoopSnapshot(NamedTuple):
    """The state of a loop at one moment."""

    now: float  # the time of this turn, by the loop's clock
    timers: tuple[tuple[float, Deadline], ...]  # live ones, unordered, with their times in the heap
    dead_timers: int  # cancelled or moved earlier, and still in the heap
    callbacks: tuple[Call, ...]  # queued for the next `soon` phase; those of other threads are last
    unflushed: tuple[Flushable, ...]  # outputs whose end of turn is to come
    received: int  # bytes since the loop was made
    sent: int
    ready: int  # sockets that were ready in this turn
    bulk: tuple[Call, ...] = ()  # work that can wait, in the order of its turns


def owner_of(callback: object) -> object:
    """The object that pays for an error of the callback: that of a method, or the callback."""
    return getattr(callback, "__self__", callback)


def abort_owner(owner: object) -> None:
    """Call the `abort` of an object, if it has one. Its errors are logged."""
    try:
        abort = getattr(owner, "abort", None)
        if abort is not None:
            abort()
    except all_but_interrupts():
        _log_exception("%s could not be aborted", safe_repr(owner))


def _log_exception(sentence: str, name: str) -> None:
    try:
        log.exception(sentence, name)
    except all_but_interrupts():
        pass  # the program's own logging failed, and no one is left who could log that


class Scheduler:
    """Callbacks and timers of one thread. The clock is an argument, for simulators."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.now = clock()  # read once a turn
        self.ready = 0  # number of sockets that were ready in this turn
        self.received = 0  # bytes, through all sockets; their transports count
        self.sent = 0
        self.unflushed: list[Flushable] = []  # outputs whose `end_turn` is to be called
        self._timers: list[tuple[float, int, Deadline]] = []  # one heap, always the same list
        self._serial = 0  # makes timer tuples comparable
        self._stale = 0  # dead entries in the heap
        self._soon: deque[Call] = deque()
        self._foreign: deque[Call] = deque()  # from other threads

    def call_soon(self, callback: Callback, *arguments: Any) -> None:
        """Call it in the `soon` phase of this turn, or of the next if this one has begun it."""
        self._soon.append((callback, arguments))

    def call_bulk(self, callback: Callback, *arguments: Any) -> None:
        """Call it when there is time for work that can wait.

        Here that is the `soon` phase; a loop that serves many has a phase of its own for it.
        """
        self.call_soon(callback, *arguments)

    def call_soon_threadsafe(self, callback: Callback, *arguments: Any) -> None:
        """`call_soon`, then `wake`: the only method for other threads and signal handlers."""
        self._foreign.append((callback, arguments))
        self.wake()

    def wake(self) -> None:
        """End this thread's wait, if it waits. Called on any thread."""
        raise NotImplementedError

    def call_later(self, seconds: float, callback: Callback, *arguments: Any) -> Timer:
        """Call it after `seconds`, counted from a fresh clock: `now` is old in a slow turn."""
        timer = Timer(self, callback, arguments)
        timer.deadline = self.clock() + seconds
        self.arm(timer)
        return timer

    def arm(self, timer: Deadline) -> None:
        """Make the heap notice `timer.deadline`; needed where it may have moved earlier."""
        if timer.deadline < timer.armed:
            if timer.armed != NEVER:
                self._stale += 1
            self._push(timer)

    def disarm(self, timer: Deadline) -> None:
        """Forget the timer. Dead entries are removed from the heap when there are many of them."""
        timer.deadline = NEVER
        if timer.armed != NEVER:
            timer.armed = NEVER
            self._stale += 1
            if self._stale > STALE_ENTRIES and self._stale > len(self._timers) // 2:
                self.compact()

    def compact(self) -> None:
        """Remove the dead entries from the heap, which hold references to their owners."""
        # In place: a turn, and the phases in it, hold on to this list.
        self._timers[:] = [one for one in self._timers if one[0] == one[2].armed]
        heapify(self._timers)
        self._stale = 0

    def snapshot(self) -> LoopSnapshot:
        """The state at this moment, for reports and tests."""
        return LoopSnapshot(
            now=self.now,
            timers=tuple((when, one) for when, _, one in self._timers if when == one.armed),
            dead_timers=self._stale,
            callbacks=(*self._soon, *self._foreign),
            unflushed=tuple(self.unflushed),
            received=self.received,
            sent=self.sent,
            ready=self.ready,
        )

    def blame(self, culprit: object) -> None:
        """Log the exception in progress, and abort its owner: a half-done turn must not go on."""
        _log_exception("%s failed in the loop", safe_repr(culprit))
        abort_owner(culprit)

    # --- the phases ------------------------------------------------------------------------------

    def _run_timers(self) -> None:
        """Call a slice of the timers that are due: ten thousand connections may be due at once."""
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
                due = timer.deadline
                timer.armed = timer.deadline = NEVER
                self._call(timer.deadline_passed, (), TIMERS, due)

    def _run_soon(self) -> None:
        """Call a slice of the callbacks queued so far; new ones wait for the next turn."""
        soon, foreign = self._soon, self._foreign
        while foreign:
            soon.append(foreign.popleft())
        for _ in range(min(len(soon), SLICE)):
            self._call(*soon.popleft())
        self._flush()

    def _flush(self) -> None:
        """End the turn of each output that has queued something since the last flush."""
        unflushed, self.unflushed = self.unflushed, []
        for output in unflushed:
            try:
                output.end_turn()
            except all_but_interrupts():
                self.blame(output)

    def _call(
        self,
        callback: Callback,
        arguments: tuple[Any, ...] = (),
        phase: Phase = SOON,
        due: float = NEVER,
    ) -> None:
        """Call it. `phase` and a timer's `due` time are for tracers: see tracing.py."""
        try:
            callback(*arguments)
        except all_but_interrupts():
            self.blame(owner_of(callback))

    def _push(self, timer: Deadline) -> None:
        self._serial += 1
        timer.armed = timer.deadline
        heappush(self._timers, (timer.deadline, self._serial, timer))
