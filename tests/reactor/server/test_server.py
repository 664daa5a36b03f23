"""The server on real sockets: requests and bodies, errors, every end of a connection, tasks."""

import gc
import logging
import os
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reactor import Cancelled, File, FileRegion, Future, Response, in_pool, sleep
from reactor.errors import ProtocolError
from reactor.files.region import MultiRegion
from reactor.messages.request import BaseRequest
from reactor.server.interpreter import COLLECT_OBJECTS, SWITCH_SECONDS
from reactor.server.server import Server
from tests.conftest import Serve
from tests.support.raw_client import TIMEOUT, Client, request
from tests.support.watched_handlers import WatchedHandlers

pytestmark = pytest.mark.system


def hello(request: BaseRequest) -> Response:
    return Response(200, b"hello")


def mirror(request: BaseRequest) -> Response:
    """The target as the body, so that a test sees which request a response belongs to."""
    return Response(200, request.target.encode())


async def upload(request: BaseRequest) -> Response:
    """The number of bytes that arrived."""
    count = 0
    async for piece in request.body:
        count += len(piece)
    return Response(200, b"%d" % count)


# --- one request, one connection -----------------------------------------------------------------


def test_a_request_and_its_response_byte_for_byte(serve: Serve) -> None:
    client = serve(hello).connect()
    client.send(request("/"))
    head = client.read_until(b"\r\n\r\n")
    date = head.split(b"\r\n")[1]
    assert date.startswith(b"Date: ")
    assert date.endswith(b" GMT")
    assert head == b"HTTP/1.1 200 OK\r\n" + date + b"\r\nContent-Length: 5\r\n\r\n"
    assert client.read_exactly(5) == b"hello"


def test_a_connection_is_kept_alive(serve: Serve) -> None:
    client = serve(mirror).connect()
    for number in range(50):
        response = client.ask(f"/{number}")
        assert response.body == b"/%d" % number
        assert response.get("connection") is None


def test_a_head_that_arrives_byte_by_byte(serve: Serve) -> None:
    client = serve(mirror).connect()
    for byte in request("/slow"):
        client.send(bytes([byte]))
    assert client.read_response().body == b"/slow"


def test_connection_close_gets_exactly_close_and_then_the_fin(serve: Serve) -> None:
    client = serve(hello).connect()
    client.send(request("/", "Connection: close"))
    response = client.read_response()
    assert response.get("connection") == "close"
    assert client.ended()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_the_fin_follows_the_response_at_once(serve: Serve, version: str) -> None:
    """It waits for no timeout: it is there long before `linger_timeout` is over."""
    client = serve(hello, linger_timeout=60, linger_total_timeout=60, idle_timeout=60).connect()
    client.send(request("/", "Connection: close", version=version))
    client.socket.settimeout(15)
    assert client.read_to_end().endswith(b"\r\nConnection: close\r\n\r\nhello")


def test_http_10_is_closed_unless_it_asks_for_keep_alive(serve: Serve) -> None:
    running = serve(hello)
    client = running.connect()
    response = client.ask(version="1.0")
    assert response.get("connection") == "close"
    assert client.ended()
    client = running.connect()
    for _ in range(3):
        response = client.ask("/", "Connection: keep-alive", version="1.0")
        assert response.get("connection") == "keep-alive"


def test_http_10_gets_a_body_of_unknown_length_until_close(serve: Serve) -> None:
    client = serve(lambda _: Response(200, iter([b"one,", b"two"]))).connect()
    response = client.ask("/", "Connection: keep-alive", version="1.0")
    assert response.get("transfer-encoding") is None
    assert response.get("connection") == "close"
    assert response.body == b"one,two"


def test_a_body_of_unknown_length_is_chunked_and_the_connection_kept_alive(serve: Serve) -> None:
    pieces = [b"a" * size for size in (1, 100, 70_000, 0, 3)]
    client = serve(lambda _: Response(200, iter(pieces))).connect()
    for _ in range(3):
        response = client.ask()
        assert response.get("transfer-encoding") == "chunked"
        assert response.body == b"".join(pieces)


def test_an_iterator_with_a_length_is_not_chunked(serve: Serve) -> None:
    headers = [("Content-Length", "6")]
    client = serve(lambda _: Response(200, iter([b"abc", b"def"]), headers)).connect()
    for _ in range(3):
        response = client.ask()
        assert response.get("content-length") == "6"
        assert response.get("transfer-encoding") is None
        assert response.body == b"abcdef"


def test_an_asynchronous_iterator(serve: Serve) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(5):
            await sleep(0.001)
            yield b"%d" % number

    client = serve(lambda _: Response(200, pieces())).connect()
    assert client.ask().body == b"01234"
    assert client.ask().body == b"01234"


def test_head_is_get_without_the_body(serve: Serve) -> None:
    closed = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"never"
        finally:
            closed.append("yes")

    def handler(request: BaseRequest) -> Response:
        if request.path == "/":
            return Response(200, b"12345")
        started = pieces()
        next(started)
        return Response(200, started)

    client = serve(handler).connect()
    response = client.ask("/", method="HEAD")
    assert response.get("content-length") == "5"
    client.ask("/stream", method="HEAD")
    assert closed == ["yes"]
    assert client.ask("/").body == b"12345"  # no byte was left over


# --- pipelining ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 17, 1000])
def test_responses_to_pipelined_requests_in_one_write_are_in_order(
    serve: Serve, count: int
) -> None:
    client = serve(mirror).connect()
    client.send(b"".join(request(f"/{number}") for number in range(count)))
    for number in range(count):
        assert client.read_response().body == b"/%d" % number


def test_pipelined_requests_of_all_kinds_keep_their_order(serve: Serve) -> None:
    """At once, later, streamed, large, with a body: each waits for the one before it."""

    async def later(request: BaseRequest) -> Response:
        await sleep(0.01)
        return mirror(request)

    def handler(request: BaseRequest) -> object:
        kind = request.path[1:]
        if kind == "later":
            return later(request)
        if kind == "stream":
            return Response(200, iter([b"/str", b"eam"]))
        if kind == "large":
            return Response(200, b"/large" + bytes(300_000))
        if kind == "upload":
            return upload(request)
        return mirror(request)

    kinds = ["now", "later", "stream", "large", "upload", "later", "now", "large", "stream"]
    client = serve(handler).connect()  # type: ignore[arg-type]
    client.send(
        b"".join(
            request(f"/{kind}", method="POST", body=b"x" * 1000)
            if kind == "upload"
            else request(f"/{kind}")
            for kind in kinds * 3
        )
    )
    for kind in kinds * 3:
        response = client.read_response()
        expected = "1000" if kind == "upload" else f"/{kind}"
        assert response.body.rstrip(b"\0").decode() == expected


def test_requests_behind_a_close_get_no_response(serve: Serve) -> None:
    client = serve(mirror).connect()
    client.send(request("/1") + request("/2", "Connection: close") + request("/3"))
    assert client.read_response().body == b"/1"
    assert client.read_response().body == b"/2"
    assert client.ended()


# --- request bodies ------------------------------------------------------------------------------


def test_an_upload_is_streamed(serve: Serve) -> None:
    client = serve(upload).connect()
    assert client.ask(method="POST", body=bytes(3_000_000)).body == b"3000000"
    client.send(
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (size, bytes(size)) for size in (1, 70_000, 200_000))
        + b"0\r\nChecksum: none\r\n\r\n"
    )
    assert client.read_response().body == b"270001"
    assert client.ask(method="POST").body == b"0"


def test_an_upload_to_a_handler_that_does_not_read_it(serve: Serve) -> None:
    """The response leaves at once; the rest of a large body is dropped, the connection closed."""
    running = serve(hello)
    client = running.connect()
    client.send(request("/", "Content-Length: 50000000", method="POST") + bytes(1000))
    response = client.read_response()
    assert response.get("connection") == "close"
    client.send(bytes(3_000_000))  # and no reset destroys the response or the FIN
    assert client.ended()
    client = running.connect()
    client.send(request("/", method="POST", body=bytes(1000)) + request("/next"))
    assert client.read_response().get("connection") is None  # all of it had arrived
    assert client.read_response().body == b"hello"


def test_continue_is_sent_at_the_first_pull(serve: Serve) -> None:
    client = serve(upload).connect()
    client.send(request("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"))
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"12345")
    assert client.read_response().body == b"5"
    assert client.ask(method="PUT", body=b"12").body == b"2"


def test_continue_is_not_sent_before_a_refusal(serve: Serve) -> None:
    async def refuse(request: BaseRequest) -> Response:
        raise ProtocolError(403, "no")

    running = serve(refuse)
    client = running.connect()
    client.send(request("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"))
    response = client.read_response()
    assert response.status == 403
    assert response.get("connection") == "close"
    assert client.ended()


def test_continue_is_not_sent_to_a_client_that_did_not_wait(serve: Serve) -> None:
    client = serve(upload).connect()
    client.send(request("/", "Expect: 100-continue", method="PUT", body=b"12345"))
    assert client.read_response().status == 200


def test_an_interim_response_leaves_before_the_body_has_arrived(serve: Serve) -> None:
    async def hinting(request: BaseRequest) -> Response:
        assert request.body.inform(103, [("Link", "</a>")]) == (request.minor == 1)
        return await upload(request)

    client = serve(hinting).connect()
    client.send(request("/", "Content-Length: 5", method="PUT"))
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    client.send(b"12345")
    assert client.read_response().body == b"5"
    client.send(request("/", version="1.0", method="PUT", body=b"12"))
    assert client.read_response().body == b"2"


def test_a_malformed_body_is_400_for_every_handler(serve: Serve) -> None:
    async def stubborn(request: BaseRequest) -> Response:
        try:
            await request.body.read()
        except ProtocolError:
            pass
        return Response(200, b"fine")

    client = serve(stubborn).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123")
    client.send(b"45678\r\n0\r\n\r\n")
    response = client.read_response()
    assert response.status == 400
    assert response.get("connection") == "close"
    assert client.ended()


# --- files ---------------------------------------------------------------------------------------

SIZES = [0, 1, 65_536, 65_537, 262_144, 300_000, 1_048_576, 1_048_577, 2_500_000]


@pytest.mark.parametrize("asking", ["cachestat", "a look each time", "threads only"])
def test_a_real_file_arrives_whole_hot_or_cold(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asking: str
) -> None:
    """From its begin, from within, and among parts; each three times, once from the disk."""
    if asking != "cachestat":
        monkeypatch.setattr("reactor.files.page_cache._syscall", None)
    if asking == "threads only":
        monkeypatch.setattr("reactor.files.file._NOWAIT", None)
    content = random.Random(0).randbytes(2_600_000)
    path = tmp_path / "file"
    with path.open("wb") as writer:
        writer.write(content)
        os.fsync(writer.fileno())
    file = File(os.open(path, os.O_RDONLY), len(content))

    def handler(request: BaseRequest) -> Response:
        kind, offset, size = request.path[1:].split("/")
        if request.query:
            os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        region = FileRegion(file.hold(), int(offset), int(size))
        if kind == "file":
            return Response(200, region)
        end = FileRegion(file.hold(), 0, 100)
        return Response(200, MultiRegion([b"begin", region, b"middle", end, b"end"]))

    running = serve(handler)
    client = running.connect()
    for size in SIZES:
        for offset in (0, 1234):
            expected = content[offset : offset + size]
            for query in ("", "", "", "?cold"):
                assert client.ask(f"/file/{offset}/{size}{query}").body == expected
                response = client.ask(f"/parts/{offset}/{size}{query}")
                assert response.body == b"begin%bmiddle%bend" % (expected, content[:100])
    client.send(request("/parts/0/2500000"))
    client.read_until(b"begin")
    client.reset()
    running.wait_for_connections(0)
    running.wait_until(lambda: file.holders == 1)
    file.release()


# --- half-close and resets -----------------------------------------------------------------------


def test_a_half_closed_client_gets_everything_it_asked_for(serve: Serve) -> None:
    async def handler(request: BaseRequest) -> Response:
        await sleep(0.01)
        return Response(200, bytes(1_000_000) + request.target.encode())

    client = serve(handler).connect()
    client.send(b"".join(request(f"/{number}") for number in range(20)))
    client.send_fin()
    for number in range(20):
        assert client.read_response().body.lstrip(b"\0") == b"/%d" % number
    assert client.ended()


def test_a_half_closed_client_that_asked_for_nothing(serve: Serve) -> None:
    running = serve(hello)
    client = running.connect()
    client.send_fin()
    assert client.ended()
    running.wait_for_connections(0)


def test_a_fin_in_the_middle_of_a_head_is_400(serve: Serve) -> None:
    client = serve(hello).connect()
    client.send(b"GET / HTTP/1.1\r\nHost:")
    client.send_fin()
    response = client.read_response()
    assert response.status == 400
    assert response.get("connection") == "close"
    assert client.ended()


def test_a_fin_in_the_middle_of_a_body_is_400(serve: Serve) -> None:
    client = serve(upload).connect()
    client.send(request("/", "Content-Length: 10", method="POST") + b"12345")
    client.send_fin()
    assert client.read_response().status == 400
    assert client.ended()


def test_the_handler_sees_a_half_close(serve: Serve) -> None:
    async def handler(request: BaseRequest) -> Response:
        while not request.client_closed:
            await sleep(0.002)
        return Response(200, b"noticed")

    client = serve(handler).connect()
    client.send(request())
    client.send_fin()
    assert client.read_response().body == b"noticed"


@pytest.mark.parametrize(
    ("handler", "how"),
    [
        ("wait", "cancelled"),
        ("read", "cancelled"),
        ("stream", "closed"),
        ("stream_slowly", "cancelled"),
        ("stream_awaited", "closed"),
    ],
)
def test_a_handler_ends_when_its_client_is_reset(serve: Serve, handler: str, how: str) -> None:
    watched = WatchedHandlers()
    running = serve(getattr(watched, handler))
    client = running.connect(receive_buffer=4096)
    client.send(request("/", "Content-Length: 10", method="POST") + b"123")
    assert watched.began.wait(TIMEOUT)
    client.reset()
    assert watched.ended.wait(TIMEOUT)
    assert watched.how == how
    running.wait_for_connections(0)


@pytest.mark.parametrize("handler", ["wait", "read", "stream", "stream_slowly", "stream_awaited"])
def test_a_handler_ends_when_the_server_ends(serve: Serve, handler: str) -> None:
    watched = WatchedHandlers()
    running = serve(getattr(watched, handler), shutdown_timeout=0.05)
    client = running.connect(receive_buffer=4096)
    client.send(request("/", "Content-Length: 10", method="POST") + b"123")
    assert watched.began.wait(TIMEOUT)
    running.shut_down()
    assert watched.ended.wait(TIMEOUT)
    assert running.join()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        request("/"),
        request("/", method="POST", body=bytes(100))[:-50],
        request("/large"),
        request("/later"),
        request("/large") * 20,
        b"bad\r\n\r\n",
        request("/", "Connection: close"),
    ],
    ids=["idle", "head", "served", "body", "drain", "handler", "pipeline", "linger", "close"],
)
def test_a_reset_in_any_state_affects_that_connection_only(serve: Serve, sent: bytes) -> None:
    async def handler(request: BaseRequest) -> Response:
        if request.path == "/later":
            await sleep(0.2)
        await request.body.read()
        return Response(200, bytes(20_000_000) if request.path == "/large" else b"ok")

    running = serve(handler)
    other = running.connect()
    for pause in (0.0, 0.02):
        client = running.connect(receive_buffer=4096)
        if sent:
            client.send(sent)
        time.sleep(pause)  # the reset comes before the server has seen it, or after: both must hold
        client.reset()
    running.wait_for_connections(1)
    assert other.ask().body == b"ok"


# --- errors in handlers --------------------------------------------------------------------------


def raise_at_once(request: BaseRequest) -> Response:
    raise ValueError("my mistake")


async def raise_later(request: BaseRequest) -> Response:
    await sleep(0.001)
    raise ValueError("my mistake")


async def exit_later(request: BaseRequest) -> Response:
    await sleep(0.001)
    raise SystemExit("my mistake")


def exit_at_once(request: BaseRequest) -> Response:
    sys.exit("my mistake")


async def raise_in_pool(request: BaseRequest) -> Response:
    await in_pool(raise_at_once, request)
    raise AssertionError


async def exit_in_pool(request: BaseRequest) -> Response:
    await in_pool(sys.exit, "my mistake")
    raise AssertionError


@pytest.mark.parametrize(
    "broken",
    [raise_at_once, raise_later, exit_at_once, exit_later, raise_in_pool, exit_in_pool],
)
def test_a_handler_that_raises_is_500_and_logged_with_its_request(
    serve: Serve, caplog: pytest.LogCaptureFixture, broken: object
) -> None:
    def handler(request: BaseRequest) -> Response:
        return hello(request) if request.path == "/" else broken(request)  # type: ignore

    running = serve(handler)
    other, client = running.connect(), running.connect()
    response = client.ask("/broken?x=1")
    assert response.status == 500
    assert b"mistake" not in response.body
    logged = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in logged] == ["<GET /broken?x=1 HTTP/1.1> failed"]
    assert logged[0].exc_text is None or "my mistake" in logged[0].exc_text
    assert logged[0].exc_info is not None
    assert str(logged[0].exc_info[1]) == "my mistake"
    assert client.ask().body == b"hello"  # the connection is kept alive
    assert other.ask().body == b"hello"


@pytest.mark.parametrize(
    "response",
    [
        None,
        "text",
        Response(200, "text"),  # type: ignore[arg-type]
        Response(200, None),  # type: ignore[arg-type]
        Response(200, ["a list"]),  # type: ignore[arg-type]
        Response("200"),  # type: ignore[arg-type]
        Response(None),  # type: ignore[arg-type]
        Response(99),
        Response(1000),
        Response(101),
        Response(204, b"body"),
        Response(200, b"", [("Name", "one\r\nInjected: two")]),
        Response(200, b"", [("Name", "one\ntwo")]),
        Response(200, b"", [("Na me", "one")]),
        Response(200, b"", [("", "one")]),
        Response(200, b"", [("Name", "\u20ac")]),
        Response(200, b"", (("Name",),)),  # type: ignore[arg-type]
        Response(200, b"", [("Name", ["list"])]),  # type: ignore[list-item]
        Response(200, b"abc", [("Content-Length", "4")]),
        Response(200, b"abc", [("Content-Length", "2")]),
        Response(200, b"abc", [("Content-Length", "3"), ("content-length", "3")]),
        Response(200, b"abc", [("Content-Length", "+3")]),
        Response(200, b"abc", [("Transfer-Encoding", "chunked")]),
        Response(200, b"abc", [("Connection", "upgrade")]),
        Response(200, b"abc", [("Date", "today")]),
    ],
    ids=repr,
)
def test_a_response_that_cannot_be_sent_is_500(serve: Serve, response: object) -> None:
    async def later(request: BaseRequest) -> object:
        await sleep(0.001)
        return response

    def handler(request: BaseRequest) -> object:
        if request.path == "/fine":
            return hello(request)
        return later(request) if request.path == "/later" else response

    client = serve(handler).connect()  # type: ignore[arg-type]
    for target in ("/now", "/later"):
        got = client.ask(target)
        assert got.status == 500
        assert got.get("injected") is None
    assert client.ask("/fine").body == b"hello"


def test_an_iterator_that_raises_resets_the_connection(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("half-way")

    running = serve(lambda request: Response(200, pieces()))
    client = running.connect()
    client.send(request("/broken"))
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    assert "<GET /broken HTTP/1.1> failed in the middle" in caplog.text
    assert "half-way" in caplog.text


@pytest.mark.parametrize("pieces", [[b"abc"], [b"abc", b"defg"], [b"abcdefg"], []])
def test_an_iterator_of_another_length_resets_the_connection(
    serve: Serve, pieces: list[bytes]
) -> None:
    running = serve(lambda _: Response(200, iter(pieces), [("Content-Length", "6")]))
    client = running.connect()
    client.send(request())
    with pytest.raises(ConnectionResetError):
        client.read_to_end()


@pytest.mark.parametrize("error", [ValueError, SystemExit, ProtocolError])
def test_an_asynchronous_iterator_that_raises_resets_the_connection(
    serve: Serve, error: type[BaseException]
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await sleep(0.001)
        raise error(400, "half-way")

    running = serve(lambda _: Response(200, pieces()))
    client, other = running.connect(), running.connect()
    client.send(request())
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    other.send(request())


# --- backpressure --------------------------------------------------------------------------------


def test_a_slow_reader_gets_all_of_it_at_its_own_pace(serve: Serve) -> None:
    made = 0

    def pieces() -> Iterator[bytes]:
        nonlocal made
        for number in range(1000):
            made += 1
            yield b"%06d" % number * 2048

    running = serve(lambda _: Response(200, pieces()))
    client = running.connect(receive_buffer=4096)
    client.send(request())
    client.read_until(b"\r\n\r\n")
    running.wait_until(lambda: made > 0)
    steady = 0
    while steady != made:  # until nothing moves any more
        steady = made
        time.sleep(0.1)
    assert steady < 900, "the iterator was asked for more than the client can have read"
    body = b"".join(client._chunks())
    assert body == b"".join(b"%06d" % number * 2048 for number in range(1000))


def test_a_reader_that_stops_does_not_stop_the_others(serve: Serve) -> None:
    running = serve(lambda _: Response(200, bytes(10_000_000)))
    stuck = [running.connect(receive_buffer=4096) for _ in range(20)]
    for client in stuck:
        client.send(request() * 10)
    for _ in range(5):
        assert len(running.connect().ask().body) == 10_000_000


def test_a_writer_that_does_not_read_is_not_read_either(serve: Serve) -> None:
    """Endless requests from a client that reads no response: the memory for it is bounded."""
    running = serve(lambda _: Response(200, bytes(100_000)))
    client = running.connect(receive_buffer=4096)
    client.socket.settimeout(1.0)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 100_000_000:
            client.send(request() * 100)
            sent += 100 * len(request())
    unsent = running.call(
        lambda: max(one.transport.unsent for one in running.server.open_connections)
    )
    assert unsent < 400_000


# --- many ----------------------------------------------------------------------------------------


def test_five_thousand_connections_at_once(serve: Serve) -> None:
    running = serve(mirror)
    clients = [running.connect() for _ in range(5000)]
    running.wait_for_connections(5000)
    for number, client in enumerate(clients):
        client.send(request(f"/{number}"))
    for number, client in enumerate(clients):
        assert client.read_response().body == b"/%d" % number
    running.call(lambda: time.sleep(0.2))  # all of them become ready in one turn
    for client in clients:
        client.send_fin()
    running.wait_for_connections(0)


@pytest.mark.plain  # the loop, which is held, has to make a handshake
def test_a_new_connection_and_a_timer_do_not_wait_for_the_whole_backlog(serve: Serve) -> None:
    """A smoke test of what test_reactor.py shows turn by turn; the bound is far above the need."""
    seen: list[str] = []

    def handler(request: BaseRequest) -> Response:
        seen.append(request.target)
        return hello(request)

    running = serve(handler)
    clients = [running.connect() for _ in range(2000)]
    running.wait_for_connections(2000)
    release = threading.Event()
    running.server.reactor.call_soon_threadsafe(release.wait, TIMEOUT)
    for client in clients:
        client.send(request("/old"))
    running.server.reactor.call_soon_threadsafe(
        lambda: running.server.reactor.call_later(0.0, seen.append, "timer")
    )
    new_connection = running.connect()
    new_connection.send(request("/new"))
    release.set()
    assert new_connection.read_response().status == 200
    for client in clients:
        client.read_response()
    assert seen.count("/old") == 2000
    assert seen.index("/new") < 1000
    assert seen.index("timer") < 1000


def test_a_connection_in_a_hurry_does_not_starve_another(serve: Serve) -> None:
    """1,000 requests in one write take many turns; another client is served between them."""
    seen: list[str] = []

    def handler(request: BaseRequest) -> Response:
        seen.append(request.target)
        return hello(request)

    running = serve(handler)
    hurried, other = running.connect(), running.connect()
    running.wait_for_connections(2)
    release = threading.Event()
    running.server.reactor.call_soon_threadsafe(release.wait, TIMEOUT)
    hurried.send(request("/hurried") * 1000)
    other.send(request("/other"))
    release.set()
    other.read_response()
    assert seen.index("/other") < 100
    for _ in range(1000):
        hurried.read_response()


def test_two_servers_on_one_reactor(no_leaks: None) -> None:
    """The reactor is an argument; its maker closes it."""
    first = Server(hello)
    second = Server(mirror, reactor=first.reactor)
    one, two = first.listen("127.0.0.1", 0), second.listen("127.0.0.1", 0)
    thread = threading.Thread(target=first.reactor.run)
    thread.start()
    with Client(one) as a, Client(two) as b:
        assert a.ask("/x").body == b"hello"
        assert b.ask("/x").body == b"/x"
    first.reactor.call_soon_threadsafe(first.reactor.stop)
    thread.join(TIMEOUT)
    for server in (first, second):
        server._close_listeners()
        for connection in tuple(server.open_connections):
            connection.abort()
        server.pool.close()
    first.reactor.close()


# --- tasks beside the connections ----------------------------------------------------------------


def test_a_task_spawned_before_the_loop_runs_beside_the_connections(
    no_leaks: None, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends with the server, in good order; a task that has ended before is forgotten."""
    events: list[str] = []
    server = Server(hello)

    async def at_once() -> None:
        events.append("at once")

    async def upkeep() -> None:
        try:
            events.append(await in_pool(lambda: "on a thread"))
            while True:
                await sleep(0.01)
                events.append("again")
        finally:
            events.append("ended")

    server.spawn(at_once())
    server.spawn(upkeep())
    assert events == ["at once"]
    assert len(server.snapshot().tasks) == 1
    address = server.listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    with Client(address) as client:
        while events.count("again") < 3:
            assert client.ask().body == b"hello"
    server.reactor.call_soon_threadsafe(server.shut_down)
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert events[:2] == ["at once", "on a thread"]
    assert events[2:] == ["again"] * (len(events) - 3) + ["ended"]
    assert not server.snapshot().tasks
    assert not caplog.records


@pytest.mark.parametrize("error", [ValueError("upkeep"), SystemExit(3)])
@pytest.mark.parametrize("late", [False, True])
def test_a_spawned_task_that_fails_is_logged_and_nothing_else(
    serve: Serve, caplog: pytest.LogCaptureFixture, late: bool, error: BaseException
) -> None:
    async def fail() -> None:
        if late:
            await sleep(0.01)
        raise error

    running = serve(hello)
    running.call(lambda: running.server.spawn(fail()))
    running.wait_until(lambda: not running.server.snapshot().tasks)
    assert running.connect().ask().body == b"hello"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert error.__traceback__ is None, "its frames know the task, and the task knows it"


@pytest.mark.parametrize("manner", ["slow", "stubborn", "in the pool"])
def test_a_spawned_task_does_not_hold_up_the_end(serve: Serve, manner: str) -> None:
    """It is cancelled; one that then takes long, or ignores that, is not waited for."""
    release = threading.Event()
    cancelled: list[float] = []

    async def upkeep() -> None:
        while True:
            try:
                await (in_pool(release.wait, 5) if manner == "in the pool" else sleep(100))
            except Cancelled:
                cancelled.append(time.monotonic())
                if manner == "stubborn":
                    continue
                if manner == "slow":
                    await sleep(100)
                raise

    running = serve(hello, cancel_timeout=60)
    running.call(lambda: running.server.spawn(upkeep()))
    running.connect().ask()
    began = time.monotonic()
    running.shut_down()
    assert running.join()
    assert time.monotonic() - began < 2
    assert len(cancelled) == 1
    release.set()


def test_spawned_tasks_end_while_requests_still_run(serve: Serve) -> None:
    """A task that is spawned only now runs all the same."""
    events: list[str] = []
    release: Future[None] = Future()

    async def upkeep() -> None:
        try:
            await sleep(100)
        finally:
            events.append("ended")

    async def late() -> None:
        await sleep(0)
        events.append("late")

    async def handler(request: BaseRequest) -> Response:
        await release
        return hello(request)

    running = serve(handler)
    running.call(lambda: running.server.spawn(upkeep()))
    client = running.connect()
    client.send(request())
    running.wait_until(lambda: any(c.task for c in running.server.open_connections))
    running.shut_down()
    running.wait_until(lambda: events == ["ended"])
    running.call(lambda: running.server.spawn(late()))
    running.wait_until(lambda: events == ["ended", "late"])
    running.call(lambda: release.set_result(None))
    assert client.read_response().body == b"hello"
    client.close()
    assert running.join()


def test_a_thread_that_computes_releases_the_gil_soon(serve: Serve) -> None:
    """By default it would keep the GIL for 5 ms each time the loop has sent something."""
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.005)
        assert serve(lambda request: Response(200)).connect().ask().status == 200
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((700, 10, 10), (COLLECT_OBJECTS, 10, 10)),
        ((50_000, 20, 30), (50_000, 20, 30)),
        ((0, 10, 10), (0, 10, 10)),
    ],
)
def test_a_crowd_does_not_make_the_collector_look_at_all_connections(
    serve: Serve, before: tuple[int, int, int], after: tuple[int, int, int]
) -> None:
    """A program that has chosen a higher threshold, or none, keeps its choice."""
    kept = gc.get_threshold()
    try:
        gc.set_threshold(*before)
        assert serve(lambda request: Response(200)).connect().ask().status == 200
        assert gc.get_threshold() == after
    finally:
        gc.set_threshold(*kept)


@pytest.mark.parametrize("surplus", [b"\r\n", b"x", request("/next") * 3], ids=len)
def test_clients_that_have_died_behind_a_surplus_do_not_fill_the_server(
    serve: Serve, surplus: bytes
) -> None:
    """A byte after the request must not hide the FIN while an event stream is silent."""

    async def silent() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await sleep(1000)

    running = serve(
        lambda request: Response(200, silent()), connections=30, half_closed_timeout=0.3
    )
    for _ in range(30):
        client = running.connect()
        client.send(request())
        assert b"data: 1\n\n" in client.read_until(b"\n\n\r\n")
        client.send(surplus)
        running.wait_until(
            lambda: all(one.snapshot().buffered for one in running.server.open_connections)
        )
        client.close()
    running.wait_for_connections(0)
    running.connect().send(request())
    running.wait_for_connections(1)
