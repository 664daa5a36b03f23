"""Simulated TCP: two streams with finite windows, FIN, reset, and what the kernel makes of them.

A SimSocket has the methods of a socket that the server uses, and behaves no better than a real one:
it reads and sends fewer bytes than asked for, would block though it was ready, loses what is in
flight when a reset comes, resets when it is closed with input unread, and responds by a
reset to bytes that arrive after it was closed. A closed socket that is used is a Violation.

Clients hold the other end, which is of the same class but has no descriptor and no bad luck.
"""

import errno
import socket
import sys
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar, Final

from reactor.simulator.network import Action, SimNetwork, Violation, Work

LATENCY: Final = 0.002  # seconds until an end hears what the other has done
WRITABLE_PART: Final = 3  # EPOLLOUT comes when a third of a full buffer is free again
FALSE_ALARMS: Final = 0.01  # how probably a ready socket would block all the same


class SocketState(Enum):
    """`LOST`: the other end has sent a reset, and this one has not been closed yet."""

    OPEN = "open"
    LOST = "lost"
    CLOSED = "closed"


class SimStream:
    """One direction: what the reader's kernel has acknowledged, and what the sender's holds."""

    __slots__ = ("buffer", "data", "ended", "window")

    def __init__(self, buffer: int, window: int) -> None:
        self.buffer = buffer  # the sender's, in bytes
        self.window = window  # the reader's, in bytes
        self.data = bytearray()
        self.ended = False  # by a FIN

    @property
    def room(self) -> int:
        return self.buffer + self.window - len(self.data)

    @property
    def unacknowledged(self) -> int:
        return max(0, len(self.data) - self.window)


class SimSocket:
    """One end of a connection."""

    def __init__(
        self, network: SimNetwork, name: str, incoming: SimStream, outgoing: SimStream
    ) -> None:
        self.name = name
        self.incoming = incoming
        self.outgoing = outgoing
        self.other: SimSocket | None = None
        self.descriptor: int | None = None
        self.state = SocketState.OPEN
        self.false_alarms = 0.0  # how probably it is reported ready and would block
        self.barren = 0  # times in a row that it was reported ready and nothing moved
        self.watchers: list[Action] = []
        self.work: Work | None = None  # that is counted, of a connection's end in the server
        self._network = network
        self._error: int | None = None  # raised by the next call
        self._reset_on_close = False
        self._end_was_read = False

    def __repr__(self) -> str:
        return self.name

    def adopt(self) -> None:
        """Give it a descriptor: this end is the server's."""
        self.descriptor = self._network.allocate(self)

    @property
    def closed(self) -> bool:
        """Whether this end has closed it."""
        return self.state is SocketState.CLOSED

    @property
    def lost(self) -> bool:
        """Whether a reset has come, and this end has not closed it yet."""
        return self.state is SocketState.LOST

    # --- what a socket does ----------------------------------------------------------------------

    def recv(self, most: int) -> bytes:
        """Some of what is there; as recv(2) otherwise."""
        self._enter_kernel()
        data = self.incoming.data
        if data:
            if self._is_false_alarm():
                raise BlockingIOError
            count = self._network.some(min(most, len(data)))
            piece = bytes(data[:count])
            del data[:count]
            if self.work is not None:
                self.work.reads += 1
                self.work.received += count
            self._moved(f"recv {count}")
            self._network.preempt()
            return piece
        self._raise_error()
        if not self.incoming.ended and not self.lost:
            raise BlockingIOError
        if not self._end_was_read:
            self._end_was_read = True
            self._moved("recv: end")
        return b""

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Some of it, as much as there is room; as send(2) otherwise."""
        self._enter_kernel()
        self._raise_error()
        other = self.other
        if self.lost or self.outgoing.ended or other is None:
            raise BrokenPipeError(errno.EPIPE, "simulated")
        if other.closed:
            self._network.after(LATENCY, self.be_reset)
            return len(data)
        count = min(len(data), self.outgoing.room)
        if count <= 0 or self._is_false_alarm():
            raise BlockingIOError
        count = self._network.some(count)
        self.outgoing.data += data[:count]
        if self.work is not None:
            self.work.sends += 1
            self.work.sent += count
        self._moved(f"send {count}" + (f" of {len(data)}" if count < len(data) else ""))
        self._network.preempt()
        return count

    def shutdown(self, how: int) -> None:
        """Send a FIN; `how` is SHUT_WR."""
        self._enter_kernel()
        if self.lost:
            raise OSError(errno.ENOTCONN, "simulated")
        assert how == socket.SHUT_WR
        self.outgoing.ended = True
        self._moved("FIN")

    def close(self) -> None:
        """A FIN; or a reset where that is wanted, or input is unread."""
        if self.closed:
            return
        network = self._network
        resets = self._reset_on_close or bool(self.incoming.data)
        network.note(self.name, "close, by a reset" if resets and not self.lost else "close")
        self.state = SocketState.CLOSED
        if self.descriptor is not None:
            network.release(self.descriptor)
        if self.work is not None:
            self.work.closes += 1
        self.outgoing.ended = True
        network.moves += 1
        self._tell_other()
        if resets and self.other is not None:
            self.other.be_reset()

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """SO_LINGER makes `close` a reset; other options have no effect."""
        self._check_open()
        if option == socket.SO_LINGER:
            self._reset_on_close = True

    def setblocking(self, flag: bool) -> None:
        """Non-blocking is all that there is."""
        self._check_open()
        assert not flag, "a blocking socket in the loop"

    def fileno(self) -> int:
        """The simulated descriptor, of a server's end."""
        self._check_open()
        assert self.descriptor is not None
        return self.descriptor

    # --- what the kernel knows -------------------------------------------------------------------

    @property
    def readable(self) -> bool:
        """Whether `recv` has something to return or to raise."""
        return bool(self.incoming.data) or self.incoming.ended or self.lost

    @property
    def writable(self) -> bool:
        """Whether EVENT_WRITE is reported: a third of the buffer is free, or the stream is over."""
        stream = self.outgoing
        return stream.room * WRITABLE_PART >= stream.buffer or stream.ended or self.lost

    @property
    def hung_up(self) -> bool:
        """EPOLLHUP and EPOLLERR, which are reported whether anybody asked or not."""
        return self.lost or (self.incoming.ended and self.outgoing.ended)

    def unacknowledged(self) -> int:
        """Bytes that the peer's kernel has not acknowledged."""
        self._check_open()
        return self.outgoing.unacknowledged

    def reset(self) -> None:
        """Close by a reset."""
        self._reset_on_close = True
        self.close()

    def be_reset(self) -> None:
        """The other end has sent a reset: what was in flight is gone."""
        if self.closed or self.lost:
            return
        self.state = SocketState.LOST
        self._error = errno.ECONNRESET
        data = self.incoming.data
        if not self._network.calm:
            del data[self._network.random.randint(0, len(data)) :]
        self._network.note(self.name, "is reset")
        self._hear()

    # --- inside ----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.closed:
            raise Violation(f"{self.name} was used after it was closed")

    def _enter_kernel(self) -> None:
        self._check_open()
        self._network.preempt()

    @property
    def room(self) -> int:
        """Bytes that a send would take; a peer that is gone takes all, until its reset comes."""
        gone = self.other is None or self.other.closed
        return sys.maxsize if gone else self.outgoing.room

    def _is_false_alarm(self) -> bool:
        """It was ready, and would block all the same: for the server, on TCP, now and then."""
        return self.false_alarms > 0 and self._network.chance(self.false_alarms)

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            self.barren = 0
            raise OSError(error, "simulated")

    def _moved(self, what: str) -> None:
        network = self._network
        network.note(self.name, what)
        network.moves += 1
        self.barren = 0
        self._tell_other()

    def _tell_other(self) -> None:
        if self.other is not None:
            self.other._hear()

    def _hear(self) -> None:
        self._network.changed = True
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            self._network.after(LATENCY, watcher)


def connected_pair(
    network: SimNetwork, names: tuple[str, str], buffers: tuple[int, int, int, int]
) -> tuple[SimSocket, SimSocket]:
    """Two ends. `buffers`: sender's buffer and reader's window, for each direction."""
    forth, back = SimStream(*buffers[:2]), SimStream(*buffers[2:])
    first = SimSocket(network, names[0], back, forth)
    second = SimSocket(network, names[1], forth, back)
    first.other, second.other = second, first
    return first, second


def _plain(client: SimSocket) -> SimSocket:
    return client


class SimListener:
    """A listening socket: connections wait in it until they are accepted."""

    writable: ClassVar = False
    hung_up: ClassVar = False

    def __init__(self, network: SimNetwork, abortion: float) -> None:
        self.name = "listener"
        self.closed = False
        self.barren = 0
        self.exhausted_until = 0.0  # no descriptors before
        self.false_alarms = FALSE_ALARMS  # the probability of each accepted socket
        self.descriptor: int | None = network.allocate(self)
        self.wrap: Callable[[SimSocket], SimSocket] = _plain  # for the ends of clients
        self._abortion = abortion  # how probably a client has gone again when it is accepted
        self._network = network
        self._waiting: deque[tuple[SimSocket, tuple[Any, ...]]] = deque()

    def __repr__(self) -> str:
        return self.name

    def connect(
        self, name: str, buffers: tuple[int, int, int, int], peer: tuple[Any, ...]
    ) -> SimSocket | None:
        """A client's end of a new connection; None: refused. `peer` is its address."""
        if self.closed:
            return None
        client, server = connected_pair(self._network, (name, f"{name}'s server"), buffers)
        self._waiting.append((server, peer))
        self._network.changed = True
        return self.wrap(client)

    def accept(self) -> tuple[SimSocket, tuple[Any, ...]]:
        """The server's end of a waiting connection, and the address of its peer; as accept(2)."""
        self._check_open()
        if not self._waiting:
            raise BlockingIOError
        if self._network.time < self.exhausted_until:
            raise OSError(errno.EMFILE, "simulated: too many open files")
        server, peer = self._waiting.popleft()
        self._network.moves += 1
        self._network.work.accepts += 1
        self.barren = 0
        if self._network.chance(self._abortion):
            server.reset()
            raise OSError(errno.ECONNABORTED, "simulated")
        server.adopt()
        server.work = self._network.work
        server.false_alarms = self.false_alarms
        self._network.note(server.name, "accepted")
        return server, peer

    @property
    def readable(self) -> bool:
        """Whether a connection waits."""
        return bool(self._waiting)

    def close(self) -> None:
        """Stop listening; connections that wait are reset."""
        if not self.closed:
            self.closed = True
            assert self.descriptor is not None
            self._network.release(self.descriptor)
            for server, _ in self._waiting:
                server.reset()

    def getsockname(self) -> tuple[Any, ...]:
        """An address that is none."""
        return ("simulated", 80)

    def setblocking(self, flag: bool) -> None:
        """No effect: `accept` never blocks."""
        self._check_open()

    def fileno(self) -> int:
        """The simulated descriptor; -1 once it is closed."""
        if self.closed:
            return -1
        assert self.descriptor is not None
        return self.descriptor

    def _check_open(self) -> None:
        if self.closed:
            raise Violation("the listener was used after it was closed")
