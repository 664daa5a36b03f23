"""Load generators as child processes: what they print, and how they are ended.

A generator prints one JSON object a line. Lines are read with a timeout, so a generator that hangs
fails its measurement and not the whole run.
"""

import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest import system
from loadtest.system import MeasurementError, Process


class Lines:
    """The output of a process, line by line, as it arrives."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._descriptor = process.stdout.fileno()
        self._rest = b""

    def next(self, timeout: float) -> str | None:
        """The next line; "" at the end of the output, None after `timeout` seconds.

        An empty line is " ", so that it differs from the end.
        """
        end = time.monotonic() + timeout
        while b"\n" not in self._rest:
            left = max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self._descriptor], [], [], left)
            if not ready:
                return None
            piece = os.read(self._descriptor, 65536)
            if not piece:
                line, self._rest = self._rest, b""
                return line.decode(errors="replace")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace") or " "

    def until(self, text: str, timeout: float) -> None:
        """Wait for a line that contains `text`. Raises MeasurementError after `timeout` seconds."""
        end, line = time.monotonic() + timeout, ""
        while text not in line:
            last, line = line, self.next(end - time.monotonic()) or ""
            if not line:
                raise MeasurementError(f"expected a line with {text!r}, got {last.strip()!r}")

    def rest(self, timeout: float) -> str:
        """All lines until the end of the output, or until `timeout` seconds have passed."""
        end, lines = time.monotonic() + timeout, []
        while line := self.next(end - time.monotonic()):
            lines.append(line)
        return "\n".join(lines)


class Companion:
    """A load generator of ours: a process that prints JSON objects, one a line.

    Most kinds go on until their stdin is closed.
    """

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._lines = Lines(process)
        self._log = log

    @property
    def command(self) -> list[str]:
        """Its command line."""
        return [str(part) for part in self.process.args]  # type: ignore[union-attr]

    def receive(self, timeout: float) -> dict[str, Any]:
        """The object of the next line.

        Raises MeasurementError after `timeout` seconds, and at the end of the output.
        """
        line = self._lines.next(timeout)
        if not line:
            raise self._no_line(line, timeout)
        return self._parsed(line)

    def dismiss(self, timeout: float = 30.0) -> dict[str, Any]:
        """Close its stdin, and return the object of its last line.

        Raises MeasurementError where it has not ended after `timeout` seconds, or prints no line.
        """
        assert self.process.stdin is not None
        self.process.stdin.close()
        end, last = time.monotonic() + timeout, ""
        while line := self._lines.next(end - time.monotonic()):
            last = line
        if line is None or not last:
            raise self._no_line(line, timeout)
        return self._parsed(last)

    def _no_line(self, line: str | None, timeout: float) -> MeasurementError:
        why = f"no line in {timeout:g} s" if line is None else system.last_line(self._log)
        return MeasurementError(f"{self._log.stem}: {why}")

    def _parsed(self, line: str) -> dict[str, Any]:
        try:
            content = json.loads(line)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise MeasurementError(f"{self._log.stem} printed {line[:200]!r}, not a JSON object")
        return content


@contextmanager
def started_companion(
    module: str,
    arguments: Sequence[str],
    core: int,
    log: Path,
    priority: Callable[[], None] | None = None,
) -> Iterator[Companion]:
    """The module, run as a program on `core`, which is stopped at the end of the block."""
    command = [sys.executable, "-m", module, *arguments]
    with system.started(command, core, log, pipes=True, priority=priority) as process:
        yield Companion(process, log)
