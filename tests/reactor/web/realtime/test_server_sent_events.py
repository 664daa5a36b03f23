"""Event streams: events as a browser reads them, heartbeats that lose nothing, and their ends.

The reader here follows WHATWG HTML, section 9.2.6, and shares nothing with the writer.
"""

import json
import logging
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import Broadcast, ProtocolError, Response, sleep
from reactor.http.context import Handler
from reactor.messages.request import BaseRequest
from reactor.simulator import SimClient, simulation
from reactor.simulator.client import parse_responses
from reactor.web.compression.responses import compress
from reactor.web.realtime.server_sent_events import HEARTBEAT_SECONDS, Event, events, last_event_id
from tests.support.coroutine_driver import make_request
from tests.support.cycles import Cycles
from tests.support.raw_client import request as request_bytes
from tests.support.request_bench import Bench, entered
from tests.support.worlds import SMALL_BUFFERS
from tests.support.worlds import CalmWorld as World


class EventSource:
    """The parser of a browser: `events` are (type, data, last id) as its page gets them."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []
        self.comments = 0
        self.retry: int | None = None
        self.last_id = ""
        self._id = ""
        self._bytes = b""
        self._type = ""
        self._data = ""

    def feed(self, data: bytes) -> None:
        """Whole lines only; a CR at the end may be the first half of a CRLF."""
        self._bytes += data
        while True:
            ends = [at for at in (self._bytes.find(b"\n"), self._bytes.find(b"\r")) if at >= 0]
            if not ends or (self._bytes[min(ends)] == 13 and min(ends) == len(self._bytes) - 1):
                return
            end = min(ends)
            length = 2 if self._bytes[end : end + 2] == b"\r\n" else 1
            line, self._bytes = self._bytes[:end], self._bytes[end + length :]
            self._line(line.decode())

    def _line(self, line: str) -> None:
        if not line:
            self._dispatch()
            return
        if line.startswith(":"):
            self.comments += 1
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._type = value
        elif field == "data":
            self._data += value + "\n"
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value and set(value) <= set("0123456789"):
            self.retry = int(value)

    def _dispatch(self) -> None:
        self.last_id = self._id
        if self._data:
            self.events.append((self._type or "message", self._data[:-1], self.last_id))
        self._type = self._data = ""


def read(data: bytes, step: int = 0) -> EventSource:
    source = EventSource()
    for at in range(0, len(data), step or max(1, len(data))):
        source.feed(data[at : at + (step or len(data))])
    return source


# --- one event -----------------------------------------------------------------------------------


def test_events_as_bytes() -> None:
    assert Event("x").encoded == b"data: x\n\n"
    assert Event("a\nb", event="tick", id="7", retry=3000).encoded == (
        b"event: tick\nid: 7\nretry: 3000\ndata: a\ndata: b\n\n"
    )
    assert Event({"a": [1, "ü\n"]}).encoded == 'data: {"a":[1,"ü\\n"]}\n\n'.encode()
    assert Event([1, None]).encoded == b"data: [1,null]\n\n"
    assert Event("").encoded == b"data: \n\n"
    assert Event(id="").encoded == b"id: \n\n"
    assert Event(id="7").id == "7"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
LINES = st.lists(st.sampled_from(["\n", "\r", "\r\n", "a", " ", ":", "\x0b", "\u2028", "data: x"]))


@given(
    data=TEXT | LINES.map("".join),
    name=st.none() | TEXT.filter(lambda text: not set(text) & set("\r\n")),
    identity=st.none()
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9).filter(
        lambda text: text == text.strip(" ")
    ),
    retry=st.none() | st.integers(0, 10**9),
)
def test_encoded_events_are_parsed_back(
    data: str, name: str | None, identity: str | None, retry: int | None
) -> None:
    event = Event(data, event=name, id=identity, retry=retry)
    stream = Event("before", id="b").encoded + event.encoded + Event("behind").encoded
    expected = data.replace("\r\n", "\n").replace("\r", "\n")
    after = "b" if identity is None else identity
    for step in (0, 1, 3):
        source = read(stream, step)
        assert source.events == [
            ("message", "before", "b"),
            (name or "message", expected, after),
            ("message", "behind", after),
        ]
        assert source.retry == retry
    if identity is not None:
        wire = identity.encode().decode("latin-1")  # the bytes of a browser, decoded
        assert last_event_id(make_request("GET", "/", Last_Event_ID=wire)) == identity


@pytest.mark.slow
@given(data=st.dictionaries(TEXT, TEXT | st.integers() | st.none() | st.booleans(), max_size=4))
def test_json_is_one_line_and_the_same(data: dict[str, Any]) -> None:
    source = read(Event(data).encoded)
    ((kind, text, _),) = source.events
    assert (kind, json.loads(text)) == ("message", data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": "a\nb"},
        {"event": "a\rb"},
        {"event": "a\n\ndata: forged"},
        {"event": "a\n"},
        {"id": "1\n"},
        {"id": "1\r"},
        {"id": "1\n\ndata: forged\n\n"},
        {"id": "1\0"},
        {"id": "1\x1b"},
        {"id": " 1"},
        {"id": "1 "},
        {"retry": -1},
        {"data": float("nan")},
        {"data": {"a": float("inf")}},
        {"data": "\ud800"},
        {"event": "\ud800"},
    ],
)
def test_invalid_values_of_events(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Event(**{"data": "x", **wrong})


@pytest.mark.parametrize(
    "wrong",
    [{"event": 7}, {"id": 7}, {"retry": 1.0}, {"retry": True}, {"retry": "1"}, {"data": b"bytes"}],
)
def test_invalid_types_of_events(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Event(**{"data": "x", **wrong})


def test_the_last_event_id() -> None:
    assert last_event_id(make_request("GET", "/")) == ""
    assert last_event_id(make_request("GET", "/", Last_Event_ID="7")) == "7"
    with pytest.raises(ProtocolError) as caught:
        last_event_id(make_request("GET", "/", Last_Event_ID="\xff"))
    assert caught.value.status == 400


@pytest.mark.parametrize("heartbeat", [-1, float("nan")])
def test_invalid_heartbeats(heartbeat: float) -> None:
    with pytest.raises(ValueError):
        events(iter(()), heartbeat=heartbeat)


@pytest.mark.parametrize("source", ["text", b"bytes", {"a": 1}, 7, None])
def test_invalid_sources(source: Any) -> None:
    with pytest.raises(TypeError):
        events(source)


# --- streams in a simulated world ----------------------------------------------------------------


@pytest.fixture
def _simulated() -> Iterator[None]:
    with simulation():
        yield


simulated = pytest.mark.usefixtures("_simulated")
RESET = (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
ASK = request_bytes("/", "Accept: text/event-stream")


def heard(client: SimClient) -> EventSource:
    """The events that a page has received so far."""
    (response,) = parse_responses(bytes(client.received), ["GET"], closed=False)
    assert response.status == 200
    return read(response.body)


class Watched:
    """An asynchronous generator with pauses before its items, which notes its end."""

    def __init__(self, *steps: tuple[float, Any]) -> None:
        self.steps = steps
        self.ended = 0

    async def stream(self) -> AsyncIterator[Any]:
        try:
            for pause, item in self.steps:
                await sleep(pause)
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.ended += 1


@simulated
def test_a_stream_its_head_and_its_items() -> None:
    items = [Event("a", id="1"), "b", {"c": 1}]
    late = Watched(*((0, one) for one in items))
    for source in (lambda: iter(items), lambda: items, late.stream):
        world = World(lambda request, source=source: events(source(), retry=2500))  # type: ignore[misc]
        client = world.client(ASK)
        world.run(1)
        (response,) = parse_responses(bytes(client.received), ["GET"], closed=False)
        assert response.whole
        assert response.fields["content-type"] == "text/event-stream"
        assert response.fields["cache-control"] == "no-cache"
        assert response.fields["x-accel-buffering"] == "no"
        assert heard(client).retry == 2500
        assert heard(client).events == [
            ("message", "a", "1"),
            ("message", "b", "1"),
            ("message", '{"c":1}', "1"),
        ]


@simulated
def test_heartbeats_come_in_silence_and_leave_the_source_alone() -> None:
    watched = Watched((1, "first"), (100, "second"), (1, "third"))
    world = World(lambda request: events(watched.stream()))
    client = world.client(ASK)
    world.run(1 + HEARTBEAT_SECONDS - 0.5)
    assert (heard(client).comments, len(heard(client).events)) == (0, 1)
    world.run(1)
    assert heard(client).comments == 1
    world.run(95 - HEARTBEAT_SECONDS)
    assert heard(client).comments == 6
    assert watched.ended == 0
    world.run(20)
    assert [data for _, data, _ in heard(client).events] == ["first", "second", "third"]
    assert heard(client).comments == 6
    assert watched.ended == 1
    client.close()
    world.run(5)
    world.invariants.check_rest()


@simulated
@pytest.mark.parametrize(("heartbeat", "comments"), [(0, 0), (0.5, 199), (30, 3), (1000, 0)])
def test_other_heartbeats(heartbeat: float, comments: int) -> None:
    watched = Watched((99.9, "late"))
    world = World(lambda request: events(watched.stream(), heartbeat=heartbeat))
    client = world.client(ASK)
    world.run(110)
    assert heard(client).comments == comments
    assert heard(client).events == [("message", "late", "")]


@simulated
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("heartbeat", [0, 15])
@pytest.mark.parametrize("gzip", [True, False])
def test_a_client_that_leaves_closes_the_source(how: str, heartbeat: float, gzip: bool) -> None:
    watched = Watched((0.5, "x"), (1000, "y"))
    channel: Broadcast[str] = Broadcast()

    def handler(request: BaseRequest) -> Any:
        source = watched.stream() if request.target == "/" else channel.subscribe()
        response = events(source, heartbeat=heartbeat)
        return compress(request, response) if gzip else response

    world = World(handler)
    clients = [
        world.client(request_bytes(target, "Accept-Encoding: gzip")) for target in ("/", "/channel")
    ]
    world.run(1)
    assert (watched.ended, len(channel)) == (0, 1)
    for client in clients:
        getattr(client, how)()
    world.run(12)  # a FIN alone only half-closes
    assert (watched.ended, len(channel)) == (1, 0)
    world.invariants.check_rest()


@simulated
def test_a_stream_that_never_begins_closes_its_source() -> None:
    channel: Broadcast[str] = Broadcast()
    closed: list[str] = []

    class Plain(Iterator[str]):
        def __next__(self) -> str:
            raise AssertionError("nobody asks")

        def close(self) -> None:
            closed.append("closed")

    world = World(lambda request: events(channel.subscribe() if request.target == "/" else Plain()))
    for target in ("/", "/plain"):
        world.client(request_bytes(target, method="HEAD"))
    world.run(1)
    assert (len(channel), closed) == (0, ["closed"])


@simulated
@pytest.mark.parametrize("wrong", [ValueError("mine"), 7, b"bytes", None, {"x": float("nan")}])
@pytest.mark.parametrize("heartbeat", [0, 15])
def test_a_failing_source_resets_the_connection(
    heartbeat: float, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    watched = Watched((1, "x"), (1, wrong), (1, "y"))
    world = World(lambda request: events(watched.stream(), heartbeat=heartbeat))
    client = world.client(ASK)
    world.run(10)
    assert heard(client).events == [("message", "x", "")]
    assert client.end == "reset"
    assert watched.ended == 1
    assert "in the middle of its response" in caplog.text


@simulated
def test_a_client_that_does_not_read_is_dropped_by_its_broadcast(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    channel: Broadcast[Event] = Broadcast(backlog=10)
    world = World(lambda request: events(channel.subscribe()))
    world.client(ASK, reads=False, buffers=SMALL_BUFFERS)
    quick = world.client(ASK)
    for number in range(200):
        channel.publish(Event("x" * 5000, id=str(number)))
        world.run(0.05)
    assert len(channel) == 1
    assert heard(quick).last_id == "199"
    world.run(30)
    assert world.server.connections == 1


@simulated
def test_each_event_arrives_at_once_even_compressed() -> None:
    watched = Watched((1, "first"), (30, {"n": 2}))

    def handler(request: BaseRequest) -> Any:
        return compress(request, events(watched.stream()))

    world = World(handler)
    client = world.client(request_bytes("/", "Accept-Encoding: gzip"))

    def page() -> EventSource:
        (response,) = parse_responses(bytes(client.received), ["GET"], closed=False)
        assert response.fields["content-encoding"] == "gzip"
        return read(zlib.decompressobj(31).decompress(response.body))

    world.run(1.2)
    assert [data for _, data, _ in page().events] == ["first"]
    world.run(HEARTBEAT_SECONDS)
    assert page().comments == 1
    world.run(HEARTBEAT_SECONDS)
    assert [data for _, data, _ in page().events] == ["first", '{"n":2}']


@pytest.mark.slow
@simulated
def test_a_thousand_clients_and_an_event_a_second() -> None:
    channel: Broadcast[Event] = Broadcast()
    world = World(lambda request: events(channel.subscribe()))
    clients = []
    for _ in range(1000):
        client = SimClient(world.network, world.listener, "client")
        client.connect()
        client.send(ASK)
        world.network.start(client.reading())
        clients.append(client)
    world.run_until(lambda: len(channel) == 1000)
    for number in range(5):
        channel.publish(Event({"number": number}, id=str(number)))
        world.run(1)
    for client in clients:
        assert [ident for _, _, ident in heard(client).events] == list("01234")
        client.close()
    world.run(15)
    assert len(channel) == 0
    world.invariants.check_rest()


# --- costs ---------------------------------------------------------------------------------------

EVENT_FRAMES = 80  # for an event to one client among many, with its heartbeat


def test_frames_and_system_calls_of_an_event(bench: Callable[[Handler], Bench]) -> None:
    """An event costs one send, a limited number of frames, and no timer."""
    channel: Broadcast[Event] = Broadcast()
    one = bench(lambda request: events(channel.subscribe()))
    clients = [one.connect() for _ in range(50)]
    try:
        for client in clients:
            client.send(ASK)
        for _ in range(5):
            one.turn()

        def tell() -> None:
            channel.publish(event)
            while one.server.reactor._soon or one.server.reactor.unflushed:
                one.turn()

        event = Event("hello")
        tell()
        one.calls.clear()
        timers = one.server.reactor.snapshot().timers
        frames = entered(tell)
        assert len(frames) / len(clients) <= EVENT_FRAMES, (
            f"{len(frames) / len(clients)}: " + "\n".join(frames[-2 * EVENT_FRAMES :])
        )
        assert one.calls["send"] == len(clients)
        assert one.calls["recv"] == one.calls["modify"] == 0
        assert len(one.server.reactor.snapshot().timers) == len(timers)
        for client in clients:
            assert client.recv(65536).count(event.encoded) == 2
    finally:
        for client in clients:
            client.close()


@pytest.mark.slow
def test_streams_leave_no_cyclic_garbage(bench: Callable[[Handler], Bench]) -> None:
    channel: Broadcast[str] = Broadcast()
    one = bench(lambda request: events(channel.subscribe()))

    def come_and_go() -> None:
        client = one.connect()
        client.send(ASK)
        one.turn()
        channel.publish("x")
        for _ in range(4):
            one.turn()
        assert client.recv(65536).endswith(b"data: x\n\n\r\n")
        client.setsockopt(*RESET)
        client.close()
        for _ in range(6):
            one.turn()

    come_and_go()
    with Cycles():
        for _ in range(30):
            come_and_go()
        assert len(channel) == 0
        one.server.reactor.compact()


def test_the_response_is_an_ordinary_one() -> None:
    response = events([])
    assert isinstance(response, Response)
    assert response.status == 200
