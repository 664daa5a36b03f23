"""What parent and child say to each other: reports in any pieces, and what is none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from reactor.process.child import (
    REPORT_BYTES,
    VARIABLE,
    Ended,
    Inheritance,
    MessageDecoder,
    Ready,
    ReloadChild,
    Report,
    Seen,
)
from reactor.process.file_watcher import mark


def lines(*reports: Any) -> bytes:
    return b"".join(json.dumps(report).encode() + b"\n" for report in reports)


def read(*pieces: bytes) -> list[Report]:
    reports = MessageDecoder()
    return [report for piece in pieces for report in reports.feed(piece)]


def test_reports_in_any_pieces() -> None:
    data = lines(["file", "/ä\udcff", [1, 2, 3]], ["file", "/b", None], ["ready"], ["ended", 2])
    expected = [Seen("/ä\udcff", (1, 2, 3)), Seen("/b", None), Ready(), Ended(2)]
    assert read(data) == expected
    assert read(*(data[at : at + 1] for at in range(len(data)))) == expected


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"",
            b"hello",
            b"\xff\xfe",
            b"{",
            b"3",
            b"null",
            b'"ready"',
            b"{}",
            b"[]",
            b'["readily"]',
        ),
        *(b'["ready", 1]', b'["ended"]', b'["ended", "1"]', b'["file", 1, null]', b'["file", "a"]'),
        *(b'["file", "a", [1, 2]]', b'["file", "a", [1, 2, "3"]]', b'["file", "a", 1]'),
        b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_passed_over(line: bytes) -> None:
    assert read(line + b"\n" + lines(["ready"])) == [Ready()]


def test_a_line_without_an_end_is_not_kept() -> None:
    piece = b"x" * 65536
    reports = MessageDecoder()
    for _ in range(2 * REPORT_BYTES // len(piece)):
        assert list(reports.feed(piece)) == []
        assert len(reports._buffer) <= REPORT_BYTES
    assert list(reports.feed(b"\n" + lines(["ready"]))) == [Ready()]


def test_a_process_that_nobody_has_started_so_is_no_child() -> None:
    assert VARIABLE not in os.environ
    assert ReloadChild.inherited() is None


def test_a_child_takes_what_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    lifeline = os.open(os.devnull, os.O_RDONLY)
    for descriptor in (writing, lifeline):
        os.set_inheritable(descriptor, True)
    given = Inheritance([lifeline], writing, lifeline, True)
    monkeypatch.setenv(VARIABLE, given.environment()[VARIABLE])
    child = ReloadChild.inherited()
    assert child is not None
    assert child.first
    assert VARIABLE not in os.environ
    assert not os.get_inheritable(writing)
    assert not os.get_inheritable(lifeline)
    path = str(tmp_path)
    child._saw(path)
    child._saw("/no/such/file")
    child.ready()
    child.ended(2)
    told = read(os.read(reading, 65536))
    assert told == [Seen(path, mark(path)), Seen("/no/such/file", None), Ready(), Ended(2)]
    os.close(reading)
    child.ready()  # to nobody
    os.close(writing)
    os.close(lifeline)
    assert ReloadChild.inherited() is None
