"""`?archive=tar` of a directory: the response, its limits, and clients that leave."""

import io
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from reactor import Limits
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.middlewares import Compression
from reactor.web.semantics.media_types import media_types
from reactor.web.static.archive import asks_for_archive
from reactor.web.static.archive_reader import ArchiveReader
from reactor.web.static.file_server import FileServer, Mount
from tests.conftest import Serve
from tests.support.raw_client import Client as RawClient

pytestmark = pytest.mark.timeout(120)

SIZE = 40_000_000  # more than the buffers of two sockets take


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "sub/deep").mkdir(parents=True)
    (site / "sub/a.txt").write_bytes(b"a" * 1000)
    (site / "sub/deep/\u00fc.txt").write_bytes(b"u")
    (site / "page").mkdir()
    (site / "page/index.html").write_bytes(b"<p>index")
    return site


def file_server(site: Path, limits: Limits | None = None, **options: Any) -> FileServer:
    options = {"media_type": media_types({}), **options}
    return FileServer(Mount(directory=str(site), **options), limits or Limits())


def application(files: FileServer, *middlewares: Any) -> Application:
    app = Application(*middlewares)
    for method in ("GET", "HEAD"):
        app.add(method, "/files/{name:names}", files.get)
    return app


@pytest.fixture
def files(site: Path) -> FileServer:
    return file_server(site)


@pytest.fixture
def client(files: FileServer) -> Client:
    return Client(application(files))


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as opened:
        return sorted(opened.getnames())


@pytest.mark.usefixtures("closes_files")
def test_a_directory(client: Client, files: FileServer) -> None:
    response = client.get("/files/sub/?archive=tar")
    assert response.status == 200
    assert names(response.content) == ["sub", "sub/a.txt", "sub/deep", "sub/deep/\u00fc.txt"]
    assert response.headers["Content-Type"] == "application/x-tar"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Disposition"] == 'attachment; filename="sub.tar"'
    for absent in ("ETag", "Last-Modified", "Content-Length", "Content-Encoding"):
        assert absent not in response.headers
    assert files._archives.reading == 0


def test_the_directory_of_the_mount(client: Client, site: Path) -> None:
    response = client.get("/files/?archive=tar")
    assert "files/sub/a.txt" in names(response.content)
    app = Application()
    app.static("", site, listing=True)
    response = Client(app).get("/?archive=tar")
    assert "archive/sub/a.txt" in names(response.content)
    assert response.headers["Content-Disposition"] == 'attachment; filename="archive.tar"'


def test_a_name_beyond_ascii(client: Client, site: Path) -> None:
    (site / '\u00fc "x"').mkdir()
    response = client.get("/files/%C3%BC%20%22x%22/?archive=tar")
    assert names(response.content) == ['\u00fc "x"']
    assert response.headers["Content-Disposition"] == (
        "attachment; filename=\"_ _x_.tar\"; filename*=UTF-8''%C3%BC%20%22x%22.tar"
    )


def test_head_has_the_fields_and_reads_nothing(
    client: Client, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = client.get("/files/sub/?archive=tar")
    with monkeypatch.context() as patch:
        patch.setattr(ArchiveReader, "read", lambda self: pytest.fail("it reads"))
        head = client.head("/files/sub/?archive=tar")
    assert (head.status, head.content) == (200, b"")
    ignored = {"date", "transfer-encoding"}
    assert [one for one in head.headers.items() if one[0].lower() not in ignored] == [
        one for one in got.headers.items() if one[0].lower() not in ignored
    ]
    assert files._archives.reading == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(("none/?archive=tar", 404), ("sub/a.txt/?archive=tar", 404), (".git/?archive=tar", 404)),
        *(("sub/?archive=zip", 400), ("sub/?archive=", 400), ("sub?archive=tar", 301)),
    ],
)
def test_paths_that_have_no_archive(client: Client, path: str, status: int) -> None:
    for method in ("GET", "HEAD"):
        assert client.request(method, f"/files/{path}", follow_redirects=False).status == status


def test_an_index_and_a_file_stay_what_they_are(site: Path) -> None:
    client = Client(application(file_server(site)))
    assert client.get("/files/page/?archive=tar").content == b"<p>index"
    assert client.get("/files/sub/a.txt?archive=tar").content == b"a" * 1000
    assert "text/html" in client.get("/files/sub/?archives=tar").headers["Content-Type"]


def test_no_listing_no_archive(site: Path) -> None:
    client = Client(application(file_server(site, listing=False)))
    assert client.get("/files/sub/?archive=tar").status == 404


@pytest.mark.parametrize(
    "fields",
    [{"Range": "bytes=0-9"}, {"If-None-Match": "*"}, {"Accept-Encoding": "gzip, zstd"}],
)
def test_it_has_no_ranges_nor_conditions_nor_codings(
    files: FileServer, fields: dict[str, str]
) -> None:
    for app in (application(files), application(files, Compression())):
        response = Client(app).get("/files/sub/?archive=tar", headers=fields)
        assert response.status == 200
        assert names(response.content)[0] == "sub"


def test_fields_of_the_operator(site: Path) -> None:
    theirs = [("X-Own", "1"), ("Cache-Control", "no-store"), ("Content-Type", "text/html")]
    client = Client(application(file_server(site, headers=theirs)))
    response = client.get("/files/sub/?archive=tar")
    assert response.headers["X-Own"] == "1"
    assert response.headers.get_all("Cache-Control") == ["no-store"]
    assert response.headers.get_all("Content-Type") == ["application/x-tar"]
    assert client.get("/files/sub/?archive=zip").headers["X-Own"] == "1"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        *(("", False), ("archive", False), ("archives=tar", False), ("x=archive=tar", False)),
        *(("archive=tar", True), ("sort=size&archive=tar", True), ("archive=tar&page=2", True)),
    ],
)
def test_queries(query: str, expected: bool) -> None:
    assert asks_for_archive(query) is expected


# --- on sockets ----------------------------------------------------------------------------------


def begin(client: RawClient, path: str = "/files/sub/?archive=tar") -> None:
    client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    client.read_until(b"\r\n\r\n")


def large(site: Path) -> None:
    with open(site / "sub/large", "wb") as file:
        file.truncate(SIZE)


@pytest.mark.system
@pytest.mark.usefixtures("closes_files")
def test_clients_that_leave_early_leave_nothing(serve: Serve, site: Path) -> None:
    large(site)
    files = file_server(site)
    running = serve(application(files))
    first, second = running.connect(), running.connect()
    begin(first)
    begin(second)
    assert files._archives.reading == 2
    third = running.connect()
    refused = third.ask("/files/sub/?archive=tar")  # a quarter of eight are there already
    assert (refused.status, refused.get("retry-after")) == (503, "5")
    assert third.ask("/files/sub/?archive=tar", method="HEAD").status == 503
    assert third.ask("/files/sub/").status == 200  # others are served
    first.reset()
    second.close()
    running.wait_until(lambda: files._archives.reading == 0)
    assert third.ask("/files/sub/deep/?archive=tar").status == 200
    assert files._archives.reading == 0


@pytest.mark.system
@pytest.mark.usefixtures("closes_files")
def test_an_archive_that_cannot_be_completed_looks_cut_off(serve: Serve, site: Path) -> None:
    large(site)
    files = file_server(site)
    running = serve(application(files))
    client = running.connect()
    begin(client)
    client.read_exactly(1_000_000)  # the header of the large file is among them
    os.truncate(site / "sub/large", 1000)
    with pytest.raises(ConnectionResetError):
        while client.socket.recv(1 << 20):
            pass
    running.wait_until(lambda: files._archives.reading == 0)


@pytest.mark.system
@pytest.mark.usefixtures("closes_files")
@pytest.mark.skipif(shutil.which("tar") is None, reason="needs the tar command")
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_ten_thousand_files_by_the_tar_command(serve: Serve, site: Path, version: str) -> None:
    count = 10_000 if version == "1.1" else 100
    (site / "many").mkdir()
    for number in range(count):
        (site / f"many/{number}").write_bytes(b"%d" % number)
    client = serve(application(file_server(site))).connect()
    response = client.ask("/files/many/?archive=tar", version=version)
    assert response.status == 200
    done = subprocess.run(["tar", "tf", "-"], input=response.body, capture_output=True, check=True)
    assert len(done.stdout.splitlines()) == 1 + count


@pytest.mark.system
@pytest.mark.usefixtures("closes_files")
def test_a_slow_reader_holds_no_thread_and_little_memory(serve: Serve, site: Path) -> None:
    """Pieces are made as they are read: a client that reads nothing costs nothing more."""
    large(site)
    reads: list[int] = []
    real = ArchiveReader.read

    def counted(self: ArchiveReader) -> tuple[bytes, bool]:
        piece = real(self)
        reads.append(len(piece[0]))
        return piece

    ArchiveReader.read = counted  # type: ignore[method-assign]
    try:
        running = serve(application(file_server(site)))
        slow, other = running.connect(), running.connect()
        begin(slow)
        for _ in range(20):
            assert other.ask("/files/sub/").status == 200
        before = -1
        while before != len(reads):  # until the buffers of the kernel are full
            before = len(reads)
            time.sleep(0.2)
        assert sum(reads) < SIZE
    finally:
        ArchiveReader.read = real  # type: ignore[method-assign]
