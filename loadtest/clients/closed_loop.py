"""A small load generator: many keep-alive connections, one request at a time on each.

It stands in for `wrk` where that is not installed, so it sends the same heads, counts the same
way and tells the same: whole answers within the time, and errors. It is Python and thus slower
than a fast server, which then waits for it: CPU time per request stays meaningful, requests per
second do not.

Beyond that it knows what wrk does not tell: how many of its connections were served at all, and how
evenly (Jain's index). A server that starves most of its connections has a fine median. For that,
connections are made first, some at a time and none of them asking, since a full backlog is another
experiment, as is a server that has no time to accept; then comes the window, in which the lost ones
are made anew. `service` is from the sending of a request, or
from the beginning of its connection where that is new. A closed loop has no unanswered requests,
only some that have not ended: `longest_wait` is how long the oldest of them has waited.

A head comes from a file in which sixteen `@` stand for sixteen digits that differ in every
request. `exchange` is the blocking form for a single request, which the benchmarks use to check
that an answer is right; that one needs a Content-Length.

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
    LENGTH,
    RECV_BYTES,
    RIGHT,
    Announce,
    Connection,
    Tally,
    Turns,
    add_announce,
    make_room,
    say_nothing,
)
from loadtest.clients.histogram import Histogram

MARK: Final = b"@" * 16
WAVE: Final = 200  # connections that are being made at a time
CONNECT_SECONDS: Final = 15.0  # for all of them; then the window begins without the rest
RETRY_SECONDS: Final = 0.1  # before a connection that failed is made anew


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
    """All connections, and what came of their requests within the window."""

    def __init__(
        self, port: int, template: bytes, first: int = 0, announce: Announce = say_nothing
    ) -> None:
        self._announce = announce
        self.requests = heads(template, first)
        self.turns = Turns(port)
        self.body_bytes = 0
        self.tally = Tally()
        self.service = array("d")
        self.answers: list[int] = []  # right ones, of each connection
        self.seconds = self.generator_share = self.longest_wait = 0.0
        self._counting = False
        self._opened = 0
        self._opening: set[Connection] = set()
        self._held: set[Connection] | None = set()  # connected before all others were; then None
        self._asking: set[Connection] = set()
        self._to_open: deque[int] = deque()
        self._to_retry: deque[tuple[float, int]] = deque()

    def run(self, connections: int, seconds: float, warm_up: float = 0.0, wave: int = WAVE) -> None:
        """Connect, `wave` connections at a time; then keep all of them busy, and count."""
        self.answers = [0] * connections
        self._to_open.extend(range(connections))
        end = time.monotonic() + CONNECT_SECONDS
        while (self._to_open or self._opening) and self.turns.now < end:
            self._turn(end, wave)
        self._let_ask()
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

    def _let_ask(self) -> None:
        """Everybody who waits for it; from now on nobody does."""
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
        self._opening.discard(connection)
        if self._held is not None:
            self._held.add(connection)
            return
        self._asking.add(connection)
        connection.ask(next(self.requests))

    def done(self, connection: Connection, kind: str) -> None:
        now = self.turns.now
        if self._counting:
            self.tally.add(kind)
            if kind == RIGHT:
                self.answers[connection.number] += 1
                self.service.append(now - connection.sent)
        if connection.is_open:
            connection.sent = time.monotonic()
            connection.ask(next(self.requests))
            return
        self._opening.discard(connection)
        self._asking.discard(connection)
        if kind == RIGHT:  # one request a connection, by agreement
            self._to_open.append(connection.number)
        else:
            self._to_retry.append((now + RETRY_SECONDS, connection.number))

    def gone(self, connection: Connection) -> None:
        """It had not asked yet; later, each asks as soon as it was answered."""
        if self._held is not None:
            self._held.discard(connection)
        self._to_retry.append((self.turns.now + RETRY_SECONDS, connection.number))


def jain(answers: Sequence[int]) -> float:
    """Jain's index of fairness: 1 where all got as many, 1/n where one of n got all; 0 of nothing.

    (sum of x)^2 / (n * sum of x^2).
    """
    squares = sum(count * count for count in answers)
    return sum(answers) ** 2 / (len(answers) * squares) if squares else 0.0


def outcome(load: Load) -> dict[str, Any]:
    return {
        "requests": load.tally.right,
        "seconds": load.seconds,
        **load.tally.to_json(),
        "connections": len(load.answers),
        "served": sum(map(bool, load.answers)) / len(load.answers),
        "jain": jain(load.answers),
        "bytes": load.body_bytes,
        "longest_wait": load.longest_wait,
        "generator_share": load.generator_share,
        "service": Histogram(load.service).to_json(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="A small keep-alive load generator.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--head", type=Path, required=True, help="a file with the request's head")
    parser.add_argument("--first", type=int, default=0, help="the first number in a head")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warm-up", type=float, default=0.0, help="seconds, not counted")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--at-once", action="store_true", help="connect all, not some at a time")
    add_announce(parser)
    options = parser.parse_args()
    make_room(options.connections)
    load = Load(options.port, options.head.read_bytes(), options.first, options.announce)
    wave = options.connections if options.at_once else WAVE
    load.run(options.connections, options.seconds, options.warm_up, wave)
    print(json.dumps(outcome(load)), flush=True)


if __name__ == "__main__":
    main()
