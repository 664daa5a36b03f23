"""The site: mounts, an application, and the paths that they leave to each other."""

import os
import threading
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from handlers.app import make_app
from reactor import Future, Limits, Response, Server
from reactor.messages.request import BaseRequest
from reactor.testing import Client as InProcess
from reactor.web.app.application import Application
from reactor.web.site.opening import SiteError
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from reactor.web.site.upload_mount import EXPIRY_SECONDS
from reactor.web.static.mount import IDLE_SECONDS
from tests.conftest import Running, Serve
from tests.support.coroutine_driver import Play, Stage, open_descriptors
from tests.support.raw_client import Client, RawResponse, request

pytestmark = pytest.mark.system


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Files to serve; there is a secret beside the root."""
    (tmp_path / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "hello.txt").write_bytes(b"hello")
    (root / "index.html").write_bytes(b"<p>index")
    (root / "sub/page.html").write_bytes(b"<p>page")
    (root / "sub/data").write_bytes(b"data")
    return root


class Run(Protocol):
    def __call__(self, **plan: Any) -> Running: ...


class Start(Protocol):
    def __call__(self, **plan: Any) -> Client: ...


@pytest.fixture
def run(serve: Serve) -> Iterator[Run]:
    """`run(directory="x")`: a server of the site with this plan."""
    running: list[tuple[Running, Site]] = []

    def run_one(**plan: Any) -> Running:
        application = plan.pop("application", None)
        site = Site(SiteOptions(**plan), Limits(), application)
        running.append((serve(site.handler), site))
        return running[-1][0]

    yield run_one
    for one, site in running:  # open files count as left over
        for files in site._mounted:
            one.call(files._open.close)


@pytest.fixture
def start(run: Run) -> Start:
    """`start(directory="x")`: a client of such a server."""
    return lambda **plan: run(**plan).connect()


def echo(request: BaseRequest) -> Response:
    return Response(200, f"app: {request.method} {request.target}".encode())


def from_application(response: RawResponse) -> bool:
    return response.status == 200 and response.body.startswith(b"app: ")


# --- an application that takes mounts ------------------------------------------------------------


def test_without_anything_there_is_the_application_and_no_files(start: Start) -> None:
    client = start(application=make_app())
    assert client.ask("/").status == 200
    assert client.ask("/echo/x").body == b"x"
    for path in ("/files", "/files/", "/files/x"):
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            assert client.ask(path, method=method, body=b"x").status == 404
            client = start(application=make_app())  # an unread body ends the connection


def test_files_are_routes_of_an_application_that_takes_them(start: Start, root: Path) -> None:
    client = start(directory=str(root), application=make_app())
    allowed = client.ask("*", method="OPTIONS").get("allow")
    assert set((allowed or "").split(", ")) == {
        "GET",
        "HEAD",
        "OPTIONS",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
    }
    assert client.ask("/echo/x").body == b"x"
    assert client.ask("/files/hello.txt").body == b"hello"
    assert client.ask("/files/nothing").status == 404
    assert client.ask("/files/new", method="POST", body=b"new").status == 201
    assert (root / "new").read_bytes() == b"new"
    assert client.ask("/files/new").body == b"new"
    assert client.ask("/files/new", method="PUT", body=b"newer").status == 204
    assert client.ask("/files/new").body == b"newer"


def test_nothing_stands_beside_a_static_mount(start: Start, root: Path) -> None:
    client = start(static=[("/x/", str(root))])
    for path in ("/", "/echo/x", "/user-agent", "/files/", "/files/hello.txt"):
        assert client.ask(path).status == 404
    assert client.ask("/x/hello.txt").body == b"hello"


# --- uploads at the root -------------------------------------------------------------------------


def test_a_directory_at_the_root_takes_uploads(start: Start, root: Path) -> None:
    client = start(directory=str(root), prefix="/", deletes=True)
    assert client.ask("/hello.txt").body == b"hello"
    response = client.ask("/new", method="PUT", body=b"new")
    assert (response.status, response.get("location")) == (201, "new")
    assert (root / "new").read_bytes() == client.ask("/new").body == b"new"
    assert client.ask("/sub/new", method="POST", body=b"newer").status == 201
    assert client.ask("/new", method="DELETE").status == 204
    assert b'type="file"' in client.ask("/", "Accept: text/html").body
    allowed = client.ask("/new", method="OPTIONS")
    assert allowed.get("allow") == "DELETE, GET, HEAD, OPTIONS, POST, PUT"
    assert allowed.get("accept-patch") == "application/partial-upload"
    for path in ("/../secret", "/%2e%2e/secret", "/.hidden", "/.uploads/x"):
        assert client.ask(path, method="PUT", body=b"x").status in (404, 405)
        client = start(directory=str(root), prefix="/", deletes=True)


def test_a_form_at_the_root(start: Start, root: Path) -> None:
    client = start(directory=str(root), prefix="/")
    form = (
        b"--b\r\nContent-Disposition: form-data; name=file; filename=of-form\r\n\r\nx\r\n--b--\r\n"
    )
    kind = "Content-Type: multipart/form-data; boundary=b"
    response = client.ask("/", kind, "Accept: text/html", method="POST", body=form)
    assert response.status == 303
    assert (root / "of-form").read_bytes() == b"x"


def test_an_upload_at_the_root_can_be_resumed(start: Start, root: Path) -> None:
    client = start(directory=str(root), prefix="/")
    response = client.ask("/big", "Upload-Complete: ?0", method="PUT", body=b"12345")
    assert response.status == 201
    resource = f"/{response.get('location')}"
    assert resource.startswith("/.uploads/")
    assert client.ask(resource, method="HEAD").get("upload-offset") == "5"
    fields = ("Upload-Offset: 5", "Upload-Complete: ?1", "Content-Type: application/partial-upload")
    assert client.ask(resource, *fields, method="PATCH", body=b"678").status in (201, 204)
    assert (root / "big").read_bytes() == b"12345678"


def test_files_that_were_uploaded_to_the_root_are_not_trusted(start: Start, root: Path) -> None:
    client = start(directory=str(root), prefix="/")
    assert b"hello.txt" in client.ask("/").body  # a listing, not the index.html
    assert client.ask("/index.html").get("content-security-policy") == "sandbox"
    foreign = ("Sec-Fetch-Site: cross-site", "Origin: http://evil.example")
    assert client.ask("/x", *foreign, method="PUT", body=b"x").status == 403


@pytest.mark.parametrize("prefix", ["/", "/files/"])
def test_a_mount_below_the_directory_of_uploads_is_read_only(
    start: Start, root: Path, tmp_path: Path, prefix: str
) -> None:
    """A write must not go to the directory that the mount hides."""
    other = tmp_path / "other"
    other.mkdir()
    mounts = [(f"{prefix}sub/", str(other)), ("/aside/", str(other))]
    plan: dict[str, Any] = {"directory": str(root), "prefix": prefix, "static": mounts}
    for path in ("sub/x", "sub/", "sub", "%73ub/x"):
        for method in ("PUT", "POST", "DELETE", "PATCH"):
            client = start(deletes=True, **plan)
            response = client.ask(prefix + path, method=method, body=b"x")
            assert response.status == 405, (path, method)
            assert response.get("allow") == "GET, HEAD, OPTIONS"
    assert sorted(os.listdir(root / "sub")) == ["data", "page.html"]
    client = start(**plan)
    assert client.ask(f"{prefix}sub/x", method="OPTIONS").get("allow") == "GET, HEAD, OPTIONS"
    assert client.ask(f"{prefix}subway", method="PUT", body=b"x").status == 201


# --- one file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a b", "a:b", "a%41", "x?y#z", "-", "\u00e4 {x}", "a.html", "a.tar.gz", "=", "a..b"]
)
def test_one_file_with_any_name(start: Start, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("this")
    client = start(static=[("/", str(tmp_path / name))])
    response = client.ask("/")
    assert response.status == 303
    location = response.get("location") or ""
    assert client.ask("/" + location.removeprefix("./")).body == b"this"
    assert client.ask("/none").status == 404


def test_one_file_that_cannot_be_served(root: Path, tmp_path: Path) -> None:
    (root / ".hidden").touch()
    (root / "out").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "fifo")
    for path, named in (
        (root / ".hidden", "begins with a dot"),
        (root / "out", "a link that leads out of its directory"),
        (root / "fifo", "neither a directory nor a regular file"),
        (Path("/dev/zero"), "neither a directory nor a regular file"),
        (root / "none", "no such file or directory"),
    ):
        plan = SiteOptions(static=[("/", str(path))])
        with pytest.raises(SiteError, match=named):
            Site(plan, Limits())
    if os.geteuid() != 0:
        (root / "hello.txt").chmod(0)
        with pytest.raises(SiteError, match="permission denied"):
            Site(SiteOptions(static=[("/", str(root / "hello.txt"))]), Limits())


# --- static mounts -------------------------------------------------------------------------------


def test_a_directory_at_the_root(start: Start, root: Path) -> None:
    client = start(static=[("/", str(root))])
    assert client.ask("/").body == b"<p>index"
    assert client.ask("/hello.txt").body == b"hello"
    assert client.ask("/sub/page.html").body == b"<p>page"
    assert client.ask("*", method="OPTIONS").status == 204
    for path in ("/../secret", "/%2e%2e/secret", "/sub/..%2f..%2fsecret", "//etc/passwd", "/nope"):
        assert client.ask(path).status == 404


def test_a_mount_in_a_mount(start: Start, root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "hello.txt").write_bytes(b"other")
    client = start(
        static=[("/", str(root)), ("/sub/", str(other)), ("/a/b/", str(root))],
        directory=str(other),
    )
    assert client.ask("/hello.txt").body == b"hello"
    assert client.ask("/sub/hello.txt").body == b"other"
    assert client.ask("/sub/page.html").status == 404  # that of the outer mount is hidden
    assert client.ask("/a/b/hello.txt").body == b"hello"
    assert client.ask("/a/hello.txt").status == 404
    assert client.ask("/files/hello.txt").body == b"other"
    assert client.ask("/%73ub/hello.txt").body == b"other"
    assert client.ask("/subway").status == 404


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/a/b", "b/"),
        ("/a/b?x=y&/z", "b/?x=y&/z"),
        ("/%61/%62", "b/"),
        ("/files", "files/"),
    ],
)
def test_a_prefix_without_its_slash(start: Start, root: Path, path: str, location: str) -> None:
    client = start(static=[("/a/b/", str(root))], directory=str(root))
    for method in ("GET", "HEAD"):
        response = client.ask(path, method=method)
        assert response.status == 301
        assert response.get("location") == location
    assert client.ask("/a").status == 404
    assert client.ask("//a/b").status == 404


def test_static_mounts_are_read_only(run: Run, root: Path) -> None:
    running = run(static=[("/", str(root))], directory=str(root), uploads=True, deletes=True)
    waiting = ("Expect: 100-continue", "Content-Length: 10")
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        client = running.connect()
        response = client.ask("/hello.txt", *waiting, method=method)
        assert response.status == 405  # and no 100 before it
        assert response.get("allow") == "GET, HEAD, OPTIONS"
        assert client.ended()
    assert (root / "hello.txt").read_bytes() == b"hello"


def test_files_that_may_not_be_changed(run: Run, root: Path) -> None:
    running = run(directory=str(root), uploads=False)
    waiting = ("Expect: 100-continue", "Content-Length: 10")
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        client = running.connect()
        response = client.ask("/files/x", *waiting, method=method)
        assert response.status == 405
        assert response.get("allow") == "GET, HEAD, OPTIONS"
        assert client.ended()
    client = running.connect()
    assert client.ask("/files/.uploads/x", method="PATCH").status == 405
    assert client.ask("/files/.uploads/x").status == 404
    response = client.ask("/files/x", method="OPTIONS")
    assert response.get("allow") == "GET, HEAD, OPTIONS"
    assert response.get("accept-patch") is None
    assert sorted(os.listdir(root)) == ["hello.txt", "index.html", "sub"]


@pytest.mark.parametrize("deletes", [True, False])
def test_deleting_is_a_choice(start: Start, root: Path, deletes: bool) -> None:
    client = start(directory=str(root), deletes=deletes)
    allowed = (
        "DELETE, GET, HEAD, OPTIONS, POST, PUT" if deletes else "GET, HEAD, OPTIONS, POST, PUT"
    )
    assert client.ask("/files/hello.txt", method="OPTIONS").get("allow") == allowed
    response = client.ask("/files/hello.txt", method="DELETE")
    assert response.status == (204 if deletes else 405)
    assert (root / "hello.txt").exists() is not deletes
    assert client.ask("/files/hello.txt").status == (404 if deletes else 200)


def test_a_stored_file_is_seen_through_every_mount(start: Start, root: Path) -> None:
    client = start(
        static=[("/", str(root)), ("/sub/", str(root / "sub"))],
        directory=str(root),
        deletes=True,
    )
    paths = ("/files/sub/data", "/sub/data")
    for number in range(5):
        for path in paths:
            assert client.ask(path).body == (b"data" if number == 0 else b"%d" % (number - 1))
        response = client.ask("/files/sub/data", method="PUT", body=b"%d" % number)
        assert response.status == 204
    assert client.ask("/files/sub/data", method="DELETE").status == 204
    for path in paths:
        assert client.ask(path).status == 404


def test_uploads_that_can_be_resumed(start: Start, root: Path) -> None:
    client = start(directory=str(root))
    response = client.ask("/files/x", method="OPTIONS")
    assert response.status == 204
    assert response.get("allow") == "GET, HEAD, OPTIONS, POST, PUT"
    assert response.get("accept-patch") == "application/partial-upload"
    assert response.get("upload-limit") is not None
    fields = ("Upload-Complete: ?0", "Upload-Length: 6")
    response = client.ask("/files/x", *fields, "Content-Length: 0", method="POST")
    assert response.status == 201
    where = f"/files/{response.get('location')}"
    assert where.startswith("/files/.uploads/")
    response = client.ask(where, method="HEAD")
    assert response.get("upload-offset") == "0"
    assert client.ask(where).status == 404
    assert client.ask(where, method="OPTIONS").status == 204
    fields = ("Content-Type: application/partial-upload", "Upload-Offset: 0")
    response = client.ask(where, *fields, "Upload-Complete: ?1", method="PATCH", body=b"abcdef")
    assert response.status == 201
    assert client.ask("/files/x").body == b"abcdef"
    assert client.ask(where, method="DELETE").status == 204
    assert client.ask(where, method="HEAD").status == 404


def test_pages_of_trusted_origins_may_upload_and_delete(start: Start, root: Path) -> None:
    """As behind a proxy on plain HTTP, which has replaced Host by its own name for the server."""
    origin = "Origin: http://files.lan:8080"
    form = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nform\r\n--b--\r\n'
    for trusted, statuses in (
        ((), [403] * 4),
        (("http://other.lan", "http://files.lan:8080"), [201, 201, 201, 204]),
    ):
        run = {"directory": str(root), "deletes": True, "trusted_origins": trusted}
        client = start(**run)
        found = [client.ask("/files/a", origin, method="PUT", body=b"a").status]
        client = start(**run)  # an unread body may end the connection
        kind = "Content-Type: multipart/form-data; boundary=b"
        found.append(client.ask("/files/", origin, kind, method="POST", body=form).status)
        client = start(**run)
        begin = ("Upload-Complete: ?0", "Upload-Length: 1", "Content-Length: 0")
        where = f"/files/{client.ask('/files/b', *begin, method='POST').get('location')}"
        fields = ("Content-Type: application/partial-upload", "Upload-Offset: 0")
        found.append(
            client.ask(
                where, *fields, "Upload-Complete: ?1", origin, method="PATCH", body=b"b"
            ).status
        )
        client = start(**run)
        found.append(client.ask("/files/hello.txt", origin, method="DELETE").status)
        assert found == statuses
        assert (root / "hello.txt").exists() == (not trusted)


@pytest.mark.parametrize(
    "path", ["/files/hello.txt", "/files/", "/files", "/files/sub", "/files/no"]
)
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE", "TRACE"]
)
def test_every_request_of_a_tus_client_is_refused(
    start: Start, root: Path, method: str, path: str
) -> None:
    client = start(directory=str(root), deletes=True, static=[("/s/", str(root))])
    fields = ("Tus-Resumable: 1.0.0", "Upload-Length: 1048576", "Content-Length: 0")
    response = client.ask(path, *fields, method=method)
    assert response.status == 412
    if method != "HEAD":
        assert b"draft-ietf-httpbis-resumable-upload-11" in response.body
    assert client.ask(f"/files/.uploads/{'x' * 22}", *fields, method=method).status == 412
    assert client.ask("/s/hello.txt", *fields).status == 200  # nothing is uploaded there
    assert (root / "hello.txt").read_bytes() == b"hello"


def test_methods_that_uploads_have_not(start: Start, root: Path) -> None:
    client = start(directory=str(root))
    for path, allow in (
        ("/files/hello.txt", "GET, HEAD, OPTIONS, POST, PUT"),
        ("/files", "GET, HEAD, OPTIONS"),
    ):
        response = client.ask(path, method="PATCH")
        assert (response.status, response.get("allow")) == (405, allow)
        assert client.ask(path, method="OPTIONS").get("allow") == allow
        get, head = (client.ask(path, method=method) for method in ("GET", "HEAD"))
        assert get.status == head.status
        assert head.body == b""


# --- what files are served with ------------------------------------------------------------------


def test_types_fields_and_cache_control(start: Start, root: Path) -> None:
    client = start(
        static=[("/s/", str(root))],
        directory=str(root),
        types=[(".html", "text/x-page"), (".txt", "application/x-note"), ("empty", "text/x")],
        headers=[("X-One", "1"), ("X-Two", "2")],
        cache_control=[("sub/*.html", "max-age=1"), ("*.html", "no-cache")],
    )
    for prefix in ("/s/", "/files/"):
        response = client.ask(prefix + "sub/page.html")
        assert response.get("content-type") == "text/x-page; charset=utf-8"
        assert response.get("cache-control") == "max-age=1"
        assert response.get("x-one") == "1"
        assert response.get("x-two") == "2"
        response = client.ask(prefix + "hello.txt")
        assert response.get("content-type") == "application/x-note"
        assert response.get("cache-control") is None
        assert client.ask(prefix + "sub/data").get("content-type") == "application/octet-stream"
    assert client.ask("/s/").get("cache-control") == "no-cache"


def test_a_page_for_unknown_paths(start: Start, root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    client = start(
        static=[("/", str(root)), ("/o/", str(other))],
        directory=str(root),
        spa="index.html",
    )
    response = client.ask("/no/such/page")
    assert (response.status, response.body) == (200, b"<p>index")
    assert client.ask("/hello.txt").body == b"hello"
    assert client.ask("/o/nothing").status == 404  # there is no such file in that mount
    assert client.ask("/files/nothing").status == 404  # /files/ is not a static mount


def test_directories_without_a_listing(start: Start, root: Path) -> None:
    client = start(static=[("/s/", str(root))], directory=str(root), listing=False, uploads=False)
    assert client.ask("/s/").body == b"<p>index"
    assert client.ask("/s/sub/").status == 404
    assert client.ask("/files/sub/").status == 404
    client = start(static=[("/s/", str(root))], directory=str(root))
    assert client.ask("/s/sub/").status == 200
    assert client.ask("/files/sub/").status == 200


# --- what cannot be served -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "", "hello.txt", "a\nb"])
@pytest.mark.parametrize("option", ["directory", "static"])
def test_a_directory_that_cannot_be_used(root: Path, name: str, option: str) -> None:
    directory = str(root / name) if name else ""
    plan = (
        SiteOptions(directory=directory)
        if option == "directory"
        else SiteOptions(static=[("/s/", directory)])
    )
    with pytest.raises(SiteError) as caught:
        Site(plan, Limits())
    sentence, reason = str(caught.value).rsplit(": ", 1)
    assert sentence == f"Cannot use the directory {directory!r}"
    assert reason[0].islower()


@pytest.mark.parametrize("name", ["none.html", "sub", "../secret", "sub/none"])
def test_a_page_that_is_not_there(root: Path, name: str) -> None:
    with pytest.raises(SiteError) as caught:
        Site(SiteOptions(static=[("/", str(root))], spa=name), Limits())
    assert repr(name) in str(caught.value)


# --- an application ------------------------------------------------------------------------------


def test_an_application_alone_is_the_handler() -> None:
    assert Site(SiteOptions(), Limits(), echo).handler is echo


@pytest.mark.parametrize("mounts", [[], ["/assets/"]])
@pytest.mark.parametrize("health", [False, True])
def test_an_application_is_prepared_for_its_server(
    run: Run, root: Path, mounts: list[str], health: bool
) -> None:
    """Also where mounts or pages of the server stand before it."""
    prepared: list[Server] = []

    class Prepared:
        def prepare(self, server: Server) -> None:
            prepared.append(server)

        def __call__(self, request: BaseRequest) -> Response:
            return Response(200, b"application")

    static = [(prefix, str(root)) for prefix in mounts]
    running = run(application=Prepared(), static=static, health=health)
    assert prepared == [running.server]
    client = running.connect()
    assert client.ask("/x").body == b"application"
    assert (client.ask("/healthz").body == b"ok\n") is health


def test_an_application_gets_what_no_mount_has(start: Start, root: Path) -> None:
    client = start(
        application=echo,
        static=[("/assets/", str(root)), ("/a/b/", str(root))],
        directory=str(root),
    )
    for path in (
        *("/", "/echo/x", "/assetsx", "/a", "/a/bc", "/a/bc/", "/filesx", "/filesx/y"),
        *("//assets/x", "/assets%2Fhello.txt", "/%", "/%zz/assets/", "/%ff", "/a%2Fb/hello.txt"),
        *("/assets%zz/x", "/x?/assets/hello.txt", "/%2Fassets/x"),
    ):
        assert from_application(client.ask(path)), path
    for path in (
        *("/assets/hello.txt", "/a/b/hello.txt", "/files/hello.txt", "/%61ssets/hello.txt"),
        *("/a/%62/hello.txt", "/assets/hello.txt?x", "/assets/../x", "/assets//"),
    ):
        assert not from_application(client.ask(path)), path
    for path in ("/assets", "/a/b", "/files", "/asset%73", "/assets?x"):
        response = client.ask(path)
        location = response.get("Location") or ""
        assert (response.status, location[-1:]) == (301, "x" if "?" in path else "/")
    assert client.ask("/assets/hello.txt").body == b"hello"
    assert client.ask("/%61ssets/hello.txt").body == b"hello"
    assert client.ask("/assets/nothing").status == 404  # it is the mount's, and not there
    assert client.ask("/assets/%zz").status == 400
    assert client.ask("/", method="DELETE").body == b"app: DELETE /"
    assert client.ask("*", method="OPTIONS").body == b"app: OPTIONS *"
    assert client.ask("/files/new", method="PUT", body=b"new").status == 201
    assert client.ask("/assets/x", method="PUT").status == 405


def test_an_application_pulls_its_body_itself(start: Start, root: Path) -> None:
    async def count(request: BaseRequest) -> Response:
        size = 0
        async for piece in request.body:
            size += len(piece)
        return Response(200, b"%d" % size)

    class Application:
        def __call__(self, request: BaseRequest) -> Awaitable[Response]:
            assert request.content == b""
            return count(request)

    client = start(application=Application(), static=[("/a/", str(root))])
    body = bytes(3_000_000)  # more than would be held in memory
    assert client.ask("/", method="POST", body=body).body == b"3000000"


# --- many clients --------------------------------------------------------------------------------


def test_a_large_file_to_many_at_once(run: Run, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "large").write_bytes(content)
    running = run(directory=str(tmp_path), uploads=False)
    clients = [running.connect() for _ in range(8)]
    for client in clients:
        client.send(request("/files/large") * 2)
    wrong: list[int] = []

    def read(number: int) -> None:
        for _ in range(2):
            if clients[number].read_response().body != content:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- upkeep --------------------------------------------------------------------------------------


class Sleeper(Stage):
    """Wakes up at once, and notes for how long it would have slept."""

    def __init__(self) -> None:
        super().__init__()
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> Future[None]:
        self.naps.append(seconds)
        return super().sleep(seconds)


def upkeep(site: Site, count: int) -> list[list[float]]:
    """How long each kind of upkeep slept, until it had slept `count` times."""
    naps = []
    for work in site.housekeeping():
        stage = Sleeper()
        play = Play(work, stage)
        while play.operation is not None and len(stage.naps) < count:
            play.step()
        play.close()
        naps.append(stage.naps)
    return naps


def test_the_upkeep_of_uploads(root: Path) -> None:
    left = root / f"sub/.{'0' * 16}.part"
    left.write_bytes(b"half")
    naps = upkeep(Site(SiteOptions(directory=str(root)), Limits()), 3)
    assert naps == [[IDLE_SECONDS] * 3, [], [EXPIRY_SECONDS] * 3]
    assert not left.exists()


def test_a_read_only_directory_is_not_tidied_up(root: Path) -> None:
    left = root / f"sub/.{'0' * 16}.part"
    left.write_bytes(b"half")
    assert upkeep(Site(SiteOptions(), Limits()), 1) == []
    for plan in (
        SiteOptions(directory=str(root), uploads=False),
        SiteOptions(static=[("/", str(root))]),
    ):
        assert upkeep(Site(plan, Limits()), 2) == [[IDLE_SECONDS] * 2]
    assert left.exists()


def test_files_that_nobody_asks_for_are_closed(serve: Serve, root: Path) -> None:
    site = Site(
        SiteOptions(directory=str(root), static=[("/s/", str(root))]),
        Limits(open_file_idle=0.001),
    )
    client = serve(site.handler).connect()
    hello = str(root / "hello.txt")
    for path in ("/s/hello.txt", "/files/hello.txt"):
        assert client.ask(path).body == b"hello"
    assert list(open_descriptors().values()).count(hello) == 2
    upkeep(site, 2)
    time.sleep(0.01)
    upkeep(site, 2)  # nobody has asked since
    assert hello not in open_descriptors().values()


def test_debugging_is_for_applications() -> None:
    app = Application()

    @app.get("/")
    def fails(request: BaseRequest) -> Response:
        raise ZeroDivisionError

    site = Site(SiteOptions(debug=True), Limits(), app)
    with InProcess(site.handler, raise_server_exceptions=False) as client:
        response = client.get("/", headers={"Accept": "text/html"})
        assert (response.status, "ZeroDivisionError" in response.text) == (500, True)
    with pytest.raises(SiteError, match="--debug"):
        Site(SiteOptions(debug=True), Limits(), lambda request: Response(200))
