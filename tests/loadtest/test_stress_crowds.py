"""Bursts, slow heads and listeners: what they report about good and bad servers."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from loadtest.clients.histogram import Histogram
from tests.support import hostile_arms

pytestmark = pytest.mark.system


def test_a_burst_with_all_responses(tmp_path: Path) -> None:
    options = ["burst", "--target", "/hello", "--count", "300"]
    with hostile_arms.reactor(tmp_path) as (_, port):
        for more in ([], ["--keep-alive"]):
            with hostile_arms.tool(tmp_path, "stress_crowds", port, *options, *more) as one:
                result = one.receive(20.0)
            assert result["correct"] == result["connections"] == 300
            assert result["served"] == 1.0
            assert 0.0 < result["done_seconds"] < 10.0
            latencies = Histogram.from_json(result["intended"])
            assert latencies.count == 300
            assert latencies.longest == pytest.approx(result["done_seconds"], abs=1e-5)


def test_a_burst_with_some_responses(tmp_path: Path) -> None:
    options = ["burst", "--target", "/", "--count", "20", "--patience", "0.5"]
    with (
        hostile_arms.serving_some(5) as port,
        hostile_arms.tool(tmp_path, "stress_crowds", port, *options) as one,
    ):
        result = one.receive(20.0)
    assert (result["correct"], result["unanswered"], result["served"]) == (5, 15, 0.25)
    latencies = Histogram.from_json(result["intended"])
    assert latencies.count == 20
    assert latencies.percentile(0.5) >= 0.5
    assert result["done_seconds"] == 0.5


def test_a_burst_that_is_refused(tmp_path: Path) -> None:
    options = ["burst", "--target", "/", "--count", "20"]
    with (
        hostile_arms.refusing() as port,
        hostile_arms.tool(tmp_path, "stress_crowds", port, *options) as one,
    ):
        result = one.receive(20.0)
    assert result["refused"] == 20
    assert result["served"] == 0.0
    assert Histogram.from_json(result["intended"]).count == 20


def test_slow_heads_come_back_when_they_are_cut(tmp_path: Path) -> None:
    options = ["slow-heads", "--target", "/hello", "--count", "50"]
    with (
        hostile_arms.reactor(tmp_path, "--head-timeout", "0.3") as (_, port),
        hostile_arms.tool(tmp_path, "stress_crowds", port, *options) as one,
    ):
        assert one.receive(20.0)["ready"] > 0
        time.sleep(1.5)
        result = one.dismiss()
    assert result["cut"] > 50  # some of them twice
    assert result["kinds"]["status 408"] == result["errors"]
    assert result["connected"] >= 40


def test_slow_heads_never_end(tmp_path: Path) -> None:
    heads: list[bytes] = []

    def behave(accepted: socket.socket) -> bool:
        for _ in range(2):
            heads.append(accepted.recv(4096))
        return True

    options = ["slow-heads", "--target", "/", "--count", "1"]
    with (
        hostile_arms.server(behave) as port,
        hostile_arms.tool(tmp_path, "stress_crowds", port, *options) as one,
    ):
        assert one.receive(20.0)["ready"] == 1
        time.sleep(2.2)
        result = one.dismiss()
    assert heads == [b"G", b"E"]
    assert result["cut"] == 0


def test_listeners_report_events_and_their_end(tmp_path: Path) -> None:
    options = ["events", "--target", "/events", "--count", "20"]
    with (
        hostile_arms.reactor(tmp_path, "--shutdown-timeout", "0") as (pid, port),
        hostile_arms.tool(tmp_path, "stress_crowds", port, *options) as one,
    ):
        assert one.receive(20.0)["ready"] == 20
        time.sleep(1.5)
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.5)
        result = one.dismiss()
    assert result["events"] >= 40
    lateness = Histogram.from_json(result["lateness"])
    assert lateness.count == result["events"] - 20
    assert lateness.percentile(0.5) < 0.5
    assert result["broken"] == 20
    assert result["silent"] == 20
    assert result["connected"] == 0


@pytest.mark.parametrize("comes", [True, False])
def test_a_late_event_is_noticed(tmp_path: Path, comes: bool) -> None:
    """Before and after it has arrived: the wait of listeners that still wait counts as well."""
    options = ["events", "--target", "/events", "--count", "5"]
    with (
        hostile_arms.reactor(tmp_path) as (pid, port),
        hostile_arms.tool(tmp_path, "stress_crowds", port, *options) as one,
    ):
        one.receive(20.0)
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(2.0)
            if comes:
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.3)
            result = one.dismiss()
        finally:
            os.kill(pid, signal.SIGCONT)
    lateness = Histogram.from_json(result["lateness"])
    assert lateness.count >= 5
    assert result["events"] >= (10 if comes else 5)
    assert lateness.percentile(0.9) >= 0.4


def test_a_stream_without_events_is_reported(tmp_path: Path) -> None:
    options = ["events", "--target", "/events", "--count", "5", "--patience", "0.3"]
    with (
        hostile_arms.server(hostile_arms.never_respond) as port,
        hostile_arms.tool(tmp_path, "stress_crowds", port, *options) as one,
    ):
        assert one.receive(20.0)["ready"] == 0
        result = one.dismiss()
    assert (result["silent"], result["events"], result["broken"]) == (5, 0, 0)
