"""A small load generator: many keep-alive connections, one request at a time on each.

It replaces `wrk` where that is not installed, so it sends the same heads and counts the same:
complete responses within the time, and errors. It is Python and thus slower than a fast server,
which then waits for it: CPU time per request stays meaningful, requests per second do not.

It also measures what wrk does not: how many of its connections were served at all, and how evenly
(Jain's index), since a server that starves most of its connections has a fine median. For that, all
connections are made before the first request, some at a time: a full backlog is another experiment,
as is a server that has no time to accept. Then the window opens, in which lost connections are made
anew. `service` counts from the sending of a request, or from the start of its connection where that
is new. A closed loop has no unanswered requests, only some that have not ended: `longest_wait` is
how long the oldest of them has waited.

A head comes from a file in which sixteen `@` stand for sixteen digits that differ in every request.
`exchange` is the blocking form for a single request, which the benchmarks use to check a response;
it needs a Content-Length.

    python -m loadtest.clients.closed_loop --port 8000 --head FILE --seconds 3
"""

import argparse
import json
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from socket import socket
from typing import Any, Final, NamedTuple

from loadtest.clients.connection import (
    CORRECT,
    LENGTH,
    RECV_BYTES,
    Announce,
    Connection,
    Tally,
    Turns,
    add_announce,
    ignore,
    make_room,
)
from loadtest.clients.histogram import Histogram

MARK: Final = b"@" * 16
WAVE: Final = 200  # connections that are made at a time
CONNECT_SECONDS: Final = 15.0  # for all of them; then the window opens without the rest
RETRY_SECONDS: Final = 0.1  # before a connection that failed is made anew


class ReceivedResponse(NamedTuple):
    """A complete response; status 0 where the connection ended before, with the bytes until then.

    The body is as it was sent: content coding is not undone.
    """

    status: int
    body: bytes


def response_length(received: bytes) -> int:
    """Bytes of head and body together; 0 while the head is incomplete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    length = LENGTH.search(received, 0, end + 2)
    return end + 4 + (int(length[1]) if length else 0)


def exchange(connection: socket, request: bytes) -> ReceivedResponse:
    """Send a request and wait for the complete response."""
    connection.sendall(request)
    received = b""
    while not (length := response_length(received)) or len(received) < length:
        piece = connection.recv(RECV_BYTES)
        if not piece:
            return ReceivedResponse(0, received)
        received += piece
    return ReceivedResponse(int(received[9:12]), received.partition(b"\r\n\r\n")[2])


def heads(template: bytes, first: int) -> Iterator[bytes]:
    """The template again and again, with other digits in place of MARK each time."""
    before, _, after = template.partition(MARK)
    if before == template:
        while True:
            yield template
    for number in count(first):
        yield b"%s%016x%s" % (before, number, after)


class Load:
    """All connections, and the outcomes of their requests within the window."""

    def __init__(
        self, port: int, template: bytes, first: int = 0, announce: Announce = ignore
    ) -> None:
        self._announce = announce
        self.requests = heads(template, first)
        self.turns = Turns(port)
        self.body_bytes = 0
        self.tally = Tally()
        self.service = array("d")
        self.responses: list[int] = []  # correct ones, of each connection
        self.seconds = self.generator_share = self.longest_wait = 0.0
        self._counting = False
        self._opened = 0
        self._opening: set[Connection] = set()
        self._held: set[Connection] | None = set()  # they wait for the others; later None
        self._asking: set[Connection] = set()
        self._to_open: deque[int] = deque()
        self._to_retry: deque[tuple[float, int]] = deque()

    def run(self, connections: int, seconds: float, warm_up: float = 0.0, wave: int = WAVE) -> None:
        """Connect, `wave` connections at a time; then keep all of them busy, and count."""
        self.responses = [0] * connections
        self._to_open.extend(range(connections))
        end = time.monotonic() + CONNECT_SECONDS
        while (self._to_open or self._opening) and self.turns.now < end:
            self._turn(end, wave)
        self._release()
        self._run_until(time.monotonic() + warm_up, wave)
        self._announce("open")
        self._counting, self.body_bytes = True, 0
        used, start = time.process_time(), time.monotonic()
        self._run_until(start + seconds, wave)
        self.seconds = time.monotonic() - start
        self.generator_share = (time.process_time() - used) / self.seconds
        self._announce("over")
        end = time.monotonic()
        waits = (end - one.sent for one in self._asking | self._opening)
        self.longest_wait = max(waits, default=0.0)
        self.turns.close()

    def _release(self) -> None:
        """Start the requests of all connections that were held; later ones are not held."""
        held, self._held = self._held or set(), None
        for connection in held:
            connection.sent = time.monotonic()
            self.ready(connection)

    def _run_until(self, end: float, wave: int) -> None:
        while self.turns.now < end:
            self._turn(end, wave)

    def _turn(self, until: float, wave: int) -> None:
        while self._to_retry and self._to_retry[0][0] <= self.turns.now:
            self._to_open.append(self._to_retry.popleft()[1])
        while self._to_open and len(self._opening) < wave:
            self._open(self._to_open.popleft())
        self.turns.turn(min(until, self._to_retry[0][0]) if self._to_retry else until)

    def _open(self, number: int) -> None:
        connection = Connection(self, number, self._opened)
        connection.sent = time.monotonic()
        self._opened += 1
        self._opening.add(connection)

    def ready(self, connection: Connection) -> None:
        """Send a request, or hold the connection until all are there."""
        self._opening.discard(connection)
        if self._held is not None:
            self._held.add(connection)
            return
        self._asking.add(connection)
        connection.ask(next(self.requests))

    def done(self, connection: Connection, kind: str) -> None:
        """Count the outcome within the window, and send the next request."""
        now = self.turns.now
        if self._counting:
            self.tally.add(kind)
            if kind == CORRECT:
                self.responses[connection.number] += 1
                self.service.append(now - connection.sent)
        if connection.is_open:
            connection.sent = time.monotonic()
            connection.ask(next(self.requests))
            return
        self._opening.discard(connection)
        self._asking.discard(connection)
        if kind == CORRECT:  # the request asked for one response a connection
            self._to_open.append(connection.number)
        else:
            self._to_retry.append((now + RETRY_SECONDS, connection.number))

    def gone(self, connection: Connection) -> None:
        """A held connection was closed; later none is idle, since each asks at once."""
        if self._held is not None:
            self._held.discard(connection)
        self._to_retry.append((self.turns.now + RETRY_SECONDS, connection.number))


def jain(counts: Sequence[int]) -> float:
    """Jain's index of fairness, (sum of x)^2 / (n * sum of x^2).

    1 where all counts are equal, 1/n where one of n has everything, 0 where all are 0.
    """
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else 0.0


def outcome(load: Load) -> dict[str, Any]:
    """The result that the program prints."""
    return {
        "requests": load.tally.correct,
        "seconds": load.seconds,
        **load.tally.to_json(),
        "connections": len(load.responses),
        "served": sum(map(bool, load.responses)) / len(load.responses),
        "jain": jain(load.responses),
        "bytes": load.body_bytes,
        "longest_wait": load.longest_wait,
        "generator_share": load.generator_share,
        "service": Histogram(load.service).to_json(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="A small keep-alive load generator.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--head", type=Path, required=True, help="file with the request's head")
    parser.add_argument("--first", type=int, default=0, help="first number in a head")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warm-up", type=float, default=0.0, help="seconds, not counted")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--at-once", action="store_true", help="connect all at the same time")
    add_announce(parser)
    options = parser.parse_args()
    make_room(options.connections)
    load = Load(options.port, options.head.read_bytes(), options.first, options.announce)
    wave = options.connections if options.at_once else WAVE
    load.run(options.connections, options.seconds, options.warm_up, wave)
    print(json.dumps(outcome(load)), flush=True)


if __name__ == "__main__":
    main()
