"""Arrivals, pipelines and downloads: each crowd does what it says, and reports what it got."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtest.clients.histogram import Histogram
from tests.support import hostile_arms

pytestmark = pytest.mark.system

MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def outcome(tmp_path: Path, port: int, *options: str) -> dict[str, Any]:
    """The last line of a crowd that ends by itself."""
    with hostile_arms.tool(tmp_path, "bulk_crowds", port, *options) as one:
        result = one.receive(30.0)
        while "window" in result:
            result = one.receive(30.0)
    return result


@contextmanager
def big_file_server(rates: dict[int, float] | None = None) -> Iterator[int]:
    """A server of 64 MiB for each request; `rates` limits bytes a second by connection number."""
    block, listener = bytes(64 * 1024), socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    over = threading.Event()

    def serve(accepted: socket.socket, rate: float | None) -> None:
        accepted.settimeout(10.0)
        with accepted:
            try:
                accepted.recv(4096)
                accepted.sendall(HEAD % (64 * MIB))
                for _ in range(64 * 16):
                    if over.wait(len(block) / rate if rate else 0.0):
                        return
                    accepted.sendall(block)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            rate = (rates or {}).get(len(threads))
            threads.append(threading.Thread(target=serve, args=(accepted, rate)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        for thread in threads:
            thread.join(15.0)


# ---------------------------------------------------------------------------------- arrivals


def test_all_clients_of_each_burst_are_served(tmp_path: Path) -> None:
    options = ["arrivals", "--target", "/hello", "--count", "150", "--times", "2"]
    with hostile_arms.reactor(tmp_path) as (_, port):
        result = outcome(tmp_path, port, *options)
    assert (result["correct"], result["kinds"]) == (300, {})
    (first, first_end), (second, second_end) = result["bursts"]
    assert first < first_end <= second - 0.4
    assert second < second_end
    latencies = Histogram.from_json(result["latencies"])
    assert latencies.count == 300
    assert latencies.longest <= max(first_end - first, second_end - second) + 0.001


def test_an_arrival_counts_from_its_own_connect(tmp_path: Path) -> None:
    """The server stands for a second and a half while the burst comes."""
    with (
        hostile_arms.reactor(tmp_path) as (pid, port),
        hostile_arms.tool(
            tmp_path, "bulk_crowds", port, "arrivals", "--target", "/hello", "--count", "50"
        ) as one,
    ):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(3.0)
        os.kill(pid, signal.SIGCONT)
        result = one.receive(30.0)
    latencies = Histogram.from_json(result["latencies"])
    assert (result["correct"], latencies.count) == (50, 50)
    assert latencies.percentile(0.01) > 0.5


@pytest.mark.parametrize(
    ("behaviour", "kinds"),
    [
        (hostile_arms.respond(hostile_arms.OK[:-2]), {"closed"}),
        (hostile_arms.respond(hostile_arms.OK.replace(b"200", b"503")), {"503"}),
        (hostile_arms.close_after_request, {"closed"}),
        (hostile_arms.reset, {"ConnectionResetError"}),
    ],
)
def test_arrivals_at_a_bad_server_are_failures(
    tmp_path: Path, behaviour: hostile_arms.Behaviour, kinds: set[str]
) -> None:
    with hostile_arms.server(behaviour) as port:
        result = outcome(tmp_path, port, "arrivals", "--target", "/", "--count", "20")
    assert result["correct"] == 0
    assert result["kinds"].keys() == kinds
    assert Histogram.from_json(result["latencies"]).count == 20


def test_arrivals_that_are_refused(tmp_path: Path) -> None:
    with hostile_arms.refusing() as port:
        result = outcome(tmp_path, port, "arrivals", "--target", "/", "--count", "20")
    assert (result["correct"], result["kinds"]) == (0, {"ConnectionRefusedError": 20})


# ---------------------------------------------------------------------------------- pipelines


def test_pipelines_that_are_not_read_stop_when_the_buffers_are_full(tmp_path: Path) -> None:
    options = ["pipelines", "--target", "/hello", "--count", "4", "--seconds", "1"]
    with hostile_arms.reactor(tmp_path) as (_, port):
        result = outcome(tmp_path, port, *options)
    assert result["responses"] == 0
    assert result["requests"] > 4 * 1000
    assert result["still_open"] == 4
    assert 0.9 < result["end"] - result["start"] < 5.0


def test_pipelines_that_are_read_get_their_responses(tmp_path: Path) -> None:
    options = ["pipelines", "--target", "/hello", "--count", "4", "--seconds", "1", "--read"]
    with hostile_arms.reactor(tmp_path) as (_, port):
        result = outcome(tmp_path, port, *options)
    assert 100 < result["responses"] <= result["requests"]
    assert result["still_open"] == 4


def test_responses_count_once_wherever_their_bytes_are_split(tmp_path: Path) -> None:
    def behave(accepted: socket.socket) -> bool:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in hostile_arms.OK * 3:
            accepted.sendall(bytes([byte]))
            time.sleep(0.001)
        return True

    options = ["pipelines", "--target", "/", "--count", "1", "--seconds", "2", "--read"]
    with hostile_arms.server(behave) as port:
        result = outcome(tmp_path, port, *options)
    assert result["responses"] == 3


def test_pipelines_that_are_cut_are_counted(tmp_path: Path) -> None:
    options = ["pipelines", "--target", "/", "--count", "4", "--seconds", "0.5", "--read"]
    with hostile_arms.server(hostile_arms.close_after_request) as port:
        result = outcome(tmp_path, port, *options)
    assert result["still_open"] == 0


# ---------------------------------------------------------------------------------- downloads


def test_downloads_count_the_bytes_of_each(tmp_path: Path) -> None:
    options = ["downloads", "--target", "/mib", "--count", "4", "--seconds", "1"]
    with hostile_arms.reactor(tmp_path) as (_, port):
        result = outcome(tmp_path, port, *options)
    assert (len(result["fast"]), result["paced"], result["kinds"]) == (4, [], {})
    assert min(result["fast"]) > MIB  # each asks again and again
    assert 0.5 < result["jain"] <= 1.0


def test_an_uneven_share_has_a_low_index(tmp_path: Path) -> None:
    """Three of four connections get a hundredth of what the first gets, at most."""
    rates = dict.fromkeys((1, 2, 3), 1e5) | {0: 15e6}  # the test is over before any of them
    options = ["downloads", "--target", "/", "--count", "4", "--seconds", "1"]
    with big_file_server(rates) as port:
        result = outcome(tmp_path, port, *options)
    assert result["jain"] < 0.7


def test_paced_downloads_take_their_rate_and_no_more(tmp_path: Path) -> None:
    rates = {"--paced": "5", "--rate": "400000", "--seconds": "2", "--count": "1"}
    options = ["downloads", "--target", "/", *(part for pair in rates.items() for part in pair)]
    with big_file_server() as port:
        result = outcome(tmp_path, port, *options)
    seconds = result["end"] - result["start"]
    assert len(result["paced"]) == 5
    for taken in result["paced"]:
        # A client may catch up with a quarter of a second.
        assert taken / seconds / 400_000 == pytest.approx(1.0, abs=0.2)


def test_a_paced_download_gets_less_where_the_server_sends_less(tmp_path: Path) -> None:
    options = ["downloads", "--target", "/", "--count", "1", "--paced", "1", "--seconds", "2"]
    with big_file_server({0: 200_000.0, 1: 200_000.0}) as port:
        result = outcome(tmp_path, port, *options, "--rate", "1000000")
    assert result["paced"][0] / (result["end"] - result["start"]) < 500_000


def test_downloads_that_are_cut_are_failures(tmp_path: Path) -> None:
    options = ["downloads", "--target", "/", "--count", "3", "--seconds", "0.3"]
    with hostile_arms.server(hostile_arms.respond(HEAD % 1000)) as port:
        result = outcome(tmp_path, port, *options)
    assert sum(result["kinds"].values()) == 3
