"""Turns that clients share fairly, and jobs that many clients wait for and that wait for turns.

First come, first served is unfair where one client may ask a hundred times. FairTurns goes round
the clients; among the requests of one client the smallest is first. Three rules:

- A job stands in the queue of each client that waits for it: a client that joins a job of another
  one never waits behind the other's queue.
- Who goes before whom depends on clients and sizes, never on how often somebody asks.
- Turns are granted in a loop: the number of waiters decides nothing about the stack's depth.

A client is any key; for limits against abuse, `client_network` of an address is a good one.
"""

from collections import OrderedDict
from collections.abc import Hashable
from heapq import heappop, heappush
from itertools import count
from types import TracebackType
from typing import Any, Generic, TypeVar

from reactor.errors import Cancelled
from reactor.tasks.futures import Future
from reactor.tasks.single_flight import SharedJob

T = TypeVar("T")


class FairTurns:
    """`most` turns at a time, shared by clients."""

    def __init__(self, most: int) -> None:
        self._free = most
        # For each client a heap of (size, age, place); the client whose turn is next is first.
        self._queues: OrderedDict[Hashable, list[tuple[int, int, Future[None]]]] = OrderedDict()
        self._ages = count()
        self._granting = False

    @property
    def waiting(self) -> int:
        """The number of entries in all queues; those that were granted or given up may count."""
        return sum(map(len, self._queues.values()))

    def enter(self, place: Future[None], client: Hashable, size: int) -> None:
        """Put the place into the client's queue, also beside others; it is done at its turn.

        The waiter must `release` the turn. One that leaves fails the place, if it is not done.
        """
        heappush(self._queues.setdefault(client, []), (size, next(self._ages), place))
        self._grant()

    def release(self) -> None:
        """End a turn, and begin the next."""
        self._free += 1
        self._grant()

    def _grant(self) -> None:
        if self._granting:
            return  # called by a callback of a Future below; the loop there goes on
        self._granting = True
        try:
            while self._free and self._queues:
                client, queue = self._queues.popitem(last=False)
                place = _next_place(queue)
                if queue:
                    self._queues[client] = queue
                if place is not None:
                    self._free -= 1
                    place.set_result(None)
        finally:
            self._granting = False


def _next_place(queue: list[tuple[int, int, Future[None]]]) -> Future[None] | None:
    while queue:
        _, _, place = heappop(queue)
        if not place.done:  # not granted in the queue of another client, and not given up
            return place
    return None


class QueuedJob(Generic[T]):
    """A job for all clients that `wait` for it, which takes turns on their behalf.

    A subclass implements `run`. It begins when the first client waits. `wanted` is False when all
    have left: a job of several steps looks at it between them and may end early.
    """

    def __init__(self) -> None:
        self._clients: set[Hashable] = set()
        self._place: tuple[FairTurns, Future[None], int] | None = None  # while it waits for a turn
        self._job: SharedJob[T] | None = SharedJob(self._run())  # until it ends

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for the result."""
        return self._job is not None and self._job.waiting > 0

    async def run(self) -> T:
        """The job. It takes no turn within a turn."""
        raise NotImplementedError

    async def wait(self, client: Hashable) -> T:
        """The job's result, or its error raised. Cancelling the caller leaves the job alone.

        Nobody may begin to wait when the job has ended: `run` says so before it ends.
        """
        job = self._job
        assert job is not None
        if client not in self._clients:
            self._clients.add(client)
            if self._place is not None:
                turns, place, size = self._place
                turns.enter(place, client, size)
        try:
            return await job.wait()
        finally:
            del job  # error, frame and future would be a cycle

    async def _run(self) -> T:
        try:
            return await self.run()
        finally:
            self._job = None  # its error knows the frames of `run`, and they know us: a cycle

    def turn(self, turns: FairTurns, size: int = 0) -> "Turn":
        """An asynchronous context manager: waits for a turn, and ends it at its end."""
        return Turn(self, turns, size)

    def enter(self, turns: FairTurns, place: Future[None], size: int) -> None:
        """For `Turn`: stand in the queues of all clients, also of those that come later."""
        self._place = (turns, place, size)
        for client in self._clients:
            turns.enter(place, client, size)

    def leave(self) -> None:
        """For `Turn`: the job does not wait any more."""
        self._place = None


class Turn:
    """A job's turn for the length of an `async with`."""

    __slots__ = ("_job", "_size", "_turns")

    def __init__(self, job: QueuedJob[Any], turns: FairTurns, size: int) -> None:
        self._job = job
        self._turns = turns
        self._size = size

    async def __aenter__(self) -> None:
        place: Future[None] = Future()
        self._job.enter(self._turns, place, self._size)
        try:
            await place
        except BaseException:
            if place.done:  # granted in this very turn, before the task was stepped
                self._turns.release()
            else:
                place.set_exception(Cancelled())
            raise
        finally:
            self._job.leave()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._turns.release()
