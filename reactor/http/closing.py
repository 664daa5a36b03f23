"""The end of a connection: our FIN behind the last byte, then the client's, within a limit of time.

A socket that is closed with unread input resets the connection, and the reset may overtake what was
sent. So the connection lingers: it sends its FIN, then reads and drops bytes until the client's FIN
comes or the deadline passes. An abort is the other way to end (net/stream.py): a reset, now.
"""

from typing import Final

from reactor.http.context import ServerContext
from reactor.http.error_responses import refused_request
from reactor.http.states import DRAIN, IDLE, LINGER, SKIP, Connection, linger_deadline
from reactor.messages.request import BaseRequest
from reactor.net.stream import ENDED

SHUTDOWN_LINGER: Final = 1.0  # seconds that a client's FIN is waited for when the server ends


def refused(connection: Connection) -> BaseRequest:
    """A request in place of bytes that are none; its response is the connection's last one.

    Without TLS it has the fields of plain connections, also where TLS was expected.
    """
    transport, context = connection.transport, connection.context
    request = refused_request(connection.parser.request_line, transport.peer, context.reactor.now)
    request.tls = transport.tls
    if request.tls is None:
        connection.context = context.plain
    return request


def finish(connection: Connection) -> None:
    """No more responses: send our FIN behind the last byte, then wait for the client's."""
    transport = connection.transport
    transport.flush()
    if not transport.unsent:
        transport.say_end()
    if transport.unsent:
        transport.finish()
        connection.enter(DRAIN)
    else:
        linger(connection)


def linger(connection: Connection) -> None:
    """All is sent: wait for the client's FIN, unless it has come."""
    if connection.transport.input is ENDED:
        connection.transport.close()
        return
    connection.transport.finish()
    context = connection.context
    connection.last_deadline = context.reactor.now + context.limits.linger_total_timeout
    connection.enter(LINGER)


def is_last(connection: Connection) -> bool:
    """Whether a server that ends serves no request of this connection after the current one.

    It serves a pipeline that had come before, as long as each response is made at once.
    """
    return connection.state is not IDLE or not connection.parser.has_head


def shut_down(connection: Connection) -> None:
    """The server ends: an idle connection does at once, another with its response.

    A client may not have read a response that is young, and send more: that one lingers.
    """
    transport, context = connection.transport, connection.context
    if connection.state is IDLE and connection.request is None and not connection.parser.buffer:
        idle_since = transport.deadline - context.limits.idle_timeout
        is_young = context.reactor.now - idle_since < SHUTDOWN_LINGER
        if is_young or transport.unsent or transport.unacknowledged():
            finish(connection)
        else:
            transport.close()
    if connection.state is SKIP:
        finish(connection)
    if connection.state is LINGER:
        _shorten_linger(connection)


def _shorten_linger(connection: Connection) -> None:
    """The client's FIN is not waited for much longer."""
    now = connection.context.reactor.now
    connection.last_deadline = min(connection.last_deadline, now + SHUTDOWN_LINGER)
    connection.transport.set_deadline(linger_deadline(connection, now))


def let_go(request: BaseRequest, context: ServerContext, *, has_begun: bool) -> None:
    """The client has left: its request begins the calls after a response that `has_begun`."""
    request.client_closed = True
    if request.length != 0:
        request.body.close()
    context.after_work.leave(request, has_begun=has_begun)
