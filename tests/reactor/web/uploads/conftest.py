"""The directory that takes uploads in these tests."""

from pathlib import Path

import pytest


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An empty directory `site` with a directory `sub`; `secret.txt` lies beside it."""
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    return site
