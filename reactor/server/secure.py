"""Listeners whose clients speak TLS."""

import socket
from functools import partial
from ssl import SSLContext
from typing import Any, Protocol, TypeAlias

from reactor.net.handshakes import Handshakes
from reactor.net.tls import TlsSettings, TlsTransport
from reactor.net.tls_session import OpenSslSession
from reactor.server.admission import Admission, MakeTransport


class ContextSource(Protocol):
    """Certificates that may be loaded anew: each client gets the context of its time."""

    @property
    def context(self) -> SSLContext:
        """The context for the next client."""


Tls: TypeAlias = SSLContext | ContextSource


def secure(
    admission: Admission, tls: Tls, timeout: float, handshakes: Handshakes
) -> "SecureAdmission":
    """The acceptor of a listener whose clients have `timeout` seconds for their handshakes."""

    def make_session() -> OpenSslSession:
        return OpenSslSession(tls if isinstance(tls, SSLContext) else tls.context)

    settings = TlsSettings(make_session, timeout, handshakes)
    return SecureAdmission(admission, partial(TlsTransport, settings))


class SecureAdmission:
    """The acceptor of a listener whose clients speak TLS; all else is the Admission's."""

    def __init__(self, admission: Admission, make_transport: MakeTransport) -> None:
        self._admission = admission
        self._make_transport = make_transport

    @property
    def lasting(self) -> int:
        """The lowest descriptor that a client may not keep."""
        return self._admission.lasting

    def connect(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Make a connection of an accepted socket, unless there are too many."""
        self._admission.connect(client, peer, self._make_transport)

    def refuse(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Close an accepted socket, for which there is no descriptor to spare."""
        self._admission.refuse(client, peer, by_words=False)

    def make_room(self, error: OSError) -> bool:
        """Close a descriptor of the reserve, so that a client can be accepted and refused."""
        return self._admission.make_room(error)

    def keep_room(self) -> None:
        """Fill the reserve, as far as there are descriptors for it."""
        self._admission.keep_room()
