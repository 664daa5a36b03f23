"""CPU time per request: this server beside a floor and beside other servers.

Requests per second say as much about the client and the machine as about the server, so the
server's CPU time is what counts: user plus system time, all threads and children, over exactly the
time of a load, divided by the requests that the load generator saw answered. As that still depends
on the machine, it is judged as a ratio: to the raw loop of `loadtest.apps.raw_loop` (what HTTP
costs on top of the system calls) and to uvicorn on httptools and uvloop (what people use).

The server has one core to itself, the load generator another: `wrk` with one thread and 64
keep-alive connections, or our own `loadtest.clients.closed_loop`. Each measurement is a fresh
process, warmed up for a second. A server that waits for the generator finds fewer connections ready
at a time and calls `select` more often for them, so loads in which one was not busy are named. Arms
are interleaved, in turn forwards and backwards, so a machine that gets faster or slower in between
does so for all; a ratio is taken within a round, and then the median of the rounds.

Two workloads: a tiny head (only Host), and a browser's (Chromium's ten fields over plain HTTP),
whose cookie differs in every request, so nothing can be remembered from one head to the next. Our
server writes its access log to a file, as in production; the peers write none.

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

from loadtest import system
from loadtest.benchmarks.peers import BODY, FLOOR, OURS, PEER, Command, all_arms
from loadtest.benchmarks.tables import spread, table, verdict
from loadtest.clients.closed_loop import exchange
from loadtest.clients.workload import WORKLOADS, Workload
from loadtest.clients.wrk import CONNECTIONS, Generator, Outcome, available_generator, run_generator
from loadtest.system import ADDRESS, MeasurementError

WARM_UP_SECONDS: Final = 1  # the least that wrk can be told
BUSY: Final = 0.9  # a server below this share of its core had to wait for its clients
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
    server_cpu: float  # seconds, as is the next
    generator_cpu: float

    @property
    def cost(self) -> float:
        """Microseconds of the server's CPU time per request."""
        return self.server_cpu / self.requests * 1e6


@dataclass
class Plan:
    """What is measured, how long, and what came of it."""

    rounds: int
    seconds: int
    generator: Generator
    arms: dict[str, Command]
    workloads: Sequence[Workload]
    samples: list[Sample] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        for number in range(self.rounds):
            for workload in self.workloads:
                order = list(self.arms)
                for arm in reversed(order) if number % 2 else order:
                    self._try(workload, arm, number)

    def _try(self, workload: Workload, arm: str, number: int) -> None:
        try:
            sample = self._measure(workload, arm, number)
        except MeasurementError as failure:
            # What cannot be started now cannot be started in the next round either.
            print(f"{arm} is left out: {failure}", flush=True)
            self.left_out[arm] = str(failure)
            del self.arms[arm]
            return
        self.samples.append(sample)
        news = f"round {number + 1} {workload.name:8} {arm:9} {sample.cost:6.1f} µs"
        print(news, sample.errors, file=sys.stderr, flush=True)

    def _measure(self, workload: Workload, arm: str, number: int) -> Sample:
        server_core, client_core = system.cores()
        port = system.free_port()
        with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
            folder = Path(name)
            head = folder / "head"
            head.write_bytes(workload.head_for(port))
            command = self.arms[arm](port, folder)
            with system.serving(command, port, server_core, folder / "server.log") as pid:
                check(port, head.read_bytes())
                self._load(workload, port, head, WARM_UP_SECONDS, client_core)
                cpu, start = system.cpu_seconds(pid), time.monotonic()
                outcome, used = self._load(workload, port, head, self.seconds, client_core)
                seconds, cpu = time.monotonic() - start, system.cpu_seconds(pid) - cpu
        return Sample(
            workload.name, arm, number, outcome.requests, outcome.errors, seconds, cpu, used
        )

    def _load(
        self, workload: Workload, port: int, head: Path, seconds: int, core: int
    ) -> tuple[Outcome, float]:
        """Run the generator to its end; gives what it tells and its CPU time."""
        command = self.generator.command(workload, port, head, seconds)
        log = head.with_name("generator.log")
        used = run_generator(command, seconds, core, log)
        outcome = self.generator.read(log.read_text())
        if not outcome.requests:
            raise MeasurementError(f"no request was answered: {outcome.errors}")
        return outcome, used


def check(port: int, head: bytes) -> None:
    """Two requests on one connection, so that keep-alive is checked as well."""
    try:
        with create_connection((ADDRESS, port), 5.0) as connection:
            for _ in range(2):
                answer = exchange(connection, head)
                body = answer.body
                if body.startswith(GZIP_MAGIC):  # the browser's head allows it
                    body = gzip.decompress(body)
                if (answer.status, body) != (200, BODY):
                    raise MeasurementError(f"a wrong answer: {answer.status} {answer.body[:80]!r}")
    except OSError as error:
        raise MeasurementError(f"no answer: {error}") from error


def ratios(samples: Sequence[Sample], arm: str, other: str) -> list[float]:
    """The arm's cost as a multiple of the other's, one a round."""
    base = {sample.round: sample.cost for sample in samples if sample.arm == other}
    of_arm = (sample for sample in samples if sample.arm == arm and sample.round in base)
    return [sample.cost / base[sample.round] for sample in of_arm]


def arm_row(samples: Sequence[Sample], arm: str) -> list[str]:
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


def tell(plan: Plan, workload: Workload) -> None:
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
    samples = [asdict(sample) | {"cost_us": sample.cost} for sample in plan.samples]
    content = {**about, "left_out": plan.left_out, "samples": samples}
    path.write_text(json.dumps(content, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU time per request, beside other servers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one load (default: 3)")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python with uvicorn")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    options = parser.parse_args()
    system.end_on_sigterm()
    generator = available_generator()
    about = system.described() | {"generator": generator.name, "seconds": options.seconds}
    print(system.introduction(about))
    print(f"{generator.name}, {CONNECTIONS} connections, {options.rounds} x {options.seconds} s")
    arms = all_arms(options.peer_python)
    plan = Plan(options.rounds, options.seconds, generator, arms, WORKLOADS)
    interrupted = False
    try:
        plan.run()
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted: what follows is what was measured until then")
    for workload in plan.workloads:
        tell(plan, workload)
    for arm, why in plan.left_out.items():
        print(f"\n{arm} was left out: {why}")
    if options.json:
        write_json(options.json, about, plan)
    return 130 if interrupted else 0


if __name__ == "__main__":
    raise SystemExit(main())
