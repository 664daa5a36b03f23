"""The TLS transport on real sockets: handshakes of every kind, and what is not TLS at all."""

import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from reactor import Limits, Response
from reactor.messages.request import BaseRequest
from reactor.net.binding import bind_hosts
from reactor.net.certificates import Certificates
from reactor.net.tls import SEAL_BYTES
from reactor.net.tls_session import RECORD_BYTES, OpenSslSession
from tests.conftest import Running
from tests.support.authority import client_context
from tests.support.handlers import hello
from tests.support.raw_client import TIMEOUT, Client, request
from tests.support.secure_socket import SecureSocket

pytestmark = pytest.mark.system

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
Secure = Callable[..., Running]


@pytest.fixture
def secure(
    no_leaks: None, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> Iterator[Secure]:
    """Start servers that speak TLS; each field of Limits is an argument."""
    running: list[Running] = []

    def start(handler: Callable[..., object] = hello, **limits: float) -> Running:
        chosen = Limits(**limits)  # type: ignore[arg-type]
        running.append(Running(handler, None, chosen, certificates=certificates))  # type: ignore[arg-type]
        return running[-1]

    with caplog.at_level(logging.INFO, logger="reactor"):
        yield start
    for one in running:
        one.stop()
    assert not [one for one in caplog.messages if "in the loop" in one]


def plain(running: Running) -> Client:
    """A client that speaks no TLS, or not yet."""
    client = Client(tuple(running.address))
    running.clients.append(client)
    return client


def test_a_request_and_what_it_knows(secure: Secure) -> None:
    seen: list[BaseRequest] = []

    def handler(request: BaseRequest) -> Response:
        seen.append(request)
        return Response(200, b"hello")

    running = secure(handler)
    with running.connect() as client:
        for _ in range(3):
            assert client.ask().body == b"hello"
        assert isinstance(client.socket, SecureSocket)
        assert client.socket.selected_alpn_protocol() is None
    first = seen[0]
    assert first.scheme == "https"
    assert first.tls is not None
    assert first.tls.version == "TLSv1.3"
    assert first.tls is seen[2].tls


def test_more_records_are_made_while_the_kernel_takes_all(
    secure: Secure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first record for a peer that may be slow; each send that leaves whole doubles the next."""
    sizes: list[int] = []
    seal = OpenSslSession.seal

    def counted(session: OpenSslSession, data: bytes | memoryview) -> bytes:
        sizes.append(len(data))
        return seal(session, data)

    monkeypatch.setattr(OpenSslSession, "seal", counted)
    body = bytes(200 * 1024)
    running = secure(lambda request: Response(200, body))
    assert running.connect().ask().body == body
    assert sizes[0] < 1024  # the head
    assert sizes[1:3] == [RECORD_BYTES, 2 * RECORD_BYTES]
    assert max(sizes) <= SEAL_BYTES


def test_absolute_targets_are_https_there(secure: Secure) -> None:
    running = secure()
    client = running.connect()
    assert client.ask("https://localhost/").status == 200
    client = running.connect()
    response = client.ask("http://localhost/")
    assert (response.status, response.body) == (421, b"Only https URLs are served here.\n")


def test_data_behind_the_handshake_needs_no_event(secure: Secure) -> None:
    """The request comes in the segment of the client's Finished: the kernel has no more to say."""
    running = secure()
    client = plain(running)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    client.send(outgoing.read())
    while True:
        incoming.write(client.socket.recv(1 << 16))
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            pass
    tls.write(request())
    client.send(outgoing.read())
    said = b""
    while b"hello" not in said:
        incoming.write(client.socket.recv(1 << 16))
        try:
            while piece := tls.read(1 << 16):
                said += piece
        except ssl.SSLWantReadError:
            pass


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n", b"POST /", b"G"])
def test_plain_http_on_the_port_gets_a_response_that_says_so(secure: Secure, first: bytes) -> None:
    running = secure()
    client = plain(running)
    client.send(first)
    response = client.read_response()
    assert response.status == 400
    assert response.body == b"This port speaks HTTPS: the URL begins with https://.\n"
    assert response.get("connection") == "close"
    client.send(b"Host: localhost\r\n\r\n")
    assert client.ended()
    assert running.server.handshakes.failures["http"] == 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x16\x03\x01\x00\x05hello", "malformed"),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(60), "version"),
        (bytes(100), "malformed"),
        (b"\xff" * 70_000, "malformed"),
    ],
    ids=["no hello", "SSLv2", "zeros", "long"],
)
def test_garbage_ends_by_an_alert_and_one_line_in_the_log(
    secure: Secure, caplog: pytest.LogCaptureFixture, data: bytes, kind: str
) -> None:
    running = secure()
    for _ in range(5):
        client = plain(running)
        try:
            client.send(data)
            client.read_to_end()
        except OSError:
            pass  # a reset, since it went on
        client.close()
    running.wait_until(lambda: sum(running.server.handshakes.failures.values()) == 5)
    running.wait_for_connections(0)
    assert running.server.handshakes.failures[kind] == 5
    assert (
        len([one for one in caplog.messages if "TLS handshake with 127.0.0.1 failed" in one]) == 1
    )
    with running.connect() as client:
        assert client.ask().status == 200


@pytest.mark.parametrize("data", [b"", b"\x16", HELLO[:20]])
def test_a_client_that_says_too_little_is_cut_in_time(secure: Secure, data: bytes) -> None:
    running = secure(tls_handshake_timeout=0.2)
    client = plain(running)
    began = time.monotonic()
    client.send(data)
    with pytest.raises(ConnectionResetError):
        client.socket.recv(100)
    assert 0.15 < time.monotonic() - began < TIMEOUT / 2
    assert running.server.handshakes.failures["timeout"] == 1


def test_a_hello_byte_by_byte_is_no_way_around_the_timeout(secure: Secure) -> None:
    running = secure(tls_handshake_timeout=0.3)
    client = plain(running)
    began = time.monotonic()
    with pytest.raises(OSError):
        for byte in HELLO:
            client.send(bytes([byte]))
            time.sleep(0.01)
    assert time.monotonic() - began < TIMEOUT / 2


def test_the_idle_timeout_follows_the_handshake(secure: Secure) -> None:
    running = secure(tls_handshake_timeout=20, idle_timeout=0.3)
    client = running.connect()
    assert client.ask().status == 200
    began = time.monotonic()
    assert client.ended()  # by a close_notify and a FIN
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_client_that_leaves_in_the_middle(secure: Secure, how: str) -> None:
    running = secure()
    for size in (0, 1, 100, len(HELLO)):
        client = plain(running)
        client.send(HELLO[:size])
        if how == "fin":
            client.close()
        else:
            client.reset()
    running.wait_until(lambda: sum(running.server.handshakes.failures.values()) == 4)
    running.wait_for_connections(0)


def test_a_flood_in_place_of_a_handshake_is_dropped_and_ends(secure: Secure) -> None:
    running = secure(linger_timeout=0.3)
    client = plain(running)
    with pytest.raises(OSError):
        client.send(HELLO[:1])
        for _ in range(100_000):
            client.send(bytes(65536))
    running.wait_for_connections(0)
    assert running.server.handshakes.failures["malformed"] == 1


def test_a_body_that_is_cut_is_no_whole_body(secure: Secure) -> None:
    """A FIN without a close_notify behind half a body: 400, and no handler sees it as whole."""
    bodies: list[bytes] = []

    async def handler(request: BaseRequest) -> Response:
        bodies.append(await request.body.read())
        return Response(200)

    running = secure(handler)
    client = running.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
    assert isinstance(client.socket, SecureSocket)
    client.socket.tcp.shutdown(socket.SHUT_WR)
    running.wait_for_connections(0)
    assert bodies == []


def test_a_large_response_and_a_large_body(secure: Secure) -> None:
    async def handler(request: BaseRequest) -> Response:
        return Response(200, await request.body.read())

    running = secure(handler, memory_body_bytes=1 << 24)
    client = running.connect()
    body = bytes(range(256)) * 20_000
    assert client.ask(method="POST", body=body).body == body


def test_a_slow_reader_gets_all_of_a_large_response(secure: Secure) -> None:
    body = bytes(range(256)) * 40_000
    running = secure(lambda request: Response(200, body))
    client = running.connect(receive_buffer=4096)
    client.send(request())
    time.sleep(0.2)
    assert client.read_response().body == body


def test_the_server_ends_while_a_handshake_waits(secure: Secure) -> None:
    running = secure()
    client = plain(running)
    client.send(b"\x16")
    running.wait_for_connections(1)
    running.shut_down()
    assert running.join()
    assert client.ended()


def test_too_many_clients_are_closed_without_a_handshake(secure: Secure) -> None:
    running = secure(connections=1)
    first = running.connect()
    assert first.ask().status == 200
    second = plain(running)
    with pytest.raises((ConnectionResetError, EOFError)):
        second.send(HELLO)
        if not second.socket.recv(1):
            raise EOFError
    assert first.ask().status == 200


def test_plain_and_tls_side_by_side(secure: Secure) -> None:
    schemes: list[str] = []

    def handler(request: BaseRequest) -> Response:
        schemes.append(request.scheme)
        return hello(request)

    running = secure(handler)
    (bound,) = bind_hosts([("127.0.0.1", 0)], 10)
    running.call(lambda: running.server.listen_on(bound))
    with Client(bound.getsockname()) as client, running.connect() as other:
        assert client.ask().body == other.ask().body == b"hello"
    assert schemes == ["http", "https"]


def test_the_dump_names_version_and_phase(secure: Secure) -> None:
    running = secure()
    with running.connect() as client:
        assert client.ask().status == 200
        (connection,) = running.server.open_connections
        assert connection.snapshot().transport.tls == "TLSv1.3"
    running.wait_for_connections(0)
    client = plain(running)
    running.wait_for_connections(1)
    (connection,) = running.server.open_connections
    assert connection.snapshot().transport.tls == "hello"
