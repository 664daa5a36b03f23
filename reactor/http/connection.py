"""The only state machine of HTTP: one connection, from its first byte to its last.

A state is what is waited for between turns; what completes within a turn makes none, so a small GET
leaves the connection as it was, IDLE. TRANSITIONS says what may follow what, `_DEADLINES` how long
each may last and `_PASSED` what happens then; `_enter` is the one place that changes the state.

One request at a time: the next begins when the answer before it is wholly queued and little of it
is unsent. A body is pulled, in both directions, when there is room for a piece of it. Once an
answer's head has left, every error is an abort, so that what is cut looks cut.

It knows no socket (see net/transport.py), no bytes of the protocol (see protocol/), no URL (see
handlers/) and no clock but the loop's `now`.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from enum import IntEnum
from functools import partial
from typing import Final

from reactor.errors import Cancelled, ProtocolError, ResponseError
from reactor.files.region import FileRegion
from reactor.http.context import ServerContext
from reactor.http.response_body import Piece, ResponseBodyStream, at_hand
from reactor.loop.timers import NEVER
from reactor.messages.body import Body
from reactor.messages.headers import Fields, Headers
from reactor.messages.request import Request
from reactor.messages.response import Response, plain_response
from reactor.net.min_rate import MinimumRate
from reactor.net.pacing import TURN_BYTES
from reactor.net.send_queue import JOIN_BYTES
from reactor.net.stream import ENDED, INPUT_OPEN, Stream
from reactor.protocol.request_parser import RequestParser
from reactor.protocol.response_encoder import encode_head, encode_informational, takes_trailers
from reactor.tasks.futures import Future
from reactor.tasks.task import Task

REQUESTS_PER_TURN: Final = 16  # pipelined ones; the rest waits for its next turn
PIECES_PER_TURN: Final = 16  # of a body that is made as it is sent
SHUTDOWN_LINGER: Final = 1.0  # seconds that a client's FIN is waited for when the server ends
LITTLE_BYTES: Final = 64 * 1024  # unsent, and the next request may begin


log = logging.getLogger("reactor")


class State(IntEnum):
    """What a connection waits for."""

    IDLE = 0  # the next request
    HEAD = 1  # the rest of a head
    BODY = 2  # more of a body that somebody pulls
    HANDLER = 3  # the answer's head
    PRODUCE = 4  # the next piece of an answer whose head has left
    DRAIN = 5  # the peer to read
    LINGER = 6  # the peer's FIN
    CLOSED = 7


IDLE, HEAD, BODY, HANDLER, PRODUCE, DRAIN, LINGER, CLOSED = State

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    IDLE: frozenset({HEAD, BODY, HANDLER, PRODUCE, DRAIN, LINGER, CLOSED}),
    HEAD: frozenset({IDLE, DRAIN, LINGER, CLOSED}),
    BODY: frozenset({HANDLER, PRODUCE, CLOSED}),
    HANDLER: frozenset({IDLE, BODY, HANDLER, PRODUCE, DRAIN, LINGER, CLOSED}),
    PRODUCE: frozenset({IDLE, BODY, PRODUCE, DRAIN, LINGER, CLOSED}),
    DRAIN: frozenset({IDLE, PRODUCE, LINGER, CLOSED}),
    LINGER: frozenset({CLOSED}),
    CLOSED: frozenset(),
}


class HttpConnection:
    """HTTP/1.x on one transport."""

    __slots__ = (
        "_answer",
        "_body_error",
        "_keep_alive",
        "_last_deadline",
        "_outgoing",
        "_parser",
        "_patience",
        "_pull",
        "_request",
        "_service",
        "_task",
        "_transport",
        "state",
    )

    def __init__(self, transport: Stream, service: ServerContext) -> None:
        self.state = IDLE
        self._transport = transport
        self._service = service
        self._parser = RequestParser(service.limits)
        self._last_deadline = NEVER  # of a half-closed client's answer; of lingering
        self._keep_alive = True
        # What a request needs that is not answered at once; None while there is none.
        self._request: Request | None = None
        self._task: Future[Response] | None = None  # the handler's
        self._pull: tuple[Future[bytes], int] | None = None  # who waits for how much of the body
        self._body_error: ProtocolError | None = None
        self._outgoing: ResponseBodyStream | None = None
        self._answer: tuple[int, Fields] = (0, ())  # status and fields, once they have left
        self._patience: MinimumRate | None = None
        transport.open(self)
        transport.set_deadline(service.reactor.now + service.limits.idle_timeout)

    # --- what the transport tells ----------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state is IDLE or state is HEAD:
            self._parser.feed(data)
            self._serve_requests()
        elif state is BODY:
            self._parser.feed(data)
            self._continue_pull(len(data))
        elif state is LINGER:
            self._transport.set_deadline(_linger_deadline(self, self._service.reactor.now))
        else:
            self._parser.feed(data)
            self._transport.pause()  # a surplus is kept, of one recv at most

    def eof_received(self) -> None:
        """The client sends no more: what it asked for is answered, within a limit."""
        state = self.state
        if state is LINGER:
            self._transport.close()
        elif state <= HEAD:
            self._serve_requests()
        elif self._request is not None:
            self._request.client_closed = True
            if state is BODY:
                self._spoil(_body_ended_early())
            elif state is not DRAIN:
                self._enter(state)  # with the deadline of a half-closed client

    def output_flushed(self) -> None:
        """A turn ended with bytes unsent, or some of those before have left."""
        if self.state is DRAIN:
            self._continue_drain()
        elif self.state <= HEAD and self._transport.unsent:
            self._enter(DRAIN)

    def deadline_passed(self) -> None:
        _PASSED[self.state](self)

    def connection_lost(self) -> None:
        """The peer is gone, or was given up: whoever works for it is told."""
        self._enter(CLOSED)
        request, task, outgoing = self._request, self._task, self._outgoing
        self._request = self._task = self._outgoing = self._pull = None
        if request is not None:
            request.client_closed = True
            if outgoing is not None:
                self._observe(request, outgoing.sent)
            if request.length != 0:
                request.body.close()
        if isinstance(task, Task):
            task.cancel()
        if outgoing is not None:
            self._close_outgoing(outgoing)
        self._service.closed(self)

    def abort(self) -> None:
        """Reset the connection: an error got as far as the loop."""
        self._transport.abort()

    def describe(self) -> str:
        """The request that it works for, or has answered in this turn; or else its state."""
        latest = self._service.state.latest
        if self._request is not None:
            return repr(self._request)
        if latest is not None and latest.started == self._service.reactor.now:
            return repr(latest)
        return f"<{self.state.name} {self._transport.peer[0]}>"

    def shut_down(self) -> None:
        """The server ends: an idle connection does at once, another with its answer."""
        transport, now = self._transport, self._service.reactor.now
        if self.state is IDLE and self._request is None and not self._parser.buffer:
            if transport.unsent or transport.unacknowledged():
                self._finish()
            else:
                transport.close()
        if self.state is LINGER:
            self._last_deadline = min(self._last_deadline, now + SHUTDOWN_LINGER)
            transport.set_deadline(_linger_deadline(self, now))

    # --- from request to answer ------------------------------------------------------------------

    def _serve_requests(self) -> None:
        """While a whole request is there and we are ready for one."""
        parser, transport = self._parser, self._transport
        for _ in range(REQUESTS_PER_TURN):
            try:
                request = parser.next_request()
            except ProtocolError as error:
                self.refuse(error)
                return
            if request is None:
                self._wait_for_request()
                return
            if self.state is HEAD:
                self._enter(IDLE)
            self._serve(request)
            if self.state is not IDLE:
                return
            if not parser.buffer and transport.input is INPUT_OPEN:
                return
            if transport.unsent > LITTLE_BYTES:
                break
        transport.pause()
        self._service.runtime.call_soon(self._serve_more)

    def _serve_more(self) -> None:
        """Go on with what was received, unless something is in progress."""
        if self.state is IDLE:
            self._serve_requests()

    def _wait_for_request(self) -> None:
        """There is no whole request; there may be a part of one."""
        if self._transport.input is not ENDED:
            self._transport.resume()
            state = HEAD if self._parser.buffer else IDLE
            if self.state is not state:
                self._enter(state)
        elif self._parser.buffer:
            self.refuse(ProtocolError(400, "The request ended in the middle of its head."))
        else:
            self._finish()

    def _serve(self, request: Request) -> None:
        """Call the handler, and make an answer of what it returns."""
        self._request = request
        transport, service = self._transport, self._service
        service.state.latest = request
        request.started = service.reactor.now
        request.client = transport.peer
        if transport.input is ENDED:
            request.client_closed = True
        if request.length != 0:
            most = service.limits.memory_body_bytes
            request.body = Body(self, request.length, most, service.memory)
        try:
            answer = service.handler(request)
        except (Exception, SystemExit) as error:
            answer = self._answer_to(error)
        if isinstance(answer, Response):
            self._respond(request, answer)
        else:
            self._await_answer(request, answer)

    def _await_answer(self, request: Request, answer: Awaitable[Response]) -> None:
        """The handler is a coroutine, or will say later."""
        if isinstance(answer, Future):
            task = answer
        elif isinstance(answer, Coroutine):
            task = self._service.runtime.spawn(answer)
        else:
            self._respond(request, self._answer_to(_no_response(answer)))
            return
        self._task = task
        if task.done:
            self._take_answer(request, task)
            return
        if self.state is IDLE:  # otherwise its first step has pulled, and waits for the body
            self._enter(HANDLER)
        task.add_callback(self._answered)

    def _answered(self, task: Future[Response]) -> None:
        if self._task is task and self._request is not None:
            self._take_answer(self._request, task)
            self._serve_more()

    def _take_answer(self, request: Request, task: Future[Response]) -> None:
        self._task = None
        try:
            answer = task.result()
            if not isinstance(answer, Response):
                raise _no_response(answer)
        except (Exception, SystemExit, Cancelled) as error:
            answer = self._answer_to(error)
            error.__traceback__ = None  # its frames know the task, and the task knows it: a cycle
        if self._body_error is not None:  # it is the answer, whatever the handler made of it
            self._discard(answer)
            answer = self._answer_to(self._body_error)
        self._respond(request, answer)

    def _answer_to(self, error: BaseException) -> Response:
        """The one place where an error becomes an answer."""
        if isinstance(error, ProtocolError):
            return plain_response(error.status, error.reason, error.headers)
        log.error("%r failed", self._request, exc_info=error)
        return plain_response(500, "The server failed to process this request.")

    def refuse(self, error: ProtocolError) -> None:
        """Answer what was no request, and close: where the next one begins is in doubt."""
        line = self._parser.request_line
        method = "HEAD" if line.startswith("HEAD ") else ""  # whose answers have no body
        request = Request(method, line, "", "", 1, Headers())
        request.client = self._transport.peer
        request.started = self._service.reactor.now
        request.keep_alive = False
        self._request = request
        self._respond(request, self._answer_to(error))

    def _respond(self, request: Request, response: Response) -> None:
        """Encode the head, queue head and body, move the deadline."""
        service, transport = self._service, self._transport
        now, wall = service.reactor.now, service.wall
        if now >= wall.expires:
            wall.refresh(now)
        keep_alive = request.keep_alive and not service.state.draining
        if request.length != 0:
            keep_alive = self._leave_body(response) and keep_alive
        try:
            line = wall.status_lines.get(response.status) or wall.status_line(response.status)
            head, length, keep_alive = encode_head(line, request, response, keep_alive)
        except Exception as error:  # whatever a handler may put into a response
            self._discard(response)
            response = self._answer_to(error)
            line = wall.status_line(response.status)
            head, length, keep_alive = encode_head(line, request, response, keep_alive)
        self._keep_alive = keep_alive
        body = response.body
        if request.method == "HEAD" or response.status in _WITHOUT_CONTENT:
            self._discard(response)
            body = b""
        size = None  # of a body that is queued whole
        if isinstance(body, bytes):
            if len(body) <= JOIN_BYTES:
                size = len(body)
                transport.write(head + body)
        elif isinstance(body, FileRegion):
            size = self._write_at_hand(head, body)
        if size is not None:
            observe = service.state.observe
            if observe is not None:
                observe(request, response.status, response.headers, size)
            self._end_answer(request)
        else:
            transport.write(head)
            chunked = length is None and request.minor > 0
            trailed = takes_trailers(request, body)
            self._outgoing = ResponseBodyStream(body, length, chunked, service.runtime, trailed)
            self._answer = (response.status, response.headers)
            self._begin_output()

    def _write_at_hand(self, head: bytes, region: FileRegion) -> int | None:
        """Queue all of the answer, if it is not long and in memory; then the body's length."""
        length = region.length
        pieces = at_hand(head, region)
        for piece in pieces:
            self._transport.write(piece)
        return length if pieces else None

    def _end_answer(self, request: Request) -> None:
        """All of it is queued: on to the next request, or to the end."""
        self._request = None
        if request.length != 0:
            request.body.close()
        service = self._service
        if not self._keep_alive or service.state.draining:
            self._finish()
        elif self.state is IDLE:
            # Never earlier than the entry in the heap, so that an assignment is enough.
            self._transport.deadline = service.reactor.now + service.limits.idle_timeout
        else:
            self._patience = None
            self._last_deadline = NEVER
            # An answer before this one may wait for the peer still; nobody would tell us again.
            self._enter(DRAIN if self._transport.blocked else IDLE)

    def _finish(self) -> None:
        """No more answers: our FIN behind the last byte, then wait for the client's."""
        transport = self._transport
        transport.flush()
        if transport.unsent:
            transport.finish()
            self._enter(DRAIN)
        else:
            self._linger()

    def _linger(self) -> None:
        """All is sent. A socket that is closed with unread input would reset what it has sent."""
        if self._transport.input is ENDED:
            self._transport.close()
            return
        self._transport.finish()
        limits = self._service.limits
        self._last_deadline = self._service.reactor.now + limits.linger_total_timeout
        self._enter(LINGER)

    # --- the request's body ----------------------------------------------------------------------

    def pull(self, most: int) -> bytes | Future[bytes]:
        """For Body: at most `most` bytes, or a future of them. Raises ProtocolError."""
        if self._body_error is not None:
            raise self._body_error
        if self._pull is not None:
            raise RuntimeError("somebody else is waiting for this body")
        request = self._request
        assert request is not None  # Body.close comes before its end
        try:
            piece = self._parser.next_piece(most)
            if piece is None and self._transport.input is ENDED:
                raise _body_ended_early()
        except ProtocolError as error:
            self._body_error = error
            raise
        if piece is not None:
            request.expects_continue = False  # it did not wait
            return piece
        if request.expects_continue:
            request.expects_continue = False
            self.inform(100, ())
        future: Future[bytes] = Future()
        self._pull = (future, most)
        self._enter(BODY)
        return future

    def inform(self, status: int, headers: Fields) -> bool:
        """For Body: a 1xx answer, while the final one has not begun."""
        request = self._request
        if request is None or request.minor == 0 or self._outgoing is not None:
            return False
        self._transport.write(encode_informational(status, headers))
        return True

    def _continue_pull(self, count: int) -> None:
        """`count` bytes have come for who pulls."""
        assert self._pull is not None
        future, most = self._pull
        deadline = _patience(self).moved(self._service.reactor.now, count)
        self._transport.set_deadline(deadline)
        try:
            piece = self._parser.next_piece(most)
        except ProtocolError as error:
            self._spoil(error)
            return
        if piece is not None:
            self._end_pull()
            future.set_result(piece)

    def _end_pull(self) -> None:
        self._pull = None
        self._enter(HANDLER if self._outgoing is None else PRODUCE)

    def _spoil(self, error: ProtocolError) -> None:
        """The body that somebody waits for is malformed, late or cut."""
        assert self._pull is not None
        if self._outgoing is not None:
            self._transport.abort()
            return
        future, _ = self._pull
        self._body_error = error
        self._end_pull()
        future.set_exception(error)

    def _leave_body(self, response: Response) -> bool:
        """An answer is there: whether the next request can follow it on this connection.

        What has arrived of a body that nobody wanted is dropped, unless the answer may still pull
        it; what has not arrived is not waited for.
        """
        if self._pull is not None:
            future, _ = self._pull
            self._end_pull()
            future.set_exception(RuntimeError("the request was answered meanwhile"))
        if self._body_error is not None:
            return False
        if isinstance(response.body, bytes):
            try:
                while self._parser.next_piece(JOIN_BYTES):
                    pass
            except ProtocolError:
                return False
        return self._parser.body_complete

    # --- the answer's body -----------------------------------------------------------------------

    def _begin_output(self) -> None:
        """Pull the body, or let the answer before it leave first."""
        if self._transport.blocked:
            self._enter(DRAIN)
        else:
            self._enter(PRODUCE)
            self._produce()

    def _produce(self) -> None:
        """Pull and send pieces of the body, as many as one turn allows and the peer takes."""
        outgoing = self._outgoing
        begun = outgoing.sent if outgoing is not None else 0
        for _ in range(PIECES_PER_TURN):
            if outgoing is None or self.state is not PRODUCE:
                return
            try:
                piece = outgoing.next_piece(self._transport.window)
            except (Exception, SystemExit, Cancelled) as error:
                self._fail_output(error)
                return
            if isinstance(piece, Future):
                piece.add_callback(partial(self._piece_arrived, outgoing))
                return
            if not self._send_piece(outgoing, piece) or outgoing.sent - begun >= TURN_BYTES:
                break
        if self.state is PRODUCE and self._outgoing is outgoing:
            self._service.runtime.call_soon(self._produce_more)

    def _produce_more(self) -> None:
        """Go on with the answer, and, if it ends, with the next request."""
        if self.state is PRODUCE:
            self._produce()
            self._serve_more()

    def _piece_arrived(self, outgoing: ResponseBodyStream, future: Future[Piece | None]) -> None:
        if self._outgoing is not outgoing:
            return
        try:
            piece = future.result()
        except (Exception, SystemExit, Cancelled) as error:
            self._fail_output(error)
            return
        if self._send_piece(outgoing, piece):
            self._produce()
        self._serve_more()

    def _send_piece(self, outgoing: ResponseBodyStream, piece: Piece | None) -> bool:
        """Queue and flush a piece; whether the next can be pulled now."""
        transport = self._transport
        try:
            items = outgoing.frame(piece)
        except ResponseError as error:
            if isinstance(piece, FileRegion):
                piece.release()
            self._fail_output(error)
            return False
        for item in items:
            transport.write(item)
        if piece is None:
            self._end_outgoing(outgoing)
            return False
        transport.flush()
        if transport.unsent:
            self._enter(DRAIN)
            return False
        return True

    def _end_outgoing(self, outgoing: ResponseBodyStream) -> None:
        request, self._outgoing = self._request, None
        assert request is not None
        self._close_outgoing(outgoing)
        self._observe(request, outgoing.sent)
        self._end_answer(request)

    def _fail_output(self, error: BaseException) -> None:
        """The head has left: only a reset tells the client that this is not the whole."""
        log.error("%r failed in the middle of its answer", self._request, exc_info=error)
        self._transport.abort()

    def _close_outgoing(self, outgoing: ResponseBodyStream) -> None:
        try:
            outgoing.close()
        except (Exception, SystemExit):
            log.exception("the body of an answer could not be closed")

    def _discard(self, response: Response) -> None:
        """Close a body that is not sent."""
        if isinstance(response.body, bytes):
            return
        try:
            response.close(self._service.runtime)
        except (Exception, SystemExit):
            log.exception("the body of an answer could not be closed")

    def _continue_drain(self) -> None:
        """The peer has taken something."""
        transport = self._transport
        if transport.unsent:
            return  # how fast it is is looked at when the deadline passes
        if self._outgoing is not None:
            self._enter(PRODUCE)
            self._produce_more()
        elif not self._keep_alive or self._service.state.draining:
            self._linger()
        else:
            self._patience = None
            self._enter(IDLE)
            self._serve_requests()

    def _extend_drain(self) -> None:
        """What counts is what the peer has acknowledged, not what the kernel has swallowed."""
        patience, transport = self._patience, self._transport
        assert patience is not None
        level = transport.unsent + transport.unacknowledged()
        moved, patience.level = patience.level - level, level
        transport.set_deadline(patience.moved(self._service.reactor.now, max(0, moved)))

    # --- states and deadlines --------------------------------------------------------------------

    def _enter(self, state: State) -> None:
        """Change the state; the deadline and the reading follow from it."""
        assert state in TRANSITIONS[self.state], f"{self.state!r} to {state!r}"
        self.state = state
        transport = self._transport
        transport.set_deadline(_DEADLINES[state](self, self._service.reactor.now))
        if state in READING:
            transport.resume()

    def _time_out_head(self) -> None:
        self.refuse(ProtocolError(408, "The request's head did not come in time."))

    def _time_out_body(self) -> None:
        self._spoil(ProtocolError(408, "The request's body comes too slowly."))

    def _time_out_handler(self) -> None:
        """503, unless the client has sent its FIN and is taken for gone."""
        request, task = self._request, self._task
        if request is None or request.client_closed:
            self._transport.abort()
            return
        self._task = None
        if isinstance(task, Task):
            task.cancel()
        request.keep_alive = False
        log.error("%r got no answer in time", request)
        self._respond(request, plain_response(503, "The answer took too long."))

    def _time_out_drain(self) -> None:
        """EVENT_WRITE comes late after a full buffer: ask the kernel before cutting a reader."""
        now = self._service.reactor.now
        self._extend_drain()
        if self._transport.deadline <= now:
            self._transport.abort()

    def _time_out_linger(self) -> None:
        now = self._service.reactor.now
        if now < self._last_deadline and self._transport.unacknowledged():
            self._transport.set_deadline(_linger_deadline(self, now))
        else:
            self._transport.close()

    def _abort(self) -> None:
        self._transport.abort()

    def _observe(self, request: Request, size: int) -> None:
        """An answer that was made as it was sent has ended, well or not."""
        observe = self._service.state.observe
        if observe is not None:
            observe(request, *self._answer, size)


READING: Final = frozenset({IDLE, HEAD, BODY, LINGER})
_WITHOUT_CONTENT: Final = frozenset({204, 304})  # as with HEAD (RFC 9110, section 6.4.1)


def _idle_deadline(connection: HttpConnection, now: float) -> float:
    return now + connection._service.limits.idle_timeout


def _head_deadline(connection: HttpConnection, now: float) -> float:
    return now + connection._service.limits.head_timeout


def _handler_deadline(connection: HttpConnection, now: float) -> float:
    return min(
        now + (connection._service.limits.handler_timeout or NEVER),
        _half_closed_deadline(connection, now),
    )


def _half_closed_deadline(connection: HttpConnection, now: float) -> float:
    """None while the client may send; then one for the whole answer, not for each piece of it.

    Nor for a body whose length is known: it ends by itself.
    """
    outgoing = connection._outgoing
    if outgoing is not None and outgoing.length is not None:
        return NEVER
    if connection._transport.input is ENDED and connection._last_deadline == NEVER:
        connection._last_deadline = now + connection._service.limits.half_closed_timeout
    return connection._last_deadline


def _body_deadline(connection: HttpConnection, now: float) -> float:
    return _patience(connection).begin(now)


def _drain_deadline(connection: HttpConnection, now: float) -> float:
    patience, transport = _patience(connection), connection._transport
    patience.level = transport.unsent + transport.unacknowledged()
    return patience.begin(now)


def _linger_deadline(connection: HttpConnection, now: float) -> float:
    return min(now + connection._service.limits.linger_timeout, connection._last_deadline)


def _no_deadline(connection: HttpConnection, now: float) -> float:
    return NEVER


def _patience(connection: HttpConnection) -> MinimumRate:
    """One for a request and its answer: a new one for each piece would forgive every drip."""
    if connection._patience is None:
        limits = connection._service.limits
        connection._patience = MinimumRate(limits.min_rate, limits.min_rate_timeout)
    return connection._patience


_DEADLINES: Final[dict[State, Callable[[HttpConnection, float], float]]] = {
    IDLE: _idle_deadline,
    HEAD: _head_deadline,
    BODY: _body_deadline,
    HANDLER: _handler_deadline,
    PRODUCE: _half_closed_deadline,
    DRAIN: _drain_deadline,
    LINGER: _linger_deadline,
    CLOSED: _no_deadline,
}

_PASSED: Final[dict[State, Callable[[HttpConnection], None]]] = {
    IDLE: HttpConnection._finish,
    HEAD: HttpConnection._time_out_head,
    BODY: HttpConnection._time_out_body,
    HANDLER: HttpConnection._time_out_handler,
    PRODUCE: HttpConnection._abort,
    DRAIN: HttpConnection._time_out_drain,
    LINGER: HttpConnection._time_out_linger,
}


def _body_ended_early() -> ProtocolError:
    return ProtocolError(400, "The request ended before its body did.")


def _no_response(answer: object) -> TypeError:
    return TypeError(f"a handler returned {answer!r}, which is no Response")
