"""The logs of a server: their files and writers, from the first line to the last.

The text of a line is the business of observe/access_log.py and observe/error_log.py. Its way to the
disk, which must not hold up the loop, is that of observe/log_writer.py.
"""

from reactor.http.context import Observer
from reactor.http.wall_clock import WallClock
from reactor.limits import ServerLimits
from reactor.observe.access_log import line_writer
from reactor.observe.error_log import ErrorLog
from reactor.observe.log_file import LogFile
from reactor.observe.log_reporter import LogReporter
from reactor.observe.log_writer import LogWriter
from reactor.tasks.task import Runtime


class ServerLogs:
    """The access log and the error log of one server, where it has them."""

    def __init__(self, runtime: Runtime, limits: ServerLimits, error_log: ErrorLog | None) -> None:
        """Opens nothing yet."""
        self.writers: dict[str, LogWriter] = {}  # by the name of the log
        self._runtime = runtime
        self._limits = limits
        self._error_log = error_log

    def open_access_log(
        self, target: int | LogFile | None, line_format: str, wall: WallClock
    ) -> Observer | None:
        """The observer that writes a line for each response into `target`, if there is one."""
        if target is None:
            return None
        file = LogFile(target) if isinstance(target, int) else target
        reporter = LogReporter("access log", file)
        writer = LogWriter(file, self._runtime, self._limits.log_bytes, reporter=reporter)
        self.writers["access"] = writer
        most = self._limits.log_field_bytes
        return line_writer(line_format, writer.write, wall, self._runtime.reactor, most)

    def attach_error_log(self) -> None:
        """From now on, write records of this thread (the loop's) without waiting for a disk."""
        if self._error_log is not None:
            writer = LogWriter(
                self._error_log.file, self._runtime, self._limits.log_bytes, delay=0.0
            )
            self.writers["error"] = writer
            self._error_log.attach(writer)

    def reopen(self) -> None:
        """Open each file anew, where it has been renamed. One that cannot be opened stays open."""
        for writer in self.writers.values():
            writer.reopen()

    def close(self) -> None:
        """Write the last lines, those of the error log last. The loop has ended."""
        for writer in self.writers.values():
            if self._error_log is not None and writer is self.writers.get("error"):
                self._error_log.detach()
            writer.close()
