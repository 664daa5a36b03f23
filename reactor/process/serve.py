"""Run one application until a signal ends the process: logs, address, signals, drain.

`serve` is for programs that serve an application of their own. The command line calls the parts of
it, because it loads the application in between and may inherit its sockets.

Three rules. The first signal drains the server and the second one ends it. Logging is configured
only where the program has not done so. `serve` restores the signal handlers and the root logger
before it returns. This module knows one handler and no URL.
"""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from reactor.config import types
from reactor.config.standard_streams import print_error
from reactor.errors import counted, reason_of
from reactor.http.context import ErrorResponder, Handler
from reactor.http.error_responses import plain_error_response
from reactor.http.wall_clock import WallClock
from reactor.limits import ServerLimits
from reactor.net.binding import ListenError, bind_hosts
from reactor.observe.error_log import ErrorLog
from reactor.observe.log_file import LogFile
from reactor.process.options import ServeOptions
from reactor.process.terminal import has_terminal
from reactor.process.urls import in_words, urls
from reactor.server.listeners import Tls
from reactor.server.server import Server
from reactor.server.state_dump import state_dump
from reactor.tasks.operations import in_pool

SECONDS_AFTER_SECOND_SIGNAL: Final = 0.8  # until the process ends, even if something hangs

T = TypeVar("T")

log = logging.getLogger("reactor")


class StartError(OSError):
    """The server cannot start. `str` gives the sentence alone, `errno` the system's number."""

    def __str__(self) -> str:
        return str(self.strerror)


def serve(
    app: Handler,
    *,
    host: str | Sequence[str] = ServeOptions.host,
    port: int = ServeOptions.port,
    bind: str | Sequence[str] = (),
    limits: ServerLimits | None = None,
    access_log: str = ServeOptions.access_log,
    access_log_format: str = ServeOptions.access_log_format,
    error_log: str = ServeOptions.error_log,
    log_level: str = ServeOptions.log_level,
    server_header: str = ServeOptions.server_header,
    date_header: bool = ServeOptions.date_header,
    tls: Tls | None = None,
    ready: Callable[[Server], object] | None = None,
) -> None:
    """Serve `app` until a signal or `shut_down` ends the server; returns when it has drained.

    `app` is an Application or any other handler. `host` is a name or an address, or several ("" and
    "::" stand for every address of the machine), and `port` 0 to 65535, where 0 takes any free
    port. `bind` adds "ADDRESS[:PORT]", or several: "127.0.0.1:8080", "[::1]:8080", "localhost",
    ":8080"; without a port, `port` counts. Where neither says otherwise, the server listens on
    127.0.0.1. The first line on standard error says where the server listens.

    SIGINT (Ctrl-C) and SIGTERM stop the listening and let running requests finish for up to
    `limits.shutdown_timeout` seconds; a second signal ends everything at once. SIGHUP, which a
    closing terminal sends, does as the first one, unless it loads certificates. SIGUSR1 opens the
    files of both logs anew, SIGUSR2 writes the server's state into the error log. The program's own
    handlers of SIGHUP, SIGUSR1 and SIGUSR2 stay. Signals reach only the main thread: called on
    another thread, `serve` leaves them alone, and the program ends it with
    `server.reactor.call_soon_threadsafe(server.shut_down)`.

    With `tls`, the server speaks HTTPS at all of these places: an ssl.SSLContext, which stays as it
    is, or Certificates, which SIGHUP loads again (see net/certificates.py).

    The functions of `app.on_start` are called when the server listens, and before it accepts a
    client; those of `app.on_stop` behind the last request.

    `ready` is called with the Server after them, before it serves: that is the place to keep it for
    `shut_down`, or to learn the port from `server.addresses`.

    `access_log` is a path, "-" for standard output or "off"; `access_log_format` is "common",
    "combined", "json" or a text with atoms (see docs/logging.md). `error_log` is a path or "-" for
    standard error, and `log_level` the lowest level that it takes ("debug" to "critical"). Both
    are ignored in a program whose root logger has handlers already. `server_header` is the value
    of the Server field ("" leaves it out), and `date_header=False` leaves out Date.

    Raises OSError, with a sentence, when it cannot listen or cannot open a log, ValueError for an
    option that is wrong or an application that cannot be composed, and StartHookError for a
    function of `app.on_start` that fails.
    """
    places = (_each(host, types.host), port, _each(bind, types.place))
    logs = (access_log, access_log_format, error_log, log_level)
    options = ServeOptions(*places, *logs, server_header, date_header)
    with _logging(options) as errors:
        server = make_server(app, options, limits, errors)
        signals = Signals(server, reload=reloader(server, tls))
        try:
            for listening in open_sockets(options, server.limits.backlog):
                server.listen_on(listening, tls=tls)
            signals.install()
            if server.start():
                announce(server)
                if ready is not None:
                    ready(server)
        except BaseException:
            signals.restore()
            server.close()
            raise
        try:
            server.run()  # and closes it
        finally:
            signals.restore()


def make_server(
    handler: Handler,
    options: ServeOptions,
    limits: ServerLimits | None,
    error_log: ErrorLog | None,
    error_response: ErrorResponder = plain_error_response,
) -> Server:
    """A server that does not listen yet. Raises StartError, and ValueError (see `Server`)."""
    return Server(
        handler,
        limits,
        wall=WallClock(server=options.server_header, with_date=options.date_header),
        access_log=open_access_log(options.access_log),
        access_log_format=options.access_log_format,
        error_log=error_log,
        error_response=error_response,
    )


def open_sockets(options: ServeOptions, backlog: int) -> list[socket.socket]:
    """Listening sockets for all hosts of the options. Raises StartError."""
    return open_places(options.places, backlog)


def open_places(places: Sequence[tuple[str, int]], backlog: int) -> list[socket.socket]:
    """Listening sockets for these hosts and ports. Raises StartError."""
    try:
        return bind_hosts(places, backlog)
    except ListenError as error:
        raise StartError(error.errno, str(error)) from error


def announce(server: Server, what: str = "", redirects: Sequence[tuple[Any, ...]] = ()) -> None:
    """Print where the server listens, and what it serves, as one line on standard error.

    Requests to the addresses `redirects` are redirected.
    """
    serving = [address for address in server.addresses if address not in redirects]
    found = urls(serving, server.secure_addresses)
    if redirects:
        say(f"Requests to {in_words(urls(redirects))} are redirected")
    serves = f" serve{'s' if len(found) == 1 else ''} {what}" if what else ""
    most = counted(server.limits.connections, "connection")
    say(f"{in_words(found)}{serves}; {most} at most; Ctrl-C ends it")


def say(sentence: str) -> None:
    """Print one line on standard error, if it is open."""
    print_error(f"reactor: {' '.join(sentence.split())}\n")


# --- logs ----------------------------------------------------------------------------------------


def open_access_log(where: str) -> LogFile | None:
    """The file at a path; "-" is standard output. Raises StartError.

    The result is None for "off", and for a standard output that is closed.
    """
    if where == "off":
        return None
    try:
        if where != "-":
            return LogFile.open(where)
        if sys.stdout is None:
            log.warning("There is no access log: standard output is closed")
            return None
        return LogFile(sys.stdout.fileno())
    except (OSError, ValueError) as error:
        raise _start_error(f"Cannot write the access log {where!r}", error) from error


def open_error_log(where: str) -> ErrorLog:
    """A logging handler for the file at a path; "-" is standard error. Raises StartError."""
    try:
        if where != "-":
            return ErrorLog(LogFile.open(where))
        # Where standard error is closed, its number may be that of anything else by now.
        if sys.stderr is None:
            return ErrorLog(LogFile.open(os.devnull))
        return ErrorLog(LogFile(sys.stderr.fileno()))
    except (OSError, ValueError) as error:
        raise _start_error(f"Cannot write the error log {where!r}", error) from error


def configure_logging(level: str, error_log: logging.Handler) -> None:
    """Write what all loggers log from this level on into the error log."""
    logging.basicConfig(level=level.upper(), handlers=[error_log])


@contextmanager
def _logging(options: ServeOptions) -> Iterator[ErrorLog | None]:
    """The error log of a program that has configured none; None for one that has."""
    root = logging.getLogger()
    if root.handlers:
        yield None
        return
    level, error_log = root.level, open_error_log(options.error_log)
    configure_logging(options.log_level, error_log)
    try:
        yield error_log
    finally:
        root.removeHandler(error_log)
        root.setLevel(level)


def _each(texts: str | Sequence[str], parse: Callable[[str], T]) -> tuple[T, ...]:
    return tuple(map(parse, (texts,) if isinstance(texts, str) else texts))


def _start_error(sentence: str, error: Exception) -> StartError:
    number = error.errno if isinstance(error, OSError) else None
    return StartError(number, f"{sentence}: {reason_of(error)}")


# --- signals -------------------------------------------------------------------------------------


class Signals:
    """The signals that a server obeys. Python delivers them to the main thread only."""

    def __init__(
        self,
        server: Server,
        ending: Collection[int] = (signal.SIGINT, signal.SIGTERM),
        grace: float = 0.0,
        reload: Callable[[], None] | None = None,
    ) -> None:
        """`ending` are the signals that drain; `grace` is explained at `Server.shut_down`.

        `reload` is what SIGHUP calls, on the loop's thread. Without it, and where the terminal has
        closed, SIGHUP drains.
        """
        self._reload = reload
        self._in_terminal = has_terminal()
        self._server = server
        self._ending = ending
        self._grace = grace
        self._count = 0
        self._hung_up = False
        self._replaced: dict[int, Any] = {}
        self._watchdog: threading.Timer | None = None

    def install(self) -> None:
        """Obey from now on; without effect on any thread but the main one.

        A program that has a handler of its own for SIGHUP, SIGUSR1 or SIGUSR2 keeps it. SIGHUP
        stays ignored where it was: nohup has a program outlive its terminal.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._ending:
            self._replace(number, self._end)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            self._replace(signal.SIGHUP, self._hang_up)
        for number, handler in (
            (signal.SIGUSR1, self._reopen_logs),
            (signal.SIGUSR2, self._dump_state),
        ):
            if not callable(signal.getsignal(number)):
                self._replace(number, handler)

    def restore(self) -> None:
        """Put the handlers back that `install` has replaced."""
        for number, handler in self._replaced.items():
            if handler is not None:  # C code's own cannot be restored
                signal.signal(number, handler)
        self._replaced.clear()
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _replace(self, number: int, handler: Callable[[int, Any], None]) -> None:
        self._replaced[number] = signal.signal(number, handler)

    def _end(self, number: int, frame: Any) -> None:
        """The first one drains, the second one ends, also where the loop or a disk hangs."""
        self._count += 1
        if self._count > 1 or not self._hung_up:
            self._server.reactor.call_soon_threadsafe(self._server.shut_down, self._grace)
        if self._count == 2:
            self._watchdog = threading.Timer(SECONDS_AFTER_SECOND_SIGNAL, os._exit, (1,))
            self._watchdog.daemon = True
            self._watchdog.start()

    def _hang_up(self, number: int, frame: Any) -> None:
        """Load certificates, or drain. This signal is never a second one that ends at once.

        A terminal that closes may cause several, from the kernel and from the shell, and a session
        that ends SIGTERM beside them. No request is lost by that.
        """
        if self._reload is not None and (has_terminal() or not self._in_terminal):
            self._server.reactor.call_soon_threadsafe(self._reload)
        elif not self._hung_up and self._count == 0:
            self._hung_up = True
            self._server.reactor.call_soon_threadsafe(self._server.shut_down, self._grace)

    def _reopen_logs(self, number: int, frame: Any) -> None:
        self._server.reactor.call_soon_threadsafe(self._server.reopen_logs)

    def _dump_state(self, number: int, frame: Any) -> None:
        self._server.reactor.call_soon_threadsafe(_log_state, self._server)


def reloader(server: Server, tls: Tls | None) -> Callable[[], None] | None:
    """A function that begins to load certificates again; None where there are none to load."""
    load = getattr(tls, "load", None)
    return None if load is None else lambda: server.spawn(_load_again(load))


async def _load_again(load: Callable[[], None]) -> None:
    """Load certificates, on a thread, and log what became of it."""
    try:
        await in_pool(load)
    except ValueError as error:
        log.error("The certificates stay as they were: %s", error)
    else:
        log.info("The certificates were loaded again")


def _log_state(server: Server) -> None:
    """Log the state at any level of the log, since an operator has asked for it."""
    place = (__file__, 0, state_dump(server), (), None)
    log.handle(log.makeRecord(log.name, logging.INFO, *place))
