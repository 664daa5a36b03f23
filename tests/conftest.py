"""Fixtures: a server on a thread of its own, its clients, and a check that nothing is left over."""

import gc
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future as ConcurrentFuture
from typing import Any, Protocol, TypeVar

import pytest

from reactor import Limits
from reactor.http.context import Handler
from reactor.net.certificates import Certificates
from reactor.server.server import Server
from reactor.web.uploads import atomic_file
from tests.support.authority import write_pair
from tests.support.chromium import Browser, Page
from tests.support.coroutine_driver import open_descriptors, opened_since
from tests.support.raw_client import TIMEOUT, Client, SecureAddress
from tests.support.request_bench import Bench

T = TypeVar("T")


class Running:
    """A server that runs on a thread of its own."""

    def __init__(
        self,
        handler: Handler,
        access_log: int | None,
        limits: Limits,
        access_log_format: str = "common",
        certificates: Certificates | None = None,
    ) -> None:
        self._certificates = certificates
        self.clients: list[Client] = []
        self._handler = handler
        self._access_log = access_log
        self._format = access_log_format
        self._limits = limits
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="server")
        self._thread.start()
        assert self._ready.wait(TIMEOUT)

    def _run(self) -> None:
        """All of it on this thread, as a program does: hooks for generators belong to a thread."""
        self.server = Server(
            self._handler,
            self._limits,
            access_log=self._access_log,
            access_log_format=self._format,
        )
        address = self.server.listen("127.0.0.1", 0, tls=self._certificates)
        self.address = SecureAddress(address) if self._certificates else address
        self._ready.set()
        self.server.run()

    def connect(self, receive_buffer: int = 0) -> Client:
        client = Client(self.address, receive_buffer=receive_buffer)
        self.clients.append(client)
        return client

    def call(self, function: Callable[[], T]) -> T:
        """Call it on the loop's thread; what it returns or raises."""
        result: ConcurrentFuture[T] = ConcurrentFuture()

        def call() -> None:
            try:
                result.set_result(function())
            except Exception as error:
                result.set_exception(error)

        self.server.reactor.call_soon_threadsafe(call)
        return result.result(TIMEOUT)

    def wait_until(self, condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
        """Until it is true on the loop's thread."""
        until = time.monotonic() + seconds
        while not self.call(condition):
            assert time.monotonic() < until, "it did not come true"
            time.sleep(0.005)

    def wait_for_connections(self, count: int) -> None:
        self.wait_until(lambda: self.server.connections == count)

    def shut_down(self) -> None:
        """As a signal does."""
        self.server.reactor.call_soon_threadsafe(self.server.shut_down)

    def join(self, seconds: float = TIMEOUT) -> bool:
        """Wait for the end of the thread; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        if self._thread.is_alive():
            self.server.reactor.call_soon_threadsafe(self.server.reactor.stop)
        assert self.join(), "the server did not stop"


class Serve(Protocol):
    def __call__(
        self,
        handler: Handler,
        *,
        access_log: int | None = None,
        access_log_format: str = "common",
        **limits: Any,
    ) -> Running: ...


# Ways out of the process. Only tests with the mark `system` may take them.
WAYS_OUT: list[tuple[Any, str]] = [
    (socket.socket, "bind"),
    (socket.socket, "connect"),
    (socket.socket, "connect_ex"),
    (subprocess.Popen, "__init__"),
    (os, "fork"),
    (os, "posix_spawn"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that starts a server connects to it."""
    for item in items:
        if "serve" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.system)


@pytest.fixture(autouse=True)
def no_way_out(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test without the mark `system` uses neither sockets with addresses nor processes."""
    if request.node.get_closest_marker("system") is not None:
        yield
        return

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("this test leaves the process: mark it with pytest.mark.system")

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in WAYS_OUT:
            patch.setattr(owner, name, refuse)
        yield


def pytest_collection_finish(session: pytest.Session) -> None:
    """Collected tests stay, so that no search for garbage goes through it once more.

    Many tests have garbage looked for, and each search takes as long as there are objects.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def bench() -> Iterator[Callable[[Handler], Bench]]:
    """`bench(handler)`, with a log that goes nowhere."""
    log = os.open(os.devnull, os.O_WRONLY)
    made: list[Bench] = []

    def make(handler: Handler) -> Bench:
        made.append(Bench(handler, log))
        return made[-1]

    hooks = sys.get_asyncgen_hooks()
    yield make
    for one in made:
        one.server.close()
    sys.set_asyncgen_hooks(*hooks)
    os.close(log)


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """No descriptor and no thread more than before, a moment after the test."""
    gc.collect()  # cycles that earlier tests have left are not ours
    before = open_descriptors()
    threads = set(threading.enumerate())
    yield
    until = time.monotonic() + 10
    while True:
        left = opened_since(before)
        alive = set(threading.enumerate()) - threads
        if not left and not alive:
            return
        assert time.monotonic() < until, f"left over: {left}, {alive}"
        time.sleep(0.01)


@pytest.fixture
def closes_files() -> Iterator[None]:
    """Every file that the test has opened is closed when it ends."""
    before = open_descriptors()
    yield
    gc.collect()  # an exception that is caught is a cycle
    assert not opened_since(before)


@pytest.fixture(params=["nameless", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to hide an unfinished file, whichever this machine's file system would have."""
    if request.param == "named":
        monkeypatch.setattr(atomic_file, "_NAMELESS", 0)
    elif not atomic_file._NAMELESS:
        pytest.skip("this machine has no nameless files")
    return str(request.param)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium for the tests of one module, which can override this to set its options."""
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page of the browser, closed after the test."""
    page = browser.open()
    yield page
    page.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for localhost, of the tests' own authority."""
    return Certificates([write_pair(tmp_path_factory.mktemp("tls"), "localhost", "127.0.0.1")])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with `serve` runs on plain connections and over TLS, unless it is `plain`, slow or
    one with a browser, which knows the tests' authority not.
    """
    if "transport" in metafunc.fixturenames:
        marks = [metafunc.definition.get_closest_marker(name) for name in ("plain", "slow")]
        is_plain = any(marks) or "browser" in metafunc.fixturenames
        metafunc.parametrize("transport", ["plain"] if is_plain else ["plain", "tls"])


@pytest.fixture
def serve(
    no_leaks: None, caplog: pytest.LogCaptureFixture, transport: str, certificates: Certificates
) -> Iterator[Serve]:
    """Start servers: `serve(handler, idle_timeout=0.2)`; each field of Limits is an argument.

    The whole test runs twice, on plain connections and over TLS; clients are Clients of `address`.

    When the test ends they are stopped, and must have left nothing behind: no thread, no
    descriptor, no exception that got as far as the loop.
    """
    running: list[Running] = []

    def start(
        handler: Handler,
        *,
        access_log: int | None = None,
        access_log_format: str = "common",
        **limits: Any,
    ) -> Running:
        tls = certificates if transport == "tls" else None
        running.append(Running(handler, access_log, Limits(**limits), access_log_format, tls))
        return running[-1]

    with caplog.at_level(logging.WARNING, logger="reactor"):
        yield start
    for one in running:
        one.stop()
    escaped = [
        record.getMessage()
        for record in caplog.get_records("call")
        if "in the loop" in record.getMessage() or "aborted" in record.getMessage()
    ]
    assert not escaped, escaped


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """The simulator's scenarios, whose handlers fail on purpose, silence the log."""
    log = logging.getLogger("reactor")
    before = log.level
    yield
    log.setLevel(before)
