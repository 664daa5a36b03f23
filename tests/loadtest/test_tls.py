"""The benchmark of TLS: what its generators print, and each of its servers once."""

import importlib.util
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtest.benchmarks.figures import Figures
from loadtest.benchmarks.files import make_files
from loadtest.benchmarks.peers import nginx_program
from loadtest.benchmarks.tls import arms, cases
from loadtest.benchmarks.tls.arms import (
    CIPHER,
    FLOOR,
    NGINX,
    OURS,
    PLAIN,
    UVICORN,
    Arm,
    Pair,
    Running,
    all_arms,
    check,
    chosen,
    in_turn,
    make_pair,
    running,
)
from loadtest.benchmarks.tls.cases import (
    CASES,
    Round,
    bystanders_p99,
    compare,
    idle_memory,
    read_handshakes,
    report,
    shake,
    trial_of,
    watch,
)
from loadtest.clients.connection import NO_TLS
from loadtest.clients.handshakes import SLOTS
from loadtest.clients.secure import secured
from loadtest.system import MeasurementError
from tests.support import hostile_arms

AGREED = f"TLSv1.3 {CIPHER}"

# ---------------------------------------------------------------------------------- figures


def printed(
    handshakes: int, resumed: int, agreed: str = AGREED, failures: dict[str, int] | None = None
) -> str:
    outcome = {"handshakes": handshakes, "resumed": resumed, "agreed": {agreed: handshakes}}
    return json.dumps({**outcome, "failures": failures or {}}) + "\n"


def test_handshakes_that_are_as_they_should_be() -> None:
    assert read_handshakes("one", printed(100, 0), resumed=False) == 100
    assert read_handshakes("one", printed(100, 100 - SLOTS), resumed=True) == 100


@pytest.mark.parametrize(
    ("output", "resumed", "reason"),
    [
        (printed(100, 1), False, "one has resumed 1 of 100"),
        (printed(100, 99 - SLOTS), True, f"one has resumed {99 - SLOTS} of 100"),
        (printed(100, 0, "TLSv1.2 X"), False, "one has agreed on {'TLSv1.2 X': 100}"),
        (printed(0, 0), False, "one: 0 handshakes"),
        (printed(100, 0, failures={"reset": 1}), False, "one: 100 handshakes, {'reset': 1}"),
        ("", False, "the generator printed ''"),
        ("Traceback\n", True, "the generator printed 'Traceback"),
    ],
)
def test_handshakes_that_count_for_nothing(output: str, resumed: bool, reason: str) -> None:
    with pytest.raises(MeasurementError) as failed:
        read_handshakes("one", output, resumed=resumed)
    assert reason in str(failed.value)


def a_round(number: int = 0) -> Round:
    return Round(Figures(), {}, number, 1)


def test_a_ratio_is_judged_where_both_arms_are_there() -> None:
    one = a_round()
    values = {NGINX: 400.0, OURS: 500.0}
    report(one, "full", "µs/handshake", values)
    compare(one, "full", values, NGINX, 1.25)
    compare(one, "full", values, FLOOR, 1.0)
    rows = [line.row() for line in one.figures.lines.values()]
    assert [row[1] for row in rows] == [OURS, NGINX, f"{OURS} : {NGINX}"]
    assert rows[-1][2:] == ["1.25", "", "<= 1.25", "met"]


def test_arms_are_measured_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    @contextmanager
    def fake(arm: Arm) -> Iterator[Running]:
        begun.append(arm.name)
        yield Running(arm, 0, 0, Path())

    monkeypatch.setattr(arms, "running", fake)
    both = [Arm(name, lambda port, workdir: []) for name in "ab"]
    for number in (0, 1):
        assert in_turn(both, number, lambda server: len(begun)).keys() == {"a", "b"}
    assert begun == ["a", "b", "b", "a"]


def test_the_targets() -> None:
    """Each case is named in the opening of the package."""
    assert cases.__package__ is not None
    opening = importlib.import_module(cases.__package__).__doc__ or ""
    for case in CASES:
        assert case in opening


# ---------------------------------------------------------------------------------- servers


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def servers(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Arm]:
    directory = tmp_path_factory.mktemp("files")
    make_files(directory)
    return all_arms(directory, pair)


@pytest.mark.system
def test_a_certificate_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="Cannot make a certificate"):
        make_pair(tmp_path / "nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeasurementError, match="Cannot make a certificate"):
        make_pair(tmp_path)


@pytest.mark.system
@pytest.mark.parametrize("name", [OURS, PLAIN, FLOOR, UVICORN, NGINX])
def test_each_server_once(servers: dict[str, Arm], name: str) -> None:
    """`running` checks the version, the cipher and the response."""
    if name == NGINX and not nginx_program():
        pytest.skip("nginx is not installed")
    if name == UVICORN and not importlib.util.find_spec("uvloop"):
        pytest.skip("uvicorn is not installed")
    (arm,) = chosen(servers, name)
    with running(arm) as server:
        assert server.url("/x").startswith("https:" if name != PLAIN else "http:")
        if name in (OURS, FLOOR, NGINX):
            for resumed in (False, True):
                assert shake(server, 0.5, resumed=resumed) > 0


@pytest.mark.system
def test_a_server_that_speaks_no_tls_is_an_error(servers: dict[str, Arm]) -> None:
    with running(servers[PLAIN]) as server, pytest.raises(MeasurementError, match="no response"):
        check(server.port, servers[OURS])


@pytest.mark.system
def test_a_server_with_another_cipher_is_an_error(
    servers: dict[str, Arm], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arms, "CIPHER", "another")
    with pytest.raises(MeasurementError, match="has agreed on"), running(servers[FLOOR]):
        pass


@pytest.mark.system
def test_crowds_and_bystanders_over_tls(
    servers: dict[str, Arm], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "IDLE", 20)
    monkeypatch.setattr(cases, "IDLE_SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(cases, "SILENT", 20)
    monkeypatch.setattr(cases, "ARRIVALS", 20)
    with running(servers[OURS]) as server:
        assert idle_memory(server) >= 0.0
        for work in (watch, cases.silent, cases.arrivals):
            assert bystanders_p99(trial_of(server, 0.3), work) > 0.0


@pytest.mark.system
def test_a_bystander_whose_handshake_fails(tmp_path: Path) -> None:
    def respond(accepted: socket.socket) -> bool:
        accepted.recv(4096)
        accepted.sendall(hostile_arms.OK)
        return False

    with hostile_arms.server(respond) as port:
        options = ["bystander", "--target", "/hello", "--tls"]
        with hostile_arms.tool(tmp_path, "slow_crowds", port, *options) as one:
            threading.Event().wait(0.5)
            result: dict[str, Any] = one.dismiss()
    assert result["kinds"].keys() == {NO_TLS}


@pytest.mark.system
def test_a_socket_that_would_wait_raises_as_a_plain_one(servers: dict[str, Arm]) -> None:
    with (
        running(servers[FLOOR]) as server,
        secured(socket.create_connection(("127.0.0.1", server.port), 10.0)) as client,
    ):
        client.setblocking(False)
        for call in (lambda: client.recv(1), lambda: client.recv_into(bytearray(1))):
            with pytest.raises(BlockingIOError):
                call()
