"""How much a peer is sent at a time: little, until it has shown that it reads fast.

A peer that has made room for more of a file within FAST_SECONDS is fast, until it takes longer than
SLOW_SECONDS for the much larger window that it is then given. It is sent larger stretches, so that
not every 256 KiB cost a turn; the fast peers that are ready in the same turn share FAST_SHARE.

TCP_NOTSENT_LOWAT is what the kernel queues of one connection before it says that it has no room
(tcp(7)). It is small, since it is memory, and there may be ten thousand slow readers. But small
portions cost twice as much, and of a file only references to its pages are queued.
"""

import socket
from typing import Final

from reactor.files.file import WINDOW_BYTES

TURN_BYTES: Final = 256 * 1024  # sent for one connection in one turn
FAST_SECONDS: Final = 0.05
SLOW_SECONDS: Final = 1.0
FAST_WINDOW_BYTES: Final = 16 * WINDOW_BYTES
FAST_SHARE: Final = 16 * 1024 * 1024
NOTSENT_LOWAT_BYTES: Final = 128 * 1024
FAST_LOWAT_BYTES: Final = 2**31 - 1  # as much as fits into the kernel's buffer
_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def next_window(window: int, seconds: float) -> int:
    """The bytes of a file to have ready for a peer that made room `seconds` after it had none.

    `window` is what it was so far; `seconds` is NEVER where no file is being sent.
    """
    limit = FAST_SECONDS if window == WINDOW_BYTES else SLOW_SECONDS
    return FAST_WINDOW_BYTES if seconds < limit else WINDOW_BYTES


def fast_turn_bytes(ready: int) -> int:
    """The bytes to send to a fast peer in one turn, in which `ready` sockets are ready."""
    share = FAST_SHARE // max(1, ready)
    return min(FAST_WINDOW_BYTES, max(TURN_BYTES, share))


def unsent_limit(window: int) -> int:
    """The TCP_NOTSENT_LOWAT for a peer with this window."""
    return NOTSENT_LOWAT_BYTES if window == WINDOW_BYTES else FAST_LOWAT_BYTES


def limit_unsent(stream: socket.socket, most: int) -> None:
    """Set TCP_NOTSENT_LOWAT. An accepted socket inherits the one of its listener."""
    if _NOTSENT_LOWAT is not None:
        try:
            stream.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, most)
        except OSError:
            pass  # its peer is lost, which the next send reports
