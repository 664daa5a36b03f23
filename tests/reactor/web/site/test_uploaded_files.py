"""Uploaded files, as browsers get them: they cannot act in the server's name."""

import gzip
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from reactor import Limits, Response, file
from reactor.messages.request import BaseRequest
from reactor.testing import Client
from reactor.testing.responses import ClientResponse
from reactor.web.app.application import Application
from reactor.web.middlewares import SecurityHeaders
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site

PAGE = b"<script>document.title = 'run'</script>" * 100
TYPES = [(".mht", "message/rfc822"), ("page", "text/html"), ("license", "image/svg+xml")]
ACTIVE = (
    *("a.html", "a.htm", "a.svg", "a.xml", "a.xhtml", "a.xsl", "a.atom", "a.HTML", "a.mht"),
    *("page", "PAGE", "LICENSE"),
)
INERT = (
    *("a.txt", "a.pdf", "a.png", "a.mp4", "a.js", "a.css", "a.json", "a", "a.unknown"),
    *("a.yml", "a.ts", "a.md", "Makefile", "README"),
)

Served = Callable[..., Client]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "site/up"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def served(directory: Path) -> Iterator[Served]:
    """`served(directory="x")`: a client of the site with this plan."""
    clients: list[Client] = []

    def serve(**plan: Any) -> Client:
        application = plan.pop("application", None)
        plan = {"directory": str(directory), "types": TYPES, **plan}
        site = Site(SiteOptions(**plan), Limits(), application)
        clients.append(Client(site.handler))
        return clients[-1]

    yield serve
    for client in clients:
        client.close()


def policies(response: ClientResponse) -> list[str]:
    return response.headers.get_all("Content-Security-Policy")


def decoded(response: ClientResponse) -> bytes:
    """The content; one in a coding that clients have to ask for is that of a gzip file."""
    coding = response.headers.get("Content-Encoding", "identity")
    return response.content if coding == "identity" else gzip.decompress(response.content)


def is_sandboxed(response: ClientResponse) -> bool:
    return "sandbox" in policies(response)


def test_files_that_browsers_run_are_sandboxed(served: Served) -> None:
    client = served()
    for name in ACTIVE + INERT:
        url = f"/files/{name}"
        assert client.put(url, content=PAGE).status == 201
        for method in ("GET", "HEAD"):
            response = client.request(method, url)
            assert response.status == 200
            assert policies(response) == ["sandbox"] * (name in ACTIVE), name
            assert response.headers.get_all("X-Content-Type-Options") == ["nosniff"]
            assert response.headers["Content-Type"]


@pytest.mark.parametrize("way", ["put", "post", "form", "resumable", "on the disk"])
def test_every_way_to_upload(served: Served, directory: Path, way: str) -> None:
    client = served()
    if way == "form":
        files = {"file": ("a.html", PAGE)}
        assert client.post("/files/", files=files).status == 201
    elif way == "resumable":
        fields = {"Upload-Complete": "?0"}
        begun = client.post("/files/a.html", headers=fields, content=PAGE[:10])
        fields = {"Upload-Complete": "?1", "Upload-Offset": "10"}
        fields["Content-Type"] = "application/partial-upload"
        place = urljoin("/files/", begun.headers["Location"])
        assert client.patch(place, headers=fields, content=PAGE[10:]).status == 201
    elif way == "on the disk":
        (directory / "a.html").write_bytes(PAGE)
    else:
        assert client.request(way.upper(), "/files/a.html", content=PAGE).status == 201
    response = client.get("/files/a.html")
    assert response.content == PAGE
    assert is_sandboxed(response)


def test_every_response_about_a_page_has_the_policy(served: Served) -> None:
    client = served(headers=[("X-Own", "1")])
    client.put("/files/a.html", content=PAGE)
    client.advance(5)
    tag = client.get("/files/a.html", headers={"Accept-Encoding": "identity"}).headers["ETag"]
    for status, fields in (
        (206, {"Range": "bytes=0-9"}),
        (206, {"Range": "bytes=0-9,20-29"}),
        (200, {"Accept-Encoding": "gzip"}),
        (200, {"Accept-Encoding": "identity"}),
        (304, {"Accept-Encoding": "identity", "If-None-Match": tag}),
        (304, {"If-None-Match": "*"}),
        (412, {"If-Match": '"other"'}),
        (416, {"Range": "bytes=9999999-"}),
        (406, {"Accept-Encoding": "identity;q=0, x;q=1, *;q=0"}),
    ):
        for _ in range(2):  # cold, and from the caches
            response = client.get("/files/a.html", headers=fields)
            assert response.status == status, fields
            assert policies(response) == ["sandbox"], fields
            assert response.headers["X-Own"] == "1"
            if status in (200, 206):
                assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_other_policies_are_added_and_replace_none(served: Served) -> None:
    theirs = "default-src *"
    client = served(headers=[("Content-Security-Policy", theirs)])
    client.put("/files/a.html", content=PAGE)
    assert sorted(policies(client.get("/files/a.html"))) == [theirs, "sandbox"]
    ours, added = policies(client.get("/files/"))  # the listing
    assert added == theirs
    assert "default-src 'none'" in ours
    for path in ("/files/none", "/files"):  # pages of the server's own
        assert policies(client.get(path)) == [theirs]
    app = Application(SecurityHeaders(content_security_policy=theirs))
    app.takes_mounts = True
    client = served(application=app)
    assert is_sandboxed(client.get("/files/a.html"))
    assert "default-src 'none'" in policies(client.get("/files/"))[0]


@pytest.mark.parametrize("name", ["a.js", "a.html", "a.txt", "none.js", "", "sub/none.js"])
def test_no_upload_is_the_script_of_a_service_worker(served: Served, name: str) -> None:
    client = served()
    for made in ("a.js", "a.html", "a.txt"):
        client.put(f"/files/{made}", content=b"// script")
    for field in ("Service-Worker", "service-worker"):
        for fields in ({}, {"If-None-Match": "*"}, {"Range": "bytes=0-1"}):
            for _ in range(2):
                response = client.get(f"/files/{name}", headers={field: "script", **fields})
                assert response.status == 403
                assert response.text == (
                    "An uploaded file cannot be the script of a service worker.\n"
                )
    assert client.get("/files/a.js").status == 200


@pytest.mark.parametrize("listing", [True, False])
def test_an_uploaded_index_is_a_file_like_another(
    served: Served, directory: Path, listing: bool
) -> None:
    (directory / "sub").mkdir()
    client = served(listing=listing)
    for path in ("/files/", "/files/sub/"):
        assert client.put(f"{path}index.html", content=PAGE).status == 201
        for _ in range(2):
            response = client.get(path)
            assert response.status == (200 if listing else 404)
            assert PAGE not in response.content
        response = client.get(f"{path}index.html")
        assert response.content == PAGE
        assert is_sandboxed(response)
        assert client.get(path).status == (200 if listing else 404)


@pytest.mark.parametrize("ending", ["gz", "br", "zst"])
def test_uploaded_siblings_are_files_like_others(served: Served, ending: str) -> None:
    client = served()
    client.put("/files/page.html", content=b"page" * 1000)
    data = gzip.compress(b"evil" * 1000, mtime=0)
    client.put(f"/files/page.html.{ending}", content=data)
    client.advance(5)
    for coding in ("gzip", "br", "zstd", "gzip, br, zstd", "identity;q=0, *", "br;q=1, *;q=0"):
        response = client.get("/files/page.html", headers={"Accept-Encoding": coding})
        if response.status == 200:
            assert decoded(response) == b"page" * 1000
        else:
            assert response.status == 406
    assert client.get(f"/files/page.html.{ending}").content == data


def test_uploads_may_be_trusted(
    served: Served, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        client = served(trust_uploads=True)
    assert caplog.messages == [
        "--trust-uploads: what clients upload runs script in this server's name"
    ]
    client.put("/files/index.html", content=PAGE)
    client.put("/files/page.html.gz", content=gzip.compress(b"sibling"))
    assert client.get("/files/").content == PAGE
    for name in ("", "index.html"):
        response = client.get(f"/files/{name}", headers={"Service-Worker": "script"})
        assert response.status == 200
        assert policies(response) == []
    (directory / "page.html").write_bytes(b"plain")
    (directory / "page.html.gz").touch()
    response = client.get("/files/page.html", headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"


def test_a_directory_that_takes_no_uploads_is_trusted(served: Served, directory: Path) -> None:
    (directory / "index.html").write_bytes(PAGE)
    client = served(uploads=False)
    assert client.get("/files/").content == PAGE
    assert policies(client.get("/files/index.html")) == []


# --- directories that overlap --------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "sub"])
def test_a_mount_in_the_directory_of_uploads(
    served: Served, directory: Path, below: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The same file at another prefix, which takes no uploads itself."""
    (directory / "sub").mkdir()
    client = served(static=[("/", str(directory / below))])
    assert "Clients can upload files to the directory at /:" in caplog.text
    prefix = f"/files/{below}/".replace("//", "/")
    for name in ("a.html", "index.html", "b.js"):
        client.put(prefix + name, content=PAGE)
    for name in ("a.html", "index.html"):
        assert is_sandboxed(client.get(f"/{name}"))
    assert PAGE not in client.get("/").content
    assert client.get("/b.js", headers={"Service-Worker": "script"}).status == 403


def test_a_mount_around_the_directory_of_uploads(
    served: Served, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    around = directory.parent
    (around / "index.html").write_bytes(PAGE)
    (around / "mine.html").write_bytes(b"mine" * 1000)
    (around / "mine.html.gz").write_bytes(gzip.compress(b"mine" * 1000))
    (around / "link").symlink_to("up")
    (around / "worker.js").touch()
    (directory / "sub").mkdir()
    client = served(static=[("/", str(around))])
    assert caplog.messages == []
    for name in ("a.html", "index.html", "sub/index.html", "b.js", "b.html"):
        client.put(f"/files/{name}", content=PAGE)
    client.put("/files/b.html.gz", content=gzip.compress(b"evil"))
    for _ in range(2):
        assert client.get("/").content == PAGE
        assert policies(client.get("/")) == []
        response = client.get("/mine.html", headers={"Accept-Encoding": "gzip"})
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["ETag"]
        assert client.get("/worker.js", headers={"Service-Worker": "script"}).status == 200
        for name in ("up/a.html", "up/index.html", "link/a.html", "link/sub/index.html"):
            assert is_sandboxed(client.get(f"/{name}"))
        for name in ("up/", "link/", "up/sub/", "link/sub/"):
            assert PAGE not in client.get(f"/{name}").content
        for name in ("up/b.js", "link/b.js"):
            fields = {"Service-Worker": "script"}
            assert client.get(f"/{name}", headers=fields).status == 403
        for name in ("up/b.html", "link/b.html"):
            fields = {"Accept-Encoding": "gzip"}
            assert decoded(client.get(f"/{name}", headers=fields)) == PAGE


def test_links_to_uploads(served: Served, directory: Path) -> None:
    around = directory.parent
    (around / "page.html").symlink_to("up/a.html")
    (around / "mine.html").write_bytes(b"mine" * 1000)
    (around / "mine.html.gz").symlink_to("up/evil.gz")
    (around / "index.html").symlink_to("up/a.html")
    client = served(static=[("/", str(around))])
    client.put("/files/a.html", content=PAGE)
    client.put("/files/evil.gz", content=gzip.compress(b"evil"))
    assert is_sandboxed(client.get("/page.html"))
    assert PAGE not in client.get("/").content
    response = client.get("/mine.html", headers={"Accept-Encoding": "gzip"})
    assert decoded(response) == b"mine" * 1000


def test_one_file_beside_uploads(served: Served, directory: Path) -> None:
    (directory / "page.html").write_bytes(PAGE)
    (directory.parent / "mine.html").write_bytes(PAGE)
    client = served(static=[("/", str(directory / "page.html"))])
    assert is_sandboxed(client.get("/page.html"))
    client = served(static=[("/", str(directory.parent / "mine.html"))])
    assert policies(client.get("/mine.html")) == []


# --- applications --------------------------------------------------------------------------------


def test_the_static_files_of_an_application(directory: Path) -> None:
    (directory / "index.html").write_bytes(PAGE)
    (directory / "a.txt").touch()
    app = Application()
    app.static("/mine", directory)
    app.static("/theirs", directory, trusted=False, listing=True)
    with Client(app) as client:
        assert policies(client.get("/mine/index.html")) == []
        assert client.get("/mine/").content == PAGE
        fields = {"Service-Worker": "script"}
        assert client.get("/mine/a.txt", headers=fields).status == 200
        assert is_sandboxed(client.get("/theirs/index.html"))
        assert PAGE not in client.get("/theirs/").content
        assert client.get("/theirs/a.txt", headers=fields).status == 403
        assert policies(client.get("/theirs/a.txt")) == []


def test_content_types_among_the_fields_of_a_mount_count(directory: Path) -> None:
    (directory / "a.txt").touch()
    app = Application()
    app.static("/x", directory, trusted=False, headers=[("content-type", "text/html")])
    with Client(app) as client:
        assert is_sandboxed(client.get("/x/a.txt"))


def test_one_uploaded_file(directory: Path) -> None:
    (directory / "a.html").write_bytes(PAGE)
    (directory / "a.txt").touch()
    app = Application()

    @app.get("/{name}")
    async def get(request: BaseRequest, name: str) -> Response:
        return await file(request, directory / name, trusted=request.query != "theirs")

    with Client(app) as client:
        assert policies(client.get("/a.html")) == []
        response = client.get("/a.html?theirs")
        assert is_sandboxed(response)
        for fields, status in (
            ({"Range": "bytes=0-1"}, 206),
            ({"If-None-Match": response.headers["ETag"]}, 304),
        ):
            found = client.get("/a.html?theirs", headers=fields)
            assert (found.status, policies(found)) == (status, ["sandbox"])
        assert policies(client.get("/a.txt?theirs")) == []
        fields = {"Service-Worker": "script"}
        assert client.get("/a.txt", headers=fields).status == 200
        assert client.get("/a.txt?theirs", headers=fields).status == 403
