"""A running server, and what a workload may ask about it: one sample's surroundings.

The window is the time that counts. Whatever has to happen before (connections made, caches warm,
threads started) has happened when it opens, and the server's CPU time is read at its two ends, not
at those of a generator. The bystander is a client of its own that asks for /hello each 10 ms from
before the load until after it; of its answers those count that were due within the window.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtest import system
from loadtest.clients.histogram import Histogram
from loadtest.experiment.measure.samples import BYSTANDER
from loadtest.system import Companion, Lines, MeasurementError, Process

SMALL_TARGET: Final = "/hello"
BYSTANDER_PATIENCE: Final = 5.0  # seconds for an answer, then it counts as an error
DISMISS_SECONDS: Final = 30.0
MOST_BESIDE: Final = 0.5  # of the server's CPU time that may be the bystander's


@dataclass
class Outcome:
    """What a workload has found."""

    seconds: float
    generator: Sequence[str]  # its command
    values: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, Histogram] = field(default_factory=dict)


def counted(told: dict[str, Any]) -> dict[str, float]:
    """What ended badly: an answer that never came is as bad as a wrong one."""
    return {
        "errors": told.get("errors", 0) + told.get("unanswered", 0),
        "refused": told.get("refused", 0),
    }


class Window:
    """The time that counts, and the CPU time of server and generator in it."""

    def __init__(self, server: Sequence[int], generator: int) -> None:
        self._server = server
        self._generator = (generator,)
        self._server_before = system.cpu_seconds_of(server)
        self._generator_before = system.cpu_seconds_of(self._generator)
        self.start = self.end = time.monotonic()
        self.server_cpu = 0.0  # seconds, as is the next
        self.generator_cpu = 0.0

    def close(self) -> None:
        self.end = time.monotonic()
        self.server_cpu = system.cpu_seconds_of(self._server) - self._server_before
        self.generator_cpu = system.cpu_seconds_of(self._generator) - self._generator_before

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def shares(self) -> dict[str, float]:
        """Of a core."""
        return {
            "server_share": self.server_cpu / self.seconds,
            "generator_share": self.generator_cpu / self.seconds,
        }


class Setting:
    """One server, freshly started and warmed up, on a core; its clients are on the other."""

    def __init__(
        self,
        pid: int,
        port: int,
        folder: Path,
        seconds: float,
        capacity: float,
        small_cost: float = 0.0,
    ) -> None:
        self.pid = pid
        self.port = port
        self.folder = folder
        self.seconds = seconds  # of a window
        self.capacity = capacity  # requests of /page a second that the reactor answers at most
        self.small_cost = small_cost  # seconds of CPU time for an answer to the bystander
        self.family = system.descendants(pid)  # a peer may have processes
        self.core = system.cores()[1]
        self._bystander: Companion | None = None
        self._noticed: dict[str, Any] | None = None  # by the bystander
        self.outside = 0  # answers to the bystander within the window, for the CPU time's sake

    def url(self, target: str) -> str:
        return f"http://{system.ADDRESS}:{self.port}{target}"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def window(self, generator: int) -> Window:
        """From now on, until its `close`."""
        return Window(self.family, generator)

    @contextmanager
    def companion(self, module: str, *arguments: str) -> Iterator[Companion]:
        """A generator of ours that tells what it did."""
        options = [*arguments, "--port", str(self.port)]
        log = self.log(module.rpartition(".")[2])
        with system.companion(module, options, self.core, log) as companion:
            yield companion

    def announced(self, companion: Companion, timeout: float) -> tuple[Window, dict[str, Any]]:
        """The window as its generator announces it, and what it tells then."""
        companion.hear(timeout)
        window = self.window(companion.process.pid)
        companion.hear(self.seconds + timeout)
        window.close()
        return window, companion.hear(timeout)

    def printed(
        self, process: Process, name: str, lines: tuple[str, str], start: float, grace: float
    ) -> tuple[Window, Lines]:
        """The window of a generator of others, from one of these lines to the other.

        It opens after `start` seconds at most, and may take `grace` longer than it should. Raises
        MeasurementError, with the last words of its log.
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
        """Somebody who asks for little, beside whatever else happens in this block."""
        patience = f"{BYSTANDER_PATIENCE:g}"
        options = ("bystander", "--target", SMALL_TARGET, "--patience", patience)
        with self.companion("loadtest.clients.slow_crowds", *options) as companion:
            self._bystander = companion
            yield

    def dismiss_bystander(self) -> None:
        """While the load is still there: who waits for its end must not be served by it."""
        if self._bystander is not None:
            self._noticed = self._bystander.dismiss(DISMISS_SECONDS)
            self._bystander = None

    def finish(self, outcome: Outcome, window: Window) -> Outcome:
        """With what the bystander has noticed, and the server's CPU time for each answer.

        What the bystander has cost is taken off, and its answers are not among them: beside thirty
        large files its three hundred small ones would make the files look cheap. As that is only
        known roughly, nothing is said where it is most of all.
        """
        self.dismiss_bystander()
        if self._noticed is not None:
            self._add_bystander(outcome, window, self._noticed)
        outcome.values |= window.shares()
        if requests := outcome.values.get("requests", 0.0):
            beside = self.outside * self.small_cost
            if beside < MOST_BESIDE * window.server_cpu:
                outcome.values["cpu_us"] = (window.server_cpu - beside) / requests * 1e6
        return outcome

    def _add_bystander(self, outcome: Outcome, window: Window, told: dict[str, Any]) -> None:
        latencies = [
            seconds for due, seconds in told["samples"] if window.start <= due < window.end
        ]
        outcome.latencies[BYSTANDER] = Histogram(latencies)
        failed = sum(window.start <= due < window.end for due in told["failed"])
        outcome.values["bystander_errors"] = failed
        self.outside = len(latencies) - failed
