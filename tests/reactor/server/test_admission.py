"""Accepting on real sockets: errors of accept, no descriptors, the limit of connections, IPv6."""

import errno
import resource
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack

import pytest

from reactor import Response
from reactor.messages.request import BaseRequest
from reactor.net.arrivals import LatestConnections
from reactor.server.admission import REFUSALS, affordable_connections
from reactor.server.server import Server
from tests.conftest import Serve
from tests.support.raw_client import TIMEOUT, Client, request


def hello(request: BaseRequest) -> Response:
    return Response(200, b"hello")


class Fickle(socket.socket):
    """A listening socket whose accept fails now and then."""

    errors: list[int]
    calls = 0

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.calls += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "as the test wants it")
        return super().accept()


def listening(*errors: int) -> Fickle:
    fickle = Fickle(socket.AF_INET, socket.SOCK_STREAM)
    fickle.errors = list(errors)
    fickle.bind(("127.0.0.1", 0))
    fickle.listen(64)
    return fickle


def test_a_client_that_is_gone_before_it_is_accepted(serve: Serve) -> None:
    running = serve(hello)
    for error in (errno.ECONNABORTED, errno.EPROTO, errno.EPERM):
        fickle = listening(error, error)
        running.call(lambda fickle=fickle: running.server.listen_on(fickle))  # type: ignore[misc]
        with Client(fickle.getsockname()) as client:
            assert client.ask().status == 200


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE])
def test_without_descriptors_a_client_is_refused_at_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    running = serve(hello)
    spare = running.server._admission._spare
    assert len(spare) == spare.size > 0
    fickle = listening(error, error)
    running.call(lambda: running.server.listen_on(fickle))
    with Client(fickle.getsockname()) as client:
        client.send(request("/", method="POST", body=bytes(100_000)))
        response = client.read_response()
        assert (response.status, response.get("retry-after")) == (503, "1")
        assert response.body == b"The server has too many files open.\n"
        assert client.ended()
    assert caplog.text.count("Clients are refused: too many open files") == 1
    with Client(fickle.getsockname()) as client:
        assert client.ask().status == 200
    running.wait_for_connections(0)
    assert len(spare) == spare.size  # it is filled again


@pytest.mark.plain  # above the limit there is no handshake
def test_a_further_refusal_ends_the_oldest_one(serve: Serve) -> None:
    """Every client hears why, however many come and stay."""
    running = serve(hello, connections=1, linger_timeout=1000, linger_total_timeout=1000)
    running.connect().ask()
    clients = [running.connect() for _ in range(REFUSALS + 20)]
    for client in clients:
        assert client.read_response().status == 503
    running.wait_for_connections(1 + REFUSALS)


@pytest.mark.parametrize("error", [errno.ENOBUFS, errno.ENOMEM])
def test_without_memory_accepting_waits_a_little(
    serve: Serve, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    running = serve(hello)
    fickle = listening(error, error, error)
    running.call(lambda: running.server.listen_on(fickle))
    began = time.monotonic()
    with Client(fickle.getsockname()) as client:
        assert client.ask().status == 200
    assert time.monotonic() - began > 0.25  # three pauses
    assert fickle.calls <= 5
    assert caplog.text.count("Cannot accept") == 1


def test_a_paused_listener_is_closed_with_the_server(serve: Serve) -> None:
    running = serve(hello)
    fickle = listening(*[errno.EMFILE] * 50)
    running.call(lambda: running.server.listen_on(fickle))
    with Client(fickle.getsockname()):
        running.wait_until(lambda: fickle.calls > 0)
        running.shut_down()
        assert running.join()
    assert fickle.fileno() == -1
    assert [type(one) for one in running.server.reactor.urgent] == [
        LatestConnections
    ]  # and no listener


EMFILE = """
    import resource, sys, threading
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    from reactor import Limits, Response, Server
    server = Server(lambda request: Response(200, b"hello"), Limits(connections=1000))
    print(server.listen("127.0.0.1", 0)[1], flush=True)
    def end():
        sys.stdin.read()
        server.reactor.call_soon_threadsafe(server.shut_down)
    threading.Thread(target=end, daemon=True).start()
    server.run()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_utime
        + resource.getrusage(resource.RUSAGE_SELF).ru_stime)
"""


@pytest.mark.system
def test_a_server_out_of_descriptors_neither_ends_nor_spins() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(EMFILE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = ("127.0.0.1", int(process.stdout.readline()))
            clients = [Client(address) for _ in range(90)]
            served = clients[0]
            served.send(request())
            assert served.read_response().body == b"hello"  # accepted clients are served
            time.sleep(1.5)  # a loop that spins would use 1.5 s of CPU
            assert served.ask().body == b"hello"
            for _ in range(3):
                with Client(address) as refused:
                    assert refused.read_response().status == 503
            for client in clients:
                client.close()
            until = time.monotonic() + TIMEOUT
            status = 503
            while status != 200 and time.monotonic() < until:
                with Client(address) as client:
                    status = client.ask().status
            assert status == 200  # there is room again
            process.stdin.close()
            used = float(process.stdout.read())
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
    assert used < 1.2, f"{used} s of CPU, of which about 0.2 are the start"


def test_affordable_connections_leave_room_for_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2000), hard))
        affordable = affordable_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
        assert hard * 0.7 < affordable < hard * 0.9 or affordable == 16
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.plain
def test_ipv6(serve: Serve) -> None:
    running = serve(hello)
    try:
        address = running.call(lambda: running.server.listen("::1", 0))
    except (IndexError, OSError):
        pytest.skip("no IPv6 here")
    with Client(address) as client:
        assert client.ask().status == 200


@pytest.mark.system
def test_a_port_in_use_is_an_oserror_and_leaves_nothing_open(no_leaks: None) -> None:
    first, second = Server(hello), Server(hello)
    try:
        _, port = first.listen("127.0.0.1", 0)
        with pytest.raises(OSError) as caught:
            second.listen("127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE
        assert second.addresses == []
    finally:
        first.close()
        second.close()


@pytest.mark.plain  # above the limit there is no handshake
def test_refused_clients_can_read_the_reason(serve: Serve) -> None:
    running = serve(hello, connections=3)
    kept = [running.connect() for _ in range(3)]
    for client in kept:
        client.ask()
    for _ in range(5):
        client = running.connect()
        client.send(request("/", method="POST", body=bytes(100_000)))
        response = client.read_response()
        assert response.status == 503
        assert response.get("retry-after") == "1"
        assert response.get("connection") == "close"
        assert client.ended()
        client.close()
    for client in kept:
        assert client.ask().body == b"hello"
    kept[0].close()
    running.wait_for_connections(2)
    assert running.connect().ask().body == b"hello"


def test_a_thousand_connections_leave_nothing_behind(serve: Serve) -> None:
    running = serve(hello)
    for _ in range(1000):
        with Client(running.address) as client:
            client.ask("/", "Connection: close")
    running.wait_for_connections(0)
    assert running.call(lambda: len(running.server.reactor.selector.get_map())) == 2


LIMITED = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    from reactor import Response, Server
    server = Server(lambda request: Response(200, b"hello"))
    print(server.listen("127.0.0.1", 0)[1], server.limits.connections, flush=True)
    server.run()
"""


@pytest.mark.system
def test_as_many_clients_are_served_as_the_server_says() -> None:
    """Descriptors for short use are beside those of the connections."""
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(LIMITED)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        port, most = map(int, process.stdout.readline().split())
        clients = [stack.enter_context(Client(("127.0.0.1", port))) for _ in range(most)]
        for client in clients:
            assert client.ask().status == 200
        with Client(("127.0.0.1", port)) as client:
            assert client.read_response().body == b"Too many connections.\n"
