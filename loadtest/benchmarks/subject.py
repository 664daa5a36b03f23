"""The server under test of the benchmarks of memory and files, and its clients.

Each subject is a fresh process. A bystander is a client that asks for a small response every 10 ms
beside the load; its latency shows what the load does to others.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest import system
from loadtest.clients.closed_loop import exchange
from loadtest.clients.slow_crowds import connected, request
from loadtest.companion import Companion, started_companion
from loadtest.system import MeasurementError

SMALL_TARGET: Final = "/echo/hello-world!!"
CALM_SECONDS: Final = 5.0  # for idling, and for a bystander's window beside a load
WARM_UP_REQUESTS: Final = 20


@dataclass
class Subject:
    """A running server, and the directory for the logs of its clients."""

    pid: int
    port: int
    workdir: Path

    @contextmanager
    def clients(self, kind: str, target: str, *options: str) -> Iterator[Companion]:
        """One kind of `loadtest.clients.slow_crowds`, on the clients' core."""
        arguments = [kind, "--port", str(self.port), "--target", target, *options]
        _, core = system.cores()
        log = self.workdir / f"{kind}.log"
        with started_companion("loadtest.clients.slow_crowds", arguments, core, log) as companion:
            yield companion

    def latencies(self, seconds: float) -> list[float]:
        """Milliseconds of each response to a bystander that asks for `seconds`."""
        with self.clients("bystander", SMALL_TARGET) as bystander:
            time.sleep(seconds)
            return latencies_between(samples_of(bystander), 0, float("inf"))


@contextmanager
def subject(module: str, *options: str, pinned: bool = True) -> Iterator[Subject]:
    """A fresh server that has served a few requests, so that lazy imports are in its base memory.

    With `pinned` it runs on the server's core alone.
    """
    core = system.cores()[0] if pinned else None
    port = system.free_port()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        workdir = Path(name)
        command = [sys.executable, "-m", module, "--port", str(port), *options]
        with system.serving(command, port, core, workdir / "server.log") as pid:
            warm_up(port)
            yield Subject(pid, port, workdir)


def warm_up(port: int) -> None:
    """Send a few requests. Raises MeasurementError where one of them fails."""
    try:
        with connected(port, 0) as client:
            for _ in range(WARM_UP_REQUESTS):
                status, _ = exchange(client, request("GET", SMALL_TARGET))
                if status != 200:
                    raise MeasurementError(f"GET {SMALL_TARGET} got status {status}")
    except OSError as error:
        raise MeasurementError(f"no response: {error}") from error


def samples_of(bystander: Companion) -> list[tuple[float, float]]:
    """End the bystander: when each of its requests was due, and the seconds that it took.

    Raises MeasurementError where one of its responses was not correct.
    """
    result = bystander.dismiss()
    if result["correct"] < len(result["samples"]):
        raise MeasurementError(f"bystander: {result['kinds']}")
    samples: list[tuple[float, float]] = result["samples"]
    return samples


def latencies_between(
    samples: Sequence[tuple[float, float]], start: float, end: float
) -> list[float]:
    """Milliseconds of the requests that were due between two readings of the monotonic clock."""
    return [seconds * 1000 for due, seconds in samples if start <= due < end]
