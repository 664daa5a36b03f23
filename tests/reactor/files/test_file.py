"""Files: their holders, and looks at the page cache."""

import os
from collections.abc import Callable, Iterator, Sized
from mmap import PAGESIZE
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reactor.files.region
from reactor.files.file import FRESH_SECONDS, SEEN_WINDOWS, WINDOW_BYTES, File
from reactor.net.send_queue import JOIN_BYTES
from tests.support.open_files import is_open, opened


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


def test_a_release_too_many_is_an_error_and_closes_no_other_file(path: Path) -> None:
    file = opened(path)
    descriptor = file.descriptor
    file.release()
    other = opened(path)
    assert other.descriptor == descriptor  # the kernel reuses the number at once
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


def test_a_look_finds_all_bytes_or_is_false(path: Path) -> None:
    """Bytes just written are in memory; where the file system cannot say so, a look is False."""
    file = opened(path)
    into = memoryview(bytearray(1000))
    if file.look(100, into):
        assert bytes(into) == path.read_bytes()[100:1100]
    assert not file.look(25_000, into)  # beyond the end
    assert not file.look(10**9, into)
    file.release()


def test_a_look_without_rwf_nowait_is_false(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reactor.files.file._NOWAIT", None)
    file = opened(path)
    assert not file.look(0, memoryview(bytearray(10)))
    file.release()


# --- whether it is in memory ---------------------------------------------------------------------


class Watched(File):
    """A file of `size` bytes, all in memory except some pages; it records what the kernel is asked.

    `begun` are pages whose reading has begun: the kernel counts them, and has no bytes of them.
    """

    def __init__(self, size: int) -> None:
        super().__init__(os.open(os.devnull, os.O_RDONLY), size)
        self.missing: set[int] = set()
        self.begun: set[int] = set()
        self.looks: list[tuple[int, int]] = []
        self.asked: list[tuple[int, int]] = []
        self.time = 1000.0
        self.pace = FRESH_SECONDS  # seconds that pass with each look at the clock

    def _now(self) -> float:
        self.time += self.pace
        return self.time

    def preadv(self, descriptor: int, into: list[memoryview], offset: int, flags: int) -> int:
        assert (descriptor, flags) == (self.descriptor, reactor.files.file._NOWAIT)
        self.looks.append((offset, len(into[0])))
        if self._touches(self.missing, offset, into[0]):
            raise BlockingIOError
        return max(0, min(len(into[0]), self.size - offset))

    def _resident(self, offset: int, count: int) -> bool:
        self.asked.append((offset, count))
        return not self._touches(self.missing - self.begun, offset, range(count))

    def _touches(self, pages: set[int], offset: int, stretch: Sized) -> bool:
        return not pages.isdisjoint(
            range(offset // PAGESIZE, (offset + len(stretch) - 1) // PAGESIZE + 1)
        )

    def calls(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The looks and the questions since the last time."""
        found = self.looks, self.asked
        self.looks, self.asked = [], []
        return found


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Watched]]:
    """`watch(size)` makes a file that never asks the kernel."""
    files: list[Watched] = []

    def make(size: int) -> Watched:
        files.append(Watched(size))
        monkeypatch.setattr(os, "preadv", files[-1].preadv)
        monkeypatch.setattr("reactor.files.file._NOWAIT", 8)
        return files[-1]

    yield make
    for file in files:
        file.release()


@pytest.fixture
def watched(watch: Callable[[int], Watched]) -> Watched:
    """Three windows, and a last one of half the size."""
    return watch(3 * WINDOW_BYTES + WINDOW_BYTES // 2)


def test_a_window_is_copied_once_and_from_then_on_asked_for(watched: Watched) -> None:
    assert watched.in_memory(WINDOW_BYTES, WINDOW_BYTES)
    looks, asked = watched.calls()
    assert asked == []
    assert [offset for offset, _ in looks] == [
        WINDOW_BYTES + sum(count for _, count in looks[:number]) for number in range(len(looks))
    ], "the looks are one behind the other"
    assert sum(count for _, count in looks) == WINDOW_BYTES
    for offset, count in ((WINDOW_BYTES, WINDOW_BYTES), (WINDOW_BYTES + 5, 70_000)):
        assert watched.in_memory(offset, count)
        assert watched.calls() == ([], [(WINDOW_BYTES, WINDOW_BYTES)]), "all of the window"
    assert watched.in_memory(0, WINDOW_BYTES)
    looks, asked = watched.calls()
    assert looks, "the window before it was never looked at"
    assert not asked


def test_several_windows_are_asked_for_when_all_were_seen(watched: Watched) -> None:
    begin, count = 100, 2 * WINDOW_BYTES  # touches three, the first and the last in part
    for _ in range(2):
        assert watched.in_memory(begin, count)
        looks, asked = watched.calls()
        assert sum(length for _, length in looks) == count
        assert asked == []
    assert watched.in_memory(0, 3 * WINDOW_BYTES)
    watched.calls()
    assert watched.in_memory(begin, count)
    assert watched.calls() == ([], [(0, 3 * WINDOW_BYTES)])


def test_a_window_found_a_moment_ago_is_not_asked_for(watched: Watched) -> None:
    watched.pace = 0.0
    everything = [(number * WINDOW_BYTES, WINDOW_BYTES) for number in range(3)]
    for stretch in everything:
        assert watched.in_memory(*stretch)
    watched.calls()
    watched.time += FRESH_SECONDS * 0.9
    assert watched.in_memory(5, 2 * WINDOW_BYTES)
    assert watched.calls() == ([], [])
    assert not watched.in_memory(0, watched.size + 1), "beyond its end"
    watched.time += FRESH_SECONDS * 0.2
    assert watched.in_memory(WINDOW_BYTES, 10)
    assert watched.calls() == ([], [(WINDOW_BYTES, WINDOW_BYTES)])
    assert watched.in_memory(WINDOW_BYTES, 10)
    assert watched.calls() == ([], []), "the question has made it fresh"
    assert watched.in_memory(*everything[2])
    assert watched.calls() == ([], [everything[2]]), "that one and no other"


def test_a_failed_look_ends_what_is_fresh(watched: Watched) -> None:
    watched.pace = 0.0
    assert watched.in_memory(0, WINDOW_BYTES)
    watched.missing = watched.begun = {WINDOW_BYTES // PAGESIZE}
    assert not watched.in_memory(WINDOW_BYTES, WINDOW_BYTES)
    watched.calls()
    assert watched.in_memory(0, WINDOW_BYTES)
    looks, asked = watched.calls()
    assert looks
    assert not asked


def test_the_last_window_is_whole_though_it_is_short(watched: Watched) -> None:
    begin, count = 3 * WINDOW_BYTES, WINDOW_BYTES // 2
    assert watched.in_memory(begin, count)
    watched.calls()
    assert watched.in_memory(begin, count)
    assert watched.calls() == ([], [(begin, count)])


@pytest.mark.parametrize(
    ("offset", "count"),
    [
        (0, WINDOW_BYTES - 1),
        (1, WINDOW_BYTES - 1),
        (WINDOW_BYTES + PAGESIZE, PAGESIZE),
        (3 * WINDOW_BYTES, WINDOW_BYTES // 2 - 1),
        (3 * WINDOW_BYTES + 1, WINDOW_BYTES // 2 - 1),
    ],
)
def test_a_part_of_a_window_says_nothing_about_the_rest(
    watched: Watched, offset: int, count: int
) -> None:
    for _ in range(2):
        assert watched.in_memory(offset, count)
        looks, asked = watched.calls()
        assert sum(length for _, length in looks) == count
        assert not asked


def test_a_dropped_page_is_noticed_and_ends_it_for_the_whole_file(
    watched: Watched,
) -> None:
    """Reading a missing page makes the kernel read others ahead, which it counts at once."""
    for window in range(3):
        assert watched.in_memory(window * WINDOW_BYTES, WINDOW_BYTES)
    watched.missing = {WINDOW_BYTES // PAGESIZE, 2 * WINDOW_BYTES // PAGESIZE}
    watched.calls()
    assert not watched.in_memory(WINDOW_BYTES, WINDOW_BYTES)
    watched.begun = set(watched.missing)
    for window in (1, 2):
        assert not watched.in_memory(window * WINDOW_BYTES, WINDOW_BYTES)
    watched.missing = set()
    _, asked = watched.calls()
    assert asked == [(WINDOW_BYTES, WINDOW_BYTES)], "only before it was noticed"
    assert watched.in_memory(0, WINDOW_BYTES)
    assert watched.calls()[1] == []
    assert watched.in_memory(0, WINDOW_BYTES)
    assert watched.calls() == ([], [(0, WINDOW_BYTES)])


def test_a_short_failed_look_ends_it_as_well(watched: Watched) -> None:
    """The kernel begins to read the bytes that it was asked for, and those behind them."""
    assert watched.in_memory(0, WINDOW_BYTES)
    watched.missing = watched.begun = {3, 4, 5}
    assert not watched.look(3 * PAGESIZE, memoryview(bytearray(10)))
    assert not watched.in_memory(0, WINDOW_BYTES)


@pytest.mark.slow
@given(data=st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_memory_is_never_wrong(watch: Callable[[int], Watched], data: st.DataObject) -> None:
    """For any pages that the kernel drops, and reads again because we have asked for them."""
    file = watch(2 * WINDOW_BYTES + 5 * PAGESIZE + 1)
    last = file.size // PAGESIZE
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            file.missing.add(data.draw(st.integers(0, last)))
        window = data.draw(st.integers(0, 2))
        begin = window * WINDOW_BYTES
        count = min(WINDOW_BYTES, file.size - begin)
        if data.draw(st.booleans()):
            skipped = data.draw(st.integers(1, count - 1))
            begin, count = begin + skipped, count - skipped
        if data.draw(st.booleans()):
            count = min(count, JOIN_BYTES)
            found = file.look(begin, memoryview(bytearray(count)))
        else:
            found = file.in_memory(begin, count)
        if found:
            assert not file._touches(file.missing, begin, range(count))
        elif data.draw(st.booleans()):
            file.begun = set(file.missing)
        else:  # a thread has read all of it
            file.missing, file.begun = set(), set()


def test_the_number_of_remembered_windows_has_a_bound(watch: Callable[[int], Watched]) -> None:
    file = watch((SEEN_WINDOWS + 2) * WINDOW_BYTES)
    for window in (SEEN_WINDOWS, SEEN_WINDOWS + 1):
        for _ in range(2):
            assert file.in_memory(window * WINDOW_BYTES, WINDOW_BYTES)
            assert file.calls()[1] == []
    assert len(file._seen) == 0
    for _ in range(2):
        assert file.in_memory((SEEN_WINDOWS - 1) * WINDOW_BYTES, WINDOW_BYTES)
    assert len(file.calls()[1]) == 1
    assert len(file._seen) == SEEN_WINDOWS


def test_a_real_file_in_memory_and_dropped_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reactor.files.file.FRESH_SECONDS", 0.0)
    path = tmp_path / "file"
    with path.open("wb") as writer:
        writer.write(bytes(WINDOW_BYTES + 100_000))
        os.fsync(writer.fileno())
    file = opened(path)
    windows = [(0, WINDOW_BYTES), (WINDOW_BYTES, 100_000)]
    can_say = file.look(0, memoryview(bytearray(1)))  # False on tmpfs, and with an old kernel
    for _ in range(3):
        assert [file.in_memory(*window) for window in windows] == [can_say, can_say]
    assert not file.in_memory(WINDOW_BYTES, 100_000 + PAGESIZE), "beyond its end"
    assert [file.in_memory(*window) for window in windows] == [can_say, can_say]
    os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    if not file.in_memory(0, WINDOW_BYTES):  # the kernel need not drop the pages
        assert len(file._seen) == 0
    assert file.load(0, WINDOW_BYTES) == bytes(WINDOW_BYTES)
    assert file.in_memory(0, WINDOW_BYTES) == can_say
    file.release()


@pytest.mark.parametrize("cause", ["no such call", "not permitted", "not Linux"])
def test_without_cachestat_each_time_is_a_look(
    path: Path, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    monkeypatch.setattr("reactor.files.file.FRESH_SECONDS", 0.0)
    syscall = None if cause == "not Linux" else lambda *_: -1
    monkeypatch.setattr("reactor.files.page_cache._syscall", syscall)
    file = opened(path)
    can_say = file.look(0, memoryview(bytearray(1)))
    for _ in range(3):
        assert file.in_memory(0, file.size) == can_say
    os.truncate(path, 100)
    assert not file.in_memory(0, file.size)
    file.release()
