"""Responses: copies with other fields, and bodies that are closed without being sent."""

import copy
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor import File, FileRegion, Response, Trailed
from reactor.files.region import MultiRegion
from reactor.loop.reactor import Reactor
from reactor.messages.response import close_pieces, plain_response
from reactor.protocol.response_encoder import FieldBlock
from reactor.tasks.futures import Future
from reactor.tasks.task import Runtime
from reactor.tasks.thread_pool import ThreadPool
from reactor.web.streams import BodyStream


def test_a_response_with_more_fields_is_a_new_one() -> None:
    response = Response(404, b"x", [("A", "1")])
    more = response.with_headers(("B", "2"), ("a", "3"))
    fields = [("A", "1"), ("B", "2"), ("a", "3")]
    assert (more.status, more.body, list(more.headers)) == (404, b"x", fields)
    assert response.headers == (("A", "1"),)


def test_replace_keeps_the_rest() -> None:
    response = Response(404, b"x", [("A", "1")])
    for changed, expected in (
        (response.replace(), (404, b"x", (("A", "1"),))),
        (response.replace(status=200), (200, b"x", (("A", "1"),))),
        (response.replace(body=b""), (404, b"", (("A", "1"),))),
        (response.replace(headers={"B": "2"}), (404, b"x", (("B", "2"),))),
        (response.replace(headers=()), (404, b"x", ())),
    ):
        assert (changed.status, changed.body, changed.headers) == expected
        assert changed is not response
    assert (response.status, response.body, response.headers) == (404, b"x", (("A", "1"),))


class Short(Response):
    """A response of an application's own class, with an attribute of its own."""

    def __init__(self, sentence: str) -> None:
        super().__init__(404, sentence.encode(), {"A": "1"})
        self.sentence = sentence


@pytest.mark.parametrize("make", [lambda: Response(404, b"x", [("A", "1")]), lambda: Short("x")])
@pytest.mark.parametrize(
    ("name", "value", "helper"),
    [
        ("status", 200, "response.replace(status=...)"),
        ("body", b"y", "response.replace(body=...)"),
        ("headers", [], "response.with_headers((name, value))"),
    ],
)
def test_a_response_is_immutable(make: Any, name: str, value: Any, helper: str) -> None:
    response: Any = make()
    with pytest.raises(AttributeError, match=re.escape(helper)):
        setattr(response, name, value)
    with pytest.raises(AttributeError, match="immutable"):
        delattr(response, name)
    with pytest.raises(AttributeError):
        Response.__init__(response, 200, b"y")
    for one in (response, response.replace(), copy.copy(response), copy.deepcopy(response)):
        assert (one.status, one.body, one.headers) == (404, b"x", (("A", "1"),))
        assert isinstance(one, Response)
        with pytest.raises(AttributeError, match="immutable"):
            setattr(one, name, value)


def test_a_response_has_no_other_attributes() -> None:
    response: Any = Response()
    with pytest.raises(AttributeError, match="no 'status_code'"):
        response.status_code = 404
    short: Any = Short("gone")
    short.seen = True  # an own class may have attributes of its own
    assert (short.sentence, short.seen) == ("gone", True)
    assert repr(short) == "<Response 404>"


def test_a_list_of_fields_that_changes_later_changes_no_response() -> None:
    fields = [("A", "1")]
    response = Response(200, b"", fields)
    mapping = {"A": "1"}
    other = Response(200, b"", mapping)
    fields.append(("B", "2"))
    mapping["B"] = "2"
    assert response.headers == other.headers == (("A", "1"),)


def test_a_block_of_fields_stays_a_block() -> None:
    block = FieldBlock([("A", "1")])
    assert Response(200, b"", block).headers is block


@pytest.mark.parametrize("headers", ["A: 1", b"A: 1", 7, ["A"], [("A",)], [("A", "1", "2")], "AB"])
def test_fields_that_are_no_pairs(headers: Any) -> None:
    with pytest.raises(TypeError, match="pair"):
        Response(200, b"", headers)


def test_a_sentence_in_plain_text() -> None:
    response = plain_response(400, "This is wrong.", [("X", "y")])
    assert (response.status, response.body) == (400, b"This is wrong.\n")
    assert list(response.headers) == [("Content-Type", "text/plain; charset=utf-8"), ("X", "y")]


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
        self.ended: Future[None] = Future()

    async def aclose(self) -> None:
        self.closed += 1
        if self.waits:
            await self.ended
            self.closed += 10


@pytest.mark.parametrize("source", [Source(), LaterSource(False), LaterSource(True)])
def test_a_body_that_is_not_sent_is_closed(source: Any) -> None:
    Response(200, source).close()
    assert source.closed == 1
    Response(200, Trailed(source, lambda: ())).close()
    assert source.closed == 2


def test_with_a_runtime_the_closing_is_waited_for() -> None:
    reactor = Reactor()
    runtime = Runtime(reactor, ThreadPool(reactor, 1, 1, 5.0), cancel_timeout=60.0)
    try:
        source = LaterSource(True)
        Response(200, source).close(runtime)
        assert source.closed == 1
        source.ended.set_result(None)
        reactor.run_once(0)
        assert source.closed == 11
    finally:
        runtime.pool.close()
        reactor.close()


async def generated() -> AsyncIterator[bytes]:
    yield b"x"


def test_bodies_that_need_no_closing() -> None:
    for body in (b"x", memoryview(b"x"), iter([b"x"]), generated()):
        Response(200, body).close()


def test_a_file_is_released(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    for make in (lambda region: region, lambda region: MultiRegion([b"a", region])):
        opened = File(os.open(tmp_path / "file", os.O_RDONLY), 10)
        Response(200, make(FileRegion(opened, 0, 10))).close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(opened.descriptor)


def test_an_asynchronous_iterator_is_closed_by_a_coroutine() -> None:
    source = LaterSource(False)
    closing = close_pieces(source)
    assert closing is not None
    assert source.closed == 0
    with pytest.raises(StopIteration):
        closing.send(None)
    assert source.closed == 1
    assert close_pieces(Source()) is None
    assert close_pieces(iter([b"x"])) is None


def test_an_error_of_an_iterator_that_is_closed_is_raised() -> None:
    class Failing(Source):
        def close(self) -> None:
            raise ValueError("cannot be closed")

    with pytest.raises(ValueError, match="cannot be closed"):
        Response(200, Failing()).close()
