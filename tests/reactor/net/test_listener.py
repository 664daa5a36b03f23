"""Listening sockets: addresses and accepting."""

import errno
import socket
from typing import Any, cast

import pytest

from reactor.loop.describe import describe
from reactor.loop.reactor import Reactor
from reactor.net.arrivals import CONNECTS_PER_TURN, WAITING
from reactor.net.binding import bind_hosts
from reactor.net.listener import (
    ACCEPT_PAUSE,
    ACCEPTS_PER_TURN,
    REFUSALS_PER_TURN,
    Listener,
)
from tests.support.fake_loop import LoopWorld

pytestmark = pytest.mark.system


class Listening:
    """A listening socket whose accepts the test decides: errors, or clients."""

    def __init__(self, *waiting: object) -> None:
        self.waiting = [*waiting]
        self.closed = False

    def accept(self) -> tuple[Any, Any]:
        if not self.waiting:
            raise BlockingIOError
        client = self.waiting.pop(0)
        if isinstance(client, OSError):
            raise client
        return client, ("192.0.2.1", 1)

    def getsockname(self) -> tuple[str, int]:
        return ("192.0.2.2", 80)

    def fileno(self) -> int:
        return -1 if self.closed else 7

    def close(self) -> None:
        self.closed = True


class Accepted:
    """A client's socket."""

    blocking = True
    closed = False

    def fileno(self) -> int:
        return 7

    def close(self) -> None:
        self.closed = True

    def setblocking(self, blocking: bool) -> None:
        self.blocking = blocking


class Acceptor:
    """Keeps the clients in `seen`; those that are refused are in a tuple."""

    def __init__(self, seen: list[Any], room: int = 0) -> None:
        self._seen = seen
        self.room = room
        self.room_for_clients = True

    def connect(self, client: object, peer: object) -> None:
        self._seen.append(client)

    @property
    def lasting(self) -> int:
        return 1000 if self.room_for_clients else 7

    def refuse(self, client: object, peer: object) -> None:
        self._seen.append((client,))

    def make_room(self, error: OSError) -> bool:
        self.room -= 1
        return self.room >= 0

    def keep_room(self) -> None:
        self._seen.append("kept")


def listen(world: LoopWorld, *waiting: object, room: int = 0) -> tuple[Listener, Listening]:
    """A listener that keeps what it connects in `world.seen`."""
    listening = Listening(*waiting)
    acceptor = Acceptor(world.seen, room)
    listener = Listener(world.reactor, cast(socket.socket, listening), acceptor)
    return listener, listening


# --- accepting -----------------------------------------------------------------------------------


def test_accepted_sockets_do_not_block(world: LoopWorld) -> None:
    clients = [Accepted(), Accepted()]
    listener, _ = listen(world, *clients)
    assert listener.address == ("192.0.2.2", 80)
    listener.on_events(1)
    assert world.seen == clients
    assert [client.blocking for client in clients] == [False, False]


def test_logs_name_a_listener_by_its_address(world: LoopWorld) -> None:
    listener, _ = listen(world)
    assert describe(listener.on_events) == "the listener on 192.0.2.2, port 80"


def test_a_turn_accepts_and_connects_a_limited_number(world: LoopWorld) -> None:
    """The newest and the oldest by turns: a client that comes now waits for no crowd."""
    clients = [Accepted() for _ in range(ACCEPTS_PER_TURN + 1)]
    listener, listening = listen(world, *clients)
    listener.on_events(1)
    assert len(listening.waiting) == 1
    last = len(clients) - 2
    assert world.seen[:4] == [clients[last], clients[0], clients[last - 1], clients[1]]
    assert len(world.seen) == CONNECTS_PER_TURN
    listener.on_events(1)  # between slices, for instance
    assert len(world.seen) == CONNECTS_PER_TURN, "the turn of the others is queued already"
    world.reactor.run_once(0)
    assert world.seen[CONNECTS_PER_TURN] is clients[-1], "the newest"
    assert len(world.seen) == 2 * CONNECTS_PER_TURN
    while len(world.seen) < len(clients):
        world.reactor.run_once(0)
    assert {*world.seen} == {*clients}


def test_the_kernel_keeps_clients_that_find_no_room(world: LoopWorld) -> None:
    listener, listening = listen(world, *(Accepted() for _ in range(2 * WAITING)))
    for _ in range(2 * WAITING // ACCEPTS_PER_TURN):
        listener.on_events(1)
    assert len(listening.waiting) + len(world.seen) + WAITING == 2 * WAITING
    listener.on_events(1)
    assert len(listening.waiting) + len(world.seen) + WAITING == 2 * WAITING


def test_a_listener_that_finishes_connects_all(world: LoopWorld) -> None:
    clients = [Accepted() for _ in range(3 * ACCEPTS_PER_TURN)]
    listener, _ = listen(world, *clients)
    listener.on_events(1)
    listener.finish()
    assert {*world.seen} == {*clients}
    world.reactor.run_once(0)
    assert len(world.seen) == len(clients)


def test_a_listener_that_closes_closes_the_clients_that_wait(world: LoopWorld) -> None:
    clients = [Accepted() for _ in range(ACCEPTS_PER_TURN)]
    listener, _ = listen(world, *clients)
    listener.on_events(1)
    listener.close()
    assert [one for one in clients if not one.closed] == [
        one for one in clients if one in world.seen
    ]


def test_the_error_of_one_client_does_not_affect_the_next(world: LoopWorld) -> None:
    client = Accepted()
    listener, _ = listen(world, OSError(errno.ECONNABORTED, "aborted"), client)
    listener.on_events(1)
    assert world.seen == [client]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_the_listener_pauses(
    world: LoopWorld, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    client = Accepted()
    listener, listening = listen(world, OSError(number, "none left"), client)
    listener.on_events(1)
    assert listening not in world.selector.keys
    assert caplog.messages == ["Cannot accept connections: none left; trying again in 0.1 s"]
    listener.on_events(1)  # between slices, for instance
    assert world.seen == []
    world.reactor.run_once(10 * ACCEPT_PAUSE)
    assert listening in world.selector.keys
    listener.on_events(1)
    assert world.seen == [client]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_clients_are_refused_where_there_is_room_for_that_alone(
    world: LoopWorld, number: int
) -> None:
    one, two, three = Accepted(), Accepted(), Accepted()
    error = OSError(number, "none left")
    listener, listening = listen(world, error, one, two, error, three, error, room=2)
    listener.on_events(1)
    assert world.seen == [(one,), (three,), two]
    assert not one.blocking
    assert listening not in world.selector.keys  # the third error found no room


def test_a_turn_refuses_a_few(world: LoopWorld) -> None:
    """A refused client may be back at once, and would hold the loop."""
    error = OSError(errno.EMFILE, "none left")
    waiting = [one for _ in range(100) for one in (error, Accepted())]
    listener, listening = listen(world, *waiting, room=1000)
    listener.on_events(1)
    assert len(world.seen) == REFUSALS_PER_TURN
    listening.waiting = [Accepted() for _ in range(100)]
    listener._acceptor.room_for_clients = False  # type: ignore[attr-defined]
    listener.on_events(1)
    assert len(world.seen) == 2 * REFUSALS_PER_TURN


def test_room_is_kept_that_no_client_has_come_into(world: LoopWorld) -> None:
    error, gone = OSError(errno.EMFILE, "none left"), OSError(errno.ECONNABORTED, "gone")
    listener, listening = listen(world, error, gone, room=5)
    listener.on_events(1)
    assert world.seen == ["kept"]
    assert listening in world.selector.keys
    client = Accepted()
    listening.waiting = [error, gone, client]
    listener.on_events(1)
    assert world.seen == ["kept", (client,)]


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM])
def test_a_descriptor_less_is_no_help_where_memory_lacks(world: LoopWorld, number: int) -> None:
    listener, listening = listen(world, OSError(number, "none left"), Accepted(), room=5)
    listener.on_events(1)
    assert world.seen == []
    assert listening not in world.selector.keys


def test_a_closed_listener_does_not_listen_again(world: LoopWorld) -> None:
    listener, listening = listen(world, OSError(errno.EMFILE, "none left"), Accepted())
    listener.on_events(1)
    listener.close()
    assert listening.closed
    assert world.reactor.urgent == []
    world.reactor.run_once(10 * ACCEPT_PAUSE)
    assert listening not in world.selector.keys
    assert world.seen == []


# --- on a real loop ------------------------------------------------------------------------------


def test_a_listener_on_a_real_loop(no_leaks: None) -> None:
    reactor = Reactor()
    accepted: list[socket.socket] = []
    (bound,) = bind_hosts([("127.0.0.1", 0)], 16)
    bound.setblocking(False)
    listener = Listener(reactor, bound, Acceptor(accepted))
    with socket.create_connection(listener.address) as client:
        reactor.run_once(10)
        assert accepted[0].getpeername() == client.getsockname()
    accepted[0].close()
    listener.close()
    reactor.close()
