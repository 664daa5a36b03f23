"""Listening, accepting, sharing, and ending well.

A Server binds addresses, makes a connection of each client that comes, and knows how many there
are. Over the limit a client is told so (503) rather than left in the dark; when the process runs
out of descriptors the listener sleeps a little, since a failed accept leaves it ready and the loop
would spin.

It ends in order: stop listening, close the idle, let the others answer what they have begun, and
abort what is left at the deadline.
"""

import logging
import socket
import sys
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final

from reactor.errors import Cancelled, ProtocolError
from reactor.http.connection import HttpConnection
from reactor.http.context import Handler, Observer, ServerContext, ServerState
from reactor.http.wall_clock import WallClock
from reactor.limits import Limits
from reactor.loop.reactor import Reactor
from reactor.loop.slow_callbacks import SlowCallbacks
from reactor.messages.headers import Fields
from reactor.messages.request import Request
from reactor.net.listener import Listener, Newcomers, bind
from reactor.net.transport import Transport
from reactor.observe.access_log import check_format, line_writer
from reactor.observe.error_log import ErrorLog
from reactor.observe.log_writer import LogFile, LogWriter
from reactor.observe.statistics import Statistics
from reactor.server.admission import REFUSALS, affordable_connections
from reactor.tasks.futures import Future
from reactor.tasks.semaphore import WeightedSemaphore
from reactor.tasks.task import Runtime, Task
from reactor.tasks.thread_pool import ThreadPool

# Each recv and send gives the GIL away, and a thread that computes gives it back when so much time
# has passed. By default that is 5 ms, which every step of the loop would have to wait.
SWITCH_SECONDS: Final = 0.0005
log = logging.getLogger("reactor")


class Server:
    """An HTTP server for one handler.

    Everything it touches is an argument: the reactor (selector and clock), the thread pool, the
    wall clock and the transport's class, so that a simulator can stand in for the world.

    A handler that has a method `prepare` is told of its server before anything is served, by
    `handler.prepare(server)`, for what it needs of it: its limits, its statistics, coroutines to
    `spawn`. What that raises, the making of the server raises.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits | None = None,
        *,
        reactor: Reactor | None = None,
        pool: ThreadPool | None = None,
        wall: WallClock | None = None,
        transport: type[Transport] = Transport,
        access_log: int | LogFile | None = None,
        access_log_format: str = "common",
        error_log: ErrorLog | None = None,
    ) -> None:
        """`access_log` is a descriptor, or a file that can be opened anew, or None.

        `error_log` is written without waiting while the server runs. Opens nothing yet. Raises
        ValueError for a wrong format (see observe/access_log.py), and what the handler's `prepare`
        raises.
        """
        check_format(access_log_format)
        limits = limits or Limits()
        if not limits.connections:
            limits = replace(limits, connections=affordable_connections())
        self.limits = limits
        self.reactor = reactor or _reactor(limits)
        self.pool = pool or ThreadPool(
            self.reactor, limits.pool_threads, limits.pool_jobs, limits.pool_timeout
        )
        self._runtime = runtime = Runtime(self.reactor, self.pool, limits.cancel_timeout)
        runtime.adopt_generators()
        wall = wall or WallClock()
        wall.refresh(self.reactor.now)
        self._logs: dict[str, LogWriter] = {}
        self._error_log = error_log
        observe: Observer | None = None
        if access_log is not None:
            file = LogFile(access_log) if isinstance(access_log, int) else access_log
            writer = self._logs["access"] = LogWriter(file, runtime, limits.log_bytes)
            observe = line_writer(access_log_format, writer.write, wall, self.reactor)
        self._service = ServerContext(
            handler=handler,
            limits=limits,
            runtime=runtime,
            wall=wall,
            memory=WeightedSemaphore(limits.memory_bodies_bytes),
            closed=self._closed,
            state=ServerState(observe),
        )
        self._transport = transport
        self._listeners: list[Listener] = []
        self._connections: dict[HttpConnection, float] = {}  # since when, in their order
        self._newcomers = Newcomers(self.reactor)
        self._tasks: dict[Future[None], Task[None]] = {}
        self._statistics: Statistics | None = None
        self._leaving = False
        prepare = getattr(handler, "prepare", None)
        if prepare is not None:
            try:
                prepare(self)
            except Exception:
                if reactor is None:
                    self.reactor.close()
                raise

    # --- listening -------------------------------------------------------------------------------

    def listen(self, host: str = "127.0.0.1", port: int = 4221) -> tuple[Any, ...]:
        """Bind every address that `host` stands for; the first one bound. Raises OSError."""
        for bound in bind(host, port, self.limits.backlog):
            self.listen_on(bound)
        return self._listeners[0].address

    def listen_on(self, listening: socket.socket) -> None:
        """Accept from a socket that is bound and listening."""
        listening.setblocking(False)
        self._listeners.append(Listener(self.reactor, listening, self.connect))

    def connect(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Make a connection of an accepted, non-blocking socket."""
        open_connections = len(self._connections)
        if open_connections >= self.limits.connections + REFUSALS:
            client.close()
            return
        transport = self._transport(self.reactor, client, peer)
        connection = HttpConnection(transport, self._service)
        self._connections[connection] = self.reactor.now
        self._service.state.accepted += 1
        if open_connections >= self.limits.connections:
            connection.refuse(ProtocolError(503, "Too many connections.", [("Retry-After", "1")]))
        else:
            self._newcomers.add(transport)

    @property
    def addresses(self) -> list[tuple[Any, ...]]:
        """The addresses that it listens on, in the order in which they were bound."""
        return [listener.address for listener in self._listeners]

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    @property
    def draining(self) -> bool:
        """It shuts down, or will when `shutdown_delay` is over."""
        return self._leaving

    @property
    def statistics(self) -> Statistics:
        """What it does, in numbers; counting begins when they are asked for the first time."""
        if self._statistics is None:
            self._statistics = Statistics(
                self.reactor, self._service, self.pool, self._connections, self._logs
            )
            state = self._service.state
            state.observe = _both(state.observe, self._statistics.count)
        return self._statistics

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine beside the connections; it is cancelled when the server shuts down.

        If it fails, that is logged.
        """
        task = self._runtime.spawn(coroutine)
        self._tasks[task] = task
        task.add_callback(self._task_ended)

    # --- running and ending ----------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `shut_down` has ended."""
        sys.setswitchinterval(SWITCH_SECONDS)
        if self._error_log is not None:
            limit = self.limits.log_bytes
            writer = LogWriter(self._error_log.file, self._runtime, limit, delay=0.0)
            self._logs["error"] = writer
            self._error_log.attach(writer)
        try:
            self.reactor.run()
        finally:
            self.close()

    def shut_down(self, grace: float = 0.0) -> None:
        """Stop listening, let running requests finish up to `shutdown_timeout`, then stop.

        All of that begins after `shutdown_delay`, until which everything goes on, but for what asks
        whether it is `draining`: a balancer has that long to notice.

        An idle connection is closed after `grace` seconds. A request that is on its way to it is
        answered in that time, and the client told by `Connection: close` to ask elsewhere from then
        on (RFC 9112, section 9.6): where another process goes on accepting, none is lost.

        A second call ends everything now. From a thread or a signal handler, through
        `reactor.call_soon_threadsafe`.
        """
        if self._leaving:
            self._abort_all()
            return
        self._leaving = True
        if self.limits.shutdown_delay:
            self.reactor.call_later(self.limits.shutdown_delay, self._drain, grace)
        else:
            self._drain(grace)

    def _drain(self, grace: float) -> None:
        self._service.state.draining = True
        self._close_listeners()
        for task in tuple(self._tasks.values()):
            task.cancel()
        if grace > 0 and self._connections:
            self.reactor.call_later(grace, self._shut_connections_down)
        else:
            self._shut_connections_down()
        self.reactor.call_later(self.limits.shutdown_timeout, self._abort_all)
        self._stop_if_done()

    def reopen_logs(self) -> None:
        """Open the files of the logs anew, where they have been renamed. On the loop's thread.

        Nothing is lost: what cannot be opened goes on as it is, and the error log says so.
        """
        for writer in self._logs.values():
            writer.reopen()

    def close(self) -> None:
        """Close what is open, and write the last lines of the logs. The loop has ended."""
        self._close_listeners()
        for connection in tuple(self._connections):
            connection.abort()
        self.pool.close()
        if self._error_log is not None:
            self._error_log.detach()
        for writer in self._logs.values():
            writer.close()
        self.reactor.close()

    # --- inside ----------------------------------------------------------------------------------

    def _task_ended(self, task: Future[None]) -> None:
        self._tasks.pop(task, None)
        try:
            task.result()
        except (Exception, SystemExit, Cancelled) as error:
            if not isinstance(error, Cancelled):
                log.exception("what ran beside the connections has failed")
            error.__traceback__ = None  # its frames know the task, and the task knows it: a cycle

    def _closed(self, connection: HttpConnection) -> None:
        self._connections.pop(connection, None)
        self._stop_if_done()

    def _shut_connections_down(self) -> None:
        for connection in tuple(self._connections):
            connection.shut_down()

    def _stop_if_done(self) -> None:
        if self._service.state.draining and not self._connections:
            self.reactor.stop()

    def _abort_all(self) -> None:
        for connection in tuple(self._connections):
            connection.abort()
        self.reactor.stop()

    def _close_listeners(self) -> None:
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()


def _reactor(limits: Limits) -> Reactor:
    reactor = Reactor()
    if limits.slow_callback:
        reactor.attach(SlowCallbacks(limits.slow_callback, reactor.selector))
    return reactor


def _both(first: Observer | None, second: Observer) -> Observer:
    if first is None:
        return second
    told = first

    def observe(request: Request, status: int, fields: Fields, size: int) -> None:
        told(request, status, fields, size)
        second(request, status, fields, size)

    return observe
