"""Binding: names, wildcards, ports that are shared, and what happens where something is taken."""

import errno
import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from reactor.net import binding
from reactor.net.binding import ListenError, bind_hosts
from tests.support.ports import has_ipv6

pytestmark = pytest.mark.system

Infos = list[tuple[int, int, int, str, tuple[Any, ...]]]

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def opened(no_leaks: None) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def bound(opened: ExitStack, *hosts: tuple[str, int]) -> list[tuple[Any, ...]]:
    """The addresses of the sockets that are bound for these hosts."""
    return [opened.enter_context(one).getsockname()[:2] for one in bind_hosts(hosts, 16)]


def taken(opened: ExitStack, address: str, port: int = 0) -> int:
    """A port that is taken at this address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind((address, port))
    one.listen(1)
    return int(one.getsockname()[1])


def free_port() -> int:
    with ExitStack() as stack:
        return taken(stack, "0.0.0.0")


def resolve_to(monkeypatch: pytest.MonkeyPatch, **names: Sequence[str]) -> None:
    """Names that resolve to these addresses."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, **how: Any) -> Infos:
        return [info for one in names.get(host, (host,)) for info in real(one, port, **how)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def without_ipv6(monkeypatch: pytest.MonkeyPatch, number: int = errno.EAFNOSUPPORT) -> None:
    """A machine without IPv6: as the kernel says it where it lacks the family, or an address."""

    class Socket(socket.socket):
        def __init__(self, family: int = -1, *rest: Any, **more: Any) -> None:
            if family == socket.AF_INET6 and number == errno.EAFNOSUPPORT:
                raise OSError(number, "Address family not supported by protocol")
            super().__init__(family, *rest, **more)

        def bind(self, address: Any) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(number, "Cannot assign requested address")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Socket)


# --- one host ------------------------------------------------------------------------------------


def test_sockets_listen_with_their_options(no_leaks: None) -> None:
    (one,) = bind_hosts([("127.0.0.1", 0)], 16)
    with one:
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("host", ["", "::", "0::0", "0:0:0:0:0:0:0:0"])
@pytest.mark.parametrize("port", [0, 1])
@needs_ipv6
def test_a_wildcard_takes_both_families_at_one_port(
    host: str, port: int, opened: ExitStack
) -> None:
    (one, port_of_one), (two, port_of_two) = bound(opened, (host, port and free_port()))
    assert (one, two) == ("0.0.0.0", "::")
    assert port_of_one == port_of_two
    for address in ("127.0.0.1", "::1"):
        socket.create_connection((address, port_of_one), timeout=10).close()


@needs_ipv6
def test_clients_of_a_dual_stack_have_ipv4_addresses(no_leaks: None) -> None:
    one, two = bind_hosts([("::", 0)], 16)
    with one, two, socket.create_connection(("127.0.0.1", one.getsockname()[1]), timeout=10):
        client, peer = one.accept()
        client.close()
        assert peer[0] == "127.0.0.1"


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
@pytest.mark.parametrize("host", ["", "::", "name"])
@needs_ipv6
def test_without_ipv6_the_rest_is_bound(
    host: str,
    number: int,
    opened: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    resolve_to(monkeypatch, name=("::1", "127.0.0.1"))
    without_ipv6(monkeypatch, number)
    ((address, _),) = bound(opened, (host, 0))
    assert address == ("127.0.0.1" if host == "name" else "0.0.0.0")
    assert not caplog.records  # nothing that an operator has to do something about


@pytest.mark.parametrize("port", [0, 1])
def test_addresses_that_the_machine_lacks_are_left_out(
    port: int, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, name=("203.0.113.9", "127.0.0.1", "203.0.113.10", "127.0.0.2"))
    (one, port_of_one), (two, port_of_two) = bound(opened, ("name", port and free_port()))
    assert (one, two) == ("127.0.0.1", "127.0.0.2")
    assert port_of_one == port_of_two


def test_a_name_none_of_whose_addresses_can_be_bound(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, name=("127.0.0.1", "203.0.113.9"), none=("203.0.113.9",))
    port = taken(opened, "127.0.0.1")
    with pytest.raises(ListenError) as caught:
        bind_hosts([("name", port)], 16)
    assert str(caught.value) == (
        f"Cannot listen on name, port {port}: 127.0.0.1: address already in use; "
        "203.0.113.9: cannot assign requested address"
    )
    assert caught.value.errno == errno.EADDRINUSE
    with pytest.raises(ListenError) as caught:
        bind_hosts([("none", port)], 16)
    assert str(caught.value) == (
        f"Cannot listen on none, port {port}: cannot assign requested address"
    )
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_an_address_of_a_name_that_is_taken_is_logged(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resolve_to(monkeypatch, name=("127.0.0.1", "127.0.0.2"))
    port = taken(opened, "127.0.0.1")
    assert bound(opened, ("name", port)) == [("127.0.0.2", port)]
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
        (logging.WARNING, f"Cannot listen on 127.0.0.1, port {port}: address already in use")
    ]


@pytest.mark.parametrize("host", ["", "::", "0.0.0.0"])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::", "::1"])
@needs_ipv6
def test_a_wildcard_needs_every_family_that_is_there(
    host: str, address: str, opened: ExitStack
) -> None:
    port = taken(opened, address)
    if host == "0.0.0.0" and ":" in address:
        assert bound(opened, (host, port)) == [(host, port)]
        return
    with pytest.raises(ListenError) as caught:
        bind_hosts([(host, port)], 16)
    family = "::" if ":" in address else "0.0.0.0"
    assert str(caught.value) == f"Cannot listen on {family}, port {port}: address already in use"


@pytest.mark.parametrize("host", ["::", "name"])
@pytest.mark.parametrize("times", [1, 3])
@needs_ipv6
def test_a_chosen_port_that_is_taken_in_the_other_family_is_given_up(
    host: str, times: int, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, name=("127.0.0.1", "::1"))
    second = "::" if host == "::" else "::1"
    real, tried = binding._bind, list[int]()

    def bind(family: int, address: tuple[Any, ...], backlog: int) -> socket.socket:
        if address[0] == second and len(tried) < times:
            tried.append(taken(opened, second, address[1]))
        return real(family, address, backlog)

    monkeypatch.setattr(binding, "_bind", bind)
    one, two = bound(opened, (host, 0))
    assert one[1] == two[1]
    assert one[1] not in tried
    assert len(tried) == times


@needs_ipv6
def test_ports_that_are_always_taken_end_the_attempts(
    monkeypatch: pytest.MonkeyPatch, no_leaks: None
) -> None:
    real = binding._bind

    def bind(family: int, address: tuple[Any, ...], backlog: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(family, address, backlog)

    monkeypatch.setattr(binding, "_bind", bind)
    with pytest.raises(ListenError, match="Cannot listen on ::, port 0: address already in use"):
        bind_hosts([("::", 0)], 16)


@pytest.mark.parametrize("host", ["a..b", "a" * 300, "no.such.name.invalid", "\0", "::1%nothing"])
def test_names_that_do_not_exist(host: str) -> None:
    with pytest.raises(ListenError, match=r"^Cannot listen on "):
        bind_hosts([(host, 0)], 16)


def test_a_backlog_beyond_any(no_leaks: None) -> None:
    with pytest.raises(ListenError, match=r"^Cannot listen on 127.0.0.1, port 0: "):
        bind_hosts([("127.0.0.1", 0)], 1 << 40)


# --- several hosts -------------------------------------------------------------------------------


def test_several_hosts(opened: ExitStack) -> None:
    one, two = free_port(), free_port()
    hosts = (("127.0.0.1", one), ("127.0.0.2", one), ("127.0.0.1", two))
    assert bound(opened, *hosts) == [*hosts]


def test_an_address_is_bound_once(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, name=("127.0.0.1", "127.0.0.2"), other=("127.0.0.2",))
    port = free_port()
    hosts = (("127.0.0.1", port), ("name", port), ("127.0.0.1", port), ("other", port))
    assert bound(opened, *hosts) == [("127.0.0.1", port), ("127.0.0.2", port)]


@pytest.mark.parametrize("wildcard", ["", "::", "0.0.0.0"])
@pytest.mark.parametrize("reverse", [False, True])
@needs_ipv6
def test_a_wildcard_includes_the_addresses_of_its_families(
    wildcard: str, reverse: bool, opened: ExitStack
) -> None:
    port, other = free_port(), free_port()
    hosts = [("127.0.0.1", port), ("::1", port), (wildcard, port), ("127.0.0.1", other)]
    found = bound(opened, *(reversed(hosts) if reverse else hosts))
    expected = {("0.0.0.0", port), ("127.0.0.1", other)}
    expected.add(("::1" if wildcard == "0.0.0.0" else "::", port))
    assert set(found) == expected
    assert len(found) == 3


def test_each_host_has_a_port_of_its_own_where_the_system_chooses(opened: ExitStack) -> None:
    found = bound(opened, ("127.0.0.1", 0), ("127.0.0.2", 0), ("127.0.0.1", 0))
    assert [address for address, _ in found] == ["127.0.0.1", "127.0.0.2"]


def test_where_one_host_fails_none_is_bound(opened: ExitStack) -> None:
    port, free = taken(opened, "127.0.0.1"), free_port()
    with pytest.raises(ListenError, match=f"^Cannot listen on 127.0.0.1, port {port}: "):
        bind_hosts([("127.0.0.1", free), ("127.0.0.1", port)], 16)
    assert bound(opened, ("127.0.0.1", free)) == [("127.0.0.1", free)]
