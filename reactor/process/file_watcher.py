"""Files that are looked at again and again: which of them are not what they were.

A file is known by its mark: when it was changed, its size, and its inode, which an editor that
writes a new file and renames it changes. That there is no file is a mark as well, so one that is
deleted, or comes to be, is a change like any other.

Looking is `stat`, a few microseconds a file on any file system there is; notifications would be
another mechanism for each kernel, and silent on network file systems.

One action makes many changes: an editor writes twice, a checkout touches hundreds of files. Changes
count when a second look finds nothing new, or when they have gone on for long enough.
"""

import os
from collections.abc import Collection
from typing import Final, TypeAlias

LONGEST_UNREST: Final = 2.0  # seconds after which changes count although there are ever more

Mark: TypeAlias = tuple[int, int, int] | None  # ns, bytes, inode; None: there is no such file


def mark(path: str) -> Mark:
    """What is there now. What cannot be looked at is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: no path at all, as with a null byte
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Watch:
    """The marks that files are known by, and the changes that have been seen."""

    def __init__(self) -> None:
        self._known: dict[str, Mark] = {}
        self._unrest: dict[str, Mark] = {}  # changes at the last look, which do not count yet
        self._since = 0.0  # when they began

    def count(self) -> int:
        """How many files there are, those that do not exist left out."""
        return sum(known is not None for known in self._known.values())

    def restless(self) -> bool:
        """Whether changes wait for a second look."""
        return bool(self._unrest)

    def add(self, path: str, known: Mark) -> None:
        """Watch it from now on, or as it is known now."""
        self._known[path] = known

    def keep(self, paths: Collection[str]) -> None:
        """Forget all others."""
        self._known = {path: known for path, known in self._known.items() if path in paths}

    def look(self, now: float) -> dict[str, Mark]:
        """Changes that count; from now on these files are known as they are. {}: there are none."""
        found = {path: mark(path) for path in self._known}
        changes = {path: new for path, new in found.items() if new != self._known[path]}
        if changes and not self._unrest:
            self._since = now
        if changes != self._unrest and now - self._since < LONGEST_UNREST:
            self._unrest = changes
            return {}
        self._unrest = {}
        self._known |= changes
        return changes
