"""The open loop: it asks by the clock, it charges for waiting, and no request vanishes."""

import os
import signal
import socket
import time
from array import array
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from loadtest.clients.histogram import Histogram
from loadtest.clients.open_loop import OpenLoop, Stage, outcome, recovery, schedule, stages_of
from loadtest.clients.slow_crowds import request
from tests.support import hostile_arms

pytestmark = pytest.mark.system


def run(
    port: int,
    rate: float = 500.0,
    seconds: float = 0.1,
    patience: float = 0.3,
    connections: int = 16,
    warm_up: float = 0.0,
) -> OpenLoop:
    dues = array("d", schedule([Stage(rate, seconds + warm_up)]))
    loop = OpenLoop(port, request("GET", "/hello"), connections)
    loop.run(dues, warm_up, seconds, patience)
    check_that_nothing_vanished(loop, round(rate * seconds))
    return loop


def check_that_nothing_vanished(loop: OpenLoop, due: int) -> None:
    result = outcome(loop, 1.0, with_slices=True)
    assert result["due"] == due
    assert result["correct"] + result["errors"] + result["refused"] + result["unanswered"] == due
    assert Histogram.from_json(result["intended"]).count == due
    assert Histogram.from_json(result["service"]).count == result["correct"]
    assert sum(Histogram.from_json(one).count for one in result["slices"]) == due


# ---------------------------------------------------------------------------------- schedules


def test_constant_arrivals_keep_time() -> None:
    assert list(schedule([Stage(4, 1), Stage(2, 1)])) == [0, 0.25, 0.5, 0.75, 1, 1.5]
    dues = list(schedule([Stage(30, 1000)]))
    assert len(dues) == 30_000
    assert dues[-1] == pytest.approx(1000 - 1 / 30, abs=1e-9)


def test_random_arrivals_are_the_same_for_a_seed_and_as_many_as_requested() -> None:
    stages = [Stage(1000, 10), Stage(100, 10)]
    dues = list(schedule(stages, seed=1))
    assert dues == list(schedule(stages, seed=1)) == sorted(dues)
    assert dues != list(schedule(stages, seed=2))
    first = sum(due < 10 for due in dues)
    assert abs(first - 10_000) < 500  # five standard deviations
    assert abs(len(dues) - first - 1000) < 160
    gaps = Histogram(later - due for due, later in pairwise(dues[:first]))
    assert gaps.percentile(0.99) > 3 * gaps.mean  # 4.6 times, and never with constant ones


def test_stages() -> None:
    assert stages_of("0.5x3,2000x0.25") == [Stage(0.5, 3), Stage(2000, 0.25)]
    for wrong in ("", "3", "3x", "x3", "0x3", "3x0", "-1x3", "3x3,", "ax3", "infx3", "nanx3"):
        with pytest.raises(ValueError):
            stages_of(wrong)


# ---------------------------------------------------------------------------------- real servers


def test_all_responses_are_correct(tmp_path: Path) -> None:
    with hostile_arms.reactor(tmp_path) as (_, port):
        loop = run(port, rate=500, seconds=0.6, warm_up=0.2)
    assert loop.tally.correct == 300
    assert loop.body_bytes >= 300 * len(b"hello-world!!")
    assert loop.most <= 16


def test_a_freeze_is_charged_to_all_requests_that_were_due(tmp_path: Path) -> None:
    """And not to the one request that the only connection could send."""
    options = ["--target", "/hello", "--rate", "200", "--seconds", "2", "--connections", "1"]
    with (
        hostile_arms.reactor(tmp_path) as (pid, port),
        hostile_arms.tool(tmp_path, "open_loop", port, *options) as loop,
    ):
        time.sleep(1.0)
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(0.5)
        finally:
            os.kill(pid, signal.SIGCONT)
        result = loop.receive(20.0)
    intended = Histogram.from_json(result["intended"])
    service = Histogram.from_json(result["service"])
    assert intended.count == result["due"] == result["correct"] == 400
    assert intended.percentile(0.99) >= 0.375
    assert service.longest >= 0.375
    assert service.percentile(0.99) < 0.3


def test_it_reports_its_own_lateness(tmp_path: Path) -> None:
    options = ["--target", "/hello", "--rate", "200", "--seconds", "1.5"]
    with (
        hostile_arms.reactor(tmp_path) as (_, port),
        hostile_arms.tool(tmp_path, "open_loop", port, *options) as loop,
    ):
        time.sleep(0.8)  # it has begun, and has not ended
        os.kill(loop.process.pid, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(loop.process.pid, signal.SIGCONT)
        result = loop.receive(20.0)
    assert result["late"] >= 0.2
    assert result["due"] == result["correct"] == 300
    assert 0.0 < result["generator_share"] < 1.0


def test_stages_have_slices(tmp_path: Path) -> None:
    options = ["--target", "/hello", "--stages", "100x0.3,400x0.3", "--arrivals", "poisson"]
    with (
        hostile_arms.reactor(tmp_path) as (_, port),
        hostile_arms.tool(tmp_path, "open_loop", port, *options) as loop,
    ):
        result = loop.receive(20.0)
    slices = [Histogram.from_json(one).count for one in result["slices"]]
    assert len(slices) == 6
    assert sum(slices) == result["due"] == result["correct"]
    assert sum(slices[:3]) < sum(slices[3:])


# ---------------------------------------------------------------------------------- bad servers


@pytest.mark.parametrize("name", hostile_arms.BAD)
def test_bad_servers_are_reported(name: str) -> None:
    behaviour, kind = hostile_arms.BAD[name]
    with hostile_arms.server(behaviour) as port:
        loop = run(port)
    assert loop.tally.kinds[kind] == 50, loop.tally.kinds
    assert loop.tally.refused == (50 if kind in hostile_arms.REFUSALS else 0)
    assert loop.tally.errors == 50 - loop.tally.refused


def test_a_server_that_closes_at_once() -> None:
    with hostile_arms.server(hostile_arms.close_at_once) as port:
        loop = run(port)
    assert loop.tally.errors + loop.tally.refused == 50
    assert set(loop.tally.kinds) <= {"closed", "reset", ""}


def test_a_server_that_refuses() -> None:
    with hostile_arms.refusing() as port:
        loop = run(port)
    assert loop.tally.kinds["refused"] == loop.tally.refused == 50


def test_a_server_that_never_responds() -> None:
    """Three are sent and the others wait for a connection: all of them waited."""
    with hostile_arms.server(hostile_arms.never_respond) as port:
        loop = run(port, connections=3)
    assert loop.tally.unanswered == 50
    assert loop.most == 3
    assert min(loop.intended) >= 0.29
    assert max(loop.intended) >= 0.39


def test_more_than_can_be_asked() -> None:
    """A generator that cannot keep up counts the requests that it did not send."""
    with hostile_arms.server(hostile_arms.never_respond) as port:
        loop = run(port, rate=1e6, seconds=0.1, patience=0.0)
    assert loop.tally.unanswered == 100_000
    assert len(loop.late) == 100_000


def test_responses_after_the_window_are_not_achieved() -> None:
    def behave(accepted: socket.socket) -> bool:
        accepted.recv(4096)
        time.sleep(0.03)
        accepted.sendall(hostile_arms.LAST)
        return False

    with hostile_arms.server(behave) as port:
        loop = run(port, rate=200, seconds=0.1, patience=5.0)
    assert loop.tally.correct == 20
    assert 0 <= loop.within <= 4


@pytest.mark.parametrize("says", [b"Connection: close\r\n", b""])
def test_a_server_may_close_between_requests(says: bytes) -> None:
    """With or without announcing it: nothing is sent to a closed connection."""
    text = b"HTTP/1.1 200 OK\r\n" + says + b"Content-Length: 5\r\n\r\nhello"
    with hostile_arms.server(hostile_arms.respond(text)) as port:
        loop = run(port, rate=40, seconds=0.25)
    assert loop.tally.correct == 10, loop.tally.kinds


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_responses_come_in_any_pieces(size: int) -> None:
    text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    def behave(accepted: socket.socket) -> bool:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.recv(4096)
        for start in range(0, len(text), size):
            accepted.sendall(text[start : start + size])
            time.sleep(0.001)
        return True

    with hostile_arms.server(behave) as port:
        loop = run(port, rate=4, seconds=0.25)
    assert loop.tally.correct == 1, loop.tally.kinds


# ---------------------------------------------------------------------------------- recovery


def slices_of(*milliseconds: float) -> Sequence[Histogram]:
    """A hundred latencies in each, and one of them is the one that counts."""
    return [Histogram([0.001] * 98 + [value / 1e3] * 2) for value in milliseconds]


def test_recovery_counts_from_the_end_of_the_overload() -> None:
    slices = slices_of(*[10] * 5, *[900] * 5, 900, 500, 100, *[15] * 6)
    assert recovery(slices, before=5, after=10) == pytest.approx(0.3)


def test_recovery_at_once_and_never() -> None:
    assert recovery(slices_of(*[10] * 20), before=5, after=10) == 0.0
    assert recovery(slices_of(*[10] * 5, *[900] * 15), before=5, after=10) == pytest.approx(1.0)


def test_a_relapse_ends_a_recovery() -> None:
    slices = slices_of(*[10] * 5, 900, *[10] * 4, 900, *[10] * 5)
    assert recovery(slices, before=5, after=6) == pytest.approx(0.5)


def test_a_normal_p99_depends_on_the_one_before() -> None:
    slices = slices_of(*[100] * 5, 900, *[190] * 5)
    assert recovery(slices, before=5, after=6) == 0.0
    assert recovery(slices, before=5, after=6, factor=1.5) == pytest.approx(0.5)
    quick = slices_of(*[0.1] * 5, 900, *[4] * 5)  # a few milliseconds are nothing
    assert recovery(quick, before=5, after=6) == 0.0


def test_slices_without_requests_are_calm() -> None:
    slices = [*slices_of(10, 10, 900, 900), *[Histogram()] * 5]
    assert recovery(slices, before=2, after=3) == pytest.approx(0.1)
