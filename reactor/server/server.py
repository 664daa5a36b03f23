"""The server: one handler, and everything that its connections share.

A Server binds addresses, makes a connection of each client that comes, and ends in order. The
parts of that work have modules of their own: the limit of connections is in admission.py, the end
in shutdown.py, the logs in logs.py. This module puts them together.

Everything that a server touches is an argument: the reactor (selector and clock), the thread pool,
the wall clock and the transport's class, so that a simulator can stand in for the world.
"""

import logging
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

from reactor.errors import Cancelled, all_but_interrupts, counted
from reactor.files.descriptors import prepare_descriptors
from reactor.http.body_memory import BodyMemory
from reactor.http.connection import HttpConnection
from reactor.http.context import ErrorResponder, Handler, Observer, ServerContext, ServerState
from reactor.http.error_responses import plain_error_response
from reactor.http.wall_clock import WallClock
from reactor.limits import ServerLimits
from reactor.loop.reactor import Reactor
from reactor.loop.scheduler import abort_owner
from reactor.loop.slow_callbacks import SlowCallbacks
from reactor.messages.request import BaseRequest
from reactor.net.binding import bind_hosts
from reactor.net.handshakes import Handshakes
from reactor.net.spare_descriptors import SpareDescriptors
from reactor.net.transport import Transport
from reactor.observe.access_log import check_format
from reactor.observe.error_log import ErrorLog
from reactor.observe.log_file import LogFile
from reactor.observe.statistics import Statistics, observe_both
from reactor.server.admission import Admission, affordable_connections
from reactor.server.interpreter import tune_interpreter
from reactor.server.lifecycle import Lifecycle, Step
from reactor.server.listeners import Listeners, Tls
from reactor.server.logs import ServerLogs
from reactor.server.shutdown import Shutdown, ShutdownPhase
from reactor.tasks.after_work import AfterWork
from reactor.tasks.futures import Future
from reactor.tasks.task import Runtime, Task
from reactor.tasks.thread_pool import ThreadPool

log = logging.getLogger("reactor")


class ServerSnapshot(NamedTuple):
    """The state of a server at one moment."""

    addresses: tuple[tuple[Any, ...], ...]  # that it listens on
    connections: Mapping[HttpConnection, float]  # open ones in the order of accepting, since when
    connections_limit: int
    accepted: int  # connections, since the start
    draining: bool
    body_bytes: int  # memory that is held for request bodies, beyond what each has for itself
    body_waiters: int  # request bodies that wait for memory
    tasks: tuple[Task[None], ...]  # that run beside the connections
    lost_lines: Mapping[str, int]  # by the name of the log


class Server:
    """An HTTP server for one handler.

    If the handler is Preparable, its `prepare` is called with the server before anything is served,
    so that it can read the limits, ask for statistics, or `spawn` coroutines.
    """

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits | None = None,
        *,
        reactor: Reactor | None = None,
        pool: ThreadPool | None = None,
        wall: WallClock | None = None,
        transport: type[Transport] = Transport,
        spare: SpareDescriptors | None = None,
        access_log: int | LogFile | None = None,
        access_log_format: str = "common",
        error_log: ErrorLog | None = None,
        error_response: ErrorResponder = plain_error_response,
    ) -> None:
        """Opens nothing yet.

        `access_log` is a file descriptor, a file that can be opened anew, or None. `error_log` is
        written without waiting while the server runs. `error_response` responds to errors that the
        server finds; where none is given, the handler's does (see ServerContext). Raises ValueError
        for a wrong format (see observe/access_log.py), and what the handler's `prepare` raises.
        """
        check_format(access_log_format)
        self.limits = limits = _with_connections(_limits_for(handler, limits))
        self.reactor = reactor or _make_reactor(limits)
        self.pool = pool or ThreadPool(
            self.reactor, limits.pool_threads, limits.pool_jobs, limits.pool_timeout
        )
        self._runtime = Runtime(self.reactor, self.pool, limits.cancel_timeout)
        self._runtime.adopt_generators()
        self._lifecycle = Lifecycle(self._runtime, limits, lambda: self._shutdown.end())
        wall = wall or WallClock()
        wall.refresh(self.reactor.now)
        self._logs = ServerLogs(self._runtime, limits, error_log)
        observe = self._logs.open_access_log(access_log, access_log_format, wall)
        self._context = self._make_context(handler, wall, observe, error_response)
        self._admission = Admission(self.reactor, self._context, transport, spare)
        self.handshakes = Handshakes(self.reactor.clock)
        self.listeners = Listeners(self.reactor, self._admission, self.handshakes)
        stop, end = self._stop_accepting, self._lifecycle.end
        self._shutdown = Shutdown(self.reactor, self._context, self.open_connections, stop, end)
        self._tasks: dict[Future[None], Task[None]] = {}
        self._statistics: Statistics | None = None
        self._prepare(handler, own_reactor=reactor is None)

    # --- listening -------------------------------------------------------------------------------

    def listen(
        self, host: str = "127.0.0.1", port: int = 4221, *, tls: Tls | None = None
    ) -> tuple[Any, ...]:
        """Bind the addresses that `host` stands for; the first one bound. Raises OSError.

        "" and "::" stand for every address of the machine; see net/binding.py. With `tls`, an
        ssl.SSLContext or Certificates (see net/certificates.py), clients speak HTTPS there.
        """
        bound = bind_hosts([(host, port)], self.limits.backlog)
        for listening in bound:
            self.listen_on(listening, tls=tls)
        return self.addresses[-len(bound)]

    def listen_on(
        self,
        listening: socket.socket,
        *,
        tls: Tls | None = None,
        hsts: int | None = None,
        handler: Handler | None = None,
    ) -> None:
        """Accept clients from a socket that is bound and listening.

        With `tls`, `hsts` adds Strict-Transport-Security to all responses: browsers use HTTPS alone
        for so many seconds (RFC 6797). `handler` is for the requests of these clients, in place of
        the server's; it gets the server's limits.
        """
        context = self._context
        if handler is not None:
            context = replace(context, handler=handler, error_response=plain_error_response)
        self.listeners.add(listening, context, tls, hsts)

    def connect(self, client: socket.socket, peer: tuple[Any, ...]) -> None:
        """Make a connection of an accepted, non-blocking socket."""
        self._admission.connect(client, peer)

    # --- for handlers and operators --------------------------------------------------------------

    @property
    def addresses(self) -> list[tuple[Any, ...]]:
        """The addresses that it listens on, in the order in which they were bound."""
        return self.listeners.addresses

    @property
    def secure_addresses(self) -> list[tuple[Any, ...]]:
        """Those at which clients speak TLS."""
        return self.listeners.secure_addresses

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._admission.connections)

    @property
    def open_connections(self) -> Mapping[HttpConnection, float]:
        """The open connections in the order of accepting, with the loop's time of that moment."""
        return self._admission.connections

    @property
    def ended(self) -> bool:
        """Whether `shut_down` has done all that it does."""
        return self._shutdown.phase is ShutdownPhase.ENDED

    @property
    def after_work(self) -> AfterWork:
        """The calls of `request.after`."""
        return self._context.after_work

    @property
    def draining(self) -> bool:
        """Whether the server shuts down, or will when `shutdown_delay` is over."""
        return self._shutdown.phase is not ShutdownPhase.SERVING

    @property
    def statistics(self) -> Statistics:
        """Counters of this server; counting begins when they are asked for the first time."""
        if self._statistics is None:
            self._statistics = Statistics(
                *(self.reactor, self._context, self.pool, self.open_connections),
                *(self._logs.writers, self.handshakes, self.listeners.expirations),
            )
            state = self._context.state
            state.observe = observe_both(state.observe, self._statistics.count)
        return self._statistics

    def snapshot(self) -> ServerSnapshot:
        """The state of the server now; on the loop's thread."""
        return ServerSnapshot(
            addresses=tuple(self.addresses),
            connections=self.open_connections,
            connections_limit=self.limits.connections,
            accepted=self._context.state.accepted,
            draining=self.draining,
            body_bytes=self._context.memory.used,
            body_waiters=self._context.memory.waiting,
            tasks=tuple(self._tasks.values()),
            lost_lines={name: writer.lost for name, writer in self._logs.writers.items()},
        )

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine beside the connections; it is cancelled when the server shuts down.

        An error that it raises is logged.
        """
        task = self._runtime.spawn(coroutine)
        self._tasks[task] = task
        task.add_callback(self._task_ended)

    def add_steps(self, steps: Callable[[], Iterable[Step]]) -> None:
        """Add what an application does at its start, at its end and periodically.

        `steps()` lists the steps when the server starts; see server/lifecycle.py.
        """
        self._lifecycle.add(steps)

    # --- running and ending ----------------------------------------------------------------------

    def start(self) -> bool:
        """Call the application's functions of the start; no client is accepted meanwhile.

        Returns whether there is something to run: False if `shut_down` has ended the server.
        Raises StartHookError where a function fails. In both cases the functions of the end have
        been called. `run` calls it, unless it was called before.
        """
        if self.ended:
            return False
        task = self.begin_start()
        if not task.done:
            task.add_callback(lambda _: self.reactor.stop())
            self.reactor.run()
        if not self.ended:
            task.result()
        return not self.ended

    def begin_start(self) -> Task[None]:
        """The task of the start, for a program that turns the reactor itself."""
        task = self._lifecycle.begin()
        if not task.done:
            self.listeners.hold()
            task.add_callback(self._start_ended)
        return task

    def run(self) -> None:
        """Serve until `shut_down` has ended, and close everything.

        Raises StartHookError (see `start`).
        """
        tune_interpreter()
        prepare_descriptors()
        self._logs.attach_error_log()
        try:
            if self.start():
                self.reactor.run()
            served = counted(self._context.state.accepted, "connection")
            log.info("The server has ended: %s served", served)
        finally:
            self.close()

    def shut_down(self, grace: float = 0.0) -> None:
        """Stop listening, let running requests finish up to `shutdown_timeout`, then stop.

        All of that begins after `shutdown_delay`; until then everything goes on, and only
        `draining` is true, so that a load balancer has time to notice.

        An idle connection is closed after `grace` seconds. A request that is on its way to it is
        served in that time, and `Connection: close` asks the client to send its next one elsewhere
        (RFC 9112, section 9.6): where another process goes on accepting, no request is lost.

        A second call aborts all connections at once. From another thread or a signal handler, use
        `reactor.call_soon_threadsafe(server.shut_down)`.
        """
        self._shutdown.begin(grace)

    def reopen_logs(self) -> None:
        """Open the files of the logs anew, where they have been renamed. On the loop's thread.

        No line is lost: a file that cannot be opened stays as it is, and the error log says so.
        """
        self._logs.reopen()

    def close(self) -> None:
        """Close what is open, and write the last lines of the logs. The loop has ended."""
        self._close_listeners()
        for connection in tuple(self.open_connections):
            abort_owner(connection)
        self.pool.close()
        self._logs.close()
        self.reactor.close()

    # --- inside ----------------------------------------------------------------------------------

    def _prepare(self, handler: Handler, *, own_reactor: bool) -> None:
        try:
            prepare_handler(handler, self)
        except BaseException:
            if own_reactor:
                self.reactor.close()
            raise

    def _make_context(
        self,
        handler: Handler,
        wall: WallClock,
        observe: Observer | None,
        error_response: ErrorResponder,
    ) -> ServerContext:
        return ServerContext(
            handler=handler,
            limits=self.limits,
            runtime=self._runtime,
            wall=wall,
            memory=BodyMemory(self.limits),
            closed=self._closed,
            after_work=AfterWork(
                self._runtime, self.limits.after_calls, lambda: self._shutdown.stop_if_done()
            ),
            state=ServerState(observe),
            error_response=error_response,
        )

    def _closed(self, connection: HttpConnection) -> None:
        self._admission.closed(connection)
        self._shutdown.stop_if_done()

    def _start_ended(self, task: Future[None]) -> None:
        if task.exception() is None:
            self.listeners.go_on()

    def _stop_accepting(self) -> None:
        if not self._lifecycle.is_starting:
            self.listeners.accept_last()
        self._close_listeners()
        for task in tuple(self._tasks.values()):
            task.cancel()
        self._runtime.drain()

    def _close_listeners(self) -> None:
        self.listeners.close()
        self._admission.close()

    def _task_ended(self, task: Future[None]) -> None:
        self._tasks.pop(task, None)
        try:
            task.result()
        except all_but_interrupts() as error:
            if not isinstance(error, Cancelled):
                log.exception("A task beside the connections failed")
            error.__traceback__ = None  # its frames know the task, and the task knows it: a cycle


@runtime_checkable
class Preparable(Protocol):
    """A handler that needs its server: for limits, statistics, or tasks beside the requests."""

    def prepare(self, server: Server) -> None:
        """Called once, before the server serves. Errors that it raises end the server's start."""


def prepare_handler(handler: object, server: Server) -> None:
    """Call `handler.prepare(server)` if the handler is Preparable."""
    if isinstance(handler, Preparable):
        handler.prepare(server)


def _limits_for(handler: Handler, limits: ServerLimits | None) -> ServerLimits:
    """The limits, with the defaults of those that only the handler's requests know."""
    request_class: type[BaseRequest] = getattr(handler, "request_class", BaseRequest)
    return request_class.limits_class.of(limits or ServerLimits())


def _with_connections(limits: ServerLimits) -> ServerLimits:
    """The limits; where they leave the number of connections open, with what is affordable."""
    return limits if limits.connections else replace(limits, connections=affordable_connections())


def _make_reactor(limits: ServerLimits) -> Reactor:
    reactor = Reactor()
    if limits.slow_callback:
        reactor.attach(SlowCallbacks(limits.slow_callback, reactor.selector))
    return reactor
