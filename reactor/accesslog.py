"""A line for every request, in the Common Log Format, without ever waiting for a disk.

Lines are gathered in memory and written by a thread of the pool, one batch at a time, so their
order is kept. While a disk is slow they pile up to `limit` bytes; what comes then is counted, and
the count is a line of its own as soon as there is room. Whatever a client can choose is escaped: a
line is a line.
"""

import os
import re
from typing import Final

from reactor.dates import WallClock
from reactor.futures import Future, Lane
from reactor.messages import Request
from reactor.tasks import Runtime

BATCH_BYTES: Final = 64 * 1024  # written at once when so much is there,
BATCH_SECONDS: Final = 0.25  # and otherwise after so long

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


def escape(text: str) -> str:
    r"""Text without quotes, backslashes, control characters and bytes beyond ASCII: as \xNN."""
    return _UNSAFE.sub(lambda match: "".join(rf"\x{b:02x}" for b in match[0].encode()), text)


class AccessLog:
    """Lines to a descriptor. `limit` bytes of them are held at most."""

    def __init__(self, descriptor: int, wall: WallClock, runtime: Runtime, limit: int) -> None:
        self._descriptor = descriptor
        self._wall = wall
        self._runtime = runtime
        self._limit = limit
        self._lines: list[str] = []
        self._size = 0
        self._due = False  # a batch is being written, or will be
        self._lost = 0

    def write(self, request: Request, status: int, size: int) -> None:
        """Add the line of an answer with `size` bytes of body. Does not wait."""
        target = request.target
        if not request.path:  # it was no request, and the target is its first line
            line = escape(target)
        elif '"' in target or "\\" in target:
            line = f"{request.method} {escape(target)} HTTP/1.{request.minor}"
        else:
            line = f"{request.method} {target} HTTP/1.{request.minor}"
        line = f'{request.client[0]} - - [{self._wall.log_date}] "{line}" {status} {size}\n'
        if self._size + len(line) > self._limit:
            self._lost += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if not self._due:
            self._due = True
            self._runtime.call_later(BATCH_SECONDS, self._write_batch)

    def close(self) -> None:
        """Write what is left, now; the loop has ended."""
        self._append_lost()
        if self._lines:
            self._write("".join(self._lines).encode("latin-1"))
            self._lines.clear()

    def _write_batch(self) -> None:
        self._append_lost()
        batch = "".join(self._lines).encode("latin-1")
        self._lines.clear()
        job = self._runtime.submit(Lane.FILES, self._write, batch)
        job.add_callback(self._written)

    def _written(self, job: Future[None]) -> None:
        self._size = sum(map(len, self._lines))
        self._due = bool(self._lines)
        if self._due:
            wait = 0.0 if self._size >= BATCH_BYTES else BATCH_SECONDS
            self._runtime.call_later(wait, self._write_batch)

    def _append_lost(self) -> None:
        if self._lost:
            self._lines.append(f"# {self._lost} lines were lost: the log could not be written\n")
            self._lost = 0

    def _write(self, batch: bytes) -> None:
        """On a thread. A log that cannot be written must not end the server."""
        left = memoryview(batch)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            self._lost += batch.count(b"\n")
