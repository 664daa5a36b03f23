"""The parts of a server that all threads use: memory for bodies, the wall clock, the access log.

Each keeps the interface of the reactor's own part, so that connections notice no difference, and
holds the MONITOR (monitor.py) or a lock of its own while it works.
"""

import threading
import time
from collections import deque
from typing import Any, Final, cast

from loadtest.threaded.monitor import MONITOR, Relay
from reactor.http.wall_clock import WallClock
from reactor.loop.scheduler import Scheduler
from reactor.observe.log_file import LogFile
from reactor.observe.log_writer import BATCH_SECONDS, CLOSE_SECONDS
from reactor.tasks.futures import Future
from reactor.tasks.semaphore import WeightedSemaphore

LINE_BYTES: Final = 100  # a log line has about that: the limit of the memory is counted in lines


class ThreadMemory(WeightedSemaphore):
    """One thread's access to the memory that all threads share."""

    def __init__(self, shared: WeightedSemaphore, loop: Scheduler) -> None:
        self._shared = shared
        self._loop = loop

    def acquire(self, count: int = 1) -> Future[int] | None:
        """As in WeightedSemaphore; the Future is fulfilled on this thread."""
        with MONITOR:
            future = self._shared.acquire(count)
            return None if future is None else _Room(self._loop, future, self._shared)

    def release(self, count: int = 1) -> None:
        """As in WeightedSemaphore."""
        with MONITOR:
            self._shared.release(count)


class _Room(Relay):
    """Memory that is waited for. It may be granted in the very moment in which it is given up."""

    __slots__ = ("_memory",)

    def __init__(self, loop: Scheduler, shared: Future[Any], memory: WeightedSemaphore) -> None:
        super().__init__(loop, shared)
        self._memory = memory

    def set_exception(self, error: BaseException) -> None:
        with MONITOR:
            if not self.done and self._shared.done:
                self._memory.release(self._shared.result())
            elif not self.done:
                self._shared.set_exception(error)
        super().set_exception(error)


class SharedWall(WallClock):
    """A wall clock for several threads: none reads one second and remembers it in the next."""

    def refresh(self, now: float) -> None:
        with MONITOR:
            if now >= self.expires:
                super().refresh(now)

    def status_line(self, status: int) -> bytes:
        with MONITOR:
            return super().status_line(status)


class SharedLog:
    """Log lines from all threads to one file; a thread of its own writes them in batches."""

    def __init__(self, file: LogFile, limit: int) -> None:
        """`limit` is the memory in bytes that lines may take until they are written."""
        file.limit = limit
        self._file = file
        self._most = max(1, limit // LINE_BYTES)
        self._lines: deque[str] = deque()
        self._writing = threading.Lock()
        self._ended = threading.Event()

    def write(self, line: str) -> None:
        """Queue a line, on any thread. It takes no lock, since an append is one step."""
        if len(self._lines) < self._most:
            self._lines.append(line)
        else:
            self._file.lose()

    def run(self) -> None:
        """Write batches until `close`."""
        while not self._ended.wait(BATCH_SECONDS):
            self._write_batch()

    def close(self) -> None:
        """Write what is left, and end `run`."""
        self._ended.set()
        self._write_batch()

    def _write_batch(self) -> None:
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if lines:
                self._file.add(lines)
            if not self._file.flush(CLOSE_SECONDS).error and self._file.unreported:
                self._file.report_lost()
                self._file.flush(CLOSE_SECONDS)


class _Clock:
    """The clock of the access log, which no thread's turn belongs to: `now` is never old."""

    clock = staticmethod(time.monotonic)

    @property
    def now(self) -> float:
        return time.monotonic()


SHARED_CLOCK: Final = cast(Scheduler, _Clock())
