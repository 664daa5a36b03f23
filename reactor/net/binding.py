"""Listening sockets: from names and addresses to sockets that are bound.

A name stands for all of its addresses, and those that can be bound are: it fails where none can. A
wildcard ("", `0.0.0.0`, `::`) stands for every address of a family, and only the absence of the
family on this machine is forgiven. `::` includes IPv4, by a socket of its own: so clients have IPv4
addresses, and a machine without IPv6 serves the others. The sockets of one host share their port,
also where the system chooses it (port 0).

An address that is named twice, or that a wildcard includes, is bound once.
"""

import errno
import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

from reactor.errors import reason_of
from reactor.net.pacing import NEW, limit_unsent

# The machine lacks the address or its family.
ABSENT: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENODEV}
WILDCARDS: Final = ("0.0.0.0", "::")
PORT_ATTEMPTS: Final = 20  # ports that the system may choose until one is free in both families

SocketAddress: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]

log = logging.getLogger("reactor")


class ListenError(OSError):
    """A host that cannot be listened on. `str` is the sentence, `errno` the system's number."""

    def __init__(self, host: str, port: int, reason: str, number: int | None) -> None:
        super().__init__(number, f"Cannot listen on {host or 'any address'}, port {port}: {reason}")

    def __str__(self) -> str:
        return str(self.strerror)


def bind_hosts(hosts: Sequence[tuple[str, int]], backlog: int) -> list[socket.socket]:
    """Listening sockets for these hosts and ports; "" stands for every address of the machine.

    Raises ListenError for the first host that cannot be bound, and leaves no socket open then.
    """
    found = {(host, port): _resolve(host, port) for host, port in dict.fromkeys(hosts)}
    sockets: list[socket.socket] = []
    try:
        for (host, port), addresses in _without_repetitions(found):
            sockets += _bind_host(host, port, addresses, backlog)
    except OSError:
        _close(sockets)
        raise
    return sockets


def _resolve(host: str, port: int) -> list[SocketAddress]:
    """The socket addresses of a host, each once. Raises ListenError."""
    wanted = WILDCARDS if host in {"", "::"} else (host,)
    found: list[SocketAddress] = []
    for one in wanted:
        try:
            infos = socket.getaddrinfo(one, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name of the DNS, "a..b"
            raise _listen_error(host, port, error) from error
        found += [(family, address) for family, _, _, _, address in infos]
    if any(address[0] == "::" for _, address in found) and len(wanted) == 1:
        return _resolve("::", port)  # another notation, such as 0::0
    return list(dict.fromkeys(found))


def _without_repetitions(
    found: dict[tuple[str, int], list[SocketAddress]],
) -> Iterator[tuple[tuple[str, int], list[SocketAddress]]]:
    """The hosts, each with the addresses that no host before it and no wildcard includes."""
    included: set[Any] = {
        (family, address[1])
        for addresses in found.values()
        for family, address in addresses
        if address[0] in WILDCARDS and address[1]
    }
    seen: set[SocketAddress] = set()
    for host, addresses in found.items():
        new = [
            (family, address)
            for family, address in addresses
            if (family, address) not in seen
            and (address[0] in WILDCARDS or (family, address[1]) not in included)
        ]
        if host[1]:
            seen.update(new)
        if new:
            yield host, new


def _bind_host(
    host: str, port: int, addresses: Sequence[SocketAddress], backlog: int
) -> list[socket.socket]:
    """Sockets for those addresses of a host that can be bound. Raises ListenError."""
    for _ in range(PORT_ATTEMPTS):
        sockets, failed = _bind_addresses(addresses, backlog)
        in_use = any(_number(error) == errno.EADDRINUSE for error in failed.values())
        if port or not sockets or not in_use:
            break
        _close(sockets)  # the port that the system chose is taken in the other family
        sockets = []
    needed = {
        address: error
        for address, error in failed.items()
        if address in WILDCARDS and _number(error) not in ABSENT
    }
    if needed or not sockets:
        _close(sockets)
        raise _failure(host, port, needed or failed)
    for address, error in failed.items():
        level = logging.DEBUG if _number(error) in ABSENT else logging.WARNING
        log.log(level, "Cannot listen on %s, port %d: %s", address, port, reason_of(error))
    return sockets


def _bind_addresses(
    addresses: Sequence[SocketAddress], backlog: int
) -> tuple[list[socket.socket], dict[str, Exception]]:
    """Sockets of one port, and the addresses that could not be bound, with their errors."""
    sockets: list[socket.socket] = []
    failed: dict[str, Exception] = {}
    for family, address in addresses:
        chosen = sockets[0].getsockname()[1] if sockets else address[1]
        try:
            sockets.append(_bind(family, (address[0], chosen, *address[2:]), backlog))
        except (OSError, OverflowError) as error:  # OverflowError: a backlog beyond any
            failed[address[0]] = error
    return sockets, failed


def _bind(family: int, address: tuple[Any, ...], backlog: int) -> socket.socket:
    """A listening socket. Accepted sockets inherit the options that are set here (tcp(7))."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit_unsent(bound, NEW.lowat)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(backlog)
    except (OSError, OverflowError):
        bound.close()
        raise
    return bound


def _failure(host: str, port: int, failed: dict[str, Exception]) -> ListenError:
    """The error of a host of which no address could be bound: a reason for each, if it has many."""
    if len(failed) == 1:
        ((address, error),) = failed.items()
        return _listen_error(address if address in WILDCARDS else host, port, error)
    numbers = [number for error in failed.values() if (number := _number(error)) not in ABSENT]
    reasons = "; ".join(f"{address}: {reason_of(error)}" for address, error in failed.items())
    return ListenError(host, port, reasons, (numbers or [errno.EADDRNOTAVAIL])[0])


def _listen_error(host: str, port: int, error: Exception) -> ListenError:
    return ListenError(host, port, reason_of(error), _number(error))


def _number(error: Exception) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _close(sockets: Sequence[socket.socket]) -> None:
    for bound in sockets:
        bound.close()
