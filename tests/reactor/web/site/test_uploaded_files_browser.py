"""Uploaded files in a real browser, beside an application whose pages they would like to read.

Each attack is tried twice: with `--trust-uploads` it succeeds, which shows that the test sees it.
"""

import base64
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor import Limits, Request, Response
from reactor.web.app.application import Application
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from tests.conftest import Running, Serve
from tests.support.chromium import PROGRAM, TIMEOUT, Browser, Page

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on the PATH"),
]

# The attempts of the script of an uploaded file, in the order in which the page names it.
SCRIPT = """
const show = (words) => { document.documentElement.setAttribute("found", words); };
(async () => {
  const found = ["origin " + self.origin];
  const attempt = async (what, work) => {
    try { found.push(what + " " + await work()); } catch (error) { found.push(what + " failed"); }
  };
  await attempt("page", async () => (await (await fetch("/account")).text()));
  await attempt("cookie", async () => document.cookie);
  await attempt("storage", async () => localStorage.getItem("token"));
  await attempt("worker", async () => {
    const made = await navigator.serviceWorker.register("worker.js");
    return made.scope ? "registered" : "none";
  });
  show(found.join("; "));
})();
"""
HTML = f"<!doctype html><title>uploaded</title><p id=shown>shown</p><script>{SCRIPT}</script>"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="60">'
    f'<rect width="80" height="60" fill="red"/><script><![CDATA[{SCRIPT}]]></script></svg>'
)
XHTML = (
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>uploaded</title></head><body>'
    f'<p id="shown">shown</p><script><![CDATA[{SCRIPT}]]></script></body></html>'
)
PAGES = {"a.html": HTML, "a.svg": SVG, "a.xhtml": XHTML, "a.xml": XHTML}
WORKER = "self.addEventListener('fetch', (event) => event.respondWith(new Response('evil')));"
FOUND = "document.documentElement.getAttribute('found')"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "served"
    path.mkdir()
    return path


def application() -> Application:
    app = Application()
    app.takes_mounts = True

    @app.get("/login")
    def login(request: Request) -> Response:
        page = b"<script>localStorage.setItem('token', 'secret-token')</script>"
        fields = (
            ("Set-Cookie", "session=secret-session; Path=/; SameSite=Lax"),
            ("Content-Type", "text/html"),
        )
        return Response(200, page, fields)

    @app.get("/account")
    def account(request: Request) -> str:
        return f"account of {request.cookies.get('session', 'nobody')}"

    @app.get("/gallery")
    def gallery(request: Request) -> Response:
        page = b"<img src=/files/a.svg><iframe src=/files/a.html></iframe>"
        return Response(200, page, (("Content-Type", "text/html"),))

    return app


@pytest.fixture
def start(serve: Serve, directory: Path) -> Iterator[Any]:
    """`start()`: the URL of a running server with the application and the uploads."""
    closers: list[tuple[Running, Callable[[], None]]] = []

    def start(**plan: Any) -> str:
        site = Site(SiteOptions(directory=str(directory), **plan), Limits(), application())
        running = serve(site.handler)
        closers.extend((running, files._open.close) for files in site._mounted)
        return f"http://127.0.0.1:{running.address[1]}"

    yield start
    for running, close in closers:
        running.call(close)


def upload(page: Page, url: str, name: str, content: bytes | str) -> None:
    """As a client that is no browser's page would: with a request of its own."""
    data = content.encode() if isinstance(content, str) else content
    status = page.evaluate(
        f"fetch('/files/{name}', {{method: 'PUT', body: Uint8Array.from("
        f"atob('{base64.b64encode(data).decode()}'), (one) => one.charCodeAt(0))}})"
        ".then((response) => response.status)"
    )
    assert status in (201, 204)


@pytest.mark.parametrize("name", PAGES)
def test_a_trusted_page_acts_in_the_name_of_the_server(start: Any, page: Page, name: str) -> None:
    url = start(trust_uploads=True)
    page.go(f"{url}/login")
    upload(page, url, name, PAGES[name])
    upload(page, url, "worker.js", WORKER)
    page.go(f"{url}/files/{name}")
    page.wait_until(FOUND)
    assert page.evaluate(FOUND) == (
        f"origin {url}; page account of secret-session; cookie session=secret-session; "
        "storage secret-token; worker registered"
    )


@pytest.mark.parametrize("name", PAGES)
def test_an_uploaded_page_runs_no_script(start: Any, page: Page, name: str) -> None:
    url = start()
    page.go(f"{url}/login")
    upload(page, url, name, PAGES[name])
    upload(page, url, "worker.js", WORKER)
    page.go(f"{url}/files/{name}")
    assert page.evaluate("self.origin") == "null"
    assert page.evaluate(FOUND) is None
    assert any("sandboxed" in said for said in page.complaints)
    if name != "a.svg":
        assert page.evaluate("document.getElementById('shown').textContent") == "shown"


def test_pages_of_the_application_show_uploads_without_running_them(start: Any, page: Page) -> None:
    url = start()
    page.go(f"{url}/login")
    for name in ("a.html", "a.svg"):
        upload(page, url, name, PAGES[name])
    page.go(f"{url}/gallery")
    assert page.evaluate("document.images[0].naturalWidth") == 80
    assert page.evaluate("document.querySelector('iframe').contentDocument") is None
    assert page.evaluate("localStorage.getItem('token')") == "secret-token"


def test_no_script_of_the_origin_makes_an_upload_its_service_worker(start: Any, page: Page) -> None:
    """A page that can run script for once must not stay for ever."""
    register = (
        "navigator.serviceWorker.register('/files/worker.js')"
        ".then(() => 'registered', (error) => error.message)"
    )
    for trusts in (True, False):
        url = start(trust_uploads=trusts)
        page.go(f"{url}/login")
        upload(page, url, "worker.js", WORKER)
        said = page.evaluate(register)
        assert (said == "registered") is trusts
    assert "403" in said
    assert (
        page.evaluate("navigator.serviceWorker.getRegistrations().then((found) => found.length)")
        == 0
    )
    assert page.evaluate("fetch('/files/worker.js').then((got) => got.text())") == WORKER


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + checksum

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    rows = (b"\0" + b"\x20\x80\x20" * width) * height
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + b"\x08\x02\0\0\0")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def wav(seconds: int) -> bytes:
    data = bytes([128]) * 8000 * seconds
    head = (
        (16).to_bytes(4, "little") + b"\1\0\1\0" + (8000).to_bytes(4, "little") * 2 + b"\1\0\x08\0"
    )
    body = b"WAVEfmt " + head + b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def pdf() -> bytes:
    """One page that is red all over."""
    parts = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R>>",
        b"<</Length 26>>stream\n1 0 0 rg 0 0 300 200 re f \nendstream",
    )
    text = b"%PDF-1.4\n"
    offsets = []
    for number, part in enumerate(parts, 1):
        offsets.append(len(text))
        text += b"%d 0 obj%b endobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"xref\n0 5\n0000000000 65535 f \n%btrailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
    return text + end % (table, len(text))


# A film of half a second, which the browser itself makes.
FILM = """
new Promise((resolve, reject) => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 64, height: 48});
  const context = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(20), {mimeType: "video/webm"});
  const pieces = [];
  let hue = 0;
  const painting = setInterval(() => {
    context.fillStyle = `hsl(${hue += 20}, 90%, 50%)`;
    context.fillRect(0, 0, 64, 48);
  }, 20);
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = () => {
    clearInterval(painting);
    fetch("/files/a.webm", {method: "PUT", body: new Blob(pieces)})
      .then((response) => resolve(response.status), reject);
  };
  recorder.start();
  setTimeout(() => recorder.stop(), 500);
})
"""


def test_images_sound_and_film_stay_viewable(start: Any, page: Page) -> None:
    url = start()
    page.go(f"{url}/login")
    for name, content in (("a.png", png(40, 30)), ("a.wav", wav(2))):
        upload(page, url, name, content)
    assert page.evaluate(FILM) == 201
    page.go(f"{url}/files/a.png")
    assert page.evaluate("document.images[0].naturalWidth") == 40
    page.go(f"{url}/files/a.wav")
    page.wait_until("document.querySelector('video').readyState > 0")
    assert page.evaluate("document.querySelector('video').duration") == 2
    page.go(f"{url}/files/a.webm")
    page.wait_until("document.querySelector('video').videoWidth === 64")


@pytest.mark.plain
def test_a_pdf_is_shown_by_its_viewer(start: Any, directory: Path, tmp_path: Path) -> None:
    (directory / "a.pdf").write_bytes(pdf())
    browser = Browser(tmp_path / "profile", extensions=True)
    try:
        page = browser.open()
        page.call("Page.navigate", url=f"{start()}/files/a.pdf")
        until = time.monotonic() + TIMEOUT
        while not any(url.startswith("chrome-extension://") for url in browser.targets()):
            assert time.monotonic() < until, "the viewer does not open"
            time.sleep(0.05)
    finally:
        browser.close()
