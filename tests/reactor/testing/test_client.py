"""The test client: the requests it sends, the responses it reads, time, leaving, and failures."""

import gzip
import io
import json
import logging
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from handlers.app import make_app
from reactor import Cancelled, Future, Limits, ProtocolError, Response, Server, in_pool, sleep
from reactor.messages.request import BaseRequest
from reactor.testing import (
    BadResponse,
    Client,
    Deadlock,
    IncompleteResponse,
    TooManyRedirects,
    Violation,
)
from reactor.testing.exchange import CONTINUE_SECONDS
from reactor.web.app.application import Application
from reactor.web.middlewares import Sessions
from reactor.web.semantics.media_types import media_types
from reactor.web.static.file_server import FileServer, Mount
from reactor.web.uploads.receiver import Receiver
from tests.conftest import Serve

MIB = 1024 * 1024
HOUR = 3600.0


class App:
    """Routes by path; each is a handler. Requests are kept."""

    def __init__(self, **routes: Callable[[BaseRequest], Any]) -> None:
        self.requests: list[BaseRequest] = []
        self.clients: list[tuple[Any, ...]] = []
        self._routes = routes

    def __call__(self, request: BaseRequest) -> Any:
        self.requests.append(request)
        self.clients.append(request.client)
        handler = self._routes.get(request.path.split("/")[1] or "index")
        if handler is None:
            raise ProtocolError(404, "There is nothing here.")
        return handler(request)


async def mirror(request: BaseRequest) -> Response:
    """The request, as JSON."""
    body = await request.body.read()
    received = {
        "method": request.method,
        "target": request.target,
        "host": request.host,
        "fields": list(request.headers.fields()),
        "body": body.decode("latin-1"),
    }
    return Response(200, json.dumps(received).encode())


def hello(request: BaseRequest) -> Response:
    return Response(200, b"hello", [("Content-Type", "text/plain")])


async def count(request: BaseRequest) -> Response:
    size = 0
    async for piece in request.body:
        size += len(piece)
    return Response(200, b"%d" % size)


def fields_of(mirrored: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in mirrored["fields"]}


@pytest.fixture
def echo() -> Iterator[Client]:
    """A client of the mirror."""
    with Client(mirror) as client:
        yield client


# --- a request ------------------------------------------------------------------------------------


def test_one_line_is_enough() -> None:
    assert Client(lambda request: Response(200, b'{"a":1}')).get("/x").json() == {"a": 1}


def test_a_request_is_what_a_client_would_send(echo: Client) -> None:
    received = echo.get("/x").json()
    assert (received["method"], received["target"], received["host"]) == ("GET", "/x", "testserver")
    assert received["fields"] == [
        ["Host", "testserver"],
        ["User-Agent", "testclient"],
        ["Accept", "*/*"],
    ]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
def test_a_method_for_each_method(echo: Client, method: str) -> None:
    received = getattr(echo, method)("/").json()
    assert received["method"] == method.upper()
    length = "0" if method in ("post", "put", "patch") else None
    assert fields_of(received).get("content-length") == length


def test_any_method(echo: Client) -> None:
    assert echo.request("TRACE", "/").json()["method"] == "TRACE"
    assert echo.request("get", "/").json()["method"] == "get"  # case counts (RFC 9110, 9.1)
    assert echo.request("CONNECT", "/").status == 501


def test_head_has_no_content() -> None:
    with Client(hello) as client:
        response = client.head("/")
        assert (response.status, response.content) == (200, b"")
        assert response.headers["content-length"] == "5"
        assert client.get("/").text == "hello"


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_content(status: int) -> None:
    with Client(lambda request: Response(status)) as client:
        assert client.get("/").content == b""
        assert client.get("/").status_code == status


@pytest.mark.parametrize(
    ("base", "url", "host", "target"),
    [
        ("http://testserver", "/a", "testserver", "/a"),
        ("http://testserver", "", "testserver", "/"),
        ("http://testserver", "a", "testserver", "/a"),
        ("http://testserver", "?q", "testserver", "/?q"),
        ("http://testserver/api/", "a", "testserver", "/api/a"),
        ("http://testserver/api/", "/a", "testserver", "/a"),
        ("http://testserver:80", "/", "testserver", "/"),
        ("http://testserver:8080", "/", "testserver:8080", "/"),
        ("https://testserver:443", "/", "testserver", "/"),
        ("http://TestServer", "http://Other.example/x#part", "other.example", "/x"),
        ("http://[::1]:8000", "/", "[::1]:8000", "/"),
        ("http://bücher.example", "/", "xn--bcher-kva.example", "/"),
        (
            "http://testserver",
            "/ä b/%20/%2F?ü=ß&x=%41",
            None,
            "/%C3%A4%20b/%20/%2F?%C3%BC=%C3%9F&x=%41",
        ),
        ("http://testserver", "*", "testserver", "*"),
    ],
)
def test_urls(base: str, url: str, host: str | None, target: str) -> None:
    with Client(mirror, base) as client:
        received = client.options(url).json()
    assert received["target"] == target
    assert host is None or received["host"] == host


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({}, ""),
        ({"a": "b c", "ä": "&="}, "?a=b+c&%C3%A4=%26%3D"),
        ({"a": [1, 2.5], "b": (True, None)}, "?a=1&a=2.5&b=true&b="),
        ([("a", "1"), ("b", "2"), ("a", "3")], "?a=1&b=2&a=3"),
    ],
)
def test_params(echo: Client, params: Any, query: str) -> None:
    assert echo.get("/x", params=params).json()["target"] == f"/x{query}"


def test_params_are_added_to_a_query(echo: Client) -> None:
    assert echo.get("/x?a=1", params={"b": 2}).json()["target"] == "/x?a=1&b=2"


def test_headers_replace_those_of_the_client() -> None:
    with Client(mirror, headers={"X-A": "1", "x-b": "2", "USER-AGENT": "me"}) as client:
        received = client.get("/", headers=[("x-B", "3"), ("X-B", "4"), ("Host", "other")]).json()
        assert received["fields"] == [
            ["Accept", "*/*"],
            ["X-A", "1"],
            ["USER-AGENT", "me"],
            ["x-B", "3"],
            ["X-B", "4"],
            ["Host", "other"],
        ]
        assert fields_of(client.get("/").json())["x-b"] == "2"


def test_basic_credentials(echo: Client) -> None:
    received = echo.get("/", auth=("Aladdin", "open sesame")).json()
    assert fields_of(received)["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    received = echo.get("http://Aladdin:open%20sesame@testserver/").json()
    assert fields_of(received)["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    received = echo.get("/", auth=("a", "b"), headers={"authorization": "own"}).json()
    assert fields_of(received)["authorization"] == "own"


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"A": "b\r\nC: d"}},
        {"headers": {"A b": "c"}},
        {"headers": {"A": "☃"}},
        {"auth": ("a:b", "c")},
        {"content": b"a", "json": 1},
        {"data": {"a": 1}, "json": 1},
        {"content": b"a", "files": {"a": b"b"}},
        {"json": float("nan")},
    ],
)
def test_an_invalid_request_is_not_sent(options: Any) -> None:
    app = App(index=hello)
    with Client(app) as client:
        with pytest.raises(ValueError):
            client.post("/", **options)
        assert client.get("/").status == 200
    assert len(app.requests) == 1


@pytest.mark.parametrize("url", ["ftp://x/", "http://x:99999/", "mailto:a@b"])
def test_an_invalid_url(echo: Client, url: str) -> None:
    with pytest.raises(ValueError):
        echo.get(url)
    with pytest.raises(ValueError):
        Client(mirror, url)


@pytest.mark.parametrize("url", ["", "/", "testserver", "http://", "http:///x"])
def test_an_invalid_base_url(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL"):
        Client(mirror, url)


def test_unknown_options_are_refused(echo: Client) -> None:
    options: Any = {"parms": {}}
    with pytest.raises(TypeError, match="parms"):
        echo.get("/", **options)
    with pytest.raises(ValueError, match="method"):
        echo.request("GE T", "/")


# --- bodies ---------------------------------------------------------------------------------------


def test_bytes_and_text(echo: Client) -> None:
    received = echo.post("/", content=b"\0\xff").json()
    assert received["body"] == "\0\xff"
    assert "content-type" not in fields_of(received)
    assert echo.post("/", content="ä").json()["body"] == "Ã¤"
    received = echo.post("/", content=b"").json()
    assert fields_of(received)["content-length"] == "0"


def test_json_is_sent_as_it_is(echo: Client) -> None:
    received = echo.put("/", json={"a": ["ä", None, False]}).json()
    assert received["body"].encode("latin-1").decode() == '{"a":["ä",null,false]}'
    assert fields_of(received)["content-type"] == "application/json"
    received = echo.put("/", json=0, headers={"Content-Type": "application/x+json"}).json()
    assert received["body"] == "0"
    assert fields_of(received)["content-type"] == "application/x+json"


def test_a_form(echo: Client) -> None:
    received = echo.post("/", data={"a": "b c", "x": [1, 2]}).json()
    assert received["body"] == "a=b+c&x=1&x=2"
    assert fields_of(received)["content-type"] == "application/x-www-form-urlencoded"


def test_a_form_with_files(echo: Client, tmp_path: Path) -> None:
    (tmp_path / "open.png").write_bytes(b"png")
    with open(tmp_path / "open.png", "rb") as opened:
        received = echo.post(
            "/",
            data={"field": "ä"},
            files=[
                ("a", b"plain"),
                ("a", ('x"y.txt', "text")),
                ("b", ("z", io.BytesIO(b"----reactor-testing-0"), "x/y")),
                ("c", opened),
            ],
        ).json()
    kind = fields_of(received)["content-type"]
    assert kind == "multipart/form-data; boundary=----reactor-testing-1"
    boundary = "------reactor-testing-1"
    disposition = "Content-Disposition: form-data; name="
    assert received["body"].encode("latin-1").decode() == (
        f'{boundary}\r\n{disposition}"field"\r\n\r\nä\r\n'
        f'{boundary}\r\n{disposition}"a"; filename="upload"\r\n'
        "Content-Type: application/octet-stream\r\n\r\nplain\r\n"
        f'{boundary}\r\n{disposition}"a"; filename="x%22y.txt"\r\n'
        "Content-Type: text/plain\r\n\r\ntext\r\n"
        f'{boundary}\r\n{disposition}"b"; filename="z"\r\n'
        "Content-Type: x/y\r\n\r\n----reactor-testing-0\r\n"
        f'{boundary}\r\n{disposition}"c"; filename="open.png"\r\n'
        "Content-Type: image/png\r\n\r\npng\r\n"
        f"{boundary}--\r\n"
    )


def test_pieces_are_sent_in_chunks(echo: Client) -> None:
    pieces: list[bytes | str] = [b"a", b"", "ä", b"c" * 100]
    received = echo.post("/", content=pieces).json()
    assert received["body"].encode("latin-1") == b"a" + "ä".encode() + b"c" * 100
    assert fields_of(received)["transfer-encoding"] == "chunked"
    assert "content-length" not in fields_of(received)


def test_pieces_of_a_length_that_is_said(echo: Client) -> None:
    received = echo.post("/", content=iter([b"ab", b"c"]), headers={"Content-Length": "3"}).json()
    assert received["body"] == "abc"
    assert "transfer-encoding" not in fields_of(received)


def test_a_piece_must_be_bytes_or_text(echo: Client) -> None:
    pieces: Any = [b"a", 5]
    with pytest.raises(TypeError, match="not int"):
        echo.post("/", content=pieces)
    assert echo.get("/").status == 200


def test_an_error_in_the_pieces_is_the_tests() -> None:
    got: list[object] = []

    async def take(request: BaseRequest) -> Response:
        try:
            await request.body.read()
        except Cancelled as error:
            got.append(error)
            raise
        return Response()

    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise LookupError("mine")

    with Client(take) as client, pytest.raises(LookupError, match="mine"):
        client.post("/", content=pieces())
    assert len(got) == 1


def test_pieces_are_asked_for_as_the_server_reads() -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            sent.append(number)
            yield bytes(16 * 1024)

    async def slow(request: BaseRequest) -> Response:
        early = [await request.body.read(1)]
        await sleep(HOUR)
        early.append(b"%d" % len(sent))
        async for _ in request.body:
            pass
        return Response(200, early[-1])

    with Client(slow, limits=Limits(handler_timeout=2 * HOUR)) as client:
        early = client.post("/", content=pieces(), timeout=2 * HOUR)
        assert 5 < int(early.text) < 30
        assert early.elapsed == pytest.approx(HOUR, abs=1)
    assert len(sent) == 100


def test_time_may_pass_between_two_pieces() -> None:
    with Client(count) as client:

        def pieces() -> Iterator[bytes]:
            for _ in range(5):
                yield b"x" * 5000
                client.advance(3)

        response = client.post("/", content=pieces())
        assert response.text == "25000"
        assert response.elapsed == pytest.approx(15, abs=0.1)


def test_a_body_that_is_too_slow_is_408() -> None:
    with Client(count, limits=Limits(min_rate_timeout=5)) as client:

        def pieces() -> Iterator[bytes]:
            yield b"x"
            client.advance(60)
            yield b"x"

        assert client.post("/", content=pieces()).status == 408
        assert client.post("/", content=b"x").text == "1"


@pytest.mark.parametrize("chunked", [True, False])
def test_five_mebibytes_there_and_back(chunked: bool) -> None:
    blob = os.urandom(5 * MIB)

    async def back(request: BaseRequest) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            async for piece in request.body:
                yield piece

        if not chunked:
            return Response(200, await request.body.read())
        return Response(200, pieces())

    limits = Limits(memory_body_bytes=5 * MIB)
    content = iter([blob[:MIB], blob[MIB:]]) if chunked else blob
    with Client(back, limits=limits) as client:
        response = client.post("/", content=content)
    assert response.content == blob
    assert ("transfer-encoding" in response.headers) is chunked


# --- 100 (Continue) -------------------------------------------------------------------------------


def test_the_body_waits_for_100_continue() -> None:
    pulled = []

    def pieces() -> Iterator[bytes]:
        pulled.append(client.now)
        yield b"body"

    async def late(request: BaseRequest) -> Response:
        assert pulled == []
        await sleep(CONTINUE_SECONDS / 2)
        return Response(200, await request.body.read())

    with Client(late) as client:
        response = client.post("/", content=pieces(), headers={"Expect": "100-continue"})
        assert response.content == b"body"
        assert [one.status for one in response.informational] == [100]
        assert pulled[0] == pytest.approx(CONTINUE_SECONDS / 2, abs=0.01)


def test_a_body_that_is_refused_is_not_sent() -> None:
    pulled = []

    def pieces() -> Iterator[bytes]:
        pulled.append(1)
        yield b"body"

    def refuse(request: BaseRequest) -> Response:
        raise ProtocolError(413, "Too large.")

    app = App(refuse=refuse, index=hello)
    with Client(app) as client:
        response = client.post("/refuse", content=pieces(), headers={"Expect": "100-continue"})
        assert (response.status, response.informational, pulled) == (413, [], [])
        assert client.get("/").text == "hello"
    assert app.clients[0] != app.clients[1]


def test_a_client_waits_for_100_only_so_long() -> None:
    pulled = []

    async def silent(request: BaseRequest) -> Response:
        await sleep(10)
        return Response(200, await request.body.read())

    def pieces() -> Iterator[bytes]:
        pulled.append(client.now)
        yield b"body"

    with Client(silent) as client:
        response = client.post("/", content=pieces(), headers={"Expect": "100-continue"})
        assert (response.content, response.informational) == (b"body", [])
        assert pulled[0] == pytest.approx(CONTINUE_SECONDS, abs=0.01)


def test_interim_responses_are_kept() -> None:
    async def hints(request: BaseRequest) -> Response:
        await request.body.read(1)
        request.body.inform(103, [("Link", "</a>"), ("Link", "</b>")])
        return Response(200, b"x")

    with Client(hints) as client:
        response = client.post("/", content=b"x")
    assert [one.status for one in response.informational] == [103]
    assert response.informational[0].headers.get_all("link") == ["</a>", "</b>"]


# --- responses ------------------------------------------------------------------------------------


def test_headers_of_a_response() -> None:
    fields = [("X-A", "1"), ("x-a", "2"), ("X-B", " ä ".strip())]
    with Client(lambda request: Response(201, b"", fields)) as client:
        response = client.get("/")
    assert response.headers["x-A"] == "1, 2"
    assert response.headers.get_all("X-A") == ["1", "2"]
    assert "x-b" in response.headers
    assert response.headers.get("nothing") == ""
    assert (response.status, response.status_code, response.reason) == (201, 201, "Created")
    assert repr(response) == "<Response 201 Created>"
    with pytest.raises(KeyError):
        response.headers["nothing"]


@pytest.mark.parametrize(
    ("media_type", "content", "text"),
    [
        ("text/plain; charset=utf-8", "ä".encode(), "ä"),
        ('text/plain; Charset="ISO-8859-1"', b"\xe4", "ä"),
        ("text/plain", "ä".encode(), "ä"),
        ("", "ä".encode(), "ä"),
        ("text/plain; charset=utf-16", "ä".encode("utf-16"), "ä"),
    ],
)
def test_text_has_a_charset(media_type: str, content: bytes, text: str) -> None:
    fields = [("Content-Type", media_type)] if media_type else []
    with Client(lambda request: Response(200, content, fields)) as client:
        assert client.get("/").text == text


def test_content_that_is_neither_text_nor_json() -> None:
    with Client(lambda request: Response(200, b"\xff")) as client:
        with pytest.raises(UnicodeDecodeError):
            client.get("/").text  # noqa: B018
        with pytest.raises(ValueError):
            client.get("/").json()


def test_encoded_content_is_left_as_it_came() -> None:
    with Client(make_app()) as client:
        response = client.get("/echo/aaaa", headers={"Accept-Encoding": "gzip"})
        assert response.headers["content-encoding"] == "gzip"
        assert gzip.decompress(response.content) == b"aaaa"
        with pytest.raises(ValueError, match="gzip"):
            response.text  # noqa: B018
        assert "content-encoding" not in client.get("/echo/aaaa").headers


def test_a_body_that_ends_with_the_connection() -> None:
    """As HTTP/1.0 has it; no handler here responds so to HTTP/1.1."""

    async def old(request: BaseRequest) -> Response:
        request.minor = 0
        request.keep_alive = False
        return Response(200, iter([b"a", b"b"]))

    app = App(old=old, index=hello)
    with Client(app) as client:
        response = client.get("/old")
        assert response.content == b"ab"
        assert "content-length" not in response.headers
        assert "transfer-encoding" not in response.headers
        assert client.get("/").text == "hello"
    assert app.clients[0] != app.clients[1]


def test_errors_of_the_protocol_are_responses() -> None:
    with Client(App(index=hello), limits=Limits(request_line_bytes=100)) as client:
        assert client.get("/nothing").status == 404
        assert client.get("/" + "x" * 200).status == 414
        assert client.get("/").status == 200


@pytest.mark.plain
def test_it_responds_as_a_real_server_does(serve: Serve) -> None:
    """Head and body, byte for byte, but for the time of day."""
    router = make_app()
    router.add("GET", "/stream", lambda request: Response(200, iter([b"a", b"bc" * 50_000])))
    router.add("PUT", "/count", count)
    real = serve(router).connect()
    with Client(router) as client:
        for method, target, accept, body in [
            ("GET", "/", "", b""),
            ("HEAD", "/", "", b""),
            ("GET", "/echo/a%20b", "", b""),
            ("GET", "/echo/" + "a" * 5000, "gzip", b""),
            ("GET", "/nothing", "", b""),
            ("DELETE", "/", "", b""),
            ("OPTIONS", "/", "", b""),
            ("GET", "/stream", "", b""),
            ("PUT", "/count", "", b"x" * 100_000),
        ]:
            coding = {"Accept-Encoding": accept} if accept else {}
            fields = [f"{name}: {value}" for name, value in coding.items()]
            expected = real.ask(target, *fields, method=method, body=body)
            got = client.request(
                *(method, target), content=body or None, headers={"Host": "localhost", **coding}
            )
            assert without_date(got.head) == without_date(expected.head)
            assert got.content == expected.body


def without_date(head: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]*", b"", head)


# --- time -----------------------------------------------------------------------------------------


def test_simulated_time_takes_none() -> None:
    async def nap(request: BaseRequest) -> Response:
        await sleep(HOUR)
        return Response(200, b"awake")

    began = time.monotonic()
    with Client(nap, limits=Limits(handler_timeout=0)) as client:
        response = client.get("/", timeout=2 * HOUR)
        assert response.text == "awake"
        assert response.elapsed == pytest.approx(HOUR, abs=0.01)
        assert client.now == pytest.approx(HOUR, abs=0.01)
    assert time.monotonic() - began < 10


def test_the_time_of_day_is_simulated() -> None:
    with Client(hello, wall=1_000_000_000.0) as client:
        assert client.get("/").headers["date"] == "Sun, 09 Sep 2001 01:46:40 GMT"
        client.advance(61)
        assert client.get("/").headers["date"] == "Sun, 09 Sep 2001 01:47:41 GMT"
        assert client.wall == pytest.approx(1_000_000_061, abs=0.1)


def test_without_another_the_time_of_day_is_the_real_one() -> None:
    with Client(hello) as client:
        assert client.wall == pytest.approx(time.time(), abs=60)


def test_the_server_gives_up_before_the_client() -> None:
    async def forever(request: BaseRequest) -> Response:
        await sleep(HOUR)
        return Response()

    with Client(forever) as client:
        response = client.get("/")
        assert response.status == 503
        assert response.elapsed == pytest.approx(60, abs=0.1)


async def inner_wait(seconds: float) -> None:
    await sleep(seconds)


async def waiting(request: BaseRequest) -> Response:
    await inner_wait(HOUR)
    return Response()


def test_a_timeout_says_what_it_waited_for() -> None:
    with Client(waiting) as client:
        with pytest.raises(TimeoutError) as caught:
            client.get("/x", timeout=5)
        assert client.now == pytest.approx(5, abs=0.1)
    text = str(caught.value)
    assert text.startswith("GET http://testserver/x: no response within 5 simulated seconds. ")
    assert f"in inner_wait ({__file__}, line " in text
    assert not isinstance(caught.value, Deadlock)


def test_a_timeout_in_the_middle_of_a_response() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        await inner_wait(HOUR)
        yield b"b"

    with (
        Client(lambda request: Response(200, pieces())) as client,
        pytest.raises(TimeoutError, match=r"no more of the response's body .*in inner_wait \("),
    ):
        client.get("/", timeout=5)


def test_a_response_that_never_ends_is_a_timeout() -> None:
    async def beats() -> AsyncIterator[bytes]:
        while True:
            yield b"beat"
            await sleep(1)

    with Client(lambda request: Response(200, beats())) as client:
        with pytest.raises(TimeoutError):
            client.get("/")
        assert client.now == pytest.approx(120, abs=1)


def test_a_deadlock_is_raised_at_once() -> None:
    async def forever(request: BaseRequest) -> Response:
        await Future[None]()
        return Response()

    with Client(forever, limits=Limits(handler_timeout=0)) as client:
        with pytest.raises(Deadlock, match=r"nothing is due .* in .*forever \("):
            client.get("/")
        assert client.now < 1


def test_a_stream_of_which_nothing_can_come() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        await Future[None]()

    with (
        Client(lambda request: Response(200, pieces())) as client,
        client.stream("GET", "/") as response,
    ):
        got = response.iter_bytes()
        assert next(got) == b"a"
        with pytest.raises(Deadlock):
            next(got)


def test_a_body_that_does_not_come_is_408() -> None:
    with Client(count) as client:
        response = client.post("/", headers={"Content-Length": "10"})
        assert response.status == 408
        assert response.elapsed == pytest.approx(20, abs=1)


def test_many_short_naps_are_no_spin() -> None:
    async def naps(request: BaseRequest) -> Response:
        for _ in range(5000):
            await sleep(0)
        return Response(200, b"done")

    with Client(naps) as client:
        assert client.get("/").text == "done"


@pytest.mark.slow
def test_a_handler_that_spins_is_a_violation() -> None:
    async def spin(request: BaseRequest) -> Response:
        while True:
            await sleep(0)

    with Client(App(spin=spin, index=hello)) as client:
        with pytest.raises(Violation, match="spin") as caught:
            client.get("/spin")
        assert "in test_a_handler_that_spins" in caught.value.__notes__[0]
        assert client.get("/").text == "hello"


def test_work_beside_the_connections_goes_on() -> None:
    ticks = []

    async def ticking() -> None:
        while True:
            await sleep(10)
            ticks.append(1)

    class Prepared:
        def __init__(self) -> None:
            self.server: Server | None = None

        def __call__(self, request: BaseRequest) -> Response:
            return Response(200, b"%d" % len(ticks))

    client = Client(Prepared())
    client.server.spawn(ticking())
    with client:
        assert client.get("/").text == "0"
        client.advance(105)
        assert client.get("/").text == "10"
    assert len(ticks) == 10


def test_the_pool_works_for_real(tmp_path: Path) -> None:
    async def listing(request: BaseRequest) -> Response:
        return Response(200, " ".join(await in_pool(os.listdir, tmp_path)).encode())

    (tmp_path / "a").touch()
    with Client(listing) as client:
        assert client.get("/").text == "a"


# --- connections ----------------------------------------------------------------------------------


def test_a_connection_is_kept() -> None:
    app = App(index=hello)
    with Client(app) as client:
        for _ in range(3):
            client.get("/")
        client.advance(70)
        client.post("/", content=b"not read")
    assert app.clients == [("127.0.0.1", 50000)] * 4


def test_a_new_one_is_made_when_the_server_has_closed_it() -> None:
    app = App(index=hello, close=lambda request: Response(200, b"", [("Connection", "close")]))
    with Client(app, client=("10.0.0.7", 1234)) as client:
        client.get("/")
        client.advance(80)  # longer than idle_timeout
        client.get("/close")
        client.get("/")
        client.get("/", headers={"Connection": "close"})
        client.get("/")
    assert [port for _, port in app.clients] == [1234, 1235, 1236, 1236, 1237]
    assert {host for host, _ in app.clients} == {"10.0.0.7"}


def test_each_host_has_connections_of_its_own() -> None:
    app = App(index=hello)
    with Client(app) as client:
        for url in ("http://a/", "http://b/", "http://a/", "https://a/", "http://b:80/"):
            client.get(url)
    assert [port - 50000 for _, port in app.clients] == [0, 1, 0, 2, 1]


def test_an_early_response_ends_the_sending_and_the_connection() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(10_000)

    app = App(index=hello)
    with Client(app) as client:
        assert client.post("/", content=endless()).text == "hello"
        assert client.get("/").text == "hello"
    assert app.clients[0] != app.clients[1]


def test_too_much_is_413() -> None:
    async def take(request: BaseRequest) -> Response:
        return Response(200, await request.body.read())

    with Client(take, limits=Limits(memory_body_bytes=1000)) as client:
        assert client.post("/", content=bytes(5 * MIB)).status == 413
        assert client.post("/", content=iter([bytes(5 * MIB)])).status == 413
        assert client.post("/", content=bytes(1000)).status == 200


# --- cookies --------------------------------------------------------------------------------------


def setter(request: BaseRequest) -> Response:
    """Sets what the query says: lines separated by `|`."""
    lines = unquote(request.query).replace("+", " ").split("|")
    return Response(200, b"", [("Set-Cookie", line) for line in lines])


def cookies_sent(client: Client, url: str = "/mirror", **options: Any) -> str:
    return fields_of(client.get(url, **options).json()).get("cookie", "")


@pytest.fixture
def baker() -> Iterator[Client]:
    with Client(App(set=setter, mirror=mirror)) as client:
        yield client


def test_cookies_come_back(baker: Client) -> None:
    response = baker.get("/set?a=1;+Path=/|b=2;+Path=/;+HttpOnly;+SameSite=Lax|c=3")
    assert response.cookies == {"a": "1", "b": "2", "c": "3"}
    assert response.set_cookies[1].http_only
    assert response.set_cookies[1].same_site == "Lax"
    assert cookies_sent(baker) == "a=1; b=2; c=3"
    assert baker.cookies["a"] == "1"
    assert baker.get("/mirror").cookies == {}


def test_cookies_of_one_path(baker: Client) -> None:
    baker.get("/set/x/y?a=1")
    assert cookies_sent(baker) == ""
    assert cookies_sent(baker, "/mirror") == ""
    assert "a" in baker.cookies
    baker.get("/set/x?b=1;+Path=/mirror/x")
    assert cookies_sent(baker, "/mirror/x/y") == "b=1"


def test_cookies_of_domains(baker: Client) -> None:
    baker.get("http://www.example.com/set?a=1|b=2;+Domain=example.com|c=3;+Domain=other.com")
    assert cookies_sent(baker, "http://www.example.com/mirror") == "a=1; b=2"
    assert cookies_sent(baker, "http://example.com/mirror") == "b=2"
    assert cookies_sent(baker, "http://other.com/mirror") == ""
    assert cookies_sent(baker) == ""


def test_secure_cookies(baker: Client) -> None:
    baker.get("/set?a=1;+Secure")
    assert cookies_sent(baker) == ""
    assert cookies_sent(baker, "https://testserver/mirror") == "a=1"


def test_cookies_age_with_the_simulated_clock(baker: Client) -> None:
    baker.get("/set?a=1;+Max-Age=3600|b=2")
    baker.advance(3599)
    assert cookies_sent(baker) == "a=1; b=2"
    baker.advance(2)
    assert cookies_sent(baker) == "b=2"


def test_cookies_expire_at_the_simulated_time_of_day() -> None:
    app = App(set=setter, mirror=mirror)
    with Client(app, wall=1_000_000_000.0) as client:  # Sun, 09 Sep 2001 01:46:40 GMT
        client.get("/set?a=1;+Expires=Sun,+09+Sep+2001+01:47:40+GMT")
        assert cookies_sent(client) == "a=1"
        client.advance(61)
        assert cookies_sent(client) == ""


def test_cookies_of_the_client_and_of_a_request() -> None:
    with Client(mirror, cookies={"a": "1", "b": "2"}) as client:
        assert cookies_sent(client) == "a=1; b=2"
        assert cookies_sent(client, cookies={"b": "3", "c": "4"}) == "a=1; b=3; c=4"
        assert cookies_sent(client, headers={"Cookie": "raw"}) == "raw"
        client.cookies.delete("a")
        client.cookies.set("d", "5")
        assert cookies_sent(client, "http://other/") == "b=2; d=5"
    with pytest.raises(ValueError):
        Client(mirror, cookies={"a;b": "1"})


# --- redirects ------------------------------------------------------------------------------------


def redirect(request: BaseRequest) -> Response:
    """`/redirect/{status}?{location}`."""
    status = int(request.path.split("/")[2])
    return Response(status, b"moved", [("Location", request.query)])


@pytest.fixture
def mover() -> Iterator[Client]:
    with Client(App(redirect=redirect, mirror=mirror), follow_redirects=True) as client:
        yield client


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        *((status, "GET", "GET") for status in (301, 302, 303, 307, 308)),
        *((status, "HEAD", "HEAD") for status in (301, 302, 303, 307, 308)),
        *((status, "POST", "GET") for status in (301, 302, 303)),
        *((status, "POST", "POST") for status in (307, 308)),
        (303, "PUT", "GET"),
        *((status, "PUT", "PUT") for status in (301, 302, 307, 308)),
    ],
)
def test_methods_of_redirects(mover: Client, status: int, method: str, becomes: str) -> None:
    content = b"body" if method in ("POST", "PUT") else None
    fields = {"Content-Type": "x/y", "X-A": "1"} if content else {}
    response = mover.request(method, f"/redirect/{status}?/mirror", content=content, headers=fields)
    assert response.status == 200
    assert response.url == "http://testserver/mirror"
    assert [(one.status, one.content) for one in response.history] == [
        (status, b"" if method == "HEAD" else b"moved")
    ]
    if becomes == "HEAD":
        return
    received = response.json()
    assert received["method"] == becomes
    kept = becomes == method and content is not None
    assert received["body"] == ("body" if kept else "")
    assert fields_of(received).get("content-type") == ("x/y" if kept else None)
    assert fields_of(received).get("x-a") == ("1" if content else None)


def test_redirects_are_followed_when_wanted(mover: Client) -> None:
    response = mover.get("/redirect/302?/mirror", follow_redirects=False)
    assert (response.status, response.history) == (302, [])
    with Client(App(redirect=redirect)) as client:
        assert client.get("/redirect/302?/mirror").status == 302
        assert client.get("/redirect/302?/nothing", follow_redirects=True).status == 404


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("../mirror?x=1", "http://testserver/mirror?x=1"),
        ("//other/mirror", "http://other/mirror"),
        ("https://testserver/mirror#part", "https://testserver/mirror"),
        ("/redirect/307?/mirror", "http://testserver/mirror"),
    ],
)
def test_locations(mover: Client, location: str, url: str) -> None:
    assert mover.get(f"/redirect/307?{location}").url == url


def test_a_status_alone_is_no_redirect() -> None:
    with Client(lambda request: Response(302), follow_redirects=True) as client:
        assert client.get("/").status == 302


def test_redirects_have_an_end(mover: Client) -> None:
    loop = App(index=lambda request: Response(302, b"", [("Location", "/")]))
    with Client(loop, follow_redirects=True) as client, pytest.raises(TooManyRedirects):
        client.get("/")
    assert len(loop.requests) == 21


def test_a_body_that_is_used_up_is_not_sent_again(mover: Client) -> None:
    with pytest.raises(ValueError, match="cannot be sent again"):
        mover.post("/redirect/307?/mirror", content=iter([b"x"]))
    assert mover.post("/redirect/303?/mirror", content=iter([b"x"])).json()["body"] == ""


def test_credentials_are_for_one_host(mover: Client) -> None:
    there = mover.get("/redirect/307?/mirror", auth=("a", "b"), cookies={"x": "1"}).json()
    assert {"authorization", "cookie"} <= set(fields_of(there))
    other = mover.get("/redirect/307?http://other/mirror", auth=("a", "b"), cookies={"x": "1"})
    assert not {"authorization", "cookie"} & set(fields_of(other.json()))
    assert other.json()["host"] == "other"


def test_cookies_of_redirects_are_kept() -> None:
    def login(request: BaseRequest) -> Response:
        return Response(303, b"", [("Location", "/mirror"), ("Set-Cookie", "id=1; Path=/")])

    with Client(App(login=login, mirror=mirror), follow_redirects=True) as client:
        assert fields_of(client.post("/login").json())["cookie"] == "id=1"


# --- streams --------------------------------------------------------------------------------------


class Events:
    """A stream of events, one each ten seconds, and what becomes of it."""

    def __init__(self) -> None:
        self.made = 0
        self.closed_at: list[float] = []
        self.client: Client | None = None

    def __call__(self, request: BaseRequest) -> Response:
        return Response(200, self.events(), [("Content-Type", "text/event-stream")])

    async def events(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.made += 1
                yield b"data: %d\n\n" % self.made
                await sleep(10)
        finally:
            assert self.client is not None
            self.closed_at.append(self.client.now)


def test_events_are_pulled_while_the_world_goes_on() -> None:
    app = Events()
    with Client(app) as client:
        app.client = client
        with client.stream("GET", "/") as response:
            assert response.headers["content-type"] == "text/event-stream"
            assert client.now < 1
            got = response.iter_bytes()
            for number in range(1, 50):
                assert next(got) == b"data: %d\n\n" % number
                assert client.now == pytest.approx(10 * (number - 1), abs=0.1)
            assert app.closed_at == []
        assert app.closed_at == [pytest.approx(480, abs=0.1)]


def test_lines_are_pulled() -> None:
    app = Events()
    with Client(app) as client, client.stream("GET", "/") as response:
        app.client = client
        lines = response.iter_lines()
        assert [next(lines) for _ in range(4)] == ["data: 1", "", "data: 2", ""]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb"], ["a", "b"]),
        ([b"a\n", b"b\n"], ["a", "b"]),
        ([b"a\r\nb\rc\n\nd"], ["a", "b", "c", "", "d"]),
        ([b"a\r", b"\nb\r", b"c\r", b"\n", b"\n"], ["a", "b", "c", ""]),
        (["ä\u2028\x0b".encode()[:1], "ä\u2028\x0b".encode()[1:]], ["ä\u2028\x0b"]),
        ([b"\r", "ä".encode()[:1], "ä".encode()[1:]], ["", "ä"]),
        ([], []),
    ],
)
def test_ends_of_lines(pieces: list[bytes], lines: list[str]) -> None:
    with (
        Client(lambda request: Response(200, iter(pieces))) as client,
        client.stream("GET", "/") as response,
    ):
        assert list(response.iter_lines()) == lines


def test_text_that_ends_in_the_middle_of_a_character() -> None:
    with (
        Client(lambda request: Response(200, iter([b"a\xc3"]))) as client,
        client.stream("GET", "/") as response,
        pytest.raises(UnicodeDecodeError),
    ):
        list(response.iter_lines())


def test_a_stream_that_is_read_to_its_end_keeps_the_connection() -> None:
    app = App(index=hello, parts=lambda request: Response(200, iter([b"a", b"b", b"c"])))
    with Client(app) as client:
        with client.stream("GET", "/parts") as response:
            with pytest.raises(RuntimeError, match="read"):
                response.content  # noqa: B018
            assert next(response.iter_bytes()) == b"a"
            assert response.read() == b"bc"
            assert response.content == response.read() == b"bc"
            with pytest.raises(RuntimeError):
                next(response.iter_bytes())
        client.get("/")
    assert app.clients[0] == app.clients[1]


def test_a_stream_that_is_not_read_keeps_its_server_waiting() -> None:
    made = []

    def pieces() -> Iterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield bytes(16 * 1024)

    def app(request: BaseRequest) -> Response:
        return Response(200, pieces())

    limits = Limits(min_rate_timeout=HOUR)
    with Client(app, limits=limits) as client, client.stream("GET", "/") as response:
        client.advance(60)
        assert 5 < len(made) < 30
        assert len(response.read()) == 1000 * 16 * 1024
    assert len(made) == 1000


def test_a_client_that_reads_nothing_for_too_long_is_cut() -> None:
    with (
        Client(lambda request: Response(200, iter([bytes(MIB)] * 5))) as client,
        client.stream("GET", "/") as response,
    ):
        client.advance(60)
        with pytest.raises(IncompleteResponse, match="was reset"):
            response.read()


def test_leaving_cancels_the_handler_that_waits() -> None:
    cancelled = []

    async def app(request: BaseRequest) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"a"
            try:
                await Future[None]()
            except Cancelled:
                cancelled.append(1)
                raise

        return Response(200, pieces())

    with Client(app) as client:
        with client.stream("GET", "/") as response:
            assert next(response.iter_bytes()) == b"a"
            assert cancelled == []
        assert cancelled == [1]


def test_a_timeout_cancels_the_handler() -> None:
    cancelled = []

    async def app(request: BaseRequest) -> Response:
        try:
            await sleep(HOUR)
        except Cancelled:
            cancelled.append(client.now)
            raise
        return Response()

    with Client(app) as client:
        with pytest.raises(TimeoutError):
            client.get("/", timeout=7)
        assert cancelled == [pytest.approx(7, abs=0.1)]


def test_several_streams_at_a_time() -> None:
    app = Events()
    with Client(App(events=app, index=hello)) as client:
        app.client = client
        with client.stream("GET", "/events") as one, client.stream("GET", "/events") as two:
            first, second = one.iter_bytes(), two.iter_bytes()
            assert {next(first), next(second)} == {b"data: 1\n\n", b"data: 2\n\n"}
            assert client.get("/").text == "hello"
            one.close()
            assert len(app.closed_at) == 1
            assert next(second) == b"data: 3\n\n"
            with pytest.raises(RuntimeError, match="given up"):
                next(first)
        assert len(app.closed_at) == 2


def test_both_directions_at_once() -> None:
    async def app(request: BaseRequest) -> Response:
        async def shout() -> AsyncIterator[bytes]:
            async for piece in request.body:
                yield piece.upper()

        return Response(200, shout())

    pieces = [bytes([97 + number]) * 50_000 for number in range(26)]
    with Client(app) as client, client.stream("POST", "/", content=iter(pieces)) as response:
        got = b"".join(response.iter_bytes())
    assert got == b"".join(pieces).upper()


def test_a_streams_timeout_is_for_each_pull() -> None:
    app = Events()
    with Client(app) as client, client.stream("GET", "/", timeout=11) as response:
        app.client = client
        got = response.iter_bytes()
        for _ in range(20):
            next(got)
    with Client(app) as client, client.stream("GET", "/", timeout=9) as response:
        app.client = client
        got = response.iter_bytes()
        next(got)
        with pytest.raises(TimeoutError):
            next(got)


def test_trailers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "reactor.http.response_body.LAST_CHUNK", b"0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n"
    )
    app = App(index=lambda request: Response(200, iter([b"a"])))
    with Client(app) as client:
        response = client.get("/")
        assert response.content == b"a"
        assert response.trailers.get_all("x-sum") == ["1", "2"]
        with client.stream("GET", "/") as stream:
            assert list(stream.trailers) == []
            assert list(stream.iter_bytes()) == [b"a"]
            assert stream.trailers["x-sum"] == "1, 2"
    assert app.clients[0] == app.clients[1]


def test_a_response_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(MIB)

    monkeypatch.setattr("reactor.testing.responses.LONGEST_CONTENT", 10 * MIB)
    with (
        Client(lambda request: Response(200, endless())) as client,
        pytest.raises(ValueError, match="use a stream"),
    ):
        client.get("/")


# --- what goes wrong ------------------------------------------------------------------------------


async def fails_later(request: BaseRequest) -> Response:
    await sleep(1)
    raise LookupError("later")


def fails(request: BaseRequest) -> Response:
    raise LookupError("at once")


def exits(request: BaseRequest) -> Response:
    raise SystemExit(3)


async def fails_in_the_middle(request: BaseRequest) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        await sleep(1)
        raise LookupError("in the middle")

    return Response(200, pieces())


def returns_nothing(request: BaseRequest) -> Any:
    return None


@pytest.mark.parametrize(
    ("app", "error", "text"),
    [
        (fails, LookupError, "at once"),
        (fails_later, LookupError, "later"),
        (fails_in_the_middle, LookupError, "in the middle"),
        (exits, SystemExit, "3"),
        (returns_nothing, TypeError, "no Response"),
        (lambda request: Response(200, b"", [("A", "\n")]), Exception, "not a header field"),
    ],
)
def test_an_error_of_a_handler_is_raised_in_the_test(
    app: Any, error: type[BaseException], text: str
) -> None:
    with Client(app) as client, pytest.raises(error, match=text) as caught:
        client.get("/")
    if error is LookupError:
        assert Path(str(caught.traceback[-1].path)) == Path(__file__)


@pytest.mark.parametrize("app", [fails, fails_later, exits, returns_nothing])
def test_or_it_is_the_response_that_a_client_would_get(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(app, raise_server_exceptions=False) as client:
        response = client.get("/")
        assert response.status == 500
        assert b"at once" not in response.content
    assert "failed" in caplog.text


def test_a_cut_response_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    with Client(fails_in_the_middle, raise_server_exceptions=False) as client:
        with pytest.raises(IncompleteResponse, match="was reset in the middle"):
            client.get("/")
        with client.stream("GET", "/") as response:
            got = response.iter_bytes()
            assert next(got) == b"a"
            with pytest.raises(IncompleteResponse):
                next(got)


def test_after_an_error_the_client_goes_on() -> None:
    with Client(App(fails=fails, index=hello)) as client:
        for _ in range(2):
            with pytest.raises(LookupError):
                client.get("/fails")
            assert client.get("/").text == "hello"


def test_an_error_beside_the_connections_is_raised() -> None:
    async def work() -> None:
        await sleep(5)
        raise LookupError("beside")

    with Client(hello) as client:
        client.server.spawn(work())
        assert client.get("/").status == 200
        with pytest.raises(LookupError, match="beside"):
            client.advance(10)


def test_an_error_while_closing_is_raised() -> None:
    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(MIB)
        finally:
            raise LookupError("closing")

    def app(request: BaseRequest) -> Response:
        return Response(200, pieces())

    with pytest.raises(LookupError, match="closing"), Client(app) as client:
        open_stream = client.stream("GET", "/")
        open_stream.__enter__()
        client.close()


def test_another_error_is_not_hidden_by_closing() -> None:
    with pytest.raises(ZeroDivisionError), Client(hello):
        raise ZeroDivisionError


def test_two_errors_are_both_raised() -> None:
    async def work() -> None:
        await sleep(5)
        raise LookupError("second")

    async def other() -> None:
        await sleep(4)
        raise LookupError("first")

    with Client(hello) as client:
        client.server.spawn(work())
        client.server.spawn(other())
        with pytest.raises(LookupError, match="first") as caught:
            client.advance(10)
    assert caught.value.__notes__ == ["and after that: LookupError('second')"]


def test_a_server_that_does_not_listen() -> None:
    with Client(hello) as client:
        client.get("/")
        client.server.shut_down()
        client.advance(1)
        with pytest.raises(ConnectionRefusedError):
            client.get("/")


def test_bytes_behind_a_response_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def surplus(request: BaseRequest) -> Response:
        (connection,) = client.server.open_connections
        connection.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return Response()

    with Client(surplus) as client, pytest.raises(BadResponse, match="bytes follow"):
        client.get("/")


# --- the end --------------------------------------------------------------------------------------


def test_a_closed_client_does_nothing() -> None:
    client = Client(hello)
    client.get("/")
    stream = client.stream("GET", "/")
    response = stream.__enter__()
    client.close()
    client.close()
    for use in (
        lambda: client.get("/"),
        lambda: client.advance(1),
        lambda: client.stream("GET", "/").__enter__(),
        response.read,
    ):
        with pytest.raises(RuntimeError, match="closed"):
            use()
    stream.__exit__(None, None, None)


def test_closing_cancels_what_runs() -> None:
    ends = []

    async def work() -> None:
        try:
            await Future[None]()
        finally:
            ends.append("work")

    async def app(request: BaseRequest) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield b"a"
                await Future[None]()
            finally:
                ends.append("stream")

        return Response(200, pieces())

    client = Client(app)
    client.server.spawn(work())
    client.stream("GET", "/").__enter__()
    client.close()
    assert sorted(ends) == ["stream", "work"]


def test_nothing_of_this_thread_is_changed() -> None:
    log = logging.getLogger("reactor")
    before = sys.get_asyncgen_hooks(), list(log.handlers)
    with Client(Events()) as client:
        assert (sys.get_asyncgen_hooks(), log.handlers) == before
        client.server.spawn(sleeping())
        client.advance(1)
        assert (sys.get_asyncgen_hooks(), log.handlers) == before
    assert (sys.get_asyncgen_hooks(), log.handlers) == before


async def sleeping() -> None:
    await sleep(HOUR)


def test_no_descriptor_is_opened(no_leaks: None) -> None:
    with Client(hello) as client:
        client.get("/")
    Client(hello).get("/")


def test_a_descriptor_that_is_left_is_a_violation() -> None:
    client = Client(hello)
    network = client._world._network
    network.allocate("something")
    with pytest.raises(Violation, match="1 descriptors are open"):
        client.close()


def test_the_same_requests_give_the_same_bytes() -> None:
    def play() -> list[tuple[bytes, bytes, float]]:
        app = Events()
        with Client(App(events=app, mirror=mirror), wall=0.0) as client:
            app.client = client
            responses = [client.post("/mirror", content=bytes(MIB // 2)) for _ in range(2)]
            with client.stream("GET", "/events") as stream:
                list(zip(range(5), stream.iter_bytes(), strict=False))
            return [(one.head, one.content, one.elapsed) for one in responses]

    assert play() == play()


# --- with handlers --------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Client]:
    """A directory, with uploads."""
    limits = Limits()
    files = FileServer(Mount(str(tmp_path), media_types({}), uploads=True, deletes=True), limits)
    receiver = Receiver(files.root, limits, files.forget, deletes=True)
    router = Application()
    for method, endpoint in (
        *(("GET", files.get), ("PUT", receiver.put)),
        *(("POST", receiver.post), ("DELETE", receiver.delete)),
    ):
        router.add(method, "/{name:segments}", endpoint)
    with Client(router) as client:
        yield client


@pytest.mark.parametrize("size", [0, 1, 10_000, 64 * 1024, 64 * 1024 + 1, 300_000, 5 * MIB])
def test_real_files(site: Client, tmp_path: Path, size: int) -> None:
    blob = os.urandom(size)
    (tmp_path / "blob").write_bytes(blob)
    for _ in range(2):  # opened, and kept open
        response = site.get("/blob")
        assert (response.status, response.content) == (200, blob)
        assert int(response.headers["content-length"]) == size
    assert site.get("/blob", headers={"If-None-Match": response.headers["etag"]}).status == 304
    if size > 100_000:
        part = site.get("/blob", headers={"Range": "bytes=50000-99999"})
        assert (part.status, part.content) == (206, blob[50_000:100_000])


def test_a_real_file_is_streamed_and_left(site: Client, tmp_path: Path) -> None:
    blob = os.urandom(5 * MIB)
    (tmp_path / "blob").write_bytes(blob)
    with site.stream("GET", "/blob") as response:
        site.advance(1)
        got = next(response.iter_bytes())
        assert got
        assert blob.startswith(got)


def test_uploads(site: Client, tmp_path: Path) -> None:
    blob = os.urandom(5 * MIB)
    response = site.put("/new", content=blob, headers={"Expect": "100-continue"})
    assert (response.status, response.headers["location"]) == (201, "new")
    assert [one.status for one in response.informational] == [100]
    assert (tmp_path / "new").read_bytes() == blob
    assert site.put("/new", content=iter([b"a", b"b"])).status == 204
    assert site.get("/new").content == b"ab"
    assert site.delete("/new").status == 204
    assert site.get("/new").status == 404


def test_a_form_of_uploads(site: Client, tmp_path: Path) -> None:
    response = site.post(
        "/",
        data={"comment": "ä"},
        files=[("file", ("a.txt", "text")), ("file", ("b.bin", os.urandom(MIB)))],
    )
    assert response.status == 201
    assert [(one["name"], one["size"]) for one in response.json()["stored"]] == [
        ("a.txt", 4),
        ("b.bin", MIB),
    ]
    assert (tmp_path / "a.txt").read_text() == "text"
    assert (tmp_path / "b.bin").stat().st_size == MIB


def test_an_upload_that_breaks_off_leaves_nothing(site: Client, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(MIB)
        site.advance(1)
        raise LookupError

    with pytest.raises(LookupError):
        site.put("/new", content=pieces())
    site.advance(1)
    assert os.listdir(tmp_path) == []


# --- https ---------------------------------------------------------------------------------------


def test_a_url_of_https_is_asked_over_tls() -> None:
    app = Application(Sessions("s" * 32))

    @app.get("/")
    def index(request: Any) -> Any:
        request.state["session"]["seen"] = request.state["session"].get("seen", 0) + 1
        version = request.tls.version if request.tls else None
        return [request.scheme, request.url, version]

    @app.post("/echo")
    async def echo(request: Any) -> Any:
        return await request.body.read()

    with Client(app, base_url="https://example.com") as client:
        for _ in range(2):
            response = client.get("/")
            assert response.json() == ["https", "https://example.com/", "TLSv1.3"]
            assert "; Secure" in response.headers["set-cookie"]
        assert len(client.server.open_connections) == 1
        data = bytes(range(256)) * 1000
        assert client.post("/echo", content=data).content == data
        response = client.get("http://example.com/")
        assert response.json() == ["http", "http://example.com/", None]
        assert "; Secure" not in response.headers["set-cookie"]
        assert len(client.server.open_connections) == 2
