"""Each workload once, on a small scale: nothing fails, and what it finds can be true.

All of them run at the same time, since most of it is waiting; their figures are no figures.
"""

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loadtest import system
from loadtest.clients.stress_crowds import PATIENCE
from loadtest.experiment.measure import harness, workloads
from loadtest.experiment.measure.harness import Harness, Options
from loadtest.experiment.measure.plans import Planned
from loadtest.experiment.measure.samples import OURS, VALUES, Cell, Recorder, Run, Sample
from loadtest.experiment.measure.workloads import WORKLOADS
from loadtest.system import MeasurementError

pytestmark = pytest.mark.system

AT_ONCE = 6
CAPACITY = 200.0  # requests a second, so that all are served on any machine
SMALL: dict[str, float] = {
    "overload": 200,  # the longest ones first
    "mix": 50,
    "fairness": 20,
    "slow-readers": 5,
    "slow-heads": 5,
    "events": 10,
    "idle": 20,
    "burst": 50,
    "open": 20,
    "block": 2,
    "burn": 5,
    "keepalive": 4,
    "connect": 4,
    "files": 100 * 1024,
    "gzip": 2,
    "pipelining": 4,
}
IDLE = {"idle", "slow-readers", "slow-heads"}
CLOSED = {"keepalive", "fairness", "connect", "files", "gzip", "block", "burn"}
COUNTED = {"fairness", "events", "burst", "slow-readers"}  # connection by connection
BUSY = {"keepalive", "fairness", "connect", "files", "gzip", "burn"}  # more than the bystander is


@pytest.fixture(scope="module")
def samples() -> Iterator[dict[str, Sample]]:
    """Samples of our own arm, by our own generators, which every machine has."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(shutil, "which", lambda *_, **__: None)
        patch.setattr(harness, "FILES", harness.FILES[:2])
        patch.setattr(workloads, "OVERLOAD_SECONDS", 1)
        patch.setattr(workloads, "RECOVERY_SECONDS", 2)
        system.cores()
        directory = Path(name)
        harness.make_files(directory)
        recorder = Recorder(directory / "raw.jsonl", Run("quick", 1.0, 1, "", {}, {}, []))
        plan = [planned(kind) for kind in SMALL]
        one = Harness(plan, Options(1, 1.0), recorder, directory)
        one._capacity = CAPACITY
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(lambda each: one.sample(each, OURS, 0), plan)
            yield dict(zip(SMALL, found, strict=True))
        recorder.close()


def planned(kind: str) -> Planned:
    workload = WORKLOADS[kind]
    cell = Cell(f"{kind}-1", kind, SMALL[kind], workload.title(SMALL[kind]), [OURS], workload.unit)
    return Planned(cell, workload)


def test_all_are_here() -> None:
    assert SMALL.keys() == WORKLOADS.keys()


def test_pipelining_needs_h2load(samples: dict[str, Sample]) -> None:
    assert samples["pipelining"].failure == "pipelining needs h2load, which is not installed"


@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind != "pipelining"])
def test_a_workload(kind: str, samples: dict[str, Sample]) -> None:
    sample = samples[kind]
    values = sample.values
    assert not sample.failure
    assert values.keys() <= VALUES.keys()
    assert sample.generator[:2] == ["python", "-m"]
    assert 0.0 < sample.seconds < 20.0
    assert values["server_share"] >= 0
    assert values["generator_share"] >= 0
    assert values.get("errors", 0) == values.get("refused", 0) == 0
    assert values["bystander_errors"] == 0
    if kind != "burst":  # a small one is over before the bystander asks again
        # It asks each 10 ms; a window that is waited for on a busy machine is longer.
        assert sample.seconds >= 1.0
        assert sample.latencies["bystander"].count >= 90
        assert values["generator_share"] < 1.5  # in a window of milliseconds it is not exact
        assert 0 < sample.latencies["bystander"].percentile(0.5) < 5.0
    if kind not in IDLE:
        assert values["requests"] > 0
        assert 0 < values.get("cpu_us", 1.0) < 1e6
    if kind in BUSY:
        assert "cpu_us" in values
    if kind in COUNTED:
        assert values["served"] == 1.0
        assert values["unserved"] == 0.0


@pytest.mark.parametrize("kind", sorted(CLOSED))
def test_a_closed_loop(kind: str, samples: dict[str, Sample]) -> None:
    sample = samples[kind]
    assert sample.values["rate"] == pytest.approx(sample.values["requests"] / sample.seconds)
    assert sample.values["served"] == 1.0
    assert 0 < sample.values["jain"] <= 1.0
    assert sample.latencies["service"].count == sample.values["requests"]


def test_the_time_of_a_computing_handler_is_the_servers_cpu_time(
    samples: dict[str, Sample],
) -> None:
    """5 ms for each response; the bystander's small ones do not make it look cheaper."""
    values = samples["burn"].values
    # On a busy machine few responses come within the window; one of each client began before it.
    within = values["requests"] - workloads.BURNERS
    assert values["cpu_us"] * values["requests"] > 4500 * within
    assert samples["block"].values.get("cpu_us", 0.0) < 15_000, "the 20 ms of a sleep are none"
    assert samples["block"].latencies["service"].percentile(0.01) >= 0.02


def test_bodies_are_counted(samples: dict[str, Sample]) -> None:
    values = samples["files"].values
    # By when they came, whether or not the rest of their body came in time.
    assert values["bytes_rate"] == pytest.approx(values["rate"] * 100 * 1024, rel=0.2)
    values = samples["gzip"].values
    assert 0 < values["bytes_rate"] < values["rate"] * 64 * 1024 / 2, "it was not gzipped"


@pytest.mark.parametrize("kind", ["idle", "slow-readers", "slow-heads"])
def test_held_connections_have_memory(kind: str, samples: dict[str, Sample]) -> None:
    values = samples[kind].values
    assert values["connections"] == SMALL[kind]
    for name in ("process_bytes", "stacks_bytes", "tables_bytes", "sockets_bytes"):
        assert 0 <= values[name] < 2**30
    assert values["process_bytes"] > 0
    assert "cpu_us" not in values, "nothing was asked for"


def test_offered_loads_are_offered(samples: dict[str, Sample]) -> None:
    values = samples["open"].values
    assert values["offered"] == pytest.approx(CAPACITY * 0.2, rel=0.05)
    assert 0 < values["rate"] <= values["offered"] * 1.2
    assert values["late"] >= 0
    intended, service = (samples["open"].latencies[name] for name in ("intended", "service"))
    assert intended.count >= service.count > 0
    assert intended.longest >= service.longest - 0.001
    assert samples["mix"].values["offered"] == pytest.approx(SMALL["mix"], rel=0.2)


def test_an_overload_has_a_before_and_an_after(samples: dict[str, Sample]) -> None:
    values = samples["overload"].values
    assert samples["overload"].seconds == 1 + 1 + 2
    due = CAPACITY * (3 * workloads.CALM_SHARE + 2.0)
    assert values["offered"] == pytest.approx(due / 4, rel=0.02)
    assert 0 <= values["recovery_seconds"] <= 2


def test_a_burst_comes_to_its_end(samples: dict[str, Sample]) -> None:
    values = samples["burst"].values
    assert values["requests"] == SMALL["burst"]
    assert values["rate"] == pytest.approx(SMALL["burst"] / values["done_seconds"])
    assert samples["burst"].latencies["intended"].count == SMALL["burst"]


def test_events_are_those_of_the_window(samples: dict[str, Sample]) -> None:
    """One a second for each listener, and not those from before all were there."""
    sample = samples["events"]
    assert sample.values["requests"] <= SMALL["events"] * (sample.seconds + 1)
    assert sample.latencies["service"].count > 0


# ---------------------------------------------------------------------------------- by hand


class Crowd:
    """A companion that is there late or never."""

    def __init__(self, ends: bool) -> None:
        self.process = self
        self._ends = ends

    def poll(self) -> int | None:
        return 1 if self._ends else None

    def receive(self, timeout: float) -> dict[str, float]:
        raise MeasurementError("no line")


def test_a_late_crowd_is_a_result_and_a_dead_one_an_error() -> None:
    assert workloads._arrived(Crowd(ends=False)) == {}  # type: ignore[arg-type]
    with pytest.raises(MeasurementError):
        workloads._arrived(Crowd(ends=True))  # type: ignore[arg-type]


def test_names_and_titles_are_of_what_varies() -> None:
    assert WORKLOADS["files"].label(102400) == "100k"
    assert WORKLOADS["files"].title(1024) == "a file of 1 KiB"
    assert WORKLOADS["keepalive"].label(10_000) == "10000"
    assert WORKLOADS["keepalive"].title(10_000) == "10,000 busy keep-alive connections"
    assert WORKLOADS["burn"].title(5) == "8 clients of a handler that computes for 5 ms"


def test_crowds_are_waited_for_longer_than_they_wait_themselves() -> None:
    """The line that they print when they give up on the others must be received as well."""
    assert workloads.ARRIVAL_TIMEOUT > PATIENCE
