"""A line for every request, in the Common Log Format, without ever waiting for a disk.

Lines are gathered in memory and written by a thread of the pool, one batch at a time, so their
order is kept. While a disk is slow they pile up to `limit` bytes; what comes then is counted, and
the count is a line of its own as soon as there is room. Whatever a client can choose is escaped: a
line is a line.
"""

import os
import re
import threading
from collections import deque
from typing import Final

from reactor.dates import WallClock
from reactor.errors import ProtocolError
from reactor.futures import Future, Lane
from reactor.loop import Timer
from reactor.messages import Request
from reactor.tasks import Runtime

BATCH_BYTES: Final = 64 * 1024  # written at once when so much is there,
BATCH_SECONDS: Final = 0.25  # and otherwise after so long
CLOSE_SECONDS: Final = 1.0  # that the end of the server waits for the last lines

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
        self._size = 0  # of the lines, and of the batches that are not written
        self._attention = 0  # the size at which `_attend` is called
        self._timer: Timer | None = None  # of the next batch; None: one is being written, or none
        self._lost = 0
        # Shared with the thread that writes.
        self._batches: deque[bytes] = deque()
        self._writing = threading.Lock()

    def write(self, request: Request, status: int, size: int) -> None:
        """Add the line of an answer with `size` bytes of body. Does not wait."""
        target = request.target
        if '"' in target or "\\" in target or not request.path:
            target = escape(target)
        if request.path:
            line = (
                f"{request.client[0]} - - [{self._wall.log_date}] "
                f'"{request.method} {target} HTTP/1.{request.minor}" {status} {size}\n'
            )
        else:  # it was no request, and the target is its first line
            line = f'{request.client[0]} - - [{self._wall.log_date}] "{target}" {status} {size}\n'
        self._lines.append(line)
        self._size += len(line)
        if self._size > self._attention:
            self._attend()

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
            self._lost += 1
        elif self._attention == 0:
            self._wait(BATCH_BYTES)
        elif self._timer is not None:
            self._timer.cancel()
            self._write_batch()

    def _wait(self, size: int) -> None:
        """For more lines, until there are `size` bytes of them."""
        self._attention = min(size, self._limit)
        self._timer = self._runtime.call_later(BATCH_SECONDS, self._write_batch)

    def _gather(self) -> None:
        """Make a batch of the lines."""
        if self._lost:
            self._lines.append(f"# {self._lost} lines were lost: the log could not be written\n")
            self._lost = 0
        if self._lines:
            self._batches.append("".join(self._lines).encode("latin-1"))
            self._lines.clear()

    def _write_batch(self) -> None:
        self._timer = None
        self._attention = self._limit
        self._gather()
        self._runtime.submit(Lane.FILES, self._write).add_callback(self._written)

    def _written(self, job: Future[int]) -> None:
        try:
            self._lost += job.result()
        except ProtocolError:  # the pool was too busy; the batch is still there
            self._wait(self._limit)
            return
        self._size = sum(map(len, self._lines)) + sum(map(len, self._batches))
        if self._size >= BATCH_BYTES:
            self._write_batch()
        elif self._size or self._lost:
            self._wait(BATCH_BYTES)
        else:
            self._attention = 0

    def _write(self) -> int:
        """On a thread; how many lines are lost. A log that fails must not end the server."""
        lost = 0
        with self._writing:
            while self._batches:
                batch = self._batches.popleft()
                left = memoryview(batch)
                try:
                    while left:
                        left = left[os.write(self._descriptor, left) :]
                except OSError:
                    lost += batch.count(b"\n")
        return lost
