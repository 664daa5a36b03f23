"""Archives of directories, read by Python's tarfile and by the tar command."""

import errno
import io
import os
import random
import shutil
import subprocess
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from reactor import Limits
from reactor.errors import ResponseError
from reactor.web.static import archive_reader
from reactor.web.static.archive_reader import (
    BATCH,
    NOTE_NAME,
    NOTED,
    PIECE_BYTES,
    ArchiveReader,
)
from reactor.web.storage.safe_path import Root
from tests.support.coroutine_driver import fail

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("closes_files")]

NAMES = ["a", "two words", "\u00fcber.txt", "\u65e5\u672c", "new\nline", "n" * 255, "\u00e9" * 127]


def reader(site: Path, *segments: str, depth: int = 9, entries: int = 10**6) -> ArchiveReader:
    return ArchiveReader(Root(site), segments, "top", depth, entries)


def archive(site: Path, *segments: str, **limits: int) -> bytes:
    one = reader(site, *segments, **limits)
    pieces, more = [], True
    while more:
        piece, more = one.read()
        assert len(piece) <= 2 * PIECE_BYTES
        pieces.append(piece)
    return b"".join(pieces)


def members(data: bytes) -> dict[str, bytes | None]:
    """The content of each member by its path; None for a directory."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as opened:
        found = {}
        for one in opened:
            assert one.name not in found
            content = opened.extractfile(one)
            found[one.name] = None if content is None else content.read()
        return found


def note(data: bytes) -> list[str]:
    text = members(data)[NOTE_NAME]
    assert text is not None
    return text.decode().splitlines()[1:]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    return site


def test_all_kinds_of_names_and_sizes(site: Path) -> None:
    wanted: dict[str, bytes | None] = {"top": None}
    for number, name in enumerate(NAMES):
        size = [0, 1, 511, 512, 513, PIECE_BYTES, 3 * PIECE_BYTES + 1][number]
        content = random.Random(number).randbytes(size)
        (site / name).write_bytes(content)
        wanted[f"top/{name}"] = content
    deep = site
    for name in NAMES[::-1]:
        deep = deep / f"d{name[:99]}"
        deep.mkdir()
        wanted[f"top/{deep.relative_to(site)}"] = None
    (deep / "x").write_bytes(b"x")
    wanted[f"top/{deep.relative_to(site)}/x"] = b"x"
    data = archive(site)
    assert len(data) % 512 == 0
    assert data.endswith(bytes(1024))
    assert members(data) == wanted


@pytest.mark.system
@pytest.mark.skipif(shutil.which("tar") is None, reason="needs the tar command")
def test_the_tar_command_reads_it(site: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (site / f"d {name[:99]}").mkdir()
        (site / f"d {name[:99]}" / name).write_bytes(name.encode() * 1000)
    (site / "run.sh").write_bytes(b"#!/bin/sh\n")
    (site / "run.sh").chmod(0o700)
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        ["tar", "xf", "-", "-C", str(out)], input=archive(site), capture_output=True, check=True
    )
    assert done.stderr == b""
    for path in site.rglob("*"):
        copy = out / "top" / path.relative_to(site)
        assert copy.is_dir() == path.is_dir()
        assert path.is_dir() or copy.read_bytes() == path.read_bytes()
        assert int(copy.stat().st_mtime) == int(path.stat().st_mtime)
    assert os.access(out / "top/run.sh", os.X_OK)
    assert len(list(out.rglob("*"))) == 1 + len(list(site.rglob("*")))


def test_owner_and_rights_stay_here(site: Path) -> None:
    (site / "a").write_bytes(b"x")
    (site / "a").chmod(0o606)
    (site / "b").write_bytes(b"x")
    (site / "b").chmod(0o4755)
    with tarfile.open(fileobj=io.BytesIO(archive(site))) as opened:
        for one in opened:
            assert (one.uid, one.gid, one.uname, one.gname) == (0, 0, "", "")
            assert one.mode == (0o644 if one.name == "top/a" else 0o755)


# --- what is in it -------------------------------------------------------------------------------


def test_only_what_is_served(site: Path) -> None:
    (site / "a").write_bytes(b"a")
    for hidden in (".hidden", ".git/config", "sub/.env", ".uploads/x.part"):
        (site / hidden).parent.mkdir(exist_ok=True)
        (site / hidden).write_bytes(b"secret")
    os.mkfifo(site / "fifo")
    (site / "out").symlink_to("../secret.txt")
    (site / "out-dir").symlink_to("..")
    (site / "absolute").symlink_to("/etc/passwd")
    (site / "null").symlink_to("/dev/null")
    (site / "nowhere").symlink_to("nothing")
    (site / "loop").symlink_to("loop")
    (site / "to-hidden").symlink_to(".hidden")
    (site / "to-git").symlink_to(".git")
    os.close(os.open(os.fsencode(site) + b"/\xff", os.O_CREAT))
    data = archive(site)
    assert members(data) == {"top": None, "top/a": b"a", "top/sub": None, "top/\udcff": b""}
    assert b"secret" not in data


def test_links_within_the_root_are_followed(site: Path) -> None:
    (site / "sub/deep").mkdir(parents=True)
    (site / "sub/deep/a").write_bytes(b"a")
    (site / "other").mkdir()
    (site / "other/link").symlink_to("../sub/deep/a")
    (site / "other/dir").symlink_to("../sub")
    (site / "other/absolute").symlink_to(site / "sub/deep")
    assert members(archive(site, "other")) == {
        "top": None,
        "top/link": b"a",
        "top/dir": None,
        "top/dir/deep": None,
        "top/dir/deep/a": b"a",
        "top/absolute": None,
        "top/absolute/a": b"a",
    }


@pytest.mark.parametrize("target", [".", "..", "../sub", "../../site"])
def test_links_to_directories_above_have_an_end(site: Path, target: str) -> None:
    (site / "sub").mkdir()
    (site / "sub/a").write_bytes(b"a")
    (site / "sub/up").symlink_to(target)
    data = archive(site)
    found = members(data)
    assert found["top/sub/a"] == b"a"
    if NOTE_NAME in found:
        assert note(data) == ["'top/sub/up': a link to a directory above it"]
    assert len(found) <= 4


def test_a_maze_of_links_ends_with_too_many_members(site: Path) -> None:
    for level in range(12):
        (site / f"d{level}").mkdir()
        for way in "ab":
            (site / f"d{level}" / way).symlink_to(f"../d{level + 1}")
    (site / "d12").mkdir()
    with pytest.raises(ResponseError, match="too many members"):
        archive(site, depth=32, entries=500)


def test_directories_that_are_too_deep_are_named(site: Path) -> None:
    (site / "1/2/3").mkdir(parents=True)
    (site / "1/2/3/a").write_bytes(b"a")
    (site / "1/2/b").write_bytes(b"b")
    data = archive(site, depth=2)
    assert members(data).keys() == {"top", "top/1", "top/1/2", "top/1/2/b", NOTE_NAME}
    assert note(data) == ["'top/1/2/3': more than 2 levels of directories"]


def test_the_number_of_members_is_exact(site: Path) -> None:
    for number in range(5):
        (site / f"{number}").write_bytes(b"")
    assert len(members(archive(site, entries=6))) == 6
    with pytest.raises(ResponseError):
        archive(site, entries=5)


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("name", ["a\nb", "sub"])
def test_names_that_may_not_be_read_are_named(
    site: Path, code: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "a\nb").write_bytes(b"a")
    (site / "sub").mkdir()
    (site / "z").write_bytes(b"z")
    real = os.open

    def refuse(path: Any, *rest: Any, **named: Any) -> int:
        if path == name.encode():
            raise OSError(code, os.strerror(code))
        return real(path, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        data = archive(site)
    assert set(members(data)) == {"top", "top/a\nb", "top/sub", "top/z", NOTE_NAME} - {
        f"top/{name}"
    }
    assert note(data) == [f"{f'top/{name}'!r}: {os.strerror(code).lower()}"]


def test_the_note_is_limited(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(NOTED + 7):
        (site / f"{number}").mkdir()
    data = archive(site, depth=0)
    assert len(note(data)) == NOTED + 1
    assert note(data)[-1] == "and 7 more"


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ESTALE])
@pytest.mark.parametrize("call", ["open", "read", "stat", "scandir"])
def test_errors_of_the_disk_end_it_without_an_end(
    site: Path, code: int, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "sub").mkdir()
    (site / "sub/a").write_bytes(b"a")
    one = reader(site)
    with monkeypatch.context() as patch:
        fail(call, code, patch)
        with pytest.raises(OSError, match=os.strerror(code)):
            while one.read()[1]:
                pass


def test_a_file_that_becomes_shorter(site: Path) -> None:
    (site / "a").write_bytes(bytes(3 * PIECE_BYTES))
    one = reader(site)
    assert one.read()[1]
    os.truncate(site / "a", 2 * PIECE_BYTES)
    with pytest.raises(ResponseError, match="'top/a' has become shorter"):
        while one.read()[1]:
            pass


def test_a_file_that_grows_has_the_size_of_its_header(site: Path) -> None:
    content = random.Random(1).randbytes(3 * PIECE_BYTES)
    (site / "a").write_bytes(content)
    one = reader(site)
    data, more = one.read()
    with open(site / "a", "ab") as file:
        file.write(b"more")
    while more:
        piece, more = one.read()
        data += piece
    assert members(data) == {"top": None, "top/a": content}


def test_names_that_are_gone_by_the_time(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_reader, "BATCH", 1)
    for number in range(9):
        (site / f"{number}").write_bytes(b"x")
    one = reader(site)
    data, _ = one.read()
    shutil.rmtree(site)
    more = True
    while more:
        piece, more = one.read()
        data += piece
    assert len(members(data)) == 2


def test_a_directory_that_is_none(site: Path) -> None:
    (site / "a").write_bytes(b"a")
    (site / "out").symlink_to("..")
    for name in ("none", "a", "out", ".hidden", ".."):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            reader(site, name)


@pytest.mark.parametrize("steps", range(4))
def test_one_that_is_dropped_is_closed(site: Path, steps: int) -> None:
    (site / "1/2/3").mkdir(parents=True)
    (site / "1/2/3/a").write_bytes(bytes(4 * PIECE_BYTES))
    one = reader(site)
    for _ in range(steps):
        one.read()
    del one  # `closes_files` looks


# --- size ----------------------------------------------------------------------------------------


def test_a_file_of_more_than_8_gib(site: Path) -> None:
    size = 9 * 1024**3
    with open(site / "a", "wb") as file:
        file.truncate(size)
    data, _ = reader(site).read()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as opened:
        assert [opened.next(), opened.next()][1].size == size  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.skipif(shutil.which("tar") is None, reason="needs the tar command")
def test_a_sparse_file_of_3_gib(site: Path) -> None:
    size = 3 * 1024**3
    with open(site / "a", "wb") as file:
        file.truncate(size)
    one = reader(site)
    with subprocess.Popen(
        ["tar", "tvf", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tar:
        assert tar.stdin is not None
        assert tar.stdout is not None
        more = True
        while more:
            piece, more = one.read()
            tar.stdin.write(piece)
        tar.stdin.close()
        assert str(size).encode() in tar.stdout.read()
    assert tar.returncode == 0


@pytest.mark.slow
def test_memory_does_not_depend_on_the_tree(site: Path) -> None:
    for number in range(20):
        (site / f"{number}").mkdir()
        for other in range(100):
            (site / f"{number}/file-{other}").write_bytes(b"x")
    with open(site / "large", "wb") as file:
        file.truncate(64 * 1024**2)
    one, total, more = reader(site), 0, True
    tracemalloc.start()
    try:
        while more:
            piece, more = one.read()
            total += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 64 * 1024**2 + 512 * (1 + 1 + 20 + 2 * 2_000 + 2)
    assert peak < 8 * PIECE_BYTES


def test_a_job_reads_a_few_names(site: Path) -> None:
    for number in range(3 * BATCH):
        (site / f".{number}").write_bytes(b"x")
    one = reader(site)
    assert [one.read()[1] for _ in range(4)] == [True, True, True, False]
    assert Limits.archive_depth <= 32  # two descriptors for each
