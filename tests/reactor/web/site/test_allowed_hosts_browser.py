"""Names that lead to this machine, in a real browser: DNS rebinding, and a proxy's name."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from reactor import Limits
from reactor.messages.request import BaseRequest
from reactor.web.endpoint import ResponseOrAwaitable
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from tests.conftest import Running, Serve
from tests.support.chromium import PROGRAM, Browser, Page

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on the PATH"),
]

SITE, PROXY = "evil.example", "files.lan"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """It has resolved the names of both: to this machine, as rebinding does in the end."""
    browser = Browser(tmp_path_factory.mktemp("profile"), names=[SITE, PROXY])
    yield browser
    browser.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "served"
    path.mkdir()
    (path / "secret.txt").write_text("the secret")
    return path


Start = Callable[..., int]


@pytest.fixture
def start(serve: Serve, directory: Path) -> Iterator[Start]:
    """`start()`: the port of a site that listens on loopback.

    `host` replaces the Host field, and the site trusts pages of the name `trusts`.
    """
    closers: list[tuple[Running, Callable[[], None]]] = []

    def start(*, host: str = "", trusts: str = "", allowed_hosts: Sequence[str] = ()) -> int:
        sites: list[Site] = []

        def proxied(request: BaseRequest) -> ResponseOrAwaitable:
            request.host = host or request.host
            return sites[0].handler(request)

        running = serve(proxied)
        port: int = running.address[1]
        options = SiteOptions(
            directory=str(directory),
            deletes=True,
            allowed_hosts=allowed_hosts,
            trusted_origins=[f"http://{trusts}:{port}"] if trusts else [],
        )
        sites.append(Site(options, Limits()))
        sites[0].admit_hosts((), [running.address[0]])
        closers.extend((running, files._open.close) for files in sites[0]._mounted)
        return port

    yield start
    for running, close in closers:
        running.call(close)


def ask(page: Page, method: str, path: str) -> tuple[int, str]:
    body = ", body: 'x'" if method == "PUT" else ""
    status, text = page.evaluate(
        f"fetch('{path}', {{method: '{method}'{body}}})"
        ".then((response) => response.text().then((text) => [response.status, text]))"
    )
    return status, text


@pytest.mark.parametrize("allows", [True, False])
def test_rebinding(start: Start, page: Page, directory: Path, allows: bool) -> None:
    """Where the host is allowed the page succeeds, which shows that the test sees it."""
    port = start(allowed_hosts=[SITE] if allows else [])
    page.call("Page.setBypassCSP", enabled=True)  # a page of the attacker's has no policy
    page.go(f"http://{SITE}:{port}/files/")
    asked = [
        ask(page, "GET", "/files/secret.txt"),
        ask(page, "PUT", "/files/new.txt"),
        ask(page, "DELETE", "/files/secret.txt"),
    ]
    if allows:
        assert [status for status, _ in asked] == [200, 201, 204]
        assert asked[0][1] == "the secret"
    else:
        assert {status for status, _ in asked} == {421}
        assert all("--allowed-hosts" in text for _, text in asked)
        assert [one.name for one in directory.iterdir()] == ["secret.txt"]
    for name in ("localhost", "127.0.0.1", "a.localhost"):
        page.go(f"http://{name}:{port}/files/")
        assert ask(page, "PUT", "/files/own.txt")[0] in (201, 204)


@pytest.mark.parametrize("trusts", [True, False])
def test_the_own_page_behind_a_proxy_on_plain_http(start: Start, page: Page, trusts: bool) -> None:
    """The browser sends no Sec-Fetch-Site to such a name, and the origin is not the host."""
    port = start(host="127.0.0.1:4221", trusts=PROXY if trusts else "")
    page.go(f"http://{PROXY}:{port}/files/")
    asked = [ask(page, "PUT", "/files/new.txt"), ask(page, "DELETE", "/files/secret.txt")]
    assert [status for status, _ in asked] == ([201, 204] if trusts else [403, 403])
    assert trusts or all("--trusted-origins" in text for _, text in asked)
