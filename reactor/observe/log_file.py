"""The file of a log, and the lines that are on their way into it.

A line is whole in the file or not there. A write may be cut off at any byte: a disk becomes full, a
reader of a pipe stops. The rest of such a line is kept and goes first as soon as writing works
again. So is every other line up to `limit` characters; further ones are lost and counted, and the
count becomes a line of its own behind them. Only a file that can never be written again, such as a
pipe without a reader, loses its lines at once.

Any thread may add lines and flush. Adding never waits. Flushing waits as long as its caller says
for room in a pipe, a terminal or a socket, whether or not they are non-blocking, and as long as it
takes for a disk. Into an empty pipe goes as much as it holds, and otherwise at most PIPE_BYTES at a
time: where there is room at all, there is room for these.
"""

import errno
import fcntl
import os
import select
import stat
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Collection
from typing import Final, NamedTuple

from reactor.errors import counted

HELD_BYTES: Final = 1024 * 1024  # the limit of a file for which nobody sets another
SLICE_BYTES: Final = 256 * 1024  # that are encoded at a time
PIPE_BYTES: Final = 4096  # PIPE_BUF of Linux
FLUSH_SECONDS: Final = 0.1  # that a record waits for its reader

# Errors that do not pass. After any other, the lines are kept and tried again.
_LASTING: Final = frozenset((errno.EPIPE, errno.EBADF, errno.EINVAL))


class Flushed(NamedTuple):
    """The result of a flush: whether bytes were written, and the error that ended it."""

    progress: bool
    error: OSError | None


class _Loss(str):
    """A line that says how many lines were lost."""

    lines: int

    @classmethod
    def of(cls, lines: int) -> "_Loss":
        were = counted(lines, "line was", "lines were")
        made = cls(f"# {were} lost: the log could not be written\n")
        made.lines = lines
        return made


class LogFile:
    """A descriptor, its path if it has one, and the lines that are not whole in the file yet."""

    def __init__(self, descriptor: int, path: str = "", limit: int = HELD_BYTES) -> None:
        self.descriptor = descriptor
        self.path = path
        self.limit = limit  # characters of the lines that are held
        self.held = 0
        self.lost = 0  # lines, in all
        self.unreported = 0  # lost lines that no line reports yet
        self._begun = 0  # bytes of the first line that are in the file
        self._lines: deque[str] = deque()
        self._counting = threading.Lock()  # for all of the above; its holder never waits
        self._writing = threading.Lock()  # for the descriptor

    @classmethod
    def open(cls, path: str) -> "LogFile":
        """The file at `path`, opened for appending and created if needed. Raises OSError."""
        return cls(_open(path), path)

    @property
    def held_lines(self) -> int:
        """The number of lines that are not whole in the file, without reports of lost ones."""
        with self._counting:
            return sum(not isinstance(line, _Loss) for line in self._lines)

    def add(self, lines: Collection[str]) -> None:
        """Hold these lines until they are flushed. Those that exceed the limit are lost."""
        size = sum(map(len, lines))
        with self._counting:
            if self.held + size <= self.limit:  # as nearly always: no step for each line
                self.held += size
                self._lines.extend(lines)
                return
            for line in lines:
                if self.held + len(line) <= self.limit:
                    self.held += len(line)
                    self._lines.append(line)
                else:
                    self._lose(1)

    def lose(self) -> None:
        """Count a line that nobody could hold."""
        with self._counting:
            self._lose(1)

    def report_lost(self) -> None:
        """Add a line with the number of lost lines, if there are some that no line reports."""
        with self._counting:
            if self.unreported:
                line = _Loss.of(self.unreported)
                self.unreported = 0
                self.held += len(line)
                self._lines.append(line)

    def put(self, line: str) -> bool:
        """Write a line and those before it now; False if that takes too long, or fails."""
        if self.unreported and not self.held:
            self.report_lost()
        self.add((line,))
        return self.flush(FLUSH_SECONDS).error is None

    def flush(self, seconds: float) -> Flushed:
        """Write the lines that are held; `seconds` limits the waiting, not the writing."""
        deadline = time.monotonic() + seconds
        if not self._writing.acquire(timeout=seconds):
            return Flushed(False, BlockingIOError(errno.EAGAIN, "another thread writes"))
        try:
            return self._flush(deadline)
        finally:
            self._writing.release()

    def reopen(self) -> None:
        """Go on with the file now at the path. Keeps the old one where it raises OSError.

        Raises BlockingIOError where another thread goes on writing, since its disk may hang.
        """
        if not self.path:
            return
        if not self._writing.acquire(timeout=FLUSH_SECONDS):
            raise BlockingIOError(errno.EAGAIN, "another thread writes")
        try:
            fresh = _open(self.path)
            try:
                self._take_back()
                os.dup2(fresh, self.descriptor, inheritable=False)
            finally:
                os.close(fresh)
        finally:
            self._writing.release()

    def finish(self, seconds: float) -> None:
        """Write what can be written now; the line that is begun and cannot be ended is removed."""
        self.flush(seconds)
        if self._writing.acquire(blocking=False):
            try:
                self._take_back()
            finally:
                self._writing.release()

    # --- under the lock of the descriptor --------------------------------------------------------

    def _flush(self, deadline: float) -> Flushed:
        progress = False
        while lines := self._take():
            try:
                data = memoryview(_encoded("".join(lines)))
                sent, error = self._write(data[self._begun :], deadline)
            except BaseException:  # no memory, or an error that was thrown into this thread
                self._put_back(lines, self._begun)
                raise
            progress = progress or sent > 0
            if error is not None:
                self._put_back(lines, self._begun + sent)
                if error.errno in _LASTING:
                    self._drop()
                return Flushed(progress, error)
            self._begun = 0
            with self._counting:
                self.held -= sum(map(len, lines))
        return Flushed(progress, None)

    def _take(self) -> list[str]:
        """Take about SLICE_BYTES of lines, or all if there are not many more."""
        taken: list[str] = []
        size = 0
        with self._counting:
            if self.held <= 2 * SLICE_BYTES:
                taken.extend(self._lines)
                self._lines.clear()
            while self._lines and size < SLICE_BYTES:
                taken.append(self._lines.popleft())
                size += len(taken[-1])
        return taken

    def _put_back(self, lines: list[str], sent: int) -> None:
        """Put back the lines that are not whole in the file, of which it has `sent` bytes."""
        index = 0
        while sent >= (size := len(_encoded(lines[index]))):
            sent -= size
            index += 1
        self._begun = sent
        with self._counting:
            self.held -= sum(map(len, lines[:index]))
            self._lines.extendleft(reversed(lines[index:]))

    def _write(self, data: memoryview, deadline: float) -> tuple[int, OSError | None]:
        """Write `data`; the number of bytes that were written, and the error that stopped it."""
        never_waits = _never_waits(self.descriptor)
        most = len(data)
        sent = 0
        while sent < len(data):
            try:
                if not never_waits:
                    most = _wait_for_room(self.descriptor, deadline)
                sent += self._write_some(data[sent : sent + most])
            except OSError as error:
                if not isinstance(error, BlockingIOError) or time.monotonic() >= deadline:
                    return sent, error
                time.sleep(0.001)  # for a file that is never ready for as much as this
        return sent, None

    def _write_some(self, data: memoryview) -> int:
        return os.write(self.descriptor, data)

    def _drop(self) -> None:
        """Lose all lines; the loss that one of them reports is unreported again."""
        with self._counting:
            for line in self._lines:
                if isinstance(line, _Loss):
                    self.unreported += line.lines
                else:
                    self._lose(1)
            self._lines.clear()
            self.held = self._begun = 0

    def _take_back(self) -> None:
        """Remove the begun line from the file, so that it can be written as a whole elsewhere."""
        try:
            if self._begun and _is_regular(self.descriptor):
                end = os.lseek(self.descriptor, 0, os.SEEK_CUR)
                if os.fstat(self.descriptor).st_size == end:  # nobody has written behind it
                    os.ftruncate(self.descriptor, end - self._begun)
                    os.lseek(self.descriptor, end - self._begun, os.SEEK_SET)
        except OSError:
            pass  # it stays there
        self._begun = 0

    def _lose(self, count: int) -> None:
        self.lost += count
        self.unreported += count


def _wait_for_room(descriptor: int, deadline: float) -> int:
    """Wait until the file takes bytes, or has an error, and return the bytes that it takes at once.

    Raises BlockingIOError at the deadline.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000.0):
        raise BlockingIOError(errno.EAGAIN, "the reader of the log takes nothing")
    if sys.platform == "linux" and stat.S_ISFIFO(_mode(descriptor)):
        unread = int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
        if unread == 0:
            return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
    return PIPE_BYTES


def _never_waits(descriptor: int) -> bool:
    """Whether writing waits for a disk at most: a regular file, or a device such as /dev/null."""
    mode = _mode(descriptor)
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(descriptor))


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(_mode(descriptor))


def _mode(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_mode
    except OSError:
        return 0


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _encoded(text: str) -> bytes:
    """The text in UTF-8. Lone surrogates are escaped: no line is lost because of them."""
    return text.encode("utf-8", "backslashreplace")
