"""Log records of events that are repeated without end."""

import logging

import pytest

from reactor.log_limit import LOG_SECONDS, LogLimit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0  # a monotonic clock may begin anywhere

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines() -> list[str]:
    return []


def limit_into(lines: list[str], clock: Clock) -> LogLimit:
    return LogLimit(lambda sentence, *arguments: lines.append(sentence % arguments), clock=clock)


def test_the_first_event_is_logged_at_once_and_the_next_ones_are_counted(lines: list[str]) -> None:
    clock = Clock()
    limit = limit_into(lines, clock)
    for tenth in range(6000):
        clock.now = tenth / 10
        limit.log("No %s: %d %%", "luck", tenth)
    assert lines[:2] == ["No luck: 0 %", "No luck: 600 % (599 more in the 60 s before)"]
    assert len(lines) == 10


def test_events_that_are_rare_are_all_logged(lines: list[str]) -> None:
    clock = Clock()
    limit = limit_into(lines, clock)
    for _ in range(3):
        limit.log("rare")
        clock.now += LOG_SECONDS
    assert lines == ["rare"] * 3


def test_the_count_says_how_old_it_may_be(lines: list[str]) -> None:
    clock = Clock()
    limit = limit_into(lines, clock)
    for _ in range(3):
        limit.log("busy")
    clock.now += 86400
    limit.log("busy")
    limit.log("busy")
    assert lines == ["busy", "busy (2 more in the 86400 s before)"]


def test_records_have_the_level_of_the_method(caplog: pytest.LogCaptureFixture) -> None:
    limit = LogLimit(logging.getLogger("reactor").warning)
    for _ in range(5):
        limit.log("full: %s", "disk")
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", "full: disk")
    ]
