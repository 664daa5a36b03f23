"""The system calls of an upload until it has its name, on disks that are slow, odd or full."""

import errno
import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from reactor import Cancelled, FileRegion, Limits, ProtocolError, Response
from reactor.messages.request import BaseRequest
from reactor.web.semantics.media_types import media_types
from reactor.web.static.file_server import FileServer, Mount
from reactor.web.storage.safe_path import Root
from reactor.web.uploads import atomic_file
from reactor.web.uploads.atomic_file import AtomicFile
from reactor.web.uploads.receiver import Receiver
from tests.support.coroutine_driver import (
    Feed,
    Play,
    Stage,
    drive,
    make_request,
    open_descriptors,
    opened_since,
)
from tests.support.upload_files import tree

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("closes_files")]


class Both:
    """The read side and the write side of one directory."""

    def __init__(self, site: Path) -> None:
        mount = Mount(directory=str(site), media_type=media_types({}))
        self.files = FileServer(mount, Limits())
        self.receiver = Receiver(self.files.root, Limits(), self.files.forget)

    def get(self, name: str) -> bytes:
        """Raises ProtocolError."""
        response = self.files.get(ask("GET", name))
        return content(response if isinstance(response, Response) else _drive(response))

    def put(self, name: str, *pieces: bytes) -> int:
        return drive(self.receiver.put(ask("PUT", name, Feed(*pieces)))).status

    def putting(self, stage: Stage, name: str, *pieces: bytes | Exception) -> Play:
        return Play(self.receiver.put(ask("PUT", name, Feed(*pieces))), stage)


def _drive(pending: Any) -> Response:
    response: Response = drive(pending)
    return response


def ask(method: str, name: str, feed: Feed | None = None) -> BaseRequest:
    request = make_request(method, f"/files/{name}", feed)
    request.params = {"name": tuple(name.split("/"))}
    return request


def content(response: Response) -> bytes:
    """The content of the response's region, which is released."""
    region = response.body
    assert isinstance(region, FileRegion)
    data = region.file.load(region.offset, region.length)
    region.release()
    return data


@pytest.mark.usefixtures("kind")
def test_every_byte_is_kept(site: Path) -> None:
    body = bytes(range(256)) * 5000
    assert Both(site).put("a", body, b"\r\n", body) == 201
    assert tree(site) == {"a": body + b"\r\n" + body}


@pytest.mark.usefixtures("kind")
def test_disk_that_takes_a_little_at_a_time(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:1000]))
    Both(site).put("a", b"0123456789" * 777)
    assert tree(site) == {"a": b"0123456789" * 777}


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_is_that_of_any_new_file(site: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        Both(site).put("a", b"x")
    finally:
        os.umask(before)
    assert (site / "a").stat().st_mode & 0o7777 == mode
    assert (site / "a").stat().st_nlink == 1


@pytest.mark.usefixtures("kind")
def test_on_the_disk_before_it_has_its_name(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def watch(call: str) -> None:
        real = getattr(os, call)

        def spy(*arguments: Any, **named: Any) -> Any:
            calls.append(call)
            return real(*arguments, **named)

        monkeypatch.setattr(os, call, spy)

    for call in ("write", "fsync", "replace"):
        watch(call)
    Both(site).put("a", b"x")
    assert calls == ["write", "fsync", "replace", "fsync"]


@pytest.mark.usefixtures("kind")
def test_readers_see_the_old_file_or_the_new_one(site: Path) -> None:
    both = Both(site)
    both.put("a", b"old")
    kept: Any = both.files.get(ask("GET", "a"))
    kept = kept if isinstance(kept, Response) else drive(kept)
    play = both.putting(Stage(), "a", b"ne", b"w")
    steps = 0
    while play.operation is not None:
        assert both.get("a") == b"old"
        play.step()
        steps += 1
    assert steps >= 4
    assert both.get("a") == b"new"
    assert content(kept) == b"old"  # a response under way keeps its file


def test_unfinished_file_is_not_to_be_seen(site: Path, kind: str) -> None:
    both = Both(site)
    play = both.putting(Stage(), "a", b"1", b"2")
    play.step()
    names = os.listdir(site)
    assert "a" not in names
    if kind == "nameless":
        assert names == ["sub"]  # should the server be killed now, nothing is left
    else:
        assert len(names) == 2
        for name in {*names} - {"sub"}:
            with pytest.raises(ProtocolError) as caught:
                both.get(name)
            assert caught.value.status == 404
    play.close()


def test_where_the_file_system_has_no_nameless_files(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_file, "_NAMELESS", 0o200000000)  # no flag that means anything
    really_open = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & 0o200000000:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return really_open(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert Both(site).put("a", b"x") == 201
    assert tree(site) == {"a": b"x"}


@pytest.mark.usefixtures("kind")
def test_file_system_that_cannot_sync_directories(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def picky(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", picky)
    assert Both(site).put("a", b"x") == 201


def test_a_file_that_cannot_be_removed_does_not_hide_the_error(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(atomic_file, "_NAMELESS", 0)

    def refuse(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    both = Both(site)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        play = both.putting(Stage(), "a", ProtocolError(408, "Slow."))
        with pytest.raises(ProtocolError) as caught:
            while play.operation is not None:
                play.step()
    assert caught.value.status == 408
    assert ".part" in caplog.text


@pytest.mark.slow
@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("steps", range(6))
def test_closed_while_it_cleans_up(site: Path, steps: int) -> None:
    play = Both(site).putting(Stage(), "a", b"one", b"two")
    for _ in range(steps):
        play.step()
    play.throw(Cancelled())
    play.close()
    del play
    gc.collect()
    assert tree(site) == {}


@pytest.mark.usefixtures("kind")
def test_commit_and_discard_hold_nothing(site: Path) -> None:
    before = open_descriptors()
    for number in range(2):
        upload = AtomicFile(Root(site), ("a",))
        upload.begin()
        upload.write(b"%d" % number)
        if number:
            upload.discard()
        else:
            upload.commit()
        assert not opened_since(before)
    assert tree(site) == {"a": b"0"}


class _TellingLock:
    """A lock that notes when a thread must wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.waited_for = threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.waited_for.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.usefixtures("kind")
def test_discard_waits_for_the_job_that_runs(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its descriptor could be another file's by the time it writes."""
    upload = AtomicFile(Root(site), ("a",))
    lock = _TellingLock()
    monkeypatch.setattr(upload, "_lock", lock)
    upload.begin()
    discarding = threading.Thread(target=upload.discard)
    write = os.write

    def slow_write(descriptor: int, data: bytes) -> int:
        discarding.start()
        assert lock.waited_for.wait(10)
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", slow_write)
        upload.write(b"x")
    discarding.join(10)
    assert not discarding.is_alive()
    assert tree(site) == {}
    for late in (upload.begin, upload.commit):
        with pytest.raises(RuntimeError):
            late()
    upload.discard()  # twice is once


@pytest.mark.usefixtures("kind")
def test_hundred_uploads_leave_hundred_files(site: Path) -> None:
    both = Both(site)
    for number in range(100):
        both.put(f"f{number}", b"%d" % number)
    assert tree(site) == {f"f{number}": b"%d" % number for number in range(100)}
