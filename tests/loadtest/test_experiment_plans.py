"""Cells and arms: what is planned is known, possible and as long as expected; arms differ in what
they are to differ in."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from loadtest import system
from loadtest.clients.closed_loop import exchange
from loadtest.clients.slow_crowds import connected, request
from loadtest.experiment.__main__ import ROUNDS, SECONDS
from loadtest.experiment.measure import plans
from loadtest.experiment.measure.arms import ARMS, PEERS, Arm, versions
from loadtest.experiment.measure.generators import BROWSER
from loadtest.experiment.measure.harness import check_identity, warm_up
from loadtest.experiment.measure.plans import (
    FULL,
    PLANS,
    Planned,
    available,
    expected_seconds,
    narrowed,
)
from loadtest.experiment.measure.samples import OURS, POOL, POOL_THREADS, THREADS
from loadtest.experiment.measure.workloads import FILE_CLIENTS, FILE_NAMES, WORKLOADS
from tests.support import processes

SERVES_LITTLE = {"keepalive", "connect", "idle"}  # /hello and /pid is all that peers have


def names(plan: Sequence[Planned]) -> list[str]:
    return [one.cell.name for one in plan]


@contextmanager
def without(monkeypatch: pytest.MonkeyPatch, *arms: str) -> Iterator[None]:
    """On a machine on which all but these is installed."""
    with monkeypatch.context() as patch:
        for name, arm in list(ARMS.items()):
            what = f"the {name} package" if name in arms else ""
            patch.setitem(ARMS, name, Arm(name, arm.command, partial(str, what)))
        yield


# ---------------------------------------------------------------------------------- plans


@pytest.mark.parametrize(("plan", "count"), [("quick", 6), ("bench", 12)])
def test_how_many_cells(plan: str, count: int) -> None:
    assert len(PLANS[plan]) == count
    assert all(one.cell.arms == [OURS, THREADS] for one in PLANS[plan])


@pytest.mark.parametrize(("plan", "minutes"), [("quick", 2), ("bench", 15)])
def test_how_long_it_takes(plan: str, minutes: float) -> None:
    """docs/performance.md names the durations."""
    expected = expected_seconds(PLANS[plan], ROUNDS[plan], SECONDS) / 60
    assert minutes / 1.5 < expected < minutes * 1.5


def test_the_time_grows_with_rounds_arms_and_windows() -> None:
    one = expected_seconds(PLANS["quick"], 1, 3.0)
    assert expected_seconds(PLANS["quick"], 4, 3.0) == pytest.approx(4 * one)
    assert expected_seconds(PLANS["quick"], 1, 5.0) == pytest.approx(one + 2.0 * 12)
    halved = narrowed(PLANS["quick"], [], [OURS])
    assert expected_seconds(halved, 1, 3.0) == pytest.approx(one / 2)
    assert expected_seconds([], 5, 3.0) == 0.0


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_is_of_one_piece(plan: str) -> None:
    assert len(set(names(PLANS[plan]))) == len(PLANS[plan])
    assert set(names(PLANS[plan])) <= set(names(FULL))
    for one in PLANS[plan]:
        cell = one.cell
        assert WORKLOADS[cell.workload] is one.workload
        assert cell.name.startswith(f"{cell.workload}-")
        assert cell.unit == one.workload.unit
        assert "{" not in cell.title
        assert cell.arms
        assert cell.arms[0] == OURS, "ours comes first"
        assert set(cell.arms) <= set(ARMS)
        assert len(set(cell.arms)) == len(cell.arms)
        if set(cell.arms) & set(PEERS):
            assert cell.workload in SERVES_LITTLE
        assert one.expected(1.0) > 1.0


def test_every_workload_is_used_and_every_arm() -> None:
    assert {one.cell.workload for one in FULL} == set(WORKLOADS)
    assert {arm for one in FULL for arm in one.cell.arms} == set(ARMS)
    assert FILE_CLIENTS.keys() == FILE_NAMES.keys()


def test_losses_come_first() -> None:
    for plan in PLANS.values():
        assert plan[0].cell.workload == "block"


def test_the_cells_that_the_project_is_judged_by_are_there() -> None:
    """The figures that the issue names."""
    by_name = {one.cell.name: one.cell for one in FULL}
    assert POOL in by_name["slow-readers-500"].arms
    assert {"keepalive-8", "keepalive-10000", "fairness-4096", "idle-10000"} <= by_name.keys()
    assert by_name["block-64"].x == 64
    assert {one.cell.x for one in FULL if one.cell.workload == "open"} == {20, 50, 80, 100, 120}
    assert by_name["files-100m"].title == "a file of 100 MiB"
    assert by_name["keepalive-10000"].title == "10,000 busy keep-alive connections"


# ---------------------------------------------------------------------------------- narrowed


def test_narrowed_to_nothing_in_particular_is_all() -> None:
    assert narrowed(PLANS["bench"], [], []) == PLANS["bench"]


def test_narrowed_to_cells_also_of_another_plan_in_the_named_order() -> None:
    chosen = narrowed(PLANS["quick"], ["pipelining-16", "block-64"], [])
    assert names(chosen) == ["pipelining-16", "block-64"]
    assert chosen[1].cell.arms == [OURS, THREADS, POOL], "with all arms of the full plan"


def test_narrowed_to_arms() -> None:
    chosen = narrowed(FULL, [], [POOL, "nginx"])
    assert chosen
    assert all(set(one.cell.arms) <= {POOL, "nginx"} for one in chosen)
    assert "burn-5" not in names(chosen), "a cell that none of them can do"
    assert narrowed(FULL, ["burn-5"], ["nginx"]) == []
    assert FULL == plans.FULL
    assert len(FULL[0].cell.arms) == 3, "the plan itself is as it was"


def test_arms_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with without(monkeypatch, "nginx", "tornado"):
        left, lacking = available(FULL)
        assert names(left) == names(FULL)
        assert not {arm for one in left for arm in one.cell.arms} & {"nginx", "tornado"}
        assert lacking == {"nginx": "the nginx package", "tornado": "the tornado package"}
        assert available(PLANS["quick"]) == (PLANS["quick"], {}), "nobody asked for them"


def test_a_cell_for_arms_that_are_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with without(monkeypatch, "nginx"):
        left, lacking = available(narrowed(FULL, [], ["nginx"]))
        assert left == []
        assert list(lacking) == ["nginx"]


# ---------------------------------------------------------------------------------- arms


def test_ours_differ_in_the_model_alone(tmp_path: Path) -> None:
    commands = {
        arm: ARMS[arm].command(8123, tmp_path / "files", tmp_path) for arm in (OURS, THREADS, POOL)
    }
    rests = {}
    for arm, model in (
        (OURS, ["reactor"]),
        (THREADS, ["loadtest.threaded", "--model", "each"]),
        (POOL, ["loadtest.threaded", "--model", "pool", "--threads", str(POOL_THREADS)]),
    ):
        command = commands[arm]
        assert command[1 : 2 + len(model)] == ["-m", *model]
        rests[arm] = [command[0], *command[2 + len(model) :]]
    assert rests[OURS] == rests[THREADS] == rests[POOL]
    rest = rests[OURS]
    assert "loadtest.apps.target:app" in rest
    assert rest[rest.index("--port") + 1] == "8123"
    assert rest[rest.index("--directory") + 1] == str(tmp_path / "files")
    for log in ("--access-log", "--error-log"):
        assert Path(rest[rest.index(log) + 1]).parent == tmp_path, "it is gone with its directory"


@pytest.mark.system
@pytest.mark.parametrize("name", ARMS)
def test_an_arm_starts_and_is_the_process_that_serves(name: str, tmp_path: Path) -> None:
    arm = ARMS[name]
    if lacks := arm.missing():
        pytest.skip(f"{lacks} is not installed")
    port = system.free_port()
    command = arm.command(port, tmp_path, tmp_path)
    with system.serving(command, port, None, tmp_path / "server.log") as pid:
        check_identity(pid, port)
        with connected(port, 0) as client:
            for _ in range(2):  # on a connection that stays
                assert exchange(client, request("GET", "/hello")) == (200, b"hello-world!!")
            status, body = exchange(client, request("GET", "/pid"))
            assert (status, int(body) in system.descendants(pid)) == (200, True)
            # With the head that the load generators send in earnest.
            fields = "".join(f"{field}\r\n" for field in BROWSER)
            assert exchange(client, request("GET", "/hello", fields)).body == b"hello-world!!"
            assert exchange(client, request("GET", "/hello", "Connection: close\r\n")).status == 200
            assert client.recv(1) == b"", "it closes when it is asked to"
        assert warm_up(pid, port) > 0
        family = processes.commands(system.descendants(pid))
    assert all(family.values())
    assert not processes.left(family), "it is stopped with its children"


@pytest.mark.system
def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions({"uvicorn", OURS, "http.server"})
    assert found["python"].startswith("3.")
    assert "tornado" not in found, "it is not among the arms"
    assert all(version[0].isdigit() for version in found.values())
    assert list(found) == sorted(found)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert not {"nginx", "h2load", "wrk"} & versions(set()).keys()
