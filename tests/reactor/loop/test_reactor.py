"""The loop, turn by turn: five phases in order, timers, fairness, threads, and what raises."""

import os
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from selectors import EVENT_READ, SelectorKey
from typing import Any

import pytest

from reactor.loop.reactor import Reactor
from reactor.loop.scheduler import SLICE, STALE_ENTRIES
from reactor.loop.timers import NEVER, Deadline
from reactor.loop.waker import Waker
from tests.support.raw_client import TIMEOUT
from tests.support.worlds import Clock, Selector


class Handler:
    """Does what it is told to when it has its turn."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.aborted = 0

    def on_events(self, mask: int) -> None:
        self.action()

    def end_turn(self) -> None:
        self.action()

    def abort(self) -> None:
        self.aborted += 1


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.selector = Selector(self.clock)
        self.reactor = Reactor(self.selector, self.clock)
        self.seen: list[Any] = []

    def note(self, what: object) -> Callable[[], None]:
        return lambda: self.seen.append(what)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.reactor.close()


def fail() -> None:
    raise ValueError("as the test wants it")


# --- the five phases -----------------------------------------------------------------------------


def test_events_timers_and_soon_have_their_order(world: World) -> None:
    reactor = world.reactor
    reactor.call_soon(world.note("soon"))
    reactor.call_later(0, world.note("timer"))
    world.selector.make_ready(Handler(world.note("event")))
    reactor.unflushed.append(Handler(world.note("flush")))
    reactor.run_once()
    assert world.seen == ["event", "flush", "timer", "soon"]


def test_the_clock_is_read_once_a_turn_and_after_the_wait(world: World) -> None:
    world.selector.make_ready(Handler(lambda: world.seen.append(world.reactor.now)))
    world.clock.time += 5
    before = world.clock.readings
    world.reactor.run_once()
    assert world.clock.readings == before + 1
    assert world.seen == [world.clock.time]


def test_the_wait_ends_with_the_next_timer(world: World) -> None:
    world.reactor.call_later(7, world.note("late"))
    world.reactor.call_later(3, world.note("early"))
    world.reactor.run_once()
    assert world.selector.timeouts == [3]
    assert world.seen == ["early"]
    world.reactor.run_once(1.5)
    assert world.selector.timeouts[-1] == 1.5
    assert world.seen == ["early"]
    world.reactor.run_once(100)
    assert world.selector.timeouts[-1] == pytest.approx(2.5)
    assert world.seen == ["early", "late"]


def test_the_wait_has_no_end_when_there_is_nothing_to_do(world: World) -> None:
    world.selector.make_ready(Handler(world.note("event")))
    world.reactor.run_once()
    assert world.selector.timeouts == [None]


def test_the_wait_is_none_when_something_is_queued(world: World) -> None:
    world.reactor.call_later(7, world.note("late"))
    world.reactor.call_soon(world.note("soon"))
    world.reactor.run_once()
    world.reactor.unflushed.append(Handler(world.note("flush")))
    world.reactor.run_once()
    world.reactor.call_soon_threadsafe(world.note("foreign"))
    world.reactor.run_once()
    assert world.selector.timeouts == [0, 0, 0]
    assert world.seen == ["soon", "flush", "foreign"]


def test_soon_runs_only_what_was_queued_at_its_start(world: World) -> None:
    def again() -> None:
        world.seen.append("again")
        world.reactor.call_soon(again)

    world.reactor.call_soon(again)
    for turn in range(1, 4):
        world.reactor.run_once()
        assert len(world.seen) == turn


def test_what_an_event_or_a_timer_queues_runs_in_the_same_turn(world: World) -> None:
    soon = world.reactor.call_soon
    world.selector.make_ready(Handler(lambda: soon(world.note("by an event"))))
    world.reactor.call_later(0, lambda: soon(world.note("by a timer")))
    world.reactor.run_once()
    assert world.seen == ["by an event", "by a timer"]


def test_what_a_flush_marks_is_flushed_at_the_end_or_in_the_next_turn(world: World) -> None:
    unflushed = world.reactor.unflushed
    third = Handler(world.note("third"))

    def second() -> None:
        world.seen.append("second")
        world.reactor.unflushed.append(third)

    unflushed.append(Handler(lambda: world.reactor.unflushed.append(Handler(second))))
    world.reactor.run_once()
    assert world.seen == ["second"]
    world.reactor.run_once()
    assert world.seen == ["second", "third"]


def test_a_turn_runs_a_slice_of_callbacks_and_of_timers(world: World) -> None:
    """However many there are, an event waits for one slice of each."""
    for _ in range(3 * SLICE):
        world.reactor.call_soon(world.seen.append, "soon")
        world.reactor.call_later(0, world.seen.append, "timer")
    for turn in (1, 2, 3):
        world.selector.make_ready(Handler(world.note("event")))
        world.reactor.run_once()
        assert world.seen.count("event") == turn
        assert world.seen.count("timer") == turn * SLICE
        assert world.seen.count("soon") == turn * SLICE


def test_arguments_are_handed_on(world: World) -> None:
    world.reactor.call_soon(world.seen.append, 1)
    world.reactor.call_soon_threadsafe(world.seen.append, 2)
    world.reactor.call_later(0, world.seen.append, 3)
    world.reactor.run_once()
    assert world.seen == [3, 1, 2]


# --- what raises ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ready", [1, SLICE + 1])
def test_an_event_that_raises_costs_its_owner_and_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture, ready: int
) -> None:
    broken = Handler(fail)
    world.selector.make_ready(broken)
    for number in range(ready):
        world.selector.make_ready(Handler(world.note(number)))
    world.reactor.run_once()
    assert broken.aborted == 1
    assert world.seen == list(range(ready))
    assert "as the test wants it" in caplog.text


class Broken(Deadline):
    aborted = 0

    def deadline_passed(self) -> None:
        fail()

    def abort(self) -> None:
        self.aborted += 1


def test_a_timer_that_raises_costs_its_owner_and_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken()
    broken.deadline = world.clock.time + 1
    world.reactor.arm(broken)
    world.reactor.call_later(1, fail)
    world.reactor.call_later(1, world.note("other"))
    world.reactor.run_once()
    assert broken.aborted == 1
    assert world.seen == ["other"]
    assert caplog.text.count("failed in the loop") == 2


class Owner(Handler):
    def method(self) -> None:
        fail()


def test_a_callback_that_raises_costs_the_owner_of_the_method(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    owner = Owner(fail)
    world.reactor.call_soon(owner.method)
    world.reactor.call_soon(fail)
    world.reactor.call_soon(world.note("other"))
    world.reactor.run_once()
    assert owner.aborted == 1
    assert world.seen == ["other"]


def test_a_flush_that_raises_costs_its_owner(world: World) -> None:
    broken = Handler(fail)
    world.reactor.unflushed += [broken, Handler(world.note("other"))]
    world.reactor.run_once()
    assert broken.aborted == 1
    assert world.seen == ["other"]


def test_an_urgent_handler_that_raises_does_not_end_the_loop(world: World) -> None:
    """It is asked between slices, outside the usual round of events."""
    world.reactor.urgent.append(Handler(fail))
    world.reactor.urgent.append(Handler(world.note("urgent")))
    for _ in range(SLICE * 2):
        world.selector.make_ready(Handler(world.note("event")))
    world.reactor.run_once()
    assert world.seen.count("event") == SLICE * 2
    assert "urgent" in world.seen
    assert not world.reactor.behind


def test_an_abort_that_raises_does_not_end_the_loop(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Hopeless(Handler):
        def abort(self) -> None:
            raise ValueError("nor to be ended")

    world.selector.make_ready(Hopeless(fail))
    world.selector.make_ready(Handler(world.note("other")))
    world.reactor.run_once()
    assert world.seen == ["other"]
    assert "nor to be ended" in caplog.text


# --- fairness ------------------------------------------------------------------------------------


def test_a_backlog_is_worked_in_slices_with_all_else_in_between(world: World) -> None:
    """With 5,000 sockets ready, a timer that comes due, what is queued, and a new client wait for
    one slice of 64, not for the rest.
    """
    reactor = world.reactor
    for number in range(5000):
        world.selector.make_ready(Handler(world.note(number)))

    def first() -> None:
        reactor.call_soon(world.note("soon"))
        world.clock.time += 1  # the timer comes due while the slice runs
        reactor.urgent.append(Handler(world.note("urgent")))

    world.selector.ready[0] = (SelectorKey(-1, 0, 0, Handler(first)), EVENT_READ)
    reactor.call_later(0.5, world.note("timer"))
    reactor.run_once()
    assert SLICE <= 64
    assert world.seen[SLICE - 2] == SLICE - 1
    assert world.seen[SLICE - 1 : SLICE + 2] == ["timer", "soon", "urgent"]
    assert [one for one in world.seen if isinstance(one, int)] == list(range(1, 5000))
    assert world.seen.count("urgent") == -(-5000 // SLICE)


def test_the_loop_says_that_it_is_behind(world: World) -> None:
    told: list[bool] = []
    for _ in range(SLICE + 1):
        world.selector.make_ready(Handler(lambda: told.append(world.reactor.behind)))
    world.reactor.run_once()
    world.selector.make_ready(Handler(lambda: told.append(world.reactor.behind)))
    world.reactor.run_once()
    assert told == [True] * (SLICE + 1) + [False]


# --- deadlines -----------------------------------------------------------------------------------


class Noted(Deadline):
    """Says when it passed."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.passed: list[float] = []

    def set(self, seconds: float) -> None:
        self.deadline = self.world.clock.time + seconds
        self.world.reactor.arm(self)

    def deadline_passed(self) -> None:
        self.passed.append(self.world.clock.time)


def test_a_deadline_moves_later_without_touching_the_heap(world: World) -> None:
    noted = Noted(world)
    began = world.clock.time
    noted.set(10)
    for _ in range(1000):
        noted.deadline += 0.05  # as a connection does at each answer
    assert len(world.reactor._timers) == 1
    for _ in range(5):
        world.reactor.run_once(1000)
    assert noted.passed == [pytest.approx(began + 60)]
    assert len(world.reactor._timers) == 0


def test_a_deadline_moves_earlier(world: World) -> None:
    """10 s for a head that begins during 75 s of idling are 10."""
    noted = Noted(world)
    began = world.clock.time
    noted.set(75)
    noted.set(10)
    world.reactor.run_once(1000)
    assert noted.passed == [began + 10]
    world.reactor.run_once(1000)
    assert noted.passed == [began + 10]  # the older entry is dead


def test_a_deadline_moves_back_and_forth(world: World) -> None:
    noted = Noted(world)
    began = world.clock.time
    noted.set(75)
    noted.set(10)
    noted.set(75)
    for _ in range(10):
        world.reactor.run_once(1000)
    assert noted.passed == [began + 75]


def test_a_deadline_may_be_set_again_when_it_passes(world: World) -> None:
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


def test_a_cancelled_timer_does_not_fire(world: World) -> None:
    timer = world.reactor.call_later(1, world.note("never"))
    world.reactor.call_later(2, world.note("other"))
    timer.cancel()
    timer.cancel()
    for _ in range(3):
        world.reactor.run_once(1000)
    assert world.seen == ["other"]
    timer.cancel()


def test_cancelled_timers_do_not_accumulate(world: World) -> None:
    kept = [world.reactor.call_later(10_000 + n, world.note(n)) for n in range(10)]
    for _ in range(100):
        for timer in [world.reactor.call_later(5000, fail) for _ in range(100)]:
            timer.cancel()
        assert len(world.reactor._timers) <= 2 * STALE_ENTRIES + len(kept) + 200
    for _ in range(30):
        world.reactor.run_once(20_000)
    assert world.seen == list(range(10))
    assert world.reactor._timers == []


def test_timers_fire_in_order_whatever_is_done_to_them(world: World) -> None:
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


def test_call_later_counts_from_a_fresh_clock(world: World) -> None:
    """`now` is old in a turn with a slow handler."""

    def slow() -> None:
        world.clock.time += 30
        world.reactor.call_later(5, world.note("timer"))

    world.selector.make_ready(Handler(slow))
    world.reactor.run_once()
    assert world.seen == []
    world.reactor.run_once(1000)
    assert world.selector.timeouts[-1] == pytest.approx(5)
    assert world.seen == ["timer"]


@pytest.mark.parametrize("seconds", [30 * 24 * 3600.0, 2.0**53, NEVER])
def test_a_timer_may_be_far_away(seconds: float) -> None:
    """epoll_wait takes 24 days at most; an option may be more."""
    reactor = Reactor()
    try:
        reactor.call_later(seconds, fail)
        threading.Timer(0.05, reactor.call_soon_threadsafe, [reactor.stop]).start()
        reactor.run()
    finally:
        reactor.close()


# --- threads -------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.close()


def test_a_call_from_another_thread_wakes_the_loop(real: Reactor) -> None:
    thread = threading.Timer(0.05, real.call_soon_threadsafe, [real.stop])
    thread.start()
    real.run()  # it would wait for ever
    thread.join()


def test_calls_from_many_threads_are_not_lost(real: Reactor) -> None:
    """20,000 calls; each wait has no timeout, so one wake-up that is lost ends in a hang."""
    seen: list[tuple[int, int]] = []
    threads, calls = 8, 2500

    def call(thread: int) -> None:
        for number in range(calls):
            real.call_soon_threadsafe(arrived, (thread, number))
            if number % 50 == 0:
                time.sleep(0)  # let the loop run dry now and then

    def arrived(what: tuple[int, int]) -> None:
        seen.append(what)
        if len(seen) == threads * calls:
            real.stop()

    workers = [threading.Thread(target=call, args=[number]) for number in range(threads)]
    for worker in workers:
        worker.start()
    real.run()
    for worker in workers:
        worker.join()
    for thread in range(threads):
        assert [n for t, n in seen if t == thread] == list(range(calls))  # each thread's order


class Meddling(socket.socket):
    """Something happens right before or right after its recv has read."""

    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def recv(self, *arguments: Any) -> bytes:
        before, self.before = self.before, None
        after, self.after = self.after, None
        if before is not None:
            before()
        try:
            return super().recv(*arguments)
        finally:
            if after is not None:
                after()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_wake_up_around_the_read_is_not_lost(when: str) -> None:
    """A thread calls when the byte is about to be read, or is read and the flag not yet cleared:
    its own byte is eaten, or not sent. What it queued must run all the same, and so must the next.
    """
    reader, writer = socket.socketpair()
    meddling = Meddling(fileno=reader.detach())
    reactor = Reactor(waker=Waker((meddling, writer)))
    seen: list[str] = []
    try:
        setattr(meddling, when, lambda: reactor.call_soon_threadsafe(seen.append, "second"))
        reactor.call_soon_threadsafe(seen.append, "first")
        reactor.run_once(0)
        assert seen == ["first", "second"]
        reactor.run_once(0)  # a byte too many is no harm
        reactor.call_soon_threadsafe(seen.append, "third")
        assert reactor.selector.select(0), "the waker sends no bytes any more"
        reactor.run_once(TIMEOUT)
        assert seen[-1] == "third"
    finally:
        reactor.close()


def test_one_byte_on_its_way_is_enough(real: Reactor) -> None:
    for _ in range(100_000):  # more than the socket pair would hold
        real.call_soon_threadsafe(len, "")
    real.run_once(0)
    assert not real._foreign
    assert real.selector.select(0) == []


def test_a_call_after_the_end_is_harmless() -> None:
    reactor = Reactor()
    reactor.close()
    reactor.call_soon_threadsafe(fail)


# --- the selector underneath ---------------------------------------------------------------------


class Told:
    """What a selector key's owner is told."""

    def __init__(self) -> None:
        self.masks: list[int] = []

    def on_events(self, mask: int) -> None:
        self.masks.append(mask)

    def abort(self) -> None: ...


@pytest.mark.skipif(
    not hasattr(selectors, "EpollSelector"), reason="what epoll does with an empty interest"
)
def test_a_reset_is_told_to_who_waits_for_nothing(real: Reactor) -> None:
    """With interest 0 epoll reports the loss of a peer for ever, with none of the wanted bits."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    told = Told()
    with ours:
        real.selector.register(ours, EVENT_READ, told)
        real.selector.modify(ours, 0, told)
        real.run_once(0)
        assert told.masks == []
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        real.run_once(TIMEOUT)
        assert told.masks == [0]
        real.selector.unregister(ours)


def test_close_closes_all_it_has_opened() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        Reactor().close()
    assert len(os.listdir("/proc/self/fd")) == before
