"""The files of a directory that takes uploads, and what other programs do in it."""

import os
from pathlib import Path
from typing import Any, Final

import pytest

LEFT: Final = ".0123456789abcdef.part"  # a temporary name, as uploads/publish.py makes them


def tree(directory: Path) -> dict[str, bytes]:
    """All files below a directory, dotted ones too."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def take_name_before_link(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a program without locks take the free name `a` just before it is linked."""
    real = os.link

    def link(source: Any, name: Any, **named: Any) -> None:
        if name == b"a" and not (site / "a").exists():
            (site / "a").write_bytes(b"theirs")
        real(source, name, **named)

    monkeypatch.setattr(os, "link", link)
