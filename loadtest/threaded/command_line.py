"""The twin's command line: its own options, and all of `python -m reactor` that make sense here."""

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Final, cast

from loadtest.threaded.monitor import guarded
from loadtest.threaded.server import Place, ThreadedServer
from loadtest.threaded.shared import SharedWall
from reactor.config.standard_streams import fill_standard_descriptors, print_error
from reactor.errors import counted
from reactor.net.certificates import Certificates
from reactor.process.listening import Listening, Role, open_all
from reactor.process.loader import LoadError
from reactor.process.serve import (
    StartError,
    configure_logging,
    open_access_log,
    open_error_log,
    reloader,
)
from reactor.process.urls import in_words, urls
from reactor.server.lifecycle import StartHookError
from reactor.server.server import Server
from reactor.tasks.guard import Shared
from reactor.web.site.command_line import (
    admit_hosts,
    complain,
    find_certificates,
    make_site,
    served,
)
from reactor.web.site.opening import SiteError
from reactor.web.site.options import Config, parse_arguments
from reactor.web.site.site import Site

POOL_THREADS: Final = 32
LEAST_SWITCH: Final = 1e-5  # seconds; the range of the interpreter's switch interval
MOST_SWITCH: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    fill_standard_descriptors()
    options, rest = _parser().parse_known_args(arguments)
    config = parse_arguments(rest)
    sentence = _contradiction(options, config)
    if sentence:
        return complain(sentence, 2)
    sys.setswitchinterval(options.switch_interval)
    Shared.guard = guarded  # before any handler is made
    try:
        configure_logging(config.serve.log_level, open_error_log(config.serve.error_log))
        certificates = find_certificates(config.tls)
        site = make_site(config)
        server = _make_server(options, config, site)
        listening = open_all(config.serve, config.tls, config.limits.backlog)
    except (StartError, SiteError) as error:
        return complain(str(error))
    except (LoadError, ValueError) as error:
        return complain(str(error), 2)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.shut_down())
    if reload := reloader(cast(Server, server), certificates):
        signal.signal(signal.SIGHUP, lambda *_: reload())
    admit_hosts(site, config, listening, certificates)
    places = _places(server, listening, certificates)
    try:
        server.start()
    except StartHookError as error:
        return complain(str(error), 3)
    if not server.draining:
        secure = [one.socket.getsockname() for one in listening if one.role is Role.HTTPS]
        found = urls((one.socket.getsockname() for one in listening), secure)
        _say(config, options, server, found)
    server.run(places)
    return 0


def _contradiction(options: argparse.Namespace, config: Config) -> str:
    """Why these options cannot be served with; "" where they can."""
    if config.site.reload:
        return "--reload: a server of threads cannot be handed over to another process"
    if config.site.metrics:
        return "--metrics: a server of threads has no loop to measure"
    if config.tls.redirect_http is not None or config.tls.hsts is not None:
        flag = "--hsts" if config.tls.redirect_http is None else "--redirect-http"
        return f"{flag}: the threads serve one handler with the same fields at all places"
    if options.threads < 1:
        return f"--threads: a pool has at least 1 thread, not {options.threads}"
    if not LEAST_SWITCH <= options.switch_interval <= MOST_SWITCH:
        return (
            f"--switch-interval: {options.switch_interval:g} is not between "
            f"{LEAST_SWITCH:g} and {MOST_SWITCH:g} seconds"
        )
    return ""


def _make_server(options: argparse.Namespace, config: Config, site: Site) -> ThreadedServer:
    """A server of the site. Raises StartError and ValueError."""
    serve = config.serve
    access_log = open_access_log(serve.access_log)
    server = ThreadedServer(
        site.handler,
        config.limits,
        options.threads if options.model == "pool" else 0,
        wall=SharedWall(server=serve.server_header, with_date=serve.date_header),
        access_log=access_log,
        access_log_format=serve.access_log_format,
        error_response=site.error_response,
    )
    for work in site.housekeeping():
        server.spawn(work)
    return server


def _places(
    server: ThreadedServer, listening: Sequence[Listening], certificates: Certificates | None
) -> list[Place]:
    """The sockets, each with the transport of its role."""
    return [
        server.secure_place(one.socket, certificates)
        if certificates is not None and one.role is Role.HTTPS
        else Place(one.socket)
        for one in listening
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="loadtest.threaded",
        description="The server with threads in place of the loop.",
        epilog="All other options are those of python -m reactor.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model",
        choices=("each", "pool"),
        default="each",
        help="a thread for each connection, or a pool of threads (%(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=POOL_THREADS,
        metavar="N",
        help="number of threads in the pool (%(default)s)",
    )
    parser.add_argument(
        "--switch-interval",
        type=float,
        default=sys.getswitchinterval(),
        metavar="SECONDS",
        help="how long a thread may hold the interpreter's lock while others want it (%(default)s)",
    )
    return parser


def _say(
    config: Config, options: argparse.Namespace, server: ThreadedServer, found: Sequence[str]
) -> None:
    model = "a thread each" if options.model == "each" else f"a pool of {options.threads} threads"
    print_error(
        f"threaded: {in_words(found)} serve{'s' if len(found) == 1 else ''} {served(config.site)}; "
        f"{model}; {counted(server.limits.connections, 'connection')} at most; Ctrl-C ends it\n"
    )
