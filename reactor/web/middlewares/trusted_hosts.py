"""Requests for the hosts that this server is, and for no other.

What an application makes of the Host field (links in mails, redirects, cache keys) is only as good
as that field, which a client writes as it likes. So a host that is not ours is refused: by 400, as
is usual; 421 (RFC 9110, section 15.5.20) would have browsers try again on another connection.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from reactor.errors import ProtocolError
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware

_GIVEN: Final = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_PORT: Final = re.compile(r":[0-9]*\Z")


class TrustedHosts(Middleware):
    """400 for a request to any host but these, or to none at all."""

    def __init__(self, hosts: Iterable[str]) -> None:
        """Names, addresses, `*.example.com` for all below a name but not itself, `*` for all.

        Case, a dot at the end and ports do not count; an IPv6 address is written with or without
        its brackets. Raises ValueError for what is none of these, and where there is not one.
        """
        given = [hosts] if isinstance(hosts, str) else list(hosts)
        if not given:
            raise ValueError("there is no host that is trusted")
        named = {_checked(host) for host in given}
        self._any = "*" in named
        self._exact = frozenset(host for host in named if not host.startswith("*"))
        self._endings = tuple(host[1:] for host in named if host.startswith("*."))

    def before(self, request: Request) -> None:
        """Raises ProtocolError(400)."""
        given = request.host
        if self._any or given in self._exact:
            return
        host = normal_host(given)
        if host not in self._exact and not host.endswith(self._endings):
            raise ProtocolError(400, "This server is not the host that the request is for.")


def normal_host(authority: str) -> str:
    """A host as it is compared: without port, in lower case, an IPv6 address in its short form."""
    host = _PORT.sub("", authority).lower()
    if not host.startswith("["):
        return host.removesuffix(".")
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    except ValueError:
        return ""  # nobody's


def _checked(host: str) -> str:
    if host == "*":
        return host
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        return f"[{address}]" if address.version == 6 else str(address)
    except ValueError:
        pass
    name = host.lower().removesuffix(".")
    if not _GIVEN.fullmatch(name):
        raise ValueError(f"a trusted host is a name or an address, without a port, not {host!r}")
    return name
