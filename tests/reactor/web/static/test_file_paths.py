"""Spellings of the path of a file, through the router: what they lead to, and what they do not."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from reactor import Limits
from reactor.testing import Client as InProcess
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.endpoint import Endpoint, ResponseOrAwaitable, before_only
from reactor.web.middlewares import BasicAuth
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from tests.conftest import Serve
from tests.support.raw_client import Client

SECRET = "secret"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    for name in ("sub/deep", ".well-known/acme-challenge", ".git", "private", "sub/.well-known"):
        (site / name).mkdir(parents=True)
    for name in ("a.txt", "sub/a.txt", "sub/deep/a.txt", ".well-known/acme-challenge/token"):
        (site / name).write_text(name)
    for name in (".git/config", "private/a.txt", "../outside.txt", "sub/.well-known/token"):
        (site / name).write_text(SECRET)
    (site / "sub" / "up").symlink_to("../..")
    (site / "known").symlink_to(".well-known")
    (site / "git").symlink_to(".git")
    (site / "back\\slash").write_text("backslash")
    (site / "sub" / "..\\a.txt").write_text(SECRET)
    Path(os.fsdecode(os.fsencode(site) + b"/latin\xe9")).write_text("latin")
    return site


@pytest.fixture
def client(serve: Serve, site: Path) -> Iterator[Client]:
    """The site at /, its copy with uploads at /files/."""
    (site.parent / "up" / "d").mkdir(parents=True)
    options = SiteOptions(
        static=[("/", str(site))], directory=str(site.parent / "up"), uploads=True, deletes=True
    )
    made = Site(options, Limits())
    running = serve(made.handler)
    yield running.connect()
    for files in made._mounted:
        running.call(files._open.close)


FOUND = {
    "/a.txt": "a.txt",
    "/./a.txt": "a.txt",
    "//a.txt": "a.txt",
    "///././/a.txt": "a.txt",
    "/sub/./a.txt": "sub/a.txt",
    "/sub//a.txt": "sub/a.txt",
    "/sub/../a.txt": "a.txt",
    "/sub/deep/../../a.txt": "a.txt",
    "/nothing/../a.txt": "a.txt",
    "/sub/%2e%2E/%61.txt": "a.txt",
    "/sub//../a.txt": "sub/a.txt",  # as a client sends it that removes dot segments
    "/.well-known/acme-challenge/token": ".well-known/acme-challenge/token",
    "/%2Ewell-known/./acme-challenge//token": ".well-known/acme-challenge/token",
    "/known/acme-challenge/token": ".well-known/acme-challenge/token",
    "/back%5cslash": "backslash",
    "/latin%E9": "latin",
    "/sub/../latin%e9": "latin",
    "/" + "./" * 1000 + "a.txt": "a.txt",
}
MISSING = (
    *("/../outside.txt", "/%2e%2e/outside.txt", "/..%2foutside.txt", "/..%2Foutside.txt"),
    *("/sub/../../outside.txt", "/sub/..%2f..%2foutside.txt", "/sub/up/outside.txt"),
    *("/..%5coutside.txt", "/sub/..%5ca.txt", "/%2e%2e%5coutside.txt"),
    *("/%c0%ae%c0%ae/outside.txt", "/%c0%ae%c0%ae%c0%afoutside.txt", "/%e0%80%ae./outside.txt"),
    *("/a.txt%00", "/%00", "/a.txt/", "/a.txt/.", "/sub%2fa.txt", "/%252e%252e/outside.txt"),
    *("/.git/config", "/./.git/config", "/%2egit/config", "/git/config", "/sub/../.git/config"),
    *("/sub/.well-known/token", "/.well-known/../../outside.txt", "/.Well-Known/x", "/..."),
    *("/files/../a.txt", "/files/%2e%2e/a.txt", "/files/d/../../a.txt", "/%ff", "/sub/%ff/a.txt"),
)


@pytest.mark.system
def test_every_spelling_of_a_file(client: Client) -> None:
    for path, content in FOUND.items():
        response = client.ask(path)
        assert (response.status, response.body) == (200, content.encode()), path
        assert client.ask(path, method="HEAD").status == 200
    for path in MISSING:
        response = client.ask(path)
        assert (response.status, SECRET.encode() in response.body) == (404, False), path
    assert client.ask("/a%zz").status == 400


@pytest.mark.system
def test_listings_at_every_spelling(client: Client) -> None:
    """Each link leads to its entry, also from a path with empty segments."""
    for path, above in (
        ("/sub/deep/", ["../../", "../"]),
        ("//sub//deep//", ["../../../../../", "../../../../../sub/"]),
        ("/sub/./deep/.", ["../../", "../"]),
        ("/sub/deep/../deep/", ["../../", "../"]),
    ):
        listed = client.ask(path, "Accept: application/json")
        assert (listed.status, json.loads(listed.body)["path"]) == (200, "/sub/deep/"), path
        page = client.ask(path).body.decode()
        for link in above:
            assert f'href="{link}"' in page, path
            assert urljoin(f"http://h{path}", link) in ("http://h/", "http://h/sub/")
        assert client.ask(path + ("/" if path[-1] == "." else "") + "a.txt").body
    response = client.ask("//sub")
    assert (response.status, response.get("location")) == (301, "../sub/")


@pytest.mark.system
def test_uploads_take_the_resolved_name(client: Client, site: Path) -> None:
    up = site.parent / "up"
    for path in ("/files/./d//x", "/files/d/../d/x", "//files/d/%2e/x", "/files/d/x"):
        assert client.ask(path, method="PUT", body=path.encode()).status in (201, 204), path
        assert [one.name for one in (up / "d").iterdir()] == ["x"]
        assert (up / "d" / "x").read_text() == path
    refused = client.ask("/files//d/./x", "If-None-Match: *", method="PUT", body=b"")
    assert refused.status == 412
    assert client.ask("/files/d/./x", method="DELETE").status == 204
    assert list((up / "d").iterdir()) == []


@pytest.mark.system
def test_uploads_that_no_spelling_reaches(client: Client, site: Path) -> None:
    """Above all, a client must not store what proves that the host is its own (RFC 8555)."""
    (site.parent / "up" / ".well-known").mkdir()
    (site.parent / "up" / ".well-known" / "t").write_text("t")
    before = sorted(site.parent.rglob("*"))
    for name in (
        *(".well-known/x", "./.well-known/x", "%2ewell-known/x", "d/../.well-known/x"),
        *(
            "../x",
            "%2e%2e/x",
            "d/../../x",
            "..%2fx",
            "a%5cb",
            "%ff",
            "%00",
            "d%00",
            ".x",
            "d/%2e%2ex",
        ),
    ):
        for method in ("PUT", "POST", "DELETE"):
            body = b"" if method == "DELETE" else b"x"
            assert client.ask(f"/files/{name}", method=method, body=body).status == 404, name
    assert client.ask("/files/.well-known/t", method="DELETE").status == 404
    assert client.ask("/files/.well-known/t").body == b"t"
    assert sorted(site.parent.rglob("*")) == before


@pytest.mark.system
def test_every_name_that_is_listed_can_be_deleted(client: Client, site: Path) -> None:
    up = os.fsencode(site.parent / "up")
    for name in (b"l\xe9", b"a\\b", b"C:", b"%41"):
        Path(os.fsdecode(up + b"/" + name)).write_text("x")
    listed = json.loads(client.ask("/files/", "Accept: application/json").body)
    links = [one["href"] for one in listed["entries"] if one["type"] == "file"]
    assert len(links) == 4
    for link in links:
        assert client.ask(f"/files/{link}").body == b"x"
        assert client.ask(f"/files/{link}", method="DELETE").status == 204
    assert [one.name for one in (site.parent / "up").iterdir()] == ["d"]


@pytest.mark.system
def test_no_spelling_of_a_file_passes_a_guard(serve: Serve, site: Path) -> None:
    """A directory at / contains what a guarded group serves, and a middleware looks at the path."""

    @before_only
    def look(request: Request, next: Endpoint) -> ResponseOrAwaitable:
        seen.append(request.path)
        return next(request)

    seen: list[str] = []
    inner, app = Application(BasicAuth({"ann": "secret"}, realm="guard")), Application(look)
    inner.static("", site / "private")
    app.mount("/private", inner)
    app.static("", site)
    running = serve(app)
    client = running.connect()
    for path in (
        *("/private/a.txt", "//private/a.txt", "/./private/a.txt", "/sub/../private/a.txt"),
        *("/private//a.txt", "/private/./a.txt", "/%70rivate/a.txt", "/%2e/private/a.txt"),
        *("/x/%2e%2e/private/./a.txt", "//private/nothing", "/./private/"),
    ):
        for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
            assert client.ask(path, method=method).status == 401, (method, path)
    assert all(one.startswith("/private/") for one in seen)
    assert client.ask("/sub/./a.txt").status == 200
    for files in app._static.values():
        if files._files is not None:
            running.call(files._files._open.close)


def test_a_mount_with_a_parameter(site: Path) -> None:
    app, inner = Application(), Application()
    inner.static("/the files", site, listing=True)
    app.mount("/{tenant}", inner)
    with InProcess(app) as client:
        for tenant in ("acme", "a%20c%2Fm%C3%A9"):
            path = f"/{tenant}/the%20files"
            response = client.get(f"{path}/sub")
            assert (response.status, response.headers["Location"]) == (301, "sub/")
            assert client.get(f"{path}/sub", follow_redirects=True).status == 200
            listed = client.get(f"{path}/sub/", headers={"Accept": "application/json"}).json()
            assert listed["path"] == f"/{'acme' if tenant == 'acme' else 'a c/mé'}/the files/sub/"
            assert "the files</" in client.get(f"{path}/sub/").text


# --- behind a proxy that removes a prefix --------------------------------------------------------


class StrippingProxy:
    """Forwards each connection's first request without the prefix of its path, as a proxy may."""

    def __init__(self, address: tuple[str, int], prefix: bytes) -> None:
        self._address = address
        self._prefix = prefix
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            client, _ = self._listener.accept()
            with client, socket.create_connection(self._address) as server:
                data = client.recv(65536)
                if not data:
                    return
                server.sendall(data.replace(b" " + self._prefix, b" ", 1))
                server.shutdown(socket.SHUT_WR)
                while piece := server.recv(65536):
                    client.sendall(piece)

    def ask(
        self, method: str, path: str, *fields: str, body: bytes = b""
    ) -> tuple[int, str, bytes]:
        """Status, the path that the Location leads to, body."""
        lines = [f"{method} {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *fields]
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode()
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(head + body)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        head_text, _, content = received.decode("latin-1").partition("\r\n\r\n")
        found = [line[10:] for line in head_text.split("\r\n") if line.startswith("Location: ")]
        location = urlsplit(urljoin(f"http://h{path}", found[0])).path if found else ""
        return int(head_text[9:12]), location, content.encode("latin-1")

    def close(self) -> None:
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()


@pytest.mark.plain
@pytest.mark.system
def test_every_location_is_right_behind_a_proxy_that_removes_a_prefix(
    serve: Serve, site: Path
) -> None:
    (site.parent / "up" / "d").mkdir(parents=True)
    options = SiteOptions(
        static=[("/", str(site))], directory=str(site.parent / "up"), uploads=True, deletes=True
    )
    made = Site(options, Limits())
    running = serve(made.handler)
    proxy = StrippingProxy(running.address, b"/team/a")
    try:
        for path in ("/sub", "/files", "/files/d"):
            assert proxy.ask("GET", f"/team/a{path}")[:2] == (301, f"/team/a{path}/")
            assert proxy.ask("GET", f"/team/a{path}/")[0] == 200
        put = proxy.ask("PUT", "/team/a/files/d/x", body=b"x")
        assert put[:2] == (201, "/team/a/files/d/x")
        form = b'--b\r\nContent-Disposition: form-data; name=f; filename="y"\r\n\r\ny\r\n--b--\r\n'
        kind = ("Content-Type: multipart/form-data; boundary=b", "Accept: text/html")
        posted = proxy.ask("POST", "/team/a/files/d/", *kind, body=form)
        assert posted[:2] == (303, "/team/a/files/d/")
        begun = proxy.ask("PUT", "/team/a/files/d/z", "Upload-Complete: ?0", body=b"abc")
        assert begun[0] == 201
        assert begun[1].startswith("/team/a/files/.uploads/")
        rest = ("Upload-Complete: ?1", "Upload-Offset: 3")
        part = "Content-Type: application/partial-upload"
        ended = proxy.ask("PATCH", begun[1], *rest, part, body=b"def")
        assert ended[:2] == (201, "/team/a/files/d/z")
        assert proxy.ask("HEAD", begun[1])[:2] == (204, "/team/a/files/d/z")
        assert proxy.ask("GET", "/team/a/files/d/z")[2] == b"abcdef"
    finally:
        proxy.close()
        for files in made._mounted:
            running.call(files._open.close)
