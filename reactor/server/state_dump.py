"""What a server is doing at this moment, as text for the operator who asks.

A look from outside, taken on the loop's thread between two callbacks: nothing is kept for it while
nobody asks. It looks at the private parts of what it reports on, and changes none of them. Whatever
there may be thousands of is counted, and a few are named.
"""

from collections import Counter
from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice
from operator import itemgetter
from typing import Final

from reactor.http.connection import HttpConnection
from reactor.http.states import State
from reactor.loop.describe import describe
from reactor.loop.scheduler import LoopSnapshot
from reactor.loop.timers import NEVER
from reactor.net.transport import Transport
from reactor.server.server import Server

CONNECTIONS: Final = 50  # that are named, those that do something first
TIMERS: Final = 20


def state_dump(server: Server) -> str:
    """Lines on the loop, the connections, timers, tasks, the pool and the logs."""
    return "\n".join(("state of the server:", *_lines(server)))


def _lines(server: Server) -> Iterator[str]:
    loop = server.reactor.snapshot()
    yield (
        f"loop: {loop.ready} sockets ready in this turn, {len(loop.timers) + loop.dead_timers} "
        f"timers ({loop.dead_timers} of them dead), {len(loop.callbacks)} callbacks "
        f"waiting; {loop.received} bytes received, {loop.sent} sent"
    )
    yield from _connections(server)
    yield from _timers(loop)
    yield f"tasks beside the connections: {len(server._tasks)}"
    yield from (f"    {describe(task)}" for task in islice(server._tasks.values(), TIMERS))
    load = server.pool.load()
    yield (
        f"pool: {load.threads} threads, {load.idle} of them idle; {load.files} file jobs and "
        f"{load.compressions} compressions queued, {load.outside} waiting for a place"
    )
    for name, writer in server._logs.writers.items():
        yield f"{name} log: {writer.lost} lines lost"


def _connections(server: Server) -> Iterator[str]:
    connections, now = server.open_connections, server.reactor.now
    counts = Counter(connection.state for connection in connections)
    states = ", ".join(f"{counts[state]} {state.name}" for state in State if counts[state])
    since = next(iter(connections.values()), now)
    yield (
        f"connections: {len(connections)} open of {server.limits.connections} at most"
        f"{' (' + states + ')' if states else ''}, the oldest for {now - since:.1f} s; "
        f"{server._context.state.accepted} accepted; {'draining' if server.draining else 'serving'}"
    )
    # In the order in which they came, and those that only wait for a request at the end.
    named = nsmallest(CONNECTIONS, connections, key=lambda one: one.state is State.IDLE)
    yield from (f"    {_connection(one, now - connections[one], now)}" for one in named)
    if len(connections) > len(named):
        yield f"    and {len(connections) - len(named)} more"


def _connection(connection: HttpConnection, age: float, now: float) -> str:
    snapshot = connection.snapshot()
    transport, request = snapshot.transport, snapshot.request
    deadline = transport.deadline
    busy = f" for {now - request.started:.1f} s" if request is not None else ""
    until = "no deadline" if deadline == NEVER else f"deadline in {deadline - now:.1f} s"
    return (
        f"{transport.peer[0]} {snapshot.state.name}: "
        f"{request if request is not None else 'no request'}{busy}, {until}, "
        f"{transport.unsent} bytes unsent, open for {age:.1f} s"
    )


def _timers(loop: LoopSnapshot) -> Iterator[str]:
    """Deadlines of connections are counted: each has been named with its own."""
    others = [one for one in loop.timers if not isinstance(one[1], Transport)]
    yield f"timers: {len(loop.timers) - len(others)} of connections, {len(others)} others"
    for when, timer in nsmallest(TIMERS, others, key=itemgetter(0)):
        yield f"    in {when - loop.now:.1f} s: {describe(timer)}"
