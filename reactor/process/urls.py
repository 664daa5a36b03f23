"""The URLs at which a server can be opened, from the addresses that it listens on.

A wildcard stands for the machine's addresses: the loopback address, the one from which packets
leave, and those of all interfaces. Link-local addresses are left out, since browsers open none.
"""

import socket
import struct
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from fcntl import ioctl
from ipaddress import IPv6Address
from typing import Any, Final

from reactor.net.binding import WILDCARDS

MOST_URLS: Final = 6  # that are named in one sentence

_FAMILIES: Final = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}
# Addresses for documentation: connecting a datagram socket chooses a route, and sends nothing.
_ELSEWHERE: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_SIOCGIFADDR: Final = 0x8915  # Linux: the IPv4 address of an interface (netdevice(7))
_IPV6_ADDRESSES: Final = "/proc/net/if_inet6"


def urls(
    addresses: Iterable[tuple[Any, ...]], secure: Container[tuple[Any, ...]] = ()
) -> list[str]:
    """The URLs of listening addresses, each once, in their order; `secure` ones speak HTTPS."""
    found: dict[str, None] = {}
    for address in addresses:
        host, port, *_ = address
        scheme = "https" if address in secure else "http"
        for one in machine_addresses(_FAMILIES[host]) if host in WILDCARDS else (host,):
            # A zone's percent sign is escaped (RFC 6874).
            literal = f"[{one.replace('%', '%25')}]" if ":" in one else one
            found[f"{scheme}://{literal}:{port}/"] = None
    return list(found)


def in_words(found: Sequence[str]) -> str:
    """The URLs as the subject of a sentence: "a, b and c"; of many, the first few."""
    more = len(found) - MOST_URLS
    *first, last = found if more <= 0 else (*found[:MOST_URLS], f"{more} more")
    return f"{', '.join(first)} and {last}" if first else last


def machine_addresses(family: socket.AddressFamily) -> list[str]:
    """The addresses of this machine that others, or itself, can connect to; loopback first."""
    found = dict.fromkeys(
        (_LOOPBACK[family], *_outgoing_address(family), *_interface_addresses(family))
    )
    return list(found)


def _outgoing_address(family: socket.AddressFamily) -> Iterator[str]:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_ELSEWHERE[family], 9))
            yield probe.getsockname()[0]
    except OSError:
        pass  # no route leads out of this machine


def _interface_addresses(family: socket.AddressFamily) -> Iterator[str]:
    if sys.platform != "linux":
        return
    if family == socket.AF_INET6:
        yield from _ipv6_addresses()
    else:
        yield from _ipv4_addresses()


def _ipv4_addresses() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                found = ioctl(probe, _SIOCGIFADDR, request)
            except OSError:
                continue  # this interface has none
            yield socket.inet_ntoa(found[20:24])


def _ipv6_addresses() -> Iterator[str]:
    try:
        with open(_IPV6_ADDRESSES, encoding="ascii") as lines:
            found = [IPv6Address(bytes.fromhex(line.split()[0])) for line in lines]
    except OSError:
        return
    yield from (str(one) for one in found if not one.is_link_local)
