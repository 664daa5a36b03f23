"""A slow disk and the threads that wait for it.

A SimFile's pages are hot or cold, cool down again by chance, and the file may shrink or fail. A
SimPool is the real ThreadPool, its queues and its limits, with threads that take simulated time
instead of the processor's. The work of a job happens at its end, in one go; its result reaches the
loop by the one door for threads.
"""

import errno
from collections.abc import Callable
from typing import Any, Final

from reactor.errors import all_but_interrupts
from reactor.files.file import File
from reactor.loop.reactor import Reactor
from reactor.simulator.network import SimNetwork, Violation
from reactor.tasks.futures import Lane
from reactor.tasks.thread_pool import PoolJob, ThreadPool

PAGE_BYTES: Final = 16 * 1024


class SimFile(File):
    """`content` on a simulated disk. `shrinks` and `fails`: how probably a load meets that."""

    def __init__(
        self,
        network: SimNetwork,
        content: bytes,
        *,
        coldness: float = 0.0,
        shrinks: float = 0.0,
        fails: float = 0.0,
    ) -> None:
        super().__init__(network.allocate(self), len(content))
        self._content = content
        self._network = network
        self._coldness = coldness  # how probably a page is found cold
        self._shrinks = shrinks
        self._fails = fails

    def _now(self) -> float:
        return self._network.time

    def look(self, offset: int, into: memoryview) -> bool:
        return self._resident(offset, len(into)) and self.read_into(offset, into) == len(into)

    def load(self, offset: int, count: int) -> bytes:
        self._check_open()
        if self._network.random.random() < self._fails:
            raise OSError(errno.EIO, "simulated")
        if self._network.random.random() < self._shrinks:
            self.shrink(self._network.random.randint(0, offset + count))
        return self._content[offset : offset + count]

    def _resident(self, offset: int, count: int) -> bool:
        self._check_open()
        pages = 1 + count // PAGE_BYTES
        if any(self._network.random.random() < self._coldness for _ in range(pages)):
            return False
        return offset + count <= len(self._content)

    def shrink(self, size: int) -> None:
        """Cut the file to this size, in bytes."""
        self._content = self._content[:size]

    def read_into(self, offset: int, into: memoryview) -> int:
        """Fill `into` from the file as far as it reaches; returns the number of bytes."""
        piece = self._content[offset : offset + len(into)]
        into[: len(piece)] = piece
        return len(piece)

    def stretch(self, offset: int, count: int) -> bytes:
        """For sendfile."""
        self._check_open()
        return self._content[offset : offset + count]

    def _check_open(self) -> None:
        if self.closed:
            raise Violation("a file was read after the last who held it let go")

    def _close(self) -> None:
        self._network.release(self.descriptor)


class SimPool(ThreadPool):
    """The real pool on simulated threads; `seconds` says how long the next job takes."""

    def __init__(
        self,
        network: SimNetwork,
        reactor: Reactor,
        threads: int,
        jobs: int,
        timeout: float,
        seconds: Callable[[], float],
    ) -> None:
        super().__init__(reactor, threads, jobs, timeout)
        self._network = network
        self._seconds = seconds

    def _enqueue(self, job: PoolJob) -> None:
        self._queues[job.lane].append(job)
        self._start_threads()

    def _start_threads(self) -> None:
        while self._threads < self._most_threads and not self._closed:
            job = self._take()
            if job is None:
                return
            self._threads += 1
            self._run_job(job)

    def _run_job(self, job: PoolJob) -> None:
        network = self._network
        network.note("pool", f"begins a job of {job.lane.value}")

        def end() -> None:
            if end in network.threads:  # otherwise it has ended before its time
                network.threads.remove(end)
                self._end_job(job)

        network.threads.append(end)
        network.after(self._seconds(), end)

    def _end_job(self, job: PoolJob) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = job.function(*job.arguments)
        except all_but_interrupts() as problem:
            error = problem
        if job.lane is Lane.COMPRESSION:
            self._compressing.release()
        self._threads -= 1
        self._network.moves += 1
        self._network.note("pool", f"ends a job of {job.lane.value}: {error or 'done'}")
        self._reactor.call_soon_threadsafe(self._finished, job, result, error)
        self._start_threads()
