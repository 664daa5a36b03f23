"""`make bench-locust`: the scenarios on both servers, without a page, and a table at the end.

Each server is a fresh process for each load: first all kinds of users in growing steps (a closed
loop, in which a slow server gets fewer requests), then the open loop at the same rates on both. CPU
time is that of the server over the whole run, for each request that was sent. A generator that was
busy for more than 80 % of its core measured itself; its line is marked. CSV, HTML and JSON of each
run are written to `loadtest/report/locust/`, and the exit status is 1 if a run broke its limits.

    python -m loadtest.scenarios.bench --rates 200,500 --seconds 5
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest import system
from loadtest.benchmarks.tables import table
from loadtest.clients.histogram import Histogram
from loadtest.experiment.measure.samples import GENERATOR_BOUND
from loadtest.scenarios.load_stages import STAGES, duration
from loadtest.scenarios.run import RunOutcome, locust, open_loop, read
from loadtest.scenarios.servers import SERVERS, make_files, serving
from loadtest.system import PROJECT, MeasurementError

REPORT: Final = PROJECT / "loadtest" / "report" / "locust"
GRACE_SECONDS: Final = 20  # for a run to end after its time
HEADER: Final = (
    *("load", "server", "requests", "failed", "p50 ms", "p99 ms"),
    *("p99 intended ms", "CPU µs/request", "generator"),
)


@dataclass
class Load:
    """A load: options of locust, and its duration."""

    name: str
    options: list[str]
    seconds: float


@dataclass
class Result:
    """One load on one server."""

    load: str
    server: str
    outcome: RunOutcome
    server_cpu: float  # seconds
    generator_share: float  # share of its core
    status: int  # locust's own: 0 if the limits were met

    def row(self) -> list[str]:
        """The line of the table, in the order of HEADER."""
        outcome = self.outcome
        bound = " (bound)" if self.generator_share > GENERATOR_BOUND else ""
        return [
            *(self.load, self.server, f"{outcome.requests:,}", f"{outcome.failures:.2%}"),
            *(_ms(outcome.service, 0.5), _ms(outcome.service, 0.99), _ms(outcome.intended, 0.99)),
            f"{self.server_cpu / outcome.sent * 1e6:.0f}" if outcome.sent else "-",
            f"{self.generator_share:.0%}{bound}",
        ]


def _ms(latencies: Histogram, share: float) -> str:
    return f"{latencies.percentile(share) * 1000:.1f}" if latencies.count else "-"


def loads(options: argparse.Namespace) -> list[Load]:
    """The loads that the options ask for."""
    speed = duration(options.shape) / options.shape_seconds
    users = ["-u", str(options.users), "--shape", options.shape, "--shape-speed", f"{speed:g}"]
    planned = [Load(f"users-{options.shape}", users, options.shape_seconds)]
    for rate in options.rates:
        offered = open_loop(rate, options.seconds)
        planned.append(Load(f"open-{rate:g}", offered, options.seconds))
    return planned


def measure(load: Load, server: str, report: Path, limits: Sequence[str]) -> Result:
    """One run on a fresh server. Raises MeasurementError."""
    _, core = system.cores()
    port = system.free_port()
    left = report / f"{load.name}-{server}"
    files = ["--csv", str(left), "--html", f"{left}.html", "--json-file", str(left)]
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        workdir = Path(name)
        make_files(workdir)
        output = report / f"{load.name}-{server}.outcome.json"
        output.unlink(missing_ok=True)
        options = ["--only-summary", *files, *limits, "--outcome", str(output)]
        with serving(server, workdir, port, workdir / "server.log") as pid:
            before, used = system.cpu_seconds(pid), system.children_cpu_seconds()
            start = time.monotonic()
            command = locust(port, *load.options, *options)
            status = _run(command, core, left.with_suffix(".log"), load.seconds + GRACE_SECONDS)
            seconds = time.monotonic() - start
            cpu = system.cpu_seconds(pid) - before
            share = (system.children_cpu_seconds() - used) / seconds
        return Result(load.name, server, _outcome(output), cpu, share, status)


def _run(command: Sequence[str], core: int, log: Path, seconds: float) -> int:
    with system.started(command, core, log) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"locust did not end within {seconds:g} s") from None


def _outcome(path: Path) -> RunOutcome:
    try:
        return read(path)
    except (OSError, ValueError) as error:
        raise MeasurementError(f"locust left no outcome: {error}") from error


def run(options: argparse.Namespace) -> int:
    """Measure and print; Ctrl-C prints what was measured until then. Returns the exit status."""
    results: list[Result] = []
    failures: list[str] = []
    options.report.mkdir(parents=True, exist_ok=True)
    try:
        for load in loads(options):
            for server in options.servers:
                _try(load, server, options, results, failures)
    except KeyboardInterrupt:
        failures.append("the rest: interrupted")
    print_results(results, failures, options.report)
    return 1 if failures or any(result.status for result in results) else 0


def _try(
    load: Load,
    server: str,
    options: argparse.Namespace,
    results: list[Result],
    failures: list[str],
) -> None:
    limits = [
        "--most-failures",
        f"{options.most_failures:g}",
        "--most-p99",
        f"{options.most_p99:g}",
    ]
    print(f"{load.name} on {server}, {load.seconds:g} s", file=sys.stderr, flush=True)
    try:
        results.append(measure(load, server, options.report, limits))
    except MeasurementError as failure:
        failures.append(f"{load.name} on {server}: {failure}")


def print_results(results: Sequence[Result], failures: Sequence[str], report: Path) -> None:
    """Print the table, the error messages of locust, and what failed."""
    print(table(HEADER, [result.row() for result in results]))
    for result in results:
        for message, count in result.outcome.messages.items():
            print(f"{result.load} on {result.server}: {count} x {message}")
        if result.status:
            print(f"{result.load} on {result.server}: the limits were not met")
    for failure in failures:
        print(f"not measured: {failure}")
    print(f"CSV, HTML and JSON: {report}")


def _rates(text: str) -> list[float]:
    return [float(one) for one in text.split(",") if one]


def _servers(text: str) -> list[str]:
    """Server names. Raises ValueError, as does `_rates`; argparse prints the value."""
    names = text.split(",")
    if not SERVERS.keys() >= set(names):
        raise ValueError(text)
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description="The scenarios on both servers.")
    parser.add_argument("--users", type=int, default=30, help="at the shape's peak")
    parser.add_argument("--shape", choices=list(STAGES), default="steps")
    parser.add_argument("--shape-seconds", type=float, default=10.0, help="all of it")
    parser.add_argument("--rates", type=_rates, default=[200.0, 500.0], help="requests a second")
    parser.add_argument("--seconds", type=int, default=5, help="duration of an open loop")
    parser.add_argument("--most-failures", type=float, default=0.01, help="0 to 1")
    parser.add_argument("--most-p99", type=float, default=1.0, help="seconds")
    parser.add_argument(
        "--servers", type=_servers, default=list(SERVERS), help="names with commas, as in reactor"
    )
    parser.add_argument("--report", type=Path, default=REPORT, help="directory for the files")
    system.end_on_sigterm()
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
