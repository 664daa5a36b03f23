"""Small servers that behave badly, and a real one as a process that can be frozen.

A bad server accepts one connection after the other and does one thing to each; all connections are
closed in the end.
"""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loadtest import system
from loadtest.companion import Companion, started_companion

Behaviour = Callable[[socket.socket], bool]  # whether the connection is kept open

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LAST = OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


@contextmanager
def server(behaviour: Behaviour) -> Iterator[int]:
    """A server with this behaviour: its port."""
    kept: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            accepted.settimeout(5.0)
            kept.append(accepted)
            with suppress(OSError):
                if behaviour(accepted):
                    continue
            kept.pop().close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
        for one in kept:
            one.close()


def close_at_once(accepted: socket.socket) -> bool:
    return False


def close_after_request(accepted: socket.socket) -> bool:
    accepted.recv(4096)
    return False


def never_respond(accepted: socket.socket) -> bool:
    return True


def respond(text: bytes) -> Behaviour:
    """Send this text once, and close."""

    def behave(accepted: socket.socket) -> bool:
        accepted.recv(4096)
        accepted.sendall(text)
        return False

    return behave


def reset(accepted: socket.socket) -> bool:
    accepted.recv(4096)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return False


@contextmanager
def serving_some(most: int) -> Iterator[int]:
    """A server that serves the first `most` connections, and accepts no others."""
    threads: list[threading.Thread] = []

    def serve(accepted: socket.socket) -> None:
        with accepted, suppress(ConnectionResetError):
            while accepted.recv(4096):
                accepted.sendall(OK)

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def accept() -> None:
        for _ in range(most):
            accepted, _ = listener.accept()
            threads.append(threading.Thread(target=serve, args=(accepted,)))
            threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    with listener:
        yield int(listener.getsockname()[1])
        for thread in threads:
            thread.join(10.0)


@contextmanager
def refusing() -> Iterator[int]:
    """A port without a listener, which no other program can get."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


# Behaviours, and the kinds of their outcomes.
BAD: dict[str, tuple[Behaviour, str]] = {
    "half a body": (respond(OK[:-2]), "cut"),
    "half a head": (respond(OK[:20]), "cut"),
    "closed after the request": (close_after_request, "closed"),
    "reset": (reset, "reset"),
    "503": (respond(b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), "503"),
    "404": (
        respond(b"HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        "status 404",
    ),
    "too long": (respond(OK + b"!"), "too long"),
    "no length": (respond(b"HTTP/1.1 200 OK\r\n\r\nhello"), "no length"),
    "no HTTP": (respond(b"hello"), "no HTTP"),
    "chunks without an end": (
        respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        "cut",
    ),
}
REFUSALS = {"refused", "reset", "503"}


@contextmanager
def reactor(directory: Path, *options: str) -> Iterator[tuple[int, int]]:
    """The application under test in a process of its own: its process id and its port."""
    port = system.free_port()
    command = [sys.executable, "-m", "reactor", "loadtest.apps.target:app", "--access-log", "off"]
    command += ["--port", str(port), *options]
    with system.serving(command, port, None, directory / "server.log") as pid:
        yield pid, port


@contextmanager
def tool(directory: Path, module: str, port: int, *options: str) -> Iterator[Companion]:
    """One of the load generators in a process of its own."""
    arguments = [*options, "--port", str(port)]
    core = system.cores()[1]
    with started_companion(
        f"loadtest.clients.{module}", arguments, core, directory / "tool.log"
    ) as one:
        yield one
