"""The time of day: formatted once a second, in the first lines of responses and for the logs."""

import re
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from reactor.errors import ResponseError
from reactor.http.wall_clock import WallClock

EXAMPLE = 784111777.25  # a quarter of a second after the example of RFC 9110, section 5.6.7
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def clock(**options: str | bool) -> WallClock:
    made = WallClock(lambda: EXAMPLE, **options)  # type: ignore[arg-type]
    made.refresh(1000.0)
    return made


def test_it_is_due_at_once_and_then_when_the_second_ends() -> None:
    assert WallClock(lambda: EXAMPLE).expires <= 0.0
    assert clock().expires == 1000.75


def test_times_of_the_logs() -> None:
    wall = clock()
    assert wall.log_date == "06/Nov/1994:08:49:37 +0000"
    assert wall.log_time == "1994-11-06T08:49:37"


def test_first_lines_of_responses() -> None:
    assert clock().status_line(200) == b"HTTP/1.1 200 OK\r\n" + DATE
    assert clock(with_date=False).status_line(404) == b"HTTP/1.1 404 Not Found\r\n"
    assert clock(server="x").status_line(200) == b"HTTP/1.1 200 OK\r\n%bServer: x\r\n" % DATE
    assert clock().status_line(299) == b"HTTP/1.1 299 \r\n" + DATE, "the phrase may be empty"


def test_lines_are_made_once_a_second() -> None:
    now = EXAMPLE
    wall = WallClock(lambda: now)
    wall.refresh(0.0)
    first = wall.status_line(200)
    now += 1.0
    assert wall.status_line(200) is first
    assert wall.status_lines == {200: first}
    wall.refresh(1.0)
    assert wall.status_lines == {}
    assert b"08:49:38" in wall.status_line(200)


@pytest.mark.parametrize("status", [-1, 0, 99, 1000])
def test_a_status_has_three_digits(status: int) -> None:
    with pytest.raises(ResponseError, match="100 to 999"):
        clock().status_line(status)


class Status(int, Enum):
    FINE = 200


def test_a_status_that_is_a_number_of_another_class_looks_like_any_other() -> None:
    """The lines are kept for all responses with an equal status."""
    wall = clock()
    assert wall.status_line(Status.FINE) == b"HTTP/1.1 200 OK\r\n" + DATE
    assert wall.status_line(200) == b"HTTP/1.1 200 OK\r\n" + DATE


@pytest.mark.parametrize("status", [200.0, 200.5, Decimal(200), "200", None, (200,)])
def test_a_status_is_an_integer(status: Any) -> None:
    wall = clock()
    with pytest.raises(
        ResponseError, match=f"a status must be an int .*, not {re.escape(repr(status))}"
    ):
        wall.status_line(status)
    assert not wall.status_lines
