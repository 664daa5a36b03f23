"""Listening sockets in the loop: accepting clients.

A turn accepts ACCEPTS_PER_TURN clients at most, and fewer become connections (see arrivals.py).

When the process has run out of file descriptors, the Acceptor makes room for one client at a time,
which is refused. Where it cannot, a listener sleeps for ACCEPT_PAUSE: a failed accept leaves it
ready, and the loop would spin.
"""

import errno
import logging
import socket
from selectors import EVENT_READ
from typing import Any, Final, Protocol

from reactor.log_limit import LogLimit
from reactor.loop.reactor import Reactor
from reactor.net.arrivals import Arrivals

ACCEPTS_PER_TURN: Final = 256
REFUSALS_PER_TURN: Final = 16  # fewer: a refused client may be back within the same turn
LAST_ACCEPTS: Final = 1 << 16  # before a listener finishes; the backlog of a socket is not longer
ACCEPT_PAUSE: Final = 0.1  # seconds without accepting, after running out of descriptors
CANNOT_ACCEPT: Final = "Cannot accept connections: %s; trying again in %g s"  # a log line
OUT_OF_RESOURCES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

OUT_OF_DESCRIPTORS: Final = {errno.EMFILE, errno.ENFILE}

log = logging.getLogger("reactor")


class Acceptor(Protocol):
    """The owner of accepted clients. The sockets do not block."""

    def connect(self, client: socket.socket, peer: tuple[Any, ...]) -> object:
        """Serve a client that was accepted, or refuse it."""

    @property
    def lasting(self) -> int:
        """The lowest descriptor that a client may not keep: such a client is refused."""

    def refuse(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Refuse a client that was accepted without room, or in what `make_room` has made."""

    def make_room(self, error: OSError) -> bool:
        """Close a descriptor, so that one client can be accepted; False if there is none."""

    def keep_room(self) -> None:
        """Hold descriptors back again, as far as there are any."""


class Listener:
    """One listening socket in the loop."""

    def __init__(
        self,
        reactor: Reactor,
        listening: socket.socket,
        acceptor: Acceptor,
        *,
        is_secure: bool = False,
    ) -> None:
        """`listening` is a bound, non-blocking socket. The listener owns and closes it.

        `is_secure`: clients speak TLS here, to the transports of the acceptor.
        """
        self.is_secure = is_secure
        self._acceptor = acceptor
        self._arrivals = Arrivals(reactor, acceptor.connect)
        self._socket = listening
        self._reactor = reactor
        self._open = True
        self._out_of_resources = LogLimit(log.error, clock=reactor.clock)
        self.address: tuple[Any, ...] = listening.getsockname()
        self._reactor.urgent.append(self)
        self._listen()

    def describe(self) -> str:
        """The listener's name in log records and state dumps."""
        host, port = self.address[:2]
        return f"the listener on {host}, port {port}"

    def on_events(self, mask: int) -> None:
        """Accept the clients that wait. The error of one client does not affect the others."""
        self._accept(min(ACCEPTS_PER_TURN, self._arrivals.room), REFUSALS_PER_TURN)
        self._arrivals.connect_some()

    def hold(self) -> None:
        """Accept nobody until `go_on`: clients wait in the kernel."""
        self._stop_listening()

    def go_on(self) -> None:
        """Accept clients again, unless the socket is closed."""
        if self._socket.fileno() >= 0 and not self._open:
            self._open = True
            self._listen()

    def finish(self) -> None:
        """Accept all clients that wait in the kernel, which would reset them, and close."""
        self._open = True  # also in a pause: there may be descriptors again
        self._accept(LAST_ACCEPTS, LAST_ACCEPTS)
        self._arrivals.connect_all()
        self.close()

    def _accept(self, most: int, most_refused: int) -> None:
        acceptor, refused, in_spare_room = self._acceptor, 0, False
        lasting = acceptor.lasting
        for _ in range(most):
            if not self._open:
                return
            try:
                client, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno in OUT_OF_DESCRIPTORS and acceptor.make_room(error):
                    in_spare_room = True
                elif error.errno in OUT_OF_RESOURCES:
                    self._pause(error)
                    return
                continue  # ECONNABORTED and the like: that client has gone again (accept(2))
            client.setblocking(False)
            if in_spare_room or client.fileno() >= lasting:
                in_spare_room = False
                acceptor.refuse(client, peer)
                refused += 1
                if refused == most_refused:
                    return
            else:
                self._arrivals.add(client, peer)
        if in_spare_room:
            acceptor.keep_room()  # no client has come into it

    def close(self) -> None:
        """Stop listening, and close the socket."""
        self._stop_listening()
        self._arrivals.close()
        self._reactor.urgent.remove(self)
        self._socket.close()

    def abort(self) -> None:
        """Go on listening: no error that a client causes may end it."""

    def _listen(self) -> None:
        self._reactor.selector.register(self._socket, EVENT_READ, self)

    def _stop_listening(self) -> None:
        self._open = False
        if self._socket in self._reactor.selector.get_map():
            self._reactor.selector.unregister(self._socket)

    def _pause(self, error: OSError) -> None:
        self._out_of_resources.log(CANNOT_ACCEPT, error.strerror, ACCEPT_PAUSE)
        self._stop_listening()
        self._reactor.call_later(ACCEPT_PAUSE, self.go_on)
