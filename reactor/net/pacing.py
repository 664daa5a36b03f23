"""How much a peer is sent at a time: little, until it has shown that it reads fast.

A peer is NEW, until it has made room within FAST_SECONDS. From then on it is STEADY, or FAST while
it is sent a file, until it takes SLOW_SECONDS for the more that it is given then. One that takes
TURN_BYTES of a file without having to be waited for is FAST at once. A fast peer is sent larger
stretches, so that not every 256 KiB cost a turn; the fast peers that wait for their turns share
FAST_SHARE.

TCP_NOTSENT_LOWAT is what the kernel queues of one connection before it says that it has no room
(tcp(7)). It is small, since it is memory, there may be ten thousand slow readers, and the first
send to each new peer is made while others wait. But small portions cost twice as much, and of a
file only references to its pages are queued.
"""

import socket
from typing import Final, NamedTuple

from reactor.files.file import WINDOW_BYTES

TURN_BYTES: Final = 256 * 1024  # sent for one connection in one turn
FAST_SECONDS: Final = 0.05
SLOW_SECONDS: Final = 1.0
FAST_WINDOW_BYTES: Final = 16 * WINDOW_BYTES
FAST_TURN_BYTES: Final = 1024 * 1024  # sent for a fast peer, and more where few of them wait
FAST_SHARE: Final = 16 * 1024 * 1024
NEW_LOWAT_BYTES: Final = 32 * 1024
STEADY_LOWAT_BYTES: Final = 128 * 1024
FAST_LOWAT_BYTES: Final = 2**31 - 1  # as much as fits into the kernel's buffer
_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)


class Pace(NamedTuple):
    """How much a peer is sent at a time."""

    window: int  # bytes of a file to have ready
    lowat: int  # its TCP_NOTSENT_LOWAT, in bytes


NEW: Final = Pace(WINDOW_BYTES, NEW_LOWAT_BYTES)
STEADY: Final = Pace(WINDOW_BYTES, STEADY_LOWAT_BYTES)
FAST: Final = Pace(FAST_WINDOW_BYTES, FAST_LOWAT_BYTES)


def next_pace(pace: Pace, seconds: float, *, in_file: bool) -> Pace:
    """The pace of a peer that made room `seconds` after it had none, while it is sent a file or
    something else.
    """
    if seconds >= (FAST_SECONDS if pace is NEW else SLOW_SECONDS):
        return NEW
    return FAST if in_file else STEADY


def fast_turn_bytes(peers: int) -> int:
    """The bytes to send to a fast peer in one turn, where so many peers wait for theirs."""
    share = FAST_SHARE // peers
    return min(FAST_WINDOW_BYTES, max(FAST_TURN_BYTES, share))


def limit_unsent(stream: socket.socket, most: int) -> None:
    """Set TCP_NOTSENT_LOWAT. An accepted socket inherits the one of its listener."""
    if _NOTSENT_LOWAT is not None:
        try:
            stream.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, most)
        except OSError:
            pass  # its peer is lost, which the next send reports
