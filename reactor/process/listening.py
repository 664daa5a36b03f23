"""The listening sockets of a command line, each with its role.

With HTTPS, the sockets of --host and --bind speak it. Those of --bind-http serve the same without
TLS, and those of --redirect-http redirect every request.
"""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from enum import Enum
from typing import NamedTuple

from reactor.process.options import ServeOptions
from reactor.process.serve import open_places
from reactor.process.tls_options import TlsOptions


class Role(Enum):
    """The use of a listening socket."""

    HTTP = "http"
    HTTPS = "https"
    REDIRECT = "redirect"


class Listening(NamedTuple):
    """A socket that is bound and listening."""

    socket: socket.socket
    role: Role


def open_all(options: ServeOptions, tls: TlsOptions, backlog: int) -> list[Listening]:
    """The sockets of all options. Raises StartError, and leaves no socket open then."""
    found: list[Listening] = []
    with ExitStack() as opened:
        for role, places in _places(options, tls):
            for one in open_places(places, backlog):
                opened.callback(one.close)
                found.append(Listening(one, role))
        opened.pop_all()
    return found


def _places(options: ServeOptions, tls: TlsOptions) -> list[tuple[Role, Sequence[tuple[str, int]]]]:
    """The places of each role; one that two roles name cannot be bound twice."""
    if not tls.speaks_tls:
        return [(Role.HTTP, options.places)]
    found: list[tuple[Role, Sequence[tuple[str, int]]]] = [(Role.HTTPS, options.places)]
    if tls.bind_http:
        found.append((Role.HTTP, options.with_ports(tls.bind_http)))
    if tls.redirect_http is not None:
        hosts = dict.fromkeys(host for host, _ in options.places)
        found.append((Role.REDIRECT, [(host, tls.redirect_http) for host in hosts]))
    return found
