"""Directories are read once for all who want them, and again when they may have changed."""

import gc
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from reactor.tasks.task import Task
from reactor.web.static import directory_cache, directory_reader
from reactor.web.static.directory_cache import IDLE, LEAST_AGE, MOST_AGE, DirectoryCache
from reactor.web.static.directory_reader import BATCH, DirectoryReader
from reactor.web.static.snapshot import Order, Snapshot
from reactor.web.storage.safe_path import Root
from tests.support.coroutine_driver import fail, open_descriptors, opened_since
from tests.support.cycles import Cycles
from tests.support.inline_pool import InlineWorld


class Desk:
    """A cache over the directory of a test, in a world."""

    def __init__(self, directory: Path) -> None:
        self.world = InlineWorld()
        self.directory = directory
        self.young = False  # whether directories have just been changed, by the wall clock
        self.cache = DirectoryCache(10**9, clock=self.world.clock, wall=self._wall)
        self.root = Root(directory)
        self.most = 100_000

    def _wall(self) -> float:
        return time.time() + (0 if self.young else 1000)

    def ask(self, *segments: str, client: str = "a") -> Task[Any]:
        return self.world.spawn(self.cache.find(client, self.root, segments, self.most))

    def read(self, *segments: str, client: str = "a") -> Snapshot:
        (snapshot,) = self.world.finish(self.ask(*segments, client=client))
        assert isinstance(snapshot, Snapshot)
        return snapshot

    def put(self, *names: str) -> None:
        for name in names:
            (self.directory / name).parent.mkdir(exist_ok=True)
            (self.directory / name).write_bytes(b"12345")

    def turns(self) -> None:
        for _ in range(50):
            self.world.reactor.run_once(0)


def listed(snapshot: Snapshot) -> list[str]:
    entries = snapshot.entries(Order(), 0, len(snapshot))
    return [entry.name.decode() for entry in entries]


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The directories that were opened to be read."""
    seen: list[tuple[str, ...]] = []
    real = directory_reader.DirectoryReader.__init__

    def noted(self: DirectoryReader, root: Root, segments: tuple[str, ...]) -> None:
        seen.append(segments)
        real(self, root, segments)

    monkeypatch.setattr(directory_reader.DirectoryReader, "__init__", noted)
    return seen


@pytest.fixture
def desk(tmp_path: Path, readings: list[tuple[str, ...]]) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    before = open_descriptors()
    yield desk
    assert not opened_since(before)
    desk.world.reactor.close()


# --- shared --------------------------------------------------------------------------------------


def test_all_who_come_while_it_is_read_share_the_reading(
    desk: Desk, readings: list[tuple[str, ...]]
) -> None:
    desk.put("a", "b")
    tasks = [desk.ask(client=client) for client in "abcabc"]
    results = desk.world.finish(*tasks)
    assert len({id(one) for one in results}) == len(readings) == 1
    assert listed(results[0]) == ["a", "b"]


def test_all_who_come_later_share_it_until_the_directory_changes(
    desk: Desk, readings: list[tuple[str, ...]]
) -> None:
    desk.put("a")
    first = desk.read()
    assert desk.read() is first
    desk.put("b")
    assert listed(desk.read()) == ["a", "b"]
    os.rename(desk.directory / "a", desk.directory / "c")
    assert listed(desk.read()) == ["b", "c"]
    os.unlink(desk.directory / "c")
    assert listed(desk.read(client="other")) == ["b"]
    assert len(readings) == 4


def test_a_link_to_a_directory_shares_its_reading(
    desk: Desk, readings: list[tuple[str, ...]]
) -> None:
    desk.put("sub/a")
    (desk.directory / "link").symlink_to("sub")
    assert desk.read("sub") is desk.read("link")
    assert len(readings) == 1


def test_a_change_in_the_same_tick_is_seen(desk: Desk, readings: list[tuple[str, ...]]) -> None:
    """As long as the directory is young, its times may stay the same when it changes."""
    desk.young = True
    desk.put("a")
    tasks = [desk.ask() for _ in range(3)]  # all came before the reading began
    assert len({id(one) for one in desk.world.finish(*tasks)}) == 1
    stamp = os.stat(desk.directory)
    desk.put("b")
    os.utime(desk.directory, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    desk.world.clock.time += 0.001
    assert listed(desk.read()) == ["a", "b"]
    desk.world.clock.time += 0.001
    desk.read()
    assert len(readings) == 3


def test_sizes_are_read_again_after_a_second(desk: Desk) -> None:
    desk.put("a")
    assert desk.read().size == 5
    (desk.directory / "a").write_bytes(b"123456789")  # changes nothing in the directory
    desk.world.clock.time += LEAST_AGE / 2
    assert desk.read().size == 5
    desk.world.clock.time += LEAST_AGE
    assert desk.read().size == 9


@pytest.mark.parametrize(("took", "age"), [(0.01, LEAST_AGE), (2.0, 20.0), (1000.0, MOST_AGE)])
def test_a_long_reading_is_not_repeated_at_once(
    desk: Desk, readings: list[tuple[str, ...]], took: float, age: float
) -> None:
    desk.put("a")
    desk.world.pool.holding = True
    task = desk.ask()
    desk.world.pool.perform()  # looks at the directory
    desk.turns()
    desk.world.pool.perform()  # opens it
    desk.turns()
    desk.world.clock.time += took
    desk.world.pool.holding = False
    desk.world.pool.perform()
    desk.world.finish(task)
    desk.world.clock.time += age - took - 0.001
    desk.read()
    assert len(readings) == 1
    desk.world.clock.time += 0.002
    desk.read()
    assert len(readings) == 2


# --- changes while it is read --------------------------------------------------------------------


def test_a_change_during_a_reading_is_seen_by_those_who_come_after_it(
    desk: Desk, readings: list[tuple[str, ...]]
) -> None:
    desk.put(*(f"{number:03}" for number in range(2 * BATCH)))
    desk.world.pool.holding = True
    first = desk.ask()
    for _ in range(3):  # looks at the directory, opens it, reads some names
        desk.world.pool.perform()
        desk.turns()
    desk.put("new")
    desk.world.clock.time += 0.001
    later = [desk.ask(client=client) for client in "abc"]
    desk.world.pool.holding = False
    desk.world.pool.perform()
    desk.world.finish(first)
    found = desk.world.finish(*later)
    assert all("new" in listed(one) for one in found)
    assert len({id(one) for one in found}) == 1  # they share the next
    assert len(readings) == 2


def test_names_that_go_while_it_is_read_are_left_out(desk: Desk) -> None:
    desk.put("a", "b", "c")
    desk.world.pool.holding = True
    task = desk.ask()
    for _ in range(2):
        desk.world.pool.perform()
        desk.turns()
    os.unlink(desk.directory / "b")
    desk.world.pool.holding = False
    desk.world.pool.perform()
    (found,) = desk.world.finish(task)
    assert listed(found) == ["a", "c"]


def test_a_directory_that_is_deleted_while_it_is_read(desk: Desk) -> None:
    desk.put("sub/a")
    desk.world.pool.holding = True
    tasks = [desk.ask("sub", client=client) for client in "ab"]
    for _ in range(2):
        desk.world.pool.perform()
        desk.turns()
    os.unlink(desk.directory / "sub" / "a")
    os.rmdir(desk.directory / "sub")
    desk.world.pool.holding = False
    desk.world.pool.perform()
    desk.turns()
    for task in tasks:
        with pytest.raises(FileNotFoundError):
            task.result()
    with pytest.raises(FileNotFoundError):
        desk.read("sub")
    del task, tasks  # the error of a task knows this frame: a cycle
    assert len(desk.cache) == 0


def test_a_directory_that_is_replaced_before_it_is_opened(desk: Desk) -> None:
    desk.put("sub/old", "other/new")
    desk.world.pool.holding = True
    task = desk.ask("sub")
    desk.world.pool.perform()
    desk.turns()
    os.rename(desk.directory / "sub", desk.directory / "gone")
    os.rename(desk.directory / "other", desk.directory / "sub")
    desk.world.pool.holding = False
    desk.world.pool.perform()
    (found,) = desk.world.finish(task)
    assert listed(found) == ["new"]
    assert listed(desk.read("gone")) == ["old"]


# --- errors --------------------------------------------------------------------------------------


def test_errors_reach_all_who_wait_and_are_not_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put("a")
    with monkeypatch.context() as broken:

        def refuse(*_: object) -> NoReturn:
            raise PermissionError(13, "Permission denied")

        broken.setattr(os, "scandir", refuse)
        tasks = [desk.ask(client=client) for client in "ab"]
        desk.turns()
        for task in tasks:
            with pytest.raises(PermissionError):
                task.result()
    assert listed(desk.read()) == ["a"]


def test_a_disk_that_breaks_in_the_middle(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put(*map(str, range(3 * BATCH)))
    real, left = DirectoryReader.read, [2]

    def read(reader: DirectoryReader) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(5, "Input/output error")
        return real(reader)

    with monkeypatch.context() as broken:
        broken.setattr(DirectoryReader, "read", read)
        task = desk.ask()
        desk.turns()
        with pytest.raises(OSError, match="Input/output"):
            task.result()
        del task
    assert len(desk.read()) == 3 * BATCH


def test_an_unreadable_directory(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        fail("open", 13, broken)
        task = desk.ask()
        desk.turns()
        with pytest.raises(PermissionError):
            task.result()
    assert len(desk.read()) == 0


def test_no_cyclic_garbage(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put("sub/a", "b")

    def refuse(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    with Cycles():
        desk.read()
        desk.read("sub")
        with monkeypatch.context() as broken:
            broken.setattr(DirectoryReader, "read", refuse)
            desk.world.clock.time += 100
            tasks = [desk.ask("sub", client=client) for client in "ab"]
            desk.turns()
            assert all(task.done for task in tasks)
            tasks.clear()
        desk.world.drop_dead_timers()


# --- readers that leave --------------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(6))
def test_a_reading_that_nobody_waits_for_ends(
    desk: Desk, readings: list[tuple[str, ...]], steps: int
) -> None:
    desk.put(*map(str, range(5 * BATCH)))
    desk.world.pool.holding = True
    tasks = [desk.ask(client=client) for client in "ab"]
    for _ in range(steps):
        desk.world.pool.perform()
        desk.turns()
    for task in tasks:
        task.cancel()
    before = desk.world.pool.count
    desk.world.pool.holding = False
    desk.world.pool.perform()
    desk.turns()
    assert desk.world.pool.count == before  # the job under way was the last
    assert len(desk.read()) == 5 * BATCH
    assert len(readings) <= 2


def test_a_reader_that_leaves_disturbs_no_other(
    desk: Desk, readings: list[tuple[str, ...]]
) -> None:
    desk.put("a")
    desk.world.pool.holding = True
    first, second = desk.ask(client="a"), desk.ask(client="b")
    desk.world.pool.perform()
    desk.turns()
    first.cancel()
    desk.world.pool.holding = False
    desk.world.pool.perform()
    (found,) = desk.world.finish(second)
    assert listed(found) == ["a"]
    assert len(readings) == 1


# --- turns ---------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """A directory with more names than this is a long one."""
    monkeypatch.setattr(directory_reader, "SHORT", BATCH)
    return BATCH


def test_a_short_directory_does_not_wait_for_long_ones(desk: Desk, short: int) -> None:
    for number in range(10):
        desk.put(*(f"long {number}/{name:04}" for name in range(3 * short)))
    desk.put("short/a")
    long = [desk.ask(f"long {number}") for number in range(10)]
    while desk.cache.turns.long.waiting < 5:
        desk.world.reactor.run_once(0)
    task = desk.ask("short")
    turns = 0
    while not task.done:
        desk.world.reactor.run_once(0)
        turns += 1
    assert not all(one.done for one in long)
    assert turns < 60
    assert [len(one) for one in desk.world.finish(*long)] == [3 * short] * 10


def test_long_readings_go_round_the_clients(desk: Desk, short: int) -> None:
    for number in range(6):
        desk.put(*(f"{number}/{name:04}" for name in range(3 * short)))
    ended: list[str] = []

    def note(client: str, _: object) -> None:
        ended.append(client)

    tasks = []
    for number, client in enumerate("aaaaab"):
        task = desk.ask(str(number), client=client)
        task.add_callback(partial(note, client))
        tasks.append(task)
    desk.world.finish(*tasks)
    assert ended.index("b") <= 2


def test_long_directories_that_wait_hold_nothing(desk: Desk, short: int) -> None:
    for number in range(4):
        desk.put(*(f"{number}/{name:04}" for name in range(3 * short)))
    before = open_descriptors()
    tasks = [desk.ask(str(number)) for number in range(4)]
    most = 0
    while not all(task.done for task in tasks):
        desk.world.reactor.run_once(0)
        if desk.cache.turns.long.waiting >= 2:
            most = max(most, len(opened_since(before)))
            rows = [one for one in gc.get_objects() if type(one).__name__ == "_Rows"]
            assert len(rows) <= 2
    assert 0 < most <= 4  # the one that is read: the directory, and scandir's duplicate


def test_more_names_than_are_listed(desk: Desk, short: int) -> None:
    desk.put(*map(str, range(4 * short)))
    for most in (1, short - 1, short, short + 1, 2 * short, 4 * short - 1, 4 * short):
        desk.most = most
        desk.world.clock.time += 1000
        found = desk.read()
        assert (len(found), found.complete) == (most, most == 4 * short)
    desk.most = 4 * short + 1
    desk.world.clock.time += 1000
    assert (len(desk.read()), desk.read().complete) == (4 * short, True)


# --- memory --------------------------------------------------------------------------------------


def test_the_directories_that_are_kept_are_bounded(
    desk: Desk, readings: list[tuple[str, ...]]
) -> None:
    for directory in "xyz":
        desk.put(*(f"{directory}/{number}" for number in range(100)))
    each = desk.read("x").bytes
    desk.cache._most_bytes = 2 * each + 1
    for directory in "xyx":
        desk.read(directory)
    assert (len(desk.cache), desk.cache.bytes) == (2, 2 * each)
    desk.read("z")  # evicts y, which was not used for the longest time
    desk.read("x")
    assert (len(desk.cache), len(readings)) == (2, 3)
    desk.read("y")
    assert len(readings) == 4


def test_a_directory_that_does_not_fit_is_listed_as_far_as_it_does(desk: Desk) -> None:
    desk.put(*(f"{'x' * 97}{number}" for number in range(10 * BATCH)))
    desk.cache._most_bytes = 5 * BATCH * 300  # a row holds the name and its key
    found = desk.read()
    assert not found.complete
    assert 2 * BATCH <= len(found) <= 7 * BATCH
    assert desk.cache.bytes <= desk.cache._most_bytes


def test_directories_that_nobody_asks_for_are_dropped(desk: Desk) -> None:
    desk.put("sub/a", "b")
    desk.read()
    desk.world.clock.time += IDLE - 1
    desk.cache.drop_idle()
    desk.read("sub")
    assert len(desk.cache) == 2
    desk.world.clock.time += 1
    desk.cache.drop_idle()
    assert len(desk.cache) == 1
    desk.world.clock.time += IDLE
    desk.cache.drop_idle()
    assert (len(desk.cache), desk.cache.bytes) == (0, 0)


def test_equal_contents_have_equal_digests(desk: Desk) -> None:
    desk.put("x/a", "y/a", "z/ab")
    for path in desk.directory.rglob("*a*"):
        os.utime(path, (5, 5))
    same, other = desk.read("x").digest, desk.read("y").digest
    assert same == other != desk.read("z").digest
    digests = {same}
    for size, when in ((6, 5), (5, 6)):
        (desk.directory / "y" / "a").write_bytes(bytes(size))
        os.utime(desk.directory / "y" / "a", (when, when))
        desk.world.clock.time += 100
        digests.add(desk.read("y").digest)
    (desk.directory / "y" / "a").unlink()
    digests.add(desk.read("y").digest)
    (desk.directory / "y" / "a").mkdir()
    os.utime(desk.directory / "y" / "a", (5, 5))
    digests.add(desk.read("y").digest)
    assert len(digests) == 5


def test_the_constants_fit_each_other() -> None:
    assert directory_cache.LEAST_AGE < directory_cache.MOST_AGE
    assert directory_reader.SHORT % BATCH == 0
