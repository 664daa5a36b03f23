"""Clients that break TLS at every place: nothing is logged as a fault of ours, nothing is kept,
nothing spins, and everybody else is served.
"""

import contextlib
import logging
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import Limits, Response
from reactor.messages.request import BaseRequest
from reactor.net.certificates import Certificates
from reactor.net.tls_session import OpenSslSession
from tests.conftest import Running
from tests.support.authority import MemoryClient, authority, client_context, write_pair
from tests.support.raw_client import TIMEOUT, request
from tests.support.secure_socket import SecureSocket

pytestmark = pytest.mark.system
PIECE = 30_000
openssl = shutil.which("openssl")


CERTIFICATES = Certificates([write_pair(Path(tempfile.mkdtemp()), "localhost")])


def hello(request: BaseRequest) -> Response:
    return Response(200, bytes(PIECE))


class Attacked:
    """A server that speaks TLS, and a bystander's connection to it."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.bystander = running.connect()
        assert self.bystander.ask().status == 200

    def tcp(self) -> socket.socket:
        """A connection without a handshake."""
        connected = socket.create_connection(tuple(self.running.address)[:2], TIMEOUT)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def check(self) -> None:
        """Others are served, the attackers are gone, and the loop is idle."""
        assert self.bystander.ask().status == 200
        with self.running.connect() as new:
            assert new.ask().status == 200
        self.running.wait_for_connections(1)
        before = self.running.call(time.thread_time)
        time.sleep(0.2)
        assert self.running.call(time.thread_time) - before < 0.02, "the loop spins"


@pytest.fixture
def attacked(
    no_leaks: None, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Attacked]]:
    running: list[Running] = []

    def start(chosen: Certificates = certificates, **limits: float) -> Attacked:
        one = Running(hello, None, Limits(**limits), certificates=chosen)  # type: ignore[arg-type]
        running.append(one)
        return Attacked(one)

    with caplog.at_level(logging.WARNING, logger="reactor"):
        yield start
    for one in running:
        one.stop()
    assert caplog.messages == []


def test_the_end_at_every_byte_of_a_hello(attacked: Callable[..., Attacked]) -> None:
    """By a FIN and by a reset."""
    server = attacked()
    first = MemoryClient().shake()
    for cut in range(len(first) + 1):
        with server.tcp() as one:
            one.sendall(first[:cut])
            if cut % 2:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(8, "little"))
    server.check()


def test_the_end_within_the_second_flight(attacked: Callable[..., Attacked]) -> None:
    server = attacked()
    for cut in (1, 4, 5, 6, 20, 40, 60, 79, 100):
        tcp, client = server.tcp(), MemoryClient()
        tcp.sendall(client.shake())
        received = b""
        finished = b""
        while not client.has_shaken:
            received = tcp.recv(65536)
            assert received
            finished = client.shake(received)
        tcp.sendall((finished + client.say(request()))[:cut])
        tcp.close()
    server.check()


def test_a_reader_that_leaves_in_the_middle_of_a_response(
    attacked: Callable[..., Attacked],
) -> None:
    server = attacked()
    for count in (0, 1, 5, 100, 16_000, PIECE):
        client = server.running.connect()
        assert isinstance(client.socket, SecureSocket)
        client.send(request() * 5)
        left = count
        while left:
            left -= len(client.socket.tcp.recv(left))
        client.close()
    server.check()


def test_a_peer_that_never_reads_its_handshake(attacked: Callable[..., Attacked]) -> None:
    """Hellos one behind the other, and not a byte is read."""
    server = attacked(tls_handshake_timeout=1.0)
    first = MemoryClient().shake()
    sockets = [server.tcp() for _ in range(20)]
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        with contextlib.suppress(OSError):
            one.sendall(first * 50)
    server.check()
    for one in sockets:
        one.close()


@pytest.mark.parametrize(
    "record",
    [
        b"\x15\x03\x03\x00\x02\x01\x5a",  # a warning: user_canceled
        b"\x15\x03\x03\x00\x02\x01\x00",  # a close_notify
        b"\x15\x03\x03\x00\x02\x02\x28",  # fatal: handshake_failure
        b"\x14\x03\x03\x00\x01\x01",  # a change of ciphers
        b"\x17\x03\x03\x00\x00",  # data without any
        b"\x18\x03\x03\x00\x03\x01\x40\x00",  # a heartbeat, as Heartbleed's
        b"\x16\x03\x00\x00\x04\x01\x00\x00\x00",  # an empty hello of SSLv3
        b"\x16\x03\x03\x00\x00",  # a handshake without any
        b"\x16\x03\x03\xff\xff",  # a record that is too long
    ],
)
def test_records_out_of_place(attacked: Callable[..., Attacked], record: bytes) -> None:
    """In place of a hello, behind one, and behind the handshake; one, and a thousand."""
    server = attacked(tls_handshake_timeout=2.0)
    first = MemoryClient().shake()
    for data in (record, record * 1000, first + record, first + record * 1000):
        with server.tcp() as one, contextlib.suppress(OSError):
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
            while one.recv(65536):
                pass
    for count in (1, 1000):
        client = server.running.connect()
        assert isinstance(client.socket, SecureSocket)
        with contextlib.suppress(OSError, ssl.SSLError, EOFError):
            client.socket.tcp.sendall(record * count)
            client.socket.tcp.shutdown(socket.SHUT_WR)
            client.read_to_end()
        client.close()
    server.check()


def test_ten_thousand_records_of_one_byte(attacked: Callable[..., Attacked]) -> None:
    server = attacked()
    client = server.running.connect()
    assert isinstance(client.socket, SecureSocket)
    sent = request("/" + "x" * 5000) * 2
    records = b"".join(client.socket.session.say(sent[at : at + 1]) for at in range(len(sent)))
    client.socket.tcp.sendall(records)
    assert [client.read_response().status for _ in range(2)] == [200, 200]
    client.close()
    server.check()


def test_a_hello_of_64_kib(attacked: Callable[..., Attacked]) -> None:
    """A name and an extension as long as the format allows, in one record and in many."""
    server = attacked()
    size = 60_000
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += (size + 4).to_bytes(2, "big") + b"\xff\x00" + size.to_bytes(2, "big") + bytes(size)
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    starts = range(0, len(message), 16_000)
    records = [message[at : at + 16_000] for at in starts]
    framed = b"".join(b"\x16\x03\x01" + len(one).to_bytes(2, "big") + one for one in records)
    tiny = b"".join(b"\x16\x03\x01\x00\x01" + message[at : at + 1] for at in range(5000))
    for data in (framed, tiny):
        with server.tcp() as one, contextlib.suppress(OSError):
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
            while one.recv(65536):
                pass
    server.check()


@pytest.mark.parametrize("size", [1 << 14, 1 << 20])
def test_a_clients_certificate_that_is_large(
    attacked: Callable[..., Attacked], tmp_path: Path, size: int
) -> None:
    """One MiB is more than a handshake may have, and the client gets an alert."""
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    names = [f"{'x' * 60}.{number}.test" for number in range(size // 70)]
    made = authority().issue_cert(*names)
    pair = write_pair(tmp_path, "localhost")
    asking = Certificates([pair], client_ca=str(tmp_path / "ca.pem"), client_auth="optional")
    server = attacked(asking)
    context = client_context()
    made.configure_cert(context)
    with server.tcp() as tcp:
        client = MemoryClient(context)
        tcp.sendall(client.shake())
        with contextlib.suppress(OSError, ssl.SSLError):
            while not client.has_shaken:
                tcp.sendall(client.shake(tcp.recv(65536)))
            tcp.sendall(client.say(request()))
            while not client.received:
                data = tcp.recv(65536)
                assert data or size > 1 << 16
                if not data:
                    break
                client.hear(data)
        assert (b"200" in client.received) is (size < 1 << 16)
    server.check()


@pytest.mark.parametrize("letter", ["R", "k", "K"])
@pytest.mark.skipif(not openssl, reason="no openssl")
def test_renegotiation_and_new_keys(attacked: Callable[..., Attacked], letter: str) -> None:
    """R asks for renegotiation (TLS 1.2), which is refused; k and K for new keys (TLS 1.3)."""
    server = attacked()
    version = "-tls1_2" if letter == "R" else "-tls1_3"
    host, port = tuple(server.running.address)[:2]
    command = [openssl or "", "s_client", "-connect", f"{host}:{port}", version]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        server.running.wait_for_connections(2)
        time.sleep(0.2)  # a letter counts where it is a whole line behind the handshake
        for data in (letter, letter, letter, "GET / HTTP/1.1", "Host: localhost", ""):
            with contextlib.suppress(OSError):
                process.stdin.write(f"{data}\n".encode())
                process.stdin.flush()
            time.sleep(0.02)
        out, _ = process.communicate(timeout=TIMEOUT)
    assert (b"HTTP/1.1 " in out) is (letter != "R")
    server.check()


def test_half_open_handshakes_and_a_crowd_that_says_nothing(
    attacked: Callable[..., Attacked],
) -> None:
    server = attacked(tls_handshake_timeout=1.5)
    first = MemoryClient().shake()
    crowd = [server.tcp() for _ in range(200)]
    for number, one in enumerate(crowd):
        one.sendall(first[: number % len(first)])
    began = time.monotonic()
    for _ in range(20):
        with server.running.connect() as new:
            assert new.ask().status == 200
    assert server.bystander.ask().status == 200
    assert time.monotonic() - began < 10
    server.check()
    for one in crowd:
        one.close()


def test_a_server_name_that_is_not_ascii(
    attacked: Callable[..., Attacked], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python's ssl would print a traceback for each one."""
    pairs = [write_pair(tmp_path, "localhost"), write_pair(tmp_path, "other.test")]
    server = attacked(Certificates(pairs))
    first = MemoryClient().shake()
    assert first.count(b"localhost") == 1
    for name in (b"local\xffost", b"\x00ocalhost", b"loca\nhost", b"........."):
        with server.tcp() as one:
            one.sendall(first.replace(b"localhost", name))
            one.recv(65536)
    server.check()
    assert capfd.readouterr().err == ""


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_conversation_that_was_changed(data: st.DataObject) -> None:
    """A session takes it, or raises SSLError: no other error, and no data that was not said."""
    session, client = OpenSslSession(CERTIFICATES.context), MemoryClient()
    said = b""
    try:
        sent = client.shake()
        for _ in range(6):
            if not sent:
                break
            sent = changed(data, sent)
            if session.shake(sent) and client.has_shaken:
                said += session.unseal(b"")
                break
            sent = client.shake(session.take())
            if client.has_shaken:
                sent += client.say(b"first") + client.say(b"second")
        for _ in range(2):
            said += session.unseal(changed(data, client.say(b"third")))
    except ssl.SSLError:
        pass
    assert b"firstsecondthirdthird".startswith(said)


def changed(data: st.DataObject, sent: bytes) -> bytes:
    how = data.draw(st.sampled_from(["not", "not", "byte", "cut", "twice", "more"]))
    at = data.draw(st.integers(0, len(sent) - 1))
    if how == "byte":
        return sent[:at] + bytes([data.draw(st.integers(0, 255))]) + sent[at + 1 :]
    if how == "cut":
        return sent[:at]
    if how == "twice":
        return sent[:at] * 2
    return sent + os.urandom(at) if how == "more" else sent
