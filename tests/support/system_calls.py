"""Records calls of the operating system."""

import os
from typing import Any

import pytest


def record_opens(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which the path of each call of os.open is added from now on."""
    opened: list[Any] = []
    really_open = os.open

    def spy(path: Any, *arguments: Any, **named: Any) -> int:
        opened.append(path)
        return really_open(path, *arguments, **named)

    monkeypatch.setattr(os, "open", spy)
    return opened
