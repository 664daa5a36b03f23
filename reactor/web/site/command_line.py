"""The command line: serves what its options name.

    python -m reactor site
    python -m reactor --port 4221 --directory files
    python -m reactor --static /assets/=assets package.module:handler
    python -m reactor --reload package.module:handler

options.py reads the options, site.py makes a handler of them, and process/serve.py runs it. An
option that cannot be used is one sentence and an exit status, and nothing has been served then.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from reactor.config.standard_streams import fill_standard_descriptors, print_error
from reactor.limits import ServerLimits
from reactor.net.certificates import CertificateError
from reactor.observe.error_log import ErrorLog
from reactor.process.child import GRACE, ReloadChild
from reactor.process.loader import LoadError, load, trace
from reactor.process.reloader import Reloader
from reactor.process.serve import (
    Signals,
    StartError,
    announce,
    configure_logging,
    make_server,
    open_error_log,
    open_sockets,
    reloader,
    say,
)
from reactor.process.tls_options import TlsOptions
from reactor.process.tls_start import open_certificates
from reactor.process.urls import urls
from reactor.server.lifecycle import StartHookError
from reactor.server.secure import Tls
from reactor.server.server import Server
from reactor.web.semantics.paths import quote_segment
from reactor.web.site.opening import SiteError
from reactor.web.site.options import Config, SiteOptions, parse_arguments
from reactor.web.site.site import Site
from reactor.web.site.suggestions import source_hint, suggestion

log = logging.getLogger("reactor")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve what the options name until SIGINT or SIGTERM; returns the exit status.

    0: ended in order. 1: something that the options name cannot be used. 2: an option or the
    application is wrong. 3: a function of the application's start has failed.
    """
    try:
        return _main(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # before the server obeys it
        return 128 + signal.SIGINT


def _main(arguments: Sequence[str]) -> int:
    fill_standard_descriptors()
    config = parse_arguments(arguments)
    try:
        error_log = open_error_log(config.serve.error_log)
    except StartError as error:
        return complain(str(error))
    configure_logging(config.serve.log_level, error_log)
    if not config.site.reload:
        return _serve(config, error_log, None)
    child = ReloadChild.inherited()
    if child is None:
        return _supervise(config, arguments)
    child.begin(config.site.application, _seconds_to_end(config.limits))
    # Its successor takes the new clients, so there is nothing to wait for.
    config = replace(config, limits=replace(config.limits, shutdown_delay=0.0))
    status = _serve(config, error_log, child)
    child.ended(status)
    return status


def _supervise(config: Config, arguments: Sequence[str]) -> int:
    """As the parent of processes with the same arguments."""
    try:
        listening = open_sockets(config.serve, config.limits.backlog)
    except StartError as error:
        return complain(str(error))
    return Reloader(arguments, listening, _seconds_to_end(config.limits)).run()


def _serve(config: Config, error_log: ErrorLog, child: ReloadChild | None) -> int:
    try:
        tls = find_certificates(config.tls)
        site = make_site(config)
        respond = site.error_response
        server = make_server(site.handler, config.serve, config.limits, error_log, respond)
        if child is not None:
            child.listen(server, tls)
        else:
            for listening in open_sockets(config.serve, config.limits.backlog):
                server.listen_on(listening, tls=tls)
        admit_hosts(site, config, server.addresses)
    except LoadError as error:
        status = complain(str(error) + suggestion(config.site.application), 2)
        if child is not None:  # somebody works on it
            print_error(trace(error))
        return status
    except SiteError as error:
        return complain(str(error) + _suggestion(config.site))
    except StartError as error:
        return complain(str(error))
    except ValueError as error:  # an application that cannot be composed
        log.debug("the application could not be prepared", exc_info=error)
        return complain(str(error), 2)
    if child is None:
        Signals(server, reload=reloader(server, tls)).install()
    else:
        Signals(server, (signal.SIGTERM,), GRACE).install()
    return _run(server, site, config, child)


def _run(server: Server, site: Site, config: Config, child: ReloadChild | None) -> int:
    """Start the application and serve it until a signal; returns the exit status."""
    try:
        started = server.start()
    except StartHookError as error:
        server.close()
        status = complain(str(error), 3)
        if child is not None:
            print_error(trace(error))
        return status
    if started:
        if child is None or child.first:
            announce(server, served(config.site))
            for _, path in config.site.static:
                if hint := source_hint(path):
                    log.warning(hint)
        for work in site.housekeeping():
            server.spawn(work)
        if child is not None:
            child.ready()
    server.run()
    return 0


def _suggestion(site: SiteOptions) -> str:
    """An application that is meant, maybe, by a directory or a file that is not there."""
    served = [*(path for prefix, path in site.static if prefix == "/"), site.directory]
    return "".join(suggestion(path) for path in served if path and not os.path.exists(path))


def _seconds_to_end(limits: ServerLimits) -> float:
    """How long a child under `--reload` may take to end: the drain, and one slow `on_stop`."""
    return limits.shutdown_timeout + limits.stop_timeout


def make_site(config: Config) -> Site:
    """The site of these options, with its application loaded. Raises LoadError and SiteError."""
    name = config.site.application
    return Site(config.site, config.limits, load(name) if name else None)


def find_certificates(options: TlsOptions) -> Tls | None:
    """The certificates of these options; None where they ask for no HTTPS. Raises StartError."""
    if not options.speaks_tls:
        return None
    try:
        return open_certificates(options)
    except CertificateError as error:
        raise StartError(None, str(error)) from error


def admit_hosts(site: Site, config: Config, addresses: Sequence[tuple[Any, ...]]) -> None:
    """Serve the site for its hosts alone, where it listens on these addresses.

    Its own are those that the options name, and those of the URLs that are printed.
    """
    named = [host for host, _ in config.serve.places]
    printed = [urlsplit(url).hostname or "" for url in urls(addresses)]
    site.admit_hosts([*named, *printed], [address[0] for address in addresses])


def served(site: SiteOptions) -> str:
    """The content and the prefixes of a site, in one line."""
    served = [f"{_shown(path)} at {_place(prefix, path)}" for prefix, path in site.static]
    if site.application:
        served.insert(0, site.application)
    if site.directory is not None:
        access = "with uploads" if site.uploads else "read only"
        if site.deletes:
            access += " and deletes"
        served.append(f"{_shown(site.directory)} at {site.prefix}, {access}")
    users = ", for users with a password" if site.auth or site.auth_file is not None else ""
    return " and ".join(served) + users


def _place(prefix: str, path: str) -> str:
    """The path of the URL of a mount, or of the one file at the root."""
    if prefix == "/" and os.path.isfile(path):
        return f"/{quote_segment(os.path.basename(path))}"
    return prefix


def _shown(directory: str) -> str:
    path = os.path.abspath(directory)
    return path if path.isprintable() else repr(path)


def complain(sentence: str, status: int = 1) -> int:
    """Print the sentence on standard error; returns the exit status."""
    say(sentence)
    return status
