"""The raw loop: what one thread around a selector costs when it parses nothing.

Every server of this kind pays for `select`, one `recv` and one `send` a request, and for one
Python call from the ready key to its connection. This program does that and nothing else, so its
CPU time per request is the floor: a real server spends everything above it on HTTP.

It is the idiomatic loop, not a trick: DefaultSelector, level-triggered, non-blocking sockets, one
`recv` per readiness, and `key.data` is a bound method of a per-connection object. Data that end
with a blank line count as a request and get one response of realistic size, made beforehand. A
response is far smaller than a socket's buffer, so there is no queue for unsent bytes.

    python -m loadtest.apps.raw_loop --port 8000
"""

import argparse
from email.utils import formatdate
from selectors import EVENT_READ, DefaultSelector
from socket import create_server, socket
from typing import Final

RESPONSE: Final = (
    "HTTP/1.1 200 OK\r\n"
    f"Date: {formatdate(usegmt=True)}\r\n"
    "Content-Type: text/plain\r\n"
    "Content-Length: 13\r\n"
    "\r\n"
    "hello-world!!"
).encode()
RECV_BYTES: Final = 64 * 1024


class Connection:
    """One accepted socket."""

    __slots__ = ("selector", "socket")

    def __init__(self, selector: DefaultSelector, accepted: socket) -> None:
        self.selector = selector
        self.socket = accepted

    def on_events(self, mask: int) -> None:
        """Read once, and send the response to a request."""
        try:
            data = self.socket.recv(RECV_BYTES)
            if data.endswith(b"\r\n\r\n"):
                self.socket.send(RESPONSE)
            elif not data:
                self.close()
        except BlockingIOError:
            return
        except OSError:  # the client has gone
            self.close()

    def close(self) -> None:
        """Close the socket."""
        self.selector.unregister(self.socket)
        self.socket.close()


class Listener:
    """The listening socket: one `accept` per readiness."""

    __slots__ = ("selector", "socket")

    def __init__(self, selector: DefaultSelector, port: int) -> None:
        self.selector = selector
        self.socket = create_server(("127.0.0.1", port), backlog=1024)
        self.socket.setblocking(False)
        selector.register(self.socket, EVENT_READ, self.on_events)

    def on_events(self, mask: int) -> None:
        """Accept one connection."""
        try:
            accepted, _ = self.socket.accept()
        except OSError:  # the client has gone again, or there is no file descriptor left
            return
        accepted.setblocking(False)
        connection = Connection(self.selector, accepted)
        self.selector.register(accepted, EVENT_READ, connection.on_events)


def run(port: int) -> None:
    """Serve for ever."""
    selector = DefaultSelector()
    Listener(selector, port)
    while True:
        for key, mask in selector.select():
            key.data(mask)


def main() -> None:
    parser = argparse.ArgumentParser(description="A raw selectors loop that parses nothing.")
    parser.add_argument("--port", type=int, default=8000)
    run(parser.parse_args().port)


if __name__ == "__main__":
    main()
