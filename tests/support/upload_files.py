"""All files of a directory that takes uploads, and the name of one that a killed server left."""

from pathlib import Path
from typing import Final

LEFT: Final = ".0123456789abcdef.part"  # a temporary name, as uploads/publish.py makes them


def tree(directory: Path) -> dict[str, bytes]:
    """All files below a directory, dotted ones too."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }
