"""Blocking calls on threads; their results come back through `call_soon_threadsafe`.

The pool is for file I/O and for gzip of large bodies: calls that release the GIL. Each job is in a
lane (see Lane), and lanes do not wait for each other:

- Each lane has `jobs` places of its own for jobs that wait for a thread.
- A crew of threads works for a lane (see crew.py): `threads` of them for files, LOG_THREADS for
  logs, so that no dead disk silences both logs. COMPRESSION_THREADS work for compressions and
  streams in turn, and leave processors to the loop.
- Where all places of its lane are taken, a compression is refused, and its caller sends the
  response uncompressed. Any other job waits outside, on the loop's side, for `timeout` seconds at
  most; then it fails with PoolFull, a 503.

Any error of a job reaches the task that awaits it, and the thread goes on. A thread that dies
nonetheless is replaced, and its job fails.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from reactor.errors import Cancelled, PoolFull
from reactor.log_limit import LogLimit
from reactor.loop.reactor import Reactor
from reactor.tasks.crew import Crew, PoolJob
from reactor.tasks.futures import Future, Lane

COMPRESSION_THREADS: Final = 2
LOG_THREADS: Final = 2  # one for each log

T = TypeVar("T")

log = logging.getLogger("reactor")


class PoolSnapshot(NamedTuple):
    """Threads and jobs of a pool at one moment."""

    threads: int
    idle: int  # threads without a job
    files: int  # queued jobs of this lane
    compressions: int  # queued jobs of this lane
    streams: int  # queued jobs of this lane
    logs: int  # queued jobs of this lane
    outside: int  # jobs of all lanes that wait for a place in a queue


class ThreadPool:
    """Crews of threads, and queues of `jobs` places in front of them, one for each lane."""

    def __init__(self, reactor: Reactor, threads: int, jobs: int, timeout: float) -> None:
        """`threads`: for files. `timeout`: seconds that a job waits for a place, then it fails."""
        self._reactor = reactor
        self._most_jobs = jobs
        self._timeout = timeout
        self._busy = LogLimit(log.warning, clock=reactor.clock)
        # Jobs without a place. Only the loop uses them.
        self._outside: dict[Lane, deque[PoolJob]] = {lane: deque() for lane in Lane}
        self._crews: dict[Lane, Crew] = {}
        for most, lanes in (
            (threads, [Lane.FILES]),
            (COMPRESSION_THREADS, [Lane.COMPRESSION, Lane.STREAMS]),
            (LOG_THREADS, [Lane.LOGS]),
        ):
            self._crews.update(dict.fromkeys(lanes, self._make_crew(most, lanes)))

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run `function(*arguments)` on a thread; the Future gets its result or its error.

        Where all places of the lane are taken, a compression raises PoolFull, and any other job
        waits; its Future fails with PoolFull when no place has become free in time.

        Errors that mean something else to the task that waits (Cancelled, GeneratorExit and
        KeyboardInterrupt) come as the cause of a RuntimeError.
        """
        job = PoolJob(lane, function, arguments)
        outside = self._outside[lane]
        if not outside and self._queued(lane) < self._most_jobs:
            self._enqueue(job)
        elif lane is Lane.COMPRESSION:
            raise self._refusal(lane)
        else:
            job.timer = self._reactor.call_later(self._timeout, self._give_up, job)
            outside.append(job)
        return job.future

    def snapshot(self) -> PoolSnapshot:
        """The pool at this moment, seen from the loop; the threads go on meanwhile."""
        crews = set(self._crews.values())
        return PoolSnapshot(
            threads=sum(crew.threads for crew in crews),
            idle=sum(crew.idle for crew in crews),
            files=self._queued(Lane.FILES),
            compressions=self._queued(Lane.COMPRESSION),
            streams=self._queued(Lane.STREAMS),
            logs=self._queued(Lane.LOGS),
            outside=sum(map(len, self._outside.values())),
        )

    def close(self) -> None:
        """End the idle threads. A busy one ends after its job."""
        for crew in set(self._crews.values()):
            crew.close()

    # --- on the loop -----------------------------------------------------------------------------

    def _make_crew(self, most: int, lanes: Sequence[Lane]) -> Crew:
        return Crew(most, lanes, self._job_ended, self._thread_died)

    def _queued(self, lane: Lane) -> int:
        return len(self._crews[lane].queues[lane])

    def _enqueue(self, job: PoolJob) -> None:
        if not self._crews[job.lane].add(job):
            job.future.set_exception(self._refusal(job.lane))

    def _refusal(self, lane: Lane) -> PoolFull:
        self._busy.log("The thread pool is busy: a job of the lane %r found no place", lane.value)
        return PoolFull()

    def _give_up(self, job: PoolJob) -> None:
        self._outside[job.lane].remove(job)
        job.future.set_exception(self._refusal(job.lane))

    def _finished(self, job: PoolJob, result: Any, error: BaseException | None) -> None:
        self._admit(self._crews[job.lane])
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    def _admit(self, crew: Crew) -> None:
        """Move jobs from outside to the places that have become free."""
        for lane, queue in crew.queues.items():
            outside = self._outside[lane]
            while outside and len(queue) < self._most_jobs:
                job = outside.popleft()
                if job.timer is not None:
                    job.timer.cancel()
                self._enqueue(job)

    def _replace(self, crew: Crew, job: PoolJob | None, death: BaseException) -> None:
        log.error("A pool thread has died, and another one takes its place", exc_info=death)
        crew.start_threads()
        self._admit(crew)
        if job is not None:
            error = RuntimeError("the pool thread that ran this job has died")
            error.__cause__ = death
            job.future.set_exception(error)

    # --- on the threads --------------------------------------------------------------------------

    def _job_ended(self, job: PoolJob, result: Any, error: BaseException | None) -> None:
        if isinstance(error, Cancelled | GeneratorExit | KeyboardInterrupt):
            cause, error = error, RuntimeError(f"the job raised {error!r}")
            error.__cause__ = cause
        self._reactor.call_soon_threadsafe(self._finished, job, result, error)

    def _thread_died(self, crew: Crew, job: PoolJob | None, death: BaseException) -> None:
        self._reactor.call_soon_threadsafe(self._replace, crew, job, death)
