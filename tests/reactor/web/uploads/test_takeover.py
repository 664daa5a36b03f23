"""Turns: the newest request takes over, and each works on a settled state."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import Body, Future, ProtocolError
from reactor.web.uploads.takeover import Lease, Leases, TakenOver
from tests.support.coroutine_driver import Play, Stage, drive
from tests.support.cycles import Cycles


class Slow:
    """A body's source whose bytes come when the test says so."""

    def __init__(self) -> None:
        self.pulls: list[Future[bytes]] = []

    def pull(self, most: int) -> Future[bytes]:
        self.pulls.append(Future())
        return self.pulls[-1]

    def inform(self, status: int, headers: object) -> bool:
        return False

    def hold(self, size: int) -> None:
        return None

    def release(self) -> None:
        """Nothing is held."""


class Ready(Slow):
    """One whose bytes are there."""

    def pull(self, most: int) -> bytes:  # type: ignore[override]
        return b"there"[:most]


def body_of(source: Slow) -> Body:
    return Body(source, None, 0)


def started(play: Play) -> Future[None]:
    future: Future[None] = play.operation.start(Stage())
    return future


def is_done(future: Future[None]) -> bool:
    return future.done


def test_the_first_has_its_turn_at_once() -> None:
    leases = Leases()
    lease = leases.enter("a")
    drive(lease.turn())
    assert "a" in leases
    leases.leave("a", lease)
    assert "a" not in leases


def test_names_have_nothing_to_do_with_each_other() -> None:
    leases = Leases()
    leases.enter("a")
    drive(leases.enter("b").turn())


def test_the_second_waits_until_the_first_has_left() -> None:
    leases = Leases()
    first = leases.enter("a")
    second = leases.enter("a")
    play = Play(second.turn(), Stage())
    assert not play.operation.done
    leases.leave("a", first)
    assert "a" in leases
    play.step()
    assert play.operation is None
    leases.leave("a", second)
    assert "a" not in leases


def test_a_request_that_leaves_early_stands_for_the_one_before() -> None:
    leases = Leases()
    first, second = leases.enter("a"), leases.enter("a")
    leases.leave("a", second)
    assert "a" in leases
    third = leases.enter("a")
    play = Play(third.turn(), Stage())
    assert not play.operation.done
    leases.leave("a", first)
    play.step()
    leases.leave("a", third)
    assert "a" not in leases


def test_bytes_that_are_there_are_read() -> None:
    assert drive(Leases().enter("a").read(body_of(Ready()), 3)) == b"the"


def test_bytes_that_come_are_read() -> None:
    source = Slow()
    play = Play(Leases().enter("a").read(body_of(source), 9), Stage())
    future = started(play)
    assert not is_done(future)
    source.pulls[0].set_result(b"late")
    assert is_done(future)
    play.resume(future)
    assert play.result == b"late"


def test_an_error_of_the_body_is_the_readers() -> None:
    source = Slow()
    play = Play(Leases().enter("a").read(body_of(source), 9), Stage())
    future = started(play)
    source.pulls[0].set_exception(ProtocolError(408, "late"))
    with pytest.raises(ProtocolError, match="408"):
        play.resume(future)


def test_a_reader_is_interrupted_by_the_next_request() -> None:
    leases, source = Leases(), Slow()
    first = leases.enter("a")
    play = Play(first.read(body_of(source), 9), Stage())
    future = started(play)
    leases.enter("a")
    assert future.done
    with pytest.raises(TakenOver):
        play.resume(future)
    assert source.pulls[0]._callbacks == []  # nothing is left behind


def test_a_takeover_leaves_no_cyclic_garbage() -> None:
    def take_over() -> None:
        leases = Leases()
        first = leases.enter("a")

        async def work() -> None:
            try:
                await first.read(body_of(Slow()), 9)
            except TakenOver:
                pass

        task = Stage().spawn(work())
        second = leases.enter("a")
        assert task.done
        leases.leave("a", first)
        leases.leave("a", second)

    with Cycles():
        take_over()


def test_a_request_that_was_taken_over_reads_no_more() -> None:
    leases = Leases()
    first = leases.enter("a")
    leases.enter("a")
    with pytest.raises(TakenOver):
        drive(first.read(body_of(Ready()), 9))


def test_bytes_that_came_first_are_not_lost() -> None:
    leases, source = Leases(), Slow()
    first = leases.enter("a")
    play = Play(first.read(body_of(source), 9), Stage())
    future = started(play)
    source.pulls[0].set_result(b"in time")
    leases.enter("a")
    play.resume(future)
    assert play.result == b"in time"


def test_nothing_adds_up_while_a_long_body_is_read() -> None:
    source = Slow()
    lease = Leases().enter("a")
    for _ in range(5):
        play = Play(lease.read(body_of(source), 9), Stage())
        future = started(play)
        source.pulls[-1].set_result(b"x")
        play.resume(future)
    assert not lease._lost._callbacks


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancelled_reader_leaves_nothing(begun: bool) -> None:
    source = Slow()
    lease = Leases().enter("a")
    play = Play(lease.read(body_of(source), 9), Stage())
    if begun:
        started(play)
    play.close()
    assert not lease._lost._callbacks
    assert not any(pull._callbacks for pull in source.pulls)


@pytest.mark.slow
@given(st.lists(st.sampled_from(["enter", "leave old", "leave new", "step"]), max_size=30))
@settings(deadline=None)
def test_only_one_has_the_turn_and_the_newest_gets_it(steps: list[str]) -> None:
    """Requests come and leave in any order."""
    leases = Leases()
    waiting: list[tuple[Lease, Play]] = []

    def has_turn(play: Play) -> bool:
        if play.operation is not None and play.operation.done:
            play.step()
        return play.operation is None

    for step in [*steps, *["leave old"] * 30]:
        if step == "enter":
            lease = leases.enter("a")
            waiting.append((lease, Play(lease.turn(), Stage())))
        elif step.startswith("leave") and waiting:
            lease, play = waiting.pop(0 if step == "leave old" else -1)
            play.close()
            leases.leave("a", lease)
        ready = [play for _, play in waiting if has_turn(play)]
        assert len(ready) <= 1
        assert not waiting or waiting[0][1] in ready  # the oldest that is left
        assert bool(waiting) == ("a" in leases)
    assert not waiting


def test_a_crowd_that_has_left_is_skipped_without_recursion() -> None:
    """A client may come back again and again while its first request still works."""
    leases = Leases()
    first, *crowd = [leases.enter("a") for _ in range(5_000)]
    last = leases.enter("a")
    play = Play(last.turn(), Stage())
    for lease in crowd:
        leases.leave("a", lease)
    assert not play.operation.done
    leases.leave("a", first)
    play.step()
    assert play.operation is None
    leases.leave("a", last)
    assert "a" not in leases
