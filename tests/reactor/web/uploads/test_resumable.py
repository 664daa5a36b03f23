"""Resumable uploads: the exchange of the draft, every refusal, and what survives what.

Most tests drive the endpoints without a server; the last ones have a real one, which is killed.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reactor import Cancelled
from reactor.web.semantics.validators import entity_tag
from reactor.web.storage.safe_path import Root
from reactor.web.uploads import partial_store
from reactor.web.uploads.atomic_file import WRITE_BYTES
from reactor.web.uploads.partial_store import PartialStore
from reactor.web.uploads.resumable import SYNC_BYTES
from tests.conftest import Serve
from tests.support.coroutine_driver import Play, Stage, open_descriptors, opened_since
from tests.support.raw_client import Client, RawResponse
from tests.support.raw_client import request as encode
from tests.support.upload_bench import INTEROP, NOW, PARTIAL, Bench, Cut, Reply

TYPES = "https://iana.org/assignments/http-problem-types#"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def no_descriptors_left() -> Iterator[None]:
    before = open_descriptors()
    yield
    until = time.monotonic() + 5
    while open_descriptors() != before and time.monotonic() < until:
        time.sleep(0.01)
    assert not opened_since(before)


def problem(reply: Reply) -> str:
    """The type of the problem."""
    assert reply.headers["Content-Type"] == "application/problem+json"
    kind: str = json.loads(reply.body)["type"]
    return kind.removeprefix(TYPES)


# --- the exchange --------------------------------------------------------------------------------


def test_a_careful_upload(bench: Bench) -> None:
    reply = bench.create("sub.bin", Upload_Length=10)
    assert reply.status == 201
    path = reply.headers["Location"]
    assert re.fullmatch(r"/files/\.uploads/[A-Za-z0-9_-]{22}", path)
    assert (reply.upload_complete, reply.upload_offset) == ("?0", "0")
    assert reply.upload_limit == f"max-size={1024**3}, max-age=86400"
    assert reply.cache_control == "no-store"
    reply = bench.append(path, 0, b"0123", b"45")
    assert (reply.status, reply.upload_complete, reply.upload_offset) == (204, "?0", "6")
    bench.now += 10
    reply = bench.head(path)
    assert reply.headers == {
        "Upload-Complete": "?0",
        "Upload-Offset": "6",
        "Upload-Length": "10",
        "Upload-Limit": f"max-size={1024**3}, max-age=86390",
        "Cache-Control": "no-store",
    }
    assert bench.content("sub.bin") is None
    reply = bench.append(path, 6, b"6789", end=True)
    assert (reply.status, reply.location, reply.upload_complete) == (201, "/files/sub.bin", "?1")
    assert bench.content("sub.bin") == b"0123456789"
    assert len(bench.forgotten) == 1
    assert bench.forgotten[0][2] == b"sub.bin"


def test_a_finished_upload_is_remembered(bench: Bench) -> None:
    path = bench.begun()
    bench.append(path, 0, b"abc", end=True)
    bench.now += 60
    for _ in range(2):
        reply = bench.head(path)
        assert reply.status == 204
        assert reply.headers == {
            "Upload-Complete": "?1",
            "Upload-Offset": "3",
            "Upload-Length": "3",
            "Upload-Limit": f"max-size={1024**3}, max-age=86340",
            "Cache-Control": "no-store",
            "Location": "/files/a.bin",
        }
        bench.restart()


def test_an_upload_that_replaces_a_file(bench: Bench) -> None:
    (bench.path / "a.bin").write_bytes(b"old")
    path = bench.begun()
    reply = bench.append(path, 0, b"new!", end=True)
    assert (reply.status, reply.upload_complete, reply.location) == (204, "?1", None)
    assert bench.content() == b"new!"


def test_all_at_once_from_a_client_that_accepts_104(bench: Bench) -> None:
    reply = bench.create("a.bin", b"ab", b"c", Upload_Complete="?1", **INTEROP)
    assert (reply.status, reply.location, reply.upload_complete) == (201, "/files/a.bin", "?1")
    assert bench.content() == b"abc"
    (status, informed), *more = bench.informed
    assert status == 104
    assert not more
    assert informed.keys() == {"Location", "Upload-Limit", "Upload-Draft-Interop-Version"}
    assert informed["Upload-Draft-Interop-Version"] == "8"
    assert bench.head(bench.places[0]).upload_complete == "?1"


def test_all_at_once_broken_and_resumed(bench: Bench) -> None:
    bench.cut("PUT", "/files/a.bin", b"abc", b"de", Upload_Complete="?1", **INTEROP)
    path = bench.places[0]
    reply = bench.head(path)
    assert (reply.upload_offset, reply.upload_complete, reply.upload_length) == ("5", "?0", "1005")
    assert bench.append(path, 5, b"x" * 1000, end=True).status == 201
    assert bench.content() == b"abcde" + b"x" * 1000


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Upload_Draft_Interop_Version": "7"},
        {"minor": 0, "Content_Length": "3", **INTEROP},
    ],
)
def test_all_at_once_from_others_is_an_upload_like_any(
    bench: Bench, fields: dict[str, Any]
) -> None:
    reply = bench.create("a.bin", b"abc", **{"Upload_Complete": "?1", **fields})
    assert (reply.status, reply.location, reply.upload_complete) == (201, "/files/a.bin", None)
    assert bench.informed == []
    assert bench.left() == []


def test_no_104_without_the_version(bench: Bench) -> None:
    path = bench.begun("a.bin", b"x" * 10)
    assert bench.informed == []
    bench.append(path, 10, b"x" * SYNC_BYTES)
    assert bench.informed == []


def test_progress_is_reported_and_is_on_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.begun()
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    piece = b"x" * WRITE_BYTES
    count = SYNC_BYTES // WRITE_BYTES
    bench.append(path, 0, *[piece] * count, *[piece] * count, b"y", **INTEROP)
    assert [status for status, _ in bench.informed] == [104, 104]
    offsets = [int(headers["Upload-Offset"]) for _, headers in bench.informed]
    assert offsets == [SYNC_BYTES, 2 * SYNC_BYTES]
    assert set(offsets) <= set(synced)
    assert all("Location" not in headers for _, headers in bench.informed)
    assert synced[-1] == 2 * SYNC_BYTES + 1


def test_an_empty_file(bench: Bench) -> None:
    path = bench.begun(Upload_Length=0)
    assert bench.append(path, 0, end=True).status == 201
    assert bench.content() == b""


def test_a_whole_that_is_empty(bench: Bench) -> None:
    assert bench.create("a.bin", Upload_Complete="?1", **INTEROP).status == 201
    assert bench.content() == b""
    assert bench.left() == []


def test_the_length_comes_late(bench: Bench) -> None:
    path = bench.begun()
    assert bench.head(path).upload_length is None
    bench.append(path, 0, b"ab", Upload_Length=5)
    bench.restart()
    assert bench.head(path).upload_length == "5"
    assert bench.append(path, 2, b"cdef", end=True).status == 400
    assert bench.append(path, 2, b"cde", end=True).status == 201


def test_all_bytes_are_there_but_it_is_not_complete(bench: Bench) -> None:
    """Only the client says when it is (section 4.1.3)."""
    path = bench.begun(Upload_Length=3)
    assert bench.append(path, 0, b"abc").status == 204
    assert bench.offset(path) == 3
    assert bench.content() is None
    assert bench.append(path, 3, end=True).status == 201


def test_chunked_content(bench: Bench) -> None:
    path = bench.begun()
    assert bench.append(path, 0, b"ab", b"c", chunked=True).upload_offset == "3"
    assert bench.append(path, 3, b"de", chunked=True, end=True).status == 201
    assert bench.content() == b"abcde"


def test_names_are_written_as_paths(bench: Bench) -> None:
    (bench.path / "ä b").mkdir()
    path = bench.begun("%C3%A4%20b/x%3fy%25.t+t")
    reply = bench.append(path, 0, b"abc", end=True)
    assert reply.location == "/files/%C3%A4%20b/x%3Fy%25.t+t"
    assert bench.content("ä b/x?y%.t+t") == b"abc"


def test_cancelled(bench: Bench) -> None:
    path = bench.begun("a.bin", b"abc")
    reply = bench.ask("DELETE", path)
    assert reply.status == 204
    assert bench.left() == []
    for again in (bench.head(path), bench.append(path, 3, b"d"), bench.ask("DELETE", path)):
        assert again.status == 404


def test_cancelling_what_is_finished_only_forgets_it(bench: Bench) -> None:
    path = bench.begun()
    bench.append(path, 0, b"abc", end=True)
    assert bench.ask("DELETE", path).status == 204
    assert bench.head(path).status == 404
    assert bench.content() == b"abc"
    assert bench.left() == []


def test_options(bench: Bench) -> None:
    reply = bench.ask("OPTIONS", "/files/.uploads/x")
    assert reply.status == 204
    assert reply.headers == {
        "Allow": "DELETE, HEAD, OPTIONS, PATCH",
        "Accept-Patch": PARTIAL,
        "Upload-Limit": f"max-size={1024**3}, max-age=86400",
    }
    assert {name.title(): it for name, it in bench.resumable.offers} == {
        name: it for name, it in reply.headers.items() if name != "Allow"
    }


def test_post_does_the_same(bench: Bench) -> None:
    reply = bench.ask("POST", "/files/a.bin", Upload_Complete="?0")
    assert (reply.status, reply.upload_offset) == (201, "0")


# --- broken --------------------------------------------------------------------------------------


def test_the_bytes_of_a_broken_append_are_kept(bench: Bench) -> None:
    path = bench.begun(Upload_Length=2000)
    fields = {"Content_Type": PARTIAL, "Upload_Offset": 0, "Upload_Complete": "?0"}
    bench.cut("PATCH", path, b"abc", b"defg", **fields)
    assert bench.offset(path) == 7
    bench.restart()
    assert bench.offset(path) == 7
    assert bench.append(path, 0, b"a").status == 409
    assert bench.append(path, 7, b"x" * 1993, end=True).status == 201
    assert bench.content() == b"abcdefg" + b"x" * 1993


def test_a_complete_that_broke_is_not_complete(bench: Bench) -> None:
    path = bench.begun()
    fields = {"Content_Type": PARTIAL, "Upload_Offset": 0, "Upload_Complete": "?1"}
    bench.cut("PATCH", path, b"abc", **fields)
    assert bench.offset(path) == 3
    assert bench.content() is None


@pytest.mark.parametrize("step", range(12))
def test_a_handler_that_is_closed_anywhere(bench: Bench, step: int) -> None:
    """Its connection is lost and it may not even clean up. A reported offset stays true."""
    path = bench.begun("a.bin", b"12")
    request = bench.request(
        "PATCH", path, b"345", b"678", b"9", Content_Type=PARTIAL, Upload_Offset="2",
        Upload_Complete="?1",
    )  # fmt: skip
    play = Play(bench.router(request), Stage())  # type: ignore[arg-type]
    for _ in range(step):
        if play.operation is not None:
            play.step()
    play.close()
    del play, request
    reply = bench.head(path)
    assert reply.status == 204
    if reply.upload_complete == "?1":
        assert bench.content() == b"123456789"
    else:
        offset = int(reply.headers["Upload-Offset"])
        assert bench.content() is None
        assert bench.append(path, offset, b"123456789"[offset:], end=True).status == 201
        assert bench.content() == b"123456789"
    bench.expire()
    bench.now += 86401
    bench.expire()
    assert bench.left() == []


@pytest.mark.parametrize("how", ["cut", "closed", "full", "too large", "longer"])
def test_an_upload_without_a_known_address_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """No 104 has said where it is, and no response will."""
    bench = Bench(tmp_path, resumable_uploads=1, upload_bytes=20 if how == "too large" else 9999)
    if how == "cut":
        bench.cut("PUT", "/files/a.bin", b"abc", b"de", Upload_Complete="?0")
    elif how == "closed":
        request = bench.request("PUT", "/files/a.bin", b"a", b"b", Upload_Complete="?0")
        play = Play(bench.router(request), Stage())  # type: ignore[arg-type]
        while not bench.left():
            play.step()
        play.step()
        assert len(bench.left()) == 2
        play.close()
        del play, request
    elif how == "full":
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", fails_with(28))
            reply = bench.create("a.bin", b"abc")
        assert (reply.status, reply.location, reply.upload_offset) == (507, None, None)
    elif how == "too large":
        reply = bench.create("a.bin", b"x" * 20, b"y", chunked=True)
        assert (reply.status, reply.location) == (413, None)
    else:
        reply = bench.create("a.bin", b"x" * 5, b"y", chunked=True, Upload_Length=5)
        assert reply.status == 400
    assert bench.left() == []
    assert bench.begun("b.bin", b"b")  # its place is free


@pytest.mark.parametrize("step", range(9))  # then the response is on its way
@pytest.mark.parametrize("informed", [False, True])
def test_a_creation_that_is_cancelled_anywhere(tmp_path: Path, step: int, informed: bool) -> None:
    bench = Bench(tmp_path, resumable_uploads=1)
    fields: dict[str, Any] = {"Upload_Complete": "?0", **(INTEROP if informed else {})}
    request = bench.request("PUT", "/files/a.bin", b"a", b"b", b"c", **fields)
    stage = Stage()
    play = Play(bench.router(request), stage)  # type: ignore[arg-type]
    for _ in range(step):
        play.step()
    stage.holding = True
    play.operation.start(stage)  # the running job ends after the cancellation
    with contextlib.suppress(Cancelled):
        play.throw(Cancelled())
        while play.operation is not None:
            future = play.operation.start(stage)
            stage.perform(range(len(stage.jobs)))
            play.resume(future)
    stage.perform(range(len(stage.jobs)))
    del play, request, stage
    known = [place for place in bench.places if place]
    if known:
        assert bench.head(known[0]).status == 204
    else:
        assert bench.left() == []
        assert bench.begun("b.bin", b"b")


@pytest.mark.parametrize("complete", ["?0", "?1"])
def test_an_error_says_how_far_a_known_upload_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: str
) -> None:
    bench = Bench(tmp_path, upload_bytes=20)
    reply = bench.create(
        "a.bin", b"x" * 15, b"y" * 6, chunked=True, Upload_Complete=complete, **INTEROP
    )
    assert reply.status == 413
    assert reply.location == bench.places[0]
    assert (reply.upload_offset, reply.upload_complete) == ("15", "?0")
    assert bench.offset(reply.location) == 15
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fails_with(28))
        reply = bench.create("b.bin", b"x" * 15, Upload_Complete=complete, **INTEROP)
    assert reply.status == 507
    assert (reply.upload_offset, reply.upload_complete) == ("0", "?0")
    assert bench.offset(reply.location or "") == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fails_with(28))
        patch.setattr(os, "fsync", fails_after(2, 28))  # behind the record and its directory
        reply = bench.create("c.bin", b"x" * 15, Upload_Complete=complete, **INTEROP)
    assert reply.status == 507
    assert (reply.upload_offset, reply.upload_complete) == (None, "?0")
    assert bench.offset(reply.location or "") == 0


def test_an_error_of_what_is_over_says_no_more(bench: Bench) -> None:
    (bench.path / "sub").mkdir()
    request = bench.request("PUT", "/files/sub/a", b"a", Upload_Complete="?1", **INTEROP)
    play = Play(bench.router(request), Stage())  # type: ignore[arg-type]
    while not bench.left():
        play.step()
    (bench.path / "sub").rmdir()
    (bench.path / "sub").write_bytes(b"")
    while play.operation is not None:
        play.step()
    assert play.result.status == 409
    ours = ("Content-Type", "Vary")  # every error has them
    informed = {name: value for name, value in play.result.headers if name not in ours}
    assert informed == {"Upload-Complete": "?1"}
    assert bench.left() == []


def fails_after(count: int, number: int) -> Callable[..., Any]:
    real, left = os.fsync, [count]

    def fsync(file: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(number, os.strerror(number))
        real(file)

    return fsync


# --- refusals ------------------------------------------------------------------------------------


def test_a_wrong_offset(bench: Bench) -> None:
    path = bench.begun("a.bin", b"abc")
    for offset in (0, 2, 4, 10**14):
        reply = bench.append(path, offset, b"d")
        assert (reply.status, reply.upload_offset) == (409, "3")
        assert problem(reply) == "mismatching-upload-offset"
        content = json.loads(reply.body)
        assert (content["expected-offset"], content["provided-offset"]) == (3, offset)
        assert reply.upload_complete is None
    assert bench.append(path, 3, b"d").status == 204


@pytest.mark.parametrize(
    ("length", "fields", "pieces"),
    [
        (10, {"Upload_Length": 11}, [b"abc"]),
        (10, {}, [b"x" * 11]),
        (10, {"Upload_Complete": "?1"}, [b"x" * 9]),
        (None, {"Upload_Complete": "?1", "Upload_Length": 4}, [b"abc"]),
        (None, {"Upload_Length": 2}, [b"abc"]),
    ],
)
def test_lengths_that_contradict_change_nothing(
    bench: Bench, length: int | None, fields: dict[str, Any], pieces: list[bytes]
) -> None:
    path = bench.begun() if length is None else bench.begun(Upload_Length=length)
    reply = bench.append(path, 0, *pieces, **fields)
    assert (reply.status, problem(reply)) == (400, "inconsistent-upload-length")
    assert bench.offset(path) == 0
    assert bench.head(path).upload_length == (None if length is None else str(length))


@pytest.mark.parametrize("fields", [{"Upload_Length": 2}, {"Upload_Length": 9, **INTEROP}])
def test_lengths_that_contradict_at_creation(bench: Bench, fields: dict[str, Any]) -> None:
    complete = "?1" if len(fields) > 1 else "?0"
    reply = bench.create("a.bin", b"abc", Upload_Complete=complete, **fields)
    assert (reply.status, problem(reply)) == (400, "inconsistent-upload-length")
    assert bench.left() == []


def test_more_than_its_length_ends_the_upload(bench: Bench) -> None:
    """The length of a chunked body is known only at its end (section 4.4.2)."""
    path = bench.begun(Upload_Length=4)
    reply = bench.append(path, 0, b"abc", b"de", chunked=True)
    assert (reply.status, problem(reply)) == (400, "inconsistent-upload-length")
    assert bench.head(path).status == 404
    assert bench.left() == []


def test_less_than_its_length_does_not(bench: Bench) -> None:
    path = bench.begun(Upload_Length=4)
    reply = bench.append(path, 0, b"abc", chunked=True, end=True)
    assert (reply.status, problem(reply)) == (400, "inconsistent-upload-length")
    assert bench.append(path, 3, b"d", end=True).status == 201
    assert bench.content() == b"abcd"


def test_nothing_is_appended_to_a_finished_upload(bench: Bench) -> None:
    path = bench.begun()
    bench.append(path, 0, b"abc", end=True)
    for chunked in (False, True):
        reply = bench.append(path, 3, b"d", chunked=chunked)
        assert (reply.status, problem(reply)) == (400, "inconsistent-upload-length")
        pieces = [b""] if chunked else []
        reply = bench.append(path, 3, *pieces, chunked=chunked, end=True)
        assert (reply.status, problem(reply)) == (400, "completed-upload")
        assert reply.upload_complete is None  # that would make it the upload's own result
    reply = bench.append(path, 0, b"abc", end=True)
    assert (reply.status, reply.upload_offset) == (409, "3")
    assert bench.content() == b"abc"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Upload_Complete": "1"}, 400),
        ({"Content_Range": "bytes 3-3/4"}, 400),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
    ],
)
def test_requests_that_are_no_append(bench: Bench, fields: dict[str, Any], status: int) -> None:
    path = bench.begun("a.bin", b"abc")
    reply = bench.append(path, 3, b"d", **fields)
    assert reply.status == status
    if fields.get("Content_Type"):
        assert reply.accept_patch == PARTIAL
    assert bench.offset(path) == 3


def test_other_sites_cancel_nothing(bench: Bench) -> None:
    path = bench.begun()
    assert bench.ask("DELETE", path, Origin="http://evil.example").status == 403
    assert bench.ask("DELETE", path, Sec_Fetch_Site="cross-site").status == 403
    assert bench.ask("DELETE", path, Origin="http://example.com").status == 204


@pytest.mark.parametrize(
    "ident",
    ["x", "..%2f..", "%00" * 22, "a" * 21, "a" * 23, "%C3%A4" * 22, "*" * 22, "a" * 22,
     "%2e%2e", "..%2fa.bin%00aaaaaaaaaaaaa", "A" * 21 + "%0a"],
)  # fmt: skip
def test_ids_that_are_none(bench: Bench, ident: str) -> None:
    bench.begun()
    before = bench.left()
    path = f"/files/.uploads/{ident}"
    replies = [bench.head(path), bench.append(path, 0, b"a"), bench.ask("DELETE", path)]
    assert [reply.status for reply in replies] == [404, 404, 404]
    assert bench.left() == before


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("no/" * 33 + "file.bin", 409),
        ("out/file.bin", 409),
        ("directory", 409),
        (".hidden", 404),
        (".uploads/x", 404),
        ("a%2fb", 404),
        ("..", 404),
        ("link", 404),
        ("n" * 300, 414),
    ],
)
def test_names_that_no_upload_can_have(bench: Bench, name: str, status: int) -> None:
    (bench.path / "directory").mkdir()
    (bench.path / "link").symlink_to("/etc/passwd")
    (bench.path / "out").symlink_to("/nowhere/at/all")
    reply = bench.create(name, Upload_Length=3)
    assert reply.status == status
    assert bench.left() == []
    assert not (bench.path / "no").exists()


@pytest.mark.parametrize("why", ["full", "no place", "no directory", "no room on the disk"])
def test_a_whole_file_needs_no_resource(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    bench = Bench(tmp_path, resumable_bytes=100, resumable_uploads=1 if why == "no place" else 9)
    (tmp_path / "sub").mkdir()
    if why == "no directory":
        (tmp_path / ".uploads").write_bytes(b"")
    elif why == "no room on the disk":
        monkeypatch.setattr(partial_store, "write_record", fails_with(28))
    else:
        bench.begun("other", b"x" * 60, Upload_Length=90)
    left = bench.left() if why != "no directory" else []
    status = 403 if why == "no directory" else 507
    assert bench.create("sub/a", b"x" * 50, Upload_Length=50).status == status
    reply = bench.create("sub/a", b"x" * 50, Upload_Complete="?1", **INTEROP)
    assert (reply.status, reply.location, reply.upload_complete) == (201, "/files/sub/a", None)
    assert bench.informed == []
    assert bench.content("sub/a") == b"x" * 50
    assert why == "no directory" or bench.left() == left
    again = bench.create("sub/a", b"y", Upload_Complete="?1", If_None_Match="*", **INTEROP)
    assert again.status == 412


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("mode", [0o755, 0o711])
def test_a_directory_below_one_that_cannot_be_written(mode: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        (path / "sub").mkdir()
        os.chown(path / "sub", 65534, -1)
        path.chmod(mode)
        os.seteuid(65534)
        try:
            bench = Bench(path)
            assert bench.create("sub/a", b"abc").status == 403
            reply = bench.create("sub/a", b"abc", Upload_Complete="?1", **INTEROP)
        finally:
            os.seteuid(0)
        assert reply.status == 201
        assert bench.content("sub/a") == b"abc"


@pytest.mark.parametrize("what", ["outside", "file"])
def test_a_link_in_the_place_of_the_uploads(tmp_path: Path, what: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    if what == "file":
        (tmp_path / "root/.uploads").write_bytes(b"")
    else:
        (tmp_path / "root/.uploads").symlink_to(tmp_path / "outside")
    bench = Bench(tmp_path / "root")
    assert bench.create("a.bin", b"secret").status == 403
    path = "/files/.uploads/" + "a" * 22
    assert bench.head(path).status == 403
    assert bench.append(path, 0, b"a").status == 403
    bench.expire()
    assert os.listdir(tmp_path / "outside") == []


def test_a_busy_upload_is_asked_for_again(bench: Bench) -> None:
    """Another process uses it: in this one the newer request would take over."""
    path = bench.begun("a.bin", b"abc")
    other = PartialStore(Root(bench.path)).open(path.rpartition("/")[2])
    assert other is not None
    for reply in (bench.head(path), bench.append(path, 3, b"d"), bench.ask("DELETE", path)):
        assert (reply.status, reply.retry_after) == (503, "1")
    del other
    assert bench.offset(path) == 3


# --- conditions ----------------------------------------------------------------------------------


def test_a_condition_is_checked_at_once(bench: Bench) -> None:
    (bench.path / "a.bin").write_bytes(b"old")
    assert bench.create("a.bin", If_None_Match="*").status == 412
    assert bench.create("b.bin", If_Match="*").status == 412
    assert bench.create("a.bin", If_Unmodified_Since="Sat, 01 Jan 2000 00:00:00 GMT").status == 412
    assert bench.left() == []


def test_the_date_of_a_file_is_of_whole_seconds(bench: Bench) -> None:
    """A file is not newer than its own Last-Modified for being written half a second into it."""
    (bench.path / "a.bin").write_bytes(b"old")
    os.utime(bench.path / "a.bin", ns=(0, 784111777_500000000))
    reply = bench.create("a.bin", If_Unmodified_Since="Sun, 06 Nov 1994 08:49:37 GMT")
    assert reply.status == 201


@pytest.mark.parametrize("there", [False, True])
def test_a_condition_is_checked_at_the_end(bench: Bench, there: bool) -> None:
    if there:
        (bench.path / "a.bin").write_bytes(b"old")
        tag = entity_tag((bench.path / "a.bin").stat(), NOW)
        path = bench.begun(If_Match=tag)
    else:
        path = bench.begun(If_None_Match="*")
    (bench.path / "a.bin").write_bytes(b"other")
    bench.restart()
    reply = bench.append(path, 0, b"abc", end=True)
    assert (reply.status, reply.upload_complete) == (412, "?1")
    assert bench.content() == b"other"
    assert bench.left() == []
    assert bench.head(path).status == 404


def test_a_condition_that_still_holds(bench: Bench) -> None:
    path = bench.begun(If_None_Match="*")
    bench.restart()
    assert bench.append(path, 0, b"abc", end=True).status == 201
    (bench.path / "b.bin").write_bytes(b"old")
    path = bench.begun("b.bin", If_Match="*")
    assert bench.append(path, 0, b"abc", end=True).status == 204


def test_a_directory_that_has_gone(bench: Bench) -> None:
    (bench.path / "sub").mkdir()
    path = bench.begun("sub/a.bin")
    (bench.path / "sub").rmdir()
    reply = bench.append(path, 0, b"abc", end=True)
    assert (reply.status, reply.upload_complete) == (201, "?1")
    assert bench.content("sub/a.bin") == b"abc"


def test_a_directory_that_has_become_something_else(bench: Bench) -> None:
    path = bench.begun("new/a.bin")
    assert not (bench.path / "new").exists()
    (bench.path / "new").symlink_to("/nowhere")
    reply = bench.append(path, 0, b"abc", end=True)
    assert (reply.status, reply.upload_complete) == (409, "?1")
    assert bench.left() == []


def test_an_end_that_fails_for_now_can_be_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.begun()
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", fails_with(28))  # ENOSPC
        reply = bench.append(path, 0, b"abc", end=True)
    assert (reply.status, reply.upload_complete) == (507, None)
    assert bench.offset(path) == 3
    bench.restart()
    assert bench.append(path, 3, end=True).status == 201
    assert bench.content() == b"abc"


def fails_with(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(("number", "status"), [(28, 507), (122, 507), (13, 403), (27, 413)])
def test_errors_of_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    path = bench.begun("a.bin", b"abc")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fails_with(number))
        reply = bench.append(path, 3, b"def")
        assert (reply.status, reply.upload_complete) == (status, None)
    assert bench.offset(path) == 3


def test_an_error_that_is_nobodys_stays_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.begun("a.bin", b"abc")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fails_with(5))
        assert bench.append(path, 3, b"def").status == 500
    assert bench.offset(path) == 3


@pytest.mark.parametrize("size", [0, 5, 3 * WRITE_BYTES + 1])
def test_another_file_system(bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The target's directory is a mount of its own: the bytes are copied, a piece at a time."""
    path = bench.begun(If_None_Match="*")
    data = os.urandom(size)
    real = os.link

    def link(source: str, *arguments: Any, **options: Any) -> None:
        if source.endswith(".part") and "/" not in source and not source.startswith("."):
            raise OSError(18, "another device")
        real(source, *arguments, **options)

    monkeypatch.setattr(os, "link", link)
    reply = bench.append(path, 0, *([data] if data else []), end=True)
    assert (reply.status, reply.location) == (201, "/files/a.bin")
    assert bench.content() == data
    assert bench.head(path).upload_complete == "?1"
    assert len(bench.left()) == 1
    assert sorted(os.listdir(bench.path)) == [".uploads", "a.bin"]


def test_another_file_system_that_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.begun()
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", fails_with(18))
        patch.setattr(os, "write", fails_with_but_records(28))
        reply = bench.append(path, 0, b"abc", end=True)
    assert (reply.status, reply.upload_complete) == (507, None)
    assert sorted(os.listdir(bench.path)) == [".uploads"]
    assert bench.append(path, 3, end=True).status == 201


def fails_with_but_records(number: int) -> Callable[..., Any]:
    real = os.write

    def write(file: int, data: bytes) -> int:
        if bytes(data) == b"abc":
            raise OSError(number, os.strerror(number))
        return real(file, data)

    return write


@pytest.mark.parametrize(
    "fields",
    [
        {"Upload_Complete": "maybe"},
        {"Upload_Complete": "0"},
        {"Upload_Complete": "?0, ?0"},
        {"Upload_Complete": ""},
        {"Upload_Length": '"3"'},
        {"Upload_Length": "-3"},
        {"Upload_Length": "3, 3", "Upload_Complete": "?0"},
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_malformed_field_keeps_a_part_from_being_the_whole(
    tmp_path: Path, fields: dict[str, str], method: str
) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"whole")
    assert bench.ask(method, "/files/a.bin", b"abc", **fields).status == 400
    assert bench.content() == b"whole"


# --- limits --------------------------------------------------------------------------------------


def test_the_largest_upload(tmp_path: Path) -> None:
    bench = Bench(tmp_path, upload_bytes=10)
    assert bench.create("a.bin", Upload_Length=10).status == 201
    reply = bench.create("a.bin", Upload_Length=11)
    assert (reply.status, reply.upload_limit) == (413, "max-size=10, max-age=86400")
    path = bench.begun("b.bin", b"12345678")
    reply = bench.append(path, 8, b"abc")
    assert (reply.status, reply.upload_limit) == (413, "max-size=10, max-age=86400")
    reply = bench.append(path, 8, b"a", b"bc", chunked=True)
    assert (reply.status, reply.upload_limit) == (413, "max-size=10, max-age=86400")
    assert bench.offset(path) == 9
    assert bench.append(path, 9, b"z", end=True).status == 201


def test_the_number_of_uploads(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_uploads=2)
    first, second = bench.begun("a", b"1"), bench.begun("b", b"2")
    assert bench.create("c").status == 507
    bench.restart()
    assert bench.create("c").status == 507
    bench.append(first, 1, b"x", end=True)  # a finished upload takes no room
    third = bench.begun("c", b"3")
    assert bench.create("d").status == 507
    bench.ask("DELETE", second)
    bench.begun("d", b"4")
    assert bench.create("e").status == 507
    assert bench.head(third).status == 204


def test_a_client_has_a_quarter_of_the_places_for_sure(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_uploads=8)
    bench.client = "192.0.2.1"
    its = []
    for number in range(8):
        bench.now += 1
        its.append(bench.begun(str(number), b"x"))
    assert bench.create("more", b"x").status == 507  # its own are not evicted for it
    bench.client = "192.0.2.2"
    others = [bench.begun(f"other{number}", b"x") for number in range(2)]
    assert bench.statuses(*its) == [404, 404, *[204] * 6]
    assert bench.create("more", b"x").status == 507  # that would be more than a quarter
    assert bench.statuses(*its[2:], *others) == [204] * 8
    bench.client = "2001:db8:0:1::1"
    bench.begun("another", b"x")
    assert bench.statuses(*its[2:], *others) == [404, *[204] * 7]


def test_a_client_has_a_quarter_of_the_bytes_for_sure(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_bytes=1000)
    bench.client = "2001:db8:0:1::1"
    its = [bench.begun("a", bytes(400))]
    bench.now += 1
    its.append(bench.begun("b", bytes(400)))
    bench.client = "2001:db8:0:2::1"  # the same /56, and so the same client
    assert bench.create("c", bytes(201)).status == 507
    bench.client = "192.0.2.2"
    other = bench.begun("d", bytes(200))
    assert bench.append(other, 200, bytes(50)).status == 204
    assert bench.statuses(*its) == [404, 204]
    assert bench.create("e", bytes(400)).status == 507
    assert bench.statuses(its[1], other) == [204, 204]


def test_the_client_of_an_upload_before_the_restart_is_unknown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_uploads=4)
    bench.client = "192.0.2.1"
    for number in range(4):
        bench.begun(str(number), b"x")
    bench.restart()
    bench.client = "192.0.2.2"
    assert bench.create("more", b"x").status == 507


def test_the_bytes_of_all_uploads(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_bytes=100)
    first = bench.begun("a", b"x" * 60, Upload_Length=61)
    assert bench.create("b", Upload_Length=41).status == 507  # it would never fit
    second = bench.begun("b", b"x" * 30, Upload_Length=40)
    bench.restart()
    assert bench.create("c", Upload_Length=11).status == 507
    third = bench.begun("c")
    assert bench.append(third, 0, b"x" * 10).status == 204
    reply = bench.append(third, 10, b"y")
    assert (reply.status, reply.upload_complete) == (507, None)
    assert bench.append(third, 10, b"y", b"z", chunked=True).status == 507
    assert bench.offset(third) == 10
    bench.ask("DELETE", second)
    assert bench.append(third, 10, b"y" * 30).status == 204
    assert bench.append(first, 60, b"x", end=True).status == 507
    assert bench.append(third, 40, b"y" * 60).status == 204  # it has evicted the first
    assert bench.append(third, 100, b"y").status == 413
    assert bench.head(first).status == 404


def test_a_length_that_comes_late_needs_room(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_bytes=100)
    bench.begun("a", b"x" * 60)
    second = bench.begun("b")
    assert bench.append(second, 0, b"x", Upload_Length=41).status == 507
    assert bench.head(second).upload_length is None
    assert bench.append(second, 0, b"x", Upload_Length=40).status == 204


def test_finished_uploads_are_remembered_up_to_the_same_number(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_uploads=3)
    paths = []
    for number in range(5):
        paths.append(bench.begun("a"))
        bench.append(paths[-1], 0, b"x", end=True)
        bench.now += 1
        if number == 2:
            bench.restart()
            bench.expire()
    assert [bench.head(path).status for path in paths] == [404, 404, 204, 204, 204]
    assert len(bench.left()) == 3


def test_age(bench: Bench) -> None:
    first = bench.begun("a")
    second = bench.begun("b", b"x")
    third = bench.begun("c")
    bench.append(third, 0, b"x", end=True)
    bench.now += 50_000
    bench.append(second, 1, b"y")
    bench.now += 36_400
    bench.expire()
    assert [bench.head(it).status for it in (first, second, third)] == [204, 204, 204]
    assert bench.head(first).upload_limit == f"max-size={1024**3}, max-age=0"
    bench.now += 1
    bench.expire()
    assert [bench.head(it).status for it in (first, second, third)] == [404, 204, 404]
    bench.now += 50_000
    bench.restart()
    bench.expire()
    assert bench.head(second).status == 404
    assert bench.left() == []
    assert bench.content("c") == b"x"


def test_old_uploads_make_room(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_uploads=1, resumable_age=10.0)
    bench.begun("a", b"x", Upload_Length=5)
    bench.now += 11
    assert bench.create("b").status == 507
    bench.expire()
    assert bench.create("b").status == 201


def test_uploads_of_another_process_count_from_the_next_look_on(tmp_path: Path) -> None:
    bench, other = Bench(tmp_path, resumable_uploads=2), Bench(tmp_path, resumable_uploads=2)
    bench.expire()
    paths = [other.begun("a", b"1"), other.begun("b", b"2")]
    bench.expire()
    assert bench.create("c").status == 507
    other.ask("DELETE", paths[0])
    bench.expire()
    assert bench.create("c").status == 201


def test_an_upload_of_another_process_counts_once_it_is_used_here(tmp_path: Path) -> None:
    bench, other = Bench(tmp_path, resumable_bytes=100), Bench(tmp_path, resumable_bytes=100)
    bench.expire()
    path = other.begun("a", b"x" * 59)
    assert bench.append(path, 59, b"x").status == 204
    assert bench.create("b", Upload_Length=41).status == 507
    assert bench.create("b", Upload_Length=40).status == 201


def test_an_age_is_looked_at_in_small_jobs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(70):
        bench.begun(f"a{number}")
    sizes = []
    real = PartialStore.inspect

    def inspect(self: PartialStore, names: list[str], now: float, age: float) -> Any:
        sizes.append(len(names))
        return real(self, names, now, age)

    monkeypatch.setattr(PartialStore, "inspect", inspect)
    bench.expire()
    assert sum(sizes) == 70
    assert max(sizes) <= 32


def test_expiring_never_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "listdir", fails_with(5))
    (bench.path / ".uploads").mkdir()
    bench.expire()
    assert "partial uploads" in caplog.text


def test_an_old_record_that_cannot_be_forgotten_spoils_no_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, resumable_uploads=1)
    bench.append(bench.begun("a"), 0, b"x", end=True)
    path = bench.begun("b")
    monkeypatch.setattr(PartialStore, "forget", fails_with(5))
    assert bench.append(path, 0, b"x", end=True).status == 201
    assert "Cannot remove the record" in caplog.text


# --- eviction ------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("first", [b"", b"x"])
def test_declared_room_shuts_nobody_out(tmp_path: Path, restarted: bool, first: bytes) -> None:
    """Only the bytes that are there count, and nobody is evicted for announcements."""
    bench = Bench(tmp_path)
    paths = []
    for number in range(40):
        paths.append(bench.begun(f"a{number}", *([first] if first else []), Upload_Length=1024**3))
        bench.now += 1
    if restarted:
        bench.restart()
    new = bench.begun("b", b"x", Upload_Length=1024**3)
    assert bench.statuses(new, *paths) == [204] * 41


def test_the_oldest_of_the_empty_ones_gives_way_and_no_more_than_needed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_uploads=4)
    full = bench.begun("full", b"x")
    empty = []
    for number in range(3):
        bench.now += 1
        empty.append(bench.begun(f"empty{number}", Upload_Length=5))
    bench.ask("HEAD", empty[0])  # to be asked for makes it no younger
    new = bench.begun("new", b"x")
    assert bench.statuses(full, new, *empty) == [204, 204, 404, 204, 204]


def test_bytes_are_needed_and_no_place(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_bytes=100)
    empty = bench.begun("empty", Upload_Length=90)
    idle = bench.begun("idle", b"x" * 90)
    bench.now += 3601
    new = bench.begun("new", b"x" * 20)
    assert bench.statuses(empty, idle, new) == [204, 404, 204]


def test_no_upload_is_evicted_in_vain(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_bytes=100)
    idle = bench.begun("idle", b"x" * 30)
    bench.now += 3601
    full = bench.begun("full", b"x" * 60)
    empty = bench.begun("empty", Upload_Length=40)
    assert bench.create("new", b"x" * 41).status == 507
    assert bench.create("new", Upload_Length=41).status == 507
    assert bench.statuses(idle, full, empty) == [204, 204, 204]


def test_those_that_have_bytes_wait_for_a_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_uploads=3, resumable_idle=100.0)
    first = bench.begun("first", b"x")
    bench.now += 10
    second = bench.begun("second", b"x")
    bench.append(first, 1, b"y")
    bench.now += 100
    empty = bench.begun("empty")
    assert bench.create("new", b"x", **INTEROP).status == 201
    assert bench.statuses(first, second, empty) == [204, 204, 404]
    assert bench.create("newer").status == 507
    bench.now += 0.5
    newer = bench.begun("newer", b"x")
    assert sorted(bench.statuses(first, second)) == [204, 404]  # both had waited as long
    assert bench.head(newer).status == 204


def test_an_upload_that_grows_evicts_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_bytes=100)
    first = bench.begun("first", b"x" * 45)
    bench.now += 1
    second = bench.begun("second", b"x" * 45)
    bench.now += 3601
    mine = bench.begun("mine", Upload_Length=60)
    assert bench.append(mine, 0, b"x" * 10).status == 204
    assert bench.statuses(first, second, mine) == [204, 204, 204]
    assert bench.append(mine, 10, b"x" * 5, b"y", chunked=True).status == 204
    assert bench.statuses(first, second, mine) == [404, 204, 204]


def test_some_of_those_that_cannot_all_be_completed_are(tmp_path: Path) -> None:
    """An upload that found no room is evicted for the others, however young it is."""
    bench = Bench(tmp_path, resumable_bytes=100)
    paths = [bench.begun(f"a{number}", b"x" * 33) for number in range(3)]
    assert bench.append(paths[0], 33, b"x" * 27, end=True).status == 507
    assert bench.statuses(*paths) == [204] * 3
    bench.expire()  # taking stock forgets nothing
    assert bench.append(paths[1], 33, b"x" * 27, end=True).status == 201
    assert bench.statuses(*paths) == [404, 204, 204]
    assert bench.append(paths[2], 33, b"x" * 27, end=True).status == 201


def test_an_upload_that_has_found_room_again_does_not_give_way(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_bytes=100)
    mine, other = bench.begun("mine", b"x" * 60), bench.begun("other", b"x" * 40)
    assert bench.append(mine, 60, b"x").status == 507
    assert bench.ask("DELETE", other).status == 204
    assert bench.append(mine, 60, b"x").status == 204
    assert bench.create("new", b"x" * 40).status == 507
    assert bench.offset(mine) == 61


def test_an_upload_in_use_is_not_evicted(tmp_path: Path) -> None:
    """Also not if another process uses it; and no request waits for that."""
    bench = Bench(tmp_path, resumable_uploads=2)
    mine, others = bench.begun("mine"), bench.begun("others")
    part = PartialStore(Root(tmp_path)).open(others.rpartition("/")[2])
    fields: dict[str, Any] = {"Upload_Offset": 0, "Upload_Complete": "?1"}
    request = bench.request("PATCH", mine, b"a", b"b", Content_Type=PARTIAL, **fields)
    play = Play(bench.router(request), Stage())  # type: ignore[arg-type]
    play.step()
    assert bench.create("new").status == 507
    assert part is not None
    del part
    while play.operation is not None:
        play.step()
    assert play.result.status == 201
    assert bench.statuses(mine, others) == [204, 204]


def test_bytes_that_came_by_another_process_count(tmp_path: Path) -> None:
    bench, other = Bench(tmp_path, resumable_uploads=1), Bench(tmp_path)
    path = bench.begun("a")
    assert other.append(path, 0, b"x").status == 204
    assert bench.create("b").status == 507
    assert bench.offset(path) == 1
    assert other.append(path, 1, b"x", end=True).status == 201
    bench.now += 3601
    assert bench.create("b").status == 201  # a finished upload takes no room
    assert bench.head(path).upload_complete == "?1"


def test_an_upload_that_cannot_be_evicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, resumable_uploads=2)
    paths = bench.begun("a"), bench.begun("b")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fails_with(5))
        assert bench.create("c").status == 507
    assert "Cannot evict" in caplog.text
    assert bench.statuses(*paths) == [204, 204]


def test_a_request_for_an_upload_that_is_being_evicted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, resumable_uploads=1)
    path = bench.begun("a")
    stage = Stage()
    request = bench.request("PUT", "/files/b", Upload_Complete="?0")
    new = Play(bench.router(request), stage)  # type: ignore[arg-type]
    while bench.left() and path.rpartition("/")[2] not in bench.resumable._leases:
        new.step()
    asking = Play(bench.router(bench.request("HEAD", path)), stage)  # type: ignore[arg-type]
    turn = asking.operation
    while new.operation is not None:
        new.step()
    assert new.result.status == 201
    assert turn.done
    asking.resume(turn)
    while asking.operation is not None:
        asking.step()
    assert asking.result.status == 404


# --- against a plain model -----------------------------------------------------------------------


@dataclass
class Modelled:
    """The expected state of an upload."""

    path: str
    name: str
    length: int | None
    exclusive: bool  # If-None-Match: *
    touched: float
    data: bytes = b""
    state: str = "open"
    refused: bool = False  # it has found no room


class Exchange(RuleBasedStateMachine):
    """Any requests in any order, by clients that err; three uploads of 20 bytes, 45 in all."""

    MOST, SIZE, TOTAL, AGE, IDLE = 3, 20, 45, 100, 40

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda file: None)
        self.directory = tempfile.TemporaryDirectory()
        self.bench = Bench(
            Path(self.directory.name),
            upload_bytes=self.SIZE,
            resumable_uploads=self.MOST,
            resumable_bytes=self.TOTAL,
            resumable_age=float(self.AGE),
            resumable_idle=float(self.IDLE),
        )
        self.uploads: list[Modelled] = []
        self.files: dict[str, bytes] = {}
        self.counted = False

    def teardown(self) -> None:
        self.patch.undo()
        self.directory.cleanup()

    # --- the model -------------------------------------------------------------------------------

    @property
    def open(self) -> list[Modelled]:
        return [it for it in self.uploads if it.state == "open"]

    def look(self) -> None:
        """Do what a sweep does."""
        for it in self.uploads:
            if self.bench.now - it.touched > self.AGE:
                it.state = "gone"
        self.forget_the_oldest()
        self.counted = True

    def forget_the_oldest(self) -> None:
        finished = sorted((it for it in self.uploads if it.state == "finished"), key=age_of)
        for it in finished[: -self.MOST]:
            it.state = "gone"

    def first_look(self) -> None:
        if not self.counted:
            self.look()

    def idle_ones(self, but: Modelled | None) -> list[Modelled]:
        """The uploads that may be evicted, the first to go first."""

        def is_idle(one: Modelled) -> bool:
            return self.bench.now - one.touched > self.IDLE

        found = [one for one in self.open if one is not but]
        found = [one for one in found if not one.data or one.refused or is_idle(one)]
        return sorted(found, key=lambda one: (bool(one.data), not is_idle(one), one.touched))

    def could_have_room(self, it: Modelled | None, size: int) -> bool:
        going = self.idle_ones(it)
        staying = [one for one in self.open if one is not it and one not in going]
        fits = sum(len(one.data) for one in staying) + size <= self.TOTAL
        if it is not None and not fits:
            it.refused = True
        return fits

    def has_room(self, it: Modelled | None, size: int) -> bool:
        """Evict others, if that makes room for it."""
        staying = [other for other in self.open if other is not it]
        going: list[Modelled] = []
        for other in self.idle_ones(it):
            many = it is None and len(staying) >= self.MOST
            much = sum(len(one.data) for one in staying) + size > self.TOTAL
            if many or (much and other.data):
                staying.remove(other)
                going.append(other)
        if it is None and len(staying) >= self.MOST:
            return False
        if sum(len(other.data) for other in staying) + size > self.TOTAL:
            if it is not None:
                it.refused = True
            return False
        for other in going:
            other.state = "gone"
        if it is not None:
            it.refused = False
        return True

    def receive(self, it: Modelled, pieces: list[bytes]) -> int:
        for piece in pieces:
            size = len(it.data) + len(piece)
            if it.length is None and size > self.SIZE:
                return 413
            if it.length is not None and size > it.length:
                it.state = "gone"
                return 400
            if not self.has_room(it, size):
                return 507
            it.data += piece
            it.touched = self.bench.now
        return 0

    def finish(self, it: Modelled) -> int:
        if it.length not in (None, len(it.data)):
            return 400
        if it.exclusive and it.name in self.files:
            it.state = "gone"
            return 412
        replaced = it.name in self.files
        self.files[it.name] = it.data
        it.state, it.length, it.touched = "finished", len(it.data), self.bench.now
        self.bench.now += 1  # so that it is known which is the oldest
        self.forget_the_oldest()
        return 204 if replaced else 201

    def append(
        self, it: Modelled, offset: int, pieces: list[bytes], declared: int | None,
        *, chunked: bool, end: bool,
    ) -> int:  # fmt: skip
        if it.state == "gone":
            return 404
        if offset != len(it.data):
            return 409
        if it.state == "finished":
            return 400
        count = 0 if chunked else sum(map(len, pieces))
        informed = {it.length, declared, offset + count if end and not chunked else None} - {None}
        if len(informed) > 1 or any(offset + count > one for one in informed if one is not None):
            return 400
        length = informed.pop() if informed else None
        if max(length or 0, offset + count) > self.SIZE:
            return 413
        if not self.could_have_room(it, max(length or 0, offset + count)):
            return 507
        it.length = length
        return self.receive(it, pieces) or (self.finish(it) if end else 204)

    # --- what happens ----------------------------------------------------------------------------

    @rule(
        name=st.sampled_from("ab"),
        length=st.none() | st.integers(0, 22),
        exclusive=st.booleans(),
        first=st.binary(max_size=6),
    )
    def create(self, name: str, length: int | None, exclusive: bool, first: bytes) -> None:
        self.bench.now += 1  # so that it is known which is the oldest
        self.first_look()
        fields: dict[str, Any] = {} if length is None else {"Upload_Length": length}
        if exclusive:
            fields["If_None_Match"] = "*"
        reply = self.bench.create(name, *([first] if first else []), **fields)
        it = Modelled("", name, length, exclusive, self.bench.now)
        if length is not None and len(first) > length:
            expected = 400
        elif (length or 0) > self.SIZE:
            expected = 413
        elif exclusive and name in self.files:
            expected = 412
        elif not (self.could_have_room(None, length or 0) and self.has_room(None, 0)):
            expected = 507
        else:
            self.uploads.append(it)
            expected = self.receive(it, [first] if first else []) or 201
        assert reply.status == expected
        if expected == 201:
            it.path = reply.headers["Location"]
        elif it in self.uploads:  # nobody knows where it is
            self.uploads.remove(it)

    @precondition(lambda self: self.uploads)
    @rule(
        data=st.data(),
        wrong=st.sampled_from([0, 0, 0, 0, 0, -1, 1, 7]),
        pieces=st.lists(st.binary(min_size=1, max_size=9), max_size=3),
        declared=st.none() | st.none() | st.integers(0, 22),
        chunked=st.booleans(),
        end=st.booleans(),
    )
    def append_pieces(
        self, data: st.DataObject, wrong: int, pieces: list[bytes], declared: int | None,
        chunked: bool, end: bool,
    ) -> None:  # fmt: skip
        self.bench.now += 1
        self.first_look()
        it = data.draw(st.sampled_from(self.uploads))
        offset = max(0, len(it.data) + wrong)
        fields: dict[str, Any] = {} if declared is None else {"Upload_Length": declared}
        chunked = chunked and bool(pieces)
        reply = self.bench.append(it.path, offset, *pieces, end=end, chunked=chunked, **fields)
        assert reply.status == self.append(it, offset, pieces, declared, chunked=chunked, end=end)
        ended = it.state == "finished" and reply.status < 300
        assert (reply.upload_complete == "?1") == (ended or reply.status == 412)
        if reply.status == 409:
            assert reply.upload_offset == str(len(it.data))
        self.set_times()

    @precondition(lambda self: self.open)
    @rule(data=st.data(), pieces=st.lists(st.binary(min_size=1, max_size=5), max_size=2))
    def lose_the_connection(self, data: st.DataObject, pieces: list[bytes]) -> None:
        self.bench.now += 1
        self.first_look()
        if not self.open:  # too old, all of them
            self.bench.expire()
            return
        it = data.draw(st.sampled_from(self.open))
        try:
            self.bench.append(it.path, len(it.data), *pieces, Cut(), end=True, chunked=True)
        except Cut:
            expected = 0
        else:
            expected = -1
        status = self.receive(it, pieces)
        assert bool(status) == bool(expected)
        self.set_times()

    @precondition(lambda self: self.uploads)
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        self.first_look()
        it = data.draw(st.sampled_from(self.uploads))
        reply = self.bench.head(it.path)
        if it.state == "gone":
            assert reply.status == 404
            return
        assert reply.status == 204
        assert reply.upload_complete == f"?{int(it.state == 'finished')}"
        assert reply.upload_offset == str(len(it.data))
        assert reply.upload_length == (None if it.length is None else str(it.length))
        left = max(0, int(it.touched + self.AGE - self.bench.now))
        assert reply.upload_limit == f"max-size={self.SIZE}, max-age={left}"

    @precondition(lambda self: self.uploads)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.first_look()
        it = data.draw(st.sampled_from(self.uploads))
        assert self.bench.ask("DELETE", it.path).status == (404 if it.state == "gone" else 204)
        it.state = "gone"

    @rule()
    def restart(self) -> None:
        self.bench.restart()
        self.counted = False

    @rule(seconds=st.integers(1, 70))
    def wait(self, seconds: int) -> None:
        self.bench.now += seconds

    @rule()
    def expire(self) -> None:
        self.bench.expire()
        self.look()

    def set_times(self) -> None:
        """An interrupted upload has the time of the kernel, whose clock is not ours."""
        for it in self.open:
            part = self.bench.path / f".uploads/{it.path.rpartition('/')[2]}.part"
            os.utime(part, (it.touched, it.touched))

    # --- what always holds -----------------------------------------------------------------------

    @invariant()
    def the_files_are_those_of_finished_uploads(self) -> None:
        assert {name: self.bench.content(name) for name in self.files} == self.files
        assert set(os.listdir(self.bench.path)) <= {*self.files, ".uploads"}

    @invariant()
    def nothing_is_left_of_what_is_gone(self) -> None:
        expected = set()
        for it in self.uploads:
            name = it.path.rpartition("/")[2]
            if it.state != "gone":
                expected.add(f"{name}.json")
            if it.state == "open":
                expected.add(f"{name}.part")
        assert set(self.bench.left()) == expected

    @invariant()
    def every_byte_is_there(self) -> None:
        for it in self.open:
            part = self.bench.path / f".uploads/{it.path.rpartition('/')[2]}.part"
            assert part.read_bytes() == it.data


def age_of(it: Modelled) -> float:
    return it.touched


TestExchange = Exchange.TestCase
TestExchange.pytestmark = [pytest.mark.slow]  # type: ignore[attr-defined]
TestExchange.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


# --- with a real server --------------------------------------------------------------------------


def responses_of(client: Client, method: str = "PATCH") -> tuple[list[RawResponse], RawResponse]:
    """The informational responses to a request, and the final one."""
    informed = []
    while (response := client.read_response(method)).status < 200:
        informed.append(response)
    return informed, response


def begin(client: Client, name: str = "a.bin", *fields: str) -> str:
    response = client.ask(f"/files/{name}", "Upload-Complete: ?0", *fields, method="PUT")
    assert response.status == 201
    location = response.get("location")
    assert location is not None
    return urljoin(f"/files/{name}", location)


def head_of_append(path: str, offset: int, length: int, *fields: str, end: bool = True) -> bytes:
    lines = [f"Content-Type: {PARTIAL}", f"Upload-Offset: {offset}", f"Upload-Complete: ?{end:d}"]
    return encode(path, *lines, f"Content-Length: {length}", *fields, method="PATCH")


def asked(client: Client, path: str) -> tuple[int, str | None]:
    response = client.ask(path, method="HEAD")
    assert response.status == 204, response
    return int(response.get("upload-offset") or -1), response.get("upload-complete")


VERSION = "Upload-Draft-Interop-Version: 8"


@pytest.mark.parametrize("expects", [False, True])
def test_104_on_the_wire(serve: Serve, bench: Bench, expects: bool) -> None:
    client = serve(bench.router).connect()
    fields = ["Upload-Complete: ?1", VERSION, "Content-Length: 5"]
    fields += ["Expect: 100-continue"] if expects else []
    client.send(encode("/files/a.bin", *fields, method="POST"))
    informed = client.read_response()
    assert informed.status == 104
    assert informed.head.startswith(b"HTTP/1.1 104 Upload Resumption Supported\r\n")
    assert informed.get("upload-draft-interop-version") == "8"
    if expects:  # section 5: a 104 is no reason to leave it out
        assert client.read_response().status == 100
    client.send(b"hello")
    response = client.read_response()
    assert (response.status, response.get("upload-complete")) == (201, "?1")
    location = informed.get("location")
    assert location is not None
    assert asked(client, urljoin("/files/", location)) == (5, "?1")


def test_no_104_for_http_1_0(serve: Serve, bench: Bench) -> None:
    client = serve(bench.router).connect()
    client.send(
        encode("/files/a.bin", "Upload-Complete: ?1", VERSION, method="POST", version="1.0",
               body=b"hello")
    )  # fmt: skip
    assert client.read_response().status == 201
    assert bench.content() == b"hello"


def test_an_append_by_http_1_0_needs_a_length(serve: Serve, bench: Bench) -> None:
    client = serve(bench.router).connect()
    path = begin(client)
    head = head_of_append(path, 0, 5).replace(b"Content-Length: 5\r\n", b"")
    client.send(head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"hello")
    client.send_fin()
    assert client.read_response().status == 411
    assert asked(serve(bench.router).connect(), path) == (0, "?0")


def test_a_client_that_comes_back_takes_over(serve: Serve, bench: Bench) -> None:
    """The server has not noticed that the first connection is dead; its bytes are settled."""
    running = serve(bench.router)
    dead, client = running.connect(), running.connect()
    path = begin(client)
    dead.send(head_of_append(path, 0, 1000) + b"x" * 400)
    running.wait_until(lambda: (bench.path / file_of(path)).stat().st_size == 400)
    assert asked(client, path) == (400, "?0")
    response = dead.read_response()
    assert (response.status, response.get("upload-offset")) == (409, None)
    client.send(head_of_append(path, 400, 600) + b"y" * 600)
    assert client.read_response().status == 201
    assert bench.content() == b"x" * 400 + b"y" * 600
    with contextlib.suppress(OSError):
        dead.send(b"z" * 600)
    assert bench.content() == b"x" * 400 + b"y" * 600


def file_of(path: str) -> str:
    return f".uploads/{path.rpartition('/')[2]}.part"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_the_newer_request_takes_over(serve: Serve, bench: Bench, method: str) -> None:
    running = serve(bench.router)
    old, new = running.connect(), running.connect()
    path = begin(new)
    old.send(head_of_append(path, 0, 1000) + b"x" * 400)
    running.wait_until(lambda: (bench.path / file_of(path)).stat().st_size == 400)
    if method == "DELETE":
        assert new.ask(path, method="DELETE").status == 204
        assert bench.left() == []
    else:
        new.send(head_of_append(path, 0, 1000))
        response = new.read_response()
        assert (response.status, response.get("upload-offset")) == (409, "400")
    assert old.read_response().status == 409


def test_a_creation_is_taken_over_too(serve: Serve, bench: Bench) -> None:
    running = serve(bench.router)
    old, new = running.connect(), running.connect()
    old.send(
        encode("/files/a.bin", "Upload-Complete: ?1", VERSION, "Content-Length: 9", method="PUT")
        + b"abcd"
    )
    path = old.read_response().get("location")
    assert path is not None
    path = urljoin("/files/a.bin", path)
    running.wait_until(lambda: (bench.path / file_of(path)).stat().st_size == 4)
    assert asked(new, path) == (4, "?0")
    assert old.read_response().status == 409


def test_two_at_once_never_mix(serve: Serve, bench: Bench) -> None:
    """Two clients append the same bytes from the offset that they get, each interrupting the other.

    Each waits longer from time to time, as clients that try again do: two that never pause can
    interrupt each other for ever.
    """
    running = serve(bench.router)
    data = os.urandom(600_000)
    path = begin(running.connect(), "a.bin", f"Upload-Length: {len(data)}")
    done: list[int] = []

    def append(client: Client, step: float) -> None:
        for tries in range(200):
            time.sleep(tries * step)
            try:
                offset, complete = asked(client, path)
                if complete == "?1":
                    done.append(offset)
                    return
                client.send(head_of_append(path, offset, len(data) - offset))
                for start in range(offset, len(data), 50_000):
                    client.send(data[start : start + 50_000])
                client.read_response()
            except OSError:
                client = running.connect()
            except EOFError:
                client = running.connect()

    threads = [
        threading.Thread(target=append, args=(running.connect(), step)) for step in (0.001, 0.002)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [len(data)] * 2
    assert bench.content() == data


def test_a_reset_keeps_what_had_come(serve: Serve, bench: Bench) -> None:
    running = serve(bench.router)
    client = running.connect()
    path = begin(client, "a.bin", "Upload-Length: 100000")
    other = running.connect()
    other.send(head_of_append(path, 0, 100_000) + b"x" * 70_000)
    running.wait_until(lambda: (bench.path / file_of(path)).stat().st_size == 70_000)
    other.reset()
    assert asked(client, path) == (70_000, "?0")
    client.send(head_of_append(path, 70_000, 30_000) + b"y" * 30_000)
    assert client.read_response().status == 201
    assert bench.content() == b"x" * 70_000 + b"y" * 30_000


def test_a_client_that_is_too_slow_can_go_on(serve: Serve, bench: Bench) -> None:
    running = serve(bench.router, min_rate_timeout=0.3)
    client = running.connect()
    path = begin(client)
    client.send(head_of_append(path, 0, 100) + b"x" * 40)
    assert client.read_response().status == 408
    assert asked(running.connect(), path) == (40, "?0")


def test_a_wrong_append_closes_its_connection(serve: Serve, bench: Bench) -> None:
    """The server does not wait for its body."""
    client = serve(bench.router).connect()
    path = begin(client)
    client.send(head_of_append(path, 7, 10_000_000))
    response = client.read_response()
    assert (response.status, response.get("upload-offset")) == (409, "0")
    assert response.get("connection") == "close"
    assert response.get("content-type") == "application/problem+json"


# --- a server that is killed ---------------------------------------------------------------------

PROGRAM = """
import sys
from reactor.web.uploads.receiver import Receiver
from reactor.web.uploads.resumable import ResumableUploads
from reactor.web.app.application import Application
from reactor.web.storage.safe_path import Root
from reactor import Limits, Server

root, limits = Root(sys.argv[1]), Limits()
resumable = ResumableUploads(root, "/files/", limits, lambda place: None)
receiver = Receiver(root, limits, lambda place: None, resumable=resumable)
router = Application()
router.add("PUT", "/files/{name:segments}", receiver.put)
for method, endpoint in (("HEAD", resumable.head), ("PATCH", resumable.append)):
    router.add(method, "/files/.uploads/{id}", endpoint)
server = Server(router, limits)
print(server.listen("127.0.0.1", 0)[1], flush=True)
server.run()
"""


@contextlib.contextmanager
def process(path: Path) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """A server in a process of its own; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            yield running, ("127.0.0.1", int(running.stdout.readline()))
        finally:
            running.kill()


def send_until(client: Client, data: bytes, part: Path, size: int) -> None:
    """Send the data in small pieces, little faster than it is stored, until the part has `size`."""
    begun = part.stat().st_size
    for start in range(0, len(data), 65536):
        while (stored := part.stat().st_size) - begun < start - 1024 * 1024:
            time.sleep(0.001)
        if stored > size:
            return
        client.send(data[start : start + 65536])
    raise AssertionError("all of it was taken")


def peak(process_id: int) -> int:
    """The most memory that a process had, in bytes."""
    text = Path(f"/proc/{process_id}/status").read_text()
    match = re.search(r"VmHWM:\s+([0-9]+) kB", text)
    assert match is not None
    return int(match[1]) * 1024


@pytest.mark.system
def test_a_large_upload_goes_on_after_a_reset_and_after_a_kill(tmp_path: Path) -> None:
    size = 20 * 1024 * 1024
    data = os.urandom(size)
    with process(tmp_path) as (running, address):
        client = Client(address)
        path = begin(client, "large.bin", f"Upload-Length: {size}")
        part = tmp_path / file_of(path)
        begun = peak(running.pid)
        client.send(head_of_append(path, 0, size))
        send_until(client, data, part, size // 4)
        client.reset()
        with Client(address) as client:
            offset, complete = asked(client, path)
            assert complete == "?0"
            assert size // 4 < offset < size
            assert part.read_bytes() == data[:offset]
            client.send(head_of_append(path, offset, size - offset, VERSION))
            send_until(client, data[offset:], part, size * 3 // 4)
            assert peak(running.pid) - begun < 4 * 1024 * 1024
            running.send_signal(signal.SIGKILL)
            running.wait()
            informed = known_offset(client)
    with process(tmp_path) as (running, address), Client(address) as client:
        again, complete = asked(client, path)
        assert complete == "?0"
        assert max(informed, size * 3 // 4) <= again < size
        assert part.read_bytes() == data[:again]
        client.send(head_of_append(path, again, size - again) + data[again:])
        response = client.read_response()
        assert (response.status, response.get("location")) == (201, "../large.bin")
    assert (tmp_path / "large.bin").read_bytes() == data
    assert [file.suffix for file in (tmp_path / ".uploads").iterdir()] == [".json"]


def known_offset(client: Client) -> int:
    """The offset that a client knows to be on the disk, from a connection that has died."""
    informed = 0
    with contextlib.suppress(OSError, EOFError):
        while True:
            informed = int(client.read_response("PATCH").get("upload-offset") or 0)
    return informed
