"""Blocking calls on threads; results come back through the loop's one door for threads.

The pool is for file I/O and for gzip of large bodies: calls that release the GIL. Files go first,
and compression gets two of the threads at most, so a file never waits for it.

The queue is bounded. Beyond it a compression is refused (its caller answers uncompressed), and a
file job waits outside, on the loop's side, for `timeout` seconds at most. Threads are daemons and
made when they are needed: one that hangs on a dead disk does not keep the process alive.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from reactor.errors import PoolFull, ProtocolError
from reactor.loop.reactor import Reactor
from reactor.loop.timers import Timer
from reactor.tasks.futures import Future, Lane

COMPRESSION_THREADS: Final = 2

T = TypeVar("T")


class _Job:
    """A call, its future, and which lane it goes in."""

    __slots__ = ("arguments", "function", "future", "lane", "timer")

    def __init__(
        self, lane: Lane, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        self.lane = lane
        self.function = function
        self.arguments = arguments
        self.future: Future[Any] = Future()
        self.timer: Timer | None = None


class PoolLoad(NamedTuple):
    """What a pool has to do at one moment."""

    threads: int
    idle: int  # of these
    files: int  # jobs in the queues, and
    compressions: int
    outside: int  # file jobs that wait for a place in theirs


class ThreadPool:
    """`threads` threads and `jobs` places to wait for one."""

    def __init__(self, reactor: Reactor, threads: int, jobs: int, timeout: float) -> None:
        self._reactor = reactor
        self._most_threads = threads
        self._most_jobs = jobs
        self._timeout = timeout
        self._outside: deque[_Job] = deque()  # file jobs without a place; the loop's alone
        # What follows is shared with the threads, under the lock of this condition.
        self._work = threading.Condition()
        self._queues: dict[Lane, deque[_Job]] = {lane: deque() for lane in Lane}
        self._compressing = 0
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run `function(*arguments)` on a thread.

        Raises PoolFull for a compression when there is no place; a file job's future fails with
        ProtocolError(503) when it got none in time.
        """
        job = _Job(lane, function, arguments)
        if self._queued() < self._most_jobs:
            self._enqueue(job)
        elif lane is Lane.COMPRESSION:
            raise PoolFull
        else:
            job.timer = self._reactor.call_later(self._timeout, self._give_up, job)
            self._outside.append(job)
        return job.future

    def load(self) -> PoolLoad:
        """A look at it from the loop; the threads go on meanwhile."""
        files, compressions = (len(self._queues[lane]) for lane in Lane)
        return PoolLoad(self._threads, self._idle, files, compressions, len(self._outside))

    def close(self) -> None:
        """Let idle threads end; a busy one is left to itself."""
        with self._work:
            self._closed = True
            self._work.notify_all()

    # --- on the loop -----------------------------------------------------------------------------

    def _queued(self) -> int:
        return sum(map(len, self._queues.values()))

    def _enqueue(self, job: _Job) -> None:
        with self._work:
            self._queues[job.lane].append(job)
            if self._idle:
                self._work.notify()
            # Who is idle may have been woken for a job before this one.
            if self._queued() > self._idle and self._threads < self._most_threads:
                self._threads += 1
                threading.Thread(target=self._run, name="reactor-pool", daemon=True).start()

    def _give_up(self, job: _Job) -> None:
        self._outside.remove(job)
        job.future.set_exception(ProtocolError(503, "The disk is too busy."))

    def _finished(self, job: _Job, result: Any, error: BaseException | None) -> None:
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
        while self._outside and self._queued() < self._most_jobs:
            waiting = self._outside.popleft()
            if waiting.timer is not None:
                waiting.timer.cancel()
            self._enqueue(waiting)

    # --- on the threads --------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._take()) is not None:
            result, error = None, None
            try:
                result = job.function(*job.arguments)
            except (Exception, SystemExit) as problem:
                error = problem
            if job.lane is Lane.COMPRESSION:
                with self._work:
                    self._compressing -= 1
                    self._work.notify()
            self._reactor.call_soon_threadsafe(self._finished, job, result, error)
            del job, result, error  # what they hold must not wait for this thread's next job

    def _take(self) -> _Job | None:
        """The next job; None when the pool is closed."""
        with self._work:
            while not self._closed:
                if self._queues[Lane.FILES]:
                    return self._queues[Lane.FILES].popleft()
                if self._queues[Lane.COMPRESSION] and self._compressing < COMPRESSION_THREADS:
                    self._compressing += 1
                    return self._queues[Lane.COMPRESSION].popleft()
                self._idle += 1
                self._work.wait()
                self._idle -= 1
        return None
