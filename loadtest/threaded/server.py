"""The twin: the same server with a thread where the reactor has a turn.

    python -m loadtest.threaded --model each package.module:handler
    python -m loadtest.threaded --model pool --threads 32 --directory files

`each` starts a thread for every connection; `pool` has a fixed number of threads, and a connection
takes one for all of its life, idle or not, while those behind it wait in a queue. The sockets
block. Protocol, connections, handlers, limits, logs and options are the reactor's own, so that a
difference in a measurement comes from the model. This module starts and ends the threads.

The interpreter's switch interval stays at its 5 ms, which other threaded servers have, unless
another is asked for. With the reactor's 0.5 ms a thread that computes keeps others waiting for
less; but four thousand threads that want the GIL then wake up eight million times a second.

The main thread accepts, and is where signals arrive. The first signal ends the listening, and ends
the input of idle connections, which wakes their threads; the second one ends everything. A client
over the limit gets a 503, and so does one that the system has no thread for.
"""

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import IntEnum
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeAlias, cast

from loadtest.threaded.monitor import ThreadRuntime
from loadtest.threaded.secure import SecureBlockingTransport
from loadtest.threaded.shared import SHARED_CLOCK, SharedLog, SharedWall, ThreadMemory
from loadtest.threaded.transport import BlockingTransport, ThreadLoop
from reactor import Limits
from reactor.errors import ProtocolError
from reactor.files.descriptors import prepare_descriptors
from reactor.http.body_memory import BodyMemory
from reactor.http.connection import HttpConnection
from reactor.http.context import ErrorResponder, Handler, Observer, ServerContext, ServerState
from reactor.http.error_responses import plain_error_response
from reactor.http.states import ConnectionState
from reactor.log_limit import LogLimit
from reactor.net.handshakes import Handshakes
from reactor.net.listener import ACCEPT_PAUSE, CANNOT_ACCEPT, OUT_OF_RESOURCES
from reactor.net.stream import RESET_ON_CLOSE
from reactor.observe.access_log import line_writer
from reactor.observe.log_file import LogFile
from reactor.server.admission import REFUSALS, affordable_connections
from reactor.server.lifecycle import Lifecycle, Step
from reactor.server.listeners import Tls, tls_settings
from reactor.server.server import Server, prepare_handler
from reactor.tasks.after_work import AfterWork

STACK_BYTES: Final = 512 * 1024  # for each thread; the C library keeps a few for the next ones
LOOK_SECONDS: Final = 0.02  # between two looks at the connections that are left at the end

log = logging.getLogger("reactor")

MakeTransport: TypeAlias = Callable[[ThreadLoop, socket.socket, tuple[Any, ...]], BlockingTransport]
Client: TypeAlias = tuple[socket.socket, tuple[Any, ...], MakeTransport]


class Place(NamedTuple):
    """A listening socket, and the transport of its clients."""

    socket: socket.socket
    make_transport: MakeTransport = BlockingTransport


class Ending(IntEnum):
    """How far the end of the server has come."""

    SERVING = 0
    LEAVING = 1  # the delay before the end: only `draining` shows it
    DRAINING = 2  # nothing is accepted any more, and running requests may finish
    ABORTING = 3


class Worker:
    """The parts of one thread: its loop, its runtime, its access to the parts that all share."""

    def __init__(self, server: "ThreadedServer") -> None:
        limits = server.limits
        self.loop = ThreadLoop(limits)
        self.runtime = ThreadRuntime(self.loop, limits.cancel_timeout)
        self.after_work = AfterWork(self.runtime, limits.after_calls, _nothing)
        self.context = ServerContext(
            handler=server.handler,
            limits=limits,
            runtime=self.runtime,
            wall=server.wall,
            memory=ThreadMemory(server.memory, self.loop),
            closed=_ignore,
            state=ServerState(server.observe),
            after_work=self.after_work,
            error_response=server.error_response,
        )
        self.connection: HttpConnection | None = None
        self._server = server

    def serve(
        self, client: socket.socket, peer: tuple[Any, ...], make_transport: MakeTransport
    ) -> None:
        """Serve a connection, from its first byte to its last."""
        self._server.taken(client, self)
        try:
            transport, self.connection = self.connect(client, peer, make_transport)
            self.loop.serve(transport, self.connection)
            self.loop.run_while(lambda: self.after_work.is_busy)
            self.loop.finish()
        finally:
            self.connection = None
            self._server.left(client)

    def connect(
        self,
        client: socket.socket,
        peer: tuple[Any, ...],
        make_transport: MakeTransport = BlockingTransport,
    ) -> tuple[BlockingTransport, HttpConnection]:
        """A transport and its connection for an accepted socket."""
        self.loop.now = self.loop.clock()
        transport = make_transport(self.loop, client, peer)
        return transport, HttpConnection(transport, self.context)


class ThreadedServer:
    """A server for one handler; `threads` of a pool, or 0: one for each connection.

    A handler's `prepare` is called with it, and may use `limits`, `draining` and `spawn`.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        threads: int,
        *,
        wall: SharedWall,
        access_log: LogFile | None = None,
        access_log_format: str = "common",
        error_response: ErrorResponder = plain_error_response,
    ) -> None:
        """Raises what the handler's `prepare` raises."""
        if not limits.connections:
            limits = replace(limits, connections=affordable_connections())
        self.limits = limits
        self.handler = handler
        self.error_response = error_response
        self.wall = wall
        self.memory = BodyMemory(limits)
        self.handshakes = Handshakes()
        self.observe: Observer | None = None
        self._log = SharedLog(access_log, limits.log_bytes) if access_log is not None else None
        if self._log is not None:
            self.observe = line_writer(
                access_log_format, self._log.write, wall, SHARED_CLOCK, limits.log_field_bytes
            )
        self._threads = threads
        self._queue: SimpleQueue[Client] = SimpleQueue()
        self._open: dict[socket.socket, Worker | None] = {}  # without a worker it waits for one
        self._places: Sequence[Place] = ()
        self._ending = Ending.SERVING
        self._front = Worker(self)  # the main thread's, for clients that are refused
        self._refused: deque[BlockingTransport] = deque()
        self._refusing = threading.Lock()
        self._keeper = Worker(self)  # for coroutines beside the connections
        self._stopping = threading.Event()  # the functions of the end are called
        self._stopped = threading.Event()  # and have ended
        self._lifecycle = Lifecycle(self._keeper.runtime, limits, self._stopped.set)
        prepare_handler(handler, cast(Server, self))

    @property
    def draining(self) -> bool:
        """It shuts down, or will when `shutdown_delay` is over."""
        return self._ending > Ending.SERVING

    @property
    def _listens(self) -> bool:
        return self._ending < Ending.DRAINING

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine beside the connections, on a thread that all such ones share."""
        self._keeper.loop.call_soon(self._keep, coroutine)

    def add_steps(self, steps: Callable[[], Iterable[Step]]) -> None:
        """Add the functions of an application's start and end, and its periodic tasks."""
        self._lifecycle.add(steps)

    # --- running and ending ----------------------------------------------------------------------

    def start(self) -> None:
        """Call the functions of the start, on the thread of the coroutines beside connections.

        Raises StartHookError. A signal that comes meanwhile ends the start; `run` returns then.
        """
        _start(self._keep_house)
        ended = threading.Event()
        self._keeper.loop.call_soon(self._begin_start, ended)
        ended.wait()
        if not self.draining:
            self._lifecycle.begin().result()

    def _begin_start(self, ended: threading.Event) -> None:
        self._lifecycle.begin().add_callback(lambda _: ended.set())

    def secure_place(self, listening: socket.socket, tls: Tls) -> Place:
        """The place of a socket whose clients speak TLS."""
        settings = tls_settings(tls, self.limits.tls_handshake_timeout, self.handshakes)
        return Place(listening, partial(SecureBlockingTransport, settings))

    def run(self, places: Sequence[Place]) -> None:
        """Serve until `shut_down`, in the main thread. The sockets are the server's from now on."""
        prepare_descriptors()
        threading.stack_size(STACK_BYTES)
        self._places = places
        if self._log is not None:
            _start(self._log.run)
        for _ in range(self._threads):
            _start(self._work)
        for place in places[1:]:
            _start(self._accept, place)
        self._accept(places[0])
        self._drain()

    def shut_down(self) -> None:
        """End in order at the first call, and at once at the second.

        For signal handlers: the main thread may be in the middle of anything.
        """
        if self._lifecycle.is_starting or self._stopping.is_set():
            self._keeper.loop.call_soon(self._lifecycle.end)
        if self.draining:
            self._ending = Ending.ABORTING
            self._shut_listeners()
            return
        self._ending = Ending.LEAVING
        if self.limits.shutdown_delay:
            timer = threading.Timer(self.limits.shutdown_delay, self._stop_listening)
            timer.daemon = True
            timer.start()
        else:
            self._stop_listening()

    def _stop_listening(self) -> None:
        self._ending = max(self._ending, Ending.DRAINING)
        self._shut_listeners()

    def _shut_listeners(self) -> None:
        for place in self._places:
            with suppress(OSError):
                place.socket.shutdown(socket.SHUT_RDWR)  # a thread in `accept` returns from it

    def _drain(self) -> None:
        """Wait until running requests have finished, for `shutdown_timeout` at most."""
        for place in self._places:
            place.socket.close()
        end = time.monotonic() + self.limits.shutdown_timeout
        while self._open and self._ending < Ending.ABORTING and time.monotonic() < end:
            self._end_the_idle()
            time.sleep(LOOK_SECONDS)
        for client in tuple(self._open):
            with suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        for transport in self._refused:
            transport.close()
        self._stop_application()
        if self._log is not None:
            self._log.close()

    def _stop_application(self) -> None:
        """Call the functions of the end, and wait for them; a signal ends that."""
        self._stopping.set()
        if self._lifecycle.has_begun and not self._stopped.is_set():
            self._keeper.loop.call_soon(self._lifecycle.end)
            self._stopped.wait()

    def _end_the_idle(self) -> None:
        """End the input of idle connections. Bytes that have come before are still read."""
        for client, worker in tuple(self._open.items()):
            connection = None
            if worker is not None:
                worker.context.state.draining = True
                connection = worker.connection
            if connection is None or connection.state is ConnectionState.IDLE:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RD)

    # --- accepting -------------------------------------------------------------------------------

    def _accept(self, place: Place) -> None:
        out_of_resources = LogLimit(log.error)
        while self._listens:
            try:
                client, peer = place.socket.accept()
            except OSError as error:
                if self._listens and error.errno in OUT_OF_RESOURCES:
                    out_of_resources.log(CANNOT_ACCEPT, error.strerror, ACCEPT_PAUSE)
                    time.sleep(ACCEPT_PAUSE)
                continue  # that client has gone again (accept(2)), or we are to end
            self._connect(client, peer, place.make_transport)

    def _connect(
        self, client: socket.socket, peer: tuple[Any, ...], make_transport: MakeTransport
    ) -> None:
        is_plain = make_transport is BlockingTransport
        if len(self._open) >= self.limits.connections:
            self._refuse(client, peer, in_words=is_plain)
            return
        self._open[client] = None
        if self._threads:
            self._queue.put((client, peer, make_transport))
            return
        try:
            _start(self._serve, client, peer, make_transport)
        except RuntimeError as error:  # "can't start new thread"
            log.error("Cannot serve a connection: %s", error)
            del self._open[client]
            self._refuse(client, peer, in_words=is_plain)

    def _refuse(self, client: socket.socket, peer: tuple[Any, ...], *, in_words: bool) -> None:
        """Send a 503, which fits into any buffer, and close the socket when others have followed.

        A socket that is closed with unread input would reset what it has sent. A client that speaks
        TLS gets no words: a handshake costs more than the response that would follow it.
        """
        if not in_words:
            client.close()
            return
        with self._refusing:
            transport, connection = self._front.connect(client, peer)
            connection.refuse(ProtocolError(503, "Too many connections.", [("Retry-After", "1")]))
            self._front.loop.finish()
            self._refused.append(transport)
            now = self._front.loop.now
            while len(self._refused) > REFUSALS or self._refused[0].deadline <= now:
                self._refused.popleft().close()

    # --- on the threads --------------------------------------------------------------------------

    def taken(self, client: socket.socket, worker: Worker) -> None:
        """Note that this worker serves the connection from now on."""
        self._open[client] = worker
        worker.context.state.draining = not self._listens

    def left(self, client: socket.socket) -> None:
        """Forget a connection that has ended."""
        self._open.pop(client, None)

    def _serve(
        self, client: socket.socket, peer: tuple[Any, ...], make_transport: MakeTransport
    ) -> None:
        """The whole work of a thread for one connection."""
        worker = Worker(self)
        worker.runtime.adopt_generators()
        worker.serve(client, peer, make_transport)

    def _work(self) -> None:
        """The whole work of a thread of the pool."""
        worker = Worker(self)
        worker.runtime.adopt_generators()
        while True:
            worker.serve(*self._queue.get())

    def _keep_house(self) -> None:
        self._keeper.runtime.adopt_generators()
        self._keeper.loop.run()

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._keeper.runtime.spawn(_logged(coroutine))


async def _logged(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        await coroutine
    except (Exception, SystemExit):
        log.exception("A coroutine beside the connections has failed")


def _ignore(connection: HttpConnection) -> None:
    """A thread notices by itself that its connection has gone."""


def _nothing() -> None:
    """A thread notices by itself that the work behind its responses has ended."""


def _start(function: Callable[..., object], *arguments: Any) -> None:
    """Call the function on a daemon thread. Raises RuntimeError where the system has none left."""
    threading.Thread(target=function, args=arguments, daemon=True).start()
