"""The costs of a request that can be counted: Python frames, system calls, garbage.

Counted by hand on one reactor, without threads: each turn is a `run_once` of the test's own.
"""

import itertools
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import reactor.files.file
from handlers.app import make_app
from reactor import Limits, Response, sleep
from reactor.files.file import File
from reactor.http.context import Handler
from reactor.messages.request import BaseRequest
from reactor.tasks.thread_pool import ThreadPool
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from tests.support.cycles import Cycles
from tests.support.raw_client import request
from tests.support.request_bench import REQUEST, Bench, entered, frames_per_request

FRAMES = 24  # at most, of one keep-alive GET, the line in the access log included
SMALL_FRAMES = 34  # a file of 1 KiB that is open and in memory, in its first second
KEPT_FRAMES = 25  # the same file later, with its content kept
UNCHANGED_FRAMES = 31  # a 304
LARGE_FRAMES = 37  # a file of 100 KiB
APPLICATION_FRAMES = 30  # a GET with a parameter that was never seen, the endpoint not counted
BODY_FRAMES = 52  # a POST of a small body to an endpoint that reads it
MIDDLEWARES = 3
REQUESTS = 100


def test_frames_of_a_keep_alive_get(bench: Callable[[Handler], Bench]) -> None:
    one = bench(make_app())
    client = one.connect()
    try:
        for _ in range(3):
            assert one.ask(client).endswith(b"\r\n\r\nx")
        single = entered(lambda: one.ask(client))
        frames = frames_per_request(lambda: one.ask(client))
        listed = "\n".join(f"{number:4} {frame}" for number, frame in enumerate(single, 1))
        assert frames <= FRAMES, f"one request enters:\n{listed}"
        assert len(single) > 8, f"too few to be true:\n{listed}"
    finally:
        client.close()


def test_frames_of_an_application(bench: Callable[[Handler], Bench]) -> None:
    """A parameter in the path and middlewares, each of which is one Python call."""
    app = Application(*[lambda request, next: next(request)] * MIDDLEWARES)

    @app.get("/hello/{name}")
    def hello(request: BaseRequest, name: str) -> str:
        return f"Hello, {name}!"

    one = bench(app)
    client = one.connect()
    try:
        data = (request(f"/hello/{number:0200}") for number in itertools.count())
        for _ in range(3):
            assert one.ask(client, next(data)).endswith(b"!")
        single = entered(lambda: one.ask(client, next(data)))
        frames = frames_per_request(lambda: one.ask(client, next(data)))
        listed = "\n".join(f"{number:4} {frame}" for number, frame in enumerate(single, 1))
        assert frames <= APPLICATION_FRAMES, f"one request enters:\n{listed}"
    finally:
        client.close()


async def size_later(request: Request) -> str:
    return str(len(await request.read()))


@pytest.mark.parametrize("endpoint", [lambda request: str(len(request.content)), size_later])
def test_frames_of_a_small_body(bench: Callable[[Handler], Bench], endpoint: Any) -> None:
    app = Application()
    app.add("POST", "/", endpoint)
    one = bench(app)
    client = one.connect()
    data = request("/", method="POST", body=bytes(200))
    try:
        for _ in range(3):
            assert one.ask(client, data).endswith(b"200")
        single = entered(lambda: one.ask(client, data))
        frames = frames_per_request(lambda: one.ask(client, data))
        listed = "\n".join(f"{number:4} {frame}" for number, frame in enumerate(single, 1))
        assert frames <= BODY_FRAMES, f"one request enters:\n{listed}"
    finally:
        client.close()


def test_system_calls_of_a_keep_alive_get(bench: Callable[[Handler], Bench]) -> None:
    """One recv and one send, beside a wait that all who are ready share."""
    one = bench(make_app())
    client = one.connect()
    try:
        one.ask(client)
        one.calls.clear()
        for _ in range(REQUESTS):
            assert one.ask(client).endswith(b"\r\n\r\nx")
        assert one.calls == {"recv": REQUESTS, "send": REQUESTS, "select": REQUESTS}
    finally:
        client.close()


def test_system_calls_of_pipelined_requests(bench: Callable[[Handler], Bench]) -> None:
    """Ten requests that come together leave together."""
    one = bench(make_app())
    client = one.connect()
    try:
        one.ask(client)
        one.calls.clear()
        assert one.ask(client, REQUEST * 10).count(b"HTTP/1.1 200 OK") == 10
        assert one.calls == {"recv": 1, "send": 1, "select": 1}
    finally:
        client.close()


# --- a file that is open and in memory -----------------------------------------------------------

YOUNG_SECONDS = 1.1  # the content of a younger file is not kept
AGE = 3600.0  # no second look at a name while the test lasts


class CountingFiles:
    """System calls and jobs that have to do with files, from any thread; a `with` block's."""

    NAMES = ("open", "stat", "preadv", "pread", "sendfile", "close")

    def __init__(self, calls: Counter[str], patch: pytest.MonkeyPatch) -> None:
        self._calls = calls
        self._patch = patch

    def __enter__(self) -> None:
        for name in self.NAMES:
            self._count(os, name)
        self._count(ThreadPool, "submit")
        self._count(reactor.files.file, "resident")

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _count(self, where: Any, name: str) -> None:
        function = getattr(where, name)

        def counted(*arguments: Any, **more: Any) -> Any:
            self._calls[name] += 1
            return function(*arguments, **more)

        self._patch.setattr(where, name, counted)


@pytest.fixture
def hot(
    bench: Callable[[Handler], Bench], tmp_path: Path
) -> Iterator[tuple[Bench, socket.socket, Path]]:
    """A server of files, its client, and where the files are."""
    site = Site(SiteOptions(static=[("/", str(tmp_path))]), Limits(open_file_age=AGE))
    one = bench(site.handler)
    client = one.connect()
    yield one, client, tmp_path
    client.close()
    site._mounted[0]._open.close()


def served(one: Bench, client: socket.socket, data: bytes) -> bytes:
    """The response, to its end; it may take a few turns, and a thread."""
    client.send(data)
    got = b""
    until = time.monotonic() + 10
    while b"\r\n\r\n" not in got or len(got) < _length(got):
        assert time.monotonic() < until
        one.server.reactor.run_once(0.01)
        try:
            got += client.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
    return got


def _length(response: bytes) -> int:
    head, _, _ = response.partition(b"\r\n\r\n")
    found = re.search(rb"Content-Length: ([0-9]+)", head)
    return len(head) + 4 + (int(found[1]) if found is not None else 0)


def warm(one: Bench, client: socket.socket, data: bytes) -> bytes:
    """Ask until the file is open, in memory, and known as that."""
    for _ in range(3):
        response = served(one, client, data)
    return response


def in_memory(path: Path) -> bool:
    """Whether this file system knows; otherwise threads do the reading."""
    file = File(os.open(path, os.O_RDONLY), path.stat().st_size)
    try:
        return file.look(0, memoryview(bytearray(1)))
    finally:
        file.release()


def dateless(response: bytes) -> bytes:
    """The response without its Date, which changes once a second."""
    return re.sub(rb"\r\nDate: [^\r]*", b"", response, count=1)


def counted(
    one: Bench, client: socket.socket, data: bytes, response: bytes, patch: pytest.MonkeyPatch
) -> Counter[str]:
    """The calls that REQUESTS of this request make, each responded in one turn."""
    one.calls.clear()
    with CountingFiles(one.calls, patch):
        for _ in range(REQUESTS):
            client.send(data)
            one.turn()
            assert dateless(client.recv(1 << 20)) == dateless(response)
    return one.calls


def frames_of(one: Bench, client: socket.socket, data: bytes, size: int) -> tuple[float, str]:
    """How many frames of ours a request enters, and those of one of them in order."""

    def ask() -> None:
        client.send(data)
        one.turn()
        assert len(client.recv(1 << 20)) == size

    single = entered(ask)
    frames = frames_per_request(ask)
    listed = "\n".join(f"{number:4} {frame}" for number, frame in enumerate(single, 1))
    return frames, f"one request enters:\n{listed}"


def test_a_hot_small_file_is_one_read_and_one_send(
    hot: tuple[Bench, socket.socket, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread, no open, no stat."""
    one, client, directory = hot
    (directory / "small.bin").write_bytes(os.urandom(1024))
    data = request("/small.bin")
    response = warm(one, client, data)
    assert response.endswith((directory / "small.bin").read_bytes())
    if in_memory(directory / "small.bin"):
        calls = counted(one, client, data, response, monkeypatch)
        assert calls == dict.fromkeys(("recv", "send", "select", "preadv"), REQUESTS)
        count, listed = frames_of(one, client, data, len(response))
        assert count <= SMALL_FRAMES, listed


def test_a_small_file_that_is_kept_is_one_send(
    hot: tuple[Bench, socket.socket, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its response is prepared: it costs what a constant of a handler costs."""
    one, client, directory = hot
    (directory / "small.bin").write_bytes(os.urandom(1024))
    if not in_memory(directory / "small.bin"):
        return
    while time.time() - (directory / "small.bin").stat().st_ctime < YOUNG_SECONDS:
        time.sleep(0.05)
    data = request("/small.bin")
    response = warm(one, client, data)
    assert b"ETag: W/" not in response
    calls = counted(one, client, data, response, monkeypatch)
    assert calls == dict.fromkeys(("recv", "send", "select"), REQUESTS)
    count, listed = frames_of(one, client, data, len(response))
    assert count <= KEPT_FRAMES, listed


def test_a_304_of_a_hot_file_is_one_send(
    hot: tuple[Bench, socket.socket, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, client, directory = hot
    (directory / "small.bin").write_bytes(os.urandom(1024))
    tag = re.search(rb"ETag: (.*)\r\n", warm(one, client, request("/small.bin")))
    assert tag is not None
    data = request("/small.bin", f"If-None-Match: {tag[1].decode()}")
    response = warm(one, client, data)
    assert response.startswith(b"HTTP/1.1 304 ")
    calls = counted(one, client, data, response, monkeypatch)
    assert calls == dict.fromkeys(("recv", "send", "select"), REQUESTS)
    count, listed = frames_of(one, client, data, len(response))
    assert count <= UNCHANGED_FRAMES, listed


def test_a_hot_file_of_100_kib_is_not_copied(
    hot: tuple[Bench, socket.socket, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A send for the head and a sendfile; now and then a question whether it is in memory."""
    one, client, directory = hot
    (directory / "large.bin").write_bytes(os.urandom(100 * 1024))
    for end in (client, *(it.transport._socket for it in one.server.open_connections)):
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, buffer, 1 << 20)
    data = request("/large.bin")
    response = warm(one, client, data)
    assert response.endswith((directory / "large.bin").read_bytes())
    if in_memory(directory / "large.bin"):
        calls = counted(one, client, data, response, monkeypatch)
        assert calls.pop("resident", 0) <= 2 + REQUESTS // 10
        assert calls.pop("preadv", 0) <= 2 + REQUESTS // 10, "where the kernel cannot be asked"
        assert calls == dict.fromkeys(("recv", "send", "select", "sendfile", "fileno"), REQUESTS)
        count, listed = frames_of(one, client, data, len(response))
        assert count <= LARGE_FRAMES, listed


# --- garbage -------------------------------------------------------------------------------------


async def later(request: BaseRequest) -> Response:
    await sleep(0)
    return Response(200, b"later")


def stream(request: BaseRequest) -> Response:
    return Response(200, iter([b"a" * 1000, b"b" * 70_000]))


async def read(request: BaseRequest) -> Response:
    return Response(200, b"%d" % len(await request.body.read()))


def fail(request: BaseRequest) -> Response:
    raise ValueError


async def fail_later(request: BaseRequest) -> Response:
    await sleep(0)
    raise ValueError


WAYS: dict[str, tuple[Handler, bytes, int]] = {
    "now": (make_app(), REQUEST, 1000),
    "gzip": (make_app(), request("/echo/x", "Accept-Encoding: gzip"), 1000),
    "404": (make_app(), request("/nowhere"), 1000),
    "later": (later, REQUEST, 200),
    "stream": (stream, REQUEST, 200),
    "upload": (read, request("/", method="POST", body=bytes(2000)), 200),
    "500": (fail, REQUEST, 20),
    "500 later": (fail_later, REQUEST, 20),
}


def responded(one: Bench, client: socket.socket, data: bytes) -> None:
    client.setblocking(False)
    client.send(data)
    got = b""
    for _ in range(50):
        one.turn()
        try:
            got += client.recv(1 << 20)
        except BlockingIOError:
            if got:
                return
    raise AssertionError("no response")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
def test_requests_leave_no_cyclic_garbage(bench: Callable[[Handler], Bench], way: str) -> None:
    handler, data, count = WAYS[way]
    one = bench(handler)
    client = one.connect()
    try:
        responded(one, client, data)
        with Cycles():
            for _ in range(count):
                responded(one, client, data)
    finally:
        client.close()


FILES = {
    "small": request("/small.bin"),
    "304": request("/small.bin", "If-None-Match: *"),
    "412": request("/small.bin", 'If-Match: "other"'),
    "416": request("/small.bin", "Range: bytes=5000-"),
    "large": request("/large.bin"),
    "range": request("/large.bin", "Range: bytes=5-9"),
    "ranges": request("/large.bin", "Range: bytes=5-9,1000-90000,20-30"),
    "gzip": request("/text.txt", "Accept-Encoding: gzip"),
    "404": request("/nothing"),
    "redirect": request("/directory"),
}


@pytest.mark.parametrize("way", FILES)
@pytest.mark.slow
def test_responses_of_files_leave_no_cyclic_garbage(
    hot: tuple[Bench, socket.socket, Path], way: str
) -> None:
    one, client, directory = hot
    (directory / "directory").mkdir()
    for name, size in (("small.bin", 1024), ("large.bin", 200_000), ("text.txt", 5000)):
        (directory / name).write_bytes(bytes(size))
    warm(one, client, FILES[way])
    with Cycles():
        for _ in range(50):
            served(one, client, FILES[way])


@pytest.mark.parametrize("how", ["fin", "reset", "closed by us", "refused", "in a handler"])
def test_closed_connections_leave_no_cyclic_garbage(
    bench: Callable[[Handler], Bench], how: str
) -> None:
    one = bench(later if how == "in a handler" else make_app())
    data = {
        "closed by us": request("/echo/x", "Connection: close"),
        "refused": b"nonsense\r\n\r\n",
    }.get(how, REQUEST)

    def come_and_go() -> None:
        client = one.connect()
        client.send(data)
        one.turn()
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        for _ in range(3):
            one.turn()

    come_and_go()
    with Cycles():
        for _ in range(100):
            come_and_go()
        assert one.server.connections == 0
        # The heap forgets its dead entries now and then, and holds what they belong to until then.
        one.server.reactor.compact()
