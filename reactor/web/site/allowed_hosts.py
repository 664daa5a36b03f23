"""The hosts for which a site is served: the option --allowed-hosts, and what holds without it.

A share that only this machine can reach is still reached by pages that browsers on it have opened
(see semantics/hosts.py). So one that is bound to loopback addresses alone is served for its own
names, without any option. Beyond loopback, names are not known here: there the option decides.
"""

from collections.abc import Iterable, Sequence

from reactor.messages.request import BaseRequest
from reactor.server.server import Server, prepare_handler
from reactor.web.endpoint import Endpoint, ResponseOrAwaitable
from reactor.web.semantics.hosts import Hosts, address_of, host_pattern, is_loopback


def hosts_of_share(given: Sequence[str], own: Sequence[str], bound: Sequence[str]) -> Hosts | None:
    """Return the hosts for which a share is served; None for all.

    `given` are those of the option, `own` the server's names and addresses, and `bound` the
    addresses that it listens on.
    """
    if "*" in given or not (given or (bound and all(map(is_loopback_address, bound)))):
        return None
    return Hosts([*given, *own], local=True)


def own_hosts(texts: Iterable[str]) -> list[str]:
    """Return the names and addresses among hosts to listen on; `::` and the like are neither.

    A pattern may come from a certificate: `*.example.com`.
    """
    found = []
    for text in texts:
        try:
            host = host_pattern(text.partition("%")[0])  # a zone is no part of a Host field
        except ValueError:
            continue  # "": every address
        if host != "*" and host not in ("0.0.0.0", "[::]"):
            found.append(host)
    return found


def is_loopback_address(text: str) -> bool:
    """Return whether this machine alone can reach an address that a server listens on."""
    address = address_of(text) or address_of(f"[{text}]")
    return address is not None and is_loopback(address)


class HostCheck:
    """A handler that is no Application, served for some hosts alone."""

    def __init__(self, handler: Endpoint) -> None:
        self.hosts: Hosts | None = None  # all where it is None
        self.request_class = getattr(handler, "request_class", BaseRequest)
        self._handler = handler

    def prepare(self, server: Server) -> None:
        """Prepare the handler, as if it were the server's own."""
        prepare_handler(self._handler, server)

    def __call__(self, request: BaseRequest) -> ResponseOrAwaitable:
        if self.hosts is not None:
            self.hosts.admit(request.host)
        return self._handler(request)
