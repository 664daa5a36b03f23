"""The cases: what the crowds do beside the bystanders: one function for each case.

A function adds its windows to the trial, in which bystanders are measured, and its own figures.
It raises MeasurementError where the server did not serve the crowd.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from loadtest import system
from loadtest.benchmarks.fairness.arms import MIB, file_target
from loadtest.benchmarks.fairness.trial import CROWD_TIMEOUT, Trial, crowd_priority
from loadtest.benchmarks.subject import SMALL_TARGET
from loadtest.benchmarks.workloads import WORKLOADS
from loadtest.clients.closed_loop import jain
from loadtest.clients.histogram import Histogram
from loadtest.clients.wrk import GRACE_SECONDS, available_generator
from loadtest.system import MeasurementError

SLOW_READERS: Final = 500
MANY_READERS: Final = 4000
ARRIVING: Final = 1000
BURSTS: Final = 3
CLOSED: Final = 5000
PIPELINES: Final = 50
DOWNLOADS: Final = 64
FAST: Final = 8  # downloads of the cases "mix" and "starving"
PACED: Final = 32
PACED_RATE: Final = 1e6  # bytes a second
CONNECTIONS: Final = 64  # with tiny requests, as the generators of tiny requests have them
AFTER_SECONDS: Final = 1.0  # the shortest window of what happens once
CLOSING_TIMEOUT: Final = 30.0  # seconds until the server has closed its side
LOOK_SECONDS: Final = 0.1  # from one look at the server's descriptors to the next
BURST_SECONDS: Final = 0.5  # the shortest window of a burst
MOST_CLIENTS: Final = max(CLOSED, MANY_READERS, BURSTS * ARRIVING)
WHOLE: Final = 10 * MIB

Case = Callable[[Trial], None]


def idle(trial: Trial) -> None:
    """Nobody else."""
    start = time.monotonic()
    time.sleep(trial.size.seconds)
    trial.windows.append((start, time.monotonic()))


def arriving_readers(count: int, name: str) -> Case:
    """The case of so many slow readers of a file."""

    def case(trial: Trial) -> None:
        readers = trial.size.of(count)
        target = file_target(name)
        with trial.client("slow_crowds", "slow", target, "--count", str(readers)) as crowd:
            times = crowd.receive(CROWD_TIMEOUT)
            end = max(times["at"], times["came"] + AFTER_SECONDS)
            _sleep_until(end)
            trial.windows.append((times["came"], end))
            outcome = crowd.dismiss()
        if outcome["answered"] < readers or outcome["cut"]:
            raise MeasurementError(f"of {readers} readers the server served {outcome}")

    return case


def burst(trial: Trial) -> None:
    """Clients that arrive at once; their own latencies are figures too."""
    count = trial.size.of(ARRIVING)
    options = ("--count", str(count), "--times", str(BURSTS))
    with trial.client("bulk_crowds", "arrivals", SMALL_TARGET, *options) as crowd:
        result = crowd.receive(CROWD_TIMEOUT)
    if result["correct"] < count * BURSTS:
        raise MeasurementError(f"of {count * BURSTS} arriving clients failed: {result['kinds']}")
    trial.windows += [(start, max(end, start + BURST_SECONDS)) for start, end in result["bursts"]]
    latencies = Histogram.from_json(result["latencies"])
    trial.figures |= {
        "arriving: p50, ms": latencies.percentile(0.5) * 1000,
        "arriving: p99, ms": latencies.percentile(0.99) * 1000,
        "arriving: longest, ms": latencies.longest * 1000,
    }


def closing(trial: Trial) -> None:
    """The client of many idle connections is killed: the kernel closes them all."""
    count = trial.size.of(CLOSED)
    with trial.client("slow_crowds", "idle", SMALL_TARGET, "--count", str(count)) as crowd:
        crowd.receive(CROWD_TIMEOUT)
        held = _descriptors(trial.pid)
        if held < count:
            raise MeasurementError(f"{held} descriptors for {count} connections")
        time.sleep(AFTER_SECONDS)  # its arrival does not belong to the case
        used, start = trial.cpu(), time.monotonic()
        crowd.process.kill()
        crowd.process.wait()
        # Half of them are room for bystanders, which make connections while the server is busy.
        while (left := _descriptors(trial.pid)) > held - count / 2:
            if time.monotonic() > start + CLOSING_TIMEOUT:
                raise MeasurementError(f"{held} descriptors before, {left} after")
            time.sleep(LOOK_SECONDS)
        _sleep_until(start + AFTER_SECONDS)
        trial.windows.append((start, time.monotonic()))
        trial.figures["CPU of closing, s"] = trial.cpu() - used


def pipelines(*options: str) -> Case:
    """The case of clients that pipeline; with "--read" they read the responses."""

    def case(trial: Trial) -> None:
        count = trial.size.of(PIPELINES)
        amount = ("--count", str(count), "--seconds", str(trial.size.seconds))
        with trial.client("bulk_crowds", "pipelines", SMALL_TARGET, *amount, *options) as crowd:
            result, used = trial.announced(crowd)
        trial.windows.append((result["start"], result["end"]))
        if result["still_open"] < count:
            raise MeasurementError(f"{count - result['still_open']} pipelines were cut")
        seconds = result["end"] - result["start"]
        if not result["responses"] and options:
            raise MeasurementError("no pipeline got a response")
        # Requests may still wait in the kernel's buffers; responses count where they are read.
        trial.figures["requests sent"] = result["requests"]
        trial.figures["responses read, 1/s"] = result["responses"] / seconds
        trial.figures["server busy, %"] = used / seconds * 100

    return case


def downloads(trial: Trial) -> None:
    """Full speed: throughput, its cost, and how evenly it is shared."""
    result, used = _downloaded(trial, trial.size.of(DOWNLOADS))
    trial.windows.append((result["start"], result["end"]))
    trial.figures |= {
        "throughput, MB/s": _rate(result) / 1e6,
        "CPU per 10 MiB, ms": used / sum(result["fast"]) * WHOLE * 1000,
        "Jain's index": result["jain"],
        "server busy, %": used / (result["end"] - result["start"]) * 100,
    }


def mix(trial: Trial) -> None:
    """Fast downloads alone, and then beside paced ones."""
    fast, paced = trial.size.of(FAST), trial.size.of(PACED)
    alone, _ = _downloaded(trial, fast)
    result, used = _downloaded(trial, fast, "--paced", str(paced), "--rate", str(PACED_RATE))
    seconds = result["end"] - result["start"]
    trial.windows.append((result["start"], result["end"]))
    got = [taken / seconds / PACED_RATE for taken in result["paced"]]
    taken_by_paced = sum(result["paced"]) / seconds
    trial.figures |= {
        "slowest paced one, of its rate": min(got),
        "paced ones, of their rate": sum(got) / len(got),
        "fast ones, MB/s": _rate(result) / 1e6,
        "fast ones, of what is left": _rate(result) / max(1.0, _rate(alone) - taken_by_paced),
        "Jain's index of the fast ones": jain(result["fast"]),
        "server busy, %": used / seconds * 100,
    }


def starving(trial: Trial) -> None:
    """Downloads alone, and then beside a full load of tiny requests."""
    fast = trial.size.of(FAST)
    alone, used_alone = _downloaded(trial, fast)
    with _tiny_requests(trial) as finished:
        beside, used = _downloaded(trial, fast)
        requests, seconds = finished()
    trial.windows.append((beside["start"], beside["end"]))
    needed = used_alone / sum(alone["fast"]) * sum(beside["fast"])
    trial.figures |= {
        "downloads, of the server's time": needed / used,
        "downloads, of their speed alone": _rate(beside) / _rate(alone),
        "downloads, MB/s": _rate(beside) / 1e6,
        "tiny requests, 1/s": requests / seconds,
        "server busy, %": used / (beside["end"] - beside["start"]) * 100,
    }


CASES: Final[dict[str, Case]] = {
    "idle": idle,
    "slow-readers": arriving_readers(SLOW_READERS, "10m"),
    "many-readers": arriving_readers(MANY_READERS, "1m"),
    "burst": burst,
    "closing": closing,
    "pipelines": pipelines(),
    "pipelines-read": pipelines("--read"),
    "downloads": downloads,
    "mix": mix,
    "starving": starving,
}


# ---------------------------------------------------------------------------------- parts of them


def _downloaded(trial: Trial, count: int, *options: str) -> tuple[dict[str, Any], float]:
    """The result of downloads, and the server's CPU seconds within their window."""
    amount = ("--count", str(count), "--seconds", str(trial.size.seconds))
    target = file_target("10m")
    with trial.client("bulk_crowds", "downloads", target, *amount, *options) as crowd:
        result, used = trial.announced(crowd)
    if result["kinds"]:
        raise MeasurementError(f"downloads failed: {result['kinds']}")
    if not sum(result["fast"]):
        raise MeasurementError("the downloads got no bytes")
    return result, used


def _rate(result: dict[str, Any]) -> float:
    """Bytes a second of all fast downloads together."""
    return float(sum(result["fast"]) / (result["end"] - result["start"]))


@contextmanager
def _tiny_requests(trial: Trial) -> Iterator[Callable[[], tuple[int, int]]]:
    """A generator of tiny requests; the function waits for its end.

    It returns how many requests had a response, and the seconds of the load.
    """
    # It starts first and ends last: downloads need a second to start and to warm up.
    seconds = round(trial.size.seconds) + 2
    generator = available_generator()
    _, core = system.cores()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        head, log = Path(name) / "head", Path(name) / "generator.log"
        head.write_bytes(WORKLOADS[0].head_for(trial.port))
        command = generator.command(trial.port, SMALL_TARGET, head, seconds)
        with system.started(command, core, log, priority=crowd_priority()) as process:

            def finished() -> tuple[int, int]:
                process.wait(seconds + GRACE_SECONDS)
                outcome = generator.read(log.read_text())
                if outcome.errors:
                    raise MeasurementError(f"tiny requests: {outcome.errors}")
                return outcome.requests, seconds

            yield finished


def _descriptors(pid: int) -> int:
    """How many file descriptors the server has open."""
    return sum(len(os.listdir(f"/proc/{one}/fd")) for one in system.descendants(pid))


def _sleep_until(end: float) -> None:
    time.sleep(max(0.0, end - time.monotonic()))
