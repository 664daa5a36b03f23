"""The benchmark of fairness: its tables from known figures, each case on a small real server."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from math import nan
from pathlib import Path

import pytest

from loadtest import system
from loadtest.benchmarks.fairness.__main__ import main, measured, room_for
from loadtest.benchmarks.fairness.arms import BEFORE, OURS, PEER, Arm, arms, make_files
from loadtest.benchmarks.fairness.cases import CASES
from loadtest.benchmarks.fairness.report import (
    BOUNDS,
    COMPARED,
    Bound,
    Measurement,
    Results,
    all_rounds,
)
from loadtest.benchmarks.fairness.trial import Size, Trial, trial
from loadtest.benchmarks.peers import nginx_program
from loadtest.system import MeasurementError

SMALL = Size(share=0.01, seconds=0.5)


# ---------------------------------------------------------------------------------- the tables


def bystanders(p99: float, failed: float = 0.0) -> dict[str, float]:
    names = ("kept", "new")
    figures = {f"{name}: p99, ms": p99 for name in names}
    return figures | {f"{name}: failed": failed for name in names}


def results(case: str, values: dict[str, list[dict[str, float]]], noise: float = 0.5) -> Results:
    """Results of idle rounds and of one case: figures of each round by arm."""
    found = Results([Measurement("idle", OURS, 1, bystanders(noise))])
    for arm, rounds in values.items():
        found.measurements += [
            Measurement(case, arm, number, figures) for number, figures in enumerate(rounds, 1)
        ]
    return found


def test_a_case_is_judged_by_the_median_of_its_rounds() -> None:
    values = {OURS: [bystanders(p99) for p99 in (4.0, 90.0, 4.9)], PEER: [bystanders(700.0)]}
    kept, new = results("slow-readers", values).judged(["slow-readers"])
    ours = "4.9 [4.0 90.0 4.9]"
    bound = ["<= 5", "met"]
    assert kept == ["slow-readers", "kept: p99, ms", ours, "-", "700.0 [700.0]", *bound]
    assert new == ["slow-readers", "new: p99, ms", ours, "-", "700.0 [700.0]", *bound]


def test_a_bound_that_is_missed() -> None:
    found = results("slow-readers", {OURS: [bystanders(p99) for p99 in (5.1, 2.0, 5.2)]})
    assert [line[-1] for line in found.judged(["slow-readers"])] == ["NOT MET"] * 2
    assert not found.print(["idle", "slow-readers"])


def test_a_case_without_figures_is_not_met() -> None:
    found = results("slow-readers", {PEER: [bystanders(1.0)]})
    assert [line[-1] for line in found.judged(["slow-readers"])] == ["not measured"] * 2
    assert not found.print(["idle", "slow-readers"])


def test_requests_that_failed_miss_the_bound() -> None:
    rounds = [bystanders(1.0), bystanders(1.0, failed=3.0), bystanders(1.0)]
    found = results("burst", {OURS: rounds})
    verdicts = [line[-1] for line in found.judged(["burst"])]
    assert verdicts == ["NOT MET: 6 requests failed"] * 2  # three of each bystander


def test_a_noisy_machine_gives_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    values = {OURS: [bystanders(5.1)]}
    assert results("slow-readers", values, noise=2.5).print(["idle", "slow-readers"])
    output = capsys.readouterr().out
    assert "4 of 4 bounds are not met." in output
    assert "The machine was noisy" in output
    assert not results("slow-readers", values).print(["idle", "slow-readers"])
    assert "The machine was noisy" not in capsys.readouterr().out


def test_without_idle_rounds_the_machine_does_not_count_as_quiet() -> None:
    assert not Results().is_quiet()


@pytest.mark.parametrize(
    ("bound", "values", "verdict"),
    [
        (Bound("", 5.0), [5.0], "met"),
        (Bound("", 5.0), [5.1], "NOT MET"),
        (Bound("", 0.2, is_least=True), [0.2], "met"),
        (Bound("", 0.2, is_least=True), [0.19, 0.1, 0.9], "NOT MET"),
        (Bound("", 5.0), [nan], "not measured"),
        (Bound("", 5.0), [], "not measured"),
    ],
)
def test_the_verdict_of_a_bound(bound: Bound, values: list[float], verdict: str) -> None:
    assert bound.verdict(values) == verdict


def test_bulk_is_compared_with_the_other_checkout_in_each_round() -> None:
    """Round 3 has no `before`, so it has no ratio."""
    ours = [(2.2, 900.0), (2.0, 1000.0), (9.0, 1.0)]
    before = [(2.0, 1000.0), (2.0, 1000.0)]
    values = {
        arm: [{"CPU per 10 MiB, ms": cpu, "throughput, MB/s": rate} for cpu, rate in rounds]
        for arm, rounds in ((OURS, ours), (BEFORE, before))
    }
    found = results("downloads", values)
    lines = {line[1]: line[2:] for line in found.judged(["downloads"])}
    cpu = lines["CPU per 10 MiB, ms: times worse than before"]
    assert cpu == ["1.050 [1.100 1.000]", "", "", "<= 1.03", "NOT MET"]
    speed = lines["throughput, MB/s: times worse than before"]
    assert speed == ["1.056 [1.111 1.000]", "", "", "<= 1.03", "NOT MET"]


def test_nothing_is_compared_without_another_checkout() -> None:
    found = results("downloads", {OURS: [{"CPU per 10 MiB, ms": 1.0, "throughput, MB/s": 1.0}]})
    assert not [line for line in found.judged(["downloads"]) if "before" in line[1]]


def test_every_case_has_bounds() -> None:
    assert CASES.keys() == BOUNDS.keys()
    assert COMPARED.keys() <= CASES.keys()


def test_all_rounds_as_text() -> None:
    assert all_rounds([]) == "-"
    assert all_rounds([0.98, 1.0, 0.97]) == "0.980 [0.980 1.000 0.970]"
    assert all_rounds([3612.4, 28.0]) == "1820.2 [3612.4 28.0]"


def test_percentiles_are_of_requests_within_the_windows(tmp_path: Path) -> None:
    one = Trial(0, 0, tmp_path, SMALL, windows=[(10.0, 11.0), (20.0, 21.0)])
    samples = [(10.0 + number / 100, 0.001 * number) for number in range(100)]
    outside = [(9.99, 5.0), (11.0, 5.0), (21.0, 5.0)]
    result = {
        "samples": [*samples, (20.5, 0.2), *outside],
        "failed": [9.0, 10.5, 11.0],
        "lateness": [(10.0, 0.0001), (20.0, 0.0003), (12.0, 9.0)],
    }
    one.finish({"kept": result})
    assert one.figures == pytest.approx(
        {
            "kept: requests": 101,
            "kept: failed": 1,
            "kept: p50, ms": 50.0,
            "kept: p99, ms": 99.0,
            "kept: longest, ms": 200.0,
            "kept: p99 of its own lateness, ms": 0.3,
        }
    )


def test_no_request_in_the_windows_is_a_failure(tmp_path: Path) -> None:
    result = {"samples": [(1.0, 0.1)], "failed": [], "lateness": []}
    with pytest.raises(MeasurementError, match="no request"):
        Trial(0, 0, tmp_path, SMALL, windows=[(2.0, 3.0)]).finish({"new": result})


# ---------------------------------------------------------------------------------- the options


def test_too_few_file_descriptors_are_reported_before_the_start() -> None:
    limit = system.raise_descriptor_limit()
    room_for(Size(idle=0, share=0.01))
    with pytest.raises(SystemExit, match=rf"ulimit -Hn\) is {limit}; the server needs \d+"):
        room_for(Size(idle=limit, share=0.01))


def test_another_checkout_must_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fairness", "--against", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "is not a checkout" in capsys.readouterr().err


# ---------------------------------------------------------------------------------- real servers


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Arm]]:
    # Not below pytest's own directory, which other users may not enter: nginx's worker is one.
    with tempfile.TemporaryDirectory(prefix="loadtest-files-") as name:
        make_files(Path(name))
        yield arms(Path(name), system.PROJECT)


OWN_FIGURES = {
    "burst": {"arriving: p50, ms", "arriving: p99, ms", "arriving: longest, ms"},
    "closing": {"CPU of closing, s"},
    "pipelines": {"requests sent", "server busy, %"},
    "pipelines-read": {"responses read, 1/s", "server busy, %"},
    "downloads": {"throughput, MB/s", "CPU per 10 MiB, ms", "Jain's index", "server busy, %"},
    "mix": {"slowest paced one, of its rate", "fast ones, MB/s", "fast ones, of what is left"},
    "starving": {"downloads, of the server's time", "tiny requests, 1/s"},
}


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("case", CASES)
def test_a_small_case_on_our_server(case: str, servers: dict[str, Arm]) -> None:
    figures = measured(case, servers[OURS], SMALL)
    assert figures.keys() >= OWN_FIGURES.get(case, set())
    assert figures["server CPU, s"] > 0.0
    for name in ("kept", "new"):
        assert figures[f"{name}: requests"] > 50
        assert figures[f"{name}: failed"] == 0
        middle, p99, longest = (
            figures[f"{name}: {what}, ms"] for what in ("p50", "p99", "longest")
        )
        assert 0.0 < middle <= p99 <= longest
    judged = (bound.figure for bound in BOUNDS[case])
    assert figures.keys() >= set(judged)
    assert figures.keys() >= COMPARED.get(case, {}).keys()


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.skipif(not nginx_program(), reason="nginx is not installed")
@pytest.mark.parametrize("case", ["slow-readers", "closing", "downloads"])
def test_a_small_case_on_nginx(case: str, servers: dict[str, Arm]) -> None:
    figures = measured(case, servers[PEER], SMALL)
    assert figures["kept: failed"] == figures["new: failed"] == 0


@pytest.mark.system
@pytest.mark.slow
def test_a_case_over_idle_connections(servers: dict[str, Arm]) -> None:
    with trial(servers[OURS], Size(share=0.01, seconds=0.5, idle=300)) as one:
        CASES["idle"](one)
        descriptors = len(os.listdir(f"/proc/{one.pid}/fd"))
    assert descriptors > 300 + 100  # and the connections of the bystander


@pytest.mark.system
@pytest.mark.slow
def test_bystanders_notice_a_server_that_stands(servers: dict[str, Arm]) -> None:
    """Every request that was due in a stall of 0.4 s counts from when it was due."""
    with trial(servers[OURS], SMALL) as one:
        start = time.monotonic()
        os.kill(one.pid, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(one.pid, signal.SIGCONT)
        time.sleep(0.6)
        one.windows.append((start, time.monotonic()))
    for name in ("kept", "new"):
        assert one.figures[f"{name}: longest, ms"] >= 380
        # 100 of 250 requests were due in the stall: a quarter of all waited 150 ms and more.
        assert one.figures[f"{name}: p99, ms"] >= 300
        assert one.figures[f"{name}: requests"] > 200


@pytest.mark.system
@pytest.mark.slow
def test_the_program_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    options = ["--rounds", "1", "--only", "burst", "--share", "0.01", "--seconds", "0.3"]
    options += ["--against", str(system.PROJECT), "--without-nginx", "--json", str(path)]
    monkeypatch.setattr("sys.argv", ["fairness", *options])
    monkeypatch.setattr(system, "end_on_sigterm", lambda: None)
    status = main()
    content = json.loads(path.read_text())
    assert status in (0, 1)  # the bounds hold for a machine without other work
    assert [(one["case"], one["arm"]) for one in content["measurements"]] == [
        ("idle", OURS),
        ("idle", BEFORE),
        ("burst", OURS),
        ("burst", BEFORE),
    ]
    assert content["failures"] == []
    assert "median [each round]" in capsys.readouterr().out
