"""The addresses that the machine of the tests can listen on."""

import socket


def has_ipv6() -> bool:
    """Whether the loopback address of IPv6 can be bound."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
