"""The raw loop over TLS: what OpenSSL costs one thread around a selector that parses nothing.

As `loadtest.apps.raw_loop`, with the sockets of Python's `ssl` in place of plain ones. Its CPU time
per request and its memory per connection are the floor of every server in Python that speaks TLS.

    python -m loadtest.apps.tls_loop --port 8000 --certificate FILE --key FILE
"""

import argparse
import ssl
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from socket import create_server, socket
from typing import Final

from loadtest.apps.raw_loop import RECV_BYTES, RESPONSE

WANTED: Final = {ssl.SSLWantReadError: EVENT_READ, ssl.SSLWantWriteError: EVENT_WRITE}


class Connection:
    """One accepted socket."""

    __slots__ = ("selector", "socket")

    def __init__(self, selector: DefaultSelector, accepted: ssl.SSLSocket) -> None:
        self.selector = selector
        self.socket = accepted

    def shake(self, mask: int) -> None:
        """Go on with the handshake."""
        try:
            self.socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            self.selector.modify(self.socket, WANTED[type(error)], self.shake)
        except OSError:  # it has failed, or the client has gone
            self.close()
        else:
            self.selector.modify(self.socket, EVENT_READ, self.on_events)

    def on_events(self, mask: int) -> None:
        """Read once, and send the response to a request."""
        try:
            data = self.socket.recv(RECV_BYTES)
            if data.endswith(b"\r\n\r\n"):
                self.socket.send(RESPONSE)
            elif not data:
                self.close()
        except ssl.SSLWantReadError:  # a record that is no data, or not whole
            return
        except OSError:  # the client has gone
            self.close()

    def close(self) -> None:
        """Close the socket."""
        self.selector.unregister(self.socket)
        self.socket.close()


class Listener:
    """The listening socket: one `accept` per readiness."""

    __slots__ = ("context", "selector", "socket")

    def __init__(self, selector: DefaultSelector, port: int, context: ssl.SSLContext) -> None:
        self.selector = selector
        self.context = context
        self.socket = create_server(("127.0.0.1", port), backlog=1024)
        self.socket.setblocking(False)
        selector.register(self.socket, EVENT_READ, self.on_events)

    def on_events(self, mask: int) -> None:
        """Accept one connection."""
        try:
            accepted, _ = self.socket.accept()
        except OSError:  # the client has gone again, or there is no file descriptor left
            return
        self._begin(accepted)

    def _begin(self, accepted: socket) -> None:
        accepted.setblocking(False)
        try:
            secure = self.context.wrap_socket(
                accepted, server_side=True, do_handshake_on_connect=False
            )
        except OSError:  # the client has gone again
            accepted.close()
            return
        connection = Connection(self.selector, secure)
        self.selector.register(secure, EVENT_READ, connection.shake)


def run(port: int, context: ssl.SSLContext) -> None:
    """Serve for ever."""
    selector = DefaultSelector()
    Listener(selector, port, context)
    while True:
        for key, mask in selector.select():
            key.data(mask)


def main() -> None:
    parser = argparse.ArgumentParser(description="A raw selectors loop over TLS.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--certificate", required=True, metavar="FILE")
    parser.add_argument("--key", required=True, metavar="FILE")
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    run(options.port, context)


if __name__ == "__main__":
    main()
