r"""The error log: what loggers have to say, as lines of text that a disk cannot hold up.

Before the server runs and after it has ended a record is written at once. While it runs, records of
the loop's thread go through a LogWriter, without a delay, so that the last words before a crash
have left; another thread waits for its own.

A record is one line, `time LEVEL logger: message [request id]`, and what follows it, a traceback or
more of the message, is indented: no text in it can pass for another record, and what cannot be
printed is shown as \xNN.
"""

import logging
import re
import threading
from datetime import UTC, datetime

from reactor.messages.request import Request
from reactor.observe.log_writer import LogFile, LogWriter

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")  # not a tab, nor a line's end
_LINE_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ErrorLog(logging.Handler):
    """A handler for the root logger. Records may come from any thread."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self.file = file
        self._writer: LogWriter | None = None
        self._thread = 0  # the loop's
        self.setFormatter(RecordFormatter("%(levelname)s %(name)s: %(message)s"))

    def attach(self, writer: LogWriter) -> None:
        """From now on through the writer; this is the loop's thread."""
        self._thread = threading.get_ident()
        self._writer = writer

    def detach(self) -> None:
        """At once again: the loop has ended."""
        self._writer = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of other handlers: who holds it may be waiting for the disk."""
        kept: object = self.filter(record)  # since Python 3.12 it may be another record
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # arguments that do not fit the message
            self.handleError(record)
            return
        writer = self._writer
        if writer is None:
            self.file.write(line.encode("utf-8", "backslashreplace"))
        elif threading.get_ident() == self._thread:
            writer.write(line)
        else:
            writer.write_now(line)


class RecordFormatter(logging.Formatter):
    """One record as its lines, for any handler."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        first, *others = _CONTROL.sub(_escaped, text).split("\n")
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        identifier = _request_id(record)
        if identifier:
            first += f" [{_LINE_ENDS.sub(_escaped, identifier)}]"
        lines = [f"{time.replace('+00:00', 'Z')} {first}", *(f"    {line}" for line in others)]
        return "\n".join(lines) + "\n"


def _request_id(record: logging.LogRecord) -> str:
    """Of the request that the record is about: in its `extra`, or known to an argument."""
    said = getattr(record, "request_id", None)
    if said:
        return str(said)
    arguments = record.args if isinstance(record.args, tuple) else ()
    for one in arguments:
        if isinstance(one, Request):
            return one.id or one.headers.get("x-request-id")
    return ""


def _escaped(match: re.Match[str]) -> str:
    return "".join(rf"\x{byte:02x}" for byte in match[0].encode())
