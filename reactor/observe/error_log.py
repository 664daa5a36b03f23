r"""The error log: the records of Python's loggers as lines of text, which hold up no loop.

Before the server runs and after it has ended, a record is written at once. While it runs, records
of the loop's thread go through a LogWriter without a delay, so that the last ones before a crash
have left the process; another thread waits until its own is written.

A record is one line, `time LEVEL logger: message [request id]`. Further lines, of a traceback or of
the message, are indented, so no text in a record can pass for another record. Control characters
are shown as \xNN, or as \uNNNN where they are no bytes.
"""

import logging
import re
import threading
from datetime import UTC, datetime
from typing import Final

from reactor.errors import all_but_interrupts
from reactor.messages.request import BaseRequest
from reactor.observe.escaping import escaper
from reactor.observe.log_file import LogFile
from reactor.observe.log_writer import LogWriter

IDENTIFIER_BYTES: Final = 200  # an identifier, which a client may have chosen, is cut there

# Without tab and line feed.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_SHOWN: Final = [
    (chr(code), rf"\x{code:02x}" if code < 256 else rf"\u{code:04x}")
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
    if chr(code) not in "\t\n"
]
_escape_identifier = escaper(IDENTIFIER_BYTES)


class ErrorLog(logging.Handler):
    """A handler for the root logger. Records may come from any thread."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self.file = file
        self._writer: LogWriter | None = None
        self._thread = 0  # the identity of the loop's thread
        self.setFormatter(RecordFormatter("%(levelname)s %(name)s: %(message)s"))

    def attach(self, writer: LogWriter) -> None:
        """Write through the writer from now on. Called by the loop's thread."""
        self._thread = threading.get_ident()
        self._writer = writer

    def detach(self) -> None:
        """Write at once again: the loop has ended."""
        self._writer = None

    def handle(self, record: logging.LogRecord) -> bool:
        """As in logging.Handler, but without its lock, whose holder may wait for the disk."""
        kept: object = self.filter(record)  # since Python 3.12 it may be another record
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, through the writer if there is one."""
        try:
            line = self.format(record)
        except all_but_interrupts():  # the arguments do not fit the message
            self.handleError(record)
            return
        writer = self._writer
        if writer is None:
            self.file.put(line)
        elif threading.get_ident() == self._thread:
            writer.write(line)
        else:
            writer.write_now(line)


class RecordFormatter(logging.Formatter):
    """Formats a record as the lines described above, for any handler."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of the record, each with its line feed."""
        text = super().format(record)
        first, *others = _printable(text).split("\n")
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        identifier = _request_id(record)
        if identifier:
            first += f" [{_escape_identifier(identifier)}]"
        lines = [f"{time.replace('+00:00', 'Z')} {first}", *(f"    {line}" for line in others)]
        return "\n".join(lines) + "\n"


def _request_id(record: logging.LogRecord) -> str:
    """The identifier of the record's request, from its `extra` or a Request among its arguments."""
    said = getattr(record, "request_id", None)
    if said:
        return str(said)
    arguments = record.args if isinstance(record.args, tuple) else ()
    for one in arguments:
        if isinstance(one, BaseRequest):
            return one.id or one.headers.get("x-request-id")
    return ""


def _printable(text: str) -> str:
    """The text with its control characters escaped, in time that is linear in its length."""
    if _CONTROL.search(text) is not None:
        for character, shown in _SHOWN:
            text = text.replace(character, shown)
    return text
