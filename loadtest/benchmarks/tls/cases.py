"""The cases: what is measured on the servers in one round, and the figures that are allowed."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from loadtest import system
from loadtest.benchmarks.common import WARM_UP_SECONDS, cpu_per_request
from loadtest.benchmarks.fairness.trial import CROWD_TIMEOUT, SETTLE_SECONDS, Size, Trial
from loadtest.benchmarks.figures import Figures
from loadtest.benchmarks.subject import SMALL_TARGET
from loadtest.benchmarks.tls.arms import (
    CIPHER,
    FLOOR,
    NGINX,
    OURS,
    PLAIN,
    UVICORN,
    Arm,
    Running,
    chosen,
    in_turn,
    running,
)
from loadtest.clients.handshakes import SLOTS
from loadtest.clients.wrk import run_generator
from loadtest.system import MeasurementError

KIB: Final = 1024
IDLE: Final = 2000  # connections
IDLE_SETTLE_SECONDS: Final = 2.0
SILENT: Final = 500  # clients
ARRIVALS: Final = 200  # new clients a second
BYSTANDER_MOST: Final = 5.0  # ms
HANDSHAKES: Final = (sys.executable, "-m", "loadtest.clients.handshakes")


class Round(NamedTuple):
    """One round of a case."""

    figures: Figures
    arms: Mapping[str, Arm]
    number: int
    seconds: int  # one load takes so many


Case = Callable[[Round], None]


def report(one: Round, case: str, unit: str, values: Mapping[str, float]) -> None:
    """Add the figure of each arm, ours first."""
    for name in sorted(values, key=lambda name: name != OURS):
        one.figures.add(case, name, values[name], unit)


def compare(
    one: Round, case: str, values: Mapping[str, float], other: str, most: float | None = None
) -> None:
    """Add the ratio of ours to another arm, where both are there."""
    if OURS in values and other in values:
        ratio = values[OURS] / values[other]
        one.figures.add(case, f"{OURS} : {other}", ratio, "", most, 2)


# ---------------------------------------------------------------------------------- CPU time


def keep_alive(one: Round) -> None:
    """A GET with a tiny head."""
    arms = chosen(one.arms, OURS, PLAIN, FLOOR, UVICORN, NGINX)
    values = in_turn(arms, one.number, lambda server: wrk_cost(server, SMALL_TARGET, 64, one))
    report(one, "keep-alive", "µs/request", values)
    compare(one, "keep-alive", values, PLAIN, 1.7)
    compare(one, "keep-alive", values, UVICORN, 0.6)
    compare(one, "keep-alive", values, FLOOR)
    compare(one, "keep-alive", values, NGINX)


def hot(name: str, connections: int) -> Case:
    """The case of a file of this name."""

    def case(one: Round) -> None:
        target = f"/files/{name}.bin"
        arms = chosen(one.arms, OURS, NGINX)
        values = in_turn(
            arms, one.number, lambda server: wrk_cost(server, target, connections, one)
        )
        report(one, f"hot-{name}", "µs/request", values)
        compare(one, f"hot-{name}", values, NGINX, 1.3)

    return case


def wrk_cost(server: Running, target: str, connections: int, one: Round) -> float:
    """Microseconds of the server's CPU time per request."""
    options = [f"-c{connections}", server.url(target)]
    return cpu_per_request(server.pid, f"{server.arm.name} {target}", options, one.seconds)


def handshakes(case: str, most: float) -> Case:
    """The case of handshakes, "full" or "resumed" ones."""

    def measure(one: Round) -> None:
        arms = chosen(one.arms, OURS, FLOOR, NGINX)
        is_resumed = case == "resumed"
        values = in_turn(
            arms, one.number, lambda server: handshake_cost(server, one.seconds, resumed=is_resumed)
        )
        report(one, case, "µs/handshake", values)
        compare(one, case, values, NGINX, most)
        compare(one, case, values, FLOOR)

    return measure


def handshake_cost(server: Running, seconds: int, *, resumed: bool) -> float:
    """Microseconds of the server's CPU time per handshake."""
    shake(server, WARM_UP_SECONDS, resumed=resumed)
    used = system.cpu_seconds(server.pid)
    count = shake(server, seconds, resumed=resumed)
    return (system.cpu_seconds(server.pid) - used) / count * 1e6


def shake(server: Running, seconds: float, *, resumed: bool) -> int:
    """Run the generator to its end: how many handshakes there were."""
    _, core = system.cores()
    log = server.workdir / "handshakes.log"
    command = [*HANDSHAKES, "--port", str(server.port), "--seconds", str(seconds)]
    run_generator([*command, *(["--resumed"] if resumed else [])], seconds, core, log)
    return read_handshakes(server.arm.name, log.read_text(), resumed=resumed)


def read_handshakes(name: str, output: str, *, resumed: bool) -> int:
    """The number of handshakes. Raises MeasurementError where some are not as they should be."""
    try:
        outcome: dict[str, Any] = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        raise MeasurementError(f"{name}: the generator printed {output[-300:]!r}") from None
    count, reused = outcome["handshakes"], outcome["resumed"]
    if outcome["failures"] or not count:
        raise MeasurementError(f"{name}: {count} handshakes, {outcome['failures']}")
    if list(outcome["agreed"]) != [f"TLSv1.3 {CIPHER}"]:
        raise MeasurementError(f"{name} has agreed on {outcome['agreed']}")
    if reused < count - SLOTS if resumed else reused:  # the first of each slot has no ticket
        raise MeasurementError(f"{name} has resumed {reused} of {count} handshakes")
    return int(count)


# ---------------------------------------------------------------------------------- memory


def idle(one: Round) -> None:
    """Memory of keep-alive connections that have sent one request each."""
    arms = chosen(one.arms, OURS, FLOOR, NGINX, PLAIN)
    values = in_turn(arms, one.number, idle_memory)
    report(one, "idle", "KiB each", values)
    if FLOOR in values:
        beside = values[OURS] - values[FLOOR]
        one.figures.add("idle", f"{OURS} beside {FLOOR}", beside, "KiB each", 16.0)


def idle_memory(server: Running) -> float:
    """KiB of the process's own memory (Private_Dirty) for each connection."""
    trial = trial_of(server)
    memory = system.private_dirty(server.pid)
    with trial.client("slow_crowds", "idle", SMALL_TARGET, "--count", str(IDLE)) as crowd:
        crowd.receive(CROWD_TIMEOUT)
        time.sleep(IDLE_SETTLE_SECONDS)
        memory = system.private_dirty(server.pid) - memory
        still_open = crowd.dismiss()["still_open"]
    if still_open < IDLE:
        raise MeasurementError(f"{server.arm.name} has closed {IDLE - still_open} connections")
    return memory / IDLE / KIB


def trial_of(server: Running, seconds: float = 0.0) -> Trial:
    """The server as `loadtest.benchmarks.fairness` sees it."""
    size = Size(seconds=seconds)
    return Trial(server.pid, server.port, server.workdir, size, tls=server.arm.speaks_tls)


# ---------------------------------------------------------------------------------- bystanders


def silent(trial: Trial) -> None:
    """Clients that connect and say nothing."""
    with trial.client("stress_crowds", "silent", SMALL_TARGET, "--count", str(SILENT)) as crowd:
        there = crowd.receive(CROWD_TIMEOUT)["ready"]
        if there < SILENT:
            raise MeasurementError(f"only {there} of {SILENT} silent clients are connected")
        watch(trial)


def arrivals(trial: Trial) -> None:
    """New clients, each with a handshake and one request."""
    habit = ("--connections", "new", "--period", str(1 / ARRIVALS))
    with trial.client("slow_crowds", "bystander", SMALL_TARGET, *habit) as crowd:
        time.sleep(SETTLE_SECONDS)
        watch(trial)
        outcome = crowd.dismiss()
    if outcome["errors"] or outcome["refused"]:
        raise MeasurementError(f"new clients failed: {outcome['kinds']}")


def watch(trial: Trial) -> None:
    """Let the bystander ask while the crowd is there."""
    start = time.monotonic()
    time.sleep(trial.size.seconds)
    trial.windows.append((start, time.monotonic()))


def beside(case: str, crowd: Callable[[Trial], None]) -> Case:
    """The case of a bystander beside a crowd."""

    def measure(one: Round) -> None:
        for arm in chosen(one.arms, OURS, NGINX):
            with running(arm) as server:
                for when, work in (("before", watch), ("beside them", crowd)):
                    trial = trial_of(server, one.seconds)
                    p99 = bystanders_p99(trial, work)
                    most = BYSTANDER_MOST if (arm.name, work) == (OURS, crowd) else None
                    one.figures.add(case, f"{arm.name}: p99 {when}", p99, "ms", most, 2)

    return measure


def bystanders_p99(trial: Trial, work: Callable[[Trial], None]) -> float:
    """Milliseconds. Raises MeasurementError where a request of the bystander failed."""
    with trial.bystander("kept") as bystander:
        time.sleep(SETTLE_SECONDS)
        work(trial)
        trial.finish({"kept": bystander.dismiss()})
    if trial.figures["kept: failed"]:
        raise MeasurementError(f"{trial.figures['kept: failed']:g} requests of a bystander failed")
    return trial.figures["kept: p99, ms"]


CASES: Final[dict[str, Case]] = {
    "keep-alive": keep_alive,
    "hot-100k": hot("100k", 32),
    "hot-10m": hot("10m", 8),
    "full": handshakes("full", 1.25),
    "resumed": handshakes("resumed", 1.5),
    "idle": idle,
    "silent": beside("silent", silent),
    "arrivals": beside("arrivals", arrivals),
}
