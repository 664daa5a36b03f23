"""The bystander: it is charged for all waiting, and survives every kind of server."""

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from loadtest.clients.histogram import Histogram
from tests.support import hostile_arms

pytestmark = pytest.mark.system


def bystander(tmp_path: Path, port: int, seconds: float, *options: str) -> dict[str, Any]:
    arguments = ["bystander", "--target", "/hello", *options]
    with hostile_arms.tool(tmp_path, "slow_crowds", port, *arguments) as one:
        time.sleep(seconds)
        result = one.dismiss()
    counted = result["correct"] + result["errors"] + result["refused"] + result["unanswered"]
    latencies = result.get("samples") or Histogram.from_json(result["bystander"]).counts
    assert counted == (len(latencies) if "samples" in result else sum(latencies.values()))
    assert counted > 5
    return result


def test_a_bystander_is_charged_from_when_it_was_due(tmp_path: Path) -> None:
    with (
        hostile_arms.reactor(tmp_path) as (pid, port),
        hostile_arms.tool(tmp_path, "slow_crowds", port, "bystander", "--target", "/hello") as one,
    ):
        time.sleep(1.0)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(pid, signal.SIGCONT)
        result = one.dismiss()
    samples = result["samples"]
    assert result["correct"] == len(samples)
    assert sum(seconds > 0.1 for _, seconds in samples) >= 35
    assert all(b[0] - a[0] == pytest.approx(0.01) for a, b in pairwise(samples))


@pytest.mark.parametrize("name", ["half a body", "reset", "503", "no HTTP"])
def test_a_bystander_survives(tmp_path: Path, name: str) -> None:
    behaviour, kind = hostile_arms.BAD[name]
    with hostile_arms.server(behaviour) as port:
        result = bystander(tmp_path, port, 0.5)
    assert result["kinds"].keys() == {kind}
    assert result["correct"] == 0


def test_a_bystander_that_is_refused(tmp_path: Path) -> None:
    with hostile_arms.refusing() as port:
        result = bystander(tmp_path, port, 0.5, "--histogram")
    assert result["refused"] == result["kinds"]["refused"]


def test_a_bystander_without_any_response(tmp_path: Path) -> None:
    """It gives up each request in its time, those at the end as well."""
    with hostile_arms.server(hostile_arms.never_respond) as port:
        result = bystander(tmp_path, port, 1.2, "--patience", "0.3")
    assert result["kinds"].keys() == {"late"}
    assert result["errors"] > 50
    assert all(seconds >= 0.3 for _, seconds in result["samples"])


def test_a_bystander_comes_anew_every_other_time(tmp_path: Path) -> None:
    """A server accepts two clients and no others: it serves one of them again and again."""
    let_in = 0

    def behave(accepted: socket.socket) -> bool:
        nonlocal let_in
        let_in += 1
        if let_in > 2:
            return True

        def serve() -> None:
            with suppress(OSError):
                while accepted.recv(4096):
                    accepted.sendall(hostile_arms.OK)

        threading.Thread(target=serve, daemon=True).start()
        return True

    with hostile_arms.server(behave) as port:
        result = bystander(tmp_path, port, 1.0, "--patience", "0.3")
    assert result["kinds"].keys() == {"late"}
    assert result["correct"] == pytest.approx(result["errors"], abs=20)
    assert len(result["failed"]) == result["errors"]


def test_a_bystander_does_not_queue_behind_itself(tmp_path: Path) -> None:
    """Each response takes 0.2 s, in which twenty more requests are due and none waits for it."""

    def behave(accepted: socket.socket) -> bool:
        threading.Timer(0.2, accepted.sendall, [hostile_arms.LAST]).start()
        return True

    with hostile_arms.server(behave) as port:
        result = bystander(tmp_path, port, 1.5)
    latencies = [seconds for _, seconds in result["samples"]]
    assert result["correct"] == len(latencies) > 50
    assert 0.2 <= median(latencies) < 0.6


def test_a_bystander_comes_back(tmp_path: Path) -> None:
    """From a server that was wrong for a while."""
    responses = iter([hostile_arms.OK[:-2]] * 5)

    def behave(accepted: socket.socket) -> bool:
        accepted.recv(4096)
        accepted.sendall(next(responses, hostile_arms.LAST))
        return False

    with hostile_arms.server(behave) as port:
        result = bystander(tmp_path, port, 0.6)
    assert result["kinds"] == {"cut": 5}
    assert result["correct"] > 5


@pytest.mark.parametrize("connections", ["kept", "new"])
def test_a_bystander_on_one_kind_of_connections(tmp_path: Path, connections: str) -> None:
    """The server counts connections: one for each request, or those that were made first."""
    accepted_ones = 0
    threads: list[threading.Thread] = []

    def serve(accepted: socket.socket) -> None:
        with suppress(OSError):
            while received := accepted.recv(4096):
                is_last = b"Connection: close" in received
                accepted.sendall(hostile_arms.LAST if is_last else hostile_arms.OK)

    def behave(accepted: socket.socket) -> bool:
        nonlocal accepted_ones
        accepted_ones += 1
        threads.append(threading.Thread(target=serve, args=(accepted,)))
        threads[-1].start()
        return True

    options = ["--connections", connections, "--period", "0.005", "--spare", "30"]
    if connections == "new":
        options[-1] = "0"
    with hostile_arms.server(behave) as port:
        result = bystander(tmp_path, port, 1.0, *options)
    for thread in threads:
        thread.join(10.0)
    requests = len(result["samples"])
    assert result["correct"] == requests == len(result["lateness"])
    assert all(b[0] - a[0] == pytest.approx(0.005) for a, b in pairwise(sorted(result["samples"])))
    if connections == "new":
        assert accepted_ones == requests
    else:
        assert accepted_ones >= 30  # more only where all of them were busy
