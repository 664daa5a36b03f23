"""Log records of events that a client or a fault can repeat without end: one a minute.

The first event is logged at once. Those of the next minute are counted, and the record of the first
event after it states their number. The owner of the condition makes the LogLimit, one for each kind
of event, and passes the clock of its world.
"""

import time
from collections.abc import Callable
from typing import Final

LOG_SECONDS: Final = 60.0  # between two records of the same kind


class LogLimit:
    """Logs one kind of event at most once in `seconds`, with the number of those left out.

    busy = LogLimit(log.error)
    busy.log("No thread is free for %s", name)
    """

    __slots__ = ("_clock", "_left_out", "_log", "_logged", "_seconds")

    def __init__(
        self,
        log: Callable[..., object],
        seconds: float = LOG_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`log` is a method of a logger: `log.error`, `log.warning`."""
        self._log = log
        self._seconds = seconds
        self._clock = clock
        self._logged: float | None = None  # the time of the last record
        self._left_out = 0  # events since then

    def log(self, sentence: str, *arguments: object) -> None:
        """Log the event, or count it where the last record is less than `seconds` old."""
        now, before, left_out = self._clock(), self._logged, self._left_out
        if before is not None and now - before < self._seconds:
            self._left_out += 1
            return
        # First, since the writing of the record may meet the same event.
        self._logged = now
        self._left_out = 0
        if before is not None and left_out:
            more = " (%d more in the %d s before)"
            self._log(sentence + more, *arguments, left_out, round(now - before))
        else:
            self._log(sentence, *arguments)
