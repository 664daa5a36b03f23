"""One socket in the loop: the only place that receives, sends, and chooses the events to wait for.

Bytes come in by one `recv` a turn; they are handed on, and never examined. Bytes go out through a
queue: `write` only queues, `flush` sends, and the end of a turn flushes every transport that has
queued something. The interest set is derived, never set: READ unless paused or ended, WRITE while
something is unsent. A deadline is a number that moves.

Interactive work is done at once: a read, and the first send of what it leads to. All else is bulk
(see loop/reactor.py): sending more when the peer has made room, the peer's FIN, and the end of a
connection whose peer is lost. Until that turn comes, the selector may report the same room again;
after REPORTS of it, EVENT_WRITE is not waited for.

Nothing is called back from within a write or a flush: a send that fails is remembered, and reported
as bulk work. The queue and the ways to end are in stream.py, and how much is sent at a time in
pacing.py.
"""

import socket
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, Final

from reactor.files.region import FileRegion
from reactor.loop.reactor import Reactor
from reactor.net.pacing import FAST, NEW, TURN_BYTES, Pace, fast_turn_bytes, limit_unsent, next_pace
from reactor.net.stream import (
    BROKEN,
    CLOSED,
    ENDED,
    FINISHED,
    FINISHING,
    INPUT_OPEN,
    OUTPUT_OPEN,
    UNREGISTERED,
    ConnectionProtocol,
    Stream,
    StreamSnapshot,
)

RECEIVE_BYTES: Final = 64 * 1024  # read from one socket in one turn
REPORTS: Final = 6  # as many useless ones cost as much as leaving EVENT_WRITE out for a while


class Transport(Stream):
    """A non-blocking, connected stream socket in a reactor, and its owner, `protocol`."""

    __slots__ = ("_blocked", "_blocked_since", "_interest", "_reports", "pace")

    _reactor: Reactor

    def __init__(self, reactor: Reactor, connected: socket.socket, peer: tuple[Any, ...]) -> None:
        super().__init__(reactor, connected, peer)
        self._interest = UNREGISTERED
        self._blocked = False  # the last flush left something, and EVENT_WRITE is waited for
        self._blocked_since = 0.0
        self._reports = 0  # that the peer has made room, since the bulk turn to come was queued
        self.pace: Pace = NEW

    def open(self, protocol: ConnectionProtocol) -> None:
        """Begin: the methods of `protocol` are called from now on."""
        self.protocol = protocol
        self._update_interest()

    def snapshot(self) -> StreamSnapshot:
        """The state at this moment, for reports and tests."""
        return super().snapshot()._replace(interest=self._interest)

    # --- one turn --------------------------------------------------------------------------------

    def on_events(self, mask: int) -> None:
        """One turn of one connection: one recv. Bytes that it queues leave when the turn ends."""
        protocol = self.protocol
        if protocol is None:
            return  # closed earlier in this turn
        if mask & EVENT_WRITE:
            self._ask_to_send()
        if mask & EVENT_READ and self.input is INPUT_OPEN:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except self.would_block:
                pass
            except OSError:
                self._break()
            else:
                if data:
                    self._reactor.received += len(data)
                    protocol.data_received(data)
                else:
                    self._receive_end()
        elif not mask:
            self._break()  # ready, but for nothing that we wait for: the peer is lost

    def end_turn(self) -> None:
        """Send what is queued, finish if that is due, and choose the events to wait for."""
        self._turn_open = False
        blocked = self._blocked
        if self._queue and not blocked:
            self.flush()
        if self._output is not OUTPUT_OPEN:
            if self._output is FINISHING and not self._queue:
                self._send_fin()
            if self._output is BROKEN or self._output is CLOSED:
                return
        if self._queue or self.input is not INPUT_OPEN or self._interest != EVENT_READ:
            self._update_interest()
        if self._blocked and not blocked and self.protocol is not None:
            self.protocol.output_flushed()

    # --- output ----------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """The peer has not taken all it was sent, and is waited for."""
        return self._blocked

    def flush(self) -> None:
        """Send what the kernel takes: TURN_BYTES at most, more to a fast peer."""
        queue = self._queue
        reactor = self._reactor
        fast = self.pace is FAST
        room = most = fast_turn_bytes(1 + len(reactor.bulk)) if fast else TURN_BYTES
        try:
            while queue and room > 0:
                joins = len(queue) > 1 and not isinstance(queue[1], FileRegion)
                item = queue.first() if joins else queue[0]
                if isinstance(item, FileRegion):
                    count = self._sendfile(item, min(item.length, room))
                    if count == most == item.length and not fast:
                        self._set_pace(FAST)  # all of a turn's bytes at once: it need not block
                elif len(item) > room:
                    count = self._socket.send(memoryview(item)[:room])
                else:
                    # Without MSG_MORE: a head before a file's pages would make every buffer of the
                    # kernel end in the middle of one, which costs more than the head's own packet.
                    count = self._socket.send(item)
                    if count == len(item):  # nearly always
                        del queue[0]
                        room -= count
                        continue
                room -= count
                waiting = len(queue)
                queue.sent(count)
                if len(queue) == waiting:
                    break  # the kernel has taken what it has room for
        except self.would_block:
            pass
        except OSError:
            self._break()
        reactor.sent += most - room
        self._blocked = bool(queue)
        if queue:
            self._blocked_since = reactor.now

    def set_deadline(self, when: float) -> None:
        """Have `protocol.deadline_passed` called at `when`; NEVER: not at all."""
        self.deadline = when
        if when < self.armed:
            self._reactor.arm(self)

    # --- bulk ------------------------------------------------------------------------------------

    def _ask_to_send(self) -> None:
        """The peer has made room: ask for a bulk turn, once."""
        self._reports += 1
        if self._reports == 1:
            self._adapt()
            self._reactor.call_bulk(self._send_more)
        elif self._reports == REPORTS:
            self._update_interest()

    def _send_more(self) -> None:
        """Send what the peer has made room for."""
        self._reports = 0
        protocol = self.protocol
        if protocol is None:
            return
        self.flush()
        self._mark()
        if self._output is not BROKEN:  # else nothing of it is reported as sent
            protocol.output_flushed()

    def _receive_end(self) -> None:
        """The peer's FIN has come; what it leads to is bulk work."""
        self.input = ENDED
        self._forget()  # or it would be reported until its bulk turn comes
        self._reactor.call_bulk(self._end_input)

    def _end_input(self) -> None:
        """The peer has sent its FIN: what we send goes on, and so does the look for a reset."""
        if self.protocol is None:
            return
        self.protocol.eof_received()
        if self._output < FINISHED and self._interest == UNREGISTERED:
            self._reactor.selector.register(self._socket, EVENT_WRITE, self)
            self._interest = EVENT_WRITE
            self._mark()

    # --- inside ----------------------------------------------------------------------------------

    def _adapt(self) -> None:
        """Let the kernel queue more for a peer that has made room quickly."""
        seconds = self._reactor.now - self._blocked_since
        pace = next_pace(self.pace, seconds, in_file=self._is_in_file())
        if pace is not self.pace:
            self._set_pace(pace)

    def _is_in_file(self) -> bool:
        """Whether bytes of a file are sent next."""
        return bool(self._queue) and isinstance(self._queue[0], FileRegion)

    def _set_pace(self, pace: Pace) -> None:
        self.pace = pace
        limit_unsent(self._socket, pace.lowat)

    def _unwatch(self) -> None:
        self._reactor.disarm(self)
        self._forget()

    def _forget(self) -> None:
        """Have the selector report nothing of it."""
        if self._interest != UNREGISTERED:
            self._interest = UNREGISTERED
            self._reactor.selector.unregister(self._socket)

    def _update_interest(self) -> None:
        wanted = EVENT_READ if self.input is INPUT_OPEN else 0
        if self._queue and self._reports < REPORTS:
            wanted |= EVENT_WRITE
        if self.input is ENDED and self._output is FINISHED:
            self._forget()  # after both FINs it is ready for ever, as a connection that is lost
            return
        if wanted == self._interest or self._output >= BROKEN:
            return
        selector = self._reactor.selector
        if self._interest == UNREGISTERED:
            if wanted:
                selector.register(self._socket, wanted, self)
                self._interest = wanted
            return
        try:
            selector.modify(self._socket, wanted, self)
            self._interest = wanted
        except ValueError:  # kqueue and select know no empty interest: out, until it is wanted
            self._interest = UNREGISTERED
