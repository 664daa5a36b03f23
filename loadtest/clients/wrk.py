"""Load generators of the CPU benchmarks: wrk, or our closed loop where wrk is not installed.

A generator is a command line, and a function that reads its output. Both send the head of a file,
in which sixteen `@` are replaced by sixteen other digits in each request.
"""

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from loadtest import system
from loadtest.clients.closed_loop import MARK
from loadtest.system import ADDRESS, MeasurementError

CONNECTIONS: Final = 64
GRACE_SECONDS: Final = 15  # for a generator to end after its time
HEADS_SCRIPT: Final = Path(__file__).with_name("wrk_heads.lua")


class GeneratorOutcome(NamedTuple):
    """The counts of a load generator; `errors` is empty where there were none."""

    requests: int
    errors: str


class Generator(NamedTuple):
    """A load generator: its command line and the reader of its output.

    `command` takes the port, the target, the file with the head, and seconds.
    """

    name: str
    command: Callable[[int, str, Path, int], list[str]]
    read: Callable[[str], GeneratorOutcome]


def available_generator() -> Generator:
    """wrk where it is installed, our closed loop otherwise."""
    if shutil.which("wrk"):
        return Generator("wrk", wrk_command, read_wrk)
    return Generator("loadtest.clients.closed_loop", client_command, read_client)


def run_generator(command: Sequence[str], seconds: float, core: int, log: Path) -> float:
    """Run the command to its end on `core`; returns its CPU time in seconds.

    Raises MeasurementError where it runs much longer than `seconds`.
    """
    before = system.children_cpu_seconds()
    with system.started(command, core, log) as process:
        try:
            process.wait(seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"{command[0]} did not end") from None
    return system.children_cpu_seconds() - before


def wrk_command(port: int, target: str, head: Path, seconds: int) -> list[str]:
    """wrk with one thread; without MARK in the head it sends its own, which is Host alone."""
    url = f"http://{ADDRESS}:{port}{target}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    if MARK not in head.read_bytes():
        return [*command, url]
    return [*command, "-s", str(HEADS_SCRIPT), url, "--", str(head), str(_first_number())]


def read_wrk(output: str) -> GeneratorOutcome:
    """The counts of wrk. Raises MeasurementError where its output has no count."""
    requests = re.search(r"(\d+) requests in", output)
    if requests is None:
        raise MeasurementError(f"wrk printed: {output.strip()}")
    errors = re.findall(r"Socket errors:.*|Non-2xx or 3xx responses:.*", output)
    return GeneratorOutcome(int(requests[1]), "; ".join(errors))


def client_command(port: int, target: str, head: Path, seconds: int) -> list[str]:
    """Our closed loop; the target is in the head."""
    options = ["--port", str(port), "--head", str(head), "--first", str(_first_number())]
    amount = ["--seconds", str(seconds), "--connections", str(CONNECTIONS)]
    return [sys.executable, "-m", "loadtest.clients.closed_loop", *options, *amount]


def read_client(output: str) -> GeneratorOutcome:
    """The counts of our closed loop."""
    result = json.loads(output)
    kinds = "; ".join(f"{count} {kind}" for kind, count in result["kinds"].items())
    return GeneratorOutcome(result["requests"], kinds)


def _first_number() -> int:
    """A random start, so that the cookies of a load differ from those of its warm-up."""
    return random.randrange(2**40)
