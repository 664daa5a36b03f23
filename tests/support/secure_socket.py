"""A client's socket that speaks TLS, with the methods of a socket that tests use.

Python's SSLSocket forgets its session when one half is closed; here both halves have their own end:
`shutdown` sends a close_notify and a FIN, and reading goes on.
"""

import socket

from tests.support.authority import MemoryClient

RECEIVE_BYTES = 1 << 16


class SecureSocket:
    """TLS on a connected socket; the handshake is part of making it."""

    def __init__(self, connected: socket.socket, session: MemoryClient | None = None) -> None:
        self.tcp = connected
        self.session = session or MemoryClient()
        connected.sendall(self.session.shake())
        while not self.session.has_shaken:
            connected.sendall(self.session.shake(self._receive()))

    def sendall(self, data: bytes) -> None:
        """Send all of it. A server that sends as well gets its data to the kernel meanwhile."""
        self.tcp.sendall(self.session.say(data))

    def recv(self, count: int, flags: int = 0) -> bytes:
        """The next data of the server, at most `count` bytes; b"" behind its close_notify.

        A FIN without a close_notify raises ConnectionResetError: something is cut.
        """
        session = self.session
        while not session.received and not session.ended:
            session.hear(self._receive())
        data = session.received[:count]
        if not flags & socket.MSG_PEEK:
            session.received = session.received[count:]
        return data

    def shutdown(self, _: int) -> None:
        """Send the close_notify and the FIN: nothing more is to come from here."""
        self.tcp.sendall(self.session.end())
        self.tcp.shutdown(socket.SHUT_WR)

    def settimeout(self, seconds: float | None) -> None:
        self.tcp.settimeout(seconds)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self.tcp.setsockopt(level, option, value)

    def getsockname(self) -> tuple[object, ...]:
        name: tuple[object, ...] = self.tcp.getsockname()
        return name

    def selected_alpn_protocol(self) -> str | None:
        return self.session.tls.selected_alpn_protocol()

    def close(self) -> None:
        self.tcp.close()

    def _receive(self) -> bytes:
        data = self.tcp.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("the server has ended without a close_notify")
        return data
