"""The rules that hold for every connection after every turn of the loop, and for a server at rest.

These rules are written down a second time here, on purpose and from outside: what a state waits
for, how long it may last, and that nothing is left of what is over.
"""

import selectors
from collections.abc import Collection
from typing import Final

from reactor.http.connection import HttpConnection
from reactor.http.states import (
    BODY,
    DRAIN,
    HANDLER,
    HEAD,
    IDLE,
    LINGER,
    PRODUCE,
    SKIP,
    SURPLUS,
    ConnectionState,
)
from reactor.limits import ServerLimits
from reactor.loop.describe import describe
from reactor.loop.reactor import Reactor
from reactor.loop.scheduler import Call
from reactor.loop.timers import NEVER
from reactor.messages.body import PIECE_BYTES
from reactor.net.stream import BROKEN, ENDED, INPUT_OPEN, PAUSED, UNREGISTERED
from reactor.net.transport import Transport
from reactor.server.server import Server
from reactor.simulator.network import SimNetwork, Violation
from reactor.simulator.selector import SimSelector

SURPLUS_BYTES: Final = 2 * PIECE_BYTES  # kept of input that nobody has asked for yet
SLACK: Final = 1e-6  # seconds


class Invariants:
    """Checks one server."""

    def __init__(self, server: Server, network: SimNetwork, selector: SimSelector) -> None:
        self._server = server
        self._reactor: Reactor = server.reactor
        self._network = network
        self._selector = selector
        self._longest = _longest_deadlines(server.limits)
        self._states: dict[str, ConnectionState] = {}
        self._bulk: tuple[Call, ...] = ()  # the queue, one turn ago

    def check_turn(self) -> None:
        """To be called between two turns. Raises Violation."""
        live = self._check_timers()
        self._check_bulk()
        busy = self._called_soon()
        later = {getattr(call, "__self__", None) for call, _ in self._reactor.bulk}
        for connection in self._server.open_connections:
            transport = connection.transport
            assert isinstance(transport, Transport)
            self._note_state(connection)
            if transport in busy:
                continue  # the end of its turn is to come
            if transport._output >= BROKEN:
                self._check_lost(connection, transport, later)
                continue
            waits = connection not in busy and not {connection, transport} & later
            self._check_interest(connection, transport, waits, sends=transport not in later)
            self._check_deadline(connection, transport, live)
            buffered = len(connection.parser.buffer)
            if buffered > SURPLUS_BYTES + self._server.limits.head_bytes:
                self._fail(connection, f"{buffered} bytes are held that nobody has asked for")
        self._check_memory()

    def _check_memory(self) -> None:
        """The limit of the memory of bodies holds, and the oldest body never waits for room."""
        memory, limits = self._server._context.memory, self._server.limits
        most = max(limits.memory_bodies_bytes, limits.memory_body_bytes)
        if not 0 <= memory.used <= most:
            raise Violation(f"memory budget: {memory.used} bytes in use of {most}")
        oldest = memory._all.oldest
        if oldest is not None and oldest.wanted:
            raise Violation("memory budget: the oldest body waits, and may wait for ever")

    def check_rest(self) -> None:
        """Every client is gone, and time has passed. Raises Violation."""
        loop = self._reactor.snapshot()
        live = [timer for _, timer in loop.timers if timer.deadline != NEVER]
        rest: dict[str, list[object]] = {
            "connections": [*self._server.open_connections],
            "timers": [describe(one) for one in live],
            "callbacks": [*loop.callbacks],
            "calls of bulk work": [*loop.bulk],
            "outputs": [*loop.unflushed],
            "bytes of memory for bodies": [1] * self._server.snapshot().body_bytes,
        }
        for what, left in rest.items():
            if left:
                raise Violation(f"{len(left)} {what} are left: {left[:3]}")

    # --- one connection --------------------------------------------------------------------------

    def _note_state(self, connection: HttpConnection) -> None:
        name = str(connection.transport.peer[0])
        if self._states.get(name) is not connection.state:
            self._states[name] = connection.state
            self._network.note(f"{name}'s server", connection.state.name)

    def _check_interest(
        self, connection: HttpConnection, transport: Transport, waits: bool, sends: bool
    ) -> None:
        """The selector waits for what the connection does; unless `sends`, room may be left out."""
        reads, writes = transport.input is INPUT_OPEN, transport.unsent > 0
        wanted = selectors.EVENT_READ * reads | selectors.EVENT_WRITE * writes
        actual = self._selector.interest(transport._socket.fileno())
        optional = 0 if sends else selectors.EVENT_WRITE
        if max(actual, 0) | optional != wanted | optional or actual != transport._interest:
            self._fail(connection, f"the interest is {actual}, but {wanted} is waited for")
        state = connection.state
        if waits and transport.input is PAUSED and state in (IDLE, HEAD, BODY, SKIP, LINGER):
            self._fail(connection, "it waits for input, and does not read")
        little = connection.parser.unconsumed < self._server.limits.surplus_bytes
        if waits and transport.input is PAUSED and state in SURPLUS and little:
            self._fail(connection, "it keeps little surplus, and would not see a FIN")
        if waits and state is DRAIN and not writes:
            self._fail(connection, "it waits for the peer to read, and nothing is unsent")
        if waits and state in (IDLE, HEAD, SKIP) and (writes or transport.input is ENDED):
            self._fail(connection, "it waits for a request, but should for something else")

    def _check_lost(
        self, connection: HttpConnection, transport: Transport, later: Collection[object]
    ) -> None:
        """A peer that is lost is not waited for, and its end is queued."""
        if self._selector.interest(transport._socket.fileno()) != UNREGISTERED:
            self._fail(connection, "its peer is lost, and the selector has it still")
        if transport not in later:
            self._fail(connection, "its peer is lost, and nothing is going to end it")

    def _check_deadline(
        self, connection: HttpConnection, transport: Transport, live: set[int]
    ) -> None:
        longest = self._longest[connection.state]
        deadline, now = transport.deadline, self._reactor.now
        if deadline == NEVER:
            if longest != NEVER:
                self._fail(connection, "it has no deadline")
            return
        if deadline - now > longest + SLACK:
            self._fail(connection, f"its deadline is {deadline - now:g} s away")
        if transport.armed > deadline + SLACK or id(transport) not in live:
            self._fail(connection, "its deadline would not be noticed")

    def _fail(self, connection: HttpConnection, what: str) -> None:
        name = connection.transport.peer[0]
        raise Violation(f"{name}'s connection in {connection.state.name}: {what}")

    # --- the loop --------------------------------------------------------------------------------

    def _check_timers(self) -> set[int]:
        """The heap's book-keeping; who has a live entry in it."""
        live: set[int] = set()
        stale = 0
        for when, _, timer in self._reactor._timers:
            if when == timer.armed and id(timer) not in live:
                live.add(id(timer))
            else:
                stale += 1
        if stale != self._reactor._stale:
            raise Violation(f"{stale} dead timers are taken for {self._reactor._stale}")
        return live

    def _check_bulk(self) -> None:
        """A turn calls the first of what was queued before it, and the rest keeps its order.

        So a call waits for as many turns, at most, as there were calls before it.
        """
        before, self._bulk = self._bulk, tuple(self._reactor.bulk)
        if not before:
            return
        waiting = {id(call) for call in self._bulk}
        left = [call for call in before if id(call) in waiting]
        if len(left) == len(before):
            raise Violation(f"a turn has called none of {len(before)} calls of bulk work")
        expected = (*before[len(before) - len(left) :], *self._bulk[len(left) :])
        if any(call is not other for call, other in zip(expected, self._bulk, strict=True)):
            raise Violation("a call of bulk work was overtaken by one that was queued behind it")

    def _called_soon(self) -> set[object]:
        """The objects that the next turn calls: connections, and transports to flush."""
        busy: set[object] = {getattr(call, "__self__", None) for call, _ in self._reactor._soon}
        busy.update(output for output in self._reactor.unflushed)
        return busy


def _longest_deadlines(limits: ServerLimits) -> dict[ConnectionState, float]:
    return {
        IDLE: limits.idle_timeout,
        HEAD: limits.head_timeout,
        BODY: limits.min_rate_timeout,
        HANDLER: limits.handler_timeout or NEVER,
        PRODUCE: NEVER,
        DRAIN: limits.min_rate_timeout,
        SKIP: limits.unread_body_timeout,
        LINGER: limits.linger_timeout,
    }
