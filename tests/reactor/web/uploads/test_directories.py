"""Directories that uploads make, with failures, links and races; and the deletion of empty ones."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reactor import Limits, ProtocolError, Response
from reactor.messages.request import BaseRequest
from reactor.web.storage.locks import DirectoryBusy
from reactor.web.storage.safe_path import Root
from reactor.web.uploads import directories
from reactor.web.uploads.atomic_file import AtomicFile
from reactor.web.uploads.directories import open_or_make, remove_made, writable_directory
from reactor.web.uploads.publish import status_behind
from reactor.web.uploads.receiver import Receiver
from tests.support.coroutine_driver import Feed, Play, Stage, drive, fail, make_request
from tests.support.upload_bench import INTEROP, Bench
from tests.support.upload_files import tree

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closes_files")]

DEPTH = Limits.directory_depth
DEEP = "/".join("d" * DEPTH)


def receiver(site: Path, **options: Any) -> Receiver:
    return Receiver(Root(site), Limits(**options), lambda place: None, deletes=True)


def ask(method: str, name: str, feed: Feed | None = None, **headers: str) -> BaseRequest:
    request = make_request(method, f"/files/{name}", feed, **headers)
    request.params = {"name": tuple(name.split("/"))}
    return request


def put(site: Path, name: str, *pieces: bytes | Exception, **headers: str) -> int:
    return status_of(lambda: receiver(site).put(ask("PUT", name, Feed(*pieces), **headers)))


def delete(site: Path, name: str, **headers: str) -> int:
    return status_of(lambda: receiver(site).delete(ask("DELETE", name, None, **headers)))


def post_form(site: Path, directory: str, *files: tuple[str, bytes], end: bytes = b"--b--") -> int:
    parts = [
        b'--b\r\nContent-Disposition: form-data; name=f; filename="%b"\r\n\r\n%b\r\n'
        % (name.encode(), content)
        for name, content in files
    ]
    feed = Feed(b"".join(parts) + end)
    kind = "multipart/form-data; boundary=b"
    return status_of(lambda: receiver(site).post(ask("POST", directory, feed, Content_Type=kind)))


def status_of(call: Callable[[], Any]) -> int:
    try:
        response = drive(call())
    except ProtocolError as error:
        return error.status
    assert isinstance(response, Response)
    return response.status


def everything(site: Path) -> list[str]:
    """All names below the directory, those of directories with a slash."""
    return sorted(
        f"{path.relative_to(site)}{'/' if path.is_dir() and not path.is_symlink() else ''}"
        for path in site.rglob("*")
    )


# --- made ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("name", ["new/a", "sub/new/a", "new/\u00fc b/c/a", f"{DEEP}/a"])
def test_missing_directories_are_made(site: Path, name: str) -> None:
    assert put(site, name, b"x") == 201
    assert tree(site) == {name: b"x"}
    assert put(site, name, b"y") == 204
    assert post_form(site, f"{name}.d/", ("b", b"1"), ("c", b"2")) == (
        409 if name.startswith("d/") else 201
    )


def test_resumable_uploads_make_directories_at_their_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    path = bench.begun("new/sub/a.bin", b"abc")
    assert not (tmp_path / "new").exists()
    assert bench.append(path, 3, b"def", end=True).status == 201
    assert bench.content("new/sub/a.bin") == b"abcdef"
    reply = bench.create("other/a.bin", b"abc", Upload_Complete="?1", **INTEROP)
    assert reply.status == 201
    assert bench.content("other/a.bin") == b"abc"


def test_directories_have_the_rights_of_any_new_one(site: Path) -> None:
    before = os.umask(0o027)
    try:
        assert put(site, "new/sub/a", b"x") == 201
    finally:
        os.umask(before)
    for name in ("new", "new/sub"):
        assert (site / name).stat().st_mode & 0o7777 == 0o750


def test_the_depth_is_limited(site: Path) -> None:
    assert put(site, f"{DEEP}/d/a", b"x") == 409
    assert post_form(site, f"{DEEP}/d/", ("a", b"x")) == 409
    assert everything(site) == ["sub/"]
    (site / DEEP / "d").mkdir(parents=True)
    assert put(site, f"{DEEP}/d/a", b"x") == 201  # it is there
    assert put(site, f"{DEEP}/d/d/a", b"x") == 409
    bench = receiver(site, directory_depth=1)
    assert drive(bench.put(ask("PUT", "e/a", Feed(b"x")))).status == 201
    with pytest.raises(ProtocolError, match="1 levels deep"):
        drive(bench.put(ask("PUT", "e/f/a", Feed(b"x"))))


@pytest.mark.parametrize("name", ["a/.hidden/b", "a/../b", "a//b", ".git/b", "a/b\0/c", "a/./b"])
def test_hidden_and_odd_names_are_not_made(site: Path, name: str) -> None:
    assert put(site, name, b"x") == 404
    with pytest.raises(FileNotFoundError):
        open_or_make(Root(site), name.split("/"), 9)
    assert everything(site) == ["sub/"]


def test_names_are_on_the_disk_before_the_file_is_published(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", note)
        assert put(site, "new/deep/a", b"x") == 201
    assert synced[:2] == [str(site), str(site / "new")]
    assert synced[-1] == str(site / "new/deep")


# --- left behind ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("name", ["new/a", "sub/new/deep/a"])
def test_a_failed_upload_leaves_no_directories(site: Path, name: str) -> None:
    assert put(site, name, b"x", ProtocolError(400, "It breaks off.")) == 400
    assert put(site, name, b"x", If_Match="*") == 412
    assert post_form(site, f"{name}/", ("b", b"x"), end=b"") == 400
    assert post_form(site, f"{name}/", end=b"--b--") == 200  # no file at all
    assert everything(site) == ["sub/"]
    assert post_form(site, f"{name}/", ("b", b"x"), (".c", b"y")) == 400
    assert tree(site) == {f"{name}/b": b"x"}  # published before


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("step", range(6))
def test_a_client_that_leaves_at_any_step(site: Path, step: int) -> None:
    play = Play(receiver(site).put(ask("PUT", "new/deep/a", Feed(b"x", b"y"))), Stage())
    for _ in range(step):
        if play.operation is not None:
            play.step()
    if play.operation is not None:
        play.close()
    del play
    assert everything(site) in (["sub/"], ["new/", "new/deep/", "new/deep/a", "sub/"])


@pytest.mark.parametrize(
    ("call", "code", "status"),
    [
        ("mkdir", errno.EACCES, 403),
        ("mkdir", errno.EROFS, 403),
        ("mkdir", errno.ENOSPC, 507),
        ("mkdir", errno.ENAMETOOLONG, 414),
        ("fsync", errno.ENOSPC, 507),
    ],
)
@pytest.mark.parametrize("after", [0, 1])
def test_a_directory_that_cannot_be_made(
    site: Path, call: str, code: int, status: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail(call, code, patch, after=after)
        assert put(site, "new/deep/a", b"x") == status
    assert everything(site) == ["sub/"]


def test_a_directory_that_cannot_be_opened(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def few(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if path == b"deep":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, flags, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", few)
        assert put(site, "new/deep/a", b"x") == 503
    assert everything(site) == ["sub/"]


def test_only_what_was_made_is_removed(site: Path) -> None:
    descriptor, made = open_or_make(Root(site), ["new", "deep"], 9)
    os.close(descriptor)
    (site / "new/deep").rmdir()
    (site / "new/other").mkdir()
    os.rename(site / "new/other", site / "new/deep")
    (site / "keep").mkdir()  # the inode of the one before is not free to be taken again
    same = made[1].identity[1] == (site / "new/deep").stat().st_ino
    remove_made(Root(site), made)
    assert made == []
    assert everything(site) == ["keep/", *([] if same else ["new/", "new/deep/"]), "sub/"]


# --- links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["..", "/tmp", "nowhere", "../nowhere", "loop", "secret.txt"])
def test_nothing_is_made_behind_links(site: Path, target: str) -> None:
    (site / "loop").symlink_to(target)
    before = everything(site.parent)
    for name in ("loop/new/a", "loop/new/deep/a"):
        assert put(site, name, b"x") == 409
        assert post_form(site, f"{name}/", ("b", b"x")) == 409
    assert everything(site.parent) == before


def test_a_link_within_the_mount_is_followed(site: Path) -> None:
    (site / "link").symlink_to("sub")
    assert put(site, "link/new/a", b"x", ProtocolError(400, "It breaks off.")) == 400
    assert everything(site) == ["link", "sub/"]
    assert put(site, "link/new/a", b"x") == 201
    assert (site / "sub/new/a").read_bytes() == b"x"


@pytest.mark.parametrize("target", ["..", "../outside", "sub"])
def test_a_link_that_appears_meanwhile_is_not_followed(
    site: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.parent / "outside").mkdir()
    real = os.mkdir

    def late(name: bytes, *rest: Any, **named: Any) -> None:
        if name == b"new":
            (site / "new").symlink_to(target)
        real(name, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", late)
        assert put(site, "new/deep/a", b"x") == 409
    assert everything(site.parent) == ["outside/", "secret.txt", "site/", "site/new", "site/sub/"]


def test_a_directory_that_becomes_a_link(site: Path) -> None:
    """A descriptor is used, and never the path again."""
    (site.parent / "outside").mkdir()
    upload = AtomicFile(Root(site), ("new", "a"))
    upload.begin()
    upload.write(b"x")
    os.rename(site / "new", site / "moved")
    (site / "new").symlink_to("../outside")
    upload.commit()
    assert tree(site) == {"moved/a": b"x"}
    assert list((site.parent / "outside").iterdir()) == []


# --- races ---------------------------------------------------------------------------------------


def begun(site: Path, *names: str) -> AtomicFile:
    upload = AtomicFile(Root(site), names)
    upload.begin()
    upload.write(b"x")
    return upload


@pytest.mark.usefixtures("kind")
def test_an_upload_in_a_directory_of_one_that_fails(site: Path) -> None:
    first = begun(site, "new", "a")
    second = begun(site, "new", "b")
    first.discard()
    second.commit()
    assert tree(site) == {"new/b": b"x"}


@pytest.mark.usefixtures("kind")
def test_the_last_of_many_that_fail_leaves_nothing(site: Path) -> None:
    uploads = [begun(site, "new", "deep", name) for name in "abc"]
    for upload in uploads:
        upload.discard()
    left = everything(site)
    assert left in (["sub/"], ["new/", "new/deep/", "sub/"])
    assert put(site, "new/deep/a", b"x") == 201


def test_a_directory_that_is_deleted_while_a_file_for_it_comes(site: Path, kind: str) -> None:
    upload = begun(site, "new", "deep", "a")
    named = kind == "named"
    assert delete(site, "new/deep") == (409 if named else 204)  # an unfinished file is in it
    assert delete(site, "new/") == (409 if named else 204)
    upload.commit()
    assert tree(site) == {"new/deep/a": b"x"}


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("lost", ["new", "new/deep"])
def test_a_directory_that_vanishes_as_it_is_made(
    site: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, times = os.mkdir, [0]

    def race(name: bytes, *rest: Any, **named: Any) -> None:
        real(name, *rest, **named)
        if name == lost.rpartition("/")[2].encode() and times[0] < 2:
            times[0] += 1
            (site / lost).rmdir()

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", race)
        assert put(site, "new/deep/a", b"x") == 201
    assert tree(site) == {"new/deep/a": b"x"}


@pytest.mark.usefixtures("kind")
def test_a_directory_that_vanishes_before_the_file_is_opened(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, times = status_behind, [0]

    def race(*arguments: Any) -> Any:
        if times[0] < 2:
            times[0] += 1
            (site / "new").rmdir()
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("reactor.web.uploads.atomic_file.status_behind", race)
        assert put(site, "new/a", b"x") == 201
    assert times == [2]


def test_a_directory_that_always_vanishes(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "_enter", lambda *rest: _busy())
    assert put(site, "new/a", b"x") == 503
    assert everything(site) == ["sub/"]


def _busy() -> int:
    raise DirectoryBusy


def test_a_directory_that_goes_under_a_step_has_it_repeated(site: Path) -> None:
    with pytest.raises(DirectoryBusy), writable_directory(Root(site), ["new"], 9) as (found, _):
        (site / "new").rmdir()
        os.link("a", "b", src_dir_fd=found, dst_dir_fd=found)
    with (
        pytest.raises(FileNotFoundError),
        writable_directory(Root(site), ["new"], 9) as (found, _),
    ):
        os.link("a", "b", src_dir_fd=found, dst_dir_fd=found)
    assert everything(site) == ["sub/"]


def test_the_end_of_a_resumable_upload_whose_directory_vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are not lost: the step is repeated."""
    bench = Bench(tmp_path)
    path = bench.begun("new/a.bin", b"abc")
    real, times = os.link, [0]

    def race(*names: Any, **named: Any) -> None:
        if times[0] < 2:
            times[0] += 1
            (tmp_path / "new").rmdir()
        real(*names, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", race)
        assert bench.append(path, 3, b"", end=True).status == 201
    assert times == [2]
    assert bench.content("new/a.bin") == b"abc"


@pytest.mark.slow
@pytest.mark.usefixtures("kind")
def test_many_threads_that_make_fail_and_delete(site: Path) -> None:
    """All that was stored is there, and uploads that failed have left nothing."""
    stored: list[str] = []
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(25):
                name = f"new/deep{turn % 3}/{number}-{turn}"
                ends = [ProtocolError(400, "It breaks off.")] if turn % 2 else []
                status = put(site, name, b"x", *ends)
                assert status in ((400,) if ends else (201,)), status
                if not ends:
                    stored.append(name)
                assert delete(site, f"new/deep{turn % 3}") in (204, 404, 409)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(tree(site)) == sorted(stored)


# --- empty directories are deleted ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["sub", "sub/", "new/deep", "new/deep/", "link/deep/"])
def test_an_empty_directory_is_deleted(site: Path, name: str) -> None:
    (site / "new/deep").mkdir(parents=True)
    (site / "link").symlink_to("new")
    assert delete(site, name) == 204
    assert delete(site, name) == 404
    assert (site / "link").is_symlink()


@pytest.mark.parametrize("content", ["a", ".hidden", "b/"])
def test_a_directory_that_is_not_empty(site: Path, content: str) -> None:
    path = site / "sub" / content
    path.mkdir() if content.endswith("/") else path.write_bytes(b"")
    for name in ("sub", "sub/"):
        assert delete(site, name) == 409
    assert path.exists()


def test_conditions_on_a_directory(site: Path) -> None:
    assert delete(site, "sub/", If_Match='"x"') == 412
    assert delete(site, "sub", If_None_Match="*") == 412
    assert delete(site, "sub/", Origin="http://evil.example") == 403
    assert everything(site) == ["sub/"]
    assert delete(site, "sub/", If_Match="*") == 204


@pytest.mark.parametrize(
    ("code", "status"), [(errno.EBUSY, 409), (errno.EACCES, 403), (errno.ENOTEMPTY, 409)]
)
def test_a_directory_that_cannot_be_deleted(
    site: Path, code: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail("rmdir", code, patch)
        assert delete(site, "sub") == status
    assert everything(site) == ["sub/"]
