"""How much a peer is sent at a time."""

import socket

import pytest

from reactor.net.pacing import (
    FAST,
    FAST_SECONDS,
    FAST_TURN_BYTES,
    FAST_WINDOW_BYTES,
    NEW,
    SLOW_SECONDS,
    STEADY,
    Pace,
    fast_turn_bytes,
    limit_unsent,
    next_pace,
)


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(
    ("pace", "seconds", "is_fast"),
    [
        (NEW, 0.0, True),
        (NEW, FAST_SECONDS - 0.001, True),
        (NEW, FAST_SECONDS, False),
        (STEADY, FAST_SECONDS, True),
        (STEADY, SLOW_SECONDS, False),
        (FAST, FAST_SECONDS, True),
        (FAST, SLOW_SECONDS - 0.001, True),
        (FAST, SLOW_SECONDS, False),
    ],
)
def test_a_peer_is_fast_by_the_time_until_it_makes_room(
    pace: Pace, seconds: float, is_fast: bool, in_file: bool
) -> None:
    """The kernel holds copies of what is no file: it queues less of that."""
    expected = (FAST if in_file else STEADY) if is_fast else NEW
    assert next_pace(pace, seconds, in_file=in_file) is expected


@pytest.mark.parametrize(
    ("peers", "most"),
    [(1, 4 << 20), (4, 4 << 20), (16, 1 << 20), (64, 1 << 20), (999, 1 << 20)],
)
def test_fast_peers_share_a_turn(peers: int, most: int) -> None:
    assert fast_turn_bytes(peers) == most
    assert FAST_TURN_BYTES <= most <= FAST_WINDOW_BYTES


def test_more_is_queued_for_a_peer_that_reads_fast() -> None:
    assert NEW.lowat < STEADY.lowat < FAST.lowat
    assert NEW.window == STEADY.window < FAST.window


def test_the_limit_is_set_on_the_socket() -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    with socket.socket() as stream:
        limit_unsent(stream, STEADY.lowat)
        if option is not None:
            assert stream.getsockopt(socket.IPPROTO_TCP, option) == STEADY.lowat
    limit_unsent(stream, STEADY.lowat)  # it is closed, which does no harm
