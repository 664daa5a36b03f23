"""Lines to a file, without ever waiting for its disk.

Lines are gathered in memory and written by a thread of the pool, one batch at a time, so their
order is kept. While a disk is slow they pile up to `limit` characters; what comes then is counted,
and the count is a line of its own as soon as there is room.

A file is opened anew under its old descriptor: `dup2` replaces it in one step, between two batches,
so who rotates logs by renaming them loses no line and finds none cut in two.

What a line says, and that it is one, is the business of who writes it (see observe/access_log.py
and observe/error_log.py).
"""

import logging
import os
import threading
from collections import deque
from typing import Final, NamedTuple

from reactor.errors import ProtocolError
from reactor.loop.timers import Timer
from reactor.tasks.futures import Future, Lane
from reactor.tasks.task import Runtime

BATCH_BYTES: Final = 64 * 1024  # written at once when so much is there,
BATCH_SECONDS: Final = 0.25  # and otherwise after so long
CLOSE_SECONDS: Final = 1.0  # that the end of the server waits for the last lines

log = logging.getLogger("reactor")


class LogFile:
    """Where lines go: a descriptor, and the path of its file where it has one."""

    def __init__(self, descriptor: int, path: str = "") -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def open(cls, path: str) -> "LogFile":
        """The file at `path`, to be appended to; made where there is none. Raises OSError."""
        return cls(_open(path), path)

    def write(self, data: bytes) -> bool:
        """Write all of it, however long that takes; False where it cannot be."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self.descriptor, left) :]
        except OSError:
            return False
        return True

    def reopen(self) -> None:
        """Go on with what is at the path now. Raises OSError, and then goes on as before."""
        if self.path:
            fresh = _open(self.path)
            try:
                os.dup2(fresh, self.descriptor, inheritable=False)
            finally:
                os.close(fresh)


class _Batch(NamedTuple):
    data: bytes
    lines: int
    told: int  # how many lost ones one of its lines tells of


class LogWriter:
    """Lines to a file, by batches. `limit` characters of them are held at most.

    `delay` is how long a line may wait for others, in seconds; 0: not at all.
    """

    def __init__(
        self, file: LogFile, runtime: Runtime, limit: int, delay: float = BATCH_SECONDS
    ) -> None:
        self.lost = 0  # lines, in all
        self._file = file
        self._runtime = runtime
        self._limit = limit
        self._delay = delay
        self._lines: list[str] = []
        self._size = 0  # of the lines, and of the batches that are not written
        self._attention = 0  # the size at which `_attend` is called
        self._timer: Timer | None = None  # of the next batch; None: one is being written, or none
        self._untold = 0  # lost lines that no line tells of yet
        # Shared with the thread that writes.
        self._batches: deque[_Batch] = deque()
        self._writing = threading.Lock()

    def write(self, line: str) -> None:
        """Add a line, its end included. Does not wait; for the loop's thread."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > self._attention:
            self._attend()

    def write_now(self, line: str) -> bool:
        """Write a line and wait for it, for other threads; False where it cannot be written."""
        with self._writing:
            return self._file.write(_encoded(line))

    def reopen(self) -> None:
        """Open the file anew, on a thread. If that fails the old one is kept, and it is logged."""
        self._runtime.submit(Lane.FILES, self._reopen).add_callback(self._reopened)

    def close(self) -> None:
        """Write what is left; the loop has ended. A log that is stuck is not waited for, for long.

        What the pool has not come to is still among the batches.
        """
        self._gather()
        writer = threading.Thread(target=self._write, name="reactor-log", daemon=True)
        writer.start()
        writer.join(CLOSE_SECONDS)

    def _attend(self) -> None:
        """It is the first line, or enough for a batch, or more than may be held."""
        if self._size > self._limit:
            self._size -= len(self._lines.pop())
            self.lost += 1
            self._untold += 1
        elif self._attention == 0:
            if self._delay:
                self._wait(BATCH_BYTES)
            else:
                self._write_batch()
        elif self._timer is not None:
            self._timer.cancel()
            self._write_batch()

    def _wait(self, size: int) -> None:
        """For more lines, until there are `size` characters of them."""
        self._attention = min(size, self._limit)
        self._timer = self._runtime.call_later(self._delay or BATCH_SECONDS, self._write_batch)

    def _gather(self) -> None:
        """Make a batch of the lines."""
        told, self._untold = self._untold, 0
        lines = len(self._lines)
        if told:
            self._lines.append(f"# {told} lines were lost: the log could not be written\n")
        if self._lines:
            self._batches.append(_Batch(_encoded("".join(self._lines)), lines, told))
            self._lines.clear()

    def _write_batch(self) -> None:
        self._timer = None
        self._attention = self._limit
        self._gather()
        self._runtime.submit(Lane.FILES, self._write).add_callback(self._written)

    def _written(self, job: Future[tuple[int, int]]) -> None:
        try:
            lines, told = job.result()
        except ProtocolError:  # the pool was too busy; the batch is still there
            self._wait(self._limit)
            return
        self.lost += lines
        self._untold += lines + told
        self._size = sum(map(len, self._lines)) + sum(len(batch.data) for batch in self._batches)
        if self._size >= BATCH_BYTES or (self._size and not self._delay):
            self._write_batch()
        elif self._size or self._untold:
            self._wait(BATCH_BYTES)
        else:
            self._attention = 0

    def _write(self) -> tuple[int, int]:
        """On a thread; how many lines are lost, and how many those told of that are lost again."""
        lines = told = 0
        with self._writing:
            while self._batches:
                batch = self._batches.popleft()
                if not self._file.write(batch.data):
                    lines += batch.lines
                    told += batch.told
        return lines, told

    def _reopen(self) -> None:
        with self._writing:
            self._file.reopen()

    def _reopened(self, job: Future[None]) -> None:
        try:
            job.result()
        except (OSError, ProtocolError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.reason
            log.error("cannot open the log %r anew: %s", self._file.path, reason)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _encoded(text: str) -> bytes:
    """A lone surrogate, which is no UTF-8, is no reason to lose a line."""
    return text.encode("utf-8", "backslashreplace")
