"""Responses: results of endpoints, the functions for the usual kinds, streams."""

import http
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any

import pytest

from reactor import Response, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.app.responses import html, json, redirect, respond, stream, text

TEXT = "text/plain; charset=utf-8"


def fields_of(response: Response) -> list[tuple[str, str]]:
    return list(response.headers)


class Markup(str):
    __slots__ = ()


class Record(dict[str, int]):
    pass


@pytest.mark.parametrize(
    ("value", "status", "kind", "body"),
    [
        ("", 200, TEXT, b""),
        (Markup("é"), 200, TEXT, "é".encode()),
        (b"", 200, "application/octet-stream", b""),
        ({}, 200, "application/json", b"{}"),
        ([], 200, "application/json", b"[]"),
        (Record(a=1), 200, "application/json", b'{"a":1}'),
        ({1: True, "n": None}, 200, "application/json", b'{"1":true,"n":null}'),
        ((HTTPStatus.CREATED, "x"), 201, TEXT, b"x"),
        ((201,), 201, None, b""),
        ((201, b""), 201, None, b""),
        ((201, ""), 201, TEXT, b""),
        ((201, [1, 2]), 201, "application/json", b"[1,2]"),
        ((200, "x", {"content-TYPE": "a/b"}), 200, "a/b", b"x"),
        ((200, b"", {"Content-Type": "a/b"}), 200, "a/b", b""),
        ((200, {"a": 1}, (("Content-Type", "a/b"),)), 200, "a/b", b'{"a":1}'),
        ((404, html("x")), 404, "text/html; charset=utf-8", b"x"),
    ],
)
def test_values(value: Any, status: int, kind: str | None, body: bytes) -> None:
    response = respond(value)
    assert (response.status, response.body) == (status, body)
    assert type(response.status) is int
    assert [text for name, text in response.headers if name.lower() == "content-type"] == (
        [] if kind is None else [kind]
    )


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 1, 1.5, object(), {1}, bytearray(b"x"), memoryview(b"x"), dict, iter),
        *((), (True, "x"), ("x", 200), (200, None), (200, ("a", "b")), (200, "x", (), 1)),
    ],
)
def test_values_that_are_no_responses(value: Any) -> None:
    with pytest.raises(TypeError):
        respond(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": "\ud800"}])
def test_values_that_json_does_not_have(value: Any) -> None:
    with pytest.raises(ValueError):
        json(value)
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError):
        json(circle)
    with pytest.raises(TypeError):
        json({"a": b"bytes"})


def test_a_response_is_returned_and_one_in_a_tuple_stays_unchanged() -> None:
    given = text("x", 202, {"X-A": "b"})
    assert respond(given) is given
    response = respond((404, given, [("X-C", "d")]))
    assert response.status == 404
    assert fields_of(response) == [("Content-Type", TEXT), ("X-A", "b"), ("X-C", "d")]
    assert (given.status, len(given.headers)) == (202, 2)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda headers: text("x", 201, headers), TEXT),
        (lambda headers: html("x", 201, headers), "text/html; charset=utf-8"),
        (lambda headers: json("x", 201, headers), "application/json"),
        (lambda headers: stream(iter(["x"]), "a/b", 201, headers), "a/b"),
    ],
)
def test_given_fields(make: Any, kind: str) -> None:
    assert fields_of(make(())) == [("Content-Type", kind)]
    for headers in ([("X-A", "b")], (("X-A", "b"),), {"X-A": "b"}):
        assert fields_of(make(headers)) == [("Content-Type", kind), ("X-A", "b")]
    assert fields_of(make({"content-type": "c/d"})) == [("content-type", "c/d")]
    assert make(()).status == 201


# --- streams -------------------------------------------------------------------------------------


class Closing:
    """An iterator that notes when it is closed."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = iter(pieces)
        self.closed = 0

    def __iter__(self) -> "Closing":
        return self

    def __next__(self) -> Any:
        return next(self.pieces)

    def close(self) -> None:
        self.closed += 1


class ClosingLater:
    def __init__(self, *pieces: Any) -> None:
        self.pieces = iter(pieces)
        self.closed = 0

    def __aiter__(self) -> "ClosingLater":
        return self

    async def __anext__(self) -> Any:
        for piece in self.pieces:
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("kind", [Closing, ClosingLater])
@pytest.mark.parametrize("how", ["bare", "tuple", "stream"])
def test_streams_are_sent_and_closed_also_after_a_head(kind: Any, how: str) -> None:
    app = Application()
    made: list[Any] = []

    def endpoint(request: Request) -> Any:
        made.append(kind("é", b"\xff", "", "z"))
        return {
            "bare": made[-1],
            "tuple": (203, made[-1], {"Content-Type": "a/b"}),
            "stream": stream(made[-1], "a/b", 203),
        }[how]

    app.add("GET", "/", endpoint)
    with Client(app) as client:
        response = client.get("/")
        assert response.content == b"\xc3\xa9\xffz"
        assert response.status == (200 if how == "bare" else 203)
        assert response.headers.get_all("content-type") == [TEXT if how == "bare" else "a/b"]
        assert client.head("/").content == b""
    assert made[1].closed == 1
    assert next(made[1].pieces) == b"\xff"  # for a HEAD the first piece alone is pulled


@pytest.mark.parametrize("piece", [1, None, ["x"]])
@pytest.mark.parametrize("kind", [Closing, ClosingLater])
def test_a_stream_of_other_pieces_is_cut(kind: Any, piece: Any) -> None:
    app = Application()
    made = kind("x", piece, "y")
    app.add("GET", "/", lambda request: stream(made))
    with Client(app) as client, pytest.raises(Exception, match=r"piece|bytes"):
        client.get("/")
    assert made.closed == 1


@pytest.mark.parametrize("pieces", [["x"], "x", b"x", None, 1])
def test_a_stream_must_be_an_iterator(pieces: Any) -> None:
    with pytest.raises(TypeError, match="a stream is an iterator"):
        stream(pieces)


def test_generators_of_both_kinds() -> None:
    async def later() -> AsyncIterator[str]:
        yield "x"

    def now() -> Iterator[str]:
        yield "x"

    for made in (later(), now()):
        assert fields_of(respond(made)) == [("Content-Type", TEXT)]


# --- redirects -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("/a?b=c&d=%20#e", "/a?b=c&d=%20#e"),
        ("http://[::1]:80/~x", "http://[::1]:80/~x"),
        ("/ü ö", "/%C3%BC%20%C3%B6"),
        ("/x\r\nSet-Cookie: a=b", "/x%0D%0ASet-Cookie:%20a=b"),
        ("/\x00\x7f\x85", "/%00%7F%C2%85"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("\t//evil.example", "%09//evil.example"),
        ("//other.example/", "//other.example/"),  # as the docstring says
        ('/"<>^`{|}', "/%22%3C%3E%5E%60%7B%7C%7D"),
        ("", ""),
    ],
)
def test_redirects(location: str, sent: str) -> None:
    app = Application()
    app.add("GET", "/", lambda request: redirect(location, headers={"X-A": "b"}))
    with Client(app) as client:
        response = client.get("/")
        assert (response.status, response.content) == (303, b"")
        assert response.headers.get_all("location") == [sent]
        assert response.headers.get("x-a") == "b"
        assert "set-cookie" not in response.headers


def test_other_statuses_are_no_redirects() -> None:
    for status in (200, 300, 304, 305, 306, 404):
        with pytest.raises(ValueError, match="is no redirect"):
            redirect("/", status)
    with pytest.raises(ValueError):
        redirect("/\ud800")
    for status in (301, 302, 303, 307, 308, http.HTTPStatus.FOUND):
        assert redirect("/", status).status == status


def test_redirects_and_streams_as_responses() -> None:
    app = Application()
    mixed: list[bytes | str] = ["é", b"\xff"]
    app.add("GET", "/r", lambda request: redirect("/ü?x=ä b", 307))
    app.add("GET", "/s", lambda request: stream(iter(mixed), "a/b", 203))
    with Client(app) as client:
        assert client.get("/r").headers.get("location") == "/%C3%BC?x=%C3%A4%20b"
        response = client.get("/s")
        assert (response.status, response.content) == (203, b"\xc3\xa9\xff")
    with pytest.raises(ValueError):
        redirect("/", 200)


def test_a_stream_is_closed_when_its_client_leaves() -> None:
    app = Application()
    closed: list[str] = []

    @app.get("/later")
    async def later(request: Request) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await sleep(1)
        finally:
            closed.append("later")

    @app.get("/now")
    def now(request: Request) -> Iterator[str]:
        try:
            while True:
                yield "x" * 10_000
        finally:
            closed.append("now")

    with Client(app) as client:
        for path in ("/later", "/now"):
            with client.stream("GET", path) as response:
                assert next(iter(response.iter_bytes()))[:1] == b"x"
    assert closed == ["later", "now"]
