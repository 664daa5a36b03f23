"""A transport's bulk work: sending when there is room again, and the ends of its peer.

The selector and the socket are the test's, so each turn has exactly the events that it names.
"""

import contextlib
import socket
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector, SelectorKey
from typing import Any

import pytest

from reactor.errors import ProtocolError
from reactor.loop.reactor import Reactor
from reactor.loop.timers import NEVER
from reactor.net.pacing import FAST_SECONDS, NEW, STEADY
from reactor.net.stream import (
    BROKEN,
    CLOSED,
    ENDED,
    FINISHED,
    INPUT_OPEN,
    OUTPUT_OPEN,
    UNREGISTERED,
)
from reactor.net.transport import REPORTS, Transport
from tests.support.worlds import Clock, Selector

BOTH = EVENT_READ | EVENT_WRITE


class Interests(Selector):
    """Knows an empty interest, as epoll does, or none, as kqueue does."""

    def __init__(self, clock: Clock, knows_none: bool) -> None:
        super().__init__(clock)
        self.knows_none = knows_none
        self.changes: list[int] = []

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        if not events:
            raise ValueError("no events")
        assert fileobj not in self.keys
        self.changes.append(events)
        self.keys[fileobj] = SelectorKey(fileobj, 0, events, data)
        return self.keys[fileobj]

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        if not events and not self.knows_none:
            self.unregister(fileobj)
            raise ValueError("no events")
        self.unregister(fileobj)
        self.changes.append(events)
        self.keys[fileobj] = SelectorKey(fileobj, 0, events, data)
        return self.keys[fileobj]


class Socket(socket.socket):
    """Has as much room, and as many bytes, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.room = 0
        self.sends: list[int] = []
        self.incoming: list[bytes | OSError] = []
        self.fails = False

    def send(self, data: Any, flags: int = 0) -> int:
        if self.fails:
            raise ConnectionResetError
        count = min(len(data), self.room)
        if not count:
            raise BlockingIOError
        self.room -= count
        self.sends.append(count)
        return count

    def recv(self, *_: Any) -> bytes:
        if not self.incoming:
            raise BlockingIOError
        data = self.incoming.pop(0)
        if isinstance(data, OSError):
            raise data
        return data


class Owner:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def data_received(self, data: bytes) -> None:
        self.calls.append("data")

    def eof_received(self) -> None:
        self.calls.append("eof")

    def output_flushed(self) -> None:
        self.calls.append("flushed")

    def refuse(self, error: ProtocolError) -> None:
        raise AssertionError("only TLS refuses a peer") from error

    def deadline_passed(self) -> None:
        self.calls.append("deadline")

    def connection_lost(self) -> None:
        self.calls.append("lost")


class World:
    def __init__(self, knows_none: bool) -> None:
        self.clock = Clock()
        self.selector = Interests(self.clock, knows_none)
        self.reactor = Reactor(self.selector, self.clock)
        self.socket = Socket()
        self.owner = Owner()
        self.transport = Transport(self.reactor, self.socket, ("test", 0))
        self.transport.open(self.owner)
        self.selector.changes.clear()

    @property
    def interest(self) -> int:
        key = self.selector.keys.get(self.socket)
        return UNREGISTERED if key is None else key.events

    def block(self) -> None:
        """Leave 1,000 bytes unsent."""
        self.socket.room = 0
        self.transport.write(bytes(1000))
        self.turn()
        assert self.interest & EVENT_WRITE
        self.selector.changes.clear()
        self.owner.calls.clear()

    def turn(self, *masks: int) -> None:
        for mask in masks:
            self.selector.make_ready(self.transport, mask)
        self.reactor.run_once(0)

    def events(self, mask: int) -> None:
        """The phases before `bulk`, of a turn whose slice is used up by others."""
        self.transport.on_events(mask)
        self.reactor._flush()
        self.reactor._run_soon()


@pytest.fixture(params=[True, False], ids=["epoll", "kqueue"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(request.param)
    yield world
    world.transport.abort()
    world.reactor.close()


# --- room ----------------------------------------------------------------------------------------


def test_room_is_used_in_the_bulk_phase(world: World) -> None:
    world.block()
    world.socket.room = 400
    world.events(EVENT_WRITE)
    assert world.socket.sends == []
    assert world.owner.calls == []
    world.turn()
    assert world.socket.sends == [400]
    assert world.owner.calls == ["flushed"]
    assert world.interest == BOTH


def test_the_second_report_asks_for_no_second_turn(world: World) -> None:
    world.block()
    for _ in range(3):
        world.events(EVENT_WRITE)
    assert len(world.reactor.bulk) == 1
    world.socket.room = 10_000
    world.turn()
    assert world.socket.sends == [1000]
    assert world.owner.calls == ["flushed"]
    assert world.interest == EVENT_READ
    world.block()
    world.events(EVENT_WRITE)
    assert len(world.reactor.bulk) == 1, "the next time it asks again"


def test_useless_reports_are_ended_and_come_back(world: World) -> None:
    world.block()
    for number in range(1, REPORTS + 1):
        assert world.interest == BOTH
        world.events(EVENT_WRITE)
        assert len(world.reactor.bulk) == 1, number
    assert world.interest == EVENT_READ
    world.socket.incoming.append(b"more")
    world.events(EVENT_READ)
    assert world.owner.calls == ["data"], "it is read all the while"
    assert world.interest == EVENT_READ
    world.socket.room = 1
    world.turn()
    assert world.socket.sends == [1]
    assert world.interest == BOTH
    assert world.selector.changes == [EVENT_READ, BOTH]


def test_reports_of_a_paused_transport_end_and_come_back(world: World) -> None:
    """Nothing is waited for in between: kqueue and select know no such interest."""
    world.transport.pause()
    world.block()
    assert world.interest == EVENT_WRITE
    for _ in range(REPORTS):
        world.events(EVENT_WRITE)
    assert world.interest == (0 if world.selector.knows_none else UNREGISTERED)
    assert world.transport.snapshot().interest == world.interest
    world.transport.resume()
    world.events(EVENT_READ)
    assert world.interest == EVENT_READ
    world.transport.pause()
    world.reactor._flush()
    world.turn()
    assert world.interest == EVENT_WRITE
    world.socket.room = 1000
    world.turn(EVENT_WRITE)
    assert world.transport.unsent == 0
    assert world.interest in (0, UNREGISTERED)
    world.transport.resume()
    world.turn()
    assert world.interest == EVENT_READ


def test_a_reset_is_noticed_while_nothing_is_waited_for(world: World) -> None:
    """epoll reports it with none of the wanted bits; elsewhere the send in the bulk phase fails."""
    world.transport.pause()
    world.block()
    for _ in range(REPORTS):
        world.events(EVENT_WRITE)
    if world.selector.knows_none:
        world.events(0)
        assert world.interest == UNREGISTERED
    else:
        world.socket.fails = True
    for _ in range(3):
        world.turn()
    assert world.owner.calls == ["lost"]
    assert not world.reactor.bulk


def test_bytes_written_meanwhile_leave_behind_the_rest(world: World) -> None:
    world.block()
    world.events(EVENT_WRITE)
    world.transport.write(b"x" * 500)
    world.reactor._flush()
    assert world.socket.sends == []
    world.socket.room = 10_000
    world.turn()
    assert sum(world.socket.sends) == 1500
    assert world.owner.calls == ["flushed"]


def test_a_transport_that_is_closed_in_between_does_nothing(world: World) -> None:
    world.block()
    world.events(EVENT_WRITE)
    world.transport.close()
    world.socket.room = 10_000
    world.turn()
    assert world.socket.sends == []
    assert world.owner.calls == ["lost"]
    assert not world.reactor.bulk


def test_a_flush_that_empties_the_queue_in_between_is_no_harm(world: World) -> None:
    """As `finish` of a connection does; the report that follows is the end of waiting."""
    world.block()
    world.socket.room = 10_000
    world.events(EVENT_WRITE)
    world.transport.flush()
    assert world.socket.sends == [1000]
    world.turn()
    assert world.socket.sends == [1000]
    assert world.interest == EVENT_READ
    assert world.owner.calls == ["flushed"]


def test_the_pace_is_that_of_the_report_and_not_of_the_bulk_turn(world: World) -> None:
    """A peer that is quick is so, however long its turn is waited for; and the other way round."""
    world.block()
    assert world.transport.pace is NEW
    world.clock.time += FAST_SECONDS / 2
    world.reactor.now = world.clock.time
    world.events(EVENT_WRITE)
    assert world.transport.pace is STEADY
    world.clock.time += 100
    world.reactor.now = world.clock.time
    world.events(EVENT_WRITE)
    world.turn()
    assert world.transport.pace is STEADY


def test_a_slow_peer_stays_slow_where_its_bulk_turn_is_at_once(world: World) -> None:
    world.block()
    world.clock.time += 2 * FAST_SECONDS
    world.turn(EVENT_WRITE)
    assert world.transport.pace is NEW


# --- ends ----------------------------------------------------------------------------------------


def test_a_fin_is_handled_in_the_bulk_phase_and_not_read_again(world: World) -> None:
    world.socket.incoming.append(b"")
    world.events(EVENT_READ)
    assert world.transport.input is ENDED
    assert not world.interest & EVENT_READ or world.interest == UNREGISTERED
    assert world.owner.calls == []
    world.transport.on_events(EVENT_READ)  # as in a turn that had begun
    world.turn()
    assert world.owner.calls == ["eof"]
    world.turn()
    assert world.owner.calls == ["eof"]


@pytest.mark.parametrize("order", ["client's first", "ours first"])
def test_both_fins_are_no_lost_peer_while_others_have_the_bulk_phase(order: str) -> None:
    """Then epoll reports EPOLLHUP, a mask of 0 for us, in each turn until the socket is closed."""
    ours, client = socket.socketpair()
    ours.setblocking(False)
    reactor = Reactor(DefaultSelector())
    owner = Owner()
    transport = Transport(reactor, ours, ("test", 0))

    def turn() -> None:
        """The phases before `bulk`."""
        for key, mask in reactor.selector.select(0):
            if key.data is transport:  # and not the reactor's waker
                transport.on_events(mask)
        reactor._flush()
        reactor._run_soon()

    with client, contextlib.closing(reactor):
        transport.open(owner)
        transport.write(b"response")
        if order == "ours first":
            transport.finish()
            turn()
        client.shutdown(socket.SHUT_WR)
        turn()
        transport.finish()
        for _ in range(3):
            turn()
        assert owner.calls == []
        assert transport.snapshot().output is FINISHED
        reactor.run_once(0)
        assert owner.calls == ["eof"]
        transport.close()
        assert client.recv(100) == b"response"
        assert client.recv(100) == b""


@pytest.mark.parametrize("closes", [True, False])
def test_a_transport_that_ends_before_its_peers_fin_is_handled(world: World, closes: bool) -> None:
    world.socket.incoming.append(b"")
    world.events(EVENT_READ)
    if closes:
        world.transport.close()
    else:
        world.transport.abort()
    world.turn()
    assert world.owner.calls == ["lost"]


@pytest.mark.parametrize("how", ["a read", "nothing wanted", "a send"])
def test_a_lost_peer_is_unwatched_at_once_and_ends_in_the_bulk_phase(
    world: World, how: str
) -> None:
    world.transport.set_deadline(world.clock.time + 10)
    if how == "a send":
        world.socket.fails = True
        world.transport.write(b"x")
        world.reactor._flush()
    else:
        world.socket.incoming.append(ConnectionResetError())
        world.transport.on_events(EVENT_READ if how == "a read" else 0)
    assert world.interest == UNREGISTERED
    assert world.transport.snapshot().output is BROKEN
    assert world.transport.deadline == NEVER
    assert world.transport.unsent == 0
    assert world.owner.calls == []
    world.transport.write(b"into the void")
    world.reactor._flush()
    assert world.transport.unsent == 0
    assert world.interest == UNREGISTERED
    world.turn()
    assert world.owner.calls == ["lost"]
    assert world.transport.snapshot().output is CLOSED
    world.clock.time += 100
    world.turn()
    assert world.owner.calls == ["lost"]


def test_a_send_that_fails_in_the_bulk_phase_reports_nothing_as_sent(world: World) -> None:
    world.block()
    world.socket.fails = True
    world.turn(EVENT_WRITE)
    world.turn()
    assert world.owner.calls == ["lost"]


def test_room_and_loss_in_one_turn_end_once(world: World) -> None:
    world.block()
    world.socket.incoming += [ConnectionResetError()]
    world.events(BOTH)
    assert world.interest == UNREGISTERED
    world.turn(EVENT_WRITE, 0)
    world.turn()
    assert world.owner.calls == ["lost"]
    assert not world.reactor.bulk


def test_a_new_transport_is_open(world: World) -> None:
    state = world.transport.snapshot()
    assert (state.input, state.output, world.interest) == (INPUT_OPEN, OUTPUT_OPEN, EVENT_READ)
