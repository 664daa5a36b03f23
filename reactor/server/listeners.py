"""The listeners of a server, and the way in at each of them.

A listener makes transports that are plain or speak TLS, and has a context of its own where its
handler or its fields differ from the server's. One Admission counts the connections of all.
"""

import socket
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from ssl import SSLContext
from typing import Any, Protocol, TypeAlias

from reactor.http.context import ServerContext
from reactor.loop.reactor import Reactor
from reactor.net.handshakes import Handshakes
from reactor.net.listener import Listener
from reactor.net.tls import TlsSettings, TlsTransport
from reactor.net.tls_session import OpenSslSession
from reactor.server.admission import Admission, Way


class ContextSource(Protocol):
    """Certificates that may be loaded anew: each client gets the context of its time."""

    @property
    def context(self) -> SSLContext:
        """The context for the next client."""

    @property
    def expirations(self) -> Mapping[str, datetime]:
        """The end of each certificate, by its first name."""


Tls: TypeAlias = SSLContext | ContextSource


class Listeners:
    """The listening sockets of one server."""

    def __init__(self, reactor: Reactor, admission: Admission, handshakes: Handshakes) -> None:
        self._reactor = reactor
        self._admission = admission
        self._handshakes = handshakes
        self._open: list[Listener] = []
        self._sources: list[ContextSource] = []

    @property
    def addresses(self) -> list[tuple[Any, ...]]:
        """Their addresses, in the order in which they were added."""
        return [listener.address for listener in self._open]

    @property
    def secure_addresses(self) -> list[tuple[Any, ...]]:
        """Those at which clients speak TLS."""
        return [listener.address for listener in self._open if listener.is_secure]

    def expirations(self) -> dict[str, datetime]:
        """The end of each certificate, by its first name; those of an SSLContext are not known."""
        return {name: end for one in self._sources for name, end in one.expirations.items()}

    def add(
        self,
        listening: socket.socket,
        context: ServerContext,
        tls: Tls | None = None,
        hsts: int | None = None,
    ) -> None:
        """Accept clients from a socket; see `Server.listen_on`."""
        way = Way(self._admission.make_transport, context)
        if tls is not None:
            if not isinstance(tls, SSLContext) and tls not in self._sources:
                self._sources.append(tls)
            if hsts is not None:
                context = context.with_field(f"Strict-Transport-Security: max-age={hsts}")
            way = _secure_way(tls, context, self._handshakes)
        self.add_way(listening, way, is_secure=tls is not None)

    def add_way(self, listening: socket.socket, way: Way, *, is_secure: bool) -> None:
        """Accept clients from a socket; they come in by this way."""
        listening.setblocking(False)
        self._admission.keep_room()
        entrance = Entrance(self._admission, way)
        self._open.append(Listener(self._reactor, listening, entrance, is_secure=is_secure))

    def hold(self) -> None:
        """Accept nobody until `go_on`: clients wait in the kernel."""
        for listener in self._open:
            listener.hold()

    def go_on(self) -> None:
        """Accept clients again."""
        for listener in self._open:
            listener.go_on()

    def accept_last(self) -> None:
        """Accept all clients that wait in the kernel, which would reset them, and close."""
        listeners, self._open = self._open, []
        for listener in listeners:
            listener.finish()

    def close(self) -> None:
        """Accept nobody any more."""
        listeners, self._open = self._open, []
        for listener in listeners:
            listener.close()


class Entrance:
    """The acceptor of one listener: its clients come in by one way."""

    def __init__(self, admission: Admission, way: Way) -> None:
        self._admission = admission
        self._way = way

    @property
    def lasting(self) -> int:
        """The lowest descriptor that a client may not keep."""
        return self._admission.lasting

    def connect(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Make a connection of an accepted socket, unless there are too many."""
        self._admission.connect(client, peer, self._way)

    def refuse(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Refuse an accepted socket, for which there is no descriptor to spare."""
        self._admission.refuse(client, peer, self._way)

    def make_room(self, error: OSError) -> bool:
        """Close a descriptor of the reserve, so that a client can be accepted and refused."""
        return self._admission.make_room(error)

    def keep_room(self) -> None:
        """Fill the reserve, as far as there are descriptors for it."""
        self._admission.keep_room()


def _secure_way(tls: Tls, context: ServerContext, handshakes: Handshakes) -> Way:
    """The way in for clients that speak TLS.

    One above the limit of connections is closed without a word: a handshake costs more than the
    response that would follow it.
    """
    settings = tls_settings(tls, context.limits.tls_handshake_timeout, handshakes)
    return Way(partial(TlsTransport, settings), context, refuses_in_words=False)


def tls_settings(tls: Tls, timeout: float, handshakes: Handshakes) -> TlsSettings:
    """The objects that all connections of a listener share; `timeout` is in seconds."""

    def make_session() -> OpenSslSession:
        return OpenSslSession(tls if isinstance(tls, SSLContext) else tls.context)

    return TlsSettings(make_session, timeout, handshakes)
