"""The file that the tests of files and regions open."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 25,600 bytes."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 100)
    return path
