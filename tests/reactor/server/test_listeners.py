"""Listeners of one server that differ: plain and TLS, fields and handlers of their own."""

import gc

import pytest

from reactor import Response
from reactor.messages.request import BaseRequest
from reactor.net.binding import bind_hosts
from reactor.net.certificates import Certificates
from tests.conftest import Running, Serve
from tests.support.raw_client import Client, SecureAddress, request

HSTS = "max-age=3600"


def hello(request: BaseRequest) -> Response:
    if request.path == "/fail":
        raise ValueError("a fault of the handler")
    return Response(200, f"{request.scheme} {request.path}".encode())


def listen(
    running: Running, certificates: Certificates, hsts: int | None = 3600
) -> tuple[SecureAddress, tuple[object, ...]]:
    """A listener for TLS and one that has another handler."""

    def add() -> tuple[SecureAddress, tuple[object, ...]]:
        server = running.server
        for one in bind_hosts([("127.0.0.1", 0)], 10):
            server.listen_on(one, tls=certificates, hsts=hsts)
        for one in bind_hosts([("127.0.0.1", 0)], 10):
            server.listen_on(one, handler=lambda _: Response(404, b"another"))
        return SecureAddress(server.addresses[-2]), server.addresses[-1]

    secure, other = running.call(add)
    return secure, other


@pytest.mark.plain
def test_plain_and_secure_listeners_side_by_side(serve: Serve, certificates: Certificates) -> None:
    running = serve(hello)
    secure, other = listen(running, certificates)
    assert running.server.secure_addresses == [secure]
    assert len(running.server.addresses) == 3
    with Client(running.address) as one, Client(secure) as two, Client(other) as three:
        for _ in range(2):
            assert one.ask("/a").body == b"http /a"
            assert two.ask("/a").body == b"https /a"
            assert three.ask("/a").body == b"another"
        assert len(running.server.open_connections) == 3


@pytest.mark.plain
def test_hsts_is_in_every_response_over_tls_and_in_no_other(
    serve: Serve, certificates: Certificates
) -> None:
    """RFC 6797, section 7.2: a response without TLS has no such field."""
    running = serve(hello)
    secure, other = listen(running, certificates)
    with Client(secure) as client:
        assert client.ask("/").get("strict-transport-security") == HSTS
        assert client.ask("/fail").get("strict-transport-security") == HSTS
        client.send(b"no request\r\n\r\n")
        refused = client.read_response()
        assert (refused.status, refused.get("strict-transport-security")) == (400, HSTS)
    for address in (running.address, other, tuple(secure)):
        with Client(address) as client:
            assert client.ask("/").get("strict-transport-security") is None
    with Client(running.address) as client:
        assert client.ask("/fail").get("strict-transport-security") is None


@pytest.mark.plain
def test_all_listeners_share_the_limit_of_connections(
    serve: Serve, certificates: Certificates
) -> None:
    running = serve(hello, connections=2)
    secure, _ = listen(running, certificates)
    with Client(running.address) as one, Client(secure) as two:
        assert one.ask("/").status == two.ask("/").status == 200
        with Client(running.address) as third:
            assert third.read_response().status == 503
        with Client(tuple(secure)) as third:
            assert third.ended()  # a handshake costs more than a refusal may
    running.wait_for_connections(0)


@pytest.mark.plain
def test_all_listeners_end_together(serve: Serve, certificates: Certificates) -> None:
    running = serve(hello)
    secure, other = listen(running, certificates, hsts=None)
    with Client(secure) as client:
        assert client.ask("/").get("strict-transport-security") is None
        client.send(request("/last"))
        running.server.reactor.call_soon_threadsafe(running.server.shut_down)
        assert client.read_response().body == b"https /last"
        assert client.ended()
    assert running.join()
    gc.collect()
    for address in (running.address, secure, other):
        with pytest.raises(ConnectionRefusedError):
            Client(address)
