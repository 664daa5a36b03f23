"""The twin over TLS: handshakes that go wrong, deadlines, ends, and certificates loaded again.

The responses of both twins over TLS are compared in test_threaded.py.
"""

import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.authority import MemoryClient, client_context, write_pair
from tests.support.program import Program
from tests.support.raw_client import TIMEOUT, Client, SecureAddress, request
from tests.support.secure_socket import SecureSocket
from tests.support.slowness import stretched

pytestmark = pytest.mark.system

MODELS = ("each", "pool")
APP = "tests.support.twin_app:app"
Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start_one(model: str, *arguments: str) -> Program:
            pair = write_pair(tmp_path, "localhost", "127.0.0.1")
            options = ["--model", model, "--threads", "4", "--port", "0", "--access-log", "off"]
            options += ["--tls-cert", pair.certificate, "--tls-key", pair.key]
            program = Program(["-m", "loadtest.threaded", *options, *arguments, APP])
            stack.callback(program.close)
            return program

        yield start_one


def connected(program: Program) -> socket.socket:
    """A connection without TLS."""
    return socket.create_connection(program.address, TIMEOUT)


def received(one: socket.socket) -> bytes:
    """All bytes until the end; a reset is an end, too."""
    got = b""
    try:
        while piece := one.recv(1 << 16):
            got += piece
    except ConnectionResetError:
        pass
    return got


def serves(program: Program) -> None:
    with program.connect() as client:
        assert client.ask("/peer").body == b"https TLSv1.3"


@pytest.mark.parametrize("model", MODELS)
def test_a_client_that_says_nothing_is_cut(start: Start, model: str) -> None:
    program = start(model, "--tls-handshake-timeout", "0.4", "--idle-timeout", "60")
    began = time.monotonic()
    with connected(program) as silent, connected(program) as half:
        half.sendall(MemoryClient().shake()[:50])
        serves(program)
        assert received(silent) == b""
        assert received(half) == b""
    assert 0.4 <= time.monotonic() - began < stretched(5)
    with program.connect() as idle:  # the deadline was the handshake's alone
        assert idle.ask("/hello").status == 200
        time.sleep(0.6)
        assert idle.ask("/hello").status == 200


@pytest.mark.parametrize("model", MODELS)
def test_plain_http_gets_a_400(start: Start, model: str) -> None:
    program = start(model)
    with connected(program) as plain:
        plain.sendall(request("/hello"))
        got = received(plain)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"This port speaks HTTPS" in got
    serves(program)


@pytest.mark.parametrize(
    "data", [b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 70_000, b"\x16", b""]
)
def test_a_hello_that_is_none(start: Start, data: bytes) -> None:
    """The process logs no traceback, and others are served."""
    program = start("each")
    with connected(program) as broken:
        broken.sendall(data)
        broken.shutdown(socket.SHUT_WR)
        received(broken)
    serves(program)
    program.signal()
    assert program.wait()[0] == 0
    assert "Traceback" not in program.error_log()


def test_a_handshake_byte_by_byte(start: Start) -> None:
    program = start("each")
    with connected(program) as tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = MemoryClient()
        data = client.shake()
        while not client.has_shaken:
            for at in range(len(data)):
                tcp.sendall(data[at : at + 1])
            data = client.shake(tcp.recv(1 << 16))
        tcp.sendall(data + client.say(request("/hello", "Connection: close")))  # in one piece
        while not client.ended:
            client.hear(tcp.recv(1 << 16))
    assert client.received.startswith(b"HTTP/1.1 200 ")


def test_a_session_is_resumed(start: Start) -> None:
    program = start("each")
    context = client_context()

    def ask(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        with connected(program) as tcp:
            secure = SecureSocket(tcp, MemoryClient(context, session=session))
            secure.sendall(request("/hello", "Connection: close"))
            while secure.recv(1 << 16):
                pass
            assert secure.session.tls.session_reused is (session is not None)
            return secure.session.tls.session

    ask(ask(None))


def test_a_truncated_request_is_refused_and_a_response_ends_well(start: Start) -> None:
    program = start("each")
    with connected(program) as tcp:
        secure = SecureSocket(tcp)
        secure.sendall(request("/counted", "Content-Length: 10", method="POST") + b"half")
        tcp.shutdown(socket.SHUT_WR)  # without a close_notify
        got = b""
        while piece := secure.recv(1 << 16):  # which raises where our end has none
            got += piece
        assert got.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("model", MODELS)
def test_a_client_that_does_not_read_is_cut(start: Start, model: str) -> None:
    program = start(model, "--min-rate-timeout", "0.3", "--min-rate", "1000")
    with Client(program.address, receive_buffer=4096) as client:
        client.send(request("/pieces/5000"))  # 20 MiB
        began = time.monotonic()
        with pytest.raises((ConnectionResetError, EOFError)):
            time.sleep(1.5)
            client.read_response()
        assert time.monotonic() - began < stretched(20)


@pytest.mark.parametrize("model", MODELS)
def test_a_signal_drains(start: Start, model: str) -> None:
    program = start(model)
    with program.connect() as idle, program.connect() as busy, connected(program) as silent:
        assert idle.ask("/hello").status == 200
        busy.send(request("/block?ms=600"))
        time.sleep(0.2)
        program.signal()
        assert idle.ended()
        response = busy.read_response()
        assert (response.status, response.get("connection")) == (200, "close")
        assert busy.ended()
        assert received(silent) == b""
    assert program.wait()[0] == 0


def test_a_client_over_the_limit_is_closed_without_a_handshake(start: Start) -> None:
    program = start("each", "--connections", "1")
    with program.connect() as one:
        assert one.ask("/hello").status == 200
        with connected(program) as refused:
            assert received(refused) == b""
        assert one.ask("/hello").status == 200


def test_http_and_https_side_by_side(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = start("each", "--bind-http", f"127.0.0.1:{port}")
    serves(program)
    with Client(("127.0.0.1", port)) as plain:
        assert plain.ask("/peer").body == b"http none"


def test_certificates_are_loaded_again(start: Start, tmp_path: Path) -> None:
    program = start("each")

    def shown() -> bytes | None:
        with connected(program) as tcp:
            return SecureSocket(tcp).session.tls.getpeercert(binary_form=True)

    with program.connect() as before:
        first = shown()
        write_pair(tmp_path, "localhost", "127.0.0.1")
        program.signal(signal.SIGHUP)
        end = time.monotonic() + TIMEOUT
        while shown() == first:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert before.ask("/hello").status == 200


def test_the_address_is_one_of_https(start: Start) -> None:
    program = start("each")
    assert isinstance(program.address, SecureAddress)
    assert program.line.startswith("threaded: https://")
