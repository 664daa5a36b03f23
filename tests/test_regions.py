"""Files that are counted, and looks at the page cache."""

import os
from pathlib import Path

import pytest

from reactor.regions import File, FileRegion


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 100)
    return path


def opened(path: Path) -> File:
    return File(os.open(path, os.O_RDONLY), path.stat().st_size)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_the_last_holder_closes(path: Path) -> None:
    file = opened(path)
    descriptor = file.descriptor
    file.hold().hold()
    for _ in range(2):
        file.release()
        assert is_open(descriptor)
        assert not file.closed
    file.release()
    assert file.closed
    assert not is_open(descriptor)


def test_a_release_too_many_is_an_error_and_closes_nobody_elses_file(path: Path) -> None:
    file = opened(path)
    descriptor = file.descriptor
    file.release()
    other = opened(path)
    assert other.descriptor == descriptor  # numbers are used again at once
    with pytest.raises(ValueError):
        file.release()
    with pytest.raises(ValueError):
        file.hold()
    assert is_open(descriptor)
    other.release()


def test_a_file_that_is_forgotten_is_closed(path: Path) -> None:
    file = opened(path).hold()
    descriptor = file.descriptor
    del file
    assert not is_open(descriptor)


def test_a_file_that_was_closed_is_not_closed_again(path: Path) -> None:
    file = opened(path)
    descriptor = file.descriptor
    file.release()
    other = opened(path)
    assert other.descriptor == descriptor
    del file
    assert is_open(descriptor)
    other.release()


def test_load_reads_all_of_it_or_to_the_end(path: Path) -> None:
    file = opened(path)
    content = path.read_bytes()
    assert file.load(0, 25_600) == content
    assert file.load(100, 1000) == content[100:1100]
    assert file.load(25_000, 1000) == content[25_000:]
    assert file.load(30_000, 10) == b""
    assert file.load(0, 0) == b""
    file.release()


def test_a_look_is_whole_or_none(path: Path) -> None:
    """What was just written is in memory, where the file system can tell; else it says no."""
    file = opened(path)
    into = memoryview(bytearray(1000))
    if file.look(100, into):
        assert bytes(into) == path.read_bytes()[100:1100]
    assert not file.look(25_000, into)  # beyond the end
    assert not file.look(10**9, into)
    file.release()


def test_a_look_where_nobody_can_tell(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reactor.regions._NOWAIT", None)
    file = opened(path)
    assert not file.look(0, memoryview(bytearray(10)))
    file.release()


def test_a_region_is_a_stretch(path: Path) -> None:
    file = opened(path)
    region = FileRegion(file, 10, 20)
    assert len(region) == 20
    for offset, length in ((-1, 5), (0, -1)):
        with pytest.raises(ValueError):
            FileRegion(file, offset, length)
    region.release()
    assert file.closed
