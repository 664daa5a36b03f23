"""The server of one sample while it runs: its window, its CPU time, and its bystander.

The window is the time that counts. All preparation (connections, warm caches, threads) is done when
it opens, and the server's CPU time is read at its two ends, not at those of a generator. The
bystander is a client of its own that asks for /hello every 10 ms, from before the load until after
it; those of its requests count that were due within the window.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtest import system
from loadtest.clients.histogram import Histogram
from loadtest.companion import Companion, Lines, started_companion
from loadtest.experiment.measure.samples import BYSTANDER
from loadtest.experiment.measure.served import by_connection, unserved
from loadtest.system import MeasurementError, Process

SMALL_TARGET: Final = "/hello"
BYSTANDER_PATIENCE: Final = 5.0  # seconds for a response, then it counts as an error
DISMISS_SECONDS: Final = 30.0
MOST_BESIDE: Final = 0.5  # largest share of the server's CPU time that the bystander may cause


@dataclass
class Outcome:
    """The result of a workload."""

    seconds: float
    generator: Sequence[str]  # its command line
    values: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, Histogram] = field(default_factory=dict)


def failure_counts(result: dict[str, Any]) -> dict[str, float]:
    """Errors and refusals of a generator's result; a response that never came is an error."""
    return {
        "errors": result.get("errors", 0) + result.get("unanswered", 0),
        "refused": result.get("refused", 0),
    }


class Window:
    """The time that counts, and the CPU time of server and generator in it.

    It opens when it is made.
    """

    def __init__(self, server: Sequence[int], generator: int) -> None:
        self._server = server
        self._generator = (generator,)
        self._server_before = system.cpu_seconds_of(server)
        self._generator_before = system.cpu_seconds_of(self._generator)
        self.start = self.end = time.monotonic()
        self.server_cpu = 0.0  # seconds
        self.generator_cpu = 0.0  # seconds

    def close(self) -> None:
        """End the window, and read the CPU times."""
        self.end = time.monotonic()
        self.server_cpu = system.cpu_seconds_of(self._server) - self._server_before
        self.generator_cpu = system.cpu_seconds_of(self._generator) - self._generator_before

    @property
    def seconds(self) -> float:
        """How long the window was open."""
        return self.end - self.start

    def shares(self) -> dict[str, float]:
        """The shares of a core that server and generator used."""
        return {
            "server_share": self.server_cpu / self.seconds,
            "generator_share": self.generator_cpu / self.seconds,
        }


class SampleServer:
    """A freshly started and warmed-up server on one core; its clients are on the other."""

    def __init__(
        self,
        pid: int,
        port: int,
        workdir: Path,
        seconds: float,
        capacity: float,
        small_cost: float = 0.0,
    ) -> None:
        self.pid = pid
        self.port = port
        self.workdir = workdir
        self.seconds = seconds  # length of a window
        self.capacity = capacity  # largest rate of the reactor for /page, in requests per second
        self.small_cost = small_cost  # seconds of CPU time for a response to the bystander
        self.family = system.descendants(pid)  # a peer may have several processes
        self.core = system.cores()[1]  # the core of the clients
        self.outside = 0  # responses to the bystander within the window; their CPU time is deducted
        self._bystander: Companion | None = None
        self._bystander_result: dict[str, Any] | None = None

    def url(self, target: str) -> str:
        """The URL of a target on this server."""
        return f"http://{system.ADDRESS}:{self.port}{target}"

    def log(self, name: str) -> Path:
        """The file for the output of a generator."""
        return self.workdir / f"{name}.log"

    def window(self, generator: int) -> Window:
        """A window that opens now, for the generator with this process id."""
        return Window(self.family, generator)

    @contextmanager
    def companion(self, module: str, *arguments: str) -> Iterator[Companion]:
        """A load generator of ours on the clients' core."""
        options = [*arguments, "--port", str(self.port)]
        log = self.log(module.rpartition(".")[2])
        with started_companion(module, options, self.core, log) as companion:
            yield companion

    def announced(self, companion: Companion, timeout: float) -> tuple[Window, dict[str, Any]]:
        """The window that a generator of ours announces, and its result.

        Raises MeasurementError.
        """
        companion.receive(timeout)
        window = self.window(companion.process.pid)
        companion.receive(self.seconds + timeout)
        window.close()
        return window, companion.receive(timeout)

    def printed(
        self, process: Process, name: str, lines: tuple[str, str], start: float, grace: float
    ) -> tuple[Window, Lines]:
        """The window of another generator, from its output of the first of `lines` to the second.

        The window opens within `start` seconds, and closes at most `grace` seconds late; otherwise
        MeasurementError is raised, with the last line of the generator's log.
        """
        opens, over = lines
        output = Lines(process)
        try:
            output.until(opens, start)
            window = self.window(process.pid)
            output.until(over, self.seconds + grace)
        except MeasurementError as error:
            last = system.last_line(self.log(name))
            raise MeasurementError(f"{name}: {error}; {last}") from error
        window.close()
        return window, output

    @contextmanager
    def bystander(self) -> Iterator[None]:
        """A client that asks for SMALL_TARGET every 10 ms, until the end of the block."""
        patience = f"{BYSTANDER_PATIENCE:g}"
        options = ("bystander", "--target", SMALL_TARGET, "--patience", patience)
        with self.companion("loadtest.clients.slow_crowds", *options) as companion:
            self._bystander = companion
            yield

    def dismiss_bystander(self) -> None:
        """End the bystander, while the load still runs: the end of the load would serve it."""
        if self._bystander is not None:
            self._bystander_result = self._bystander.dismiss(DISMISS_SECONDS)
            self._bystander = None

    def finish(self, outcome: Outcome, window: Window) -> Outcome:
        """Add the bystander's latencies, the server's CPU time per response, and the connections
        without a response; returns `outcome`.

        The bystander's requests are not counted and their CPU time is deducted: beside thirty large
        files its three hundred small responses would make the files look cheap. The deduction is an
        estimate, so there is no CPU time per response where it is more than MOST_BESIDE of it.
        """
        self.dismiss_bystander()
        if self._bystander_result is not None:
            self._add_bystander(outcome, window, self._bystander_result)
        outcome.values |= window.shares()
        if by_connection(outcome.values) is not None:
            outcome.values["unserved"] = unserved(outcome.values)
        if requests := outcome.values.get("requests", 0.0):
            beside = self.outside * self.small_cost
            if beside < MOST_BESIDE * window.server_cpu:
                outcome.values["cpu_us"] = (window.server_cpu - beside) / requests * 1e6
        return outcome

    def _add_bystander(self, outcome: Outcome, window: Window, result: dict[str, Any]) -> None:
        latencies = [
            seconds for due, seconds in result["samples"] if window.start <= due < window.end
        ]
        outcome.latencies[BYSTANDER] = Histogram(latencies)
        failed = sum(window.start <= due < window.end for due in result["failed"])
        outcome.values["bystander_errors"] = failed
        self.outside = len(latencies) - failed
