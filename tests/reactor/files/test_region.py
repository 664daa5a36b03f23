"""Regions of files, alone and in a row."""

from pathlib import Path

import pytest

from reactor.files.region import FileRegion, MultiRegion
from tests.support.open_files import opened


def test_a_region_is_a_part_of_a_file(path: Path) -> None:
    file = opened(path)
    region = FileRegion(file, 10, 20)
    assert len(region) == 20
    for offset, length in ((-1, 5), (0, -1)):
        with pytest.raises(ValueError):
            FileRegion(file, offset, length)
    region.release()
    assert file.closed


# --- parts ---------------------------------------------------------------------------------------


def test_parts_have_a_length_and_release_each_region_once(path: Path) -> None:
    file = opened(path)
    parts = MultiRegion([b"abc", FileRegion(file.hold(), 5, 20), b"", FileRegion(file, 0, 0)])
    assert (len(parts), parts.length) == (23, 23)
    parts.release()
    assert file.closed
    parts.release()
    assert len(parts) == 23  # the length in the head
    assert len(MultiRegion([])) == 0


def test_parts_are_a_copy_of_the_list(path: Path) -> None:
    file = opened(path)
    mine: list[bytes | FileRegion] = [FileRegion(file, 0, 10)]
    parts = MultiRegion(mine)
    mine.clear()
    parts.release()
    assert file.closed


def test_parts_of_an_iterator() -> None:
    pieces = (piece for piece in (b"ab", b"c"))
    assert len(MultiRegion(pieces)) == 3  # type: ignore[arg-type]  # as a handler without types would
