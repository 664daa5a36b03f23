"""The closed loop, the crowds and the bystander: what they report about good and bad servers."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from loadtest.clients.closed_loop import RETRY_SECONDS, Load, jain, outcome
from loadtest.clients.connection import Tally, make_room
from loadtest.clients.histogram import Histogram
from loadtest.clients.slow_crowds import request
from loadtest.clients.wrk import read_client
from tests.support import hostile_arms

HEAD = request("GET", "/hello")


def loaded(port: int, connections: int, seconds: float, warm_up: float = 0.0) -> dict[str, Any]:
    load = Load(port, HEAD)
    load.run(connections, seconds, warm_up)
    result = outcome(load)
    assert Histogram.from_json(result["service"]).count == result["requests"] == sum(load.responses)
    assert len(load.responses) == connections == result["connections"]
    return result


@contextmanager
def answering(most: int) -> Iterator[int]:
    """A server with a thread for each of the first connections; the others it never takes."""
    threads: list[threading.Thread] = []

    def serve(accepted: socket.socket) -> None:
        with accepted, suppress(ConnectionResetError):
            while accepted.recv(4096):
                accepted.sendall(hostile_arms.OK)

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def accept() -> None:
        for _ in range(most):
            accepted, _ = listener.accept()
            threads.append(threading.Thread(target=serve, args=(accepted,)))
            threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    with listener:
        yield int(listener.getsockname()[1])
        for thread in threads:
            thread.join(10.0)


# ---------------------------------------------------------------------------------- fairness


def test_jain() -> None:
    assert jain([7, 7, 7, 7]) == 1.0
    assert jain([9, 0, 0, 0]) == 0.25
    assert jain([1, 2, 3]) == pytest.approx(36 / 42)
    assert jain([5, 5, 0, 0]) == 0.5
    assert jain([0, 0]) == jain([]) == 0.0


def test_each_kind_is_counted_once() -> None:
    tally = Tally()
    for kind in ("", "", "503", "reset", "cut", "status 404", "unanswered", "EMFILE"):
        tally.add(kind)
    result = tally.to_json()
    assert result.pop("kinds").keys() == {
        *("503", "reset", "cut", "status 404", "unanswered", "EMFILE")
    }
    assert result == {"correct": 2, "refused": 2, "errors": 3, "unanswered": 1}


def test_a_fair_server(tmp_path: Path) -> None:
    with hostile_arms.reactor(tmp_path) as (_, port):
        result = loaded(port, 100, 0.5, warm_up=0.1)
    assert result["served"] == 1.0
    assert result["jain"] > 0.5
    assert result["errors"] == result["refused"] == 0
    assert result["bytes"] >= 13 * result["requests"] > 0
    assert result["longest_wait"] < 0.5


def test_a_server_that_starves_most() -> None:
    """Its latencies are fine."""
    with answering(2) as port:
        result = loaded(port, 10, 0.4)
    assert result["served"] == 0.2
    assert 0.1 <= result["jain"] <= 0.2 + 1e-9
    assert result["longest_wait"] >= 0.4
    assert result["requests"] > 2


def test_responses_before_the_window_are_not_counted() -> None:
    result = []

    def behave(accepted: socket.socket) -> bool:
        accepted.recv(4096)
        accepted.sendall(hostile_arms.OK)
        result.append(time.monotonic())
        return True

    with hostile_arms.server(behave) as port:
        one = loaded(port, 3, 0.2, warm_up=0.2)
    assert len(result) == 3
    assert one["requests"] == 0
    assert one["served"] == 0.0


@pytest.mark.parametrize("name", ["half a body", "reset", "503", "no HTTP"])
def test_a_bad_server_is_asked_again_after_a_while(name: str) -> None:
    behaviour, kind = hostile_arms.BAD[name]
    with hostile_arms.server(behaviour) as port:
        result = loaded(port, 4, 0.25)
    assert result["served"] == 0.0
    assert result["kinds"].keys() == {kind}
    assert 1 <= result["kinds"][kind] <= 4 * (0.25 / RETRY_SECONDS + 2)
    assert result["refused" if kind in hostile_arms.REFUSALS else "errors"] == result["kinds"][kind]


def test_nobody_listens() -> None:
    with hostile_arms.refusing() as port:
        result = loaded(port, 4, 0.25)
    assert result["served"] == result["jain"] == result["requests"] == 0
    assert result["refused"] == result["kinds"]["refused"] >= 1


def test_a_request_a_connection(tmp_path: Path) -> None:
    with hostile_arms.reactor(tmp_path) as (_, port):
        load = Load(port, request("GET", "/hello", "Connection: close\r\n"))
        load.run(4, 0.3)
    assert load.tally.correct > 4
    assert load.tally.errors == load.tally.refused == 0
    assert min(load.responses) >= 1


def test_large_bodies_are_counted_and_not_kept() -> None:
    block = bytes(1024 * 1024)

    def behave(accepted: socket.socket) -> bool:
        accepted.recv(4096)
        accepted.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 33554432\r\n\r\n"
        )
        for _ in range(32):
            accepted.sendall(block)
        return False

    with hostile_arms.server(behave) as port:
        load = Load(port, HEAD)
        tracemalloc.start()
        load.run(1, 0.5)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert load.tally.correct >= 1
    assert load.body_bytes >= 32 * 1024 * 1024
    assert peak < 4 * 1024 * 1024
    assert not load.tally.errors


def test_a_large_request_is_sent_in_pieces() -> None:
    size = 8 * 1024 * 1024
    received = []

    def behave(accepted: socket.socket) -> bool:
        time.sleep(0.05)
        count = 0
        while count < size + len(HEAD):
            count += len(accepted.recv(65536))
        received.append(count)
        accepted.sendall(hostile_arms.OK)
        return True

    with hostile_arms.server(behave) as port:
        load = Load(port, HEAD + bytes(size))
        load.run(1, 0.5)
    assert received
    assert set(received) == {size + len(HEAD)}


def test_its_output_is_what_the_cost_benchmark_reads(tmp_path: Path) -> None:
    (tmp_path / "head").write_bytes(HEAD)
    command = [
        sys.executable,
        "-m",
        "loadtest.clients.closed_loop",
        "--head",
        str(tmp_path / "head"),
    ]
    options = ["--connections", "4", "--seconds", "0.2", "--at-once"]
    with hostile_arms.reactor(tmp_path) as (_, port):
        printed = subprocess.check_output([*command, *options, "--port", str(port)], text=True)
    read = read_client(printed)
    assert read.requests > 4
    assert read.errors == ""
    assert read_client('{"requests": 1, "kinds": {"cut": 2, "503": 1}}').errors == "2 cut; 1 503"


def test_more_connections_than_descriptors_fail_at_once() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with pytest.raises(SystemExit, match="1000000000 connections"):
            make_room(10**9)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# ---------------------------------------------------------------------------------- bystander


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
    with hostile_arms.server(hostile_arms.never_answer) as port:
        result = bystander(tmp_path, port, 1.2, "--patience", "0.3")
    assert result["kinds"].keys() == {"late"}
    assert result["errors"] > 50
    assert all(seconds >= 0.3 for _, seconds in result["samples"])


def test_a_bystander_comes_anew_every_other_time(tmp_path: Path) -> None:
    """A server that lets two in and nobody else: one of them is kept and served again and again."""
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
    assert result["correct"] == pytest.approx(result["errors"], abs=5)
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


# ---------------------------------------------------------------------------------- pressure


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
    with answering(5) as port, hostile_arms.tool(tmp_path, "stress_crowds", port, *options) as one:
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


def test_listeners_tell_of_events_and_of_their_end(tmp_path: Path) -> None:
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
    """When it has come, and when it has not: the waiting of who is still waiting counts."""
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
        hostile_arms.server(hostile_arms.never_answer) as port,
        hostile_arms.tool(tmp_path, "stress_crowds", port, *options) as one,
    ):
        assert one.receive(20.0)["ready"] == 0
        result = one.dismiss()
    assert (result["silent"], result["events"], result["broken"]) == (5, 0, 0)
