"""The world that a test client lives in: a server on a simulated network, and who is in it.

It owns the simulated time, the connections that are kept for the next request, and what has failed
in the server. Nothing happens but within `turn`: the loop makes one turn, and where it has nothing
to do the simulated clock jumps, so an hour costs nothing. Nothing chances either: the network is
calm, and the same requests give the same bytes.

An exception that became a 500, or cut a response, is taken from the log, where the server says it;
so the server under test is the real one, without a hook.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import get_ident
from types import FrameType, TracebackType
from typing import Any, Final, TypeAlias

from reactor.http.connection import HttpConnection
from reactor.http.context import Handler
from reactor.http.states import BODY, DRAIN, HANDLER, PRODUCE
from reactor.limits import ServerLimits
from reactor.server.server import Server
from reactor.simulator import SimClient, SimNetwork, SimWorld
from reactor.simulator.world import CONNECTIONS

SPIN_TURNS: Final = 100_000  # in which nothing moves: `await sleep(0)` some thousand times is fine
TRACE_LINES: Final = 1000  # the part of the trace that is kept
LONGEST_STEP: Final = 86400.0  # simulated seconds, that one turn may wait
CLEANING_SECONDS: Final = 0.01  # simulated, that a server is given to notice that its client left

_WAITS: Final = {
    BODY: "the handler waits for more of the request's body",
    HANDLER: "the handler has not returned a response",
    PRODUCE: "the next piece of the response's body has not come",
    DRAIN: "the server waits for its client to read",
}

Origin: TypeAlias = tuple[str, str, int]


class Deadlock(TimeoutError):
    """A client waits for something that will never come: nothing is due in its world."""


class World:
    """A server, its time, and the connections of one client."""

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits | None,
        address: tuple[Any, ...],
        wall: float | None,
        *,
        raises: bool,
    ) -> None:
        """`wall` is the time of day when it begins, in seconds since 1970; None: what it is now."""
        limits = limits or ServerLimits()
        if not limits.connections:  # never what this process's descriptors allow
            limits = replace(limits, connections=CONNECTIONS)
        self._epoch = time.time() if wall is None else wall
        self._address = address
        self._network = SimNetwork(0, calm=True)
        self._raises = raises
        self._failures = _Failures()
        hooks = sys.get_asyncgen_hooks()
        try:
            self._world = SimWorld(self._network, handler, limits, epoch=self._epoch)
            self._hooks = sys.get_asyncgen_hooks()
        finally:
            sys.set_asyncgen_hooks(*hooks)
        self._world.selector.spin_turns = SPIN_TURNS
        self._listeners = {False: self._world.listener}  # by whether clients speak TLS there
        self._connected = 0  # connections, so far
        self._open: list[SimClient] = []
        self._idle: list[tuple[Origin, SimClient]] = []
        self.closed = False

    @property
    def now(self) -> float:
        """Simulated seconds since it began."""
        return self._network.time

    @property
    def wall(self) -> float:
        """The simulated time of day, in seconds since 1970."""
        return self._epoch + self._network.time

    @property
    def server(self) -> Server:
        return self._world.server

    # --- time ------------------------------------------------------------------------------------

    @contextmanager
    def driving(self) -> Iterator[None]:
        """Around turns: this thread's asynchronous generators are the server's meanwhile."""
        self.check_open()
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(*self._hooks)
        log = logging.getLogger("reactor")
        watches = self._raises and self._failures not in log.handlers
        if watches:
            log.addHandler(self._failures)
        try:
            yield
        finally:
            if watches:
                log.removeHandler(self._failures)
            sys.set_asyncgen_hooks(*hooks)

    def turn(self, until: float) -> None:
        """One turn of the loop, which waits until the simulated time `until` at most."""
        self._world.reactor.run_once(max(0.0, until - self.now))
        del self._network.trace[:-TRACE_LINES]
        for entry in tuple(self._idle):
            if entry[1].read() is not None:  # a FIN, a reset, or bytes that nobody has asked for
                self._idle.remove(entry)
                self.discard(entry[1])

    def run(self, seconds: float) -> None:
        """Let so much simulated time pass. Raises what fails in the server."""
        self._run(seconds)
        self.raise_failures()

    def _run(self, seconds: float) -> None:
        until = self.now + seconds
        with self.driving():
            while self.now < until:
                self.turn(until)

    def start(self) -> None:
        """Call the application's functions of the start. Raises StartHookError, Deadlock."""
        with self.driving():
            task = self.server.begin_start()
            while not task.done:
                if self.stuck:
                    raise Deadlock("a function of on_start waits, and nothing is due that ends it")
                self.turn(self.now + LONGEST_STEP)
        task.result()
        self.raise_failures()

    def finish_after_work(self, until: float) -> None:
        """Let the calls of `request.after` end, until then at most, or until nothing is due."""
        work = self.server.after_work
        if work.is_busy and not self.closed:
            with self.driving():
                while work.is_busy and self.now < until and not self.stuck:
                    self.turn(until)
            self.raise_failures()

    @property
    def stuck(self) -> bool:
        """Nothing will ever happen unless a client does something."""
        return self._world.stuck

    def raise_failures(self) -> None:
        """Raise what has failed in the server; what failed after it is noted on it."""
        failed, self._failures.errors = self._failures.errors, []
        if failed:
            error, traceback = failed[0]
            for later, _ in failed[1:]:
                error.add_note(f"and after that: {later!r}")
            raise error.with_traceback(traceback)

    # --- connections -----------------------------------------------------------------------------

    def connect(self, origin: Origin) -> SimClient:
        """A connection for the origin: one that is kept, or a new one. Raises OSError."""
        for entry in reversed(self._idle):
            if entry[0] == origin:
                self._idle.remove(entry)
                return entry[1]
        host, port, *rest = self._address
        peer = (host, port + self._connected, *rest)
        self._connected += 1
        secure = origin[0] == "https"
        listener = self._listeners.get(secure)
        if listener is None:
            listener = self._listeners[secure] = self._world.listen(secure=secure)
        client = SimClient(self._network, listener, f"client-{self._connected}", peer=peer)
        if not client.connect():
            raise ConnectionRefusedError("the server does not listen any more")
        self._open.append(client)
        return client

    def keep(self, origin: Origin, client: SimClient) -> None:
        """Its response is whole: the connection waits for another request."""
        self._idle.append((origin, client))

    def discard(self, client: SimClient) -> None:
        """Close it, as a client that has all it wants."""
        client.close()
        self._open.remove(client)

    def leave(self, client: SimClient) -> None:
        """Reset it in the middle, and let the server notice."""
        if client in self._open:
            self._open.remove(client)
            client.reset()
            if not self.closed:
                self._run(CLEANING_SECONDS)

    def describe(self, client: SimClient) -> str:
        """A sentence about what the server is doing for this client; and where in the handler."""
        connection = self._connection(client)
        if connection is None:
            return "The server has no connection with this client any more."
        state = connection.state
        text = _WAITS.get(state, f"the server's end is in the state {state.name}")
        frame = _where(connection) if state in (BODY, HANDLER, PRODUCE) else None
        place = ""
        if frame is not None:
            code = frame.f_code
            place = f", in {code.co_qualname} ({code.co_filename}, line {frame.f_lineno})"
        return f"{text[0].upper()}{text[1:]}{place}."

    def _connection(self, client: SimClient) -> HttpConnection | None:
        for connection in self._world.server.open_connections:
            end: Any = connection.transport._socket
            if end.other is client.socket:
                return connection
        return None

    # --- the end ---------------------------------------------------------------------------------

    def check_open(self) -> None:
        if self.closed:
            raise RuntimeError("this client is closed")

    def close(self, check: bool = True) -> None:
        """Leave, shut the server down, and see to it that nothing is left. Raises Violation."""
        if self.closed:
            return
        for client in self._open:
            client.reset()
        self._open.clear()
        self._idle.clear()
        server = self._world.server
        limits = server.limits
        server.shut_down()
        try:
            self._run(limits.shutdown_timeout + limits.cancel_timeout + 1.0)
            self._finish_stop()
        finally:
            with self.driving():
                server.close()
            self.closed = True
        if check:
            self.raise_failures()
            self._world.check_end()

    def _finish_stop(self) -> None:
        """Let the application's functions of the end go on until they have ended."""
        with self.driving():
            while not self.server.ended and not self.stuck:
                self.turn(self.now + LONGEST_STEP)


class _Failures(logging.Handler):
    """The exceptions that the server has logged; not what another thread's has."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        # With its traceback, which an error loses once it is logged: it would be a cycle.
        self.errors: list[tuple[BaseException, TracebackType | None]] = []

    def emit(self, record: logging.LogRecord) -> None:
        _, error, traceback = record.exc_info or (None, None, None)
        if error is not None and record.thread == get_ident():
            self.errors.append((error, traceback))


def _where(connection: HttpConnection) -> FrameType | None:
    """The innermost frame of what a connection waits for, if it is a coroutine or a generator."""
    source = getattr(connection.writer and connection.writer.stream, "_source", None)
    waits: Any = getattr(connection.task, "_coroutine", None)
    if waits is None:
        waits = getattr(source, "_iterator", None)
    frame = None
    while waits is not None:
        found = getattr(waits, "cr_frame", None) or getattr(waits, "ag_frame", None)
        frame = found or frame
        waits = getattr(waits, "cr_await", None) or getattr(waits, "ag_await", None)
    return frame
