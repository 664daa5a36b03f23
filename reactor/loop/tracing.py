"""The steps of a turn that report to tracers.

Reactor.attach puts these methods in the place of its own, step by step, and only where an attached
tracer has named the phase. They do what the reactor's own steps do, plus the reports. So a turn
without tracers pays nothing, and one with slow-callback logging pays one reading of the clock for
each ready socket and two for each timer or callback.
"""

import logging
from collections.abc import Callable, Sequence
from selectors import BaseSelector, SelectorKey
from typing import Any, Protocol

from reactor.errors import all_but_interrupts
from reactor.loop.describe import safe_repr
from reactor.loop.scheduler import Flushable, owner_of
from reactor.loop.timers import NEVER, Callback
from reactor.loop.tracer import (
    BULK,
    EVENTS,
    FLUSH,
    SOON,
    TIMERS,
    URGENT,
    WAIT,
    Phase,
    Reason,
    Tracer,
)

log = logging.getLogger("reactor")


class Traced(Protocol):
    """The parts of a Reactor that the steps use."""

    selector: BaseSelector
    clock: Callable[[], float]
    now: float
    behind: bool
    unflushed: list[Flushable]
    tracers: tuple[Tracer, ...]

    def detach(self, tracer: Tracer) -> None: ...
    def blame(self, culprit: object) -> None: ...
    def wait_reason(self, timeout: float | None) -> Reason: ...


class Tracing:
    """Reports one reactor's turns to its tracers."""

    def __init__(self, reactor: Traced, tracers: Sequence[Tracer]) -> None:
        self._reactor = reactor
        self._tracers = [[one for one in tracers if phase in one.phases] for phase in Phase]
        callbacks = [one for found in self._tracers[WAIT + 1 :] for one in found]
        self._limit = min((one.limit for one in callbacks), default=NEVER)

    def steps(self) -> dict[str, Callable[..., Any]]:
        """The steps to replace, by the reactor's names for them."""
        traced = [bool(found) for found in self._tracers]
        steps: dict[str, Callable[..., Any]] = {}
        if traced[WAIT]:
            steps["_wait"] = self.wait
        if traced[EVENTS]:
            steps["_run_events"] = self.run_events
        if traced[FLUSH]:
            steps["_flush"] = self.flush
        if traced[TIMERS] or traced[SOON] or traced[BULK] or traced[URGENT]:
            steps["_call"] = self.call
        return steps

    def wait(self, timeout: float | None) -> list[tuple[SelectorKey, int]]:
        """Ask the selector what is ready, and report the wait."""
        reactor = self._reactor
        reason = reactor.wait_reason(timeout)
        began = reactor.clock()
        ready = reactor.selector.select(timeout)
        ended = reactor.clock()
        for tracer in tuple(self._tracers[WAIT]):
            try:
                tracer.waited(began, ended, timeout, reason, ready)
            except all_but_interrupts():
                self._dismiss(tracer)
        return ready

    def run_events(self, ready: list[tuple[SelectorKey, int]]) -> None:
        """Let each ready socket have its turn. One reading of the clock ends it and begins the
        next.
        """
        reactor, limit = self._reactor, self._limit
        clock = reactor.clock
        began = clock() if reactor.behind else reactor.now
        for key, mask in ready:
            try:
                key.data.on_events(mask)
            except all_but_interrupts():
                reactor.blame(key.data)
            ended = clock()
            if ended - began >= limit:
                self._report(EVENTS, key.data, began, ended)
                ended = clock()
            began = ended

    def flush(self) -> None:
        """End the turn of each output that has queued something."""
        reactor, clock = self._reactor, self._reactor.clock
        unflushed, reactor.unflushed = reactor.unflushed, []
        for output in unflushed:
            began = clock()
            try:
                output.end_turn()
            except all_but_interrupts():
                reactor.blame(output)
            ended = clock()
            if ended - began >= self._limit:
                self._report(FLUSH, output, began, ended)

    def call(
        self,
        callback: Callback,
        arguments: tuple[Any, ...] = (),
        phase: Phase = SOON,
        due: float = NEVER,
    ) -> None:
        """Call a timer, a queued callback, bulk work, or an urgent handler."""
        reactor = self._reactor
        began = reactor.clock()
        try:
            callback(*arguments)
        except all_but_interrupts():
            reactor.blame(owner_of(callback))
        ended = reactor.clock()
        if ended - began >= self._limit:
            self._report(phase, callback, began, ended, max(0.0, began - due))

    def _report(
        self, phase: Phase, callback: object, began: float, ended: float, late: float = 0.0
    ) -> None:
        for tracer in tuple(self._tracers[phase]):
            try:
                if ended - began >= tracer.limit:
                    tracer.called(phase, callback, began, ended, late)
            except all_but_interrupts():
                self._dismiss(tracer)

    def _dismiss(self, tracer: Tracer) -> None:
        """Log the error of a tracer, which would fail again and again, and detach it."""
        log.exception("%s failed and is detached from the loop", safe_repr(tracer))
        for found in self._tracers:
            if tracer in found:
                found.remove(tracer)
        if tracer in self._reactor.tracers:
            self._reactor.detach(tracer)
