"""Metrics of the process, and those that remain on systems with less information."""

import os
import resource

import pytest

from reactor.web.operations import process_metrics
from reactor.web.operations.process_metrics import measure_process


def figures() -> dict[str, float]:
    found = list(measure_process())
    assert len({one.name for one in found}) == len(found)
    assert all(one.meaning.endswith(".") and one.kind in ("counter", "gauge") for one in found)
    return {one.name: one.value for one in found}


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_metrics, "_read", lambda path: "")
    monkeypatch.setattr(process_metrics, "_open_descriptors", lambda: 0)
    assert set(figures()) == {"process_cpu_seconds_total", "process_max_fds"}


def test_unreadable_metrics_are_left_out() -> None:
    assert process_metrics._read("/nonexistent/x") == ""


def test_a_name_with_brackets_and_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second field is the program's name, and may be anything (proc_pid_stat(5))."""
    rest = " ".join(["S", *(str(number) for number in range(4, 53))])
    texts = {"/proc/self/stat": f"1 (a) 1 2 (b) {rest}", "/proc/stat": "cpu 1\nbtime 1000\n"}
    monkeypatch.setattr(process_metrics, "_read", lambda path: texts[path])
    found = figures()
    assert found["process_start_time_seconds"] == 1000 + 22 / os.sysconf("SC_CLK_TCK")
    assert found["process_virtual_memory_bytes"] == 23
    assert found["process_resident_memory_bytes"] == 24 * os.sysconf("SC_PAGE_SIZE")


def test_descriptors_are_counted_where_their_directory_has_no_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = figures()["process_open_fds"]
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result([0] * 10))
    assert abs(figures()["process_open_fds"] - exact) <= 1


def test_no_limit_is_no_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda which: unlimited)
    assert "process_max_fds" not in figures()
