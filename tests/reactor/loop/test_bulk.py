"""The bulk phase: the order of its queue, its slice of time, and what may go wrong in it."""

import logging
from collections.abc import Callable

import pytest

from reactor.errors import Cancelled
from reactor.loop.reactor import BULK_SHARE, TURN_SECONDS
from reactor.loop.scheduler import SLICE, Scheduler
from reactor.loop.slow_callbacks import SlowCallbacks
from reactor.loop.tracer import BULK, SOON, WAIT, Phase, Reason, Tracer
from tests.support.fake_loop import FakeHandler, LoopWorld

PART = 0.26 * TURN_SECONDS  # that a call of these tests takes: four of them end a slice


def work(world: LoopWorld, name: object, seconds: float = PART) -> Callable[[], None]:
    """A call that takes so long."""

    def call() -> None:
        world.seen.append(name)
        world.clock.time += seconds

    return call


def queue(world: LoopWorld, count: int, seconds: float = PART) -> None:
    for number in range(count):
        world.reactor.call_bulk(work(world, number, seconds))


# --- the queue -----------------------------------------------------------------------------------


def test_bulk_is_the_last_phase(world: LoopWorld) -> None:
    reactor = world.reactor
    reactor.call_bulk(world.note("bulk"))
    reactor.call_soon(world.note("soon"))
    reactor.call_later(0, world.note("timer"))
    reactor.unflushed.append(FakeHandler(world.note("flush")))
    world.selector.make_ready(FakeHandler(world.note("event")))
    reactor.run_once()
    assert world.seen == ["event", "flush", "timer", "soon", "bulk"]


def test_work_queued_in_a_turn_is_called_in_that_turn(world: LoopWorld) -> None:
    bulk = world.reactor.call_bulk
    world.selector.make_ready(FakeHandler(lambda: bulk(world.note("by an event"))))
    world.reactor.call_soon(lambda: bulk(world.note("by a callback")))
    world.reactor.run_once()
    assert world.seen == ["by an event", "by a callback"]


def test_calls_keep_their_order_and_their_arguments(world: LoopWorld) -> None:
    for number in range(1000):
        world.reactor.call_bulk(world.seen.append, number)
    world.reactor.run_once()
    assert world.seen == list(range(1000)), "none takes any time"


def test_the_slice_ends_by_time_and_the_rest_keeps_its_place(world: LoopWorld) -> None:
    queue(world, 10)
    for done in (4, 8, 10):
        world.reactor.run_once()
        assert world.seen == list(range(done))
    world.selector.make_ready(FakeHandler(lambda: None))
    world.reactor.run_once()
    assert world.selector.timeouts == [0, 0, 0, None]


def test_one_call_is_made_in_each_turn_however_long_it_takes(world: LoopWorld) -> None:
    queue(world, 3, seconds=100 * TURN_SECONDS)
    for done in (1, 2, 3):
        world.reactor.run_once()
        assert world.seen == list(range(done))


def test_a_turn_calls_only_what_was_queued_before_its_phase(world: LoopWorld) -> None:
    """A call that queues itself again goes behind all others, and cannot hold the turn."""

    def again(name: str) -> None:
        world.seen.append(name)
        world.reactor.call_bulk(again, name)

    for name in "abc":
        world.reactor.call_bulk(again, name)
    for turn in (1, 2, 3):
        world.reactor.run_once()
        assert "".join(world.seen) == "abc" * turn


def test_new_work_goes_behind_what_a_slice_has_left(world: LoopWorld) -> None:
    queue(world, 5)
    world.reactor.run_once()
    world.reactor.call_bulk(work(world, "new"))
    world.reactor.run_once()
    assert world.seen == [0, 1, 2, 3, 4, "new"]


def test_the_loop_does_not_sleep_while_work_waits(world: LoopWorld) -> None:
    """Neither for a timer far away, nor for the caller of the turn."""
    world.reactor.call_later(7, world.note("late"))
    queue(world, 6)
    world.reactor.run_once(100)
    assert world.reactor.wait_reason(0.0) is Reason.QUEUED
    world.reactor.run_once(100)
    assert world.selector.timeouts == [0, 0]
    assert world.reactor.wait_reason(7.0) is Reason.TIMER


def test_events_timers_and_callbacks_come_between_two_slices(world: LoopWorld) -> None:
    queue(world, 100)
    for turn in range(1, 6):
        world.selector.make_ready(FakeHandler(world.note("event")))
        world.reactor.call_soon(world.note("soon"))
        world.reactor.call_later(0, world.note("timer"))
        world.reactor.run_once()
        names = [one for one in world.seen if isinstance(one, str)]
        assert names == ["event", "timer", "soon"] * turn
        assert len(world.seen) - len(names) == 4 * turn


def test_a_snapshot_shows_the_queue(world: LoopWorld) -> None:
    calls = [work(world, number) for number in range(6)]
    for call in calls:
        world.reactor.call_bulk(call)
    assert world.reactor.snapshot().bulk == tuple((call, ()) for call in calls)
    world.reactor.run_once()
    assert world.reactor.snapshot().bulk == ((calls[4], ()), (calls[5], ()))
    assert world.reactor.snapshot().callbacks == ()


def test_where_a_thread_serves_one_connection_bulk_is_soon() -> None:
    seen: list[int] = []
    scheduler = Scheduler()
    scheduler.call_bulk(seen.append, 1)
    scheduler.call_soon(seen.append, 2)
    scheduler._run_soon()
    assert seen == [1, 2]
    assert scheduler.snapshot().bulk == ()


# --- its share -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_a_long_turn_leaves_a_share_for_bulk(world: LoopWorld, seconds: float) -> None:
    """Bulk work has a part of the whole turn under a full load of requests."""
    queue(world, 100_000)
    began = world.clock.time
    world.selector.make_ready(FakeHandler(work(world, "event", seconds)))
    world.reactor.run_once()
    share = (len(world.seen) - 1) * PART / (world.clock.time - began)
    assert share == pytest.approx(BULK_SHARE, abs=0.01)


def test_bulk_gets_its_share_of_many_turns_of_any_length(world: LoopWorld) -> None:
    queue(world, 100_000)
    began, interactive = world.clock.time, 0.0
    for turn in range(200):
        seconds = (turn % 20) * TURN_SECONDS
        interactive += seconds
        world.selector.make_ready(FakeHandler(work(world, "event", seconds)))
        world.reactor.run_once()
    assert 1 - interactive / (world.clock.time - began) >= BULK_SHARE


def test_a_backlog_leaves_a_share_between_its_slices(world: LoopWorld) -> None:
    """5,000 sockets are ready: bulk work waits for 64 of them, and has a quarter of the time."""
    each = 0.0005
    queue(world, 100_000)
    for _ in range(5000):
        world.selector.make_ready(FakeHandler(work(world, "event", each)))
    began = world.clock.time
    world.reactor.run_once()
    first = world.seen.index(0)
    assert first == SLICE
    calls = len(world.seen) - 5000
    assert calls * PART / (world.clock.time - began) == pytest.approx(BULK_SHARE, abs=0.01)
    runs = "".join("e" if one == "event" else " " for one in world.seen).split()
    assert max(map(len, runs)) == SLICE


def test_a_backlog_of_little_work_is_not_held_up_by_slices(world: LoopWorld) -> None:
    """Ready sockets that cost nothing wait for one call after 64 of them, not for 1.5 ms."""
    queue(world, 1000)
    for _ in range(80 * SLICE):
        world.selector.make_ready(FakeHandler(world.note("event")))
    world.reactor.run_once()
    runs = "".join("e" if one == "event" else " " for one in world.seen)
    assert runs == ("e" * SLICE + " ") * 80 + " " * 3, "the turn ends with what is left of its time"


def test_a_short_turn_leaves_the_least_slice(world: LoopWorld) -> None:
    queue(world, 100)
    world.selector.make_ready(FakeHandler(work(world, "event", TURN_SECONDS / 100)))
    world.reactor.run_once()
    assert len(world.seen) - 1 == 4


# --- output --------------------------------------------------------------------------------------


def test_output_of_a_call_leaves_behind_it_and_within_its_time(world: LoopWorld) -> None:
    """The send is what costs: three calls whose output takes the whole slice are three turns."""
    reactor = world.reactor

    def write(number: int) -> None:
        world.seen.append(f"call {number}")
        reactor.unflushed.append(FakeHandler(work(world, f"sent {number}", TURN_SECONDS)))

    for number in (1, 2, 3):
        reactor.call_bulk(write, number)
    reactor.run_once()
    assert world.seen == ["call 1", "sent 1"]
    reactor.run_once()
    reactor.run_once()
    assert world.seen[2:] == ["call 2", "sent 2", "call 3", "sent 3"]
    assert reactor.unflushed == []


# --- errors --------------------------------------------------------------------------------------


class Owner(FakeHandler):
    def fail(self, error: BaseException) -> None:
        raise error


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("error", [ValueError(), SystemExit(), GeneratorExit(), Cancelled()])
def test_an_error_costs_its_owner_and_no_other(
    world: LoopWorld, error: BaseException, traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if traced:
        tracer = Tracer()
        tracer.phases = list(Phase)
        world.reactor.attach(tracer)
    owner, other = Owner(lambda: None), Owner(lambda: None)
    world.reactor.call_bulk(world.note("before"))
    world.reactor.call_bulk(owner.fail, error)
    world.reactor.call_bulk(world.note("behind"))
    world.reactor.call_bulk(other.end_turn)
    world.reactor.run_once()
    assert world.seen == ["before", "behind"]
    assert (owner.aborted, other.aborted) == (1, 0)
    assert not world.reactor.bulk
    assert caplog.text.count("failed in the loop") == 1


def test_output_that_fails_costs_its_owner_alone(world: LoopWorld) -> None:
    owner = Owner(lambda: owner.fail(ValueError()))
    world.reactor.call_bulk(world.reactor.unflushed.append, owner)
    world.reactor.call_bulk(world.note("behind"))
    world.reactor.run_once()
    assert owner.aborted == 1
    assert world.seen == ["behind"]


def test_an_abort_that_queues_bulk_work_is_no_loss(world: LoopWorld) -> None:
    class Last(Owner):
        def abort(self) -> None:
            world.reactor.call_bulk(world.note("its end"))

    world.reactor.call_bulk(Last(lambda: None).fail, ValueError())
    world.reactor.run_once()
    world.reactor.run_once()
    assert world.seen == ["its end"]


def test_a_stop_from_bulk_work_ends_the_run_with_this_turn(world: LoopWorld) -> None:
    world.reactor.call_bulk(world.reactor.stop)
    queue(world, 100)
    world.reactor.run()
    assert world.seen == [0, 1, 2, 3]
    world.reactor.close()  # with a queue that is not empty
    assert world.seen == [0, 1, 2, 3]
    world.reactor = LoopWorld().reactor


# --- who watches ---------------------------------------------------------------------------------


class Recorder(Tracer):
    def __init__(self, *phases: Phase) -> None:
        self.phases = phases
        self.calls: list[tuple[Phase, object, float, float]] = []
        self.reasons: list[Reason] = []

    def waited(
        self, began: float, ended: float, timeout: object, reason: Reason, _: object
    ) -> None:
        self.reasons.append(reason)

    def called(
        self, phase: Phase, callback: object, began: float, ended: float, late: float
    ) -> None:
        self.calls.append((phase, callback, round(ended - began, 9), late))


def test_a_tracer_sees_each_call_with_its_time(world: LoopWorld) -> None:
    recorder, other = Recorder(WAIT, BULK), Recorder(SOON)
    world.reactor.attach(recorder)
    world.reactor.attach(other)
    calls = [work(world, number, number * PART) for number in range(3)]
    for call in calls:
        world.reactor.call_bulk(call)
    world.reactor.call_soon(world.note("soon"))
    world.reactor.run_once()
    expected = [(BULK, call, round(n * PART, 9), 0.0) for n, call in enumerate(calls)]
    assert recorder.calls == expected
    assert recorder.reasons == [Reason.QUEUED]
    assert [phase for phase, *_ in other.calls] == [SOON]


def test_the_slice_is_as_long_where_a_tracer_looks(world: LoopWorld) -> None:
    world.reactor.attach(Recorder(*Phase))
    queue(world, 10)
    world.reactor.run_once()
    assert world.seen == [0, 1, 2, 3]


def test_a_slow_call_is_logged_by_its_owners_name(
    world: LoopWorld, caplog: pytest.LogCaptureFixture
) -> None:
    class Sender(FakeHandler):
        def describe(self) -> str:
            return "<GET /large>"

    caplog.set_level(logging.WARNING, "reactor")
    world.reactor.attach(SlowCallbacks(0.1, world.selector))
    world.reactor.call_bulk(Sender(work(world, "slow", 0.5)).end_turn)
    world.reactor.run_once()
    assert caplog.messages == ["<GET /large> held the loop for 0.500 s; 0 sockets waited"]
