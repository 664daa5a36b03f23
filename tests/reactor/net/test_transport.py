"""One socket on a real selector: turns, interest, backpressure, and the two ways to end."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.errors import ProtocolError
from reactor.files.file import File
from reactor.files.region import FileRegion
from reactor.loop.reactor import Reactor
from reactor.loop.timers import NEVER
from reactor.net import transport as transport_module
from reactor.net.pacing import (
    FAST,
    FAST_SECONDS,
    NEW,
    SLOW_SECONDS,
    STEADY,
    TURN_BYTES,
)
from reactor.net.send_queue import JOIN_BYTES
from reactor.net.stream import (
    CLOSED,
    ENDED,
    FINISHING,
    INPUT_OPEN,
    OUTPUT_OPEN,
    PAUSED,
    UNREGISTERED,
)
from reactor.net.transport import Transport

pytestmark = pytest.mark.system


class Owner:
    """A protocol that keeps its calls, and does what the test wants."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = b""
        self.on_data: Callable[[bytes], object] = lambda data: None
        self.on_flushed: Callable[[], object] = lambda: None

    def data_received(self, data: bytes) -> None:
        self.calls.append("data")
        self.data += data
        self.on_data(data)

    def eof_received(self) -> None:
        self.calls.append("eof")

    def output_flushed(self) -> None:
        self.calls.append("flushed")
        self.on_flushed()

    def refuse(self, error: ProtocolError) -> None:
        raise AssertionError("only TLS refuses a peer") from error

    def deadline_passed(self) -> None:
        self.calls.append("deadline")

    def connection_lost(self) -> None:
        self.calls.append("lost")


class World:
    def __init__(self) -> None:
        self.reactor = Reactor()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.socket()
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.client.connect(listening.getsockname())
            self.socket, peer = listening.accept()
        self.client.settimeout(10)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.owner = Owner()
        self.transport = Transport(self.reactor, self.socket, peer)
        self.transport.open(self.owner)

    def turn(self) -> None:
        self.reactor.run_once(0.2)

    def interest(self) -> int:
        return self.reactor.selector.get_key(self.socket).events

    def fill(self) -> None:
        """Write until the kernel takes no more."""
        while not self.transport.unsent:
            self.transport.write(bytes(100_000))
            self.turn()

    def reset(self) -> None:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.client.close()


@pytest.fixture
def world(no_leaks: None) -> Iterator[World]:
    world = World()
    yield world
    world.transport.abort()
    world.client.close()
    world.reactor.close()


def test_one_recv_a_turn_and_written_bytes_leave_at_its_end(world: World) -> None:
    world.owner.on_data = lambda data: world.transport.write(data.upper())
    world.client.sendall(b"hello")
    world.turn()
    assert world.client.recv(100) == b"HELLO"
    assert world.owner.calls == ["data"]  # nothing is called back from a write


def test_bytes_written_outside_a_turn_leave_too(world: World) -> None:
    """By a timer or a thread's result: the transport is marked, and flushed in this turn."""
    world.reactor.call_soon(world.transport.write, b"later")
    world.turn()
    assert world.client.recv(100) == b"later"


def test_interest_follows_from_what_is_waited_for(world: World) -> None:
    assert world.interest() == EVENT_READ
    world.transport.pause()
    assert world.interest() == EVENT_READ  # until the end of the turn
    world.turn()
    assert world.interest() == 0
    world.fill()
    assert world.interest() == EVENT_WRITE
    world.transport.resume()
    world.turn()
    assert world.interest() == EVENT_READ | EVENT_WRITE
    world.client.settimeout(0.05)
    while world.transport.unsent:
        try:
            world.client.recv(1 << 20)
        except TimeoutError:
            pass
        world.turn()
    assert world.interest() == EVENT_READ


def test_pausing_and_resuming_within_a_turn_costs_no_system_call(world: World) -> None:
    calls: list[int] = []
    modify = world.reactor.selector.modify
    world.reactor.selector.modify = lambda *a: calls.append(1) or modify(*a)  # type: ignore
    world.transport.pause()
    world.transport.resume()
    world.turn()
    assert calls == []


def test_a_paused_transport_does_not_read(world: World) -> None:
    world.transport.pause()
    world.turn()
    world.client.sendall(b"hello")
    world.turn()
    assert world.owner.data == b""
    assert world.transport.input is PAUSED
    world.transport.resume()
    world.turn()
    world.turn()
    assert world.owner.data == b"hello"
    assert world.transport.input is INPUT_OPEN


def test_a_fin_is_reported_once_and_reading_ends(world: World) -> None:
    world.client.sendall(b"last words")
    world.client.shutdown(socket.SHUT_WR)
    for _ in range(4):
        world.turn()
    assert world.owner.calls == ["data", "eof"]
    assert world.transport.input is ENDED
    assert world.interest() == 0
    world.transport.write(b"still here")
    world.turn()
    assert world.client.recv(100) == b"still here"


def test_a_turn_sends_no_more_than_its_share(world: World) -> None:
    world.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    world.transport.write(bytes(2 * TURN_BYTES))
    world.transport.flush()
    assert world.transport.unsent >= TURN_BYTES


@pytest.fixture
def lowat(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The TCP_NOTSENT_LOWAT values that the transport sets."""
    limits: list[int] = []
    monkeypatch.setattr(transport_module, "limit_unsent", lambda _, most: limits.append(most))
    return limits


def is_fast(world: World) -> bool:
    return world.transport.pace is FAST


def drain(world: World) -> None:
    while world.transport.unsent:
        world.client.recv(1 << 20)
        world.turn()


def send_zeros(world: World, path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
    world.transport.write(FileRegion(File(os.open(path, os.O_RDONLY), size), 0, size))
    world.turn()


def test_a_peer_that_takes_a_file_fast_is_given_more_at_a_time(
    world: World, tmp_path: Path, lowat: list[int]
) -> None:
    """Until it is slow, or something other than a file is sent."""
    now = [0.0]
    world.reactor.clock = lambda: now[0]
    send_zeros(world, tmp_path / "file", 8 << 20)
    assert not is_fast(world)
    for seconds, fast in (
        (FAST_SECONDS, False),
        (FAST_SECONDS - 0.001, True),
        (SLOW_SECONDS - 0.001, True),
        (SLOW_SECONDS, False),
        (0.001, True),
    ):
        blocked_since = world.transport._blocked_since
        while world.transport._blocked_since == blocked_since:
            now[0] = blocked_since + seconds
            world.client.recv(1 << 20)
            world.turn()
        assert is_fast(world) is fast, seconds
        now[0] += 10.0
        world.transport._blocked_since = now[0]
    assert lowat == [FAST.lowat, NEW.lowat, FAST.lowat]
    drain(world)
    world.fill()
    drain(world)
    assert not is_fast(world)
    assert lowat[-1] == STEADY.lowat


@pytest.mark.parametrize(
    ("item", "kernel_takes", "fast"),
    [
        ("file", TURN_BYTES, True),
        ("file", TURN_BYTES - 1, False),
        ("short file", TURN_BYTES, False),
        ("bytes", TURN_BYTES, False),
    ],
)
def test_a_peer_that_takes_a_whole_turn_of_a_file_need_not_block_to_be_fast(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    lowat: list[int],
    item: str,
    kernel_takes: int,
    fast: bool,
) -> None:
    monkeypatch.setattr(Transport, "_sendfile", lambda _, region, count: min(count, kernel_takes))
    if item == "bytes":
        world.transport.write(bytes(TURN_BYTES))
    else:
        length = TURN_BYTES - (item == "short file")
        file = File(os.open(os.devnull, os.O_RDONLY), length)
        world.transport.write(FileRegion(file, 0, length))
    world.transport.flush()
    assert is_fast(world) is fast
    assert lowat == [FAST.lowat] * fast


@pytest.mark.parametrize(
    ("peers", "most"),
    [(1, 4 << 20), (4, 4 << 20), (16, 1 << 20), (64, 1 << 20), (999, 1 << 20)],
)
def test_the_fast_share_what_a_turn_sends(
    world: World, monkeypatch: pytest.MonkeyPatch, peers: int, most: int
) -> None:
    world.transport.pace = FAST
    for _ in range(peers - 1):
        world.reactor.call_bulk(int)
    sent: list[int] = []

    def send(self: Transport, region: FileRegion, count: int) -> int:
        sent.append(count)
        return count

    monkeypatch.setattr(Transport, "_sendfile", send)
    file = File(os.open(os.devnull, os.O_RDONLY), 8 << 20)
    world.transport.write(FileRegion(file, 0, 8 << 20))
    world.transport.flush()
    assert sent == [most]


def test_bytes_arrive_whole_and_in_order(world: World, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(300_000))
    file = File(os.open(path, os.O_RDONLY), 300_000)
    expected = b""
    for number in range(20):
        piece = b"%03d" % number * 5000
        world.transport.write(piece if number % 2 else memoryview(piece))
        expected += piece
    world.transport.write(FileRegion(file, 1000, 250_000))
    expected += path.read_bytes()[1000:251_000]
    world.transport.write(b"end")
    world.transport.finish()
    got = b""
    world.client.settimeout(0.01)
    while True:
        world.reactor.run_once(0)
        try:
            data = world.client.recv(65536)
        except TimeoutError:
            continue
        if not data:
            break
        got += data
    assert got == expected + b"end"
    assert file.closed
    assert "flushed" in world.owner.calls


class Scripted(socket.socket):
    """Takes as many bytes as the test says, and keeps them with their flags."""

    def __init__(self, takes: list[int]) -> None:
        super().__init__()
        self.takes = takes
        self.sent: list[tuple[bytes, int]] = []

    def send(self, data: Any, flags: int = 0) -> int:
        count = min(len(data), self.takes.pop(0) if self.takes else len(data))
        if count <= 0:
            raise BlockingIOError
        self.sent.append((bytes(data[:count]), flags))
        return count


SIZES = st.sampled_from([1, 300, JOIN_BYTES - 1, JOIN_BYTES + 1, 200_000, TURN_BYTES, 400_000])


@given(st.lists(SIZES, min_size=1, max_size=6), st.lists(st.sampled_from([0, 1, 1000, TURN_BYTES])))
def test_bytes_leave_in_order_however_the_kernel_cuts_them(
    sizes: list[int], takes: list[int]
) -> None:
    """And nothing is held back by a flag: a head before a file leaves at once."""
    ours = Scripted(list(takes))
    reactor = Reactor()
    transport = Transport(reactor, ours, ("test", 0))
    try:
        for number, size in enumerate(sizes):
            transport.write(bytes([number + 1]) * size)
        expected = b"".join(bytes([number + 1]) * size for number, size in enumerate(sizes))
        while transport.unsent:
            before = len(ours.sent)
            transport.flush()
            sent = sum(len(data) for data, _ in ours.sent[before:])
            if transport.unsent and sent < TURN_BYTES:
                assert takes, "it was not the kernel that did not take more"
        assert b"".join(data for data, _ in ours.sent) == expected
        assert {flag for _, flag in ours.sent} == {0}
    finally:
        ours.close()
        reactor.close()


def test_short_items_leave_in_one_send(no_leaks: None) -> None:
    ours = Scripted([])
    reactor = Reactor()
    transport = Transport(reactor, ours, ("test", 0))
    for item in (b"one", b"two", memoryview(b"three")):
        transport.write(item)
    transport.flush()
    assert ours.sent == [(b"onetwothree", 0)]
    ours.close()
    reactor.close()


def test_a_file_that_became_shorter_ends_in_a_reset(world: World, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    file = File(os.open(path, os.O_RDONLY), 1000)
    os.truncate(path, 100)
    world.transport.write(FileRegion(file, 0, 1000))
    for _ in range(3):
        world.turn()
    assert world.owner.calls[-1] == "lost"
    with pytest.raises(ConnectionResetError):
        while world.client.recv(1000):
            pass
    assert file.closed


def test_finish_sends_the_rest_and_then_a_fin(world: World) -> None:
    world.transport.write(b"bye")
    world.transport.finish()
    world.transport.write(b"too late")
    world.turn()
    assert world.client.recv(100) == b"bye"
    assert world.client.recv(100) == b""
    world.client.sendall(b"I am still sending")  # the input goes on
    world.turn()
    assert world.owner.data == b"I am still sending"
    assert "lost" not in world.owner.calls


def test_close_and_abort_report_the_end_once(world: World) -> None:
    world.transport.close()
    world.transport.close()
    world.transport.abort()
    assert world.owner.calls == ["lost"]
    assert world.client.recv(1) == b""
    assert [key.data for key in world.reactor.selector.get_map().values()] == [world.reactor.waker]


def test_an_abort_is_a_reset(world: World) -> None:
    world.transport.write(b"half of it")
    world.turn()
    world.transport.abort()
    assert world.owner.calls == ["lost"]
    with pytest.raises(ConnectionResetError):
        while world.client.recv(1000):
            pass


@pytest.mark.parametrize("doing", ["reading", "paused", "sending", "paused and sending", "ended"])
def test_a_reset_is_noticed_in_every_state(world: World, doing: str) -> None:
    if "paused" in doing:
        world.transport.pause()
    if "sending" in doing:
        world.fill()
    if doing == "ended":
        world.client.shutdown(socket.SHUT_WR)
        world.turn()
    world.turn()
    world.reset()
    for _ in range(4):
        world.turn()
    assert world.owner.calls.count("lost") == 1
    assert world.transport.unsent == 0


def test_a_send_that_fails_is_reported_later_and_not_from_within(world: World) -> None:
    world.transport.pause()
    world.turn()
    world.reset()
    world.transport.write(b"into the void")
    world.transport.flush()
    assert "lost" not in world.owner.calls
    world.turn()
    assert world.owner.calls[-1] == "lost"


def test_regions_are_released_in_every_kind_of_end(world: World, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    file = File(os.open(path, os.O_RDONLY), 1000)
    world.fill()
    world.transport.write(FileRegion(file.hold(), 0, 1000))
    world.transport.close()
    world.transport.write(FileRegion(file, 0, 1000))  # it will not be sent
    assert file.closed


def test_deadlines(world: World) -> None:
    world.transport.set_deadline(world.reactor.clock() + 0.02)
    while "deadline" not in world.owner.calls:
        world.turn()
    world.transport.set_deadline(world.reactor.clock() + 0.02)
    world.transport.set_deadline(NEVER)
    world.turn()
    assert world.owner.calls.count("deadline") == 1
    world.transport.set_deadline(world.reactor.clock() + 0.02)
    world.transport.close()
    world.turn()
    assert world.owner.calls.count("deadline") == 1


def test_events_of_a_turn_in_which_it_was_closed(world: World) -> None:
    """They were collected before; the descriptor may belong to another socket by now."""
    world.transport.close()
    calls = list(world.owner.calls)
    world.transport.on_events(EVENT_READ | EVENT_WRITE)
    world.transport.on_events(0)
    world.transport.end_turn()
    assert world.owner.calls == calls


def test_closing_from_within_a_call_of_the_protocol(world: World) -> None:
    world.fill()
    world.owner.on_flushed = world.transport.close
    world.client.sendall(b"x")
    while "lost" not in world.owner.calls:
        world.client.recv(1 << 20)
        world.turn()
    assert world.owner.calls[-1] == "lost"


def test_unacknowledged_bytes_are_counted(world: World) -> None:
    assert world.transport.unacknowledged() == 0
    world.fill()
    assert world.transport.unacknowledged() > 0


def test_a_snapshot_shows_the_state(world: World) -> None:
    fresh = world.transport.snapshot()
    assert fresh.peer == world.client.getsockname()
    assert (fresh.input, fresh.output) == (INPUT_OPEN, OUTPUT_OPEN)
    assert (fresh.unsent, fresh.blocked, fresh.deadline) == (0, False, NEVER)
    assert fresh.interest == EVENT_READ
    world.fill()
    world.transport.pause()
    deadline = world.reactor.clock() + 1000
    world.transport.set_deadline(deadline)
    world.transport.finish()
    world.turn()
    full = world.transport.snapshot()
    assert (full.input, full.output) == (PAUSED, FINISHING)
    assert full.unsent == world.transport.unsent > 0
    assert (full.blocked, full.deadline, full.interest) == (True, deadline, EVENT_WRITE)
    world.transport.abort()
    gone = world.transport.snapshot()
    assert (gone.output, gone.unsent, gone.interest) == (CLOSED, 0, UNREGISTERED)


def test_a_subclass_says_which_exceptions_mean_that_it_would_block(world: World) -> None:
    class WouldBlock(Exception):
        pass

    class Wrapped(Transport):
        would_block = (WouldBlock,)

    class Blocking(socket.socket):
        def recv(self, *_: Any) -> bytes:
            raise WouldBlock

        def send(self, *_: Any) -> int:
            raise WouldBlock

    ours, theirs = socket.socketpair()
    owner = Owner()
    with theirs, Blocking(fileno=ours.detach()) as blocking:
        transport = Wrapped(world.reactor, blocking, ("test", 0))
        transport.open(owner)
        transport.on_events(EVENT_READ)
        transport.write(b"later")
        transport.flush()
        assert (transport.unsent, transport.blocked) == (5, True)
        assert owner.calls == []
        transport.abort()
