"""Runs locust as a process of its own, against servers that are processes too.

No test imports locust: it patches sockets, threads and time of the process that does.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from loadtest import system
from loadtest.scenarios import run
from loadtest.scenarios.servers import make_files, serving

PATIENCE: Final = 60.0  # seconds


class Target(NamedTuple):
    pid: int
    port: int


@contextmanager
def target(directory: Path) -> Iterator[Target]:
    """The reactor with the application and its files."""
    files = directory / "files"
    files.mkdir()
    make_files(files)
    port = system.free_port()
    with serving("reactor", files, port, directory / "server.log") as pid:
        yield Target(pid, port)


class Run(NamedTuple):
    """A run that has ended."""

    status: int
    said: str
    rows: dict[str, dict[str, Any]]  # its statistics by "GET /page" and what locust knows of it

    @property
    def requests(self) -> int:
        return sum(row["num_requests"] for row in self.rows.values())

    @property
    def failures(self) -> int:
        return sum(row["num_failures"] for row in self.rows.values())


def locust(port: int, directory: Path, *options: str) -> Run:
    """Run locust to its end, started in a directory that is not the project's."""
    left = directory / "stats"
    statistics = ["--only-summary", "--json-file", str(left)]
    done = subprocess.run(
        run.locust(port, *options, *statistics),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return ended(done.returncode, done.stdout + done.stderr, left.with_suffix(".json"))


def ended(status: int, said: str, left: Path) -> Run:
    rows = json.loads(left.read_text()) if left.exists() else []
    return Run(status, said, {f"{row['method']} {row['name']}": row for row in rows})


def python(program: str) -> Any:
    """The JSON that a program prints; it may import locust."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=system.PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
