"""The time of day as responses and log lines write it, formatted once a second.

Every response has a Date field (RFC 9110, section 6.6.1) and every log line a time, both with a
resolution of one second. They are formatted anew when the second has changed and somebody asks.
"""

import time
from collections.abc import Callable
from typing import Any

from reactor.errors import ResponseError
from reactor.protocol.dates import http_date, log_date, log_time
from reactor.protocol.reason_phrases import reason_phrase


class WallClock:
    """Texts made from the time of day, valid until `expires`, a time of the loop's clock."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        server: str = "",
        with_date: bool = True,
    ) -> None:
        self._wall = wall
        self._fields = f"Server: {server}\r\n" if server else ""
        self._with_date = with_date
        self.expires = float("-inf")
        self.log_date = ""
        self.log_time = ""
        self.status_lines: dict[int, bytes] = {}  # by status
        self._tables: list[dict[Any, Any]] = [self.status_lines]
        self._common = ""  # the lines that follow each status line

    def refresh(self, now: float) -> None:
        """Format the texts anew: for callers that find `now`, of the loop's clock, at `expires`."""
        wall = self._wall()
        self.expires = now + 1.0 - wall % 1.0
        self.log_date = log_date(wall)
        self.log_time = log_time(wall)
        date = f"Date: {http_date(wall)}\r\n" if self._with_date else ""
        self._common = f"{date}{self._fields}"
        for table in self._tables:
            table.clear()

    def with_field(self, line: str) -> "WallClock":
        """Another clock of the same time, whose responses have this field line as well."""
        other = WallClock(self._wall, with_date=self._with_date)
        other._fields = f"{self._fields}{line}\r\n"
        return other

    def empty_with_each_second(self, table: dict[Any, Any]) -> None:
        """Empty the table, of texts that have one of these in them, when they are made anew."""
        self._tables.append(table)

    def status_line(self, status: int) -> bytes:
        """The first lines of a response: status line, Date, Server and the fields of `with_field`.

        Raises ResponseError for a status that is not an int of 100 to 999.
        """
        line = self.status_lines.get(status)
        if line is None:
            if not isinstance(status, int) or not 100 <= status <= 999:
                raise ResponseError(f"a status must be an int of 100 to 999, not {status!r}")
            status = int(status)  # a member of an enum may have another text
            line = f"HTTP/1.1 {status} {reason_phrase(status)}\r\n{self._common}".encode("latin-1")
            self.status_lines[status] = line
        return line
