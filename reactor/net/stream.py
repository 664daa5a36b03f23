"""A connected stream socket and its owner, without the waiting: what all transports share.

A stream owns the send queue, the two directions' states, and the end. `write` only queues; what is
queued leaves in `flush`, at the end of a turn. There are two ways to end: `finish` (what is queued,
then our FIN, then the peer's) and `abort` (now, by a reset); `close` is what follows either.

How bytes are received, and how a send waits for room, is up to the subclass: the Transport of the
loop never waits and asks its selector, the one of a thread waits in the call itself.
"""

import os
import socket
import struct
from enum import IntEnum
from fcntl import ioctl
from termios import TIOCOUTQ  # the number of SIOCOUTQ, see tcp(7)
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from reactor.errors import ProtocolError
from reactor.files.region import FileRegion
from reactor.loop.describe import describe
from reactor.loop.scheduler import Scheduler
from reactor.loop.timers import NEVER, Deadline
from reactor.net.pacing import Pace
from reactor.net.send_queue import Item, SendQueue
from reactor.net.tls_info import TlsInfo

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s
UNREGISTERED: Final = -1  # the interest of a stream that no selector knows


class InputState(IntEnum):
    """Whether bytes are received."""

    OPEN = 0
    PAUSED = 1
    ENDED = 2  # the peer's FIN has come


class OutputState(IntEnum):
    """How far the output is from its end."""

    OPEN = 0
    FINISHING = 1  # our FIN follows what is queued
    FINISHED = 2
    BROKEN = 3  # a send has failed; what is written is dropped
    CLOSED = 4


OUTPUT_OPEN, FINISHING, FINISHED, BROKEN, CLOSED = OutputState
INPUT_OPEN, PAUSED, ENDED = InputState


class ConnectionProtocol(Protocol):
    """The methods that a stream calls on its owner."""

    def data_received(self, data: bytes) -> None:
        """Bytes have come, at least one."""

    def eof_received(self) -> None:
        """The peer's FIN has come. Called once."""

    def output_flushed(self) -> None:
        """A turn ended with bytes unsent, or some of the unsent bytes have left."""

    def deadline_passed(self) -> None:
        """The stream's deadline has passed."""

    def refuse(self, error: ProtocolError) -> None:
        """The peer speaks another protocol: respond by this error, and end."""

    def connection_lost(self) -> None:
        """The socket is closed. Called once."""


class StreamSnapshot(NamedTuple):
    """The state of a stream at one moment."""

    peer: tuple[Any, ...]  # its address
    input: InputState
    output: OutputState
    unsent: int  # bytes in the send queue
    blocked: bool  # the peer has not taken all it was sent
    deadline: float  # by the loop's clock; NEVER: none
    interest: int  # the events that the selector waits for, or UNREGISTERED
    tls: str = ""  # its version, or the phase of the handshake; "" where the peer speaks none


class Stream(Deadline):
    """A connected stream socket, and its owner, `protocol`."""

    __slots__ = (
        "_output",
        "_queue",
        "_reactor",
        "_socket",
        "_turn_open",
        "input",
        "peer",
        "protocol",
    )

    # The exceptions of a send or a receive that would have to wait. A class attribute, since TLS
    # has others; it is read only when there is an exception.
    would_block: ClassVar[tuple[type[Exception], ...]] = (BlockingIOError, InterruptedError)

    pace: Pace  # how much the peer is sent at a time
    is_secure: ClassVar[bool] = False  # it speaks TLS
    tls: TlsInfo | None = None  # the outcome of its handshake

    def __init__(self, reactor: Scheduler, connected: socket.socket, peer: tuple[Any, ...]) -> None:
        super().__init__()
        self.peer = peer
        self.protocol: ConnectionProtocol | None = None
        self._reactor = reactor
        self._socket = connected
        self._queue = SendQueue()
        self.input = INPUT_OPEN
        self._output = OUTPUT_OPEN
        self._turn_open = False  # `end_turn` is to come

    def open(self, protocol: ConnectionProtocol) -> None:
        """Begin: the methods of `protocol` are called from now on."""
        self.protocol = protocol

    def end_turn(self) -> None:
        """Send what is queued, and finish if that is due."""
        raise NotImplementedError

    def describe(self) -> str:
        """The owner's description of itself, for the log."""
        return "a connection that has ended" if self.protocol is None else describe(self.protocol)

    def snapshot(self) -> StreamSnapshot:
        """The state at this moment, for reports and tests."""
        return StreamSnapshot(
            peer=self.peer,
            input=self.input,
            output=self._output,
            unsent=self.unsent,
            blocked=self.blocked,
            deadline=self.deadline,
            interest=UNREGISTERED,
        )

    # --- input -----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Do not read: the kernel's buffer, and then the peer, waits."""
        if self.input is INPUT_OPEN:
            self.input = PAUSED
            self._mark()

    def resume(self) -> None:
        """Read again, unless the input has ended."""
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
        """The peer has not taken all it was sent, and is waited for. Never, where sends wait."""
        return False

    def write(self, item: Item) -> None:
        """Queue bytes (not b"") or a region, which is the stream's to release; `flush` sends it."""
        if self._output is OUTPUT_OPEN:
            self._queue.append(item)
            if not self._turn_open:
                self._mark()
        elif isinstance(item, FileRegion):
            item.release()

    def flush(self) -> None:
        """Send what is queued."""
        raise NotImplementedError

    def say_end(self) -> None:
        """Send the last bytes of a protocol below ours, TLS; all others have left."""

    def finish(self) -> None:
        """Send what is queued, then our FIN. The input goes on, for an owner that lingers."""
        if self._output is OUTPUT_OPEN:
            self._output = FINISHING
            self._mark()

    def unacknowledged(self) -> int:
        """Bytes that the kernel holds and the peer has not acknowledged; 0 where it cannot say."""
        try:
            reply = ioctl(self._socket.fileno(), TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return 0
        return int(struct.unpack("i", reply)[0])

    # --- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket in any state; calls `connection_lost`, once."""
        if self._output is BROKEN:
            self.abort()  # bytes that were dropped must not look as if they had been sent
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
        self.protocol = None  # the two refer to each other: a cycle, to be cut by hand
        self._queue.drop()
        self._unwatch()
        self._socket.close()
        protocol.connection_lost()

    # --- deadline --------------------------------------------------------------------------------

    def set_deadline(self, when: float) -> None:
        """Have `protocol.deadline_passed` called at `when`; NEVER: not at all."""
        self.deadline = when

    def deadline_passed(self) -> None:
        """Call the owner's `deadline_passed`."""
        if self.protocol is not None:
            self.protocol.deadline_passed()

    # --- inside ----------------------------------------------------------------------------------

    def _mark(self) -> None:
        """Ask for an end of turn."""
        if not self._turn_open:
            self._turn_open = True
            # An append in place of a method of the loop: every response comes this way, and the
            # method would be one more call for it.
            self._reactor.unflushed.append(self)

    def _unwatch(self) -> None:
        """Wait for nothing any more: the socket is about to be closed."""
        self.deadline = NEVER

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
        """The peer is lost: wait for nothing more, drop what is queued, and end as bulk work."""
        self._output = BROKEN
        self._queue.drop()
        self._unwatch()
        self._reactor.call_bulk(self.abort)
