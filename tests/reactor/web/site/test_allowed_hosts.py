"""The hosts for which a site is served, with and without --allowed-hosts."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.app import make_app
from reactor import Limits, Request, Response
from reactor.messages.request import BaseRequest
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.operations.monitoring import METRICS_PATH
from reactor.web.site.allowed_hosts import hosts_of_share, own_hosts
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from tests.support.paths import ROOT
from tests.support.program import Program
from tests.support.raw_client import Client as RawClient

LOOPBACK = ("127.0.0.1", "::1")
EVIL = ("evil.example", "evil.example:4221", "localhost.evil.example", "evil%2f.localhost")


@pytest.mark.parametrize(
    ("given", "own", "bound", "served", "refused"),
    [
        ((), (), LOOPBACK, ("localhost", "127.0.0.1:1", "a.localhost"), ("evil", "10.0.0.5")),
        ((), ("my-pc",), ("127.0.1.1",), ("my-pc:80", "127.0.1.1"), ("evil", "my-pc.evil")),
        ((), (), ("::ffff:127.0.0.1",), ("localhost",), ("evil",)),
        (("files.lan",), (), LOOPBACK, ("files.lan", "localhost"), ("evil", "a.files.lan")),
        (("files.lan",), ("10.0.0.5",), ("0.0.0.0",), ("files.lan", "10.0.0.5"), ("evil", "::")),
        (("*.lan", "a.example"), (), (), ("files.lan", "A.example."), (".lan", "evil%2f.lan")),
    ],
)
def test_hosts_of_a_share(given: Any, own: Any, bound: Any, served: Any, refused: Any) -> None:
    hosts = hosts_of_share(given, own, bound)
    assert hosts is not None
    assert [host in hosts for host in served] == [True] * len(served)
    assert [host in hosts for host in refused] == [False] * len(refused)


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ((), ()),
        ((), ("0.0.0.0",)),
        ((), ("::",)),
        ((), ("192.168.1.5",)),
        ((), ("127.0.0.1", "192.168.1.5")),
        ((), ("127.0.0.1", "fe80::1%eth0")),
        (("*",), LOOPBACK),
        (("files.lan", "*"), ("0.0.0.0",)),
    ],
)
def test_shares_for_all_hosts(given: Any, bound: Any) -> None:
    assert hosts_of_share(given, (), bound) is None


def test_own_hosts() -> None:
    texts = ("", "0.0.0.0", "::", "*", "*.a", "My-PC", "::1", "fe80::1%eth0", "a b", "10.0.0.5")
    assert own_hosts(texts) == ["*.a", "my-pc", "[::1]", "[fe80::1]", "10.0.0.5"]


# --- a site --------------------------------------------------------------------------------------


class Served:
    """A site that listens on these addresses."""

    def __init__(self, bound: Any, own: Any = (), application: Any = None, **plan: Any) -> None:
        site = Site(SiteOptions(**plan), Limits(), application)
        site.admit_hosts(own, bound)
        self.client = Client(site.handler, raise_server_exceptions=False)

    def status(self, path: str, host: str, method: str = "GET", **options: Any) -> int:
        headers = {"Host": host, **options.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **options).status


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("text")
    return tmp_path


@pytest.mark.parametrize("host", EVIL)
@pytest.mark.parametrize("share", ["static", "directory", "demo"])
def test_rebinding_reads_and_changes_nothing(root: Path, share: str, host: str) -> None:
    """A page has the origin http://evil.example, and its browser connects to this machine."""
    plan: dict[str, Any] = {"directory": str(root), "deletes": True}
    if share == "static":
        plan = {"static": [("/files/", str(root))]}
    elif share == "demo":
        plan["application"] = make_app()
    served = Served(LOOPBACK, **plan)
    same_origin = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    for method, path in (
        *(("GET", "/files/a.txt"), ("HEAD", "/files/a.txt"), ("GET", "/files/"), ("GET", "/")),
        *(("PUT", "/files/b.txt"), ("POST", "/files/b.txt"), ("POST", "/files/")),
        *(("DELETE", "/files/a.txt"), ("OPTIONS", "/files/a.txt"), ("OPTIONS", "*")),
        *(("GET", "/none"), ("BREW", "/files/a.txt"), ("PATCH", "/files/.uploads/x")),
    ):
        body = b"evil" if method in ("PUT", "POST", "PATCH") else b""
        status = served.status(path, host, method, headers=same_origin, content=body)
        assert status == 421, (method, path)
    response = served.client.get("/files/a.txt", headers={"Host": host})
    assert "--allowed-hosts HOST,…" in response.text
    assert ascii(host) in response.text
    assert [one.name for one in root.iterdir()] == ["a.txt"]
    for own in ("localhost", "localhost:4221", "127.0.0.1:4221", "[::1]:80", "a.localhost"):
        assert served.status("/files/a.txt", own) == 200
    if share != "static":
        assert served.status("/files/b.txt", "localhost", "PUT", content=b"b") == 201
        assert served.status("/files/a.txt", "localhost", "DELETE") == 204


@pytest.mark.parametrize("bound", [("0.0.0.0",), ("192.168.1.5",)])
def test_beyond_loopback_the_option_decides(root: Path, bound: Any) -> None:
    plan: dict[str, Any] = {"directory": str(root)}
    assert Served(bound, **plan).status("/files/a.txt", "evil.example") == 200
    served = Served(bound, ["192.168.1.5"], allowed_hosts=["files.lan", "*.files.lan"], **plan)
    for host in ("files.lan:80", "a.files.lan", "localhost", "192.168.1.5:4221"):
        assert served.status("/files/a.txt", host) == 200
    for host in (*EVIL, ".files.lan", "evil%2f.files.lan", "10.0.0.6"):
        assert served.status("/files/a.txt", host) == 421


def test_every_host(root: Path) -> None:
    served = Served(LOOPBACK, directory=str(root), allowed_hosts=["*"])
    assert served.status("/files/a.txt", "evil.example") == 200


def plain(request: BaseRequest) -> Response:
    return Response(200, b"plain")


def other_application() -> Application:
    app = Application()
    app.get("/")(lambda request: "other")
    return app


@pytest.mark.parametrize("application", [plain, other_application()])
def test_applications_decide_themselves(root: Path, application: Any) -> None:
    served = Served(LOOPBACK, application=application)
    assert served.status("/", "evil.example") == 200
    served = Served(LOOPBACK, application=application, directory=str(root))
    assert served.status("/", "evil.example") == 200
    assert served.status("/files/a.txt", "evil.example") == 421  # the share beside it
    assert served.status("/files/a.txt", "localhost") == 200
    for plan in ({}, {"directory": str(root)}):
        served = Served(("0.0.0.0",), application=application, allowed_hosts=["a.example"], **plan)
        assert served.status("/", "evil.example") == 421
        assert served.status("/", "a.example") == 200


def test_health_and_metrics(root: Path) -> None:
    plan: dict[str, Any] = {"health": True, "metrics": True}
    for served, status in (
        (Served(LOOPBACK, directory=str(root), **plan), 421),
        (Served(LOOPBACK, application=plain, allowed_hosts=["a.example"], **plan), 421),
        (Served(LOOPBACK, application=plain, **plan), 200),
        (Served(("0.0.0.0",), directory=str(root), **plan), 200),
    ):
        assert served.status(METRICS_PATH, "evil.example") == status
        assert served.status(METRICS_PATH, "localhost") == 200
        assert served.status("/healthz", "10.1.2.3") == 200  # a probe's own address


# --- debug pages ---------------------------------------------------------------------------------


def failing() -> Application:
    app = Application()

    @app.get("/")
    def fail(request: Request) -> None:
        raise LookupError("the sentence of the error")

    return app


def shows_debug_page(served: Served, host: str) -> bool:
    response = served.client.get("/", headers={"Host": host, "Accept": "text/html"})
    assert response.status == 500
    text = served.client.get("/", headers={"Host": host, "Accept": "text/plain"})
    assert text.status == 500
    shown = "the sentence of the error" in response.text
    assert shown == ("Traceback" in text.text)
    return shown


@pytest.mark.parametrize("bound", [LOOPBACK, ("0.0.0.0",)])
def test_debug_pages_are_for_hosts_that_cannot_be_rebound(bound: Any) -> None:
    served = Served(bound, ["my-pc"], application=failing(), debug=True)
    for host in ("localhost:4221", "a.localhost", "127.0.0.1", "[::1]:4221", "192.168.1.5"):
        assert shows_debug_page(served, host)
    assert shows_debug_page(served, "my-pc:4221")  # --host
    for host in (*EVIL, "my-pc.evil.example", "192.168.1.5.evil.example", ".localhost"):
        assert not shows_debug_page(served, host)


def test_debug_pages_for_more_hosts() -> None:
    for allowed, host in ((["dev.lan"], "dev.lan"), (["*.lan"], "a.lan"), (["*"], "evil.example")):
        served = Served(("0.0.0.0",), application=failing(), debug=True, allowed_hosts=allowed)
        assert shows_debug_page(served, host)


def test_debug_pages_of_an_application_without_a_command_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, outer = failing(), Application()
    outer.mount("/inner", app)
    outer.debug = True
    client = Client(outer, raise_server_exceptions=False)
    assert "Traceback" in client.get("/inner/").text
    for host, shown in (("localhost", True), ("evil.example", False), ("dev.lan", False)):
        assert ("Traceback" in client.get("/inner/", headers={"Host": host}).text) is shown
    assert "No debug page for the host 'dev.lan'" in caplog.text
    outer.show_debug_to("dev.lan")
    outer.show_debug_to("*.example")
    assert "Traceback" in client.get("/inner/", headers={"Host": "dev.lan"}).text
    assert "Traceback" in client.get("/inner/", headers={"Host": "evil.example"}).text
    with pytest.raises(ValueError, match="is not a host"):
        outer.show_debug_to("dev.lan:80")


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """`start("--option", ...)`: `python -m reactor --port 0` with these options."""
    programs: list[Program] = []

    def start_one(*arguments: str, module: str = "reactor", **options: Any) -> Program:
        programs.append(Program(["-m", module, "--port", "0", *arguments], **options))
        return programs[-1]

    yield start_one
    for program in programs:
        program.close()


def status_of(program: Program, head: str) -> int:
    with RawClient(program.address) as client:
        return client.ask_with(head.replace("\n", "\r\n").encode()).status


@pytest.mark.system
@pytest.mark.parametrize("module", ["reactor", "handlers"])
def test_a_share_on_loopback(start: Any, root: Path, module: str) -> None:
    options = [str(root)] if module == "reactor" else ["--directory", str(root)]
    program = start(*options, module=module)
    path = "/a.txt" if module == "reactor" else "/files/a.txt"
    port = program.address[1]
    for head, status in (
        (f"GET {path} HTTP/1.1\nHost: localhost:{port}\n\n", 200),
        (f"GET {path} HTTP/1.1\nHost: 127.0.0.1:{port}\n\n", 200),
        (f"GET {path} HTTP/1.1\nHost: LOCALHOST.\n\n", 200),
        (f"GET {path} HTTP/1.0\n\n", 200),
        (f"GET {path} HTTP/1.1\nHost: evil.example:{port}\n\n", 421),
        (f"GET {path} HTTP/1.0\nHost: evil.example\n\n", 421),
        # The authority of an absolute target is the host (RFC 9112, section 3.2.2).
        (f"GET http://evil.example{path} HTTP/1.1\nHost: localhost\n\n", 421),
        (f"GET http://localhost{path} HTTP/1.1\nHost: evil.example\n\n", 200),
    ):
        assert status_of(program, head) == status, head
    origin = "Host: evil.example\nOrigin: http://evil.example"
    put = f"PUT {path}2 HTTP/1.1\n{origin}\nContent-Length: 1\n\nx"
    assert status_of(program, put) == 421
    delete = f"DELETE {path} HTTP/1.1\n{origin}\n\n"
    assert status_of(program, delete) == 421
    assert [one.name for one in root.iterdir()] == ["a.txt"]


@pytest.mark.system
def test_the_names_of_the_options(start: Any, root: Path) -> None:
    get = "GET /a.txt HTTP/1.1\nHost: {}\n\n"
    program = start("--allowed-hosts", "files.lan, *.a.example", "--allowed-hosts", "b", str(root))
    for host in ("files.lan:80", "x.a.example", "b", "localhost", "127.0.0.1"):
        assert status_of(program, get.format(host)) == 200
    for host in ("evil.example", "a.example", "evil%2f.a.example"):
        assert status_of(program, get.format(host)) == 421
    program = start("--host", "0.0.0.0", str(root))
    assert status_of(program, get.format("evil.example")) == 200
    program = start("--host", "0.0.0.0", "--allowed-hosts", "files.lan", str(root))
    for host in ("files.lan", program.address[0]):  # the second is that of the printed URL
        assert status_of(program, get.format(host)) == 200
    assert status_of(program, get.format("evil.example")) == 421
    program = start("--bind", "127.0.0.1:0", "--bind", "localhost:0", str(root))
    assert status_of(program, get.format("evil.example")) == 421
    assert status_of(program, get.format("localhost")) == 200


@pytest.mark.system
@pytest.mark.parametrize("options", [(), ("--reload",)])
def test_an_application_and_its_debug_pages(start: Any, tmp_path: Path, options: Any) -> None:
    (tmp_path / "app.py").write_text(
        "from reactor import Application\n"
        "app = Application()\n"
        "@app.get('/')\n"
        "def home(request): return 'home'\n"
        "@app.get('/fail')\n"
        "def fail(request): raise LookupError('the sentence')\n"
    )
    program = start(
        "--debug", *options, "app:app", cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    for host, shown in (("evil.example", False), ("localhost", True), ("127.0.0.1", True)):
        with RawClient(program.address) as client:
            head = f"GET {{}} HTTP/1.1\r\nHost: {host}\r\n\r\n"
            client.send(head.format("/").encode())
            assert client.read_response().body == b"home"
            client.send(head.format("/fail").encode())
            response = client.read_response()
            assert response.status == 500
            assert (b"the sentence" in response.body) is shown
