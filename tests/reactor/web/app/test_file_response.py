"""Files as responses: validators, preconditions, ranges, and the names of downloads."""

import os
from email.message import Message
from pathlib import Path
from time import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import File, Limits, Response
from reactor.protocol.dates import http_date
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.file_response import file
from reactor.web.app.requests import Request
from reactor.web.semantics.file_names import attachment
from reactor.web.semantics.preconditions import check_read

TEXT = "text/plain; charset=utf-8"


CONTENT = bytes(range(256)) * 40


PRIVATE = {"Cache-Control": "private", "Content-Language": "en", "Content-Location": "/f"}


class Shelf:
    """An application of one file, and all File objects that it opens."""

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
            response = client.request(method, "/", headers=headers)
        assert all(one.closed for one in self.opened), "a file is open still"
        return response


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[File]:
    """The File objects that are opened. The clock is ahead, so that no file is young."""
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
    response = shelf.ask()
    assert (response.status, response.content) == (200, CONTENT)
    for name, value in {
        "content-type": TEXT,
        "content-length": "10240",
        "accept-ranges": "bytes",
        "last-modified": http_date(1e9),
        "x-content-type-options": "nosniff",
        "cache-control": "private",
        "content-language": "en",
    }.items():
        assert response.headers.get_all(name) == [value]
    assert response.headers["etag"].startswith('"')
    head = shelf.ask("HEAD")
    assert (head.status, head.content) == (200, b"")
    different = {"date"}
    assert [one for one in head.headers.fields() if one[0].lower() not in different] == [
        one for one in response.headers.fields() if one[0].lower() not in different
    ]
    assert len(shelf.opened) == 2


def test_an_empty_file(shelf: Shelf) -> None:
    shelf.path.write_bytes(b"")
    for method in ("GET", "HEAD"):
        response = shelf.ask(method)
        assert (response.status, response.headers["content-length"]) == (200, "0")
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
def test_preconditions(shelf: Shelf, method: str, fields: dict[str, str], status: int) -> None:
    tag = shelf.ask().headers["etag"]
    sent = {name: value.replace("TAG", tag) for name, value in fields.items()}
    response = shelf.ask(method, **sent)
    if method == "POST":  # the precondition is about another resource
        status = 200
    assert response.status == status
    if status == 304:
        assert response.content == b""
        assert response.headers.get_all("etag") == [tag]
        assert response.headers["cache-control"] == "private"
        assert response.headers["content-location"] == "/f"
        for name in ("content-type", "content-language", "content-length", "last-modified"):
            assert name not in response.headers
    if status == 412:
        assert response.text.endswith(".\n") == (method == "GET")


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
    response = shelf.ask(range=value)
    assert response.status == status
    if expected is not None:
        assert response.content == expected
    if status == 206:
        begin = CONTENT.find(expected or b"") if value != "bytes=-1" else 10239
        if value.startswith("bytes=10"):
            begin = 10240 - len(expected or b"")
        end = begin + len(expected or b"") - 1
        assert response.headers.get_all("content-range") == [f"bytes {begin}-{end}/10240"]
        assert response.headers.get_all("content-type") == [TEXT]
    if status == 416:
        assert response.headers["content-range"] == "bytes */10240"
    for method in ("HEAD", "POST"):
        assert shelf.ask(method, range=value).status == 200


def test_several_ranges(shelf: Shelf) -> None:
    response = shelf.ask(range="bytes=0-1,100-109,-1")
    assert response.status == 206
    (kind,) = response.headers.get_all("content-type")
    assert kind.startswith("multipart/byteranges; boundary=")
    assert "content-range" not in response.headers
    parts = response.content.split(b"--" + kind.partition("=")[2].encode())
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


def test_the_number_of_ranges_is_limited_by_the_server(shelf: Shelf) -> None:
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


def test_a_path_without_a_regular_file(shelf: Shelf, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("", "none", "fifo", "loop", "file.txt/x", "x" * 300, "a\0b"):
        shelf.path = tmp_path / name
        response = shelf.ask()
        assert (response.status, response.text) == (404, "There is no such file.\n")
    shelf.path = Path("/dev/null")
    assert shelf.ask().status == 404


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(shelf: Shelf) -> None:
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
            response = client.get(f"/{kind}")
            assert (response.content, response.headers["content-type"]) == (
                b"{}",
                "application/json",
            )


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"media_type": "a/b"}, "a/b"),
        ({"headers": {"content-type": "c/d"}}, "c/d"),
        ({"media_type": "a/b", "headers": [("Content-Type", "c/d")]}, "a/b"),
        ({}, TEXT),
    ],
)
def test_a_file_has_one_content_type(
    tmp_path: Path, opened: list[File], options: dict[str, Any], kind: str
) -> None:
    shelf = Shelf(tmp_path / "f.txt", opened, download_as="ü.txt", **options)
    for fields in ({}, {"range": "bytes=0-1"}):
        response = shelf.ask(**fields)
        assert response.headers.get_all("content-type") == [kind]
        assert response.headers["content-disposition"] == attachment("ü.txt")
    response = shelf.ask(range="bytes=0-1,5-6")
    (multipart,) = response.headers.get_all("content-type")
    assert multipart.startswith("multipart/byteranges")
    assert f"\r\nContent-Type: {kind}\r\n".encode() in response.content


def test_the_preconditions_are_those_of_static_files(shelf: Shelf) -> None:
    """The same function decides, so its other cases hold here as well."""
    assert file.__globals__["check_read"] is check_read


def test_a_client_that_leaves_releases_the_file(tmp_path: Path, opened: list[File]) -> None:
    shelf = Shelf(tmp_path / "f", opened)
    shelf.path.write_bytes(b"x" * 50_000_000)
    with Client(shelf.app) as client, client.stream("GET", "/") as response:
        assert next(iter(response.iter_bytes()))[:1] == b"x"
    assert [one.closed for one in opened] == [True]


# --- names of downloads --------------------------------------------------------------------------


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
    encoded = value.partition("filename*=UTF-8''")[2]
    plain = value.partition('filename="')[2].partition('"')[0]
    for found in (unquote(encoded), plain):
        assert "/" not in found
        assert "\\" not in found
    assert len(plain) == len(name)
