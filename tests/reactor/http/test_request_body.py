"""Bodies of requests: pulled by the handler, held within limits, and informational responses."""

from collections.abc import AsyncIterator, Iterator

import pytest

from reactor import (
    Body,
    Cancelled,
    Future,
    ProtocolError,
    Response,
    sleep,
)
from reactor.http.context import Handler
from reactor.http.states import (
    IDLE,
)
from reactor.messages.request import BaseRequest
from reactor.net.stream import PAUSED
from reactor.simulator import simulation
from tests.support.handlers import count, hello, read_all
from tests.support.worlds import GET, SMALL_BUFFERS, only, post
from tests.support.worlds import CalmWorld as World


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


# --- bodies are pulled ----------------------------------------------------------------------------


def test_100_leaves_at_the_first_pull_and_once() -> None:
    ready: Future[None] = Future()

    async def late(request: BaseRequest) -> Response:
        await ready
        return Response(200, b"%d" % len(await request.body.read()))

    world = World(late)
    client = world.client(post(10, b"Expect: 100-continue\r\n"))
    assert client.received == b""
    ready.set_result(None)
    world.run(0.01)
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"12345")
    world.run(0.01)
    client.send(b"67890")
    world.run(0.01)
    assert client.received.count(b"100 Continue") == 1
    assert only(client).body == b"10"


def test_no_100_for_a_client_that_has_not_waited() -> None:
    world = World(read_all)
    client = world.client(post(5, b"Expect: 100-continue\r\n") + b"12345")
    assert b"100 Continue" not in client.received
    assert only(client).body == b"5"


def test_no_100_after_a_final_response() -> None:
    world = World(hello)
    client = world.client(post(10, b"Expect: 100-continue\r\n"))
    assert b"100 Continue" not in client.received
    assert only(client).fields["connection"] == "close"


def test_an_unread_body_that_has_come_is_dropped_and_the_connection_kept() -> None:
    world = World(hello)
    client = world.client(post(5) + b"12345" + GET)
    assert [response.fields.get("connection") for response in client.responses(())] == [None, None]
    assert world.state is IDLE


def test_the_socket_is_not_read_between_pulls() -> None:
    pull: Future[None] = Future()

    async def late(request: BaseRequest) -> Response:
        await pull
        return await count(request)

    world = World(late, handler_timeout=0)
    client = world.client(post(400_000), buffers=(65536, 65536, 65536, 65536))
    world.network.start(client.sending(b"x" * 400_000))
    world.run(10)
    assert len(world.connection().parser.buffer) <= 65536
    assert world.connection().transport.input is PAUSED
    pull.set_result(None)
    world.run(10)
    assert only(client).body == b"400000"


def test_a_body_too_large_for_the_memory_is_413() -> None:
    world = World(read_all, memory_body_bytes=1000)
    assert only(world.client(post(1001))).status == 413
    head = b"POST / HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = world.client(head + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n")
    assert only(chunked).status == 413


def test_a_body_error_makes_the_response_even_if_the_handler_catches_it() -> None:
    seen = []

    async def stubborn(request: BaseRequest) -> Response:
        for _ in range(2):
            try:
                await request.body.read(10)
            except ProtocolError as error:
                seen.append(error.status)
        return Response(200, b"fine")

    world = World(stubborn)
    client = world.client(post(10))
    world.until_gone()
    assert (seen, only(client).status) == ([408, 408], 408)


# --- informational responses ----------------------------------------------------------------------

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
LINK = [("Link", "</a>")]


def test_an_informational_response_leaves_now_and_in_order() -> None:
    """It comes before the body, and before the 100 that the first pull sends."""
    sent: list[bool] = []

    async def hinting(request: BaseRequest) -> Response:
        sent.append(request.body.inform(103, LINK))
        await sleep(1)
        size = len(await request.body.read(3))
        sent.append(request.body.inform(104, [("Upload-Offset", str(size))]))
        return await read_all(request)

    world = World(hinting)
    client = world.client(post(10, b"Expect: 100-continue\r\n"))
    assert client.received == HINT
    world.run(2)
    assert client.received == HINT + b"HTTP/1.1 100 Continue\r\n\r\n"
    client.received.clear()
    client.send(b"123")
    world.run(0.1)
    offset = b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 3\r\n\r\n"
    assert client.received == offset
    client.send(b"4567890")
    world.run(0.1)
    assert client.received.startswith(offset + b"HTTP/1.1 200 OK\r\n")
    assert (only(client).body, sent) == (b"7", [True, True])
    assert world.state is IDLE


def test_an_informational_response_of_a_plain_handler_comes_first() -> None:
    def hinting(request: BaseRequest) -> Response:
        assert request.body.inform(103, LINK)
        return hello(request)

    world = World(hinting)
    client = world.client(post(2) + b"12" + post(1) + b"1")
    first, second = client.received.split(HINT)[1:]
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "request_line", [b"GET / HTTP/1.1", b"POST / HTTP/1.0", b"PUT / HTTP/1.0", b"HEAD / HTTP/1.1"]
)
def test_no_informational_response_to_http_10_nor_without_a_body(request_line: bytes) -> None:
    sent: list[bool] = []

    async def hinting(request: BaseRequest) -> Response:
        sent.append(request.body.inform(103, LINK))
        return await read_all(request)

    world = World(hinting)
    length = b"Content-Length: 5\r\n" if b"1.0" in request_line else b""
    head = b"%b\r\nHost: sim\r\nExpect: 100-continue\r\n%b\r\n" % (request_line, length)
    client = world.client(head)
    client.send(b"12345" if length else b"")
    world.run(0.1)
    assert sent == [False]
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("how", ["responded", "streaming", "lost", "timed out", "408"])
def test_no_informational_response_after_the_final_one(how: str) -> None:
    bodies: list[Body] = []
    sent: list[bool] = []

    async def late(request: BaseRequest) -> Response:
        try:
            await sleep(100)
        except Cancelled:
            await sleep(0.5)
            sent.append(request.body.inform(103, LINK))
        return Response()

    async def pieces(body: Body) -> AsyncIterator[bytes]:
        yield b"piece"
        sent.append(body.inform(103, LINK))
        await sleep(1)
        sent.append(body.inform(103, LINK))

    async def respond(request: BaseRequest) -> Response:
        bodies.append(request.body)
        if how == "streaming":
            return Response(200, pieces(request.body))
        if how == "responded":
            return hello(request)
        return await (read_all(request) if how == "408" else late(request))

    world = World(respond)
    client = world.client(post(10) + (b"x" if how == "408" else b"1234567890"))
    if how == "lost":
        client.reset()
    world.run(100)
    sent.append(bodies[0].inform(103, LINK))
    world.run(1)
    assert set(sent) == {False}
    assert b"103" not in client.received


def test_an_informational_response_waits_behind_a_blocked_one() -> None:
    """The response before it has not left, and nothing of either is lost or mixed."""

    async def respond(request: BaseRequest) -> Response:
        if request.length == 0:
            return Response(200, b"x" * 30_000)
        for _ in range(20):
            assert request.body.inform(103, LINK)
            await request.body.read(1)
        return Response(200, b"y" * 100)

    world = World(respond)
    data = GET + post(20) + b"z" * 20 + GET
    client = world.client(data, reads=False, buffers=SMALL_BUFFERS)
    world.run(1)
    assert not client.received
    assert world.connection().transport.unsent
    world.network.start(client.reading())
    world.run(5)
    assert [len(one.body) for one in client.responses(())] == [30_000, 100, 30_000]
    assert client.received.count(HINT) == 20


@pytest.mark.parametrize(
    ("status", "fields"),
    [(103, [("X", "a\r\nY: b")]), (103, [("Content-Length", "5")]), (200, []), (101, [])],
)
def test_a_wrong_informational_response_is_not_sent(
    status: int, fields: list[tuple[str, str]]
) -> None:
    async def wrong(request: BaseRequest) -> Response:
        request.body.inform(status, fields)
        return Response()

    world = World(wrong)
    client = world.client(post(1) + b"x" + GET)
    assert [response.status for response in client.responses(())] == [500, 200]
    assert client.received.startswith(b"HTTP/1.1 500 ")


# --- the minimum rate ----------------------------------------------------------------------------

CHUNKED = b"POST / HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n"
ONE_BYTE = b"1;%b\r\nx\r\n" % (b"e" * 240)  # a byte of content in a chunk of 247 bytes


@pytest.mark.parametrize(
    ("data", "step"),
    [
        (ONE_BYTE * 1000, len(ONE_BYTE)),
        (ONE_BYTE * 1000, 7),
        (b"5\r\nhello\r\n0\r\n" + b"X: %b\r\n" % (b"y" * 60) * 90, 65),
        (b"5\r\nhello\r\n0\r\nX: " + b"y" * 8000, 40),
    ],
    ids=["extensions", "extensions in pieces", "trailers", "one trailer"],
)
@pytest.mark.parametrize("handler", [read_all, count])
def test_framing_earns_no_time(handler: Handler, data: bytes, step: int) -> None:
    """Bytes come faster than the minimum rate of 20 B/s, and content more slowly."""
    world = World(handler, min_rate=20, min_rate_timeout=10)
    client = world.client(CHUNKED)
    world.drip(client, data, step, step / 40)
    world.run(30)
    assert only(client).status == 408


@pytest.mark.parametrize("most", [1, 10, 1000])
@pytest.mark.parametrize("chunk", [1, 10, 100])
def test_content_at_the_minimum_rate_earns_time_in_pieces_of_any_size(
    most: int, chunk: int
) -> None:
    """Pieces of a body that a handler pulls one by one from what has come count as well."""

    async def read_pieces(request: BaseRequest) -> Response:
        size = 0
        while piece := await request.body.read(most):
            size += len(piece)
        return Response(200, b"%d" % size)

    world = World(read_pieces, min_rate=100, min_rate_timeout=5)
    client = world.client(CHUNKED)
    one = b"%x\r\n%b\r\n" % (chunk, b"x" * chunk)
    data = one * (5000 // chunk)
    step = len(one) * (200 // chunk)  # 200 bytes of content
    world.drip(client, data + b"0\r\n\r\n", step, 1.9)
    world.run(60)
    assert only(client).body == b"5000"
