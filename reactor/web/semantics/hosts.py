"""The hosts that requests may name: a set of names, patterns and addresses.

A page of any site can have a browser connect to this server under a name of its own, which its DNS
first maps to that site and then to an address of this machine (DNS rebinding). For the browser both
are one origin, so that the page may read and send what it likes. The Host field then names the
site, and no script can change it: a server that serves its own names alone is safe. Addresses, and
the names that stand for this machine everywhere (RFC 6761, section 6.3), cannot be rebound.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from reactor.errors import ProtocolError

_NAME: Final = re.compile(r"[a-z0-9_-]++(?:\.[a-z0-9_-]++)*+")
_PORT: Final = re.compile(r":[0-9]*\Z")
_SHOWN: Final = 100  # characters of a host that a refusal repeats
_KNOWN: Final = 64  # spellings of admitted hosts that are remembered

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Hosts:
    """A set of hosts. Upper and lower case, a dot at the end and ports make no difference."""

    def __init__(
        self, hosts: Iterable[str], *, local: bool = False, addresses: bool = False
    ) -> None:
        """`hosts` are names, addresses, `*.example.com` for all names below it, or `*` for all.

        `local` adds localhost, all names below it and the addresses of the loopback interface;
        `addresses` adds all addresses. Raises ValueError for a malformed host.
        """
        named = {host_pattern(host) for host in hosts}
        if local:
            named |= {"localhost", "*.localhost"}
        self._any = "*" in named
        self.exact = frozenset(  # in the normal form
            host for host in named if not host.startswith("*")
        )
        self._endings = tuple(host[1:] for host in named if host.startswith("*."))
        self._local = local
        self._addresses = addresses
        # Values of the Host field that were admitted; a client of HTTP/1.0 may name no host, and no
        # browser does so.
        self.known = {""}

    def __contains__(self, authority: str) -> bool:
        """Whether the host of an authority, with or without a port, is one of these."""
        if self._any:
            return True
        host = normal_host(authority)
        if host in self.exact:
            return True
        # All of it is a name: `evil%2f.example.com` and `.example.com` are not below example.com.
        if host.endswith(self._endings) and _NAME.fullmatch(host):
            return True
        if not self._addresses and not self._local:
            return False
        address = address_of(host)
        return address is not None and (self._addresses or is_loopback(address))

    def admit(self, authority: str) -> None:
        """Raise ProtocolError(421) for a host that is not one of these, and is not "".

        The check of `known` comes first, at the caller: it costs a request next to nothing.
        """
        if authority in self.known:
            return
        if authority not in self:
            # RFC 9110, section 15.5.20: the request was directed to the wrong server.
            raise ProtocolError(
                421,
                f"The host {authority[:_SHOWN]!a} is not served here. The option --allowed-hosts "
                "HOST,… names hosts that are (*: all).",
            )
        if len(self.known) >= _KNOWN:  # a client makes up ports, or names below localhost
            self.known.intersection_update({""})
        self.known.add(authority)


def host_pattern(text: str) -> str:
    """Return the host, or the pattern of hosts, in the form that is compared.

    Raises ValueError for a text that is neither.
    """
    if text == "*":
        return text
    host = text.lower().removesuffix(".")
    address = address_of(host) or address_of(f"[{host}]")
    if address is not None:
        return f"[{address}]" if address.version == 6 else str(address)
    if not _NAME.fullmatch(host.removeprefix("*.")):
        raise ValueError(
            f"{text[:_SHOWN]!r} is not a host: a name or an address without a port, *.example.com "
            "for all names below example.com, or *"
        )
    return host


def normal_host(authority: str) -> str:
    """Return a host in the form that is compared.

    It has no port, no dot at its end, lower case, and an IPv6 address in its short form.
    """
    host = _PORT.sub("", authority).lower()
    if not host.startswith("["):
        return host.removesuffix(".")
    address = address_of(host)
    return "" if address is None else f"[{address}]"  # "": the name of no host


def address_of(host: str) -> _Address | None:
    """Return the address that a host is, one of IPv6 in brackets; None for a name."""
    try:
        if host.startswith("[") and host.endswith("]"):
            address = ipaddress.IPv6Address(host[1:-1])
            return None if address.scope_id else address
        return ipaddress.IPv4Address(host)
    except ValueError:
        return None


def is_loopback(address: _Address) -> bool:
    """Return whether an address is of the loopback interface, also as an IPv4-mapped one."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
