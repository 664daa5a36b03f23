"""The access log: its lines, what is escaped in them, and that no disk is ever waited for."""

import os
import re
import threading
import time
from collections.abc import Iterator

import pytest

from reactor import ProtocolError, Request, Response, in_pool, sleep
from reactor.accesslog import BATCH_SECONDS, escape
from tests.client import TIMEOUT, request
from tests.conftest import Running, Serve

LINE = re.compile(
    r"127\.0\.0\.1 - - \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}(?::[0-9]{2}){3} \+0000\] "
    r'"([^"\\]|\\x[0-9a-f]{2})*" [1-5][0-9]{2} [0-9]+'
)


class Log:
    """A pipe with a reader that the test can hold up."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.go = threading.Event()
        self.go.set()
        self.text = ""
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        while True:
            self.go.wait(TIMEOUT)
            data = os.read(self.reader, 65536)
            if not data:
                return
            self.text += data.decode("ascii")

    def end(self, running: Running) -> list[str]:
        """The lines, when the server has ended."""
        running.stop()
        self.close()
        assert self.text.endswith("\n") or not self.text
        return self.text.splitlines()

    def close(self) -> None:
        self.go.set()
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1
            self.thread.join(TIMEOUT)
            os.close(self.reader)


@pytest.fixture
def log(no_leaks: None) -> Iterator[Log]:
    log = Log()
    yield log
    log.close()


def hello(request: Request) -> Response:
    return Response(200, b"hello")


def summary(lines: list[str]) -> list[str]:
    """From the request on."""
    for line in lines:
        assert LINE.fullmatch(line), line
    return [line[line.index('"') :] for line in lines]


def test_one_line_a_request_in_their_order(serve: Serve, log: Log) -> None:
    def handler(request: Request) -> Response:
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


def test_what_was_no_request_is_logged_too(serve: Serve, log: Log) -> None:
    running = serve(hello, access_log=log.writer)
    for sent in (
        b"nonsense\r\n\r\n",
        b'GET /"quoted" HTTP/9.9\r\n\r\n',
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x01\x7f\xff \\ \r\n\r\n",
        b"BREW /coffee HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET / HTTP/1.1\nHost: t\n\n",
    ):
        client = running.connect()
        client.send(sent)
        client.read_answer()
        client.close()
    texts = [one.rsplit(" ", 2)[0] for one in summary(log.end(running))]
    assert texts == [
        '"nonsense"',
        r'"GET /\x22quoted\x22 HTTP/9.9"',
        '"GET / HTTP/1.1"',
        r'"\x00\x01\x7f\xc3\xbf \x5c "',
        '"BREW /coffee HTTP/1.1"',
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
def test_a_line_is_a_line(serve: Serve, log: Log, target: str, logged: str | None) -> None:
    running = serve(hello, access_log=log.writer)
    running.connect().ask(target)
    lines = summary(log.end(running))
    assert len(lines) == 1
    if logged is not None:
        assert lines[0] == f'"GET {logged} HTTP/1.1" 200 5'


def test_escape_leaves_nothing_dangerous() -> None:
    text = "".join(map(chr, range(0x180)))
    escaped = escape(text)
    assert re.fullmatch(r"(?:[ !#-\[\]-~]|\\x[0-9a-f]{2})*", escaped)
    assert escape('a"b\\c\n\x7f\xe9') == r"a\x22b\x5cc\x0a\x7f\xc3\xa9"
    assert escape("plain /text?x=1") == "plain /text?x=1"


def test_requests_that_do_not_end_well(serve: Serve, log: Log) -> None:
    """500, 503, 408, an answer that is cut: each has its line."""

    async def handler(request: Request) -> Response:
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
    assert client.read_answer().status == 408
    lines = summary(log.end(running))
    assert [line.rsplit(" ", 1)[0] for line in lines] == [
        '"GET /500 HTTP/1.1" 500',
        '"GET /503 HTTP/1.1" 503',
        '"GET /cut HTTP/1.1" 200',
        '"GET /408" 408',
    ]
    assert lines[2].endswith(" 5")


def test_lines_are_written_in_batches_and_soon(serve: Serve, log: Log) -> None:
    running = serve(hello, access_log=log.writer)
    client = running.connect()
    for _ in range(100):
        client.ask()
    began = time.monotonic()
    while log.text.count("\n") < 100:
        assert time.monotonic() < began + TIMEOUT
        time.sleep(0.01)
    assert time.monotonic() < began + BATCH_SECONDS + 10


def test_nothing_is_lost_at_the_end(serve: Serve, log: Log) -> None:
    """Lines in memory, a batch on its way to a thread, a batch being written: in their order."""
    running = serve(lambda request: hello(request), access_log=log.writer)
    client = running.connect()
    for number in range(2000):
        client.ask(f"/{number}")
    lines = summary(log.end(running))
    assert lines == [f'"GET /{number} HTTP/1.1" 200 5' for number in range(2000)]


def test_a_disk_that_is_stuck_does_not_stop_the_server(serve: Serve, log: Log) -> None:
    """Lines beyond the limit are lost, counted, and the count is told; the order is kept."""
    running = serve(hello, access_log=log.writer, log_bytes=100_000)
    client = running.connect()
    log.go.clear()
    client.ask("/first")
    time.sleep(0.1)
    total = 5000
    for start in range(0, total, 100):
        client.send(b"".join(request(f"/{n}") for n in range(start, start + 100)))
        for _ in range(100):
            assert client.read_answer().status == 200
    log.go.set()
    client.ask("/last")
    lines = log.end(running)
    told = [line for line in lines if line.startswith("# ")]
    kept = [line for line in lines if not line.startswith("# ")]
    assert sum(int(line.split()[1]) for line in told) + len(kept) == total + 2
    assert told
    assert "lines were lost: the log could not be written" in told[0]
    numbers = [int(m[1]) for line in kept if (m := re.search(r"/([0-9]+) HTTP", line))]
    assert numbers == sorted(numbers)


def test_a_pool_that_is_busy_loses_no_lines(serve: Serve, log: Log) -> None:
    """The one thread hangs, the one place is taken, and the log's job is turned away: later."""
    gate = threading.Event()

    async def handler(request: Request) -> Response:
        if request.path == "/hang":
            await in_pool(gate.wait, TIMEOUT)
        return hello(request)

    running = serve(handler, access_log=log.writer, pool_threads=1, pool_jobs=1, pool_timeout=0.05)
    clients = [running.connect() for _ in range(2)]
    for client in clients:
        client.send(request("/hang"))
    quick = running.connect()
    for number in range(5):
        quick.ask(f"/{number}")
        time.sleep(0.15)
    gate.set()
    for client in clients:
        client.read_answer()
    lines = summary(log.end(running))
    assert [line for line in lines if "hang" not in line] == [
        f'"GET /{number} HTTP/1.1" 200 5' for number in range(5)
    ]


def test_a_log_that_cannot_be_written_is_counted(serve: Serve) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        running = serve(hello, access_log=writer)
        client = running.connect()
        for _ in range(3):
            assert client.ask().status == 200
            time.sleep(0.3)
        log = running.server._log
        assert log is not None
        assert running.call(lambda: log._lost) >= 2
    finally:
        running.stop()
        os.close(writer)
