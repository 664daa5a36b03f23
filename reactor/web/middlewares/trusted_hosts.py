"""Requests for the hosts of this server alone.

An application that uses the Host field (for links in mails, redirects, cache keys) uses text that a
client may choose. A request for a host that is not in the list is refused: with 400, as is usual;
421 (RFC 9110, section 15.5.20) would have browsers try again on another connection.
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
    """Refuses requests for other hosts, or without a host: 400.

        app = Application(TrustedHosts(["example.com", "*.example.com"]))

    The host is that of the Host field, or of an absolute target.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        """`hosts` are names, addresses, `*.example.com` for all names below it, or `*` for all.

        Upper and lower case, a dot at the end and ports make no difference. An IPv6 address is
        written with or without brackets. Raises ValueError for a malformed host, and for an empty
        list.
        """
        given = [hosts] if isinstance(hosts, str) else list(hosts)
        if not given:
            raise ValueError("hosts must not be empty")
        named = {_checked(host) for host in given}
        self._any = "*" in named
        self._exact = frozenset(host for host in named if not host.startswith("*"))
        self._endings = tuple(host[1:] for host in named if host.startswith("*."))

    def before(self, request: Request) -> None:
        """Raises ProtocolError (400)."""
        given = request.host
        if self._any or given in self._exact:
            return
        host = normal_host(given)
        if host not in self._exact and not host.endswith(self._endings):
            raise ProtocolError(400, "The request is for a host that is not served here.")


def normal_host(authority: str) -> str:
    """A host in the form that is compared.

    It has no port, no dot at its end, lower case, and an IPv6 address in its short form.
    """
    host = _PORT.sub("", authority).lower()
    if not host.startswith("["):
        return host.removesuffix(".")
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    except ValueError:
        return ""  # the name of no host


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
        raise ValueError(
            f"a trusted host must be a name or an address without a port, not {host!r}"
        )
    return name
