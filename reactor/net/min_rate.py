"""A minimum rate for a slow peer, as a bucket of seconds: waiting spends them, bytes earn them.

Bytes of content count, as the caller sees them, and framing does not: a client chooses how much of
that it sends.

A timeout for each byte is no limit for a client that sends a byte a minute, and a timeout for the
whole transfer is too short for a large one. A peer that keeps the minimum rate never runs out of
seconds; one that stops is given up after `most` seconds, and so, a little later, is one that drips.
"""

from reactor.loop.timers import NEVER


class MinimumRate:
    """The deadline of one direction of a transfer."""

    __slots__ = ("_left", "_most", "_rate", "_since", "taken")

    def __init__(self, rate: float, most: float) -> None:
        """`rate` in bytes per second, 0 for no limit; `most` in seconds."""
        self._rate = rate
        self._most = most
        self._left = most
        self._since = NEVER  # the time at which the current wait began
        self.taken: int | None = None  # bytes that have earned seconds; for the user of this object

    def begin(self, now: float) -> float:
        """Begin to wait; returns the deadline of the wait, NEVER without a limit."""
        self._since = now
        return now + self._left if self._rate else NEVER

    def moved(self, now: float, count: int) -> float:
        """Count `count` bytes that have moved, and begin to wait anew; returns the deadline."""
        if self._rate and now > self._since:
            self._left -= now - self._since
        self.earn(count)
        return self.begin(now)

    def is_short(self, now: float) -> bool:
        """Whether less than half of the seconds would be left if no bytes had moved."""
        return self._rate > 0 and self._left - max(0.0, now - self._since) < self._most / 2

    def earn(self, count: int) -> None:
        """Count `count` bytes that have come without a wait."""
        if self._rate:
            self._left = min(self._most, max(self._left, 0.0) + count / self._rate)
