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
from reactor.net.certificates import CertificateError, Certificates
from reactor.observe.error_log import ErrorLog
from reactor.process.child import GRACE, ReloadChild
from reactor.process.listening import Listening, Role, open_all
from reactor.process.loader import LoadError, load, trace
from reactor.process.reloader import Reloader
from reactor.process.serve import (
    Signals,
    StartError,
    announce,
    configure_logging,
    make_server,
    open_error_log,
    reloader,
    say,
)
from reactor.process.tls_options import TlsOptions
from reactor.process.tls_start import open_certificates
from reactor.process.urls import urls
from reactor.server.lifecycle import StartHookError
from reactor.server.server import Server
from reactor.web.semantics.hosts import Hosts
from reactor.web.semantics.paths import quote_segment
from reactor.web.site.allowed_hosts import own_hosts
from reactor.web.site.https_redirect import HttpsRedirect
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
        listening = open_all(config.serve, config.tls, config.limits.backlog)
    except StartError as error:
        return complain(str(error))
    return Reloader(arguments, listening, _seconds_to_end(config.limits)).run()


def _serve(config: Config, error_log: ErrorLog, child: ReloadChild | None) -> int:
    try:
        certificates = find_certificates(config.tls)
        site = make_site(config)
        respond = site.error_response
        server = make_server(site.handler, config.serve, config.limits, error_log, respond)
        if child is not None:
            listening = child.listening()
        else:
            listening = open_all(config.serve, config.tls, config.limits.backlog)
        hosts = admit_hosts(site, config, listening, certificates)
        listen(server, listening, hosts, certificates, config.tls.hsts)
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
        Signals(server, reload=reloader(server, certificates)).install()
    else:
        Signals(server, (signal.SIGTERM,), GRACE).install()
    redirects = [one.socket.getsockname() for one in listening if one.role is Role.REDIRECT]
    return _run(server, site, config, child, redirects)


def _run(
    server: Server,
    site: Site,
    config: Config,
    child: ReloadChild | None,
    redirects: Sequence[tuple[Any, ...]],
) -> int:
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
            announce(server, served(config.site), redirects)
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


def find_certificates(options: TlsOptions) -> Certificates | None:
    """The certificates of these options; None where they ask for no HTTPS. Raises StartError."""
    if not options.speaks_tls:
        return None
    try:
        return open_certificates(options)
    except CertificateError as error:
        raise StartError(None, str(error)) from error


def admit_hosts(
    site: Site,
    config: Config,
    listening: Sequence[Listening],
    certificates: Certificates | None = None,
) -> Hosts:
    """Serve the site for its own hosts alone, where it listens on these sockets; returns them.

    They are those that the options name, those of the certificates, and those of the URLs that are
    printed.
    """
    addresses = [one.socket.getsockname() for one in listening]
    own = [host for host, _ in config.serve.places]
    own += [urlsplit(url).hostname or "" for url in urls(addresses)]
    own += certificates.names if certificates else ()
    plain = [one.socket.getsockname()[0] for one in listening if one.role is Role.HTTP]
    site.admit_hosts(own, [address[0] for address in addresses], plain)
    return Hosts([*config.site.allowed_hosts, *own_hosts(own)], local=True)


def listen(
    server: Server,
    listening: Sequence[Listening],
    hosts: Hosts,
    certificates: Certificates | None,
    hsts: int | None,
) -> None:
    """Accept clients from these sockets, each by its role; `hosts` are those of redirects."""
    for one in listening:
        if one.role is Role.HTTPS:
            server.listen_on(one.socket, tls=certificates, hsts=hsts)
        elif one.role is Role.HTTP:
            server.listen_on(one.socket)
        else:
            redirect = HttpsRedirect(hosts, server.secure_addresses[0][1])
            server.listen_on(one.socket, handler=redirect)


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
