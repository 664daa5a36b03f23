"""A semaphore whose holders take different amounts: of memory, of files, of threads.

A limit for each connection is no limit when there are ten thousand connections. What they share is
taken here, in the order in which it was asked for.
"""

from collections import deque

from reactor.tasks.futures import Future


class WeightedSemaphore:
    """`total` bytes for all who share it; who does not get its share waits, first come first."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._waiting: deque[tuple[int, Future[int]]] = deque()
        self.used = 0

    def take(self, count: int) -> Future[int] | None:
        """Take `count` bytes: None when they are yours, otherwise a future of them.

        Who no longer wants to wait fails the future.
        """
        if not self._waiting and (self.used + count <= self._total or not self.used):
            self.used += count
            return None
        future: Future[int] = Future()
        self._waiting.append((count, future))
        return future

    def give(self, count: int) -> None:
        """Give `count` bytes back."""
        self.used -= count
        while self._waiting:
            wanted, future = self._waiting[0]
            if not future.done:
                if self.used + wanted > self._total and self.used:
                    return
                self.used += wanted
                future.set_result(wanted)
            self._waiting.popleft()
