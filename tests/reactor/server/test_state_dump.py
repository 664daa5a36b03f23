"""The dump of a server's state: idle, busy, crowded, draining."""

import re
import threading

import pytest

from reactor import Response, in_pool, sleep
from reactor.messages.request import BaseRequest
from reactor.net.certificates import Certificates
from reactor.server.state_dump import CONNECTIONS, state_dump
from tests.conftest import Running, Serve
from tests.support.raw_client import TIMEOUT, Client, SecureAddress, request

pytestmark = pytest.mark.system


async def handler(request: BaseRequest) -> Response:
    if request.path == "/never":
        await sleep(1000)
    return Response(200, b"hello")


def dumped(running: Running) -> list[str]:
    return running.call(lambda: state_dump(running.server)).split("\n")


@pytest.mark.plain
def test_an_idle_server(serve: Serve) -> None:
    running = serve(handler, connections=7)
    lines = dumped(running)
    assert lines[0] == "state of the server:"
    assert re.fullmatch(
        r"loop: 1 sockets ready in this turn, 0 timers and 0 dead ones, 0 callbacks waiting, "
        r"0 calls of bulk work waiting; "
        r"0 bytes received, 0 sent",
        lines[1],
    )
    assert lines[2:] == [
        f"listening on 127.0.0.1, port {running.address[1]}",
        "connections: 0 open of 7 at most, the oldest for 0.0 s; 0 accepted; serving",
        "timers: 0 deadlines of connections, 0 others",
        "tasks beside the connections: 0",
        "calls after responses: 0 registered, waiting or running",
        "request bodies: 0 bytes in memory, 0 wait for room",
        "pool: 0 threads (0 idle); 0 file jobs, 0 compressions, 0 pieces of streams and "
        "0 log jobs queued, 0 waiting for a place",
    ]


def test_each_connection_has_a_line(serve: Serve) -> None:
    running = serve(handler, connections=9, idle_timeout=70, handler_timeout=0)
    idle, head, working = (running.connect() for _ in range(3))
    idle.ask()
    head.send(b"GET /")
    working.send(request("/never"))
    running.wait_until(lambda: "1 IDLE, 1 HEAD, 1 HANDLER" in state_dump(running.server))
    lines = [one for one in dumped(running) if "TLS handshakes" not in one]
    lines = [one.replace(" TLSv1.3 ", " ") for one in lines if not one.startswith("    the cert")]
    lines = [one for one in lines if "are read and encrypted" not in one]
    assert lines[3].startswith("connections: 3 open of 9 at most (1 IDLE, 1 HEAD, 1 HANDLER), the")
    first, second, third = lines[4:7]
    number = r"[0-9]+\.[0-9]"
    assert re.fullmatch(
        rf"    127\.0\.0\.1 HEAD: no request, deadline in {number} s, 0 bytes unsent, "
        rf"open for {number} s",
        first,
    )
    assert re.fullmatch(
        rf"    127\.0\.0\.1 HANDLER: <GET /never HTTP/1\.1> for {number} s, no deadline, "
        rf"0 bytes unsent, open for {number} s",
        second,
    )
    assert re.search(r"IDLE: no request, deadline in (6[0-9]|70)\.", third)
    sleeping = r"    in (9[0-9]{2}|1000)\.[0-9] s: _SleepFuture\._end \(.*\)"
    assert any(re.fullmatch(sleeping, one) for one in lines)


def test_a_few_of_many_connections_are_named_the_busy_ones_first(serve: Serve) -> None:
    running = serve(handler)
    idle = [running.connect() for _ in range(CONNECTIONS + 5)]
    for client in idle:
        client.ask()
    working = running.connect()
    working.send(request("/never"))
    running.wait_until(lambda: "1 HANDLER" in state_dump(running.server))
    lines = dumped(running)
    named = [line for line in lines if line.startswith("    127.0.0.1")]
    assert len(named) == CONNECTIONS
    assert "/never" in named[0]
    assert "    and 6 more" in lines


def test_tasks_the_pool_and_draining(serve: Serve) -> None:
    gate = threading.Event()

    async def work() -> None:
        await in_pool(gate.wait, TIMEOUT)
        await sleep(1000)

    running = serve(handler)
    running.call(lambda: running.server.spawn(work()))
    running.wait_until(lambda: running.server.pool.snapshot().files == 0)
    client = running.connect()
    client.send(request("/never"))
    running.wait_until(lambda: "1 HANDLER" in state_dump(running.server))
    lines = dumped(running)
    place = lines.index("tasks beside the connections: 1")
    assert "work (" in lines[place + 1]
    assert __file__ in lines[place + 1]
    assert "pool: 1 threads (0 idle); 0 file jobs" in lines[place + 4]
    gate.set()
    running.shut_down()
    running.wait_until(lambda: "1 accepted; draining" in state_dump(running.server))


def test_logs_have_a_line_each(serve: Serve, tmp_path: object) -> None:
    with open(f"{tmp_path}/log", "wb") as file:
        running = serve(handler, access_log=file.fileno())
        assert dumped(running)[-1] == "access log: 0 lines lost"
        running.stop()


@pytest.mark.plain
def test_tls_is_in_it(serve: Serve, certificates: Certificates) -> None:
    running = serve(handler)
    secure = running.call(lambda: running.server.listen("127.0.0.1", 0, tls=certificates))
    with Client(SecureAddress(secure)) as client, Client(tuple(secure)) as silent:
        client.ask()
        with Client(tuple(secure)) as plain:
            plain.ask()
        running.wait_until(lambda: "1 http" in state_dump(running.server))
        text = "\n".join(dumped(running))
        silent.close()
    assert f"port {running.address[1]}, 127.0.0.1, port {secure[1]} (TLS)" in text
    assert "TLS handshakes: 1 TLSv1.3 TLS_AES_256_GCM_SHA384; failed: 1 http\n" in text
    (ends,) = certificates.expirations.values()
    assert f"    the certificate of localhost is valid until {ends:%Y-%m-%d}\n" in text
    assert "read and encrypted by pieces" in text
    assert "127.0.0.1 TLSv1.3 IDLE: no request" in text
    assert "127.0.0.1 hello IDLE: no request" in text
