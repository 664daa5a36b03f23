"""Bodies of responses that are sent piece by piece: iterators, files, and how they end."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from reactor import FileRegion, Response, sleep
from reactor.files.file import WINDOW_BYTES
from reactor.files.region import MultiRegion
from reactor.http.response_writer import PIECES_PER_TURN
from reactor.http.states import (
    DRAIN,
    IDLE,
)
from reactor.messages.request import BaseRequest
from reactor.messages.response import ResponseBody
from reactor.simulator import Faults, SimClient, SimFile, simulation
from tests.support.handlers import hello
from tests.support.worlds import GET, SMALL_BUFFERS, only
from tests.support.worlds import CalmWorld as World


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


# --- iterators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [True, False])
def test_a_body_that_never_waits_does_not_hold_the_loop(is_async: bool) -> None:
    made = 0
    by_turn: list[int] = []

    async def endless_async() -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x"

    def endless() -> Iterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x"

    def respond(request: BaseRequest) -> Response:
        if request.target == "/":
            return Response(200, endless_async() if is_async else endless())
        return Response(200, b"hello")

    world = World(respond)

    def after_turn() -> None:
        nonlocal made
        by_turn.append(made)
        made = 0

    world.reactor.after_turn = after_turn
    endless_client = world.client(GET)
    other = world.client(GET.replace(b"/ ", b"/other "))
    assert only(other).body == b"hello"
    assert 0 < max(by_turn) <= 2 * PIECES_PER_TURN
    endless_client.reset()
    world.run(1)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_body_is_closed_when_its_client_leaves(is_async: bool) -> None:
    events: list[str] = []

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            events.append("closed")

    async def async_pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                await sleep(1)
                yield b"x" * 1000
        finally:
            events.append("closed")

    world = World(lambda request: Response(200, async_pieces() if is_async else pieces()))
    client = world.client(GET, reads=False, buffers=SMALL_BUFFERS)
    world.run(3)
    client.reset()
    world.run(3)
    assert events == ["closed"]


def _raises() -> Iterator[bytes]:
    yield b"some"
    raise ValueError("in the middle")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Response(200, _raises()),
        lambda: Response(200, iter([b"some"]), [("Content-Length", "5")]),
        lambda: Response(200, iter([b"some", b"more"]), [("Content-Length", "5")]),
        lambda: Response(200, iter([b"some", "more"])),  # type: ignore[arg-type]
    ],
)
def test_a_failure_after_the_head_is_a_reset(make: Callable[[], Response]) -> None:
    world = World(lambda request: make())
    client = world.client(GET)
    (response,) = client.responses(())
    assert (response.whole, client.end) == (False, "reset")
    assert not world.server.connections


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("coldness", [0.0, 1.0])
@pytest.mark.parametrize("size", [0, 10, 100_000, 1_000_000])
def test_a_file_comes_whole_hot_or_cold(coldness: float, size: int) -> None:
    content = bytes(range(256)) * 4000
    world = World(lambda request: Response(200, FileRegion(file.hold(), 100, size)))
    file = SimFile(world.network, content, coldness=coldness)
    client = world.client(GET)
    world.run(5)
    assert only(client).body == content[100 : 100 + size]
    assert file.holders == 1


def parts(file: SimFile) -> MultiRegion:
    return MultiRegion(
        [
            b"begin ",
            FileRegion(file.hold(), 10, 100),
            b" middle ",
            FileRegion(file.hold(), WINDOW_BYTES - 50_000, 150_000),
            FileRegion(file.hold(), 0, 0),
            b"",
            b" end",
        ]
    )


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("coldness", [0.0, 1.0])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_parts_come_whole_hot_or_cold(method: str, coldness: float, minor: int) -> None:
    content = bytes(range(256)) * (WINDOW_BYTES // 256 + 600)
    world = World(lambda request: Response(206, parts(file)))
    file = SimFile(world.network, content, coldness=coldness)
    get = b"%b / HTTP/1.%d\r\nHost: sim\r\nConnection: keep-alive\r\n\r\n"
    client = world.client(get % (method.encode(), minor) * 2)
    world.run(5)
    begin = WINDOW_BYTES - 50_000
    expected = b"begin %b middle %b end" % (content[10:110], content[begin : begin + 150_000])
    responses = client.responses([method, method])
    assert [one.body for one in responses] == [expected if method == "GET" else b""] * 2
    for response in responses:
        assert response.fields["content-length"] == str(len(expected))
        assert "transfer-encoding" not in response.fields
    assert file.holders == 1
    assert world.state is IDLE


@pytest.mark.parametrize("kind", ["bytes", "view", "iterator", "async"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_205_has_no_body(kind: str, version: bytes) -> None:
    """RFC 9110, section 15.3.6: the body is closed, and the next response follows the head."""
    closed: list[str] = []

    async def later() -> AsyncIterator[bytes]:
        yield b"never"

    class Watched:
        def __iter__(self) -> "Watched":
            return self

        def __next__(self) -> bytes:
            raise AssertionError("it is pulled")

        def close(self) -> None:
            closed.append("closed")

    bodies: dict[str, ResponseBody] = {
        "bytes": b"never",
        "view": memoryview(b"never"),
        "iterator": Watched(),
        "async": later(),
    }
    world = World(
        lambda request: Response(205, bodies[kind]) if request.target == "/" else hello(request)
    )
    get = b"GET %b HTTP/%b\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    client = world.client(get % (b"/", version) + get % (b"/next", version))
    first, second = client.responses(())
    assert (first.status, first.body, first.fields["content-length"]) == (205, b"", "0")
    assert second.body == b"hello"
    assert closed == (["closed"] if kind == "iterator" else [])


@pytest.mark.parametrize("status", [204, 304, 500])
@pytest.mark.parametrize("body", ["parts", "region", "nothing"])
def test_parts_and_files_that_are_not_sent_are_released(status: int, body: str) -> None:
    """By a response that has no body, and by one that cannot be sent."""

    def respond(request: BaseRequest) -> Response:
        fields = [("Bad Name", "x")] if status == 500 else []
        if body == "parts":
            return Response(status, parts(file), fields)
        region = FileRegion(file.hold(), 0, 0 if body == "nothing" else 100)
        return Response(status, region, fields)

    world = World(lambda request: respond(request) if request.target == "/" else hello(request))
    file = SimFile(world.network, bytes(2 * WINDOW_BYTES))
    client = world.client(GET + GET.replace(b"/ ", b"/next "))
    found = status if status != 204 or body == "nothing" else 500  # a 204 has no length
    assert [one.status for one in client.responses(())] == [found, 200]
    assert file.holders == 1


@pytest.mark.parametrize("coldness", [0.0, 1.0])
@pytest.mark.parametrize("seconds", [0.0001, 0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("how", ["reset", "leave", "server"])
def test_a_client_that_leaves_in_the_middle_of_parts_releases_all(
    how: str, seconds: float, coldness: float
) -> None:
    world = World(lambda request: Response(206, parts(file)), Faults(job_seconds=lambda: 0.01))
    file = SimFile(world.network, bytes(2 * WINDOW_BYTES), coldness=coldness)
    client = SimClient(world.network, world.listener, "client", SMALL_BUFFERS)
    client.connect()
    client.send(GET)
    world.network.start(client.reading(lambda: (4096, 0.002)))
    world.run(seconds)
    if how == "server":
        for connection in tuple(world.server.open_connections):
            connection.abort()
    elif how == "reset":
        client.reset()
    else:
        client.close()
    world.run(30)
    assert not world.server.connections
    assert file.holders == 1


def test_a_file_among_parts_that_has_become_shorter_is_reset() -> None:
    world = World(lambda request: Response(206, parts(file)))
    file = SimFile(world.network, bytes(WINDOW_BYTES))
    client = world.client(GET)
    world.run(5)
    assert client.end == "reset"
    assert not client.responses(())[0].whole
    assert file.holders == 1


def test_a_short_file_leaves_with_its_head() -> None:
    """One send for the two; and a 1.0 client reads whether the connection is kept."""
    world = World(lambda request: Response(200, FileRegion(file.hold(), 0, 10)))
    file = SimFile(world.network, b"0123456789")
    for version, kept in ((b"1.1", True), (b"1.0", False)):
        before = len(world.network.trace)
        client = world.client(GET.replace(b"1.1", version))
        assert only(client).body == b"0123456789"
        assert only(client).fields["content-length"] == "10"
        sends = [what for who, what in sent_by_server(world, before)]
        assert len(sends) == 1
        assert (only(client).fields.get("connection") != "close") == kept
    assert file.holders == 1


def sent_by_server(world: World, since: int) -> list[tuple[str, str]]:
    return [
        (who, what)
        for _, who, what in world.network.trace[since:]
        if who.endswith("'s server") and what.startswith("send ")
    ]


def test_a_file_that_is_not_sent_is_released() -> None:
    world = World(lambda request: Response(200, FileRegion(file.hold(), 0, 10)))
    file = SimFile(world.network, b"x" * 10)
    client = world.client(GET.replace(b"GET", b"HEAD"))
    assert only(client, "HEAD").fields["content-length"] == "10"
    assert file.holders == 1


def test_a_file_that_has_become_shorter_is_reset() -> None:
    world = World(lambda request: Response(200, FileRegion(file.hold(), 0, 500_000)))
    file = SimFile(world.network, b"x" * 300_000)
    client = world.client(GET)
    world.run(5)
    assert client.end == "reset"
    assert file.holders == 1


def test_nothing_follows_a_file_that_has_become_shorter() -> None:
    """Bytes that could not be sent do not count as sent: no next request, and no plain close."""
    targets = []

    def respond(request: BaseRequest) -> Response:
        targets.append(request.target)
        return Response(200, FileRegion(file.hold(), 0, 100_000))

    world = World(respond)
    file = SimFile(world.network, b"x" * 100_000)
    data = GET + GET.replace(b"/ ", b"/next ")
    client = world.client(data, reads=False, buffers=SMALL_BUFFERS)
    client.half_close()
    world.run(0.1)
    assert world.state is DRAIN
    file.shrink(50_000)
    world.network.start(client.reading())
    world.run(1)
    assert (targets, client.end) == (["/"], "reset")
    assert file.holders == 1


def test_a_client_that_leaves_while_the_disk_works_releases_the_file() -> None:
    world = World(
        lambda request: Response(200, FileRegion(file.hold(), 0, 10)),
        Faults(job_seconds=lambda: 5.0),
    )
    file = SimFile(world.network, b"x" * 10, coldness=1.0)
    world.client(GET).reset()
    world.run(1)
    assert file.holders == 2, "the job's"
    world.run(5)
    assert file.holders == 1


@pytest.mark.parametrize("leaves", [False, True])
def test_a_response_that_cannot_be_logged_is_sent_and_closed(leaves: bool) -> None:
    """A handler may put anything into a request, and the log may stumble over it."""
    closed: list[str] = []

    def pieces() -> Iterator[bytes]:
        try:
            for _ in range(200):
                yield bytes(10_000)
        finally:
            closed.append("closed")

    def refuse(*_: object) -> None:
        raise SystemExit

    world = World(lambda request: Response(200, pieces()))
    world.server._context.state.observe = refuse
    client = world.client(GET, reads=not leaves)
    if leaves:
        client.reset()
    world.run(5)
    assert closed == ["closed"]
    if leaves:
        assert not world.server.connections
    else:
        assert only(client).body == bytes(2_000_000)
