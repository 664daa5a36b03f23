"""The twin: the same server with a thread where the reactor has a turn.

    python -m loadtest.threaded --model each package.module:handler
    python -m loadtest.threaded --model pool --threads 32 --directory files

`each` starts a thread for every connection; `pool` has so many threads, and a connection takes one
for all of its life, idle or not, while those behind it wait in a queue. The sockets block.
Protocol, connections, handlers, limits, logs and options are the reactor's own: a difference in a
measurement comes from the model. This module starts and ends the threads.

The interpreter's switch interval stays at its 5 ms, which everybody's threads have, unless another
is asked for. With the reactor's 0.5 ms a thread that computes keeps others waiting for less; but
four thousand threads that want the GIL then wake up eight million times a second.

The main thread accepts, and is where signals arrive: the first one ends the listening, and wakes
who is idle by the end of its input; the second one ends all. Over the limit a client is told so
(503), and likewise where the system has no thread for it.
"""

import argparse
import logging
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, Final, cast

from loadtest.threaded.monitor import (
    SHARED_CLOCK,
    SharedLog,
    SharedWall,
    ThreadMemory,
    ThreadRuntime,
    guarded,
)
from loadtest.threaded.transport import BlockingTransport, ThreadLoop
from reactor.errors import ProtocolError
from reactor.http.connection import HttpConnection
from reactor.http.context import Handler, Observer, ServerContext, ServerState
from reactor.http.states import State
from reactor.limits import Limits
from reactor.net.listener import ACCEPT_PAUSE, OUT_OF_RESOURCES, bind
from reactor.net.stream import RESET_ON_CLOSE
from reactor.observe.access_log import line_writer
from reactor.observe.log_writer import LogFile
from reactor.process.loader import LoadError
from reactor.process.serve import (
    StartError,
    cannot_listen,
    configure_logging,
    open_access_log,
    open_error_log,
)
from reactor.server.admission import REFUSALS, affordable_connections
from reactor.server.server import Server, prepare_handler
from reactor.tasks.guard import Shared
from reactor.tasks.semaphore import WeightedSemaphore
from reactor.web.site.command_line import complain, plan, served
from reactor.web.site.options import Config, parse_arguments
from reactor.web.site.site import Site, SiteError

POOL_THREADS: Final = 32
STACK_BYTES: Final = 512 * 1024  # of a thread; the C library keeps a few for the next ones
LEAST_SWITCH: Final = 1e-5  # seconds, and
MOST_SWITCH: Final = 1.0  # what makes sense of the interpreter's switch interval
LOOK_SECONDS: Final = 0.02  # between two looks for who is still there when the server ends

log = logging.getLogger("reactor")

Client = tuple[socket.socket, tuple[Any, ...]]


class Worker:
    """A thread's own: its loop, its runtime, and its view of what all share."""

    def __init__(self, server: "ThreadedServer") -> None:
        limits = server.limits
        self.loop = ThreadLoop(limits)
        self.runtime = ThreadRuntime(self.loop, limits.cancel_timeout)
        self.service = ServerContext(
            handler=server.handler,
            limits=limits,
            runtime=self.runtime,
            wall=server.wall,
            memory=ThreadMemory(server.memory, self.loop),
            closed=_nobody,
            state=ServerState(server.observe),
        )
        self.connection: HttpConnection | None = None
        self._server = server

    def serve(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """A connection, from its first byte to its last."""
        self._server.taken(client, self)
        try:
            transport, self.connection = self.connect(client, peer)
            self.loop.serve(transport, self.connection)
            self.loop.finish()
        finally:
            self.connection = None
            self._server.left(client)

    def connect(
        self, client: socket.socket, peer: tuple[Any, ...]
    ) -> tuple[BlockingTransport, HttpConnection]:
        self.loop.now = self.loop.clock()
        transport = BlockingTransport(self.loop, client, peer)
        return transport, HttpConnection(transport, self.service)


class ThreadedServer:
    """A server for one handler; `threads` of a pool, or 0: one for each connection.

    It is what a handler's `prepare` is given, with what that may ask for here: `limits`,
    `draining`, `spawn`.
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
    ) -> None:
        """Raises what the handler's `prepare` raises."""
        if not limits.connections:
            limits = replace(limits, connections=affordable_connections())
        self.limits = limits
        self.handler = handler
        self.draining = False
        self.wall = wall
        self.memory = WeightedSemaphore(limits.memory_bodies_bytes)
        self.observe: Observer | None = None
        self._log = SharedLog(access_log, limits.log_bytes) if access_log is not None else None
        if self._log is not None:
            self.observe = line_writer(access_log_format, self._log.write, wall, SHARED_CLOCK)
        self._threads = threads
        self._queue: SimpleQueue[Client] = SimpleQueue()
        self._open: dict[socket.socket, Worker | None] = {}  # None: it waits for a thread
        self._listening: Sequence[socket.socket] = ()
        self._listens = True
        self._hurried = False
        self._front = Worker(self)  # the main thread's, for those who are turned away
        self._refused: deque[BlockingTransport] = deque()
        self._refusing = threading.Lock()
        self._keeper = Worker(self)  # for what is done beside the connections
        prepare_handler(handler, cast(Server, self))

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine beside the connections, on a thread that all such ones share."""
        self._keeper.loop.call_soon(self._keep, coroutine)

    # --- running and ending ----------------------------------------------------------------------

    def run(self, listening: Sequence[socket.socket]) -> None:
        """Serve until `shut_down`, to be called in the main thread. It owns the sockets then."""
        threading.stack_size(STACK_BYTES)
        self._listening = listening
        _start(self._keep_house)
        if self._log is not None:
            _start(self._log.run)
        for _ in range(self._threads):
            _start(self._work)
        for bound in listening[1:]:
            _start(self._accept, bound)
        self._accept(listening[0])
        self._drain()

    def shut_down(self) -> None:
        """End in order, when called the first time, and at once when called again.

        For signal handlers: the main thread may be in the middle of anything.
        """
        if self.draining:
            self._hurried = True
            self._stop_listening()
            return
        self.draining = True
        if self.limits.shutdown_delay:
            timer = threading.Timer(self.limits.shutdown_delay, self._stop_listening)
            timer.daemon = True
            timer.start()
        else:
            self._stop_listening()

    def _stop_listening(self) -> None:
        self._listens = False
        for bound in self._listening:
            with suppress(OSError):
                bound.shutdown(socket.SHUT_RDWR)  # whoever is in `accept` comes back from it

    def _drain(self) -> None:
        """Running requests go on, for a while."""
        for bound in self._listening:
            bound.close()
        end = time.monotonic() + self.limits.shutdown_timeout
        while self._open and not self._hurried and time.monotonic() < end:
            self._end_the_idle()
            time.sleep(LOOK_SECONDS)
        for client in tuple(self._open):
            with suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        for transport in self._refused:
            transport.close()
        if self._log is not None:
            self._log.close()

    def _end_the_idle(self) -> None:
        """What has come of a request is still read after this, and then the end."""
        for client, worker in tuple(self._open.items()):
            connection = None
            if worker is not None:
                worker.service.state.draining = True
                connection = worker.connection
            if connection is None or connection.state is State.IDLE:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RD)

    # --- accepting -------------------------------------------------------------------------------

    def _accept(self, listening: socket.socket) -> None:
        while self._listens:
            try:
                client, peer = listening.accept()
            except OSError as error:
                if self._listens and error.errno in OUT_OF_RESOURCES:
                    log.error(
                        "cannot accept: %s; trying again in %g s", error.strerror, ACCEPT_PAUSE
                    )
                    time.sleep(ACCEPT_PAUSE)
                continue  # that client has gone again (accept(2)), or we are to end
            self._connect(client, peer)

    def _connect(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        if len(self._open) >= self.limits.connections:
            self._refuse(client, peer, "Too many connections.")
            return
        self._open[client] = None
        if self._threads:
            self._queue.put((client, peer))
            return
        try:
            _start(self._serve, client, peer)
        except RuntimeError as error:  # "can't start new thread"
            log.error("cannot serve: %s", error)
            del self._open[client]
            self._refuse(client, peer, "Too many connections.")

    def _refuse(self, client: socket.socket, peer: tuple[Any, ...], sentence: str) -> None:
        """Answer 503, which any buffer has room for; closed when others have come after it.

        A socket that is closed with unread input would reset what it has sent.
        """
        with self._refusing:
            transport, connection = self._front.connect(client, peer)
            connection.refuse(ProtocolError(503, sentence, [("Retry-After", "1")]))
            self._front.loop.finish()
            self._refused.append(transport)
            now = self._front.loop.now
            while len(self._refused) > REFUSALS or self._refused[0].deadline <= now:
                self._refused.popleft().close()

    # --- on the threads --------------------------------------------------------------------------

    def taken(self, client: socket.socket, worker: Worker) -> None:
        """A thread serves it from now on."""
        self._open[client] = worker
        worker.service.state.draining = not self._listens

    def left(self, client: socket.socket) -> None:
        self._open.pop(client, None)

    def _serve(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """All that a thread of one connection does."""
        worker = Worker(self)
        worker.runtime.adopt_generators()
        worker.serve(client, peer)

    def _work(self) -> None:
        """All that a thread of the pool does."""
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
        log.exception("what ran beside the connections has failed")


def _nobody(connection: HttpConnection) -> None:
    """The thread knows by itself that its connection has gone."""


def _start(function: Callable[..., object], *arguments: Any) -> None:
    """On a daemon thread. Raises RuntimeError where the system has none to give."""
    threading.Thread(target=function, args=arguments, daemon=True).start()


# --- the command line ------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the exit status."""
    options, rest = _parser().parse_known_args(arguments)
    config = parse_arguments(rest)
    if config.reload:
        return complain("--reload: threads cannot be handed over to another process", 2)
    if config.metrics:
        return complain("--metrics: they are those of a loop, and here is none", 2)
    if options.threads < 1:
        return complain("--threads: a pool has one thread at least", 2)
    if not LEAST_SWITCH <= options.switch_interval <= MOST_SWITCH:
        return complain(
            f"--switch-interval: it is between {LEAST_SWITCH:g} and {MOST_SWITCH:g} seconds", 2
        )
    sys.setswitchinterval(options.switch_interval)
    Shared.guard = guarded  # before any handler is made
    try:
        configure_logging(config.serve.log_level, open_error_log(config.serve.error_log))
        access_log = open_access_log(config.serve.access_log)
    except StartError as error:
        return complain(str(error))
    try:
        site = Site(plan(config), config.limits)
        server = ThreadedServer(
            site.handler,
            config.limits,
            options.threads if options.model == "pool" else 0,
            wall=SharedWall(server=config.serve.server_header, with_date=config.serve.date_header),
            access_log=access_log,
            access_log_format=config.serve.access_log_format,
        )
    except (LoadError, SiteError, ValueError) as error:
        return complain(str(error), 1 if isinstance(error, SiteError) else 2)
    try:
        listening = bind(config.serve.host, config.serve.port, config.limits.backlog)
    except (OSError, OverflowError, UnicodeError) as error:
        return complain(str(cannot_listen(config.serve.host, config.serve.port, error)))
    for work in site.housekeeping():
        server.spawn(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.shut_down())
    _say(config, options, server, listening[0].getsockname())
    server.run(listening)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="loadtest.threaded",
        description="The server with threads in place of the loop.",
        epilog="All other options are those of python -m reactor.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", choices=("each", "pool"), default="each", help="(%(default)s)")
    parser.add_argument(
        "--threads", type=int, default=POOL_THREADS, metavar="N", help="of a pool (%(default)s)"
    )
    parser.add_argument(
        "--switch-interval",
        type=float,
        default=sys.getswitchinterval(),
        metavar="SECONDS",
        help="until who holds the GIL is asked for it (%(default)s)",
    )
    return parser


def _say(
    config: Config, options: argparse.Namespace, server: ThreadedServer, address: tuple[Any, ...]
) -> None:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    model = "a thread each" if options.model == "each" else f"a pool of {options.threads} threads"
    print(
        f"threaded: http://{host}:{address[1]}/ serves {served(config)}; {model}; "
        f"{server.limits.connections} connections at most; Ctrl-C ends it",
        file=sys.stderr,
        flush=True,
    )
