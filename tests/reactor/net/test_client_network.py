"""The network that counts as one client."""

import ipaddress
import random

import pytest

from reactor.net.client_network import client_network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/56"),
        ("2001:db8:1:ff:ffff:ffff:ffff:ffff", "2001:db8:1::/56"),
        ("2001:db8:1:100::", "2001:db8:1:100::/56"),
        ("2001:DB8:1:1FF::", "2001:db8:1:100::/56"),
        ("::1", "::/56"),
        ("fe80::1%eth0", "fe80::/56"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("", ""),
        ("unknown", "unknown"),
        ("/run/a:b.sock", "/run/a:b.sock"),
        ("\0abstract:1", "\0abstract:1"),
        ("1:2", "1:2"),
        ("2001:db8::\0", "2001:db8::\0"),
        ("2001:db8::\udcff", "2001:db8::\udcff"),
        ("[::1]", "[::1]"),
    ],
)
def test_the_network_of_an_address(address: str, network: str) -> None:
    assert client_network(address) == network


@pytest.mark.parametrize("prefix", [1, 32, 48, 56, 57, 64, 127, 128])
def test_networks_are_those_of_ipaddress(prefix: int) -> None:
    chance = random.Random(prefix)
    for _ in range(200):
        address = ipaddress.IPv6Address(chance.getrandbits(128) | 1 << 127)
        for text in (str(address), address.exploded):
            network = ipaddress.ip_network((address, prefix), strict=False)
            assert client_network(text, prefix) == str(network)
