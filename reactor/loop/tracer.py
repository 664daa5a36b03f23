"""The protocol of a tracer: an object that watches the loop at work.

`Reactor.attach(tracer)` starts the reports and `Reactor.detach` ends them. A tracer names in
`phases` what it wants to be reported, and in `limit` from which duration on, so that each one costs
only what it uses: slow-callback logging reads the clock once for each ready socket and is called
for slow ones only, loop statistics are called once a turn, and a loop without tracers runs as if
there were none.

    waited  one wait: its timeout and the reason for it, how long it took, the sockets it returned
    called  one callback: its phase, its duration and, for a timer, how late it was called

Tracers run on the loop's thread between two callbacks. They only look: a tracer that changed the
loop would change what it measures. One that raises is logged and detached.
"""

from collections.abc import Collection, Sequence
from enum import Enum, IntEnum
from selectors import SelectorKey
from typing import Final


class Phase(IntEnum):
    """The parts of a turn that can be reported."""

    WAIT = 0
    EVENTS = 1  # a ready socket's turn
    FLUSH = 2  # the end of an output's turn, which sends what it has queued
    TIMERS = 3
    SOON = 4
    BULK = 5
    URGENT = 6  # a look at a handler between two slices, ready or not


WAIT, EVENTS, FLUSH, TIMERS, SOON, BULK, URGENT = Phase  # read faster than through their class
CALLBACKS: Final = frozenset({EVENTS, TIMERS, SOON, BULK, URGENT})


class Reason(Enum):
    """Why a wait has its timeout."""

    QUEUED = "callbacks, output or bulk work are queued"  # the timeout is 0
    TIMER = "the next timer is due then, or later than the longest wait"
    CALLER = "the caller of run_once waits no longer"
    NOTHING = "there is nothing to wait for but sockets"  # no timeout


class Tracer:
    """Base class of tracers. Its hooks do nothing."""

    phases: Collection[Phase] = ()  # the ones to report
    limit: float = 0.0  # in seconds; callbacks that take less are not reported

    def waited(
        self,
        began: float,
        ended: float,
        timeout: float | None,
        reason: Reason,
        ready: Sequence[tuple[SelectorKey, int]],
    ) -> None:
        """A wait is over: times by the reactor's clock, then each ready socket with its mask."""

    def called(
        self, phase: Phase, callback: object, began: float, ended: float, late: float
    ) -> None:
        """A callback has returned, or raised what the loop has logged.

        `callback` is the handler of a ready socket (EVENTS), the output (FLUSH), or else the
        function. `late` is the number of seconds between a timer's due time and its call, and 0.0
        for all others.
        """
