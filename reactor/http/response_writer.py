"""The body of the response in progress, pulled piece by piece and queued as the peer reads.

A ResponseWriter is made for a response that is not queued whole: an iterator, a long file, one that
is not in memory. The response's head has left by then, so that every error is an abort: what is cut
looks cut. A piece is asked for when everything before it has gone; the connection waits in the
state PRODUCE for a piece, and in DRAIN for the peer.
"""

import logging
from typing import Final

from reactor.errors import PoolFull, ResponseError, all_but_interrupts
from reactor.files.region import FileRegion, MultiRegion
from reactor.http.error_responses import plain_error_response
from reactor.http.first_piece import BegunResponse
from reactor.http.response_body import Piece, ResponseBodyStream, at_hand, discard
from reactor.http.states import DRAIN, PRODUCE, Connection
from reactor.http.timeouts import end_drain
from reactor.loop.describe import describe
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.net.pacing import TURN_BYTES
from reactor.net.stream import ENDED, Stream
from reactor.protocol.response_encoder import encode_head, takes_trailers
from reactor.tasks.futures import Future
from reactor.tasks.task import Runtime

PIECES_PER_TURN: Final = 16  # the next ones wait for the connection's next turn

log = logging.getLogger("reactor")


def write_at_hand(
    transport: Stream, head: bytes, region: FileRegion, runtime: Runtime
) -> int | None:
    """Queue the whole response, if it is not long and in memory. Returns the body's length."""
    length = region.length
    pieces = at_hand(head, region, runtime)
    for piece in pieces:
        transport.write(piece)
    return length if pieces else None


def encode_error(
    connection: Connection, request: BaseRequest, error: BaseException, keep_alive: bool
) -> tuple[Response, tuple[bytes, int | None, bool]]:
    """The response to the error of one that cannot be encoded, and its head (see `encode_head`).

    That of the handler may have the same fault: it is replaced by one in plain text.
    """
    context = connection.context
    if context.error_response is plain_error_response:  # an application names its endpoint
        error.add_note(f"The response is that of the handler {describe(context.handler)}.")
    response = context.error_response(request, error)
    try:
        line = context.wall.status_line(response.status)
        return response, encode_head(line, request, response, keep_alive)
    except all_but_interrupts() as other:
        discard(response, context.runtime)
        response = plain_error_response(request, other)
        line = context.wall.status_line(response.status)
        return response, encode_head(line, request, response, keep_alive)


class ResponseWriter:
    """A response whose head has left, and the stream of its body."""

    __slots__ = ("_connection", "_request", "_response", "stream")

    def __init__(
        self, connection: Connection, request: BaseRequest, response: Response, length: int | None
    ) -> None:
        """`length`: bytes of the body as the head has promised them; None where it has not."""
        self._connection = connection
        self._request = request
        self._response = response
        chunked = length is None and request.minor > 0
        trailed = takes_trailers(request, response.body)
        runtime = connection.context.runtime
        begun = (response.source, response.first) if isinstance(response, BegunResponse) else None
        self.stream = ResponseBodyStream(response.body, length, chunked, runtime, trailed, begun)

    def begin(self) -> None:
        """Pull the body, or let the response before it leave first."""
        if self._connection.transport.blocked:
            self._connection.enter(DRAIN)
            return
        self._connection.enter(PRODUCE)
        if isinstance(self._response.body, FileRegion | MultiRegion):
            self._connection.context.runtime.call_bulk(self.proceed)
        else:
            self._produce()

    def drained(self) -> None:
        """The peer has taken all that was sent before: count it, and go on."""
        connection = self._connection
        # The wait before the next piece begins with the seconds that this one has left.
        end_drain(connection, connection.context.reactor.now)
        connection.enter(PRODUCE)
        self.proceed()

    def proceed(self) -> None:
        """Go on with the response, and, if it ends, with the next request."""
        connection = self._connection
        if connection.writer is self and connection.state is PRODUCE:
            self._produce()
            connection.serve_more()

    def abort(self) -> None:
        """Reset the connection: an error in `proceed` got as far as the loop."""
        self._connection.transport.abort()

    def describe(self) -> str:
        """The request, for the log of slow callbacks."""
        return repr(self._request)

    def give_up(self) -> None:
        """The connection is lost: close the body."""
        self._observe()
        self._close()

    def _produce(self) -> None:
        """Pull and send pieces of the body, as many as one turn allows and the peer takes."""
        connection, stream = self._connection, self.stream
        begun = stream.sent
        for _ in range(PIECES_PER_TURN):
            if connection.writer is not self or connection.state is not PRODUCE:
                return
            try:
                piece = stream.next_piece(connection.transport.pace.window)
            except all_but_interrupts() as error:
                self._fail(error)
                return
            if isinstance(piece, Future):
                piece.add_callback(self._piece_arrived)
                return
            if not self._send(piece) or stream.sent - begun >= TURN_BYTES:
                break
        if connection.state is PRODUCE and connection.writer is self:
            connection.context.runtime.call_bulk(self.proceed)

    def _piece_arrived(self, future: Future[Piece | None]) -> None:
        if self._connection.writer is not self:
            return
        try:
            piece = future.result()
        except all_but_interrupts() as error:
            self._fail(error)
            return
        if self._send(piece):
            self._produce()
        self._connection.serve_more()

    def _send(self, piece: Piece | None) -> bool:
        """Queue and flush a piece. Returns whether the next one can be pulled now."""
        transport = self._connection.transport
        try:
            items = self.stream.frame(piece)
        except ResponseError as error:
            if isinstance(piece, FileRegion):
                piece.release()
            self._fail(error)
            return False
        for item in items:
            transport.write(item)
        if piece is None:
            self._close()
            self._observe()
            self._connection.end_response(self._request)
            return False
        if items or not transport.blocked:  # nothing is queued: EVENT_WRITE is waited for already
            transport.flush()
        if transport.unsent:
            self._connection.enter(DRAIN)
            return False
        if transport.input is ENDED:
            self._connection.enter(PRODUCE)  # with the deadline of the next piece
        return True

    def _fail(self, error: BaseException) -> None:
        """The head has left: only a reset shows the client that this is not the whole."""
        if not isinstance(error, PoolFull):  # the pool logs that it is busy, once a minute
            log.error("%r failed in the middle of its response", self._request, exc_info=error)
        self._connection.transport.abort()

    def _close(self) -> None:
        try:
            self.stream.close()
        except all_but_interrupts():
            log.exception("the body of a response could not be closed")

    def _observe(self) -> None:
        """The response has ended, well or not."""
        observe = self._connection.context.state.observe
        if observe is None:
            return
        response = self._response
        try:
            observe(self._request, response.status, response.headers, self.stream.sent)
        except all_but_interrupts():  # a handler may put anything into a request
            log.exception("%r cannot be logged or counted", self._request)
