"""The rules, enforced: what makes two numbers of this experiment comparable.

- Every sample is a fresh process on a core of its own, with the clients (and this harness) on the
  other, and every arm gets the same options, files and time.
- Arms are interleaved: all of them within a round, in turn forwards and backwards, so that a
  machine that gets slower does so for all.
- The process that answers is asked for its id, and it has to be one of those that were started.
- The machine is looked at before (load average, and whether it is idle as it should be) and
  meanwhile (time stolen by its host). A sample beside which something else ran says so.
- What fails is a sample as well, with the reason in place of numbers. Nothing is tried again until
  it looks better.
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

from loadtest import system
from loadtest.clients.closed_loop import exchange
from loadtest.clients.slow_crowds import connected, request
from loadtest.experiment.measure.arms import ARMS
from loadtest.experiment.measure.plans import Planned
from loadtest.experiment.measure.sample_server import SMALL_TARGET, Outcome, Setting
from loadtest.experiment.measure.samples import OURS, Recorder, Sample
from loadtest.experiment.measure.workloads import FILE_NAMES, capacity_of
from loadtest.system import MeasurementError

WARM_UP_REQUESTS: Final = 50
SMALL_REQUESTS: Final = 200  # after those: what one costs
LOOK_SECONDS: Final = 0.2  # at a machine that should have nothing to do
BUSY_BEFORE: Final = 0.1  # of all cores: above it, somebody else is at work
STOLEN: Final = 0.02  # of all cores, by the host
CAPACITY_SECONDS: Final = 2.0
CAPACITY_TRIES: Final = 3
# What a generator or a server that breaks may do to who reads it; a sample fails, the run goes on.
BROKEN: Final = (OSError, ValueError, LookupError, subprocess.SubprocessError)
FILES: Final = tuple((f"{name}.bin", size) for size, name in FILE_NAMES.items())


@dataclass
class Options:
    """How much is measured."""

    rounds: int
    seconds: float  # of a window


class Harness:
    """Carries out a plan, and records every sample as soon as it is there."""

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
        """All of it; an interrupt leaves what was done."""
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
        cell = planned.cell
        load = os.getloadavg()[0]
        busy = _busy()
        before, at = system.machine_times(), time.time()
        sample = Sample(cell.name, cell.workload, cell.x, arm, number, at, 0.0, [], [], load=load)
        try:
            outcome = self._measured(planned, arm, sample)
        except MeasurementError as failure:
            sample.failure = " ".join(str(failure).split()) or "it could not be measured"
        except BROKEN as error:
            sample.failure = " ".join(f"{type(error).__name__}: {error}".split())
        else:
            sample.seconds = outcome.seconds
            sample.generator = _as_typed(outcome.generator)
            sample.values, sample.latencies = outcome.values, outcome.latencies
        after = system.machine_times()
        sample.steal = (after.stolen - before.stolen) / max(1, after.total - before.total)
        sample.noisy = busy > BUSY_BEFORE or sample.steal > STOLEN
        return sample

    def _measured(self, planned: Planned, arm: str, sample: Sample) -> Outcome:
        with self._setting(arm, self._options.seconds, sample.server) as setting:
            return planned.workload.measure(setting, planned.cell.x)

    @contextmanager
    def _setting(self, arm: str, seconds: float, command: list[str]) -> Iterator[Setting]:
        """A fresh server, warmed up, that is still there at the end; puts its command in `command`.

        Raises MeasurementError.
        """
        port = system.free_port()
        with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
            folder = Path(name)
            log = folder / "server.log"
            started = ARMS[arm].command(port, self._files, folder)
            command += _as_typed(started)
            core, _ = system.cores()
            with system.serving(started, port, core, log) as pid:
                check_identity(pid, port)
                cost = warm_up(pid, port)
                yield Setting(pid, port, folder, seconds, self._capacity, cost)
                check_alive(pid, log)

    def _measured_capacity(self) -> float:
        """Of ours, for /page: what all arms are offered shares of. Raises MeasurementError.

        The best of some tries, since all that can happen to one is that it is disturbed.
        """
        best = 0.0
        for _ in range(CAPACITY_TRIES):
            with self._setting(OURS, CAPACITY_SECONDS, []) as setting:
                best = max(best, capacity_of(setting))
        return best


def check_identity(pid: int, port: int) -> None:
    """Whoever answers at that port is the process that was started, or one of its children."""
    try:
        with connected(port, 0) as client:
            status, body = exchange(client, request("GET", "/pid"))
    except (OSError, ValueError) as error:
        raise MeasurementError(f"no answer: {error}") from error
    if status != 200 or not body.strip().isdigit():
        raise MeasurementError(f"asked for its process, it answered {status} {body[:40]!r}")
    answering = body.strip().decode()
    if answering not in map(str, system.descendants(pid)):
        raise MeasurementError(f"process {answering[:20]} answered, and {pid} was started")


def check_alive(pid: int, log: Path) -> None:
    """Some generators do not notice that nobody is there any more."""
    if system.has_ended(pid):
        raise MeasurementError(f"the server ended meanwhile: {system.last_line(log)}")


def warm_up(pid: int, port: int) -> float:
    """Ask for little, one by one; gives the seconds of CPU time that an answer costs then.

    As the bystander does: on a connection that stays and on a new one, in turn.
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
        raise MeasurementError(f"no answer: {error}") from error


def _ask(client: socket, fields: str = "") -> None:
    status, _ = exchange(client, request("GET", SMALL_TARGET, fields))
    if status != 200:
        raise MeasurementError(f"GET {SMALL_TARGET} was answered {status}")


def make_files(directory: Path) -> None:
    """What /files/ has: bytes by chance, so that nothing can make them smaller."""
    chance = Random(1)
    for name, size in FILES:
        (directory / name).write_bytes(chance.randbytes(size))


def confine() -> None:
    """This process to the clients' core, and room for ten thousand descriptors."""
    system.raise_descriptor_limit()
    os.sched_setaffinity(0, {system.cores()[1]})


def _busy() -> float:
    """The share of all cores that is used while we do nothing."""
    before = system.machine_times()
    time.sleep(LOOK_SECONDS)
    after = system.machine_times()
    return (after.busy - before.busy) / max(1, after.total - before.total)


def _as_typed(command: Sequence[str]) -> list[str]:
    """As somebody would type it, without the folders of this machine."""
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
    """Says what happens, and how long it will take."""

    def __init__(self, plan: Sequence[Planned], options: Options) -> None:
        self._left = [
            planned for _ in range(options.rounds) for planned in plan for _ in planned.cell.arms
        ]
        self._total = len(self._left)
        self._options = options
        self._known: dict[str, list[float]] = {}
        self._began = 0.0

    def begin(self, planned: Planned, arm: str, number: int) -> None:
        self._began = time.monotonic()
        done = self._total - len(self._left) + 1
        minutes = self._seconds_left() / 60
        _say(
            f"[{done:>3}/{self._total}] round {number + 1}, {planned.cell.name}, {arm}; "
            f"{minutes:.0f} min left"
        )

    def end(self, planned: Planned, sample: Sample) -> None:
        self._left.pop(0)
        taken = time.monotonic() - self._began
        self._known.setdefault(planned.cell.name, []).append(taken)
        _say(f"          {_summary(sample)}  ({taken:.1f} s)")

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


def _say(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
