"""The URLs of listening addresses."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from reactor.process import urls as module
from reactor.process.urls import MOST_URLS, in_words, machine_addresses, urls
from tests.support.ports import has_ipv6

FAMILIES = [
    socket.AF_INET,
    pytest.param(
        socket.AF_INET6,
        marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6"),
    ),
]


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (("127.0.0.1", 80), "http://127.0.0.1:80/"),
        (("::1", 8080, 0, 0), "http://[::1]:8080/"),
        (("fe80::1%eth0", 1, 0, 4), "http://[fe80::1%25eth0]:1/"),
    ],
)
def test_the_url_of_an_address(address: tuple[object, ...], url: str) -> None:
    assert urls([address]) == [url]


def test_wildcards_stand_for_the_addresses_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = {
        socket.AF_INET: ["127.0.0.1", "192.0.2.7"],
        socket.AF_INET6: ["::1", "2001:db8::7"],
    }
    monkeypatch.setattr(module, "machine_addresses", machine.__getitem__)
    assert urls([("0.0.0.0", 80), ("::", 80, 0, 0), ("127.0.0.1", 80), ("127.0.0.1", 81)]) == [
        *("http://127.0.0.1:80/", "http://192.0.2.7:80/"),
        *("http://[::1]:80/", "http://[2001:db8::7]:80/", "http://127.0.0.1:81/"),
    ]


@pytest.mark.system
@pytest.mark.parametrize("family", FAMILIES)
def test_the_addresses_of_this_machine_can_be_connected_to(family: socket.AddressFamily) -> None:
    found = machine_addresses(family)
    assert found[0] == ("127.0.0.1" if family == socket.AF_INET else "::1")
    assert len(set(found)) == len(found)
    wildcard = "0.0.0.0" if family == socket.AF_INET else "::"
    with socket.create_server((wildcard, 0), family=family) as listening:
        port = listening.getsockname()[1]
        for address in found:
            assert not address.startswith("fe80")
            with closing(socket.create_connection((address, port), timeout=10)) as client:
                assert client.getpeername()[0] == address


@pytest.mark.parametrize("family", FAMILIES)
def test_a_machine_without_routes_and_interfaces(
    family: socket.AddressFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError("Network is unreachable")

    def no_interface(*arguments: object) -> Iterator[str]:
        raise OSError("Cannot assign requested address")

    monkeypatch.setattr(socket, "socket", Nothing)
    monkeypatch.setattr(module, "ioctl", no_interface)
    monkeypatch.setattr(module, "_IPV6_ADDRESSES", "/nowhere/at/all")
    assert machine_addresses(family) == ["127.0.0.1" if family == socket.AF_INET else "::1"]


@pytest.mark.parametrize(
    ("count", "sentence"),
    [(1, "0"), (2, "0 and 1"), (3, "0, 1 and 2"), (MOST_URLS, "0, 1, 2, 3, 4 and 5")],
)
def test_urls_in_a_sentence(count: int, sentence: str) -> None:
    assert in_words([*map(str, range(count))]) == sentence


def test_the_first_few_of_many_urls_are_named() -> None:
    assert in_words([*map(str, range(MOST_URLS + 3))]) == "0, 1, 2, 3, 4, 5 and 3 more"
