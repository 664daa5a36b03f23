"""A small load generator: many keep-alive connections, one request at a time on each.

It stands in for `wrk` where that is not installed, so it sends the same heads, counts the same
way and tells the same: whole answers within the time, and errors. It is Python and thus slower
than a fast server, which then waits for it: CPU time per request stays meaningful, requests per
second do not.

A head comes from a file in which sixteen `@` stand for sixteen digits that differ in every
request. An answer needs a Content-Length. `exchange` is the blocking form of the same for a
single request, which the benchmarks use to check that an answer is right.

    python -m loadtest.client --port 8000 --head FILE --seconds 3
"""

import argparse
import json
import re
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from socket import create_connection, socket
from typing import Final, NamedTuple

MARK: Final = b"@" * 16
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+) *\r\n", re.IGNORECASE)
RECV_BYTES: Final = 64 * 1024


class Answer(NamedTuple):
    """A whole answer; status 0: the connection ended before."""

    status: int
    body: bytes


def answer_length(received: bytes) -> int:
    """Bytes of head and body together; 0 while the head is not whole."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    length = LENGTH.search(received, 0, end + 2)
    return end + 4 + (int(length[1]) if length else 0)


def exchange(connection: socket, request: bytes) -> Answer:
    """Send a request and wait for its whole answer."""
    connection.sendall(request)
    received = b""
    while not (length := answer_length(received)) or len(received) < length:
        piece = connection.recv(RECV_BYTES)
        if not piece:
            return Answer(0, received)
        received += piece
    return Answer(int(received[9:12]), received.partition(b"\r\n\r\n")[2])


def heads(template: bytes, first: int) -> Iterator[bytes]:
    """The template again and again, each with other digits in it."""
    before, _, after = template.partition(MARK)
    if before == template:
        while True:
            yield template
    for number in count(first):
        yield b"%s%016x%s" % (before, number, after)


class Load:
    """What all connections share: the requests to send and what came of them."""

    def __init__(self, port: int, template: bytes, first: int) -> None:
        self.port = port
        self.requests = heads(template, first)
        self.selector = DefaultSelector()
        self.answers = 0
        self.errors = 0

    def run(self, connections: int, seconds: float) -> float:
        """Keep all connections busy; gives the time it took."""
        start = time.monotonic()
        for _ in range(connections):
            Client(self)
        end = start + seconds
        while (now := time.monotonic()) < end:
            for key, _ in self.selector.select(end - now):
                key.data()
        return now - start


class Client:
    """One connection."""

    __slots__ = ("load", "received", "socket")

    def __init__(self, load: Load) -> None:
        self.load = load
        self.socket = create_connection(("127.0.0.1", load.port), 5.0)
        self.socket.setblocking(False)
        load.selector.register(self.socket, EVENT_READ, self.on_readable)
        self.send()

    def send(self) -> None:
        self.received = b""
        self.socket.send(next(self.load.requests))  # a head is smaller than any socket's buffer

    def on_readable(self) -> None:
        try:
            piece = self.socket.recv(RECV_BYTES)
            if not piece:
                raise ConnectionResetError
            self.received += piece
            self._next_if_whole()
        except BlockingIOError:
            return
        except OSError:
            self._begin_again()

    def _next_if_whole(self) -> None:
        length = answer_length(self.received)
        if length and len(self.received) >= length:
            self.load.answers += 1
            self.load.errors += self.received[9:12] != b"200"
            self.send()

    def _begin_again(self) -> None:
        self.load.errors += 1
        self.load.selector.unregister(self.socket)
        self.socket.close()
        Client(self.load)


def main() -> None:
    parser = argparse.ArgumentParser(description="A small keep-alive load generator.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--head", type=Path, required=True, help="a file with the request's head")
    parser.add_argument("--first", type=int, default=0, help="the first number in a head")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    load = Load(options.port, options.head.read_bytes(), options.first)
    seconds = load.run(options.connections, options.seconds)
    print(json.dumps({"requests": load.answers, "seconds": seconds, "errors": load.errors}))


if __name__ == "__main__":
    main()
