"""Drives wrk, or our closed loop where there is no wrk, and reads what it reports."""

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
from loadtest.clients.workload import TARGET, Workload
from loadtest.system import ADDRESS, MeasurementError

CONNECTIONS: Final = 64


class Outcome(NamedTuple):
    """What a load generator tells."""

    requests: int
    errors: str


class Generator(NamedTuple):
    """How a load generator is started, and how what it prints is read."""

    name: str
    command: Callable[[Workload, int, Path, int], list[str]]
    read: Callable[[str], Outcome]


def wrk_command(workload: Workload, port: int, head: Path, seconds: int) -> list[str]:
    url = f"http://{ADDRESS}:{port}{TARGET}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    if MARK.decode() not in workload.head:
        return [*command, url]  # by itself, wrk sends Host and nothing else
    script = str(Path(__file__).with_name("wrk_heads.lua"))
    return [*command, "-s", script, url, "--", str(head), str(_first_number())]


def read_wrk(output: str) -> Outcome:
    requests = re.search(r"(\d+) requests in", output)
    if requests is None:
        raise MeasurementError(f"wrk said: {output.strip()}")
    errors = re.findall(r"Socket errors:.*|Non-2xx or 3xx responses:.*", output)
    return Outcome(int(requests[1]), "; ".join(errors))


def client_command(workload: Workload, port: int, head: Path, seconds: int) -> list[str]:
    options = ["--port", str(port), "--head", str(head), "--first", str(_first_number())]
    amount = ["--seconds", str(seconds), "--connections", str(CONNECTIONS)]
    return [sys.executable, "-m", "loadtest.clients.closed_loop", *options, *amount]


def read_client(output: str) -> Outcome:
    told = json.loads(output)
    return Outcome(told["requests"], "; ".join(f"{n} {kind}" for kind, n in told["kinds"].items()))


def _first_number() -> int:
    """Somewhere else each time: the load's cookies are not those of the warm-up."""
    return random.randrange(2**40)


def available_generator() -> Generator:
    if shutil.which("wrk"):
        return Generator("wrk", wrk_command, read_wrk)
    return Generator("loadtest.clients.closed_loop", client_command, read_client)


def run_generator(command: Sequence[str], seconds: int, core: int, log: Path) -> float:
    """Run it to its end, which is to come after so many seconds; its CPU time in seconds."""
    before = system.children_cpu_seconds()
    with system.started(command, core, log) as process:
        try:
            process.wait(seconds + 15)
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"{command[0]} did not end") from None
    return system.children_cpu_seconds() - before
