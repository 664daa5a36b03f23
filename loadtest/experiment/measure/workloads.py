"""The workloads: each is a function of a running server and of one quantity, `x`.

Closed loops measure the largest rate of a server. Open loops measure what clients notice, since
they send requests when these are due and not when the server is ready. Beside each load there is a
bystander, which shows what the load does to a client with a small request.

A workload prepares, opens its window, waits, and returns an Outcome. It raises MeasurementError
where it cannot measure; a client that was not served is a number in the outcome, not an error.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from loadtest import system
from loadtest.clients.histogram import Histogram
from loadtest.clients.open_loop import recovery
from loadtest.clients.stress_crowds import PATIENCE
from loadtest.companion import Companion
from loadtest.experiment.measure.generators import closed_loop, own_client
from loadtest.experiment.measure.memory_breakdown import above, memory_of
from loadtest.experiment.measure.sample_server import (
    SMALL_TARGET,
    Outcome,
    SampleServer,
    failure_counts,
)
from loadtest.experiment.measure.samples import INTENDED, SERVICE
from loadtest.scenarios import run as locust
from loadtest.system import MeasurementError

BLOCK_MILLISECONDS: Final = 20
BURNERS: Final = 8  # clients of a handler that computes
FILE_CLIENTS: Final = {1024: 64, 100 * 1024: 32, 100 * 1024 * 1024: 4}
FILE_NAMES: Final = {1024: "1k", 100 * 1024: "100k", 100 * 1024 * 1024: "100m"}
OPEN_CONNECTIONS: Final = 512  # largest number of connections of an open loop
SETTLE_SECONDS: Final = 1.0
CROWD_TIMEOUT: Final = 90.0  # seconds for the arrival of a crowd
ARRIVAL_TIMEOUT: Final = PATIENCE + 2.0  # for slow clients, which may never be served
GRACE_SECONDS: Final = 20.0
FAIRNESS_SECONDS: Final = 2.0  # beyond a window, so that each connection has several requests
LOCUST_SECONDS: Final = 30.0  # for locust to start and to end
RECOVERY_SECONDS: Final = 6  # for which p99 is measured after an overload
OVERLOAD_SECONDS: Final = 3
CALM_SHARE: Final = 0.3  # share of capacity before and after an overload


def capacity_of(server: SampleServer) -> float:
    """The largest rate for /page, in requests per second, with the head of an open loop.

    Raises MeasurementError.
    """
    return closed_loop(server, "/page", 64, fields=()).values["rate"]


# ---------------------------------------------------------------------------------- closed loops


def keepalive(server: SampleServer, x: float) -> Outcome:
    with server.bystander():
        return closed_loop(server, SMALL_TARGET, int(x))


def block(server: SampleServer, x: float) -> Outcome:
    with server.bystander():
        return closed_loop(server, f"/block?ms={BLOCK_MILLISECONDS}", int(x))


def burn(server: SampleServer, x: float) -> Outcome:
    with server.bystander():
        return closed_loop(server, f"/burn?ms={x:g}", BURNERS)


def connect(server: SampleServer, x: float) -> Outcome:
    with server.bystander():
        return closed_loop(server, SMALL_TARGET, int(x), closing=True)


def files(server: SampleServer, x: float) -> Outcome:
    with server.bystander():
        return closed_loop(server, f"/files/{FILE_NAMES[int(x)]}.bin", FILE_CLIENTS[int(x)])


def gzip(server: SampleServer, x: float) -> Outcome:
    with server.bystander():
        return closed_loop(server, "/text", int(x))


def pipelining(server: SampleServer, x: float) -> Outcome:
    with server.bystander():
        return closed_loop(server, SMALL_TARGET, 64, depth=int(x))


# ---------------------------------------------------------------------------------- held open


def idle(server: SampleServer, x: float) -> Outcome:
    """Clients that send one request each and then nothing: their memory, and the bystander."""
    with server.bystander():
        time.sleep(SETTLE_SECONDS)
        base = memory_of(server.family)
        options = ("idle", "--target", SMALL_TARGET, "--count", f"{x:.0f}")
        with server.companion("loadtest.clients.slow_crowds", *options) as crowd:
            crowd.receive(CROWD_TIMEOUT)
            time.sleep(SETTLE_SECONDS)
            values = above(base, memory_of(server.family))
            window = server.window(crowd.process.pid)
            time.sleep(server.seconds)
            window.close()
            server.dismiss_bystander()
            open_ones = crowd.dismiss(GRACE_SECONDS)["still_open"]
        values |= {"connections": x, "refused": x - open_ones}
        return server.finish(Outcome(window.seconds, crowd.command, values), window)


def slow_readers(server: SampleServer, x: float) -> Outcome:
    """Clients that read 1 MiB at 4 KiB a second."""
    return _held(server, "loadtest.clients.slow_crowds", "slow", "/mib", int(x))


def slow_heads(server: SampleServer, x: float) -> Outcome:
    """Clients that send their head one byte a second, and come back when they are cut."""
    return _held(server, "loadtest.clients.stress_crowds", "slow-heads", SMALL_TARGET, int(x))


def _held(server: SampleServer, module: str, kind: str, target: str, count: int) -> Outcome:
    with server.bystander():
        base = memory_of(server.family)
        options = (kind, "--target", target, "--count", str(count))
        with server.companion(module, *options) as crowd:
            _arrived(crowd)
            window = server.window(crowd.process.pid)
            time.sleep(server.seconds)
            window.close()
            server.dismiss_bystander()
            # After the window, since reading of thousands of threads keeps the clients' core busy.
            values = above(base, memory_of(server.family))
            result = crowd.dismiss(GRACE_SECONDS)
        values |= failure_counts(result) | {"connections": count}
        if "answered" in result:
            values |= {"served": result["answered"] / count, "errors": result["cut"]}
        return server.finish(Outcome(window.seconds, crowd.command, values), window)


def _arrived(crowd: Companion) -> dict[str, Any]:
    """Wait for the arrival of a crowd; returns its first line, or {} after ARRIVAL_TIMEOUT.

    A server that does not serve the crowd is a result, so a timeout is no error. Raises
    MeasurementError where the crowd itself has ended.
    """
    try:
        return crowd.receive(ARRIVAL_TIMEOUT)
    except MeasurementError:
        if crowd.process.poll() is not None:
            raise
        return {}


def events(server: SampleServer, x: float) -> Outcome:
    """Listeners of one event a second; the latency is how late events come."""
    with server.bystander():
        options = ("events", "--target", "/events", "--count", f"{x:.0f}")
        with server.companion("loadtest.clients.stress_crowds", *options) as crowd:
            before = _arrived(crowd).get("events", 0)
            window = server.window(crowd.process.pid)
            time.sleep(server.seconds)
            window.close()
            server.dismiss_bystander()
            lasted = time.monotonic() - window.start  # longer than the window after a slow ending
            result = crowd.dismiss(GRACE_SECONDS)
        outcome = Outcome(window.seconds, crowd.command)
        outcome.values = failure_counts(result) | {
            "requests": (result["events"] - before) * window.seconds / lasted,
            "connections": x,
            "served": (x - result["silent"]) / x,
        }
        outcome.latencies[SERVICE] = Histogram.from_json(result["lateness"])
        return server.finish(outcome, window)


# ---------------------------------------------------------------------------------- our generators


def fairness(server: SampleServer, x: float) -> Outcome:
    """How evenly connections are served; our own client counts the responses of each one."""
    with server.bystander():
        seconds = server.seconds + FAIRNESS_SECONDS
        return own_client(server, SMALL_TARGET, int(x), (), seconds)


def open_loop(server: SampleServer, x: float) -> Outcome:
    """/page at `x` percent of the reactor's capacity, whichever arm is measured."""
    rate = f"{server.capacity * x / 100:.0f}"
    options = ("--rate", rate, "--seconds", f"{server.seconds:g}", "--warm-up", "1")
    return _open(server, *options)


def overload(server: SampleServer, x: float) -> Outcome:
    """A calm time, then `x` percent of capacity, then calm again: how long is recovery?"""
    calm, most = server.capacity * CALM_SHARE, server.capacity * x / 100
    stages = f"{calm:.0f}x{OVERLOAD_SECONDS},{most:.0f}x{OVERLOAD_SECONDS},"
    stages += f"{calm:.0f}x{RECOVERY_SECONDS}"
    return _open(server, "--stages", stages, "--warm-up", "1")


def _open(server: SampleServer, *options: str) -> Outcome:
    shared = ("--target", "/page", "--connections", str(OPEN_CONNECTIONS), "--announce")
    with (
        server.bystander(),
        server.companion("loadtest.clients.open_loop", *shared, *options) as loop,
    ):
        window, result = server.announced(loop, GRACE_SECONDS)
        values = failure_counts(result) | {
            "requests": result["requests"],
            "offered": result["offered"],
            "rate": result["achieved"],
            "late": result["late"],
        }
        if "slices" in result:
            slices = [Histogram.from_json(one) for one in result["slices"]]
            before, after = (
                round(seconds / result["slice_seconds"])
                for seconds in (OVERLOAD_SECONDS, 2 * OVERLOAD_SECONDS)
            )
            values["recovery_seconds"] = recovery(slices, before, after)
        latencies = {name: Histogram.from_json(result[name]) for name in (SERVICE, INTENDED)}
        return server.finish(Outcome(result["seconds"], loop.command, values, latencies), window)


def burst(server: SampleServer, x: float) -> Outcome:
    """`x` connections at the same moment; latencies count from the start of the burst."""
    options = ("burst", "--target", SMALL_TARGET, "--count", f"{x:.0f}", "--announce")
    with (
        server.bystander(),
        server.companion("loadtest.clients.stress_crowds", *options) as crowd,
    ):
        window, result = server.announced(crowd, CROWD_TIMEOUT)
        values = failure_counts(result) | {
            "requests": result["correct"],
            "rate": result["correct"] / max(result["done_seconds"], 1e-3),
            "connections": x,
            "served": result["served"],
            "done_seconds": result["done_seconds"],
        }
        latencies = {INTENDED: Histogram.from_json(result["intended"])}
        return server.finish(Outcome(window.seconds, crowd.command, values, latencies), window)


# ---------------------------------------------------------------------------------- locust


def mix(server: SampleServer, x: float) -> Outcome:
    """A browser's requests on a schedule, `x` a second, sent by locust."""
    seconds = max(1, round(server.seconds))
    output = server.workdir / "locust.json"
    command = locust.command(server.port, x, seconds, output)
    with server.bystander():
        log = server.log("locust")
        with system.started(command, server.core, log, pipes=True) as process:
            phases, most = ('"open"', '"over"'), LOCUST_SECONDS
            window, lines = server.printed(process, "locust", phases, most, most)
            server.dismiss_bystander()
            lines.rest(LOCUST_SECONDS)
        try:
            found = locust.read(output)
        except (OSError, ValueError) as error:
            last = system.last_line(log)
            raise MeasurementError(f"locust left no outcome: {error}; {last}") from error
        values = {
            "requests": found.requests,
            "errors": found.errors,
            "refused": found.refused,
            "offered": found.offered,
            "rate": found.requests / found.seconds if found.seconds else 0.0,
        }
        latencies = {SERVICE: found.service, INTENDED: found.intended}
        return server.finish(Outcome(found.seconds, command, values, latencies), window)


# ---------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Workload:
    """How a workload is measured, named and timed."""

    measure: Callable[[SampleServer, float], Outcome]
    describe: str  # for the reader, with {x} for the quantity
    unit: str  # the unit of x
    extra: float = 1.0  # seconds of a sample beside its window
    extra_each: float = 0.0  # more seconds for each x
    needs_capacity: bool = False

    def label(self, x: float) -> str:
        """The quantity in the name of a cell."""
        return FILE_NAMES.get(int(x), f"{x:g}") if self.unit == "bytes" else f"{x:g}"

    def title(self, x: float) -> str:
        """The title of a cell."""
        sizes = {1024: "1 KiB", 100 * 1024: "100 KiB", 100 * 1024 * 1024: "100 MiB"}
        text = self.describe.format(x=sizes[int(x)] if self.unit == "bytes" else f"{x:,g}")
        return text.replace("connections", "connection") if x == 1 else text

    def expected(self, seconds: float, x: float) -> float:
        """Seconds of a sample with a window of `seconds`."""
        return seconds + self.extra + self.extra_each * x


WORKLOADS: Final = {
    "block": Workload(block, "{x} clients of a handler that blocks 20 ms", "clients"),
    "burn": Workload(
        burn, f"{BURNERS} clients of a handler that computes for {{x}} ms", "milliseconds"
    ),
    "mix": Workload(mix, "locust: {x} requests a second, a browser's mix", "requests/s", 5.0),
    "keepalive": Workload(
        keepalive, "{x} busy keep-alive connections", "connections", 1.2, 1 / 2000
    ),
    "fairness": Workload(
        fairness, "{x} connections, each counted by itself", "connections", 5.0, 1 / 2000
    ),
    "open": Workload(
        open_loop, "open loop at {x} % of the reactor's capacity", "percent", 1.5, 0.0, True
    ),
    "connect": Workload(connect, "{x} clients, a connection for each request", "clients", 0.5),
    "idle": Workload(idle, "{x} idle connections", "connections", 2.5, 1 / 2500),
    "slow-readers": Workload(
        slow_readers, "{x} slow readers of 1 MiB", "connections", 2.0, 1 / 800
    ),
    "slow-heads": Workload(slow_heads, "{x} slow heads", "connections", 2.0, 1 / 1500),
    "files": Workload(files, "a file of {x}", "bytes", 1.2),
    "gzip": Workload(gzip, "64 KiB of text, gzipped, for {x} clients", "clients", 1.2),
    "pipelining": Workload(
        pipelining, "64 connections, {x} requests in flight on each", "requests", 1.2
    ),
    "burst": Workload(burst, "a burst of {x} connections", "connections", -1.0, 1 / 1500),
    "overload": Workload(
        overload,
        "{x} % of capacity for 3 seconds, and after it",
        "percent",
        2.0 * OVERLOAD_SECONDS + RECOVERY_SECONDS - 1.0,
        0.0,
        True,
    ),
    "events": Workload(events, "{x} listeners of an event a second", "connections", 3.0),
}
