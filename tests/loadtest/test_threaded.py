"""The twin beside the reactor: the same bytes in, the same bytes out, and no harm among threads.

Three processes serve the same application and the same files: the reactor, a thread for each
connection, and a pool. A seed replaces all chance in them.
"""

import gzip
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from loadtest.threaded import command_line, monitor, secure, shared, transport
from loadtest.threaded import server as threaded
from loadtest.threaded.command_line import main
from loadtest.threaded.monitor import MONITOR, Relay, ThreadRuntime, guarded
from loadtest.threaded.shared import SharedWall, ThreadMemory
from loadtest.threaded.transport import BlockingTransport, ThreadLoop
from reactor import Future, Limits, in_pool, sleep
from reactor.errors import Cancelled
from reactor.http.body_memory import BodyMemory
from reactor.tasks.single_flight import SingleFlight
from tests.support.authority import write_pair
from tests.support.program import Program
from tests.support.raw_client import TIMEOUT, Client, request
from tests.support.slowness import stretched

pytestmark = pytest.mark.system

MODELS: Final = ("each", "pool")
SEEDED: Final = """
import base64, os, random, secrets, sys
from {module} import main
chance = random.Random(7)
os.urandom = chance.randbytes
secrets.token_urlsafe = lambda n: base64.urlsafe_b64encode(chance.randbytes(n)).decode()[:22]
sys.exit(main())
"""
APP: Final = "tests.support.twin_app:app"
OLD: Final = 1_700_000_000  # when the files were written: not now, which makes a weak tag
TEXT: Final = b"".join(b"line %d of a text that shrinks\n" % number for number in range(3000))


class Twins:
    """Servers by name."""

    def __init__(
        self, shared: Path, own: Path, stack: ExitStack, options: Sequence[str] = ()
    ) -> None:
        self.programs: dict[str, Program] = {}
        for name in ("reactor", *MODELS):
            (own / name).mkdir()
            package = "reactor.web.site" if name == "reactor" else "loadtest.threaded"
            module = f"{package}.command_line"
            arguments = [] if name == "reactor" else ["--model", name, "--threads", "4"]
            arguments += [
                "--port",
                "0",
                "--no-date-header",
                "--access-log",
                "off",
                "--allow-delete",
            ]
            arguments += ["--static", f"/read/={shared}", "--directory", str(own / name)]
            arguments += ["--error-log", os.devnull, "--memory-body-bytes", "100000", *options]
            self.programs[name] = Program(["-c", SEEDED.format(module=module), *arguments, APP])
            stack.callback(self.programs[name].close)


def write_files(directory: Path) -> None:
    (directory / "sub").mkdir()
    (directory / "small.txt").write_bytes(b"a small text\n")
    (directory / "text.txt").write_bytes(TEXT)
    (directory / "encoded.css").write_bytes(TEXT)
    (directory / "encoded.css.gz").write_bytes(gzip.compress(TEXT, mtime=0))
    (directory / "empty.bin").write_bytes(b"")
    (directory / "big.bin").write_bytes(bytes(range(251)) * 12_000)
    (directory / "sub" / "ä ö.html").write_text("<p>")
    for path in (*directory.rglob("*"), directory):
        os.utime(path, (OLD, OLD))


@pytest.fixture(scope="module", params=["plain", "tls"])
def twins(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Twins]:
    """All of them speak HTTP without TLS, or HTTPS."""
    shared, own = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("own")
    write_files(shared)
    options: list[str] = []
    if request.param == "tls":
        pair = write_pair(tmp_path_factory.mktemp("pair"), "localhost", "127.0.0.1")
        options = ["--tls-cert", pair.certificate, "--tls-key", pair.key]
    with ExitStack() as stack:
        yield Twins(shared, own, stack, options)


def received(address: tuple[Any, ...], data: bytes, *, bytewise: bool, half_closed: bool) -> bytes:
    """All bytes that the server sends for these, or b"reset" where that is how it ends."""
    with Client(address) as client:
        try:
            if bytewise:
                for at in range(len(data)):
                    client.send(data[at : at + 1])
            else:
                client.send(data)
            if half_closed:
                client.send_fin()
        except OSError:
            pass  # the server has closed already
        got = b""
        try:
            while piece := client.socket.recv(1 << 16):
                got += piece
        except ConnectionResetError:
            got = b"reset"  # how much came before is chance
        return got


LAST: Final = "Connection: close"


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return body + b"0\r\n" + trailers + b"\r\n"


def post(target: str, *fields: str, body: bytes = b"") -> bytes:
    return request(target, *fields, LAST, method="POST", body=body)


CASES: Final[dict[str, bytes]] = {
    "hello": request("/hello", LAST),
    "head": request("/hello", LAST, method="HEAD"),
    "peer": request("/peer", LAST),
    "options": request("/hello", LAST, method="OPTIONS"),
    "not allowed": request("/hello", LAST, method="DELETE"),
    "nowhere": request("/nowhere", LAST),
    "redirected": request("/hello/", LAST),
    "one zero": request("/hello", version="1.0"),
    "one zero kept": request("/hello", "Connection: keep-alive", version="1.0"),
    "one zero pieces": request("/pieces/3", version="1.0"),
    "long": request("/long", LAST),
    "pieces": request("/pieces/40", LAST),
    "no pieces": request("/pieces/0", LAST),
    "measured": request("/measured", LAST),
    "late": request("/late", LAST),
    "region": request("/region?from=7&length=1000", LAST),
    "long region": request("/region?from=3&length=400000", LAST),
    "parts": request("/parts", LAST),
    "trailed": request("/trailed", "TE: trailers", LAST),
    "not trailed": request("/trailed", LAST),
    "nap": request("/nap", LAST),
    "both": request("/both", LAST),
    "impatient": request("/impatient", LAST),
    "failure": request("/fail", LAST),
    "refused": request("/refuse", LAST),
    "whole body": post("/whole", body=b"x" * 5000),
    "whole body chunked": post("/whole", "Transfer-Encoding: chunked")
    + chunked(b"ab", b"c" * 3000, trailers=b"X-T: 1\r\n"),
    "too large": post("/whole", body=b"x" * 100_001),
    "too large chunked": post("/whole", "Transfer-Encoding: chunked") + chunked(b"x" * 100_001),
    "counted": post("/counted", body=b"x" * 90_000),
    "unread": post("/unread", body=b"x" * 100),
    "unread and on": request("/unread", method="POST", body=b"x" * 100) + request("/hello", LAST),
    "mirror": post("/mirror", body=b"y" * 2000),
    "bad chunk": post("/counted", "Transfer-Encoding: chunked") + b"zz\r\n",
    "expected and sent": post("/counted", "Expect: 100-continue", body=b"abc"),
    "unknown expectation": request("/hello", "Expect: tea", LAST),
    "pipelined": b"".join(request(f"/pieces/{n}") + request("/hello") for n in range(20))
    + request("/nap", LAST),
    "pipelined after close": request("/hello", LAST) + request("/hello"),
    "no head": b"\r\n\r\nnonsense\r\n\r\n",
    "no host": b"GET /hello HTTP/1.1\r\n\r\n",
    "two hosts": request("/hello", "Host: other", LAST),
    "bad length": request("/hello", "Content-Length: 1x", LAST),
    "length and chunked": post("/counted", "Transfer-Encoding: chunked", body=b"abc"),
    "unknown coding": post("/counted", "Transfer-Encoding: gzip"),
    "unknown version": b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "unknown method": b"BREW /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "long line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "long head": request("/hello", "X: " + "a" * 33_000, LAST),
    "many fields": request("/hello", *(f"X-{n}: 1" for n in range(101)), LAST),
    "half a head": b"GET /hello HTTP/1.1\r\nHo",
    "half a body": request("/counted", "Content-Length: 10", method="POST") + b"half",
    "nothing": b"",
    "file": request("/read/text.txt", LAST),
    "file head": request("/read/text.txt", LAST, method="HEAD"),
    "small file": request("/read/small.txt", LAST),
    "empty file": request("/read/empty.bin", LAST),
    "big file": request("/read/big.bin", LAST),
    "file twice": request("/read/big.bin") + request("/read/small.txt", LAST),
    "gzip stored": request("/read/encoded.css", "Accept-Encoding: gzip", LAST),
    "gzip made": request("/read/text.txt", "Accept-Encoding: gzip", LAST),
    "not acceptable": request("/read/big.bin", "Accept-Encoding: *;q=0", LAST),
    "missing": request("/read/none", LAST),
    "directory": request("/read/sub", LAST),
    "listing": request("/read/", LAST),
    "listing gzip": request("/read/", "Accept-Encoding: gzip", LAST),
    "listing json": request("/read/sub/", "Accept: application/json", LAST),
    "escape": request("/read/%2e%2e/etc/passwd", LAST),
    "not modified": request(
        "/read/text.txt", "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT", LAST
    ),
    "not matched": request("/read/text.txt", 'If-Match: "other"', LAST),
    "range": request("/read/big.bin", "Range: bytes=1000-2000", LAST),
    "last bytes": request("/read/text.txt", "Range: bytes=-10", LAST),
    "long range": request("/read/big.bin", "Range: bytes=5-2000000", LAST),
    "ranges": request("/read/big.bin", "Range: bytes=0-9,100-70099,2500000-", LAST),
    "no such range": request("/read/small.txt", "Range: bytes=100-", LAST),
    "not written to": request("/read/small.txt", LAST, method="PUT", body=b"x"),
}


ENDLESS: Final = ("nothing", "half a head", "half a body", "one zero kept")  # until the FIN
TIMED: Final = ("mirror", "expected and sent")  # the bytes sent depend on which ones come together
LONGEST_BYTEWISE: Final = 6000

WAYS: Final = [
    (name, way, end)
    for name, data in CASES.items()
    for way in ("whole", "bytewise")
    for end in ("open", "half-closed")
    if (end == "half-closed" or name not in ENDLESS)
    and (way == "whole" or (name not in TIMED and len(data) <= LONGEST_BYTEWISE))
]


@pytest.mark.parametrize(("name", "way", "end"), WAYS)
def test_the_same_responses(twins: Twins, name: str, way: str, end: str) -> None:
    bytewise, half_closed = way == "bytewise", end == "half-closed"
    data = CASES[name]
    got = {
        server: received(program.address, data, bytewise=bytewise, half_closed=half_closed)
        for server, program in twins.programs.items()
    }
    assert got["each"] == got["pool"] == got["reactor"]
    assert got["reactor"].startswith(b"HTTP/1.1 ") or name == "nothing"


def test_a_cut_response_ends_in_a_reset(twins: Twins) -> None:
    for program in twins.programs.values():
        data = request("/cut", LAST)
        assert received(program.address, data, bytewise=False, half_closed=False) == b"reset"


@pytest.mark.parametrize("version", ["one", "two"])  # the first store and a second one
def test_the_same_uploads(twins: Twins, version: str) -> None:
    steps = (
        request("/files/put.bin", LAST, method="PUT", body=version.encode() * 70_000),
        post("/files/posted.txt", "Transfer-Encoding: chunked") + chunked(b"ab", b"cd"),
        request("/files/put.bin", "If-None-Match: *", LAST, method="PUT", body=b"no"),
        request("/files/no/directory", LAST, method="PUT", body=b"no"),
        request("/files/part", "Upload-Complete: ?0", LAST, method="PUT", body=b"half"),
        request("/files/posted.txt", LAST, method="DELETE"),
        request("/files/posted.txt", LAST, method="DELETE"),
        request("/files/put.bin", LAST)[:-2] + b"Range: bytes=3-8\r\nIf-None-Match: *\r\n\r\n",
    )
    for step in steps:
        got = {
            server: received(program.address, step, bytewise=False, half_closed=False)
            for server, program in twins.programs.items()
        }
        got = {
            server: re.sub(rb"\r\n(ETag: |Last-Modified: )[^\r]*", b"", text)
            for server, text in got.items()
        }
        assert got["each"] == got["pool"] == got["reactor"]


def test_resumed_alike(twins: Twins) -> None:
    seen = []
    for program in twins.programs.values():
        with Client(program.address) as client:
            begun = client.ask(
                "/files/resumed.bin", "Upload-Complete: ?0", method="PUT", body=b"first "
            )
            place = f"/files/{begun.get('location')}"
            state = client.ask(place, method="HEAD")
            ended = client.ask(
                place,
                "Upload-Offset: 6",
                "Upload-Complete: ?1",
                "Content-Type: application/partial-upload",
                method="PATCH",
                body=b"second",
            )
            whole = client.ask("/files/resumed.bin")
            seen.append((begun.status, state.get("upload-offset"), ended.status, whole.body))
    assert seen == [(201, "6", 201, b"first second")] * 3


def test_a_client_that_waits_for_100(twins: Twins) -> None:
    for program in twins.programs.values():
        with Client(program.address) as client:
            client.send(
                request("/counted", "Expect: 100-continue", "Content-Length: 3", method="POST")
            )
            assert client.read_response().status == 100
            client.send(b"abc")
            assert client.read_response().body.startswith(b"3 ")


# --- what threads wait for -----------------------------------------------------------------------

Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def start_one(model: str, *arguments: str) -> Program:
            options = ["--model", model, "--port", "0", "--error-log", os.devnull]
            log = [] if "--access-log" in arguments else ["--access-log", "off"]
            program = Program(["-m", "loadtest.threaded", *options, *log, *arguments])
            stack.callback(program.close)
            return program

        yield start_one


@pytest.mark.parametrize("model", MODELS)
def test_timeouts(start: Start, model: str) -> None:
    program = start(
        model, "--head-timeout", "0.3", "--idle-timeout", "0.4", "--handler-timeout", "0.3", APP
    )
    with program.connect() as idle, program.connect() as slow, program.connect() as napping:
        began = time.monotonic()
        slow.send(b"GET / HTTP/1.1\r\nHos")
        napping.send(request("/nap?ms=20000"))
        assert slow.read_response().status == 408
        assert napping.read_response().status == 503
        assert idle.ended()
        assert 0.3 <= time.monotonic() - began < 5.0
    with program.connect() as again:
        assert again.ask("/hello").status == 200
        time.sleep(0.2)
        assert again.ask("/hello").status == 200
        assert again.ended()


@pytest.mark.parametrize("model", MODELS)
def test_a_client_that_does_not_read_is_cut(start: Start, model: str) -> None:
    program = start(model, "--min-rate-timeout", "0.3", "--min-rate", "1000", APP)
    with Client(program.address, receive_buffer=4096) as client:
        client.send(request("/pieces/5000"))  # 20 MiB
        began = time.monotonic()
        with pytest.raises((ConnectionResetError, EOFError)):
            time.sleep(1.5)
            client.read_response()
        assert time.monotonic() - began < 20


def test_a_slow_reader_that_keeps_the_rate_is_not_cut(start: Start) -> None:
    program = start("each", "--min-rate-timeout", "0.5", "--min-rate", "1000", APP)
    with Client(program.address, receive_buffer=4096) as client:
        client.send(request("/pieces/1500"))  # 6 MiB: more than all buffers have room for
        got = b""
        for _ in range(15):
            got += client.socket.recv(4096)
            time.sleep(0.1)
        client.buffer = got
        assert len(client.read_response().body) == 1500 * 4096


@pytest.mark.parametrize("model", MODELS)
def test_a_client_over_the_limit_gets_a_503(start: Start, model: str) -> None:
    program = start(model, "--connections", "2", "--threads", "1", APP)
    with program.connect() as one, program.connect():
        assert one.ask("/hello").status == 200
        for _ in range(70):  # more than are kept for their FIN
            with program.connect() as refused:
                response = refused.ask("/hello")
                assert (response.status, response.get("retry-after")) == (503, "1")
                assert refused.ended()
    until = time.monotonic() + TIMEOUT
    while True:  # a place is free as soon as the server has noticed
        with program.connect() as next_one:
            if next_one.ask("/hello").status == 200:
                return
        assert time.monotonic() < until


def test_a_pool_of_one_serves_one_connection_at_a_time(start: Start) -> None:
    program = start("pool", "--threads", "1", APP)
    with program.connect() as first, program.connect() as second:
        assert first.ask("/hello").status == 200
        second.send(request("/hello"))
        second.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            second.socket.recv(1)
        first.close()
        second.socket.settimeout(TIMEOUT)
        assert second.read_response().status == 200


def test_threads_that_block_do_not_hold_each_other(start: Start) -> None:
    program = start("each", APP)
    with ExitStack() as stack:
        clients = [stack.enter_context(program.connect()) for _ in range(20)]
        began = time.monotonic()
        for client in clients:
            client.send(request("/block?ms=500"))
        assert [client.read_response().body for client in clients] == [b"blocked"] * 20
        assert time.monotonic() - began < 5  # one after the other it would be ten


def test_memory_for_bodies_is_shared(start: Start) -> None:
    """Bodies that are read whole wait for each other's memory, and for nothing else."""
    program = start("each", "--memory-body-bytes", "50000", "--memory-bodies-bytes", "50000", APP)
    failures: list[object] = []

    def post_some() -> None:
        with program.connect() as client:
            for _ in range(20):
                response = client.ask("/whole", method="POST", body=b"z" * 40_000)
                if response.body != b"z" * 40_000:
                    failures.append(response.status)

    in_threads([post_some] * 8)
    assert not failures


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_signal_drains(start: Start, model: str, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    program = start(model, "--access-log", str(log), "--threads", "4", APP)
    with program.connect() as idle, program.connect() as busy, program.connect() as sleeping:
        assert idle.ask("/hello").status == 200
        busy.send(request("/block?ms=600"))
        sleeping.send(request("/nap?ms=600"))
        time.sleep(0.2)
        program.signal(signal.SIGTERM)
        assert idle.ended()
        for client in (busy, sleeping):
            response = client.read_response()
            assert (response.status, response.get("connection")) == (200, "close")
            assert client.ended()
    status, _ = program.wait()
    assert status == 0
    lines = log.read_text().splitlines()
    assert sorted(line.split('"')[1].split()[1] for line in lines) == [
        "/block?ms=600",
        "/hello",
        "/nap?ms=600",
    ]


def test_a_second_signal_ends_at_once(start: Start) -> None:
    program = start("each", APP)
    with program.connect() as client:
        client.send(request("/nap?ms=50000"))
        time.sleep(0.2)
        program.signal(signal.SIGINT)
        time.sleep(0.1)
        program.signal(signal.SIGINT)
        status, took = program.wait()
        assert status == 0
        assert took < stretched(3)
        with pytest.raises(ConnectionResetError):
            client.read_response()


def test_a_log_line_for_each_response(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    program = start("each", "--access-log", str(log), APP)

    def ask_some() -> None:
        with program.connect() as client:
            for _ in range(50):
                assert client.ask("/hello").status == 200

    in_threads([ask_some] * 8)
    program.signal()
    program.wait()
    lines = log.read_text().splitlines()
    assert len(lines) == 400
    line = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "GET /hello HTTP/1\.1" 200 5')
    assert all(line.fullmatch(one) for one in lines)


# --- among threads -------------------------------------------------------------------------------


def in_threads(functions: list[Callable[[], None]]) -> None:
    """Run them at the same time; what one of them raises is raised here."""
    failures: list[BaseException] = []

    def run(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("model", MODELS)
def test_many_threads_and_the_same_files(start: Start, model: str, tmp_path: Path) -> None:
    """More files than may be open, each entry good for a moment: holds and caches are strained."""
    contents = {}
    for number in range(24):
        kind = ("txt", "bin")[number % 2]
        size = (100, 5_000, 20_000, 60_000, 70_000, 300_000)[number % 6]
        content = (b"file %d, " % number) * (size // 8)
        contents[f"/{number}.{kind}"] = content
        (tmp_path / f"{number}.{kind}").write_bytes(content)
        os.utime(tmp_path / f"{number}.{kind}", (OLD, OLD))
    program = start(
        model, "--open-files", "6", "--open-file-age", "0.002", "--compressed-bytes", "100000",
        "--small-file-bytes", "3000", "--threads", "16", str(tmp_path),
    )  # fmt: skip
    until = time.monotonic() + 2.0

    def hammer(first: int) -> None:
        paths = sorted(contents)
        with program.connect() as client:
            at = first
            while time.monotonic() < until:
                at += 1
                path = paths[at % len(paths)]
                fields = [(), ("Accept-Encoding: gzip",), ("Range: bytes=7-70006",)][at % 3]
                response = client.ask(path, *fields)
                body = response.body
                if response.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                expected = contents[path][7:70007] if response.status == 206 else contents[path]
                assert response.status in (200, 206), response
                assert body == expected, path

    in_threads([lambda first=first: hammer(first) for first in range(16)])  # type: ignore[misc]
    end = time.monotonic() + TIMEOUT  # a thread releases its file after its client has the response
    while len(left := open_files_below(program.process.pid, tmp_path)) > 6:
        assert time.monotonic() < end, left
        time.sleep(0.02)


def test_listings_and_uploads_among_threads(start: Start, tmp_path: Path) -> None:
    program = start("each", "--directory", str(tmp_path), "--allow-delete")

    def work(name: str) -> None:
        with program.connect() as client:
            for number in range(15):
                body = f"{name} {number}".encode() * 2000
                assert client.ask(f"/files/{name}", method="PUT", body=body).status in (201, 204)
                assert client.ask(f"/files/{name}").body == body
                assert client.ask("/files/").status == 200
            assert client.ask(f"/files/{name}", method="DELETE").status == 204
            assert client.ask(f"/files/{name}").status == 404

    in_threads([lambda name=f"n{n}": work(name) for n in range(8)])  # type: ignore[misc]
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def open_files_below(pid: int, directory: Path) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith(str(directory)) and os.path.isfile(target):
            found.append(target)
    return found


def test_no_selector_is_hidden_in_it(twins: Twins) -> None:
    def polls(program: Program) -> bool:
        links = Path(f"/proc/{program.process.pid}/fd").iterdir()
        return any("eventpoll" in os.readlink(link) for link in links)

    assert {name: polls(one) for name, one in twins.programs.items()} == {
        "reactor": True,
        "each": False,
        "pool": False,
    }
    for module in (command_line, monitor, secure, shared, threaded, transport):
        assert module.__file__ is not None
        words = re.findall(r"\w+", Path(module.__file__).read_text())
        assert not {"select", "selectors", "poll", "epoll", "settimeout"} & set(words)


# --- its parts -----------------------------------------------------------------------------------


def test_the_first_step_of_a_coroutine_belongs_to_the_call_that_makes_it() -> None:
    """Nobody comes between the two: what the call has found is still there."""
    steps: list[str] = []

    async def go_on() -> str:
        steps.append("first")
        await sleep(0)
        steps.append("second")
        return "done"

    def call(waits: bool) -> Any:
        return go_on() if waits else "at once"

    loop = ThreadLoop(Limits())
    runtime = ThreadRuntime(loop, 1.0)
    function = guarded(call)
    assert function(False) == "at once"
    waiting = function(True)
    assert steps == ["first"]
    task = runtime.spawn(waiting)
    loop.run(loop.clock() + 1.0)
    assert task.result() == "done"
    assert steps == ["first", "second"]


def test_a_coroutine_that_ends_with_its_first_step() -> None:
    async def response() -> str:
        return "response"

    async def fail() -> str:
        raise ValueError

    assert guarded(lambda: response())() == "response"
    with pytest.raises(ValueError):
        guarded(lambda: fail())()


def test_options_that_make_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    tls = ["--tls-self-signed"]
    for arguments in (
        ["--reload", APP],
        ["--metrics"],
        ["--redirect-http", "8080", *tls],
        ["--hsts", "9", *tls],
        ["--model", "pool", "--threads", "0"],
    ):
        assert main(arguments) == 2
        assert arguments[0] in capsys.readouterr().err or arguments[0] == "--model"


@pytest.mark.parametrize("interval", ["0", "-1", "1.5", "nan", "inf"])
def test_switch_intervals_that_make_no_sense(
    interval: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.getswitchinterval()
    assert main([f"--switch-interval={interval}"]) == 2
    assert "--switch-interval" in capsys.readouterr().err
    assert sys.getswitchinterval() == before


def test_unknown_options(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--model", "none"], ["--no-such-option"], ["--threads", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert capsys.readouterr().err


def on_loop() -> tuple[ThreadLoop, ThreadRuntime]:
    loop = ThreadLoop(Limits())
    return loop, ThreadRuntime(loop, 1.0)


def test_a_guarded_coroutine_is_alone_in_each_step_and_not_while_it_waits() -> None:
    inside: list[bool] = []
    waiting: list[bool] = []

    def free() -> bool:
        """Whether another thread could have the monitor."""
        found: list[bool] = []

        def look() -> None:
            found.append(MONITOR.acquire(blocking=False))
            if found[0]:
                MONITOR.release()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return found[0]

    @guarded
    async def work() -> str:
        inside.append(free())
        waiting.append(await in_pool(free))
        inside.append(free())
        await sleep(0)
        try:
            await in_pool(int, "x")
        except ValueError:
            inside.append(free())
        return "done"

    loop, runtime = on_loop()
    task = runtime.spawn(work())
    loop.run(loop.clock() + 5)
    assert task.result() == "done"
    assert inside == [False] * 3
    assert waiting == [True]


def test_a_guarded_coroutine_that_is_cancelled_cleans_up() -> None:
    ended: list[str] = []

    @guarded
    async def work() -> None:
        try:
            await sleep(1000)
        finally:
            ended.append("cleaned")

    loop, runtime = on_loop()
    task = runtime.spawn(work())
    task.cancel()
    loop.run(loop.clock() + 5)
    assert isinstance(task.exception(), Cancelled)
    assert ended == ["cleaned"]
    assert not loop._awaits_timer()

    coroutine = work()
    coroutine.send(None)
    coroutine.close()
    assert ended == ["cleaned"] * 2


def test_a_guarded_job_that_is_shared_is_alone_in_each_step_and_not_on_its_thread() -> None:
    """A coroutine that SingleFlight runs as a task: two jobs, one after the other."""
    flight: SingleFlight[str, str] = SingleFlight()
    monitor_is_free: list[bool] = []

    def look() -> None:
        found = MONITOR.acquire(blocking=False)
        monitor_is_free.append(found)
        if found:
            MONITOR.release()

    def from_elsewhere() -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    async def work() -> str:
        from_elsewhere()
        await in_pool(from_elsewhere)
        from_elsewhere()
        await in_pool(from_elsewhere)
        from_elsewhere()
        return "done"

    @guarded
    async def wait() -> str:
        return await flight.run("key", work)

    loop, runtime = on_loop()
    tasks = [runtime.spawn(wait()) for _ in range(3)]
    tasks[0].cancel()
    loop.run(loop.clock() + 5)
    assert [task.result() for task in tasks[1:]] == ["done"] * 2
    assert monitor_is_free == [False, True, False, True, False]


def test_a_future_that_another_thread_fulfils_wakes_its_waiter() -> None:
    """Repeated, since a wake-up can be lost only between two instructions."""
    for _ in range(300):
        shared: Future[int] = Future()

        def fulfil(shared: Future[int] = shared) -> None:
            with MONITOR:
                shared.set_result(7)

        thread = threading.Thread(target=fulfil)

        @guarded
        async def work(shared: Future[int] = shared) -> int:
            return await shared

        loop, runtime = on_loop()
        thread.start()
        task = runtime.spawn(work())
        if not task.done:
            runtime.call_later(20, lambda: None)  # or there is nothing to wait for
            end = loop.clock() + 10
            while not task.done and loop.now < end:
                loop._rest(end)
                loop._run_soon()
        thread.join()
        assert task.result() == 7


class Body:
    """A holder that is never evicted."""

    def evict(self) -> bool:
        raise AssertionError("another thread's body was touched")


def test_memory_that_is_given_up_in_the_moment_when_it_comes() -> None:
    limits = Limits(memory_bodies_bytes=10, memory_body_bytes=10, memory_client_bytes=10)
    shared = BodyMemory(limits)
    loop, _ = on_loop()
    mine, others = ThreadMemory(shared, loop), ThreadMemory(shared, ThreadLoop(Limits()))
    for early in (False, True):
        first, second = (one.lease("a", 0.0, Body()) for one in (others, mine))
        assert first.grow(10, 0.0) is None
        room = second.grow(4, 3600.0)
        assert isinstance(room, Relay)
        if early:
            second.stop_waiting()
        first.close()
        assert shared.used == (0 if early else 4), "it is mine, but this thread does not know it"
        second.stop_waiting()
        second.close()
        loop.run(loop.clock() + 1)
        assert (shared.used, shared.waiting) == (0, 0)
        assert room.done


def test_a_connection_that_the_system_has_no_thread_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets a 503, and the server goes on as before."""

    def cannot(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    server = threaded.ThreadedServer(
        lambda request: pytest.fail("it was served"), Limits(), 0, wall=SharedWall()
    )
    monkeypatch.setattr(threaded, "_start", cannot)
    ours, theirs = socket.socketpair()
    with theirs:
        server._connect(ours, ("test", 0), BlockingTransport)
        assert theirs.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert theirs.recv(4096) == b""
        assert not server._open
        server._drain()
