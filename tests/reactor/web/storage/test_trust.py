"""The owners of files: the operator, or the clients that upload."""

import os
from pathlib import Path

import pytest

from reactor.web.storage.safe_path import Place, Root
from reactor.web.storage.trust import Trust

pytestmark = pytest.mark.usefixtures("closes_files")


@pytest.mark.parametrize(
    ("own", "uploads", "trusted"),
    [
        (True, (), {"mine", "up/theirs", "up/link", "link"}),
        (True, ("up",), {"mine", "up/link"}),
        (True, ("other",), {"mine", "up/theirs", "up/link", "link"}),
        (True, ("other", "up"), {"mine", "up/link"}),
        (True, ("",), set()),
        (False, (), set()),
        (False, ("up",), set()),
    ],
)
def test_the_files_that_are_trusted(
    tmp_path: Path, own: bool, uploads: tuple[str, ...], trusted: set[str]
) -> None:
    for name in ("up", "other"):
        (tmp_path / name).mkdir()
    for name in ("mine", "up/theirs"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("up/theirs")
    (tmp_path / "up/link").symlink_to("../mine")
    trust = Trust(own, tuple(Root(tmp_path / name) for name in uploads))
    found = set()
    for name in ("mine", "up/theirs", "up/link", "link"):
        places: set[Place] = set()
        descriptor, status, is_own = trust.find_file(Root(tmp_path), name.split("/"), places)
        assert status.st_size == 0
        assert places
        os.close(descriptor)
        if is_own:
            found.add(name)
    assert found == trusted
