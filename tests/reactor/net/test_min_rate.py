"""The minimum rate of a slow peer."""

import pytest

from reactor.loop.timers import NEVER
from reactor.net.min_rate import MinimumRate


def test_a_peer_that_stops_has_all_of_its_seconds() -> None:
    rate = MinimumRate(500, 20)
    assert rate.begin(100.0) == 120.0


def test_a_peer_that_keeps_the_rate_never_runs_out() -> None:
    rate, now = MinimumRate(500, 20), 0.0
    deadline = rate.begin(now)
    for _ in range(1000):
        now += 10
        assert now < deadline
        deadline = rate.moved(now, 5000)


@pytest.mark.parametrize(("count", "every"), [(1, 1.0), (400, 1.0), (1000, 3.0), (0, 0.5)])
def test_a_peer_below_the_rate_runs_out(count: int, every: float) -> None:
    rate, now = MinimumRate(500, 20), 0.0
    deadline = rate.begin(now)
    while now + every < deadline:
        now += every
        deadline = rate.moved(now, count)
        assert now < 1000, "a drip is forgiven for ever"
    assert now >= 19 - every


def test_a_burst_does_not_earn_more_than_the_most() -> None:
    rate = MinimumRate(500, 20)
    rate.begin(0.0)
    assert rate.moved(1.0, 10**9) == 21.0


def test_time_between_two_waits_is_not_counted() -> None:
    """A handler that does not pull for an hour costs the client nothing."""
    rate = MinimumRate(500, 20)
    rate.begin(0.0)
    rate.moved(5.0, 0)
    assert rate.begin(3605.0) == 3605.0 + 15.0


def test_bytes_that_come_without_a_wait_earn_seconds_and_spend_none() -> None:
    rate = MinimumRate(500, 20)
    rate.begin(0.0)
    rate.moved(10.0, 0)
    rate.earn(1000)
    assert rate.begin(100.0) == 112.0
    rate.earn(10**9)
    assert rate.begin(100.0) == 120.0


def test_the_seconds_are_short_when_half_are_spent() -> None:
    rate = MinimumRate(500, 20)
    assert not rate.is_short(100.0)
    rate.begin(0.0)
    assert not rate.is_short(10.0)
    assert rate.is_short(10.1)
    rate.moved(10.1, 0)
    assert rate.is_short(10.1)
    rate.earn(500)
    assert not rate.is_short(10.1)


def test_without_a_rate_there_is_no_end() -> None:
    rate = MinimumRate(0, 20)
    assert rate.begin(0.0) == NEVER
    assert not rate.is_short(10.0**9)
    rate.earn(5)
    assert rate.moved(10.0**9, 0) == NEVER
