"""Files over real sockets: every byte, every end, curl, a slow disk, and an attack.

The files of most tests are 100 seconds old by the server's clock, so that their tags are strong.
"""

import contextlib
import errno
import gc
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest

from reactor import Limits, Response
from reactor.files.file import WINDOW_BYTES
from reactor.protocol.dates import http_date
from reactor.tasks.futures import Lane
from reactor.web.app.application import Application
from reactor.web.semantics.media_types import media_types
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from reactor.web.static import open_file_cache
from reactor.web.static.compressed_cache import STREAMED_BYTES
from reactor.web.static.file_server import FileServer, Mount
from reactor.web.storage.safe_path import Root
from tests.conftest import Running, Serve
from tests.support.coroutine_driver import open_descriptors
from tests.support.paths import ROOT
from tests.support.raw_client import TIMEOUT, Client, RawResponse, request

pytestmark = pytest.mark.system

pytestmark = pytest.mark.timeout(60)

TEXT = b"".join(b"line %d of a text that shrinks\n" % number for number in range(2000))
NOISE = os.urandom(max(3 * WINDOW_BYTES, 2 << 20) + 300_017)
SECRET = b"the secret that nobody may see"

needs_wget = pytest.mark.skipif(shutil.which("wget") is None, reason="there is no wget here")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "text.txt").write_bytes(TEXT)
    (site / "data").write_bytes(NOISE[:5000])
    (site / "noise").write_bytes(NOISE)
    (site / "empty").touch()
    (site / "sub" / "small.txt").write_bytes(b"small")
    return site


class Start(Protocol):
    def __call__(self, directory: Path, **options: Any) -> tuple[Running, FileServer]: ...


@pytest.fixture
def start(serve: Serve) -> Iterator[Start]:
    """A server of one mount at /, and a /ping; what the cache holds is closed at last."""
    started: list[tuple[Running, FileServer]] = []

    def start_one(directory: Path, **options: Any) -> tuple[Running, FileServer]:
        limits = options.pop("limits", {})
        prefix = options.pop("prefix", "/")
        mount = {"media_type": media_types({}), **options}
        files = FileServer(
            Mount(directory=str(directory), **mount),
            Limits(**limits),
            wall=lambda: time.time() + 100,
        )
        router = Application()
        router.add("GET", "/ping", lambda request: Response(200, b"pong"))
        router.add("GET", prefix + "{name:segments}", files.get)
        started.append((serve(router, **limits), files))
        return started[-1]

    yield start_one
    for running, files in started:
        running.call(files._open.close)


def url(running: Running, path: str) -> str:
    return f"http://127.0.0.1:{running.address[1]}{path}"


def held(running: Running, files: FileServer) -> int:
    """How many others than the cache hold files."""

    def holders() -> int:
        entries = files._open._entries.values()
        return sum(file.holders - 1 for one in entries for file in one.found.files())

    running.call(holders)  # the turn of this call ends with the bulk work that a response has left
    return running.call(holders)


# --- every byte ----------------------------------------------------------------------------------

SIZES = [
    *(0, 1, 1023, 1024, 65535, 65536, 65537, 256 * 1024, 256 * 1024 + 1),
    *(WINDOW_BYTES - 1, WINDOW_BYTES, WINDOW_BYTES + 1, 3 * WINDOW_BYTES + 17),
    *((1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 7),
]


def test_whole_files_of_any_size(site: Path, start: Start) -> None:
    running, files = start(site)
    client = running.connect()
    for size in SIZES:
        (site / f"f{size}").write_bytes(NOISE[:size])
        for _ in range(2):  # cold and hot
            response = client.ask(f"/f{size}")
            assert response.status == 200
            assert response.get("content-length") == str(size)
            assert response.body == NOISE[:size]
    assert held(running, files) == 0


def test_ranges_across_windows(site: Path, start: Start) -> None:
    running, files = start(site)
    client = running.connect()
    size = len(NOISE)
    for first, last in (
        (0, 0),
        (size - 1, size - 1),
        (1, size - 2),
        (WINDOW_BYTES - 1, WINDOW_BYTES),
        (WINDOW_BYTES, 2 * WINDOW_BYTES - 1),
        (WINDOW_BYTES - 65536, WINDOW_BYTES + 65536),
        (12345, 12345 + 65535),
        (12345, 12345 + 65536),
        (2 * WINDOW_BYTES + 7, 2 * WINDOW_BYTES + 300_000),
    ):
        response = client.ask("/noise", f"Range: bytes={first}-{last}")
        assert response.status == 206
        assert response.get("content-range") == f"bytes {first}-{last}/{size}"
        assert response.body == NOISE[first : last + 1]
    assert held(running, files) == 0


def test_several_ranges_across_windows(site: Path, start: Start) -> None:
    running, files = start(site)
    client = running.connect()
    asked = [
        (0, 9),
        (WINDOW_BYTES - 5, 2 * WINDOW_BYTES + 5),
        (len(NOISE) - 70_000, len(NOISE) - 1),
    ]
    value = ",".join(f"{first}-{last}" for first, last in asked)
    for _ in range(3):
        response = client.ask("/noise", f"Range: bytes={value}")
        assert response.status == 206
        boundary = (response.get("content-type") or "").partition("boundary=")[2].encode()
        expected = b"".join(
            b"\r\n--%b\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Range: bytes %d-%d/%d\r\n\r\n%b"
            % (boundary, first, last, len(NOISE), NOISE[first : last + 1])
            for first, last in asked
        )
        assert response.body == expected + b"\r\n--%b--\r\n" % boundary
    assert held(running, files) == 0


FIELDS: list[tuple[str, tuple[str, ...]]] = [
    ("/data", ()),
    ("/text.txt", ()),
    ("/empty", ()),
    ("/noise", ()),
    ("/data", ("If-None-Match: *",)),
    ("/text.txt", ("If-None-Match: *", "Accept-Encoding: gzip")),
    ("/data", ('If-Match: "x"',)),
    ("/none", ()),
    ("/sub", ()),
    ("/sub/", ()),
    ("/sub/", ("Accept: application/json",)),
    ("/../x", ()),
    ("/text.txt", ("Accept-Encoding: *;q=0",)),
]


def test_head_is_get_without_the_body(site: Path, start: Start) -> None:
    """Content-Length too, where GET has one (RFC 9110, section 9.3.2)."""
    running, files = start(site, headers=(("X-Own", "yes"),))
    client = running.connect()
    for path, fields in FIELDS:
        got = client.ask(path, *fields)
        head = client.ask(path, *fields, method="HEAD")
        assert head.status == got.status
        without = {"date", "transfer-encoding"}
        for response in (got, head):
            assert ("x-own", "yes") in response.fields
        assert [one for one in head.fields if one[0] not in without] == [
            one for one in got.fields if one[0] not in without
        ]
        assert client.ask("/ping").body == b"pong"  # and there was no body to be seen
    assert held(running, files) == 0


def test_head_ignores_ranges(site: Path, start: Start) -> None:
    running, _ = start(site)
    client = running.connect()
    for value in ("0-0", "0-0,5-5", "99999999-"):
        head = client.ask("/noise", f"Range: bytes={value}", method="HEAD")
        assert (head.status, head.get("content-length")) == (200, str(len(NOISE)))
        assert head.get("content-range") is None


def test_not_modified_has_no_length(site: Path, start: Start) -> None:
    running, _ = start(site)
    client = running.connect()
    tag = client.ask("/data").get("etag") or ""
    response = client.ask("/data", f"If-None-Match: {tag}")
    assert response.status == 304
    assert [name for name, _ in response.fields if name not in ("date", "server")] == ["etag"]
    assert client.ask("/ping").body == b"pong"


def test_pipelined(site: Path, start: Start) -> None:
    running, files = start(site)
    client = running.connect()
    asked = [
        ("/data", "GET", ()),
        ("/noise", "GET", ("Range: bytes=5-9",)),
        ("/noise", "GET", ()),
        ("/none", "GET", ()),
        ("/text.txt", "GET", ("Accept-Encoding: gzip",)),
        ("/noise", "HEAD", ()),
        ("/noise", "GET", ("Range: bytes=0-1,8-9",)),
        ("/sub", "GET", ()),
        ("/empty", "GET", ()),
    ] * 3
    client.send(b"".join(request(path, *fields, method=method) for path, method, fields in asked))
    statuses = [client.read_response(method).status for _, method, _ in asked]
    assert statuses == [200, 206, 200, 404, 200, 200, 206, 301, 200] * 3
    assert held(running, files) == 0


# --- codings -------------------------------------------------------------------------------------


def gunzip(data: bytes) -> bytes:
    decoder = zlib.decompressobj(31)
    plain = decoder.decompress(data)
    assert decoder.eof
    assert decoder.unused_data == b""
    return plain


def test_gzip(site: Path, start: Start) -> None:
    running, files = start(site)
    client = running.connect()
    first = client.ask("/text.txt", "Accept-Encoding: gzip")
    assert gunzip(first.body) == TEXT
    assert first.get("content-length") == str(len(first.body))
    assert client.ask("/text.txt", "Accept-Encoding: gzip").body == first.body
    head = client.ask("/text.txt", "Accept-Encoding: gzip", method="HEAD")
    assert head.get("content-length") == first.get("content-length")
    assert held(running, files) == 0


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_large_file_is_gzipped_as_it_is_sent(site: Path, start: Start, version: str) -> None:
    content = TEXT * (STREAMED_BYTES // len(TEXT) + 1)
    (site / "large.txt").write_bytes(content)
    running, files = start(site)
    client = running.connect()
    response = client.ask("/large.txt", "Accept-Encoding: gzip", version=version)
    assert response.get("content-length") is None
    assert response.get("transfer-encoding") == ("chunked" if version == "1.1" else None)
    assert gunzip(response.body) == content
    running.wait_until(lambda: held_now(files) == 0)


def held_now(files: FileServer) -> int:
    """On the loop's thread."""
    entries = files._open._entries.values()
    return sum(file.holders - 1 for one in entries for file in one.found.files())


def test_many_ask_for_one_text_at_once(site: Path, start: Start) -> None:
    running, files = start(site)
    clients = [running.connect() for _ in range(30)]
    for client in clients:
        client.send(request("/text.txt", "Accept-Encoding: gzip"))
    bodies = {client.read_response().body for client in clients}
    assert [gunzip(body) for body in bodies] == [TEXT]
    assert held(running, files) == 0


# --- what happens to a file while it is sent -----------------------------------------------------


def begin_download(running: Running, path: str, *fields: str) -> tuple[Client, RawResponse]:
    """A client that has read the response's head, and reads no more for now."""
    client = running.connect(receive_buffer=4096)
    client.send(request(path, *fields))
    head = client.read_until(b"\r\n\r\n").decode()
    found = re.findall("(.+?): (.+)\r", head)
    return client, RawResponse(int(head[9:12]), [(k.lower(), v) for k, v in found], b"", b"")


@pytest.fixture
def huge(site: Path) -> bytes:
    """More than all buffers on the way take."""
    content = NOISE * (1 + (16 << 20) // len(NOISE))
    (site / "huge").write_bytes(content)
    return content


def test_replaced_while_it_is_sent(site: Path, start: Start, huge: bytes) -> None:
    """All of the old file is sent, also when others get the new one meanwhile."""
    running, files = start(site, limits={"open_file_age": 0.01})
    client, response = begin_download(running, "/huge")
    assert response.status == 200
    ranges, parts = begin_download(running, "/huge", f"Range: bytes=0-9,20-{len(huge) - 1}")
    (site / ".new").write_bytes(b"new")
    (site / ".new").replace(site / "huge")
    time.sleep(0.02)
    assert running.connect().ask("/huge").body == b"new"
    assert client.read_exactly(len(huge)) == huge
    body = ranges.read_exactly(int(parts.get("content-length") or ""))
    end = body.rindex(b"\r\n--", 0, -4)
    assert body[end - len(huge) + 20 : end] == huge[20:]
    running.wait_until(lambda: held_now(files) == 0)


@pytest.mark.parametrize("path", ["/huge", "/huge.txt"])
@pytest.mark.parametrize("size", [0, 100_000])
def test_shrinks_while_it_is_sent(
    site: Path, start: Start, huge: bytes, path: str, size: int
) -> None:
    """A reset: what has come must not look like the whole, nor be filled up with something."""
    (site / "huge.txt").write_bytes(TEXT * 300)
    running, files = start(site)
    fields = ("Accept-Encoding: gzip",) if path == "/huge.txt" else ()
    client, _ = begin_download(running, path, *fields)
    os.truncate(site / path[1:], size)
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    running.wait_until(lambda: held_now(files) == 0)
    assert running.connect().ask("/ping").body == b"pong"


@pytest.mark.parametrize("size", [70_000, 2_000_000])
def test_has_become_shorter_within_the_second(site: Path, start: Start, size: int) -> None:
    """Before anybody has looked again; the head says what the file has had."""
    (site / "shrinking").write_bytes(NOISE[:size])
    running, files = start(site, limits={"open_file_age": 60.0})
    assert running.connect().ask("/shrinking").body == NOISE[:size]
    os.truncate(site / "shrinking", size // 2)
    client = running.connect()
    client.send(request("/shrinking"))
    assert f"Content-Length: {size}\r\n".encode() in client.read_until(b"\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    running.wait_until(lambda: held_now(files) == 0)


def test_small_one_has_become_shorter_within_the_second(site: Path, start: Start) -> None:
    """It may be in memory, and then it is the old one, whole; never a mixture."""
    running, files = start(site, limits={"open_file_age": 60.0})
    assert running.connect().ask("/sub/small.txt").body == b"small"
    (site / "sub" / "small.txt").write_bytes(b"S")
    client = running.connect()
    with contextlib.suppress(ConnectionResetError):
        assert client.ask("/sub/small.txt").body == b"small"
    running.wait_until(lambda: held_now(files) == 0)


def test_grows_while_it_is_sent(site: Path, start: Start, huge: bytes) -> None:
    running, _ = start(site)
    client, _ = begin_download(running, "/huge")
    with (site / "huge").open("ab") as file:
        file.write(b"more")
    client.send(request("/ping"))
    assert client.read_exactly(len(huge)) == huge
    assert client.read_response().body == b"pong"


@pytest.mark.parametrize("end", ["reset", "close", "fin"])
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/huge", ()),
        ("/huge", ("Range: bytes=5-",)),
        ("/huge", ("Range: bytes=0-5,7-",)),
        ("/huge.txt", ("Accept-Encoding: gzip",)),
    ],
    ids=["whole", "range", "ranges", "gzip"],
)
def test_client_that_leaves(
    site: Path, start: Start, huge: bytes, path: str, fields: tuple[str, ...], end: str
) -> None:
    """The file is released and so closed: the cache has released it, and the kernel shows it."""
    (site / "huge.txt").write_bytes(os.urandom(1000).hex().encode() * 10_000)
    running, files = start(site, limits={"half_closed_timeout": 0.1})
    client, _ = begin_download(running, path, *fields)
    assert held(running, files) >= 1
    if end == "reset":
        client.reset()
    elif end == "close":
        client.close()
    else:
        client.send_fin()
        with contextlib.suppress(ConnectionResetError):
            client.read_to_end()
    running.wait_until(lambda: held_now(files) == 0)
    running.call(files._open.close)
    assert not any(target.startswith(f"{site}/") for target in open_descriptors().values())


def test_dropped_while_it_is_sent(site: Path, start: Start, huge: bytes) -> None:
    """Its number is not given to another file before the last byte has left."""
    running, files = start(site, limits={"open_files": 1})
    client, _ = begin_download(running, "/huge")
    other = running.connect()
    for number in range(30):
        (site / f"f{number}").write_bytes(b"%d" % number)
        assert other.ask(f"/f{number}").body == b"%d" % number
    assert running.call(lambda: files._open.descriptors) == 1
    assert client.read_exactly(len(huge)) == huge


# --- our own writes ------------------------------------------------------------------------------


def test_nobody_sees_an_older_file_again(site: Path, serve: Serve) -> None:
    """After a 204 every client gets the new file, under each of its names, from then on."""
    (site / "counter").write_bytes(b"0")
    (site / "link").symlink_to("counter")
    (site / "here").symlink_to(".")
    whole = Site(SiteOptions(directory=str(site)), Limits())
    running = serve(whole.handler)
    stop = threading.Event()
    stored = [0]
    problems: list[object] = []

    def read(path: str) -> None:
        last = 0
        with Client(running.address) as client:
            while not stop.is_set():
                least = max(stored[0], last)
                response = client.ask(path)
                last = int(response.body)
                if response.status != 200 or last < least:
                    problems.append((path, response.status, last, least))

    names = ("/files/counter", "/files/link", "/files/here/counter")
    threads = [threading.Thread(target=read, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    writer = running.connect()
    until = time.monotonic() + 0.7
    while time.monotonic() < until or stored[0] < 20:
        response = writer.ask("/files/counter", method="PUT", body=b"%d" % (stored[0] + 1))
        assert response.status == 204
        stored[0] += 1
    stop.set()
    for thread in threads:
        thread.join()
    for files in whole._mounted:
        running.call(files._open.close)
    assert problems == []


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EMFILE])
@pytest.mark.parametrize("options", [{}, {"listing": False}, {"spa": "data"}, {"spa": "none"}])
def test_error_keeps_nothing_open(
    site: Path,
    start: Start,
    options: dict[str, Any],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file is open already when the rest fails. No cycle waits for the collector then."""
    (site / "sub" / "index.html").write_bytes(b"<p>")
    running, files = start(site, **options)
    client = running.connect()

    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    gc.disable()
    try:
        monkeypatch.setattr(Root, "find_directory", fail)
        for path in ("/sub/", "/sub/index.html", "/data", "/none/"):
            status = client.ask(path).status
            assert status in ((200, 404) if code == errno.ENOENT else (404, 503))
            client.ask("/ping")
        running.call(files._open.close)
        until = time.monotonic() + TIMEOUT  # a pool thread drops its last error a moment later
        while any(target.startswith(f"{site}/") for target in open_descriptors().values()):
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        gc.enable()


# --- curl ----------------------------------------------------------------------------------------


def curl(*arguments: str | Path) -> bytes:
    done = subprocess.run(
        ["curl", "-sS", "--fail", "--max-time", "20", *map(str, arguments)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.plain
@needs_curl
def test_curl_continues_a_download(site: Path, start: Start, tmp_path: Path) -> None:
    running, _ = start(site)
    part = tmp_path / "part"
    for size in (1, 1000, WINDOW_BYTES, len(NOISE) - 1):
        part.write_bytes(NOISE[:size])
        printed = curl(
            "-C", "-", "-o", part, "-w", "%{http_code} %{size_download}", url(running, "/noise")
        )
        assert printed == b"206 %d" % (len(NOISE) - size)
        assert part.read_bytes() == NOISE


@pytest.mark.plain
@needs_curl
def test_curl_fetches_what_is_newer(site: Path, start: Start, tmp_path: Path) -> None:
    running, _ = start(site)
    copy = tmp_path / "copy"
    code = ("-w", "%{http_code}", "-o", copy, "-R")
    assert curl(*code, url(running, "/data")) == b"200"
    assert int(copy.stat().st_mtime) == int((site / "data").stat().st_mtime)
    assert curl(*code, "-z", copy, url(running, "/data")) == b"304"
    os.utime(copy, (0, 0))
    assert curl(*code, "-z", copy, url(running, "/data")) == b"200"
    date = http_date(int((site / "data").stat().st_mtime))
    assert curl(*code, "-z", date, url(running, "/data")) == b"304"


@pytest.mark.plain
@needs_curl
def test_curl_keeps_tags(site: Path, start: Start, tmp_path: Path) -> None:
    running, _ = start(site)
    tag = tmp_path / "tag"
    code = ("-w", "%{http_code}", "-o", tmp_path / "copy", "--etag-save", tag)
    for extra in ((), ("--compressed",)):
        tag.unlink(missing_ok=True)
        assert curl(*code, *extra, url(running, "/text.txt")) == b"200"
        assert curl(*code, *extra, "--etag-compare", tag, url(running, "/text.txt")) == b"304"
    assert curl(*code, "--etag-compare", tag, url(running, "/text.txt")) == b"200"


@pytest.mark.plain
@needs_curl
def test_curl_decodes(site: Path, start: Start, tmp_path: Path) -> None:
    running, _ = start(site)
    copy = tmp_path / "copy"
    printed = curl("--compressed", "-o", copy, "-w", "%{size_download}", url(running, "/text.txt"))
    assert copy.read_bytes() == TEXT
    assert int(printed) < len(TEXT) / 3
    assert curl(url(running, "/text.txt")) == TEXT


@pytest.mark.plain
@needs_curl
def test_curl_ranges(site: Path, start: Start) -> None:
    running, _ = start(site)
    assert curl("-r", "0-99", url(running, "/noise")) == NOISE[:100]
    assert curl("-r", "-5", url(running, "/noise")) == NOISE[-5:]
    assert curl("-r", "1194000-", url(running, "/noise")) == NOISE[1194000:]
    several = curl("-r", "0-9,100-109", url(running, "/noise"))
    assert NOISE[:10] in several
    assert NOISE[100:110] in several
    assert curl("-r", "0-9", "--compressed", url(running, "/text.txt")) == TEXT[:10]


@pytest.mark.plain
@needs_curl
def test_curl_follows_a_directory(site: Path, start: Start) -> None:
    (site / "sub" / "index.html").write_bytes(b"<p>")
    running, _ = start(site)
    assert curl("-L", url(running, "/sub?x=1")) == b"<p>"
    head = curl("-I", url(running, "/sub?x=1"))
    assert b"\r\nLocation: sub/?x=1\r\n" in head


# --- a slow disk ---------------------------------------------------------------------------------


class ColdDisk:
    """Nothing is in memory, and every read takes 0.2 s."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.reads = count()
        self._pread = os.pread
        patch.setattr(os, "preadv", self._look)
        patch.setattr(os, "pread", self._load)

    def _look(self, *arguments: Any) -> int:
        raise BlockingIOError

    def _load(self, descriptor: int, count: int, offset: int) -> bytes:
        next(self.reads)
        time.sleep(0.2)
        return self._pread(descriptor, count, offset)


@pytest.mark.plain  # over TLS the loop reads what a thread has brought into memory
def test_cold_files_hold_up_nobody(
    site: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = NOISE[: 3 * WINDOW_BYTES]
    (site / "cold").write_bytes(cold)
    running, files = start(site)
    bystander = running.connect()
    bystander.ask("/ping")
    disk = ColdDisk(monkeypatch)
    asked = [
        ("/cold", ()),
        ("/cold", ("Range: bytes=100000-400000",)),
        ("/cold", ("Range: bytes=0-5,600000-600009",)),
        ("/data", ()),
        ("/text.txt", ("Accept-Encoding: gzip",)),
    ]
    for _ in range(3):  # this machine may be busy with something else
        readers = [(running.connect(), *one) for one in asked]
        for client, path, fields in readers:
            client.send(request(path, *fields))
        until = time.monotonic() + 0.5
        longest = 0.0
        while time.monotonic() < until:
            begin = time.perf_counter()
            assert bystander.ask("/ping").body == b"pong"
            longest = max(longest, time.perf_counter() - begin)
        bodies = [client.read_response().body for client, _, _ in readers]
        assert bodies[0] == cold
        assert bodies[1] == cold[100_000:400_001]
        assert cold[600_000:600_010] in bodies[2]
        assert bodies[3] == NOISE[:5000]
        assert gunzip(bodies[4]) == TEXT
        if longest < 0.1:
            break
    assert longest < 0.1
    assert next(disk.reads) >= 10
    running.wait_until(lambda: held_now(files) == 0)


@pytest.mark.parametrize("path", ["/none", "/sub/none", "/data", "/sub"])
def test_slow_walk_is_shared(
    site: Path, start: Start, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty who wait for one name wait 0.2 s, not 8: whether it is there or not."""
    walk = open_file_cache._walk

    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return walk(*arguments)

    running, files = start(site)
    monkeypatch.setattr(open_file_cache, "_walk", slow)
    clients = [running.connect() for _ in range(40)]
    begin = time.monotonic()
    for client in clients:
        client.send(request(path))
    statuses = {client.read_response().status for client in clients}
    assert time.monotonic() - begin < 2
    assert len(statuses) == 1
    assert held(running, files) == 0


def test_waiters_go_on_when_the_first_client_leaves(
    site: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = open_file_cache._walk

    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return walk(*arguments)

    running, files = start(site)
    monkeypatch.setattr(open_file_cache, "_walk", slow)
    clients = [running.connect() for _ in range(5)]
    for client in clients:
        client.send(request("/data"))
        running.wait_until(lambda: True)
    time.sleep(0.05)
    clients[0].reset()
    clients[3].reset()
    for client in (clients[1], clients[2], clients[4]):
        assert client.read_response().body == NOISE[:5000]
    assert held(running, files) == 0


# --- an attack -----------------------------------------------------------------------------------


class Attacker:
    """Swaps names for each other in a process of its own; see tests/support/path_attacker.py."""

    def __init__(self, swaps: list[tuple[Path, Path]], moves: list[tuple[Path, Path]]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.path_attacker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        plan = {
            "swaps": [(str(path.parent), path.name, str(other)) for path, other in swaps],
            "moves": [(str(path), str(elsewhere)) for path, elsewhere in moves],
        }
        self._stdin.write(json.dumps(plan) + "\n")
        self._stdin.flush()
        assert self._stdout.readline() == "ready\n"

    def stop(self) -> int:
        """How often it has swapped all."""
        self._stdin.close()
        rounds = self._stdout.read()
        self._stdout.close()
        assert self._process.wait(10) == 0
        return int(rounds)


def write_public_files(site: Path) -> None:
    for directory in (
        site,
        site / "d",
        site / "d" / "e",
        site / "moving",
        site / "moving" / "deep",
    ):
        directory.mkdir()
        for name in ("f", "f.txt", "index.html"):
            (directory / name).write_bytes(b"public " * 300)


def write_secrets(site: Path, outside: Path) -> None:
    """Secrets beside the site under the names of its files, and hidden ones in it."""
    for directory in (outside, outside / "e", outside / "deep"):
        directory.mkdir()
        for name in ("f", "f.txt", "index.html", "f.gz", "f.txt.gz", "f.txt.br", SECRET.decode()):
            (directory / name).write_bytes(SECRET + b" " + SECRET * 100)
    for name in ("f", "f.txt", "secret"):
        (site.parent / name).write_bytes(SECRET)
    (site / ".hidden").mkdir()
    (site / ".hidden" / "f").write_bytes(SECRET)
    (site / ".f").write_bytes(SECRET)


def hostile_links(site: Path, outside: Path) -> dict[str, str | Path]:
    """Names in the site, and the targets of the links that take their places."""
    return {
        "d": outside,
        "d/e": outside / "e",
        "d/f": outside / "f",
        "f": "../outside/f",
        "f.txt": "../secret",
        "f.txt.gz": "../outside/f.txt.gz",
        "index.html": ".hidden/f",
        "inner": "d/../../outside",
        "climb": "moving/deep/../../../outside/f",
        "moving/deep/up": "../../f",
        "moving/deep/f.txt": "../../../outside/f.txt",
        "absolute": str(outside / "f"),
        "self": str(site / "d" / "f"),
    }


def build_battlefield(tmp_path: Path) -> tuple[Path, list[tuple[Path, Path]]]:
    """A site with secrets beside it, and pairs of paths that the attacker swaps."""
    site, outside = tmp_path / "site", tmp_path / "outside"
    write_public_files(site)
    write_secrets(site, outside)
    spare = tmp_path / "spare"
    spare.mkdir()
    swaps: list[tuple[Path, Path]] = []
    for number, (name, target) in enumerate(hostile_links(site, outside).items()):
        link = spare / f"link{number}"
        link.symlink_to(target)
        path = site / name
        if not path.exists():
            path.symlink_to("f" if "." not in name else "d")
        swaps.append((path, link))
    os.mkfifo(spare / "fifo")
    (site / "pipe").write_bytes(b"public")
    swaps.append((site / "pipe", spare / "fifo"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(spare / "socket"))
    (site / "sock").write_bytes(b"public")
    swaps.append((site / "sock", spare / "socket"))
    return site, swaps


def spellings() -> list[str]:
    """Hundreds of ways to write a path, most of them to somewhere else."""
    bases = [
        *("f", "f.txt", "d/f", "d/f.txt", "d/e/f", "d/", "d/e/", "d/e", "", "moving/deep/up"),
        *("moving/deep/f.txt", "moving/deep/f", "inner/f", "climb", "absolute", "self", "pipe"),
        *("sock", "inner/", "moving/", "self/"),
    ]
    dots = ["..", "%2e%2e", ".%2e", "%2E.", "...", ".", "%2e", "..%00", "..;", "..%2f..", "..%5c.."]
    found = list(bases)
    for base in bases:
        found += [f"{dot}/{base}" for dot in dots]
        found += [f"d/{dot}/{base}" for dot in dots]
        found += [f"/{base}", base.replace("/", "//"), base.replace("/", "%2f"), f"./{base}"]
        found += [base.replace("/", "%5c"), base.replace("f", "%66"), f"{base}/..", f"{base}%00"]
    found += [
        *("../secret", "%2e%2e/secret", "..%2fsecret", "d/../../secret", "....//secret"),
        *(".hidden/f", ".f", "%2ef", "d/../.f", "%2ehidden/f", ".hidden%2ff", "/etc/passwd"),
        *("../outside/f", "d/e/../../../outside/f", "f.gz", "f.txt.gz", "d/f.txt.br", "..\\secret"),
    ]
    return [one for one in dict.fromkeys(found) if "\\" not in one]


SPOTS = ("f", "d/f", "d/e/f", "f.txt", "moving/deep/f.txt", "climb", "d/", "pipe")  # the hot ones


EXTRAS = (
    (),
    ("Accept-Encoding: gzip, br",),
    ("Range: bytes=0-9,20-",),
    ("Accept: application/json",),
    ("Range: bytes=-30",),
)


class Reader:
    """Requests every spelling again and again, and keeps the requests that got a secret."""

    def __init__(self) -> None:
        self.seen: Counter[int] = Counter()  # by status
        self.leaks: list[bytes] = []
        self._targets = spellings()
        assert len(self._targets) > 500

    def read(self, address: tuple[str, int], first: int, until: float) -> None:
        number = first
        with Client(address) as client:
            while time.monotonic() < until or self.seen[200] <= 50:  # a busy machine takes longer
                batch = [one for step in range(1, 17) for one in self._two(number + step)]
                number += 16
                client.send(b"".join(batch))
                for one in batch:
                    self._check(one, client.read_response())

    def _two(self, number: int) -> list[bytes]:
        """A request for some spelling, and one for a hot file."""
        targets = (self._targets[number % len(self._targets)], SPOTS[number % len(SPOTS)])
        extra = EXTRAS[number % len(EXTRAS)]
        return [request(f"/{target}", *extra) for target in targets]

    def _check(self, one: bytes, response: RawResponse) -> None:
        self.seen[response.status] += 1
        body = response.body
        if response.get("content-encoding") == "gzip":
            body = zlib.decompressobj(31).decompress(body)
        if SECRET[:15] in body or SECRET[:15] in response.head or b"root:" in body:
            self.leaks.append(one)


@pytest.mark.parametrize(("age", "spa"), [(0.001, ""), (0.001, "index.html"), (1.0, "index.html")])
def test_no_secret_leaves_under_attack(tmp_path: Path, start: Start, age: float, spa: str) -> None:
    site, swaps = build_battlefield(tmp_path)
    running, files = start(site, limits={"open_file_age": age, "open_files": 20}, spa=spa)
    reader, until = Reader(), time.monotonic() + 0.8
    attacker = Attacker(swaps, [(site / "moving", tmp_path / "outside" / "moving")])
    threads = [
        threading.Thread(target=reader.read, args=(running.address, first, until))
        for first in range(0, 2000, 500)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rounds = attacker.stop()
    seen = reader.seen
    assert reader.leaks == []
    assert set(seen) <= {200, 206, 301, 404, 416}, seen
    assert seen[200] > 50
    assert seen[404] > 50 or spa
    assert rounds > 20
    running.wait_until(lambda: held_now(files) == 0)


def test_many_readers_of_a_large_text_and_a_small_upload(tmp_path: Path, serve: Serve) -> None:
    """Every place of compressions and streams is taken, and nobody else waits for it: neither an
    upload nor a file, a text that could be compressed, or a line of the log.
    """
    files = tmp_path / "files"
    files.mkdir()
    (files / "text.txt").write_bytes(TEXT)
    (files / "large.txt").write_bytes(TEXT * (STREAMED_BYTES // len(TEXT) + 1))
    reading, log = os.pipe()
    site = Site(SiteOptions(directory=str(files)), Limits(pool_jobs=4, pool_timeout=60.0), None)
    running = serve(site.handler, access_log=log, pool_jobs=4, pool_timeout=60.0)
    pool, held = running.server.pool, threading.Event()
    try:
        for _ in range(2):  # they take both threads, and the jobs after them all places
            running.call(lambda: pool.submit(Lane.STREAMS, held.wait, 60))
        running.wait_until(lambda: pool.snapshot().streams == 0)
        for lane in [Lane.STREAMS] * 4 + [Lane.COMPRESSION] * 4:
            running.call(lambda lane=lane: pool.submit(lane, held.wait, 60))  # type: ignore[misc]
        readers = [running.connect() for _ in range(20)]
        for one in readers:
            one.send(request("/files/large.txt", "Accept-Encoding: gzip"))
        running.wait_until(lambda: pool.snapshot().outside >= 1)
        client = running.connect()
        for number in range(5):
            stored = client.ask(f"/files/new{number}", method="PUT", body=b"abc")
            assert (stored.status, (files / f"new{number}").read_bytes()) == (201, b"abc")
        plain = client.ask("/files/text.txt", "Accept-Encoding: gzip")
        assert (plain.status, plain.body == TEXT) == (200, True)
        lines = b""
        while b"/files/text.txt" not in lines:
            lines += os.read(reading, 65536)
        assert pool.snapshot().outside >= 1, "they waited in vain"
    finally:
        held.set()
        bodies = {gunzip(one.read_response().body) for one in readers}
        for mounted in site._mounted:
            running.call(mounted._open.close)
        running.stop()
        os.close(reading)
        os.close(log)
    assert bodies == {(files / "large.txt").read_bytes()}


# --- wget ----------------------------------------------------------------------------------------


@pytest.mark.plain
@needs_wget
def test_a_mirror_fetches_each_page_once(site: Path, start: Start, tmp_path: Path) -> None:
    """All pages, in one order: wget follows every link, those with rel=nofollow as well."""
    (site / "sub" / "deep").mkdir()
    running, _ = start(site, limits={"listing_page": 2})
    for query, suffix in (("", ""), ("sort=size&order=desc", "?sort=size&order=desc")):
        copy = tmp_path / f"copy{suffix}"
        address = url(running, f"/{suffix}")
        subprocess.run(
            ["wget", "-qrl9", "-nH", "--timeout=20", "--tries=1", "-P", copy, address],
            check=False,  # 8: there is no robots.txt
            timeout=60,
        )
        found = {
            os.path.relpath(os.path.join(path, name), copy)
            for path, _, names in os.walk(copy)
            for name in names
        }
        pages = [f"&page={page}" if query else f"?page={page}" for page in (2, 3)]
        listings = {f"index.html{suffix}{page}" for page in ("", *pages)}
        assert found == {
            *("text.txt", "data", "noise", "empty", "sub/small.txt"),
            *listings,
            *(f"{directory}/index.html{suffix}" for directory in ("sub", "sub/deep")),
        }
        assert (copy / "noise").read_bytes() == NOISE
