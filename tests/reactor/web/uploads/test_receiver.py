"""PUT, POST and DELETE: what is answered, what lies on the disk then, and that nothing is left."""

import errno
import gc
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from reactor import Cancelled, Limits, PoolFull, ProtocolError, Response
from reactor.messages.request import BaseRequest
from reactor.protocol.dates import http_date
from reactor.protocol.paths import decode_path
from reactor.web.semantics.validators import encoded_tag, entity_tag, last_modified
from reactor.web.storage.locks import try_lock
from reactor.web.storage.safe_path import Place, Root, place_in
from reactor.web.uploads.atomic_file import WRITE_BYTES, AtomicFile
from reactor.web.uploads.form_upload import FIELD_BYTES
from reactor.web.uploads.receiver import Receiver
from tests.conftest import Running, Serve
from tests.support.coroutine_driver import Feed, Play, Stage, drive, fail, make_request
from tests.support.paths import ROOT
from tests.support.raw_client import Client
from tests.support.raw_client import request as encode
from tests.support.upload_app import handler_of
from tests.support.upload_files import LEFT, take_name_before_link, tree

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closes_files")]


class Bench:
    """A Receiver, its requests, and the places that it has reported."""

    def __init__(self, site: Path, **options: Any) -> None:
        self.forgotten: list[Place] = []
        limits = Limits(**{name: options.pop(name) for name in list(options) if "form" in name})
        self.receiver = Receiver(Root(site), limits, self.forgotten.append, **options)

    def put(self, name: str, *pieces: bytes | Exception, **headers: str) -> Response:
        return drive(self.receiver.put(ask("PUT", name, Feed(*pieces), **headers)))

    def post(self, name: str, *pieces: bytes | Exception, **headers: str) -> Response:
        return drive(self.receiver.post(ask("POST", name, Feed(*pieces), **headers)))

    def delete(self, name: str, **headers: str) -> Response:
        return drive(self.receiver.delete(ask("DELETE", name, None, **headers)))

    def send_form(self, directory: str, body: bytes, cut: int = 0, **headers: str) -> Response:
        """`cut`: the length of the pieces in which it comes."""
        pieces = [body[at : at + cut] for at in range(0, len(body), cut)] if cut else [body]
        headers.setdefault("Content_Type", "multipart/form-data; boundary=b")
        return self.post(directory, *pieces, **headers)


class Ready(Feed):
    """A body whose pieces are all there."""

    def pull(self, most: int) -> bytes:
        piece = super().pull(most)
        return piece if isinstance(piece, bytes) else piece.start(Stage()).result()


def ask(method: str, name: str, feed: Feed | None = None, **headers: str) -> BaseRequest:
    """A request as the router passes it on; names here need no decoding."""
    request = make_request(method, f"/files/{name}", feed, **headers)
    request.params = {"name": tuple(name.split("/"))}
    return request


def refused(call: Callable[..., Any], *arguments: Any, **named: Any) -> ProtocolError:
    """The error that the call raises; its reason is a sentence."""
    with pytest.raises(ProtocolError) as caught:
        call(*arguments, **named)
    assert caught.value.reason.endswith(".")
    return caught.value


def status_of(call: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    """The status of the response."""
    try:
        response = call(*arguments, **named)
    except ProtocolError as error:
        return error.status
    assert isinstance(response, Response)
    return response.status


def place(path: Path) -> Place:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        return place_in(directory, os.fsencode(path.name))
    finally:
        os.close(directory)


def part(parameters: str, content: bytes = b"", *lines: str) -> bytes:
    head = "\r\n".join(["--b", f"Content-Disposition: form-data; {parameters}", *lines, "", ""])
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def file_part(name: str, content: bytes) -> bytes:
    return part(f'name="file"; filename="{name}"', content, "Content-Type: text/plain")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are older than the second in which their tags are weak."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 10)


# --- PUT and POST of a file ----------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("method", ["put", "post"])
def test_store_and_replace(site: Path, method: str) -> None:
    bench = Bench(site)
    store = getattr(bench, method)
    response = store("sub/a%20b", b"one", b"two")
    assert (response.status, response.body) == (201, b"")
    assert list(response.headers) == [("Location", "a%20b")]
    assert tree(site) == {"sub/a%20b": b"onetwo"}
    response = store("sub/a%20b", b"three")
    assert (response.status, response.body, list(response.headers)) == (204, b"", [])
    assert tree(site) == {"sub/a%20b": b"three"}
    assert bench.forgotten == [place(site / "sub" / "a%20b")] * 2


@pytest.mark.usefixtures("kind")
def test_store_nothing(site: Path) -> None:
    assert Bench(site).put("empty").status == 201
    assert tree(site) == {"empty": b""}


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/files/a", "a"),
        ("//files/a", "a"),
        ("///evil.example/a", "a"),
        ("/files/a%2Fb%20%c3%bc", "a%2Fb%20%C3%BC"),
        ('/files/a"<>{}|^`[]', "a%22%3C%3E%7B%7D%7C%5E%60%5B%5D"),
        ("/\\evil.example", "%5Cevil.example"),
        ("/files/@!$&'()*+,;=~-._", "@!$&'()*+,;=~-._"),
        ("/files/http:a", "./http:a"),
    ],
)
def test_location(site: Path, path: str, location: str) -> None:
    request = ask("PUT", "a", Feed(b"x"))
    request.target, request.path = path, decode_path(path)
    response = drive(Bench(site).receiver.put(request))
    assert list(response.headers) == [("Location", location)]


def test_one_piece_at_a_time(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is written before the next is pulled, and no pull asks for much."""
    asked: list[int] = []
    written: list[int] = []
    pull, write = Feed.pull, AtomicFile.write

    def spy_pull(feed: Feed, most: int) -> Any:
        asked.append(most)
        assert len(written) == len(asked) - 1
        return pull(feed, most)

    def spy_write(upload: AtomicFile, piece: bytes) -> None:
        written.append(len(piece))
        write(upload, piece)

    monkeypatch.setattr(Feed, "pull", spy_pull)
    monkeypatch.setattr(AtomicFile, "write", spy_write)
    Bench(site).put("a", b"x" * (3 * WRITE_BYTES + 1))
    assert set(asked) == {WRITE_BYTES}
    assert written == [WRITE_BYTES] * 3 + [1]


@pytest.mark.slow
@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("conditional", [False, True])
def test_two_uploads_in_every_order(site: Path, conditional: bool) -> None:
    """Any interleaving of two uploads: the last to end wins, whole; or the first."""
    steps = 4  # begin, pull, write, commit
    headers = {"If_None_Match": "*"} if conditional else {}
    for number, turns in enumerate(itertools.combinations(range(2 * steps), steps)):
        name, stage, bench = f"f{number}", Stage(), Bench(site)
        plays = [
            Play(bench.receiver.put(ask("PUT", name, Feed(b"0" * 10), **headers)), stage),
            Play(bench.receiver.put(ask("PUT", name, Feed(b"1" * 99), **headers)), stage),
        ]
        over: list[int] = []
        caught: list[int] = []
        order = [int(turn in turns) for turn in range(2 * steps)]
        for one in [*order, 0, 1]:  # a refused upload has another step: to discard its file
            if plays[one].operation is None:
                continue
            try:
                plays[one].step()
            except ProtocolError as error:
                caught.append(error.status)
            if plays[one].operation is None:
                over.append(one)
        assert sorted(over) == [0, 1]
        winner = over[0] if conditional else over[1]
        assert (site / name).read_bytes() == (b"1" * 99 if winner else b"0" * 10)
        assert caught == ([412] if conditional else [])
        assert plays[over[0]].result.status == 201
        assert conditional or plays[over[1]].result.status == 204
    assert len(tree(site)) == 70


def test_resumable(site: Path) -> None:
    seen = []

    class Resumes:
        def asks(self, request: BaseRequest) -> bool:
            return "upload-complete" in request.headers

        async def create(self, request: BaseRequest, segments: Sequence[str]) -> Response:
            seen.append((request.method, segments))
            return Response(200)

    bench = Bench(site, resumable=Resumes())
    assert bench.put("sub/a", Upload_Complete="?0").status == 200
    assert bench.post("b", Upload_Complete="?1").status == 200
    assert bench.put("c").status == 201
    assert seen == [("PUT", ("sub", "a")), ("POST", ("b",))]
    for headers, status in (
        ({"Content_Range": "bytes 0-1/2"}, 400),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Origin": "http://evil.example"}, 403),
    ):
        assert refused(bench.put, "a", Upload_Complete="?0", **headers).status == status
    assert refused(bench.put, ".a", Upload_Complete="?0").status == 404
    assert refused(bench.put, "sub/", Upload_Complete="?0").status == 409
    assert refused(bench.post, "sub/", Upload_Complete="?0").status == 415
    assert len(seen) == 2


def test_an_upload_that_cannot_be_resumed_comes_as_a_whole(site: Path) -> None:
    class Resumes:
        def asks(self, request: BaseRequest) -> bool:
            return True

        async def create(self, request: BaseRequest, segments: Sequence[str]) -> None:
            return None

    bench = Bench(site, resumable=Resumes())
    assert bench.put("a", b"abc", Upload_Complete="?1").status == 201
    assert (site / "a").read_bytes() == b"abc"
    assert len(bench.forgotten) == 1


# --- requests of other protocols -----------------------------------------------------------------

_OF_OTHERS: list[tuple[int, dict[str, str]]] = [
    (412, {"Tus_Resumable": "1.0.0"}),
    (412, {"Tus_Resumable": "1.0.0", "Upload_Length": "1048576"}),
    (412, {"Tus_Resumable": "9", "Upload_Complete": "?1"}),
    (400, {"Upload_Incomplete": "?1"}),
    (400, {"Upload_Incomplete": "?0", "Upload_Complete": "?1"}),
    (400, {"Upload_Token": ":YWJj:"}),
    (400, {"Upload_Concat": "partial"}),
    (400, {"X_HTTP_Method_Override": "PATCH"}),
]
_PARTS: list[tuple[int, dict[str, str]]] = [
    (400, {"Upload_Complete": "?0"}),  # nothing here can be resumed
    (400, {"Upload_Complete": '?0;a="b;c"'}),
    (400, {"Upload_Offset": "3"}),
    (400, {"Upload_Offset": "0", "Upload_Complete": "?1"}),
    (400, {"Upload_Length": "4"}),
    (400, {"Upload_Length": "2"}),
    (400, {"Upload_Length": "1048576", "Upload_Complete": "?1"}),
    (400, {"Upload_Defer_Length": "1"}),
    (400, {"Upload_Metadata": "filename eA=="}),
    (400, {"Content_Type": "application/partial-upload"}),
    (400, {"Content_Type": "application/offset+octet-stream; x"}),
    (400, {"Content_Type": "Multipart/ByteRanges; boundary=b"}),
    (415, {"Content_Type": "multipart/form-data; boundary=b"}),
    (415, {"Content_Type": "Multipart/Form-Data"}),
]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("method", ["put", "post"])
@pytest.mark.parametrize(("status", "fields"), [*_OF_OTHERS, *_PARTS])
def test_no_part_is_stored_as_the_whole(
    site: Path, method: str, status: int, fields: dict[str, str], chunked: bool
) -> None:
    (site / "precious").write_bytes(b"precious")
    bench = Bench(site)
    request = ask(method.upper(), "precious", Feed(b"abc"), **fields)
    request.length = None if chunked else 3
    assert status_of(lambda: drive(getattr(bench.receiver, method)(request))) == status
    assert tree(site) == {"precious": b"precious"}
    assert bench.forgotten == [] or chunked


@pytest.mark.parametrize(("status", "fields"), _OF_OTHERS)
def test_other_protocols_delete_nothing(site: Path, status: int, fields: dict[str, str]) -> None:
    (site / "precious").write_bytes(b"precious")
    assert refused(Bench(site, deletes=True).delete, "precious", **fields).status == status
    assert refused(Bench(site).send_form, "", b"", **fields).status == status
    assert tree(site) == {"precious": b"precious"}


@pytest.mark.parametrize("name", ["Upload_Complete", "Upload_Length", "Upload_Offset"])
def test_a_form_cannot_be_resumed(site: Path, name: str) -> None:
    body = form(file_part("a", b"a"))
    assert refused(Bench(site).send_form, "", body, **{name: "?0"}).status == 400
    assert tree(site) == {}


def test_a_length_that_fits_is_no_contradiction(site: Path) -> None:
    bench = Bench(site)
    for chunked in (False, True):
        request = ask("PUT", "a", Feed(b"abc"), Upload_Length="3")
        request.length = None if chunked else 3
        assert drive(bench.receiver.put(request)).status == (204 if chunked else 201)
    assert tree(site) == {"a": b"abc"}


def test_a_form_for_a_file_names_the_directory(site: Path) -> None:
    fields = {"Content_Type": "multipart/form-data; boundary=b"}
    reason = refused(Bench(site).post, "sub/a b", **fields).reason
    assert "/files/sub/," in reason


def test_the_end_of_an_upload_that_says_it_is_whole(site: Path) -> None:
    """Clients of older revisions look for both fields."""
    for status in (201, 204):
        response = Bench(site).put("a", b"abc", Upload_Complete="?1")
        assert response.status == status
        assert dict(response.headers) == {"Location": "a", "Upload-Offset": "3"}


# --- what is refused, and in which order ---------------------------------------------------------

_READ_ONLY = {"uploads": False}
_RANGE = {"Content_Range": "bytes 0-3/4"}
_ENCODED = {"Content_Encoding": "gzip"}
_FOREIGN = {"Origin": "http://evil.example"}
_UNMET = {"If_Match": '"other"'}


@pytest.mark.parametrize("method", ["put", "post"])
@pytest.mark.parametrize(
    ("status", "name", "options", "headers"),
    [
        (405, ".x", _READ_ONLY, _RANGE | _ENCODED | _FOREIGN | _UNMET),
        (400, ".x", {}, _RANGE | _ENCODED | _FOREIGN | _UNMET),
        (415, ".x", {}, _ENCODED | _FOREIGN | _UNMET),
        (403, ".x", {}, _FOREIGN | _UNMET),
        (404, ".x", {}, _UNMET),
        (409, "taken/a", {}, _UNMET),
        (412, "none/a", {}, _UNMET),
        (409, "sub", {}, _UNMET),
        (414, "x" * 256, {}, _UNMET),
        (412, "a", {}, _UNMET),
        (201, "a", {}, {}),
        (400, "a", {}, {"Content_Range": ""}),
        (400, "a", {}, {"Content_Range": "bytes */4"}),
        (415, "a", {}, {"Content_Encoding": "br"}),
        (415, "a", {}, {"Content_Encoding": "identity, gzip"}),
        (201, "a", {}, {"Content_Encoding": "identity"}),
        (201, "a", {}, {"Content_Encoding": "Identity"}),
        (201, "a", {}, {"Content_Encoding": ""}),
    ],
)
def test_order_of_refusals(
    site: Path, method: str, status: int, name: str, options: Any, headers: dict[str, str]
) -> None:
    (site / "taken").write_bytes(b"")
    feed = Feed(b"x")
    bench = Bench(site, **options)
    endpoint = getattr(bench.receiver, method)
    assert status_of(drive, endpoint(ask(method.upper(), name, feed, **headers))) == status
    assert (feed.pulls == 0) == (status != 201)
    assert tree(site) == {"taken": b""} | ({"a": b"x"} if status == 201 else {})
    assert not (site / "none").exists()


def test_fields_of_a_refusal(site: Path) -> None:
    error = refused(Bench(site, uploads=False).put, "a", b"x")
    assert list(error.headers) == [("Allow", "GET, HEAD, OPTIONS")]
    error = refused(Bench(site, uploads=False, deletes=True).post, "a", b"x")
    assert list(error.headers) == [("Allow", "DELETE, GET, HEAD, OPTIONS")]
    error = refused(Bench(site).delete, "a")
    assert (error.status, list(error.headers)) == (
        405,
        [("Allow", "GET, HEAD, OPTIONS, POST, PUT")],
    )
    error = refused(Bench(site).put, "a", b"x", Content_Encoding="gzip")
    assert list(error.headers) == [("Accept-Encoding", "identity")]
    error = refused(Bench(site).post, "", b"x", Content_Type="text/plain")
    assert list(error.headers) == [("Accept-Post", "multipart/form-data")]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *(("..", 404), ("../secret.txt", 404), ("sub/../../secret.txt", 404), (".hidden", 404)),
        *((".git/config", 404), ("a\\b", 404), ("a\0b", 404), ("/etc/x", 404), ("sub//a", 404)),
        *((LEFT, 404), ("..//", 404), (".git/", 404)),
        *(("out/a", 409), ("out/new/a", 409), ("taken/a", 409), ("sub", 409), ("fifo", 409)),
        *(("link-nowhere/a", 409), ("loop/a", 409), ("sub/x/../a", 404), ("x" * 256 + "/a", 414)),
        *(("link-out", 404), ("link-nowhere", 404), ("loop", 409), ("x" * 256, 414)),
        *(("", 409), ("sub/", 409), ("taken/", 409), ("none/", 409)),
    ],
)
@pytest.mark.timeout(5)  # the FIFO
@pytest.mark.usefixtures("kind")
def test_put_where_no_file_can_be(site: Path, name: str, status: int) -> None:
    (site / "taken").write_bytes(b"taken")
    (site / "out").symlink_to("..")
    (site / "link-out").symlink_to("../secret.txt")
    (site / "link-nowhere").symlink_to("../made.txt")
    (site / "loop").symlink_to("loop")
    os.mkfifo(site / "fifo")
    before = sorted(site.parent.rglob("*"))
    feed = Feed(b"x")
    assert refused(drive, Bench(site).receiver.put(ask("PUT", name, feed))).status == status
    assert feed.pulls == 0
    assert sorted(site.parent.rglob("*")) == before
    assert (site.parent / "secret.txt").read_text() == "secret"


@pytest.mark.usefixtures("kind")
def test_put_through_links_that_stay_inside(site: Path) -> None:
    (site / "directory").symlink_to("sub")
    (site / "sub" / "old").write_bytes(b"old")
    (site / "link").symlink_to("sub/old")
    bench = Bench(site)
    assert bench.put("directory/new", b"new").status == 201
    assert bench.put("link", b"own").status == 204
    assert not (site / "link").is_symlink()
    assert tree(site) == {"sub/new": b"new", "sub/old": b"old", "link": b"own"}
    assert bench.forgotten == [place(site / "sub" / "new"), place(site / "link")]


_CODES = [
    (errno.ENOSPC, 507),
    (errno.EDQUOT, 507),
    (errno.EFBIG, 413),
    (errno.EROFS, 403),
    (errno.EACCES, 403),
    (errno.EPERM, 403),
    (errno.EMFILE, 503),
    (errno.ENFILE, 503),
]


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize(("code", "status"), _CODES)
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_disk_that_fails(
    site: Path, call: str, code: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "a").write_bytes(b"old")
    bench = Bench(site)
    with monkeypatch.context() as patch:
        fail(call, code, patch)
        assert refused(bench.put, "a", b"x").status == status
        with pytest.raises(ProtocolError):
            bench.send_form("", form(file_part("a", b"x")))
    assert tree(site) == {"a": b"old"}


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize(("code", "status"), _CODES)
def test_directory_that_takes_no_file(
    site: Path, code: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be opened, but no file can be created in it; refused before a byte is read."""
    (site / "a").write_bytes(b"old")
    feed = Feed(b"x")
    bench = Bench(site)
    fail("open", code, monkeypatch, after=1)
    assert refused(drive, bench.receiver.put(ask("PUT", "a", feed))).status == status
    assert feed.pulls == 0
    assert sorted(os.listdir(site)) == ["a", "sub"]


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_disk_that_is_broken(site: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "a").write_bytes(b"old")
    with monkeypatch.context() as patch:
        fail(call, errno.EIO, patch)
        with pytest.raises(OSError):
            Bench(site).put("a", b"x")
    assert tree(site) == {"a": b"old"}


@pytest.mark.usefixtures("kind")
def test_disk_that_becomes_full_in_the_middle(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a part of a piece first, and then fails (write(2))."""
    (site / "a").write_bytes(b"old")
    room, write = [250_000], os.write

    def fill(file: int, data: Any) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(file, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", fill)
    assert refused(Bench(site).put, "a", *[b"x" * 100_000] * 4).status == 507
    assert tree(site) == {"a": b"old"}


@pytest.mark.usefixtures("kind")
def test_name_that_is_published_but_not_synced_is_reported(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(site)
    fail("fsync", errno.EIO, monkeypatch, after=1)
    with pytest.raises(OSError):
        bench.put("a", b"x")
    assert bench.forgotten == [place(site / "a")]


# --- conditions ----------------------------------------------------------------------------------

_PAST = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.usefixtures("kind", "later")
@pytest.mark.parametrize("method", ["put", "post", "delete"])
@pytest.mark.parametrize(
    ("met", "headers"),
    [
        (False, {"If_Match": '"other"'}),
        (False, {"If_Match": "W/{tag}"}),
        (False, {"If_None_Match": "*"}),
        (False, {"If_None_Match": "{tag}"}),
        (False, {"If_None_Match": '"x", W/{tag}'}),
        (False, {"If_Unmodified_Since": _PAST}),
        (False, {"If_Match": "*", "If_None_Match": "*"}),
        (False, {"If_Match": '"other"', "If_Unmodified_Since": "{date}"}),
        (True, {"If_Match": "{tag}"}),
        (True, {"If_Match": "*"}),
        (True, {"If_Match": '"x", {gzip}'}),
        (True, {"If_None_Match": '"other"'}),
        (True, {"If_Unmodified_Since": "{date}"}),
        (True, {"If_Match": "{tag}", "If_Unmodified_Since": _PAST}),
        (True, {"If_Modified_Since": "{date}"}),
        (True, {"If_Unmodified_Since": "rubbish"}),
        (True, {}),
    ],
)
def test_conditions(site: Path, method: str, met: bool, headers: dict[str, str]) -> None:
    path = site / "a"
    path.write_bytes(b"old")
    now = time.time()
    tag = entity_tag(path.stat(), now)
    date = http_date(last_modified(path.stat(), now))
    values = {"tag": tag, "date": date, "gzip": encoded_tag(tag, "gzip")}
    headers = {name: value.format(**values) for name, value in headers.items()}
    bench = Bench(site, deletes=True)
    if not met:
        assert refused(getattr(bench, method), "a", **headers).status == 412
        assert tree(site) == {"a": b"old"}
        assert bench.forgotten in ([], [place(path)])
        return
    assert getattr(bench, method)("a", **headers).status == 204
    assert tree(site) == ({} if method == "delete" else {"a": b""})


def test_young_file_cannot_be_matched(site: Path) -> None:
    """Its tag is weak: the file may be written once more within the same tick."""
    (site / "a").write_bytes(b"x")
    tag = entity_tag((site / "a").stat(), time.time())
    assert refused(Bench(site).put, "a", b"y", If_Match=tag).status == 412
    assert tree(site) == {"a": b"x"}


@pytest.mark.usefixtures("later")
def test_conditions_where_there_is_nothing(site: Path) -> None:
    bench = Bench(site, deletes=True)
    for headers in ({"If_Match": "*"}, {"If_Match": '"x"'}):
        assert refused(bench.put, "a", b"x", **headers).status == 412
        assert refused(bench.delete, "a", **headers).status == 404  # section 13.2.1
    assert tree(site) == {}
    assert bench.put("a", b"x", If_None_Match="*").status == 201
    assert bench.put("b", b"x", If_Unmodified_Since=_PAST).status == 201


@pytest.mark.usefixtures("kind", "later")
@pytest.mark.parametrize("change", ["made", "replaced", "removed"])
@pytest.mark.parametrize("step", range(1, 4))
def test_condition_that_breaks_while_the_body_comes(site: Path, change: str, step: int) -> None:
    """Begin, pull, write, commit: until the last the file can change."""
    path = site / "a"
    headers = {"If_None_Match": "*"}
    if change != "made":
        path.write_bytes(b"old")
        headers = {"If_Match": entity_tag(path.stat(), time.time())}
    bench = Bench(site)
    play = Play(bench.receiver.put(ask("PUT", "a", Feed(b"mine"), **headers)), Stage())
    for _ in range(step):
        play.step()
    assert play.operation is not None
    if change == "removed":
        path.unlink()
    else:
        Bench(site).put("a", b"theirs")
    with pytest.raises(ProtocolError) as caught:
        while play.operation is not None:
            play.step()
    assert caught.value.status == 412
    assert tree(site) == ({} if change == "removed" else {"a": b"theirs"})


@pytest.mark.usefixtures("kind")
def test_name_that_is_taken_under_the_lock(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a program that knows no locks; link(2) notices, and the second look says why."""
    take_name_before_link(site, monkeypatch)
    assert refused(Bench(site).put, "a", b"mine", If_None_Match="*").status == 412
    assert tree(site) == {"a": b"theirs"}


@pytest.mark.usefixtures("kind")
def test_directory_that_another_process_has_locked(site: Path) -> None:
    directory = os.open(site, os.O_RDONLY)
    assert try_lock(directory)
    bench = Bench(site, deletes=True)
    (site / "a").write_bytes(b"old")
    for call in (bench.put, bench.delete):
        error = refused(call, "a")
        assert (error.status, list(error.headers)) == (503, [("Retry-After", "1")])
    assert tree(site) == {"a": b"old"}
    play = Play(bench.receiver.put(ask("PUT", "a", Feed(b"new"))), Stage())
    for _ in range(10):
        play.step()
    assert play.operation is not None  # it tries again and again
    os.close(directory)
    while play.operation is not None:
        play.step()
    assert tree(site) == {"a": b"new"}


# --- a body that breaks off ----------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("pieces", [0, 1, 2, 5])
def test_body_that_breaks_off(site: Path, pieces: int) -> None:
    (site / "a").write_bytes(b"old")
    broken = ProtocolError(400, "The request ended before its body did.")
    assert refused(Bench(site).put, "a", *[b"x" * 1000] * pieces, broken).status == 400
    assert tree(site) == {"a": b"old"}


# begin, pull, write, pull (here at once), write, pull, commit
_BODY = (b"one", b"two")
_OPERATIONS = 6


def _play(site: Path, steps: int) -> tuple[Play, Stage]:
    """An upload to `a` that waits for its operation number `steps`."""
    stage = Stage()
    play = Play(Bench(site).receiver.put(ask("PUT", "a", Feed(*_BODY))), stage)
    for _ in range(steps):
        play.step()
    return play, stage


def test_number_of_operations(site: Path) -> None:
    play, _ = _play(site, _OPERATIONS)
    assert play.operation is None


def _is_job(operation: Any) -> bool:
    return not hasattr(operation, "set_result")


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("steps", range(_OPERATIONS))
@pytest.mark.parametrize("late", [False, True], ids=["in-order", "job-after-discard"])
def test_cancelled_at_each_await(site: Path, steps: int, late: bool) -> None:
    """The running job ends before the discard, or begins only after it."""
    play, stage = _play(site, steps)
    stage.holding = True
    jobs = 0
    if _is_job(play.operation):
        play.operation.start(stage)
        jobs = 1
    play.throw(Cancelled())
    discarded = play.operation.start(stage)
    order = list(range(jobs + 1))
    stage.perform(order[::-1] if late else order)
    with pytest.raises(Cancelled):
        play.resume(discarded)
    del play, discarded
    committed = steps == _OPERATIONS - 1 and not late
    assert tree(site) == ({"a": b"onetwo"} if committed else {})


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("steps", range(_OPERATIONS))
@pytest.mark.parametrize("started", [False, True])
def test_closed_at_each_await(site: Path, steps: int, started: bool) -> None:
    """Nothing can be awaited then; the upload is discarded when its last job drops it."""
    play, stage = _play(site, steps)
    stage.holding = True
    if started and _is_job(play.operation):
        play.operation.start(stage)
    play.close()
    stage.perform(range(len(stage.jobs)))
    del play
    gc.collect()
    committed = steps == _OPERATIONS - 1 and started
    assert tree(site) == ({"a": b"onetwo"} if committed else {})


def test_an_upload_that_ends_after_its_client_left_is_reported(site: Path) -> None:
    stage, bench = Stage(), Bench(site)
    play = Play(bench.receiver.put(ask("PUT", "a", Feed(*_BODY))), stage)
    for _ in range(_OPERATIONS - 1):
        play.step()
    play.operation.start(stage)
    assert tree(site) == {"a": b"onetwo"}
    play.throw(Cancelled())
    with pytest.raises(Cancelled):
        play.step()
    assert bench.forgotten == [place(site / "a")]


@pytest.mark.usefixtures("kind")
def test_pool_that_is_too_full_to_clean_up(site: Path) -> None:
    play, _ = _play(site, 2)
    with pytest.raises(Cancelled):
        play.throw(Cancelled())
        play.throw(PoolFull())
    del play
    gc.collect()
    assert tree(site) == {}


# --- DELETE --------------------------------------------------------------------------------------


def test_delete(site: Path) -> None:
    (site / "sub" / "a").write_bytes(b"x")
    bench = Bench(site, deletes=True)
    was = place(site / "sub" / "a")
    assert bench.delete("sub/a").status == 204
    assert tree(site) == {}
    assert bench.forgotten == [was]
    assert refused(bench.delete, "sub/a").status == 404


def test_delete_takes_the_link_and_not_what_is_behind_it(site: Path) -> None:
    (site / "a").write_bytes(b"x")
    (site / "sub" / "link").symlink_to("../a")
    assert Bench(site, deletes=True).delete("sub/link").status == 204
    assert list((site / "sub").iterdir()) == []
    assert tree(site) == {"a": b"x"}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *(("none", 404), ("none/a", 404), ("a/b", 404), ("..", 404), ("../secret.txt", 404)),
        *((".hidden", 404), (LEFT, 404), ("x" * 256, 404), ("link-out", 404), ("loop", 404)),
        *(("out/secret.txt", 404), ("none/", 404), ("a/", 404), (".x/", 404), ("link-no", 404)),
        *(("", 403), ("fifo", 409), ("link-sub", 409), ("link-sub/", 409), ("full", 409)),
        *(("full/", 409), ("hidden", 409), ("hidden/", 409), ("link-out/", 404), ("fifo/", 404)),
    ],
)
def test_delete_what_is_no_file(site: Path, name: str, status: int) -> None:
    for made in ("a", ".hidden", LEFT):
        (site / made).write_bytes(b"x")
    (site / "out").symlink_to("..")
    (site / "link-out").symlink_to("../secret.txt")
    (site / "link-no").symlink_to("nowhere")
    (site / "link-sub").symlink_to("sub")
    for made in ("full/sub", "hidden/.git"):
        (site / made).mkdir(parents=True)
    (site / "loop").symlink_to("loop")
    os.mkfifo(site / "fifo")
    before = sorted(site.parent.rglob("*"))
    bench = Bench(site, deletes=True)
    assert refused(bench.delete, name).status == status
    assert sorted(site.parent.rglob("*")) == before
    assert bench.forgotten == []


def test_delete_that_is_refused(site: Path) -> None:
    (site / "a").write_bytes(b"x")
    assert refused(Bench(site).delete, "a").status == 405
    assert refused(Bench(site, deletes=True).delete, "a", **_FOREIGN).status == 403
    assert Bench(site, uploads=False, deletes=True).delete("a").status == 204


@pytest.mark.parametrize(
    ("code", "status"), [*_CODES, (errno.EBUSY, 409), (errno.ENOENT, 404), (errno.EISDIR, 409)]
)
def test_delete_that_fails(
    site: Path, code: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "a").write_bytes(b"x")
    with monkeypatch.context() as patch:
        fail("unlink", code, patch)
        assert refused(Bench(site, deletes=True).delete, "a").status == status
    assert tree(site) == {"a": b"x"}


# --- forms ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("cut", [0, 1, 7, 64])
@pytest.mark.parametrize("directory", ["", "sub/"])
def test_form(site: Path, directory: str, cut: int) -> None:
    body = form(
        part('name="note"', b"dropped"),
        file_part("a.txt", b"one\r\n--a\r\n"),
        part('name="none"; filename=""', b"", "Content-Type: application/octet-stream"),
        file_part("Zürich %22.txt", b""),
        file_part("a.txt", b"two" * 100),
    )
    bench = Bench(site)
    response = bench.send_form(directory, body, cut)
    assert response.status == 201
    assert dict(response.headers)["Content-Type"] == "application/json"
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "stored": [
            {"name": "a.txt", "size": 10, "replaced": False},
            {"name": 'Zürich ".txt', "size": 0, "replaced": False},
            {"name": "a.txt", "size": 300, "replaced": True},
        ]
    }
    assert tree(site) == {f"{directory}a.txt": b"two" * 100, f'{directory}Zürich ".txt': b""}
    names = ["a.txt", 'Zürich ".txt', "a.txt"]
    assert bench.forgotten == [place(site / directory / name) for name in names]


def test_form_without_files(site: Path) -> None:
    response = Bench(site).send_form("", form(part("name=a", b"x")))
    assert (response.status, response.body) == (200, b'{"stored": []}\n')


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 303),
        ("text/html", 303),
        ("TEXT/HTML, application/json;q=0.5", 303),
        ("application/json", 201),
        ("text/html;q=0.5, application/json", 201),
        ("*/*", 201),
        ("", 201),
    ],
)
def test_form_of_a_browser(site: Path, accept: str, status: int) -> None:
    response = Bench(site).send_form("sub/", form(file_part("a", b"x")), Accept=accept)
    assert response.status == status
    if status == 303:
        assert list(response.headers) == [("Location", "./")]
    assert tree(site) == {"sub/a": b"x"}


@pytest.mark.parametrize(
    ("status", "directory", "options", "headers"),
    [
        (405, ".x/", _READ_ONLY, _RANGE | _ENCODED | _FOREIGN),
        (400, ".x/", {}, _RANGE | _ENCODED | _FOREIGN),
        (415, ".x/", {}, _ENCODED | _FOREIGN),
        (403, ".x/", {}, _FOREIGN),
        (404, ".x/", {}, {}),
        (404, "..//", {}, {}),
        (415, "none/", {}, {"Content_Type": "text/plain"}),
        (415, "none/", {}, {"Content_Type": ""}),
        (400, "none/", {}, {"Content_Type": "multipart/form-data"}),
        (412, "none/", {}, _UNMET),
        (201, "none/", {}, {"If_None_Match": "*"}),
        (409, "taken/", {}, _UNMET),
        (409, "out/", {}, {}),
        (412, "sub/", {}, _UNMET),
        (412, "sub/", {}, {"If_None_Match": "*"}),
        (201, "sub/", {}, {"If_Match": "*"}),
        (201, "sub/", {}, {"If_Unmodified_Since": _PAST}),
    ],
)
def test_order_of_a_forms_refusals(
    site: Path, status: int, directory: str, options: Any, headers: dict[str, str]
) -> None:
    (site / "taken").write_bytes(b"x")
    (site / "out").symlink_to("..")
    feed = Feed(form(file_part("a", b"x")))
    bench = Bench(site, **options)
    headers = {"Content_Type": "multipart/form-data; boundary=b"} | headers
    request = ask("POST", directory, feed, **headers)
    assert status_of(drive, bench.receiver.post(request)) == status
    assert (feed.pulls == 0) == (status != 201)
    assert (f"{directory}a" in tree(site)) == (status == 201)
    assert (site / "none").exists() == (directory == "none/" and status == 201)


def test_form_to_a_directory_that_cannot_be_written(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *arguments, **named: False)
    feed = Feed(form(file_part("a", b"x")))
    request = ask("POST", "", feed, Content_Type="multipart/form-data; boundary=b")
    assert refused(drive, Bench(site).receiver.post(request)).status == 403
    assert feed.pulls == 0


_BAD_PARTS = [
    (400, "does not end", b""),
    (400, "name", file_part("../secret.txt", b"bad")),
    (400, "name", file_part("C:\\x\\secret.txt", b"bad")),
    (400, "name", file_part("sub/a", b"bad")),
    (400, "name", file_part(".hidden", b"bad")),
    (400, "name", file_part("a\0b", b"bad")),
    (400, "name", part('name="f"; filename=""', b"bad")),
    (400, "too long", file_part("n" * 256, b"bad")),
    (409, "directory", file_part("sub", b"bad")),
    (404, "link", file_part("link-out", b"bad")),
    (413, "field", part("name=field", b"x" * (FIELD_BYTES + 1))),
    (413, "head", part("name=a", b"", "X: " + "x" * 9000)),
    (415, "encoding", part("name=a", b"", "Content-Transfer-Encoding: base64")),
]


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("stored", [0, 1, 2])
@pytest.mark.parametrize(("status", "what", "bad"), _BAD_PARTS)
def test_part_that_fails(site: Path, stored: int, status: int, what: str, bad: bytes) -> None:
    """Files stored before it stay, and the response says how many there are."""
    (site / "link-out").symlink_to("../secret.txt")
    good = [file_part(f"f{number}", b"good") for number in range(stored)]
    last = part("name=a") + b"--b--" if bad else b"--b\r\nContent-Disp"
    error = refused(Bench(site).send_form, "", b"".join(good) + bad + last, 50)
    assert error.status == status
    expected = {f"f{number}": b"good" for number in range(stored)}
    assert tree(site) == expected | {"link-out": b"secret"}
    words = {
        0: "",
        1: "Before that, 1 file of the form was stored.",
        2: "2 files of the form were stored",
    }
    assert words[stored] in error.reason
    assert ("stored" in error.reason) == bool(stored)


@pytest.mark.slow
@pytest.mark.usefixtures("kind")
def test_form_cut_anywhere(site: Path) -> None:
    body = form(file_part("a", b"one"), file_part("b", b"two"))
    first = body.index(b"--b\r\n", 3) + len("--b\r\n")
    second = body.index(b"--b--") + len("--b--")
    for end in range(second):
        assert refused(Bench(site).send_form, "", body[:end]).status == 400
        assert tree(site) == ({"a": b"one"} if end >= first else {})
        if end >= first:
            (site / "a").unlink()


@pytest.mark.usefixtures("kind")
def test_form_whose_body_breaks_off(site: Path) -> None:
    broken = ProtocolError(408, "The request's body came too slowly.")
    body = file_part("a", b"one") + part("name=f; filename=b", b"two")
    error = refused(
        Bench(site).post, "", body, broken, Content_Type="multipart/form-data; boundary=b"
    )
    assert error.status == 408
    assert error.reason.endswith("1 file of the form was stored.")
    assert tree(site) == {"a": b"one"}


def test_form_with_too_many_parts(site: Path) -> None:
    body = form(*[file_part(f"f{number}", b"x") for number in range(3)])
    assert refused(Bench(site, form_parts=2).send_form, "", body).status == 413
    assert set(tree(site)) == {"f0", "f1"}
    assert Bench(site, form_parts=3).send_form("", body).status == 201


def test_form_with_a_long_head(site: Path) -> None:
    body = form(file_part("f", b"x"))
    assert refused(Bench(site, form_head_bytes=50).send_form, "", body).status == 413
    assert tree(site) == {}


def test_largest_field(site: Path) -> None:
    body = form(part("name=a", b"x" * FIELD_BYTES), part("name=b", b"x" * FIELD_BYTES))
    for cut in (0, 1000):
        assert Bench(site).send_form("", body, cut).status == 200


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("close", [False, True])
def test_form_cancelled_at_each_await(site: Path, close: bool) -> None:
    body = form(file_part("a", b"one"), part("name=x", b"y"), file_part("b", b"two"))
    steps = 0
    while True:
        feed = Feed(body[:100], body[100:])
        request = ask("POST", "", feed, Content_Type="multipart/form-data; boundary=b")
        play = Play(Bench(site).receiver.post(request), Stage())
        for _ in range(steps):
            play.step()
        if play.operation is None:
            break
        if close:
            play.close()
        else:
            with pytest.raises(Cancelled):
                play.throw(Cancelled())
                play.step()
        del play
        gc.collect()
        assert all(name in "ab" for name in tree(site))
        assert all(not name.startswith(".") for name in tree(site))
        steps += 1
    assert steps >= 8
    assert tree(site) == {"a": b"one", "b": b"two"}


@pytest.mark.parametrize("cut", [0, 1])
def test_others_have_their_turn_during_a_form(site: Path, cut: int) -> None:
    """A thousand parts in one piece, or a piece for each byte, none of which waits for anything."""
    body = form(*[part("name=a")] * 1000) if cut == 0 else form(part("name=a", b"x" * 20_000))
    pieces = [body] if cut == 0 else [body[at : at + 1] for at in range(len(body))]
    feed = Ready(*pieces)
    request = ask("POST", "", feed, Content_Type="multipart/form-data; boundary=b")
    play, steps = Play(Bench(site).receiver.post(request), Stage()), 0
    longest = 0.0
    while play.operation is not None:
        started = time.thread_time()
        play.step()
        longest = max(longest, time.thread_time() - started)
        steps += 1
    assert play.result.status == 200
    assert steps > (2000 if cut == 0 else 20_000) / 64
    assert longest < 0.05  # seconds of CPU; 0.001 here


# --- over a real socket --------------------------------------------------------------------------


def curl(server: Running, name: str, *options: str) -> tuple[int, str]:
    """Status and body, as curl prints them."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    url = f"http://127.0.0.1:{server.address[1]}/files/{name}"
    command = ["curl", "--silent", "--max-time", "20", "--write-out", "\\n%{http_code}", url]
    done = subprocess.run([*command, *options], capture_output=True, check=True, timeout=30)
    body, _, status = done.stdout.decode().rpartition("\n")
    return int(status), body


@pytest.mark.plain
@pytest.mark.usefixtures("kind")
def test_curl(site: Path, tmp_path: Path, serve: Serve) -> None:
    server = serve(handler_of(site, deletes=True))
    photo = tmp_path / "photo ü.jpg"
    photo.write_bytes(os.urandom(3_000_000))
    assert curl(server, "sub/put", "-T", str(photo)) == (201, "")
    assert curl(server, "sub/put", "-T", str(photo)) == (204, "")
    assert curl(server, "posted", "--data-binary", f"@{photo}") == (201, "")
    assert curl(server, "chunked", "-T", str(photo), "-H", "Transfer-Encoding: chunked")[0] == 201
    status, body = curl(
        server, "sub/", "-F", f"a=@{photo}", "-F", "note=x", "-F", f'b=@{photo};filename="b c"'
    )
    assert status == 201
    stored = [(one["name"], one["size"]) for one in json.loads(body)["stored"]]
    assert stored == [("photo ü.jpg", 3_000_000), ("b c", 3_000_000)]
    names = ["chunked", "posted", "sub/b c", "sub/photo ü.jpg", "sub/put"]
    assert tree(site) == dict.fromkeys(names, photo.read_bytes())
    assert curl(server, "sub/b%20c", "-X", "DELETE") == (204, "")
    assert curl(server, "sub/b%20c", "-X", "DELETE")[0] == 404
    assert curl(server, "posted", "-T", str(photo), "-H", "If-None-Match: *")[0] == 412
    assert curl(server, "", "-F", f"a=@{photo};filename=../x")[0] in (201, 400)  # curl may cut it
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("photo ü.jpg", "secret.txt", "site")
    ]


@pytest.mark.parametrize(
    ("method", "name", "fields", "status"),
    [
        ("PUT", ".x", (), 404),
        ("PUT", "none/" * 33 + "a", (), 409),
        ("PUT", "sub", (), 409),
        ("PUT", "sub/", (), 409),
        ("PUT", "a", ("If-Match: *",), 412),
        ("PUT", "a", ("Content-Range: bytes 0-1/9",), 400),
        ("PUT", "a", ("Content-Encoding: gzip",), 415),
        ("PUT", "a", ("Origin: http://evil.example",), 403),
        ("PUT", "x" * 256, (), 414),
        ("POST", "", ("Content-Type: text/plain",), 415),
        ("POST", "none/" * 33, ("Content-Type: multipart/form-data; boundary=b",), 409),
        ("PUT", "a", (), 413),
    ],
)
def test_refused_before_the_body_is_asked_for(
    site: Path, serve: Serve, method: str, name: str, fields: tuple[str, ...], status: int
) -> None:
    """A client that waits for 100 (Continue) does not send a body that is refused."""
    client = serve(handler_of(site), upload_bytes=10**6).connect()
    length = 2 * 10**6 if status == 413 else 10**6
    fields = (*fields, f"Content-Length: {length}", "Expect: 100-continue")
    client.send(encode(f"/files/{name}", *fields, method=method))
    assert client.read_response().status == status
    assert tree(site) == {}


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("name", ["a", "sub/a", "old", "sub/"])
@pytest.mark.parametrize("fields", [(), ("Connection: keep-alive",), ("Upload-Complete: ?1",)])
def test_http_1_0_without_a_length(
    site: Path, serve: Serve, method: str, name: str, fields: tuple[str, ...]
) -> None:
    """Its content would end with the connection: what comes is neither stored nor a request."""
    (site / "old").write_bytes(b"old")
    client = serve(handler_of(site)).connect()
    lines = (f"{method} /files/{name} HTTP/1.0", "Host: x", *fields, "", "")
    client.send("\r\n".join(lines).encode() + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.send_fin()
    response = client.read_response()
    assert (response.status, response.get("connection")) == (411, "close")
    assert client.read_to_end() == b""
    assert tree(site) == {"old": b"old"}


@pytest.mark.parametrize(("length", "status"), [("0", 201), ("3", 201)])
def test_http_1_0_with_a_length(site: Path, serve: Serve, length: str, status: int) -> None:
    client = serve(handler_of(site)).connect()
    head = f"PUT /files/a HTTP/1.0\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    client.send(head.encode() + b"abc"[: int(length)])
    assert client.read_response().status == status
    assert tree(site) == {"a": b"abc"[: int(length)]}


def test_http_1_1_without_a_length_has_no_content(site: Path, serve: Serve) -> None:
    client = serve(handler_of(site)).connect()
    client.send(b"PUT /files/a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.read_response().status == 201
    assert tree(site) == {"a": b""}


@pytest.mark.usefixtures("kind")
def test_form_is_not_collected_in_memory(site: Path, serve: Serve) -> None:
    """A file goes to the disk while it comes; of an interrupted form nothing of it stays."""
    server = serve(handler_of(site))
    client = server.connect()
    begin = file_part("a", b"one") + file_part("big", b"").removesuffix(b"\r\n")
    client.send(
        encode(
            "/files/",
            "Content-Type: multipart/form-data; boundary=b",
            "Content-Length: 100000000",
            method="POST",
        )
        + begin
    )
    for _ in range(16):
        client.send(bytes(1 << 20))
    until = time.monotonic() + 10
    while (site / "a").exists() is False and time.monotonic() < until:
        time.sleep(0.005)
    client.send_fin()
    response = client.read_response()
    assert response.status == 400
    assert b"1 file of the form was stored." in response.body
    assert tree(site) == {"a": b"one"}


@pytest.mark.usefixtures("kind")
def test_form_whose_client_is_lost(site: Path, serve: Serve) -> None:
    server = serve(handler_of(site))
    client = server.connect()
    fields = ("Content-Type: multipart/form-data; boundary=b", "Content-Length: 1000000")
    client.send(encode("/files/", *fields, method="POST") + file_part("a", b"x" * 1000))
    until = time.monotonic() + 10
    while not os.listdir(site) and time.monotonic() < until:
        time.sleep(0.005)
    client.reset()
    server.wait_for_connections(0)
    while tree(site) and time.monotonic() < until:
        time.sleep(0.005)
    assert tree(site) == {}


def test_many_at_a_time_to_one_name(site: Path, serve: Serve) -> None:
    """On real threads: one file in the end, and it is one that was sent."""
    server = serve(handler_of(site))
    clients = [server.connect() for _ in range(20)]
    bodies = [bytes([65 + number]) * 50_000 for number in range(20)]
    for client, body in zip(clients, bodies, strict=True):
        client.send(encode("/files/a", method="PUT", body=body))
    responses = [client.read_response().status for client in clients]
    assert sorted(responses) == [201] + [204] * 19
    assert tree(site)["a"] in bodies
    for client, body in zip(clients, bodies, strict=True):
        client.send(encode("/files/b", "If-None-Match: *", method="PUT", body=body))
    responses = [client.read_response().status for client in clients]
    assert sorted(responses) == [201] + [412] * 19
    assert tree(site)["b"] == bodies[responses.index(201)]
    assert set(tree(site)) == {"a", "b"}


# --- a server that is killed ---------------------------------------------------------------------


class Killable:
    """A server in a process of its own."""

    def __init__(self, site: Path, kind: str) -> None:
        command = [sys.executable, "-m", "tests.support.upload_app", str(site), kind]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        self._address = ("127.0.0.1", int(self._process.stdout.readline()))

    def connect(self) -> Client:
        return Client(self._address)

    def sweep(self) -> int:
        with self.connect() as client:
            return int(client.ask("/sweep").body)

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


@pytest.mark.system
def test_server_that_is_killed_in_the_middle_of_an_upload(site: Path, kind: str) -> None:
    (site / "a").write_bytes(b"old")
    first, second = Killable(site, kind), Killable(site, kind)
    try:
        with first.connect() as one, second.connect() as two:
            for client, name in ((one, "a"), (two, "sub/b")):
                client.send(
                    encode(f"/files/{name}", "Content-Length: 1000000", method="PUT")
                    + bytes(500_000)
                )
            named = kind == "named"
            until = time.monotonic() + 10
            while named and len(list(site.rglob(".*.part"))) < 2 and time.monotonic() < until:
                time.sleep(0.01)
            assert len(list(site.rglob(".*.part"))) == 2 * named
            assert second.sweep() == 0  # the other server's is held as well
            first.kill()
            assert (site / "a").read_bytes() == b"old"
            assert second.sweep() == named
            two.send(bytes(500_000))
            assert two.read_response().status == 201
            assert tree(site) == {"a": b"old", "sub/b": bytes(10**6)}
    finally:
        first.kill()
        second.kill()
