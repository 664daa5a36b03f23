"""Partial uploads on the disk: whole or absent, locked by one process, and found again."""

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import ProtocolError
from reactor.web.storage.locks import lock_while_open
from reactor.web.storage.safe_path import Root
from reactor.web.uploads.metadata import Record
from reactor.web.uploads.partial_store import (
    FinishedUpload,
    InUse,
    PartialStore,
)
from reactor.web.uploads.partial_upload import PartialUpload
from reactor.web.uploads.publish import Published
from reactor.web.uploads.sweep import sweep
from tests.support.coroutine_driver import drive, open_descriptors, opened_since

NOW = 1_900_000_000.0
NAME = "A-bcdefghijklmnopqrst_"
RECORD = Record(("a.bin",), 10)


@pytest.fixture
def uploads(tmp_path: Path) -> PartialStore:
    return PartialStore(Root(tmp_path))


@pytest.fixture(autouse=True)
def no_descriptors_left() -> Any:
    before = open_descriptors()
    yield
    assert not opened_since(before)


def created(uploads: PartialStore, name: str, record: Record, now: float) -> PartialUpload:
    """An upload whose address its client knows."""
    part = uploads.create(name, record, now)
    part.kept = True
    return part


def reopened(uploads: PartialStore) -> PartialUpload:
    part = uploads.open(NAME)
    assert isinstance(part, PartialUpload)
    return part


def kept(
    uploads: PartialStore, now: float = NOW, age: float = 100.0
) -> list[tuple[str, int, bool]]:
    return [(it.name, it.size, it.finished) for it in uploads.inspect(uploads.names(), now, age)]


def test_an_upload_is_found_again(uploads: PartialStore, tmp_path: Path) -> None:
    part = created(uploads, NAME, Record(("ä", "b.bin"), 10, (("If-Match", '"é"'),)), NOW)
    part.write(b"abc")
    part.write(b"de")
    assert (part.size, part.unsynced) == (5, 5)
    part.sync(NOW + 1)
    assert part.unsynced == 0
    part.close()
    part = reopened(uploads)
    assert part.size == 5
    assert part.record == Record(("ä", "b.bin"), 10, (("If-Match", '"é"'),))
    assert part.changed == NOW + 1
    assert part.read(1, 3) == b"bcd"
    part.close()
    assert (tmp_path / ".uploads").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / f".uploads/{NAME}.json").stat().st_mode & 0o777 == 0o600


def test_opening_an_upload_does_not_restart_its_age(uploads: PartialStore) -> None:
    created(uploads, NAME, RECORD, NOW).close()
    part = reopened(uploads)
    part.sync(NOW + 50)
    part.close()
    assert reopened(uploads).changed == NOW


def test_an_upload_belongs_to_one_user_at_a_time(uploads: PartialStore) -> None:
    part = created(uploads, NAME, RECORD, NOW)
    with pytest.raises(InUse) as caught:
        uploads.open(NAME)
    assert caught.value.status == 503
    part.close()
    reopened(uploads).close()


def test_a_part_closes_itself(uploads: PartialStore) -> None:
    created(uploads, NAME, RECORD, NOW)
    reopened(uploads)


@pytest.mark.parametrize("closes", [True, False])
def test_an_upload_without_a_known_address_leaves_nothing(
    uploads: PartialStore, tmp_path: Path, closes: bool
) -> None:
    part = uploads.create(NAME, RECORD, NOW)
    assert not part.kept
    part.write(b"abc")
    if closes:
        part.close()
        assert part.closed
    del part
    assert os.listdir(tmp_path / ".uploads") == []


def test_a_closed_part_does_nothing(uploads: PartialStore) -> None:
    part = created(uploads, NAME, RECORD, NOW)
    part.close()
    part.close()
    with pytest.raises(RuntimeError):
        part.write(b"x")
    with pytest.raises(RuntimeError):
        part.sync(NOW)
    with pytest.raises(RuntimeError):
        part.remove()


def test_an_upload_becomes_its_file(uploads: PartialStore, tmp_path: Path) -> None:
    root = Root(tmp_path)
    part = created(uploads, NAME, RECORD, NOW)
    part.write(b"0123456789")
    part.sync(NOW)
    part.save(Record(("a.bin",), 10, (), ending=True), NOW + 5)
    stored = part.publish(root, None, 1)
    assert isinstance(stored, Published)
    assert not stored.replaced
    assert stored.place == part.place
    part.close()
    assert (tmp_path / "a.bin").read_bytes() == b"0123456789"
    assert (tmp_path / "a.bin").stat().st_nlink == 1
    assert sorted(os.listdir(tmp_path / ".uploads")) == [f"{NAME}.json"]
    assert uploads.open(NAME) == FinishedUpload(Record(("a.bin",), 10, (), ending=True), NOW + 5)
    assert kept(uploads) == [(NAME, 0, True)]
    uploads.forget(NAME)
    assert uploads.open(NAME) is None
    assert os.listdir(tmp_path / ".uploads") == []
    assert sorted(os.listdir(tmp_path)) == [".uploads", "a.bin"]


def test_killed_before_it_took_its_name(uploads: PartialStore, tmp_path: Path) -> None:
    """The record is `ending`, and the bytes are still here: the upload can be completed."""
    part = created(uploads, NAME, RECORD, NOW)
    part.save(Record(("a.bin",), 10, (), ending=True), NOW)
    part.close()
    assert kept(uploads) == [(NAME, 0, False)]
    reopened(uploads).close()


@pytest.mark.parametrize("conditions", [None, "*"])
def test_killed_after_it_took_its_name(
    uploads: PartialStore, tmp_path: Path, conditions: str | None
) -> None:
    """It has both names; completing it once more changes nothing, under any precondition."""

    def refuse(status: os.stat_result | None) -> None:
        raise ProtocolError(412, "There is one already.")

    part = created(uploads, NAME, RECORD, NOW)
    part.write(b"0123456789")
    part.sync(NOW)
    part.save(Record(("a.bin",), 10, (), ending=True), NOW)
    part.close()
    os.link(tmp_path / f".uploads/{NAME}.part", tmp_path / "a.bin")
    part = reopened(uploads)
    stored = part.publish(Root(tmp_path), refuse if conditions else None, 1)
    assert stored is not None
    part.close()
    assert (tmp_path / "a.bin").stat().st_nlink == 1
    assert isinstance(uploads.open(NAME), FinishedUpload)
    assert sorted(os.listdir(tmp_path)) == [".uploads", "a.bin"]


def test_killed_while_it_had_a_second_name(uploads: PartialStore, tmp_path: Path) -> None:
    """The sweep of the directory knows that name."""
    (tmp_path / "sub").mkdir()
    part = created(uploads, NAME, Record(("sub", "a"), None), NOW)
    names: list[str] = []

    def look(status: os.stat_result | None) -> None:
        names.extend(os.listdir(tmp_path / "sub"))
        os.link(tmp_path / "sub" / names[0], tmp_path / "sub" / f".{'0' * 16}.part")
        raise ProtocolError(412, "no")

    with pytest.raises(ProtocolError):
        part.publish(Root(tmp_path), look, 1)
    assert os.listdir(tmp_path / "sub") == [f".{'0' * 16}.part"]
    assert drive(sweep(Root(tmp_path))) == 0  # it is locked: the upload is at work
    part.close()
    assert drive(sweep(Root(tmp_path))) == 1
    reopened(uploads).close()


def test_a_condition_that_fails_leaves_the_bytes(uploads: PartialStore, tmp_path: Path) -> None:
    def refuse(status: os.stat_result | None) -> None:
        assert status is None
        raise ProtocolError(412, "no")

    part = created(uploads, NAME, RECORD, NOW)
    with pytest.raises(ProtocolError):
        part.publish(Root(tmp_path), refuse, 1)
    part.close()
    assert os.listdir(tmp_path) == [".uploads"]
    reopened(uploads).close()


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOSYS])
def test_bytes_that_have_to_be_copied(
    uploads: PartialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    part = created(uploads, NAME, Record(("a.bin",), 10, (), ending=True), NOW)
    monkeypatch.setattr(os, "link", link)
    assert part.publish(Root(tmp_path), None, 1) is None
    assert part.place is not None
    part.drop_bytes()
    part.close()
    assert isinstance(uploads.open(NAME), FinishedUpload)


def test_a_removed_upload_leaves_nothing(uploads: PartialStore, tmp_path: Path) -> None:
    part = created(uploads, NAME, RECORD, NOW)
    (tmp_path / f".uploads/{NAME}.new").write_bytes(b"half")
    part.remove()
    assert os.listdir(tmp_path / ".uploads") == []
    assert uploads.open(NAME) is None


def test_a_record_goes_before_the_bytes(
    uploads: PartialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a server killed in between would report a cancelled upload as finished."""
    part = created(uploads, NAME, Record(("a",), 0, (), ending=True), NOW)
    gone: list[str] = []
    real = os.unlink

    def unlink(name: str, *, dir_fd: int | None = None) -> None:
        real(name, dir_fd=dir_fd)
        gone.append(name)

    monkeypatch.setattr(os, "unlink", unlink)
    part.remove()
    assert gone == [f"{NAME}.json", f"{NAME}.part"]


# --- damage --------------------------------------------------------------------------------------


GOOD: dict[str, Any] = {"segments": ["a"], "length": 3, "conditions": [], "ending": False}


def is_record(data: bytes) -> bool:
    try:
        return bool(Record.decode(data))
    except ValueError:
        return False


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record(("ü", 'q"'), None, (("If-Match", '"x"'), ("If-None-Match", "*")), True)
    assert Record.decode(record.encode()) == record
    assert Record.decode(json.dumps(GOOD).encode()) == Record(("a",), 3)


@pytest.mark.parametrize(
    "change",
    [
        {"segments": []},
        {"segments": [".."]},
        {"segments": ["a", ".uploads"]},
        {"segments": ["a/b"]},
        {"segments": ["a\0"]},
        {"segments": ["\ud800"]},
        {"segments": [1]},
        {"segments": None},
        {"length": -1},
        {"length": 1.5},
        {"length": True},
        {"length": "3"},
        {"conditions": [["If-Match", "a\r\nX: y"]]},
        {"conditions": [["If-Match", "€"]]},
        {"conditions": [["If-Match"]]},
        {"conditions": [[1, 2]]},
        {"conditions": 5},
        {"ending": 1},
        {"ending": None},
    ],
)
def test_invalid_records(change: dict[str, Any]) -> None:
    assert not is_record(json.dumps(GOOD | change).encode())


@pytest.mark.slow
@given(st.binary() | st.recursive(st.none(), lambda it: st.lists(it) | st.tuples(it)).map(repr))
def test_a_record_of_anything_is_refused(data: bytes | str) -> None:
    assert not is_record(data if isinstance(data, bytes) else data.encode())


@given(st.integers(0, 80), st.binary(min_size=1, max_size=3))
def test_a_damaged_record_is_one_or_none(place: int, dirt: bytes) -> None:
    data = bytearray(json.dumps(GOOD).encode())
    data[place : place + len(dirt)] = dirt
    try:
        record = Record.decode(bytes(data))
    except ValueError:
        return
    assert record.segments


def test_deep_brackets_are_no_record() -> None:
    assert not is_record(b"[" * 200_000)


@pytest.mark.parametrize(
    "damage",
    [
        lambda it: (it / f"{NAME}.json").unlink(),
        lambda it: (it / f"{NAME}.json").write_bytes(b""),
        lambda it: (it / f"{NAME}.json").write_bytes(b'{"segments": ["../x"]}'),
        lambda it: (it / f"{NAME}.part").unlink(),
        lambda it: (it / f"{NAME}.part").write_bytes(b"more than ten bytes"),
    ],
)
def test_a_damaged_upload_is_not_there(
    uploads: PartialStore, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    created(uploads, NAME, RECORD, NOW).close()
    damage(tmp_path / ".uploads")
    assert uploads.open(NAME) is None
    for file in (tmp_path / ".uploads").iterdir():
        os.utime(file, (NOW, NOW))
    assert kept(uploads, NOW + 100) in ([], [(NAME, 0, False)], [(NAME, 19, False)])
    assert os.listdir(tmp_path / ".uploads") != []
    assert kept(uploads, NOW + 100.1) == []
    assert os.listdir(tmp_path / ".uploads") == []


def test_a_record_is_on_the_disk_before_it_has_its_name(
    uploads: PartialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name follows before the call returns: a crash leaves the old record or the new one."""
    steps: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def fsync(file: int) -> None:
        real_sync(file)
        name = os.path.basename(os.readlink(f"/proc/self/fd/{file}"))
        steps.append(f"sync {name.removeprefix(NAME)}")

    def replace(*names: Any, **options: Any) -> None:
        real_replace(*names, **options)
        steps.append("rename")

    part = created(uploads, NAME, RECORD, NOW)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    part.save(Record(("a.bin",), 11), NOW)
    part.close()
    assert steps == ["sync .new", "rename", "sync .uploads"]


def test_a_record_that_cannot_be_written_leaves_nothing(
    uploads: PartialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="full"):
        created(uploads, NAME, RECORD, NOW)
    assert os.listdir(tmp_path / ".uploads") == []


def test_a_record_that_cannot_be_replaced_stays(
    uploads: PartialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = created(uploads, NAME, RECORD, NOW)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "no")))
        with pytest.raises(OSError, match="no"):
            part.save(Record(("a.bin",), 11), NOW)
    assert part.record == RECORD
    part.close()
    part = reopened(uploads)
    assert part.record == RECORD
    part.close()
    assert sorted(os.listdir(tmp_path / ".uploads")) == [f"{NAME}.json", f"{NAME}.part"]


def test_a_disk_that_becomes_full_keeps_what_it_took(
    uploads: PartialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = created(uploads, NAME, RECORD, NOW)
    real, room = os.pwrite, [4]

    def pwrite(file: int, data: memoryview, offset: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "full")
        count = real(file, data[: min(3, room[0])], offset)
        room[0] -= count
        return count

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="full"):
        part.write(b"abcdef")
    assert (part.size, part.read(0, 9)) == (4, b"abcd")
    room[0] = 99
    part.write(b"ef")
    assert part.read(0, 9) == b"abcdef"
    part.close()


# --- age -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("later", "there"), [(100.0, True), (100.5, False), (-100.5, False)])
def test_how_long_an_upload_is_kept(
    uploads: PartialStore, tmp_path: Path, later: float, there: bool
) -> None:
    created(uploads, NAME, RECORD, NOW).close()
    assert kept(uploads, NOW + later) == ([(NAME, 0, False)] if there else [])
    assert bool(os.listdir(tmp_path / ".uploads")) is there


def test_uploads_in_use_are_kept(uploads: PartialStore) -> None:
    part = created(uploads, NAME, RECORD, NOW)
    assert kept(uploads, NOW + 1000) == [(NAME, 0, False)]
    part.close()
    assert kept(uploads, NOW + 1000) == []


@pytest.mark.parametrize("length", [None, 1024**3])
def test_the_bytes_that_are_there_count(uploads: PartialStore, length: int | None) -> None:
    part = created(uploads, NAME, Record(("a",), length), NOW)
    part.write(b"123")
    part.sync(NOW)
    part.close()
    assert kept(uploads) == [(NAME, 3, False)]


def test_an_upload_that_cannot_be_removed_stops_nothing(
    uploads: PartialStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = secrets.token_urlsafe(16)
    created(uploads, other, RECORD, NOW).close()
    (tmp_path / f".uploads/{NAME}.json").mkdir()
    os.utime(tmp_path / f".uploads/{NAME}.json", (NOW, NOW))
    assert kept(uploads, NOW + 1000) == []
    assert os.listdir(tmp_path / ".uploads") == [f"{NAME}.json"]
    assert "Cannot remove" in caplog.text


def test_other_files_stay(uploads: PartialStore, tmp_path: Path) -> None:
    created(uploads, NAME, RECORD, NOW).close()
    (tmp_path / ".uploads/notes.txt").write_bytes(b"mine")
    (tmp_path / ".uploads/short.part").write_bytes(b"mine")
    assert kept(uploads, NOW + 1000) == []
    assert sorted(os.listdir(tmp_path / ".uploads")) == ["notes.txt", "short.part"]


# --- attacks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["outside", "inside", "nowhere", "file"])
def test_a_link_in_the_place_of_the_directory(tmp_path: Path, target: str) -> None:
    (tmp_path / "root/inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / f"{NAME}.part").write_bytes(b"secret")
    link = tmp_path / "root/.uploads"
    if target == "file":
        link.write_bytes(b"")
    else:
        link.symlink_to(str(tmp_path / "outside") if target == "outside" else target)
    uploads = PartialStore(Root(tmp_path / "root"))
    for call in (
        lambda: uploads.create(NAME, RECORD, NOW),
        lambda: uploads.open(NAME),
        uploads.names,
        lambda: uploads.inspect([NAME], NOW + 1e9, 1.0),
        lambda: uploads.forget(NAME),
    ):
        with pytest.raises(PermissionError):
            call()
    assert (tmp_path / "outside" / f"{NAME}.part").read_bytes() == b"secret"
    assert not os.listdir(tmp_path / "root/inside")


@pytest.mark.parametrize("kind", ["part", "json"])
@pytest.mark.parametrize("what", ["link", "fifo", "directory"])
def test_something_else_in_the_place_of_a_file(
    uploads: PartialStore, tmp_path: Path, kind: str, what: str
) -> None:
    created(uploads, NAME, RECORD, NOW).close()
    place = tmp_path / f".uploads/{NAME}.{kind}"
    data = place.read_bytes()
    place.unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(data)
    if what == "link":
        place.symlink_to(secret)
    elif what == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()
    assert uploads.open(NAME) is None
    uploads.inspect(uploads.names(), NOW, 1.0)
    assert secret.read_bytes() == data


@pytest.mark.parametrize(
    "name",
    ["", "..", "a", "../" + "a" * 19, "a" * 21, "a" * 23, "a" * 21 + "\0", "ä" * 22, "." * 22],
)
def test_names_that_are_no_ids(uploads: PartialStore, name: str) -> None:
    created(uploads, NAME, RECORD, NOW).close()
    assert uploads.open(name) is None


def test_opening_a_store_creates_nothing(uploads: PartialStore, tmp_path: Path) -> None:
    assert uploads.open(NAME) is None
    assert uploads.names() == []
    assert uploads.inspect([NAME], NOW, 1.0) == []
    uploads.forget(NAME)
    assert os.listdir(tmp_path) == []


def test_the_lock_is_one_among_processes(uploads: PartialStore, tmp_path: Path) -> None:
    created(uploads, NAME, RECORD, NOW).close()
    with open(tmp_path / f".uploads/{NAME}.part", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(InUse):
            uploads.open(NAME)
        assert kept(uploads, NOW + 1000) == [(NAME, 0, False)]
    reopened(uploads).close()


def test_an_upload_that_is_removed_as_it_is_opened(
    uploads: PartialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process unlinks it between our open and our lock: try again, and find nothing."""
    created(uploads, NAME, RECORD, NOW).close()
    real = lock_while_open

    def late(file: int) -> bool:
        (tmp_path / f".uploads/{NAME}.part").unlink(missing_ok=True)
        return real(file)

    monkeypatch.setattr("reactor.web.uploads.partial_store.lock_while_open", late)
    with pytest.raises(InUse):
        uploads.open(NAME)
    assert uploads.open(NAME) is None
