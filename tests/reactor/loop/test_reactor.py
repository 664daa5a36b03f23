"""The loop, turn by turn: five phases in order, timers, fairness, threads, and what raises."""

import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator
from selectors import EVENT_READ, SelectorKey

import pytest

from reactor.errors import Cancelled
from reactor.loop.reactor import Reactor
from reactor.loop.scheduler import SLICE
from reactor.loop.timers import NEVER, Deadline
from reactor.loop.tracer import Phase, Tracer
from tests.support.fake_loop import FakeHandler, LoopWorld
from tests.support.raw_client import TIMEOUT


def fail() -> None:
    raise ValueError("as the test wants it")


def test_a_stop_before_the_first_turn_is_obeyed(world: LoopWorld) -> None:
    """It ends one `run`; the next one turns until it is stopped in its turn."""
    turns: list[int] = []
    world.reactor.call_soon(turns.append, 1)
    world.reactor.stop()
    world.reactor.run()
    assert turns == []
    world.reactor.call_soon(world.reactor.stop)
    world.reactor.run()
    assert turns == [1]


# --- the five phases -----------------------------------------------------------------------------


def test_events_timers_and_soon_have_their_order(world: LoopWorld) -> None:
    reactor = world.reactor
    reactor.call_soon(world.note("soon"))
    reactor.call_later(0, world.note("timer"))
    world.selector.make_ready(FakeHandler(world.note("event")))
    reactor.unflushed.append(FakeHandler(world.note("flush")))
    reactor.run_once()
    assert world.seen == ["event", "flush", "timer", "soon"]


def test_the_clock_is_read_once_a_turn_and_after_the_wait(world: LoopWorld) -> None:
    world.selector.make_ready(FakeHandler(lambda: world.seen.append(world.reactor.now)))
    world.clock.time += 5
    before = world.clock.readings
    world.reactor.run_once()
    assert world.clock.readings == before + 1
    assert world.seen == [world.clock.time]


def test_the_wait_ends_with_the_next_timer(world: LoopWorld) -> None:
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


def test_the_wait_has_no_end_when_there_is_nothing_to_do(world: LoopWorld) -> None:
    world.selector.make_ready(FakeHandler(world.note("event")))
    world.reactor.run_once()
    assert world.selector.timeouts == [None]


def test_the_loop_does_not_wait_while_something_is_queued(world: LoopWorld) -> None:
    world.reactor.call_later(7, world.note("late"))
    world.reactor.call_soon(world.note("soon"))
    world.reactor.run_once()
    world.reactor.unflushed.append(FakeHandler(world.note("flush")))
    world.reactor.run_once()
    world.reactor.call_soon_threadsafe(world.note("foreign"))
    world.reactor.run_once()
    assert world.selector.timeouts == [0, 0, 0]
    assert world.seen == ["soon", "flush", "foreign"]


def test_soon_runs_only_callbacks_queued_before_it(world: LoopWorld) -> None:
    def again() -> None:
        world.seen.append("again")
        world.reactor.call_soon(again)

    world.reactor.call_soon(again)
    for turn in range(1, 4):
        world.reactor.run_once()
        assert len(world.seen) == turn


def test_callbacks_queued_by_an_event_or_a_timer_run_in_the_same_turn(world: LoopWorld) -> None:
    soon = world.reactor.call_soon
    world.selector.make_ready(FakeHandler(lambda: soon(world.note("by an event"))))
    world.reactor.call_later(0, lambda: soon(world.note("by a timer")))
    world.reactor.run_once()
    assert world.seen == ["by an event", "by a timer"]


def test_output_marked_by_a_flush_leaves_at_the_end_or_in_the_next_turn(
    world: LoopWorld,
) -> None:
    unflushed = world.reactor.unflushed
    third = FakeHandler(world.note("third"))

    def second() -> None:
        world.seen.append("second")
        world.reactor.unflushed.append(third)

    unflushed.append(FakeHandler(lambda: world.reactor.unflushed.append(FakeHandler(second))))
    world.reactor.run_once()
    assert world.seen == ["second"]
    world.reactor.run_once()
    assert world.seen == ["second", "third"]


def test_a_turn_runs_a_slice_of_callbacks_and_of_timers(world: LoopWorld) -> None:
    """However many there are, an event waits for one slice of each."""
    for _ in range(3 * SLICE):
        world.reactor.call_soon(world.seen.append, "soon")
        world.reactor.call_later(0, world.seen.append, "timer")
    for turn in (1, 2, 3):
        world.selector.make_ready(FakeHandler(world.note("event")))
        world.reactor.run_once()
        assert world.seen.count("event") == turn
        assert world.seen.count("timer") == turn * SLICE
        assert world.seen.count("soon") == turn * SLICE


def test_arguments_are_handed_on(world: LoopWorld) -> None:
    world.reactor.call_soon(world.seen.append, 1)
    world.reactor.call_soon_threadsafe(world.seen.append, 2)
    world.reactor.call_later(0, world.seen.append, 3)
    world.reactor.run_once()
    assert world.seen == [3, 1, 2]


# --- callbacks that raise ------------------------------------------------------------------------


@pytest.mark.parametrize("ready", [1, SLICE + 1])
def test_an_event_that_raises_costs_its_owner_and_no_other(
    world: LoopWorld, caplog: pytest.LogCaptureFixture, ready: int
) -> None:
    broken = FakeHandler(fail)
    world.selector.make_ready(broken)
    for number in range(ready):
        world.selector.make_ready(FakeHandler(world.note(number)))
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


def test_a_timer_that_raises_costs_its_owner_and_no_other(
    world: LoopWorld, caplog: pytest.LogCaptureFixture
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


class Owner(FakeHandler):
    def method(self) -> None:
        fail()


def test_a_callback_that_raises_costs_the_owner_of_the_method(
    world: LoopWorld, caplog: pytest.LogCaptureFixture
) -> None:
    owner = Owner(fail)
    world.reactor.call_soon(owner.method)
    world.reactor.call_soon(fail)
    world.reactor.call_soon(world.note("other"))
    world.reactor.run_once()
    assert owner.aborted == 1
    assert world.seen == ["other"]


def test_a_flush_that_raises_costs_its_owner(world: LoopWorld) -> None:
    broken = FakeHandler(fail)
    world.reactor.unflushed += [broken, FakeHandler(world.note("other"))]
    world.reactor.run_once()
    assert broken.aborted == 1
    assert world.seen == ["other"]


def test_an_urgent_handler_that_raises_does_not_end_the_loop(world: LoopWorld) -> None:
    """It is asked between slices, outside the usual round of events."""
    world.reactor.urgent.append(FakeHandler(fail))
    world.reactor.urgent.append(FakeHandler(world.note("urgent")))
    for _ in range(SLICE * 2):
        world.selector.make_ready(FakeHandler(world.note("event")))
    world.reactor.run_once()
    assert world.seen.count("event") == SLICE * 2
    assert "urgent" in world.seen
    assert not world.reactor.behind


def test_an_abort_that_raises_does_not_end_the_loop(
    world: LoopWorld, caplog: pytest.LogCaptureFixture
) -> None:
    class Hopeless(FakeHandler):
        def abort(self) -> None:
            raise ValueError("in its abort, too")

    world.selector.make_ready(Hopeless(fail))
    world.selector.make_ready(FakeHandler(world.note("other")))
    world.reactor.run_once()
    assert world.seen == ["other"]
    assert "in its abort, too" in caplog.text


class Outcome(BaseException):
    """As asyncio's CancelledError and the outcomes of test frameworks."""


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, Cancelled, Outcome])
def test_any_error_costs_its_owner_and_no_other(
    world: LoopWorld, error: type[BaseException], traced: bool
) -> None:
    def fail() -> None:
        raise error

    if traced:
        tracer = Tracer()
        tracer.phases = list(Phase)
        world.reactor.attach(tracer)
    handlers = [FakeHandler(fail) for _ in range(3)]
    world.selector.make_ready(handlers[0])
    world.reactor.unflushed.append(handlers[1])
    world.reactor.call_soon(handlers[2].end_turn)
    world.reactor.call_later(0, fail)
    for name in ("event", "soon"):
        world.selector.make_ready(FakeHandler(world.note(name)))
        world.reactor.call_soon(world.note(name))
    world.reactor.run_once()
    assert [one.aborted for one in handlers] == [1, 1, 1]
    assert world.seen == ["event", "soon", "event", "soon"]


@pytest.mark.parametrize("where", ["event", "flush", "timer", "soon", "wait"])
def test_an_interrupt_ends_the_loop_under_pythons_own_handler(
    world: LoopWorld, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    reactor, handler = world.reactor, FakeHandler(interrupt)
    if where == "event":
        world.selector.make_ready(handler)
    elif where == "flush":
        reactor.unflushed.append(handler)
    elif where == "timer":
        reactor.call_later(0, interrupt)
    elif where == "soon":
        reactor.call_soon(interrupt)
    else:
        monkeypatch.setattr(reactor, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        reactor.run_once()
    assert handler.aborted == 0


def test_an_owner_whose_repr_raises_is_aborted_and_named(
    world: LoopWorld, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(FakeHandler):
        def __repr__(self) -> str:
            raise Outcome

    odd = Odd(fail)
    world.selector.make_ready(odd)
    world.reactor.run_once()
    assert odd.aborted == 1
    assert "Odd object at" in caplog.text


def test_a_logging_that_raises_does_not_end_the_loop(world: LoopWorld) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise Outcome

    log = logging.getLogger("reactor")
    broken = FakeHandler(fail)
    world.selector.make_ready(broken)
    log.addFilter(refuse)
    try:
        world.reactor.run_once()
    finally:
        log.removeFilter(refuse)
    assert broken.aborted == 1


# --- fairness ------------------------------------------------------------------------------------


def test_a_backlog_is_worked_in_slices_with_all_else_in_between(world: LoopWorld) -> None:
    """With 5,000 sockets ready, a timer that comes due, a queued callback and a new client wait
    for one slice of 64, not for the rest.
    """
    reactor = world.reactor
    for number in range(5000):
        world.selector.make_ready(FakeHandler(world.note(number)))

    def first() -> None:
        reactor.call_soon(world.note("soon"))
        world.clock.time += 1  # the timer comes due while the slice runs
        reactor.urgent.append(FakeHandler(world.note("urgent")))

    world.selector.ready[0] = (SelectorKey(-1, 0, 0, FakeHandler(first)), EVENT_READ)
    reactor.call_later(0.5, world.note("timer"))
    reactor.run_once()
    assert SLICE <= 64
    assert world.seen[SLICE - 2] == SLICE - 1
    assert world.seen[SLICE - 1 : SLICE + 2] == ["timer", "soon", "urgent"]
    assert [one for one in world.seen if isinstance(one, int)] == list(range(1, 5000))
    assert world.seen.count("urgent") == -(-5000 // SLICE)


def test_the_loop_is_behind_while_it_works_in_slices(world: LoopWorld) -> None:
    seen: list[bool] = []
    for _ in range(SLICE + 1):
        world.selector.make_ready(FakeHandler(lambda: seen.append(world.reactor.behind)))
    world.reactor.run_once()
    world.selector.make_ready(FakeHandler(lambda: seen.append(world.reactor.behind)))
    world.reactor.run_once()
    assert seen == [True] * (SLICE + 1) + [False]


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


def test_a_call_after_the_end_is_harmless() -> None:
    reactor = Reactor()
    reactor.close()
    reactor.call_soon_threadsafe(fail)


# --- the selector --------------------------------------------------------------------------------


class Watcher:
    """Keeps the masks of its turns."""

    def __init__(self) -> None:
        self.masks: list[int] = []

    def on_events(self, mask: int) -> None:
        self.masks.append(mask)

    def abort(self) -> None: ...


@pytest.mark.system
@pytest.mark.skipif(
    not hasattr(selectors, "EpollSelector"), reason="what epoll does with an empty interest"
)
def test_a_reset_is_reported_where_nothing_is_waited_for(real: Reactor) -> None:
    """With interest 0 epoll reports the loss of a peer for ever, with none of the wanted bits."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    watcher = Watcher()
    with ours:
        real.selector.register(ours, EVENT_READ, watcher)
        real.selector.modify(ours, 0, watcher)
        real.run_once(0)
        assert watcher.masks == []
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        real.run_once(TIMEOUT)
        assert watcher.masks == [0]
        real.selector.unregister(ours)


def test_close_closes_all_it_has_opened() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        Reactor().close()
    assert len(os.listdir("/proc/self/fd")) == before
