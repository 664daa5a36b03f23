"""Crowds that cause much work at once: each kind is a process that prints what it observed.

arrivals: many clients that connect and ask at the same moment, several times. The latency of each
counts from its own connect. Sockets are made before, so that a client costs 20 µs here, less than
it costs the server. The connections stay open until the end, so that only arrivals are measured.
pipelines: clients that send requests as fast as the kernel takes them. They read all responses
with `--read`, and none without.
downloads: `--count` clients that take a large file as fast as they can, again and again, beside
`--paced` clients that read `--rate` bytes a second each. Bytes are counted for each client, within
a window of `--seconds` that opens after a warm-up.

All end by themselves. Pipelines and downloads print a line when their window opens and one when it
is over. Times are readings of the monotonic clock, which all processes share.

    python -m loadtest.clients.bulk_crowds KIND --port 8000 --target /hello --count 1000
"""

import argparse
import select
import time
from collections import Counter
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, Final

from loadtest.clients.closed_loop import jain, response_length
from loadtest.clients.connection import (
    CORRECT,
    RECV_BYTES,
    SERVER,
    UNANSWERED,
    Connection,
    Turns,
    announce,
    make_room,
    unconnected,
)
from loadtest.clients.histogram import Histogram
from loadtest.clients.slow_crowds import connected, print_json, request

PATIENCE: Final = 20.0  # seconds for the clients of a burst
BURST_PAUSE: Final = 0.5  # seconds from the end of a burst to the next
LOOK_AFTER: Final = 20  # clients, after which responses are read
BATCH: Final = 1000  # requests that a pipelining client makes at once
STATUS_LINE: Final = b"HTTP/1.1 200 "
WARM_UP: Final = 0.5  # seconds
TICK: Final = 0.02  # seconds between the reads of a paced client
MOST_SAVED: Final = 0.25  # seconds: what a paced client that is late may catch up with


# ---------------------------------------------------------------------------------- arrivals


class ArrivingClient:
    """A client with one request, on a socket that is ready to connect."""

    __slots__ = ("received", "socket", "start")

    def __init__(self, number: int) -> None:
        self.socket = unconnected(number)
        self.socket.setblocking(False)
        self.received = b""
        self.start = 0.0


class Arrival:
    """A burst of clients: all connect and ask at once."""

    def __init__(self, port: int, message: bytes, count: int) -> None:
        self.latencies = Histogram()
        self.kinds: Counter[str] = Counter()
        self.start = self.end = 0.0
        self.clients = [ArrivingClient(number) for number in range(count)]
        self._address = (SERVER, port)
        self._request = message
        self._poll = select.epoll()
        self._waiting: dict[int, ArrivingClient] = {}

    def run(self, patience: float) -> None:
        """Let all of them come, and wait for their responses, `patience` seconds at most."""
        self.start = time.monotonic()
        for number, client in enumerate(self.clients, 1):
            self._come(client)
            if number % LOOK_AFTER == 0:
                self._look(0.0)
        until = self.start + patience
        while self._waiting and (left := until - time.monotonic()) > 0.0:
            self._look(left)
        self.end = time.monotonic()
        for client in list(self._waiting.values()):
            self._end(client, UNANSWERED, self.end)
        self._poll.close()

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients:
            client.socket.close()

    def _come(self, client: ArrivingClient) -> None:
        client.start = time.monotonic()
        client.socket.connect_ex(self._address)  # it fails, if at all, in what follows
        self._waiting[client.socket.fileno()] = client
        try:
            client.socket.send(self._request)
        except BlockingIOError:  # the backlog is full; otherwise loopback connects at once
            self._poll.register(client.socket, select.EPOLLOUT)
        except OSError as error:
            self._end(client, type(error).__name__, client.start)
        else:
            self._poll.register(client.socket, select.EPOLLIN)

    def _look(self, timeout: float) -> None:
        events = self._poll.poll(timeout)
        now = time.monotonic()
        for descriptor, mask in events:
            client = self._waiting[descriptor]
            try:
                if mask & select.EPOLLOUT:
                    client.socket.send(self._request)
                    self._poll.modify(descriptor, select.EPOLLIN)
                else:
                    self._read(client, now)
            except OSError as error:
                self._end(client, type(error).__name__, now)

    def _read(self, client: ArrivingClient, now: float) -> None:
        piece = client.socket.recv(RECV_BYTES)
        client.received += piece
        length = response_length(client.received)
        if not piece:
            self._end(client, "closed", now)
        elif length and len(client.received) >= length:
            status = client.received[9:12]
            self._end(client, CORRECT if status == b"200" else status.decode("latin-1"), now)

    def _end(self, client: ArrivingClient, kind: str, now: float) -> None:
        if self._waiting.pop(client.socket.fileno(), None) is not None:
            self.kinds[kind] += 1
            self.latencies.record(now - client.start)
            if kind == CORRECT:
                self._poll.unregister(client.socket)
            else:
                client.socket.close()


def arrivals(options: argparse.Namespace) -> None:
    """Run one Arrival after the other; prints the times of each, and the outcome of all."""
    message = request("GET", options.target)
    bursts = [Arrival(options.port, message, options.count) for _ in range(options.times)]
    for arrival in bursts:
        time.sleep(BURST_PAUSE)
        arrival.run(PATIENCE)
    time.sleep(BURST_PAUSE)
    kinds = sum((arrival.kinds for arrival in bursts), Counter[str]())
    latencies = Histogram()
    for arrival in bursts:
        latencies.merge(arrival.latencies)
    print_json(
        bursts=[(arrival.start, arrival.end) for arrival in bursts],
        correct=kinds.pop(CORRECT, 0),
        kinds=kinds,
        latencies=latencies.to_json(),
    )
    for arrival in bursts:
        arrival.close()


# ---------------------------------------------------------------------------------- pipelines


class Pipeline:
    """A client that sends request after request, and reads all responses or none."""

    def __init__(self, turns: Turns, number: int, message: bytes, is_reading: bool) -> None:
        self.sent = 0  # bytes
        self.responses = 0
        self.is_open = True
        self._tail = b""  # the last bytes, since a piece may end within a status line
        self._batch = memoryview(message * BATCH)
        self._place = 0  # in the batch
        self._turns = turns
        self._socket = connected(turns.address[1], number)
        self._socket.setblocking(False)
        events = EVENT_WRITE | EVENT_READ if is_reading else EVENT_WRITE
        turns.selector.register(self._socket, events, self._on_events)

    def _on_events(self, mask: int) -> None:
        try:
            if mask & EVENT_READ:
                piece = self._socket.recv(RECV_BYTES)
                if not piece:
                    raise ConnectionResetError
                received = self._tail + piece
                self.responses += received.count(STATUS_LINE)
                self._tail = received[1 - len(STATUS_LINE) :]
            if mask & EVENT_WRITE:
                count = self._socket.send(self._batch[self._place :])
                self.sent += count
                self._place = (self._place + count) % len(self._batch)
        except BlockingIOError:
            return
        except OSError:
            self.is_open = False
            self._turns.selector.unregister(self._socket)
            self._socket.close()


def pipelines(options: argparse.Namespace) -> None:
    """Run the pipelines for `--seconds`; prints how many requests they sent, and the responses."""
    message = request("GET", options.target)
    turns = Turns(options.port)
    announce("open")
    start = time.monotonic()
    clients = [Pipeline(turns, one, message, options.read) for one in range(options.count)]
    while turns.now < start + options.seconds:
        turns.turn(start + options.seconds)
    end = time.monotonic()
    announce("over")
    print_json(
        start=start,
        end=end,
        requests=sum(client.sent for client in clients) // len(message),
        responses=sum(client.responses for client in clients),
        still_open=sum(client.is_open for client in clients),
    )
    turns.close()


# ---------------------------------------------------------------------------------- downloads


class Download:
    """A client that asks for the file again as soon as it has it: the owner of one connection."""

    def __init__(self, turns: Turns, number: int, message: bytes) -> None:
        self.turns = turns
        self.body_bytes = 0
        self.failure = CORRECT
        self._request = message
        Connection(self, number, number)

    def ready(self, connection: Connection) -> None:
        """Send the first request."""
        connection.ask(self._request)

    def done(self, connection: Connection, kind: str) -> None:
        """Send the next request, or keep the failure."""
        if kind == CORRECT and connection.is_open:
            connection.ask(self._request)
        else:
            self.failure = kind or "closed"

    def gone(self, connection: Connection) -> None:
        """Never called, since a request is always running."""


class PacedDownload:
    """A client that reads so many bytes a second, and fewer where the server sends fewer."""

    def __init__(self, port: int, number: int, message: bytes, rate: float) -> None:
        self.body_bytes = 0  # with the head
        self.failure = CORRECT
        self._rate = rate
        self._socket = connected(port, number)
        self._socket.setblocking(False)
        self._socket.send(message)
        self._since = time.monotonic()  # when it would have begun if it had never waited

    def read(self, now: float) -> None:
        """Read what has become due since the last call."""
        self._since = max(self._since, now - self.body_bytes / self._rate - MOST_SAVED)
        due = int((now - self._since) * self._rate) - self.body_bytes
        if due <= 0 or self.failure:
            return
        try:
            piece = self._socket.recv(due)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self.failure = "closed"
        if not self.body_bytes and not piece.startswith(b"HTTP/1.1 200"):
            self.failure = "no status 200"
        self.body_bytes += len(piece)


class Downloads:
    """All downloads, fast and paced, in one loop."""

    def __init__(self, options: argparse.Namespace) -> None:
        message = request("GET", options.target)
        self.turns = Turns(options.port)
        self.fast = [Download(self.turns, one, message) for one in range(options.count)]
        self.paced = [
            PacedDownload(options.port, one, message, options.rate) for one in range(options.paced)
        ]
        self._all: list[Download | PacedDownload] = [*self.fast, *self.paced]
        self._tick = time.monotonic()

    def run_until(self, end: float) -> None:
        """Read until that time."""
        while self.turns.now < end:
            self.turns.turn(min(end, self._tick) if self.paced else end)
            if self.paced and self.turns.now >= self._tick:
                self._tick = self.turns.now + TICK
                for one in self.paced:
                    one.read(time.monotonic())

    def taken(self) -> list[int]:
        """The bytes that each has taken so far, the fast ones first."""
        return [one.body_bytes for one in self._all]

    def failures(self) -> dict[str, int]:
        """How many have failed, by kind."""
        return Counter(one.failure for one in self._all if one.failure)


def downloads(options: argparse.Namespace) -> None:
    """Run Downloads; prints the bytes of each within the window."""
    crowd = Downloads(options)
    crowd.run_until(time.monotonic() + WARM_UP)
    before = crowd.taken()
    announce("open")
    start = time.monotonic()
    crowd.run_until(start + options.seconds)
    end = time.monotonic()
    announce("over")
    taken = [now - then for now, then in zip(crowd.taken(), before, strict=True)]
    fast = taken[: options.count]
    outcome: dict[str, Any] = {"fast": fast, "paced": taken[options.count :]}
    print_json(start=start, end=end, jain=jain(fast or [0]), kinds=crowd.failures(), **outcome)
    crowd.turns.close()


def main() -> None:
    kinds = {"arrivals": arrivals, "pipelines": pipelines, "downloads": downloads}
    parser = argparse.ArgumentParser(description="Many clients that cause much work at once.")
    parser.add_argument("kind", choices=list(kinds))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--count", type=int, default=64, help="clients")
    parser.add_argument("--times", type=int, default=1, help="bursts of arrivals")
    parser.add_argument("--read", action="store_true", help="pipelines are read")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--paced", type=int, default=0, help="downloads with a rate")
    parser.add_argument("--rate", type=float, default=1e6, help="bytes a second of each of them")
    options = parser.parse_args()
    make_room(options.count * options.times + options.paced)
    kinds[options.kind](options)


if __name__ == "__main__":
    main()
