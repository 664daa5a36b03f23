"""The README says what the code says: the loop's words, the trip, the states.

What is a picture of the code is made from it here, and the README must hold it to the letter; the
message of a failing test is the text to put there.
"""

import re
import socket
import sys
from pathlib import Path
from types import FrameType

import reactor.loop.reactor
from reactor import Response, Server
from reactor.http.states import TRANSITIONS, ConnectionState
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()
WORDS = ("wait", "now", "events", "timers", "soon")


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


def section(title: str) -> str:
    match = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", README, re.M | re.S)
    assert match is not None, f"the README has no section {title!r}"
    return match[1]


def test_the_diagram_is_made_from_the_transitions() -> None:
    assert f"```mermaid\n{diagram()}\n```" in README, diagram()


def test_every_state_has_its_row() -> None:
    rows = re.findall(r"^\| ([A-Z]+) \|", section("The states of a connection"), re.M)
    assert rows == [state.name for state in ConnectionState]


def test_every_state_can_be_left_and_every_state_can_be_lost() -> None:
    for state, targets in TRANSITIONS.items():
        assert state is ConnectionState.CLOSED or ConnectionState.CLOSED in targets


def test_the_five_words_are_the_loops() -> None:
    assert re.findall(r"^\| \*\*(\w+)\*\* \|", section("The loop"), re.M) == list(WORDS)
    docstring = reactor.loop.reactor.__doc__ or ""
    assert ", ".join(WORDS) in docstring
    assert re.findall(r"^    (\w+) ", docstring, re.M) == list(WORDS)


def test_a_request_makes_the_trip() -> None:
    """The seven functions, entered in this order while the loop answers one request."""
    rows = re.findall(r"^\| \d \| \[`([\w.]+)`\]\(([\w/.]+)\)", section("A request's trip"), re.M)
    assert len(rows) == 7
    entered: list[tuple[str, str]] = []

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT):
                entered.append((frame.f_code.co_qualname, str(path.relative_to(ROOT))))

    server = Server(lambda request: Response(200, b"hello"))
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    server.connect(ours, ("test", 0))
    theirs.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    sys.setprofile(on_call)
    server.reactor.run_once()
    sys.setprofile(None)
    assert theirs.recv(4096).startswith(b"HTTP/1.1 200")
    theirs.close()
    server.close()
    assert [call for call in entered if call in rows] == rows


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_make_target_of_the_readme_is_one() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", README):
        if target not in ("lists", "alone", "and"):
            assert re.search(rf"^{target}:", makefile, re.M), target
