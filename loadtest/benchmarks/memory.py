"""Memory and latency with many, slow or large exchanges.

idle: 10,000 keep-alive connections that have sent one request each. Memory per connection is the
difference of the server's Private_Dirty (memory that it alone has and has written) before and
after. The case also measures its CPU time while no request comes, and the latency of a new client
before and beside the idle ones.

slow-file, slow-iterator, slow-bytes: 4,000 clients with a receive buffer of 4 KiB that read a body
of 1 MiB at 4 KiB a second. Memory is the peak of resident memory (VmHWM, which the kernel keeps, so
no moment is missed) above its value before the clients came. Unsent bytes may be held by the kernel
instead, so its socket buffers and slabs are printed beside it. A bystander sends a request every
10 ms all along: its latency is judged once all clients have their first bytes, and is also printed
for the time of their arrival.

transfer: a large upload and its download; the peak of memory above base, and the speed.

Each case, and each run of a slow one, has a fresh server on one core; all clients share another.

    python -m loadtest.benchmarks.memory --runs 5 --only idle --json FILE
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtest import system, system_idle
from loadtest.benchmarks.common import INTERRUPTED
from loadtest.benchmarks.figures import Figures
from loadtest.benchmarks.subject import (
    CALM_SECONDS,
    SMALL_TARGET,
    Subject,
    latencies_between,
    samples_of,
    subject,
)
from loadtest.benchmarks.tables import percentile
from loadtest.system import MeasurementError

BIG_TARGET: Final = "/files/big"
SPARE_DESCRIPTORS: Final = 200  # beside the connections of a crowd
SETTLE_SECONDS: Final = 2.0
BEFORE_SECONDS: Final = 3.0  # for a bystander's latency without other clients
CROWD_TIMEOUT: Final = 120.0
TRANSFER_TIMEOUT: Final = 300.0
KIB: Final = 1024
MIB: Final = 1024 * 1024


@dataclass
class Options:
    """How much is measured."""

    connections: int  # idle ones
    readers: int  # slow ones
    size: int  # bytes of the transfer
    runs: int  # for each slow case


# ---------------------------------------------------------------------------------- cases


def idle(figures: Figures, options: Options) -> None:
    """Keep-alive connections that have sent one request and then nothing."""
    count = options.connections
    with subject("handlers") as server:
        before = server.latencies(BEFORE_SECONDS)
        memory, slab = system.private_dirty(server.pid), system.slab_memory()
        with server.clients("idle", SMALL_TARGET, "--count", str(count)) as crowd:
            crowd.receive(CROWD_TIMEOUT)
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
    """The share of a core that the server uses while no request comes."""
    used, start = system.cpu_seconds(pid), time.monotonic()
    time.sleep(CALM_SECONDS)
    return (system.cpu_seconds(pid) - used) / (time.monotonic() - start)


def slow(body: str) -> Callable[[Figures, Options], None]:
    """The case of slow readers of one kind of body: file, iterator or bytes."""

    def case(figures: Figures, options: Options) -> None:
        for run in range(options.runs):
            print(f"slow-{body}: run {run + 1}", file=sys.stderr, flush=True)
            slow_run(figures, options.readers, body)

    return case


def slow_run(figures: Figures, count: int, body: str) -> None:
    """One run of `count` slow readers, on a fresh server."""
    with (
        subject("loadtest.apps.bodies") as server,
        server.clients("bystander", SMALL_TARGET) as bystander,
    ):
        time.sleep(1.0)
        system.forget_peak(server.pid)
        base, sockets, slab = own_and_kernel_memory(server.pid)
        came = time.monotonic()
        with server.clients("slow", f"/{body}", "--count", str(count)) as readers:
            there = readers.receive(CROWD_TIMEOUT)["at"]
            time.sleep(SETTLE_SECONDS)
            start, used = time.monotonic(), system.cpu_seconds(server.pid)
            time.sleep(CALM_SECONDS)
            end, used = time.monotonic(), system.cpu_seconds(server.pid) - used
            peak = system.peak_resident(server.pid)
            _, sockets_now, slab_now = own_and_kernel_memory(server.pid)
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


def own_and_kernel_memory(pid: int) -> tuple[float, float, float]:
    """Bytes: resident memory of the process, the kernel's socket buffers, and its slabs."""
    return system.resident(pid), system.socket_memory(), system.slab_memory()


def report_readers(figures: Figures, case: str, count: int, outcome: dict[str, Any]) -> None:
    """Report readers that were not served: the figures hold only for the full number of them."""
    if outcome["answered"] < count:
        figures.fail(case, f"{count - outcome['answered']} clients did not get status 200")
    if outcome["cut"]:
        figures.fail(
            case, f"{outcome['cut']} clients lost their connection before the end of the body"
        )
    figures.add(case, "each client reads", outcome["bytes_per_second"] / KIB, "KiB/s")


def transfer(figures: Figures, options: Options) -> None:
    """A large upload, and the download of the same file."""
    with (
        tempfile.TemporaryDirectory(prefix="loadtest-files-") as directory,
        subject("handlers", "--directory", directory) as server,
    ):
        base = system.resident(server.pid)  # for both, so that leftovers of the upload count
        for direction in ("upload", "download"):
            system.forget_peak(server.pid)
            outcome = transferred(server, direction, options.size)
            above = system.peak_resident(server.pid) - base
            speed = options.size / outcome["seconds"] / 1e6
            figures.add(direction, "process memory above base (VmHWM)", above / MIB, "MiB", 16.0)
            figures.add(direction, "speed", speed, "MB/s", None, 0)


def transferred(server: Subject, direction: str, size: int) -> dict[str, Any]:
    """The outcome of one direction. Raises MeasurementError where it failed or bytes differ."""
    with server.clients(direction, BIG_TARGET, "--size", str(size)) as client:
        outcome = client.receive(TRANSFER_TIMEOUT)
    if not 200 <= outcome["status"] < 300:
        body = outcome.get("body", "")
        raise MeasurementError(f"the {direction} got status {outcome['status']} {body}")
    if outcome.get("correct", size) != size:
        right = outcome["correct"]
        raise MeasurementError(f"{right} of {size} bytes of the {direction} are correct")
    return outcome


CASES: Final = {
    "idle": idle,
    "slow-file": slow("file"),
    "slow-iterator": slow("iterator"),
    "slow-bytes": slow("bytes"),
    "transfer": transfer,
}


# ---------------------------------------------------------------------------------- the program


def run(figures: Figures, cases: Sequence[str], options: Options) -> bool:
    """Run the cases; returns whether all of them ran. A case that fails is left out."""
    try:
        for case in cases:
            print(f"{case} ...", file=sys.stderr, flush=True)
            try:
                CASES[case](figures, options)
            except MeasurementError as failure:
                figures.fail(case, str(failure))
    except KeyboardInterrupt:
        print(INTERRUPTED)
        return False
    return True


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memory and latency with many clients.")
    parser.add_argument("--runs", type=int, default=5, help="runs for each slow case (default: 5)")
    parser.add_argument("--only", action="append", choices=list(CASES), metavar="CASE")
    parser.add_argument(
        "--connections", type=int, default=10_000, help="idle ones (default: 10000)"
    )
    parser.add_argument("--readers", type=int, default=4_000, help="slow readers (default: 4000)")
    parser.add_argument(
        "--size", type=int, default=1024, help="MiB of the transfer (default: 1024)"
    )
    parser.add_argument("--json", type=Path, help="write every value to this file")
    return parser.parse_args()


def main() -> int:
    arguments = parse_options()
    system.end_on_sigterm()
    room = system.raise_descriptor_limit() - SPARE_DESCRIPTORS
    connections, readers = min(arguments.connections, room), min(arguments.readers, room)
    if room < max(arguments.connections, arguments.readers):
        print(f"The limit of open files (ulimit -Hn) allows {room} connections.")
    about = system_idle.machine_facts() | {"connections": connections, "readers": readers}
    print(system_idle.machine_summary(about))
    figures = Figures()
    options = Options(connections, readers, arguments.size * MIB, arguments.runs)
    is_complete = run(figures, arguments.only or list(CASES), options)
    figures.print()
    if arguments.json:
        figures.write_json(arguments.json, about)
    return 0 if is_complete else 130


if __name__ == "__main__":
    raise SystemExit(main())
