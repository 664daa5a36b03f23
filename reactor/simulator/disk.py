"""A slow disk and the threads that wait for it.

A SimFile's pages are hot or cold, cool down again by chance, and the file may shrink or fail. A
SimPool is the real ThreadPool, its queues and its limits, with threads that take simulated time
instead of the processor's. The work of a job happens at its end, in one go; its result reaches the
loop by the one door for threads.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Final

from reactor.files.file import File
from reactor.loop.reactor import Reactor
from reactor.simulator.network import SimNetwork, Violation
from reactor.tasks.crew import Crew, JobEnded, ThreadDied, Worker
from reactor.tasks.futures import Lane
from reactor.tasks.thread_pool import ThreadPool

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


class SimCrew(Crew):
    """The real queues of a crew, and simulated threads."""

    def __init__(
        self,
        network: SimNetwork,
        seconds: Callable[[], float],
        most: int,
        lanes: Sequence[Lane],
        job_ended: JobEnded,
        thread_died: ThreadDied,
    ) -> None:
        super().__init__(most, lanes, job_ended, thread_died)
        self._network = network
        self._seconds = seconds

    def _start_threads(self) -> None:
        while len(self._workers) < self._most and not self._closed and any(self.queues.values()):
            worker = Worker()
            self._workers.add(worker)
            assert self._take_job(worker)
            self._begin(worker)

    def _begin(self, worker: Worker) -> None:
        network, job = self._network, worker.job
        assert job is not None
        lane = job.lane.value
        network.note("pool", f"begins a job of {lane}")

        def end() -> None:
            if end not in network.threads:
                return  # it has ended before its time
            network.threads.remove(end)
            self._run_job(worker)
            self._workers.discard(worker)
            network.moves += 1
            network.note("pool", f"ends a job of {lane}")
            self._start_threads()

        network.threads.append(end)
        network.after(self._seconds(), end)


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
        self._network = network
        self._seconds = seconds
        super().__init__(reactor, threads, jobs, timeout)

    def _make_crew(self, most: int, lanes: Sequence[Lane]) -> SimCrew:
        ends = (self._job_ended, self._thread_died)
        return SimCrew(self._network, self._seconds, most, lanes, *ends)
