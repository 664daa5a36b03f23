"""Clients that have just come: who is connected next, and who is looked at out of turn.

A thousand clients may arrive at once. To accept one is cheap; to make its connection and to serve
its first request costs several times as much. So a listener accepts many in a turn, and Arrivals
connects a few, the newest and the oldest by turns: the newest has not waited behind a thousand
others, and the oldest does not wait for ever.
"""

import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from reactor.loop.reactor import Reactor
from reactor.net.transport import Transport

CONNECTS_PER_TURN: Final = 8  # a client that is refused here may be back within the same turn
WAITING: Final = 1 << 14  # accepted clients; further ones wait in the kernel
LATEST: Final = 64  # connections accepted last, looked at directly while the loop is behind
LATEST_SECONDS: Final = 1.0  # for so long after they were accepted


class Arrivals:
    """The accepted clients that have no connection yet. The sockets are its own until then."""

    def __init__(
        self, reactor: Reactor, connect: Callable[[socket.socket, tuple[Any, ...]], object]
    ) -> None:
        self._reactor = reactor
        self._connect = connect
        self._waiting: deque[tuple[socket.socket, tuple[Any, ...]]] = deque()
        self._turn_queued = False

    @property
    def room(self) -> int:
        """How many more may be added."""
        return WAITING - len(self._waiting)

    def add(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Add a client that was accepted; `connect_some` has to follow."""
        self._waiting.append((client, peer))

    def connect_some(self) -> None:
        """Connect a few, unless that comes in this turn anyway; the others follow turn by turn."""
        if not self._turn_queued:
            self._take_turn()

    def connect_all(self) -> None:
        """Connect all of them, in the order of their coming."""
        while self._waiting:
            self._connect(*self._waiting.popleft())

    def close(self) -> None:
        """Close those that wait."""
        while self._waiting:
            self._waiting.popleft()[0].close()

    def _take_turn(self) -> None:
        self._turn_queued = False
        waiting = self._waiting
        if len(waiting) <= CONNECTS_PER_TURN:
            self.connect_all()
            return
        for number in range(CONNECTS_PER_TURN):
            self._connect(*(waiting.popleft() if number % 2 else waiting.pop()))
        self._turn_queued = True
        self._reactor.call_soon(self._take_turn)


class LatestConnections:
    """The connections accepted last that have not sent anything yet.

    While the loop is behind, they would wait for all sockets that were ready before them. Each is
    dropped from here with its first bytes: connections that were looked at again and again would
    be served before all others.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._latest: deque[tuple[Transport, float]] = deque(maxlen=LATEST)
        reactor.urgent.append(self)

    def add(self, transport: Transport) -> None:
        """Add a connection that was accepted now."""
        self._latest.append((transport, self._reactor.now + LATEST_SECONDS))

    def on_events(self, mask: int) -> None:
        """Give each a turn, between two slices. One that has sent nothing costs a system call."""
        for _ in range(len(self._latest)):
            transport, until = self._latest.popleft()
            received = self._reactor.received
            if until > self._reactor.now:
                self._reactor.look(transport)
                if transport.protocol is not None and self._reactor.received == received:
                    self._latest.append((transport, until))

    def abort(self) -> None:
        """Nothing to abort: each transport aborts itself."""
