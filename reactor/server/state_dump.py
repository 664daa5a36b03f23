"""The state of a server at this moment, as text for the operator who asks (SIGUSR2).

It is taken from outside, on the loop's thread between two callbacks: from the snapshots of the
loop, the server, its connections and its pool. So nothing is kept for it while nobody asks, and
nothing is changed. Where there may be thousands of something, they are counted and a few are named.
"""

from collections import Counter
from collections.abc import Iterator
from heapq import nsmallest
from operator import itemgetter
from typing import Any, Final

from reactor.errors import counted
from reactor.http.connection import HttpConnection
from reactor.http.states import ConnectionState
from reactor.loop.describe import describe
from reactor.loop.scheduler import LoopSnapshot
from reactor.loop.timers import NEVER
from reactor.net.transport import Transport
from reactor.server.server import Server, ServerSnapshot

CONNECTIONS: Final = 50  # that are named, the busy ones first
TIMERS: Final = 20  # that are named, the next ones
TASKS: Final = 20  # that are named, the oldest ones


def state_dump(server: Server) -> str:
    """Lines about the loop, the connections, timers, tasks, the pool and the logs."""
    return "\n".join(("state of the server:", *_lines(server)))


def _lines(server: Server) -> Iterator[str]:
    loop, state, pool = server.reactor.snapshot(), server.snapshot(), server.pool.snapshot()
    yield (
        f"loop: {loop.ready} sockets ready in this turn, {len(loop.timers)} timers and "
        f"{loop.dead_timers} dead ones, {len(loop.callbacks)} callbacks waiting, "
        f"{len(loop.bulk)} calls of bulk work waiting; "
        f"{loop.received} bytes received, {loop.sent} sent"
    )
    places = (_place(one, one in server.secure_addresses) for one in state.addresses)
    yield f"listening on {', '.join(places) or 'nothing'}"
    if server.secure_addresses:
        yield from _tls(server)
    yield from _connections(state, loop.now)
    yield from _timers(loop)
    yield f"tasks beside the connections: {len(state.tasks)}"
    yield from (f"    {describe(task)}" for task in state.tasks[:TASKS])
    yield f"calls after responses: {server.after_work.count} registered, waiting or running"
    yield f"request bodies: {state.body_bytes} bytes in memory, {state.body_waiters} wait for room"
    yield (
        f"pool: {pool.threads} threads ({pool.idle} idle); {pool.files} file jobs, "
        f"{pool.compressions} compressions, {pool.streams} pieces of streams and {pool.logs} log "
        f"jobs queued, {pool.outside} waiting for a place"
    )
    for name, lost in state.lost_lines.items():
        yield f"{name} log: {counted(lost, 'line')} lost"


def _place(address: tuple[Any, ...], is_secure: bool) -> str:
    return f"{address[0]}, port {address[1]}{' (TLS)' if is_secure else ''}"


def _tls(server: Server) -> Iterator[str]:
    """Handshakes, certificates, and how files are sent."""
    handshakes = server.handshakes
    agreed = ", ".join(
        f"{count} {version} {cipher}{' resumed' if resumed else ''}"
        for (version, cipher, resumed), count in handshakes.agreed.most_common()
    )
    failed = ", ".join(f"{count} {kind}" for kind, count in handshakes.failures.items() if count)
    yield f"TLS handshakes: {agreed or 'none'}; failed: {failed or 'none'}"
    for name, end in server.listeners.expirations().items():
        yield f"    the certificate of {name or 'no name'} is valid until {end:%Y-%m-%d}"
    yield "    files are read and encrypted by pieces: Python has no kTLS"


def _connections(state: ServerSnapshot, now: float) -> Iterator[str]:
    """A line on all of them, and a line for each of a few."""
    connections = state.connections
    counts = Counter(connection.state for connection in connections)
    states = ", ".join(f"{counts[one]} {one.name}" for one in ConnectionState if counts[one])
    since = next(iter(connections.values()), now)
    yield (
        f"connections: {len(connections)} open of {state.connections_limit} at most"
        f"{' (' + states + ')' if states else ''}, the oldest for {now - since:.1f} s; "
        f"{state.accepted} accepted; {'draining' if state.draining else 'serving'}"
    )
    # In the order of accepting, and those that only wait for a request at the end.
    named = nsmallest(CONNECTIONS, connections, key=lambda one: one.state is ConnectionState.IDLE)
    yield from (f"    {_connection(one, now - connections[one], now)}" for one in named)
    if len(connections) > len(named):
        yield f"    and {len(connections) - len(named)} more"


def _connection(connection: HttpConnection, age: float, now: float) -> str:
    snapshot = connection.snapshot()
    transport, request = snapshot.transport, snapshot.request
    deadline = transport.deadline
    tls = f" {transport.tls}" if transport.tls else ""
    busy = f" for {now - request.started:.1f} s" if request is not None else ""
    until = "no deadline" if deadline == NEVER else f"deadline in {deadline - now:.1f} s"
    return (
        f"{transport.peer[0]}{tls} {snapshot.state.name}: "
        f"{request if request is not None else 'no request'}{busy}, {until}, "
        f"{transport.unsent} bytes unsent, open for {age:.1f} s"
    )


def _timers(loop: LoopSnapshot) -> Iterator[str]:
    """A line on all timers, and a line for the next ones that are not of connections."""
    others = [one for one in loop.timers if not isinstance(one[1], Transport)]
    deadlines = len(loop.timers) - len(others)
    yield f"timers: {deadlines} deadlines of connections, {len(others)} others"
    for when, timer in nsmallest(TIMERS, others, key=itemgetter(0)):
        yield f"    in {when - loop.now:.1f} s: {describe(timer)}"
