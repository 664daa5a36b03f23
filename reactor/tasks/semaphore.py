"""A semaphore whose holders take different amounts: bytes of memory, open files, running jobs.

A limit for each connection is no limit when there are ten thousand connections. So they share one
amount, and each takes its part from the semaphore.

Three rules keep it small:

- First come, first served. A small amount that would fit waits behind a large one that does not.
- An amount above `total` is granted when nothing else is held; it would wait for ever otherwise.
- `release` grants in a loop. A callback that releases at once does not recurse, so the number of
  waiters, which clients choose, decides nothing about the depth of the stack.

It belongs to one thread, the loop's. Threads of a pool may use `try_acquire` and `release` under a
lock of their own, as long as nobody waits.
"""

from collections import OrderedDict
from types import TracebackType

from reactor.errors import Cancelled
from reactor.tasks.futures import Future


class WeightedSemaphore:
    """`total` units that all holders share."""

    def __init__(self, total: int) -> None:
        self.used = 0  # units that are held now
        self._total = total
        self._waiting: OrderedDict[Future[int], int] = OrderedDict()
        self._granting = False

    @property
    def waiting(self) -> int:
        """The number of waiters."""
        return len(self._waiting)

    def try_acquire(self, count: int = 1) -> bool:
        """Take `count` units if they are free and nobody waits; otherwise return False."""
        if self._waiting or (self.used and self.used + count > self._total):
            return False
        self.used += count
        return True

    def acquire(self, count: int = 1) -> Future[int] | None:
        """Take `count` units: None when they are granted now, otherwise a Future of `count`.

        The units belong to the caller as soon as the Future is done. A caller that no longer wants
        to wait fails the Future (`set_exception`), which gives up its place. Every acquired unit
        must be released once. `hold` does all of this for a coroutine.
        """
        if self.try_acquire(count):
            return None
        place = _Place(self)
        self._waiting[place] = count
        return place

    def release(self, count: int = 1) -> None:
        """Return `count` units and grant those that wait for them."""
        self.used -= count
        self._grant()

    def hold(self, count: int = 1) -> "Hold":
        """An asynchronous context manager: waits for `count` units and releases them at its end.

        A coroutine that is cancelled while it waits leaves nothing taken.
        """
        return Hold(self, count)

    def give_up(self, place: Future[int]) -> None:
        """For `_Place`: forget a waiter. Those behind it may fit now."""
        if self._waiting.pop(place, None) is not None:
            self._grant()

    def _grant(self) -> None:
        if self._granting:
            return  # called by a callback of a Future below; the loop there goes on
        self._granting = True
        try:
            while self._waiting:
                place, count = next(iter(self._waiting.items()))
                if self.used and self.used + count > self._total:
                    return
                del self._waiting[place]
                self.used += count
                place.set_result(count)
        finally:
            self._granting = False


class Hold:
    """`count` units of a semaphore for the length of an `async with`."""

    __slots__ = ("_count", "_semaphore")

    def __init__(self, semaphore: WeightedSemaphore, count: int) -> None:
        self._semaphore = semaphore
        self._count = count

    async def __aenter__(self) -> None:
        place = self._semaphore.acquire(self._count)
        if place is None:
            return
        try:
            await place
        except BaseException:
            if place.done:  # granted in this very turn, before the task was stepped
                self._semaphore.release(self._count)
            else:
                place.set_exception(Cancelled())
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._semaphore.release(self._count)


class _Place(Future[int]):
    """The place of a waiter; a waiter that fails it gives it up."""

    __slots__ = ("_semaphore",)

    def __init__(self, semaphore: WeightedSemaphore) -> None:
        super().__init__()
        self._semaphore = semaphore

    def set_exception(self, error: BaseException) -> None:
        super().set_exception(error)
        self._semaphore.give_up(self)
