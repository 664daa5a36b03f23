"""Dates: as HTTP and the logs write them, and as HTTP reads them."""

import time
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reactor.protocol.dates import http_date, log_date, log_time, parse_date

NOW = 1_800_000_000.0  # 15 January 2027
LONG = 256 * 1024


# --- dates that are written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "date"),
    [
        (784111777, "Sun, 06 Nov 1994 08:49:37 GMT"),  # RFC 9110, section 5.6.7
        (784111777.999, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951782400, "Tue, 29 Feb 2000 00:00:00 GMT"),
    ],
)
def test_http_dates(seconds: float, date: str) -> None:
    assert http_date(seconds) == date == formatdate(int(seconds), usegmt=True)
    assert parse_date(date, NOW) == int(seconds)


def test_dates_of_the_logs() -> None:
    assert log_date(784111777.9) == "06/Nov/1994:08:49:37 +0000"
    assert log_time(784111777.9) == "1994-11-06T08:49:37"


# --- dates that are read -------------------------------------------------------------------------

EXAMPLE = 784111777  # that of section 5.6.7


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",  # date3 has two digits, or a space and one
        "Mon, 06 Nov 1994 08:49:37 GMT",  # the name of the day is not compared
        "Wednesday, 06-Nov-94 08:49:37 GMT",
    ],
)
def test_the_three_formats(value: str) -> None:
    assert parse_date(value, NOW) == EXAMPLE
    assert parse_date(value, NOW) == EXAMPLE  # and when it is remembered


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "784111777",
        "1994-11-06T08:49:37Z",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "SUN, 06 NOV 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 Z",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT; length=5",  # sent by old browsers
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 01994 08:49:37 GMT",
        "Sun, 06 November 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 6-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov  6 08:49:37 94",
        "Sun Nov    08:49:37 1994",
        "Noday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Tue, 29 Feb 1994 08:49:37 GMT",
        "Thu, 29 Feb 1900 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 -8:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",  # digits, but not these
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",  # two lines, joined
        "Sunday, 31-Nov-94 08:49:37 GMT",
        "Sunday, 00-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-94 25:49:37 GMT",
        "Sun Nov 31 08:49:37 1994",
        "Sun Nov  0 08:49:37 1994",
        "*",
        "never",
        "S" * LONG,
    ],
)
def test_other_texts_are_no_dates(value: str) -> None:
    assert parse_date(value, NOW) is None


def test_a_minute_may_have_61_seconds() -> None:
    assert parse_date("Sat, 31 Dec 2016 23:59:60 GMT", NOW) == 1483228800
    assert parse_date("Sun, 01 Jan 2017 00:00:00 GMT", NOW) == 1483228800


def test_the_first_and_the_last_dates() -> None:
    assert parse_date("Wed, 31 Dec 1969 23:59:59 GMT", NOW) == -1
    assert parse_date("Mon, 01 Jan 0001 00:00:00 GMT", NOW) == -62135596800
    assert parse_date("Fri, 31 Dec 9999 23:59:59 GMT", NOW) == 253402300799


def stamp(*fields: int) -> int:
    return int(datetime(*fields, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("now", "value", "expected"),
    [
        # 50 years and no second more are the future (section 5.6.7).
        (stamp(2027, 1, 15, 8), "Friday, 15-Jan-77 08:00:00 GMT", stamp(2077, 1, 15, 8)),
        (stamp(2027, 1, 15, 8), "Friday, 15-Jan-77 08:00:01 GMT", stamp(1977, 1, 15, 8, 0, 1)),
        (stamp(2027, 1, 15, 8), "Friday, 31-Dec-76 23:59:59 GMT", stamp(2076, 12, 31, 23, 59, 59)),
        (stamp(2027, 1, 15, 8), "Friday, 01-Feb-77 00:00:00 GMT", stamp(1977, 2, 1)),
        (stamp(2027, 1, 15, 8), "Friday, 01-Jan-78 00:00:00 GMT", stamp(1978, 1, 1)),
        (stamp(2027, 1, 15, 8), "Friday, 15-Jan-27 08:00:00 GMT", stamp(2027, 1, 15, 8)),
        (stamp(2027, 1, 15, 8), "Friday, 01-Jan-00 00:00:00 GMT", stamp(2000, 1, 1)),
        (stamp(1994, 11, 6), "Sunday, 06-Nov-44 00:00:00 GMT", stamp(2044, 11, 6)),
        (stamp(1994, 11, 6), "Sunday, 06-Nov-45 00:00:00 GMT", stamp(1945, 11, 6)),
        (stamp(2099, 12, 31), "Friday, 01-Jan-00 00:00:00 GMT", stamp(2100, 1, 1)),
        (stamp(2024, 2, 29), "Friday, 01-Mar-74 00:00:00 GMT", stamp(1974, 3, 1)),
        (stamp(2024, 2, 29), "Friday, 28-Feb-74 00:00:00 GMT", stamp(2074, 2, 28)),
        (stamp(2024, 3, 1), "Tuesday, 29-Feb-00 00:00:00 GMT", stamp(2000, 2, 29)),
        (stamp(2060, 3, 1), "Tuesday, 29-Feb-00 00:00:00 GMT", None),  # 2100 has none
    ],
)
def test_years_of_two_digits(now: int, value: str, expected: int | None) -> None:
    assert parse_date(value, now) == expected


def test_years_of_two_digits_now() -> None:
    now = time.time()
    year = time.gmtime(now).tm_year
    for years, expected in ((40, year + 40), (60, year - 40)):
        value = f"Friday, 01-Jan-{(year + years) % 100:02} 00:00:00 GMT"
        assert parse_date(value, now) == stamp(expected, 1, 1)


DATES = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)).map(
    lambda date: date.replace(microsecond=0, tzinfo=UTC)
)


@given(DATES)
def test_every_second_in_two_formats(date: datetime) -> None:
    seconds = int(date.timestamp())
    assert parse_date(formatdate(seconds, usegmt=True), NOW) == seconds
    assert parse_date(f"{date:%a %b} {date.day:2} {date:%H:%M:%S} {date.year:04}", NOW) == seconds


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2150, 1, 1)),
    st.datetimes(datetime(1900, 1, 1), datetime(2300, 1, 1)),
)
@example(datetime(2024, 2, 29), datetime(2074, 3, 1))
@example(datetime(2024, 2, 29), datetime(2074, 2, 28))
def test_years_of_two_digits_against_a_model(now: datetime, date: datetime) -> None:
    """The year is in the last century that is not too far away."""
    now, date = (one.replace(microsecond=0, tzinfo=UTC) for one in (now, date))
    expected = None
    for century in range(1800, 2400, 100):
        year = century + date.year % 100
        # As tuples: 50 years after 29 February is a day that does not exist.
        if (year, *date.timetuple()[1:6]) <= (now.year + 50, *now.timetuple()[1:6]):
            try:
                expected = int(date.replace(year=year).timestamp())
            except ValueError:
                expected = None
    value = f"{date:%A, %d-%b-}{date.year % 100:02}{date: %H:%M:%S} GMT"
    assert parse_date(value, now.timestamp()) == expected


@given(DATES, st.data())
def test_one_character_makes_it_another_date_or_none(date: datetime, data: st.DataObject) -> None:
    """Each accepted text is equal to the same date, written again."""
    value = formatdate(int(date.timestamp()), usegmt=True)
    place = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.characters(min_codepoint=9, max_codepoint=255))
    changed = value[:place] + other + value[place + 1 :]
    seconds = parse_date(changed, NOW)
    if seconds is not None and not changed[17:].endswith(":60 GMT"):
        assert formatdate(seconds, usegmt=True)[4:] == changed[4:]
