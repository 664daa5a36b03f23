"""Timeouts: what is done when the state of a connection has lasted for too long.

TIMEOUTS has one function for each state; HttpConnection calls it when the deadline of states.py has
passed. A request whose response has not begun gets one that says so; after its head has left, only
a reset shows the client that the response is cut off.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from reactor.errors import ProtocolError
from reactor.http.closing import finish
from reactor.http.states import (
    BODY,
    DRAIN,
    HANDLER,
    HEAD,
    IDLE,
    LINGER,
    PRODUCE,
    SKIP,
    Connection,
    ConnectionState,
    linger_deadline,
    rate_of,
    taken_bytes,
)
from reactor.tasks.task import Task

log = logging.getLogger("reactor")


def _time_out_idle(connection: Connection) -> None:
    finish(connection)


def _time_out_head(connection: Connection) -> None:
    connection.refuse(ProtocolError(408, "The request's head did not come in time."))


def _time_out_body(connection: Connection) -> None:
    assert connection.body is not None
    connection.body.fail(ProtocolError(408, "The request's body comes too slowly."))


def _time_out_handler(connection: Connection) -> None:
    """503, unless the client has sent its FIN and is taken for gone."""
    request, task = connection.request, connection.task
    if request is None or request.client_closed:
        connection.transport.abort()
        return
    connection.task = None
    if isinstance(task, Task):
        task.cancel()
    request.keep_alive = False
    log.error("%r got no response in time", request)
    error = ProtocolError(503, "The response took too long.")
    connection.respond(request, connection.context.error_response(request, error))


def _time_out_produce(connection: Connection) -> None:
    connection.transport.abort()


def _time_out_drain(connection: Connection) -> None:
    """EVENT_WRITE comes late after a full buffer: ask the kernel before cutting a reader."""
    now = connection.context.reactor.now
    extend_drain(connection, now)
    if connection.transport.deadline <= now:
        connection.transport.abort()


def extend_drain(connection: Connection, now: float) -> None:
    """Count the bytes that the peer has acknowledged, not those that wait in the kernel."""
    rate, taken = rate_of(connection), taken_bytes(connection)
    moved = 0 if rate.taken is None else max(0, taken - rate.taken)
    rate.taken = taken
    connection.transport.set_deadline(rate.moved(now, moved))


def end_drain(connection: Connection, now: float) -> None:
    """The peer has taken all that was queued: count the seconds that this took.

    The bytes are counted where the seconds become few, since the kernel must be asked for them.
    """
    rate = rate_of(connection)
    if rate.is_short(now):
        extend_drain(connection, now)
    else:
        rate.moved(now, 0)


def _time_out_skip(connection: Connection) -> None:
    finish(connection)


def _time_out_linger(connection: Connection) -> None:
    now = connection.context.reactor.now
    if now < connection.last_deadline and connection.transport.unacknowledged():
        connection.transport.set_deadline(linger_deadline(connection, now))
    else:
        connection.transport.close()


TIMEOUTS: Final[dict[ConnectionState, Callable[[Connection], Any]]] = {
    IDLE: _time_out_idle,
    HEAD: _time_out_head,
    BODY: _time_out_body,
    HANDLER: _time_out_handler,
    PRODUCE: _time_out_produce,
    DRAIN: _time_out_drain,
    SKIP: _time_out_skip,
    LINGER: _time_out_linger,
}
