"""Bodies that no handler has read: the rest of a small one is awaited, and the connection is kept.

All of it runs in a calm simulation: the real server, no chance, and minutes that take no time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from reactor import Future, ProtocolError, Response, sleep
from reactor.http.states import DRAIN, IDLE, LINGER, SKIP
from reactor.messages.request import BaseRequest
from reactor.simulator import simulation
from tests.support.handlers import hello
from tests.support.worlds import GET, SMALL_BUFFERS, only, post
from tests.support.worlds import CalmWorld as World

CHUNKED = b"POST / HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = GET.replace(b"/ ", b"/next ")
MOST = 64 * 1024


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


def refuse(request: BaseRequest) -> Response:
    if request.target == "/next":
        return Response(200, b"next")
    raise ProtocolError(404, "There is nothing.")


async def refuse_later(request: BaseRequest) -> Response:
    await sleep(0.001)
    return refuse(request)


def stream(request: BaseRequest) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await sleep(0.001)
        yield b"two"

    return Response(200, b"next") if request.target == "/next" else Response(200, pieces())


async def too_large(request: BaseRequest) -> Response:
    if request.target != "/next":
        request.body.limit(1)
        await request.body.read()
    return Response(200, b"next")


async def half(request: BaseRequest) -> Response:
    if request.target != "/next":
        assert await request.body.read(1)
    return Response(200, b"next")


HANDLERS: list[tuple[Callable[..., Response | Awaitable[Response]], int]] = [
    (refuse, 404),
    (refuse_later, 404),
    (stream, 200),
    (too_large, 413),
    (half, 200),
]
BODIES = {
    "length": (post(10), b"1234567890"),
    "GET": (post(10).replace(b"POST", b"GET"), b"1234567890"),
    "a request in the body": (post(len(GET)), GET),
    "chunked": (CHUNKED, b"5\r\n12345\r\n1;x=y\r\n6\r\n0\r\nTrailer: x\r\n\r\n"),
    "most": (post(MOST), b"x" * MOST),
}


@pytest.mark.parametrize(("handler", "status"), HANDLERS)
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("way", ["whole", "in the next segment", "byte by byte", "with the next"])
def test_a_small_body_is_awaited_and_the_connection_kept(
    handler: Callable[..., Response], status: int, kind: str, way: str
) -> None:
    head, body = BODIES[kind]
    world = World(handler)
    client = world.client(head + (body if way == "whole" else b""))
    if way == "byte by byte" and kind != "most":
        world.drip(client, body, 1, 0.005)
        world.run(0.5)
    elif way != "whole":
        world.network.start(client.sending(body + NEXT * (way == "with the next")))
        world.run(0.5)
    if way != "with the next":
        assert world.state is IDLE
        client.send(NEXT)
        world.run(0.1)
    first, second = client.responses([head.split()[0].decode(), "GET"])
    assert (first.status, first.whole) == (status, True)
    assert (second.status, second.body) == (200, b"next")
    assert "connection" not in first.fields | second.fields
    assert (world.state, client.end) == (IDLE, "")
    world.run(80)
    assert client.end == "fin"  # idle_timeout begins after the last response
    world.invariants.check_rest()


def test_the_response_does_not_wait_for_the_body() -> None:
    world = World(refuse)
    client = world.client(post(10) + b"12345")
    assert (only(client).status, world.state) == (404, SKIP)
    assert "connection" not in only(client).fields


@pytest.mark.parametrize("sent", [b"", b"12345"])
def test_a_body_that_does_not_come_in_a_second_ends_the_connection(sent: bytes) -> None:
    world = World(refuse)
    client = world.client(post(10) + sent)
    world.run(0.9)
    assert (world.state, client.end) == (SKIP, "")
    world.run(0.2)
    assert (only(client).status, world.state) == (404, LINGER)
    client.send(b"1234567890"[len(sent) :] + NEXT)
    world.until_gone()
    assert (only(client).status, client.end) == (404, "fin")


def test_dripping_does_not_earn_more_time() -> None:
    world = World(refuse)
    client = world.client(post(100))
    world.drip(client, b"x" * 100, 1, 0.1)
    world.run(1.1)
    assert world.state is LINGER
    world.until_gone()
    assert client.end == "fin"


@pytest.mark.parametrize("arrived", [0, 1, 1000])
def test_a_larger_body_closes_the_connection_as_its_response_says(arrived: int) -> None:
    """Bytes that have arrived do not count, only those that would have to be awaited."""
    world = World(refuse)
    client = world.client(post(MOST + 1 + arrived) + b"x" * arrived)
    assert (only(client).status, only(client).fields["connection"]) == (404, "close")
    assert world.state is LINGER
    client = world.client(post(MOST + arrived) + b"x" * arrived)
    assert "connection" not in only(client).fields


@pytest.mark.parametrize("chunk", [1, 1000, MOST])
def test_a_chunked_body_that_turns_out_larger_ends_the_connection(chunk: int) -> None:
    world = World(refuse)
    client = world.client(CHUNKED)
    assert world.state is SKIP
    world.network.start(
        client.sending((b"%x\r\n%b\r\n" % (chunk, b"x" * chunk)) * (2 * MOST // chunk))
    )
    world.run(0.9)
    assert (only(client).status, world.state) == (404, LINGER)
    world.until_gone()
    assert client.end == "fin"


@pytest.mark.parametrize(
    "rest", [b"zz\r\n", b"5\r\n123456\r\n", b"5\r\n12345\r\n0\r\nNo field\r\n\r\n"]
)
def test_a_malformed_rest_ends_the_connection(rest: bytes) -> None:
    """Where the next request begins is in doubt, and nothing behind it is served."""
    world = World(refuse)
    client = world.client(CHUNKED)
    client.send(rest + b"\r\n\r\n" + NEXT)
    world.run(0.1)
    assert world.state is LINGER
    world.until_gone()
    assert (only(client).status, client.end) == (404, "fin")


def test_a_fin_within_the_rest_ends_the_connection() -> None:
    world = World(refuse)
    client = world.client(post(10) + b"12345")
    client.half_close()
    assert world.until_gone() < 0.2
    assert (only(client).status, client.end) == (404, "fin")


def test_a_fin_behind_the_rest_lets_the_next_request_be_served() -> None:
    world = World(refuse)
    client = world.client(post(10) + b"12345")
    client.send(b"67890" + NEXT)
    client.half_close()
    world.until_gone()
    assert [one.status for one in client.responses(())] == [404, 200]
    assert client.end == "fin"


def test_a_reset_within_the_rest() -> None:
    world = World(refuse)
    world.client(post(10) + b"12345").reset()
    world.until_gone()
    world.invariants.check_rest()


def test_a_client_that_waits_for_100_and_gets_a_refusal_is_not_waited_for() -> None:
    """It may send the body or not (RFC 9110, section 10.1.1): what comes next is in doubt."""
    expecting = b"Expect: 100-continue\r\n"
    world = World(refuse)
    client = world.client(post(10, expecting))
    assert (only(client).status, only(client).fields["connection"]) == (404, "close")
    client.send(NEXT)
    world.until_gone()
    assert only(client).status == 404


@pytest.mark.parametrize("arrived", [1, 9, 10])
def test_a_client_that_did_not_wait_for_100_is(arrived: int) -> None:
    world = World(refuse)
    body = b"1234567890"
    client = world.client(post(10, b"Expect: 100-continue\r\n") + body[:arrived])
    client.send(body[arrived:] + NEXT)
    world.run(0.1)
    assert [one.status for one in client.responses(())] == [404, 200]
    assert "connection" not in client.responses(())[0].fields


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_client_that_asks_for_the_end_gets_it(version: bytes) -> None:
    world = World(refuse)
    close = b"Connection: close\r\n" if version == b"1.1" else b""
    client = world.client(post(10, close).replace(b"1.1", version))
    assert only(client).fields["connection"] == "close"
    assert world.state is LINGER


def test_the_rest_is_awaited_behind_a_response_that_drains() -> None:
    world = World(lambda request: Response(200, b"x" * 30_000))
    client = world.client(post(10), reads=False, buffers=SMALL_BUFFERS)
    assert world.state is DRAIN
    client.send(b"12345")
    world.run(5)
    world.network.start(client.reading())
    world.run(0.5)
    assert world.state is SKIP
    client.send(b"67890" + NEXT)
    world.run(0.5)
    assert [len(one.body) for one in client.responses(())] == [30_000, 30_000]


def test_the_end_of_the_server_does_not_wait_for_the_rest() -> None:
    world = World(refuse)
    client = world.client(post(10))
    assert world.state is SKIP
    world.server.shut_down()
    world.run(0.01)
    assert world.state is LINGER
    assert world.until_gone() < 1.1
    assert only(client).status == 404


def test_a_pull_after_the_response_fails() -> None:
    found: list[str] = []
    ready: Future[None] = Future()

    def respond(request: BaseRequest) -> Response:
        async def late() -> None:
            await ready
            try:
                await request.body.read(1)
            except RuntimeError as error:
                found.append(str(error))

        world.server.spawn(late())
        return hello(request)

    world = World(respond)
    client = world.client(post(10))
    ready.set_result(None)
    world.run(0.1)
    client.send(b"1234567890")
    world.run(0.1)
    assert found == ["the body of a request cannot be read after its response"]
    assert world.state is IDLE
