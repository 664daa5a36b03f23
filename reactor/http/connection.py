"""One HTTP connection, from its first byte to its last: the only state machine of the protocol.

A state is what is waited for between turns; what completes within a turn makes none, so a small GET
leaves it IDLE. states.py has the states and their deadlines, timeouts.py what happens then,
closing.py how a connection ends; `enter` is the one place that changes the state.

One request at a time: the next begins when the response before it is wholly queued and little of it
is unsent. A body is pulled, in both directions, when there is room for a piece of it: RequestBody
and ResponseWriter are made for those that need one. Once a response's head has left, which waits
for the first piece of its body, every error is an abort, so that what is cut looks cut.

The connection knows no socket (see net/transport.py), no bytes of the protocol (see protocol/), no
URL (see web/) and no clock but the loop's `now`.
"""

from collections.abc import Awaitable, Coroutine
from typing import Final

from reactor.errors import ProtocolError, all_but_interrupts
from reactor.files.region import FileRegion
from reactor.http.closing import finish, is_last, let_go, linger, refused
from reactor.http.context import ServerContext
from reactor.http.error_responses import no_response, plain_error_response
from reactor.http.first_piece import begin, has_to_begin, leave_out, response_to
from reactor.http.request_body import RequestBody, body_ended_early
from reactor.http.response_body import discard
from reactor.http.response_writer import ResponseWriter, encode_error, write_at_hand
from reactor.http.states import (
    BODY,
    CLOSED,
    DEADLINES,
    DRAIN,
    HANDLER,
    HEAD,
    IDLE,
    LINGER,
    READING,
    SKIP,
    SURPLUS,
    TRANSITIONS,
    ConnectionSnapshot,
    ConnectionState,
    describe,
    linger_deadline,
    take_snapshot,
)
from reactor.http.timeouts import TIMEOUTS
from reactor.loop.timers import NEVER
from reactor.messages.body import Body
from reactor.messages.request import BaseRequest
from reactor.messages.response import WITHOUT_BODY, Response
from reactor.net.min_rate import MinimumRate
from reactor.net.send_queue import JOIN_BYTES
from reactor.net.stream import ENDED, INPUT_OPEN, PAUSED, Stream
from reactor.protocol.request_parser import RequestParser, SecureRequestParser
from reactor.protocol.response_encoder import encode_head
from reactor.tasks.futures import Future
from reactor.tasks.task import Task

REQUESTS_PER_TURN: Final = 16  # pipelined ones; the rest waits as bulk work
LITTLE_BYTES: Final = 64 * 1024  # so few unsent bytes do not hold up the next request


class HttpConnection:
    """HTTP/1.x on one transport."""

    __slots__ = (
        "body",
        "context",
        "keep_alive",
        "last_deadline",
        "parser",
        "rate",
        "request",
        "state",
        "task",
        "transport",
        "writer",
    )

    def __init__(self, transport: Stream, context: ServerContext) -> None:
        self.state = IDLE
        self.transport = transport
        self.context = context
        parser = SecureRequestParser if transport.is_secure else RequestParser
        self.parser = parser(context.limits, context.request_class)
        self.last_deadline = NEVER  # for a half-closed client's response, or for lingering
        self.keep_alive = True
        # All that follows is None while no request is in progress.
        self.request: BaseRequest | None = None
        self.task: Future[Response] | None = None  # the handler's
        self.body: RequestBody | None = None
        self.writer: ResponseWriter | None = None
        self.rate: MinimumRate | None = None
        transport.open(self)
        transport.set_deadline(context.reactor.now + context.limits.idle_timeout)

    # --- called by the transport and the server --------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes have come: feed the parser, except while lingering."""
        state = self.state
        if state is IDLE or state is HEAD:
            self.parser.feed(data)
            self._serve_requests(REQUESTS_PER_TURN if self.context.reactor.ready <= 1 else 1)
        elif state is BODY:
            assert self.body is not None
            self.parser.feed(data)
            self.body.received()
        elif state is LINGER:
            self.transport.set_deadline(linger_deadline(self, self.context.reactor.now))
        elif state is SKIP:
            self.parser.feed(data)
            self._skip_body()
        else:
            self.parser.feed(data)
            if not self.surplus_fits:
                self.transport.pause()

    def eof_received(self) -> None:
        """The client sends no more: its requests are still served, within a limit of time."""
        state = self.state
        if state is LINGER:
            self.transport.close()
        elif state <= HEAD:
            self._serve_requests()
        elif state is SKIP:
            finish(self)
        elif self.request is not None:
            self.request.client_closed = True
            if state is BODY:
                assert self.body is not None
                self.body.fail(body_ended_early())
            elif state is not DRAIN:
                self.enter(state)  # with the deadline of a half-closed client

    def output_flushed(self) -> None:
        """A turn ended with bytes unsent, or some of those before have left."""
        if self.state is DRAIN:
            self._continue_drain()
        elif (self.state <= HEAD or self.state is SKIP) and self.transport.unsent:
            self.enter(DRAIN)

    def deadline_passed(self) -> None:
        """The state has lasted for too long."""
        TIMEOUTS[self.state](self)

    def connection_lost(self) -> None:
        """The peer is gone, or was given up: cancel the handler and close both bodies."""
        self.enter(CLOSED)
        request, task, writer = self.request, self.task, self.writer
        self.request = self.task = self.writer = self.body = None
        if request is not None:
            let_go(request, self.context, has_begun=writer is not None)
        try:
            if isinstance(task, Task):
                task.cancel()
            if writer is not None:
                writer.give_up()
        finally:
            self.context.closed(self)

    def abort(self) -> None:
        """Reset the connection: an error got as far as the loop."""
        self.transport.abort()

    @property
    def surplus_fits(self) -> bool:
        """Whether more may be received behind the request that is served.

        A FIN is seen behind a small surplus; behind a large one it waits in the kernel.
        """
        return self.parser.unconsumed < self.context.limits.surplus_bytes

    def describe(self) -> str:
        """The request in progress or that of this turn, or else the state."""
        return describe(self)

    def snapshot(self) -> ConnectionSnapshot:
        """The connection at this moment."""
        return take_snapshot(self)

    # --- from request to response ----------------------------------------------------------------

    def _serve_requests(self, most: int = REQUESTS_PER_TURN) -> None:
        """Serve requests while a whole head has arrived and the connection is ready for one.

        `most` is 1 where others may wait for their turn: the rest of a pipeline is bulk.
        """
        parser, transport = self.parser, self.transport
        for _ in range(most):
            try:
                request = parser.next_request()
            except ProtocolError as error:
                self.refuse(error)
                return
            if request is None:
                self._wait_for_request()
                return
            if self.state is HEAD:
                self.enter(IDLE)
            self._serve(request)
            if self.state is not IDLE:
                return
            if not parser.buffer and transport.input is INPUT_OPEN:
                return
            if transport.unsent > LITTLE_BYTES:
                break
        transport.pause()
        self.context.runtime.call_bulk(self.serve_more, REQUESTS_PER_TURN)

    def serve_more(self, most: int = 1) -> None:
        """Go on with what was received, unless something is in progress."""
        if self.state is IDLE:
            self._serve_requests(most)

    def _wait_for_request(self) -> None:
        """There is no whole head; there may be a part of one."""
        if self.transport.input is not ENDED:
            self.transport.resume()
            state = HEAD if self.parser.buffer else IDLE
            if self.state is not state:
                self.enter(state)
        elif self.parser.buffer:
            self.refuse(ProtocolError(400, "The request ended in the middle of its head."))
        else:
            finish(self)

    def _serve(self, request: BaseRequest) -> None:
        """Call the handler, and make a response of what it returns."""
        self.request = request
        transport, context = self.transport, self.context
        context.state.latest = request
        request.started = context.reactor.now
        request.client = transport.peer
        request.after_work = context.after_work
        if transport.is_secure:
            request.scheme, request.tls = "https", transport.tls
        request.client_closed = transport.input is ENDED
        if request.length != 0:
            self.body = RequestBody(self)
            most, small = context.limits.memory_body_bytes, context.limits.small_body_bytes
            request.body = Body(self.body, request.length, most, small)
        try:
            returned = context.handler(request)
        except all_but_interrupts() as error:
            returned = context.error_response(request, error)
        if isinstance(returned, Response):
            self.respond(request, returned)
        else:
            self._await_response(request, returned)

    def _await_response(self, request: BaseRequest, returned: Awaitable[Response]) -> None:
        """The handler is a coroutine, or has returned a future of its response."""
        if isinstance(returned, Future):
            task = returned
        elif isinstance(returned, Coroutine):
            task = self.context.runtime.spawn(returned)
        else:
            error = no_response(self.context.handler, returned)
            self.respond(request, self.context.error_response(request, error))
            return
        self.task = task
        if task.done:
            self._take_response(request, task)
            return
        if self.state is IDLE:  # otherwise its first step has pulled, and waits for the body
            self.enter(HANDLER)
        task.add_callback(self._response_arrived)

    def _response_arrived(self, task: Future[Response]) -> None:
        if self.task is task and self.request is not None:
            self._take_response(self.request, task)
            self.serve_more()

    def _take_response(self, request: BaseRequest, task: Future[Response]) -> None:
        self.task = None
        try:
            response = task.result()
            if not isinstance(response, Response):
                raise no_response(self.context.handler, response)
        except all_but_interrupts() as error:
            made = response_to(request, error, self.context.error_response)
            error.__traceback__ = None  # its frames know the task, and the task knows it: a cycle
            if not isinstance(made, Response):
                self._await_response(request, made)
                return
            response = made
        if self.body is not None and self.body.error is not None:  # even if it was caught
            discard(response, self.context.runtime)
            response = self.context.error_response(request, self.body.error)
        self.respond(request, response)

    def refuse(self, error: ProtocolError) -> None:
        """Send the response to bytes that are no request, and close."""
        self.request = request = refused(self)
        self.respond(request, plain_error_response(request, error))

    def respond(self, request: BaseRequest, response: Response) -> None:
        """Encode the head, queue head and body, move the deadline."""
        context, transport = self.context, self.transport
        now, wall = context.reactor.now, context.wall
        if now >= wall.expires:
            wall.refresh(now)
        keep_alive = request.keep_alive
        if context.state.draining:
            keep_alive = keep_alive and not is_last(self)
        if self.body is not None:
            keep_alive = self.body.leave(response) and keep_alive
        try:
            line = wall.status_lines.get(response.status) or wall.status_line(response.status)
            head, length, self.keep_alive = encode_head(line, request, response, keep_alive)
        except all_but_interrupts() as error:  # a handler may put anything into a response
            discard(response, context.runtime)
            response, encoded = encode_error(self, request, error, keep_alive)
            head, length, self.keep_alive = encoded
        body = response.body
        if request.method == "HEAD" or response.status in WITHOUT_BODY:
            body = leave_out(response, context.runtime)
        size = None  # bytes of a body that is queued whole
        if isinstance(body, bytes):
            if len(body) <= JOIN_BYTES:
                size = len(body)
                transport.write(head + body)
        elif isinstance(body, FileRegion):
            size = write_at_hand(transport, head, body, context.runtime)
        if size is not None:
            observe = context.state.observe
            if observe is not None:
                observe(request, response.status, response.headers, size)
            self.end_response(request)
        elif has_to_begin(response):
            self._await_response(request, begin(response, context.runtime))
        else:
            transport.write(head)
            self.writer = ResponseWriter(self, request, response, length)
            self.writer.begin()

    # --- from one request to the next, or to the end ---------------------------------------------

    def end_response(self, request: BaseRequest) -> None:
        """The whole response is queued: on to the next request, or to the end."""
        self.request = self.writer = None
        context = self.context
        after_work = context.after_work
        if after_work.registered:
            after_work.begin(request)
        request.after_work = after_work.late
        if self.body is not None:
            request.body.close()
            if self.keep_alive and not context.state.draining and self.body.await_rest():
                return
            self.body = None
        if not self.keep_alive or (context.state.draining and is_last(self)):
            finish(self)
        elif self.state is IDLE:
            # Never earlier than the entry in the heap, so that an assignment is enough.
            self.transport.deadline = context.reactor.now + context.limits.idle_timeout
        else:
            self.rate = None
            self.last_deadline = NEVER
            # A response before this one may wait for the peer still, and no event would say so.
            self.enter(DRAIN if self.transport.blocked else IDLE)

    def _skip_body(self) -> None:
        """Some of a body that nobody has read has come, behind its response."""
        assert self.body is not None
        self.body.skip()
        if self.state is IDLE:
            self.body = None
            self._serve_requests(1)

    def _continue_drain(self) -> None:
        """The peer has read something."""
        if self.transport.unsent:
            return  # how fast it reads is judged when the deadline passes
        if self.writer is not None:
            self.writer.drained()
        elif not self.keep_alive or self.context.state.draining:
            linger(self)
        elif self.body is not None:
            self.enter(SKIP)
            self._skip_body()
        else:
            self.rate = None
            self.enter(IDLE)
            self._serve_requests()

    def enter(self, state: ConnectionState) -> None:
        """Change the state; the deadline and the reading follow from it."""
        assert state in TRANSITIONS[self.state], f"{self.state!r} to {state!r}"
        self.state = state
        transport = self.transport
        transport.set_deadline(DEADLINES[state](self, self.context.reactor.now))
        if transport.input is PAUSED and (
            state in READING or (state in SURPLUS and self.surplus_fits)
        ):
            transport.resume()
