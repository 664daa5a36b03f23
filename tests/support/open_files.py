"""Open files for tests: a File of a path, and whether a descriptor is open."""

import os
from pathlib import Path

from reactor.files.file import File


def opened(path: Path) -> File:
    """The file at the path, with one holder."""
    return File(os.open(path, os.O_RDONLY), path.stat().st_size)


def is_open(descriptor: int) -> bool:
    """Whether this process has the descriptor open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
