"""How many connections a server has, and what becomes of an accepted client above the limit.

Below `Limits.connections` a client is served. Above, it gets a 503, which says more than a
connection that stays silent. The same holds where the process runs out of descriptors: connections
and the files of requests use them up, so no limit of connections excludes it. Clients are refused
while some are left for short use (files/descriptors.py), and where none is left, with a descriptor
of the reserve (net/spare_descriptors.py).

A connection that is refused lingers, so that the client can read why. REFUSALS of them do so at the
same time, or fewer where the reserve is smaller; for a further one, the oldest is closed.
"""

import logging
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from reactor.errors import ProtocolError
from reactor.files.descriptors import SPARE_MOST, lasting_descriptors, spare_descriptors
from reactor.http.connection import HttpConnection
from reactor.http.context import ServerContext
from reactor.log_limit import LogLimit
from reactor.loop.reactor import Reactor
from reactor.net.arrivals import LatestConnections
from reactor.net.spare_descriptors import SpareDescriptors
from reactor.net.transport import Transport

REFUSALS: Final = SPARE_MOST  # clients that are refused at the same time
RESERVED_DESCRIPTORS: Final = 64  # for the loop, the logs, libraries
MakeTransport: TypeAlias = Callable[[Reactor, socket.socket, tuple[Any, ...]], Transport]
log = logging.getLogger("reactor")


class Way(NamedTuple):
    """How the connections of one listener are made, and refused."""

    make_transport: MakeTransport
    context: ServerContext
    refuses_in_words: bool = True  # by a response; without, the socket is closed


class Admission:
    """Makes a connection of each accepted client, and knows the open ones."""

    def __init__(
        self,
        reactor: Reactor,
        context: ServerContext,
        transport: MakeTransport,
        spare: SpareDescriptors | None,
    ) -> None:
        """`spare` is the reserve; None stands for one that fits RLIMIT_NOFILE."""
        self.connections: dict[HttpConnection, float] = {}  # open, since when, in their order
        self._refused: dict[HttpConnection, None] = {}  # those of them that linger, in their order
        self._spare = SpareDescriptors(spare_descriptors()) if spare is None else spare
        self._out_of_descriptors = LogLimit(log.error, clock=reactor.clock)
        self._reactor = reactor
        self._context = context
        self.make_transport = transport
        self._way = Way(transport, context)
        self._latest = LatestConnections(reactor)

    @property
    def lasting(self) -> int:
        """The lowest descriptor that a client may not keep: it is left for short use."""
        return lasting_descriptors() if self._spare.size else sys.maxsize

    def connect(
        self,
        client: socket.socket,
        peer: tuple[Any, ...],
        way: Way | None = None,
    ) -> None:
        """Make a connection of an accepted, non-blocking socket; it may be refused."""
        way = way or self._way
        if len(self.connections) - len(self._refused) < self._context.limits.connections:
            self._latest.add(self._open(client, peer, way)[1])
        else:
            self._refuse(client, peer, way, "Too many connections.")

    def refuse(self, client: socket.socket, peer: tuple[Any, ...], way: Way | None = None) -> None:
        """Refuse an accepted, non-blocking socket, for which there is no descriptor to spare."""
        self._out_of_descriptors.log("Clients are refused: too many open files")
        self._refuse(client, peer, way or self._way, "The server has too many files open.")

    def make_room(self, error: OSError) -> bool:
        """Close a descriptor of the reserve, so that a client can be accepted and refused."""
        if self._spare.size and not self._spare:
            self._end_oldest_refusal()
        return self._spare.release()

    def keep_room(self) -> None:
        """Fill the reserve, as far as there are descriptors for it."""
        self._spare.fill()

    def close(self) -> None:
        """Close the reserve: no client is accepted any more."""
        self._spare.close()

    def closed(self, connection: HttpConnection) -> None:
        """Forget a connection that has ended; its descriptor goes to the reserve first."""
        self.connections.pop(connection, None)
        self._refused.pop(connection, None)
        self._spare.fill()

    def _open(
        self, client: socket.socket, peer: tuple[Any, ...], way: Way
    ) -> tuple[HttpConnection, Transport]:
        transport = way.make_transport(self._reactor, client, peer)
        connection = HttpConnection(transport, way.context)
        self.connections[connection] = self._reactor.now
        self._context.state.accepted += 1
        return connection, transport

    def _refuse(
        self, client: socket.socket, peer: tuple[Any, ...], way: Way, sentence: str
    ) -> None:
        if not way.refuses_in_words:
            client.close()
            self._spare.fill()
            return
        if len(self._refused) >= (self._spare.size or REFUSALS):
            self._end_oldest_refusal()
        connection, _ = self._open(client, peer, way)
        self._refused[connection] = None
        connection.refuse(ProtocolError(503, sentence, [("Retry-After", "1")]))

    def _end_oldest_refusal(self) -> None:
        """End the connection that was refused first, if there is one.

        A reset ends a response that has not left whole: what is cut looks cut.
        """
        oldest = next(iter(self._refused), None)
        if oldest is not None:
            transport = oldest.transport
            if transport.unsent:
                transport.abort()
            else:
                transport.close()


def affordable_connections() -> int:
    """The number of connections that this process has file descriptors for.

    Raises the soft limit of descriptors (RLIMIT_NOFILE) to the hard one first.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS has a limit of its own below the hard one
            pass
    return max(16, lasting_descriptors() - spare_descriptors() - RESERVED_DESCRIPTORS)
