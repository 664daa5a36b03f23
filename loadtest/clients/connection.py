"""One non-blocking connection of a load generator, and the turns of the loop that drives it.

Open loop, closed loop, burst and bystander differ in when they ask, not in how: a Connection
connects, sends a request when it is told to, reads the answer to its end and tells its owner what
came of it. The owner decides what comes next. Nothing is told from within a call of the owner's:
a connect or a send that fails at once is told on the next turn, like any other failure, so an owner
may ask or open again in each of its callbacks without end and without recursion.

An answer is right when its status is 200 and its body as long as Content-Length says, or ends as
chunks do; bodies are counted (as they are on the wire) and thrown away. Whatever else happens has a
kind, a word or two of text. Some of the kinds are refusals: the server turned us away, which it may
well do on purpose. All others are errors.

The clock is read when a turn begins, right after the kernel has said what has arrived: an answer
is not charged for the time that our own Python takes for those before it. And the wait goes through
select(2), because the timeout of epoll has only milliseconds.
"""

import argparse
import json
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from errno import ECONNABORTED, ECONNREFUSED, ECONNRESET, EINPROGRESS, EPIPE, errorcode
from math import inf
from re import IGNORECASE
from re import compile as compiled
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, Final, Protocol, TypeAlias

from loadtest.system import raise_descriptor_limit

SERVER: Final = "127.0.0.1"
SOURCES: Final = 20  # loopback addresses that a crowd connects from
NO_PORT_YET: Final = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # 24 on Linux, see ip(7)
RECV_BYTES: Final = 64 * 1024
BODY_BYTES: Final = 256 * 1024  # of a body, at a time
SPARE_DESCRIPTORS: Final = 20  # for all that is no connection
HEAD_BYTES: Final = 64 * 1024  # a head that is longer is none

RIGHT: Final = ""
REFUSED: Final = "refused"
RESET: Final = "reset"  # before the first byte of an answer
UNAVAILABLE: Final = "503"
REFUSALS: Final = (REFUSED, RESET, UNAVAILABLE)
CLOSED: Final = "closed"  # before the first byte of an answer
CUT: Final = "cut"  # after it
NO_LENGTH: Final = "no length"
NO_HTTP: Final = "no HTTP"
TOO_LONG: Final = "too long"
LATE: Final = "late"  # no answer while somebody had the patience to wait for it
UNANSWERED: Final = "unanswered"  # not yet, when all was over: neither error nor refusal

LENGTH: Final = compiled(rb"\r\ncontent-length: *(\d+) *\r\n", IGNORECASE)
CHUNKED: Final = compiled(rb"\r\ntransfer-encoding: *chunked *\r\n", IGNORECASE)
LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
UNKNOWN: Final = 2**62  # bytes
CLOSES: Final = compiled(rb"\r\nconnection: *close *\r\n", IGNORECASE)
_SPARE: Final = bytearray(BODY_BYTES)  # where all bodies go
_RESETS: Final = (ECONNRESET, EPIPE, ECONNABORTED)


def unconnected(number: int) -> socket.socket:
    """A socket of the `number`th connection: crowds come from several addresses, for the ports."""
    client = socket.socket()
    # With the port left open until connect, the kernel may use one port for several servers.
    client.setsockopt(socket.IPPROTO_IP, NO_PORT_YET, 1)
    client.bind((f"127.0.0.{2 + number % SOURCES}", 0))
    return client


def make_room(connections: int) -> None:
    """Raise the limit on descriptors. Raises SystemExit where it stays too low."""
    limit = raise_descriptor_limit()
    if connections > limit - SPARE_DESCRIPTORS:
        raise SystemExit(f"{connections} connections need a higher limit than {limit} (ulimit -Hn)")


Announce: TypeAlias = Callable[[str], None]


def announce(what: str) -> None:
    """For who reads the server's clocks meanwhile: the window opens, or is over."""
    print(json.dumps({"window": what}), flush=True)


def say_nothing(what: str) -> None:
    """Nobody wants to know."""


def add_announce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--announce",
        action="store_const",
        const=announce,
        default=say_nothing,
        help="a line when the window opens, and one when it is over",
    )


class Tally:
    """What came of all requests, by kind."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def add(self, kind: str) -> None:
        self.kinds[kind] += 1

    @property
    def right(self) -> int:
        return self.kinds[RIGHT]

    @property
    def refused(self) -> int:
        return sum(self.kinds[kind] for kind in REFUSALS)

    @property
    def unanswered(self) -> int:
        return self.kinds[UNANSWERED]

    @property
    def errors(self) -> int:
        return self.kinds.total() - self.right - self.refused - self.unanswered

    def to_json(self) -> dict[str, Any]:
        """All requests are in `right`, `errors`, `refused` and `unanswered`, each in one."""
        return {
            "right": self.right,
            "errors": self.errors,
            "refused": self.refused,
            "unanswered": self.unanswered,
            "kinds": {kind: count for kind, count in sorted(self.kinds.items()) if kind and count},
        }


class Turns:
    """The loop: who waits for sockets, and when it is."""

    def __init__(self, port: int, listens: bool = False) -> None:
        """With `listens`, the end of stdin ends a turn and sets `end`."""
        self.address = (SERVER, port)
        self.selector = DefaultSelector()
        self.now = time.monotonic()
        self.end = inf  # when we were told to end
        self._listens = listens

    def turn(self, until: float) -> None:
        """Wait for events until then at most, and handle them."""
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

    def close(self) -> None:
        """With all connections that are still there."""
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr] # each is a socket
        self.selector.close()


class Owner(Protocol):
    """Whose connections they are. Its Turns have the time."""

    turns: Turns
    body_bytes: int  # of all answers; connections add to it

    def ready(self, connection: "Connection") -> None:
        """It is connected; ask, if there is something to ask."""

    def done(self, connection: "Connection", kind: str) -> None:
        """Its request ended, or its connecting did; RIGHT or what went wrong.

        It can be asked again if it `is_open`.
        """

    def gone(self, connection: "Connection") -> None:
        """The server closed it while nothing was asked."""


class Connection:
    """Connects when it is made. `number` is its owner's, as are `due` and `sent`."""

    __slots__ = (
        *("_asked", "_closes", "_head", "_missing", "_odd", "_owner", "_status", "_tail"),
        *("_trouble", "_unsent", "due", "is_open", "number", "sent", "socket"),
    )

    def __init__(self, owner: Owner, number: int, source: int) -> None:
        """`source` counts connections, so that they come from all source addresses in turn."""
        self.number = number
        self.due = self.sent = 0.0
        self._owner = owner
        self._asked = self._closes = False
        self._head = self._unsent = b""
        self._tail = b""  # of a chunked body
        self._status = RIGHT
        self._missing = 0  # bytes of the body
        self._odd = True  # connecting, or a send that is not done: rather rare
        self.is_open = False
        self.socket = unconnected(source)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = self.socket.connect_ex(owner.turns.address)
        self._trouble = 0 if error == EINPROGRESS else error
        owner.turns.selector.register(self.socket, EVENT_WRITE, self._on_events)

    def ask(self, request: bytes) -> None:
        """Send it. The answer to the one before has to be whole."""
        self._asked = True
        try:
            sent = self.socket.send(request)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._trouble = error.errno or EPIPE
            sent = 0
        if sent < len(request):
            self._unsent = request[sent:]
            self._odd = True
            self._watch(EVENT_READ | EVENT_WRITE)

    def close(self) -> None:
        """Nothing more is told of it."""
        if self.socket.fileno() >= 0:
            self._owner.turns.selector.unregister(self.socket)
            self.socket.close()
        self.is_open = False

    # ------------------------------------------------------------------------------ events

    def _on_events(self, mask: int) -> None:
        if self._odd and self._is_through_with_odd(mask):
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

    def _is_through_with_odd(self, mask: int) -> bool:
        """Whether there is nothing to read in this turn."""
        if self._trouble or not self.is_open:
            self._on_connected_or_trouble()
            return True
        if mask & EVENT_WRITE:
            request, self._unsent, self._odd = self._unsent, b"", False
            self._watch(EVENT_READ)
            self.ask(request)
        return not mask & EVENT_READ

    def _on_connected_or_trouble(self) -> None:
        error = self._trouble or self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            names = {ECONNREFUSED: REFUSED} | dict.fromkeys(_RESETS, RESET)
            self._fail(names.get(error) or errorcode.get(error, str(error)))
            return
        self.is_open = True
        self._odd = False
        self._watch(EVENT_READ)
        self._owner.ready(self)

    def _on_head(self, piece: bytes) -> None:
        if not self._asked:  # its end, or a word before it, such as 408
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
        self._status = _judged(received[9:12])
        self._closes = CLOSES.search(received, 0, end + 2) is not None
        length = LENGTH.search(received, 0, end + 2)
        if length is not None:
            self._missing = int(length[1])
            self._count(len(received) - end - 4)
        elif CHUNKED.search(received, 0, end + 2) is not None:
            self._missing, self._tail = UNKNOWN, b"\r\n"
            self._on_chunks(received[end + 4 :])
        else:
            self._fail(NO_LENGTH)

    def _on_body(self, count: int) -> None:
        if not count:
            self._fail(CUT)
        elif self._tail:
            self._on_chunks(bytes(_SPARE[:count]))
        else:
            self._count(count)

    def _on_chunks(self, piece: bytes) -> None:
        """One request at a time: nothing can follow the last chunk, so it is at the end."""
        self._tail = (self._tail + piece[-len(LAST_CHUNK) :])[-len(LAST_CHUNK) :]
        if self._tail == LAST_CHUNK:
            self._missing, self._tail = len(piece), b""
        self._count(len(piece))

    def _count(self, count: int) -> None:
        """So many bytes of the body have come."""
        self._owner.body_bytes += count
        self._missing -= count
        if self._missing > 0:
            return
        if self._missing < 0:
            self._fail(TOO_LONG)
            return
        self._asked = False
        if self._closes or self._unsent:  # the latter: it did not want the rest
            self.close()
        self._owner.done(self, self._status)

    def _fail(self, kind: str) -> None:
        self.close()
        self._owner.done(self, kind)

    def _watch(self, events: int) -> None:
        self._owner.turns.selector.modify(self.socket, events, self._on_events)


def _judged(status: bytes) -> str:
    if status == b"200":
        return RIGHT
    return UNAVAILABLE if status == b"503" else f"status {status.decode('latin-1')}"
