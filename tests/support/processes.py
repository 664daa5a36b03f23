"""Whether processes have ended, where their numbers are soon somebody else's: threads have numbers
as well, and a test with thousands of them goes once around all that there are."""

from collections.abc import Iterable
from pathlib import Path

Commands = dict[int, bytes]


def commands(pids: Iterable[int]) -> Commands:
    """The command lines of these processes, which differ in their ports."""
    return {pid: _command(pid) for pid in pids}


def left(before: Commands) -> Commands:
    """The processes that still run."""
    return {pid: text for pid, text in before.items() if text and _command(pid) == text}


def _command(pid: int) -> bytes:
    """b"" of one that has ended, whether or not anybody has waited for it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
