"""Small Python programs as child processes of a test."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest import system

SECONDS = 20.0  # for an event that should come at once, on a busy machine


@contextmanager
def running(directory: Path, code: str, *arguments: str) -> Iterator[system.Process]:
    """A program that imports os, sys and time, prints lines, and is stopped in the end."""
    command = [sys.executable, "-c", f"import os, sys, time\n{code}", *arguments]
    with system.started(command, None, directory / "tool.log", pipes=True) as process:
        yield process
