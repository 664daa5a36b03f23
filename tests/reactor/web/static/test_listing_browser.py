"""A directory's page in a real browser: what it shows, what a user can do, and what goes wrong.

The server is the whole one, as the command line would put it together; a Recorder in front of it
notes what the browser asks for, and can stand in its way.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from reactor import Headers, Limits, ProtocolError, Response
from reactor.messages.request import BaseRequest
from reactor.web.app.application import Application
from reactor.web.endpoint import ResponseOrAwaitable
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from reactor.web.static.listing import ListingOptions, list_directory
from reactor.web.storage.safe_path import Root
from reactor.web.uploads.receiver import Receiver
from tests.conftest import Running, Serve
from tests.support.chromium import PROGRAM, Page

pytestmark = pytest.mark.system

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on the PATH")

ROWS = "[...document.querySelectorAll('#uploads li')]"
SAID = f"{ROWS}.map(row => row.querySelector('p').textContent.replaceAll('\\u00a0', ' '))"
NAMES = "[...document.querySelectorAll('#list tbody a')].map(link => link.textContent)"


HIDE_LENGTH = """
    const real = XMLHttpRequest.prototype.setRequestHeader;
    XMLHttpRequest.prototype.setRequestHeader = function (name, value) {
        if (name !== "Upload-Length") real.call(this, name, value);
    };
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "served"
    path.mkdir()
    return path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The user's own files."""
    path = tmp_path / "mine"
    path.mkdir()
    return path


class Recorder:
    """The site, and what was asked of it: method, path and, where there is one, Upload-Offset."""

    def __init__(self, handler: Callable[[BaseRequest], ResponseOrAwaitable]) -> None:
        self._handler = handler
        self.asked: list[str] = []
        self.refusals: list[int] = []  # the next uploads are answered so
        self.host = ""  # by which a proxy replaces the Host field, with no Sec-Fetch-Site

    def __call__(self, request: BaseRequest) -> ResponseOrAwaitable:
        path = unquote(request.path).removeprefix("/files/")
        if path.startswith(".uploads/"):
            path = "(upload)"
        offset = request.headers.get("Upload-Offset")
        self.asked.append(" ".join(filter(None, (request.method, path, offset))))
        if self.refusals and request.method in {"PUT", "PATCH", "DELETE"}:
            raise ProtocolError(self.refusals.pop(0), "Not now.")
        if self.host:
            lines = (f"\r\n{name}: {value}" for name, value in request.headers.fields())
            kept = (line for line in lines if not line.lower().startswith("\r\nsec-fetch-site:"))
            request.headers, request.host = Headers("".join(kept)), self.host
        return self._handler(request)

    def uploads(self) -> list[str]:
        """The requests other than GET."""
        return [one for one in self.asked if not one.startswith("GET")]


class Served:
    """A running server and its address."""

    def __init__(self, running: Running, recorder: Recorder) -> None:
        self.running = running
        self.recorder = recorder
        self.url = f"http://127.0.0.1:{running.address[1]}/files/"

    def break_off(self) -> None:
        """All connections, as if the network were gone."""

        def abort() -> None:
            for connection in tuple(self.running.server.open_connections):
                connection.abort()

        self.running.call(abort)


Start = Callable[..., Served]


@pytest.fixture
def start(serve: Serve, directory: Path) -> Iterator[Start]:
    """Start the server; afterwards close the files that it has kept open."""
    closers: list[tuple[Running, Callable[[], None]]] = []

    def start(*, deletes: bool = False, uploads: bool = True, **limits: Any) -> Served:
        plan = SiteOptions(directory=str(directory), deletes=deletes, uploads=uploads)
        site = Site(plan, Limits(**limits))
        recorder = Recorder(site.handler)
        served = Served(serve(recorder, **limits), recorder)
        closers.extend((served.running, files._open.close) for files in site._mounted)
        return served

    yield start
    for running, close in closers:
        running.call(close)


def without_resuming(root: Root) -> Application:
    """A directory that takes plain PUTs only."""
    receiver = Receiver(root, Limits(), lambda place: None)
    look = ListingOptions(prefix="/files/", uploads=True)

    async def get(request: BaseRequest) -> Response:
        return await list_directory(request, root, request.params["name"][:-1], look)

    router = Application()
    router.add("GET", "/files/{name:segments}", get)
    router.add("PUT", "/files/{name:segments}", receiver.put)
    return router


def make(directory: Path, name: str, size: int) -> Path:
    """A file without repetition, so that a piece in the wrong place is seen."""
    path = directory / name
    path.write_bytes(os.urandom(size))
    return path


def slow_down(page: Page, rate: int) -> None:
    """To `rate` bytes a second on the way up; -1: no more."""
    page.call(
        "Network.emulateNetworkConditions",
        offline=False,
        latency=0,
        downloadThroughput=-1,
        uploadThroughput=rate,
    )


def wait_for_files(page: Page, *names: str) -> None:
    """Until the page, which refreshes itself, shows these."""
    page.wait_until(f"JSON.stringify({NAMES}) == {json.dumps(dumped(names))}")


def dumped(names: tuple[str, ...]) -> str:
    return json.dumps(names, ensure_ascii=False, separators=(",", ":"))


# --- what is shown -------------------------------------------------------------------------------

HOSTILE = [
    "<script>document.title = 1<",
    "<img src=x onerror=alert(1)>",
    "\"quotes\" & 'more'",
    "javascript:alert(1)",
    "a?b#c%2fd",
    "new\nline\ttab",
    "photo\u202egpj.exe",
    " spaces  inside ",
    "עברית.txt",
]


def test_every_link_leads_to_its_file(start: Start, directory: Path, page: Page) -> None:
    for name in HOSTILE:
        (directory / name).write_text(name)
    (directory / "sub #1").mkdir()
    page.go(start().url)
    found = page.evaluate(
        """Promise.all([...document.querySelectorAll('#list tbody tr:not(.directory) a')].map(
            async (link) => (await fetch(link.href)).text()))"""
    )
    assert sorted(found) == sorted(HOSTILE)
    page.evaluate("document.querySelector('.directory a').click()")
    page.wait_until("document.querySelector('nav a') !== null")
    assert page.evaluate("document.querySelector('h1').textContent") == "sub #1"
    page.evaluate("document.querySelector('nav a').click()")
    page.wait_until("document.querySelector('h1').textContent == 'files'")
    assert not page.complaints


def test_sorting_needs_no_script(start: Start, directory: Path, page: Page) -> None:
    for size, name in ((1, "a2"), (3, "a10"), (2, "b")):
        make(directory, name, size)
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.go(start().url)
    orders = [page.evaluate(NAMES)]
    for column in (2, 2, 1):
        page.follow(f"th:nth-child({column}) button")
        orders.append(page.evaluate(NAMES))
    assert orders == [
        ["a2", "a10", "b"],
        ["a10", "b", "a2"],
        ["a2", "b", "a10"],
        ["a2", "a10", "b"],
    ]


def test_light_and_dark_wide_and_narrow(start: Start, directory: Path, page: Page) -> None:
    make(directory, "an-unreasonably-long-name-" * 8, 5)
    url = start(deletes=True).url
    colours = set()
    for width in (320, 390, 1200):
        for scheme in ("light", "dark"):
            page.show(width, 700, scheme)
            page.go(url)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert page.picture()[1:4] == b"PNG"
    assert len(colours) == 2
    assert not page.complaints


def test_messages_for_a_screen_reader(start: Start, directory: Path, page: Page) -> None:
    """On a phone, too, where the rows are laid out otherwise."""
    make(directory, "file", 5)
    url = start(deletes=True).url
    for width in (390, 1200):
        page.show(width, 700, "light")
        page.go(url)
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        spoken = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]
        roles = {role for role, _ in spoken}
        assert {"table", "row", "columnheader", "cell", "heading", "main"} <= roles
        assert ("button", "Delete file") in spoken
        assert ("link", "file") in spoken


# --- uploads -------------------------------------------------------------------------------------


def test_files_are_chosen(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    sizes = {"a b?.bin": 300_000, "é": 1, "zero": 0}
    paths = [make(mine, name, size) for name, size in sizes.items()]
    page.go(served.url)
    page.choose_files("input", *paths)
    wait_for_files(page, "a b?.bin", "zero", "é")
    for path in paths:
        assert (directory / path.name).read_bytes() == path.read_bytes()
    page.wait_until("document.querySelector('#sum').textContent == '3 files, 300\\xa0kB'")
    assert page.evaluate("Object.keys(localStorage)") == []
    assert all("Uploaded" in words for words in page.evaluate(SAID))
    assert not page.complaints


def test_files_are_dropped_anywhere(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    page.show(800, 600, "light")
    page.go(served.url)
    paths = [make(mine, name, 1000) for name in ("one", "two")]
    (mine / "sub").mkdir()
    page.drop_files(700, 550, *paths, mine / "sub")
    wait_for_files(page, "one", "two")
    assert "Directories cannot be uploaded" in page.evaluate("document.body.textContent")
    assert (directory / "one").read_bytes() == paths[0].read_bytes()
    assert {*os.listdir(directory)} - {".uploads"} == {"one", "two"}
    assert not page.complaints


def test_three_at_once(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    page.go(served.url)
    slow_down(page, 200_000)
    page.choose_files("input", *(make(mine, f"{number}", 100_000) for number in range(5)))
    page.wait_until(f"{SAID}.filter(words => words.includes(' of ')).length == 3")
    words = page.evaluate(SAID)
    assert words.count("Waiting") == 2
    page.wait_until(f"{SAID}.some(words => /kB of 100 kB · .* kB\\/s · .* s left/.test(words))")
    bar = page.evaluate("document.querySelector('#uploads progress').value")
    assert 0 < bar < 1
    slow_down(page, -1)
    wait_for_files(page, "0", "1", "2", "3", "4")


def test_an_upload_goes_on_after_an_interruption(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    path = make(mine, "large", 3_000_000)
    page.go(served.url)
    slow_down(page, 1_500_000)
    page.choose_files("input", path)
    page.wait_until("document.querySelector('#uploads progress')?.value > .3")
    # The browser sends the request again by itself, once, on a new connection.
    while not page.evaluate(f"{SAID}[0].includes('Trying again')"):
        served.break_off()
    slow_down(page, -1)
    page.evaluate("dispatchEvent(new Event('online'))")
    wait_for_files(page, "large")
    assert (directory / "large").read_bytes() == path.read_bytes()
    first, second, *_, last = served.recorder.uploads()
    assert (first, second) == ("PUT large", "PATCH (upload) 0")
    assert "HEAD (upload)" in served.recorder.uploads()
    assert 0 < int(last.removeprefix("PATCH (upload) ")) < 3_000_000


def test_an_upload_goes_on_after_a_reload(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    path = make(mine, "large", 3_000_000)
    page.go(served.url)
    slow_down(page, 1_500_000)
    page.choose_files("input", path)
    page.wait_until("document.querySelector('#uploads progress')?.value > .3")
    page.go(served.url)
    slow_down(page, -1)
    page.choose_files("input", path)
    wait_for_files(page, "large")
    assert (directory / "large").read_bytes() == path.read_bytes()
    asked = served.recorder.uploads()
    assert [asked.count(one) for one in ("PUT large", "HEAD (upload)")] == [1, 1]
    assert 0 < int(asked[-1].removeprefix("PATCH (upload) ")) < 3_000_000
    assert page.evaluate("Object.keys(localStorage)") == []


def test_an_upload_that_the_server_has_forgotten_begins_again(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    path = make(mine, "file", 1000)
    page.go(served.url)
    served.recorder.refusals = [404]  # there is no /files/.. of that name, at first
    page.choose_files("input", path)
    page.wait_until(f"{SAID}[0].includes('cannot have this name')")
    key = f"upload {served.url}file 1000 "
    page.evaluate(
        f"""localStorage.setItem({json.dumps(key)} + Math.floor({path.stat().st_mtime * 1000!r}),
            JSON.stringify({{place: {json.dumps(served.url)} + ".uploads/" + "x".repeat(22),
            since: Date.now()}}))"""
    )
    click(page, "Retry")
    wait_for_files(page, "file")
    assert served.recorder.uploads() == [
        "PUT file",
        "HEAD (upload)",
        "PUT file",
        "PATCH (upload) 0",
    ]


def click(page: Page, label: str) -> None:
    """The button of the first upload that has it."""
    buttons = "[...document.querySelectorAll('#uploads button')]"
    page.wait_until(f"{buttons}.some(button => button.textContent == '{label}')")
    page.evaluate(f"{buttons}.find(button => button.textContent == '{label}').click()")


def test_a_name_that_is_taken(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    (directory / "file").write_text("old")
    path = make(mine, "file", 1000)
    page.go(served.url)
    page.choose_files("input", path)
    page.wait_until(f"{SAID}[0] == 'There is a file of this name already.'")
    assert (directory / "file").read_text() == "old"
    click(page, "Skip")
    page.wait_until(f"{ROWS}.length == 0")
    page.choose_files("input", path)
    click(page, "Replace")
    page.wait_until(f"{SAID}[0].startsWith('Uploaded')")
    assert (directory / "file").read_bytes() == path.read_bytes()


def test_cancelling_leaves_nothing(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    page.go(served.url)
    slow_down(page, 500_000)
    page.choose_files("input", make(mine, "file", 3_000_000))
    page.wait_until("document.querySelector('#uploads progress')?.value > .02")
    click(page, "Cancel")
    assert page.evaluate(f"{ROWS}.length") == 0
    served.running.wait_until(lambda: "DELETE (upload)" in served.recorder.asked)
    assert page.evaluate("Object.keys(localStorage)") == []
    slow_down(page, -1)
    page.choose_files("input", make(mine, "next", 10))
    wait_for_files(page, "next")


def left_in(directory: Path) -> list[str]:
    return os.listdir(directory / ".uploads")


def test_dismissing_deletes_the_upload(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    """A part of it is there; without the DELETE it takes room until it is evicted."""
    served = start(resumable_bytes=500_000)
    with served.running.connect() as client:
        begun = ("Upload-Complete: ?0", "Upload-Length: 300000")
        assert client.ask("/files/x", *begun, method="PUT", body=b"x" * 299_999).status == 201
    others = left_in(directory)
    page.go(served.url)
    page.evaluate(HIDE_LENGTH)  # otherwise the server would refuse it before it is created
    page.choose_files("input", make(mine, "file", 400_000))
    page.wait_until(f"{SAID}[0]?.includes('no room')")
    assert len(left_in(directory)) > len(others)
    click(page, "Dismiss")
    assert page.evaluate(f"{ROWS}.length") == 0
    served.running.wait_until(lambda: served.recorder.asked[-1] == "DELETE (upload)")
    served.running.wait_until(lambda: sorted(left_in(directory)) == sorted(others))
    assert page.evaluate("Object.keys(localStorage)") == []


def test_dismissing_what_the_server_does_not_know_asks_for_nothing(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    (directory / "taken").write_bytes(b"old")
    served.recorder.refusals = [409]
    page.go(served.url)
    page.choose_files("input", make(mine, "file", 10))
    click(page, "Dismiss")
    page.choose_files("input", make(mine, "taken", 10))
    click(page, "Skip")
    assert page.evaluate(f"{ROWS}.length") == 0
    assert served.recorder.uploads() == ["PUT file", "PUT taken"]


def test_refusals_are_put_into_words(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    page.go(served.url)
    refusals = {
        403: "The server does not allow this.",
        409: "other than a file",
        414: "longer than",
        507: "no room",
        418: "response was 418",
    }
    # Where the server makes no resource for it, the file is sent as a whole.
    served.recorder.refusals = [403, 403, 409, 414, 507, 507, 418]
    page.choose_files("input", make(mine, "file", 1000))
    for words in refusals.values():
        page.wait_until(f"{SAID}[0].includes({json.dumps(words)})")
        click(page, "Retry")
    wait_for_files(page, "file")


def test_a_refusal_that_an_option_mends_names_the_option(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    """As behind a proxy that rewrites Host: the page's origin is not that of the request."""
    served = start()
    served.recorder.host = "backend.lan:4221"
    page.go(served.url)
    page.choose_files("input", make(mine, "file", 1000))
    page.wait_until(f"{SAID}[0].includes('--trusted-origins URL')")
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("status", [403, 507])
def test_an_upload_that_cannot_be_resumed_is_sent_whole(
    start: Start, directory: Path, mine: Path, page: Page, status: int
) -> None:
    served = start()
    served.recorder.refusals = [status]
    (directory / "taken").write_bytes(b"old")
    path = make(mine, "file", 300_000)
    page.go(served.url)
    page.choose_files("input", path)
    page.wait_until(f"{SAID}[0]?.startsWith('Uploaded')")
    wait_for_files(page, "file", "taken")
    assert (directory / "file").read_bytes() == path.read_bytes()
    assert served.recorder.uploads() == ["PUT file", "PUT file"]
    assert page.evaluate("Object.keys(localStorage)") == []
    served.recorder.refusals = [status]
    page.choose_files("input", make(mine, "taken", 10))
    page.wait_until(f"{SAID}.at(-1) == 'There is a file of this name already.'")
    assert (directory / "taken").read_bytes() == b"old"


def test_without_room_for_resumable_uploads_files_are_stored(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start(resumable_bytes=1000)
    with served.running.connect() as client:
        begun = ("Upload-Complete: ?0", "Upload-Length: 900")
        assert client.ask("/files/other", *begun, method="PUT", body=b"x").status == 201
    path = make(mine, "file", 800)
    page.go(served.url)
    page.choose_files("input", path)
    wait_for_files(page, "file")
    assert (directory / "file").read_bytes() == path.read_bytes()


def test_a_file_that_is_too_large(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start(upload_bytes=10_000)
    page.go(served.url)
    page.choose_files("input", make(mine, "file", 10_001))
    page.wait_until(f"{SAID}[0] == 'The server accepts at most 10 kB.'")
    assert os.listdir(directory) == [] or os.listdir(directory) == [".uploads"]


def test_a_busy_server_is_asked_again(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    page.go(served.url)
    served.recorder.refusals = [503]
    page.choose_files("input", make(mine, "file", 1000))
    page.wait_until(f"{SAID}[0].includes('is busy. Trying again in 1 s')")
    wait_for_files(page, "file")


def test_plain_uploads_where_none_can_be_resumed(
    serve: Serve, directory: Path, mine: Path, page: Page
) -> None:
    recorder = Recorder(without_resuming(Root(directory)))
    served = Served(serve(recorder), recorder)
    page.go(served.url)
    paths = [make(mine, name, size) for name, size in (("a", 300_000), ("b", 0))]
    page.choose_files("input", *paths)
    wait_for_files(page, "a", "b")
    assert sorted(recorder.uploads()) == ["PUT a", "PUT b"]
    for path in paths:
        assert (directory / path.name).read_bytes() == path.read_bytes()
    page.choose_files("input", paths[0])
    click(page, "Replace")
    page.wait_until(f"{SAID}.length == 3 && {SAID}[2].startsWith('Uploaded')")
    assert not [words for words in page.complaints if "412" not in words]


def test_a_form_uploads_without_a_script(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.go(start().url)
    paths = [make(mine, name, 1000) for name in ("one", "two")]
    page.choose_files("input", *paths)
    page.follow("#upload button")
    wait_for_files(page, "one", "two")
    for path in paths:
        assert (directory / path.name).read_bytes() == path.read_bytes()


# --- deleting ------------------------------------------------------------------------------------


def test_deleting_asks_first(start: Start, directory: Path, page: Page) -> None:
    for name in ("one", "a 2%"):
        make(directory, name, 10)
    (directory / "sub").mkdir()
    page.go(start(deletes=True).url)
    assert page.evaluate("document.querySelectorAll('.delete').length") == 2
    for accept in (False, True):
        page.evaluate("void setTimeout(() => document.querySelector('.delete').click())")
        question = page.wait_for_event("Page.javascriptDialogOpening")["message"]
        assert question == "Delete “a 2%”? It cannot be brought back."
        page.call("Page.handleJavaScriptDialog", accept=accept)
        if not accept:
            assert page.evaluate("document.querySelectorAll('.delete').length") == 2
            assert sorted(os.listdir(directory)) == ["a 2%", "one", "sub"]
    wait_for_files(page, "sub/", "one")
    assert sorted(os.listdir(directory)) == ["one", "sub"]
    assert not page.complaints


def test_a_file_that_cannot_be_deleted_stays(start: Start, directory: Path, page: Page) -> None:
    make(directory, "one", 10)
    served = start(deletes=True, uploads=False)
    page.go(served.url)
    served.recorder.refusals = [403]
    page.evaluate("void setTimeout(() => document.querySelector('.delete').click())")
    page.wait_for_event("Page.javascriptDialogOpening")
    page.call("Page.handleJavaScriptDialog", accept=True)
    page.wait_until("document.getElementById('said').textContent.includes('still there')")
    assert page.evaluate(NAMES) == ["one"]


def test_no_script_where_there_is_nothing_for_it(start: Start, directory: Path, page: Page) -> None:
    make(directory, "one", 10)
    page.go(start(uploads=False).url)
    assert page.evaluate("document.scripts.length") == 0
    assert page.evaluate("document.querySelectorAll('#upload, .delete').length") == 0
    assert not page.complaints


def test_a_long_page(start: Start, directory: Path, page: Page) -> None:
    make(directory, "0", 1)
    for number in range(1, 3000):
        os.link(directory / "0", directory / f"{number}")
    page.go(start(uploads=False).url)
    assert page.evaluate("document.querySelectorAll('#list tbody tr').length") == 3000


# --- pages ---------------------------------------------------------------------------------------


def numbered(directory: Path, count: int) -> None:
    for number in range(count):
        make(directory, f"{number:02}", 1)


def test_pages_are_turned_without_a_script(start: Start, directory: Path, page: Page) -> None:
    numbered(directory, 25)
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.go(start(listing_page=10, uploads=False).url)
    seen = [page.evaluate(NAMES)]
    while href := page.evaluate("document.querySelector('a[rel~=next]')?.href ?? ''"):
        page.go(href)
        seen.append(page.evaluate(NAMES))
    assert [name for names in seen for name in names] == [f"{number:02}" for number in range(25)]
    assert list(map(len, seen)) == [10, 10, 5]
    page.follow("th:nth-child(1) button")  # back to the first page
    assert page.evaluate(NAMES)[0] == "24"
    assert page.evaluate("document.querySelector('.pages b').textContent") == "1"
    page.go(page.evaluate("document.querySelector('.pages a[rel~=next]').href"))
    assert page.evaluate(NAMES)[0] == "14"  # the order is kept
    assert not page.complaints


def test_a_page_that_empties_becomes_the_last(start: Start, directory: Path, page: Page) -> None:
    numbered(directory, 21)
    page.go(start(listing_page=10, deletes=True).url + "?page=3")
    assert page.evaluate(NAMES) == ["20"]
    page.evaluate("void setTimeout(() => document.querySelector('.delete').click())")
    page.wait_for_event("Page.javascriptDialogOpening")
    page.call("Page.handleJavaScriptDialog", accept=True)
    wait_for_files(page, *(f"{number:02}" for number in range(10, 20)))
    page.wait_until("document.querySelector('.pages b').textContent == '2'")
    assert page.evaluate("document.querySelectorAll('#list .delete').length") == 10
    assert page.evaluate("document.querySelector('#sum').textContent") == "20 files, 20\xa0B"
    assert not page.complaints


def test_links_to_pages_fit_a_phone(start: Start, directory: Path, page: Page) -> None:
    numbered(directory, 90)
    url = start(listing_page=1).url
    for width in (320, 390, 1200):
        for number in (1, 45, 90):
            page.show(width, 700, "light")
            page.go(f"{url}?page={number}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("document.querySelectorAll('nav.pages').length") == 2
            small = page.evaluate(
                "[...document.querySelectorAll('.pages a')].filter((link) => "
                "link.getBoundingClientRect().height < 24).length"
            )
            assert small == 0  # a finger needs 24 pixels (WCAG 2.2, 2.5.8)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    spoken = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    }
    assert {("navigation", "Pages"), ("link", "Page 1"), ("link", "Previous")} <= spoken
