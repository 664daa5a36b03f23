"""Watches files for changes, by checking them again and again.

A file is known by its mark: the time of its last change, its size, and its inode, which changes
when an editor writes a new file and renames it. A file that does not exist has a mark, too, so the
deletion and the creation of a file are changes like any other.

A check is one `stat`, which takes a few microseconds on any file system. Notifications would be
another mechanism for each kernel, and do not work on network file systems.

One action makes many changes: an editor writes twice, a checkout touches hundreds of files. Changes
count when a second check finds no further ones, or when they have gone on for long enough.
"""

import os
from collections.abc import Collection
from typing import Final, TypeAlias

LONGEST_UNREST: Final = 2.0  # seconds after which changes count although more of them follow

Mark: TypeAlias = tuple[int, int, int] | None  # ns, bytes, inode; None: the file does not exist


def mark(path: str) -> Mark:
    """The mark of the file now. A file that `stat` cannot read does not exist."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: not a path, as with a null byte
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Watch:
    """The known marks of files, and the changes that do not count yet."""

    def __init__(self) -> None:
        self._known: dict[str, Mark] = {}
        self._unrest: dict[str, Mark] = {}  # changes at the last check, which do not count yet
        self._since = 0.0  # when they began

    def count(self) -> int:
        """The number of watched files that exist."""
        return sum(known is not None for known in self._known.values())

    def restless(self) -> bool:
        """Whether changes wait for a second check."""
        return bool(self._unrest)

    def add(self, path: str, known: Mark) -> None:
        """Watch the file from now on, with this mark as the known one."""
        self._known[path] = known

    def keep(self, paths: Collection[str]) -> None:
        """Stop watching all other files."""
        self._known = {path: known for path, known in self._known.items() if path in paths}

    def look(self, now: float) -> dict[str, Mark]:
        """The changes that count, by path; their new marks are the known ones from now on."""
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
