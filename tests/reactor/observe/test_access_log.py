"""The access log: its lines and formats, and how they are escaped."""

import gc
import json
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import Headers, ProtocolError, Response, Server, sleep
from reactor.http.context import Observer
from reactor.http.wall_clock import WallClock
from reactor.limits import ServerLimits
from reactor.loop.reactor import Reactor
from reactor.messages.request import BaseRequest
from reactor.net.tls_info import ClientCertificate, TlsInfo
from reactor.observe.access_log import ESCAPED_TEXTS, TLS_NAMES, _Escaped, check_format, line_writer
from reactor.observe.escaping import escaper
from reactor.protocol.dates import log_date
from reactor.protocol.request_parser import RequestParser
from tests.conftest import Serve
from tests.support.pipe_log import PipeLog
from tests.support.raw_client import request

LINE = re.compile(
    r"127\.0\.0\.1 - - \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}(?::[0-9]{2}){3} \+0000\] "
    r'"([^"\\]|\\x[0-9a-f]{2})*" [1-5][0-9]{2} [0-9]+'
)


@pytest.fixture
def log(no_leaks: None) -> Iterator[PipeLog]:
    log = PipeLog()
    yield log
    log.close()


def hello(request: BaseRequest) -> Response:
    return Response(200, b"hello")


def summary(lines: list[str]) -> list[str]:
    """The part of each line from the request on."""
    for line in lines:
        assert LINE.fullmatch(line), line
    return [line[line.index('"') :] for line in lines]


def test_one_line_a_request_in_their_order(serve: Serve, log: PipeLog) -> None:
    def handler(request: BaseRequest) -> Response:
        if request.path == "/404":
            raise ProtocolError(404, "no")
        if request.path == "/stream":
            return Response(200, iter([b"12345", b"678"]))
        return hello(request)

    running = serve(handler, access_log=log.writer)
    client = running.connect()
    client.ask("/")
    client.ask("/404")
    client.ask("/stream?q=1")
    client.ask("/", method="HEAD")
    client.ask("/", version="1.0")
    assert summary(log.end(running)) == [
        '"GET / HTTP/1.1" 200 5',
        '"GET /404 HTTP/1.1" 404 3',
        '"GET /stream?q=1 HTTP/1.1" 200 8',
        '"HEAD / HTTP/1.1" 200 0',
        '"GET / HTTP/1.0" 200 5',
    ]


def test_bytes_that_are_no_request_are_logged_too(serve: Serve, log: PipeLog) -> None:
    running = serve(hello, access_log=log.writer)
    for sent in (
        b"nonsense\r\n\r\n",
        b'GET /"quoted" HTTP/9.9\r\n\r\n',
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x01\x7f\xff \\ \r\n\r\n",
        b"CONNECT coffee:80 HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET / HTTP/1.1\nHost: t\n\n",
    ):
        client = running.connect()
        client.send(sent)
        client.read_response()
        client.close()
    texts = [one.rsplit(" ", 2)[0] for one in summary(log.end(running))]
    assert texts == [
        '"nonsense"',
        r'"GET /\x22quoted\x22 HTTP/9.9"',
        '"GET / HTTP/1.1"',
        r'"\x00\x01\x7f\xff \x5c "',
        '"CONNECT coffee:80 HTTP/1.1"',
        r'"GET / HTTP/1.1\x0aHost: t\x0a\x0a"',
    ]


@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ('/"', r"/\x22"),
        ("/\\", r"/\x5c"),
        ('/" 200 0', None),
        ("/%0a%22", "/%0a%22"),
        ("/~!$&'()*+,;=:@", "/~!$&'()*+,;=:@"),
    ],
)
def test_each_target_is_one_line(
    serve: Serve, log: PipeLog, target: str, logged: str | None
) -> None:
    running = serve(hello, access_log=log.writer)
    running.connect().ask(target)
    lines = summary(log.end(running))
    assert len(lines) == 1
    if logged is not None:
        assert lines[0] == f'"GET {logged} HTTP/1.1" 200 5'


def test_escape_leaves_nothing_dangerous() -> None:
    escape = escaper(10_000)
    text = "".join(map(chr, range(0x180)))
    escaped = escape(text)
    assert re.fullmatch(r"(?:[ !#-\[\]-~]|\\x[0-9a-f]{2})*", escaped)
    assert escape('a"b\\c\n\x7f\xe9') == r"a\x22b\x5cc\x0a\x7f\xe9"
    assert escape("plain /text?x=1") == "plain /text?x=1"


def test_requests_that_fail(serve: Serve, log: PipeLog) -> None:
    """500, 503, 408, a response that is cut: each has its line."""

    async def handler(request: BaseRequest) -> Response:
        if request.path == "/500":
            raise ValueError
        if request.path == "/503":
            await sleep(1000)
        if request.path == "/cut":
            return Response(200, cut())
        return hello(request)

    def cut() -> Iterator[bytes]:
        yield b"12345"
        raise ValueError

    running = serve(handler, access_log=log.writer, handler_timeout=0.1, head_timeout=0.1)
    running.connect().ask("/500")
    running.connect().ask("/503")
    client = running.connect()
    client.send(request("/cut"))
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    client = running.connect()
    client.send(b"GET /408")
    assert client.read_response().status == 408
    lines = summary(log.end(running))
    assert [line.rsplit(" ", 1)[0] for line in lines] == [
        '"GET /500 HTTP/1.1" 500',
        '"GET /503 HTTP/1.1" 503',
        '"GET /cut HTTP/1.1" 200',
        '"GET /408" 408',
    ]
    assert lines[2].endswith(" 5")


# --- formats -------------------------------------------------------------------------------------

WALL = 1_700_000_000.25  # 14 November 2023, 22:13:20.250 UTC


class World:
    """A reactor's clock and a wall clock that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.reactor = Reactor(clock=lambda: self.time)
        self.wall = WallClock(lambda: WALL + self.time - 1000.0)
        self.lines: list[str] = []

    def log(self, form: str) -> Observer:
        return line_writer(form, self.lines.append, self.wall, self.reactor, 1024)

    def line(self, form: str, request: BaseRequest, **response: Any) -> str:
        """The line of a response that took 1.234567 s."""
        observe = self.log(form)
        request.started = self.time
        self.time += 1.234567
        self.reactor.now = self.time
        observe(
            request,
            response.get("status", 200),
            response.get("fields", ()),
            response.get("size", 13),
        )
        self.time -= 1.234567
        return self.lines.pop()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.reactor.close()


def asked(method: str = "GET", target: str = "/a/b?q=1", **headers: str) -> BaseRequest:
    path, _, query = target.partition("?")
    lines = [f"\r\n{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    made = BaseRequest(method, target, path, query, 1, Headers("".join(lines)))
    made.client = ("192.0.2.7", 5)
    made.host = headers.get("Host", "")
    return made


BROWSER = {
    "Host": "example.com",
    "Referer": "https://example.org/?a=b",
    "User_Agent": "Mozilla/5.0 (X11)",
    "Authorization": "Basic YWxpY2U6c2VjcmV0",
}


@pytest.mark.parametrize(
    ("atom", "shown"),
    [
        ("%(h)s", "192.0.2.7"),
        ("%(l)s", "-"),
        ("%(u)s", "alice"),
        ("%(t)s", "[14/Nov/2023:22:13:21 +0000]"),
        ("%(r)s", "GET /a/b?q=1 HTTP/1.1"),
        ("%(m)s", "GET"),
        ("%(U)s", "/a/b"),
        ("%(q)s", "q=1"),
        ("%(H)s", "HTTP/1.1"),
        ("%(s)s", "200"),
        ("%(b)s", "13"),
        ("%(B)s", "13"),
        ("%(f)s", "https://example.org/?a=b"),
        ("%(a)s", "Mozilla/5.0 (X11)"),
        ("%(T)s", "1"),
        ("%(M)s", "1234"),
        ("%(D)s", "1234567"),
        ("%(L)s", "1.234567"),
        ("%(p)s", "<PROCESS>"),
        ("%({host}i)s", "example.com"),
        ("%({X-Missing}i)s", "-"),
        ("%({content-type}o)s", "text/plain"),
        ("%({X-Missing}o)s", "-"),
        ("%({REACTOR_TEST}e)s", r"a\x22b"),
        ("%({REACTOR_MISSING}e)s", "-"),
        ("%%(h)s %(s)s", "%(h)s 200"),
        ("100%% {x} {{ 'it' \"is\" \\n %(s)s", "100% {x} {{ 'it' \"is\" \\n 200"),
        ("→ %(s)s", "→ 200"),
    ],
)
def test_every_atom(world: World, monkeypatch: pytest.MonkeyPatch, atom: str, shown: str) -> None:
    monkeypatch.setenv("REACTOR_TEST", 'a"b')
    monkeypatch.delenv("REACTOR_MISSING", raising=False)
    fields = [("Content-Type", "text/plain")]
    assert world.line(f"<{atom}>", asked(**BROWSER), fields=fields) == (
        f"<{shown}>\n".replace("PROCESS", str(os.getpid()))
    )


def test_a_missing_value_is_a_dash(world: World) -> None:
    form = "%(u)s %(b)s %(B)s %(f)s %(a)s [%(q)s]"
    assert world.line(form, asked(target="/"), size=0) == "- - 0 - - []\n"
    nothing = BaseRequest("", "nonsense", "", "", 1, Headers())
    form = "%(m)s %(U)s %(H)s %(r)s"
    assert world.line(form, nothing) == "- - - nonsense\n"


@pytest.mark.parametrize(
    "credentials", ["Basic !", "Basic gA==", "Bearer YWxpY2U6c2VjcmV0", "Basic", "Basic Og=="]
)
def test_a_client_without_a_user_name_is_a_dash(world: World, credentials: str) -> None:
    assert world.line("%(u)s", asked(Authorization=credentials)) == "-\n"


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        ("%(z)s", "'%(z)s' is no atom"),
        ("%(h)s %(zz)s", "'%(zz)s' is no atom"),
        ("%(h)d", "'%(h)d' is no atom"),
        ("%(h)", "'%(h)' is no atom"),
        ("%(h)s %", "'%' is no atom"),
        ("%(h)s %s", "'%' is no atom"),
        ("%(h)s %({a b}i)s", "'%({a b}i)s' is no atom"),
        ("%(h)s %({}i)s", "'%({}i)s' is no atom"),
        ("%(h)s %({host}x)s", "'%({host}x)s' is no atom"),
        ("%(h)s\n", "cannot be printed"),
        ("%(h)s\x1b", "cannot be printed"),
        ("comon", "'comon' is no format: use common, combined, json"),
        ("", "'' is no format: use common, combined, json"),
        ("JSON", "'JSON' is no format"),
    ],
)
def test_a_wrong_format_is_refused(world: World, form: str, wrong: str) -> None:
    for check in (check_format, world.log):
        with pytest.raises(ValueError, match=re.escape(wrong)):
            check(form)


@pytest.mark.parametrize("form", ["common", "combined", "json", "%(h)s"])
def test_a_valid_format_is_returned(form: str) -> None:
    assert check_format(form) == form


def test_a_format_is_text_and_not_code(world: World) -> None:
    form = """'+exit()+' {exit()} \\'{0} %({host}i)s \\x41 {{{exit()}}} \\"""
    shown = world.line(form, asked(Host="h"))
    assert shown == form.replace("%({host}i)s", "h") + "\n"


def test_common_and_combined(world: World) -> None:
    common = '192.0.2.7 - - [14/Nov/2023:22:13:21 +0000] "GET /a/b?q=1 HTTP/1.1" 200 13'
    assert world.line("common", asked(**BROWSER)) == common + "\n"
    rest = ' "https://example.org/?a=b" "Mozilla/5.0 (X11)"\n'
    assert world.line("combined", asked(**BROWSER)) == common + rest


def test_json_has_all_members(world: World) -> None:
    fields = [("x-request-ID", "r1")]
    line = world.line("json", asked(**BROWSER), status=404, fields=fields)
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:21.484Z",
        "client": "192.0.2.7",
        "method": "GET",
        "target": "/a/b?q=1",
        "protocol": "HTTP/1.1",
        "status": 404,
        "bytes": 13,
        "duration": 1.234567,
        "referer": "https://example.org/?a=b",
        "user_agent": "Mozilla/5.0 (X11)",
        "host": "example.com",
        "request_id": "r1",
    }


CLIENT = ClientCertificate('CN=a"b\\\n,O=\xe9', "ab" * 32)


@pytest.mark.parametrize(
    ("tls", "shown", "members"),
    [
        (None, "- - - - -", []),
        (
            TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256", False, None),
            "TLSv1.3 TLS_AES_128_GCM_SHA256 no - -",
            ["TLSv1.3", "TLS_AES_128_GCM_SHA256", False, None, None],
        ),
        (
            TlsInfo("TLSv1.2", "X", True, CLIENT),
            rf"TLSv1.2 X yes CN=a\x22b\x5c\x0a,O=\xe9 {'ab' * 32}",
            ["TLSv1.2", "X", True, CLIENT.subject, "ab" * 32],
        ),
    ],
)
def test_the_facts_of_tls(
    world: World, tls: TlsInfo | None, shown: str, members: list[object]
) -> None:
    request = asked(**BROWSER)
    request.tls = tls
    form = " ".join(f"%({{{name}}}x)s" for name in TLS_NAMES)
    assert world.line(form, request) == f"{shown}\n"
    line = world.line("json", request)
    assert line.count("\n") == 1
    read = json.loads(line)
    assert [read[f"tls_{name}"] for name in TLS_NAMES if f"tls_{name}" in read] == members


def test_json_of_bytes_that_are_no_request(world: World) -> None:
    nothing = BaseRequest("", 'non"sense\x00', "", "", 1, Headers())
    found = json.loads(world.line("json", nothing, status=400))
    assert found["target"] == 'non"sense\x00'
    empty = ("method", "protocol", "referer", "user_agent", "host", "request_id")
    assert [found[name] for name in empty] == [None] * len(empty)


def test_a_request_id_is_that_of_the_response_or_its_own_or_the_clients(world: World) -> None:
    def logged(request: BaseRequest, *fields: tuple[str, str]) -> Any:
        return json.loads(world.line("json", request, fields=fields))["request_id"]

    request = asked(X_Request_Id="client's")
    assert logged(asked()) is None
    assert logged(request) == "client's"
    request.id = "own"
    assert logged(request) == "own"
    assert logged(request, ("Content-Type", "x"), ("X-Request-Id", "response's")) == "response's"


@pytest.mark.parametrize("offset", [0.0, 0.4994, 0.7499, 0.75, 0.9999, 1.7499999999, 3599.9999])
def test_json_times_are_of_the_millisecond(world: World, offset: float) -> None:
    """Also when the second was not formatted before: the line of a long response comes alone."""
    observe = world.log("json")
    for step in (0.0, offset):
        world.time = 1000.0 + step
        observe(asked(), 200, (), 0)
    found = datetime.fromisoformat(json.loads(world.lines[-1])["time"])
    assert found.utcoffset() == timedelta(0)
    assert 0 <= WALL + offset - found.timestamp() < 0.001001


def test_the_date_is_fresh_after_a_while_without_responses(world: World) -> None:
    observe = world.log("%(t)s")
    observe(asked(), 200, (), 0)
    world.time = world.reactor.now = 1090.0
    observe(asked(), 200, (), 0)
    assert world.lines == ["[14/Nov/2023:22:13:20 +0000]\n", "[14/Nov/2023:22:14:50 +0000]\n"]


def test_a_request_that_is_not_to_be_logged_is_not(world: World) -> None:
    request = asked()
    request.logged = False
    for form in ("common", "combined", "json", "%(h)s"):
        world.log(form)(request, 200, (), 0)
    assert world.lines == []


def unescaped(shown: str) -> str:
    r"""The text that a client sent, by the rule that \\xNN is a byte; decoded as Latin-1."""
    sent = re.sub(rb"\\x([0-9a-f]{2})", lambda one: bytes.fromhex(one[1].decode()), shown.encode())
    return sent.decode("latin-1")


EVIL = st.text(st.characters(codec="latin-1"), max_size=40)
VALUE = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40)
ALL_ATOMS = "|".join(
    [f"%({letter})s" for letter in "hlutrmUqHsbBfaTDMLp"] + ["%({x}i)s", "%({x}o)s"]
)


@pytest.mark.slow
@given(method=EVIL, target=EVIL, client=EVIL, host=EVIL, value=VALUE, identifier=EVIL, refused=...)
def test_any_bytes_of_a_client_are_one_line(
    method: str, target: str, client: str, host: str, value: str, identifier: str, refused: bool
) -> None:
    """No quote, no line feed, no control character; JSON decodes to the original text."""
    world = World()
    try:
        request = asked(method, target, X=value, Referer=value, User_Agent=value)
        request.path = "" if refused else target
        request.host, request.client, request.id = host, (client, 1), identifier
        fields = [("X", value)]
        for form in ("common", "combined", ALL_ATOMS):
            line = world.line(form, request, fields=fields)
            assert re.fullmatch(r"[ -~]*\n", line)
            quotes = form.count('"') if form == ALL_ATOMS else {"common": 2, "combined": 6}[form]
            assert line.count('"') == quotes
        found = json.loads(line := world.line("json", request, fields=fields))
        assert line[:-1].isprintable()
        assert line[-1] == "\n"
        assert unescaped(found["target"]) == target
        assert found["client"] == client
        assert unescaped(found["host"] or "") == host
        assert unescaped(found["user_agent"]) == value.strip(" \t")
        assert unescaped(found["request_id"] or "") == identifier
        assert found["method"] == (None if request.path == "" else method)
    finally:
        world.reactor.close()


def test_lines_of_a_server_in_json(serve: Serve, log: PipeLog) -> None:
    """Whole, streamed, refused, and broken off: status, bytes and fields of each."""

    async def handler(request: BaseRequest) -> Response:
        request.id = request.path[1:]
        if request.path == "/stream":
            return Response(201, iter([b"123", b"45"]), [("X-Request-Id", "given")])
        if request.path == "/slow":
            await sleep(0.2)
        return hello(request)

    running = serve(handler, access_log=log.writer, access_log_format="json")
    client = running.connect()
    client.ask("/one")
    client.ask("/stream", "User-Agent: t\x80st")
    client.ask("/slow")
    client.send(b"\xff\r\n\r\n")
    assert client.read_response().status == 400
    found = [json.loads(line) for line in log.end(running)]
    shown = [(one["target"], one["status"], one["request_id"]) for one in found]
    assert shown == [
        ("/one", 200, "one"),
        ("/stream", 201, "given"),
        ("/slow", 200, "slow"),
        (r"\xff", 400, None),
    ]
    assert [one["bytes"] for one in found[:3]] == [5, 5, 5]
    assert found[1]["user_agent"] == r"t\x80st"
    assert found[0]["duration"] < 15
    assert 0.2 <= found[2]["duration"] < 15
    times = [one["time"] for one in found]
    assert times == sorted(times)


def test_a_server_refuses_a_wrong_format(serve: Serve) -> None:
    with pytest.raises(ValueError, match="no atom"):
        Server(hello, access_log=1, access_log_format="%(z)s")


def test_the_user_and_the_environment_are_their_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user name that is UTF-8, and a variable that is."""
    monkeypatch.setenv("REACTOR_TEST", "caf\xe9")
    credentials = b64encode("jos\xe9:secret".encode()).decode()
    line = world.line("%(u)s %({REACTOR_TEST}e)s", asked(Authorization=f"Basic {credentials}"))
    assert line == r"jos\xc3\xa9 caf\xc3\xa9" + "\n"


@pytest.mark.parametrize("form", ["combined", "json", ALL_ATOMS])
@pytest.mark.parametrize("byte", ["\x80", '"', "a", "\\"])
def test_a_long_field_is_cut(world: World, form: str, byte: str) -> None:
    """Each one, though it is the target, a user name or a field of the response."""
    many = byte * 30_000
    credentials = b64encode(many.encode()).decode()
    request = asked(
        "GET",
        f"/{many}?{many}",
        User_Agent=many,
        Referer=many,
        X=many,
        Authorization=f"Basic {credentials}",
    )
    request.id = many
    line = world.line(form, request, fields=[("X", many)])
    assert line.count("\u2026") >= 3
    # Quotes and backslashes are twice as long in JSON, and every field has its limit.
    assert len(line) < 250 + 1024 * (8 if form == "json" else max(3, form.count("|")))


def test_the_path_of_a_line_is_the_one_that_was_sent(world: World) -> None:
    """Another spelling of a path is a fact that an operator looks for."""
    request = asked(target="/%61dmin/.%2f?q")
    request.path = "/admin/.%2F"  # as the parser has decoded it
    for form, shown in (
        ("<%(U)s>", "</%61dmin/.%2f>\n"),
        ("<%(r)s>", "<GET /%61dmin/.%2f?q HTTP/1.1>\n"),
    ):
        assert world.line(form, request) == shown
    assert '"target":"/%61dmin/.%2f?q"' in world.line("json", request)


@pytest.mark.parametrize("size", [0, 9, 999, 1000, 123456789012])
@pytest.mark.parametrize("status", [100, HTTPStatus.OK, 599, 999])
@pytest.mark.parametrize("minor", [0, 1])
def test_numbers_are_written_in_full(size: int, status: int, minor: int) -> None:
    lines: list[str] = []
    reactor = Reactor(clock=lambda: 0.0)
    try:
        observe = line_writer(
            "%(r)s {request_line} %(s)s %(B)s", lines.append, WallClock(), reactor, 99
        )
        observe(BaseRequest("GET", "/", "/", "", minor, Headers()), status, [], size)
    finally:
        reactor.close()
    assert lines == [f"GET / HTTP/1.{minor} {{request_line}} {int(status)} {size}\n"]


def test_clients_and_methods_beyond_those_that_are_remembered() -> None:
    """The memory is bounded, and every line is right, also when a text comes again."""
    lines: list[str] = []
    reactor = Reactor(clock=lambda: 0.0)
    try:
        observe = line_writer("%(h)s %(m)s", lines.append, WallClock(), reactor, 99)
        numbers = [*range(ESCAPED_TEXTS + 10), 0, 1]
        for number in numbers:
            asked = BaseRequest(f"M{number}", "/", "/", "", 1, Headers())
            asked.client = (f'a"{number}', 0)
            observe(asked, 200, [], 0)
    finally:
        reactor.close()
    assert lines == [f"a\\x22{number} M{number}\n" for number in numbers]
    (remembered,) = (
        one for one in gc.get_referents(observe.__globals__) if isinstance(one, _Escaped)
    )
    assert len(remembered) <= ESCAPED_TEXTS


@pytest.mark.parametrize("form", ["common", "combined", '%(h)s - - %(t)s "%(r)s"', "%(h)s %(t)s"])
def test_a_line_has_its_own_client_and_second(world: World, form: str) -> None:
    """Also where its beginning, with both in it, is remembered for other lines."""
    observe = world.log(form)
    request = asked()
    for moment in (1000.0, 1000.9, 1001.0, 1003.5):
        for client in ("192.0.2.7", 'a"\x00', "192.0.2.8", "192.0.2.7"):
            request.client = (client, 5)
            world.time = world.reactor.now = moment
            observe(request, 200, [], 13)
            shown, second = client.replace('"\x00', r"\x22\x00"), int(WALL + moment - 1000.0)
            assert world.lines[-1].startswith(f"{shown} "), world.lines[-1]
            assert f" [{log_date(second)}]" in world.lines[-1]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"GET /a/b?q=1 HTTP/1.1", "GET /a/b?q=1 HTTP/1.1"),
        (b"M /%20 HTTP/1.0", "M /%20 HTTP/1.0"),
        (b'GET /" HTTP/1.1', r"GET /\x22 HTTP/1.1"),
        (b"GET /\\x22 HTTP/1.1", r"GET /\x5cx22 HTTP/1.1"),
        (b"GET /%b HTTP/1.1" % (b"a" * 1013), f"GET /{'a' * 1013} HTTP/1.1"),
        (b"GET /%b HTTP/1.1" % (b"a" * 2000), f"GET /{'a' * 1023}\u2026 HTTP/1.1"),
    ],
)
def test_a_request_line_is_shown_as_the_parser_has_read_it(
    world: World, line: bytes, shown: str
) -> None:
    for _ in range(2):  # the second time the parser remembers it, if it is short
        parser = RequestParser(ServerLimits())
        parser.feed(line + b"\r\nHost: a\r\n\r\n")
        request = parser.next_request()
        assert request is not None
        assert request.line == line.decode()
        assert world.line("%(r)s", request) == f"{shown}\n"
