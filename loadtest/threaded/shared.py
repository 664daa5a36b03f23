"""The parts of a server that all threads use: memory for bodies, the wall clock, the access log.

Each keeps the interface of the reactor's own part, so that connections notice no difference, and
holds the MONITOR (monitor.py) or a lock of its own while it works.
"""

import threading
import time
from collections import deque
from typing import Final, cast

from loadtest.threaded.monitor import MONITOR, Relay
from reactor.http.body_memory import BodyLease, BodyMemory, Holder
from reactor.http.wall_clock import WallClock
from reactor.loop.scheduler import Scheduler
from reactor.observe.log_file import LogFile
from reactor.observe.log_writer import BATCH_SECONDS, CLOSE_SECONDS
from reactor.tasks.futures import Future

LINE_BYTES: Final = 100  # a log line has about that: the limit of the memory is counted in lines


class ThreadMemory(BodyMemory):
    """One thread's access to the memory that all threads share."""

    def __init__(self, shared: BodyMemory, loop: Scheduler) -> None:
        self._shared = shared
        self._loop = loop

    def lease(self, address: str, now: float, holder: Holder) -> BodyLease:
        """As in BodyMemory; another thread's body is not evicted."""
        with MONITOR:
            return _ThreadLease(self._shared.lease(address, now, _Staying()), self._loop)


class _ThreadLease(BodyLease):
    """A lease whose Futures are fulfilled on this thread."""

    __slots__ = ("_lease", "_loop")

    def __init__(self, lease: BodyLease, loop: Scheduler) -> None:
        self._lease = lease
        self._loop = loop
        self.waited = 0.0

    def grow(self, size: int, now: float) -> Future[None] | None:
        with MONITOR:
            room = self._lease.grow(size, now)
            return None if room is None else Relay(self._loop, room)

    def stop_waiting(self) -> None:
        with MONITOR:
            self._lease.stop_waiting()

    def close(self) -> None:
        with MONITOR:
            self._lease.close()


class _Staying:
    """The holder of a lease, for the other threads."""

    def evict(self) -> bool:
        """Nothing can be done about another thread's body."""
        return False


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
