"""Responses: what becomes of what endpoints return, files with conditions and ranges, cookies."""

import http
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.message import Message
from http import HTTPStatus
from http.cookies import SimpleCookie
from pathlib import Path
from time import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import File, Limits, Response, http_date
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.cookies import delete_cookie, set_cookie
from reactor.web.app.file_response import attachment, file
from reactor.web.app.requests import Request
from reactor.web.app.responses import html, json, redirect, respond, stream, text
from reactor.web.semantics.preconditions import check_read

TEXT = "text/plain; charset=utf-8"


def fields_of(response: Response) -> list[tuple[str, str]]:
    return list(response.headers)


# --- what an endpoint returns --------------------------------------------------------------------


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
    answer = respond(value)
    assert (answer.status, answer.body) == (status, body)
    assert type(answer.status) is int
    assert [text for name, text in answer.headers if name.lower() == "content-type"] == (
        [] if kind is None else [kind]
    )


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 1, 1.5, object(), {1}, bytearray(b"x"), memoryview(b"x"), dict, iter),
        *((), (True, "x"), ("x", 200), (200, None), (200, ("a", "b")), (200, "x", (), 1)),
    ],
)
def test_values_that_are_no_answers(value: Any) -> None:
    with pytest.raises(TypeError):
        respond(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": "\ud800"}])
def test_what_json_cannot_say(value: Any) -> None:
    with pytest.raises(ValueError):
        json(value)
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError):
        json(circle)
    with pytest.raises(TypeError):
        json({"a": b"bytes"})


def test_a_response_is_passed_on_and_one_in_a_tuple_is_left_as_it_is() -> None:
    response = text("x", 202, {"X-A": "b"})
    assert respond(response) is response
    answer = respond((404, response, [("X-C", "d")]))
    assert fields_of(answer) == [("Content-Type", TEXT), ("X-A", "b"), ("X-C", "d")]
    assert (response.status, len(response.headers)) == (202, 2)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda headers: text("x", 201, headers), TEXT),
        (lambda headers: html("x", 201, headers), "text/html; charset=utf-8"),
        (lambda headers: json("x", 201, headers), "application/json"),
        (lambda headers: stream(iter(["x"]), "a/b", 201, headers), "a/b"),
    ],
)
def test_fields_of_ones_own(make: Any, kind: str) -> None:
    assert fields_of(make(())) == [("Content-Type", kind)]
    for headers in ([("X-A", "b")], (("X-A", "b"),), {"X-A": "b"}):
        assert fields_of(make(headers)) == [("Content-Type", kind), ("X-A", "b")]
    assert fields_of(make({"content-type": "c/d"})) == [("content-type", "c/d")]
    assert make(()).status == 201


# --- streams -------------------------------------------------------------------------------------


class Closing:
    """An iterator that says when it is closed, and that nobody may forget."""

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
def test_streams_are_sent_and_closed_even_if_never_begun(kind: Any, how: str) -> None:
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
        answer = client.get("/")
        assert answer.content == b"\xc3\xa9\xffz"
        assert answer.status == (200 if how == "bare" else 203)
        assert answer.headers.get_all("content-type") == [TEXT if how == "bare" else "a/b"]
        assert client.head("/").content == b""
    assert made[1].closed == 1
    assert next(made[1].pieces) == "é"  # nobody has asked for it


@pytest.mark.parametrize("piece", [1, None, ["x"]])
@pytest.mark.parametrize("kind", [Closing, ClosingLater])
def test_a_stream_of_something_else_is_cut(kind: Any, piece: Any) -> None:
    app = Application()
    made = kind("x", piece, "y")
    app.add("GET", "/", lambda request: stream(made))
    with Client(app) as client, pytest.raises(Exception, match=r"piece|bytes"):
        client.get("/")
    assert made.closed == 1


@pytest.mark.parametrize("pieces", [["x"], "x", b"x", None, 1])
def test_what_is_no_stream(pieces: Any) -> None:
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
        answer = client.get("/")
        assert (answer.status, answer.content) == (303, b"")
        assert answer.headers.get_all("location") == [sent]
        assert answer.headers.get("x-a") == "b"
        assert "set-cookie" not in answer.headers


def test_what_is_no_redirect() -> None:
    for status in (200, 300, 304, 305, 306, 404):
        with pytest.raises(ValueError, match="is no redirect"):
            redirect("/", status)
    with pytest.raises(ValueError):
        redirect("/\ud800")
    for status in (301, 302, 303, 307, 308, http.HTTPStatus.FOUND):
        assert redirect("/", status).status == status


# --- files ---------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 40
PRIVATE = {"Cache-Control": "private", "Content-Language": "en", "Content-Location": "/f"}


class Shelf:
    """An application of one file, and all the files that it opens."""

    def __init__(self, path: Path, opened: list[File], **options: Any) -> None:
        self.path, self.opened = path, opened
        path.write_bytes(CONTENT)
        os.utime(path, (1e9, 1e9))
        self.app = Application()

        async def endpoint(request: Request) -> Response:
            return await file(request, self.path, **options)

        self.app.add(("GET", "POST"), "/", endpoint)

    def ask(self, method: str = "GET", limits: Any = None, **fields: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        with Client(self.app, limits=limits) as client:
            if limits:
                self.app.prepare(client.server)
            answer = client.request(method, "/", headers=headers)
        assert all(one.closed for one in self.opened), "a file is open still"
        return answer


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[File]:
    """The files that are opened. The clock is late, so that no file is young."""
    found: list[File] = []

    def note(descriptor: int, size: int) -> File:
        found.append(File(descriptor, size))
        return found[-1]

    monkeypatch.setattr("reactor.web.app.file_response.File", note)
    monkeypatch.setattr(
        "reactor.web.app.file_response.time", SimpleNamespace(time=lambda: time() + 10)
    )
    return found


@pytest.fixture
def shelf(tmp_path: Path, opened: list[File]) -> Shelf:
    return Shelf(tmp_path / "file.txt", opened, headers=PRIVATE)


def test_a_file(shelf: Shelf) -> None:
    answer = shelf.ask()
    assert (answer.status, answer.content) == (200, CONTENT)
    for name, value in {
        "content-type": TEXT,
        "content-length": "10240",
        "accept-ranges": "bytes",
        "last-modified": http_date(1e9),
        "x-content-type-options": "nosniff",
        "cache-control": "private",
        "content-language": "en",
    }.items():
        assert answer.headers.get_all(name) == [value]
    assert answer.headers["etag"].startswith('"')
    head = shelf.ask("HEAD")
    assert (head.status, head.content) == (200, b"")
    different = {"date"}
    assert [one for one in head.headers.fields() if one[0].lower() not in different] == [
        one for one in answer.headers.fields() if one[0].lower() not in different
    ]
    assert len(shelf.opened) == 2


def test_a_file_of_no_bytes(shelf: Shelf) -> None:
    shelf.path.write_bytes(b"")
    for method in ("GET", "HEAD"):
        answer = shelf.ask(method)
        assert (answer.status, answer.headers["content-length"]) == (200, "0")
    assert shelf.ask(range="bytes=0-0").status == 416
    assert shelf.ask(range="bytes=-5").status == 200


OLD, NEW = http_date(1e9 - 1), http_date(1e9)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"if_none_match": "TAG"}, 304),
        ({"if_none_match": "W/TAG"}, 304),
        ({"if_none_match": '"x", TAG'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"x"'}, 200),
        ({"if_none_match": '"x"', "if_modified_since": NEW}, 200),
        ({"if_modified_since": NEW}, 304),
        ({"if_modified_since": OLD}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_match": "TAG"}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": '"x"'}, 412),
        ({"if_match": "W/TAG"}, 412),
        ({"if_unmodified_since": OLD}, 412),
        ({"if_unmodified_since": NEW}, 200),
        ({"if_match": '"x"', "if_none_match": "TAG"}, 412),
    ],
)
def test_conditions(shelf: Shelf, method: str, fields: dict[str, str], status: int) -> None:
    tag = shelf.ask().headers["etag"]
    sent = {name: value.replace("TAG", tag) for name, value in fields.items()}
    answer = shelf.ask(method, **sent)
    if method == "POST":  # it is no condition on what was asked for
        status = 200
    assert answer.status == status
    if status == 304:
        assert answer.content == b""
        assert answer.headers.get_all("etag") == [tag]
        assert answer.headers["cache-control"] == "private"
        assert answer.headers["content-location"] == "/f"
        for name in ("content-type", "content-language", "content-length", "last-modified"):
            assert name not in answer.headers
    if status == 412:
        assert answer.text.endswith(".\n") == (method == "GET")


@pytest.mark.parametrize(
    ("value", "status", "expected"),
    [
        ("bytes=0-9", 206, CONTENT[:10]),
        ("bytes=10000-", 206, CONTENT[10000:]),
        ("bytes=-1", 206, CONTENT[-1:]),
        ("bytes=0-", 206, CONTENT),
        ("bytes=5-9,8-20", 206, CONTENT[5:21]),
        ("bytes=10239-99999", 206, CONTENT[-1:]),
        ("bytes=10240-", 416, None),
        ("bytes=9-5", 200, CONTENT),
        ("lines=0-9", 200, CONTENT),
        (",".join(["bytes=0-0", *(f"{at}-{at}" for at in range(2, 66, 2))]), 200, CONTENT),
    ],
)
def test_ranges(shelf: Shelf, value: str, status: int, expected: bytes | None) -> None:
    answer = shelf.ask(range=value)
    assert answer.status == status
    if expected is not None:
        assert answer.content == expected
    if status == 206:
        begin = CONTENT.find(expected or b"") if value != "bytes=-1" else 10239
        if value.startswith("bytes=10"):
            begin = 10240 - len(expected or b"")
        end = begin + len(expected or b"") - 1
        assert answer.headers.get_all("content-range") == [f"bytes {begin}-{end}/10240"]
        assert answer.headers.get_all("content-type") == [TEXT]
    if status == 416:
        assert answer.headers["content-range"] == "bytes */10240"
    for method in ("HEAD", "POST"):
        assert shelf.ask(method, range=value).status == 200


def test_several_ranges(shelf: Shelf) -> None:
    answer = shelf.ask(range="bytes=0-1,100-109,-1")
    assert answer.status == 206
    (kind,) = answer.headers.get_all("content-type")
    assert kind.startswith("multipart/byteranges; boundary=")
    assert "content-range" not in answer.headers
    parts = answer.content.split(b"--" + kind.partition("=")[2].encode())
    assert len(parts) == 5
    for part, content in zip(
        parts[1:4], (CONTENT[:2], CONTENT[100:110], CONTENT[-1:]), strict=True
    ):
        head, _, rest = part.partition(b"\r\n\r\n")
        assert b"text/plain; charset=utf-8" in head
        assert rest == content + b"\r\n"


def test_if_range(shelf: Shelf) -> None:
    tag = shelf.ask().headers["etag"]
    for value, status in ((tag, 206), (NEW, 206), ('"x"', 200), (OLD, 200), (f"W/{tag}", 200)):
        assert shelf.ask(range="bytes=0-1", if_range=value).status == status


def test_as_many_ranges_as_the_server_has_it(shelf: Shelf) -> None:
    for value, status in (("bytes=0-0,2-2", 206), ("bytes=0-0,2-2,4-4", 200)):
        assert shelf.ask(limits=Limits(ranges=2), range=value).status == status


def test_a_file_that_was_just_written_has_no_strong_tag(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = shelf.path.stat().st_ctime
    monkeypatch.setattr(
        "reactor.web.app.file_response.time", SimpleNamespace(time=lambda: changed + 0.5)
    )
    tag = shelf.ask().headers["etag"]
    assert tag.startswith('W/"')
    assert shelf.ask(if_none_match=tag).status == 304
    assert shelf.ask(range="bytes=0-1", if_range=tag).status == 200


def test_what_is_no_file(shelf: Shelf, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("", "none", "fifo", "loop", "file.txt/x", "x" * 300, "a\0b"):
        shelf.path = tmp_path / name
        answer = shelf.ask()
        assert (answer.status, answer.text) == (404, "There is no such file.\n")
    shelf.path = Path("/dev/null")
    assert shelf.ask().status == 404


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(shelf: Shelf) -> None:
    shelf.path.chmod(0)
    assert shelf.ask().status == 403


def test_a_path_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "é.json"
    path.write_bytes(b"{}")
    app = Application()

    @app.get("/{kind}")
    async def endpoint(request: Request, kind: str) -> Response:
        kinds: dict[str, Any] = {"str": str(path), "bytes": os.fsencode(path), "path": path}
        return await file(request, kinds[kind])

    with Client(app) as client:
        for kind in ("str", "bytes", "path"):
            answer = client.get(f"/{kind}")
            assert (answer.content, answer.headers["content-type"]) == (b"{}", "application/json")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"media_type": "a/b"}, "a/b"),
        ({"headers": {"content-type": "c/d"}}, "c/d"),
        ({"media_type": "a/b", "headers": [("Content-Type", "c/d")]}, "a/b"),
        ({}, TEXT),
    ],
)
def test_a_file_has_one_type(
    tmp_path: Path, opened: list[File], options: dict[str, Any], kind: str
) -> None:
    shelf = Shelf(tmp_path / "f.txt", opened, download_as="ü.txt", **options)
    for fields in ({}, {"range": "bytes=0-1"}):
        answer = shelf.ask(**fields)
        assert answer.headers.get_all("content-type") == [kind]
        assert answer.headers["content-disposition"] == attachment("ü.txt")
    answer = shelf.ask(range="bytes=0-1,5-6")
    (multipart,) = answer.headers.get_all("content-type")
    assert multipart.startswith("multipart/byteranges")
    assert f"\r\nContent-Type: {kind}\r\n".encode() in answer.content


def test_the_conditions_are_those_of_static_files(shelf: Shelf) -> None:
    """The same function decides, so whatever holds there holds here."""
    assert file.__globals__["check_read"] is check_read


def test_a_client_that_leaves_lets_go_of_the_file(tmp_path: Path, opened: list[File]) -> None:
    shelf = Shelf(tmp_path / "f", opened)
    shelf.path.write_bytes(b"x" * 50_000_000)
    with Client(shelf.app) as client, client.stream("GET", "/") as answer:
        assert next(iter(answer.iter_bytes()))[:1] == b"x"
    assert [one.closed for one in opened] == [True]


# --- names of files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.txt", 'filename="a.txt"'),
        ("a b;c,d'.txt", 'filename="a b;c,d\'.txt"'),
        ('a"b', "filename=\"a_b\"; filename*=UTF-8''a%22b"),
        ("é€", "filename=\"__\"; filename*=UTF-8''%C3%A9%E2%82%AC"),
        ("100%41", "filename=\"100_41\"; filename*=UTF-8''100%2541"),
        ("../../etc/passwd", 'filename=".._.._etc_passwd"'),
        ("..\\x\\y", 'filename=".._x_y"'),
        ("a\r\nSet-Cookie: x\0\x7f\x85", 'filename="a__Set-Cookie: x___"'),
        ("\udcff", 'filename="_"'),
        ("💩", "filename=\"_\"; filename*=UTF-8''%F0%9F%92%A9"),
    ],
)
def test_the_name_of_a_download(name: str, value: str) -> None:
    assert attachment(name) == f"attachment; {value}"


@given(st.text())
def test_any_name_of_a_download_is_one_field(name: str) -> None:
    message = Message()
    value = attachment(name)
    message["Content-Disposition"] = value
    assert value.isascii()
    assert value.isprintable()
    assert message.get_content_disposition() == "attachment"
    told = value.partition("filename*=UTF-8''")[2]
    plain = value.partition('filename="')[2].partition('"')[0]
    for found in (unquote(told), plain):
        assert "/" not in found
        assert "\\" not in found
    assert len(plain) == len(name)


# --- cookies -------------------------------------------------------------------------------------


def cookie(name: str = "a", value: str = "b", **options: Any) -> str:
    response = set_cookie(Response(), name, value, **options)
    ((field, line),) = response.headers
    assert field == "Set-Cookie"
    return line


THEN = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "a=b; Path=/; SameSite=Lax; HttpOnly"),
        ({"http_only": False, "same_site": None, "path": ""}, "a=b"),
        ({"value": "", "max_age": 0}, "a=; Max-Age=0; Path=/; SameSite=Lax; HttpOnly"),
        ({"max_age": -1}, "a=b; Max-Age=-1; Path=/; SameSite=Lax; HttpOnly"),
        (
            {"expires": THEN, "http_only": False},
            "a=b; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Path=/; SameSite=Lax",
        ),
        (
            {"expires": THEN.astimezone(timezone(timedelta(hours=5))), "http_only": False},
            "a=b; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Path=/; SameSite=Lax",
        ),
        (
            {"expires": datetime(1970, 1, 1, tzinfo=UTC), "same_site": "Strict"},
            "a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; SameSite=Strict; HttpOnly",
        ),
        (
            {"expires": datetime(1960, 1, 1, tzinfo=UTC), "same_site": None},
            "a=b; Expires=Fri, 01 Jan 1960 00:00:00 GMT; Path=/; HttpOnly",
        ),
        (
            {"domain": "example.com", "path": "/x y"},
            "a=b; Domain=example.com; Path=/x y; SameSite=Lax; HttpOnly",
        ),
        (
            {"same_site": "None", "secure": True, "partitioned": True},
            "a=b; Path=/; SameSite=None; Secure; HttpOnly; Partitioned",
        ),
        (
            {"name": "__Host-a", "secure": True},
            "__Host-a=b; Path=/; SameSite=Lax; Secure; HttpOnly",
        ),
        (
            {"name": "__Secure-a", "secure": True, "path": "/x", "domain": ".a.b"},
            "__Secure-a=b; Domain=.a.b; Path=/x; SameSite=Lax; Secure; HttpOnly",
        ),
        ({"name": "!#$%&'*+.^_`|~", "http_only": False}, "!#$%&'*+.^_`|~=b; Path=/; SameSite=Lax"),
    ],
)
def test_cookies(options: dict[str, Any], line: str) -> None:
    assert cookie(**options) == line


@pytest.mark.parametrize(
    "options",
    [
        *({"name": name} for name in ("", "a b", "a=b", "a;b", "é", "a\n", '"a"', "a,b", "\0")),
        *({"value": value} for value in ("a b", "a,b", "a;b", 'a"', "a\\b", "é", "a\r\nb", "\x7f")),
        *({"path": path} for path in ("x", "/;x", "/\n", "/é", " /")),
        *({"domain": domain} for domain in ("a b", "a;b", "a\n", "é.de", "..", "a/b", "a:80")),
        *({"same_site": value} for value in ("lax", "none", "", "Lax; Secure")),
        {"same_site": "None"},
        {"partitioned": True},
        {"name": "__Host-a"},
        {"name": "__host-a"},
        {"name": "__SECURE-a"},
        {"name": "__Host-a", "secure": True, "path": "/x"},
        {"name": "__Host-a", "secure": True, "domain": "a.de"},
        {"expires": datetime(2030, 1, 1)},
        {"value": "x" * 4096},
        {"max_age": 1.5},
    ],
)
def test_cookies_that_browsers_would_not_take(options: dict[str, Any]) -> None:
    response = Response()
    with pytest.raises(ValueError):
        set_cookie(response, options.pop("name", "a"), options.pop("value", "b"), **options)
    assert response.headers == ()


def test_a_cookie_makes_a_new_response() -> None:
    shared = text("x")
    assert set_cookie(shared, "a", "1").headers != shared.headers
    delete_cookie(shared, "a")
    assert shared.headers == text("x").headers


def test_several_cookies_and_none_at_all() -> None:
    app = Application()

    @app.get("/")
    def endpoint(request: Request) -> Response:
        response = set_cookie(text(repr(request.cookies)), "a", "1")
        return delete_cookie(set_cookie(response, "b", "2", path="/x"), "c")

    with Client(app, cookies={"c": "3"}) as client:
        answer = client.get("/")
        assert answer.text == "{'c': '3'}"
        assert answer.headers.get_all("set-cookie") == [
            "a=1; Path=/; SameSite=Lax; HttpOnly",
            "b=2; Path=/x; SameSite=Lax; HttpOnly",
            "c=; Max-Age=0; Path=/; SameSite=Lax; HttpOnly",
        ]
        assert client.get("/").text == "{'c': '3', 'a': '1'}"  # b has another path


def test_a_cookie_is_taken_away_as_it_was_set() -> None:
    options: dict[str, Any] = {
        "path": "/x",
        "domain": "a.de",
        "secure": True,
        "same_site": "None",
        "partitioned": True,
    }
    response = delete_cookie(Response(), "a", **options)
    assert response.headers[0][1] == cookie("a", "", max_age=0, **options)
    with pytest.raises(ValueError):
        delete_cookie(Response(), "__Host-a")
    delete_cookie(Response(), "__Host-a", secure=True)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=127)))
def test_a_cookie_that_is_taken_is_read_back(value: str) -> None:
    try:
        line = cookie("a", value)
    except ValueError:
        return
    read = SimpleCookie(line.partition(";")[0])
    assert read["a"].value == value
