"""Bytes that come while a request is served: they are kept up to a limit, so that a FIN is seen.

All of it runs in a calm simulation: the real server, no chance, and minutes that take no time.
"""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from reactor import Response, sleep
from reactor.http.states import DRAIN, HANDLER, IDLE, PRODUCE
from reactor.messages.request import BaseRequest
from reactor.net.stream import INPUT_OPEN, PAUSED
from reactor.simulator import simulation
from tests.support.handlers import hello
from tests.support.worlds import GET, SMALL_BUFFERS, only, post
from tests.support.worlds import CalmWorld as World

LARGE = (1 << 20, 1 << 20, 1 << 20, 1 << 20)  # buffers of a peer that sends much at once


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


async def silence() -> AsyncIterator[bytes]:
    yield b"data: 1\n\n"
    await sleep(100_000)


async def never(request: BaseRequest) -> Response:
    await sleep(100_000)
    return Response()


def stream(request: BaseRequest) -> Response:
    return Response(200, silence())


def declared(request: BaseRequest) -> Response:
    return Response(200, silence(), [("Content-Length", "1000")])


HANDLERS = [never, stream, declared]
SURPLUS = [b"\r\n", b"\r\n\r\n", b"x", GET, GET * 100, b"\r\n" + GET, post(10) + b"123"]


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("surplus", SURPLUS)
@pytest.mark.parametrize("bytewise", [False, True])
def test_a_fin_behind_a_surplus_is_seen(
    handler: Callable[..., Response], surplus: bytes, bytewise: bool
) -> None:
    world = World(handler, handler_timeout=0)
    client = world.client(GET)
    if bytewise:
        world.drip(client, surplus[:40], 1, 0.01)
        world.run(1)
    else:
        client.send(surplus)
        world.run(1)
    client.half_close()
    world.run(9)
    assert world.server.connections == 1
    world.run(2)
    assert world.server.connections == 0
    assert client.end == "reset"
    world.run(2)
    world.invariants.check_rest()


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("surplus", SURPLUS)
def test_a_reset_behind_a_surplus_is_seen_at_once(
    handler: Callable[..., Response], surplus: bytes
) -> None:
    world = World(handler, handler_timeout=0)
    client = world.client(GET)
    client.send(surplus)
    world.run(1)
    client.reset()
    world.run(0.1)
    assert world.server.connections == 0


def test_dead_clients_do_not_fill_the_server() -> None:
    world = World(stream, connections=30)
    for _ in range(30):
        client = world.client(GET)
        client.send(b"\r\n")
        world.run(0.01)
        client.half_close()
    world.run(11)
    assert world.server.connections == 0
    assert b"200 OK" in world.client(GET).received


@pytest.mark.parametrize("handler", [never, stream])
def test_a_surplus_has_a_limit_and_then_the_peer_waits(handler: Callable[..., Response]) -> None:
    world = World(handler, handler_timeout=0, surplus_bytes=10_000)
    client = world.client(GET, buffers=LARGE)
    sent = 0
    for _ in range(400):
        sent += client.send(GET * 5)
        world.run(0.01)
    connection = world.connection()
    assert connection.transport.input is PAUSED
    assert 10_000 <= len(connection.parser.buffer) < 10_000 + 5 * len(GET)
    assert sent > 20_000
    client.reset()
    world.run(0.1)
    assert world.server.connections == 0


def test_a_pipeline_beyond_the_surplus_is_served_whole() -> None:
    async def slow(request: BaseRequest) -> Response:
        await sleep(0.01)
        return hello(request)

    world = World(slow, surplus_bytes=1000)
    client = world.client()
    world.network.start(client.sending(GET * 2000))
    world.run(60)
    assert len(client.responses(())) == 2000
    assert world.state is IDLE


def test_reading_goes_on_when_a_body_that_is_pulled_makes_room() -> None:
    """The handler has pulled the whole surplus and waits for something else."""

    async def handler(request: BaseRequest) -> Response:
        await sleep(1)
        for _ in range(20):
            assert len(await request.body.read(100)) == 100
        return await never(request)

    world = World(handler, handler_timeout=0, surplus_bytes=1000)
    client = world.client(post(2050) + b"x" * 2050)
    client.send(b"\r\n")
    world.run(2)
    assert world.state is HANDLER
    client.half_close()
    world.run(11)
    assert world.server.connections == 0


def test_reading_goes_on_when_the_rest_of_a_pipeline_waits_for_a_handler() -> None:
    """16 requests were served in a turn, and reading was paused; the next one is a slow one."""

    async def slow(request: BaseRequest) -> Response:
        await sleep(0.1)
        return await never(request)

    def respond(request: BaseRequest) -> object:
        return slow(request) if request.target == "/slow" else hello(request)

    world = World(respond, handler_timeout=0)  # type: ignore[arg-type]
    client = world.client(GET * 20 + GET.replace(b"/ ", b"/slow "))
    assert (world.state, world.connection().transport.input) == (HANDLER, INPUT_OPEN)
    client.half_close()
    world.run(11)
    assert world.server.connections == 0


def test_a_fin_behind_a_surplus_while_the_response_drains() -> None:
    world = World(lambda request: Response(200, b"x" * 50_000))
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    assert world.state is DRAIN
    client.send(GET)
    world.run(0.1)
    client.half_close()
    world.run(0.1)
    world.network.start(client.reading())
    world.run(1)
    assert [len(one.body) for one in client.responses(())] == [50_000, 50_000]
    assert client.end == "fin"


@pytest.mark.parametrize("known", [True, False])
def test_a_half_closed_client_gets_a_slow_body_whose_length_is_known(known: bool) -> None:
    """It ends by itself, so the timeout is one for each piece; an endless one has one for all."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            await sleep(5)
            yield b"x" * 10

    fields = [("Content-Length", "100")] if known else []
    world = World(lambda request: Response(200, pieces(), fields))
    client = world.client(GET)
    assert world.state is HANDLER
    world.run(6)
    assert world.state is PRODUCE
    client.half_close()
    world.run(60)
    assert client.end == ("fin" if known else "reset")
    if known:
        assert only(client).body == b"x" * 100
