"""The first piece of a body that is made is pulled before the head of its response leaves."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from reactor import Cancelled, ProtocolError, Response, Trailed, sleep
from reactor.http.states import HANDLER, PRODUCE
from reactor.messages.request import BaseRequest
from tests.support.cycles import Cycles
from tests.support.worlds import GET, only, post
from tests.support.worlds import CalmWorld as World

HEAD = GET.replace(b"GET", b"HEAD")
OLD = GET.replace(b"1.1", b"1.0")

Make = Callable[[BaseRequest], Any]


def plain(*pieces: Any, error: BaseException | None = None, closed: Any = None) -> Make:
    def make(request: BaseRequest) -> Iterator[bytes]:
        try:
            yield from pieces
            if error is not None:
                raise error
        finally:
            if closed is not None:
                closed.append(True)

    return make


def waiting(
    *pieces: Any, error: BaseException | None = None, closed: Any = None, seconds: float = 0
) -> Make:
    async def make(request: BaseRequest) -> AsyncIterator[bytes]:
        try:
            if seconds:
                await sleep(seconds)
            for piece in pieces:
                yield piece
            if error is not None:
                raise error
        finally:
            if closed is not None:
                closed.append(True)

    return make


def late(*pieces: Any, error: BaseException | None = None, closed: Any = None) -> Make:
    return waiting(*pieces, error=error, closed=closed, seconds=1)


def handler_of(make: Make, status: int = 200, fields: Any = ()) -> Callable[[Any], Response]:
    return lambda request: Response(status, make(request), fields)


def asynchronous(handler: Callable[[Any], Response]) -> Callable[[Any], Awaitable[Response]]:
    async def handle(request: BaseRequest) -> Response:
        await sleep(0.1)
        return handler(request)

    return handle


BOTH = pytest.mark.parametrize("wrapped", [False, True], ids=["def", "async def"])
KINDS = pytest.mark.parametrize("kind", [plain, waiting, late])
REQUESTS = pytest.mark.parametrize("sent", [GET, HEAD, OLD], ids=["GET", "HEAD", "1.0"])


def world_of(handler: Any, wrapped: bool = False, **limits: Any) -> World:
    return World(asynchronous(handler) if wrapped else handler, **limits)


@KINDS
@BOTH
@REQUESTS
@pytest.mark.parametrize("trailed", [False, True])
def test_an_error_before_the_first_piece_is_the_response(
    kind: Any, wrapped: bool, sent: bytes, trailed: bool
) -> None:
    closed: list[bool] = []
    make = kind(error=ProtocolError(404, "It is not here."), closed=closed)
    handler = handler_of((lambda request: Trailed(make(request), list)) if trailed else make)
    world = world_of(handler, wrapped)
    client = world.client(sent + (b"" if sent is OLD else sent))
    world.run(5)
    responses = client.responses(["HEAD"] * 2 if sent is HEAD else ())
    assert [one.status for one in responses] == [404] * (1 if sent is OLD else 2)
    assert all(one.whole for one in responses)
    assert closed == [True] * len(responses)
    assert responses[0].body == (b"" if sent is HEAD else b"It is not here.\n")


@KINDS
@REQUESTS
def test_an_unexpected_error_is_a_500_with_a_record(
    kind: Any, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    world = World(handler_of(kind(error=KeyError("why"))))
    client = world.client(sent)
    world.run(5)
    (response,) = client.responses(["HEAD"] if sent is HEAD else ())
    assert response.status == 500
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]


@KINDS
@pytest.mark.parametrize("piece", [None, "text", 5])
def test_a_first_piece_that_is_not_bytes_is_a_500(kind: Any, piece: Any) -> None:
    world = World(handler_of(kind(piece)))
    client = world.client(GET + GET)
    world.run(5)
    assert [one.status for one in client.responses(())] == [500, 500]


@KINDS
@BOTH
def test_an_error_behind_the_first_piece_is_a_reset(kind: Any, wrapped: bool) -> None:
    for first in (b"some", b""):
        world = world_of(handler_of(kind(first, error=ProtocolError(404, "Late."))), wrapped)
        client = world.client(GET)
        world.run(5)
        (response,) = client.responses(())
        assert (response.status, response.whole, client.end) == (200, False, "reset")


@KINDS
@REQUESTS
def test_bodies_that_are_well(kind: Any, sent: bytes) -> None:
    for pieces in ((), (b"",), (b"", b"one"), (b"one", b"", b"two")):
        closed: list[bool] = []
        world = World(handler_of(kind(*pieces, closed=closed)))
        client = world.client(sent + (b"" if sent is OLD else sent))
        world.run(5)
        responses = client.responses(["HEAD"] * 2 if sent is HEAD else ())
        assert [one.body for one in responses] == [
            b"" if sent is HEAD else b"".join(pieces) for _ in responses
        ]
        assert all(one.status == 200 and one.whole for one in responses)
        assert closed == [True] * len(responses)


@KINDS
def test_a_known_length_is_kept(kind: Any) -> None:
    for sent in (GET, HEAD):
        world = World(handler_of(kind(b"one", b"two"), fields=[("Content-Length", "6")]))
        client = world.client(sent + GET)
        world.run(5)
        first, second = client.responses(["HEAD"] if sent is HEAD else ())
        assert client.received.count(b"Content-Length: 6\r\n") == 2
        assert first.whole
        assert second.body == b"onetwo"


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_that_is_never_sent_is_not_begun(status: int) -> None:
    for kind in (plain, waiting):
        closed: list[bool] = []
        for sent in (GET, HEAD):
            world = World(handler_of(kind(b"one", closed=closed), status))
            client = world.client(sent)
            world.run(1)
            assert client.received.startswith(b"HTTP/1.1 %d" % status if status == 304 else b"HTTP")
        assert closed == []


# --- the wait for it -----------------------------------------------------------------------------


def silent(closed: list[Any]) -> Make:
    async def make(request: BaseRequest) -> AsyncIterator[bytes]:
        try:
            await sleep(1000)
            yield b"never"
        except Cancelled:
            closed.append("cancelled")
            raise
        finally:
            closed.append("closed")

    return make


@BOTH
def test_no_byte_leaves_before_the_first_piece(wrapped: bool) -> None:
    world = world_of(handler_of(late(b"one")), wrapped)
    client = world.client(GET)
    world.run(0.9)
    assert world.state is HANDLER
    assert not client.received
    world.run(0.3)
    assert only(client).body == b"one"


def test_an_empty_piece_sends_the_head() -> None:
    async def make(request: BaseRequest) -> AsyncIterator[bytes]:
        yield b""
        await sleep(1000)

    world = World(handler_of(make))
    client = world.client(GET)
    world.run(0.1)
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert world.state is PRODUCE


@BOTH
def test_an_event_stream_sends_its_head_at_once(wrapped: bool) -> None:
    fields = [("content-type", "text/event-stream; charset=utf-8")]
    world = world_of(handler_of(late(b"one", b"two"), fields=fields), wrapped)
    client = world.client(GET)
    world.run(0.2)
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")
    world.run(2)
    assert only(client).body == b"onetwo"
    for kind in (plain, waiting):
        world = world_of(handler_of(kind(error=ProtocolError(404, "No.")), fields=fields), wrapped)
        client = world.client(GET)
        world.run(2)
        assert only(client).status == 404
    closed: list[Any] = []
    world = world_of(handler_of(silent(closed), fields=fields), wrapped)
    client = world.client(HEAD)
    world.run(2)
    assert only(client, "HEAD").status == 200
    assert closed == ["cancelled", "closed"]


@BOTH
def test_a_first_piece_that_comes_too_late_is_a_503(wrapped: bool) -> None:
    closed: list[Any] = []
    world = world_of(handler_of(silent(closed)), wrapped, handler_timeout=5)
    client = world.client(GET)
    world.run(20)
    (response,) = client.responses(())
    assert response.status == 503
    assert closed == ["cancelled", "closed"]
    assert not world.server.connections or client.end == "fin"


@BOTH
@pytest.mark.parametrize("how", ["reset", "half-close"])
def test_a_client_that_leaves_meanwhile(wrapped: bool, how: str) -> None:
    closed: list[Any] = []
    world = world_of(handler_of(silent(closed)), wrapped, half_closed_timeout=3)
    client = world.client(GET)
    world.run(1)
    client.reset() if how == "reset" else client.half_close()
    world.run(10)
    assert closed == ["cancelled", "closed"]
    assert not world.server.connections
    assert client.received == b""


def test_a_half_closed_client_gets_its_response() -> None:
    world = World(handler_of(late(b"one", b"two")))
    client = world.client(GET)
    client.half_close()
    world.run(5)
    assert only(client).body == b"onetwo"
    assert client.end == "fin"


def test_a_pipeline_keeps_its_order() -> None:
    makes = [late(b"1"), plain(b"2"), waiting(error=ProtocolError(404, "3")), late(), plain(b"5")]
    handlers = iter(map(handler_of, makes))
    world = World(lambda request: next(handlers)(request))
    client = world.client(GET * 5)
    world.run(10)
    assert [one.body for one in client.responses(())] == [b"1", b"2", b"3\n", b"", b"5"]


def test_a_body_that_reads_the_request_for_its_first_piece() -> None:
    async def echo(request: BaseRequest) -> AsyncIterator[bytes]:
        async for piece in request.body:
            yield piece.upper()

    fields = b"Expect: 100-continue\r\n"
    world = World(handler_of(echo))
    client = world.client(post(6, fields))
    world.run(1)
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    world.run(1)
    assert b"200 OK" in client.received
    client.send(b"def" + GET)
    world.run(1)
    assert client.received.count(b"200 OK") == 2
    assert b"ABC" in client.received
    assert b"DEF" in client.received


def test_a_broken_request_body_is_the_response() -> None:
    async def echo(request: BaseRequest) -> AsyncIterator[bytes]:
        async for piece in request.body:
            yield piece

    world = World(handler_of(echo))
    head = b"POST / HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = world.client(head)
    world.run(0.1)
    client.send(b"nonsense\r\n")
    world.run(1)
    assert [one.status for one in client.responses(())] == [400]


@KINDS
@pytest.mark.parametrize("waits", [False, True])
def test_an_error_whose_response_is_a_stream_that_fails_is_a_500(kind: Any, waits: bool) -> None:
    """Not one response after the other, for ever."""

    def on_error(request: BaseRequest, error: BaseException) -> Any:
        response = handler_of(kind(error=KeyError("again")))
        return asynchronous(response)(request) if waits else response(request)

    def handler(request: BaseRequest) -> Response:
        request.on_error = on_error
        return Response(200, plain(error=KeyError("first"))(request))

    for sent in (GET, HEAD):
        world = World(handler)
        client = world.client(sent)
        world.run(5)
        assert only(client, "HEAD" if sent is HEAD else "GET").status == 500


def test_an_error_handler_that_fails_is_a_500() -> None:
    def on_error(request: BaseRequest, error: BaseException) -> Response:
        raise SystemExit

    def handler(request: BaseRequest) -> Response:
        request.on_error = on_error
        return Response(200, late(error=KeyError("first"))(request))

    world = World(handler)
    client = world.client(GET + GET)
    world.run(5)
    assert [one.status for one in client.responses(())] == [500, 500]


@KINDS
def test_an_error_leaves_no_cycle(kind: Any) -> None:
    world = World(handler_of(kind(error=KeyError("why"))))
    with Cycles():
        client = world.client(GET * 3)
        world.run(5)
    assert [one.status for one in client.responses(())] == [500] * 3
