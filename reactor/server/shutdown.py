"""How a server ends: delay, drain, grace, abort.

    serving   until `begin`
    leaving   everything goes on for `Limits.shutdown_delay` seconds; only the health check says
              that the server leaves, so that a load balancer has time to notice
    draining  nothing is accepted any more. Idle connections are closed after the grace period,
              running requests may finish. Requests that were sent before are served: the backlog is
              accepted first, and each idle connection is read once more before it is closed
    aborting  `Limits.shutdown_timeout` seconds after draining began, or at a second `begin`, every
              connection that is left is reset, and the calls of `request.after` are cancelled
    stopping  the last connection has gone, and the application's functions of the end run; a
              `begin` now ends them at once
    ended     the loop stops

Each step is a record of the error log, that of an abort with the requests that it cuts off.

Shutdown closes no listener and calls nothing of the application itself: it calls `stop_accepting`
and `stop`, two arguments, and the second one calls `end`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from enum import IntEnum
from itertools import islice
from typing import Final

from reactor.errors import counted
from reactor.http.closing import shut_down
from reactor.http.connection import HttpConnection
from reactor.http.context import ServerContext
from reactor.http.states import IDLE
from reactor.loop.reactor import Reactor
from reactor.loop.scheduler import SLICE, abort_owner
from reactor.net.transport import Transport

NAMED: Final = 5  # requests that the record of an abort names
NAME_CHARACTERS: Final = 200  # at most, for each request

log = logging.getLogger("reactor")


class ShutdownPhase(IntEnum):
    """How far a server's end has come."""

    SERVING = 0
    LEAVING = 1
    DRAINING = 2
    STOPPING = 3
    ENDED = 4


class Shutdown:
    """The end of one server."""

    def __init__(
        self,
        reactor: Reactor,
        context: ServerContext,
        connections: Collection[HttpConnection],
        stop_accepting: Callable[[], object],
        stop: Callable[[], object],
    ) -> None:
        """`connections` is the live collection of open ones; it is copied before each use.

        `stop` is called when the last one has gone, and again to end what it has begun at once.
        """
        self.phase = ShutdownPhase.SERVING
        self._reactor = reactor
        self._limits = context.limits
        self._state = context.state
        self._connections = connections
        self._after_work = context.after_work
        self._stop_accepting = stop_accepting
        self._stop = stop

    def begin(self, grace: float) -> None:
        """Start the end of the server; a second call aborts everything now."""
        if self.phase >= ShutdownPhase.STOPPING:
            self._stop()
            return
        if self.phase is not ShutdownPhase.SERVING:
            self._drain(0.0)
            self._abort_all("a second signal ended the wait for them")
            return
        self.phase = ShutdownPhase.LEAVING
        if self._limits.shutdown_delay:
            log.info(
                "Shutting down: clients are still accepted for %g s", self._limits.shutdown_delay
            )
            self._reactor.call_later(self._limits.shutdown_delay, self._drain, grace)
        else:
            self._drain(grace)

    def stop_if_done(self) -> None:
        """Stop the application if the server drains, and nothing is left that uses it."""
        if self.phase is not ShutdownPhase.DRAINING:
            return
        if not self._connections and not self._after_work.is_busy:
            self.phase = ShutdownPhase.STOPPING
            self._stop()

    def end(self) -> None:
        """Stop the loop: the application has been stopped."""
        self.phase = ShutdownPhase.ENDED
        self._reactor.stop()

    def _drain(self, grace: float) -> None:
        if self.phase is not ShutdownPhase.LEAVING:
            return
        self.phase = ShutdownPhase.DRAINING
        self._state.draining = True
        self._stop_accepting()  # behind `draining`: the clients of the backlog are the last ones
        timeout = self._limits.shutdown_timeout
        log.info(
            "Draining: nothing more is accepted; the requests of %s may go on for %g s",
            *(counted(len(self._connections), "connection"), timeout),
        )
        if grace > 0 and self._connections:
            self._reactor.call_later(grace, self._close_idle)
        else:
            self._reactor.call_soon(self._close_idle)  # not from within a handler that ends us
        self._reactor.call_later(
            timeout, self._abort_all, f"they had not ended after {timeout:g} s"
        )
        self.stop_if_done()

    def _close_idle(self) -> None:
        self._close_next(iter(tuple(self._connections)))

    def _close_next(self, connections: Iterator[HttpConnection]) -> None:
        """Read each connection once more, then close it if it is idle: a slice of them at a time.

        The loop may have been behind: a request that waits in the kernel would be reset.
        """
        slice_of_them = tuple(islice(connections, SLICE))
        for connection in slice_of_them:
            transport = connection.transport
            if connection.state is IDLE and isinstance(transport, Transport):
                self._reactor.look(transport)
            shut_down(connection)
        if slice_of_them:
            self._reactor.call_soon(self._close_next, connections)

    def _abort_all(self, reason: str) -> None:
        connections = tuple(self._connections)
        if connections:
            log.warning(
                "Aborted %s, since %s: %s",
                *(counted(len(connections), "connection"), reason, _described(connections)),
            )
        for connection in connections:
            abort_owner(connection)
        self._connections = ()  # whether or not each could be aborted
        self._after_work.cancel(reason)
        self.stop_if_done()


def _described(connections: Collection[HttpConnection]) -> str:
    """The number of connections in each state, and the requests of a few of them."""
    counts = Counter(connection.state.name for connection in connections)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    requests = (connection.snapshot().request for connection in connections)
    named = islice((repr(one) for one in requests if one is not None), NAMED)
    return "; ".join((states, *(one[:NAME_CHARACTERS] for one in named)))
