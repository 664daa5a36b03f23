"""Checks that the harness notices a frozen server: otherwise its percentiles mean nothing.

The server is stopped (SIGSTOP) for 2 of 20 seconds. A tenth of the requests that come at even times
meets the stop and waits up to 2 s, so p99 is about 1.8 s. The open loop and the bystander must
measure that; the check fails where a p99 is less than three quarters of the freeze.

For contrast, closed loops meet a second freeze: our own, and wrk, h2load, hey and locust where they
are installed. Each of their connections waits once for 2 s and sends nothing in that time, which
makes a handful of slow requests among very many quick ones: a p99 of a few milliseconds. This error
is called coordinated omission. These programs measure their own requests correctly, but that is not
the latency of a server's users. wrk corrects for it: it adds to its latencies the requests that it
would have sent in that time, so its p99 is like that of an open loop, although not measured.

    python -m loadtest.experiment.selftest
"""

import argparse
import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from loadtest import system
from loadtest.benchmarks.tables import percentile, table
from loadtest.clients.histogram import Histogram
from loadtest.clients.slow_crowds import request
from loadtest.companion import Companion, started_companion
from loadtest.system import ADDRESS, MeasurementError

RATE: Final = 500  # requests per second, of the open loop
CONNECTIONS: Final = 4  # for each closed loop
LEAST_SHARE: Final = 0.75  # share of the freeze that p99 must reach
END_SECONDS: Final = 30.0  # for the load generators to end
TARGET: Final = "/hello"
PATIENCE: Final = 10.0  # seconds; longer than any freeze
UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class Row(NamedTuple):
    """The latencies that one load generator measured; p50, p99 and longest are in seconds."""

    tool: str
    measures: str
    requests: int
    p50: float
    p99: float
    longest: float
    must_notice: bool = False


class Peer(NamedTuple):
    """A closed loop: whether it is installed, its command line, and the reader of its output."""

    name: str
    is_installed: Callable[[], bool]
    command: Callable[[int, int, Path], list[str]]  # port, seconds, a directory of its own
    read: Callable[[str, Path], Row]  # its output, and the directory


# ---------------------------------------------------------------------------------- freezing


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop the process until the end of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def freeze_amid(pid: int, seconds: float, freeze: float) -> None:
    """Wait for `seconds`, with the server frozen in the middle of them."""
    calm = (seconds - freeze) / 2
    time.sleep(calm)
    with frozen(pid):
        time.sleep(freeze)
    time.sleep(calm)


def row_of(tool: str, measures: str, content: dict[str, Any], must_notice: bool = False) -> Row:
    """The row of a histogram in JSON."""
    latencies = Histogram.from_json(content)
    p50, p99 = latencies.percentile(0.5), latencies.percentile(0.99)
    return Row(tool, measures, latencies.count, p50, p99, latencies.longest, must_notice)


def open_loops(pid: int, port: int, seconds: float, freeze: float, workdir: Path) -> list[Row]:
    """The load generators of ours that must notice the freeze."""
    with ExitStack() as stack:
        start = companions(stack, port, workdir)
        bystander = start("slow_crowds", "bystander", "--histogram", "--patience", str(PATIENCE))
        amount = ["--rate", str(RATE), "--seconds", str(seconds), "--patience", str(PATIENCE)]
        loop = start("open_loop", *amount)
        freeze_amid(pid, seconds, freeze)
        result = loop.receive(PATIENCE + END_SECONDS)
        beside = bystander.dismiss()
    for name, one in (("open loop", result), ("bystander", beside)):
        if one["kinds"]:
            print(f"{name}: {one['kinds']}")
    return [
        row_of(
            "loadtest.clients.open_loop", "since it was due", result["intended"], must_notice=True
        ),
        row_of("loadtest.clients.open_loop", "since it was sent", result["service"]),
        row_of("bystander", "since it was due", beside["bystander"], must_notice=True),
    ]


def companions(stack: ExitStack, port: int, workdir: Path) -> Callable[..., Companion]:
    """A function that starts a module of `loadtest.clients`, which ends with `stack`."""
    _, core = system.cores()

    def start(module: str, *options: str) -> Companion:
        arguments = [*options, "--port", str(port), "--target", TARGET]
        log = workdir / f"{module}.log"
        return stack.enter_context(
            started_companion(f"loadtest.clients.{module}", arguments, core, log)
        )

    return start


def closed_loops(
    pid: int, port: int, seconds: int, freeze: float, workdir: Path, peers: Sequence[Peer]
) -> list[Row]:
    """All closed loops at the same time: they share a core, which does not matter here."""
    _, core = system.cores()
    running = []
    with ExitStack() as stack:
        for peer in peers:
            own = workdir / peer.name
            own.mkdir()
            command, log = peer.command(port, seconds, own), own / "log"
            process = stack.enter_context(system.started(command, core, log))
            running.append((peer, process, own))
        freeze_amid(pid, seconds, freeze)
        for _, process, _ in running:
            process.wait(END_SECONDS)
    return [peer.read((own / "log").read_text(), own) for peer, _, own in running]


# ---------------------------------------------------------------------------------- closed loops


def client_command(port: int, seconds: int, workdir: Path) -> list[str]:
    head = workdir / "head"
    head.write_bytes(request("GET", TARGET))
    options = ["--port", str(port), "--head", str(head), "--seconds", str(seconds)]
    return [
        sys.executable,
        "-m",
        "loadtest.clients.closed_loop",
        *options,
        "--connections",
        str(CONNECTIONS),
    ]


def read_client(output: str, workdir: Path) -> Row:
    result = json.loads(output)
    return row_of("loadtest.clients.closed_loop", "since it was sent", result["service"])


def wrk_command(port: int, seconds: int, workdir: Path) -> list[str]:
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    return ["wrk", *options, url(port)]


def read_wrk(output: str, workdir: Path) -> Row:
    requests = int(_found(r"(\d+) requests in", output)[1])
    p50, p99 = (_seconds(_found(rf"\s{share}%\s+([\d.]+)(\w+)", output)) for share in (50, 99))
    longest = _found(r"Latency\s+[\d.]+\w+\s+[\d.]+\w+\s+([\d.]+)(\w+)", output)
    return Row("wrk", "corrected by wrk", requests, p50, p99, _seconds(longest))


def h2load_command(port: int, seconds: int, workdir: Path) -> list[str]:
    options = ["--h1", "-t1", f"-c{CONNECTIONS}", f"-D{seconds}", f"--log-file={workdir}/requests"]
    return ["h2load", *options, url(port)]


def read_h2load(output: str, workdir: Path) -> Row:
    """The row of its log, which has a line for each request: when, the status, microseconds."""
    lines = (workdir / "requests").read_text().splitlines()
    values = sorted(int(line.split()[2]) / 1e6 for line in lines)
    if not values:
        raise MeasurementError(f"h2load: {output[-200:]}")
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return Row("h2load", "since it was sent", len(values), p50, p99, values[-1])


def hey_command(port: int, seconds: int, workdir: Path) -> list[str]:
    return ["hey", "-z", f"{seconds}s", "-c", str(CONNECTIONS), url(port)]


def read_hey(output: str, workdir: Path) -> Row:
    p50, p99 = (float(_found(rf"{share}%+ in ([\d.]+) secs", output)[1]) for share in (50, 99))
    longest = float(_found(r"Slowest:\s+([\d.]+)", output)[1])
    requests = int(_found(r"\[200\]\s+(\d+) responses", output)[1])
    return Row("hey", "since it was sent", requests, p50, p99, longest)


def locust_command(port: int, seconds: int, workdir: Path) -> list[str]:
    """locust, with users who do not wait, as in the other tools."""
    (workdir / "users.py").write_text(
        "from locust import FastHttpUser, task\n\n\n"
        "class User(FastHttpUser):\n    @task\n    def ask(self):\n"
        f"        self.client.get({TARGET!r})\n"
    )
    users = ["-u", str(CONNECTIONS), "-r", str(CONNECTIONS), "-t", f"{seconds}s"]
    options = ["--headless", "--csv", str(workdir / "stats"), "-H", url(port).removesuffix(TARGET)]
    return [sys.executable, "-m", "locust", "-f", str(workdir / "users.py"), *users, *options]


def read_locust(output: str, workdir: Path) -> Row:
    with (workdir / "stats_stats.csv").open(newline="") as file:
        whole = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    p50, p99, longest = (float(whole[name]) / 1e3 for name in ("50%", "99%", "100%"))
    return Row("locust", "since it was sent", int(whole["Request Count"]), p50, p99, longest)


def _found(pattern: str, output: str) -> re.Match[str]:
    match = re.search(pattern, output)
    if match is None:
        raise MeasurementError(f"no {pattern!r} in: {output[-400:].strip()}")
    return match


def _seconds(match: re.Match[str]) -> float:
    return float(match[1]) * UNITS[match[2]]


def url(port: int) -> str:
    """The requested URL."""
    return f"http://{ADDRESS}:{port}{TARGET}"


def installed(program: str) -> Callable[[], bool]:
    """A check that the program is on PATH."""
    return lambda: shutil.which(program) is not None


PEERS: Final = (
    Peer("loadtest.clients.closed_loop", lambda: True, client_command, read_client),
    Peer("wrk", installed("wrk"), wrk_command, read_wrk),
    Peer("h2load", installed("h2load"), h2load_command, read_h2load),
    Peer("hey", installed("hey"), hey_command, read_hey),
    Peer(
        "locust",
        lambda: importlib.util.find_spec("locust") is not None,
        locust_command,
        read_locust,
    ),
)


# ---------------------------------------------------------------------------------- the program


def failures(rows: Sequence[Row], freeze: float) -> list[str]:
    """A sentence for each tool of ours that did not notice."""
    least = freeze * LEAST_SHARE
    return [
        f"{row.tool} measured a p99 of {row.p99:.3f} s for a server that was frozen for "
        f"{freeze:g} s; it must be at least {least:g} s, which users would see."
        for row in rows
        if row.must_notice and not row.p99 >= least
    ]


def as_table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    header = ["tool", "latency counts", "requests", "p50 ms", "p99 ms", "longest ms"]

    def line(row: Row) -> list[str]:
        times = [f"{1000 * value:,.1f}" for value in (row.p50, row.p99, row.longest)]
        return [row.tool, row.measures, f"{row.requests:,}", *times]

    return table(header, [line(row) for row in rows])


def measured(seconds: int, freeze: float, peers: Sequence[Peer]) -> list[Row]:
    """All rows, from one server. Raises MeasurementError."""
    server_core, _ = system.cores()
    port = system.free_port()
    server = [sys.executable, "-m", "reactor", "loadtest.apps.target:app", "--port", str(port)]
    command = [*server, "--access-log", "off"]
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        workdir = Path(name)
        with system.serving(command, port, server_core, workdir / "server.log") as pid:
            rows = open_loops(pid, port, seconds, freeze, workdir)
            return rows + closed_loops(pid, port, seconds, freeze, workdir, peers)


def main() -> int:
    parser = argparse.ArgumentParser(description="Check that the harness notices a frozen server.")
    parser.add_argument("--seconds", type=int, default=20, help="duration of each of two runs")
    parser.add_argument("--freeze", type=float, default=2.0, help="seconds of the freeze")
    options = parser.parse_args()
    system.end_on_sigterm()
    peers = [peer for peer in PEERS if peer.is_installed()]
    print(f"Frozen for {options.freeze:g} of {options.seconds} s, twice:", flush=True)
    rows = measured(options.seconds, options.freeze, peers)
    print(as_table(rows))
    missing = [peer.name for peer in PEERS if peer not in peers]
    if missing:
        print(f"not installed: {', '.join(missing)}")
    failed = failures(rows, options.freeze)
    print("\n".join(failed) if failed else "The open loop and the bystander noticed.")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
