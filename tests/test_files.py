"""`/files/{name}`: what is answered, what lies on the disk then, and that nothing is left open."""

import errno
import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers import uploads
from handlers.files import PIECE_BYTES, Files
from handlers.mediatypes import media_type
from handlers.safepath import Root
from handlers.uploads import Upload
from reactor import Cancelled, FileRegion, ProtocolError, Request, Response
from tests.drive import Feed, Play, Stage, drive, make_request, open_descriptors

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    before = open_descriptors()
    yield
    gc.collect()
    assert open_descriptors() == before


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    return site


@pytest.fixture(params=["nameless", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to hide an unfinished file, whichever this machine's file system would have."""
    if request.param == "named":
        monkeypatch.setattr(uploads, "_NAMELESS", 0)
    elif not uploads._NAMELESS:
        pytest.skip("this machine has no nameless files")
    return str(request.param)


def ask(method: str, name: str, feed: Feed | None = None, **headers: str) -> Request:
    """A request as the router hands it on; names here need no decoding."""
    request = make_request(method, f"/files/{name}", feed, **headers)
    request.params = {"name": tuple(name.split("/"))}
    return request


def get(files: Files, name: str) -> Response:
    return drive(files.get(ask("GET", name)))


def post(files: Files, name: str, *pieces: bytes | Exception, **headers: str) -> Response:
    return drive(files.post(ask("POST", name, Feed(*pieces), **headers)))


def refusal(call: Callable[..., Response], *arguments: Any, **named: Any) -> int:
    """The status of the ProtocolError that this raises; its reason is a sentence."""
    with pytest.raises(ProtocolError) as caught:
        call(*arguments, **named)
    assert caught.value.reason.endswith(".")
    return caught.value.status


def content(response: Response) -> bytes:
    """What the response's region is of; lets it go."""
    region = response.body
    assert isinstance(region, FileRegion)
    data = region.file.load(region.offset, region.length)
    assert len(data) == region.length
    region.release()
    return data


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, dotted ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- GET -----------------------------------------------------------------------------------------


def test_get(site: Path) -> None:
    (site / "sub" / "page.html").write_bytes(b"<p>")
    response = get(Files(site), "sub/page.html")
    assert response.status == 200
    assert list(response.headers) == [
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    assert content(response) == b"<p>"


def test_get_empty_file(site: Path) -> None:
    (site / "empty").touch()
    assert content(get(Files(site), "empty")) == b""


def test_get_looks_when_asked(site: Path) -> None:
    files = Files(site)
    assert refusal(get, files, "late") == 404
    (site / "late").write_bytes(b"1")
    assert content(get(files, "late")) == b"1"
    (site / "late").write_bytes(b"22")
    assert content(get(files, "late")) == b"22"
    (site / "late").unlink()
    assert refusal(get, files, "late") == 404


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LICENSE", "application/octet-stream"),
        ("data.", "application/octet-stream"),
        ("data.unknown", "application/octet-stream"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("A.TXT", "text/plain; charset=utf-8"),
        ("a.tar.gz", "application/gzip"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
    ],
)
def test_media_types(site: Path, name: str, expected: str) -> None:
    assert media_type(name) == expected
    (site / name).touch()
    response = get(Files(site), name)
    assert dict(response.headers)["Content-Type"] == expected
    content(response)


@pytest.mark.parametrize(
    "name",
    [
        *("", "sub", "sub/", "none", "none/a", "..", "../secret.txt", ".x", "sub/../a", "a\\b"),
        *("a\0b", "x" * 256, "x" * 10_000, "/etc/passwd", "out", "fifo", "loop"),
    ],
)
@pytest.mark.timeout(5)  # the FIFO
def test_get_what_is_not_there(site: Path, name: str) -> None:
    (site / ".x").touch()
    (site / "a\\b").touch()
    (site / "out").symlink_to("../secret.txt")
    (site / "loop").symlink_to("loop")
    os.mkfifo(site / "fifo")
    assert refusal(get, Files(site), name) == 404


def fail(call: str, code: int, monkeypatch: pytest.MonkeyPatch, times: int = 10**6) -> None:
    """Have a call of the operating system fail, the first `times` times."""
    real, left = getattr(os, call), [times]

    def failing(*arguments: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, failing)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (errno.EACCES, 403),
        (errno.EPERM, 403),
        (errno.EMFILE, 503),
        (errno.ENFILE, 503),
        (errno.ENXIO, 404),
    ],
)
def test_get_that_fails(
    site: Path, code: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "a").touch()
    files = Files(site)
    fail("open", code, monkeypatch)
    assert refusal(get, files, "a") == status


def test_get_on_a_broken_disk_is_the_servers_fault(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "a").touch()
    files = Files(site)
    fail("open", errno.EIO, monkeypatch)
    with pytest.raises(OSError):
        get(files, "a")


def test_get_that_is_cancelled_while_the_file_is_opened(site: Path) -> None:
    """The job ends later, on its thread; nobody wants its file, so it closes itself."""
    (site / "a").touch()
    stage = Stage()
    stage.holding = True
    play = Play(Files(site).get(ask("GET", "a")), stage)
    play.wish.start(stage)
    with pytest.raises(Cancelled):
        play.throw(Cancelled())
    stage.perform([0])


def test_no_directory() -> None:
    files = Files(None)
    assert refusal(get, files, "a") == 404
    assert refusal(post, files, "a") == 404
    assert refusal(post, Files(None, read_only=True), "a") == 404


def test_directory_that_cannot_be(site: Path) -> None:
    with pytest.raises(OSError):
        Files(site / "none")


# --- POST ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
def test_post_and_replace(site: Path) -> None:
    files = Files(site)
    response = post(files, "sub/a%20b", b"one", b"two")
    assert (response.status, response.body) == (201, b"")
    assert list(response.headers) == [("Location", "/files/sub/a%20b")]
    assert tree(site) == {"sub/a%20b": b"onetwo"}
    response = post(files, "sub/a%20b", b"three")
    assert (response.status, response.body, list(response.headers)) == (204, b"", [])
    assert tree(site) == {"sub/a%20b": b"three"}


@pytest.mark.usefixtures("kind")
def test_post_of_nothing(site: Path) -> None:
    assert post(Files(site), "empty").status == 201
    assert tree(site) == {"empty": b""}


@pytest.mark.usefixtures("kind")
def test_post_keeps_the_bytes(site: Path) -> None:
    body = bytes(range(256)) * 5000
    assert post(Files(site), "a", body, b"\r\n", body).status == 201
    assert tree(site) == {"a": body + b"\r\n" + body}


def test_post_holds_one_piece_at_a_time(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was pulled is on the disk before the next is pulled, and no pull asks for much."""
    asked: list[int] = []
    written: list[int] = []
    pull, write = Feed.pull, Upload.write

    def spy_pull(feed: Feed, most: int) -> Any:
        asked.append(most)
        assert len(written) == len(asked) - 1
        return pull(feed, most)

    def spy_write(upload: Upload, piece: bytes) -> None:
        written.append(len(piece))
        write(upload, piece)

    monkeypatch.setattr(Feed, "pull", spy_pull)
    monkeypatch.setattr(Upload, "write", spy_write)
    post(Files(site), "a", b"x" * (3 * PIECE_BYTES + 1))
    assert set(asked) == {PIECE_BYTES}
    assert written == [PIECE_BYTES] * 3 + [1]


@pytest.mark.usefixtures("kind")
def test_post_to_a_disk_that_takes_a_little_at_a_time(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:1000]))
    post(Files(site), "a", b"0123456789" * 777)
    assert tree(site) == {"a": b"0123456789" * 777}


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_is_that_of_any_new_file(site: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        post(Files(site), "a", b"x")
    finally:
        os.umask(before)
    assert (site / "a").stat().st_mode & 0o7777 == mode
    assert (site / "a").stat().st_nlink == 1


@pytest.mark.usefixtures("kind")
def test_post_is_on_the_disk_before_it_has_its_name(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def watch(call: str) -> None:
        real = getattr(os, call)

        def spy(*arguments: Any, **named: Any) -> Any:
            calls.append(call)
            return real(*arguments, **named)

        monkeypatch.setattr(os, call, spy)

    for call in ("write", "fsync", "replace"):
        watch(call)
    post(Files(site), "a", b"x")
    assert calls == ["write", "fsync", "replace", "fsync"]


@pytest.mark.usefixtures("kind")
def test_readers_see_the_old_file_or_the_new_one(site: Path) -> None:
    files = Files(site)
    post(files, "a", b"old")
    kept = get(files, "a")
    stage = Stage()
    play = Play(files.post(ask("POST", "a", Feed(b"ne", b"w"))), stage)
    steps = 0
    while play.wish is not None:
        assert content(get(files, "a")) == b"old"
        play.step()
        steps += 1
    assert steps >= 4
    assert content(get(files, "a")) == b"new"
    assert content(kept) == b"old"  # an answer under way keeps its file


@pytest.mark.usefixtures("kind")
def test_of_two_uploads_the_last_to_end_wins_whole(site: Path) -> None:
    files, stage = Files(site), Stage()
    one = Play(files.post(ask("POST", "a", Feed(b"1", b"1", b"1"))), stage)
    two = Play(files.post(ask("POST", "a", Feed(b"2", b"2"))), stage)
    while one.wish is not None or two.wish is not None:
        for play in (one, two):
            if play.wish is not None:
                play.step()
    assert (two.result.status, one.result.status) == (201, 204)
    assert tree(site) == {"a": b"111"}


def test_unfinished_file_is_not_to_be_seen(site: Path, kind: str) -> None:
    files, stage = Files(site), Stage()
    play = Play(files.post(ask("POST", "a", Feed(b"1", b"2"))), stage)
    play.step()
    names = os.listdir(site)
    assert "a" not in names
    if kind == "nameless":
        assert names == ["sub"]  # should the server be killed now, nothing is left
    else:
        assert [name for name in names if name != "sub"] != []
        assert all(refusal(get, files, name) == 404 for name in names)
    play.close()


def test_where_the_file_system_has_no_nameless_files(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_NAMELESS", 0o200000000)  # no flag that means anything
    really_open = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & 0o200000000:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return really_open(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert post(Files(site), "a", b"x").status == 201
    assert tree(site) == {"a": b"x"}


# --- POST that is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("", 404),
        ("sub/", 404),
        ("..", 404),
        ("../secret.txt", 404),
        ("sub/../../secret.txt", 404),
        (".hidden", 404),
        (".git/config", 404),
        ("a\\b", 404),
        ("a\0b", 404),
        ("/etc/x", 404),
        ("none/a", 409),
        ("out/a", 409),
        ("taken/a", 409),
        ("sub", 409),
        ("fifo", 409),
        ("link-out", 404),
        ("link-nowhere", 404),
        ("loop", 409),
        ("x" * 256, 414),
    ],
)
@pytest.mark.timeout(5)
@pytest.mark.usefixtures("kind")
def test_post_where_no_file_can_be(site: Path, name: str, status: int) -> None:
    (site / "taken").write_bytes(b"taken")
    (site / "out").symlink_to("..")
    (site / "link-out").symlink_to("../secret.txt")
    (site / "link-nowhere").symlink_to("../made.txt")
    (site / "loop").symlink_to("loop")
    os.mkfifo(site / "fifo")
    before = sorted(site.parent.rglob("*"))
    feed = Feed(b"x")
    assert refusal(drive, Files(site).post(ask("POST", name, feed))) == status
    assert feed.pulls == 0  # so that a client that waits for 100 (Continue) has not sent it
    assert sorted(site.parent.rglob("*")) == before
    assert (site.parent / "secret.txt").read_text() == "secret"


@pytest.mark.usefixtures("kind")
def test_post_through_links_that_stay_inside(site: Path) -> None:
    (site / "folder").symlink_to("sub")
    (site / "sub" / "old").write_bytes(b"old")
    (site / "link").symlink_to("sub/old")
    files = Files(site)
    assert post(files, "folder/new", b"new").status == 201
    assert post(files, "link", b"own").status == 204
    assert not (site / "link").is_symlink()
    assert tree(site) == {"sub/new": b"new", "sub/old": b"old", "link": b"own"}


@pytest.mark.usefixtures("kind")
def test_name_that_is_taken_by_a_folder_meanwhile(site: Path) -> None:
    stage = Stage()
    play = Play(Files(site).post(ask("POST", "a", Feed(b"1"))), stage)
    play.step()
    (site / "a").mkdir()
    with pytest.raises(ProtocolError) as caught:
        while play.wish is not None:
            play.step()
    assert caught.value.status == 409
    assert tree(site) == {}


def test_read_only(site: Path) -> None:
    files = Files(site, read_only=True)
    with pytest.raises(ProtocolError) as caught:
        post(files, "a", b"x")
    assert caught.value.status == 405
    assert dict(caught.value.headers) == {"Allow": "GET, HEAD, OPTIONS"}
    (site / "a").write_bytes(b"a")
    assert content(get(files, "a")) == b"a"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "Cross-Site"},
        {"Sec_Fetch_Site": "cross-site", "Origin": "http://example.com"},
        {"Sec_Fetch_Site": "same-site", "Origin": "http://www.example.com"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://"},
        {"Origin": "http://example.com:8080"},
        {"Origin": "http://example.com:443"},
        {"Origin": "https://example.com:80"},
        {"Origin": "http://example.com.evil.example"},
        {"Origin": "http://evil.example/example.com"},
        {"Origin": "http://example.com@evil.example"},
        {"Origin": "ftp://example.com"},
        {"Origin": "example.com"},
        {"Origin": "http://example.com, http://evil.example"},
    ],
)
def test_post_from_another_site(site: Path, headers: dict[str, str]) -> None:
    feed = Feed(b"x")
    request = ask("POST", "a", feed, **headers)
    assert refusal(drive, Files(site).post(request)) == 403
    assert feed.pulls == 0
    assert tree(site) == {}


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("example.com", {}),
        ("example.com", {"Origin": "http://example.com"}),
        ("Example.com", {"origin": "http://EXAMPLE.com"}),
        ("example.com:80", {"Origin": "http://example.com"}),
        ("example.com", {"Origin": "http://example.com:80"}),
        ("example.com", {"Origin": "https://example.com"}),
        ("example.com:443", {"Origin": "https://example.com"}),
        ("localhost:4221", {"Origin": "http://localhost:4221"}),
        ("[::1]:80", {"Origin": "http://[::1]"}),
        ("example.com", {"Sec_Fetch_Site": "same-origin", "Origin": "http://example.com"}),
        ("example.com", {"Sec_Fetch_Site": "none"}),
    ],
)
def test_post_from_our_own_site(site: Path, host: str, headers: dict[str, str]) -> None:
    request = ask("POST", "a", Feed(b"x"), **headers)
    request.host = host
    assert drive(Files(site).post(request)).status == 201


def test_origin_without_any_host(site: Path) -> None:
    request = ask("POST", "a", Feed(b"x"), Origin="http://:80")
    request.host = ""
    assert refusal(drive, Files(site).post(request)) == 403


# --- POST that breaks off ------------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("pieces", [0, 1, 2, 5])
def test_body_that_breaks_off(site: Path, pieces: int) -> None:
    (site / "a").write_bytes(b"old")
    broken = ProtocolError(400, "The request ended before its body did.")
    assert refusal(post, Files(site), "a", *[b"x" * 1000] * pieces, broken) == 400
    assert tree(site) == {"a": b"old"}


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize(
    ("code", "status"),
    [
        (errno.ENOSPC, 507),
        (errno.EDQUOT, 507),
        (errno.EFBIG, 413),
        (errno.EROFS, 403),
        (errno.EACCES, 403),
        (errno.EPERM, 403),
        (errno.EMFILE, 503),
        (errno.ENFILE, 503),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
def test_disk_that_fails(
    site: Path, call: str, code: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "a").write_bytes(b"old")
    files = Files(site)
    with monkeypatch.context() as patch:
        fail(call, code, patch)
        assert refusal(post, files, "a", b"x") == status
    assert tree(site) == {"a": b"old"}


@pytest.mark.usefixtures("kind")
def test_disk_that_is_broken(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail("fsync", errno.EIO, monkeypatch)
    with pytest.raises(OSError):
        post(Files(site), "a", b"x")
    assert tree(site) == {}


@pytest.mark.usefixtures("kind")
def test_file_system_that_cannot_sync_folders(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def picky(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", picky)
    assert post(Files(site), "a", b"x").status == 201


def test_what_cannot_be_removed_does_not_hide_the_error(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uploads, "_NAMELESS", 0)
    fail("unlink", errno.EIO, monkeypatch)
    assert refusal(post, Files(site), "a", ProtocolError(408, "Slow.")) == 408
    assert ".part" in caplog.text


# begin, pull, write, pull (here at once), write, pull, commit
_BODY = (b"one", b"two")
_WISHES = 6


def _play(site: Path, steps: int) -> tuple[Play, Stage]:
    """An upload to `a` that waits for its wish number `steps`."""
    stage = Stage()
    play = Play(Files(site).post(ask("POST", "a", Feed(*_BODY))), stage)
    for _ in range(steps):
        play.step()
    return play, stage


def test_number_of_wishes(site: Path) -> None:
    play, _ = _play(site, _WISHES)
    assert play.wish is None


def _is_job(wish: Any) -> bool:
    return not hasattr(wish, "set_result")


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("steps", range(_WISHES))
@pytest.mark.parametrize("late", [False, True], ids=["in-order", "job-after-discard"])
def test_cancelled_at_each_await(site: Path, steps: int, late: bool) -> None:
    """The job that is under way then ends before the discard, or begins only after it."""
    play, stage = _play(site, steps)
    stage.holding = True
    jobs = 0
    if _is_job(play.wish):
        play.wish.start(stage)
        jobs = 1
    play.throw(Cancelled())
    discarded = play.wish.start(stage)
    order = list(range(jobs + 1))
    stage.perform(order[::-1] if late else order)
    with pytest.raises(Cancelled):
        play.resume(discarded)
    del play, discarded
    committed = steps == _WISHES - 1 and not late
    assert tree(site) == ({"a": b"onetwo"} if committed else {})


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("steps", range(_WISHES))
@pytest.mark.parametrize("started", [False, True])
def test_closed_at_each_await(site: Path, steps: int, started: bool) -> None:
    """Nothing can be awaited then; the upload is discarded when the last job lets go of it."""
    play, stage = _play(site, steps)
    stage.holding = True
    if started and _is_job(play.wish):
        play.wish.start(stage)
    play.close()
    stage.perform(range(len(stage.jobs)))
    del play
    gc.collect()
    committed = steps == _WISHES - 1 and started
    assert tree(site) == ({"a": b"onetwo"} if committed else {})


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("steps", range(_WISHES))
def test_closed_while_it_cleans_up(site: Path, steps: int) -> None:
    play, _ = _play(site, steps)
    play.throw(Cancelled())
    play.close()
    del play
    gc.collect()
    assert tree(site) == {}


@pytest.mark.usefixtures("kind")
def test_pool_that_is_too_full_to_clean_up(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play, _ = _play(site, 2)
    with pytest.raises(Cancelled):
        play.throw(Cancelled())
        play.throw(ProtocolError(503, "The disk is too busy."))
    del play
    gc.collect()
    assert tree(site) == {}


@pytest.mark.usefixtures("kind")
def test_commit_and_discard_hold_nothing(site: Path) -> None:
    before = open_descriptors()
    for number in range(2):
        upload = Upload(Root(site), ("a",))
        upload.begin()
        upload.write(b"%d" % number)
        upload.discard() if number else upload.commit()
        assert open_descriptors() == before
    assert tree(site) == {"a": b"0"}


class _TellingLock:
    """A lock that tells when somebody has to wait for it."""

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
    upload = Upload(Root(site), ("a",))
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
    files = Files(site)
    for number in range(100):
        post(files, f"f{number}", b"%d" % number)
    assert tree(site) == {f"f{number}": b"%d" % number for number in range(100)}
