"""Carries out a plan by the rules that make two numbers of the experiment comparable.

- Every sample is a fresh process on a core of its own; the clients and this harness are on the
  other core. Every arm gets the same options, files and time.
- Arms are interleaved: all of them within a round, in turn forwards and backwards, so that a change
  of the machine's speed meets all of them.
- The server is asked for its process id, which must be one of those that were started.
- The machine is checked before a sample (CPU time of other processes) and during it (time stolen by
  its host). A sample beside which another process ran is marked as noisy. The load average is
  recorded and marks nothing: for a minute it counts the threads of the server before.
- A failure is a sample as well, with the reason in place of numbers. No sample is repeated because
  of its result.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from socket import socket
from typing import Final

from loadtest import system, system_idle
from loadtest.clients.closed_loop import exchange
from loadtest.clients.slow_crowds import connected, request
from loadtest.experiment.measure.arms import ARMS
from loadtest.experiment.measure.plans import Planned
from loadtest.experiment.measure.sample_server import SMALL_TARGET, Outcome, SampleServer
from loadtest.experiment.measure.samples import OURS, Recorder, Sample
from loadtest.experiment.measure.workloads import FILE_NAMES, capacity_of
from loadtest.system import MeasurementError

WARM_UP_REQUESTS: Final = 50
SMALL_REQUESTS: Final = 200  # after those: what one costs
IDLE_SECONDS: Final = 0.2  # for which the machine is checked before a sample
BUSY_BEFORE: Final = 0.1  # share of all cores above which another process is at work
STOLEN: Final = 0.02  # share of all cores that the host took
CAPACITY_SECONDS: Final = 2.0
CAPACITY_TRIES: Final = 3
# Exceptions that a broken generator or server may cause: the sample fails and the run goes on.
BROKEN: Final = (OSError, ValueError, LookupError, subprocess.SubprocessError)
FILES: Final = tuple((f"{name}.bin", size) for size, name in FILE_NAMES.items())


@dataclass
class Options:
    """How much is measured."""

    rounds: int
    seconds: float  # length of a window


class Harness:
    """Carries out a plan, and records every sample as soon as it is measured."""

    def __init__(
        self, plan: Sequence[Planned], options: Options, recorder: Recorder, files: Path
    ) -> None:
        self._plan = plan
        self._options = options
        self._recorder = recorder
        self._files = files
        self._capacity = 0.0
        self._progress = _Progress(plan, options)

    def run(self) -> None:
        """Measure everything; KeyboardInterrupt leaves the samples until then.

        Raises MeasurementError where the reactor's capacity cannot be measured.
        """
        if any(planned.workload.needs_capacity for planned in self._plan):
            self._capacity = self._measured_capacity()
        for number in range(self._options.rounds):
            for planned in self._plan:
                arms = planned.cell.arms
                for arm in reversed(arms) if number % 2 else arms:
                    self._progress.begin(planned, arm, number)
                    sample = self.sample(planned, arm, number)
                    self._recorder.add(sample)
                    self._progress.end(planned, sample)

    def sample(self, planned: Planned, arm: str, number: int) -> Sample:
        """Measure one arm in one cell, in round `number`; never raises MeasurementError."""
        cell = planned.cell
        load = os.getloadavg()[0]
        busy = system_idle.busy_share(IDLE_SECONDS)
        before, at = system_idle.machine_times(), time.time()
        sample = Sample(cell.name, cell.workload, cell.x, arm, number, at, 0.0, [], [], load=load)
        try:
            outcome = self._measured(planned, arm, sample)
        except MeasurementError as failure:
            sample.failure = " ".join(str(failure).split()) or "the measurement failed"
        except BROKEN as error:
            sample.failure = " ".join(f"{type(error).__name__}: {error}".split())
        else:
            sample.seconds = outcome.seconds
            sample.generator = _as_typed(outcome.generator)
            sample.values, sample.latencies = outcome.values, outcome.latencies
        sample.steal = system_idle.stolen_share(before, system_idle.machine_times())
        sample.noisy = busy > BUSY_BEFORE or sample.steal > STOLEN
        return sample

    def _measured(self, planned: Planned, arm: str, sample: Sample) -> Outcome:
        with self._sample_server(arm, self._options.seconds, sample.server) as server:
            return planned.workload.measure(server, planned.cell.x)

    @contextmanager
    def _sample_server(
        self, arm: str, seconds: float, command: list[str]
    ) -> Iterator[SampleServer]:
        """A fresh, warmed-up server, whose command line is appended to `command`.

        Raises MeasurementError, also where the server has ended at the end of the block.
        """
        port = system.free_port()
        with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
            workdir = Path(name)
            log = workdir / "server.log"
            started = ARMS[arm].command(port, self._files, workdir)
            command += _as_typed(started)
            core, _ = system.cores()
            with system.serving(started, port, core, log) as pid:
                check_identity(pid, port)
                cost = warm_up(pid, port)
                yield SampleServer(pid, port, workdir, seconds, self._capacity, cost)
                check_alive(pid, log)

    def _measured_capacity(self) -> float:
        """The reactor's largest rate for /page; open loops offer shares of it to all arms.

        It is the best of CAPACITY_TRIES, since a disturbance can only lower it. Raises
        MeasurementError.
        """
        best = 0.0
        for _ in range(CAPACITY_TRIES):
            with self._sample_server(OURS, CAPACITY_SECONDS, []) as server:
                best = max(best, capacity_of(server))
        return best


def check_identity(pid: int, port: int) -> None:
    """Check that the server at `port` is the started process or one of its descendants.

    Raises MeasurementError.
    """
    try:
        with connected(port, 0) as client:
            status, body = exchange(client, request("GET", "/pid"))
    except (OSError, ValueError) as error:
        raise MeasurementError(f"no response: {error}") from error
    if status != 200 or not body.strip().isdigit():
        raise MeasurementError(f"expected a process id from /pid, got {status} {body[:40]!r}")
    serving = body.strip().decode()
    if serving not in map(str, system.descendants(pid)):
        raise MeasurementError(f"process {serving[:20]} responded, but {pid} was started")


def check_alive(pid: int, log: Path) -> None:
    """Raise MeasurementError where the server has ended: some generators do not notice."""
    if system.has_ended(pid):
        raise MeasurementError(f"the server ended during the load: {system.last_line(log)}")


def warm_up(pid: int, port: int) -> float:
    """Send small requests one by one; returns the seconds of CPU time of one of the later ones.

    They use a keep-alive connection and a new one in turn, as the bystander does. Raises
    MeasurementError.
    """
    family = system.descendants(pid)
    try:
        with connected(port, 0) as client:
            for _ in range(WARM_UP_REQUESTS):
                _ask(client)
            before = sum(map(system.cpu_clock, family))
            for number in range(SMALL_REQUESTS // 2):
                _ask(client)
                with connected(port, number) as another:
                    _ask(another, "Connection: close\r\n")
            return (sum(map(system.cpu_clock, family)) - before) / SMALL_REQUESTS
    except (OSError, ValueError) as error:
        raise MeasurementError(f"no response: {error}") from error


def _ask(client: socket, fields: str = "") -> None:
    status, _ = exchange(client, request("GET", SMALL_TARGET, fields))
    if status != 200:
        raise MeasurementError(f"GET {SMALL_TARGET} got status {status}")


def make_files(directory: Path) -> None:
    """The files of /files/: random bytes, which compression cannot shrink."""
    chance = Random(1)
    for name, size in FILES:
        (directory / name).write_bytes(chance.randbytes(size))


def confine() -> None:
    """Pin this process to the clients' core, and raise its limit of file descriptors."""
    system.raise_descriptor_limit()
    os.sched_setaffinity(0, {system.cores()[1]})


def _as_typed(command: Sequence[str]) -> list[str]:
    """The command line as a user would type it, without the directories of this machine."""
    return [_short(part) for part in command]


def _short(part: str) -> str:
    if part == sys.executable:
        return "python"
    if part.startswith(f"{system.PROJECT}{os.sep}"):
        return part.removeprefix(f"{system.PROJECT}{os.sep}")
    if part.startswith(f"{tempfile.gettempdir()}{os.sep}"):
        return f"DIR{os.sep}{os.path.basename(part)}"
    return part


class _Progress:
    """Prints each sample, and how much time is left."""

    def __init__(self, plan: Sequence[Planned], options: Options) -> None:
        self._left = [
            planned for _ in range(options.rounds) for planned in plan for _ in planned.cell.arms
        ]
        self._total = len(self._left)
        self._options = options
        self._known: dict[str, list[float]] = {}
        self._started = 0.0

    def begin(self, planned: Planned, arm: str, number: int) -> None:
        """Print that a sample begins."""
        self._started = time.monotonic()
        done = self._total - len(self._left) + 1
        minutes = self._seconds_left() / 60
        _print(
            f"[{done:>3}/{self._total}] round {number + 1}, {planned.cell.name}, {arm}; "
            f"{minutes:.0f} min left"
        )

    def end(self, planned: Planned, sample: Sample) -> None:
        """Print the result of the sample."""
        self._left.pop(0)
        taken = time.monotonic() - self._started
        self._known.setdefault(planned.cell.name, []).append(taken)
        _print(f"          {_summary(sample)}  ({taken:.1f} s)")

    def _seconds_left(self) -> float:
        total = 0.0
        for planned in self._left:
            known = self._known.get(planned.cell.name)
            total += sum(known) / len(known) if known else planned.expected(self._options.seconds)
        return total


def _summary(sample: Sample) -> str:
    if sample.failure:
        return f"failed: {sample.failure}"
    parts = []
    for name, text in (
        ("cpu_us", "{:.1f} µs/request"),
        ("rate", "{:,.0f}/s"),
        ("errors", "{:.0f} errors"),
        ("unserved", "{:.0f} connections without a response"),
        ("refused", "{:.0f} refused"),
        ("generator_share", "generator {:.0%}"),
    ):
        value = sample.values.get(name)
        if value:
            parts.append(text.format(value))
    for name, latencies in sample.latencies.items():
        if latencies.count:
            parts.append(f"{name} p99 {latencies.percentile(0.99) * 1000:.1f} ms")
    return ", ".join(parts) + (" (noisy)" if sample.noisy else "")


def _print(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
