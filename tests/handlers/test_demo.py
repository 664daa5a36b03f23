"""The demo's endpoints on real sockets, to the letter of what they promise."""

import gzip
import threading
from urllib.parse import quote

import pytest

from handlers.app import make_app
from reactor.tasks.futures import Lane
from reactor.tasks.thread_pool import COMPRESSION_THREADS
from reactor.web.compression.encoders import MADE
from tests.conftest import Serve
from tests.support.raw_client import Client, RawResponse
from tests.support.zstd_double import decode


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve(make_app()).connect()


def assert_error(response: RawResponse, status: int) -> None:
    """A sentence in plain text."""
    assert response.status == status
    assert response.get("content-type") == "text/plain; charset=utf-8"
    assert response.get("content-length") == str(len(response.body))
    assert response.body.endswith(b".\n")


def test_the_landing_page(client: Client) -> None:
    response = client.ask("/")
    assert response.status == 200
    assert response.get("content-type") == "text/html; charset=utf-8"
    assert response.get("content-length") == str(len(response.body))
    assert response.body.lstrip().lower().startswith(b"<!doctype html>")
    assert client.ask("/?any=query").body == response.body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_landing_page_encoded(client: Client, method: str) -> None:
    plain = client.ask("/")
    assert plain.get("vary") == "Accept-Encoding"
    assert plain.get("content-encoding") is None
    response = client.ask("/", "Accept-Encoding: gzip", method=method)
    assert response.get("vary") == "Accept-Encoding"
    assert response.get("content-encoding") == "gzip"
    assert response.get("content-type") == plain.get("content-type")
    assert int(response.get("content-length") or 0) < len(plain.body)
    if method == "GET":
        assert gzip.decompress(response.body) == plain.body


# --- echo ----------------------------------------------------------------------------------------

ECHOES = [
    ("x", "x"),
    ("", ""),
    ("a/b", "a/b"),
    ("a//b/", "a//b/"),
    ("/", "/"),
    ("a%2Fb", "a/b"),
    ("a%2fb", "a/b"),
    ("%25", "%"),
    ("%2525", "%25"),  # decoded once
    ("a+b", "a+b"),  # a plus is a plus in a path
    ("a%20b", "a b"),
    ("%C3%A9", "\u00e9"),
    ("%F0%9F%8C%8D", "\U0001f30d"),
    ("%00", "\0"),
    ("%0d%0aX-Injected:%20yes", "\r\nX-Injected: yes"),
    ("..", ".."),
    ("../../etc/passwd", "../../etc/passwd"),
    ("%2e%2e/x", "../x"),
    ("x?query=1", "x"),
    ("x%3Fy", "x?y"),
    ("a;b=c", "a;b=c"),
    ("<script>", "<script>"),
]


@pytest.mark.parametrize(("path", "text"), ECHOES)
def test_echo(client: Client, path: str, text: str) -> None:
    response = client.ask(f"/echo/{path}")
    assert response.status == 200
    assert response.get("content-type") == "text/plain"
    assert response.get("content-encoding") is None
    assert response.get("content-length") == str(len(text.encode()))
    assert response.get("x-injected") is None
    assert response.get("x-content-type-options") == "nosniff"
    assert response.body == text.encode()


def test_echo_of_every_byte_in_segments(client: Client) -> None:
    text = "".join(map(chr, range(1, 0x250)))
    assert client.ask("/echo/" + quote(text, safe="")).body == text.encode()


@pytest.mark.parametrize(
    "path", ["%", "%2", "%zz", "%+1", "%-1", "a%", "%u0041", "x/%/y", "%2x", "%25%"]
)
def test_a_bad_escape_is_400(client: Client, path: str) -> None:
    assert_error(client.ask(f"/echo/{path}"), 400)
    assert client.ask("/echo/x").body == b"x"  # the connection is kept


@pytest.mark.parametrize("path", ["%ff", "%C3", "%C3/%A9", "%ED%A0%80", "%C0%AF", "%F5%80%80%80"])
def test_a_path_that_is_no_utf_8_is_400(client: Client, path: str) -> None:
    """Each segment is decoded by itself: a character does not reach over a slash."""
    assert_error(client.ask(f"/echo/{path}"), 400)


BETTER = MADE[0]  # zstd from Python 3.14 on
PLAIN = None
REFUSED = "406"


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZip", "gzip"),
        ("*", BETTER),
        ("deflate, gzip;q=0.1", "gzip"),
        ("gzip;q=1.0, identity;q=0.5", "gzip"),
        ("gzip ; q=0.5", "gzip"),
        ("br, *;q=0.1", BETTER),
        ("gzip;q=0.001", "gzip"),
        ("gzip, identity;q=0", "gzip"),
        ("*;q=0, gzip", "gzip"),
        ("gzip;q=0", PLAIN),
        ("gzip;q=0.0", PLAIN),
        ("gzip; q=0.000", PLAIN),
        ("gzip;q=0.1, identity;q=0.5", PLAIN),
        ("zstd;q=0, gzip;q=0, *", PLAIN),
        ("identity", PLAIN),
        ("br", PLAIN),
        ("gzipped", PLAIN),
        ("", PLAIN),
        ("*;q=0", REFUSED),
        ("identity;q=0", REFUSED),
        ("br, identity;q=0", REFUSED),
    ],
)
@pytest.mark.parametrize("text", ["x", "", "y" * 5000])
def test_encoded_whenever_that_is_accepted_however_short(
    client: Client, accepts: str, coding: str | None, text: str
) -> None:
    response = client.ask(f"/echo/{text}", f"Accept-Encoding: {accepts}")
    if coding is REFUSED:
        assert_error(response, 406)
        return
    assert response.status == 200
    assert response.get("content-type") == "text/plain"
    assert response.get("vary") == "Accept-Encoding"
    assert response.get("content-length") == str(len(response.body))
    assert response.get("content-encoding") == coding
    body = response.body if coding is PLAIN else decode(response.body, coding)
    assert body == text.encode()


def test_accept_encoding_over_several_lines(client: Client) -> None:
    response = client.ask("/echo/x", "Accept-Encoding: br", "Accept-Encoding: gzip")
    assert response.get("content-encoding") == "gzip"


# --- user-agent ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (("User-Agent: curl/8.0",), b"curl/8.0"),
        (("user-agent:   spaced out \t",), b"spaced out"),
        (("USER-AGENT: x",), b"x"),
        ((), b""),
        (("User-Agent:",), b""),
        (("User-Agent: caf\xe9",), b"caf\xe9"),  # the bytes that came
        (("X-User-Agent: no", "User-Agent: yes"), b"yes"),
        (("Other: a\tUser-Agent: no",), b""),
    ],
)
def test_user_agent(client: Client, fields: tuple[str, ...], body: bytes) -> None:
    response = client.ask("/user-agent", *fields)
    assert response.status == 200
    assert response.get("content-type") == "text/plain"
    assert response.get("content-length") == str(len(body))
    assert response.body == body


# --- everything else -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/echo",
        "/Echo/x",
        "/user-agent/",
        "//",
        "/user-agent/x",
        "/./",
        "/files",
        "/files/",
        "/files/hello.txt",
        "/%2F",
    ],
)
def test_anything_else_is_404(client: Client, path: str) -> None:
    assert_error(client.ask(path), 404)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/echo/x", "GET, HEAD, OPTIONS"),
        ("/user-agent", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_405_and_options_says_which(
    client: Client, path: str, allowed: str
) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        if method not in allowed:
            response = client.ask(path, method=method)
            assert_error(response, 405)
            assert response.get("allow") == allowed
    response = client.ask(path, method="OPTIONS")
    assert response.status == 204
    assert response.get("allow") == allowed


def test_another_method_on_an_unknown_path_is_404(client: Client) -> None:
    for method in ("POST", "DELETE", "OPTIONS", "HEAD"):
        assert client.ask("/nowhere", method=method).status == 404


def test_options_of_the_whole_server(client: Client) -> None:
    response = client.ask("*", method="OPTIONS")
    assert response.status == 204
    allow = response.get("allow") or ""
    assert set(allow.split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("method", ["BREW", "get", "CONNECT", "X", "GETT"])
def test_an_unknown_method_is_501(client: Client, method: str) -> None:
    response = client.ask("/", method=method)
    assert_error(response, 501)
    assert response.get("connection") == ("close" if method == "CONNECT" else None)


@pytest.mark.parametrize("path", ["/", "/echo/x", "/echo/", "/user-agent"])
def test_head_wherever_get(client: Client, path: str) -> None:
    got = client.ask(path)
    assert got.status == 200
    headed = client.ask(path, method="HEAD")
    assert [f for f in headed.fields if f[0] != "date"] == [f for f in got.fields if f[0] != "date"]
    assert client.ask("/echo/next").body == b"next"  # nothing was left over


@pytest.mark.plain
def test_an_absolute_target(client: Client) -> None:
    assert client.ask("http://test/echo/x").body == b"x"
    assert client.ask("HTTP://test:80?q").status == 200


def test_a_get_with_a_body_is_a_get(client: Client) -> None:
    response = client.ask("/echo/x", body=b"who knows why")
    assert response.body == b"x"
    assert client.ask("/echo/y").body == b"y"


def test_a_long_text_is_compressed_on_a_thread_and_not_at_all_when_the_pool_is_full(
    serve: Serve,
) -> None:
    running = serve(make_app(), pool_jobs=1)
    text = "ab" * 3000
    response = running.connect().ask(f"/echo/{text}", "Accept-Encoding: gzip")
    assert response.get("content-encoding") == "gzip"
    assert gzip.decompress(response.body) == text.encode()
    hold = threading.Event()
    pool = running.server.pool
    for _ in range(COMPRESSION_THREADS + 1):
        running.wait_until(lambda: pool.snapshot().compressions == 0)
        running.call(lambda: pool.submit(Lane.COMPRESSION, hold.wait, 20))
    running.wait_until(lambda: pool.snapshot().compressions == 1)  # no thread will take it
    response = running.connect().ask(f"/echo/{text}", "Accept-Encoding: gzip")
    hold.set()
    assert response.get("content-encoding") is None
    assert response.get("vary") == "Accept-Encoding"
    assert response.body == text.encode()
