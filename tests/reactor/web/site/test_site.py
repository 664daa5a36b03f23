"""What is served where: mounts, the demo, an application, and what they leave to each other."""

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
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import EXPIRY_SECONDS, Site, SiteError, cache_rules
from reactor.web.static.mount import IDLE_SECONDS
from tests.conftest import Running, Serve
from tests.support.coroutine_driver import Play, Stage, open_descriptors
from tests.support.raw_client import Client, RawResponse, request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files to serve; there is a secret beside the folder."""
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
    for one, site in running:  # what is kept open counts as left over
        for files in site._mounted:
            one.call(files._open.close)


@pytest.fixture
def start(run: Run) -> Start:
    """`start(directory="x")`: a client of such a server."""
    return lambda **plan: run(**plan).connect()


def echo(request: BaseRequest) -> Response:
    return Response(200, f"app: {request.method} {request.target}".encode())


def from_application(answer: RawResponse) -> bool:
    return answer.status == 200 and answer.body.startswith(b"app: ")


# --- an application that takes mounts ------------------------------------------------------------


def test_without_anything_there_is_the_application_and_no_files(start: Start) -> None:
    client = start(application=make_app())
    assert client.ask("/").status == 200
    assert client.ask("/echo/x").body == b"x"
    for path in ("/files", "/files/", "/files/x"):
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            assert client.ask(path, method=method, body=b"x").status == 404
            client = start(
                application=make_app()
            )  # what is refused with its body unread ends a connection


def test_files_are_routes_of_an_application_that_takes_them(start: Start, folder: Path) -> None:
    client = start(directory=str(folder), application=make_app())
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
    assert (folder / "new").read_bytes() == b"new"
    assert client.ask("/files/new").body == b"new"
    assert client.ask("/files/new", method="PUT", body=b"newer").status == 204
    assert client.ask("/files/new").body == b"newer"


def test_nothing_stands_beside_a_static_mount(start: Start, folder: Path) -> None:
    client = start(static=[("/x/", str(folder))])
    for path in ("/", "/echo/x", "/user-agent", "/files/", "/files/hello.txt"):
        assert client.ask(path).status == 404
    assert client.ask("/x/hello.txt").body == b"hello"


# --- static mounts -------------------------------------------------------------------------------


def test_a_directory_at_the_root(start: Start, folder: Path) -> None:
    client = start(static=[("/", str(folder))])
    assert client.ask("/").body == b"<p>index"
    assert client.ask("/hello.txt").body == b"hello"
    assert client.ask("/sub/page.html").body == b"<p>page"
    assert client.ask("*", method="OPTIONS").status == 204
    for path in ("/../secret", "/%2e%2e/secret", "/sub/..%2f..%2fsecret", "//etc/passwd", "/nope"):
        assert client.ask(path).status == 404


def test_a_mount_in_a_mount(start: Start, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "hello.txt").write_bytes(b"other")
    client = start(
        static=[("/", str(folder)), ("/sub/", str(other)), ("/a/b/", str(folder))],
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
        ("/a/b", "/a/b/"),
        ("/a/b?x=y&/z", "/a/b/?x=y&/z"),
        ("/%61/b", "/a/b/"),
        ("/files", "/files/"),
    ],
)
def test_a_prefix_without_its_slash(start: Start, folder: Path, path: str, location: str) -> None:
    client = start(static=[("/a/b/", str(folder))], directory=str(folder))
    for method in ("GET", "HEAD"):
        answer = client.ask(path, method=method)
        assert answer.status == 301
        assert answer.get("location") == location
    assert client.ask("/a").status == 404
    assert client.ask("//a/b").status == 404


def test_static_mounts_are_read_only(run: Run, folder: Path) -> None:
    running = run(static=[("/", str(folder))], directory=str(folder), uploads=True, deletes=True)
    waiting = ("Expect: 100-continue", "Content-Length: 10")
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        client = running.connect()
        answer = client.ask("/hello.txt", *waiting, method=method)
        assert answer.status == 405  # and no 100 before it
        assert answer.get("allow") == "GET, HEAD, OPTIONS"
        assert client.ended()
    assert (folder / "hello.txt").read_bytes() == b"hello"


def test_files_that_may_not_be_changed(run: Run, folder: Path) -> None:
    running = run(directory=str(folder), uploads=False)
    waiting = ("Expect: 100-continue", "Content-Length: 10")
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        client = running.connect()
        answer = client.ask("/files/x", *waiting, method=method)
        assert answer.status == 405
        assert answer.get("allow") == "GET, HEAD, OPTIONS"
        assert client.ended()
    client = running.connect()
    assert client.ask("/files/.uploads/x", method="PATCH").status == 405
    assert client.ask("/files/.uploads/x").status == 404
    answer = client.ask("/files/x", method="OPTIONS")
    assert answer.get("allow") == "GET, HEAD, OPTIONS"
    assert answer.get("accept-patch") is None
    assert sorted(os.listdir(folder)) == ["hello.txt", "index.html", "sub"]


@pytest.mark.parametrize("deletes", [True, False])
def test_deleting_is_a_choice(start: Start, folder: Path, deletes: bool) -> None:
    client = start(directory=str(folder), deletes=deletes)
    allowed = (
        "DELETE, GET, HEAD, OPTIONS, POST, PUT" if deletes else "GET, HEAD, OPTIONS, POST, PUT"
    )
    assert client.ask("/files/hello.txt", method="OPTIONS").get("allow") == allowed
    answer = client.ask("/files/hello.txt", method="DELETE")
    assert answer.status == (204 if deletes else 405)
    assert (folder / "hello.txt").exists() is not deletes
    assert client.ask("/files/hello.txt").status == (404 if deletes else 200)


def test_what_is_stored_is_seen_through_every_mount(start: Start, folder: Path) -> None:
    client = start(
        static=[("/", str(folder)), ("/sub/", str(folder / "sub"))],
        directory=str(folder),
        deletes=True,
    )
    paths = ("/files/sub/data", "/sub/data")
    for number in range(5):
        for path in paths:
            assert client.ask(path).body == (b"data" if number == 0 else b"%d" % (number - 1))
        answer = client.ask("/files/sub/data", method="PUT", body=b"%d" % number)
        assert answer.status == 204
    assert client.ask("/files/sub/data", method="DELETE").status == 204
    for path in paths:
        assert client.ask(path).status == 404


def test_uploads_that_can_be_resumed(start: Start, folder: Path) -> None:
    client = start(directory=str(folder))
    answer = client.ask("/files/x", method="OPTIONS")
    assert answer.status == 204
    assert answer.get("allow") == "GET, HEAD, OPTIONS, POST, PUT"
    assert answer.get("accept-patch") == "application/partial-upload"
    assert answer.get("upload-limit") is not None
    fields = ("Upload-Complete: ?0", "Upload-Length: 6")
    answer = client.ask("/files/x", *fields, "Content-Length: 0", method="POST")
    assert answer.status == 201
    where = answer.get("location") or ""
    assert where.startswith("/files/.uploads/")
    answer = client.ask(where, method="HEAD")
    assert answer.get("upload-offset") == "0"
    assert client.ask(where).status == 404
    assert client.ask(where, method="OPTIONS").status == 204
    fields = ("Content-Type: application/partial-upload", "Upload-Offset: 0")
    answer = client.ask(where, *fields, "Upload-Complete: ?1", method="PATCH", body=b"abcdef")
    assert answer.status == 201
    assert client.ask("/files/x").body == b"abcdef"
    assert client.ask(where, method="DELETE").status == 204
    assert client.ask(where, method="HEAD").status == 404


# --- what files are served with ------------------------------------------------------------------


def test_types_fields_and_cache_control(start: Start, folder: Path) -> None:
    client = start(
        static=[("/s/", str(folder))],
        directory=str(folder),
        types=[("html", "text/x-page"), ("txt", "application/x-note")],
        headers=[("X-One", "1"), ("X-Two", "2")],
        cache_control=[("sub/*.html", "max-age=1"), ("*.html", "no-cache")],
    )
    for prefix in ("/s/", "/files/"):
        answer = client.ask(prefix + "sub/page.html")
        assert answer.get("content-type") == "text/x-page; charset=utf-8"
        assert answer.get("cache-control") == "max-age=1"
        assert answer.get("x-one") == "1"
        assert answer.get("x-two") == "2"
        answer = client.ask(prefix + "hello.txt")
        assert answer.get("content-type") == "application/x-note"
        assert answer.get("cache-control") is None
        assert client.ask(prefix + "sub/data").get("content-type") == "application/octet-stream"
    assert client.ask("/s/").get("cache-control") == "no-cache"


@pytest.mark.parametrize(
    ("rules", "path", "value"),
    [
        ([], "a.css", ""),
        ([("*.css", "x")], "a.css", "x"),
        ([("*.css", "x")], "b/c/a.css", "x"),
        ([("*.css", "x")], "a.css/b", ""),
        ([("*.css", "x")], "a.CSS", ""),
        ([("*.css", "x")], "a.css\n", ""),
        ([("*.css", "x")], "a\n.css", "x"),
        ([("*", "x")], "", "x"),
        ([("a", "x")], "b/a", "x"),
        ([("a", "x")], "ba", ""),
        ([("a", "x")], "ab", ""),
        ([("/a", "x")], "a", "x"),
        ([("/a", "x")], "b/a", ""),
        ([("/a*", "x")], "a/b/c", "x"),
        ([("b/*", "x")], "b/a", "x"),
        ([("b/*", "x")], "b/c/a", "x"),
        ([("b/*", "x")], "c/b/a", ""),
        ([("*/b/*", "x")], "c/b/a", "x"),
        ([("[ab]?", "x")], "b1", "x"),
        ([("[!ab]?", "x")], "b1", ""),
        ([("[", "x")], "[", "x"),
        ([("*.css", "x"), ("*", "y")], "a.css", "x"),
        ([("*.css", "x"), ("*", "y")], "a.js", "y"),
        ([("*", "y"), ("*.css", "x")], "a.css", "y"),
        ([("\u00e9*", "y")], "\u00e9t\u00e9", "y"),
        ([("?.css", "x")], "\udcff.css", "x"),
    ],
)
def test_rules_for_caches(rules: list[tuple[str, str]], path: str, value: str) -> None:
    assert cache_rules(rules)(path) == value


def test_a_page_for_unknown_paths(start: Start, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    client = start(
        static=[("/", str(folder)), ("/o/", str(other))],
        directory=str(folder),
        spa="index.html",
    )
    answer = client.ask("/no/such/page")
    assert (answer.status, answer.body) == (200, b"<p>index")
    assert client.ask("/hello.txt").body == b"hello"
    assert client.ask("/o/nothing").status == 404  # there is no such file in that mount
    assert client.ask("/files/nothing").status == 404  # nor are files an application


def test_folders_without_a_listing(start: Start, folder: Path) -> None:
    client = start(static=[("/s/", str(folder))], directory=str(folder), listing=False)
    assert client.ask("/s/").body == b"<p>index"
    assert client.ask("/s/sub/").status == 404
    assert client.ask("/files/sub/").status == 404
    client = start(static=[("/s/", str(folder))], directory=str(folder))
    assert client.ask("/s/sub/").status == 200
    assert client.ask("/files/sub/").status == 200


# --- what cannot be served -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "", "hello.txt", "a\nb"])
@pytest.mark.parametrize("option", ["directory", "static"])
def test_a_directory_that_cannot_be_used(folder: Path, name: str, option: str) -> None:
    directory = str(folder / name) if name else ""
    plan = (
        SiteOptions(directory=directory)
        if option == "directory"
        else SiteOptions(static=[("/s/", directory)])
    )
    with pytest.raises(SiteError) as caught:
        Site(plan, Limits())
    assert repr(directory) in str(caught.value)


@pytest.mark.parametrize("name", ["none.html", "sub", "../secret", "sub/none"])
def test_a_page_that_is_not_there(folder: Path, name: str) -> None:
    with pytest.raises(SiteError) as caught:
        Site(SiteOptions(static=[("/", str(folder))], spa=name), Limits())
    assert repr(name) in str(caught.value)


# --- an application ------------------------------------------------------------------------------


def test_an_application_alone_is_the_handler() -> None:
    assert Site(SiteOptions(), Limits(), echo).handler is echo


@pytest.mark.parametrize("mounts", [[], ["/assets/"]])
@pytest.mark.parametrize("health", [False, True])
def test_an_application_is_told_of_its_server(
    run: Run, folder: Path, mounts: list[str], health: bool
) -> None:
    """Whatever stands before it."""
    told: list[Server] = []

    class Prepared:
        def prepare(self, server: Server) -> None:
            told.append(server)

        def __call__(self, request: BaseRequest) -> Response:
            return Response(200, b"application")

    static = [(prefix, str(folder)) for prefix in mounts]
    running = run(application=Prepared(), static=static, health=health)
    assert told == [running.server]
    client = running.connect()
    assert client.ask("/x").body == b"application"
    assert (client.ask("/healthz").body == b"ok\n") is health


def test_an_application_gets_what_no_mount_has(start: Start, folder: Path) -> None:
    client = start(
        application=echo,
        static=[("/assets/", str(folder)), ("/a/b/", str(folder))],
        directory=str(folder),
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
        answer = client.ask(path)
        location = answer.get("Location") or ""
        assert (answer.status, location[-1:]) == (301, "x" if "?" in path else "/")
    assert client.ask("/assets/hello.txt").body == b"hello"
    assert client.ask("/%61ssets/hello.txt").body == b"hello"
    assert client.ask("/assets/nothing").status == 404  # it is the mount's, and not there
    assert client.ask("/assets/%zz").status == 400
    assert client.ask("/", method="DELETE").body == b"app: DELETE /"
    assert client.ask("*", method="OPTIONS").body == b"app: OPTIONS *"
    assert client.ask("/files/new", method="PUT", body=b"new").status == 201
    assert client.ask("/assets/x", method="PUT").status == 405


def test_an_application_pulls_its_body_itself(start: Start, folder: Path) -> None:
    async def count(request: BaseRequest) -> Response:
        size = 0
        async for piece in request.body:
            size += len(piece)
        return Response(200, b"%d" % size)

    class Application:
        def __call__(self, request: BaseRequest) -> Awaitable[Response]:
            assert request.content == b""
            return count(request)

    client = start(application=Application(), static=[("/a/", str(folder))])
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
        while play.wish is not None and len(stage.naps) < count:
            play.step()
        play.close()
        naps.append(stage.naps)
    return naps


def test_the_upkeep_of_uploads(folder: Path) -> None:
    left = folder / f"sub/.{'0' * 16}.part"
    left.write_bytes(b"half")
    naps = upkeep(Site(SiteOptions(directory=str(folder)), Limits()), 3)
    assert naps == [[IDLE_SECONDS] * 3, [], [EXPIRY_SECONDS] * 3]
    assert not left.exists()


def test_what_may_not_be_changed_is_not_tidied_up(folder: Path) -> None:
    left = folder / f"sub/.{'0' * 16}.part"
    left.write_bytes(b"half")
    assert upkeep(Site(SiteOptions(), Limits()), 1) == []
    for plan in (
        SiteOptions(directory=str(folder), uploads=False),
        SiteOptions(static=[("/", str(folder))]),
    ):
        assert upkeep(Site(plan, Limits()), 2) == [[IDLE_SECONDS] * 2]
    assert left.exists()


def test_files_that_nobody_asks_for_are_closed(serve: Serve, folder: Path) -> None:
    site = Site(
        SiteOptions(directory=str(folder), static=[("/s/", str(folder))]),
        Limits(open_file_idle=0.001),
    )
    client = serve(site.handler).connect()
    hello = str(folder / "hello.txt")
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
        answer = client.get("/", headers={"Accept": "text/html"})
        assert (answer.status, "ZeroDivisionError" in answer.text) == (500, True)
    with pytest.raises(SiteError, match="--debug"):
        Site(SiteOptions(debug=True), Limits(), lambda request: Response(200))
