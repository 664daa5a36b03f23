"""Records of the error log that say that another log cannot be written, and that it can be again.

The first failure is recorded at once, further ones once in LOG_SECONDS. Both records count lines,
so that this is no LogLimit.
"""

import logging

from reactor.errors import counted
from reactor.log_limit import LOG_SECONDS
from reactor.observe.log_file import LogFile

log = logging.getLogger("reactor")


class LogReporter:
    """Reports the failures of one log."""

    def __init__(self, name: str, file: LogFile) -> None:
        """`name` is that of the log in a sentence, as in "access log"."""
        self._name = f"{name} {file.path!r}" if file.path else name
        self._file = file
        self._failing = False  # a failure was recorded, and no success since
        self._next = -LOG_SECONDS  # when a failure may be recorded again
        self._lost = file.lost  # lines, at the success before
        self._reason = "its disk or its reader is too slow"  # until there is an error

    def failed(self, now: float, reason: str = "") -> None:
        """Record that lines cannot be written at this time, unless that was done a moment ago.

        Without a `reason` it is the last one.
        """
        self._reason = reason or self._reason
        if now < self._next:
            return
        self._failing = True
        self._next = now + LOG_SECONDS
        log.error(
            "Cannot write the %s: %s; %s held, %d lost",
            *(self._name, self._reason, counted(self._file.held_lines, "line")),
            self._file.lost - self._lost,
        )

    def succeeded(self) -> None:
        """Record that all lines are written, if a failure was recorded before."""
        if self._failing:
            self._failing = False
            lost, self._lost = self._file.lost - self._lost, self._file.lost
            were = counted(lost, "line was", "lines were")
            log.warning("The %s is written again; %s lost", self._name, were)

    def ended(self) -> None:
        """Record the lines that are missing when the server has ended."""
        missing = self._file.held_lines + self._file.lost - self._lost
        if missing:
            log.error(
                "The %s lacks %s, which could not be written before the server's end",
                *(self._name, counted(missing, "line")),
            )
