"""One measurement: a fresh server with idle connections, two bystanders, and a crowd."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtest import system
from loadtest.benchmarks.fairness.arms import Arm
from loadtest.benchmarks.subject import SMALL_TARGET, latencies_between, warm_up
from loadtest.benchmarks.tables import percentile
from loadtest.companion import Companion, started_companion
from loadtest.system import MeasurementError

BYSTANDERS: Final = ("kept", "new")
PERIOD: Final = 0.004  # seconds from one request of a bystander to its next
PATIENCE: Final = 10.0  # seconds that a bystander waits for a response
SPARE: Final = 100  # keep-alive connections, since requests do not wait for each other
SETTLE_SECONDS: Final = 0.7  # until bystanders have started
CROWD_TIMEOUT: Final = 120.0  # seconds for a line of a crowd

Priority = Callable[[], None] | None


def crowd_priority() -> Priority:
    """The priority of a crowd: the usual one where bystanders run in real time, or the lowest."""
    return None if system.real_time_is_permitted() else system.stay_behind


@dataclass(frozen=True)
class Size:
    """How much is measured: a share of each crowd, seconds of those that go on, idle clients."""

    share: float = 1.0
    seconds: float = 3.0
    idle: int = 0

    def of(self, count: int) -> int:
        """So many clients of a crowd of `count`."""
        return max(1, round(count * self.share))


@dataclass
class Trial:
    """A running server, and what is measured on it."""

    pid: int
    port: int
    workdir: Path
    size: Size
    windows: list[tuple[float, float]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    tls: bool = False  # bystanders, and idle connections, speak it

    def cpu(self) -> float:
        """Seconds of CPU time of the server so far, to the microsecond."""
        return system.cpu_seconds_of(system.descendants(self.pid))

    @contextmanager
    def client(self, module: str, kind: str, target: str, *options: str) -> Iterator[Companion]:
        """A kind of crowd of loadtest.clients.<module>, behind the bystanders."""
        with self._companion(module, kind, target, options, crowd_priority()) as companion:
            yield companion

    @contextmanager
    def bystander(self, connections: str) -> Iterator[Companion]:
        """A bystander on "kept" or "new" connections."""
        spare = str(SPARE if connections == "kept" else 0)
        options = ["--connections", connections, "--period", str(PERIOD), "--spare", spare]
        options += ["--patience", str(PATIENCE)]
        priority = system.come_first if system.real_time_is_permitted() else None
        with self._companion(
            "slow_crowds", "bystander", SMALL_TARGET, options, priority
        ) as companion:
            yield companion

    @contextmanager
    def _companion(
        self, module: str, kind: str, target: str, options: Sequence[str], priority: Priority
    ) -> Iterator[Companion]:
        arguments = [kind, "--port", str(self.port), "--target", target, *options]
        if self.tls and module == "slow_crowds":
            arguments.append("--tls")
        _, core = system.cores()
        log = self.workdir / f"{kind}.log"
        name = f"loadtest.clients.{module}"
        with started_companion(name, arguments, core, log, priority) as companion:
            yield companion

    def announced(self, crowd: Companion) -> tuple[dict[str, Any], float]:
        """The result of a crowd that announces its window, and the server's CPU seconds in it."""
        crowd.receive(CROWD_TIMEOUT)
        used = self.cpu()
        crowd.receive(CROWD_TIMEOUT)
        used = self.cpu() - used
        return crowd.receive(CROWD_TIMEOUT), used

    def finish(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Add the figures of the bystanders within the windows."""
        for name, result in results.items():
            latencies = self._within_windows(result["samples"])
            failed = self._within_windows([(due, 0.0) for due in result["failed"]])
            if not latencies:
                raise MeasurementError("no request of a bystander was due")
            self.figures |= {
                f"{name}: requests": len(latencies),
                f"{name}: failed": len(failed),
                f"{name}: p50, ms": percentile(latencies, 0.5),
                f"{name}: p99, ms": percentile(latencies, 0.99),
                f"{name}: longest, ms": max(latencies),
                f"{name}: p99 of its own lateness, ms": percentile(
                    self._within_windows(result["lateness"]), 0.99
                ),
            }

    def _within_windows(self, samples: Sequence[tuple[float, float]]) -> list[float]:
        """Milliseconds of the requests that were due within the windows."""
        return [
            one for start, end in self.windows for one in latencies_between(samples, start, end)
        ]


@contextmanager
def trial(arm: Arm, size: Size) -> Iterator[Trial]:
    """A fresh server of this arm, with its idle connections and its bystanders.

    The figures of the bystanders are there after the block.
    """
    core, _ = system.cores()
    port = system.free_port()
    with ExitStack() as stack:
        workdir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loadtest-")))
        command = arm.command(port, workdir)
        log = workdir / "server.log"
        pid = stack.enter_context(system.serving(command, port, core, log, arm.checkout))
        warm_up(port)
        one = Trial(pid, port, workdir, size)
        if size.idle:
            idle = one.client("slow_crowds", "idle", SMALL_TARGET, "--count", str(size.idle))
            stack.enter_context(idle).receive(CROWD_TIMEOUT)
        bystanders = {name: stack.enter_context(one.bystander(name)) for name in BYSTANDERS}
        time.sleep(SETTLE_SECONDS)
        used = one.cpu()
        yield one
        one.figures["server CPU, s"] = one.cpu() - used
        one.finish({name: companion.dismiss() for name, companion in bystanders.items()})
