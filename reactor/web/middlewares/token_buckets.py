"""Token buckets of many clients, in bounded memory: only a full bucket is forgotten.

A full bucket is worth nothing, since a client without one starts with a full one. A bucket that is
not full is kept: forgetting it would give the client new tokens, and a client with many addresses
would make room for itself. Where all buckets are in use and none is full, further clients share a
few buckets, by a hash that nobody outside can predict.

A heap has the buckets in the order in which they become full. A request of a known client leaves
its entry alone; an entry that comes up too early is put back. So a known client costs O(1), and a
new one O(log n).
"""

import math
from heapq import heappop, heappush, heapreplace
from typing import Final

ENTRIES_PER_REQUEST: Final = 2  # the heap's entries that each request looks at: none pile up
ENTRIES_FOR_ROOM: Final = 64  # the most that a new client looks at, to find a full bucket
CLIENTS_PER_SHARED_BUCKET: Final = 10  # one shared bucket for so many clients with their own
_ROUNDING: Final = 1e-6  # tokens; a client that waits until a token is due finds it


class TokenBuckets:
    """Buckets of `burst` tokens that gain `rate` tokens a second, for `most` clients."""

    def __init__(self, rate: float, burst: float, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._now = -math.inf  # the latest time: a clock that goes back changes nothing
        # The tokens that a client had left, and the time then.
        self._buckets: dict[str, tuple[float, float]] = {}
        self._filling: list[tuple[float, str]] = []  # a heap: an entry for each bucket
        self._shared: dict[int, tuple[float, float]] = {}

    def __len__(self) -> int:
        """The number of clients that have a bucket of their own."""
        return len(self._buckets)

    def take(self, client: str, now: float) -> float:
        """Take a token; the rest, or a number below 0 if there was none to take."""
        now = self._now = max(self._now, now)
        self._forget_full(ENTRIES_PER_REQUEST)
        bucket = self._buckets.get(client)
        if bucket is not None:
            left, self._buckets[client] = self._take(bucket)
        elif len(self._buckets) < self._most or self._forget_full(ENTRIES_FOR_ROOM):
            left, self._buckets[client] = self._take((self._burst, now))
            heappush(self._filling, (self._full_at(self._buckets[client]), client))
        else:
            number = hash(client) % max(1, self._most // CLIENTS_PER_SHARED_BUCKET)
            left, self._shared[number] = self._take(self._shared.get(number, (self._burst, now)))
        return left

    def _take(self, bucket: tuple[float, float]) -> tuple[float, tuple[float, float]]:
        """The result of `take`, and the bucket after it."""
        before, when = bucket
        tokens = min(self._burst, before + (self._now - when) * self._rate)
        left = tokens - 1.0
        if -_ROUNDING < left < 0:
            left = 0.0
        return left, (left if left >= 0 else tokens, self._now)

    def _full_at(self, bucket: tuple[float, float]) -> float:
        tokens, when = bucket
        return when + (self._burst - tokens) / self._rate

    def _forget_full(self, most: int) -> bool:
        """Look at the next entries of the heap that are due; whether a bucket was forgotten."""
        filling = self._filling
        for _ in range(most):
            if not filling or filling[0][0] > self._now:
                return False
            client = filling[0][1]
            full_at = self._full_at(self._buckets[client])
            if full_at <= self._now:
                heappop(filling)
                del self._buckets[client]
                return True
            heapreplace(filling, (full_at, client))
        return False
