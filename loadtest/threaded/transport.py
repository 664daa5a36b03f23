"""One connection on a thread of its own: what stands in for the loop and for its transports.

A ThreadLoop is a Scheduler and no Reactor: this connection is all there is to wait for. For bytes
it waits in `recv`, no longer than SO_RCVTIMEO; for a timer or a call from another thread it sleeps.
Timers and queued callbacks are the Scheduler's. The transport sends until all is sent, so nothing
ever waits for it to drain. A slow reader is given up by the reactor's MinimumRate, which is asked
whenever SO_SNDTIMEO has ended a send.

A socket's timeout is set only where it differs from the one before, so a request on a keep-alive
connection costs two system calls: recv and send.

This design has limits of its own. A thread that waits for its handler, or that sends, does not see
what its client does meanwhile. So a client that has left is noticed with the next send, a client
that reads and sends at the same time may stand still, and a thread that waits for a body's bytes
takes a call from another thread when they come, or when their time is over.
"""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Final

from reactor import Limits
from reactor.files.region import FileRegion
from reactor.http.connection import HttpConnection
from reactor.http.states import READING
from reactor.loop.reactor import LONGEST_WAIT
from reactor.loop.scheduler import Scheduler
from reactor.loop.timers import NEVER, Callback
from reactor.messages.body import PIECE_BYTES
from reactor.net.min_rate import MinimumRate
from reactor.net.pacing import FAST
from reactor.net.stream import ENDED, FINISHING, INPUT_OPEN, Stream

FIRST_SEND_SECONDS: Final = 1.0  # that a send may take before the peer is held to be slow
SAME_SECONDS: Final = 0.001  # timeouts that differ by less are one
AFTERLIFE_SECONDS: Final = 1.0  # beyond cancel_timeout, for tasks that outlive their connection
_TIME: Final = struct.Struct("ll")  # timeval: seconds and microseconds


class ThreadLoop(Scheduler):
    """The loop of a thread. Another thread may `call_soon`, and nothing else."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self._resting = False
        self._alarm = Lock()  # released to wake the thread
        self._alarm.acquire()

    def call_soon(self, callback: Callback, *arguments: Any) -> None:
        """Call it in the next `soon` phase. On any thread: a finalizer may run on every one."""
        self._soon.append((callback, arguments))
        if self._resting:
            self.wake()

    call_soon_threadsafe = call_soon

    def wake(self) -> None:
        """End the thread's rest."""
        with suppress(RuntimeError):  # two may do it at once
            self._alarm.release()

    def serve(self, transport: "BlockingTransport", connection: HttpConnection) -> None:
        """Serve the connection until it has gone."""
        while transport.protocol is not None:
            if self._soon or self.unflushed:
                self.now = self.clock()
                self._run_soon()
            elif transport.input is INPUT_OPEN and connection.state in READING:
                until = transport.deadline
                if self._timers:
                    until = min(until, self._timers[0][0])
                self._call(transport.receive, (until,))
            else:
                self._rest(transport.deadline)
            if self._timers and self._timers[0][0] <= self.now:
                self._run_timers()
            if transport.deadline <= self.now:
                transport.deadline = NEVER
                self._call(transport.deadline_passed)

    def finish(self) -> None:
        """Let cancelled handlers clean up for a while, then forget all timers and callbacks."""
        self.run(self.clock() + self.limits.cancel_timeout + AFTERLIFE_SECONDS)
        self._timers.clear()
        self._soon.clear()

    def run_while(self, condition: Callable[[], bool]) -> None:
        """Run timers and callbacks without a connection, as long as the condition is true."""
        while condition():
            if self._has_work():
                self._run_soon()
            else:
                self._rest(NEVER)
            self.now = self.clock()
            self._run_timers()

    def run(self, until: float = NEVER) -> None:
        """Run timers and callbacks without a connection: until there are none, or that time."""
        while self.now < until and (until == NEVER or self._has_work() or self._awaits_timer()):
            if self._has_work():
                self._run_soon()
            else:
                self._rest(until)
            self.now = self.clock()
            self._run_timers()

    def _has_work(self) -> bool:
        return bool(self._soon or self.unflushed)

    def _awaits_timer(self) -> bool:
        return any(when == timer.armed for when, _, timer in self._timers)

    def _rest(self, until: float) -> None:
        """Sleep until then, or until the next timer, or until another thread calls this one."""
        if self._timers:
            until = min(until, self._timers[0][0])
        self._resting = True
        if not self._soon:
            self._alarm.acquire(timeout=min(max(0.0, until - self.clock()), LONGEST_WAIT))
        self._resting = False
        self.now = self.clock()


class BlockingTransport(Stream):
    """A connected socket whose calls wait."""

    __slots__ = ("_clock", "_rate", "_receive_seconds", "_send_seconds")

    _reactor: ThreadLoop
    pace = FAST  # a thread sends all of it

    def __init__(
        self, reactor: ThreadLoop, connected: socket.socket, peer: tuple[Any, ...]
    ) -> None:
        super().__init__(reactor, connected, peer)
        self._clock = reactor.clock
        self._rate: MinimumRate | None = None  # once a send was slow
        self._receive_seconds = NEVER
        self._send_seconds = NEVER
        self._limit_send(min(FIRST_SEND_SECONDS, reactor.limits.min_rate_timeout))

    def receive(self, until: float) -> None:
        """One turn: wait for bytes, hand them to the owner, and send what it has queued."""
        seconds = until - self._reactor.now
        if seconds != self._receive_seconds and not (
            abs(seconds - self._receive_seconds) < SAME_SECONDS
        ):
            self._receive_seconds = seconds
            self._set_timeout(socket.SO_RCVTIMEO, seconds)
        try:
            data = self._socket.recv(PIECE_BYTES)
        except self.would_block:
            self._reactor.now = self._clock()
            return
        except OSError:
            self._reactor.now = self._clock()
            self.abort()
            return
        self._reactor.now = self._clock()
        self._turn_open = True
        if data:
            self._reactor.received += len(data)
            self._receive(data)
        else:
            assert self.protocol is not None
            self.input = ENDED
            self.protocol.eof_received()
        self.end_turn()

    def _receive(self, data: bytes) -> None:
        """Bytes have come."""
        assert self.protocol is not None
        self.protocol.data_received(data)

    def end_turn(self) -> None:
        self._turn_open = False
        if self._queue:
            self.flush()
        if self._output is FINISHING:
            self._send_fin()

    def flush(self) -> None:
        """Send all of it, or find that the peer does not read."""
        queue = self._queue
        if self._rate is not None and queue:
            self._begin_to_wait(self._rate)
        while queue:
            item = queue.first() if len(queue) > 1 else queue[0]
            size = len(item)
            try:
                if isinstance(item, FileRegion):
                    count = self._sendfile(item, size)
                else:
                    count = self._socket.send(item)
            except self.would_block:
                count = 0
            except OSError:
                self._break()
                return
            self._reactor.sent += count
            if count == size and not isinstance(item, FileRegion):  # nearly always
                del queue[0]
                continue
            if count:
                queue.sent(count)
            if count < size and not self._may_wait():
                self._break()
                return
        if self._rate is not None:
            self._may_wait()

    # --- inside ----------------------------------------------------------------------------------

    def _begin_to_wait(self, rate: MinimumRate) -> None:
        now = self._clock()
        rate.taken = -self.unsent - self.unacknowledged()
        self._limit_send(rate.begin(now) - now)

    def _may_wait(self) -> bool:
        """Whether the peer has kept the rate so far, by what it has acknowledged."""
        if self._rate is None:
            limits = self._reactor.limits
            self._rate = MinimumRate(limits.min_rate, limits.min_rate_timeout)
            self._begin_to_wait(self._rate)
            return True
        rate, now = self._rate, self._clock()
        taken = -self.unsent - self.unacknowledged()
        moved = 0 if rate.taken is None else max(0, taken - rate.taken)
        rate.taken = taken
        seconds = rate.moved(now, moved) - now
        self._limit_send(seconds)
        return seconds > 0

    def _limit_send(self, seconds: float) -> None:
        if seconds != self._send_seconds and not abs(seconds - self._send_seconds) < SAME_SECONDS:
            self._send_seconds = seconds
            self._set_timeout(socket.SO_SNDTIMEO, seconds)

    def _set_timeout(self, option: int, seconds: float) -> None:
        """Set SO_RCVTIMEO or SO_SNDTIMEO, where the kernel takes 0 for no limit."""
        seconds = 0.0 if seconds == NEVER else max(seconds, SAME_SECONDS)
        whole = int(seconds)
        time_value = _TIME.pack(whole, int((seconds - whole) * 1e6))
        with suppress(OSError):  # its peer is lost, which the next call reports
            self._socket.setsockopt(socket.SOL_SOCKET, option, time_value)
