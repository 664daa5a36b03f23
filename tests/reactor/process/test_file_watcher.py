"""Watching files: what is a change, and when it counts."""

import os
from pathlib import Path

import pytest

from reactor.process.file_watcher import LONGEST_UNREST, Watch, mark


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.py"
    path.write_text("1")
    return path


def watching(*paths: Path) -> Watch:
    watch = Watch()
    for path in paths:
        watch.add(str(path), mark(str(path)))
    return watch


def looked(watch: Watch, now: float = 0.0) -> list[str]:
    """The names of what has changed, after a first look that finds the change and a second one."""
    assert watch.look(now) == {}
    return [os.path.basename(path) for path in watch.look(now)]


def test_nothing_changes(file: Path) -> None:
    watch = watching(file)
    for now in range(10):
        assert watch.look(float(now)) == {}
        assert not watch.restless()


def test_a_change_counts_at_the_second_look_and_once(file: Path) -> None:
    watch = watching(file)
    file.write_text("12")
    assert watch.look(0.0) == {}
    assert watch.restless()
    assert watch.look(0.1) == {str(file): mark(str(file))}
    assert not watch.restless()
    assert watch.look(0.2) == {}
    assert watch.look(0.3) == {}


def test_a_change_of_time_size_or_inode(file: Path) -> None:
    watch = watching(file)
    before = os.stat(file)
    os.utime(file, ns=(0, before.st_mtime_ns + 1))
    assert looked(watch) == ["a.py"]
    file.write_text("22")
    os.utime(file, ns=(0, before.st_mtime_ns + 1))
    assert looked(watch) == ["a.py"]
    other = file.with_suffix(".new")  # as an editor that writes a new file and renames it
    other.write_text("33")
    os.utime(other, ns=(0, before.st_mtime_ns + 1))
    other.rename(file)
    assert looked(watch) == ["a.py"]


def test_files_that_come_and_go(file: Path) -> None:
    new = file.with_name("b.py")
    watch = watching(file, new)
    assert watch.count() == 1
    file.unlink()
    assert looked(watch) == ["a.py"]
    assert watch.count() == 0
    new.write_text("")
    file.write_text("")
    assert looked(watch) == ["a.py", "b.py"]
    assert watch.count() == 2


def test_several_changes_are_one(file: Path) -> None:
    """Each look that finds something new puts it off."""
    files = [file.with_name(f"{number}.py") for number in range(5)]
    watch = watching(*files)
    for number, one in enumerate(files):
        one.write_text("")
        assert watch.look(number / 10) == {}
    assert list(watch.look(0.5)) == [str(one) for one in files]


def test_changes_without_an_end_count_in_the_end(file: Path) -> None:
    watch = watching(file)
    file.write_text("")
    assert watch.look(5.0) == {}
    for number in range(1, 10):
        file.write_text("x" * number)
        assert watch.look(5.0 + LONGEST_UNREST * number / 10) == {}
    file.write_text("x" * 10)
    assert list(watch.look(5.0 + LONGEST_UNREST)) == [str(file)]
    file.write_text("x" * 11)
    assert watch.look(6.0 + LONGEST_UNREST) == {}  # the next ones begin anew


def test_a_change_that_is_taken_back(file: Path) -> None:
    watch = watching(file)
    before = os.stat(file)
    os.utime(file, ns=(0, 1))
    assert watch.look(0.0) == {}
    os.utime(file, ns=(0, before.st_mtime_ns))
    assert watch.look(0.1) == {}
    assert watch.look(0.2) == {}
    assert not watch.restless()


def test_a_file_is_known_as_somebody_else_has_seen_it(file: Path) -> None:
    """It changed between the moment in which it was read and the first look."""
    watch = Watch()
    watch.add(str(file), mark(str(file)))
    watch.add(str(file), None)
    assert looked(watch) == ["a.py"]


def test_a_file_that_is_not_kept_is_not_checked(file: Path) -> None:
    other = file.with_name("b.py")
    watch = watching(file, other)
    watch.keep({str(other)})
    file.unlink()
    other.write_text("")
    assert looked(watch) == ["b.py"]


@pytest.mark.parametrize("path", ["a\0b", "", "/dev/null/x", "x" * 5000])
def test_a_text_that_is_no_path_does_not_exist(path: str) -> None:
    assert mark(path) is None
