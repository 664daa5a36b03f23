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
    look = ListingOptions(uploads=True)

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


# --- the script of every listing -----------------------------------------------------------------

SHOWN = """[...document.querySelectorAll('#list tbody tr')].filter(row => row.offsetHeight)
    .map(row => (row.querySelector('a') ?? row.cells[0]).textContent)"""
TIMES = "[...document.querySelectorAll('#list time')].map(time => time.textContent)"
ZONE = "document.querySelector('#list th small').textContent"


def test_times_are_those_of_the_reader(start: Start, directory: Path, page: Page) -> None:
    for name, seconds in (("a", 1577845800), ("b", 1593570600)):  # in winter and in summer
        os.utime(make(directory, name, 1), (seconds, seconds))
    url = start(uploads=False).url
    page.call("Emulation.setTimezoneOverride", timezoneId="America/New_York")
    page.go(url)
    assert page.evaluate(TIMES) == ["2019-12-31 21:30", "2020-06-30 22:30"]
    assert page.evaluate(ZONE) == "New York time"
    kept = page.evaluate("[...document.querySelectorAll('time')].map(time => time.dateTime)")
    assert kept == ["2020-01-01T02:30:00Z", "2020-07-01T02:30:00Z"]
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.go(url)
    assert page.evaluate(TIMES) == ["2020-01-01 02:30", "2020-07-01 02:30"]
    assert page.evaluate(ZONE) == "UTC"


def test_the_filter(start: Start, directory: Path, page: Page) -> None:
    names = [
        "Report 2019.pdf",
        "report 2020.pdf",
        "e\u0301t\u00e9",
        "עברית.txt",
        "a/b".replace("/", "?"),
    ]
    for name in names:
        make(directory, name, 1)
    page.go(start(uploads=False).url)
    output = "document.querySelector('#tools output').textContent"

    def filtered(text: str) -> list[str]:
        page.key("/")
        page.call("Input.insertText", text=text)
        shown: list[str] = page.evaluate(SHOWN)
        said = page.evaluate(output)
        page.key("Escape")
        assert page.evaluate(f"{SHOWN}.length") == 5
        assert page.evaluate(output) == ""
        page.evaluate("document.activeElement.blur()")
        assert said == (f"{len(shown)} of 5 names" if text.strip() else "")
        return shown

    assert filtered("REPORT") == ["Report 2019.pdf", "report 2020.pdf"]
    assert filtered("20 rep pdf") == ["Report 2019.pdf", "report 2020.pdf"]
    assert filtered("19") == ["Report 2019.pdf"]
    assert filtered("ÉTÉ") == ["e\u0301t\u00e9"]  # however it is composed
    assert filtered("עב") == ["עברית.txt"]
    assert filtered("?") == ["a?b"]
    assert filtered("no such name") == []
    assert len(filtered("  ")) == 5
    page.key("/")  # a slash in the filter is a slash
    page.key("/")
    assert page.evaluate("document.activeElement.value") == "/"
    assert not page.complaints


def test_the_filter_says_what_it_filters(start: Start, directory: Path, page: Page) -> None:
    numbered(directory, 25)
    page.go(start(listing_page=10, uploads=False).url + "?page=2")
    assert page.evaluate("document.querySelector('#tools label').innerText").startswith(
        "Filter this page"
    )
    page.key("/")
    page.call("Input.insertText", text="15")
    assert page.evaluate("document.querySelector('#tools output').textContent") == (
        "1 of 10 names on this page"
    )
    assert page.evaluate(SHOWN) == ["15"]


def test_the_filter_stays_when_the_entries_change(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    page.go(start().url)
    assert page.evaluate("document.querySelector('#tools label').offsetHeight") == 0
    page.choose_files("#upload input", make(mine, "one", 1))
    wait_for_files(page, "one")
    page.key("/")
    page.call("Input.insertText", text="two")
    page.choose_files("#upload input", make(mine, "two", 1), make(mine, "three", 1))
    wait_for_files(page, "one", "three", "two")
    assert page.evaluate(SHOWN) == ["two"]
    assert page.evaluate("document.activeElement.type") == "search"


def test_the_archive_is_downloaded(start: Start, directory: Path, mine: Path, page: Page) -> None:
    (directory / "sub").mkdir()
    page.go(f"{start().url}sub/")
    button = "document.querySelector('#tools button').offsetHeight"
    assert page.evaluate(button) == 0  # there is nothing in it
    page.choose_files("#upload input", make(mine, "file", 10))
    wait_for_files(page, "file")
    assert page.evaluate(button) > 24
    page.press("#tools button")
    download = page.wait_for_event("Page.downloadWillBegin")
    assert download["suggestedFilename"] == "sub.tar"
    assert download["url"].endswith("/sub/?archive=tar")


def test_without_a_script_there_is_no_filter(start: Start, directory: Path, page: Page) -> None:
    make(directory, "one", 1)
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.go(start(uploads=False).url)
    assert page.evaluate("document.querySelectorAll('#tools :not(form, button)').length") == 0


def test_icons_differ_in_shape_and_are_not_spoken(
    start: Start, directory: Path, page: Page
) -> None:
    names = ["a.png", "b.mp3", "c.mp4", "d.tar.gz", "e.py", "f"]
    for name in names:
        make(directory, name, 1)
    (directory / "sub").mkdir()
    page.go(start(uploads=False).url)
    masks = page.evaluate(
        """[...document.querySelectorAll('#list tbody td:first-child')].map(
            cell => getComputedStyle(cell, '::before').maskImage)"""
    )
    assert len(set(masks)) == 7
    assert all(mask.startswith('url("data:image/svg+xml,') for mask in masks)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    spoken = {
        (node["role"]["value"], node.get("name", {}).get("value"))
        for node in nodes
        if not node["ignored"]
    }
    assert not {role for role, _ in spoken} & {"image", "img"}
    assert {("cell", name) for name in (*names, "sub/")} <= spoken
    urls = [e["params"]["request"]["url"] for e in page.events("Network.requestWillBeSent")]
    assert [url for url in urls if not url.startswith("data:")] == urls[:1]  # the page alone


CONTRASTS = """(() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const paint = (colours) => { // the last one on top
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (colour) => {
        const [r, g, b] = colour.map((part) => part / 255).map((part) =>
            part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
        if (node.closest("script, style")) continue;
        const behind = [];
        let opacity = 1;
        for (let one = node; one; one = one.parentElement) {
            behind.unshift(getComputedStyle(one).backgroundColor);
            opacity *= getComputedStyle(one).opacity;
        }
        if (opacity === 0) continue;
        const paper = ["#fff", ...behind];
        const [one, other] = [light(paint(paper)),
            light(paint([...paper, getComputedStyle(node).color]))].sort((a, b) => b - a);
        const ratio = (one + .05) / (other + .05);
        found.push([opacity < 1 ? 1 : ratio, node.tagName, walker.currentNode.data.trim()]);
    }
    return found;
})()"""


def test_all_text_has_a_contrast_of_4_5(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    numbered(directory, 12)
    (directory / "new\nline").mkdir()
    (directory / "a" / "empty").mkdir(parents=True)
    served = start(deletes=True, listing_page=10)
    failing = make(mine, "failing", 10)
    taken = make(mine, "00", 10)
    seen = set()
    for scheme in ("light", "dark"):
        for width in (1200, 390):
            page.show(width, 800, scheme)
            page.go(f"{served.url}a/empty/")
            seen |= contrasts(page)
            page.go(served.url)
            served.recorder.refusals = [418]
            page.choose_files("#upload input", failing)
            page.wait_until(f"{SAID}[0].includes('418')")
            page.choose_files("#upload input", taken, make(mine, f"{scheme}{width}", 10))
            page.wait_until(f"{SAID}[2].includes('Uploaded')")
            seen |= contrasts(page)
            page.key("/")
            page.call("Input.insertText", text="0")
            page.evaluate("say('This is a message.')")
            seen |= contrasts(page)
    assert {"SMALL", "BUTTON", "A", "TD", "TIME", "I", "B", "P", "H1", "OUTPUT"} <= seen


def contrasts(page: Page) -> set[str]:
    """The elements whose texts are readable: all of those on the page."""
    found = page.evaluate(CONTRASTS)
    assert not [one for one in found if one[0] < 4.5]
    return {tag for _, tag, _ in found}


# --- uploads -------------------------------------------------------------------------------------


def test_files_are_chosen(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    sizes = {"a b?.bin": 300_000, "é": 1, "zero": 0}
    paths = [make(mine, name, size) for name, size in sizes.items()]
    page.go(served.url)
    page.choose_files("#upload input", *paths)
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
    page.drop_files(700, 550, *paths)
    wait_for_files(page, "one", "two")
    assert (directory / "one").read_bytes() == paths[0].read_bytes()
    assert {*os.listdir(directory)} - {".uploads"} == {"one", "two"}
    assert not page.complaints


def test_three_at_once(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    page.go(served.url)
    slow_down(page, 200_000)
    page.choose_files("#upload input", *(make(mine, f"{number}", 100_000) for number in range(5)))
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
    page.choose_files("#upload input", path)
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
    page.choose_files("#upload input", path)
    page.wait_until("document.querySelector('#uploads progress')?.value > .3")
    page.go(served.url)
    slow_down(page, -1)
    page.choose_files("#upload input", path)
    wait_for_files(page, "large")
    assert (directory / "large").read_bytes() == path.read_bytes()
    asked = served.recorder.uploads()
    assert asked.count("PUT large") == 1
    assert "HEAD (upload)" in asked
    assert 0 < int(asked[-1].removeprefix("PATCH (upload) ")) < 3_000_000
    assert page.evaluate("Object.keys(localStorage)") == []


def test_an_upload_that_the_server_has_forgotten_begins_again(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    path = make(mine, "file", 1000)
    page.go(served.url)
    served.recorder.refusals = [404]  # there is no /files/.. of that name, at first
    page.choose_files("#upload input", path)
    page.wait_until(f"{SAID}[0].includes('cannot have this name')")
    key = f"upload {served.url}file 1000 "
    page.evaluate(
        f"""localStorage.setItem({json.dumps(key)} + Math.floor({path.stat().st_mtime * 1000!r}),
            JSON.stringify({{place: {json.dumps(served.url)} + ".uploads/" + "x".repeat(22),
            until: Date.now() + 60000}}))"""
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
    page.choose_files("#upload input", path)
    page.wait_until(f"{SAID}[0] == 'There is a file of this name already.'")
    assert (directory / "file").read_text() == "old"
    click(page, "Skip")
    page.wait_until(f"{ROWS}.length == 0")
    page.choose_files("#upload input", path)
    click(page, "Replace")
    page.wait_until(f"{SAID}[0].startsWith('Uploaded')")
    assert (directory / "file").read_bytes() == path.read_bytes()


def test_cancelling_leaves_nothing(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    page.go(served.url)
    slow_down(page, 500_000)
    page.choose_files("#upload input", make(mine, "file", 3_000_000))
    page.wait_until("document.querySelector('#uploads progress')?.value > .02")
    click(page, "Cancel")
    assert page.evaluate(f"{ROWS}.length") == 0
    served.running.wait_until(lambda: "DELETE (upload)" in served.recorder.asked)
    assert page.evaluate("Object.keys(localStorage)") == []
    slow_down(page, -1)
    page.choose_files("#upload input", make(mine, "next", 10))
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
    page.choose_files("#upload input", make(mine, "file", 400_000))
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
    page.choose_files("#upload input", make(mine, "file", 10))
    click(page, "Dismiss")
    page.choose_files("#upload input", make(mine, "taken", 10))
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
    page.choose_files("#upload input", make(mine, "file", 1000))
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
    page.choose_files("#upload input", make(mine, "file", 1000))
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
    page.choose_files("#upload input", path)
    page.wait_until(f"{SAID}[0]?.startsWith('Uploaded')")
    wait_for_files(page, "file", "taken")
    assert (directory / "file").read_bytes() == path.read_bytes()
    assert served.recorder.uploads() == ["PUT file", "PUT file"]
    assert page.evaluate("Object.keys(localStorage)") == []
    served.recorder.refusals = [status]
    page.choose_files("#upload input", make(mine, "taken", 10))
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
    page.choose_files("#upload input", path)
    wait_for_files(page, "file")
    assert (directory / "file").read_bytes() == path.read_bytes()


def test_a_file_that_is_too_large(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start(upload_bytes=10_000)
    page.go(served.url)
    page.choose_files("#upload input", make(mine, "file", 10_001))
    page.wait_until(f"{SAID}[0] == 'The server accepts at most 10 kB.'")
    assert os.listdir(directory) == [] or os.listdir(directory) == [".uploads"]


def test_a_busy_server_is_asked_again(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    page.go(served.url)
    served.recorder.refusals = [503]
    page.choose_files("#upload input", make(mine, "file", 1000))
    page.wait_until(f"{SAID}[0].includes('is busy. Trying again in 1 s')")
    wait_for_files(page, "file")


def test_plain_uploads_where_none_can_be_resumed(
    serve: Serve, directory: Path, mine: Path, page: Page
) -> None:
    recorder = Recorder(without_resuming(Root(directory)))
    served = Served(serve(recorder), recorder)
    page.go(served.url)
    paths = [make(mine, name, size) for name, size in (("a", 300_000), ("b", 0))]
    page.choose_files("#upload input", *paths)
    wait_for_files(page, "a", "b")
    assert sorted(recorder.uploads()) == ["PUT a", "PUT b"]
    for path in paths:
        assert (directory / path.name).read_bytes() == path.read_bytes()
    page.choose_files("#upload input", paths[0])
    click(page, "Replace")
    page.wait_until(f"{SAID}.length == 3 && {SAID}[2].startsWith('Uploaded')")
    assert not [words for words in page.complaints if "412" not in words]


def test_a_form_uploads_without_a_script(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.go(start().url)
    paths = [make(mine, name, 1000) for name in ("one", "two")]
    page.choose_files("#upload input", *paths)
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
    assert page.evaluate("document.querySelectorAll('.delete').length") == 3
    for accept in (False, True):
        page.press("tr:not(.directory) .delete", opens_dialog=True)
        question = page.wait_for_event("Page.javascriptDialogOpening")["message"]
        assert question == "Delete “a 2%”? It cannot be brought back."
        page.call("Page.handleJavaScriptDialog", accept=accept)
        if not accept:
            assert page.evaluate("document.querySelectorAll('.delete').length") == 3
            assert sorted(os.listdir(directory)) == ["a 2%", "one", "sub"]
    wait_for_files(page, "sub/", "one")
    assert sorted(os.listdir(directory)) == ["one", "sub"]
    assert not page.complaints


def test_a_file_that_cannot_be_deleted_stays(start: Start, directory: Path, page: Page) -> None:
    make(directory, "one", 10)
    served = start(deletes=True, uploads=False)
    page.go(served.url)
    served.recorder.refusals = [403]
    page.press(".delete", opens_dialog=True)
    page.wait_for_event("Page.javascriptDialogOpening")
    page.call("Page.handleJavaScriptDialog", accept=True)
    page.wait_until("document.getElementById('said').textContent.includes('still there')")
    assert page.evaluate(NAMES) == ["one"]


def test_an_empty_directory_is_deleted(start: Start, directory: Path, page: Page) -> None:
    """By the button behind its name, in any order; one with files in it stays."""
    for name in ("full", "empty"):
        (directory / name).mkdir()
    make(directory / "full", "file", 10)
    served = start(deletes=True)
    page.go(f"{served.url}?sort=size&order=desc")
    for name in ("full", "empty"):
        page.press(f".delete[aria-label='Delete {name}/']", opens_dialog=True)
        question = page.wait_for_event("Page.javascriptDialogOpening")["message"]
        assert question == f"Delete “{name}/”? It cannot be brought back."
        page.call("Page.handleJavaScriptDialog", accept=True)
        said = {
            "full": "full/ is still there. The directory is not empty.",
            "empty": "empty/ is deleted.",
        }
        page.wait_until(f"said.textContent == {json.dumps(said[name])}")
    wait_for_files(page, "full/")
    assert served.recorder.uploads() == ["DELETE full/", "DELETE empty/"]


def test_the_page_of_an_empty_directory_deletes_it(
    start: Start, directory: Path, page: Page
) -> None:
    (directory / "a" / "b").mkdir(parents=True)
    served = start(deletes=True)
    page.go(f"{served.url}a/b/")
    assert page.evaluate("document.querySelectorAll('#list button:not(th *)').length") == 1
    page.press(".none button", opens_dialog=True)
    page.wait_for_event("Page.javascriptDialogOpening")
    page.call("Page.handleJavaScriptDialog", accept=True)
    page.wait_until("document.querySelector('h1').textContent == 'a'")
    assert os.listdir(directory / "a") == []
    (directory / "a").rmdir()
    page.go(served.url)  # the directory of the mount stays
    assert page.evaluate("document.querySelectorAll('#list button:not(th *)').length") == 0


def test_no_script_where_there_is_nothing_for_it(start: Start, directory: Path, page: Page) -> None:
    make(directory, "one", 10)
    page.go(start(uploads=False).url)
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("typeof Upload + typeof askToDelete") == "undefinedundefined"
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
    page.press(".delete", opens_dialog=True)
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


# --- directories ---------------------------------------------------------------------------------


def tree(directory: Path) -> dict[str, bytes]:
    """The files that are served, by their paths."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".uploads" not in path.parts
    }


def make_tree(mine: Path) -> Path:
    """A directory with everything that may be in one."""
    album = mine / "my album #1"
    (album / "sub dir" / "deep").mkdir(parents=True)
    (album / ".git").mkdir()
    (album / "nothing").mkdir()
    for name in ("a%2f.txt", "sub dir/é.bin", "sub dir/deep/x", ".DS_Store", ".git/config"):
        make(album, name, 1000)
    return album


def shown_files(album: Path) -> dict[str, bytes]:
    return {
        f"{album.name}/{name}": data
        for name, data in tree(album).items()
        if not any(part.startswith(".") for part in name.split("/"))
    }


def note_messages(page: Page) -> None:
    """Keep the messages, which leave the page after some seconds, in `messages`."""
    page.evaluate(
        """globalThis.messages = [], new MutationObserver(() => messages.push(said.textContent))
            .observe(said, {childList: true})"""
    )


def test_a_directory_is_chosen(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    album = make_tree(mine)
    page.go(served.url)
    note_messages(page)
    page.choose_files("#upload input[webkitdirectory]", album)
    wait_for_files(page, "my album #1/")
    page.wait_until(f"{SAID}.filter(words => words.startsWith('Uploaded')).length == 3")
    assert tree(directory) == shown_files(album)
    assert page.evaluate("messages[0]") == "Left out: 2 hidden names."
    assert not page.complaints


def test_a_directory_is_dropped(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    album = make_tree(mine)
    for number in range(120):  # a reader returns 100 entries at a time
        make(album / "sub dir", f"{number}", 10)
    page.show(800, 600, "light")
    page.go(served.url)
    note_messages(page)
    page.drop_files(700, 550, album, make(mine, "beside", 5))
    page.wait_until(f"{TOTALS} == '124 files uploaded'")
    assert page.evaluate("messages[0]") == "Left out: 2 hidden names, 1 empty directory."
    expected = {**shown_files(album), "beside": (mine / "beside").read_bytes()}
    assert len(expected) == 124
    assert tree(directory) == expected
    assert not page.complaints


# --- many uploads --------------------------------------------------------------------------------

TOTALS = "document.querySelector('#uploads li b').textContent"


def test_more_than_five_uploads_are_one_row(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    paths = [make(mine, f"{number}", 100_000) for number in range(9)]
    make(directory, "7", 5)
    page.go(served.url)
    slow_down(page, 200_000)
    page.choose_files("#upload input", *paths[:5])
    page.wait_until(f"{ROWS}.length == 5")
    page.choose_files("#upload input", *paths[5:])
    page.wait_until(f"{ROWS}.length == 1 && {TOTALS} == 'Uploading 9 files'")
    words = r"^\d of 9 files · .* kB of 900 kB · .* kB\/s · \d+ s left"
    page.wait_until(f"/{words}/.test({SAID}[0])")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    spoken = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    }
    assert ("progressbar", "Uploading 9 files") in spoken
    assert ("button", "Cancel all: Uploading 9 files") in spoken
    slow_down(page, -1)
    page.wait_until(f"{TOTALS} == '8 of 9 files uploaded'")
    assert page.evaluate("announced.textContent") == "8 of 9 files uploaded. Not uploaded: 1."
    titles = page.evaluate(f"{ROWS}.map(row => row.querySelector('b').textContent)")
    assert titles == ["8 of 9 files uploaded", "7"]
    assert page.evaluate(SAID) == [
        "800 kB · 1 exist already",
        "There is a file of this name already.",
    ]
    click(page, "Replace all")
    page.wait_until(f"{TOTALS} == '9 files uploaded'")
    assert tree(directory) == {path.name: path.read_bytes() for path in paths}
    assert not [words for words in page.complaints if "412" not in words]


def test_failures_are_listed_and_tried_again(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    paths = [make(mine, f"{number}", 10) for number in range(8)]
    page.go(served.url)
    served.recorder.refusals = [418, 418, 418]
    page.choose_files("#upload input", *paths)
    page.wait_until(f"{TOTALS} == '5 of 8 files uploaded'")
    assert page.evaluate(SAID)[0] == "50 B · 3 failed"
    assert page.evaluate(f"{ROWS}.length") == 4
    click(page, "Dismiss")
    page.wait_until(f"{ROWS}.length == 1")
    page.wait_until(f"{TOTALS} == '5 files uploaded'")
    served.recorder.refusals = [418] * 8
    again = [make(mine, f"again {number}", 10) for number in range(8)]
    page.choose_files("#upload input", *again)
    page.wait_until(f"{TOTALS} == '0 of 8 files uploaded'")
    click(page, "Retry failed")
    page.wait_until(f"{TOTALS} == '8 files uploaded'")
    assert {path.name for path in again} <= set(tree(directory))


def test_all_are_cancelled(start: Start, directory: Path, mine: Path, page: Page) -> None:
    served = start()
    page.go(served.url)
    slow_down(page, 100_000)
    page.choose_files("#upload input", *(make(mine, f"{number}", 300_000) for number in range(20)))
    page.wait_until(f"/ kB of 6.0 MB/.test({SAID}[0])")
    click(page, "Cancel all")
    page.wait_until(f"{ROWS}.length == 0")
    slow_down(page, -1)
    served.running.wait_until(lambda: left_in(directory) == [])
    assert tree(directory) == {}
    assert page.evaluate("Object.keys(localStorage)") == []
    page.choose_files("#upload input", make(mine, "next", 10))
    wait_for_files(page, "next")


def test_a_file_that_is_chosen_twice_is_sent_once(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    path = make(mine, "file", 300_000)
    page.go(served.url)
    slow_down(page, 100_000)
    page.choose_files("#upload input", path)
    page.wait_until("document.querySelector('#uploads progress')?.value > 0")
    page.choose_files("#upload input", path)
    slow_down(page, -1)
    page.wait_until(f"{SAID}[0].startsWith('Uploaded')")
    assert page.evaluate(f"{ROWS}.length") == 1
    assert served.recorder.uploads() == ["PUT file", "PATCH (upload) 0"]
    assert (directory / "file").read_bytes() == path.read_bytes()
    fails = make(mine, "fails", 10)
    served.recorder.refusals = [418]
    page.choose_files("#upload input", fails)
    page.wait_until(f"{SAID}.at(-1).includes('418')")
    page.choose_files("#upload input", fails)  # as its Retry
    page.wait_until(f"{SAID}.at(-1).startsWith('Uploaded')")


def test_many_failures_are_listed_in_part(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    page.go(served.url)
    served.recorder.refusals = [418] * 150
    page.choose_files("#upload input", *(make(mine, f"{number}", 1) for number in range(150)))
    page.wait_until(f"{TOTALS} == '0 of 150 files uploaded'")
    assert page.evaluate(f"{ROWS}.length") == 101
    assert page.evaluate(SAID)[0] == "0 B · 150 failed · the first 100 are listed below"
    click(page, "Retry failed")
    page.wait_until(f"{TOTALS} == '150 files uploaded'")


def test_the_focus_goes_down_the_page(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    (directory / "sub").mkdir()
    served = start(deletes=True)
    served.recorder.refusals = [418]
    page.call("Emulation.setTimezoneOverride", timezoneId="UTC")
    page.go(f"{served.url}sub/")
    page.choose_files("#upload input", make(mine, "a", 10))
    page.wait_until(f"{SAID}[0].includes('418')")
    focused = """(({ariaLabel, labels, textContent}) =>
        ariaLabel ?? (labels?.length ? labels[0].innerText : textContent).trim()
    )(document.activeElement)"""
    order = []
    page.evaluate("document.body.focus()")
    for _ in range(10):
        page.key("Tab")
        order.append(page.evaluate(focused))
    assert order == [
        *("files", "Choose files", "Choose a directory", "Retry: a", "Dismiss: a"),
        *("Name", "Size", "Changed UTC", "Delete this directory"),
        order[-1],  # the browser itself
    ]


def test_the_focus_stays_among_the_uploads(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    served.recorder.refusals = [418, 418]
    page.go(served.url)
    page.choose_files("#upload input", make(mine, "a", 10), make(mine, "b", 10))
    page.wait_until(f"{SAID}.filter(words => words.includes('418')).length == 2")
    focused = "document.activeElement.ariaLabel ?? document.activeElement.type"
    page.evaluate("document.querySelectorAll('#uploads button')[1].focus()")
    assert page.evaluate(focused) == "Dismiss: a"
    page.key("Enter")
    page.wait_until(f"{ROWS}.length == 1")
    assert page.evaluate(focused) == "Retry: b"
    page.evaluate("document.querySelectorAll('#uploads button')[1].focus()")
    page.key("Enter")
    page.wait_until(f"{ROWS}.length == 0")
    assert page.evaluate(focused) == "file"


# --- leaving and coming back ---------------------------------------------------------------------


def test_leaving_asks_while_something_is_unsent(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    (directory / "sub").mkdir()
    served = start()
    page.go(served.url)
    page.press("h1")  # without a gesture of the user the browser never asks
    page.follow(".directory a")  # nothing was sent yet
    page.follow("nav a")
    page.press("h1")
    slow_down(page, 100_000)
    page.choose_files("#upload input", make(mine, "large", 1_000_000))
    page.wait_until("document.querySelector('#uploads progress')?.value > 0")
    page.press(".directory a", opens_dialog=True)
    assert page.wait_for_event("Page.javascriptDialogOpening")["type"] == "beforeunload"
    page.call("Page.handleJavaScriptDialog", accept=False)
    slow_down(page, -1)
    page.wait_until(f"{SAID}[0].startsWith('Uploaded')")
    page.follow(".directory a")
    assert page.evaluate("document.querySelector('h1').textContent") == "sub"
    served.recorder.refusals = [418]
    page.press("h1")
    page.choose_files("#upload input", make(mine, "fails", 10))
    page.wait_until(f"{SAID}[0].includes('418')")
    page.follow("nav a")  # a failed upload does not go on by itself
    assert page.events("Page.javascriptDialogOpening") == []


def interrupt(page: Page, served: Served, path: Path) -> None:
    """Begin to send a large file, and come back."""
    page.go(served.url)
    slow_down(page, 600_000)
    page.choose_files("#upload input", path)
    page.wait_until("document.querySelector('#uploads progress')?.value > .3")
    page.go(served.url)
    slow_down(page, -1)
    page.wait_until(f"{SAID}[0]?.startsWith('Interrupted, ')")


def choose_in_dialog(page: Page, label: str, path: Path) -> None:
    """Press the button, and choose the file in the dialog that it opens."""
    page.press(f"#uploads button[aria-label^='{label}']")
    node = page.wait_for_event("Page.fileChooserOpened")["backendNodeId"]
    page.call("DOM.setFileInputFiles", backendNodeId=node, files=[str(path)])


def test_after_a_reload_the_page_says_what_can_be_continued(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    path = make(mine, "large", 3_000_000)
    interrupt(page, served, path)
    assert page.evaluate(f"/^Interrupted, [\\d.]+ [kM]B of 3.0 MB are there/.test({SAID}[0])")
    record = json.loads(page.evaluate("Object.values(localStorage)[0]"))
    assert set(record) == {"page", "path", "size", "date", "place", "until"}
    other = mine / "other"
    other.mkdir()
    choose_in_dialog(page, "Continue", make(other, "large", 3_000_000))
    page.wait_until(f"{SAID}[0].startsWith('large is another file')")
    choose_in_dialog(page, "Continue", path)
    wait_for_files(page, "large")
    assert (directory / "large").read_bytes() == path.read_bytes()
    asked = served.recorder.uploads()
    assert asked.count("PUT large") == 1
    assert 0 < int(asked[-1].removeprefix("PATCH (upload) ")) < 3_000_000
    assert page.evaluate("Object.keys(localStorage)") == []


def test_another_file_of_the_same_name_does_not_continue(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    interrupt(page, served, make(mine, "large", 3_000_000))
    other = mine / "other"
    other.mkdir()
    path = make(other, "large", 1000)
    page.choose_files("#upload input", path)
    wait_for_files(page, "large")
    assert page.evaluate(f"{SAID}.at(-1)").startswith("Interrupted, ")  # behind all others
    assert (directory / "large").read_bytes() == path.read_bytes()
    place = page.evaluate("records.all()[0].place")
    page.press("#uploads button[aria-label^='Discard']")
    page.wait_until("Object.keys(localStorage).length == 0")
    served.running.wait_until(lambda: "DELETE (upload)" in served.recorder.asked)
    page.wait_until(f"fetch('{place}', {{method: 'HEAD'}}).then(({{status}}) => status == 404)")


def test_uploads_that_the_server_has_dropped_vanish(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    interrupt(page, served, make(mine, "large", 3_000_000))
    key, value = page.evaluate("Object.entries(localStorage)[0]")
    place = json.loads(value)["place"]
    assert (
        page.evaluate(f"fetch({json.dumps(place)}, {{method: 'DELETE'}}).then(r => r.status)")
        == 204
    )
    page.go(served.url)
    page.wait_until("Object.keys(localStorage).length == 0")
    assert page.evaluate(f"{ROWS}.length") == 0
    # One that has expired, and those of no known form.
    old = json.dumps({**json.loads(value), "until": 1})
    page.evaluate(
        f"for (const text of [{json.dumps(old)}, 'x', '{{}}', 'null'])"
        f" localStorage.setItem({json.dumps(key)} + text, text)"
    )
    served.recorder.asked.clear()
    page.go(served.url)
    assert page.evaluate("Object.keys(localStorage)") == []
    assert served.recorder.uploads() == []


def test_records_are_bounded(start: Start, directory: Path, page: Page) -> None:
    page.go(start().url)
    page.evaluate(
        """for (let number = 0; number < 50; number += 1)
            records.set({file: {size: 1, lastModified: number}, path: 'x', place: 'y',
                key: number}, number + 60)"""
    )
    assert page.evaluate("Object.keys(localStorage).length") == 20
    assert page.evaluate("records.get(49) + records.get(30)") == "yy"


def test_two_pages_do_not_disturb_each_other(
    start: Start, directory: Path, mine: Path, page: Page
) -> None:
    served = start()
    path = make(mine, "large", 1_000_000)
    page.go(served.url)
    slow_down(page, 100_000)
    page.choose_files("#upload input", path)
    page.wait_until("document.querySelector('#uploads progress')?.value > 0")
    other = page.beside()
    other.go(served.url)
    other.wait_until("elsewhere.size == 1")
    other.wait_until(f"{ROWS}.length == 0")
    slow_down(page, -1)
    page.wait_until(f"{SAID}[0].startsWith('Uploaded')")
    assert (directory / "large").read_bytes() == path.read_bytes()
