"""The wall clock as HTTP and logs write it, made once a second.

Every answer has a Date (RFC 9110, section 6.6.1) and every log line a time, both with a resolution
of a second. They are formatted when the second has changed and somebody asks.
"""

import time
from collections.abc import Callable
from http import HTTPStatus

from reactor.errors import ResponseError

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def http_date(seconds: float) -> str:
    """`seconds` since the epoch as an IMF-fixdate (RFC 9110, section 5.6.7)."""
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def log_date(seconds: float) -> str:
    """`seconds` since the epoch as the Common Log Format has it, in UTC."""
    t = time.gmtime(seconds)
    return (
        f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year:04}"
        f":{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
    )


def log_time(seconds: float) -> str:
    """`seconds` since the epoch as RFC 3339 has it, in UTC: up to the second, without its zone."""
    t = time.gmtime(seconds)
    return f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"


class WallClock:
    """What is made of the time of day, each until the second `expires` (of the loop's clock)."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        server: str = "",
        with_date: bool = True,
    ) -> None:
        self._wall = wall
        self._server = f"Server: {server}\r\n" if server else ""
        self._with_date = with_date
        self.expires = float("-inf")
        self.log_date = ""
        self.log_time = ""
        self.status_lines: dict[int, bytes] = {}

    def refresh(self, now: float) -> None:
        """To be called when `now`, of the loop's clock, has reached `expires`."""
        wall = self._wall()
        self.expires = now + 1.0 - wall % 1.0
        self.log_date = log_date(wall)
        self.log_time = log_time(wall)
        date = f"Date: {http_date(wall)}\r\n" if self._with_date else ""
        self._common = f"{date}{self._server}"
        self.status_lines.clear()

    def status_line(self, status: int) -> bytes:
        """The first lines of an answer: status line, Date, Server. Raises ResponseError."""
        line = self.status_lines.get(status)
        if line is None:
            if not 100 <= status <= 999:
                raise ResponseError(f"not a status: {status!r}")
            phrase = _PHRASES.get(status, "")
            line = f"HTTP/1.1 {status} {phrase}\r\n{self._common}".encode("latin-1")
            self.status_lines[status] = line
        return line
