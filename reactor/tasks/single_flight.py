"""Many tasks that want the same thing wait for one job.

SharedJob is one such job; SingleFlight keeps the jobs that are under way by key. Three rules:

- The first waiter begins the job, with its own runtime. The job does not depend on it from then on:
  a waiter that is cancelled leaves, and the job goes on for the others.
- Nothing cancels the job. When all waiters have left it runs to its end, so what it has found can
  still be kept; a job of several steps looks at `waiting` between them and may end early.
- All waiters get the same result, or raise the same error, each with a traceback of its own.

The job is an Operation (such as `in_pool(...)`, also with `then`) or a coroutine, which is run as a
task of its own. An Operation costs no task. The waiters are resumed by their tasks, through the
loop's `soon` phase, so however many there are, none is stepped within another.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Generic, TypeVar

from reactor.tasks.futures import Future, RuntimeLike
from reactor.tasks.operations import begin

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SharedJob(Future[T]):
    """One job for all who `wait` for it, and the Future of its result."""

    __slots__ = ("_context", "_traceback", "_work", "waiting")

    def __init__(self, work: Awaitable[T]) -> None:
        """`work` begins when the first task waits. A coroutine runs in a copy of this context."""
        super().__init__()
        self.waiting = 0  # tasks that wait for it now
        self._work: Awaitable[T] | None = work  # until it has begun
        self._context = copy_context()
        self._traceback: TracebackType | None = None  # as the job raised its error

    async def wait(self) -> T:
        """The job's result, or its error raised. Cancelling the caller leaves the job alone."""
        self.waiting += 1
        try:
            return await self
        finally:
            self.waiting -= 1
            self = None  # type: ignore[assignment]  # or error, frame and future are a cycle

    def start(self, runtime: RuntimeLike) -> "SharedJob[T]":
        """Begin the job unless it has begun."""
        work, self._work = self._work, None
        if work is not None:
            begin(work, runtime, self._context).add_callback(self._ended)
        return self

    def result(self) -> T:
        """As in Future. Without the reset the frames of all waiters would add up in the error."""
        try:
            if self._error is not None:
                self._error.__traceback__ = self._traceback
            return super().result()
        finally:
            self = None  # type: ignore[assignment]  # as in `wait`

    def _ended(self, job: Future[T]) -> None:
        error = job.exception()
        if error is None:
            self.set_result(job.result())
        else:
            self._traceback = error.__traceback__
            self.set_exception(error)


class SingleFlight(Generic[K, T]):
    """At most one job under way for each key."""

    def __init__(
        self, max_age: float = float("inf"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """A job that began `max_age` seconds ago or earlier is not joined; a new one replaces it.

        Those who wait for the old job still get its result.
        """
        self._max_age = max_age
        self._clock = clock
        self._jobs: dict[K, tuple[float, SharedJob[T]]] = {}  # with the time when they began

    def __len__(self) -> int:
        """The number of jobs under way that can be joined."""
        return len(self._jobs)

    async def run(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for the job for `key`; where there is none, `work()` is the job and begins now.

        Returns its result or raises its error. A job that has ended is forgotten before its waiters
        are resumed: a cache is the business of the caller (see `Operation.then`).
        """
        now = self._clock()
        began, job = self._jobs.get(key) or (now, None)
        if job is None or now - began >= self._max_age:
            job = SharedJob(work())
            self._jobs[key] = (now, job)
            job.add_callback(partial(self._ended, key))
        try:
            return await job.wait()
        finally:
            del job  # error, frame and future would be a cycle

    def waiting(self, key: K) -> int:
        """The number of tasks that wait for the job for `key`; 0 where there is none."""
        found = self._jobs.get(key)
        return 0 if found is None else found[1].waiting

    def forget(self, key: K) -> None:
        """Let nobody join the job for `key` any more. Those who wait still get its result."""
        self._jobs.pop(key, None)

    def forget_all(self) -> None:
        """`forget` for every key."""
        self._jobs.clear()

    def _ended(self, key: K, job: Future[T]) -> None:
        found = self._jobs.get(key)
        if found is not None and found[1] is job:
            del self._jobs[key]
