"""Tracers: what they are called with, that they do not disturb, and what is left when they go."""

from collections.abc import Callable, Sequence
from selectors import EVENT_READ, EVENT_WRITE, SelectorKey
from typing import Any

import pytest

from reactor.loop.reactor import LONGEST_WAIT
from reactor.loop.scheduler import SLICE
from reactor.loop.tracer import (
    CALLBACKS,
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
from reactor.simulator import SimReactor
from tests.simulation.scenario import play
from tests.support.fake_loop import FakeHandler, LoopWorld

ALL = tuple(Phase)
STEPS = {"_wait", "_run_events", "_flush", "_call"}


class Recorder(Tracer):
    """Keeps its calls."""

    def __init__(self, *phases: Phase, limit: float = 0.0) -> None:
        self.phases = phases
        self.limit = limit
        self.waits: list[tuple[float | None, Reason, float]] = []
        self.ready: list[list[tuple[object, int]]] = []
        self.calls: list[tuple[Phase, object, float, float]] = []

    def waited(
        self,
        began: float,
        ended: float,
        timeout: float | None,
        reason: Reason,
        ready: Sequence[tuple[SelectorKey, int]],
    ) -> None:
        self.waits.append((timeout, reason, ended - began))
        self.ready.append([(key.data, mask) for key, mask in ready])

    def called(
        self, phase: Phase, callback: object, began: float, ended: float, late: float
    ) -> None:
        self.calls.append((phase, callback, ended - began, late))


def takes(world: LoopWorld, seconds: float) -> Callable[[], None]:
    """A callback that takes so long."""

    def callback() -> None:
        world.clock.time += seconds

    return callback


def attached(world: LoopWorld, *phases: Phase, limit: float = 0.0) -> Recorder:
    recorder = Recorder(*phases, limit=limit)
    world.reactor.attach(recorder)
    return recorder


# --- waits ---------------------------------------------------------------------------------------


def test_a_wait_is_reported_with_its_reason(world: LoopWorld) -> None:
    recorder, reactor = attached(world, WAIT), world.reactor
    reactor.call_soon(len, "")
    reactor.run_once()
    reactor.call_later(3, len, "")
    reactor.run_once(1)
    reactor.run_once(100)
    world.selector.make_ready(FakeHandler(lambda: None))
    reactor.run_once()
    reactor.run_once(0.5)
    reactor.call_later(3 * LONGEST_WAIT, len, "")
    reactor.run_once()
    assert recorder.waits == [
        (0.0, Reason.QUEUED, 0),
        (1, Reason.CALLER, 1),
        (2, Reason.TIMER, 2),
        (None, Reason.NOTHING, 0),
        (0.5, Reason.CALLER, 0.5),
        (LONGEST_WAIT, Reason.TIMER, LONGEST_WAIT),
    ]


def test_output_and_calls_of_other_threads_are_reasons_not_to_wait(world: LoopWorld) -> None:
    recorder, reactor = attached(world, WAIT), world.reactor
    reactor.unflushed.append(FakeHandler(lambda: None))
    reactor.run_once()
    reactor.call_soon_threadsafe(len, "")
    reactor.run_once()
    assert [reason for _, reason, _ in recorder.waits] == [Reason.QUEUED] * 2


def test_ready_sockets_are_reported_with_their_masks(world: LoopWorld) -> None:
    recorder = attached(world, WAIT)
    one, other = FakeHandler(lambda: None), FakeHandler(lambda: None)
    world.selector.make_ready(one, EVENT_READ)
    world.selector.make_ready(other, EVENT_READ | EVENT_WRITE)
    world.reactor.run_once()
    assert recorder.ready == [[(one, EVENT_READ), (other, EVENT_READ | EVENT_WRITE)]]


# --- callbacks -----------------------------------------------------------------------------------


def test_each_callback_is_reported_with_its_phase_and_duration(world: LoopWorld) -> None:
    recorder, reactor = attached(world, *ALL), world.reactor
    handler, output = FakeHandler(takes(world, 1)), FakeHandler(takes(world, 2))
    timer, soon = takes(world, 3), takes(world, 4)
    world.selector.make_ready(handler)
    reactor.unflushed.append(output)
    armed = reactor.call_later(0, timer)
    reactor.call_soon(soon)
    reactor.run_once()
    assert recorder.calls == [
        (EVENTS, handler, 1, 0),
        (FLUSH, output, 2, 0),
        (TIMERS, armed.deadline_passed, 3, 3),
        (SOON, soon, 4, 0),
    ]


def test_a_timer_is_reported_with_its_lateness(world: LoopWorld) -> None:
    """Counted from its deadline, also where that was moved after it was armed."""
    recorder, reactor = attached(world, TIMERS), world.reactor
    timer = reactor.call_later(5, len, "")
    timer.deadline += 2
    world.clock.time += 10
    reactor.run_once()
    assert [late for _, _, _, late in recorder.calls] == [3]


def test_urgent_handlers_are_reported_as_such(world: LoopWorld) -> None:
    recorder = attached(world, URGENT)
    handler = FakeHandler(takes(world, 1))
    world.reactor.urgent.append(handler)
    for _ in range(SLICE + 1):
        world.selector.make_ready(FakeHandler(lambda: None))
    world.reactor.run_once()
    assert recorder.calls == [(URGENT, handler.on_events, 1, 0)] * 2


@pytest.mark.parametrize("limit", [0.0, 1.0, 2.0, 2.5])
def test_a_callback_below_the_limit_is_not_reported(world: LoopWorld, limit: float) -> None:
    recorder = attached(world, *CALLBACKS, limit=limit)
    for seconds in (0, 1, 2):
        world.selector.make_ready(FakeHandler(takes(world, seconds)))
        world.reactor.call_soon(takes(world, seconds))
    world.reactor.run_once()
    expected = [seconds for seconds in (0, 1, 2) if seconds >= limit]
    assert [seconds for _, _, seconds, _ in recorder.calls] == expected * 2


def test_a_callback_that_raises_is_reported_and_its_owner_aborted(world: LoopWorld) -> None:
    def fail() -> None:
        world.clock.time += 1
        raise ValueError

    recorder = attached(world, *ALL)
    owners = [FakeHandler(fail) for _ in range(3)]
    world.selector.make_ready(owners[0])
    world.reactor.unflushed.append(owners[1])
    world.reactor.call_soon(owners[2].end_turn)
    world.reactor.run_once()
    assert [owner.aborted for owner in owners] == [1, 1, 1]
    assert [(phase, seconds) for phase, _, seconds, _ in recorder.calls] == [
        (EVENTS, 1),
        (FLUSH, 1),
        (SOON, 1),
    ]


def test_a_traced_turn_does_what_a_plain_turn_does(world: LoopWorld) -> None:
    """The same order, in slices and without."""

    def turns() -> list[Any]:
        world.seen.clear()
        for count in (1, 3 * SLICE):
            for number in range(count):
                world.selector.make_ready(FakeHandler(world.note(number)))
            world.reactor.call_soon(world.note("soon"))
            world.reactor.call_later(0, world.note("timer"))
            world.reactor.unflushed.append(FakeHandler(world.note("flush")))
            world.reactor.run_once()
        return [*world.seen]

    plain = turns()
    attached(world, *ALL)
    assert turns() == plain
    assert plain[:4] == [0, "flush", "timer", "soon"]


# --- attaching and detaching ---------------------------------------------------------------------


def test_two_tracers_get_what_each_has_asked_for(world: LoopWorld) -> None:
    waits, calls = attached(world, WAIT), attached(world, *CALLBACKS, limit=1.0)
    slow = takes(world, 1)
    world.reactor.call_soon(slow)
    world.reactor.call_soon(takes(world, 0.5))
    world.reactor.run_once()
    assert len(waits.waits) == 1
    assert not waits.calls
    assert not calls.waits
    assert calls.calls == [(SOON, slow, 1, 0)]


@pytest.mark.parametrize(
    ("phases", "steps"),
    [
        ((), set()),
        ((WAIT,), set()),  # `_wait` is an attribute of every reactor
        ((EVENTS,), {"_run_events"}),
        ((FLUSH,), {"_flush"}),
        ((SOON,), {"_call"}),
        (ALL, STEPS - {"_wait"}),
    ],
)
def test_only_the_steps_that_are_watched_are_replaced(
    world: LoopWorld, phases: tuple[Phase, ...], steps: set[str]
) -> None:
    reactor = world.reactor
    recorder = attached(world, *phases)
    assert STEPS & set(vars(reactor)) - {"_wait"} == steps
    assert (reactor._wait == world.selector.select) is (WAIT not in phases)
    reactor.detach(recorder)
    assert STEPS & set(vars(reactor)) == {"_wait"}
    assert reactor._wait == world.selector.select
    assert reactor.tracers == ()


def test_a_tracer_may_come_and_go_in_the_middle_of_a_turn(world: LoopWorld) -> None:
    recorder, reactor = Recorder(*ALL), world.reactor
    world.selector.make_ready(FakeHandler(lambda: reactor.attach(recorder)))
    reactor.call_soon(reactor.detach, recorder)
    reactor.call_soon(world.note("untraced"))
    reactor.run_once()
    assert world.seen == ["untraced"]
    assert [phase for phase, *_ in recorder.calls] == [SOON]


def test_a_tracer_that_is_not_attached_cannot_be_detached(world: LoopWorld) -> None:
    recorder = attached(world, WAIT)
    with pytest.raises(ValueError, match="is not attached to this reactor"):
        world.reactor.detach(Recorder())
    assert world.reactor.tracers == (recorder,)


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit])
def test_a_tracer_that_raises_is_logged_once_and_detached(
    world: LoopWorld, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Recorder):
        def waited(self, *arguments: Any) -> None:
            raise error

        def called(self, *arguments: Any) -> None:
            raise error

    reactor = world.reactor
    well = attached(world, *ALL)
    for phase in ALL:
        broken = Broken(phase)
        reactor.attach(broken)
        for _ in range(2):
            world.selector.make_ready(FakeHandler(world.note("event")))
            reactor.unflushed.append(FakeHandler(world.note("flush")))
            reactor.call_soon(world.note("soon"))
            reactor.call_bulk(world.note("bulk"))
            reactor.call_later(0, world.note("timer"))
        reactor.urgent = [FakeHandler(world.note("urgent"))]
        for _ in range(SLICE):
            world.selector.make_ready(FakeHandler(world.note("event")))
        reactor.run_once()
        assert broken not in reactor.tracers, phase
        assert caplog.text.count("is detached") == 1
        caplog.clear()
    assert reactor.tracers == (well,)
    assert world.seen.count("flush") == world.seen.count("timer") == 2 * len(ALL)
    assert {phase for phase, *_ in well.calls} == set(ALL) - {WAIT}


def test_a_tracer_that_cannot_be_attached_changes_nothing(world: LoopWorld) -> None:
    class Odd(Tracer):
        @property
        def phases(self) -> Any:  # type: ignore[override]
            raise ValueError("as the test wants it")

    recorder = attached(world, *ALL)
    with pytest.raises(ValueError, match="as the test wants it"):
        world.reactor.attach(Odd())
    assert world.reactor.tracers == (recorder,)
    world.reactor.detach(recorder)
    world.reactor.run_once()


def test_closing_detaches() -> None:
    world = LoopWorld()
    attached(world, *ALL)
    world.reactor.close()
    assert world.reactor.tracers == ()
    assert STEPS & set(vars(world.reactor)) == {"_wait"}


@pytest.mark.parametrize("seed", range(5))
def test_a_traced_loop_has_the_same_history(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated server, with everything traced and without."""
    recorders: list[Recorder] = []

    class Traced(SimReactor):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            recorders.append(Recorder(*ALL))
            self.attach(recorders[-1])

    plain = play(seed).trace
    monkeypatch.setattr("reactor.simulator.world.SimReactor", Traced)
    assert play(seed).trace == plain
    phases = {phase for recorder in recorders for phase, *_ in recorder.calls}
    assert {EVENTS, FLUSH, SOON} <= phases


def test_the_base_class_ignores_its_reports(world: LoopWorld) -> None:
    tracer = Tracer()
    tracer.phases = ALL
    world.reactor.attach(tracer)
    world.reactor.call_soon(world.note("soon"))
    world.reactor.run_once()
    assert world.seen == ["soon"]
