"""The body of the request in progress, cut by the parser from what the transport receives.

A RequestBody is made for a request that has a body, and ends with its response. It is the
BodySource of the request's Body: one pull at a time, which is met at once where bytes have arrived,
and otherwise makes the connection wait in the state BODY. 100 (Continue) leaves at the first pull
that finds bytes still to come (RFC 9110, section 10.1.1), never before a handler wants the body.

The rest of a body that nobody has read is dropped behind the response, in the state SKIP, so that a
refused request of moderate size does not cost the connection.
"""

from collections.abc import Awaitable

from reactor.errors import ProtocolError
from reactor.http.body_memory import BodyLease, no_memory
from reactor.http.closing import finish
from reactor.http.states import (
    BODY,
    DRAIN,
    HANDLER,
    IDLE,
    PRODUCE,
    SKIP,
    Connection,
    rate_of,
)
from reactor.loop.timers import NEVER
from reactor.messages.headers import Fields
from reactor.messages.response import Response
from reactor.net.send_queue import JOIN_BYTES
from reactor.net.stream import ENDED, PAUSED
from reactor.protocol.response_encoder import encode_informational
from reactor.tasks.combinators import timeout
from reactor.tasks.futures import Future


class RequestBody:
    """The pulls of one request's body."""

    __slots__ = ("_connection", "_lease", "_pull", "_skipped", "_untouched", "error")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pull: tuple[Future[bytes], int] | None = None  # a future, for how many bytes
        self._lease: BodyLease | None = None  # a body that is not small has one
        self._untouched = True  # nothing has been pulled or waited for
        self._skipped = 0  # bytes that were dropped after the response
        self.error: ProtocolError | None = None  # the body was malformed, late or cut

    def pull(self, most: int) -> bytes | Future[bytes]:
        """For Body: at most `most` bytes, or a future of them. Raises ProtocolError."""
        if self.error is not None:
            raise self.error
        if self._pull is not None:
            raise RuntimeError("this body is being read already")
        connection = self._connection
        request = connection.request
        assert request is not None  # Body.close comes before its end
        try:
            piece = connection.parser.next_piece(most)
            if piece is None and connection.transport.input is ENDED:
                raise body_ended_early()
        except ProtocolError as error:
            self.error = error
            raise
        if piece is not None:
            self._untouched = False
            if connection.rate is not None:
                connection.rate.earn(len(piece))
            if connection.transport.input is PAUSED and connection.surplus_fits:
                connection.transport.resume()  # the pull has made room
            return piece
        if self._untouched:
            self._untouched = False
            if request.expects_continue:
                self.inform(100, ())
        future: Future[bytes] = Future()
        self._pull = (future, most)
        connection.enter(BODY)
        return future

    def inform(self, status: int, headers: Fields) -> bool:
        """For Body: send a 1xx response, while the final one has not begun."""
        connection = self._connection
        request = connection.request
        if request is None or request.minor == 0 or connection.writer is not None:
            return False
        connection.transport.write(encode_informational(status, headers))
        return True

    def hold(self, size: int) -> Awaitable[None] | None:
        """For Body: room in memory for `size` bytes in all; None where it is there.

        Awaiting it raises ProtocolError (503) after `memory_timeout`.
        """
        connection = self._connection
        context = connection.context
        counted = size - context.limits.small_body_bytes
        if counted <= 0:
            return None
        now = context.reactor.now
        if self._lease is None:
            self._lease = context.memory.lease(connection.transport.peer[0], now, self)
        room = self._lease.grow(counted, now)
        return None if room is None else self._await_room(self._lease, room)

    def release(self) -> None:
        """For Body: the memory is no longer needed."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()

    def evict(self) -> bool:
        """For BodyMemory: end this request if it waits for its client. Returns whether it does."""
        connection = self._connection
        if self._pull is None and connection.state is not DRAIN:
            return False
        if connection.writer is None and self._pull is not None:
            self.fail(
                ProtocolError(408, "The request's body came too slowly: others need its memory.")
            )
        else:
            connection.context.runtime.call_soon(self._abort)
        return True

    def _abort(self) -> None:
        if self._lease is not None:
            self._connection.transport.abort()

    def received(self) -> None:
        """Bytes have come while a pull waits.

        The deadline stays where it is until a byte of the content comes: its framing earns no time.
        """
        assert self._pull is not None
        future, most = self._pull
        connection = self._connection
        try:
            piece = connection.parser.next_piece(most)
        except ProtocolError as error:
            self.fail(error)
            return
        if piece is not None:
            rate_of(connection).moved(connection.context.reactor.now, len(piece))
            self._end_pull()
            future.set_result(piece)

    def fail(self, error: ProtocolError) -> None:
        """The body that a pull waits for is malformed, late or cut."""
        assert self._pull is not None
        if self._connection.writer is not None:
            self._connection.transport.abort()
            return
        future, _ = self._pull
        self.error = error
        self._end_pull()
        future.set_exception(error)

    def leave(self, response: Response) -> bool:
        """The response is there. Returns whether the next request can follow on this connection.

        Bytes that have arrived of a body that no handler wanted are dropped, unless the response
        may still pull them.
        """
        if self._pull is not None:
            future, _ = self._pull
            self._end_pull()
            future.set_exception(RuntimeError("the response came before the body was read"))
        if self.error is not None:
            return False
        parser = self._connection.parser
        if parser.body_complete:
            return True
        arrived = parser.unconsumed > 0
        if isinstance(response.body, bytes):
            try:
                while parser.next_piece(JOIN_BYTES):
                    pass
            except ProtocolError:
                return False
        return parser.body_complete or self._rest_can_be_skipped(arrived)

    def await_rest(self) -> bool:
        """The response is queued. Returns whether the connection waits for more of the body."""
        connection = self._connection
        if connection.parser.body_complete:
            return False
        connection.rate = None
        connection.last_deadline = NEVER
        connection.enter(DRAIN if connection.transport.blocked else SKIP)
        if connection.state is SKIP:
            self.skip()
        return connection.state is not IDLE

    def skip(self) -> None:
        """Drop what has come of the rest; at its end the connection is IDLE.

        A rest that is malformed, cut or too long ends the connection, since its response has been
        sent and where the next request begins is in doubt.
        """
        connection = self._connection
        most = connection.context.limits.unread_body_bytes
        try:
            while piece := connection.parser.next_piece(JOIN_BYTES):
                self._skipped += len(piece)
        except ProtocolError:
            finish(connection)
            return
        if piece is not None:
            connection.enter(IDLE)
        elif self._skipped > most or connection.transport.input is ENDED:
            finish(connection)

    def _rest_can_be_skipped(self, arrived: bool) -> bool:
        """Whether the rest of the body will come, and is short enough to be awaited and dropped.

        A client that waits for 100 (Continue) and gets a final response may send the body or not
        (RFC 9110, section 10.1.1). Only the end of the connection leaves no doubt about what its
        next bytes are. A chunked body may turn out to be too long.
        """
        connection = self._connection
        request = connection.request
        assert request is not None
        if self._untouched and not arrived and request.expects_continue:
            return False
        if connection.transport.input is ENDED:
            return False
        return connection.parser.remaining <= connection.context.limits.unread_body_bytes

    async def _await_room(self, lease: BodyLease, room: Future[None]) -> None:
        context = self._connection.context
        began = context.reactor.now
        try:
            await timeout(context.limits.memory_timeout - lease.waited, room)
        except TimeoutError:
            raise no_memory() from None
        finally:
            lease.stop_waiting()
            lease.waited += context.reactor.now - began

    def _end_pull(self) -> None:
        self._pull = None
        self._connection.enter(HANDLER if self._connection.writer is None else PRODUCE)


def body_ended_early() -> ProtocolError:
    """The error of a body whose client has sent its FIN in the middle."""
    return ProtocolError(400, "The request ended before its body did.")
