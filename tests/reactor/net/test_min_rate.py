"""Memory that is shared first come first served, and patience with slow peers."""

from collections.abc import Coroutine
from typing import Any

import pytest

from reactor.errors import ProtocolError
from reactor.loop.timers import NEVER
from reactor.messages.body import Body
from reactor.messages.headers import Fields
from reactor.net.min_rate import MinimumRate
from reactor.tasks.futures import Future
from reactor.tasks.semaphore import WeightedSemaphore


def done(future: Future[int] | None) -> bool:
    return future is not None and future.done


# --- bodies on a budget --------------------------------------------------------------------------


class Silent:
    """A source that has nobody to inform."""

    def inform(self, status: int, headers: Fields) -> bool:
        return False


class Source(Silent):
    """A body that is there."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [*pieces, b""]

    def pull(self, most: int) -> bytes:
        piece = self.pieces.pop(0)
        assert len(piece) <= most
        return piece


class Stuck(Silent):
    """A body that does not come."""

    def pull(self, most: int) -> Future[bytes]:
        return Future()


def begin(coroutine: Coroutine[Any, Any, bytes]) -> Any:
    """Its result, or what it waits for."""
    try:
        return coroutine.send(None)
    except StopIteration as stop:
        return stop.value


def test_a_body_in_memory_is_paid_for_until_it_is_closed() -> None:
    budget = WeightedSemaphore(100)
    body = Body(Source(b"12345", b"678"), 8, 50, budget)
    assert begin(body.read()) == b"12345678"
    assert budget.used == 8
    body.close()
    body.close()
    assert budget.used == 0
    with pytest.raises(RuntimeError):
        begin(body.read())
    assert budget.used == 0


def test_a_body_of_unknown_length_is_paid_for_by_what_came() -> None:
    budget = WeightedSemaphore(100)
    body = Body(Source(b"12345"), None, 50, budget)
    assert begin(body.read()) == b"12345"
    assert budget.used == 5


def test_a_body_that_is_too_large_is_413_and_pays_nothing() -> None:
    budget = WeightedSemaphore(100)
    for body in (
        Body(Source(), 51, 50, budget),
        Body(Source(b"x" * 50, b"y"), None, 50, budget),
    ):
        with pytest.raises(ProtocolError) as caught:
            begin(body.read())
        assert caught.value.status == 413
        body.close()
        assert budget.used == 0


def test_bodies_wait_for_memory_before_they_hold_any() -> None:
    budget = WeightedSemaphore(100)
    first, second = Body(Stuck(), 60, 80, budget), Body(Source(b"x" * 60), 60, 80, budget)
    begin(first.read())
    reading = second.read()
    room = begin(reading)
    assert not done(room)
    assert budget.used == 60
    first.close()
    assert done(room)
    assert begin(reading) == b"x" * 60
    second.close()
    assert budget.used == 0


@pytest.mark.parametrize("granted", [False, True])
def test_a_body_that_is_closed_while_it_waits_for_memory(granted: bool) -> None:
    """Also when it got its share in this very turn, and its task has not been stepped yet."""
    budget = WeightedSemaphore(100)
    first, second = Body(Stuck(), 60, 80, budget), Body(Stuck(), 60, 80, budget)
    begin(first.read())
    reading = second.read()
    begin(reading)
    if granted:
        first.close()
    second.close()
    first.close()
    reading.close()
    assert budget.used == 0
    assert budget.acquire(100) is None


# --- patience ------------------------------------------------------------------------------------


def test_who_stops_has_the_time_that_was_promised() -> None:
    patience = MinimumRate(500, 20)
    assert patience.begin(100.0) == 120.0


def test_who_keeps_the_rate_never_runs_out() -> None:
    patience, now = MinimumRate(500, 20), 0.0
    deadline = patience.begin(now)
    for _ in range(1000):
        now += 10
        assert now < deadline
        deadline = patience.moved(now, 5000)


@pytest.mark.parametrize(("count", "every"), [(1, 1.0), (400, 1.0), (1000, 3.0), (0, 0.5)])
def test_who_falls_short_runs_out(count: int, every: float) -> None:
    patience, now = MinimumRate(500, 20), 0.0
    deadline = patience.begin(now)
    while now + every < deadline:
        now += every
        deadline = patience.moved(now, count)
        assert now < 1000, "a drip is forgiven for ever"
    assert now >= 19 - every


def test_a_burst_does_not_buy_more_than_the_promise() -> None:
    patience = MinimumRate(500, 20)
    patience.begin(0.0)
    assert patience.moved(1.0, 10**9) == 21.0


def test_time_in_which_nobody_waited_is_not_counted() -> None:
    """A handler that does not pull for an hour is not the client's fault."""
    patience = MinimumRate(500, 20)
    patience.begin(0.0)
    patience.moved(5.0, 0)
    assert patience.begin(3605.0) == 3605.0 + 15.0


def test_without_a_rate_there_is_no_end() -> None:
    patience = MinimumRate(0, 20)
    assert patience.begin(0.0) == NEVER
    assert patience.moved(10.0**9, 0) == NEVER
