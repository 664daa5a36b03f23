"""The life of one upload: whole and at once, or nothing left, even if the server is killed."""

import errno
import fcntl
import logging
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from reactor import Cancelled, Future, PoolFull, ProtocolError
from reactor.tasks.futures import Lane
from reactor.web.storage.locks import DirectoryBusy, lock_while_open, try_lock
from reactor.web.storage.safe_path import Root, place_in
from reactor.web.uploads import atomic_file
from reactor.web.uploads.atomic_file import AtomicFile
from reactor.web.uploads.publish import TEMPORARY, publish_file, remove_name
from reactor.web.uploads.sweep import sweep
from tests.support.coroutine_driver import Play, Stage, drive, fail
from tests.support.upload_files import LEFT, take_name_before_link, tree

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closes_files")]


def begun(site: Path, name: str, content: bytes, condition: Any = None) -> AtomicFile:
    upload = AtomicFile(Root(site), tuple(name.split("/")), condition)
    upload.begin()
    upload.write(content)
    return upload


def meanwhile(call: str, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run an action right before the first call of this function."""
    real, actions = getattr(os, call), [action]

    def acting(*arguments: Any, **named: Any) -> Any:
        if actions:
            actions.pop()()
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, acting)


def must_be_free(status: os.stat_result | None) -> None:
    if status is not None:
        raise ProtocolError(412, "It is there.")


class MustBe:
    """A precondition: the file is the one that is there now."""

    def __init__(self, path: Path) -> None:
        self._inode = path.stat().st_ino

    def __call__(self, status: os.stat_result | None) -> None:
        if status is None or status.st_ino != self._inode:
            raise ProtocolError(412, "It is another.")


def is_held(path: Path) -> bool:
    """Whether another process would find the file, or directory, locked."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


# --- what a commit says --------------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
def test_stored(site: Path) -> None:
    directory = (site / "sub").stat()
    for replaced in (False, True):
        upload = begun(site, "sub/a", b"12")
        upload.write(b"345")
        assert upload.size == 5
        stored = upload.commit()
        assert stored == (replaced, (directory.st_dev, directory.st_ino, b"a"))
        assert upload.place == stored.place
    assert tree(site) == {"sub/a": b"12345"}


@pytest.mark.usefixtures("kind")
def test_place_through_a_link_is_that_of_the_directory(site: Path) -> None:
    (site / "link").symlink_to("sub")
    directory = os.open(site / "sub", os.O_RDONLY)
    assert begun(site, "link/ü", b"").commit().place == place_in(directory, "ü".encode())
    os.close(directory)


@pytest.mark.usefixtures("kind")
def test_after_a_commit_that_could_not_sync_the_directory(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is published, whole; only a crash may undo that."""
    upload = begun(site, "a", b"x")
    with monkeypatch.context() as patch:
        fail("fsync", errno.EIO, patch, after=1)
        with pytest.raises(OSError):
            upload.commit()
    upload.discard()
    assert upload.place is not None
    assert tree(site) == {"a": b"x"}


# --- conditions ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
def test_condition_is_asked_before_and_at_the_end(site: Path) -> None:
    asked: list[int | None] = []
    upload = AtomicFile(
        Root(site), ("a",), lambda status: asked.append(None if status is None else status.st_size)
    )
    upload.begin()
    assert asked == [None]
    upload.write(b"x")
    (site / "a").write_bytes(b"123")
    assert upload.commit().replaced
    assert asked == [None, 3]


@pytest.mark.usefixtures("kind")
def test_condition_sees_the_file_behind_a_link(site: Path) -> None:
    (site / "sub" / "b").write_bytes(b"12345")
    (site / "a").symlink_to("sub/b")
    seen = []

    def look(status: os.stat_result | None) -> None:
        assert status is not None
        seen.append((stat.S_ISREG(status.st_mode), status.st_size))

    begun(site, "a", b"x", look).commit()
    assert seen == [(True, 5)] * 2
    assert tree(site) == {"a": b"x", "sub/b": b"12345"}


@pytest.mark.usefixtures("kind")
def test_condition_that_fails_at_once(site: Path) -> None:
    (site / "a").write_bytes(b"old")
    upload = AtomicFile(Root(site), ("a",), must_be_free)
    with pytest.raises(ProtocolError):
        upload.begin()
    upload.discard()
    assert tree(site) == {"a": b"old"}


@pytest.mark.usefixtures("kind")
def test_other_refusals_come_before_the_condition(site: Path) -> None:
    """RFC 9110, section 13.2.1: it counts only where the response would otherwise be a success."""

    def never(status: os.stat_result | None) -> None:
        raise AssertionError

    (site / "taken").write_bytes(b"")
    for name in ("sub", "taken/a"):
        upload = AtomicFile(Root(site), tuple(name.split("/")), never)
        with pytest.raises((ProtocolError, NotADirectoryError)):
            upload.begin()


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("change", ["made", "replaced", "removed", "written"])
def test_condition_that_fails_at_the_end(site: Path, change: str) -> None:
    path = site / "a"
    if change != "made":
        path.write_bytes(b"old")
    condition = must_be_free if change == "made" else MustBe(path)
    if change == "written":

        def condition(status: os.stat_result | None, size: int = 3) -> None:
            if status is None or status.st_size != size:
                raise ProtocolError(412, "It was written.")

    upload = begun(site, "a", b"mine", condition)
    if change == "removed":
        path.unlink()
    elif change == "replaced":
        begun(site, "a", b"theirs").commit()
    else:
        path.write_bytes(b"theirs")
    with pytest.raises(ProtocolError) as caught:
        upload.commit()
    assert caught.value.status == 412
    upload.discard()
    assert tree(site) == ({} if change == "removed" else {"a": b"theirs"})


@pytest.mark.usefixtures("kind")
def test_name_that_is_taken_under_the_lock_by_a_program_without_locks(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """link(2) notices what rename(2) would overwrite."""
    upload = begun(site, "a", b"mine", must_be_free)
    take_name_before_link(site, monkeypatch)
    with pytest.raises(DirectoryBusy):
        upload.commit()
    assert tree(site)["a"] == b"theirs"
    with pytest.raises(ProtocolError) as caught:  # a second look
        upload.commit()
    assert caught.value.status == 412
    upload.discard()
    assert tree(site) == {"a": b"theirs"}


@pytest.mark.usefixtures("kind")
def test_two_that_both_want_to_be_the_first(site: Path) -> None:
    one, two = begun(site, "a", b"1", must_be_free), begun(site, "a", b"2", must_be_free)
    assert not two.commit().replaced
    with pytest.raises(ProtocolError) as caught:
        one.commit()
    assert caught.value.status == 412
    one.discard()
    assert tree(site) == {"a": b"2"}


def _commit(waiting: list[AtomicFile], one: int, outcomes: list[int]) -> None:
    try:
        waiting[one].commit()
        outcomes[one] = 201
    except ProtocolError as error:
        outcomes[one] = error.status
        waiting[one].discard()


@pytest.mark.usefixtures("kind")
def test_many_that_all_want_to_be_the_first(site: Path) -> None:
    """On real threads: one wins, and its whole file."""
    for number in range(20):
        name = f"f{number}"
        waiting = [begun(site, name, b"%d" % one * 1000, must_be_free) for one in range(4)]
        outcomes = [0] * 4
        threads = [
            threading.Thread(target=_commit, args=(waiting, one, outcomes)) for one in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == [201, 412, 412, 412]
        assert (site / name).read_bytes() == b"%d" % outcomes.index(201) * 1000
    assert len(tree(site)) == 20


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_condition_where_there_are_no_hard_links(
    site: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_file, "_NAMELESS", 0)
    fail("link", code, monkeypatch)
    assert not begun(site, "a", b"x", must_be_free).commit().replaced
    assert tree(site) == {"a": b"x"}


@pytest.mark.usefixtures("kind")
def test_condition_and_a_disk_that_is_full_at_the_end(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begun(site, "a", b"x", must_be_free)
    fail("link", errno.ENOSPC, monkeypatch)
    with pytest.raises(OSError):
        upload.commit()
    upload.discard()
    assert tree(site) == {}


@pytest.mark.usefixtures("kind")
def test_a_published_file_has_one_name(site: Path) -> None:
    for condition in (None, must_be_free):
        begun(site, "a", b"x", condition).commit()
        assert (site / "a").stat().st_nlink == 1
        assert os.listdir(site / "sub") == []
        (site / "a").unlink()


# --- in order ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
def test_directory_that_another_process_has_locked(site: Path) -> None:
    (site / "a").write_bytes(b"old")
    upload = begun(site, "a", b"new")
    directory = os.open(site, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    for _ in range(2):
        with pytest.raises(DirectoryBusy):
            upload.commit()
        assert (site / "a").read_bytes() == b"old"
    with pytest.raises(DirectoryBusy):
        remove_name(Root(site), ("a",), None)
    os.close(directory)
    assert upload.commit().replaced
    assert tree(site) == {"a": b"new"}


@pytest.mark.usefixtures("kind")
def test_the_lock_is_not_held_while_bytes_go_to_the_disk(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begun(site, "a", b"x", lambda status: None)
    real = os.fsync
    synced = []

    def fsync(descriptor: int) -> None:
        assert not is_held(site)
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    upload.commit()
    assert synced == [False, True]


@pytest.mark.usefixtures("kind")
def test_the_bytes_are_synced_once(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begun(site, "a", b"x")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    directory = os.open(site, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    with pytest.raises(DirectoryBusy):
        upload.commit()
    os.close(directory)
    upload.commit()
    assert len(synced) == 2  # the file's and the directory's


@pytest.mark.usefixtures("kind")
def test_condition_and_rename_are_in_order(site: Path) -> None:
    """A program that takes the same lock in between must wait."""
    held = []
    upload = begun(site, "a", b"x", lambda status: held.append(is_held(site)))
    upload.commit()
    assert held == [False, True]


def test_publish_a_file_that_another_program_has_made(site: Path) -> None:
    (site / "sub" / LEFT).write_bytes(b"whole")
    directory = os.open(site / "sub", os.O_RDONLY)
    stored = publish_file(Root(site), ("sub", "a"), directory, LEFT, must_be_free)
    assert stored == (False, place_in(directory, b"a"))
    assert not is_held(site / "sub")
    (site / "sub" / LEFT).write_bytes(b"again")
    with pytest.raises(ProtocolError):
        publish_file(Root(site), ("sub", "a"), directory, LEFT, must_be_free)
    assert publish_file(Root(site), ("sub", "a"), directory, LEFT, None).replaced
    os.close(directory)
    assert tree(site) == {"sub/a": b"again"}


# --- removing ------------------------------------------------------------------------------------


def test_remove(site: Path) -> None:
    (site / "sub" / "a").write_bytes(b"x")
    directory = (site / "sub").stat()
    assert remove_name(Root(site), ("sub", "a"), None) == (directory.st_dev, directory.st_ino, b"a")
    assert tree(site) == {}
    with pytest.raises(FileNotFoundError):
        remove_name(Root(site), ("sub", "a"), None)


def test_remove_a_link(site: Path) -> None:
    (site / "sub" / "a").write_bytes(b"x")
    (site / "link").symlink_to("sub/a")
    remove_name(Root(site), ("link",), MustBe(site / "sub" / "a"))
    assert tree(site) == {"sub/a": b"x"}
    assert not (site / "link").is_symlink()


def test_remove_with_a_condition(site: Path) -> None:
    (site / "a").write_bytes(b"x")
    condition = MustBe(site / "a")
    (site / "b").write_bytes(b"y")
    with pytest.raises(ProtocolError) as caught:
        remove_name(Root(site), ("b",), condition)
    assert caught.value.status == 412
    remove_name(Root(site), ("a",), condition)
    with pytest.raises(FileNotFoundError):  # not 412: section 13.2.1
        remove_name(Root(site), ("a",), condition)
    assert tree(site) == {"b": b"y"}


def test_remove_is_on_the_disk(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "a").write_bytes(b"x")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda directory: synced.append(os.listdir(directory)))
    remove_name(Root(site), ("a",), None)
    assert synced == [["sub"]]


# --- what is in the making is held ---------------------------------------------------------------


def test_named_file_is_held_from_its_first_byte_on(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_file, "_NAMELESS", 0)
    upload = AtomicFile(Root(site), ("a",))
    upload.begin()
    (temporary,) = [path for path in site.iterdir() if path.is_file()]
    assert TEMPORARY.fullmatch(temporary.name)
    assert len(temporary.name) < 32
    assert is_held(temporary)
    assert drive(sweep(Root(site))) == 0
    upload.write(b"x")
    upload.commit()
    assert tree(site) == {"a": b"x"}


def test_nameless_file_is_held_when_it_has_a_name(
    site: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between link and rename it has one that a sweep looks for."""
    upload = begun(site, "a", b"x")
    swept = []

    def look() -> None:
        swept.append([path.name for path in site.glob(".*.part")])
        assert drive(sweep(Root(site))) == 0

    meanwhile("replace", look, monkeypatch)
    upload.commit()
    assert len(swept[0]) == 1
    assert tree(site) == {"a": b"x"}


def test_sweep_that_is_faster_than_our_lock(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a sweep removes before it is locked is made anew."""
    monkeypatch.setattr(atomic_file, "_NAMELESS", 0)
    swept: list[int] = []

    def late(file: int) -> bool:
        if len(swept) < 2:
            swept.append(drive(sweep(Root(site))))
        return lock_while_open(file)

    monkeypatch.setattr(atomic_file, "lock_while_open", late)
    begun(site, "a", b"x").commit()
    assert swept == [1, 1]
    assert tree(site) == {"a": b"x"}


def test_sweeps_without_end(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_file, "_NAMELESS", 0)
    monkeypatch.setattr(atomic_file, "lock_while_open", lambda file: False)
    upload = AtomicFile(Root(site), ("a",))
    with pytest.raises(ProtocolError) as caught:
        upload.begin()
    assert caught.value.status == 503
    upload.discard()
    assert tree(site) == {}


def test_directory_that_goes_meanwhile(site: Path, kind: str) -> None:
    """It is made again, unless an unfinished file that had a name was removed with it."""
    upload = begun(site, "sub/a", b"x")
    shutil.rmtree(site / "sub")
    if kind == "named":
        with pytest.raises(FileNotFoundError):
            upload.commit()
    else:
        assert not upload.commit().replaced
    upload.discard()
    assert tree(site) == ({} if kind == "named" else {"sub/a": b"x"})


def test_sweep_that_has_the_lock_before_us(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is about to remove the file, but has not done so yet."""
    monkeypatch.setattr(atomic_file, "_NAMELESS", 0)
    others: list[int] = []

    def late(file: int) -> bool:
        if not others:
            (name,) = site.glob(".*.part")
            others.append(os.open(name, os.O_WRONLY))
            assert try_lock(others[0])
        return lock_while_open(file)

    monkeypatch.setattr(atomic_file, "lock_while_open", late)
    upload = begun(site, "a", b"x")
    assert len(list(site.glob(".*.part"))) == 1
    os.close(others[0])
    upload.commit()
    assert tree(site) == {"a": b"x"}


@pytest.mark.slow
def test_sweep_while_uploads_come_and_go(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On real threads: no unfinished file is ever lost."""
    monkeypatch.setattr(atomic_file, "_NAMELESS", 0)
    over = threading.Event()
    problems: list[BaseException] = []

    def sweeping() -> None:
        try:
            while not over.is_set():
                drive(sweep(Root(site)))
        except BaseException as error:
            problems.append(error)
            raise

    thread = threading.Thread(target=sweeping)
    thread.start()
    try:
        for number in range(150):
            begun(site, f"f{number}", b"%d" % number, must_be_free if number % 2 else None).commit()
    finally:
        over.set()
        thread.join()
    assert not problems
    assert tree(site) == {f"f{number}": b"%d" % number for number in range(150)}


# --- the sweep -----------------------------------------------------------------------------------


def test_sweep(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    (site / "sub" / "deep").mkdir()
    for directory in (site, site / "sub", site / "sub" / "deep"):
        (directory / LEFT).write_bytes(b"left over")
        (directory / "file").write_bytes(b"x")
    with caplog.at_level(logging.INFO, "reactor"):
        assert drive(sweep(Root(site))) == 3
    assert sorted(record.getMessage().split()[1] for record in caplog.records) == [
        f"{LEFT},",
        f"sub/{LEFT},",
        f"sub/deep/{LEFT},",
    ]
    assert set(tree(site)) == {"file", "sub/file", "sub/deep/file"}
    assert drive(sweep(Root(site))) == 0


@pytest.mark.parametrize(
    "name",
    [
        "0123456789abcdef.part",
        ".0123456789abcde.part",
        ".0123456789abcdef0.part",
        ".0123456789ABCDEF.part",
        ".0123456789abcdeg.part",
        ".0123456789abcdef.part2",
        ".0123456789abcdef.part\n",
        "..0123456789abcdef.part",
        "\n.0123456789abcdef.part",
        ".0123456789abcdef-part",
        ".part",
    ],
)
def test_sweep_knows_its_own(site: Path, name: str) -> None:
    (site / name).write_bytes(b"x")
    assert drive(sweep(Root(site))) == 0
    assert tree(site) == {name: b"x"}


@pytest.mark.timeout(10)  # the FIFO
def test_sweep_leaves_what_is_no_file(site: Path) -> None:
    (site / "sub" / LEFT).mkdir()
    (site / "sub" / LEFT / "a").write_bytes(b"x")
    os.mkfifo(site / LEFT)
    (site / LEFT.replace("0", "1")).symlink_to("sub/b")
    (site / "sub" / "b").write_bytes(b"x")
    before = sorted(site.rglob("*"))
    assert drive(sweep(Root(site))) == 0
    assert sorted(site.rglob("*")) == before


def test_sweep_follows_no_links(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / LEFT).write_bytes(b"x")
    (site / "out").symlink_to("../outside")
    (site / "loop").symlink_to(".")
    (site / "sub" / LEFT).write_bytes(b"x")
    (site / "again").symlink_to("sub")
    opened = []
    open_directory = Root.open_directory

    def spy(root: Root, segments: Sequence[str]) -> int:
        opened.append(segments)
        return open_directory(root, segments)

    monkeypatch.setattr(Root, "open_directory", spy)
    assert drive(sweep(Root(site))) == 1
    assert opened == [(), ("sub",)]
    assert (outside / LEFT).exists()


def test_sweep_looks_only_where_uploads_can_go(site: Path) -> None:
    (site / ".git").mkdir()
    (site / ".git" / LEFT).write_bytes(b"x")
    odd = os.fsencode(site) + b"/\xff"
    os.mkdir(odd)
    with open(odd + b"/" + LEFT.encode(), "wb"):
        pass
    assert drive(sweep(Root(site))) == 0
    assert os.listdir(odd) == [LEFT.encode()]
    assert (site / ".git" / LEFT).exists()


def test_sweep_works_in_short_jobs(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reactor.web.uploads.sweep._BATCH", 10)
    for number in range(35):
        (site / f".{number:016x}.part").touch()
        (site / f"file{number}").touch()
    stage, jobs = Stage(), 0
    play = Play(sweep(Root(site)), stage)
    while play.operation is not None:
        before = len(os.listdir(site))
        play.step()
        jobs += 1
        assert before - len(os.listdir(site)) <= 10
    assert play.result == 35
    assert jobs >= 9
    assert len(tree(site)) == 35


def test_sweep_that_is_cancelled_leaves_nothing_open(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reactor.web.uploads.sweep._BATCH", 1)
    for number in range(5):
        (site / f"file{number}").touch()
    for steps in range(5):
        play = Play(sweep(Root(site)), Stage())
        for _ in range(steps):
            play.step()
        with pytest.raises(Cancelled):
            play.throw(Cancelled())
        del play


def test_sweep_waits_for_a_pool_that_is_full(site: Path) -> None:
    (site / LEFT).touch()
    refusals = [3]

    class FullStage(Stage):
        def submit(self, lane: Lane, function: Callable[..., Any], *args: Any) -> Future[Any]:
            if refusals[0]:
                refusals[0] -= 1
                future: Future[Any] = Future()
                future.set_exception(PoolFull())
                return future
            return super().submit(lane, function, *args)

    play = Play(sweep(Root(site)), FullStage())
    while play.operation is not None:
        play.step()
    assert play.result == 1


@pytest.mark.parametrize(
    ("call", "code", "logged"),
    [
        ("open", errno.EACCES, True),
        ("open", errno.ENOENT, False),
        ("scandir", errno.EIO, True),
        ("unlink", errno.EROFS, True),
        ("unlink", errno.ENOENT, False),
    ],
)
def test_sweep_goes_on_after_errors(
    site: Path,
    call: str,
    code: int,
    logged: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (site / LEFT).touch()
    root = Root(site)
    fail(call, code, monkeypatch)
    assert drive(sweep(root)) == 0
    assert bool(caplog.records) == logged
    assert (site / LEFT).exists()


def test_sweep_where_files_cannot_be_locked(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot know which files are left over, and must not guess."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    (site / LEFT).touch()
    monkeypatch.setattr(fcntl, "flock", flock)
    assert drive(sweep(Root(site))) == 0
    assert (site / LEFT).exists()
    for kept in (0, atomic_file._NAMELESS):
        monkeypatch.setattr(atomic_file, "_NAMELESS", kept)
        begun(site, "a", b"x").commit()  # uploads work as they can
    assert set(tree(site)) == {"a", LEFT}


# --- a process that is killed --------------------------------------------------------------------

_SCRIPT = """
import os, sys
from reactor.web.storage.safe_path import Root
from reactor.web.uploads import atomic_file
site, named, where = sys.argv[1:]
if named == "named":
    atomic_file._NAMELESS = 0

def stop(*arguments, **named):
    print("there", flush=True)
    sys.stdin.read()

condition = (lambda status: None) if where == "unlink" else None
upload = atomic_file.AtomicFile(Root(site), ("a",), condition)
upload.begin()
upload.write(b"new" * 1000)
if where != "write":
    setattr(os, where, stop)
    upload.commit()
stop()
"""


@pytest.mark.system
@pytest.mark.parametrize("where", ["write", "fsync", "replace", "unlink"])
def test_killed(site: Path, kind: str, where: str) -> None:
    """At any moment: the old file or the new one, whole; and left-over files are swept."""
    if where != "unlink":  # that is after link(2), to a name that was free
        (site / "a").write_bytes(b"old")
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(site), kind, where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    before = tree(site)
    assert drive(sweep(Root(site))) == 0  # it is alive, and holds what it has
    assert tree(site) == before
    process.kill()
    process.communicate()
    named = kind == "named" or where in ("replace", "unlink")
    assert tree(site) == before
    assert len(before) == 1 + named
    assert before["a"] == (b"new" * 1000 if where == "unlink" else b"old")
    assert drive(sweep(Root(site))) == named
    assert tree(site) == {"a": before["a"]}
