"""Bytes and latencies where there are many, slow or large exchanges.

idle: 10,000 keep-alive connections that have asked once. Memory each is the difference of the
server's Private_Dirty (what it alone has and has written) before and after; then its CPU time
while nobody asks, and a newcomer's latency beside the latency before.

slow-file, slow-iterator, slow-bytes: 4,000 clients with a receive buffer of 4 KiB that read a MiB
at 4 KiB a second. Memory is the peak of resident memory (VmHWM, which the kernel keeps, so no
moment is missed) above what it was before they came. Unsent bytes may be the kernel's instead, so
its socket buffers and slabs are told beside it. A bystander asks each 10 ms all along: its
latency is judged once all have their first bytes, and told for the time of their arrival.

transfer: a large upload and its download; the peak above base, and the speed.

Each case and each run of a slow one is a fresh server on one core; all clients share another.

    python -m loadtest.benchmarks.memory --runs 5 --only idle --json FILE
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtest import system
from loadtest.benchmarks.tables import percentile, spread, table, verdict
from loadtest.clients.closed_loop import exchange
from loadtest.clients.slow_crowds import connected, request
from loadtest.system import Companion, MeasurementError

SMALL_TARGET: Final = "/echo/hello-world!!"
BIG_TARGET: Final = "/files/big"
SPARE_DESCRIPTORS: Final = 200  # of a process, for all that is not a crowd's connection
CALM_SECONDS: Final = 5.0  # of idling, and of a bystander's window among slow readers
SETTLE_SECONDS: Final = 2.0
BEFORE_SECONDS: Final = 3.0  # of a bystander's latency with nobody else there
CROWD_TIMEOUT: Final = 120.0
TRANSFER_TIMEOUT: Final = 300.0
KIB: Final = 1024
MIB: Final = 1024 * 1024


@dataclass
class Figure:
    """One line of the table: what was measured, once a run, and the most it may be."""

    case: str
    name: str
    unit: str
    most: float | None = None
    digits: int = 1
    values: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        value = spread(self.values, self.digits)
        if self.most is None:
            return [self.case, self.name, value, self.unit, "", ""]
        judged = verdict(self.values, self.most)
        return [self.case, self.name, value, self.unit, f"<= {self.most:g}", judged]


class Figures:
    """All lines, in the order in which they were first measured."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], Figure] = {}
        self.failures: list[str] = []

    def add(
        self,
        case: str,
        name: str,
        value: float,
        unit: str,
        most: float | None = None,
        digits: int = 1,
    ) -> None:
        line = self.lines.setdefault((case, name), Figure(case, name, unit, most, digits))
        line.values.append(value)

    def fail(self, case: str, why: str) -> None:
        print(f"{case}: {why}", flush=True)
        self.failures.append(f"{case}: {why}")


@dataclass
class Options:
    """How much is measured."""

    connections: int
    readers: int
    size: int
    runs: int


# ---------------------------------------------------------------------------------- servers


@dataclass
class Subject:
    """A running server and where its clients' logs go."""

    pid: int
    port: int
    folder: Path

    @contextmanager
    def clients(self, kind: str, target: str, *options: str) -> Iterator[Companion]:
        arguments = [kind, "--port", str(self.port), "--target", target, *options]
        _, core = system.cores()
        log = self.folder / f"{kind}.log"
        with system.companion("loadtest.clients.slow_crowds", arguments, core, log) as companion:
            yield companion

    def latencies(self, seconds: float) -> list[float]:
        """Of a client that comes anew, in milliseconds."""
        with self.clients("bystander", SMALL_TARGET) as bystander:
            time.sleep(seconds)
            return latencies_between(samples_of(bystander), 0, float("inf"))


@contextmanager
def subject(module: str, *options: str, pinned: bool = True) -> Iterator[Subject]:
    """A fresh server that has answered a request, so that its base has all it loads lazily."""
    core = system.cores()[0] if pinned else None
    port = system.free_port()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", module, "--port", str(port), *options]
        with system.serving(command, port, core, folder / "server.log") as pid:
            warm_up(port)
            yield Subject(pid, port, folder)


def warm_up(port: int) -> None:
    try:
        with connected(port, 0) as client:
            for _ in range(20):
                status, _ = exchange(client, request("GET", SMALL_TARGET))
                if status != 200:
                    raise MeasurementError(f"GET {SMALL_TARGET} was answered {status}")
    except OSError as error:
        raise MeasurementError(f"no answer: {error}") from error


def samples_of(bystander: Companion) -> list[tuple[float, float]]:
    """Dismiss it. Raises MeasurementError where not all of its requests were answered right."""
    told = bystander.dismiss()
    if told["right"] < len(told["samples"]):
        raise MeasurementError(f"a bystander: {told['kinds']}")
    samples: list[tuple[float, float]] = told["samples"]
    return samples


def latencies_between(
    samples: Sequence[tuple[float, float]], start: float, end: float
) -> list[float]:
    """In milliseconds, of the requests that were due then (by the monotonic clock)."""
    return [seconds * 1000 for due, seconds in samples if start <= due < end]


# ---------------------------------------------------------------------------------- cases


def idle(figures: Figures, options: Options) -> None:
    count = options.connections
    with subject("reactor") as server:
        before = server.latencies(BEFORE_SECONDS)
        memory, slab = system.private_dirty(server.pid), system.slab_memory()
        with server.clients("idle", SMALL_TARGET, "--count", str(count)) as crowd:
            crowd.hear(CROWD_TIMEOUT)
            time.sleep(SETTLE_SECONDS)
            memory = system.private_dirty(server.pid) - memory
            slab = system.slab_memory() - slab
            cpu = idle_cpu(server.pid)
            after = server.latencies(BEFORE_SECONDS)
            still_open = crowd.dismiss()["still_open"]
    if still_open < count:
        figures.fail("idle", f"{count - still_open} connections were closed by the server")
    figures.add("idle", "memory each (Private_Dirty)", memory / count / KIB, "KiB", 1.5, 2)
    figures.add("idle", "kernel slab each, both ends", slab / count / KIB, "KiB")
    figures.add("idle", "CPU while idle", cpu * 100, "%", 1.0, 2)
    for when, values in (("before", before), ("beside them", after)):
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            value = percentile(values, share)
            figures.add("idle", f"latency {name} {when}", value, "ms", None, 2)


def idle_cpu(pid: int) -> float:
    """The share of a core that is used while nobody asks for anything."""
    used, start = system.cpu_seconds(pid), time.monotonic()
    time.sleep(CALM_SECONDS)
    return (system.cpu_seconds(pid) - used) / (time.monotonic() - start)


def slow(body: str) -> Callable[[Figures, Options], None]:
    def case(figures: Figures, options: Options) -> None:
        for run in range(options.runs):
            print(f"slow-{body}: run {run + 1}", file=sys.stderr, flush=True)
            slow_run(figures, options.readers, body)

    return case


def slow_run(figures: Figures, count: int, body: str) -> None:
    with (
        subject("loadtest.apps.bodies") as server,
        server.clients("bystander", SMALL_TARGET) as bystander,
    ):
        time.sleep(1.0)
        system.forget_peak(server.pid)
        base, sockets, slab = kernel_and_own_memory(server.pid)
        came = time.monotonic()
        with server.clients("slow", f"/{body}", "--count", str(count)) as readers:
            there = readers.hear(CROWD_TIMEOUT)["at"]
            time.sleep(SETTLE_SECONDS)
            start, used = time.monotonic(), system.cpu_seconds(server.pid)
            time.sleep(CALM_SECONDS)
            end, used = time.monotonic(), system.cpu_seconds(server.pid) - used
            peak = system.peak_resident(server.pid)
            _, sockets_now, slab_now = kernel_and_own_memory(server.pid)
            samples = samples_of(bystander)
            outcome = readers.dismiss()
    case = f"slow-{body}"
    report_readers(figures, case, count, outcome)
    figures.add(case, "process memory above base (VmHWM)", (peak - base) / MIB, "MiB", 64.0)
    figures.add(case, "kernel socket memory", (sockets_now - sockets) / MIB, "MiB")
    figures.add(case, "kernel slab", (slab_now - slab) / MIB, "MiB")
    beside = latencies_between(samples, start, end)
    arrival = latencies_between(samples, came, there)
    figures.add(case, "bystander p50", percentile(beside, 0.5), "ms", None, 2)
    figures.add(case, "bystander p99", percentile(beside, 0.99), "ms", 50.0, 2)
    figures.add(case, "bystander p99 while they come", percentile(arrival, 0.99), "ms", None, 2)
    figures.add(case, "seconds until all have bytes", there - came, "s")
    figures.add(case, "server CPU", used / (end - start) * 100, "%")


def kernel_and_own_memory(pid: int) -> tuple[float, float, float]:
    """Resident memory of the process, and the kernel's socket buffers and slabs."""
    return system.resident(pid), system.socket_memory(), system.slab_memory()


def report_readers(figures: Figures, case: str, count: int, outcome: dict[str, Any]) -> None:
    """The figures mean what they say only while all readers are there and do read slowly."""
    if outcome["answered"] < count:
        figures.fail(case, f"{count - outcome['answered']} clients were not answered 200")
    if outcome["cut"]:
        figures.fail(case, f"{outcome['cut']} clients were cut before their body was whole")
    figures.add(case, "each client reads", outcome["bytes_per_second"] / KIB, "KiB/s")


def transfer(figures: Figures, options: Options) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="loadtest-files-") as directory,
        subject("reactor", "--directory", directory) as server,
    ):
        base = system.resident(server.pid)  # for both: what an upload left behind is above it
        for direction in ("upload", "download"):
            system.forget_peak(server.pid)
            outcome = transferred(server, direction, options.size)
            above = system.peak_resident(server.pid) - base
            speed = options.size / outcome["seconds"] / 1e6
            figures.add(direction, "process memory above base (VmHWM)", above / MIB, "MiB", 16.0)
            figures.add(direction, "speed", speed, "MB/s", None, 0)


def transferred(server: Subject, direction: str, size: int) -> dict[str, Any]:
    with server.clients(direction, BIG_TARGET, "--size", str(size)) as client:
        outcome = client.hear(TRANSFER_TIMEOUT)
    if not 200 <= outcome["status"] < 300:
        said = outcome.get("said", "")
        raise MeasurementError(f"the {direction} was answered {outcome['status']} {said}")
    if outcome.get("right", size) != size:
        raise MeasurementError(f"the {direction} is right for {outcome['right']} of {size} bytes")
    return outcome


CASES: Final = {
    "idle": idle,
    "slow-file": slow("file"),
    "slow-iterator": slow("iterator"),
    "slow-bytes": slow("bytes"),
    "transfer": transfer,
}


# ---------------------------------------------------------------------------------- telling


def run(figures: Figures, cases: Sequence[str], options: Options) -> bool:
    """Whether it came to its end; what cannot be measured is told and left out."""
    try:
        for case in cases:
            print(f"{case} ...", file=sys.stderr, flush=True)
            try:
                CASES[case](figures, options)
            except MeasurementError as failure:
                figures.fail(case, str(failure))
    except KeyboardInterrupt:
        print("interrupted: what follows is what was measured until then")
        return False
    return True


def write_json(path: Path, about: dict[str, Any], figures: Figures) -> None:
    lines = [asdict(line) | {"median": median(line.values)} for line in figures.lines.values()]
    content = {**about, "failures": figures.failures, "figures": lines}
    path.write_text(json.dumps(content, indent=1) + "\n")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memory and latency with many clients.")
    parser.add_argument("--runs", type=int, default=5, help="of each slow case (default: 5)")
    parser.add_argument("--only", action="append", choices=list(CASES), metavar="CASE")
    parser.add_argument("--connections", type=int, default=10_000, help="idle ones")
    parser.add_argument("--readers", type=int, default=4_000, help="slow ones")
    parser.add_argument("--size", type=int, default=1024, help="of the transfer, in MiB")
    parser.add_argument("--json", type=Path, help="write every value to this file")
    return parser.parse_args()


def main() -> int:
    arguments = parsed()
    system.end_on_sigterm()
    room = system.raise_descriptor_limit() - SPARE_DESCRIPTORS
    connections, readers = min(arguments.connections, room), min(arguments.readers, room)
    if room < max(arguments.connections, arguments.readers):
        print(f"The limit of open files (ulimit -Hn) allows only {room} connections.")
    about = system.described() | {"connections": connections, "readers": readers}
    print(system.introduction(about))
    figures = Figures()
    options = Options(connections, readers, arguments.size * MIB, arguments.runs)
    complete = run(figures, arguments.only or list(CASES), options)
    header = ["case", "what", "median (least-largest)", "unit", "target", "verdict"]
    print(table(header, [line.row() for line in figures.lines.values()]))
    for failure in figures.failures:
        print(f"failed: {failure}")
    if arguments.json:
        write_json(arguments.json, about, figures)
    return 0 if complete else 130


if __name__ == "__main__":
    raise SystemExit(main())
