"""Blocking calls on threads; their results come back through `call_soon_threadsafe`.

The pool is for file I/O and for gzip of large bodies: calls that release the GIL. Each job is in a
lane. File jobs go first, and compression jobs run on COMPRESSION_THREADS threads at most, so a file
never waits for a compression.

The queue is bounded. Beyond it a compression job is refused, and its caller sends the response
uncompressed; a file job waits outside, on the loop's side, for `timeout` seconds at most. Threads
are daemons and are started when they are needed: a thread that hangs on a dead disk does not keep
the process alive.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from reactor.errors import PoolFull, ProtocolError, all_but_interrupts
from reactor.loop.reactor import Reactor
from reactor.loop.timers import Timer
from reactor.tasks.futures import Future, Lane
from reactor.tasks.semaphore import WeightedSemaphore

COMPRESSION_THREADS: Final = 2

T = TypeVar("T")


class PoolJob:
    """A call, its lane, and the Future of its result."""

    __slots__ = ("arguments", "function", "future", "lane", "timer")

    def __init__(
        self, lane: Lane, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        self.lane = lane
        self.function = function
        self.arguments = arguments
        self.future: Future[Any] = Future()
        self.timer: Timer | None = None  # limits how long a job waits outside


class PoolSnapshot(NamedTuple):
    """Threads and jobs of a pool at one moment."""

    threads: int
    idle: int  # threads without a job
    files: int  # queued jobs of this lane
    compressions: int  # queued jobs of this lane
    outside: int  # file jobs that wait for a place in the queue


class ThreadPool:
    """`threads` threads, and a queue of `jobs` places in front of them."""

    def __init__(self, reactor: Reactor, threads: int, jobs: int, timeout: float) -> None:
        """`timeout` is how many seconds a file job waits for a place before it fails."""
        self._reactor = reactor
        self._most_threads = threads
        self._most_jobs = jobs
        self._timeout = timeout
        self._outside: deque[PoolJob] = deque()  # file jobs without a place; only the loop uses it
        # The rest is shared with the threads, under the lock of this condition.
        self._work = threading.Condition()
        self._queues: dict[Lane, deque[PoolJob]] = {lane: deque() for lane in Lane}
        self._compressing = WeightedSemaphore(COMPRESSION_THREADS)
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run `function(*arguments)` on a thread; the Future gets its result or its error.

        Where the queue is full, a compression job raises PoolFull, and a file job waits; its Future
        fails with ProtocolError(503) when no place has become free in time.
        """
        job = PoolJob(lane, function, arguments)
        if self._queued() < self._most_jobs:
            self._enqueue(job)
        elif lane is Lane.COMPRESSION:
            raise PoolFull
        else:
            job.timer = self._reactor.call_later(self._timeout, self._give_up, job)
            self._outside.append(job)
        return job.future

    def snapshot(self) -> PoolSnapshot:
        """The pool at this moment, seen from the loop; the threads go on meanwhile."""
        files, compressions = (len(self._queues[lane]) for lane in Lane)
        return PoolSnapshot(self._threads, self._idle, files, compressions, len(self._outside))

    def close(self) -> None:
        """End the idle threads. A busy one ends after its job."""
        with self._work:
            self._closed = True
            self._work.notify_all()

    # --- on the loop -----------------------------------------------------------------------------

    def _queued(self) -> int:
        return sum(map(len, self._queues.values()))

    def _enqueue(self, job: PoolJob) -> None:
        with self._work:
            self._queues[job.lane].append(job)
            if self._idle:
                self._work.notify()
            # A thread that still counts as idle may have been woken for a job before this one.
            if self._queued() > self._idle and self._threads < self._most_threads:
                self._threads += 1
                threading.Thread(target=self._run, name="reactor-pool", daemon=True).start()

    def _give_up(self, job: PoolJob) -> None:
        self._outside.remove(job)
        job.future.set_exception(ProtocolError(503, "The disk is too busy."))

    def _finished(self, job: PoolJob, result: Any, error: BaseException | None) -> None:
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
        while (job := self._wait_for_job()) is not None:
            result, error = None, None
            try:
                result = job.function(*job.arguments)
            except all_but_interrupts() as problem:
                error = problem
            if job.lane is Lane.COMPRESSION:
                with self._work:
                    self._compressing.release()
                    self._work.notify()
            self._reactor.call_soon_threadsafe(self._finished, job, result, error)
            del job, result, error  # their objects must not live until this thread's next job

    def _wait_for_job(self) -> PoolJob | None:
        """The next job; None when the pool is closed."""
        with self._work:
            while not self._closed:
                job = self._take()
                if job is not None:
                    return job
                self._idle += 1
                self._work.wait()
                self._idle -= 1
        return None

    def _take(self) -> PoolJob | None:
        """Take the next job that may run now out of its queue, under the lock; None: there is none.

        A compression job holds one of the COMPRESSION_THREADS until it has ended.
        """
        if self._queues[Lane.FILES]:
            return self._queues[Lane.FILES].popleft()
        if self._queues[Lane.COMPRESSION] and self._compressing.try_acquire():
            return self._queues[Lane.COMPRESSION].popleft()
        return None
