"""Threads that work for some lanes of the pool, and the queues in front of them.

Three rules. Threads are started when they are needed, and are daemons: one that hangs on a dead
disk does not keep the process alive. The lanes of a crew have their turns one after the other, so
none waits for all jobs of another. The counts of threads are sizes of sets, which stay true however
a thread ends.

A crew does not know the loop. Its two callbacks are called on its threads (see thread_pool.py).
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from reactor.errors import all_but_interrupts
from reactor.log_limit import LogLimit
from reactor.loop.timers import Timer
from reactor.tasks.futures import Future, Lane

log = logging.getLogger("reactor")


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


class Worker:
    """One thread, and the job that it runs."""

    __slots__ = ("job",)

    def __init__(self) -> None:
        self.job: PoolJob | None = None


JobEnded: TypeAlias = Callable[[PoolJob, Any, BaseException | None], object]
ThreadDied: TypeAlias = "Callable[[Crew, PoolJob | None, BaseException], object]"


class Crew:
    """At most `most` threads, and a queue for each of their lanes."""

    def __init__(
        self, most: int, lanes: Sequence[Lane], job_ended: JobEnded, thread_died: ThreadDied
    ) -> None:
        """`job_ended(job, result, error)` and `thread_died(crew, job, error)` are called by
        threads, the second one with the job that the thread was running, if any.
        """
        self.queues: dict[Lane, deque[PoolJob]] = {lane: deque() for lane in lanes}
        self._most = most
        self._job_ended = job_ended
        self._thread_died = thread_died
        self._turns = deque(lanes)  # the lane that is next comes first
        self._work = threading.Condition()  # guards all of it
        self._workers: set[Worker] = set()
        self._idle: set[Worker] = set()
        self._closed = False
        self._no_thread = LogLimit(log.error)

    @property
    def threads(self) -> int:
        """The number of threads."""
        return len(self._workers)

    @property
    def idle(self) -> int:
        """The number of threads without a job."""
        return len(self._idle)

    def add(self, job: PoolJob) -> bool:
        """Queue a job; False where no thread works for it and none can be started."""
        with self._work:
            queue = self.queues[job.lane]
            queue.append(job)
            if self._idle:
                self._work.notify()
            self._start_threads()
            if not self._workers:
                queue.remove(job)
                return False
        return True

    def start_threads(self) -> None:
        """Start or wake threads for queued jobs, after one has died that may have been woken."""
        with self._work:
            self._work.notify_all()
            self._start_threads()

    def close(self) -> None:
        """End the idle threads. A busy one ends after its job."""
        with self._work:
            self._closed = True
            self._work.notify_all()

    def _start_threads(self) -> None:
        # A thread that still counts as idle may have been woken for a job before this one.
        missing = sum(map(len, self.queues.values())) - len(self._idle)
        for _ in range(min(missing, self._most - len(self._workers))):
            worker = Worker()
            thread = threading.Thread(
                target=self._run, args=(worker,), name="reactor-pool", daemon=True
            )
            self._workers.add(worker)
            try:
                thread.start()
            except all_but_interrupts() as error:
                self._workers.discard(worker)
                self._no_thread.log("Cannot start a thread of the pool: %s", error)
                return

    # --- on the threads --------------------------------------------------------------------------

    def _run(self, worker: Worker) -> None:
        death: BaseException | None = None
        try:
            while self._take_job(worker):
                self._run_job(worker)
        except all_but_interrupts() as error:  # thrown in from outside, or a fault of ours
            death = error
        with self._work:
            self._workers.discard(worker)
            self._idle.discard(worker)
        if death is not None:
            self._thread_died(self, worker.job, death)

    def _take_job(self, worker: Worker) -> bool:
        """Wait for a job and take it; False when the pool is closed."""
        with self._work:
            while not self._closed:
                for _ in range(len(self._turns)):
                    queue = self.queues[self._turns[0]]
                    self._turns.rotate(-1)
                    if queue:
                        worker.job = queue[0]
                        queue.popleft()
                        return True
                self._idle.add(worker)
                try:
                    self._work.wait()
                finally:
                    self._idle.discard(worker)
        return False

    def _run_job(self, worker: Worker) -> None:
        """Run the job of a thread. Nothing of it lives on until the thread's next job, nor in this
        frame, which the frames of the error know: it would be a cycle.
        """
        job, result, error = worker.job, None, None
        assert job is not None
        try:
            result = job.function(*job.arguments)
        except all_but_interrupts() as problem:
            error = problem
        self._job_ended(job, result, error)
        worker.job = None
        del job, result, error
