"""The closed loop and its connections: what they report about good and bad servers."""

import resource
import socket
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from loadtest.clients.closed_loop import RETRY_SECONDS, Load, jain, outcome
from loadtest.clients.connection import Tally, make_room
from loadtest.clients.histogram import Histogram
from loadtest.clients.slow_crowds import request
from loadtest.clients.wrk import read_client
from tests.support import hostile_arms

pytestmark = pytest.mark.system

HEAD = request("GET", "/hello")


def loaded(port: int, connections: int, seconds: float, warm_up: float = 0.0) -> dict[str, Any]:
    load = Load(port, HEAD)
    load.run(connections, seconds, warm_up)
    result = outcome(load)
    assert Histogram.from_json(result["service"]).count == result["requests"] == sum(load.responses)
    assert len(load.responses) == connections == result["connections"]
    return result


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
    with hostile_arms.serving_some(2) as port:
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


def test_a_port_without_a_listener() -> None:
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
