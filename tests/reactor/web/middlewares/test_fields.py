"""Answers: fields that are added to a copy, Vary, and bodies that nobody sends."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor import File, FileRegion, MultiRegion, Response, Trailed, sleep
from reactor.web.middlewares.fields import has_field, varying, with_fields
from reactor.web.streams import BodyStream, discard


def test_an_answer_is_not_changed_in_place() -> None:
    answer = Response(404, b"x", [("A", "1")])
    more = with_fields(answer, ("B", "2"))
    assert (more.status, more.body, list(more.headers)) == (404, b"x", [("A", "1"), ("B", "2")])
    assert answer.headers == [("A", "1")]
    assert has_field(more, "b")
    assert not has_field(answer, "b")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "Origin"),
        ([("Vary", "Accept")], "Accept, Origin"),
        ([("vary", "Accept"), ("Vary", "TE")], "Accept, TE, Origin"),
        ([("Vary", "accept , ORIGIN")], "accept , ORIGIN"),
        ([("Vary", "*")], "*"),
        ([("Vary", "Original")], "Original, Origin"),
    ],
)
def test_vary(given: list[tuple[str, str]], expected: str) -> None:
    answer = Response(200, b"", [("A", "1"), *given])
    found = varying(answer, "Origin")
    values = [value for name, value in found.headers if name.lower() == "vary"]
    assert values == [expected]
    assert ("A", "1") in found.headers
    assert len(answer.headers) == 1 + len(given)


class Source(Iterator[bytes]):
    closed = 0

    def __next__(self) -> bytes:
        return b"x"

    def close(self) -> None:
        self.closed += 1


class LaterSource(BodyStream):
    def __init__(self, waits: bool) -> None:
        self.waits = waits
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1
        if self.waits:
            await sleep(1)
            self.closed += 10


@pytest.mark.parametrize("source", [Source(), LaterSource(False), LaterSource(True)])
def test_a_body_that_nobody_sends_is_closed(source: Any) -> None:
    discard(Response(200, source))
    assert source.closed == 1
    discard(Response(200, Trailed(source, lambda: ())))
    assert source.closed == 2


async def generated() -> AsyncIterator[bytes]:
    yield b"x"


def test_bodies_that_need_no_closing() -> None:
    for body in (b"x", memoryview(b"x"), iter([b"x"]), generated()):
        discard(Response(200, body))


def test_a_file_is_let_go(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    for make in (lambda region: region, lambda region: MultiRegion([b"a", region])):
        opened = File(os.open(tmp_path / "file", os.O_RDONLY), 10)
        discard(Response(200, make(FileRegion(opened, 0, 10))))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(opened.descriptor)
