"""CPU time per request: this server beside a raw loop and beside other servers.

Requests per second say as much about the client and the machine as about the server. So the
server's CPU time counts: user plus system time, all threads and children, over exactly the time of
a load, divided by the requests that the load generator saw answered. CPU time still depends on the
machine, so it is judged as a ratio: to the raw loop of `loadtest.apps.raw_loop` (what HTTP costs on
top of the system calls) and to uvicorn on httptools and uvloop (a server in wide use).

The server has one core to itself, the load generator another: `wrk` with one thread and 64
keep-alive connections, or our own `loadtest.clients.closed_loop`. Each measurement is a fresh
process, warmed up for a second. A server that waits for the generator finds fewer connections ready
at a time and calls `select` more often for them, so loads in which the server was not busy are
named. Arms (a server with its options) are interleaved, in turn forwards and backwards, so a change
of the machine's speed meets all of them. A ratio is taken within a round; the result is the median
of the rounds.

There are two workloads: a tiny head (Host alone), and a browser's head (Chromium's ten fields over
plain HTTP), whose cookie differs in every request, so a server can remember nothing from one head
to the next. Our server writes its access log to a file, as in production; the peers write none.

    python -m loadtest.benchmarks.cpu --rounds 5 --seconds 3 --peer-python VENV/bin/python --json
    FILE
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from socket import create_connection
from statistics import median
from typing import Final

from loadtest import system, system_idle
from loadtest.benchmarks.common import INTERRUPTED
from loadtest.benchmarks.peers import BODY, FLOOR, OURS, PEER, Command, all_arms
from loadtest.benchmarks.tables import spread, table, verdict
from loadtest.benchmarks.workloads import TARGET, WORKLOADS, Workload
from loadtest.clients.closed_loop import exchange
from loadtest.clients.wrk import (
    CONNECTIONS,
    Generator,
    GeneratorOutcome,
    available_generator,
    run_generator,
)
from loadtest.system import ADDRESS, MeasurementError

WARM_UP_SECONDS: Final = 1  # the shortest that wrk takes
BUSY: Final = 0.9  # a server below this share of its core waited for its clients
GZIP_MAGIC: Final = b"\x1f\x8b"


@dataclass
class Sample:
    """One load on one arm."""

    workload: str
    arm: str
    round: int
    requests: int
    errors: str
    seconds: float
    server_cpu: float  # seconds
    generator_cpu: float  # seconds

    @property
    def cost(self) -> float:
        """Microseconds of the server's CPU time per request."""
        return self.server_cpu / self.requests * 1e6


@dataclass
class Plan:
    """The arms and workloads to measure, for how long, and the samples so far."""

    rounds: int
    seconds: int
    generator: Generator
    arms: dict[str, Command]
    workloads: Sequence[Workload]
    samples: list[Sample] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Measure all rounds; an arm that fails is left out of the rest."""
        for number in range(self.rounds):
            for workload in self.workloads:
                order = list(self.arms)
                for arm in reversed(order) if number % 2 else order:
                    self._try(workload, arm, number)

    def _try(self, workload: Workload, arm: str, number: int) -> None:
        try:
            sample = self._measure(workload, arm, number)
        except MeasurementError as failure:
            # A server that does not start now does not start in the next round either.
            print(f"{arm} is left out: {failure}", flush=True)
            self.left_out[arm] = str(failure)
            del self.arms[arm]
            return
        self.samples.append(sample)
        line = f"round {number + 1} {workload.name:8} {arm:9} {sample.cost:6.1f} µs"
        print(line, sample.errors, file=sys.stderr, flush=True)

    def _measure(self, workload: Workload, arm: str, number: int) -> Sample:
        server_core, client_core = system.cores()
        port = system.free_port()
        with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
            workdir = Path(name)
            head = workdir / "head"
            head.write_bytes(workload.head_for(port))
            command = self.arms[arm](port, workdir)
            with system.serving(command, port, server_core, workdir / "server.log") as pid:
                check(port, head.read_bytes())
                self._load(port, head, WARM_UP_SECONDS, client_core)
                cpu, start = system.cpu_seconds(pid), time.monotonic()
                outcome, used = self._load(port, head, self.seconds, client_core)
                seconds, cpu = time.monotonic() - start, system.cpu_seconds(pid) - cpu
        return Sample(
            workload.name, arm, number, outcome.requests, outcome.errors, seconds, cpu, used
        )

    def _load(
        self, port: int, head: Path, seconds: int, core: int
    ) -> tuple[GeneratorOutcome, float]:
        """Run the generator to its end; returns what it counted and its CPU time in seconds."""
        command = self.generator.command(port, TARGET, head, seconds)
        log = head.with_name("generator.log")
        used = run_generator(command, seconds, core, log)
        outcome = self.generator.read(log.read_text())
        if not outcome.requests:
            raise MeasurementError(f"no request got a response: {outcome.errors}")
        return outcome, used


def check(port: int, head: bytes) -> None:
    """Send two requests on one connection, which also checks keep-alive.

    Raises MeasurementError where a response is not the expected one.
    """
    try:
        with create_connection((ADDRESS, port), 5.0) as connection:
            for _ in range(2):
                response = exchange(connection, head)
                body = response.body
                if body.startswith(GZIP_MAGIC):  # the browser's head allows it
                    body = gzip.decompress(body)
                if (response.status, body) != (200, BODY):
                    found = f"{response.status} {response.body[:80]!r}"
                    raise MeasurementError(f"unexpected response: {found}")
    except OSError as error:
        raise MeasurementError(f"no response: {error}") from error


def ratios(samples: Sequence[Sample], arm: str, other: str) -> list[float]:
    """The cost of `arm` as a multiple of the cost of `other`, one value for each round."""
    base = {sample.round: sample.cost for sample in samples if sample.arm == other}
    of_arm = (sample for sample in samples if sample.arm == arm and sample.round in base)
    return [sample.cost / base[sample.round] for sample in of_arm]


def arm_row(samples: Sequence[Sample], arm: str) -> list[str]:
    """The line of one arm in the table of a workload."""
    own = [sample for sample in samples if sample.arm == arm]
    return [
        arm,
        spread([sample.cost for sample in own]),
        f"{median(sample.requests / sample.seconds for sample in own):,.0f}",
        spread(ratios(samples, arm, FLOOR), 2),
        spread(ratios(samples, arm, PEER), 2),
        f"{median(sample.server_cpu / sample.seconds for sample in own):.0%}",
        f"{max(sample.generator_cpu / sample.seconds for sample in own):.0%}",
        str(sum(bool(sample.errors) for sample in own)),
    ]


def print_results(plan: Plan, workload: Workload) -> None:
    """Print the table of a workload, the loads that are doubtful, and whether targets are met."""
    samples = [sample for sample in plan.samples if sample.workload == workload.name]
    arms = list(dict.fromkeys(sample.arm for sample in samples))
    header = ["arm", "CPU µs/request", "requests/s", f"x {FLOOR}", f"x {PEER}"]
    header += ["server CPU", "generator CPU", "loads with errors"]
    print(f"\n{workload.name} head, {len(workload.head_for(8000))} bytes")
    print(table(header, [arm_row(samples, arm) for arm in arms]))
    for sample in samples:
        if sample.errors:
            print(f"errors: round {sample.round + 1}, {sample.arm}: {sample.errors}")
        if sample.server_cpu < BUSY * sample.seconds:
            share = f"{sample.server_cpu / sample.seconds:.0%}"
            print(f"round {sample.round + 1}, {sample.arm} waited for its clients: {share} busy")
    for other, most in ((FLOOR, workload.most_of_floor), (PEER, workload.most_of_peer)):
        values = ratios(samples, OURS, other)
        judged = verdict(values, most)
        print(f"target: {OURS} <= {most:g} x {other}: {spread(values, 2)}: {judged}")


def write_json(path: Path, about: dict[str, object], plan: Plan) -> None:
    """Write every sample, with `about` (the machine and the options) beside."""
    samples = [asdict(sample) | {"cost_us": sample.cost} for sample in plan.samples]
    content = {**about, "left_out": plan.left_out, "samples": samples}
    path.write_text(json.dumps(content, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU time per request, beside other servers.")
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="duration of one load (default: 3)")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has uvicorn")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    options = parser.parse_args()
    system.end_on_sigterm()
    generator = available_generator()
    about = system_idle.machine_facts() | {"generator": generator.name, "seconds": options.seconds}
    print(system_idle.machine_summary(about))
    print(f"{generator.name}, {CONNECTIONS} connections, {options.rounds} x {options.seconds} s")
    arms = all_arms(options.peer_python)
    plan = Plan(options.rounds, options.seconds, generator, arms, WORKLOADS)
    status = 0
    try:
        plan.run()
    except KeyboardInterrupt:
        status = 130
        print(INTERRUPTED)
    for workload in plan.workloads:
        print_results(plan, workload)
    for arm, reason in plan.left_out.items():
        print(f"\n{arm} was left out: {reason}")
    if options.json:
        write_json(options.json, about, plan)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
