"""The servers that are compared: this one, and the same with a thread for each connection.

Both run `loadtest.apps.target` with the same files and options, each on the server's core.
"""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from loadtest import system
from loadtest.scenarios.checks import SIZES

SERVERS: Final = {
    "reactor": ("reactor",),
    "threads": ("loadtest.threaded", "--model", "each"),
}


def make_files(directory: Path) -> None:
    """The files that the scenarios request."""
    for path, size in SIZES.items():
        (directory / Path(path).name).write_bytes(random.Random(path).randbytes(size))


@contextmanager
def serving(name: str, directory: Path, port: int, log: Path) -> Iterator[int]:
    """One of SERVERS: its process id. Raises MeasurementError where it does not start."""
    module, *model = SERVERS[name]
    options = ["--directory", str(directory), "--port", str(port), "--access-log", "off"]
    command = [sys.executable, "-m", module, *model, "loadtest.apps.target:app", *options]
    core, _ = system.cores()
    with system.serving(command, port, core, log) as pid:
        yield pid
