"""No client decides how deep the server's code recurses.

Each scenario is played with few clients (or pieces, or requests) and with ten times as many, on the
loop and with nothing real; the deepest stack must be the same, up to a few frames.
"""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest

from reactor import (
    Application,
    Broadcast,
    Future,
    Response,
    SingleFlight,
    WeightedSemaphore,
    events,
    first_of,
    gather,
    in_pool,
    sleep,
    timeout,
)
from reactor.messages.request import BaseRequest
from reactor.simulator import Faults, SimClient, simulation
from tests.support.worlds import GET, CalmWorld, post

FEW, MANY = 12, 120
SLACK = 12  # frames: a queue that is empty or not, a first time or a second one


class World(CalmWorld):
    """A calm one that does not look at every connection after every turn, which takes long."""

    def __init__(self, *arguments: Any, **limits: Any) -> None:
        super().__init__(*arguments, **limits)
        self.reactor.after_turn = lambda: None


class Depth:
    """The deepest stack of Python frames while it watches."""

    def __init__(self) -> None:
        self.deepest = 0
        self._depth = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        sys.setprofile(self._count)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self._depth += 1
            self.deepest = max(self.deepest, self._depth)
        elif event == "return":
            self._depth -= 1


Play = Callable[[int], None]


def crowd(world: World, count: int, data: bytes = GET) -> list[SimClient]:
    return [world.client(data) for _ in range(count)]


def ended(world: World, clients: list[SimClient], seconds: float = 100.0) -> None:
    world.run(seconds)
    assert all(client.responses(())[0].status == 200 for client in clients)


def one_job_for_all(count: int) -> None:
    flight: SingleFlight[str, bytes] = SingleFlight()

    async def handler(request: BaseRequest) -> Response:
        return Response(200, await flight.run("key", lambda: in_pool(lambda: b"done")))

    world = World(handler, Faults(job_seconds=lambda: 20.0))
    ended(world, crowd(world, count))


def one_future_for_all(count: int) -> None:
    future: Future[bytes] = Future()

    async def handler(request: BaseRequest) -> Response:
        return Response(200, await timeout(50, future))

    world = World(handler)
    clients = crowd(world, count)
    world.reactor.call_later(1, future.set_result, b"x")
    ended(world, clients)


def a_future_that_is_the_response(count: int) -> None:
    future: Future[Response] = Future()
    world = World(lambda request: future)
    clients = crowd(world, count)
    world.reactor.call_later(1, future.set_result, Response(200, b"x"))
    ended(world, clients)


def a_semaphore(count: int) -> None:
    semaphore = WeightedSemaphore(1)

    async def handler(request: BaseRequest) -> Response:
        async with semaphore.hold():
            await sleep(0.001)
        return Response(200)

    world = World(handler)
    ended(world, crowd(world, count))


def a_semaphore_whose_waiters_all_leave(count: int) -> None:
    semaphore = WeightedSemaphore(1)

    async def handler(request: BaseRequest) -> Response:
        async with semaphore.hold():
            await sleep(1)
        return Response(200)

    world = World(handler)
    clients = crowd(world, count)
    for client in clients[:-1]:
        client.reset()
    ended(world, clients[-1:])


def a_broadcast_that_closes(count: int) -> None:
    news: Broadcast[str] = Broadcast()
    world = World(lambda request: events(news.subscribe()))
    clients = crowd(world, count)
    world.reactor.call_later(1, news.publish, "first")
    world.reactor.call_later(2, news.close)
    ended(world, clients)


def readers_that_fall_behind(count: int) -> None:
    news: Broadcast[str] = Broadcast(backlog=1)
    world = World(lambda request: events(news.subscribe()))
    crowd(world, count)

    def publish() -> None:
        for number in range(5):
            news.publish(str(number))

    world.reactor.call_later(1, publish)
    world.run(20)


def jobs_that_wait_for_a_place(count: int) -> None:
    async def handler(request: BaseRequest) -> Response:
        return Response(200, await in_pool(lambda: b"x"))

    world = World(handler, pool_threads=1, pool_jobs=1, pool_timeout=1000.0)
    ended(world, crowd(world, count))


def jobs_that_give_up(count: int) -> None:
    async def handler(request: BaseRequest) -> Response:
        return Response(200, await in_pool(lambda: b"x"))

    slow = Faults(job_seconds=lambda: 30.0)
    world = World(handler, slow, pool_threads=1, pool_jobs=1, pool_timeout=1.0)
    crowd(world, count)
    world.run(100)


def bodies_that_wait_for_memory(count: int) -> None:
    app = Application()
    app.add("POST", "/", lambda request: request.content)
    world = World(app, memory_bodies_bytes=100_000, memory_body_bytes=60_000)
    clients = [world.client(post(50_000) + bytes(20_000)) for _ in range(count)]
    for client in clients[: count // 2]:
        client.reset()
    for client in clients[count // 2 :]:
        world.drip(client, bytes(30_000), 10_000, 0.01)
    world.run(200)


def pipelined_requests(count: int) -> None:
    async def handler(request: BaseRequest) -> Response:
        if request.target == "/sleep":
            await sleep(0.001)
        return Response(200, iter([b"a", b"b"]))

    world = World(handler)
    client = world.client((GET + GET.replace(b"/ ", b"/sleep ")) * (count // 2))
    world.run(10)
    assert len(client.responses(())) == count // 2 * 2


def pieces_of_a_body(count: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(count):
            if number % 3 == 0:
                await sleep(0)
            if number % 3 == 1:
                await in_pool(int)
            yield b"piece"

    world = World(lambda request: Response(200, pieces()))
    ended(world, crowd(world, 1))


def chunks_of_a_request(count: int) -> None:
    async def handler(request: BaseRequest) -> Response:
        size = 0
        async for piece in request.body:
            size += len(piece)
        return Response(200, b"%d" % size)

    world = World(handler)
    head = b"POST / HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = world.client(head + b"1;a=b\r\nx\r\n" * count + b"0\r\n\r\n")
    ended(world, [client])


def all_are_cancelled_at_once(count: int) -> None:
    async def child() -> None:
        try:
            await sleep(1000)
        finally:
            await sleep(0.01)

    async def handler(request: BaseRequest) -> Response:
        await gather(child(), first_of(child(), sleep(1000)), timeout(1000, child()))
        return Response(200)

    world = World(handler)
    crowd(world, count)
    world.server.shut_down()
    world.server.shut_down()  # aborts
    world.run(5)


def the_segments_of_a_path(count: int) -> None:
    app = Application()
    app.add("GET", "/{rest:segments}", lambda request, rest: str(len(rest)))
    app.add("GET", "/a/{name}/b", lambda request, name: name)
    world = World(app, request_line_bytes=100_000, head_bytes=200_000)
    ended(world, crowd(world, 1, GET.replace(b"/ ", b"/a" * count + b" ")))


def a_chain_of_callbacks(count: int) -> None:
    """The fault that this module looks for."""
    futures: list[Future[None]] = [Future() for _ in range(count)]
    for one, other in pairwise(futures):
        one.add_callback(lambda _, other=other: other.set_result(None))  # type: ignore[misc]
    futures[0].set_result(None)
    assert futures[-1].done


PLAYS: list[Play] = [
    *(one_job_for_all, one_future_for_all, a_future_that_is_the_response),
    *(a_semaphore, a_semaphore_whose_waiters_all_leave),
    *(a_broadcast_that_closes, readers_that_fall_behind),
    *(jobs_that_wait_for_a_place, jobs_that_give_up, bodies_that_wait_for_memory),
    *(pipelined_requests, pieces_of_a_body, chunks_of_a_request),
    *(all_are_cancelled_at_once, the_segments_of_a_path),
]


def assert_no_growth(play: Play) -> None:
    deepest: list[int] = []
    for count in (FEW, MANY):
        depth = Depth()
        with simulation(), depth.watched():
            play(count)
        deepest.append(depth.deepest)
    assert deepest[1] <= deepest[0] + SLACK, deepest


@pytest.mark.slow
@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
def test_the_depth_of_the_stack_does_not_grow(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    assert_no_growth(play)
    assert "RecursionError" not in caplog.text


def test_a_chain_of_callbacks_would_be_seen() -> None:
    with pytest.raises(AssertionError):
        assert_no_growth(a_chain_of_callbacks)


# --- parsers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [b"[", b'{"a":', b'[{"a":[', b"[[],"], ids=repr)
@pytest.mark.parametrize("closed", [False, True])
def test_json_that_is_nested_too_deep_is_400(nested: bytes, closed: bool) -> None:
    app = Application()

    @app.post("/")
    async def read(request: Any) -> str:
        return type(await request.json()).__name__

    levels = 1_000_000 // len(nested) // 2
    content = nested * levels
    if closed:
        opened = nested.replace(b"[]", b"")
        ends = bytes(b"]}"[one == ord("{")] for one in opened if one in b"[{")
        content += b"1" + ends[::-1] * levels
    head = post(len(content), b"Content-Type: application/json\r\n")
    with simulation():
        world = World(app)
        client = world.client(head + content[:60_000])
        world.drip(client, content[60_000:], 60_000, 0.001)
        world.run(5)
        (response,) = client.responses(("POST",))
    assert response.status == 400
