"""The file server without a socket: its responses, byte by byte and field by field.

After each request only the cache holds files, and in the end no file is open. Clocks are the
test's: files are made now, and requested 100 seconds later unless a test wants them to be young.
"""

import errno
import gzip
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reactor import Cancelled, File, FileRegion, Future, Limits, PoolFull, ProtocolError, Response
from reactor.files.region import MultiRegion
from reactor.messages.request import BaseRequest
from reactor.messages.response import plain_response
from reactor.protocol.dates import http_date, parse_date
from reactor.tasks.futures import Lane
from reactor.web.compression import encoders
from reactor.web.compression.encoders import LEAST_BYTES
from reactor.web.semantics.media_types import media_types
from reactor.web.semantics.paths import name_segments
from reactor.web.static import compressed_cache, open_file_cache
from reactor.web.static.compressed_cache import STREAMED_BYTES
from reactor.web.static.file_server import FileServer, Mount
from reactor.web.static.open_file_cache import OpenFileCache
from reactor.web.storage.safe_path import Root
from reactor.web.storage.trust import Trust
from reactor.web.uploads.receiver import Receiver
from tests.support.coroutine_driver import Feed, Play, Stage, drive, make_request, open_descriptors
from tests.support.system_calls import record_opens

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("closes_files")]

TEXT = b"".join(b"line %d of a text that shrinks\n" % number for number in range(200))
LATER = 100.0  # seconds after a file was made, when it is looked at


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make_site(tmp_path)


def make_site(outside: Path) -> Path:
    """A directory with files, beside things that must stay secret."""
    site = outside / "site"
    (site / "sub").mkdir(parents=True)
    (site / "page").mkdir()
    (site / "text.txt").write_bytes(TEXT)
    (site / "data").write_bytes(bytes(range(256)))
    (site / "empty").touch()
    (site / "sub" / "small.txt").write_bytes(b"small")
    (site / "page" / "index.html").write_bytes(b"<p>index")
    (site / ".hidden").write_bytes(b"secret")
    (outside / "secret.txt").write_bytes(b"secret")
    (outside / "text.txt.gz").write_bytes(b"secret")
    return site


class Clock:
    """Both clocks of a file server: the loop's, and the time of day."""

    def __init__(self) -> None:
        self.ahead = LATER
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.ahead += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Seen(NamedTuple):
    """A response, as a client would see it."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    kind: type

    def get(self, name: str) -> str | None:
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} comes {len(values)} times"
        return values[0] if values else None

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.fields]


class Served:
    """A file server, and requests to it."""

    def __init__(
        self, site: Path, clock: Clock, limits: Limits | None = None, **options: Any
    ) -> None:
        self.prefix: str = options.pop("prefix", "/files/")
        self.files = FileServer(
            Mount(directory=str(site), **{"media_type": media_types({}), **options}),
            limits or Limits(small_file_bytes=0),  # the bytes that are sent are the file's own
            clock=clock.monotonic,
            wall=clock.wall,
        )

    def request(self, path: str, method: str = "GET", **headers: str) -> BaseRequest:
        """`path` follows the prefix and is percent-encoded; a header's underscores are hyphens."""
        path, _, query = path.partition("?")
        request = make_request(method, self.prefix + path, None, **headers)
        request.query = query
        request.params = {"name": tuple(name_segments(path))}
        return request

    def ask(self, path: str, method: str = "GET", **headers: str) -> Seen:
        return self.see(self.request(path, method, **headers), Stage())

    def see(self, request: BaseRequest, stage: Stage) -> Seen:
        """The whole response, also to an error; its body is released."""
        try:
            response = self.files.get(request)
            if not isinstance(response, Response):
                response = run(response, stage)
        except ProtocolError as error:
            response = plain_response(error.status, error.reason, error.headers)
        seen = Seen(
            response.status, list(response.headers), take(response.body), type(response.body)
        )
        self.check_holds()
        return seen

    def check_holds(self) -> None:
        entries = self.files._open._entries.values()
        holders = {file.holders for one in entries for file in one.found.files()}
        assert holders <= {1}, "somebody has not let go of a file"


@pytest.fixture
def served(site: Path, clock: Clock) -> Iterator[Served]:
    served = Served(site, clock)
    yield served
    served.files._open.close()


def run(coroutine: Any, stage: Stage) -> Response:
    play = Play(coroutine, stage)
    while play.operation is not None:
        play.step()
    response: Response = play.result
    assert isinstance(response, Response)
    return response


def take(body: Any) -> bytes:
    """All of the body, as the connection takes it; then it is released."""
    if isinstance(body, (bytes, memoryview)):
        return bytes(body)
    if isinstance(body, (FileRegion, MultiRegion)):
        pieces = body.pieces if isinstance(body, MultiRegion) else [body]
        data = [
            one if isinstance(one, bytes) else one.file.load(one.offset, one.length)
            for one in pieces
        ]
        assert list(map(len, data)) == list(map(len, pieces))
        assert sum(map(len, data)) == len(body)
        body.release()
        return b"".join(data)
    if hasattr(body, "__anext__"):

        async def collect() -> bytes:
            try:
                return b"".join([piece async for piece in body])
            finally:
                await body.aclose()

        return drive(collect())
    return b"".join(body)


def replace(path: Path, data: bytes) -> None:
    new = path.with_name(".new")
    new.write_bytes(data)
    new.replace(path)


def fail(call: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a call of the operating system fail."""

    def failing(*arguments: Any, **named: Any) -> Any:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, failing)


# --- a file as it is -----------------------------------------------------------------------------


def test_whole_file(served: Served, site: Path) -> None:
    seen = served.ask("data")
    status = (site / "data").stat()
    assert seen.status == 200
    assert seen.body == bytes(range(256))
    assert seen.fields == [
        ("Content-Type", "application/octet-stream"),
        ("X-Content-Type-Options", "nosniff"),
        ("Last-Modified", http_date(int(status.st_mtime))),
        ("Accept-Ranges", "bytes"),
        ("ETag", seen.get("etag")),
    ]
    assert re.fullmatch(r'"[0-9a-f-]+"', seen.get("etag") or "")


def test_no_transform_leaves_a_file_as_it_is(site: Path, clock: Clock) -> None:
    served = Served(site, clock, cache_control=lambda path: "public, No-Transform")
    (site / "large.css").write_bytes(TEXT)
    seen = served.ask("large.css", Accept_Encoding="gzip")
    assert (seen.get("content-encoding"), seen.body) == (None, TEXT)
    served.files._open.close()


def test_a_small_file_is_kept_with_its_version(site: Path, clock: Clock) -> None:
    """The bytes in memory are those of the tag; a walk each second keeps them so."""
    served = Served(site, clock, Limits(small_file_bytes=256))
    first = served.ask("data")
    assert (first.kind, first.body) == (bytes, bytes(range(256)))
    assert served.ask("data", "HEAD").fields == first.fields
    assert served.ask("data", Range="bytes=1-2").body == b"\1\2"
    assert served.ask("text.txt").kind is FileRegion  # it is larger
    (site / "data").write_bytes(b"other")
    assert served.ask("data") == first
    clock.advance(1.0)
    other = served.ask("data")
    assert (other.kind, other.body) == (bytes, b"other")
    assert other.get("etag") != first.get("etag")
    served.files._open.close()


def test_a_young_file_is_not_kept_in_memory(site: Path, clock: Clock) -> None:
    """It may be written once more and look the same."""
    clock.ahead = 0.0
    served = Served(site, clock, Limits())
    (site / "data").write_bytes(b"young")
    young = served.ask("data")
    assert (young.kind, young.body) == (FileRegion, b"young")
    assert (young.get("etag") or "").startswith("W/")
    clock.advance(LATER)
    assert served.ask("data").kind is bytes
    served.files._open.close()


def test_a_small_file_that_is_cold_is_not_waited_for(
    site: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(File, "look", lambda *arguments: False)
    served = Served(site, clock, Limits())
    assert served.ask("data").kind is FileRegion
    served.files._open.close()


def test_text_varies_by_coding(served: Served) -> None:
    seen = served.ask("text.txt")
    assert seen.body == TEXT
    assert seen.get("content-type") == "text/plain; charset=utf-8"
    assert seen.get("vary") == "Accept-Encoding"
    assert seen.get("content-encoding") is None


def test_empty_file(served: Served) -> None:
    seen = served.ask("empty")
    assert (seen.status, seen.body) == (200, b"")
    assert served.ask("empty", Range="bytes=0-").status == 416
    assert served.ask("empty", Range="bytes=-1").status == 200


def test_hot_file_is_served_at_once(served: Served) -> None:
    """In the call, and by no coroutine: no thread, no walk."""
    served.ask("data")
    for headers in ({}, {"Range": "bytes=1-2"}, {"If-None-Match": "*"}):
        request = served.request("data", **{k.replace("-", "_"): v for k, v in headers.items()})
        response = served.files.get(request)
        assert isinstance(response, Response)
        take(response.body)


def test_same_response_again(served: Served) -> None:
    assert served.ask("text.txt") == served.ask("text.txt")


@pytest.mark.parametrize(
    ("modified", "sent"),
    [
        (1_700_000_000.999, 1_700_000_000),
        (-5.0, 0),
        (0.0, 0),
    ],
)
def test_last_modified(served: Served, site: Path, modified: float, sent: int) -> None:
    os.utime(site / "data", (modified, modified))
    assert served.ask("data").get("last-modified") == http_date(sent)


def test_last_modified_in_the_future(served: Served, site: Path, clock: Clock) -> None:
    """It would claim that the file does not change until then (RFC 9110, section 8.8.2.1)."""
    future = time.time() + 10**6
    os.utime(site / "data", (future, future))
    modified = parse_date(served.ask("data").get("last-modified") or "", time.time())
    assert modified is not None
    assert clock.wall() - 2 <= modified <= clock.wall()
    assert served.ask("data", If_Modified_Since=http_date(modified)).status == 304


# --- paths ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["/", "/files/", "/a/b/"])
@pytest.mark.parametrize(
    "path",
    [
        *("none", "none/", "none/none", "data/", "data/x", "empty/", "sub/none"),
        *("..", "../", "../secret.txt", "%2e%2e/secret.txt", "sub/..", "sub/../data", "."),
        *("%2e%2e%2fsecret.txt", "..%5csecret.txt", "..%2fsecret.txt", "...", "./data"),
        *("sub/../../secret.txt", "text.txt.gz", "hidden-link", "%F0%9F%92%A9", "%2f.."),
        *(".hidden", "%2ehidden", "sub/.hidden", ".hidden/", "sub%2fsmall.txt", "sub%2Fsmall.txt"),
        *("data%00", "data%00.txt", "%00", "data%0a", "data%20", "Data"),
        *("/data", "//data", "sub//small.txt", "page//", "//", "/", "//evil.example/"),
        *("/etc/passwd", "%2fetc%2fpasswd", "%2f", "x" * 255, "x" * 256, "x" * 4000, "x/" * 2000),
        *("out", "out-directory/secret.txt", "out-directory/", "loop", "fifo", "fifo/", "dangling"),
    ],
)  # fmt: skip
@pytest.mark.timeout(10)
def test_missing_files(site: Path, clock: Clock, prefix: str, path: str) -> None:
    (site / "out").symlink_to("../secret.txt")
    (site / "out-directory").symlink_to("..")
    (site / "loop").symlink_to("loop")
    (site / "dangling").symlink_to("nowhere")
    (site / "hidden-link").symlink_to(".hidden")
    os.mkfifo(site / "fifo")
    served = Served(site, clock, prefix=prefix, listing=False)
    for method in ("GET", "HEAD"):
        seen = served.ask(path, method)
        assert (seen.status, seen.body) == (404, b"There is no such file.\n")


@pytest.mark.parametrize(
    "name",
    [
        *("a b", "é", "a%b", "100%", "a?b", "a#b", "a;b", "a+b", "a&b", "<x>", 'a"b', "a'b"),
        *("a..b", "~", "a.", "a..", "\n", "\x7f", "\u202e", "-", "x" * 255),
    ],
)
def test_any_other_name(served: Served, site: Path, name: str) -> None:
    (site / name).write_bytes(name.encode())
    path = "".join(f"%{byte:02x}" for byte in name.encode())
    assert served.ask(path).body == name.encode()


@pytest.mark.timeout(10)
def test_only_files_are_opened(served: Served, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a device or a FIFO may have effects, or take for ever."""
    os.mkfifo(site / "fifo")
    (site / "fifo-link").symlink_to("fifo")
    (site / "text.txt.gz").symlink_to("fifo")
    opened = record_opens(monkeypatch)
    assert served.ask("fifo").status == served.ask("fifo-link").status == 404
    assert served.ask("text.txt", Accept_Encoding="gzip").status == 200
    assert b"fifo" not in opened
    assert b"text.txt.gz" not in opened
    devices = Served(Path("/dev"), Clock(), listing=False)
    for name in ("null", "zero", "tty", "ptmx"):
        assert devices.ask(name).status == 404
        assert name.encode() not in opened


# --- directories ---------------------------------------------------------------------------------
# -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "path", "location"),
    [
        ("/", "sub", "sub/"),
        ("/files/", "sub", "sub/"),
        ("/files/", "sub?a=b&c=%20d", "sub/?a=b&c=%20d"),
        ("/", "sub?//evil.example", "sub/?//evil.example"),
        ("/", "%73ub", "sub/"),
        ("/", "sub/a%20b%3F%23%25", "a%20b%3F%23%25/"),
        ("/", "evil.example", "evil.example/"),
        ("/files/", "link", "link/"),
        ("/files/", "sub/é".replace("é", "%C3%A9"), "%C3%A9/"),
    ],
)
def test_directory_without_its_slash(
    site: Path, clock: Clock, prefix: str, path: str, location: str
) -> None:
    for name in ("sub/a b?#%", "evil.example", "sub/é"):
        (site / name).mkdir()
    (site / "link").symlink_to("sub")
    served = Served(site, clock, prefix=prefix, headers=(("X-Own", "yes"),))
    for method in ("GET", "HEAD"):
        seen = served.ask(path, method)
        assert seen.status == 301
        assert seen.get("location") == location
        assert seen.get("x-own") == "yes"


@pytest.mark.slow
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.lists(
        st.sampled_from(
            ["", "/", "sub", "%2f", "%5c", "\\", "evil.example", ".", "%2e", "@", ":", "?", "#"]
        ),
        max_size=8,
    ).map("".join)
)  # fmt: skip
@example("/evil.example")
@example("/evil.example/%2f..")
@example("%5cevil.example")
@example("%2fevil.example")
def test_no_redirect_leads_to_another_server(site: Path, path: str) -> None:
    (site / "evil.example").mkdir(exist_ok=True)
    for prefix in ("/", "/files/"):
        location = Served(site, Clock(), prefix=prefix, listing=False).ask(path).get("location")
        if location is not None:
            assert location[0] not in "/\\"
            assert urlsplit(location)[:2] == ("", "")
            assert urljoin(f"http://host{prefix}", location).startswith("http://host/")


def test_redirect_leads_to_the_directory(served: Served, site: Path) -> None:
    (site / "sub" / "ü %?").mkdir()
    (site / "sub" / "ü %?" / "index.html").write_bytes(b"<p>there")
    location = served.ask("sub/%C3%BC%20%25%3F").get("location") or ""
    assert unquote(location) == "ü %?/"
    assert served.ask(f"sub/{location}").body == b"<p>there"


@pytest.mark.parametrize("prefix", ["/", "/files/"])
def test_index(site: Path, clock: Clock, prefix: str) -> None:
    (site / "index.html").symlink_to("page/index.html")
    served = Served(site, clock, prefix=prefix)
    for path in ("", "page/", "page/index.html", "index.html"):
        seen = served.ask(path)
        assert (seen.status, seen.body) == (200, b"<p>index")
        assert seen.get("content-type") == "text/html; charset=utf-8"


def test_index_comes_and_goes(served: Served, site: Path, clock: Clock) -> None:
    assert b"small.txt" in served.ask("sub/").body  # a listing
    (site / "sub" / "index.html").write_bytes(b"<p>new")
    assert served.ask("sub/").body == b"<p>new"
    (site / "sub" / "index.html").unlink()
    clock.advance(1.0)
    assert b"small.txt" in served.ask("sub/").body


def test_index_that_is_a_directory(site: Path, clock: Clock) -> None:
    (site / "sub" / "index.html").mkdir()
    assert b"index.html/" in Served(site, clock).ask("sub/").body
    assert Served(site, clock, listing=False).ask("sub/").status == 404
    assert Served(site, clock).ask("sub/index.html").get("location") == "index.html/"


@pytest.mark.parametrize("target", ["../../secret.txt", "index.html", "none", ".hidden"])
def test_index_that_leads_nowhere(site: Path, clock: Clock, target: str) -> None:
    (site / "sub" / "index.html").symlink_to(target)
    assert Served(site, clock, listing=False).ask("sub/").status == 404
    seen = Served(site, clock).ask("sub/")
    assert b"small.txt" in seen.body
    assert b"index.html" not in seen.body


def test_listing(site: Path, clock: Clock) -> None:
    for prefix in ("/", "/files/"):
        seen = Served(site, clock, prefix=prefix, headers=(("X-Own", "yes"),)).ask("sub/")
        assert seen.status == 200
        assert seen.get("content-type") == "text/html; charset=utf-8"
        assert seen.get("x-own") == "yes"
        assert b"small.txt" in seen.body
    assert Served(site, clock, listing=False).ask("sub/").status == 404
    assert Served(site, clock, listing=False).ask("sub").status == 301
    assert b'"small.txt"' in Served(site, clock).ask("sub/", Accept="application/json").body


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_listing_is_compressed(site: Path, clock: Clock, accept: str) -> None:
    served = Served(site, clock, headers=(("X-Own", "yes"), ("Vary", "Origin")))
    plain = served.ask("sub/", Accept=accept)
    encoded = served.ask("sub/", Accept=accept, Accept_Encoding="gzip")
    assert encoded.get("content-encoding") == "gzip"
    assert encoded.get("content-type") == plain.get("content-type")
    assert encoded.get("vary") == "Accept, Accept-Encoding, Origin"
    assert b"small.txt" in plain.body
    assert gzip.decompress(encoded.body) == plain.body
    head = served.ask("sub/", "HEAD", Accept=accept, Accept_Encoding="gzip")
    assert head.fields == encoded.fields
    only = served.ask("sub/", Accept=accept, Accept_Encoding="gzip, identity;q=0")
    assert gzip.decompress(only.body) == plain.body
    none = served.ask("sub/", Accept=accept, Accept_Encoding="identity;q=0")
    assert (none.status, none.get("x-own")) == (406, "yes")
    assert ("Vary", "Accept, Accept-Encoding, Origin") in none.fields


def test_a_listing_that_is_not_to_be_transformed(site: Path, clock: Clock) -> None:
    served = Served(site, clock, headers=(("Cache-Control", "no-transform"),))
    assert served.ask("sub/", Accept_Encoding="gzip").get("content-encoding") is None


# --- single-page applications --------------------------------------------------------------------


@pytest.mark.parametrize("spa", ["data", "page/index.html"])
@pytest.mark.parametrize("prefix", ["/", "/app/"])
def test_unknown_paths_are_the_applications(
    site: Path, clock: Clock, spa: str, prefix: str
) -> None:
    served = Served(site, clock, prefix=prefix, spa=spa, headers=(("X-Own", "yes"),))
    whole = served.ask(spa)
    assert whole.status == 200
    for path in (
        "none",
        "none/none",
        "none/",
        "sub/none",
        "data/x",
        "data/",
        "none?q=1",
        "x" * 300,
    ):
        if path.split("/")[0] != spa:
            assert served.ask(path) == whole
        head = served.ask(path, "HEAD")
        assert (head.status, head.get("x-own")) == (200, "yes")
    assert served.ask("none", If_None_Match=whole.get("etag") or "").status == 304
    assert served.ask("none", Range="bytes=0-1").body == whole.body[:2]


def test_existing_files_are_not_the_applications(site: Path, clock: Clock) -> None:
    served = Served(site, clock, prefix="/", spa="page/index.html")
    assert served.ask("sub/small.txt").body == b"small"
    assert served.ask("sub").status == 301
    assert b"small.txt" in served.ask("sub/").body


@pytest.mark.parametrize("listing", [True, False])
def test_paths_that_no_file_has_are_the_applications(
    site: Path, clock: Clock, listing: bool
) -> None:
    """Its own routes may have any form; hidden files stay hidden."""
    served = Served(site, clock, spa="page/index.html", listing=listing)
    whole = served.ask("page/index.html")
    for path in (
        *("a//b", "a//", "/", "//", ".hid", ".hidden", ".hidden/", "sub/.none", "x%5cy", "x%2fy"),
        *(".", "..", "../secret.txt", "a%00", ".well-known/x"),
    ):
        assert served.ask(path) == whole, path
        assert Served(site, clock).ask(path).status == 404


def test_without_listing_directories_are_the_applications(site: Path, clock: Clock) -> None:
    served = Served(site, clock, spa="data", listing=False)
    assert served.ask("sub/").body == bytes(range(256))


@pytest.mark.parametrize("spa", ["gone.html", "sub/gone.html", "gone/gone.html", "out", "data/x"])
def test_application_that_is_not_there(site: Path, clock: Clock, spa: str) -> None:
    (site / "out").symlink_to("../secret.txt")
    served = Served(site, clock, spa=spa)
    for path in ("none", spa, "none/", f"{spa}/"):
        assert served.ask(path).status == 404


def test_application_that_is_a_directory(site: Path, clock: Clock) -> None:
    assert Served(site, clock, spa="sub").ask("none").status in (301, 404)


def test_application_is_looked_for_once_a_second(site: Path, clock: Clock) -> None:
    served = Served(site, clock, spa="data")
    served.ask("none")
    before = served.files._open._entries["data",].checked
    clock.advance(0.5)
    served.ask("other")
    assert served.files._open._entries["data",].checked == before
    clock.advance(0.5)
    served.ask("other")
    assert served.files._open._entries["data",].checked == before + 1


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (errno.EACCES, 403),
        (errno.EPERM, 403),
        (errno.EMFILE, 503),
        (errno.ENFILE, 503),
        (errno.ENXIO, 404),
        (errno.ENODEV, 404),
        (errno.ENOENT, 404),
        (errno.ELOOP, 404),
    ],
)
@pytest.mark.parametrize("path", ["data", "sub/"])
def test_disk_that_refuses(
    site: Path,
    clock: Clock,
    path: str,
    code: int,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = Served(site, clock, headers=(("X-Own", "yes"),))
    with monkeypatch.context() as patch:
        fail("open", code, patch)
        seen = served.ask(path)
        assert seen.status == status
        assert seen.get("x-own") == "yes"
    assert served.ask(path).status == 200


def test_broken_disk_is_the_servers_fault(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fail("open", errno.EIO, patch)
        with pytest.raises(OSError, match="Input/output error"):
            served.ask("data")
    assert served.ask("data").status == 200


def test_out_of_descriptors_a_hot_file_is_served_all_the_same(
    served: Served, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    served.ask("data")
    with monkeypatch.context() as patch:
        fail("open", errno.EMFILE, patch)
        assert served.ask("data").status == 200
        assert served.ask("empty").status == 503
        clock.advance(1.0)
        assert served.ask("data").status == 503
    assert served.ask("data").status == 200


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A site that is served by a user other than root, also if root runs the test."""
    outside = Path(tempfile.mkdtemp())
    user = os.geteuid()
    try:
        outside.chmod(0o755)
        site = make_site(outside)
        if user == 0:
            os.seteuid(65534)
        yield site
    finally:
        os.seteuid(user)
        for directory in ("", "sub", "page"):
            (outside / "site" / directory).chmod(0o755)
        shutil.rmtree(outside)


def test_unreadable_files(nobody: Path, clock: Clock) -> None:
    user = os.geteuid()

    def as_owner(change: Callable[[], None]) -> None:
        if user == 65534 and os.getuid() == 0:
            os.seteuid(0)
        change()
        os.seteuid(user)

    def take_away() -> None:
        (nobody / "data").chmod(0)
        (nobody / "sub").chmod(0)
        (nobody / "page" / "index.html").chmod(0)
        (nobody / "text.txt.gz").write_bytes(b"secret")
        (nobody / "text.txt.gz").chmod(0)

    as_owner(take_away)
    if os.access(nobody / "data", os.R_OK, effective_ids=True):
        pytest.skip("this user may read everything")
    served = Served(nobody, clock, headers=(("X-Own", "yes"),), spa="empty")
    for path in ("data", "sub/small.txt", "sub/none", "sub/", "page/", "page/index.html"):
        seen = served.ask(path)
        assert (seen.status, seen.get("x-own")) == (403, "yes")
        assert b"secret" not in seen.body
    seen = served.ask("text.txt", Accept_Encoding="gzip")
    assert gzip.decompress(seen.body) == TEXT  # made, since what is there may not be read


def test_a_directory_that_may_be_searched_but_not_read(nobody: Path, clock: Clock) -> None:
    user = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    (nobody / "sub" / "deep").mkdir()
    (nobody / "sub" / "deep" / "b.txt").write_bytes(b"b")
    (nobody / "sub" / "small.txt.gz").write_bytes(b"encoded")
    for directory in ("sub", "page", ""):
        (nobody / directory).chmod(0o711)
    os.seteuid(user)
    if os.access(nobody / "sub", os.R_OK, effective_ids=True):
        pytest.skip("this user may read everything")
    served = Served(nobody, clock)
    assert served.ask("sub/small.txt").body == b"small"
    assert served.ask("sub/small.txt", Accept_Encoding="gzip").body == b"encoded"
    assert served.ask("sub/deep/b.txt").body == b"b"
    assert b"b.txt" in served.ask("sub/deep/").body
    assert served.ask("page/").body == b"<p>index"
    for method in ("GET", "HEAD"):
        assert served.ask("sub/", method).status == 403
        assert served.ask("", method).status == 403
    served.files._open.close()


def test_cancelled_while_the_file_is_opened(served: Served) -> None:
    """The job ends later, on its thread; its file has no holder, so it closes itself."""
    stage = Stage()
    stage.holding = True
    response: Any = served.files.get(served.request("data"))
    play = Play(response, stage)
    play.operation.start(stage)
    with pytest.raises(Cancelled):
        play.throw(Cancelled())
    stage.perform([0])
    assert served.ask("data").status == 200


def test_directory_that_cannot_be(site: Path, clock: Clock) -> None:
    with pytest.raises(OSError):
        Served(site / "none", clock)
    with pytest.raises(OSError):
        Served(site / "data", clock)


# --- fields of our own ---------------------------------------------------------------------------


def test_headers_are_on_every_response(site: Path, clock: Clock) -> None:
    own = (("X-Own", "yes"), ("Strict-Transport-Security", "max-age=1"))
    served = Served(site, clock, headers=own)
    tag = served.ask("data").get("etag") or ""
    asked: list[tuple[int, str, dict[str, str]]] = [
        (200, "data", {}),
        (200, "sub/", {}),
        (206, "data", {"Range": "bytes=0-1"}),
        (206, "data", {"Range": "bytes=0-1,5-6"}),
        (301, "sub", {}),
        (304, "data", {"If_None_Match": tag}),
        (404, "none", {}),
        (404, "..", {}),
        (406, "data", {"Accept_Encoding": "identity;q=0"}),
        (412, "data", {"If_Match": '"other"'}),
        (416, "data", {"Range": "bytes=300-"}),
        (200, "text.txt", {"Accept_Encoding": "gzip"}),
        (406, "text.txt", {"Accept_Encoding": "*;q=0"}),
    ]
    (site / "data.gz").write_bytes(b"gz")
    clock.advance(1.0)
    for method in ("GET", "HEAD"):
        for status, path, headers in asked:
            seen = served.ask(path, method, **headers)
            if method == "GET" or "Range" not in headers:
                assert seen.status == status, (path, headers)
            assert [field for field in seen.fields if field in own] == list(own)


def test_cache_control(site: Path, clock: Clock) -> None:
    rules = {"text.txt": "max-age=1", "page/index.html": "no-cache", "data": "immutable"}
    served = Served(site, clock, cache_control=lambda path: rules.get(path, ""), spa="data")
    assert served.ask("text.txt").get("cache-control") == "max-age=1"
    assert served.ask("text.txt", "HEAD").get("cache-control") == "max-age=1"
    gzipped = served.ask("text.txt", Accept_Encoding="gzip")
    assert gzipped.get("cache-control") == "max-age=1"
    assert served.ask("text.txt", Range="bytes=1-2").get("cache-control") == "max-age=1"
    assert served.ask("text.txt", Range="bytes=1-2,4-5").get("cache-control") == "max-age=1"
    assert served.ask("text.txt", If_None_Match="*").get("cache-control") == "max-age=1"
    assert served.ask("page/").get("cache-control") == "no-cache"
    assert served.ask("unknown").get("cache-control") == "immutable"
    assert served.ask("empty").get("cache-control") is None
    assert served.ask("sub").get("cache-control") is None


# --- conditions ----------------------------------------------------------------------------------


def test_fields_of_a_304(site: Path, clock: Clock) -> None:
    """RFC 9110, section 15.4.5: the 200's fields about validators and caches, no more."""
    served = Served(
        site, clock, headers=(("X-Own", "yes"),), cache_control=lambda path: "max-age=5"
    )
    for coding in ("identity", "gzip"):
        whole = served.ask("text.txt", Accept_Encoding=coding)
        assert (whole.get("content-encoding") or "identity") == coding
        seen = served.ask("text.txt", Accept_Encoding=coding, If_None_Match=whole.get("etag") or "")
        assert (seen.status, seen.body) == (304, b"")
        assert seen.fields == [
            ("ETag", whole.get("etag")),
            ("Vary", "Accept-Encoding"),
            ("Cache-Control", "max-age=5"),
            ("X-Own", "yes"),
        ]
    plain = served.ask("data")
    assert "Vary" not in served.ask("data", If_None_Match=plain.get("etag") or "").names


# Fields of a request, where T is the file's tag, D its date, B a date before, A one after it.
CONDITIONS: list[tuple[int, dict[str, str]]] = [
    (200, {"If_None_Match": '"other"'}),
    (304, {"If_None_Match": "T"}),
    (304, {"If_None_Match": "W/T"}),
    (304, {"If_None_Match": '"other", T'}),
    (304, {"If_None_Match": "*"}),
    (200, {"If_None_Match": "T x"}),
    (304, {"If_Modified_Since": "D"}),
    (304, {"If_Modified_Since": "A"}),
    (200, {"If_Modified_Since": "B"}),
    (200, {"If_Modified_Since": "yesterday"}),
    (200, {"If_None_Match": '"other"', "If_Modified_Since": "A"}),
    (304, {"If_None_Match": "T", "If_Modified_Since": "B"}),
    (200, {"If_Match": "T"}),
    (200, {"If_Match": "*"}),
    (412, {"If_Match": '"other"'}),
    (412, {"If_Match": "W/T"}),
    (200, {"If_Unmodified_Since": "D"}),
    (412, {"If_Unmodified_Since": "B"}),
    (200, {"If_Match": "T", "If_Unmodified_Since": "B"}),
    (412, {"If_Match": '"other"', "If_Unmodified_Since": "A", "If_None_Match": "T"}),
    (304, {"If_Match": "T", "If_None_Match": "T"}),
    (412, {"If_Unmodified_Since": "B", "If_Modified_Since": "A"}),
    (304, {"If_Unmodified_Since": "A", "If_Modified_Since": "A"}),
    # and together with a Range
    (206, {"Range": "bytes=0-0"}),
    (304, {"Range": "bytes=0-0", "If_None_Match": "T"}),
    (412, {"Range": "bytes=0-0", "If_Match": '"other"'}),
    (206, {"Range": "bytes=0-0", "If_Range": "T"}),
    (206, {"Range": "bytes=0-0", "If_Range": "D"}),
    (200, {"Range": "bytes=0-0", "If_Range": '"other"'}),
    (200, {"Range": "bytes=0-0", "If_Range": "W/T"}),
    (200, {"Range": "bytes=0-0", "If_Range": "A"}),
    (200, {"Range": "bytes=0-0", "If_Range": "B"}),
    (200, {"Range": "bytes=900-", "If_Range": '"other"'}),
    (416, {"Range": "bytes=900-", "If_Range": "T"}),
    (304, {"Range": "bytes=900-", "If_None_Match": "T"}),
    (412, {"Range": "bytes=0-0", "If_Range": "T", "If_Match": '"other"'}),
    (200, {"If_Range": "T"}),
]


@pytest.mark.parametrize(("status", "headers"), CONDITIONS)
@pytest.mark.parametrize("cold", [False, True])
def test_conditions(served: Served, status: int, headers: dict[str, str], cold: bool) -> None:
    whole = served.ask("data")
    tag, date = whole.get("etag") or "", whole.get("last-modified") or ""
    modified = parse_date(date, time.time())
    assert modified is not None
    dates = {"D": date, "B": http_date(modified - 1), "A": http_date(modified + 1)}
    filled = {name: dates.get(value, value.replace("T", tag)) for name, value in headers.items()}
    if cold:
        served.files._open.close()
    seen = served.ask("data", **filled)
    assert seen.status == status
    if status == 200:
        assert seen.body == whole.body
        assert seen.fields == whole.fields
    if cold:
        served.files._open.close()
    head = served.ask("data", "HEAD", **filled)  # a Range means nothing to it
    assert head.status == (200 if status in (206, 416) else status)


def test_conditions_are_about_what_would_be_sent(served: Served) -> None:
    plain = served.ask("text.txt").get("etag") or ""
    gzipped = served.ask("text.txt", Accept_Encoding="gzip").get("etag") or ""
    assert plain != gzipped
    for coding, tag, other in (("identity", plain, gzipped), ("gzip", gzipped, plain)):
        headers = {"Accept_Encoding": coding}
        assert served.ask("text.txt", If_None_Match=tag, **headers).status == 304
        assert served.ask("text.txt", If_None_Match=other, **headers).status == 200
        assert served.ask("text.txt", If_Match=tag, **headers).status == 200
        assert served.ask("text.txt", If_Match=other, **headers).status == 412
    # A range is of the file as it is, and so is what it is compared with.
    headers = {"Accept_Encoding": "gzip", "Range": "bytes=0-0"}
    assert served.ask("text.txt", If_Range=plain, **headers).status == 206
    assert served.ask("text.txt", If_Range=gzipped, **headers).status == 200
    assert served.ask("text.txt", If_None_Match=plain, **headers).status == 304
    assert served.ask("text.txt", If_None_Match=gzipped, **headers).status == 206


# --- young files ---------------------------------------------------------------------------------


def test_weak_while_young(site: Path, clock: Clock) -> None:
    clock.ahead = 0.0
    served = Served(site, clock)
    (site / "data").touch()
    young = served.ask("data").get("etag") or ""
    assert young.startswith('W/"')
    assert served.ask("data", If_None_Match=young).status == 304
    assert served.ask("data", If_Match=young).status == 412
    assert served.ask("data", Range="bytes=0-0", If_Range=young).status == 200
    clock.advance(1.5)
    strong = served.ask("data").get("etag") or ""
    assert strong.startswith('"')
    assert served.ask("data", If_None_Match=young).status == 200  # the file may be in another state
    assert served.ask("data", If_None_Match=strong).status == 304
    clock.advance(1.5)
    assert served.ask("data").get("etag") == strong


def test_tags_of_codings_are_as_weak_as_the_files(site: Path, clock: Clock) -> None:
    clock.ahead = 0.0
    served = Served(site, clock)
    (site / "text.txt").touch()
    young = served.ask("text.txt", Accept_Encoding="gzip").get("etag") or ""
    assert young.startswith('W/"')
    clock.advance(1.5)
    strong = served.ask("text.txt", Accept_Encoding="gzip").get("etag") or ""
    assert strong.startswith('"')


def test_sibling_that_is_younger_than_its_file(site: Path, clock: Clock) -> None:
    clock.ahead = 0.3
    time.sleep(0.8)  # the file's age; with what the clock is ahead, more than a second
    (site / "text.txt.gz").write_bytes(b"gz")
    served = Served(site, clock)
    assert (served.ask("text.txt").get("etag") or "").startswith('"')
    assert (served.ask("text.txt", Accept_Encoding="gzip").get("etag") or "").startswith('W/"')
    clock.advance(1.5)
    assert (served.ask("text.txt", Accept_Encoding="gzip").get("etag") or "").startswith('"')


def test_tag_is_as_young_as_the_stat_of_the_file(site: Path, clock: Clock) -> None:
    """A slow disk responds two seconds later: the file may have changed again in its first one."""
    clock.ahead = 0.0
    served = Served(site, clock)
    (site / "data").touch()
    stage = Stage()
    stage.holding = True
    response: Any = served.files.get(served.request("data"))
    play = Play(response, stage)
    found = play.operation.start(stage)
    stage.perform([0])
    clock.advance(2.0)
    play.resume(found)
    assert dict(play.result.headers)["ETag"].startswith('W/"')
    play.result.body.release()


@pytest.mark.parametrize("size", [10, 5000])
def test_bytes_made_of_a_young_file_are_made_again(
    site: Path, clock: Clock, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written twice within a tick of the file system's clock, it has the same version twice."""
    clock.ahead = 0.0
    version = open_file_cache.Version
    monkeypatch.setattr(
        open_file_cache,
        "Version",
        lambda device, inode, size, *_: version(device, inode, size, 0, 0),
    )
    served = Served(site, clock)

    def check(letter: bytes) -> None:
        for _ in range(2):
            assert served.ask("text.txt").body == letter * size
            seen = served.ask("text.txt", Accept_Encoding="gzip")
            encoded = seen.get("content-encoding") == "gzip"
            assert encoded is (size > LEAST_BYTES)
            assert (gzip.decompress(seen.body) if encoded else seen.body) == letter * size

    (site / "text.txt").write_bytes(b"a" * size)
    check(b"a")
    (site / "text.txt").write_bytes(b"b" * size)
    clock.advance(1.5)
    check(b"b")


# --- ranges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, 255),
        ("bytes=10-19", 10, 19),
        ("bytes=255-", 255, 255),
        ("bytes=200-9999", 200, 255),
        ("bytes=-1", 255, 255),
        ("bytes=-9999", 0, 255),
        ("BYTES=1-2", 1, 2),
        ("bytes=0-9,5-19", 0, 19),
        ("bytes=0-9,10-19", 0, 19),
        ("bytes=0-1,999-", 0, 1),
    ],
)
def test_one_range(served: Served, value: str, first: int, last: int) -> None:
    whole = served.ask("data")
    seen = served.ask("data", Range=value)
    assert seen.status == 206
    assert seen.body == whole.body[first : last + 1]
    assert seen.get("content-range") == f"bytes {first}-{last}/256"
    assert sorted(set(seen.fields) - set(whole.fields)) == [
        ("Content-Range", f"bytes {first}-{last}/256")
    ]
    assert set(whole.fields) < set(seen.fields)


@pytest.mark.parametrize("value", ["bytes=256-", "bytes=999-1000", "bytes=-0", "bytes=300-,256-"])
def test_no_range_of_the_file(served: Served, value: str) -> None:
    seen = served.ask("data", Range=value)
    assert seen.status == 416
    assert seen.get("content-range") == "bytes */256"
    assert served.ask("data", "HEAD", Range=value).status == 200


@pytest.mark.parametrize(
    "value", ["", "bytes", "bytes=", "bytes=a-b", "bytes=5-2", "lines=1-2", "bytes=1-2;", "1-2"]
)
def test_malformed_ranges(served: Served, value: str) -> None:
    seen = served.ask("data", Range=value)
    assert (seen.status, seen.body) == (200, bytes(range(256)))


@pytest.mark.parametrize("how", ["in place", "longer", "replaced", "later"])
@pytest.mark.parametrize("parts", ["bytes=1-2", "bytes=1-2,5-6"])
def test_parts_are_of_one_version(
    served: Served, site: Path, clock: Clock, how: str, parts: str
) -> None:
    """Another program writes to the file while its entry is trusted."""
    first = served.ask("data", Range=parts)
    tag = first.get("etag") or ""
    assert (first.status, tag[:1]) == (206, '"')
    new = bytes(range(255, -1, -1)) + b"x" * (how == "longer")
    if how == "replaced":
        replace(site / "data", new)
    else:
        (site / "data").write_bytes(new)
    if how == "later":
        os.utime(site / "data", ns=(0, (site / "data").stat().st_mtime_ns + 1))
    mixed = served.ask("data", Range=parts, If_Range=tag)
    assert (mixed.status, mixed.body) == (200, new)
    part = served.ask("data", Range="bytes=1-2")
    assert (part.status, part.body) == (206, new[1:3])
    assert part.get("etag") not in (tag, None)
    assert served.ask("data", Range=parts, If_Match=tag).status == 412


def test_a_part_of_a_file_that_is_deleted(served: Served, site: Path) -> None:
    served.ask("data")
    (site / "data").unlink()
    assert served.ask("data", Range="bytes=1-2").status == 404


def test_a_part_of_a_file_that_never_rests(
    served: Served, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was opened for the request is as new as can be."""
    served.ask("data")
    monkeypatch.setattr(OpenFileCache, "changed", lambda *_: True)
    assert served.ask("data", Range="bytes=1-2").status == 206


def multipart(seen: Seen) -> list[tuple[dict[str, str], bytes]]:
    """The parts, read to the letter of RFC 9110, section 14.6, and RFC 2046, section 5.1.1."""
    kind, _, boundary = (seen.get("content-type") or "").partition("; boundary=")
    assert kind == "multipart/byteranges"
    assert re.fullmatch(r"[0-9a-z]{16,70}", boundary)
    delimiter = f"\r\n--{boundary}".encode()
    before, *parts, end = seen.body.split(delimiter)
    assert (before, end) == (b"", b"--\r\n")
    found = []
    for part in parts:
        assert part.startswith(b"\r\n")
        head, _, body = part[2:].partition(b"\r\n\r\n")
        found.append((dict(re.findall(r"(.+?): ([^\r]+)", head.decode())), body))
    return found


def test_several_ranges(site: Path, clock: Clock) -> None:
    served = Served(site, clock, headers=(("X-Own", "yes"),))
    whole = served.ask("text.txt")
    seen = served.ask("text.txt", Range="bytes=0-4, 100-109,-3", Accept_Encoding="gzip")
    assert seen.status == 206
    assert seen.kind is MultiRegion
    size = len(TEXT)
    kind = "text/plain; charset=utf-8"
    assert [(fields, body) for fields, body in multipart(seen)] == [
        ({"Content-Type": kind, "Content-Range": f"bytes 0-4/{size}"}, TEXT[:5]),
        ({"Content-Type": kind, "Content-Range": f"bytes 100-109/{size}"}, TEXT[100:110]),
        ({"Content-Type": kind, "Content-Range": f"bytes {size - 3}-{size - 1}/{size}"}, TEXT[-3:]),
    ]
    assert seen.get("content-range") is None
    assert set(whole.fields) - set(seen.fields) == {("Content-Type", kind)}
    boundaries = {served.ask("text.txt", Range="bytes=0-1,4-5").get("content-type") for _ in "123"}
    assert len(boundaries) == 3


@pytest.mark.parametrize("most", [1, 2, 5])
def test_more_ranges_than_the_limit(site: Path, clock: Clock, most: int) -> None:
    served = Served(site, clock, Limits(ranges=most))
    value = "bytes=" + ",".join(f"{10 * place}-{10 * place + 1}" for place in range(most))
    assert served.ask("data", Range=value).status == 206
    seen = served.ask("data", Range=value + ",250-251")
    assert (seen.status, seen.body) == (200, bytes(range(256)))


SPECS = st.one_of(
    st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda p: f"{p[0]}-{p[1]}"),
    st.integers(0, 300).map(lambda first: f"{first}-"),
    st.integers(0, 300).map(lambda last: f"-{last}"),
)


@pytest.mark.slow
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(specs=st.lists(SPECS, min_size=1, max_size=6))
def test_any_ranges(site: Path, specs: list[str]) -> None:
    """The parts cover exactly the requested bytes, each once."""
    served = Served(site, Clock())
    seen = served.ask("data", Range=f"bytes={','.join(specs)}")
    wanted: set[int] = set()
    invalid = False
    for spec in specs:
        first, _, last = spec.partition("-")
        if first and last and int(last) < int(first):
            invalid = True
        elif first:
            wanted.update(range(int(first), min(256, int(last or 255) + 1)))
        else:
            wanted.update(range(max(0, 256 - int(last)), 256))
    if invalid:
        assert seen.status == 200
        return
    if not wanted:
        assert seen.status == 416
        return
    assert seen.status == 206
    content_range = seen.get("content-range")
    parts = [({"Content-Range": content_range}, seen.body)] if content_range else multipart(seen)
    covered: list[int] = []
    for fields, body in parts:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/256", fields["Content-Range"] or "")
        assert match
        places = range(int(match[1]), int(match[2]) + 1)
        assert body == bytes(places)
        covered += places
    assert sorted(covered) == sorted(wanted)


# --- codings -------------------------------------------------------------------------------------


def test_gzip(served: Served) -> None:
    plain = served.ask("text.txt")
    seen = served.ask("text.txt", Accept_Encoding="gzip")
    assert seen.status == 200
    assert gzip.decompress(seen.body) == TEXT
    assert len(seen.body) < len(TEXT) / 3
    assert seen.fields == [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Last-Modified", plain.get("last-modified")),
        ("Content-Encoding", "gzip"),
        ("ETag", (plain.get("etag") or "")[:-1] + '-gzip"'),
        ("Vary", "Accept-Encoding"),
    ]


def test_gzip_is_made_once(served: Served, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    made = count()
    encode = compressed_cache._encode_file

    def spy(*arguments: Any) -> Any:
        next(made)
        return encode(*arguments)

    monkeypatch.setattr(compressed_cache, "_encode_file", spy)
    first = served.ask("text.txt", Accept_Encoding="gzip")
    assert served.ask("text.txt", Accept_Encoding="gzip") == first
    clock.advance(5)
    assert served.ask("text.txt", Accept_Encoding="x-gzip;q=0.1") == first
    assert next(made) == 1
    response = served.files.get(served.request("text.txt", Accept_Encoding="gzip"))
    assert isinstance(response, Response)  # hot: in the call, by no coroutine


def test_gzip_of_what_has_changed(served: Served, site: Path, clock: Clock) -> None:
    first = served.ask("text.txt", Accept_Encoding="gzip")
    replace(site / "text.txt", TEXT[::-1])
    clock.advance(1.0)
    second = served.ask("text.txt", Accept_Encoding="gzip")
    assert gzip.decompress(second.body) == TEXT[::-1]
    assert first.get("etag") != second.get("etag")


@pytest.mark.parametrize("size", [LEAST_BYTES - 1, LEAST_BYTES])
def test_short_texts_are_not_encoded(served: Served, site: Path, size: int) -> None:
    (site / "a.txt").write_bytes(b"x" * size)
    seen = served.ask("a.txt", Accept_Encoding="gzip")
    encoded = size >= LEAST_BYTES
    assert (seen.get("content-encoding") == "gzip") is encoded
    assert (seen.get("vary") == "Accept-Encoding") is encoded


@pytest.mark.parametrize("name", ["a.png", "a.gz", "a.zip", "a", "a.mp4", "a.woff2"])
def test_types_that_do_not_shrink_are_not_encoded(served: Served, site: Path, name: str) -> None:
    (site / name).write_bytes(TEXT)
    seen = served.ask(name, Accept_Encoding="gzip, br, zstd, *")
    assert seen.body == TEXT
    assert "Vary" not in seen.names


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity;q=0.9", None),
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, br;q=0.9", "gzip"),
        ("*", "br"),
        ("*, br;q=0", "zstd"),
        ("X-GZIP", "gzip"),
        ("identity;q=0, *", "br"),
        ("identity;q=0, *, br;q=0", "zstd"),
        ("deflate", None),
    ],
)
def test_stored_codings(served: Served, site: Path, accept: str, coding: str | None) -> None:
    """Their bytes are sent as they are: the operator vouches for their content."""
    for suffix, text in ((".br", b"br"), (".zst", b"zstd"), (".gz", b"gzip")):
        (site / f"data{suffix}").write_bytes(text)
    seen = served.ask("data", Accept_Encoding=accept)
    assert seen.status == 200
    assert seen.get("content-encoding") == coding
    assert seen.get("vary") == "Accept-Encoding"
    assert seen.get("content-type") == "application/octet-stream"
    assert seen.body == (coding.encode() if coding else bytes(range(256)))
    tag = seen.get("etag") or ""
    assert served.ask("data", Accept_Encoding=accept, If_None_Match=tag).status == 304
    head = served.ask("data", "HEAD", Accept_Encoding=accept)
    assert head.fields == seen.fields


def test_every_form_has_its_own_tag(served: Served, site: Path) -> None:
    (site / "text.txt.br").write_bytes(b"br")
    tags = [
        served.ask("text.txt", Accept_Encoding=coding).get("etag")
        for coding in ("identity", "gzip", "br")
    ]
    (site / "text.txt.gz").write_bytes(b"gz")
    served.files._open.close()
    tags.append(served.ask("text.txt", Accept_Encoding="gzip").get("etag"))
    assert len(set(tags)) == 4


def test_stored_coding_that_is_made_anew(served: Served, site: Path, clock: Clock) -> None:
    (site / "data.gz").write_bytes(b"one")
    first = served.ask("data", Accept_Encoding="gzip").get("etag")
    replace(site / "data.gz", b"two")
    clock.advance(1.0)
    seen = served.ask("data", Accept_Encoding="gzip")
    assert seen.body == b"two"
    assert seen.get("etag") != first


@pytest.mark.parametrize("kind", ["outside", "older", "directory", "hidden", "fifo"])
@pytest.mark.timeout(10)
def test_stored_coding_that_is_none(served: Served, site: Path, kind: str) -> None:
    path = site / "text.txt.gz"
    if kind == "outside":
        path.symlink_to("../text.txt.gz")
    elif kind == "hidden":
        path.symlink_to(".hidden")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"secret")
        os.utime(path, (0, 0))
    seen = served.ask("text.txt", Accept_Encoding="gzip")
    assert gzip.decompress(seen.body) == TEXT  # made


def test_stored_coding_by_a_link(served: Served, site: Path) -> None:
    (site / "sub" / "encoded").write_bytes(b"gz")
    (site / "data.gz").symlink_to("sub/encoded")
    assert served.ask("data", Accept_Encoding="gzip").body == b"gz"


def test_range_and_coding(served: Served, site: Path) -> None:
    (site / "text.txt.br").write_bytes(b"br")
    for value, status in (("bytes=0-4", 206), ("bytes=0-4,9-12", 206), ("bytes=x", 200)):
        seen = served.ask("text.txt", Range=value, Accept_Encoding="gzip, br")
        assert seen.status == status
        assert seen.get("content-encoding") is None
        assert seen.get("vary") == "Accept-Encoding"
    assert served.ask("text.txt", Range="bytes=99999-", Accept_Encoding="br").status == 416
    head = served.ask("text.txt", "HEAD", Range="bytes=0-4", Accept_Encoding="br")
    assert (head.status, head.get("content-encoding")) == (200, "br")


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        *(("data", f"gzip, {one}", 406) for one in ("identity;q=0", "*;q=0", "* ; q=0.0")),
        ("data", "identity;q=0.1", 200),
        ("data", "gzip, *\t;q=0", 406),
        ("data", "*;q=0, identity", 200),
        ("sub/small.txt", "identity;q=0", 406),
        ("sub/small.txt", "identity;q=0, br", 406),
        ("sub/small.txt", "gzip, identity", 200),
        ("text.txt", "identity;q=0", 406),  # a coding that is not named is not acceptable
        ("text.txt", "identity;q=0, gzip;q=0", 406),
        ("text.txt", "*;q=0", 406),
        ("text.txt", "br, *;q=0", 406),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_acceptable_representation(
    served: Served, path: str, accept: str, status: int, method: str
) -> None:
    seen = served.ask(path, method, Accept_Encoding=accept)
    assert seen.status == status
    if status == 406:
        assert seen.get("vary") == "Accept-Encoding"


@pytest.mark.parametrize("path", ["sub/small.txt", "empty.txt", "page/"])
@pytest.mark.parametrize("accept", ["gzip, identity;q=0", "gzip, *;q=0", "gzip,* ;q=0"])
def test_small_text_for_who_refuses_it_as_it_is(
    served: Served, site: Path, path: str, accept: str
) -> None:
    (site / "empty.txt").touch()
    plain = served.ask(path, Accept_Encoding="gzip")
    assert (plain.get("content-encoding"), plain.get("vary")) == (None, None)
    seen = served.ask(path, Accept_Encoding=accept)
    assert (seen.get("content-encoding"), seen.get("vary")) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(seen.body) == plain.body
    assert seen.get("etag") == (plain.get("etag") or "")[:-1] + '-gzip"'
    head = served.ask(path, "HEAD", Accept_Encoding=accept)
    assert head.fields == seen.fields
    again = {"Accept_Encoding": accept, "If_None_Match": seen.get("etag") or ""}
    assert served.ask(path, **again).status == 304
    assert served.ask(path, Accept_Encoding=accept, If_Match='"x"').status == 412
    assert served.see(served.request(path, Accept_Encoding=accept), _FullStage()).status == 200


def test_a_stored_coding_that_is_refused_with_the_file(served: Served, site: Path) -> None:
    (site / "sub/small.txt.br").write_bytes(b"br")
    seen = served.ask("sub/small.txt", Accept_Encoding="gzip, identity;q=0")
    assert gzip.decompress(seen.body) == b"small"
    seen = served.ask("sub/small.txt", Accept_Encoding="gzip, br")
    assert seen.body == b"br"


def test_small_text_that_is_not_to_be_transformed(site: Path, clock: Clock) -> None:
    served = Served(site, clock, cache_control=lambda path: "no-transform")
    assert served.ask("sub/small.txt", Accept_Encoding="gzip, identity;q=0").status == 406
    assert served.ask("sub/small.txt", Accept_Encoding="gzip").body == b"small"


class _FullStage(Stage):
    """The pool has no room for compressing."""

    def submit(self, lane: Lane, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if lane is Lane.COMPRESSION:
            raise PoolFull
        return super().submit(lane, function, *arguments)


def test_pool_that_is_full(served: Served) -> None:
    """Plain bytes with the plain tag or, where these are refused, an error."""
    plain = served.ask("text.txt")
    request = served.request("text.txt", Accept_Encoding="gzip")
    seen = served.see(request, _FullStage())
    assert (seen.status, seen.fields, seen.body) == (plain.status, plain.fields, plain.body)
    request = served.request("text.txt", Accept_Encoding="gzip, identity;q=0")
    seen = served.see(request, _FullStage())
    assert (seen.status, seen.get("vary"), seen.get("retry-after")) == (503, "Accept-Encoding", "1")
    assert gzip.decompress(served.ask("text.txt", Accept_Encoding="gzip").body) == TEXT


@pytest.mark.parametrize("full", [False, True])
def test_dropped_while_it_is_encoded(served: Served, site: Path, full: bool) -> None:
    """The cache drops the file, after an upload or for lack of room, before it is encoded."""
    stage = _FullStage() if full else Stage()
    stage.holding = True
    served.ask("text.txt")
    response: Any = served.files.get(served.request("text.txt", Accept_Encoding="gzip"))
    play = Play(response, stage)
    making = play.operation.start(stage)
    served.files._open.close()
    stage.perform([0])
    for job in stage.jobs:
        job()
    assert making.done
    play.resume(making)
    body = take(play.result.body)
    assert (body if full else gzip.decompress(body)) == TEXT


def test_cancelled_while_it_is_encoded(served: Served) -> None:
    stage = Stage()
    stage.holding = True
    served.ask("text.txt")
    response: Any = served.files.get(served.request("text.txt", Accept_Encoding="gzip"))
    play = Play(response, stage)
    play.operation.start(stage)
    with pytest.raises(Cancelled):
        play.throw(Cancelled())
    stage.perform([0])
    served.check_holds()


def test_head_of_a_text_that_is_not_encoded_yet(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HEAD does not encode it: the length is left out (RFC 9110, section 8.6)."""
    monkeypatch.setattr(compressed_cache, "_encode_file", None)
    head = served.ask("text.txt", "HEAD", Accept_Encoding="gzip")
    assert head.status == 200
    assert head.kind is not bytes
    monkeypatch.undo()
    seen = served.ask("text.txt", Accept_Encoding="gzip")
    assert head.fields == seen.fields
    head = served.ask("text.txt", "HEAD", Accept_Encoding="gzip")
    assert (head.fields, head.body) == (seen.fields, seen.body)


@pytest.fixture
def large(site: Path) -> Path:
    path = site / "large.txt"
    with path.open("wb") as file:
        for _ in range(STREAMED_BYTES // len(TEXT) + 1):
            file.write(TEXT)
    return path


def test_large_file_is_encoded_as_it_is_sent(served: Served, large: Path) -> None:
    seen = served.ask("large.txt", Accept_Encoding="gzip")
    decoder = zlib.decompressobj(31)
    assert decoder.decompress(seen.body) == large.read_bytes()
    assert decoder.eof
    assert decoder.unused_data == b""
    assert len(served.files._compressed) == 0
    head = served.ask("large.txt", "HEAD", Accept_Encoding="gzip")
    assert head.fields == seen.fields
    assert served.ask("large.txt").body == large.read_bytes()


def test_large_file_that_becomes_shorter(served: Served, large: Path) -> None:
    """The stream ends in an error, and the connection by a reset: a cut response looks cut."""
    request = served.request("large.txt", Accept_Encoding="gzip")
    served.ask("large.txt", "HEAD")
    response = served.files.get(request)
    assert isinstance(response, Response)
    os.truncate(large, STREAMED_BYTES // 2)
    with pytest.raises(EOFError):
        take(response.body)
    served.check_holds()


def test_large_stream_that_nobody_pulls(served: Served, large: Path) -> None:
    served.ask("large.txt", "HEAD")
    response = served.files.get(served.request("large.txt", Accept_Encoding="gzip"))
    assert isinstance(response, Response)
    body: Any = response.body
    drive(body.aclose())
    served.check_holds()


def test_file_that_becomes_shorter_is_not_encoded(served: Served, site: Path) -> None:
    served.ask("text.txt")
    os.truncate(site / "text.txt", 2000)
    response: Any = served.files.get(served.request("text.txt", Accept_Encoding="gzip"))
    response = run(response, Stage())
    assert isinstance(response.body, FileRegion)
    assert len(response.body) == len(TEXT)  # so the connection finds out, and ends
    response.body.release()
    assert len(served.files._compressed) == 0


def test_codings_that_only_some_pythons_make(
    site: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where zstd can be made it comes before gzip, and after a br that is stored."""
    monkeypatch.setattr("reactor.web.static.representations.MADE", ("zstd", "gzip"))
    monkeypatch.setattr(compressed_cache, "encode", lambda data, coding: coding.encode())
    assert "gzip" in encoders.MADE
    served = Served(site, clock)
    assert served.ask("text.txt", Accept_Encoding="gzip, zstd").body == b"zstd"
    assert served.ask("text.txt", Accept_Encoding="gzip").body == b"gzip"
    (site / "text.txt.gz").write_bytes(b"stored too")
    (site / "text.txt.br").write_bytes(b"stored")
    clock.advance(1.0)
    assert served.ask("text.txt", Accept_Encoding="gzip").body == b"stored too"
    assert served.ask("text.txt", Accept_Encoding="gzip, zstd, br").body == b"stored"
    assert served.ask("text.txt", Accept_Encoding="gzip, zstd").body == b"zstd"


# --- changes -------------------------------------------------------------------------------------


def test_changes_by_other_programs_are_seen_within_a_second(
    served: Served, site: Path, clock: Clock
) -> None:
    tag = served.ask("data").get("etag")
    replace(site / "data", b"new")
    clock.advance(0.99)
    assert served.ask("data").get("etag") == tag
    clock.advance(0.01)
    seen = served.ask("data")
    assert seen.body == b"new"
    assert seen.get("etag") != tag
    (site / "data").unlink()
    clock.advance(1.0)
    assert served.ask("data").status == 404


def test_response_keeps_its_file(served: Served, site: Path, clock: Clock) -> None:
    """Replaced or removed: a response ends with the bytes of the file that it began with."""
    (site / "long").write_bytes(TEXT * 20)
    for name, content in (("data", bytes(range(256))), ("long", TEXT * 20)):
        served.ask(name)
        response = served.files.get(served.request(name))
        part = served.files.get(served.request(name, Range="bytes=5-9"))
        assert isinstance(response, Response)
        assert isinstance(part, Response)
        replace(site / name, b"new")
        clock.advance(1.0)
        later: Any = served.files.get(served.request(name))
        assert take(run(later, Stage()).body) == b"new"
        assert take(response.body) == content
        assert take(part.body) == content[5:10]
        served.check_holds()


class Store:
    """The write side of the same directory, wired as the site does."""

    def __init__(self, served: Served, site: Path) -> None:
        self._receiver = Receiver(
            served.files.root, Limits(), served.files.forget, uploads=True, deletes=True
        )

    def put(self, path: str, data: bytes) -> int:
        request = make_request("PUT", f"/files/{path}", Feed(data))
        request.params = {"name": tuple(path.split("/"))}
        return drive(self._receiver.put(request)).status

    def delete(self, path: str) -> int:
        request = make_request("DELETE", f"/files/{path}")
        request.params = {"name": tuple(path.split("/"))}
        return drive(self._receiver.delete(request)).status


@pytest.mark.parametrize(
    "others", ["data", "link", "chain", "here/data", "here/chain", "here/here/link"]
)
def test_own_changes_are_seen_at_once_by_any_name(served: Served, site: Path, others: str) -> None:
    """The clock stands still: no entry is checked again because of its age."""
    (site / "link").symlink_to("data")
    (site / "chain").symlink_to(site / "link")
    (site / "here").symlink_to(".")
    store = Store(served, site)
    assert served.ask(others).body == bytes(range(256))
    assert store.put("here/data", b"one") == 204
    assert served.ask(others).body == b"one"
    assert store.put("data", b"two") == 204
    assert served.ask(others).body == b"two"
    assert store.put("link", b"three") == 204  # in the link's place
    assert served.ask(others).body == (b"two" if others.endswith("data") else b"three")
    assert store.delete("data") == 204
    assert store.delete("link") == 204
    assert served.ask(others).status == 404
    assert store.put("data", b"four") == 201
    assert served.ask("data").body == b"four"


def test_hard_links_are_names_of_their_own(served: Served, site: Path) -> None:
    os.link(site / "data", site / "hard")
    store = Store(served, site)
    assert served.ask("hard").body == bytes(range(256))
    store.put("data", b"new")
    assert served.ask("data").body == b"new"
    assert served.ask("hard").body == bytes(range(256))
    store.put("hard", b"other")
    assert served.ask("hard").body == b"other"
    assert served.ask("data").body == b"new"


def test_own_index_and_siblings_are_seen_at_once(served: Served, site: Path) -> None:
    store = Store(served, site)
    assert b"small.txt" in served.ask("sub/").body
    store.put("sub/index.html", b"<p>1")
    assert served.ask("sub/").body == b"<p>1"
    store.put("sub/index.html", b"<p>2")
    assert served.ask("sub/").body == b"<p>2"
    store.delete("sub/index.html")
    assert b"small.txt" in served.ask("sub/").body
    assert "Vary" not in served.ask("data").names
    store.put("data.gz", b"encoded")
    assert served.ask("data", Accept_Encoding="gzip").body == b"encoded"
    store.put("data.gz", b"again")
    assert served.ask("data", Accept_Encoding="gzip").body == b"again"
    store.put("data", b"new")  # which the stored one is not of any more
    assert served.ask("data", Accept_Encoding="gzip").body == b"new"
    store.put("data.br", b"br")
    assert served.ask("data", Accept_Encoding="gzip, br").body == b"br"
    store.delete("data.br")
    assert served.ask("data", Accept_Encoding="gzip, br").body == b"new"


def test_own_change_of_an_application(site: Path, clock: Clock) -> None:
    served = Served(site, clock, spa="page/index.html")
    store = Store(served, site)
    assert served.ask("unknown").body == b"<p>index"
    store.put("page/index.html", b"<p>new")
    assert served.ask("unknown").body == b"<p>new"
    store.put("unknown", b"known")
    assert served.ask("unknown").body == b"known"


def test_idle_files_are_closed(served: Served, clock: Clock, site: Path) -> None:
    before = len(open_descriptors())
    served.ask("data")
    assert len(open_descriptors()) == before + 1
    served.files.close_idle()
    clock.advance(Limits().open_file_idle)
    served.files.close_idle()
    assert len(open_descriptors()) == before
    assert served.ask("data").status == 200


@pytest.mark.parametrize("most", [1, 3])
def test_few_descriptors_serve_many_files(site: Path, clock: Clock, most: int) -> None:
    served = Served(site, clock, Limits(open_files=most))
    before = len(open_descriptors())
    for number in range(30):
        (site / f"f{number}.txt").write_bytes(b"%d" % number)
    for _ in range(2):
        for number in range(30):
            assert served.ask(f"f{number}.txt").body == b"%d" % number
            assert len(open_descriptors()) <= before + most


def test_root_that_is_moved(tmp_path: Path, site: Path, clock: Clock) -> None:
    """A deployment by a link: the files below the new directory are served within a second."""
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "data").write_bytes(b"next")
    (tmp_path / "current").symlink_to("site")
    served = Served(tmp_path / "current", clock)
    assert served.ask("data").body == bytes(range(256))
    (tmp_path / "new").symlink_to("next")
    (tmp_path / "new").rename(tmp_path / "current")
    clock.advance(1.0)
    assert served.ask("data").body == b"next"
    assert isinstance(served.files.root, Root)


# --- files that clients may have uploaded --------------------------------------------------------


def test_an_open_file_that_lies_elsewhere_now_is_not_trusted_any_more(
    site: Path, clock: Clock
) -> None:
    """The same file in all its numbers, by another link: the place decides, after each walk."""
    (site / "own.html").write_bytes(b"<p>")
    os.link(site / "own.html", site / "sub" / "theirs.html")
    (site / "page.html").symlink_to("own.html")
    served = Served(site, clock, trust=Trust(uploads=(Root(site / "sub"),)))
    for target, policy in (("own.html", None), ("sub/theirs.html", "sandbox"), ("own.html", None)):
        (site / "page.html").unlink()
        (site / "page.html").symlink_to(target)
        clock.advance(10)
        for _ in range(2):
            seen = served.ask("page.html")
            assert seen.body == b"<p>"
            assert seen.get("Content-Security-Policy") == policy
    served.files._open.close()


def test_an_index_is_found_again_when_it_is_the_operators(site: Path, clock: Clock) -> None:
    index = site / "index.html"
    (site / "sub" / "theirs.html").write_bytes(b"<p>theirs")
    (site / "own.html").write_bytes(b"<p>own")
    served = Served(site, clock, trust=Trust(uploads=(Root(site / "sub"),)))
    for target, shown in (
        ("sub/theirs.html", False),
        ("own.html", True),
        ("sub/theirs.html", False),
    ):
        index.unlink(missing_ok=True)
        index.symlink_to(target)
        clock.advance(10)
        for _ in range(2):
            assert (b"<p>own" in served.ask("").body) is shown
            assert b"<p>theirs" not in served.ask("").body
    served.files._open.close()
