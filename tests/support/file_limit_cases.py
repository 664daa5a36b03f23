"""The limits of who serves and receives files, each at its exact boundary; see test_limits.py.

Each case gets `serve` and an empty directory, and runs the site over it, with small limits.
"""

import gzip
import io
import json
import os
import random
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from reactor import File, Limits
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from reactor.web.static.compressed_cache import ENTRY_BYTES, CompressedCache
from tests.conftest import Running, Serve
from tests.support.coroutine_driver import open_descriptors
from tests.support.raw_client import TIMEOUT, Client

INTEROP = "Upload-Draft-Interop-Version: 8"


@contextmanager
def site(
    serve: Serve, directory: Path, *, has_upkeep: bool = True, **limits: Any
) -> Iterator[tuple[Running, Site]]:
    """The directory at /files/, with uploads, and its upkeep; all of it ended afterwards.

    The upkeep opens each directory once, and so is left out where descriptors are counted.
    """
    options = SiteOptions(directory=str(directory), deletes=True, trust_uploads=True)  # siblings
    made = Site(options, Limits(**limits))
    running = serve(made.handler, **limits)
    for work in made.housekeeping() if has_upkeep else ():
        running.call(partial(running.server.spawn, work))
    yield running, made
    for client in running.clients:
        client.close()
    for files in made._mounted:
        running.call(files._open.close)
    running.shut_down()
    assert running.join()


def kept_open(directory: Path) -> list[str]:
    """The files of the directory that somebody has open."""
    begin = f"{directory}/"
    links = open_descriptors().values()
    return sorted(one.removeprefix(begin) for one in links if one.startswith(begin))


def get(client: Client, name: str, *fields: str) -> bytes:
    response = client.ask(f"/files/{name}", *fields)
    assert response.status in (200, 206), response
    return response.body


def small_file_bytes(serve: Serve, directory: Path) -> None:
    """Up to it a file is read once; one byte more, and each response is read from the file."""
    (directory / "small").write_bytes(b"x" * 100)
    (directory / "large").write_bytes(b"x" * 101)
    for name in ("small", "large"):
        os.utime(directory / name, (0, 0))
    time.sleep(1.1)  # in its first second a file is not kept
    with site(serve, directory, small_file_bytes=100, open_file_age=60.0) as (running, _):
        client = running.connect()
        for name in ("small", "large"):
            get(client, name)
        with patch("reactor.files.file.File.look", side_effect=File.look, autospec=True) as look:
            assert get(client, "small") == b"x" * 100
            assert look.call_count == 0
            assert get(client, "large") == b"x" * 101
            assert look.call_count == 1


# --- files that are kept open ---------------------------------------------------------------------


def open_files(serve: Serve, directory: Path) -> None:
    """So many of the requested files stay open, and precompressed siblings count."""
    for name in ("a", "b", "c", "d", "e.txt", "e.txt.gz"):
        (directory / name).write_bytes(name.encode())
    with site(serve, directory, open_files=3) as (running, _):
        client = running.connect()
        for name in ("a", "b", "c"):
            get(client, name)
        assert kept_open(directory) == ["a", "b", "c"]
        get(client, "d")
        assert len(kept_open(directory)) == 3
        assert "d" in kept_open(directory)
        get(client, "e.txt")
        assert len(kept_open(directory)) == 3
        assert {"e.txt", "e.txt.gz"} < set(kept_open(directory))
        for name in "abcd" * 3:
            assert get(client, name) == name.encode()
            assert len(kept_open(directory)) <= 3
    with (
        patch("reactor.files.descriptors.resource.getrlimit", return_value=(64, 64)),  # a share: 4
        site(serve, directory, open_files=1000) as (running, _),
    ):
        client = running.connect()
        for name in ("a", "b", "c", "d"):
            get(client, name)
        assert len(kept_open(directory)) == 4
        get(client, "e.txt")
        assert len(kept_open(directory)) == 4


def open_file_age(serve: Serve, directory: Path) -> None:
    """A change by others is seen after it, and not before; our own is seen at once."""
    with site(serve, directory, open_file_age=0.5) as (running, _):
        client = running.connect()
        for content in (b"second", b"third"):
            client.ask("/files/a", method="DELETE")  # nothing is known of it from now on
            (directory / "a").write_bytes(b"first")
            began = time.monotonic()
            assert get(client, "a") == b"first"
            asked = time.monotonic()
            (directory / "new").write_bytes(content)
            os.replace(directory / "new", directory / "a")
            found = get(client, "a")
            if time.monotonic() - began < 0.5:  # a busy machine may have taken longer
                assert found == b"first"
            time.sleep(max(0.0, asked + 0.5 - time.monotonic()))
            assert get(client, "a") == content
            assert client.ask("/files/a", method="PUT", body=b"ours").status == 204
            assert get(client, "a") == b"ours"


def open_file_idle(serve: Serve, directory: Path) -> None:
    """A requested file stays open; another one is closed then, and not before."""
    for name in ("idle", "asked for"):
        (directory / name).write_bytes(b"content")
    with (
        patch("reactor.web.static.mount.IDLE_SECONDS", 0.05),
        site(serve, directory, open_file_idle=0.6, open_file_age=0.1) as (running, _),
    ):
        client = running.connect()
        get(client, "idle")
        began = time.monotonic()
        while "idle" in kept_open(directory):
            assert time.monotonic() - began < 10
            get(client, "asked%20for")
            time.sleep(0.02)
        assert time.monotonic() - began > 0.5
        assert kept_open(directory) == ["asked for"]
        until = time.monotonic() + 10
        while kept_open(directory):
            assert time.monotonic() < until
            time.sleep(0.02)


# --- what is made of them -------------------------------------------------------------------------


def compressed_bytes(serve: Serve, directory: Path) -> None:
    """So many bytes of compressed files are kept, and an eighth of them of one at most."""
    chance = random.Random(0)
    for number in range(9):
        text = bytes(chance.choices(b"abcdefgh \n", k=20_000))
        (directory / f"{number}.txt").write_bytes(text)
    accept = "Accept-Encoding: gzip"
    with site(serve, directory) as (running, _):
        client = running.connect()
        sizes = [len(get(client, f"{number}.txt", accept)) for number in range(9)]
    most = 8 * (max(sizes) + ENTRY_BYTES)
    largest = sizes.index(max(sizes))
    for bound, kept in ((most, 1), (most - 1, 0)):
        with site(serve, directory, compressed_bytes=bound, open_file_age=60.0) as (running, made):
            client = running.connect()
            encoded = made._mounted[0]._compressed
            for _ in range(2):
                body = get(client, f"{largest}.txt", accept)
                assert gzip.decompress(body) == (directory / f"{largest}.txt").read_bytes()
                assert len(encoded) == kept
            for number in range(9):
                get(client, f"{number}.txt", accept)
                assert encoded.bytes <= bound
            assert _sizes(encoded) <= {size + ENTRY_BYTES for size in sizes}
            assert len(encoded) >= 7


def _sizes(encoded: CompressedCache) -> set[int]:
    return {len(data) + ENTRY_BYTES for data in encoded._kept.values()}


def ranges(serve: Serve, directory: Path) -> None:
    """More of them, and the whole file is the response."""
    (directory / "a").write_bytes(b"0123456789")
    with site(serve, directory, ranges=3) as (running, _):
        client = running.connect()
        response = client.ask("/files/a", "Range: bytes=0-0,3-3,6-6")
        assert response.status == 206
        assert response.body.count(b"Content-Range: bytes ") == 3
        response = client.ask("/files/a", "Range: bytes=0-0,3-3,6-6,8-8")
        assert (response.status, response.body) == (200, b"0123456789")


def archive(client: Client) -> list[str]:
    """The names of the members in the archive of the directory; raises for one that is cut off."""
    response = client.ask("/files/?archive=tar")
    assert response.status == 200, response
    with tarfile.open(fileobj=io.BytesIO(response.body)) as members:
        return [member.name.removeprefix("files/") for member in members]


def archives(serve: Serve, directory: Path) -> None:
    """One client gets a quarter of them; one more is a 503."""
    with open(directory / "large", "wb") as file:
        file.truncate(1 << 30)
    with site(serve, directory, has_upkeep=False, archives=4) as (running, _):
        first, second = running.connect(), running.connect()
        first.send(b"GET /files/?archive=tar HTTP/1.1\r\nHost: t\r\n\r\n")
        first.read_until(b"\r\n\r\n")
        assert second.ask("/files/?archive=tar").status == 503
        first.reset()
        deadline = time.monotonic() + TIMEOUT
        while second.ask("/files/?archive=tar", method="HEAD").status != 200:
            assert time.monotonic() < deadline
        while kept_open(directory):
            assert time.monotonic() < deadline, kept_open(directory)


def archive_depth(serve: Serve, directory: Path) -> None:
    """Directories down to it are there; a deeper one is named in the last member."""
    (directory / "1/2/3").mkdir(parents=True)
    (directory / "1/2/3/deep").touch()
    with site(serve, directory, has_upkeep=False, archive_depth=3) as (running, _):
        assert archive(running.connect()) == ["files", "1", "1/2", "1/2/3", "1/2/3/deep"]
    with site(serve, directory, has_upkeep=False, archive_depth=2) as (running, _):
        assert archive(running.connect()) == ["files", "1", "1/2", "NOT-ARCHIVED.txt"]


def archive_entries(serve: Serve, directory: Path) -> None:
    """An archive of so many is whole; one more, and the connection is reset."""
    for number in range(99):
        (directory / f"{number}").touch()
    with site(serve, directory, has_upkeep=False, archive_entries=100) as (running, _):
        assert len(archive(running.connect())) == 100
        (directory / "one more").touch()
        with pytest.raises(ConnectionResetError):
            archive(running.connect())


def directory_depth(serve: Serve, directory: Path) -> None:
    """So many levels are made; for one more the upload is a 409."""
    with site(serve, directory, directory_depth=2) as (running, _):
        client = running.connect()
        assert client.ask("/files/1/2/a", method="PUT", body=b"x").status == 201
        assert client.ask("/files/b/2/3/a", method="PUT", body=b"x").status == 409
        assert sorted(one.name for one in directory.iterdir()) == ["1"]


def listing_entries(serve: Serve, directory: Path) -> None:
    """The rest is left out, and the page says that it is not all."""
    with site(serve, directory, listing_entries=5) as (running, _):
        client = running.connect()
        for count in range(1, 8):
            (directory / f"file{count}").touch()
            listing = json.loads(client.ask("/files/", "Accept: application/json").body)
            assert len(listing["entries"]) == min(5, count)
            assert listing["complete"] == (count <= 5)
            page = client.ask("/files/").body
            assert page.count(b'href="file') == min(5, count)
            assert (b"This directory has more entries than the 5 shown" in page) == (count > 5)


def listing_page(serve: Serve, directory: Path) -> None:
    """One name more, and there is a second page."""
    with site(serve, directory, listing_page=3) as (running, _):
        client = running.connect()
        for count in range(1, 8):
            (directory / f"file{count}").touch()
            found = [
                json.loads(client.ask(f"/files/?page={page}", "Accept: application/json").body)
                for page in range(1, (count + 2) // 3 + 1)
            ]
            assert [len(one["entries"]) for one in found[:-1]] == [3] * (len(found) - 1)
            assert sum(len(one["entries"]) for one in found) == count
            page = client.ask("/files/?page=2").body
            assert (b"4 to" in page) == (count > 3)


def listing_bytes(serve: Serve, directory: Path) -> None:
    """One client holds an eighth of it in pages; with a byte less its page is refused."""
    for number in range(700):
        (directory / f"{number}{random.Random(number).randbytes(100).hex()}").touch()
    with site(serve, directory) as (running, made):
        (files,) = made._mounted
        assert running.connect().ask("/files/").status == 200
        pages = files._listing.listings.pages
        size = running.call(lambda: pages.bytes)
    for most, status in ((8 * size, 200), (8 * size - 1, 503)):
        with site(serve, directory, listing_bytes=most) as (running, _):
            response = running.connect().ask("/files/")
            assert response.status == status
            assert response.get("retry-after") == ("5" if status == 503 else None)


# --- what comes -----------------------------------------------------------------------------------


def form(heads: list[str]) -> bytes:
    parts = "".join(f"--limit\r\n{head}\r\n\r\nx\r\n" for head in heads)
    return f"{parts}--limit--\r\n".encode()


def post_form(running: Running, heads: list[str]) -> int:
    """The status. A refusal ends its connection, so that each request has its own."""
    content_type = "Content-Type: multipart/form-data; boundary=limit"
    client = running.connect()
    return client.ask("/files/", content_type, method="POST", body=form(heads)).status


def form_parts(serve: Serve, directory: Path) -> None:
    field = 'Content-Disposition: form-data; name="n"'
    with site(serve, directory, form_parts=3) as (running, _):
        for kind in (field, field + '; filename="a"'):
            assert post_form(running, [kind] * 3) < 300
            assert post_form(running, [kind] * 4) == 413


def form_head_bytes(serve: Serve, directory: Path) -> None:
    begin = 'Content-Disposition: form-data; name="n"; filename="a"\r\nX: '
    with site(serve, directory, form_head_bytes=200) as (running, _):
        for size, status in ((200, 201), (201, 413)):
            assert post_form(running, [begin + "x" * (size - len(begin))]) == status
        assert post_form(running, ["X: " + "x" * 5000]) == 413  # without waiting for its end


# --- uploads that can be resumed ------------------------------------------------------------------


class Uploads:
    """Makes them: each begins, and is not complete."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._count = 0

    def begin(self, length: int | None = None, body: bytes = b"") -> str | int:
        """The path of a new one, or the status of the refusal."""
        self._count += 1
        fields = [INTEROP, "Upload-Complete: ?0"]
        if length is not None:
            fields.append(f"Upload-Length: {length}")
        client = self._running.connect()
        path = f"/files/{self._count}"
        response = client.ask(path, *fields, method="POST", body=body)
        while response.status == 104:
            response = client.read_response()
        location = response.get("location")
        if location is None or response.status != 201:
            return response.status
        return f"/files/{location}"

    def append(self, path: str, offset: int, body: bytes, *, complete: bool) -> int:
        media_type = "Content-Type: application/partial-upload"
        state = (f"Upload-Complete: ?{int(complete)}", f"Upload-Offset: {offset}")
        client = self._running.connect()
        response = client.ask(path, media_type, INTEROP, *state, method="PATCH", body=body)
        return response.status

    def ask(self, path: str, method: str) -> int:
        return self._running.connect().ask(path, method=method).status


def resumable_uploads(serve: Serve, directory: Path) -> None:
    """Those that are finished, or given up, make room."""
    with site(serve, directory, resumable_uploads=2) as (running, _):
        uploads = Uploads(running)
        first, second = uploads.begin(body=b"x"), uploads.begin(body=b"x")
        assert isinstance(first, str)
        assert isinstance(second, str)
        assert uploads.begin() == 507
        assert uploads.ask(first, "DELETE") == 204
        assert isinstance(uploads.begin(body=b"x"), str)
        assert uploads.begin() == 507
        assert uploads.append(second, 1, b"whole", complete=True) < 300
        assert isinstance(uploads.begin(body=b"x"), str)
        assert uploads.begin() == 507


def resumable_bytes(serve: Serve, directory: Path) -> None:
    """The bytes that are there count, not the lengths that were announced."""
    with site(serve, directory, resumable_bytes=10_000) as (running, _):
        uploads = Uploads(running)
        assert uploads.begin(length=10_001) == 413  # there will never be room
        first = uploads.begin(length=6000, body=b"x")
        second = uploads.begin(length=6001, body=bytes(6000))
        third = uploads.begin(body=bytes(3999))
        assert isinstance(first, str)
        assert isinstance(second, str)
        assert isinstance(third, str)
        assert uploads.append(third, 3999, b"x", complete=False) == 507
        assert uploads.ask(second, "DELETE") == 204
        assert uploads.append(third, 3999, b"x", complete=False) < 300
        assert uploads.append(first, 1, bytes(5999), complete=True) < 300


def resumable_idle(serve: Serve, directory: Path) -> None:
    """It begins anew with each byte that comes, and matters only where there is no room."""
    with site(serve, directory, resumable_uploads=2, resumable_idle=0.8) as (running, _):
        uploads = Uploads(running)
        kept, left = uploads.begin(body=b"x"), uploads.begin(body=b"x")
        began = time.monotonic()
        assert isinstance(kept, str)
        assert isinstance(left, str)
        count = 1
        while (new := uploads.begin()) == 507:
            assert time.monotonic() - began < 10
            assert uploads.append(kept, count, b"x", complete=False) < 300
            count += 1
            time.sleep(0.05)
        assert time.monotonic() - began > 0.6
        assert isinstance(new, str)
        assert uploads.ask(left, "HEAD") == 404
        assert uploads.append(kept, count, b"end", complete=True) < 300


def resumable_age(serve: Serve, directory: Path) -> None:
    """It begins anew with each byte that comes."""
    with (
        patch("reactor.web.site.upload_mount.EXPIRY_SECONDS", 0.05),
        site(serve, directory, resumable_age=0.8) as (running, _),
    ):
        uploads = Uploads(running)
        kept, left = uploads.begin(body=b"x"), uploads.begin(body=b"x")
        began = time.monotonic()
        assert isinstance(kept, str)
        assert isinstance(left, str)
        count = 1
        while uploads.ask(left, "HEAD") != 404:
            assert time.monotonic() - began < 10
            assert uploads.append(kept, count, b"x", complete=False) < 300
            count += 1
            time.sleep(0.05)
        assert time.monotonic() - began > 0.6
        assert uploads.append(kept, count, b"end", complete=True) < 300
        assert (directory / "1").read_bytes() == b"x" * count + b"end"


FILE_CASES: list[Callable[[Serve, Path], None]] = [
    open_files,
    open_file_age,
    open_file_idle,
    small_file_bytes,
    compressed_bytes,
    ranges,
    archives,
    archive_depth,
    archive_entries,
    listing_entries,
    listing_page,
    listing_bytes,
    form_parts,
    form_head_bytes,
    directory_depth,
    resumable_uploads,
    resumable_bytes,
    resumable_age,
    resumable_idle,
]
