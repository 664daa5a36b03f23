"""The states of a connection: what each waits for, and for how long.

A state is what a connection waits for between two turns of the loop. TRANSITIONS has the states
that may follow each one, and DEADLINES computes until when it may last. HttpConnection.enter is the
one place that changes a state and sets the deadline that belongs to it; timeouts.py has what is
done when a state lasts longer.

`Connection` is the part of HttpConnection that its parts rely on: deadlines, timeouts, the end, the
RequestBody and the ResponseWriter. They import this protocol instead of the connection, which
imports them.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from reactor.errors import ProtocolError
from reactor.http.context import ServerContext
from reactor.http.response_body import ResponseBodyStream
from reactor.loop.timers import NEVER
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.net.min_rate import MinimumRate
from reactor.net.stream import ENDED, Stream, StreamSnapshot
from reactor.protocol.request_parser import RequestParser
from reactor.tasks.futures import Future


class ConnectionState(IntEnum):
    """The event that a connection waits for."""

    IDLE = 0  # the next request
    HEAD = 1  # the rest of a head
    BODY = 2  # more of a body that a handler pulls
    HANDLER = 3  # the response, and the first piece of a body that is made
    PRODUCE = 4  # the next piece of a response body whose head has left
    DRAIN = 5  # the peer to read
    SKIP = 6  # the rest of a body that nobody has read; its response is sent
    LINGER = 7  # the peer's FIN
    CLOSED = 8


IDLE, HEAD, BODY, HANDLER, PRODUCE, DRAIN, SKIP, LINGER, CLOSED = ConnectionState

TRANSITIONS: Final[dict[ConnectionState, frozenset[ConnectionState]]] = {
    IDLE: frozenset({HEAD, BODY, HANDLER, PRODUCE, DRAIN, SKIP, LINGER, CLOSED}),
    HEAD: frozenset({IDLE, DRAIN, LINGER, CLOSED}),
    BODY: frozenset({HANDLER, PRODUCE, CLOSED}),
    HANDLER: frozenset({IDLE, BODY, HANDLER, PRODUCE, DRAIN, SKIP, LINGER, CLOSED}),
    PRODUCE: frozenset({IDLE, BODY, PRODUCE, DRAIN, SKIP, LINGER, CLOSED}),
    DRAIN: frozenset({IDLE, PRODUCE, SKIP, LINGER, CLOSED}),
    SKIP: frozenset({IDLE, DRAIN, LINGER, CLOSED}),
    LINGER: frozenset({CLOSED}),
    CLOSED: frozenset(),
}

READING: Final = frozenset({IDLE, HEAD, BODY, SKIP, LINGER})  # the socket is read in these states
SURPLUS: Final = frozenset({HANDLER, PRODUCE, DRAIN})  # it is read up to `surplus_bytes` in these


class ConnectionSnapshot(NamedTuple):
    """A connection at one moment, for reports and tests."""

    state: ConnectionState
    request: BaseRequest | None  # in progress
    task: Future[Response] | None  # the handler's, until it has returned a response
    buffered: int  # bytes that were received and not parsed yet
    transport: StreamSnapshot


class IncomingBody(Protocol):
    """The part of RequestBody that a deadline needs."""

    def fail(self, error: ProtocolError) -> None:
        """The body is malformed, late or cut."""


class OutgoingBody(Protocol):
    """The part of ResponseWriter that a deadline needs."""

    @property
    def stream(self) -> ResponseBodyStream:
        """The pieces of the body, framed."""


class Connection(Protocol):
    """The part of HttpConnection that its parts use."""

    state: ConnectionState
    transport: Stream
    context: ServerContext
    parser: RequestParser
    request: BaseRequest | None
    task: Future[Response] | None
    rate: MinimumRate | None
    last_deadline: float

    @property
    def surplus_fits(self) -> bool:
        """Whether more may be received behind the request that is served."""

    @property
    def body(self) -> IncomingBody | None:
        """The request's body, while there is a request that has one."""

    @property
    def writer(self) -> OutgoingBody | None:
        """The response's body, while it is made and sent piece by piece."""

    def enter(self, state: ConnectionState) -> None:
        """Change the state."""

    def serve_more(self, most: int = 1) -> None:
        """Go on with the next requests, unless something is in progress."""

    def respond(self, request: BaseRequest, response: Response) -> None:
        """Send a response."""

    def refuse(self, error: ProtocolError) -> None:
        """Send the response to bytes that are no request, and close."""

    def end_response(self, request: BaseRequest) -> None:
        """The whole response is queued."""


def take_snapshot(connection: Connection) -> ConnectionSnapshot:
    """The connection at this moment."""
    return ConnectionSnapshot(
        state=connection.state,
        request=connection.request,
        task=connection.task,
        buffered=len(connection.parser.buffer),
        transport=connection.transport.snapshot(),
    )


def describe(connection: Connection) -> str:
    """The request in progress, or the one that was served in this turn; or else the state."""
    latest = connection.context.state.latest
    if connection.request is not None:
        return repr(connection.request)
    if latest is not None and latest.started == connection.context.reactor.now:
        return repr(latest)
    return f"<{connection.state.name} {connection.transport.peer[0]}>"


# --- deadlines -----------------------------------------------------------------------------------


def _idle_deadline(connection: Connection, now: float) -> float:
    return now + connection.context.limits.idle_timeout


def _head_deadline(connection: Connection, now: float) -> float:
    return now + connection.context.limits.head_timeout


def _body_deadline(connection: Connection, now: float) -> float:
    return rate_of(connection).begin(now)


def _handler_deadline(connection: Connection, now: float) -> float:
    return min(
        now + (connection.context.limits.handler_timeout or NEVER),
        _half_closed_deadline(connection, now),
    )


def _half_closed_deadline(connection: Connection, now: float) -> float:
    """NEVER while the client may send; then one deadline for the response, not for each piece.

    A body whose length is known ends by itself: it has one deadline for each piece.
    """
    writer = connection.writer
    if writer is not None and writer.stream.length is not None:
        half_closed = connection.transport.input is ENDED
        return now + connection.context.limits.half_closed_timeout if half_closed else NEVER
    if connection.transport.input is ENDED and connection.last_deadline == NEVER:
        connection.last_deadline = now + connection.context.limits.half_closed_timeout
    return connection.last_deadline


def _drain_deadline(connection: Connection, now: float) -> float:
    rate = rate_of(connection)
    if rate.taken is None or connection.writer is None:
        rate.taken = taken_bytes(connection)
    return rate.begin(now)


def _skip_deadline(connection: Connection, now: float) -> float:
    return now + connection.context.limits.unread_body_timeout


def linger_deadline(connection: Connection, now: float) -> float:
    """Until when the client's FIN is waited for, as long as bytes still come."""
    return min(now + connection.context.limits.linger_timeout, connection.last_deadline)


def _no_deadline(connection: Connection, now: float) -> float:
    return NEVER


DEADLINES: Final[dict[ConnectionState, Callable[[Connection, float], float]]] = {
    IDLE: _idle_deadline,
    HEAD: _head_deadline,
    BODY: _body_deadline,
    HANDLER: _handler_deadline,
    PRODUCE: _half_closed_deadline,
    DRAIN: _drain_deadline,
    SKIP: _skip_deadline,
    LINGER: linger_deadline,
    CLOSED: _no_deadline,
}


def taken_bytes(connection: Connection) -> int:
    """Bytes of the body in progress that the peer has acknowledged, less all that it has not yet
    of what came before. Only differences count. Asks the kernel, which is a system call.
    """
    transport, writer = connection.transport, connection.writer
    queued = 0 if writer is None else writer.stream.sent + writer.stream.framing
    return queued - transport.unsent - transport.unacknowledged()


def rate_of(connection: Connection) -> MinimumRate:
    """The minimum rate that the client must keep, one for a request and its response.

    A new one for each piece would forgive a client that sends or reads a byte now and then.
    """
    if connection.rate is None:
        limits = connection.context.limits
        connection.rate = MinimumRate(limits.min_rate, limits.min_rate_timeout)
    return connection.rate
