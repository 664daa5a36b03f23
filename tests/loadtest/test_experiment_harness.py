"""The harness: it measures the right process, in the right order, and survives broken servers."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from loadtest import system, system_idle
from loadtest.clients import slow_crowds
from loadtest.clients.histogram import Histogram
from loadtest.experiment.__main__ import _parse_options
from loadtest.experiment.measure import harness, sample_server
from loadtest.experiment.measure.arms import ARMS, Arm
from loadtest.experiment.measure.harness import Harness, Options, check_identity, warm_up
from loadtest.experiment.measure.plans import Planned
from loadtest.experiment.measure.sample_server import Outcome, SampleServer, Window
from loadtest.experiment.measure.samples import VALUES, Cell, Recorder, Run, Sample, read
from loadtest.experiment.measure.workloads import Workload, keepalive
from loadtest.system import MeasurementError
from loadtest.system_idle import Times
from tests.support import hostile_arms, processes

pytestmark = pytest.mark.system

Measure = Callable[[SampleServer, float], Outcome]

SECONDS = 30.0  # for what should come soon, on a machine that is busy
ALL_QUIET = Times(0, 0, 1000)


def fake(kind: str) -> Arm:
    def command(port: int, files: Path, directory: Path) -> list[str]:
        return [sys.executable, "-m", "tests.support.broken_servers", kind, "--port", str(port)]

    return Arm(kind, command)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake arms under the names of what they do, and little patience."""
    for name in ("a", "b", "c", "dies", "dies early", "freezes", "freezes early", "never begins"):
        monkeypatch.setitem(ARMS, name, fake(name))
    for name in ("other", "huge", "words", "no pid", "garbage", "unwilling"):
        monkeypatch.setitem(ARMS, name, fake(name))
    monkeypatch.setattr(harness, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(system, "STOP_TIMEOUT", 0.5)
    monkeypatch.setattr(slow_crowds, "SOCKET_TIMEOUT", 3.0)
    monkeypatch.setattr(sample_server, "BYSTANDER_PATIENCE", 0.5)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)  # no generator of others


def nothing(server: SampleServer, x: float) -> Outcome:
    return Outcome(1.0, ["generator"], {"requests": x, "cpu_us": 1.0})


def planned(*arms: str, measure: Measure = nothing, capacity: bool = False) -> Planned:
    cell = Cell("x-3", "x", 3.0, "three", list(arms))
    return Planned(cell, Workload(measure, "{x}", "clients", needs_capacity=capacity))


def run_of(plan: Sequence[Planned], rounds: int = 1) -> Run:
    return Run("quick", 1.0, rounds, "", {}, {}, [one.cell for one in plan])


def carried_out(directory: Path, plan: Sequence[Planned], rounds: int = 1) -> Sequence[Sample]:
    path = directory / "raw.jsonl"
    recorder = Recorder(path, run_of(plan, rounds))
    try:
        Harness(plan, Options(rounds, 1.0), recorder, directory).run()
    finally:
        recorder.close()
    return read(path).samples


def wait_for(condition: Callable[[], Any], what: str) -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


# ---------------------------------------------------------------------------------- the order


def test_arms_take_turns_forwards_and_backwards_each_in_a_process_of_its_own(
    tmp_path: Path,
) -> None:
    pids: list[int] = []
    commands: processes.Commands = {}

    def measure(server: SampleServer, x: float) -> Outcome:
        assert not processes.left(commands), "the one before is still there"
        pids.append(server.pid)
        commands.update(processes.commands([server.pid]))
        return nothing(server, x)

    plan = [planned("a", "b", "c", measure=measure), planned("b", "a")]
    samples = carried_out(tmp_path, plan, rounds=3)
    assert not [one.failure for one in samples if one.failure]
    order = [(one.round, one.arm) for one in samples]
    assert order == [
        *((0, arm) for arm in "abcba"),
        *((1, arm) for arm in "cbaab"),
        *((2, arm) for arm in "abcba"),
    ]
    assert len(set(pids)) == len(pids) == 9
    assert all(commands.values())
    assert not processes.left(commands)


def test_each_sample_is_on_the_disk_before_the_next_begins(tmp_path: Path) -> None:
    there: list[int] = []

    def measure(server: SampleServer, x: float) -> Outcome:
        there.append(len(read(tmp_path / "raw.jsonl").samples))
        return nothing(server, x)

    carried_out(tmp_path, [planned("a", "b", measure=measure)], rounds=2)
    assert there == [0, 1, 2, 3]


def test_an_interrupt_leaves_what_was_done(tmp_path: Path) -> None:
    commands: processes.Commands = {}

    def measure(server: SampleServer, x: float) -> Outcome:
        commands.update(processes.commands([server.pid]))
        if len(commands) == 2:
            raise KeyboardInterrupt
        return nothing(server, x)

    with pytest.raises(KeyboardInterrupt):
        carried_out(tmp_path, [planned("a", "b", measure=measure)])
    recorded = read(tmp_path / "raw.jsonl")
    assert [one.arm for one in recorded.samples] == ["a"]
    assert not recorded.ended
    assert not processes.left(commands)


def test_the_record_of_a_sample(tmp_path: Path) -> None:
    (sample,) = carried_out(tmp_path, [planned("a")])
    assert sample.server[:3] == ["python", "-m", "tests.support.broken_servers"]
    assert sample.generator == ["generator"]
    assert sample.values == {"requests": 3.0, "cpu_us": 1.0}
    assert sample.seconds == 1.0
    assert abs(sample.at - time.time()) < 60


def test_commands_are_recorded_as_a_user_would_type_them() -> None:
    directory = f"{tempfile.gettempdir()}/loadtest-x7"
    command = [sys.executable, f"{directory}/access.log", f"{system.PROJECT}/loadtest/x.lua", "-t1"]
    assert harness._as_typed(command) == ["python", "DIR/access.log", "loadtest/x.lua", "-t1"]


# ---------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("arm", "reason"),
    [
        ("never begins", "the server ended at once: the port is taken"),
        ("other", r"process 1 responded, but \d+ was started"),
        ("huge", r"process 9{20} responded, but \d+ was started"),
        ("words", "expected a process id from /pid, got 200 b'mine"),
        ("no pid", "expected a process id from /pid, got 404"),
        ("garbage", "no response"),
        ("unwilling", "GET /hello got status 503"),
        ("dies early", "got status 0|no response"),
        ("freezes early", "no response: timed out"),
    ],
)
def test_an_arm_that_fails_is_a_sample_with_a_reason(arm: str, reason: str, tmp_path: Path) -> None:
    first, second = carried_out(tmp_path, [planned(arm, "a")])
    assert re.search(reason, first.failure), first.failure
    assert first.arm == arm
    assert not first.values
    assert not first.latencies
    assert first.server[-4:-1] == ["tests.support.broken_servers", arm, "--port"]
    assert not second.failure, "the run goes on"
    assert second.values


@pytest.mark.parametrize(
    "trouble",
    [
        MeasurementError("two\n  lines"),
        MeasurementError(),
        ValueError("two lines"),
        KeyError("silent"),
        FileNotFoundError(2, "two lines"),
        subprocess.SubprocessError("two lines"),
        json.JSONDecodeError("two lines", "x", 0),
    ],
    ids=repr,
)
def test_a_workload_that_fails_is_a_sample_with_a_reason(
    trouble: Exception, tmp_path: Path
) -> None:
    def measure(server: SampleServer, x: float) -> Outcome:
        raise trouble

    first, second = carried_out(tmp_path, [planned("a", measure=measure), planned("b")])
    assert first.failure
    assert "\n" not in first.failure
    if str(trouble):
        assert "two lines" in first.failure or "KeyError: 'silent'" in first.failure
    assert not second.failure


def test_a_mistake_of_ours_is_not_taken_for_a_measurement(tmp_path: Path) -> None:
    def measure(server: SampleServer, x: float) -> Outcome:
        raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"):
        carried_out(tmp_path, [planned("a", measure=measure)])


def test_an_arm_that_dies_in_the_middle(tmp_path: Path) -> None:
    first, second = carried_out(tmp_path, [planned("dies", measure=keepalive), planned("a")])
    assert first.failure == "the server ended during the load: MemoryError: no room"
    assert not second.failure


def test_an_arm_that_freezes_in_the_middle_does_not_stop_the_run(tmp_path: Path) -> None:
    """The sample has a bad result, not a failure: no client gets a response any more."""
    began = time.monotonic()
    first, second = carried_out(tmp_path, [planned("freezes", measure=keepalive), planned("a")])
    assert time.monotonic() - began < 60
    assert not first.failure
    assert first.values["bystander_errors"] > 0
    assert first.latencies["bystander"].percentile(0.9) >= 0.5, "so long was its patience"
    assert not second.failure


# ---------------------------------------------------------------------------------- the server


@pytest.fixture
def decoy(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Another process, and the port that it has taken."""
    port = system.free_port()
    command = fake("a").command(port, tmp_path, tmp_path)
    with system.serving(command, port, None, tmp_path / "decoy.log") as pid:
        yield pid, port


def test_another_process_at_the_port_is_found_out(decoy: tuple[int, int]) -> None:
    pid, port = decoy
    check_identity(pid, port)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with pytest.raises(MeasurementError, match=f"{pid} responded, but {other.pid} was started"):
            check_identity(other.pid, port)
        other.communicate()


def test_a_child_may_serve_for_its_parent(decoy: tuple[int, int]) -> None:
    _, port = decoy
    check_identity(os.getpid(), port)


@pytest.mark.parametrize("kind", hostile_arms.BAD)
def test_bad_responses_to_the_request_for_the_process(kind: str) -> None:
    with hostile_arms.server(hostile_arms.BAD[kind][0]) as port:
        for ask in (check_identity, warm_up):
            with pytest.raises(MeasurementError):
                ask(os.getpid(), port)


def test_a_server_without_any_response() -> None:
    with hostile_arms.refusing() as port:
        for ask in (check_identity, warm_up):
            with pytest.raises(MeasurementError, match=r"no response: .*refused"):
                ask(os.getpid(), port)
    timed_out = pytest.raises(MeasurementError, match="no response: timed out")
    with hostile_arms.server(hostile_arms.never_respond) as port, timed_out:
        check_identity(os.getpid(), port)


def test_a_warm_up_returns_the_cost_of_a_response(decoy: tuple[int, int]) -> None:
    pid, port = decoy
    before = system.cpu_clock(pid)
    cost = warm_up(pid, port)
    assert 0 < cost * harness.SMALL_REQUESTS <= system.cpu_clock(pid) - before


# ---------------------------------------------------------------------------------- noise


@pytest.mark.parametrize(
    ("times", "steal", "noisy"),
    [
        ([Times(0, 0, 0), Times(2, 0, 40), Times(2, 0, 40), Times(300, 0, 440)], 0.0, False),
        ([Times(0, 0, 0), Times(10, 0, 40), Times(10, 0, 40), Times(300, 0, 440)], 0.0, True),
        ([Times(0, 0, 0), Times(0, 0, 40), Times(0, 7, 40), Times(0, 11, 440)], 0.01, False),
        ([Times(0, 0, 0), Times(0, 0, 40), Times(0, 7, 40), Times(0, 27, 440)], 0.05, True),
        ([ALL_QUIET] * 4, 0.0, False),  # no tick has passed
    ],
    ids=["calm", "busy before", "little stolen", "much stolen", "at once"],
)
def test_noise(
    times: list[Times], steal: float, noisy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_idle, "machine_times", iter(times).__next__)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 9.0, 9.0))
    (sample,) = carried_out(tmp_path, [planned("a")])
    assert sample.steal == pytest.approx(steal)
    assert sample.noisy is noisy
    assert sample.load == 1.5


def test_a_failure_may_be_noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [Times(0, 0, 0), Times(0, 0, 40), Times(0, 0, 40), Times(0, 100, 440)]
    monkeypatch.setattr(system_idle, "machine_times", iter(times).__next__)
    (sample,) = carried_out(tmp_path, [planned("no pid")])
    assert sample.failure
    assert sample.noisy


# ---------------------------------------------------------------------------------- progress


def test_progress_has_the_position_and_the_remaining_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Planned(planned("a", "b").cell, Workload(nothing, "{x}", "clients", extra=594.0))
    carried_out(tmp_path, [slow], rounds=2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 8
    expected = 4 * slow.expected(1.0) / 60
    assert lines[0] == f"[  1/4] round 1, x-3, a; {expected:.0f} min left"
    assert "1.0 µs/request" in lines[1]
    # The duration is known after the first sample, and was next to nothing.
    assert lines[2] == "[  2/4] round 1, x-3, b; 0 min left"
    assert lines[4].startswith("[  3/4] round 2, x-3, b;")
    assert lines[6].startswith("[  4/4] round 2, x-3, a;")


def test_progress_has_failures_errors_and_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(server: SampleServer, x: float) -> Outcome:
        values = {"rate": 1234.5, "errors": 7.0, "refused": 2.0, "generator_share": 0.5}
        return Outcome(1.0, [], values, {"service": Histogram([0.0125] * 9), "x": Histogram()})

    times = [Times(0, 0, 0), Times(40, 0, 40), Times(0, 0, 0), Times(0, 0, 40)] * 2
    monkeypatch.setattr(system_idle, "machine_times", iter(times).__next__)
    carried_out(tmp_path, [planned("a", "no pid", measure=measure)])
    lines = capsys.readouterr().err.splitlines()
    text = "1,234/s, 7 errors, 2 refused, generator 50%, service p99 12.5 ms (noisy)  ("
    assert text in lines[1]
    assert "failed: expected a process id" in lines[3]


# ---------------------------------------------------------------------------------- the window


def window(start: float, end: float, server_cpu: float = 0.0) -> Window:
    one = Window([os.getpid()], os.getpid())
    one.close()
    one.start, one.end = start, end
    one.server_cpu = server_cpu
    return one


class ScriptedBystander:
    """A companion that has seen these."""

    def __init__(self, result: dict[str, Any]) -> None:
        self._result = result

    def dismiss(self, timeout: float) -> dict[str, Any]:
        return self._result


def finished(
    directory: Path,
    samples: list[tuple[float, float]],
    requests: float,
    small_cost: float = 0.0,
    wrong: int = 0,
) -> Outcome:
    """With a window of two seconds from 10.0 on, in which the server has used a second."""
    one = SampleServer(os.getpid(), 1, directory, 2.0, 0.0, small_cost)
    result = {"samples": samples, "failed": [due for due, _ in samples[:wrong]]}
    one._bystander = ScriptedBystander(result)  # type: ignore[assignment]
    values = {"requests": requests} if requests else {}
    return one.finish(Outcome(2.0, [], values), window(10.0, 12.0, server_cpu=1.0))


@pytest.mark.parametrize(
    ("values", "silent"),
    [
        ({"served": 0.25, "jain": 0.2, "connections": 4096, "errors": 0}, 3072),
        ({"jain": 32 / 512, "connections": 512}, 480),  # h2load prints no count
        ({"served": 1.0, "jain": 1.0, "connections": 8}, 0),
        ({"served": 0.5, "connections": 100, "errors": 50}, 0),  # as after a burst
    ],
)
def test_connections_without_a_response_are_recorded(
    tmp_path: Path, values: dict[str, float], silent: float
) -> None:
    one = SampleServer(os.getpid(), 1, tmp_path, 2.0, 0.0)
    outcome = one.finish(Outcome(2.0, [], dict(values)), window(10.0, 12.0, server_cpu=1.0))
    assert outcome.values["unserved"] == silent
    assert "unserved" in VALUES


def test_requests_alone_have_no_connections_without_a_response(tmp_path: Path) -> None:
    one = SampleServer(os.getpid(), 1, tmp_path, 2.0, 0.0)
    values = {"requests": 100.0, "errors": 3.0}
    outcome = one.finish(Outcome(2.0, [], values), window(10.0, 12.0, server_cpu=1.0))
    assert "unserved" not in outcome.values


def test_the_bystander_counts_within_the_window(tmp_path: Path) -> None:
    """By when they were due, and not by when they ended."""
    samples = [(9.999, 5.0), (10.0, 0.001), (11.0, 0.002), (11.999, 4.0), (12.0, 9.0)]
    outcome = finished(tmp_path, samples, 10, wrong=1)
    bystander = outcome.latencies["bystander"]
    assert bystander.count == 3
    assert bystander.longest == 4.0
    assert bystander.percentile(0.01) == pytest.approx(0.001, rel=0.04)
    assert outcome.values["bystander_errors"] == 0
    assert outcome.values["server_share"] == 0.5


def test_the_bystander_is_neither_paid_for_nor_counted(tmp_path: Path) -> None:
    """Beside five large files, 200 small responses for 0.1 ms each."""
    samples = [(10.0 + number / 100, 0.001) for number in range(200)]
    outcome = finished(tmp_path, samples, 5, small_cost=0.0001)
    assert outcome.values["cpu_us"] == pytest.approx((1.0 - 200 * 0.0001) / 5 * 1e6)
    # A half of them had no response, so their cost is not known.
    outcome = finished(tmp_path, samples, 5, small_cost=0.0001, wrong=100)
    assert outcome.values["cpu_us"] == pytest.approx((1.0 - 100 * 0.0001) / 5 * 1e6)
    assert outcome.values["bystander_errors"] == 100


def test_cpu_time_that_is_mostly_the_bystanders_is_left_out(tmp_path: Path) -> None:
    samples = [(10.5, 0.001)] * 100
    for cost in (0.006, 0.01, 1.0):
        assert "cpu_us" not in finished(tmp_path, samples, 5, small_cost=cost).values
    assert finished(tmp_path, samples, 5, small_cost=0.004).values["cpu_us"] > 0
    assert "cpu_us" not in finished(tmp_path, samples, 0).values
    assert finished(tmp_path, [], 5).values["cpu_us"] == pytest.approx(0.2e6)


def test_a_window_has_the_time_of_server_and_generator() -> None:
    one = Window([os.getpid()], os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    one.close()
    assert one.seconds >= 0.1
    assert 0.05 <= one.server_cpu <= one.seconds * 2
    shares = one.shares()
    assert shares["server_share"] == one.server_cpu / one.seconds
    assert shares["generator_share"] == pytest.approx(shares["server_share"], abs=0.3)


# ---------------------------------------------------------------------------------- capacity


def test_the_capacity_is_the_best_of_three_and_known_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "OURS", "a")
    rates = iter([100.0, 300.0, 200.0])
    monkeypatch.setattr(harness, "capacity_of", lambda _: next(rates))
    seen: list[float] = []

    def measure(server: SampleServer, x: float) -> Outcome:
        seen.append(server.capacity)
        return nothing(server, x)

    carried_out(tmp_path, [planned("b", "c", measure=measure, capacity=True)])
    assert seen == [300.0, 300.0]
    with pytest.raises(StopIteration):
        next(rates)


def test_a_run_needs_the_capacity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "OURS", "no pid")
    with pytest.raises(MeasurementError, match="expected a process id"):
        carried_out(tmp_path, [planned("a", capacity=True)])


def test_cells_that_need_no_capacity_do_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "OURS", "never begins")
    (sample,) = carried_out(tmp_path, [planned("a")])
    assert not sample.failure


def test_files_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dict(harness.FILES) == {
        "1k.bin": 2**10,
        "100k.bin": 100 * 2**10,
        "100m.bin": 100 * 2**20,
    }
    monkeypatch.setattr(harness, "FILES", (("1k.bin", 1024), ("100k.bin", 102400)))
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        harness.make_files(tmp_path / name)
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
    assert {name: len(content) for name, content in made[0].items()} == dict(harness.FILES)
    assert len(set(made[0]["100k.bin"])) == 256


# ---------------------------------------------------------------------------------- the program


def program(*options: str) -> subprocess.Popen[str]:
    """Without a PATH the generators are our own, so that each machine runs the same."""
    command = [sys.executable, "-m", "loadtest.experiment", *options]
    return subprocess.Popen(
        command,
        cwd=system.PROJECT,
        env={**os.environ, "PATH": "/nowhere"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_program(*options: str) -> tuple[int, str, str]:
    with program(*options) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def interrupted(directory: Path, samples: int) -> tuple[int, str, processes.Commands]:
    """A run that is interrupted in the middle of the next sample; and its processes then."""
    options = ("--arm", "reactor", "--only", "keepalive-64", "--rounds", "50", "--seconds", "1")
    raw = directory / "raw.jsonl"
    with program("quick", *options, "--directory", str(directory)) as process:
        try:
            wait_for(lambda: raw.exists() and whole_lines(raw) == 1 + samples, "no samples")
            if samples:
                wait_for(lambda: len(system.descendants(process.pid)) >= 3, "nothing runs")
            family = processes.commands(system.descendants(process.pid)[1:])
        finally:
            os.kill(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=60)
    return process.returncode, err, family


def whole_lines(path: Path) -> int:
    return path.read_text().count("\n")


def test_an_interrupted_run_and_its_report(tmp_path: Path) -> None:
    """The second run compares itself with the first, and its report can be made again."""
    directory = tmp_path / "deep" / "report"
    directory.mkdir(parents=True)
    status, err, family = interrupted(directory, samples=1)
    assert status == 130, err
    assert "Interrupted: the report has what was measured until now." in err
    assert "Traceback" not in err
    assert family
    assert not processes.left(family)
    recorded = read(directory / "raw.jsonl")
    assert [one.failure for one in recorded.samples] == [""]
    assert recorded.samples[0].values["requests"] > 0
    assert not recorded.ended
    page = (directory / "index.html").read_text()
    assert "reactor" in page
    assert not (directory / "previous.json").exists()

    (directory / "index.html").unlink()
    status, _, err = run_program("report", "--directory", str(directory))
    assert status == 0, err
    assert (directory / "index.html").read_text() == page

    first = (directory / "report.json").read_text()
    status, err, _ = interrupted(directory, samples=0)
    assert status == 130, err
    assert (directory / "previous.json").read_text() == first
    assert read(directory / "raw.jsonl").samples == []
    assert (directory / "index.html").exists()


def test_a_list_measures_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "report"
    status, out, err = run_program("quick", "--list", "--directory", str(directory))
    assert status == 0
    assert not err
    assert "6 cells, 1 rounds, 12 samples, about 2 minutes" in out
    assert "  keepalive-4096" in out
    assert not directory.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "required: plan"),
        (("slow",), "invalid choice: 'slow'"),
        (("quick", "--only", "keepalive-65"), "keepalive-65"),
        (("quick", "--arm", "apache"), "apache"),
        (("quick", "--rounds", "0"), "at least one round"),
        (("quick", "--rounds", "-1"), "at least one round"),
        (("quick", "--rounds", "x"), "--rounds"),
        (("quick", "--seconds", "0.5"), "windows of 1 to 600 seconds"),
        (("quick", "--seconds", "nan"), "windows of 1 to 600 seconds"),
        (("quick", "--seconds", "601"), "windows of 1 to 600 seconds"),
    ],
)
def test_wrong_options(
    options: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["loadtest.experiment", *options])
    with pytest.raises(SystemExit) as raised:
        _parse_options()
    assert raised.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("loadtest.experiment: error: ")
    assert sentence in last


def test_nothing_to_measure_and_nowhere_to_write(tmp_path: Path) -> None:
    status, _, err = run_program("quick", "--arm", "nginx", "--directory", str(tmp_path / "report"))
    assert (status, err) == (2, "There is nothing to measure.\n")
    assert not (tmp_path / "report").exists()
    (tmp_path / "file").write_text("x")
    for directory in ("file", "file/report"):
        status, _, err = run_program(
            "quick", "--arm", "reactor", "--directory", str(tmp_path / directory)
        )
        assert status == 2
        assert err.startswith("Cannot write a report: ")
        assert err.count("\n") == 1


def test_a_report_without_raw_data(tmp_path: Path) -> None:
    status, _, err = run_program("report", "--directory", str(tmp_path / "nothing"))
    assert status == 1
    assert err.startswith("Cannot write the report: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "nothing").exists()
