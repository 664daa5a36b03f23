"""What is done to a server, one function each: a workload takes a setting and one quantity.

Closed loops tell what a server can do at most; open loops what its clients notice, since they ask
when they want to and not when they are served. Beside each there is a bystander, who shows what the
others' load does to somebody with a small wish.

A workload prepares, opens its window, lets the time pass, and says what came of it. What it cannot
measure it raises as MeasurementError; a client that was not served is no such thing but a number.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from loadtest import system
from loadtest.clients.histogram import Histogram
from loadtest.clients.open_loop import recovery
from loadtest.clients.stress_crowds import PATIENCE
from loadtest.experiment.measure.generators import closed_loop, own_client
from loadtest.experiment.measure.memory_breakdown import above, memory_of
from loadtest.experiment.measure.sample_server import SMALL_TARGET, Outcome, Setting, counted
from loadtest.experiment.measure.samples import INTENDED, SERVICE
from loadtest.scenarios import run as locust
from loadtest.system import Companion, MeasurementError

BLOCK_MILLISECONDS: Final = 20
BURNERS: Final = 8  # clients of a handler that computes
FILE_CLIENTS: Final = {1024: 64, 100 * 1024: 32, 100 * 1024 * 1024: 4}
FILE_NAMES: Final = {1024: "1k", 100 * 1024: "100k", 100 * 1024 * 1024: "100m"}
OPEN_CONNECTIONS: Final = 512  # that an open loop may have at a time
SETTLE_SECONDS: Final = 1.0
CROWD_TIMEOUT: Final = 90.0  # seconds for all of a crowd to be there
ARRIVAL_TIMEOUT: Final = PATIENCE + 2.0  # for slow clients, who may never be served
GRACE_SECONDS: Final = 20.0
FAIRNESS_SECONDS: Final = 2.0  # more than a window, so that each connection has its turns
LOCUST_SECONDS: Final = 30.0  # for it to start and to end
RECOVERY_SECONDS: Final = 6  # of watching, after an overload
OVERLOAD_SECONDS: Final = 3
CALM_SHARE: Final = 0.3  # of capacity, before and after an overload


def capacity_of(setting: Setting) -> float:
    """Requests of /page per second, at most, with the head that an open loop sends.

    Raises MeasurementError.
    """
    return closed_loop(setting, "/page", 64, fields=()).values["rate"]


# ---------------------------------------------------------------------------------- closed loops


def keepalive(setting: Setting, x: float) -> Outcome:
    with setting.bystander():
        return closed_loop(setting, SMALL_TARGET, int(x))


def block(setting: Setting, x: float) -> Outcome:
    with setting.bystander():
        return closed_loop(setting, f"/block?ms={BLOCK_MILLISECONDS}", int(x))


def burn(setting: Setting, x: float) -> Outcome:
    with setting.bystander():
        return closed_loop(setting, f"/burn?ms={x:g}", BURNERS)


def connect(setting: Setting, x: float) -> Outcome:
    with setting.bystander():
        return closed_loop(setting, SMALL_TARGET, int(x), closing=True)


def files(setting: Setting, x: float) -> Outcome:
    with setting.bystander():
        return closed_loop(setting, f"/files/{FILE_NAMES[int(x)]}.bin", FILE_CLIENTS[int(x)])


def gzip(setting: Setting, x: float) -> Outcome:
    with setting.bystander():
        return closed_loop(setting, "/text", int(x))


def pipelining(setting: Setting, x: float) -> Outcome:
    with setting.bystander():
        return closed_loop(setting, SMALL_TARGET, 64, depth=int(x))


# ---------------------------------------------------------------------------------- held open


def idle(setting: Setting, x: float) -> Outcome:
    """Clients who have asked once and say nothing more: what they cost, and whom they disturb."""
    with setting.bystander():
        time.sleep(SETTLE_SECONDS)
        base = memory_of(setting.family)
        options = ("idle", "--target", SMALL_TARGET, "--count", f"{x:.0f}")
        with setting.companion("loadtest.clients.slow_crowds", *options) as crowd:
            crowd.hear(CROWD_TIMEOUT)
            time.sleep(SETTLE_SECONDS)
            values = above(base, memory_of(setting.family))
            window = setting.window(crowd.process.pid)
            time.sleep(setting.seconds)
            window.close()
            setting.dismiss_bystander()
            open_ones = crowd.dismiss(GRACE_SECONDS)["still_open"]
        values |= {"connections": x, "refused": x - open_ones}
        return setting.finish(Outcome(window.seconds, crowd.command, values), window)


def slow_readers(setting: Setting, x: float) -> Outcome:
    """Clients who read a MiB at 4 KiB a second."""
    return _held(setting, "loadtest.clients.slow_crowds", "slow", "/mib", int(x))


def slow_heads(setting: Setting, x: float) -> Outcome:
    """Clients who send their head a byte a second, and come again when they are cut."""
    return _held(setting, "loadtest.clients.stress_crowds", "slow-heads", SMALL_TARGET, int(x))


def _held(setting: Setting, module: str, kind: str, target: str, count: int) -> Outcome:
    with setting.bystander():
        base = memory_of(setting.family)
        options = (kind, "--target", target, "--count", str(count))
        with setting.companion(module, *options) as crowd:
            _arrived(crowd)
            window = setting.window(crowd.process.pid)
            time.sleep(setting.seconds)
            window.close()
            setting.dismiss_bystander()
            # Not before: to read of thousands of threads takes the clients' core for a while.
            values = above(base, memory_of(setting.family))
            told = crowd.dismiss(GRACE_SECONDS)
        values |= counted(told) | {"connections": count}
        if "answered" in told:
            values |= {"served": told["answered"] / count, "errors": told["cut"]}
        return setting.finish(Outcome(window.seconds, crowd.command, values), window)


def _arrived(crowd: Companion) -> dict[str, Any]:
    """Wait for them, but not for ever: a server that does not serve them is what we look for.

    Gives what they tell then, or nothing.
    """
    try:
        return crowd.hear(ARRIVAL_TIMEOUT)
    except MeasurementError:
        if crowd.process.poll() is not None:
            raise
        return {}


def events(setting: Setting, x: float) -> Outcome:
    """Listeners of one event a second; their latency is how late events come."""
    with setting.bystander():
        options = ("events", "--target", "/events", "--count", f"{x:.0f}")
        with setting.companion("loadtest.clients.stress_crowds", *options) as crowd:
            before = _arrived(crowd).get("events", 0)
            window = setting.window(crowd.process.pid)
            time.sleep(setting.seconds)
            window.close()
            setting.dismiss_bystander()
            lasted = time.monotonic() - window.start  # longer than the window, where it had to wait
            told = crowd.dismiss(GRACE_SECONDS)
        outcome = Outcome(window.seconds, crowd.command)
        outcome.values = counted(told) | {
            "requests": (told["events"] - before) * window.seconds / lasted,
            "connections": x,
            "served": (x - told["silent"]) / x,
        }
        outcome.latencies[SERVICE] = Histogram.from_json(told["lateness"])
        return setting.finish(outcome, window)


# ---------------------------------------------------------------------------------- our generators


def fairness(setting: Setting, x: float) -> Outcome:
    """Who is served, and how evenly: our own client counts each connection's answers."""
    with setting.bystander():
        seconds = setting.seconds + FAIRNESS_SECONDS
        return own_client(setting, SMALL_TARGET, int(x), (), seconds)


def open_loop(setting: Setting, x: float) -> Outcome:
    """/page, asked for at `x` percent of what the reactor can do, whoever is asked."""
    rate = f"{setting.capacity * x / 100:.0f}"
    options = ("--rate", rate, "--seconds", f"{setting.seconds:g}", "--warm-up", "1")
    return _open(setting, *options)


def overload(setting: Setting, x: float) -> Outcome:
    """A calm time, `x` percent of capacity for a while, and calm again: how long does it last?"""
    calm, most = setting.capacity * CALM_SHARE, setting.capacity * x / 100
    stages = f"{calm:.0f}x{OVERLOAD_SECONDS},{most:.0f}x{OVERLOAD_SECONDS},"
    stages += f"{calm:.0f}x{RECOVERY_SECONDS}"
    return _open(setting, "--stages", stages, "--warm-up", "1")


def _open(setting: Setting, *options: str) -> Outcome:
    shared = ("--target", "/page", "--connections", str(OPEN_CONNECTIONS), "--announce")
    with (
        setting.bystander(),
        setting.companion("loadtest.clients.open_loop", *shared, *options) as loop,
    ):
        window, told = setting.announced(loop, GRACE_SECONDS)
        values = counted(told) | {
            "requests": told["requests"],
            "offered": told["offered"],
            "rate": told["achieved"],
            "late": told["late"],
        }
        if "slices" in told:
            slices = [Histogram.from_json(one) for one in told["slices"]]
            before, after = (
                round(seconds / told["slice_seconds"])
                for seconds in (OVERLOAD_SECONDS, 2 * OVERLOAD_SECONDS)
            )
            values["recovery_seconds"] = recovery(slices, before, after)
        latencies = {name: Histogram.from_json(told[name]) for name in (SERVICE, INTENDED)}
        return setting.finish(Outcome(told["seconds"], loop.command, values, latencies), window)


def burst(setting: Setting, x: float) -> Outcome:
    """So many connections at the same moment; a latency counts from the first of them."""
    options = ("burst", "--target", SMALL_TARGET, "--count", f"{x:.0f}", "--announce")
    with (
        setting.bystander(),
        setting.companion("loadtest.clients.stress_crowds", *options) as crowd,
    ):
        window, told = setting.announced(crowd, CROWD_TIMEOUT)
        values = counted(told) | {
            "requests": told["right"],
            "rate": told["right"] / max(told["done_seconds"], 1e-3),
            "connections": x,
            "served": told["served"],
            "done_seconds": told["done_seconds"],
        }
        latencies = {INTENDED: Histogram.from_json(told["intended"])}
        return setting.finish(Outcome(window.seconds, crowd.command, values, latencies), window)


# ---------------------------------------------------------------------------------- locust


def mix(setting: Setting, x: float) -> Outcome:
    """A browser's requests by a schedule, `x` a second, as locust sends them."""
    seconds = max(1, round(setting.seconds))
    output = setting.folder / "locust.json"
    command = locust.command(setting.port, x, seconds, output)
    with setting.bystander():
        log = setting.log("locust")
        with system.started(command, setting.core, log, pipes=True) as process:
            phases, most = ('"open"', '"over"'), LOCUST_SECONDS
            window, lines = setting.printed(process, "locust", phases, most, most)
            setting.dismiss_bystander()
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
        return setting.finish(Outcome(found.seconds, command, values, latencies), window)


# ---------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Workload:
    """How a workload is measured, named and timed."""

    measure: Callable[[Setting, float], Outcome]
    describe: str  # for the reader; {x} is what varies
    unit: str  # of x
    extra: float = 1.0  # seconds of a sample beside its window
    extra_each: float = 0.0  # seconds more for each x
    needs_capacity: bool = False

    def label(self, x: float) -> str:
        return FILE_NAMES.get(int(x), f"{x:g}") if self.unit == "bytes" else f"{x:g}"

    def title(self, x: float) -> str:
        sizes = {1024: "1 KiB", 100 * 1024: "100 KiB", 100 * 1024 * 1024: "100 MiB"}
        text = self.describe.format(x=sizes[int(x)] if self.unit == "bytes" else f"{x:,g}")
        return text.replace("connections", "connection") if x == 1 else text

    def expected(self, seconds: float, x: float) -> float:
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
