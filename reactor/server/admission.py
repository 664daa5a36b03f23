"""How many connections a server has, and what becomes of an accepted client above the limit.

Below `Limits.connections` a client is served. The next REFUSALS clients get a 503, which says more
than a connection that stays silent. Above that the socket is closed at once, since a refusal needs
a descriptor as well.
"""

import logging
import resource
import socket
from typing import Any, Final

from reactor.errors import ProtocolError
from reactor.http.connection import HttpConnection
from reactor.http.context import ServerContext
from reactor.loop.reactor import Reactor
from reactor.net.listener import LatestConnections
from reactor.net.transport import Transport

REFUSALS: Final = 64  # clients above the limit that are refused at the same time
RESERVED_DESCRIPTORS: Final = 64  # for the loop, the logs, libraries
KEPT_BACK: Final = 8  # one descriptor in so many is for files, sent or received
log = logging.getLogger("reactor")


class Admission:
    """Makes a connection of each accepted client, and knows the open ones."""

    def __init__(
        self, reactor: Reactor, context: ServerContext, transport: type[Transport]
    ) -> None:
        self.connections: dict[HttpConnection, float] = {}  # open, since when, in their order
        self._reactor = reactor
        self._context = context
        self._transport = transport
        self._latest = LatestConnections(reactor)

    def connect(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Make a connection of an accepted, non-blocking socket."""
        context, limit = self._context, self._context.limits.connections
        already_open = len(self.connections)
        if already_open >= limit + REFUSALS:
            client.close()
            return
        transport = self._transport(self._reactor, client, peer)
        connection = HttpConnection(transport, context)
        self.connections[connection] = self._reactor.now
        context.state.accepted += 1
        if already_open >= limit:
            connection.refuse(ProtocolError(503, "Too many connections.", [("Retry-After", "1")]))
        else:
            self._latest.add(transport)


def affordable_connections() -> int:
    """The number of connections that this process has file descriptors for.

    Raises the soft limit of descriptors (RLIMIT_NOFILE) to the hard one first.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # macOS has a limit of its own below the hard one
            pass
    if soft == resource.RLIM_INFINITY:
        soft = 1 << 20
    return max(16, soft - soft // KEPT_BACK - RESERVED_DESCRIPTORS - REFUSALS)
