"""Timers and callbacks of one thread, without sockets: on a loop, and on a bare Scheduler."""

import random

import pytest

from reactor.loop.scheduler import STALE_ENTRIES, LoopSnapshot, Scheduler
from reactor.loop.timers import NEVER, Deadline
from tests.support.fake_loop import FakeHandler, LoopWorld


def fail() -> None:
    raise ValueError("as the test wants it")


# --- deadlines -----------------------------------------------------------------------------------


class Noted(Deadline):
    """Keeps the times at which it passed."""

    def __init__(self, world: LoopWorld) -> None:
        super().__init__()
        self.world = world
        self.passed: list[float] = []

    def set(self, seconds: float) -> None:
        self.deadline = self.world.clock.time + seconds
        self.world.reactor.arm(self)

    def deadline_passed(self) -> None:
        self.passed.append(self.world.clock.time)


def test_a_deadline_moves_later_without_touching_the_heap(world: LoopWorld) -> None:
    noted = Noted(world)
    began = world.clock.time
    noted.set(10)
    for _ in range(1000):
        noted.deadline += 0.05  # as a connection does at each response
    assert len(world.reactor.snapshot().timers) == 1
    for _ in range(5):
        world.reactor.run_once(1000)
    assert noted.passed == [pytest.approx(began + 60)]
    assert not world.reactor.snapshot().timers


def test_a_deadline_moves_earlier(world: LoopWorld) -> None:
    """10 s for a head that begins during 75 s of idling are 10."""
    noted = Noted(world)
    began = world.clock.time
    noted.set(75)
    noted.set(10)
    world.reactor.run_once(1000)
    assert noted.passed == [began + 10]
    world.reactor.run_once(1000)
    assert noted.passed == [began + 10]  # the older entry is dead


def test_a_deadline_moves_back_and_forth(world: LoopWorld) -> None:
    noted = Noted(world)
    began = world.clock.time
    noted.set(75)
    noted.set(10)
    noted.set(75)
    for _ in range(10):
        world.reactor.run_once(1000)
    assert noted.passed == [began + 75]


def test_a_deadline_may_be_set_again_when_it_passes(world: LoopWorld) -> None:
    class Again(Noted):
        def deadline_passed(self) -> None:
            super().deadline_passed()
            if len(self.passed) < 3:
                self.set(5)

    again = Again(world)
    began = world.clock.time
    again.set(5)
    for _ in range(5):
        world.reactor.run_once(1000)
    assert again.passed == [began + 5, began + 10, began + 15]


def test_a_cancelled_timer_does_not_fire(world: LoopWorld) -> None:
    timer = world.reactor.call_later(1, world.note("never"))
    world.reactor.call_later(2, world.note("other"))
    timer.cancel()
    timer.cancel()
    for _ in range(3):
        world.reactor.run_once(1000)
    assert world.seen == ["other"]
    timer.cancel()


def test_cancelled_timers_do_not_accumulate(world: LoopWorld) -> None:
    kept = [world.reactor.call_later(10_000 + n, world.note(n)) for n in range(10)]
    for _ in range(100):
        for timer in [world.reactor.call_later(5000, fail) for _ in range(100)]:
            timer.cancel()
        left = world.reactor.snapshot()
        assert len(left.timers) == len(kept)
        assert left.dead_timers <= 2 * STALE_ENTRIES + 200
    for _ in range(30):
        world.reactor.run_once(20_000)
    assert world.seen == list(range(10))
    left = world.reactor.snapshot()
    assert (left.timers, left.dead_timers) == ((), 0)


def test_timers_fire_in_order_after_any_moves_and_cancels(world: LoopWorld) -> None:
    """Against a model: a dictionary of deadlines."""
    chance = random.Random(7)
    deadlines = [Noted(world) for _ in range(50)]
    expected: dict[int, float] = {}
    for _ in range(5000):
        number = chance.randrange(50)
        noted = deadlines[number]
        what = chance.random()
        if what < 0.45:
            noted.set(chance.uniform(0, 100))
            expected[number] = noted.deadline
        elif what < 0.6:
            world.reactor.disarm(noted)
            expected.pop(number, None)
        elif what < 0.8 and number in expected:
            noted.deadline += 10
            expected[number] = noted.deadline
        else:
            world.reactor.run_once(chance.uniform(0, 20))
            now = world.clock.time
            for other, when in list(expected.items()):
                assert bool(deadlines[other].passed) == (when <= now)
                if when <= now:
                    assert len(deadlines[other].passed) == 1
                    deadlines[other].passed.clear()
                    del expected[other]
            assert not any(one.passed for one in deadlines)


def test_call_later_counts_from_a_fresh_clock(world: LoopWorld) -> None:
    """`now` is old in a turn with a slow handler."""

    def slow() -> None:
        world.clock.time += 30
        world.reactor.call_later(5, world.note("timer"))

    world.selector.make_ready(FakeHandler(slow))
    world.reactor.run_once()
    assert world.seen == []
    world.reactor.run_once(1000)
    assert world.selector.timeouts[-1] == pytest.approx(5)
    assert world.seen == ["timer"]


def test_the_heap_stays_the_same_list(world: LoopWorld) -> None:
    """A turn holds on to it; so it is compacted in place."""
    heap = world.reactor._timers
    kept = world.reactor.call_later(1, world.note("kept"))

    def cancel_many() -> None:
        for timer in [world.reactor.call_later(5000, fail) for _ in range(3 * STALE_ENTRIES)]:
            timer.cancel()

    world.reactor.call_later(1, cancel_many)
    world.reactor.call_later(1, world.note("after"))
    world.reactor.run_once()
    assert world.seen == ["kept", "after"]
    assert world.reactor._timers is heap
    assert kept.deadline == NEVER


def test_compacting_keeps_live_timers_in_order(world: LoopWorld) -> None:
    timers = [world.reactor.call_later(seconds, world.note(seconds)) for seconds in (5, 1, 4, 2, 3)]
    for timer in timers[:2]:
        timer.cancel()
    assert world.reactor.snapshot().dead_timers == 2
    world.reactor.compact()
    assert world.reactor.snapshot().dead_timers == 0
    for _ in range(3):
        world.reactor.run_once(10)
    assert world.seen == [2, 3, 4]


# --- snapshots -----------------------------------------------------------------------------------


def test_a_snapshot_shows_what_is_queued(world: LoopWorld) -> None:
    reactor, output = world.reactor, FakeHandler(lambda: None)
    timer = reactor.call_later(5, fail)
    reactor.call_later(7, fail).cancel()
    reactor.call_soon(world.seen.append, 1)
    reactor.call_soon_threadsafe(world.seen.append, 2)
    reactor.call_bulk(world.seen.append, 3)
    reactor.unflushed.append(output)
    reactor.received, reactor.sent = 10, 20
    assert reactor.snapshot() == LoopSnapshot(
        now=world.clock.time,
        timers=((world.clock.time + 5, timer),),
        dead_timers=1,
        callbacks=((world.seen.append, (1,)), (world.seen.append, (2,))),
        unflushed=(output,),
        received=10,
        sent=20,
        ready=0,
        bulk=((world.seen.append, (3,)),),
    )
    world.selector.make_ready(FakeHandler(world.note(reactor.snapshot().ready)))
    reactor.run_once()
    after = reactor.snapshot()
    assert (after.ready, after.callbacks, after.unflushed, after.bulk) == (1, (), (), ())


# --- without a selector --------------------------------------------------------------------------


def test_a_scheduler_without_a_loop_cannot_be_woken() -> None:
    """Its thread decides how it waits; here it does not."""
    scheduler = Scheduler()
    with pytest.raises(NotImplementedError):
        scheduler.call_soon_threadsafe(fail)
    assert len(scheduler.snapshot().callbacks) == 1


def test_a_scheduler_reads_the_clock_that_it_is_given(world: LoopWorld) -> None:
    scheduler = Scheduler(world.clock)
    assert scheduler.call_later(5, fail).deadline == world.clock.time + 5
    assert scheduler.snapshot().now == world.clock.time
