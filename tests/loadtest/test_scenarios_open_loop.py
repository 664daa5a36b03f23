"""The open loop: its schedule, its two clocks, what it does when the server stops, its outcome."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from loadtest.clients.histogram import Histogram
from loadtest.scenarios import run
from loadtest.scenarios.checks import Refused, Unanswered, Wrong
from loadtest.scenarios.outcome import DUE, INTENDED, SENT, SINCE, WARM_UP_SECONDS, Recorder
from loadtest.scenarios.schedule import CONSTANT, MIX, POISSON, schedule
from tests.support.locust_process import PATIENCE, target

pytestmark = pytest.mark.system

FROZEN_SECONDS = 2.0
GOOD_SECONDS = 0.5  # with good responses, before it
RATE = 100
HIGH_RATE = 400  # more are due within the freeze than there are connections
CONNECTIONS = 256  # the most of the open loop


class Runs(NamedTuple):
    frozen: run.RunOutcome
    crowded: run.RunOutcome  # the same at the high rate
    lost: run.RunOutcome


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A server that stops for FROZEN_SECONDS, and one that never comes back."""
    directory, other = tmp_path_factory.mktemp("frozen"), tmp_path_factory.mktemp("lost")
    outputs = [directory / "one.json", directory / "two.json", other / "one.json"]
    with target(directory) as frozen, target(other) as lost:
        processes = [
            started(run.command(frozen.port, RATE, 4, outputs[0])),
            started(run.command(frozen.port, HIGH_RATE, 4, outputs[1])),
            started(run.command(lost.port, RATE, 2, outputs[2])),
        ]
        try:
            with ThreadPoolExecutor(2) as pool:
                stops = [
                    pool.submit(stop, frozen.pid, processes[:2], FROZEN_SECONDS),
                    pool.submit(stop, lost.pid, processes[2:], PATIENCE),
                ]
                assert [one.result() for one in stops] == [[0, 0], [0]]
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        return Runs(*map(run.read, outputs))


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def stop(pid: int, clients: list[subprocess.Popen[str]], seconds: float) -> list[int]:
    """Stop a server after the windows of its clients have opened; returns their exit statuses."""
    for one in clients:
        assert one.stdout is not None
        assert any('"open"' in line for line in one.stdout)
    time.sleep(GOOD_SECONDS)
    os.kill(pid, signal.SIGSTOP)
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(one.poll() is None for one in clients):
            time.sleep(0.01)
    finally:
        os.kill(pid, signal.SIGCONT)
    return [one.wait(PATIENCE) for one in clients]


def due(rate: float, seconds: int) -> int:
    """Requests of a run's window."""
    sending = seconds + WARM_UP_SECONDS
    return sum(one.at >= WARM_UP_SECONDS for one in schedule(rate, sending, run.SEED))


def test_a_stall_is_not_forgotten(runs: Runs) -> None:
    """No coordinated omission: what was due while the server was frozen is counted from then."""
    outcome = runs.frozen
    assert outcome.due == due(RATE, 4), "all of the schedule was sent"
    assert outcome.requests == outcome.due, outcome.messages
    assert outcome.intended.count == outcome.service.count == outcome.requests
    assert outcome.seconds == 4.0
    assert outcome.offered == pytest.approx(outcome.due / 4)
    assert outcome.intended.percentile(0.99) >= 0.7
    assert slow(outcome.intended) >= 0.5 * RATE * FROZEN_SECONDS, "a closed loop has a handful"


def test_waiting_for_a_connection_counts_as_intended_time(runs: Runs) -> None:
    """A request that could not be sent has a short service time, and is late all the same."""
    outcome = runs.crowded
    assert outcome.due == outcome.requests == due(HIGH_RATE, 4), outcome.messages
    assert slow(outcome.intended) >= 0.7 * HIGH_RATE * FROZEN_SECONDS
    # If waiting counted, these would be those that were due in the first half of the freeze.
    assert slow(outcome.service, 1 / 2) <= CONNECTIONS < HIGH_RATE * FROZEN_SECONDS / 2


def slow(latencies: Histogram, part: float = 1 / 5) -> float:
    """How many took more than this part of the time that the server was frozen."""
    cumulated = [(0.0, 0.0), *latencies.cumulated()]
    faster = max(share for seconds, share in cumulated if seconds <= FROZEN_SECONDS * part)
    return (1.0 - faster) * latencies.count


def test_a_missing_response_is_a_failure(runs: Runs) -> None:
    """Requests that were sent, or only due, when the server stopped are in the outcome."""
    outcome = runs.lost
    assert outcome.due == due(RATE, 2)
    assert outcome.errors > 0.2 * outcome.due, outcome.messages
    assert any("Unanswered" in message for message in outcome.messages)


@pytest.mark.parametrize("arrivals", [POISSON, CONSTANT])
def test_a_schedule_is_that_of_its_seed(arrivals: str) -> None:
    first = list(schedule(500, 4, 7, arrivals))
    assert first == list(schedule(500, 4, 7, arrivals))
    others = list(schedule(500, 4, 8, arrivals))
    assert [one.kind for one in first] != [one.kind for one in others]
    assert all(0 < one.at < 4 for one in first)
    assert len(first) == pytest.approx(2000, rel=0.1)


def test_a_higher_rate_has_the_same_requests_sooner() -> None:
    slow, fast = (list(schedule(rate, 2, 1)) for rate in (100, 1000))
    assert [one.kind for one in slow] == [one.kind for one in fast[: len(slow)]]


def test_arrivals_are_even_or_by_chance() -> None:
    gaps = {
        arrivals: [
            after.at - before.at for before, after in pairwise(schedule(1000, 20, 1, arrivals))
        ]
        for arrivals in (CONSTANT, POISSON)
    }
    assert max(gaps[CONSTANT]) == pytest.approx(min(gaps[CONSTANT]), rel=1e-6)
    mean = sum(gaps[POISSON]) / len(gaps[POISSON])
    assert mean == pytest.approx(0.001, rel=0.05)
    longer = sum(gap > mean for gap in gaps[POISSON]) / len(gaps[POISSON])
    assert longer == pytest.approx(0.368, abs=0.02), "of exponential gaps, 1/e"


def test_the_mix_is_as_planned() -> None:
    assert sum(kind.share for kind in MIX) == 100
    counts = Counter(one.kind.name for one in schedule(1000, 20, 1))
    for kind in MIX:
        assert counts[kind.name] / 20_000 == pytest.approx(kind.share / 100, abs=0.02)


def report(recorder: Recorder, at: float, since: str, ms: float, problem: object = None) -> None:
    assert problem is None or isinstance(problem, Exception)
    context = {DUE: at, SINCE: since}
    recorder.on_request(response_time=ms, exception=problem, context=context, name="x")


def test_the_warm_up_is_left_out(tmp_path: Path) -> None:
    recorder = Recorder()
    for at in (0.0, 0.999, 1.0, 2.0):
        report(recorder, at, SENT, 1.0)
        report(recorder, at, INTENDED, 3.0)
    recorder.write(tmp_path / "o", 99.0, 3.0)
    outcome = run.read(tmp_path / "o")
    assert (outcome.requests, outcome.sent, outcome.offered) == (2, 4, 1.0)
    assert outcome.service.mean == pytest.approx(0.001)
    assert outcome.intended.mean == pytest.approx(0.003)


def test_failures_have_kinds_and_no_latency(tmp_path: Path) -> None:
    recorder = Recorder()
    problems = [Refused("503"), ConnectionResetError(), ConnectionRefusedError()]
    problems += [Wrong("x"), Unanswered("y"), TimeoutError()]
    for problem in problems:
        report(recorder, 1.5, SENT, 1.0, problem)
        report(recorder, 1.5, INTENDED, 1.0, problem)
    recorder.write(tmp_path / "o", 99.0, 2.0)
    outcome = run.read(tmp_path / "o")
    assert (outcome.requests, outcome.refused, outcome.errors) == (0, 3, 3)
    assert outcome.service.count == outcome.intended.count == 0
    assert outcome.failures == 1.0
    assert outcome.messages["Refused: 503"] == 1


def test_workers_add_up_and_report_nothing_twice(tmp_path: Path) -> None:
    master, worker = Recorder(), Recorder()
    for number in range(6):
        report(worker, 1.5, SENT, number)
        report(worker, 1.5, INTENDED, number)
        worker.on_request(response_time=9.0, context={})
        if number % 2:
            data: dict[str, object] = {}
            worker.on_report_to_master(data=data, client_id="w")
            master.on_worker_report(data=json.loads(json.dumps(data)), client_id="w")
    assert (master.opened.requests, master.closed.requests) == (6, 6)
    assert master.opened.intended.longest == pytest.approx(0.005)


def test_a_malformed_outcome_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "o").write_text('{"requests": 1}')
    with pytest.raises(ValueError, match="is not an outcome"):
        run.read(tmp_path / "o")
    with pytest.raises(OSError, match="nothing"):
        run.read(tmp_path / "nothing")
