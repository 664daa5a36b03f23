"""A full disk: idle partial uploads are evicted; no failure publishes a part of a file.

`Disk` stands between the server and the operating system: it counts the bytes of the files below a
directory and raises ENOSPC as a disk of that size would, also after a part of a write.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reactor.web.uploads.atomic_file import WRITE_BYTES
from reactor.web.uploads.partial_store import PartialStore
from tests.support.coroutine_driver import drive, fail
from tests.support.upload_bench import Bench, Cut

KIB = 1024


class Disk:
    """A disk of `size` bytes, on which the files below `path` lie."""

    def __init__(self, path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.size = size
        self._write, self._pwrite = os.write, os.pwrite
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    @property
    def free(self) -> int:
        """Files without a name count as well, as long as they are open."""
        inodes: dict[int, int] = {}
        for directory, _, names in os.walk(self.path):
            for name in names:
                status = os.stat(os.path.join(directory, name), follow_symlinks=False)
                inodes[status.st_ino] = status.st_size
        for number in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{number}")
                status = os.stat(f"/proc/self/fd/{number}")
            except OSError:
                continue
            if target.startswith(str(self.path)) and os.path.isfile(f"/proc/self/fd/{number}"):
                inodes[status.st_ino] = status.st_size
        return self.size - sum(inodes.values())

    def write(self, file: int, data: Any) -> int:
        return self._write(file, self._fitting(file, data))

    def pwrite(self, file: int, data: Any, offset: int) -> int:
        return self._pwrite(file, self._fitting(file, data), offset)

    def _fitting(self, file: int, data: Any) -> Any:
        if not os.readlink(f"/proc/self/fd/{file}").startswith(str(self.path)):
            return data
        free = self.free
        if free <= 0 < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return data[:free]


def form_of(content: bytes) -> tuple[bytes, dict[str, Any]]:
    head = b'--b\r\nContent-Disposition: form-data; name="f"; filename="new"\r\n\r\n'
    fields = {"Content_Type": "multipart/form-data; boundary=b"}
    return head + content + b"\r\n--b--\r\n", fields


Send = Callable[[Bench, bytes], int]


def put(bench: Bench, content: bytes) -> int:
    return bench.ask("PUT", "/files/new", content).status


def put_in_pieces(bench: Bench, content: bytes) -> int:
    step = len(content) // 7 + 1
    pieces = [content[at : at + step] for at in range(0, len(content), step)]
    return bench.ask("PUT", "/files/new", *pieces, chunked=True).status


def post_form(bench: Bench, content: bytes) -> int:
    body, fields = form_of(content)
    return bench.ask("POST", "/files/", body, **fields).status


def resume(bench: Bench, content: bytes) -> int:
    reply = bench.create("new")
    if reply.status != 201:
        return reply.status
    return bench.append(reply.headers["Location"], 0, content, end=True).status


SENDERS = pytest.mark.parametrize("send", [put, put_in_pieces, post_form, resume])


@pytest.fixture(params=["nameless", "named"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "named":
        monkeypatch.setattr("reactor.web.uploads.atomic_file._NAMELESS", 0)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def filled(bench: Bench, *sizes: int) -> list[str]:
    """Uploads of these sizes, each a second younger than the one before, whose clients are gone."""
    paths = []
    for number, size in enumerate(sizes):
        paths.append(bench.begun(f"left{number}", b"x" * size))
        bench.now += 1
    return paths


@SENDERS
def test_an_idle_upload_that_filled_the_disk_gives_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, send: Send
) -> None:
    paths = filled(bench, 300 * KIB, 400 * KIB, 200 * KIB)
    disk = Disk(bench.path, 0, monkeypatch)
    disk.size = 100 * KIB - disk.free  # the rest of the disk
    assert send(bench, b"n" * 350 * KIB) == 507
    assert bench.statuses(*paths) == [204] * 3
    bench.now += 3601
    assert send(bench, b"n" * 350 * KIB) == 201
    assert bench.content("new") == b"n" * 350 * KIB  # each byte once
    # One was enough, where the first attempt has left nothing.
    assert bench.statuses(*paths) == [404, 404 if send is resume else 204, 204]


@SENDERS
def test_no_more_give_way_than_there_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, send: Send
) -> None:
    paths = filled(bench, 100 * KIB, 100 * KIB)
    (bench.path / "new").write_bytes(b"old")
    bench.now += 3601
    disk = Disk(bench.path, 0, monkeypatch)
    disk.size = 10 * KIB - disk.free
    assert send(bench, b"n" * 300 * KIB) == 507
    assert bench.content("new") == b"old"
    assert bench.statuses(*paths) == [404, 404]
    assert send(bench, b"n" * 150 * KIB) in (201, 204)
    assert send(bench, b"m" * 20 * KIB) in (201, 204)
    assert bench.content("new") == b"m" * 20 * KIB


def test_an_upload_that_filled_the_disk_itself_gives_way_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.begun("first", b"x" * 300 * KIB)
    disk = Disk(bench.path, 0, monkeypatch)
    disk.size = 100 * KIB - disk.free
    assert bench.append(first, 300 * KIB, b"y" * 200 * KIB).status == 507
    have = bench.offset(first)
    assert 300 * KIB < have < 500 * KIB
    assert put(bench, b"n" * 50 * KIB) == 201
    assert bench.statuses(first) == [404]


def test_an_upload_goes_on_where_the_disk_was_full(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.begun("first", b"0" * 300 * KIB)
    disk = Disk(bench.path, 0, monkeypatch)
    disk.size = 100 * KIB - disk.free
    assert bench.append(first, 300 * KIB, b"1" * 200 * KIB).status == 507
    have = bench.offset(first)
    disk.size += 500 * KIB
    rest = (b"0" * 300 * KIB + b"1" * 200 * KIB)[have:]
    assert bench.append(first, have, rest, end=True).status == 201
    assert bench.content("first") == b"0" * 300 * KIB + b"1" * 200 * KIB


def test_uploads_on_another_disk_give_no_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = filled(bench, 100 * KIB)
    bench.now += 3601
    monkeypatch.setattr(PartialStore, "device", lambda self: -1)
    monkeypatch.setattr(os, "write", lambda file, data: _no_space())
    assert put(bench, b"n" * KIB) == 507
    assert bench.statuses(*paths) == [204]


def test_an_upload_in_use_does_not_give_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = filled(bench, 300 * KIB)
    bench.now += 3601
    lease = bench.resumable._leases.enter(path.rpartition("/")[2])
    monkeypatch.setattr(os, "write", lambda file, data: _no_space())
    assert put(bench, b"n" * KIB) == 507
    bench.resumable._leases.leave(path.rpartition("/")[2], lease)
    assert bench.statuses(path) == [204]


def test_damaged_uploads_give_way_with_their_bytes(bench: Bench) -> None:
    (path,) = filled(bench, 300 * KIB)
    record = bench.path / f".uploads/{path.rpartition('/')[2]}.json"
    record.write_bytes(b"{")
    bench.restart()
    bench.now += 3601
    bench.expire()
    assert drive(bench.resumable.make_room(None))
    assert bench.left() == []


def _no_space() -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- faults at every call -------------------------------------------------------------------------

CALLS = ["write", "pwrite", "fsync", "open", "link", "replace", "unlink", "mkdir", "utime"]


@SENDERS
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", CALLS)
def test_an_error_at_any_call_loses_no_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, send: Send, call: str, code: int
) -> None:
    """The old file is there, or the new one as a whole; afterwards all goes on as before."""
    content = b"n" * (WRITE_BYTES + 1)
    for after in range(40):
        (bench.path / "new").write_bytes(b"old")
        with monkeypatch.context() as patch:
            calls = [0]
            real = getattr(os, call)

            def once(
                *arguments: Any, calls: list[int] = calls, real: Any = real, at: int = after,
                **named: Any,
            ) -> Any:  # fmt: skip
                calls[0] += 1
                if calls[0] == at + 1:
                    raise OSError(code, os.strerror(code))
                return real(*arguments, **named)

            patch.setattr(os, call, once)
            status = send(bench, content)
        found = bench.content("new")
        assert found in ((content,) if status < 300 else (b"old", content)), (after, status)
        if calls[0] <= after:
            break
        assert send(bench, b"again") < 300, after
        assert bench.content("new") == b"again"
    else:
        pytest.fail("it makes ever more calls")
    left = {name for name in os.listdir(bench.path) if name.endswith(".part")}
    assert not left or call == "unlink"  # then the next sweep removes it


def test_bytes_that_the_disk_has_lost_are_not_published(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports lost bytes once; a second fsync succeeds (fsync(2))."""
    path = bench.begun("a.bin", b"0" * 10)
    with monkeypatch.context() as patch:
        fail("fsync", errno.EIO, patch)
        assert bench.append(path, 10, b"1" * 10).status == 500
    assert bench.content() is None
    assert bench.head(path).status == 404  # no byte was known to be on the disk
    assert bench.left() == []


def test_bytes_behind_the_last_sync_are_cut_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reactor.web.uploads.resumable.SYNC_BYTES", 10)
    path = bench.begun("a.bin", b"0" * 10)
    with monkeypatch.context() as patch:
        fail("fsync", errno.ENOSPC, patch, after=1)
        reply = bench.append(path, 10, b"1" * 10, b"2" * 10, chunked=True, end=True)
    assert reply.status == 507
    assert bench.offset(path) == 20
    assert bench.append(path, 20, b"3", end=True).status == 201
    assert bench.content() == b"0" * 10 + b"1" * 10 + b"3"


def test_a_connection_that_breaks_while_the_disk_is_full(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = filled(bench, 100 * KIB)
    bench.now += 3601
    disk = Disk(bench.path, 0, monkeypatch)
    disk.size = 10 * KIB - disk.free
    (bench.path / "new").write_bytes(b"old")
    disk.size += 3
    with pytest.raises(Cut):
        bench.ask("PUT", "/files/new", b"n" * 50 * KIB, Cut())
    assert bench.content("new") == b"old"
    assert bench.statuses(*paths) == [404]
    assert disk.free >= 100 * KIB


@pytest.mark.parametrize("room", range(22))
def test_a_quota_that_is_reached_at_any_byte(tmp_path: Path, room: int) -> None:
    """The client goes on where the quota was reached, once there is room; the old file stays."""
    content = b"0123456789abcdefghij"
    bench = Bench(tmp_path, resumable_bytes=100)
    (tmp_path / "a.bin").write_bytes(b"old")
    others = bench.begun("others", b"x" * (100 - room))
    path = bench.begun("a.bin")
    pieces = [content[at : at + 3] for at in range(0, len(content), 3)]
    reply = bench.append(path, 0, *pieces, chunked=True, end=True)
    if room >= len(content):
        assert reply.status == 204
    else:
        assert reply.status == 507
        assert bench.content() == b"old"
        have = bench.offset(path)
        assert have == room // 3 * 3
        assert bench.ask("DELETE", others).status == 204
        assert bench.append(path, have, content[have:], end=True).status == 204
    assert bench.content() == content
