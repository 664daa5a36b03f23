"""Writes lines into a file without making the loop wait for its disk.

Lines are gathered in memory and written by a thread of the pool, one batch at a time, so their
order is kept. While a disk is slow they pile up to `limit` characters; further lines are dropped
and counted, and the count is written as a line of its own as soon as there is room.

A file is opened anew under its old file descriptor: `dup2` replaces it in one step, between two
batches. So an operator who rotates logs by renaming them loses no line and finds none cut in two.

The text of a line is the business of its author (see access_log.py and error_log.py), also that it
is one line.
"""

import logging
import os
import threading
from collections import deque
from typing import Final, NamedTuple

from reactor.errors import ProtocolError, reason_of
from reactor.loop.timers import Timer
from reactor.tasks.futures import Future, Lane
from reactor.tasks.task import Runtime

BATCH_BYTES: Final = 64 * 1024  # this many are written at once,
BATCH_SECONDS: Final = 0.25  # and fewer after this time
CLOSE_SECONDS: Final = 1.0  # that the end of the server waits for the last lines

log = logging.getLogger("reactor")


class LogFile:
    """The file that lines go to: its descriptor, and its path if it has one."""

    def __init__(self, descriptor: int, path: str = "") -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def open(cls, path: str) -> "LogFile":
        """The file at `path`, opened for appending and created if needed. Raises OSError."""
        return cls(_open(path), path)

    def write(self, data: bytes) -> bool:
        """Write all of `data`, however long that takes; False if it fails."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self.descriptor, left) :]
        except OSError:
            return False
        return True

    def reopen(self) -> None:
        """Go on with the file now at the path. Keeps the old one where it raises OSError."""
        if self.path:
            fresh = _open(self.path)
            try:
                os.dup2(fresh, self.descriptor, inheritable=False)
            finally:
                os.close(fresh)


class _Batch(NamedTuple):
    data: bytes
    lines: int
    reported: int  # the count of lost lines that one of its lines reports


class LogWriter:
    """Writes lines to a file in batches. It holds `limit` characters at most.

    `delay` is how many seconds a line may wait for others; with 0 it does not wait.
    """

    def __init__(
        self, file: LogFile, runtime: Runtime, limit: int, delay: float = BATCH_SECONDS
    ) -> None:
        self.lost = 0  # lines that were not written, in all
        self._file = file
        self._runtime = runtime
        self._limit = limit
        self._delay = delay
        self._lines: list[str] = []
        self._size = 0  # characters in the lines, and in the batches not written yet
        self._attention = 0  # the size at which `_attend` is called
        self._timer: Timer | None = (
            None  # starts the next batch, unless one is being written or there is no line
        )
        self._unreported = 0  # lost lines that no line reports yet
        # Shared with the thread that writes.
        self._batches: deque[_Batch] = deque()
        self._writing = threading.Lock()

    def write(self, line: str) -> None:
        """Add a line, with its line feed. Does not wait. For the loop's thread."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > self._attention:
            self._attend()

    def write_now(self, line: str) -> bool:
        """Write a line and wait until it is written; False if that fails. For other threads."""
        with self._writing:
            return self._file.write(_encoded(line))

    def reopen(self) -> None:
        """Open the file anew, on a thread. If that fails, the error is logged and the file kept."""
        self._runtime.submit(Lane.FILES, self._reopen).add_callback(self._reopened)

    def close(self) -> None:
        """Write the lines that are left, within CLOSE_SECONDS; the loop has ended.

        They include the batches that no thread of the pool has come to.
        """
        self._gather()
        writer = threading.Thread(target=self._write, name="reactor-log", daemon=True)
        writer.start()
        writer.join(CLOSE_SECONDS)

    def _attend(self) -> None:
        """Act on a size: of a first line, of enough lines for a batch, or of too many lines."""
        if self._size > self._limit:
            self._size -= len(self._lines.pop())
            self.lost += 1
            self._unreported += 1
        elif self._attention == 0:
            if self._delay:
                self._wait(BATCH_BYTES)
            else:
                self._write_batch()
        elif self._timer is not None:
            self._timer.cancel()
            self._write_batch()

    def _wait(self, size: int) -> None:
        """Wait for more lines, until there are `size` characters."""
        self._attention = min(size, self._limit)
        self._timer = self._runtime.call_later(self._delay or BATCH_SECONDS, self._write_batch)

    def _gather(self) -> None:
        """Make a batch of the lines."""
        reported, self._unreported = self._unreported, 0
        lines = len(self._lines)
        if reported:
            self._lines.append(f"# {reported} lines were lost: the log could not be written\n")
        if self._lines:
            self._batches.append(_Batch(_encoded("".join(self._lines)), lines, reported))
            self._lines.clear()

    def _write_batch(self) -> None:
        self._timer = None
        self._attention = self._limit
        self._gather()
        self._runtime.submit(Lane.FILES, self._write).add_callback(self._written)

    def _written(self, job: Future[tuple[int, int]]) -> None:
        try:
            lines, reported = job.result()
        except ProtocolError:  # the pool was too busy; the batch is still there
            self._wait(self._limit)
            return
        self.lost += lines
        self._unreported += lines + reported
        self._size = sum(map(len, self._lines)) + sum(len(batch.data) for batch in self._batches)
        if self._size >= BATCH_BYTES or (self._size and not self._delay):
            self._write_batch()
        elif self._size or self._unreported:
            self._wait(BATCH_BYTES)
        else:
            self._attention = 0

    def _write(self) -> tuple[int, int]:
        """On a thread: write the batches.

        Returns how many lines are lost, and how many earlier ones are unreported again, because the
        lines that reported them are among the lost ones.
        """
        lines = reported = 0
        with self._writing:
            while self._batches:
                batch = self._batches.popleft()
                if not self._file.write(batch.data):
                    lines += batch.lines
                    reported += batch.reported
        return lines, reported

    def _reopen(self) -> None:
        with self._writing:
            self._file.reopen()

    def _reopened(self, job: Future[None]) -> None:
        try:
            job.result()
        except (OSError, ProtocolError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else error.reason
            log.error("Cannot reopen the log %r: %s", self._file.path, reason)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _encoded(text: str) -> bytes:
    """The text in UTF-8. Lone surrogates are escaped: no line is lost because of them."""
    return text.encode("utf-8", "backslashreplace")
