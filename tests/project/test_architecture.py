"""docs/architecture.md says what the code says: pictures, packages, trips, states, glossary.

Each picture and table that shows code is made from the code here, and the page must contain it to
the letter; the message of a failing test is the text to put there.
"""

import ast
import re
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

import reactor.loop.reactor
from handlers.app import make_app
from reactor import Application, Limits, Response, Server, sleep
from reactor.http.context import Handler
from reactor.http.states import TRANSITIONS, ConnectionState
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from tests.project.glossary import NAMES, PROSE
from tests.project.modules import MODULES, RANKS, ours, package_of
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
WORDS = ("wait", "now", "events", "timers", "soon", "bulk")


def section(title: str) -> str:
    match = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", PAGE, re.M | re.S)
    assert match is not None, f"the page has no section {title!r}"
    return match[1]


# --- the loop --------------------------------------------------------------------------------


def test_the_six_words_are_the_loops() -> None:
    assert re.findall(r"^\| \*\*(\w+)\*\* \|", section("The loop"), re.M) == list(WORDS)
    assert re.findall(r'^    (\w+)\["<b>\1</b>', PAGE, re.M) == list(WORDS)
    assert f"    {' --> '.join(WORDS)} --> {WORDS[0]}" in PAGE
    docstring = reactor.loop.reactor.__doc__ or ""
    assert re.findall(r"^    (\w+) ", docstring, re.M) == list(WORDS)


# --- the packages ----------------------------------------------------------------------------


def chapter_of(module: str) -> str:
    """The node of the picture that a module belongs to; all of web/ is one."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "reactor"


def imports_of_chapters() -> dict[str, set[str]]:
    """For each chapter, the others that it imports from."""
    edges: dict[str, set[str]] = {}
    for name in MODULES:
        chapter = chapter_of(name)
        if chapter not in ("reactor", "__main__"):
            found = edges.setdefault(chapter, set())
            found |= {chapter_of(other) for other, _ in ours(name)} - {chapter, "reactor"}
    return edges


def reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    pending = list(edges[start])
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending += edges[one]
    return found


def picture() -> str:
    """The chapters; an import that follows from others is left out."""
    edges = imports_of_chapters()
    lines = ["flowchart TB"]
    for chapter in sorted(edges):
        direct = edges[chapter]
        implied = {far for near in direct for far in reachable(edges, near)}
        lines += [f"    {chapter} --> {other}" for other in sorted(direct - implied)]
    return "\n".join(lines)


def packages_table() -> str:
    rows = ["| package | what it is |", "| --- | --- |"]
    for row in RANKS:
        for name in row:
            if name not in ("reactor", "reactor.__main__"):
                doc = ast.get_docstring(MODULES[name]) or ""
                path = name.replace(".", "/")
                path += "/" if (ROOT / path).is_dir() else ".py"
                summary = " ".join(doc.split("\n\n")[0].split())
                rows.append(f"| [`{path.removeprefix('reactor/')}`](../{path}) | {summary} |")
    return "\n".join(rows)


def test_the_picture_shows_the_imports() -> None:
    assert f"```mermaid\n{picture()}\n```" in PAGE, picture()


def test_the_table_has_every_package() -> None:
    assert packages_table() in PAGE, packages_table()
    assert {package_of(name) for name in MODULES} <= {name for row in RANKS for name in row} | {
        "reactor",
        "reactor.web",
    }


# --- trips -----------------------------------------------------------------------------------

Call = tuple[str, str]  # qualified name of a function, and its file from the project's root


class Trip:
    """A server on a socket pair; notes each function of the project that a request enters."""

    def __init__(self, handler: Handler) -> None:
        self.server = Server(handler)
        ours, self.client = socket.socketpair()
        ours.setblocking(False)
        self.client.settimeout(0)
        self.server.connect(ours, ("test", 0))
        self.entered: list[Call] = []

    def request(self, data: bytes, noted: bool = True) -> bytes:
        """Send it and run turns until there is a response."""
        self.client.sendall(data)
        if noted:
            sys.setprofile(self._on_call)
            threading.setprofile(self._on_call)
        try:
            for _ in range(100):
                self.server.reactor.run_once(0.1)
                try:
                    return self.client.recv(65536)
                except BlockingIOError:
                    pass
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type, unused-ignore]
        raise AssertionError("no response")

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def _on_call(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT):
                self.entered.append((frame.f_code.co_qualname, str(path.relative_to(ROOT))))


def demo(directory: Path) -> Handler:
    return Site(SiteOptions(directory=str(directory)), Limits(), make_app()).handler


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


def echo(directory: Path) -> list[Call]:
    trip = Trip(demo(directory))
    assert trip.request(get("/echo/hello")).endswith(b"\r\n\r\nhello")
    trip.close()
    return trip.entered


def file(directory: Path) -> list[Call]:
    (directory / "file.txt").write_bytes(b"text")
    trip = Trip(demo(directory))
    trip.request(get("/files/file.txt"), noted=False)  # now it is open
    assert trip.request(get("/files/file.txt")).endswith(b"\r\n\r\ntext")
    trip.close()
    return trip.entered


def upload(directory: Path) -> list[Call]:
    trip = Trip(demo(directory))
    request = b"PUT /files/new.txt HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\ntext"
    assert trip.request(request).startswith(b"HTTP/1.1 201")
    trip.close()
    assert (directory / "new.txt").read_bytes() == b"text"
    return trip.entered


def coroutine(directory: Path) -> list[Call]:
    app = Application()

    @app.get("/nap")
    async def nap(request: object) -> Response:
        await sleep(0.01)
        return Response(200, b"rested")

    trip = Trip(app)
    trip.request(get("/nap"), noted=False)  # now its route is found without a search
    assert trip.request(get("/nap")).endswith(b"\r\n\r\nrested")
    trip.close()
    return trip.entered


def rows_of(title: str) -> list[Call]:
    rows = re.findall(r"^\| \d+ \| \[`([^`]+)`\]\(\.\./([\w/.]+)\)", section(title), re.M)
    assert len(rows) >= 6
    return rows


@pytest.mark.parametrize("trip", [echo, file, upload, coroutine])
def test_a_request_makes_the_trip(trip: Callable[[Path], list[Call]], tmp_path: Path) -> None:
    """The functions of the table are entered in its order."""
    entered = iter(trip(tmp_path))
    for row in rows_of(trip.__name__.capitalize()):
        assert row in entered, f"{row} is not entered, or not in this place"


# --- states ----------------------------------------------------------------------------------


def diagram() -> str:
    """TRANSITIONS for Mermaid; the way to CLOSED, which all have, is left out of all but one."""
    lines = ["stateDiagram-v2", "    [*] --> IDLE"]
    for state, targets in TRANSITIONS.items():
        for target in sorted(targets):
            if target is not state and (
                target is not ConnectionState.CLOSED or state is ConnectionState.LINGER
            ):
                lines.append(f"    {state.name} --> {target.name}")
    lines += ["    CLOSED --> [*]", "    note right of CLOSED: a reset leads here from every state"]
    return "\n".join(lines)


def test_the_diagram_is_made_from_the_transitions() -> None:
    assert f"```mermaid\n{diagram()}\n```" in PAGE, diagram()


def test_every_state_has_its_row() -> None:
    rows = re.findall(r"^\| ([A-Z]+) \|", section("The states of a connection"), re.M)
    assert rows == [state.name for state in ConnectionState]


def test_every_state_can_be_left_and_every_state_can_be_lost() -> None:
    for state, targets in TRANSITIONS.items():
        assert state is ConnectionState.CLOSED or ConnectionState.CLOSED in targets


# --- words -----------------------------------------------------------------------------------


def test_the_glossary_is_in_order_and_its_bans_are_held() -> None:
    row = re.compile(r"^\| ([a-z][^|]*?) \| [^|]* \| `?([^|`]*?)`? ?\|", re.M)
    rows = row.findall(section("Glossary"))[1:]
    words = [word for word, _ in rows]
    assert words == sorted(words, key=str.lower)
    assert len(words) > 25
    for _, banned in rows:
        assert not banned or any(re.fullmatch(word, banned) for word in (*PROSE, *NAMES)), banned


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert link.startswith("https://") or (ROOT / "docs" / link).exists(), link
