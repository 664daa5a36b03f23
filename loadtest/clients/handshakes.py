"""Handshakes as fast as they come: a client that connects, agrees, says goodbye and begins anew.

No request is sent, so the server's CPU time is that of its handshakes. SLOTS connections take
turns. Each sends its close_notify and its FIN behind the handshake, and reads until the server's
end: so the tickets of TLS 1.3, which follow the handshake, have come, and no end is a reset. With
`--resumed` each connection comes back with the ticket of the one before it; otherwise with none.

It ends by itself, and prints how many handshakes there were, how many of them were resumed, what
was agreed upon, and what failed. A program such as `openssl s_time` leaves before the tickets.

    python -m loadtest.clients.handshakes --port 8000 --seconds 3 --resumed
"""

import argparse
import socket
import ssl
import time
from collections import Counter
from errno import EINPROGRESS
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, Final

from loadtest.clients.connection import RECV_BYTES, SERVER, unconnected
from loadtest.clients.secure import SecureSocket, to_be_secured
from loadtest.clients.slow_crowds import print_json

SLOTS: Final = 8  # connections that take turns
PAUSE: Final = 0.05  # seconds after a connection that failed


class Load:
    """All slots, and what became of their handshakes."""

    def __init__(self, port: int, *, resumes: bool) -> None:
        self.address = (SERVER, port)
        self.resumes = resumes
        self.selector = DefaultSelector()
        self.opened = 0
        self.handshakes = 0
        self.resumed = 0
        self.agreed: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Shake hands for so long, and leave the rest undone."""
        for _ in range(SLOTS):
            Slot(self).open()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                key.data()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr] # all are sockets
        self.selector.close()

    def to_json(self) -> dict[str, Any]:
        """The counts."""
        return {
            "handshakes": self.handshakes,
            "resumed": self.resumed,
            "agreed": dict(self.agreed),
            "failures": dict(self.failures),
        }


class Slot:
    """One connection after another."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._session: ssl.SSLSession | None = None
        self._socket: SecureSocket

    def open(self) -> None:
        """Begin to connect."""
        load = self._load
        load.opened += 1
        session = self._session if load.resumes else None
        self._socket = to_be_secured(unconnected(load.opened), session)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = self._socket.connect_ex(load.address)
        load.selector.register(self._socket, EVENT_WRITE, self._shake)
        if error and error != EINPROGRESS:
            self._end(f"errno {error}")

    def _shake(self) -> None:
        """Go on with the handshake, and leave behind it."""
        load = self._load
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            load.selector.modify(self._socket, EVENT_READ, self._shake)
            return
        except OSError as error:
            self._end(str(error.strerror or error))
            return
        load.handshakes += 1
        load.resumed += bool(self._socket.session_reused)
        cipher = self._socket.cipher()
        load.agreed[f"{self._socket.version()} {cipher[0] if cipher else ''}"] += 1
        try:
            self._socket.unwrap()
        except ssl.SSLError:
            pass  # our close_notify is sent, and the server's has not come
        except OSError as error:
            self._end(str(error.strerror or error))
            return
        try:
            # SSLSocket.shutdown would forget the session.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
        except OSError as error:
            self._end(str(error.strerror or error))
            return
        load.selector.modify(self._socket, EVENT_READ, self._leave)

    def _leave(self) -> None:
        """Read until the server's end; the tickets are read on the way."""
        try:
            while self._socket.recv(RECV_BYTES):
                pass
        except BlockingIOError:
            return
        except ssl.SSLZeroReturnError:
            pass  # the server's close_notify, behind our own
        except OSError as error:
            self._end(str(error.strerror or error))
            return
        self._end("")

    def _end(self, failure: str) -> None:
        """Begin anew; a pause follows a failure, or a server that is gone would be besieged."""
        if failure:
            self._load.failures[failure] += 1
            time.sleep(PAUSE)
        else:
            self._session = self._socket.session or self._session
        self._load.selector.unregister(self._socket)
        self._socket.close()
        self.open()


def main() -> None:
    parser = argparse.ArgumentParser(description="Handshakes as fast as they come.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--resumed", action="store_true", help="by the ticket of the one before")
    options = parser.parse_args()
    load = Load(options.port, resumes=options.resumed)
    load.run(options.seconds)
    print_json(**load.to_json())


if __name__ == "__main__":
    main()
