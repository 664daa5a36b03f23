"""One socket: the only place that receives, sends, and says what to wait for.

Bytes come in by one `recv` a turn; they are handed on and never looked at. Bytes go out through a
queue: `write` only queues, `flush` sends, and the end of a turn flushes whoever queued something.
The interest set is derived, never set: READ unless paused or ended, WRITE while something is
unsent. A deadline is a number that moves.

Nothing is called back from within a write or a flush: a send that fails is remembered and told in
the loop's `soon` phase. There are two ways to end: `finish` (what is queued, then our FIN, then
the peer's) and `abort` (now, by a reset); `close` is what follows either.
"""

import os
import socket
import struct
from enum import IntEnum
from fcntl import ioctl
from selectors import EVENT_READ, EVENT_WRITE
from termios import TIOCOUTQ  # the number of SIOCOUTQ, see tcp(7)
from typing import Any, Final, Protocol

from reactor.files.file import WINDOW_BYTES
from reactor.files.region import FileRegion
from reactor.loop.describe import describe
from reactor.loop.reactor import Reactor
from reactor.loop.timers import Deadline
from reactor.net.send_queue import Item, SendQueue

RECEIVE_BYTES: Final = 64 * 1024  # read from one socket in one turn
TURN_BYTES: Final = 256 * 1024  # sent for one connection in one turn

# A peer that has made room for more of a file within FAST_SECONDS is fast, until it takes longer
# than SLOW_SECONDS for the much that it is then given. It is sent larger stretches, so that not
# every 256 KiB cost a turn; who is ready at the same time shares FAST_SHARE.
FAST_SECONDS: Final = 0.05
SLOW_SECONDS: Final = 1.0
FAST_WINDOW_BYTES: Final = 16 * WINDOW_BYTES
FAST_SHARE: Final = 16 * 1024 * 1024

# What the kernel queues of one connection before it says that it has no room (tcp(7)). Little,
# since it is memory, and there may be ten thousand slow readers. But small portions cost twice as
# much, and of a file only references to its pages are queued.
NOTSENT_LOWAT_BYTES: Final = 128 * 1024
FAST_LOWAT_BYTES: Final = 2**31 - 1  # as much as fits into its buffer
_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
UNREGISTERED: Final = -1
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Input(IntEnum):
    OPEN = 0
    PAUSED = 1
    ENDED = 2  # the peer's FIN has come


class Output(IntEnum):
    OPEN = 0
    FINISHING = 1  # our FIN follows what is queued
    FINISHED = 2
    BROKEN = 3  # a send has failed; what is written is dropped
    CLOSED = 4


OUTPUT_OPEN, FINISHING, FINISHED, BROKEN, CLOSED = Output
INPUT_OPEN, PAUSED, ENDED = Input  # of Transport.input


class ConnectionProtocol(Protocol):
    """What a transport tells its owner."""

    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> None: ...
    def output_flushed(self) -> None:
        """A turn ended with bytes unsent, or some of those before have left."""

    def deadline_passed(self) -> None: ...
    def connection_lost(self) -> None: ...


class Transport(Deadline):
    """A non-blocking, connected stream socket in a reactor, and its owner, `protocol`."""

    __slots__ = (
        "_blocked",
        "_blocked_since",
        "_interest",
        "_output",
        "_queue",
        "_reactor",
        "_socket",
        "_turn_open",
        "input",
        "peer",
        "protocol",
        "window",
    )

    def __init__(self, reactor: Reactor, connected: socket.socket, peer: tuple[Any, ...]) -> None:
        super().__init__()
        self.peer = peer
        self.protocol: ConnectionProtocol | None = None
        self._reactor = reactor
        self._socket = connected
        self._queue = SendQueue()
        self.input = INPUT_OPEN
        self._output = OUTPUT_OPEN
        self._interest = UNREGISTERED
        self._turn_open = False  # `end_turn` is to come
        self._blocked = False  # the last flush left something, and EVENT_WRITE is waited for
        self._blocked_since = 0.0
        self.window = WINDOW_BYTES  # how much of a file to have ready; more for a fast peer

    def open(self, protocol: ConnectionProtocol) -> None:
        """Begin: `protocol` is told from now on."""
        self.protocol = protocol
        self._update_interest()

    # --- one turn --------------------------------------------------------------------------------

    def on_events(self, mask: int) -> None:
        """One turn of one connection: one recv; what it queues leaves when the turn ends."""
        protocol = self.protocol
        if protocol is None:
            return  # closed earlier in this turn
        if mask & EVENT_WRITE:
            self._adapt()
            self.flush()
            self._mark()
            if self._output is BROKEN:
                return  # nothing of it is told as sent; the end comes in a moment
            protocol.output_flushed()
            if self.protocol is None:
                return
        if mask & EVENT_READ and self.input is INPUT_OPEN:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self.abort()
            else:
                if data:
                    self._reactor.received += len(data)
                    protocol.data_received(data)
                else:
                    self.input = ENDED
                    self._mark()
                    protocol.eof_received()
        elif not mask:
            self.abort()  # ready, but for nothing that we wait for: the peer is lost

    def end_turn(self) -> None:
        """Let what is queued leave, finish if that is due, wait for what is left to wait for."""
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

    # --- input -----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Do not read: the kernel's buffer, and then the peer, waits."""
        if self.input is INPUT_OPEN:
            self.input = PAUSED
            self._mark()

    def resume(self) -> None:
        if self.input is PAUSED:
            self.input = INPUT_OPEN
            self._mark()

    # --- output ----------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Bytes queued here; the kernel may hold more."""
        return self._queue.unsent

    @property
    def blocked(self) -> bool:
        """The peer has not taken all it was sent, and is waited for."""
        return self._blocked

    def write(self, item: Item) -> None:
        """Queue bytes (not b"") or a region, whose hold is ours now; they leave in `flush`."""
        if self._output is OUTPUT_OPEN:
            self._queue.append(item)
            if not self._turn_open:
                self._mark()
        elif isinstance(item, FileRegion):
            item.release()

    def flush(self) -> None:
        """Send what the kernel takes, TURN_BYTES at most."""
        queue = self._queue
        room = most = TURN_BYTES if self.window == WINDOW_BYTES else self._fast_turn()
        try:
            while queue and room > 0:
                item = queue.first() if len(queue) > 1 else queue[0]
                if isinstance(item, FileRegion):
                    count = self._sendfile(item, min(item.length, room))
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
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._break()
        self._reactor.sent += most - room
        self._blocked = bool(queue)
        if queue:
            self._blocked_since = self._reactor.now

    def finish(self) -> None:
        """Send what is queued, then our FIN. The input goes on, for who wants to linger."""
        if self._output is OUTPUT_OPEN:
            self._output = FINISHING
            self._mark()

    def unacknowledged(self) -> int:
        """Bytes that the kernel holds and the peer has not acknowledged; 0 where none can tell."""
        try:
            answer = ioctl(self._socket.fileno(), TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return 0
        return int(struct.unpack("i", answer)[0])

    # --- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket, whatever state it is in; the protocol is told, once."""
        if self._output is BROKEN:
            self.abort()  # what was dropped must not look as if it had been sent
        else:
            self._close()

    def abort(self) -> None:
        """Close by a reset: the peer must not take what it has for the whole."""
        if self._output is not CLOSED:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            except OSError:
                pass
            self._close()

    def _close(self) -> None:
        protocol = self.protocol
        if self._output is CLOSED or protocol is None:
            return
        self._output = CLOSED
        self.protocol = None  # the two know each other: a cycle, to be cut by hand
        self._queue.drop()
        self._reactor.disarm(self)
        if self._interest != UNREGISTERED:
            self._interest = UNREGISTERED
            self._reactor.selector.unregister(self._socket)
        self._socket.close()
        protocol.connection_lost()

    # --- deadline --------------------------------------------------------------------------------

    def set_deadline(self, when: float) -> None:
        """Have `protocol.deadline_passed` called at `when`; NEVER: not at all."""
        self.deadline = when
        if when < self.armed:
            self._reactor.arm(self)

    def deadline_passed(self) -> None:
        if self.protocol is not None:
            self.protocol.deadline_passed()

    def describe(self) -> str:
        """What its owner is doing, for the log."""
        return "a connection that has ended" if self.protocol is None else describe(self.protocol)

    # --- inside ----------------------------------------------------------------------------------

    def _mark(self) -> None:
        """Ask for an end of turn."""
        if not self._turn_open:
            self._turn_open = True
            self._reactor.unflushed.append(self)

    def _adapt(self) -> None:
        """Let the kernel queue more of a file for a peer that has made room soon."""
        in_file = bool(self._queue) and isinstance(self._queue[0], FileRegion)
        was_slow = self.window == WINDOW_BYTES
        limit = FAST_SECONDS if was_slow else SLOW_SECONDS
        fast = in_file and self._reactor.now - self._blocked_since < limit
        if fast is was_slow:
            self.window = FAST_WINDOW_BYTES if fast else WINDOW_BYTES
            limit_unsent(self._socket, FAST_LOWAT_BYTES if fast else NOTSENT_LOWAT_BYTES)

    def _fast_turn(self) -> int:
        share = FAST_SHARE // max(1, self._reactor.ready)
        return min(FAST_WINDOW_BYTES, max(TURN_BYTES, share))

    def _sendfile(self, region: FileRegion, count: int) -> int:
        """Send from the file itself. Raises OSError where it has become shorter."""
        file = region.file.descriptor
        sent = os.sendfile(self._socket.fileno(), file, region.offset, count)
        if sent == 0:
            raise OSError("the file has become shorter")
        return sent

    def _send_fin(self) -> None:
        self._output = FINISHED
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._break()

    def _break(self) -> None:
        """The peer is lost: drop what is queued, and tell the owner in a moment."""
        self._output = BROKEN
        self._queue.drop()
        self._reactor.call_soon(self.abort)

    def _update_interest(self) -> None:
        wanted = EVENT_READ if self.input is INPUT_OPEN else 0
        if self._queue:
            wanted |= EVENT_WRITE
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


def limit_unsent(stream: socket.socket, most: int) -> None:
    """Let the kernel queue so many bytes; a socket that is accepted has what its listener has."""
    if _NOTSENT_LOWAT is not None:
        try:
            stream.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, most)
        except OSError:
            pass  # its peer is lost, which the next send tells
