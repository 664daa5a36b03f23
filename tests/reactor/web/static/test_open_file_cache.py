"""The cache of open files: nothing that is served is too old, nothing that nobody has stays open.

Walks run when a test says so, and their results come when it says so, on the tasks that the server
has: so every order of a walk, a change, a cancellation and a drop can be played.
"""

import errno
import gc
import os
import resource
import shutil
import socket
import tempfile
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reactor import Cancelled, Future, PoolFull, ProtocolError
from reactor.tasks.futures import Lane
from reactor.tasks.task import Runtime, Task
from reactor.web.static import open_file_cache
from reactor.web.static.open_file_cache import DESCRIPTOR_SHARE, Entry, OpenFileCache
from reactor.web.storage.safe_path import Place, Root, place_in
from tests.support.coroutine_driver import open_descriptors

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closes_files")]

T = TypeVar("T")

AGE = 1.0
IDLE = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class _Job:
    """The work of a thread, and its report to the loop."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._call = call
        self._outcome: Callable[[], None] | None = None

    def work(self) -> None:
        try:
            result = self._call()
        except Exception as error:
            problem = error
            self._outcome = lambda: self.future.set_exception(problem)
        else:
            self._outcome = lambda: self.future.set_result(result)

    def deliver(self) -> None:
        if self._outcome is None:
            self.work()
        outcome, self._outcome = self._outcome, None
        assert outcome is not None
        outcome()


class Crew:
    """A runtime whose threads and turns are the test's."""

    cancel_timeout = 1.0

    def __init__(self) -> None:
        self.jobs: list[_Job] = []
        self._soon: deque[Callable[[], None]] = deque()

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        self._soon.append(lambda: (function(*arguments), None)[1])

    def call_later(self, seconds: float, function: Callable[..., object]) -> Any:
        class Timer:
            def cancel(self) -> None: ...

        return Timer()

    def submit(self, lane: Lane, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        assert lane is Lane.FILES
        self.jobs.append(_Job(lambda: function(*arguments)))
        return self.jobs[-1].future

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Task[T]:
        return Task(cast(Runtime, self), coroutine, copy_context())

    def step(self) -> None:
        """One callback of the loop."""
        self._soon.popleft()()

    def settle(self) -> None:
        while self._soon:
            self.step()

    def finish(self, job: int = 0) -> None:
        """Run the job, deliver its result, and let the loop go on."""
        self.jobs.pop(job).deliver()
        self.settle()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "a.txt").write_text("a")
    (site / "sub" / "b.txt").write_text("b")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secret.txt.gz").write_text("secret")
    return site


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def crew() -> Crew:
    return Crew()


def make(site: Path, clock: Clock, *, most: int = 100) -> OpenFileCache:
    return OpenFileCache(Root(site), most=most, age=AGE, idle=IDLE, clock=clock)


def begin(cache: OpenFileCache, crew: Crew, path: str) -> Task[Entry]:
    key = tuple(path.split("/"))
    return crew.spawn(cache.find(key, key))


def find(cache: OpenFileCache, crew: Crew, path: str) -> Entry:
    """Find as a request does: a fresh entry, or else a walk, here and now."""
    entry = cache.fresh(tuple(path.split("/")))
    if entry is not None:
        return entry
    task = begin(cache, crew, path)
    crew.finish()
    return task.result()


def content(entry: Entry) -> str:
    file = entry.found.plain.file
    return file.load(0, file.size).decode()


def place(path: Path) -> Place:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        return place_in(directory, path.name.encode())
    finally:
        os.close(directory)


def replace(path: Path, text: str) -> None:
    """Replace a file as uploads do."""
    new = path.with_name(".new")
    new.write_text(text)
    new.replace(path)


def held(site: Path) -> int:
    """The number of this process's descriptors of files below the directory."""
    return sum(target.startswith(f"{site}/") for target in open_descriptors().values())


# --- how long an entry is good -------------------------------------------------------------------


def test_one_walk_while_the_entry_is_fresh(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    assert cache.fresh(("a.txt",)) is None
    entry = find(cache, crew, "a.txt")
    assert content(entry) == "a"
    assert entry.found.plain.status.st_size == 1
    replace(site / "a.txt", "other")
    clock.now += AGE - 0.001
    assert cache.fresh(("a.txt",)) is entry
    assert content(entry) == "a"
    clock.now += 0.001
    assert cache.fresh(("a.txt",)) is None
    assert content(find(cache, crew, "a.txt")) == "other"
    assert crew.jobs == []


def test_find_does_not_walk_for_what_is_fresh(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    entry = find(cache, crew, "a.txt")
    task = begin(cache, crew, "a.txt")
    assert task.done
    assert task.result() is entry


def test_age_counts_from_before_the_walk(site: Path, clock: Clock, crew: Crew) -> None:
    """The result of a walk may be as old as its beginning."""
    cache = make(site, clock)
    task = begin(cache, crew, "a.txt")
    crew.jobs[0].work()
    clock.now += AGE
    crew.finish()
    assert content(task.result()) == "a"
    assert cache.fresh(("a.txt",)) is None


def test_same_files_are_kept(site: Path, clock: Clock, crew: Crew) -> None:
    (site / "a.txt.gz").write_text("gz")
    cache = make(site, clock)
    entry = find(cache, crew, "a.txt")
    entry.prepared = "what a response needs"
    number = entry.found.plain.file.descriptor
    for _ in range(3):
        clock.now += AGE
        assert find(cache, crew, "a.txt") is entry
        assert cache.fresh(("a.txt",)) is entry
        assert entry.prepared == "what a response needs"
        assert entry.found.plain.file.descriptor == number
        assert cache.descriptors == held(site) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda path: replace(path, "a"),
        lambda path: path.write_text("longer"),
        lambda path: path.touch(),
        lambda path: path.chmod(0o600),
        lambda path: path.with_suffix(".txt.gz").write_text("gz"),
    ],
    ids=["replaced", "written", "touched", "mode", "sibling"],
)
def test_a_changed_file_is_another_entry(
    site: Path, clock: Clock, crew: Crew, change: Callable[[Path], object]
) -> None:
    cache = make(site, clock)
    entry = find(cache, crew, "a.txt")
    change(site / "a.txt")
    clock.now += AGE
    assert find(cache, crew, "a.txt") is not entry
    assert entry.found.plain.file.closed
    assert cache.descriptors == held(site)


def test_a_deleted_file_does_not_stay_open(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    find(cache, crew, "a.txt")
    (site / "a.txt").unlink()
    clock.now += AGE
    with pytest.raises(FileNotFoundError):
        find(cache, crew, "a.txt")
    assert cache.descriptors == held(site) == 0
    (site / "a.txt").write_text("again")
    assert content(find(cache, crew, "a.txt")) == "again"


def test_a_missing_file_leaves_no_entry(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    with pytest.raises(FileNotFoundError):
        find(cache, crew, "late.txt")
    (site / "late.txt").write_text("late")
    assert content(find(cache, crew, "late.txt")) == "late"


# --- one walk for all ----------------------------------------------------------------------------


def test_requests_during_a_walk_share_it(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    tasks = [begin(cache, crew, "a.txt") for _ in range(10)]
    other = begin(cache, crew, "sub/b.txt")
    assert len(crew.jobs) == 2
    crew.finish()
    assert len({id(task.result()) for task in tasks}) == 1
    assert not other.done
    crew.finish()
    assert content(other.result()) == "b"
    assert cache.descriptors == held(site) == 2


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("none", FileNotFoundError),
        ("sub", IsADirectoryError),
        ("a.txt/b", NotADirectoryError),
        ("x" * 256, OSError),
    ],
)
def test_an_error_is_raised_for_all_that_wait(
    site: Path, clock: Clock, crew: Crew, path: str, kind: type[OSError]
) -> None:
    """Walking one after the other, the last of 100 on a slow disk would wait for 20 s."""
    cache = make(site, clock)
    tasks = [begin(cache, crew, path) for _ in range(10)]
    crew.finish()
    assert crew.jobs == []
    errors = []
    for task in tasks:
        with pytest.raises(kind) as caught:
            task.result()
        errors.append(caught.value)
    assert len({(type(error), error.errno, error.strerror) for error in errors}) == 1
    assert len(set(map(id, errors))) == 1  # SharedJob keeps the waiters' tracebacks apart


def test_a_walk_that_is_slower_than_the_age_is_for_all_who_wait(
    site: Path, clock: Clock, crew: Crew
) -> None:
    cache = make(site, clock)
    tasks = [begin(cache, crew, "a.txt") for _ in range(5)]
    crew.jobs[0].work()
    clock.now += 3 * AGE
    crew.finish()
    assert [content(task.result()) for task in tasks] == ["a"] * 5
    assert crew.jobs == []


def test_a_walk_that_is_too_old_is_not_shared(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    first = begin(cache, crew, "a.txt")
    crew.jobs[0].work()
    replace(site / "a.txt", "new")
    clock.now += AGE
    second = begin(cache, crew, "a.txt")
    third = begin(cache, crew, "a.txt")
    assert len(crew.jobs) == 2
    crew.finish(1)
    assert content(second.result()) == content(third.result()) == "new"
    crew.finish()
    assert first.result() is second.result() is cache.fresh(("a.txt",))  # the newer one's word
    del first, second, third
    assert cache.descriptors == held(site) == 1


def test_old_walk_that_ends_last_and_saw_the_same(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    tasks = [begin(cache, crew, "a.txt")]
    crew.jobs[0].work()
    clock.now += AGE
    tasks.append(begin(cache, crew, "a.txt"))
    crew.finish(1)
    crew.finish()
    assert tasks[0].result() is tasks[1].result()
    assert cache.fresh(("a.txt",)) is tasks[0].result()  # as new as the newer walk
    assert cache.descriptors == held(site) == 1


@pytest.mark.parametrize("worked", [False, True])
def test_a_leader_that_is_cancelled_holds_up_nobody(
    site: Path, clock: Clock, crew: Crew, worked: bool
) -> None:
    cache = make(site, clock)
    tasks = [begin(cache, crew, "a.txt") for _ in range(4)]
    if worked:
        crew.jobs[0].work()
    for gone in (0, 1, 3):
        tasks[gone].cancel()
        crew.settle()
        with pytest.raises(Cancelled):
            tasks[gone].result()
        assert len(crew.jobs) == 1  # the walk goes on for the others
    crew.finish()
    assert content(tasks[2].result()) == "a"
    assert crew.jobs == []
    del tasks
    assert cache.descriptors == held(site) == 1


def test_all_are_cancelled(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    tasks = [begin(cache, crew, "a.txt") for _ in range(3)]
    for task in reversed(tasks):
        task.cancel()
    crew.settle()
    assert len(crew.jobs) == 1
    crew.finish()
    assert cache.descriptors == held(site) == 1  # the result of the walk is kept
    assert content(find(cache, crew, "a.txt")) == "a"
    assert crew.jobs == []


def test_cancelled_between_the_walk_and_its_turn(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    tasks = [begin(cache, crew, "a.txt") for _ in range(2)]
    crew.jobs.pop().deliver()
    tasks[0].cancel()
    crew.settle()
    assert content(tasks[1].result()) == "a"
    assert cache.descriptors == held(site) == 1


def test_pool_that_is_too_busy(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    tasks = [begin(cache, crew, "a.txt") for _ in range(2)]
    crew.jobs.pop().future.set_exception(PoolFull())
    crew.settle()
    for task in tasks:
        with pytest.raises(ProtocolError):
            task.result()
    assert content(find(cache, crew, "a.txt")) == "a"


def test_dropped_before_a_waiter_has_its_turn(site: Path, clock: Clock, crew: Crew) -> None:
    """The waiter must not get a closed file, whose descriptor may be another file's."""
    cache = make(site, clock)
    tasks = [begin(cache, crew, "a.txt") for _ in range(2)]
    crew.jobs.pop().deliver()
    crew.step()
    assert tasks[0].done
    assert not tasks[1].done
    cache.close()
    crew.settle()
    entry = tasks[1].result()
    assert not entry.found.plain.file.closed
    assert content(entry) == "a"
    assert held(site) == 1
    del entry, tasks
    assert held(site) == 0


def test_walks_that_end_in_one_turn_do_not_walk_again(site: Path, clock: Clock, crew: Crew) -> None:
    """There are more of them than the cache may keep open."""
    paths = [f"f{number}" for number in range(20)]
    for path in paths:
        (site / path).write_text(path)
    cache = make(site, clock, most=2)
    tasks = [begin(cache, crew, path) for path in paths for _ in range(2)]
    for job in crew.jobs:
        job.deliver()
    assert len(crew.jobs) == len(paths)
    crew.settle()
    assert len(crew.jobs) == len(paths)
    assert [content(task.result()) for task in tasks] == [path for path in paths for _ in range(2)]
    crew.jobs.clear()
    del tasks, job
    assert held(site) == cache.descriptors == 2


# --- our own changes -----------------------------------------------------------------------------


def test_forget(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    find(cache, crew, "a.txt")
    other = find(cache, crew, "sub/b.txt")
    replace(site / "a.txt", "new")
    cache.forget(place(site / "a.txt"))
    assert cache.fresh(("a.txt",)) is None
    assert content(find(cache, crew, "a.txt")) == "new"
    assert cache.fresh(("sub", "b.txt")) is other
    assert cache.descriptors == held(site) == 2


ALIASES: list[tuple[str, str, str]] = [
    # the requested path, the changed path, and what that is
    ("a.txt", "a.txt", "own"),
    ("link", "a.txt", "link's end"),
    ("link", "link", "the link"),
    ("chain", "link", "a link on the way"),
    ("chain", "a.txt", "the end of two links"),
    ("directory/b.txt", "sub/b.txt", "below a directory's link"),
    ("directory/b.txt", "directory", "the directory's link"),
    ("absolute", "sub/b.txt", "the end of an absolute link"),
    ("sub/up", "a.txt", "the end of a link up"),
    ("a.txt", "a.txt.gz", "a sibling that comes"),
    ("a.txt", "a.txt.br", "a sibling that comes"),
    ("a.txt", "a.txt.zst", "a sibling that comes"),
    ("sub/b.txt", "sub/b.txt.gz", "a sibling that is there"),
    ("directory/b.txt", "sub/b.txt.gz", "a sibling below a directory's link"),
    ("link", "link.gz", "a sibling of a link"),
    ("linked", "sub/b.txt.gz", "the end of a sibling's link"),
    ("linked", "linked.gz", "a sibling's link"),
    ("dangling", "later.gz", "the end of a sibling's link that led nowhere"),
]


@pytest.mark.parametrize(("asked", "changed", "what"), ALIASES)
def test_every_name_that_decides_is_known(
    site: Path, clock: Clock, crew: Crew, asked: str, changed: str, what: str
) -> None:
    (site / "link").symlink_to("a.txt")
    (site / "chain").symlink_to("./link")
    (site / "directory").symlink_to("sub")
    (site / "absolute").symlink_to(site / "sub" / "b.txt")
    (site / "sub" / "up").symlink_to("../a.txt")
    (site / "sub" / "b.txt.gz").write_text("gz")
    (site / "linked").write_text("plain")
    (site / "linked.gz").symlink_to("sub/b.txt.gz")
    (site / "dangling").write_text("plain")
    (site / "dangling.gz").symlink_to("later.gz")
    cache = make(site, clock)
    entry = find(cache, crew, asked)
    cache.forget(place(site / "sub" / "other.txt"))
    assert cache.fresh(tuple(asked.split("/"))) is entry
    cache.forget(place(site / changed))
    assert cache.fresh(tuple(asked.split("/"))) is None, what
    assert cache.descriptors == held(site) == 0


def test_same_file_by_another_way(site: Path, clock: Clock, crew: Crew) -> None:
    """The names that decide are those of the last walk."""
    (site / "link").symlink_to("a.txt")
    (site / "way").symlink_to("a.txt")
    cache = make(site, clock)
    entry = find(cache, crew, "link")
    (site / "link").unlink()
    (site / "link").symlink_to("way")
    clock.now += AGE
    assert find(cache, crew, "link") is entry
    cache.forget(place(site / "way"))
    assert cache.fresh(("link",)) is None
    find(cache, crew, "link")
    (site / "link").unlink()
    (site / "link").symlink_to("a.txt")
    clock.now += AGE
    entry = find(cache, crew, "link")
    cache.forget(place(site / "way"))
    assert cache.fresh(("link",)) is entry
    assert cache._by_place.keys() == entry.found.places


def test_forget_drops_all_that_depend_and_no_other(site: Path, clock: Clock, crew: Crew) -> None:
    (site / "link").symlink_to("a.txt")
    os.link(site / "a.txt", site / "hard")
    cache = make(site, clock)
    for name in ("a.txt", "link", "hard", "sub/b.txt"):
        find(cache, crew, name)
    replace(site / "a.txt", "new")
    cache.forget(place(site / "a.txt"))
    assert cache.fresh(("a.txt",)) is cache.fresh(("link",)) is None
    assert cache.fresh(("hard",)) is not None  # this name still means the old file
    assert content(find(cache, crew, "hard")) == "a"
    assert cache.descriptors == held(site) == 2


@pytest.mark.parametrize("worked", [False, True], ids=["before", "after"])
def test_forget_during_a_walk(site: Path, clock: Clock, crew: Crew, worked: bool) -> None:
    """A request before the change may get either file; one after it gets the new one."""
    cache = make(site, clock)
    early = [begin(cache, crew, "a.txt") for _ in range(2)]
    if worked:
        crew.jobs[0].work()
    replace(site / "a.txt", "new")
    cache.forget(place(site / "a.txt"))
    late = begin(cache, crew, "a.txt")
    assert len(crew.jobs) == 2
    crew.finish()
    assert [content(task.result()) for task in early] == ["a" if worked else "new"] * 2
    assert cache.fresh(("a.txt",)) is None
    crew.finish()
    assert content(late.result()) == "new"
    assert cache.fresh(("a.txt",)) is late.result()
    del early, late
    assert cache.descriptors == held(site) == 1


def test_result_of_a_walk_comes_just_before_the_change_is_reported(
    site: Path, clock: Clock, crew: Crew
) -> None:
    cache = make(site, clock)
    early = begin(cache, crew, "a.txt")
    crew.jobs[0].work()
    replace(site / "a.txt", "new")
    crew.finish()
    assert content(early.result()) == "a"
    cache.forget(place(site / "a.txt"))
    assert content(find(cache, crew, "a.txt")) == "new"


def test_late_walk_does_not_bring_back_the_old_one(site: Path, clock: Clock, crew: Crew) -> None:
    """It began before the change, and ends after a walk that began after it."""
    cache = make(site, clock)
    early = begin(cache, crew, "a.txt")
    crew.jobs[0].work()
    replace(site / "a.txt", "new")
    cache.forget(place(site / "a.txt"))
    late = begin(cache, crew, "a.txt")
    crew.finish(1)
    crew.finish()
    assert content(early.result()) == "a"
    assert late.result() is cache.fresh(("a.txt",))
    assert content(late.result()) == "new"


def test_many_changes_keep_no_request_waiting(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    tasks = [begin(cache, crew, "a.txt") for _ in range(5)]
    cache.forget(place(site / "other"))
    crew.finish()
    assert all(task.done for task in tasks)
    assert crew.jobs == []


# --- who holds what ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["forget", "changed", "idle", "room", "close"])
def test_dropped_while_it_is_sent(site: Path, clock: Clock, crew: Crew, way: str) -> None:
    cache = make(site, clock, most=1)
    file = find(cache, crew, "a.txt").found.plain.file.hold()
    if way == "forget":
        cache.forget(place(site / "a.txt"))
    elif way == "changed":
        replace(site / "a.txt", "new")
        clock.now += AGE
        find(cache, crew, "a.txt")
    elif way == "idle":
        cache.close_idle()
        clock.now += IDLE
        cache.close_idle()
    elif way == "room":
        find(cache, crew, "sub/b.txt")
    cache.close()
    assert cache.descriptors == 0
    assert file.load(0, 1) == b"a"
    assert held(site) == 1
    file.release()
    assert file.closed
    assert held(site) == 0


def test_result_that_is_not_kept_closes_itself(site: Path, clock: Clock, crew: Crew) -> None:
    (site / "a.txt.gz").write_text("gz")
    cache = make(site, clock)
    task = begin(cache, crew, "a.txt")
    cache.forget(place(site / "other"))
    crew.finish()
    assert held(site) == 2
    file = task.result().found.plain.file.hold()
    del task
    assert held(site) == 1  # its sibling is gone, and it is there as long as it is somebody's
    file.release()
    del file
    assert held(site) == 0


def test_idle_files_are_closed(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock)
    find(cache, crew, "a.txt")
    find(cache, crew, "sub/b.txt")
    (site / "a.txt").unlink()
    for _ in range(5):
        clock.now += IDLE / 5
        cache.close_idle()
        find(cache, crew, "sub/b.txt")
    clock.now += IDLE / 5
    cache.close_idle()
    assert held(site) == cache.descriptors == 1  # nobody has asked for the first one
    clock.now += IDLE - 1
    find(cache, crew, "sub/b.txt")
    clock.now += 2 * IDLE
    cache.close_idle()
    cache.close_idle()
    assert held(site) == 1  # it was in use since the last look
    clock.now += IDLE
    cache.close_idle()
    assert held(site) == 0


# --- how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_bounded(site: Path, clock: Clock, crew: Crew, most: int) -> None:
    for number in range(20):
        (site / f"f{number}").write_text(str(number))
        if number % 3 == 0:
            (site / f"f{number}.gz").write_text("gz")
    cache = make(site, clock, most=most)
    for number in (*range(20), *range(20), 3, 3, 3, 5, 0, 19):
        entry = find(cache, crew, f"f{number}")
        assert content(entry) == str(number)
        assert cache.fresh((f"f{number}",)) is entry  # the newest stays in any case
        assert cache.descriptors == held(site)
        assert cache.descriptors <= max(most, len(entry.found.files()))


def test_second_chance(site: Path, clock: Clock, crew: Crew) -> None:
    for name in "abcdefg":
        (site / name).touch()
    cache = make(site, clock, most=3)
    for name in "abc":
        find(cache, crew, name)
    find(cache, crew, "d")  # all were used, so the oldest goes
    assert cache.fresh(("a",)) is None
    assert cache.fresh(("b",)) is not None
    find(cache, crew, "e")
    assert cache.fresh(("b",)) is not None  # used since the last look
    assert cache.fresh(("c",)) is None


def test_an_entry_in_constant_use_survives_a_crowd(site: Path, clock: Clock, crew: Crew) -> None:
    cache = make(site, clock, most=10)
    for number in range(100):
        (site / f"f{number}").touch()
        find(cache, crew, f"f{number}")
        if number == 10:  # they were all new, and one of them had to go
            hot = find(cache, crew, "a.txt")
        elif number > 10:
            assert cache.fresh(("a.txt",)) is hot


def test_eviction_takes_no_time(site: Path, clock: Clock, crew: Crew) -> None:
    """All of many entries are in use: each is examined once, and no more."""
    cache = make(site, clock, most=300)
    for number in range(300):
        (site / f"f{number}").touch()
        find(cache, crew, f"f{number}")
    clock.now += AGE / 2
    for number in range(300):
        assert cache.fresh((f"f{number}",)) is not None
    looks = count()

    class Watched(OrderedDict[tuple[str, ...], Entry]):
        def move_to_end(self, key: tuple[str, ...], last: bool = True) -> None:
            next(looks)
            super().move_to_end(key, last)

    cache._entries = Watched(cache._entries)
    find(cache, crew, "a.txt")
    assert next(looks) <= 301
    assert cache.descriptors == held(site) == 300


@pytest.mark.parametrize(
    ("soft", "most", "kept"),
    [
        (DESCRIPTOR_SHARE * 10, 100, 10),
        (DESCRIPTOR_SHARE * 10, 3, 3),
        (20, 100, 4),
        (resource.RLIM_INFINITY, 15, 15),
    ],
)
def test_bounded_by_what_the_process_may_have(
    site: Path,
    clock: Clock,
    crew: Crew,
    soft: int,
    most: int,
    kept: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, soft))
    cache = make(site, clock, most=most)
    for number in range(20):
        (site / f"f{number}").touch()
        find(cache, crew, f"f{number}")
    assert cache.descriptors == held(site) == kept


# --- siblings ------------------------------------------------------------------------------------


def test_siblings(site: Path, clock: Clock, crew: Crew) -> None:
    for suffix in ("gz", "br", "zst", "bz2", "GZ"):
        (site / f"a.txt.{suffix}").write_text(suffix)
    found = find(make(site, clock), crew, "a.txt").found
    assert {
        coding: one.file.load(0, one.file.size).decode() for coding, one in found.siblings.items()
    } == {"gzip": "gz", "br": "br", "zstd": "zst"}
    assert len(set(found.versions())) == 4


@pytest.mark.parametrize(
    ("offset", "served"),
    [
        *((-1_123_456_789, False), (-(10**9), False), (-123_456_790, False)),
        *((-123_456_789, True), (-123_456_788, False), (-1, False), (0, True), (1, True)),
    ],
)
def test_older_sibling_is_of_another_file(
    site: Path, clock: Clock, crew: Crew, offset: int, served: bool
) -> None:
    """The maker of a sibling may give it the file's time without the fraction of its second."""
    (site / "a.txt.gz").write_text("gz")
    when = 1_700_000_000_123_456_789
    os.utime(site / "a.txt", ns=(when, when))
    os.utime(site / "a.txt.gz", ns=(when + offset, when + offset))
    entry = find(make(site, clock), crew, "a.txt")
    assert ("gzip" in entry.found.siblings) is served
    del entry
    assert held(site) == 0


def test_older_sibling_that_is_made_anew(site: Path, clock: Clock, crew: Crew) -> None:
    (site / "a.txt.gz").write_text("old")
    os.utime(site / "a.txt.gz", ns=(0, 0))
    cache = make(site, clock)
    assert find(cache, crew, "a.txt").found.siblings == {}
    replace(site / "a.txt.gz", "new")
    cache.forget(place(site / "a.txt.gz"))
    assert set(find(cache, crew, "a.txt").found.siblings) == {"gzip"}


@pytest.mark.system
@pytest.mark.parametrize(
    "kind",
    ["outside", "directory", "fifo", "socket", "dangling", "hidden", "loop", "directory's link"],
)
@pytest.mark.timeout(10)
def test_sibling_that_is_none(site: Path, clock: Clock, crew: Crew, kind: str) -> None:
    path = site / "a.txt.gz"
    (site / ".hidden").write_text("secret")
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    else:
        targets = {
            "outside": "../secret.txt.gz",
            "dangling": "none",
            "hidden": ".hidden",
            "loop": "a.txt.gz",
            "directory's link": "sub",
        }
        path.symlink_to(targets[kind])
    found = find(make(site, clock), crew, "a.txt").found
    assert found.siblings == {}
    assert held(site.parent) == 1


def test_name_that_is_too_long_for_a_sibling(site: Path, clock: Clock, crew: Crew) -> None:
    (site / ("x" * 255)).write_text("long")
    assert content(find(make(site, clock), crew, "x" * 255)) == "long"


@pytest.mark.slow
def test_walk_that_fails_in_the_middle_leaves_nothing_open(
    site: Path, clock: Clock, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first n calls of open succeed, for every n until all do."""
    (site / "a.txt.gz").write_text("gz")
    (site / "sub" / "up").symlink_to("../a.txt")
    (site / "sub" / "up.gz").symlink_to("../a.txt.gz")
    really_open = os.open
    for most in range(40):
        calls = iter(range(most))

        def scarce(*arguments: Any, **named: Any) -> int:
            if next(calls, None) is None:  # noqa: B023
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return really_open(*arguments, **named)

        cache = make(site, clock)
        entry = None
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", scarce)
            with suppress(OSError):
                entry = find(cache, crew, "sub/up")
        gc.collect()
        assert held(site) == cache.descriptors == (len(entry.found.files()) if entry else 0)
        if entry and entry.found.siblings:
            break
    else:
        raise AssertionError("it needs too many calls")


# --- all of it, at random ------------------------------------------------------------------------

NAMES = ("a", "b", "a.gz", "sub/a", "sub/b")
LINKS = ("l", "sub/l", "to")
ASKED = (*NAMES, *LINKS, "to/a", "to/l", "to/to/b")


class Machine(RuleBasedStateMachine):
    """Files come, change and go, by this server or others; some requests wait meanwhile.

    A response is right if its path led to these bytes at some moment between the request, or `age`
    before it, and the response; and not before the last change of our own that was reported before
    the request came.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts = count()

    @initialize(most=st.integers(1, 8))
    def start(self, most: int) -> None:
        self.site = Path(tempfile.mkdtemp())
        (self.site / "sub").mkdir()
        self.clock, self.crew = Clock(), Crew()
        self.cache = make(self.site, self.clock, most=most)
        self.most = most
        self.history: list[tuple[float, dict[str, str | None]]] = []
        self.since: dict[str, int] = dict.fromkeys(ASKED, 0)  # by path: since which state
        self.waiting: list[tuple[str, float, int, Task[Entry]]] = []
        self.note()

    def note(self) -> None:
        """Where every path leads now."""
        state: dict[str, str | None] = {}
        for name in ASKED:
            real = Path(os.path.realpath(self.site / name))
            inside = real.is_relative_to(os.path.realpath(self.site))
            try:
                state[name] = real.read_text() if inside and real.is_file() else None
            except OSError:
                state[name] = None
        self.history.append((self.clock.now, state))

    def changed(self, name: str, own: bool) -> None:
        self.note()
        if own:
            self.cache.forget(place(self.site / name))
            now, before = self.history[-1][1], self.history[-2][1]
            for asked in ASKED:
                if now[asked] != before[asked]:
                    self.since[asked] = len(self.history) - 1

    @rule(name=st.sampled_from(NAMES), own=st.booleans())
    def write(self, name: str, own: bool) -> None:
        replace(self.site / name, f"{next(self.texts)}")
        self.changed(name, own)

    @rule(name=st.sampled_from(NAMES + LINKS), own=st.booleans())
    def remove(self, name: str, own: bool) -> None:
        path = self.site / name
        if path.is_symlink() or path.is_file():
            path.unlink()
            self.changed(name, own)

    @rule(
        link=st.sampled_from(LINKS),
        aim=st.sampled_from(["a", "b", "sub", "sub/a", "../a", "l", "to/a", ".", "../../x"]),
    )
    def link(self, link: str, aim: str) -> None:
        path = self.site / link
        path.unlink(missing_ok=True)
        path.symlink_to(aim)
        self.changed(link, own=False)

    @rule(seconds=st.sampled_from([0.0, 0.3, 0.5, 1.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def tidy(self) -> None:
        self.cache.close_idle()

    @rule(name=st.sampled_from(ASKED))
    def ask(self, name: str) -> None:
        entry = self.cache.fresh(tuple(name.split("/")))
        if entry is not None:
            self.check(name, self.clock.now, self.since[name], content(entry))
            return
        task = begin(self.cache, self.crew, name)
        self.waiting.append((name, self.clock.now, self.since[name], task))

    @precondition(lambda self: self.crew.jobs)
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.crew.jobs)).work()

    @precondition(lambda self: self.crew.jobs)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.crew.finish(data.draw(st.integers(0, len(self.crew.jobs) - 1)))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.waiting))[3].cancel()
        self.crew.settle()

    def check(self, name: str, when: float, since: int, text: str | None) -> None:
        allowed = set()
        for place, (_, state) in enumerate(self.history):
            # A state lasts until the next one begins.
            last = place + 1 == len(self.history)
            until = self.clock.now if last else self.history[place + 1][0]
            if place >= since and (last or until > when - AGE):
                allowed.add(state[name])
        assert text in allowed, (name, text, allowed)

    @invariant()
    def responses(self) -> None:
        for one in [one for one in self.waiting if one[3].done]:
            self.waiting.remove(one)
            name, when, since, task = one
            try:
                entry = task.result()
            except Cancelled:
                continue
            except OSError:
                self.check(name, when, since, None)
                continue
            if not entry.found.plain.file.closed:
                self.check(name, when, since, content(entry))

    @invariant()
    def counts(self) -> None:
        entries = self.cache._entries
        files = [file for one in entries.values() for file in one.found.files()]
        assert self.cache.descriptors == len(files)
        assert not any(file.closed for file in files)
        assert len(files) <= self.most or len(entries) == 1
        places: dict[Place, set[Any]] = {}
        for key, one in entries.items():
            for at in one.found.places:
                places.setdefault(at, set()).add(key)
        assert self.cache._by_place == places
        assert len(self.cache._walks) <= len(self.crew.jobs)

    def teardown(self) -> None:
        if not hasattr(self, "cache"):
            return
        try:
            while self.crew.jobs:
                self.crew.finish()
            self.responses()
            assert self.waiting == []
            self.cache.close()
            if held(self.site):
                gc.collect()
            assert held(self.site) == 0
        finally:
            shutil.rmtree(self.site)


TestMachine = Machine.TestCase
TestMachine.pytestmark = [pytest.mark.slow]  # type: ignore[attr-defined]
TestMachine.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_share_leaves_room_for_connections() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft // open_file_cache.DESCRIPTOR_SHARE <= max(4, soft // 8)
