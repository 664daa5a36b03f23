"""The command line: reads the options, wires the server, and waits for a signal.

python -m reactor site
python -m reactor --port 4221 --directory files
python -m reactor --static /assets/=assets package.module:handler
python -m reactor --reload package.module:handler
"""

import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from reactor.http.wall_clock import WallClock
from reactor.net.listener import bind
from reactor.observe.error_log import ErrorLog
from reactor.observe.log_writer import LogFile
from reactor.process.child import GRACE, ReloadChild
from reactor.process.loader import LoadError, load, trace
from reactor.process.reloader import Supervisor
from reactor.server.server import Server
from reactor.server.state_dump import state_dump
from reactor.web.site.command_line import UPLOADS, Config, configure_logging, parse_arguments
from reactor.web.site.site import Site, SiteError, SiteOptions

PATIENCE_AFTER_SECOND_SIGNAL: Final = 0.8  # seconds

log = logging.getLogger("reactor")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config = parse_arguments(arguments)
    try:
        error_log = ErrorLog(open_error_log(config.error_log))
    except OSError as error:
        return complain(f"cannot write the error log {config.error_log!r}: {error.strerror}")
    configure_logging(config.log_level, error_log)
    if not config.reload:
        return _serve(config, error_log, None)
    child = ReloadChild.inherited()
    if child is None:
        return _supervise(config, arguments)
    child.begin(config.application, config.limits.shutdown_timeout)
    # Its successor takes the new clients, so there is nothing to wait for.
    config = replace(config, limits=replace(config.limits, shutdown_delay=0.0))
    status = _serve(config, error_log, child)
    child.ended(status)
    return status


def _supervise(config: Config, arguments: Sequence[str]) -> int:
    """As the parent of processes with the same arguments."""
    try:
        listening = bind(config.host, config.port, config.limits.backlog)
    except (OSError, OverflowError, UnicodeError) as error:
        return _cannot_listen(config, error)
    return Supervisor(arguments, listening, config.limits.shutdown_timeout).run()


def _serve(config: Config, error_log: ErrorLog, child: ReloadChild | None) -> int:
    try:
        access_log = open_access_log(config.access_log)
    except OSError as error:
        return complain(f"cannot write the access log {config.access_log!r}: {error.strerror}")
    try:
        site = Site(plan(config), config.limits)
    except LoadError as error:
        status = complain(str(error), 2)
        if child is not None:  # somebody works on it
            print(trace(error), end="", file=sys.stderr, flush=True)
        return status
    except SiteError as error:
        return complain(str(error))
    try:
        server = Server(
            site.handler,
            config.limits,
            wall=WallClock(server=config.server_header, with_date=config.date_header),
            access_log=access_log,
            access_log_format=config.access_log_format,
            error_log=error_log,
        )
    except ValueError as error:  # an application's routes, told when it is prepared
        log.debug("the application could not be prepared", exc_info=error)
        return complain(str(error), 2)
    try:
        address = child.listen(server) if child else server.listen(config.host, config.port)
    except (OSError, OverflowError, UnicodeError) as error:  # a backlog, a name beyond any
        return _cannot_listen(config, error)
    if child is None:
        _end_on_signals(server)
    else:
        _end_on_signals(server, (signal.SIGTERM,), GRACE)
    _report_on_signals(server)
    if child is None or child.first:
        _tell(config, server, address)
    for work in site.housekeeping():
        server.spawn(work)
    if child is not None:
        child.ready()
    server.run()
    return 0


def open_access_log(where: str) -> LogFile | None:
    if where == "off":
        return None
    if where == "-":
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        return LogFile(sys.stdout.fileno())
    return LogFile.open(where)


def open_error_log(where: str) -> LogFile:
    if where != "-":
        return LogFile.open(where)
    # Where standard error is closed its number may be that of anything else by now.
    return LogFile(sys.stderr.fileno()) if sys.stderr is not None else LogFile.open(os.devnull)


def plan(config: Config) -> SiteOptions:
    """Raises LoadError for an application that cannot be loaded."""
    return SiteOptions(
        directory=config.directory,
        static=config.static,
        application=load(config.application) if config.application else None,
        types=config.types,
        headers=config.headers,
        cache_control=config.cache_control,
        spa=config.spa,
        listing=config.listing,
        uploads=not config.read_only,
        deletes=config.allow_delete,
        debug=config.debug,
        health=config.health,
        metrics=config.metrics,
    )


def _tell(config: Config, server: Server, address: tuple[Any, ...]) -> None:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    print(
        f"reactor: http://{host}:{address[1]}/ serves {served(config)}; "
        f"{server.limits.connections} connections at most; Ctrl-C ends it",
        file=sys.stderr,
        flush=True,
    )


def served(config: Config) -> str:
    """What is served where, in one line."""
    served = [f"{_shown(directory)} at {prefix}" for prefix, directory in config.static]
    if config.application:
        served.insert(0, config.application)
    if not served:
        served = ["the demo"]
        if config.directory is None:
            served.append("no files (see --directory)")
    if config.directory is not None:
        access = "read only" if config.read_only else "with uploads"
        if config.allow_delete:
            access += " and deletes"
        served.append(f"{_shown(config.directory)} at {UPLOADS}, {access}")
    return " and ".join(served)


def _shown(directory: str) -> str:
    path = os.path.abspath(directory)
    return path if path.isprintable() else repr(path)


def _end_on_signals(
    server: Server,
    numbers: Collection[int] = (signal.SIGINT, signal.SIGTERM),
    grace: float = 0.0,
) -> None:
    """The first signal drains, the second ends; also where the loop or a disk hangs."""
    signals = 0

    def on_signal(number: int, frame: Any) -> None:
        nonlocal signals
        signals += 1
        server.reactor.call_soon_threadsafe(server.shut_down, grace)
        if signals == 2:
            watchdog = threading.Timer(PATIENCE_AFTER_SECOND_SIGNAL, os._exit, (1,))
            watchdog.daemon = True
            watchdog.start()

    for one in numbers:
        signal.signal(one, on_signal)


def _cannot_listen(config: Config, error: Exception) -> int:
    where = f"{config.host}, port {config.port}"
    return complain(f"cannot listen on {where}: {getattr(error, 'strerror', None) or error}")


def _report_on_signals(server: Server) -> None:
    """SIGUSR1: files of logs were renamed. SIGUSR2: say what the server is doing.

    An application that has a handler of its own for one of them keeps it.
    """

    def tell() -> None:
        """Whatever the level of the log: somebody has asked."""
        place = (__file__, 0, state_dump(server), (), None)
        log.handle(log.makeRecord(log.name, logging.INFO, *place))

    def on_signal(number: int, frame: Any) -> None:
        server.reactor.call_soon_threadsafe(
            server.reopen_logs if number == signal.SIGUSR1 else tell
        )

    for one in (signal.SIGUSR1, signal.SIGUSR2):
        if not callable(signal.getsignal(one)):
            signal.signal(one, on_signal)


def complain(sentence: str, status: int = 1) -> int:
    print(f"reactor: {' '.join(sentence.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
