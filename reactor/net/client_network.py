"""The network that counts as one client, wherever clients share something.

A customer of an IPv6 provider usually holds a /56 (RFC 6177; RIPE-690 advises no less), so
limits for each IPv6 address would limit nobody. An IPv4 address counts by itself.
"""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network
from typing import Final

IPV6_PREFIX: Final = 56  # bits; the network that an IPv6 provider usually assigns to one customer


def client_network(address: str, ipv6_prefix: int = IPV6_PREFIX) -> str:
    """The network of a client's address, as a key for counting: `2001:db8::/56`.

    An IPv4 address is its own network, also where it is mapped into IPv6 (`::ffff:192.0.2.1`). A
    text that is no IPv6 address, such as that of a Unix socket, is returned unchanged. A zone
    (`fe80::1%eth0`) does not count.
    """
    return _ipv6_network(address, ipv6_prefix) if ":" in address else address


@lru_cache(maxsize=4096)
def _ipv6_network(address: str, prefix: int) -> str:
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:  # RFC 4291, section 2.5.5.2
        return str(parsed.ipv4_mapped)
    rest = 128 - prefix
    return str(IPv6Network((int(parsed) >> rest << rest, prefix)))
