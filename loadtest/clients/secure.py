"""TLS for the clients of this package: a socket that speaks it, with the errors of a plain one.

A load generator has other tasks than to examine certificates, so these clients accept any. They
speak TLS 1.3 alone, since all servers that are compared have to agree on the same.
"""

import ssl
from functools import cache
from socket import socket
from typing import Any

from loadtest.clients.connection import Turns


class SecureSocket(ssl.SSLSocket):
    """A TLS socket that raises BlockingIOError where it would wait, as a plain one does.

    OpenSSL reads one record at a time, and whole: what it leaves stays with the kernel, so that a
    selector sees it.
    """

    def recv(self, *arguments: Any) -> bytes:
        """As socket.recv."""
        try:
            return super().recv(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def recv_into(self, *arguments: Any) -> int:
        """As socket.recv_into."""
        try:
            return super().recv_into(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, *arguments: Any) -> int:
        """As socket.send."""
        try:
            return super().send(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None


@cache
def client_context() -> ssl.SSLContext:
    """The context of all clients of a process."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslsocket_class = SecureSocket
    return context


def secured(connected: socket) -> SecureSocket:
    """TLS over a connected, blocking socket. Raises OSError where the handshake fails."""
    secure = client_context().wrap_socket(connected)
    assert isinstance(secure, SecureSocket)
    return secure


def to_be_secured(unconnected: socket, session: ssl.SSLSession | None = None) -> SecureSocket:
    """TLS over a socket that is not connected yet; the handshake is the caller's."""
    secure = client_context().wrap_socket(
        unconnected, do_handshake_on_connect=False, session=session
    )
    assert isinstance(secure, SecureSocket)
    return secure


class SecureTurns(Turns):
    """Turns whose connections speak TLS: a connection is there when its handshake has ended."""

    def socket_for(self, number: int) -> socket:
        """A socket for the `number`th connection."""
        return to_be_secured(super().socket_for(number))

    def shake(self, connected: socket) -> None:
        """Go on with the handshake. Raises ssl.SSLError, as SSLSocket.do_handshake does."""
        assert isinstance(connected, SecureSocket)
        connected.do_handshake()
