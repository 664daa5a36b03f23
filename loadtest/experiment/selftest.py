"""Does the harness notice a frozen server? If it does not, its percentiles mean nothing.

The server is stopped (SIGSTOP) for 2 of 20 seconds. Whoever comes at even times meets that in one
of ten cases and waits up to 2 s, so p99 is about 1.8 s. The open loop and the bystander have to say
so; this fails if one of them tells less than three quarters of the freeze.

Closed loops are frozen a second time, for contrast: our own, and wrk, h2load, hey and locust where
they are installed. Each of their connections waits once for 2 s and asks nothing meanwhile, which
is a handful of slow requests among very many quick ones: a p99 of a few milliseconds. That is
called coordinated omission, and none of these is wrong about what it measures; it is just not what
anybody's users see. wrk knows: it adds to its latencies the requests that it would have sent
meanwhile, so its p99 is like that of an open loop, although it did not measure it.

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
CONNECTIONS: Final = 4  # of each closed loop
LEAST_SHARE: Final = 0.75  # of the freeze, that p99 must reach
END_SECONDS: Final = 30.0  # for them to end
TARGET: Final = "/hello"
PATIENCE: Final = 10.0  # seconds; longer than any freeze
UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class Row(NamedTuple):
    """What a tool says of the same server."""

    tool: str
    measures: str
    requests: int
    p50: float  # seconds, as are the next
    p99: float
    longest: float
    must_notice: bool = False


class Peer(NamedTuple):
    """A load generator of others: whether it is here, how it is started, how it is read."""

    name: str
    is_here: Callable[[], bool]
    command: Callable[[int, int, Path], list[str]]  # port, seconds, a folder of its own
    read: Callable[[str, Path], Row]  # what it printed, and the folder


# ---------------------------------------------------------------------------------- freezing


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def freeze_amid(pid: int, seconds: float, freeze: float) -> None:
    """Let so many seconds pass, the server frozen in the middle of them."""
    calm = (seconds - freeze) / 2
    time.sleep(calm)
    with frozen(pid):
        time.sleep(freeze)
    time.sleep(calm)


def row_of(tool: str, measures: str, content: dict[str, Any], must_notice: bool = False) -> Row:
    latencies = Histogram.from_json(content)
    p50, p99 = latencies.percentile(0.5), latencies.percentile(0.99)
    return Row(tool, measures, latencies.count, p50, p99, latencies.longest, must_notice)


def open_loops(pid: int, port: int, seconds: float, freeze: float, folder: Path) -> list[Row]:
    """Ours, which must notice."""
    with ExitStack() as stack:
        start = companions(stack, port, folder)
        bystander = start("slow_crowds", "bystander", "--histogram", "--patience", str(PATIENCE))
        amount = ["--rate", str(RATE), "--seconds", str(seconds), "--patience", str(PATIENCE)]
        loop = start("open_loop", *amount)
        freeze_amid(pid, seconds, freeze)
        told = loop.receive(PATIENCE + END_SECONDS)
        beside = bystander.dismiss()
    for name, one in (("open loop", told), ("bystander", beside)):
        if one["kinds"]:
            print(f"the {name} had {one['kinds']}")
    return [
        row_of(
            "loadtest.clients.open_loop", "since it was due", told["intended"], must_notice=True
        ),
        row_of("loadtest.clients.open_loop", "since it was sent", told["service"]),
        row_of("bystander", "since it was due", beside["bystander"], must_notice=True),
    ]


def companions(stack: ExitStack, port: int, folder: Path) -> Callable[..., Companion]:
    _, core = system.cores()

    def start(module: str, *options: str) -> Companion:
        arguments = [*options, "--port", str(port), "--target", TARGET]
        log = folder / f"{module}.log"
        return stack.enter_context(
            started_companion(f"loadtest.clients.{module}", arguments, core, log)
        )

    return start


def closed_loops(
    pid: int, port: int, seconds: int, freeze: float, folder: Path, peers: Sequence[Peer]
) -> list[Row]:
    """All at the same time: they share a core, and what they ask for is not what matters here."""
    _, core = system.cores()
    running = []
    with ExitStack() as stack:
        for peer in peers:
            own = folder / peer.name
            own.mkdir()
            command, log = peer.command(port, seconds, own), own / "log"
            process = stack.enter_context(system.started(command, core, log))
            running.append((peer, process, own))
        freeze_amid(pid, seconds, freeze)
        for _, process, _ in running:
            process.wait(END_SECONDS)
    return [peer.read((own / "log").read_text(), own) for peer, _, own in running]


# ---------------------------------------------------------------------------------- closed loops


def client_command(port: int, seconds: int, folder: Path) -> list[str]:
    head = folder / "head"
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


def read_client(output: str, folder: Path) -> Row:
    told = json.loads(output)
    return row_of("loadtest.clients.closed_loop", "since it was sent", told["service"])


def wrk_command(port: int, seconds: int, folder: Path) -> list[str]:
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    return ["wrk", *options, url(port)]


def read_wrk(output: str, folder: Path) -> Row:
    requests = int(_found(r"(\d+) requests in", output)[1])
    p50, p99 = (_seconds(_found(rf"\s{share}%\s+([\d.]+)(\w+)", output)) for share in (50, 99))
    longest = _found(r"Latency\s+[\d.]+\w+\s+[\d.]+\w+\s+([\d.]+)(\w+)", output)
    return Row("wrk", "corrected by wrk", requests, p50, p99, _seconds(longest))


def h2load_command(port: int, seconds: int, folder: Path) -> list[str]:
    options = ["--h1", "-t1", f"-c{CONNECTIONS}", f"-D{seconds}", f"--log-file={folder}/requests"]
    return ["h2load", *options, url(port)]


def read_h2load(output: str, folder: Path) -> Row:
    """Its log has a line for each request: when, the status, and microseconds."""
    lines = (folder / "requests").read_text().splitlines()
    values = sorted(int(line.split()[2]) / 1e6 for line in lines)
    if not values:
        raise MeasurementError(f"h2load: {output[-200:]}")
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return Row("h2load", "since it was sent", len(values), p50, p99, values[-1])


def hey_command(port: int, seconds: int, folder: Path) -> list[str]:
    return ["hey", "-z", f"{seconds}s", "-c", str(CONNECTIONS), url(port)]


def read_hey(output: str, folder: Path) -> Row:
    p50, p99 = (float(_found(rf"{share}%+ in ([\d.]+) secs", output)[1]) for share in (50, 99))
    longest = float(_found(r"Slowest:\s+([\d.]+)", output)[1])
    requests = int(_found(r"\[200\]\s+(\d+) responses", output)[1])
    return Row("hey", "since it was sent", requests, p50, p99, longest)


def locust_command(port: int, seconds: int, folder: Path) -> list[str]:
    """Users who do not wait, as those of the other tools."""
    (folder / "users.py").write_text(
        "from locust import FastHttpUser, task\n\n\n"
        "class User(FastHttpUser):\n    @task\n    def ask(self):\n"
        f"        self.client.get({TARGET!r})\n"
    )
    users = ["-u", str(CONNECTIONS), "-r", str(CONNECTIONS), "-t", f"{seconds}s"]
    options = ["--headless", "--csv", str(folder / "told"), "-H", url(port).removesuffix(TARGET)]
    return [sys.executable, "-m", "locust", "-f", str(folder / "users.py"), *users, *options]


def read_locust(output: str, folder: Path) -> Row:
    with (folder / "told_stats.csv").open(newline="") as file:
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
    return f"http://{ADDRESS}:{port}{TARGET}"


def installed(program: str) -> Callable[[], bool]:
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


# ---------------------------------------------------------------------------------- telling


def failures(rows: Sequence[Row], freeze: float) -> list[str]:
    """A sentence for each tool of ours that did not notice."""
    least = freeze * LEAST_SHARE
    return [
        f"{row.tool} tells a p99 of {row.p99:.3f} s of a server that was frozen for {freeze:g} s: "
        f"less than {least:g} s means that it does not see what users see."
        for row in rows
        if row.must_notice and not row.p99 >= least
    ]


def as_table(rows: Sequence[Row]) -> str:
    header = ["tool", "latency counts", "requests", "p50 ms", "p99 ms", "longest ms"]

    def line(row: Row) -> list[str]:
        times = [f"{1000 * value:,.1f}" for value in (row.p50, row.p99, row.longest)]
        return [row.tool, row.measures, f"{row.requests:,}", *times]

    return table(header, [line(row) for row in rows])


def measured(seconds: int, freeze: float, peers: Sequence[Peer]) -> list[Row]:
    """Raises MeasurementError."""
    server_core, _ = system.cores()
    port = system.free_port()
    server = [sys.executable, "-m", "reactor", "loadtest.apps.target:app", "--port", str(port)]
    command = [*server, "--access-log", "off"]
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        folder = Path(name)
        with system.serving(command, port, server_core, folder / "server.log") as pid:
            rows = open_loops(pid, port, seconds, freeze, folder)
            return rows + closed_loops(pid, port, seconds, freeze, folder, peers)


def main() -> int:
    parser = argparse.ArgumentParser(description="Does the harness notice a frozen server?")
    parser.add_argument("--seconds", type=int, default=20, help="of each of two runs")
    parser.add_argument("--freeze", type=float, default=2.0, help="seconds of it")
    options = parser.parse_args()
    system.end_on_sigterm()
    peers = [peer for peer in PEERS if peer.is_here()]
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
