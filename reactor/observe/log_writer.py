"""Writes lines into a file without making the loop wait for its disk or its reader.

Lines are gathered in memory and written by a thread of the pool, one batch at a time, so their
order is kept. A thread does not wait for a pipe that nobody reads: it leaves after FLUSH_SECONDS,
and a timer starts the next attempt. Meanwhile lines pile up to `limit` characters (see
log_file.py, which also counts the lines beyond them). log_reporter.py records the failures.

A file is opened anew under its old file descriptor: `dup2` replaces it in one step, between two
batches. So an operator who rotates logs by renaming them loses no line and finds none cut in two.

The text of a line is the business of its author (see access_log.py and error_log.py), also that it
is one line.
"""

import logging
import threading
from typing import Final

from reactor.errors import ProtocolError, all_but_interrupts, reason_of
from reactor.loop.timers import Timer
from reactor.observe.log_file import FLUSH_SECONDS, Flushed, LogFile
from reactor.observe.log_reporter import LogReporter
from reactor.tasks.futures import Future, Lane
from reactor.tasks.task import Runtime

# A batch costs about half a millisecond of processor time, most of it for waking the thread. It has
# these many bytes, or half of a smaller limit, and fewer after this time.
BATCH_BYTES: Final = 256 * 1024
BATCH_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 0.25  # between two attempts to write to a file that takes nothing
CLOSE_SECONDS: Final = 1.0  # that the end of the server waits for the last lines

log = logging.getLogger("reactor")


class LogWriter:
    """Writes lines to a file in batches. It holds `limit` characters at most.

    `delay` is how many seconds a line may wait for others; with 0 it does not wait. `reporter`
    records failures of this log in another one.
    """

    def __init__(
        self,
        file: LogFile,
        runtime: Runtime,
        limit: int,
        delay: float = BATCH_SECONDS,
        reporter: LogReporter | None = None,
    ) -> None:
        self._file = file
        self._runtime = runtime
        self._limit = file.limit = limit
        # No line is lost while one half of the limit is on its way to a disk that works.
        self._batch = max(1, min(BATCH_BYTES, limit // 2))
        self._delay = delay
        self._reporter = reporter
        self._lines: list[str] = []
        self._size = 0  # characters in the lines, and in those that the file holds
        self._attention = 0  # the size at which `_attend` is called
        self._timer: Timer | None = (
            None  # starts the next batch, unless one is being written or there is no line
        )
        self._noticed = False  # another thread has asked the loop to look at its lines
        if file.held:
            self._write_batch()

    @property
    def lost(self) -> int:
        """The number of lines that were not written, in all."""
        return self._file.lost

    def write(self, line: str) -> None:
        """Add a line, with its line feed. Does not wait. For the loop's thread."""
        self._lines.append(line)
        self._size = size = self._size + len(line)
        if size > self._attention:
            self._attend()

    def write_now(self, line: str) -> bool:
        """Write a line and wait a moment until it is written; for other threads.

        False if the log is stuck: the line is held, and written as soon as that is possible.
        """
        if self._file.put(line):
            return True
        if not self._noticed:
            self._noticed = True
            self._runtime.reactor.call_soon_threadsafe(self._notice)
        return False

    def reopen(self) -> None:
        """Open the file anew, on a thread. If that fails, the error is logged and the file kept.

        It is tried again where the file is being written: no second thread waits for a disk that
        hangs.
        """
        self._runtime.submit(Lane.LOGS, self._file.reopen).add_callback(self._reopened)

    def close(self) -> None:
        """Write the lines that are left, within CLOSE_SECONDS; the loop has ended.

        They include the batches that no thread of the pool has come to.
        """
        self._hand_over()
        self._file.report_lost()
        writer = threading.Thread(
            target=self._file.finish, args=(CLOSE_SECONDS,), name="reactor-log", daemon=True
        )
        writer.start()
        writer.join(CLOSE_SECONDS)
        if self._reporter is not None:
            self._reporter.ended()

    def _attend(self) -> None:
        """Act on a size: of a first line, of enough lines for a batch, or of too many lines."""
        if self._size > self._limit:
            self._size -= len(self._lines.pop())
            self._file.lose()
            if self._reporter is not None:
                self._reporter.failed(self._runtime.now())
        elif self._attention == 0:
            if self._delay and self._size <= self._batch:
                self._wait(self._batch, self._delay)
            else:
                self._write_batch()
        elif self._timer is not None:
            self._timer.cancel()
            self._write_batch()

    def _notice(self) -> None:
        """Another thread could not write its line."""
        self._noticed = False
        if self._attention == 0:
            self._try_again()

    def _wait(self, size: int, seconds: float) -> None:
        """Wait for more lines, until there are `size` characters or this time is over."""
        self._attention = size
        self._timer = self._runtime.call_later(seconds, self._write_batch)

    def _try_again(self) -> None:
        """Write the lines that are held after a while; further ones make it no sooner."""
        self._wait(self._limit, RETRY_SECONDS)

    def _hand_over(self) -> None:
        lines, self._lines = self._lines, []
        self._file.add(lines)

    def _write_batch(self) -> None:
        """Write all lines that are there, on a thread."""
        stuck = self._file.held > 0  # then losses go on, and are reported once it has ended
        self._timer = None
        self._attention = self._limit
        self._hand_over()
        if not stuck:
            self._file.report_lost()
        self._runtime.submit(Lane.LOGS, self._file.flush, FLUSH_SECONDS).add_callback(self._written)

    def _written(self, job: Future[Flushed]) -> None:
        try:
            progress, error = job.result()
        except all_but_interrupts() as problem:  # the lines are still there
            busy = isinstance(problem, ProtocolError)  # the pool was
            if self._reporter is not None and not busy:
                self._reporter.failed(self._runtime.now(), type(problem).__name__)
            self._try_again()
            return
        self._size = sum(map(len, self._lines)) + self._file.held
        if error is not None:
            self._failed(error, progress)
        elif self._size >= self._batch or (self._size and not self._delay):
            self._write_batch()
        elif self._size or self._file.unreported:
            self._wait(self._batch, self._delay or RETRY_SECONDS)
        else:
            self._attention = 0
            if self._reporter is not None:
                self._reporter.succeeded()

    def _failed(self, error: OSError, progress: bool) -> None:
        if self._reporter is not None and not isinstance(error, BlockingIOError):
            self._reporter.failed(self._runtime.now(), reason_of(error))
        if progress:  # the reader is slow, or room was made on the disk
            self._write_batch()
        else:
            self._try_again()

    def _reopened(self, job: Future[None]) -> None:
        try:
            job.result()
        except BlockingIOError:
            self._runtime.call_later(RETRY_SECONDS, self.reopen)
        except (OSError, ProtocolError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else error.reason
            log.error("Cannot reopen the log %r: %s", self._file.path, reason)
