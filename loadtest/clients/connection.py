"""One non-blocking connection of a load generator, and the turns of the loop that drives it.

Open loop, closed loop, burst and bystander differ in when they send a request, not in how. A
Connection connects, sends a request when its owner calls `ask`, reads the response to its end, and
calls its owner with the outcome. The owner decides what follows. A callback never runs from within
a call of the owner: a connect or a send that fails at once is reported on the next turn, like any
other failure, so an owner may ask or open again in each of its callbacks without recursion.

A response is correct when its status is 200 and its body is as long as Content-Length says, or ends
with a last chunk. Bodies are counted (as they are on the wire) and dropped. Every other outcome has
a kind, a word or two of text. Some kinds are refusals: the server turned the client away, perhaps
on purpose. All other kinds are errors.

The clock is read when a turn begins, right after the kernel has returned what has arrived, so a
response is not charged for the time that our own Python takes for the responses before it. The wait
goes through select(2), because the timeout of epoll is in whole milliseconds.
"""

import argparse
import json
import select
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from errno import ECONNABORTED, ECONNREFUSED, ECONNRESET, EINPROGRESS, EPIPE, errorcode
from math import inf
from re import IGNORECASE
from re import compile as compiled
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, Final, Protocol, TypeAlias

from loadtest.system import raise_descriptor_limit

SERVER: Final = "127.0.0.1"
SOURCES: Final = 20  # loopback addresses from which a crowd connects
NO_PORT_YET: Final = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # 24 on Linux, see ip(7)
RECV_BYTES: Final = 64 * 1024
BODY_BYTES: Final = 256 * 1024  # largest read of a body
SPARE_DESCRIPTORS: Final = 20  # beside the connections
HEAD_BYTES: Final = 64 * 1024  # largest head; a longer one counts as NO_HTTP

# The kinds of outcome.
CORRECT: Final = ""
REFUSED: Final = "refused"
RESET: Final = "reset"  # before the first byte of a response
UNAVAILABLE: Final = "503"
REFUSALS: Final = (REFUSED, RESET, UNAVAILABLE)
CLOSED: Final = "closed"  # before the first byte of a response
CUT: Final = "cut"  # closed or reset after the first byte
NO_LENGTH: Final = "no length"
NO_HTTP: Final = "no HTTP"
NO_TLS: Final = "no TLS"  # the handshake has failed
TOO_LONG: Final = "too long"
LATE: Final = "late"  # no response within the client's patience
UNANSWERED: Final = "unanswered"  # no response at the end of the run: neither error nor refusal

LENGTH: Final = compiled(rb"\r\ncontent-length: *(\d+) *\r\n", IGNORECASE)
CHUNKED: Final = compiled(rb"\r\ntransfer-encoding: *chunked *\r\n", IGNORECASE)
LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
UNKNOWN: Final = 2**62  # bytes that are missing from a chunked body
CLOSES: Final = compiled(rb"\r\nconnection: *close *\r\n", IGNORECASE)
_SPARE: Final = bytearray(BODY_BYTES)  # the buffer of all bodies, which are dropped
_RESETS: Final = (ECONNRESET, EPIPE, ECONNABORTED)


def unconnected(number: int) -> socket.socket:
    """A socket for the `number`th connection.

    Crowds come from several loopback addresses, since one address has too few ports.
    """
    client = socket.socket()
    # The port is chosen at connect, so the kernel may use one port for several servers.
    client.setsockopt(socket.IPPROTO_IP, NO_PORT_YET, 1)
    client.bind((f"127.0.0.{2 + number % SOURCES}", 0))
    return client


def make_room(connections: int) -> None:
    """Raise the limit of file descriptors. Raises SystemExit where it stays too low."""
    limit = raise_descriptor_limit()
    if connections > limit - SPARE_DESCRIPTORS:
        raise SystemExit(
            f"The limit of open files (ulimit -Hn) is {limit}, too low for {connections} "
            "connections."
        )


Announce: TypeAlias = Callable[[str], None]


def announce(what: str) -> None:
    """Print that the measured window is "open" or "over", for a harness that reads clocks then."""
    print(json.dumps({"window": what}), flush=True)


def ignore(what: str) -> None:
    """An Announce that prints nothing."""


def add_announce(parser: argparse.ArgumentParser) -> None:
    """Add the option --announce, whose value is `announce` or `ignore`."""
    parser.add_argument(
        "--announce",
        action="store_const",
        const=announce,
        default=ignore,
        help="print a line when the window opens, and one when it is over",
    )


class Tally:
    """The outcomes of all requests, counted by kind."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def add(self, kind: str) -> None:
        """Count one request."""
        self.kinds[kind] += 1

    @property
    def correct(self) -> int:
        """Requests with a correct response."""
        return self.kinds[CORRECT]

    @property
    def refused(self) -> int:
        """Requests that the server turned away."""
        return sum(self.kinds[kind] for kind in REFUSALS)

    @property
    def unanswered(self) -> int:
        """Requests without a response at the end."""
        return self.kinds[UNANSWERED]

    @property
    def errors(self) -> int:
        """Requests with any other outcome."""
        return self.kinds.total() - self.correct - self.refused - self.unanswered

    def to_json(self) -> dict[str, Any]:
        """Counts; each request is in one of `correct`, `errors`, `refused` and `unanswered`."""
        return {
            "correct": self.correct,
            "errors": self.errors,
            "refused": self.refused,
            "unanswered": self.unanswered,
            "kinds": {kind: count for kind, count in sorted(self.kinds.items()) if kind and count},
        }


class Turns:
    """The loop: it waits for sockets, reads the clock, and calls the connections."""

    def __init__(self, port: int, listens: bool = False) -> None:
        """With `listens`, the end of stdin ends a turn and sets `end` to that moment."""
        self.address = (SERVER, port)
        self.selector = DefaultSelector()
        self.now = time.monotonic()
        self.end = inf  # when stdin was closed
        self._listens = listens

    def turn(self, until: float) -> None:
        """Wait for events, not longer than `until` (monotonic clock), and handle them."""
        timeout = until - time.monotonic()
        if self._listens:
            ready, _, _ = select.select([self.selector, sys.stdin], [], [], max(0.0, timeout))
            if sys.stdin in ready:
                self.end = time.monotonic()
                self._listens = False
        elif timeout > 0.0:
            select.select([self.selector], [], [], timeout)
        events = self.selector.select(0)
        self.now = time.monotonic()
        for key, mask in events:
            key.data(mask)

    def socket_for(self, number: int) -> socket.socket:
        """A socket for the `number`th connection, not connected yet."""
        return unconnected(number)

    def shake(self, connected: socket.socket) -> None:
        """Go on with the handshake of TLS, where connections speak it; see secure.py."""

    def close(self) -> None:
        """Close the selector and all sockets that it has."""
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr] # all are sockets
        self.selector.close()


class Owner(Protocol):
    """The load that a connection belongs to."""

    turns: Turns
    body_bytes: int  # the sum of all responses; connections add to it

    def ready(self, connection: "Connection") -> None:
        """The connection is established; `ask` may be called now or later."""

    def done(self, connection: "Connection", kind: str) -> None:
        """The request has ended, or connecting failed; `kind` is CORRECT or the failure.

        `ask` may be called again where the connection `is_open`.
        """

    def gone(self, connection: "Connection") -> None:
        """The server closed the connection while no request was running."""


class ConnectionState(Enum):
    """The event that a Connection waits for."""

    CONNECTING = auto()
    IDLE = auto()  # the next `ask`
    WAITING = auto()  # a response
    CLOSED = auto()


# A global is read faster than a member of an Enum.
_CONNECTING, _IDLE, _WAITING, _CLOSED = ConnectionState


class Connection:
    """Connects when it is made. `number`, `due` and `sent` are for its owner's use."""

    __slots__ = (
        *("_closes", "_head", "_is_rare", "_missing", "_owner", "_state", "_status", "_tail"),
        *("_trouble", "_unsent", "due", "number", "sent", "socket"),
    )

    def __init__(self, owner: Owner, number: int, source: int) -> None:
        """`source` counts connections, which come from all source addresses in turn."""
        self.number = number
        self.due = self.sent = 0.0
        self._owner = owner
        self._state = _CONNECTING
        self._closes = False  # after this response
        self._head = self._unsent = b""
        self._tail = b""  # the last bytes of a chunked body
        self._status = CORRECT
        self._missing = 0  # bytes of the body
        self._is_rare = True  # it connects, or a send is incomplete or failed
        self.socket = owner.turns.socket_for(source)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = self.socket.connect_ex(owner.turns.address)
        self._trouble = 0 if error == EINPROGRESS else error
        owner.turns.selector.register(self.socket, EVENT_WRITE, self._on_events)

    @property
    def is_open(self) -> bool:
        """Whether it is connected and not closed."""
        return self._state is _IDLE or self._state is _WAITING

    def ask(self, request: bytes) -> None:
        """Send a request. The response to the one before must have ended."""
        self._state = _WAITING
        try:
            sent = self.socket.send(request)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._trouble = error.errno or EPIPE
            sent = 0
        if sent < len(request):
            self._unsent = request[sent:]
            self._is_rare = True
            self._watch(EVENT_READ | EVENT_WRITE)

    def close(self) -> None:
        """Close the socket; the owner gets no more calls."""
        if self.socket.fileno() >= 0:
            self._owner.turns.selector.unregister(self.socket)
            self.socket.close()
        self._state = _CLOSED

    # ------------------------------------------------------------------------------ events

    def _on_events(self, mask: int) -> None:
        if self._is_rare and self._on_rare_events(mask):
            return
        try:
            if self._missing:
                self._on_body(self.socket.recv_into(_SPARE))
            else:
                self._on_head(self.socket.recv(RECV_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._fail(CUT if self._head or self._missing else RESET)

    def _on_rare_events(self, mask: int) -> bool:
        """Go on with connecting or sending; returns whether there is nothing to read now."""
        if self._trouble or self._state is _CONNECTING:
            self._on_connected_or_trouble()
            return True
        if mask & EVENT_WRITE:
            request, self._unsent, self._is_rare = self._unsent, b"", False
            self._watch(EVENT_READ)
            self.ask(request)
        return not mask & EVENT_READ

    def _on_connected_or_trouble(self) -> None:
        error = self._trouble or self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            names = {ECONNREFUSED: REFUSED} | dict.fromkeys(_RESETS, RESET)
            self._fail(names.get(error) or errorcode.get(error, str(error)))
            return
        try:
            self._owner.turns.shake(self.socket)
        except ssl.SSLWantReadError:
            self._watch(EVENT_READ)
            return
        except OSError:
            self._fail(NO_TLS)
            return
        self._state = _IDLE
        self._is_rare = False
        self._watch(EVENT_READ)
        self._owner.ready(self)

    def _on_head(self, piece: bytes) -> None:
        if self._state is _IDLE:  # the end, or a response before the end, such as 408
            self.close()
            self._owner.gone(self)
        elif not piece:
            self._fail(CUT if self._head else CLOSED)
        else:
            self._read(self._head + piece if self._head else piece)

    def _read(self, received: bytes) -> None:
        end = received.find(b"\r\n\r\n")
        if end < 0:
            self._head = received
            if len(received) > HEAD_BYTES or not received.startswith(b"HTTP/1."[: len(received)]):
                self._fail(NO_HTTP)
            return
        self._head = b""
        self._status = _kind_of(received[9:12])
        self._closes = CLOSES.search(received, 0, end + 2) is not None
        length = LENGTH.search(received, 0, end + 2)
        if length is not None:
            self._missing = int(length[1])
            self._count(len(received) - end - 4)
        elif CHUNKED.search(received, 0, end + 2) is not None:
            self._missing, self._tail = UNKNOWN, b"\r\n"
            self._on_chunked(received[end + 4 :])
        else:
            self._fail(NO_LENGTH)

    def _on_body(self, count: int) -> None:
        if not count:
            self._fail(CUT)
        elif self._tail:
            self._on_chunked(bytes(_SPARE[:count]))
        else:
            self._count(count)

    def _on_chunked(self, piece: bytes) -> None:
        """With one request at a time nothing follows the last chunk, so it ends the bytes."""
        self._tail = (self._tail + piece[-len(LAST_CHUNK) :])[-len(LAST_CHUNK) :]
        if self._tail == LAST_CHUNK:
            self._missing, self._tail = len(piece), b""
        self._count(len(piece))

    def _count(self, count: int) -> None:
        """Take `count` more bytes of the body."""
        self._owner.body_bytes += count
        self._missing -= count
        if self._missing > 0:
            return
        if self._missing < 0:
            self._fail(TOO_LONG)
            return
        self._state = _IDLE
        if self._closes or self._unsent:  # unsent: the server did not read the whole request
            self.close()
        self._owner.done(self, self._status)

    def _fail(self, kind: str) -> None:
        self.close()
        self._owner.done(self, kind)

    def _watch(self, events: int) -> None:
        self._owner.turns.selector.modify(self.socket, events, self._on_events)


def _kind_of(status: bytes) -> str:
    if status == b"200":
        return CORRECT
    return UNAVAILABLE if status == b"503" else f"status {status.decode('latin-1')}"
