"""A server whose turns the test makes, and what a turn costs: system calls, Python frames."""

import os
import selectors
import socket
import sys
from collections import Counter
from collections.abc import Callable
from statistics import median
from types import FrameType
from typing import Any

from reactor import Limits
from reactor.http.context import Handler
from reactor.loop.reactor import Reactor
from reactor.server.server import Server
from tests.support.paths import ROOT
from tests.support.raw_client import request

OURS = (str(ROOT / "reactor"), str(ROOT / "handlers"))
BATCH = 10  # requests
REQUEST = request("/echo/x", "User-Agent: test", "Accept: */*")


class CountingSocket(socket.socket):
    """Counts its system calls."""

    calls: Counter[str]

    def recv(self, *arguments: Any) -> bytes:
        self.calls["recv"] += 1
        return super().recv(*arguments)

    def send(self, *arguments: Any) -> int:
        self.calls["send"] += 1
        return super().send(*arguments)

    def fileno(self) -> int:
        self.calls["fileno"] += 1  # every ioctl and sendfile asks for it
        return super().fileno()

    def setsockopt(self, *arguments: Any) -> None:
        self.calls["setsockopt"] += 1
        super().setsockopt(*arguments)


class CountingSelector(selectors.DefaultSelector):
    """Counts its system calls: each method is one, of epoll and of kqueue."""

    def __init__(self, calls: Counter[str]) -> None:
        self.calls = calls
        super().__init__()

    def select(self, timeout: float | None = None) -> Any:
        self.calls["select"] += 1
        return super().select(timeout)

    def register(self, *arguments: Any) -> Any:
        self.calls["register"] += 1
        return super().register(*arguments)

    def modify(self, *arguments: Any) -> Any:
        self.calls["modify"] += 1
        return super().modify(*arguments)

    def unregister(self, *arguments: Any) -> Any:
        self.calls["unregister"] += 1
        return super().unregister(*arguments)


class Bench:
    """A server whose turns are made by a test."""

    def __init__(self, handler: Handler, log: int) -> None:
        self.calls: Counter[str] = Counter()
        self.server = Server(
            handler,
            # A busy machine may hold up any callback; naming it would cost frames.
            Limits(connections=1000, slow_callback=1000.0),
            reactor=Reactor(CountingSelector(self.calls)),
            access_log=log,
        )

    def connect(self) -> socket.socket:
        """The client's end of a new connection."""
        client, server = socket.socketpair()
        ours = CountingSocket(fileno=server.detach())
        ours.calls = self.calls
        ours.setblocking(False)
        self.server.connect(ours, ("127.0.0.1", 1))
        return client

    def turn(self) -> None:
        self.server.reactor.run_once(0)

    def ask(self, client: socket.socket, data: bytes = REQUEST) -> bytes:
        client.send(data)
        self.turn()
        return client.recv(65536)


def entered(function: Callable[[], object]) -> list[str]:
    """The frames of our files that the function enters, in order."""
    frames: list[str] = []

    def watch(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            path = os.path.relpath(frame.f_code.co_filename, ROOT)
            frames.append(f"{path}: {frame.f_code.co_qualname}")

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return frames


def frames_per_request(ask: Callable[[], object]) -> float:
    """The frames that a request enters, on average of ten: the median of ten such averages.

    Once a second the date is formatted and the log is written, and no request in particular
    causes that.
    """
    averages = [sum(len(entered(ask)) for _ in range(BATCH)) / BATCH for _ in range(BATCH)]
    return median(averages)
