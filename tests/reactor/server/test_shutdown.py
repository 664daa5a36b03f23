"""Shutting down on real sockets: delay, grace, running requests, a second call, hung threads."""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator

import pytest

from reactor import Broadcast, Future, Response, events, in_pool, sleep
from reactor.messages.request import BaseRequest
from reactor.net.listener import ACCEPTS_PER_TURN
from tests.conftest import Serve
from tests.support.raw_client import TIMEOUT, Client, request
from tests.support.watched_handlers import WatchedHandlers


@pytest.mark.parametrize("heartbeat", [0, 15])
def test_event_streams_end_when_the_server_drains(serve: Serve, heartbeat: float) -> None:
    """They have no end of their own; their clients come back to the next process."""
    news: Broadcast[str] = Broadcast()
    closed = []

    async def source() -> AsyncIterator[str]:
        try:
            with news.subscribe() as subscription:
                async for item in subscription:
                    yield item
        finally:
            closed.append("closed")

    running = serve(lambda request: events(source(), heartbeat=heartbeat), shutdown_timeout=1000)
    clients = [running.connect() for _ in range(3)]
    for client in clients:
        client.send(request())
    running.wait_until(lambda: len(news) == 3)

    def end() -> None:
        news.publish("one")
        news.publish("two")
        running.server.shut_down()

    running.call(end)
    for client in clients:
        response = client.read_response()
        assert response.body == b"data: one\n\ndata: two\n\n"
    assert running.join()
    assert closed == ["closed"] * 3


def test_an_event_stream_with_an_end_goes_on_while_the_server_drains(serve: Serve) -> None:
    """A client that waits for a result would take a stream that has been cut for a whole one."""
    go_on: Future[None] = Future()
    waiting = []

    async def source() -> AsyncIterator[str]:
        yield "begun"
        waiting.append(go_on)
        await go_on
        yield "half"
        await sleep(0.01)
        yield "done"

    running = serve(
        lambda request: events(source(), heartbeat=0.005, ends=True), shutdown_timeout=1000
    )
    clients = [running.connect() for _ in range(2)]
    for client in clients:
        client.send(request())
    running.wait_until(lambda: len(waiting) == 2)

    def end() -> None:
        running.server.shut_down()
        running.server.reactor.call_later(0.05, go_on.set_result, None)

    running.call(end)
    for client in clients:
        body = client.read_response().body
        assert body.replace(b":\n\n", b"") == b"data: begun\n\ndata: half\n\ndata: done\n\n"
    assert running.join()


def hello(request: BaseRequest) -> Response:
    return Response(200, b"hello")


def mirror(request: BaseRequest) -> Response:
    """The target as the body, so that a test sees which request a response belongs to."""
    return Response(200, request.target.encode())


def test_idle_connections_are_closed_at_once_when_the_server_ends(serve: Serve) -> None:
    running = serve(hello)
    clients = [running.connect() for _ in range(50)]
    for client in clients[:25]:
        assert client.ask().body == b"hello"  # kept alive; the others have not said a word
    running.wait_for_connections(50)
    began = time.monotonic()
    running.shut_down()
    assert running.join()
    assert time.monotonic() - began < 2
    for client in clients:
        assert client.ended()  # by a FIN, not by a reset


def test_a_young_response_arrives_at_a_client_that_sends_more(serve: Serve) -> None:
    """Bytes that arrive at a closed socket reset it: elsewhere a reset takes what was not read."""
    running = serve(hello)
    client = running.connect()
    client.send(request())
    assert client.socket.recv(1, socket.MSG_PEEK)
    running.shut_down()
    running.wait_until(
        lambda: [one.state.name for one in running.server.open_connections] == ["LINGER"]
    )
    client.send(request())
    assert client.read_to_end().endswith(b"hello")  # and then a FIN
    client.close()
    assert running.join()


def test_idle_connections_may_have_a_grace(serve: Serve) -> None:
    """A request on its way when the server ends gets its response; silent ones are closed then."""
    running = serve(hello)
    clients = [running.connect() for _ in range(3)]
    assert clients[0].ask().body == b"hello"  # kept alive; the others have not said a word
    running.wait_for_connections(3)
    began = time.monotonic()
    running.server.reactor.call_soon_threadsafe(running.server.shut_down, 1.0)
    running.wait_until(lambda: running.server.draining)
    with pytest.raises(ConnectionRefusedError):
        Client(running.address)
    for client in clients[:2]:
        response = client.ask()
        assert (response.body, response.get("connection")) == (b"hello", "close")
        assert client.ended()
        client.close()
    assert clients[2].ended()
    assert time.monotonic() - began >= 1
    assert running.join()


def test_the_end_does_not_wait_for_the_grace_without_connections(serve: Serve) -> None:
    running = serve(hello)
    with running.connect() as client:
        client.ask()
    running.wait_for_connections(0)
    began = time.monotonic()
    running.server.reactor.call_soon_threadsafe(running.server.shut_down, 100.0)
    assert running.join()
    assert time.monotonic() - began < 2


def test_a_response_that_was_just_sent_does_not_hold_up_the_end(serve: Serve) -> None:
    """The client's kernel may acknowledge late the bytes that it has long received."""
    for _ in range(2):
        running = serve(hello)
        client = running.connect()
        for _ in range(40):  # by now its acknowledgements are delayed ones
            client.ask()
        client.send(request())
        client.socket.recv(1)
        began = time.monotonic()
        running.shut_down()
        assert running.join()
        assert time.monotonic() - began < 2
        assert client.read_to_end().endswith(b"hello")


def test_a_response_of_the_turn_in_which_the_server_ends(serve: Serve) -> None:
    """It is queued and not sent yet when `shut_down` looks: it must still arrive whole."""
    asked: Future[None] = Future()
    began = threading.Event()

    async def handler(request: BaseRequest) -> Response:
        began.set()
        await asked
        return hello(request)

    running = serve(handler)

    def respond_and_end() -> None:
        asked.set_result(None)  # the handler's next step is queued,
        running.server.reactor.call_soon(running.server.shut_down)  # and this right behind it

    client = running.connect()
    client.send(request())
    assert began.wait(TIMEOUT)
    running.server.reactor.call_soon_threadsafe(respond_and_end)
    assert client.read_response().body == b"hello"
    before = time.monotonic()
    assert client.ended()
    client.close()
    assert running.join()
    assert time.monotonic() - before < 2


def test_a_handler_may_end_the_server(serve: Serve) -> None:
    def handler(request: BaseRequest) -> Response:
        running.server.shut_down()
        return hello(request)

    running = serve(handler)
    client = running.connect()
    response = client.ask()
    assert (response.body, response.get("connection")) == (b"hello", "close")
    assert client.ended()
    client.close()
    assert running.join()


def test_a_running_request_gets_its_response_when_the_server_ends(serve: Serve) -> None:
    began, release = threading.Event(), threading.Event()

    async def handler(request: BaseRequest) -> Response:
        began.set()
        while not release.is_set():
            await sleep(0.005)
        return Response(200, b"done")

    running = serve(handler)
    client = running.connect()
    client.send(request())
    assert began.wait(TIMEOUT)
    running.shut_down()
    running.wait_until(lambda: not running.server.addresses)
    with pytest.raises(ConnectionRefusedError):
        Client(running.address)
    release.set()
    response = client.read_response()
    assert response.body == b"done"
    assert response.get("connection") == "close"
    assert client.ended()
    client.close()
    assert running.join()


def test_pipelined_requests_and_the_end_of_the_server(serve: Serve) -> None:
    """The running one gets its response, with close; those behind it are not begun."""
    began, release = threading.Event(), threading.Event()

    async def handler(request: BaseRequest) -> Response:
        began.set()
        while not release.is_set():
            await sleep(0.005)
        return mirror(request)

    running = serve(handler)
    client = running.connect()
    client.send(request("/1") + request("/2"))
    assert began.wait(TIMEOUT)
    running.shut_down()
    running.call(release.set)
    response = client.read_response()
    assert (response.body, response.get("connection")) == (b"/1", "close")
    assert client.ended()


def test_a_download_is_finished_when_the_server_ends(serve: Serve) -> None:
    running = serve(lambda _: Response(200, bytes(20_000_000)))
    client = running.connect(receive_buffer=65536)
    client.send(request())
    client.read_until(b"\r\n\r\n")
    running.shut_down()
    running.wait_until(lambda: running.server.draining)
    assert len(client.read_exactly(20_000_000)) == 20_000_000
    assert client.ended()
    client.close()
    assert running.join()


def test_a_second_shut_down_aborts_everything(serve: Serve) -> None:
    watched = WatchedHandlers()
    running = serve(watched.wait, shutdown_timeout=1000)
    client = running.connect()
    client.send(request())
    assert watched.began.wait(TIMEOUT)
    running.shut_down()
    running.wait_until(lambda: running.server.draining)
    running.shut_down()
    assert running.join()
    assert watched.how == "cancelled"
    with pytest.raises(ConnectionResetError):
        client.read_to_end()


def test_a_second_shut_down_does_not_wait_for_the_delay(serve: Serve) -> None:
    running = serve(lambda request: Response(200), shutdown_delay=1000)
    running.shut_down()
    running.wait_until(lambda: running.server.draining)
    assert running.connect().ask("/").status == 200
    running.shut_down()
    assert running.join()


def test_a_hung_thread_does_not_hold_up_the_end(serve: Serve, tmp_path: object) -> None:
    fifo = f"{tmp_path}/fifo"
    os.mkfifo(fifo)
    began = threading.Event()

    def hang() -> None:
        began.set()
        os.close(os.open(fifo, os.O_RDONLY))

    async def handler(request: BaseRequest) -> Response:
        await in_pool(hang)
        return Response(200)

    running = serve(handler, shutdown_timeout=0.05)
    client = running.connect()
    client.send(request())
    assert began.wait(TIMEOUT)
    running.shut_down()
    assert running.join()
    os.close(os.open(fifo, os.O_WRONLY))  # release the thread


def test_each_step_is_a_record_of_the_error_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The last one names what it cuts off."""

    async def handler(request: BaseRequest) -> Response:
        if request.path == "/slow":
            await sleep(1000)
        return hello(request)

    with caplog.at_level(logging.INFO, logger="reactor"):
        running = serve(handler, shutdown_delay=0.05, shutdown_timeout=0.2)
        idle, *others = (running.connect() for _ in range(4))
        assert idle.ask().body == b"hello"
        for number, client in enumerate(others):
            client.send(request(f"/slow?{number}&{'x' * 1000}"))
        running.wait_until(lambda: running.server.connections == 4)
        running.wait_until(
            lambda: sum(one.state.name == "HANDLER" for one in running.server.open_connections) == 3
        )
        running.shut_down()
        assert running.join()
    delay, drain, abort, end = [one for one in caplog.messages if "held the loop" not in one]
    assert delay == "Shutting down: clients are still accepted for 0.05 s"
    assert drain == (
        "Draining: nothing more is accepted; the requests of 4 connections may go on for 0.2 s"
    )
    assert abort.startswith(
        "Aborted 4 connections, since they had not ended after 0.2 s: 3 HANDLER, 1 LINGER; <GET "
    )
    assert len(abort) < 1000
    assert end == "The server has ended: 4 connections served"


def test_a_second_call_is_the_reason_of_an_abort(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: BaseRequest) -> Response:
        await sleep(1000)
        return hello(request)

    with caplog.at_level(logging.WARNING, logger="reactor"):
        running = serve(handler)
        client = running.connect()
        client.send(request("/slow"))
        running.wait_until(
            lambda: any(one.state.name == "HANDLER" for one in running.server.open_connections)
        )
        for _ in range(2):
            running.shut_down()
        assert running.join()
    assert caplog.messages[-1] == (
        "Aborted 1 connection, since a second signal ended the wait for them: 1 HANDLER; "
        "<GET /slow HTTP/1.1>"
    )


# --- what was sent before the server ended --------------------------------------------------------


class Blocking:
    """A handler that holds the loop at `/block` until it is released."""

    def __init__(self) -> None:
        self.began, self.release = threading.Event(), threading.Event()

    def __call__(self, request: BaseRequest) -> Response:
        if request.target == "/block":
            self.began.set()
            assert self.release.wait(TIMEOUT)
        return mirror(request)


@pytest.mark.plain  # the loop, which is held, has to make a handshake
@pytest.mark.parametrize("grace", [0.0, 0.2])
def test_requests_and_connections_that_wait_in_the_kernel_are_served(
    serve: Serve, grace: float
) -> None:
    """The loop is behind when the server ends: nothing that was sent before is reset."""
    blocking = Blocking()
    running = serve(blocking)
    blocker = running.connect()
    old = [running.connect() for _ in range(90)]  # more than a slice of the loop
    for client in old:
        assert client.ask("/warm").body == b"/warm"
    blocker.send(request("/block"))
    assert blocking.began.wait(TIMEOUT)
    for number, client in enumerate(old):
        client.send(request(f"/old/{number}"))
    new = [running.connect() for _ in range(2 * ACCEPTS_PER_TURN)]  # in the backlog
    for number, client in enumerate(new):
        client.send(request(f"/new/{number}"))
    running.server.reactor.call_soon_threadsafe(running.server.shut_down, grace)
    blocking.release.set()
    assert blocker.read_response().body == b"/block"
    for kind, clients in (("old", old), ("new", new)):
        for number, client in enumerate(clients):
            response = client.read_response()
            assert response.body == f"/{kind}/{number}".encode()
            assert response.get("connection") == "close"
            assert client.ended()
            client.close()
    blocker.close()
    assert running.join()


@pytest.mark.parametrize("tail", [b"", b"GET /part", b"\r\n", b"\r\n\r\n", b"\r\n\r\nGET /part"])
def test_a_pipeline_that_waits_in_the_kernel_is_served_whole(serve: Serve, tail: bytes) -> None:
    """A part of a head, or empty lines, behind it make no request that is waited for."""
    blocking = Blocking()
    running = serve(blocking)
    blocker, client = running.connect(), running.connect()
    client.ask("/warm")
    blocker.send(request("/block"))
    assert blocking.began.wait(TIMEOUT)
    client.send(b"".join(request(f"/{number}") for number in range(50)) + tail)
    running.shut_down()
    blocking.release.set()
    for number in range(50):
        response = client.read_response()
        assert response.body == b"/%d" % number
        assert response.get("connection") == ("close" if number == 49 else None)
    assert client.ended()
    client.close()
    blocker.close()
    assert running.join()


def test_a_pipeline_that_goes_on_does_not_hold_up_the_end(serve: Serve) -> None:
    """The requests that have come are served, and the client is not read for ever."""
    running = serve(mirror, shutdown_timeout=60, linger_total_timeout=1.0)
    client = running.connect()
    stop = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                client.send(request("/more") * 100)

    def read() -> None:
        with contextlib.suppress(OSError):
            while client.socket.recv(1 << 16):
                pass

    threads = [threading.Thread(target=send), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    running.wait_for_connections(1)
    running.shut_down()
    assert running.join(20)
    stop.set()
    client.socket.close()
    for thread in threads:
        thread.join()


def test_a_body_that_waits_in_the_kernel_is_read(serve: Serve) -> None:
    blocking = Blocking()

    def handler(request: BaseRequest) -> object:
        async def size() -> Response:
            return Response(200, b"%d" % len(await request.body.read()))

        return size() if request.method == "POST" else blocking(request)

    running = serve(handler)  # type: ignore[arg-type]
    blocker, client = running.connect(), running.connect()
    client.ask("/warm")
    blocker.send(request("/block"))
    assert blocking.began.wait(TIMEOUT)
    client.send(request("/", method="POST", body=bytes(300_000)))
    running.shut_down()
    blocking.release.set()
    assert client.read_response().body == b"300000"
    assert client.ended()
    client.close()
    blocker.close()
    assert running.join()
