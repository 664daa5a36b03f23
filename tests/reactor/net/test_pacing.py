"""How much a peer is sent at a time."""

import socket

import pytest

from reactor.files.file import WINDOW_BYTES
from reactor.loop.timers import NEVER
from reactor.net.pacing import (
    FAST_LOWAT_BYTES,
    FAST_SECONDS,
    FAST_SHARE,
    FAST_WINDOW_BYTES,
    NOTSENT_LOWAT_BYTES,
    SLOW_SECONDS,
    TURN_BYTES,
    fast_turn_bytes,
    limit_unsent,
    next_window,
    unsent_limit,
)


@pytest.mark.parametrize(
    ("window", "seconds", "expected"),
    [
        (WINDOW_BYTES, 0.0, FAST_WINDOW_BYTES),
        (WINDOW_BYTES, FAST_SECONDS - 0.001, FAST_WINDOW_BYTES),
        (WINDOW_BYTES, FAST_SECONDS, WINDOW_BYTES),
        (FAST_WINDOW_BYTES, FAST_SECONDS, FAST_WINDOW_BYTES),
        (FAST_WINDOW_BYTES, SLOW_SECONDS - 0.001, FAST_WINDOW_BYTES),
        (FAST_WINDOW_BYTES, SLOW_SECONDS, WINDOW_BYTES),
        (WINDOW_BYTES, NEVER, WINDOW_BYTES),
        (FAST_WINDOW_BYTES, NEVER, WINDOW_BYTES),
    ],
)
def test_a_peer_is_fast_by_the_time_until_it_makes_room(
    window: int, seconds: float, expected: int
) -> None:
    assert next_window(window, seconds) == expected


@pytest.mark.parametrize(
    ("ready", "most"),
    [(0, 4 << 20), (1, 4 << 20), (4, 4 << 20), (16, 1 << 20), (64, 256 << 10), (999, 256 << 10)],
)
def test_fast_peers_share_a_turn(ready: int, most: int) -> None:
    assert fast_turn_bytes(ready) == most
    assert TURN_BYTES <= most <= FAST_SHARE


def test_the_kernel_queues_more_for_a_fast_peer() -> None:
    assert unsent_limit(WINDOW_BYTES) == NOTSENT_LOWAT_BYTES
    assert unsent_limit(FAST_WINDOW_BYTES) == FAST_LOWAT_BYTES


def test_the_limit_is_set_on_the_socket() -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    with socket.socket() as stream:
        limit_unsent(stream, NOTSENT_LOWAT_BYTES)
        if option is not None:
            assert stream.getsockopt(socket.IPPROTO_TCP, option) == NOTSENT_LOWAT_BYTES
    limit_unsent(stream, NOTSENT_LOWAT_BYTES)  # it is closed, which does no harm
