"""Every limit at work, on real sockets.

Each field of Limits has its test in one of the tables, CASES or FILE_CASES; a field without one
fails. Timeouts are short, and sizes are tried at their exact boundary.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from reactor import (
    Application,
    Cancelled,
    Future,
    Limits,
    PoolFull,
    Request,
    Response,
    Server,
    in_pool,
    sleep,
)
from reactor.config.options import Unit, rows
from reactor.http.states import HANDLER
from reactor.messages.request import BaseRequest
from reactor.net.stream import INPUT_OPEN, PAUSED, InputState
from reactor.server.lifecycle import StartHookError
from reactor.tasks.futures import Lane
from reactor.tasks.thread_pool import COMPRESSION_THREADS
from tests.conftest import Running, Serve
from tests.support.authority import MemoryClient
from tests.support.file_limit_cases import FILE_CASES
from tests.support.raw_client import TIMEOUT, Client, SecureAddress, request


def hello(request: BaseRequest) -> Response:
    return Response(200, b"hello")


async def upload(request: BaseRequest) -> Response:
    """A body that is pulled and dropped."""
    count = 0
    async for piece in request.body:
        count += len(piece)
    return Response(200, b"%d" % count)


async def held(request: BaseRequest) -> Response:
    """A body that is held in memory."""
    return Response(200, b"%d" % len(await request.body.read()))


def refused(client: Client, status: int) -> None:
    """The response is an error, and the connection is closed without a reset."""
    response = client.read_response()
    assert response.status == status
    assert response.get("connection") == "close"
    assert client.ended()


def head(size: int, *, line: int = 0, fields: int = 1) -> bytes:
    """A request's head of `size` bytes: its line has `line` bytes, and it has `fields` fields."""
    target = "/" + "x" * (line - len("GET / HTTP/1.1")) if line else "/"
    first = f"GET {target} HTTP/1.1\r\n"
    rest = "".join(f"F{number}: x\r\n" for number in range(fields - 1))
    padding = size - len(first + rest + "Host: t\r\n\r\n")
    return f"{first}Host: t{' ' * max(0, padding)}\r\n{rest}\r\n".encode()


def took(began: float, least: float, most: float = 15.0) -> None:
    """It took `least` seconds at least, and not much more on a machine that may be busy."""
    assert least * 0.9 <= time.monotonic() - began < most


# --- connections ---------------------------------------------------------------------------------


def connections(serve: Serve) -> None:
    running = serve(hello, connections=2)
    kept = [running.connect() for _ in range(2)]
    assert [client.ask().status for client in kept] == [200, 200]
    with Client(tuple(running.address)) as third:
        if isinstance(running.address, SecureAddress):
            assert third.ended()  # a handshake costs more than a refusal may
        else:
            refused(third, 503)
    kept[0].close()
    running.wait_for_connections(1)
    assert running.connect().ask().status == 200


def backlog(serve: Serve) -> None:
    """The kernel holds as many clients as `listen` asked for, and one more (listen(2))."""
    running = serve(hello, backlog=3)
    release = threading.Event()
    running.server.reactor.call_soon_threadsafe(release.wait, TIMEOUT)
    try:
        waiting = [Client(tuple(running.address)) for _ in range(4)]
        with pytest.raises(TimeoutError):
            Client(tuple(running.address), timeout=0.3)
    finally:
        release.set()
    for client in waiting:
        client.close()
    assert running.connect().ask().status == 200


# --- timeouts ------------------------------------------------------------------------------------


def idle_timeout(serve: Serve) -> None:
    running = serve(hello, idle_timeout=0.3)
    began = time.monotonic()
    silent, used = running.connect(), running.connect()
    used.ask()
    time.sleep(0.2)
    used.ask()
    asked = time.monotonic()
    assert silent.ended()  # without a response
    took(began, 0.3)
    assert used.ended()
    took(asked, 0.3)


def head_timeout(serve: Serve) -> None:
    """Absolute, from the first byte: dripping does not help, and idling before does not count."""
    running = serve(hello, head_timeout=0.4, idle_timeout=60)
    client = running.connect()
    client.ask()
    time.sleep(0.5)
    began = time.monotonic()
    client.send(b"GET / HTTP/1.1\r\nHost: t\r\n")
    client.socket.settimeout(0.05)
    while time.monotonic() < began + 10:
        client.send(b"X: y\r\n")
        try:
            refused(client, 408)
        except TimeoutError:
            continue
        break
    took(began, 0.4, 5)


def handler_timeout(serve: Serve) -> None:
    ended = threading.Event()

    async def handler(request: BaseRequest) -> Response:
        try:
            await sleep(float(request.path[1:]))
        except Cancelled:
            ended.set()
            raise
        return Response(200, b"in time")

    client = serve(handler, handler_timeout=0.3).connect()
    assert client.ask("/0.1").body == b"in time"
    assert client.ask("/0.1").body == b"in time"
    began = time.monotonic()
    client.send(request("/1000"))
    refused(client, 503)
    took(began, 0.3)
    assert ended.wait(TIMEOUT)
    assert serve(handler, handler_timeout=0).connect().ask("/0.4").status == 200


def min_rate(serve: Serve) -> None:
    """A sender and a reader below the rate are aborted; with 0 nobody is."""
    slow, patient = (serve(upload, min_rate=rate, min_rate_timeout=0.3) for rate in (1000.0, 0))
    clients = [running.connect() for running in (slow, patient)]
    for client in clients:
        client.send(request("/", "Content-Length: 40", method="POST"))
    for _ in range(20):  # 2 bytes each 40 ms: 50 a second
        for client in clients:
            client.send(b"xx")
        time.sleep(0.04)
    refused(clients[0], 408)
    assert clients[1].read_response().body == b"40"


def min_rate_timeout(serve: Serve) -> None:
    """A client that stops is given up after it: a sender with 408, a reader by a reset."""
    running = serve(upload, min_rate_timeout=0.3)
    sender = running.connect()
    sender.send(request("/", "Content-Length: 10", method="POST") + b"123")
    began = time.monotonic()
    refused(sender, 408)
    took(began, 0.3)
    sender.close()
    running = serve(lambda _: Response(200, bytes(30_000_000)), min_rate_timeout=0.3)
    reader = running.connect(receive_buffer=4096)
    reader.send(request())
    running.wait_for_connections(1)
    running.wait_for_connections(0)
    with pytest.raises(ConnectionResetError):
        reader.read_to_end()


def half_closed_timeout(serve: Serve) -> None:
    ended = threading.Event()

    async def handler(request: BaseRequest) -> Response:
        try:
            await sleep(float(request.path[1:]))
        except Cancelled:
            ended.set()
            raise
        return Response(200, b"done")

    running = serve(handler, half_closed_timeout=0.3)
    client = running.connect()
    client.send(request("/0.05"))
    client.send_fin()
    assert client.read_response().body == b"done"
    client = running.connect()
    began = time.monotonic()
    client.send(request("/1000"))
    client.send_fin()
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    took(began, 0.3)
    assert ended.wait(TIMEOUT)


def tls_handshake_timeout(serve: Serve) -> None:
    """From the connection to the handshake's end, in any pieces."""
    running = serve(hello, tls_handshake_timeout=0.3, idle_timeout=60)
    if not isinstance(running.address, SecureAddress):
        return
    hello_record = MemoryClient().shake()
    silent, slow = (Client(tuple(running.address)) for _ in range(2))
    used = running.connect()
    began = time.monotonic()
    slow.send(hello_record[:100])
    time.sleep(0.2)
    slow.send(hello_record[100:110])
    for client in (silent, slow):
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
        client.close()
    took(began, 0.2)
    assert used.ask().status == 200


def linger_timeout(serve: Serve) -> None:
    """A client that does not close is waited for that long after its last byte."""
    running = serve(hello, linger_timeout=0.4, linger_total_timeout=60)
    client = running.connect()
    client.ask("/", "Connection: close")
    assert client.ended()
    began = time.monotonic()
    time.sleep(0.2)
    client.send(b"more")
    sent = time.monotonic()
    assert running.call(lambda: running.server.connections) == 1
    running.wait_for_connections(0)
    took(began, 0.4)
    took(sent, 0.35)


def linger_total_timeout(serve: Serve) -> None:
    """A client that goes on sending is cut all the same."""
    running = serve(hello, linger_timeout=0.4, linger_total_timeout=1.0)
    client = running.connect()
    client.ask("/", "Connection: close")
    assert client.ended()
    began = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() < began + 20:
            client.send(b"more")
            time.sleep(0.02)
    took(began, 0.8)


def cancel_timeout(serve: Serve) -> None:
    """A handler may clean up when it is cancelled, but not for ever."""
    how: list[str] = []
    ended = threading.Event()

    async def handler(request: BaseRequest) -> Response:
        try:
            await sleep(1000)
        except Cancelled:
            try:
                await sleep(0.05)
                how.append("cleaned up")
                await sleep(1000)
                how.append("too long")
            except GeneratorExit:
                how.append("closed")
                raise
            finally:
                ended.set()
        raise AssertionError

    running = serve(handler, cancel_timeout=0.3)
    client = running.connect()
    client.send(request())
    running.wait_until(lambda: any(c.task is not None for c in running.server.open_connections))
    began = time.monotonic()
    client.reset()
    assert ended.wait(TIMEOUT)
    took(began, 0.3)
    assert how == ["cleaned up", "closed"]


def shutdown_timeout(serve: Serve) -> None:
    async def handler(request: BaseRequest) -> Response:
        await sleep(1000)
        raise AssertionError

    running = serve(handler, shutdown_timeout=0.3)
    client = running.connect()
    client.send(request())
    running.wait_until(lambda: any(c.task is not None for c in running.server.open_connections))
    began = time.monotonic()
    running.shut_down()
    assert running.join()
    took(began, 0.3)
    with pytest.raises(ConnectionResetError):
        client.read_to_end()


def shutdown_delay(serve: Serve) -> None:
    running = serve(lambda request: Response(200), shutdown_delay=0.3)
    before = running.connect()
    assert before.ask("/").status == 200
    began = time.monotonic()
    running.shut_down()
    running.wait_until(lambda: running.server.draining)
    assert running.connect().ask("/").status == 200
    response = before.ask("/")
    assert (response.status, response.get("connection")) == (200, None)
    assert running.join()
    took(began, 0.3)


def start_timeout(serve: Serve) -> None:
    app, ended = Application(), threading.Event()

    @app.on_start
    async def endless() -> None:
        try:
            await sleep(1000)
        finally:
            ended.set()

    server = Server(app, Limits(start_timeout=0.3))
    began = time.monotonic()
    with pytest.raises(StartHookError, match=r"0\.3 s is over"):
        server.run()
    took(began, 0.3)
    assert ended.is_set()


def stop_timeout(serve: Serve) -> None:
    """Each function of the end has that time of its own."""
    app, ended = Application(), list[str]()

    async def endless() -> None:
        try:
            await sleep(1000)
        finally:
            ended.append("ended")

    app.on_stop(endless)
    app.on_stop(endless)
    running = serve(app, stop_timeout=0.2)
    began = time.monotonic()
    running.shut_down()
    assert running.join()
    took(began, 0.4)
    assert ended == ["ended", "ended"]


# --- sizes ---------------------------------------------------------------------------------------


def at_the_boundary(
    running: Running, fits: bytes, too_much: bytes, status: int, *, rest: bytes = b""
) -> None:
    """`fits` gets 200 and `too_much` gets `status`: sent whole, and byte by byte."""
    client = running.connect()
    client.send(fits)
    assert client.read_response().status == 200
    client = running.connect()
    client.send(too_much)
    client.send(bytes(200_000))  # it is still sending
    refused(client, status)
    client = running.connect()
    for start in range(0, len(too_much), 7):
        client.send(too_much[start : start + 7])
    refused(client, status)


def request_line_bytes(serve: Serve) -> None:
    running = serve(hello, request_line_bytes=100)
    at_the_boundary(running, head(0, line=100), head(0, line=101), 414)
    client = running.connect()
    client.send(b"GET /" + b"x" * 97)  # 102 bytes without an end
    refused(client, 414)


def head_bytes(serve: Serve) -> None:
    running = serve(hello, head_bytes=500)
    assert len(head(500)) == 500
    at_the_boundary(running, head(500), head(501), 431)
    client = running.connect()
    client.send(head(1000)[:501])  # without an end
    refused(client, 431)


def head_fields(serve: Serve) -> None:
    at_the_boundary(serve(hello, head_fields=5), head(0, fields=5), head(0, fields=6), 431)


def trailer_bytes(serve: Serve) -> None:
    start = b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    fits, too_much = (b"T: %b\r\n" % (b"x" * (size - 5)) for size in (100, 101))
    running = serve(upload, trailer_bytes=100)
    at_the_boundary(running, start + fits + b"\r\n", start + too_much + b"\r\n", 431)
    halves = b"T: %b\r\n" % (b"x" * 45)  # 50 bytes each
    at_the_boundary(running, start + halves * 2 + b"\r\n", start + halves * 3 + b"\r\n", 431)


def chunked(size: int) -> bytes:
    """A body in chunks of 1,000 bytes."""
    sizes = [1000] * (size // 1000) + ([size % 1000] if size % 1000 else [])
    chunks = b"".join(b"%x\r\n%b\r\n" % (one, bytes(one)) for one in sizes)
    return (
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )


def posted(size: int) -> bytes:
    return request("/", method="POST", body=bytes(size))


def memory_body_bytes(serve: Serve) -> None:
    running = serve(held, memory_body_bytes=10_000)
    for make in (posted, chunked):
        assert running.connect().ask_with(make(10_000)).status == 200
        assert running.connect().ask_with(make(10_001)).status == 413
    for beginning in (
        request("/", "Content-Length: 9000000", method="POST"),
        chunked(10_001)[:-3],
    ):
        client = running.connect()
        client.send(beginning)
        client.send(b"x" * 3_000_000)  # it is still sending
        assert client.read_response().status == 413
        assert client.ended()  # without a reset
    assert running.call(lambda: running.server.snapshot().body_bytes) == 0
    streaming = serve(upload, memory_body_bytes=10_000)
    assert streaming.connect().ask(method="POST", body=bytes(20_000)).body == b"20000"


def in_memory(running: Running) -> tuple[int, int]:
    """Bytes that are held for bodies, and bodies that wait."""
    snapshot = running.call(running.server.snapshot)
    return snapshot.body_bytes, snapshot.body_waiters


def wait_for_memory(running: Running, held: int, waiting: int) -> None:
    def come_true() -> bool:
        snapshot = running.server.snapshot()
        return (snapshot.body_bytes, snapshot.body_waiters) == (held, waiting)

    running.wait_until(come_true)


def memory_bodies_bytes(serve: Serve) -> None:
    """Beyond it bodies wait, first come first served, and none is refused."""
    running = serve(
        held,
        memory_bodies_bytes=100_000,
        memory_body_bytes=50_000,
        memory_client_bytes=100_000,
        small_body_bytes=0,
    )
    first, second, third, fourth = (running.connect() for _ in range(4))
    for number, client in enumerate((first, second), 1):
        client.send(posted(50_000)[:-1])
        wait_for_memory(running, 49_999 * number, 0)
    third.send(posted(50_000))
    wait_for_memory(running, 99_998, 1)
    fourth.send(posted(5))  # the third is before it
    wait_for_memory(running, 99_998, 2)
    assert in_memory(running)[0] == 99_998
    second.send(b"x")
    for client, size in ((second, b"50000"), (third, b"50000"), (fourth, b"5")):
        assert client.read_response().body == size
    first.send(b"x")
    assert first.read_response().body == b"50000"
    assert in_memory(running) == (0, 0)


def memory_client_bytes(serve: Serve) -> None:
    """Another client, here in front of the same listener, has a part of its own."""
    running = serve(held, memory_client_bytes=40_000, memory_body_bytes=20_000, small_body_bytes=0)
    first, second, third = (running.connect() for _ in range(3))
    for client in (first, second):
        client.send(posted(20_000)[:-1])
    wait_for_memory(running, 39_998, 0)
    third.send(posted(20_000))
    wait_for_memory(running, 39_998, 1)
    with Client(running.address, source="127.0.0.2") as other:
        assert other.ask_with(posted(20_000)).body == b"20000"
    first.send(b"x")
    assert third.read_response().body == b"20000"


def memory_timeout(serve: Serve) -> None:
    running = serve(held, memory_bodies_bytes=1, memory_timeout=0.3, small_body_bytes=0)
    first, second = running.connect(), running.connect()
    first.send(posted(1000)[:-1])
    wait_for_memory(running, 999, 0)
    began = time.monotonic()
    response = second.ask_with(posted(1000))
    assert (response.status, response.get("retry-after")) == (503, "1")
    assert time.monotonic() - began > 0.25
    first.send(b"x")
    assert first.read_response().status == 200


def slow_body_timeout(serve: Serve) -> None:
    running = serve(held, memory_bodies_bytes=1, slow_body_timeout=0.5, small_body_bytes=0)
    first, second = running.connect(), running.connect()
    first.send(posted(1000)[:-1])
    wait_for_memory(running, 999, 0)
    time.sleep(0.6)
    assert second.ask_with(posted(1000)).status == 200
    refused(first, 408)


def small_body_bytes(serve: Serve) -> None:
    running = serve(held, memory_bodies_bytes=1, small_body_bytes=1000, memory_timeout=0.2)
    holder = running.connect()
    holder.send(posted(1002)[:-1])
    wait_for_memory(running, 1, 0)
    for make in (posted, chunked):
        for size, status in ((1000, 200), (1001, 503)):
            assert running.connect().ask_with(make(size)).status == status


def upload_bytes(serve: Serve) -> None:
    running = serve(upload, upload_bytes=10_000)
    at_the_boundary(running, posted(10_000), posted(10_001), 413)
    at_the_boundary(running, chunked(10_000), chunked(10_001), 413)


# --- the pool, the log ---------------------------------------------------------------------------


class Gate:
    """Jobs that wait until the test releases them, and count how many wait."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0

    def job(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.open.wait(TIMEOUT)
        with self.lock:
            self.inside -= 1

    async def handler(self, request: BaseRequest) -> Response:
        await in_pool(self.job)
        return Response(200)


def crowd(running: Running, count: int) -> list[Client]:
    clients = [running.connect() for _ in range(count)]
    for client in clients:
        client.send(request())
    running.wait_until(
        lambda: sum(c.task is not None for c in running.server.open_connections) == count
    )
    return clients


def pool_threads(serve: Serve) -> None:
    gate = Gate()
    running = serve(gate.handler, pool_threads=3)
    clients = crowd(running, 10)
    running.wait_until(lambda: gate.inside == 3)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("reactor-pool") == 3
    gate.open.set()
    assert [client.read_response().status for client in clients] == [200] * 10
    assert gate.most == 3


def after_calls(serve: Serve) -> None:
    """A call beyond them is refused, whether those before are registered, wait or run."""
    go_on: Future[None] = Future()
    app = Application()

    @app.get("/")
    def root(request: Request) -> Response:
        for _ in range(int(request.query)):
            request.after(lambda: go_on)
        return Response(200)

    running = serve(app, after_calls=3)
    client = running.connect()
    assert client.ask("/?4").status == 503
    assert client.ask("/?1").status == 200
    assert client.ask("/?2").status == 200
    response = client.ask("/?1")
    assert (response.status, response.get("retry-after")) == (503, "1")
    running.call(lambda: go_on.set_result(None))
    running.wait_until(lambda: running.server.after_work.count == 0)
    assert client.ask("/?3").status == 200


def pool_jobs(serve: Serve) -> None:
    """A job beyond those of its own lane is refused: a compression at once, one for a file after
    `pool_timeout`.
    """
    gate = Gate()
    running = serve(gate.handler, pool_threads=1, pool_jobs=2, pool_timeout=0.2)
    pool = running.server.pool
    clients = crowd(running, 1)
    running.wait_until(lambda: gate.inside == 1)
    clients += [running.connect() for _ in range(3)]
    for client in clients[1:]:
        client.send(request())
    running.wait_until(lambda: pool.snapshot().outside == 1)
    for _ in range(COMPRESSION_THREADS):
        running.call(lambda: pool.submit(Lane.COMPRESSION, gate.job))
    running.wait_until(lambda: gate.inside == 1 + COMPRESSION_THREADS)
    for _ in range(2):
        running.call(lambda: pool.submit(Lane.COMPRESSION, gate.job))
    with pytest.raises(PoolFull):
        running.call(lambda: pool.submit(Lane.COMPRESSION, gate.job))
    running.wait_until(lambda: pool.snapshot().outside == 0)
    gate.open.set()
    responses = [client.read_response() for client in clients]
    assert sorted(response.status for response in responses) == [200, 200, 200, 503]
    assert [one.get("retry-after") for one in responses if one.status == 503] == ["1"]


def pool_timeout(serve: Serve) -> None:
    gate = Gate()
    running = serve(gate.handler, pool_threads=1, pool_jobs=1, pool_timeout=0.4)
    clients = crowd(running, 1)
    running.wait_until(lambda: gate.inside == 1)
    clients.append(running.connect())
    clients[1].send(request())
    running.wait_until(lambda: running.server.pool.snapshot().files == 1)
    late = running.connect()
    began = time.monotonic()
    late.send(request())
    assert late.read_response().status == 503
    took(began, 0.4)
    waiting = running.connect()
    waiting.send(request())
    running.wait_until(lambda: running.server.pool.snapshot().outside == 1)
    gate.open.set()
    assert waiting.read_response().status == 200
    assert [client.read_response().status for client in clients] == [200, 200]


def log_bytes(serve: Serve) -> None:
    """Lines that do not fit are counted, and the count is written."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        filling = fill(writer)
        running = serve(hello, access_log=writer, log_bytes=1000)
        client = running.connect()
        client.send(request() * 100)
        for _ in range(100):
            client.read_response()
        assert os.read(reader, filling) == b"x" * filling
        running.stop()
        lines = os.read(reader, 100_000).decode().splitlines()
        size = len(lines[0]) + 1
        *kept, last = lines
        assert len(kept) == 1000 // size
        assert last == f"# {100 - len(kept)} lines were lost: the log could not be written"
    finally:
        os.close(reader)
        os.close(writer)


def fill(pipe: int) -> int:
    """Fill a non-blocking pipe, so that nobody writes into it; the number of bytes."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            count += os.write(pipe, b"x" * 4096)
    return count


def log_field_bytes(serve: Serve) -> None:
    """A field of exactly that size is logged whole, a longer one is cut."""
    reader, writer = os.pipe()
    try:
        form = "%(U)s %({x}i)s"
        running = serve(hello, access_log=writer, access_log_format=form, log_field_bytes=10)
        client = running.connect()
        client.ask("/23456789", "X: 123456789a")
        client.ask("/23456789a", "X: 123456789ab")
        running.stop()
        lines = os.read(reader, 1000).decode().splitlines()
        assert lines == ["/23456789 123456789a", "/23456789a 123456789a\u2026"]
    finally:
        os.close(reader)
        os.close(writer)


def slow_callback(serve: Serve) -> None:
    """Only a handler that takes longer is named in the log; 0 turns it off."""

    def handler(request: BaseRequest) -> Response:
        time.sleep(float(request.path[1:]))
        return hello(request)

    messages = SlowCallbackLog()
    log = logging.getLogger("reactor")
    log.addHandler(messages)
    try:
        for limit in (0.2, 0.0):
            client = serve(handler, slow_callback=limit).connect()
            for seconds in ("0.01", "0.3"):
                assert client.ask(f"/{seconds}").status == 200
    finally:
        log.removeHandler(messages)
    assert [line.split(" held ")[0] for line in messages.lines] == ["<GET /0.3 HTTP/1.1>"]
    assert 0.3 <= float(messages.lines[0].split("for ")[1].split()[0]) < 15


def unread_body_bytes(serve: Serve) -> None:
    """The rest of a body that nothing reads may be so long; a longer one costs the connection."""
    client = serve(hello, unread_body_bytes=1000).connect()
    for most, closes in ((1000, False), (1001, True)):
        client.send(request("/", f"Content-Length: {most}", method="POST"))
        assert client.read_response().get("connection") == ("close" if closes else None)
        client.send(b"x" * most)
    assert client.ended()


def unread_body_timeout(serve: Serve) -> None:
    client = serve(hello, unread_body_timeout=0.3).connect()
    client.send(request("/", "Content-Length: 10", method="POST"))
    assert client.read_response().get("connection") is None
    began = time.monotonic()
    client.send(b"x" * 9)
    assert client.ended()
    took(began, 0.3)


def surplus_bytes(serve: Serve) -> None:
    """A client that pipelines is read on below the limit, and its FIN seen; then it waits."""

    async def never(request: BaseRequest) -> Response:
        await sleep(1000)
        return Response()

    running = serve(never, surplus_bytes=5000, half_closed_timeout=0.2)
    client = running.connect()
    client.send(request())

    def input_after(count: int) -> InputState:
        (connection,) = running.server.open_connections
        running.wait_until(lambda: connection.snapshot().buffered == count)
        return running.call(lambda: connection.snapshot().transport.input)

    running.wait_until(lambda: [one.state for one in running.server.open_connections] == [HANDLER])
    client.send(b"x" * 4999)
    assert input_after(4999) is INPUT_OPEN
    client.send_fin()
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    running.wait_for_connections(0)
    client = running.connect()
    client.send(request())
    running.wait_until(lambda: [one.state for one in running.server.open_connections] == [HANDLER])
    client.send(b"x" * 5000)
    assert input_after(5000) is PAUSED


class SlowCallbackLog(logging.Handler):
    """The messages about slow callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "held the loop" in record.getMessage():
            self.lines.append(record.getMessage())


CASES: list[Callable[[Serve], None]] = [
    slow_callback,
    connections,
    backlog,
    idle_timeout,
    head_timeout,
    handler_timeout,
    min_rate,
    min_rate_timeout,
    half_closed_timeout,
    tls_handshake_timeout,
    linger_timeout,
    linger_total_timeout,
    cancel_timeout,
    shutdown_delay,
    shutdown_timeout,
    start_timeout,
    stop_timeout,
    request_line_bytes,
    head_bytes,
    head_fields,
    trailer_bytes,
    surplus_bytes,
    unread_body_bytes,
    unread_body_timeout,
    memory_body_bytes,
    memory_bodies_bytes,
    memory_client_bytes,
    memory_timeout,
    slow_body_timeout,
    small_body_bytes,
    upload_bytes,
    pool_threads,
    pool_jobs,
    pool_timeout,
    after_calls,
    log_bytes,
    log_field_bytes,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_limit(serve: Serve, case: Callable[[Serve], None]) -> None:
    case(serve)


@pytest.mark.parametrize("case", FILE_CASES, ids=lambda case: case.__name__)
def test_limit_of_files(serve: Serve, tmp_path: Path, case: Callable[[Serve, Path], None]) -> None:
    case(serve, tmp_path)


def test_every_limit_has_its_test() -> None:
    names = [case.__name__ for case in (*CASES, *FILE_CASES)]
    assert sorted(names) == sorted(one.name for one in fields(Limits))


def test_every_limit_has_a_unit_and_a_meaning() -> None:
    suffixes = {
        Unit.SECONDS: ("_timeout", "_delay", "_age", "_idle", "slow_callback"),
        Unit.RATE: ("_rate",),
        Unit.BYTES: ("_bytes",),
    }
    for row in rows(Limits):
        assert row.meaning
        assert row.unit is not None
        found = [unit for unit in suffixes if row.name.endswith(suffixes[unit])]
        assert found == [row.unit] or (found, row.unit) == ([], Unit.COUNT), row.name
        assert isinstance(row.default, int if row.unit in (Unit.COUNT, Unit.BYTES) else float)


@pytest.mark.parametrize("name", [one.name for one in fields(Limits)])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 2**53 + 2])
def test_a_value_that_is_no_limit_is_refused(name: str, value: float) -> None:
    bound = "most" if value > 0 else "least"
    with pytest.raises(ValueError, match=f"^{name} must be at {bound} "):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_zero_only_where_it_means_something() -> None:
    allowed = set()
    for one in fields(Limits):
        try:
            Limits(**{one.name: 0})
        except ValueError:
            continue
        allowed.add(one.name)
    without_time = {"handler_timeout", "min_rate", "shutdown_delay", "shutdown_timeout"}
    without_time |= {"start_timeout", "stop_timeout"}
    sizes = {"small_file_bytes", "small_body_bytes", "memory_client_bytes", "unread_body_bytes"}
    assert allowed == {"connections", "slow_callback", *sizes, *without_time}


# --- each error reaches a client that is still sending -------------------------------------------

ERRORS: list[tuple[int, bytes, dict[str, Any]]] = [
    (400, b"GET / HTTP/1.1\r\nHost: t\r\nBad Name: x\r\n\r\n", {}),
    (400, b"nonsense\r\n\r\n", {}),
    (408, b"GET / HTTP/1.1\r\nHost:", {"head_timeout": 0.2}),
    (413, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\n", {"upload_bytes": 10}),
    (414, head(0, line=10_000), {}),
    (417, b"GET / HTTP/1.1\r\nHost: t\r\nExpect: a miracle\r\n\r\n", {}),
    (431, head(40_000), {}),
    (501, b"CONNECT t:443 HTTP/1.1\r\nHost: t\r\n\r\n", {}),
    (501, b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", {}),
    (503, b"GET /never HTTP/1.1\r\nHost: t\r\n\r\n", {"handler_timeout": 0.2}),
    (505, b"GET / HTTP/2.0\r\nHost: t\r\n\r\n", {}),
]


@pytest.mark.parametrize(("status", "sent", "limits"), ERRORS)
def test_an_error_reaches_a_client_that_is_still_sending(
    serve: Serve, status: int, sent: bytes, limits: dict[str, Any]
) -> None:
    """3 MB follow the request: a socket that is closed while they are unread would reset the
    connection and destroy the response.
    """

    async def handler(request: BaseRequest) -> Response:
        await sleep(1000)
        raise AssertionError

    client = serve(handler, **limits).connect()
    client.send(sent)
    if status == 408:
        time.sleep(0.5)
    client.send(bytes(3_000_000))
    refused(client, status)


@pytest.mark.plain  # above the limit there is no handshake
def test_a_refusal_above_the_limit_reaches_a_client_that_is_still_sending(serve: Serve) -> None:
    running = serve(hello, connections=1)
    running.connect().ask()
    client = running.connect()
    client.send(posted(3_000_000))
    refused(client, 503)


# --- how limits work together --------------------------------------------------------------------


def test_bodies_that_together_are_too_large_do_not_wait_for_each_other(serve: Serve) -> None:
    """If each took memory bit by bit, all would hold a part, and none would get the rest."""
    running = serve(held, memory_bodies_bytes=1_000_000, memory_body_bytes=200_000)
    clients = [running.connect() for _ in range(30)]
    for make in (posted, chunked):
        for client in clients:
            client.send(make(200_000)[:100_000])
        for client in clients:
            client.send(make(200_000)[100_000:])
        assert [client.read_response().body for client in clients] == [b"200000"] * 30
    assert running.call(lambda: running.server.snapshot().body_bytes) == 0


def test_memory_is_released_at_every_end_of_a_request(serve: Serve) -> None:
    running = serve(
        held,
        memory_body_bytes=50_000,
        memory_bodies_bytes=100_000,
        memory_client_bytes=100_000,
        small_body_bytes=0,
    )
    for _ in range(3):
        clients = [running.connect() for _ in range(12)]
        for number, client in enumerate(clients):
            client.send(posted(50_000)[:-1])
            if number < 2:
                wait_for_memory(running, 49_999 * (number + 1), 0)
        wait_for_memory(running, 99_998, 10)
        clients[0].reset()  # it holds some
        clients[5].reset()  # it waits
        clients[6].close()
        clients[1].send(b"x")
        assert clients[1].read_response().status == 200
        for client in clients[7:]:
            client.reset()
        for client in clients[2:5]:
            client.send_fin()
            assert client.read_response().status == 400
        for client in clients:
            client.close()
        running.wait_for_connections(0)
        assert in_memory(running) == (0, 0)


UNSENT = [
    request("/", "Content-Length: 1048576", method="POST"),
    request("/", "Transfer-Encoding: chunked", method="POST"),
    request("/", "Transfer-Encoding: chunked"),
    request("/", "Content-Length: 1048576"),
    request("/", "Content-Length: 1048576", method="POST") + bytes(16 * 1024),
    request("/", "Transfer-Encoding: chunked", method="POST") + b"FFFFF\r\n",
]


@pytest.mark.parametrize("sent", UNSENT)
def test_64_bodies_that_do_not_come_hold_up_nobody(serve: Serve, sent: bytes) -> None:
    """With the limits as they are by default; all clients have one address."""
    running = serve(held, handler_timeout=0)
    for _ in range(64):
        running.connect().send(sent)
    began = time.monotonic()
    for size in (10, 16 * 1024, 1024 * 1024):
        assert running.connect().ask_with(posted(size)).body == b"%d" % size
    assert time.monotonic() - began < 10
    assert in_memory(running) == (0, 0)


def test_64_bodies_that_drip_hold_up_nobody(serve: Serve) -> None:
    running = serve(held, memory_bodies_bytes=4_000_000, memory_body_bytes=100_000)
    dripping = [running.connect() for _ in range(64)]
    for client in dripping:
        client.send(posted(100_000)[:-60_000])
    for _ in range(5):
        for client in dripping:
            client.send(b"x" * 52)
        for size in (10, 16 * 1024, 100_000):
            with Client(running.address, source="127.0.0.3") as other:
                assert other.ask_with(posted(size)).body == b"%d" % size
    assert in_memory(running)[0] <= 1_000_000, "a quarter"
    assert running.connect().ask_with(posted(16 * 1024)).body == b"16384"


def test_a_deadline_moves_with_the_state(serve: Serve) -> None:
    """A head after a long time of idling has its own 0.3 s, and idling after it its own 60."""
    running = serve(hello, idle_timeout=60, head_timeout=0.3)
    client = running.connect()
    for _ in range(3):
        client.send(request()[:10])
        time.sleep(0.05)
        client.send(request()[10:])
        assert client.read_response().status == 200
        time.sleep(0.35)
    client.send(request()[:10])
    refused(client, 408)


def test_a_reader_that_keeps_the_rate_is_not_cut(serve: Serve) -> None:
    """It takes several times `min_rate_timeout` to read, but never stops for so long."""
    running = serve(
        lambda _: Response(200, bytes(8_000_000)), min_rate=100_000.0, min_rate_timeout=0.5
    )
    client = running.connect(receive_buffer=65536)
    client.send(request())
    client.read_until(b"\r\n\r\n")
    began = time.monotonic()
    count = len(client.buffer)
    client.buffer = b""
    while count < 8_000_000:
        count += len(client.read_exactly(min(250_000, 8_000_000 - count)))
        time.sleep(0.05)
    assert time.monotonic() - began > 1.5


def test_a_reader_that_drips_is_cut(serve: Serve) -> None:
    """A byte now and then is progress, but not enough of it."""
    running = serve(lambda _: Response(200, bytes(30_000_000)), min_rate_timeout=0.5)
    client = running.connect(receive_buffer=4096)
    client.send(request())
    began = time.monotonic()
    running.wait_for_connections(1)
    while running.call(lambda: running.server.connections):
        client.socket.recv(1)
        time.sleep(0.01)
    took(began, 0.5)


def test_an_idle_stream_is_not_cut(serve: Serve) -> None:
    """A body that is quiet is the handler's choice; neither rate nor handler timeout is meant."""

    async def quiet() -> Any:
        yield b"one"
        await sleep(1.0)
        yield b"two"

    running = serve(
        lambda _: Response(200, quiet()),
        handler_timeout=0.2,
        min_rate_timeout=0.2,
        idle_timeout=0.2,
        head_timeout=0.2,
    )
    assert running.connect().ask().body == b"onetwo"


def test_a_client_that_dies_silently_is_aborted(serve: Serve) -> None:
    """Its response is never acknowledged: lingering ends all the same."""
    running = serve(hello, linger_timeout=0.2, linger_total_timeout=0.5)
    client = running.connect()
    client.ask("/", "Connection: close")
    running.wait_for_connections(0)


def test_limits_are_named_in_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that was too slow is the server's fault, and logged with its request."""

    async def handler(request: BaseRequest) -> Response:
        await sleep(1000)
        raise AssertionError

    client = serve(handler, handler_timeout=0.2).connect()
    assert client.ask("/slow").status == 503
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in records] == [
        "<GET /slow HTTP/1.1> got no response in time"
    ]
