"""Two budgets: of memory for bodies that are held whole, of time for a slow peer.

Both are there because a limit per connection is none for ten thousand of them, and a timeout per
byte is none for a client that sends a byte a minute.
"""

from reactor.loop.timers import NEVER


class MinimumRate:
    """A minimum rate, as a bucket of seconds: waiting spends them, bytes that move earn them.

    A peer that keeps the rate never runs out; one that stops is given up after `most` seconds, and
    so, a little later, is one that drips.
    """

    __slots__ = ("_left", "_most", "_rate", "_since", "level")

    def __init__(self, rate: float, most: float) -> None:
        """`rate` in bytes per second, 0 for a patience without end; `most` in seconds."""
        self._rate = rate
        self._most = most
        self._left = most
        self._since = NEVER  # when the waiting began
        self.level = 0  # bytes that were still to move then; its user's to set

    def begin(self, now: float) -> float:
        """Waiting begins; the deadline until which it may last."""
        self._since = now
        return now + self._left if self._rate else NEVER

    def moved(self, now: float, count: int) -> float:
        """`count` bytes have moved, and waiting begins anew; the deadline."""
        if self._rate and now > self._since:
            self._left -= now - self._since
        if self._rate:
            self._left = min(self._most, max(self._left, 0.0) + count / self._rate)
        return self.begin(now)
