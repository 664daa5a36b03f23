"""Dates as HTTP and the logs write them, and as HTTP reads them (RFC 9110, section 5.6.7).

All functions take or return seconds since the epoch, and read no clock: the caller passes the time
where it matters.
"""

import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_DAY: Final = f"(?:{'|'.join(_DAYS)})"
_MONTH: Final = f"(?P<month>{'|'.join(MONTHS)})"
_TIME: Final = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-5][0-9]|60)"
# Section 5.6.7. The name of the day has to be one, but is not compared: a date with two digits for
# the year falls on different days in different centuries.
_IMF_FIXDATE: Final = re.compile(
    f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"
)
_ASCTIME: Final = re.compile(f"{_DAY} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})")
_RFC850: Final = re.compile(
    "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, "
    f"(?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"
)
_LONGEST_DATE: Final = len("Wednesday, 09-Nov-94 08:49:37 GMT")


def http_date(seconds: float) -> str:
    """`seconds` since the epoch as an IMF-fixdate (RFC 9110, section 5.6.7)."""
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def log_date(seconds: float) -> str:
    """`seconds` since the epoch in the Common Log Format, in UTC."""
    t = time.gmtime(seconds)
    return (
        f"{t.tm_mday:02}/{MONTHS[t.tm_mon - 1]}/{t.tm_year:04}"
        f":{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
    )


def log_time(seconds: float) -> str:
    """`seconds` since the epoch in the format of RFC 3339, in UTC, without the zone."""
    t = time.gmtime(seconds)
    return f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"


def parse_date(value: str, now: float) -> int | None:
    """Return an HTTP-date in any of its three formats as seconds since the epoch, or None.

    `now` is the time of day, which decides the century of a two-digit year.
    """
    if len(value) > _LONGEST_DATE:
        return None
    date = _parse_full_date(value)
    if date is None and (match := _RFC850.fullmatch(value)):
        date = _parse_short_date(match, now)
    return date


@lru_cache(maxsize=256)
def _parse_full_date(value: str) -> int | None:
    match = _IMF_FIXDATE.fullmatch(value) or _ASCTIME.fullmatch(value)
    return _seconds(match, int(match["year"])) if match else None


def _parse_short_date(match: re.Match[str], now: float) -> int | None:
    """The latest year that ends in these digits and is not more than 50 years in the future."""
    latest, *rest = time.gmtime(now)[:6]
    latest += 50
    year = latest - (latest - int(match["year"])) % 100
    day = (_month(match), int(match["day"]), *map(int, match.group("hour", "minute", "second")))
    return _seconds(match, year - 100 if (year, *day) > (latest, *rest) else year)


def _seconds(match: re.Match[str], year: int) -> int | None:
    """The seconds since the epoch, or None for a day or an hour that does not exist."""
    day, hour, minute, second = map(int, match.group("day", "hour", "minute", "second"))
    try:
        start = datetime(year, _month(match), day, hour, minute, tzinfo=UTC)
    except ValueError:
        return None
    return int(start.timestamp()) + second  # a minute may have 61 of them


def _month(match: re.Match[str]) -> int:
    return MONTHS.index(match["month"]) + 1
