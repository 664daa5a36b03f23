"""Slow clients, bystanders and large transfers: each kind is a process that ends with its stdin.

idle: many keep-alive connections, with one request each and then silence.
slow: many connections with a small receive buffer, each of which reads 4 KiB a second.
bystander: a request every 10 ms, and how long each response took.
upload, download: one large body in each direction, every byte of it checked.

The slow readers always have something to read, so they do not wait for readiness: they are read by
the clock, a hundredth of them every 10 ms.

The bystander's latency counts from when its request was due, so a server that stalls for 100 ms is
charged for all ten requests, not for one. It therefore includes what the client machine adds, a
tenth of a millisecond. A request does not wait for the one before it: where no connection is free
it takes a new one, as a hundred people would; a client that asks faster than it is served would
measure its own queue. Every other request uses a new connection in any case, since a server may go
on serving old connections while it accepts no others; `--connections` chooses one of the two. The
bystander never ends by itself: after a refusal, a wrong response or none it asks again.

Connections come from several loopback addresses, as those of a crowd do.

    python -m loadtest.clients.slow_crowds KIND --port 8000 --target /echo/hello-world!!
"""

import argparse
import json
import random
import select
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from loadtest.clients.closed_loop import exchange
from loadtest.clients.connection import CORRECT, LATE, SERVER, Connection, Tally, Turns, unconnected
from loadtest.clients.histogram import Histogram
from loadtest.clients.secure import SecureTurns, secured

SOCKET_TIMEOUT: Final = 20.0  # seconds for a blocking call
WAVE: Final = 100  # idle connections that are made together
BYSTANDER_PERIOD: Final = 0.01  # seconds
BYSTANDER_PATIENCE: Final = 5.0  # seconds that it waits for a response
SPARE_SECONDS: Final = 1.0  # until its spare connections are there
SLOW_BUFFER: Final = 4096  # bytes, for SO_RCVBUF; the kernel doubles it
SLOW_READ: Final = 4096  # bytes
SLOW_PERIOD: Final = 1.0  # seconds between a client's reads
SLOW_SLICES: Final = 100  # parts of that period; each reads its share of the clients
READY_TIMEOUT: Final = 60.0  # seconds until all slow clients have received bytes
BLOCK_BYTES: Final = 1024 * 1024


def connected(port: int, number: int, receive_buffer: int = 0, tls: bool = False) -> socket.socket:
    """The crowd's `number`th connection, blocking, with a receive buffer of so many bytes if any.

    With `tls` it speaks TLS. The buffer decides the TCP window, so it is set before connecting.
    """
    client = unconnected(number)
    client.settimeout(SOCKET_TIMEOUT)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        client.connect((SERVER, port))
        if tls:
            client = secured(client)
    except OSError:
        client.close()
        raise
    return client


def request(method: str, target: str, fields: str = "") -> bytes:
    """A head; `fields` are header fields, each with its line end."""
    return f"{method} {target} HTTP/1.1\r\nHost: {SERVER}\r\n{fields}\r\n".encode()


def print_json(**content: Any) -> None:
    """Print one line, for a Companion to receive."""
    print(json.dumps(content), flush=True)


def stdin_ended(timeout: float) -> bool:
    """Sleep until stdin is closed, for `timeout` seconds at most; returns whether it is closed."""
    return bool(select.select([sys.stdin], [], [], max(0.0, timeout))[0])


# ---------------------------------------------------------------------------------- idle


def idle(port: int, target: str, count: int, *, tls: bool = False) -> None:
    """Hold connections; prints how many there are, and in the end how many are still open."""
    clients: list[socket.socket] = []
    while len(clients) < count:
        clients += _wave(port, target, len(clients), min(WAVE, count - len(clients)), tls=tls)
    print_json(connections=len(clients))
    stdin_ended(3600)
    print_json(still_open=sum(map(_is_open, clients)))


def _wave(port: int, target: str, first: int, count: int, *, tls: bool) -> list[socket.socket]:
    wave = [connected(port, first + number, tls=tls) for number in range(count)]
    for client in wave:
        status, _ = exchange(client, request("GET", target))
        if status != 200:
            raise SystemExit(f"an idle client got status {status}")
    return wave


def _is_open(client: socket.socket) -> bool:
    client.setblocking(False)  # with a timeout, Python waits for readiness before it calls recv
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False  # no request is running, so this is the end, or an error


# ---------------------------------------------------------------------------------- slow readers


class SlowReader:
    """A client that reads far less than the server sends."""

    __slots__ = ("bytes_read", "cut", "socket", "status")

    def __init__(self, port: int, number: int, target: str) -> None:
        self.socket = connected(port, number, SLOW_BUFFER)
        self.socket.setblocking(False)
        self.socket.send(request("GET", target))
        self.bytes_read = 0
        self.status = b""
        self.cut = False

    def read(self) -> None:
        """Read SLOW_READ bytes at most, without waiting."""
        if self.cut:
            return
        try:
            piece = self.socket.recv(SLOW_READ)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self.cut = not piece
        self.status = self.status or piece[9:12]
        self.bytes_read += len(piece)


def slow(port: int, target: str, count: int) -> None:
    """Read slowly; prints when the readers came and all of them had bytes, and what they got.

    Raises SystemExit where that takes longer than READY_TIMEOUT.
    """
    came = time.monotonic()
    readers = [SlowReader(port, number, target) for number in range(count)]
    start, ready = time.monotonic(), False
    for turn in _paced(SLOW_PERIOD / SLOW_SLICES):
        for reader in readers[turn % SLOW_SLICES :: SLOW_SLICES]:
            reader.read()
        if not ready and turn % SLOW_SLICES == 0:
            if time.monotonic() - start > READY_TIMEOUT:
                raise SystemExit(f"some clients had no response after {READY_TIMEOUT:g} s")
            if ready := all(reader.status or reader.cut for reader in readers):
                print_json(came=came, at=time.monotonic())
    _print_slow(readers, time.monotonic() - start)


def _print_slow(readers: list[SlowReader], seconds: float) -> None:
    print_json(
        answered=sum(reader.status == b"200" for reader in readers),
        cut=sum(reader.cut for reader in readers),
        bytes_per_second=sum(reader.bytes_read for reader in readers) / len(readers) / seconds,
    )


def _paced(period: float) -> Iterator[int]:
    """The numbers from 0, one every `period` seconds, late ones at once, until stdin ends."""
    turn, due = 0, time.monotonic()
    while not stdin_ended(due - time.monotonic()):
        yield turn
        turn += 1
        due += period


# ---------------------------------------------------------------------------------- bystander


class Habit(NamedTuple):
    """How a bystander asks."""

    period: float = BYSTANDER_PERIOD  # seconds from one request to the next
    patience: float = BYSTANDER_PATIENCE  # seconds that it waits for a response
    connections: str = "both"  # "kept" or "new" ones, or both in turn
    spare: int = 0  # connections that are kept from the start, for requests beside others
    tls: bool = False  # connections speak TLS


class Bystander:
    """Sends a request every period, also while others wait; each has its sample."""

    def __init__(self, port: int, target: str, habit: Habit) -> None:
        self.turns = (SecureTurns if habit.tls else Turns)(port, listens=True)
        self.body_bytes = 0
        self.tally = Tally()
        self.samples: list[tuple[float, float]] = []  # when due, and seconds from then to the end
        self.failed: list[float] = []  # when the requests without a correct response were due
        self._request = request("GET", target)
        self._last_request = request("GET", target, "Connection: close\r\n")
        self._habit = habit
        self._next_is_new = habit.connections == "new"
        # When due, and seconds from then to the sending: what this process adds.
        self.lateness: list[tuple[float, float]] = []
        self._free: list[Connection] = []
        self._busy: dict[Connection, None] = {}  # the oldest first
        self._opened = 0

    def run(self) -> None:
        """Run until stdin ends, and then until requests that were due before have ended."""
        for _ in range(self._habit.spare):
            self._open(0)
        due = self._start_of_schedule()
        while self.turns.now < self.turns.end:
            while due <= min(now := time.monotonic(), self.turns.end):
                self.lateness.append((due, now - due))
                self._ask(due)
                due += self._habit.period
            self._give_up()
            self.turns.turn(due)
        while self._busy:
            self.turns.turn(self._oldest.due + self._habit.patience)
            self._give_up()
        self.samples.sort()
        self.turns.close()

    def _start_of_schedule(self) -> float:
        """The time when all spare connections are there, or a second has passed."""
        end = time.monotonic() + SPARE_SECONDS
        while len(self._free) < self._habit.spare and self.turns.now < min(end, self.turns.end):
            self.turns.turn(end)
        return time.monotonic()

    def _ask(self, due: float) -> None:
        """Send a request, on a connection that was there before or on a new one."""
        if self._free and not self._next_is_new:
            connection = self._free.pop()
            connection.ask(self._request)
        else:
            connection = self._open(int(self._next_is_new))
        if self._habit.connections == "both":
            self._next_is_new = not self._next_is_new
        connection.due = due
        self._busy[connection] = None

    def _open(self, number: int) -> Connection:
        """A connection that asks as soon as it is there; with number 1 it is for one request."""
        self._opened += 1
        return Connection(self, number, self._opened - 1)

    @property
    def _oldest(self) -> Connection:
        return next(iter(self._busy))

    def _give_up(self) -> None:
        """End the requests that have waited longer than the patience."""
        while self._busy and self._oldest.due + self._habit.patience <= self.turns.now:
            late = self._oldest
            late.close()
            self._end(late, LATE)

    def _end(self, connection: Connection, kind: str) -> None:
        del self._busy[connection]
        self.tally.add(kind)
        self.samples.append((connection.due, self.turns.now - connection.due))
        if kind != CORRECT:
            self.failed.append(connection.due)

    def ready(self, connection: Connection) -> None:
        """Send the request for which the connection was made."""
        connection.ask(self._last_request if connection.number else self._request)

    def done(self, connection: Connection, kind: str) -> None:
        """Record the outcome, and keep the connection where it can be used again."""
        if connection in self._busy:  # and not the first request of a spare connection
            self._end(connection, kind)
        if connection.is_open and kind == CORRECT:
            self._free.append(connection)
        else:
            connection.close()

    def gone(self, connection: Connection) -> None:
        """Forget a free connection that the server has closed."""
        self._free.remove(connection)


def bystander(port: int, target: str, habit: Habit, as_histogram: bool) -> None:
    """Run a Bystander; prints its outcome in the end."""
    one = Bystander(port, target, habit)
    one.run()
    if as_histogram:
        latencies = Histogram(seconds for _, seconds in one.samples)
        print_json(**one.tally.to_json(), bystander=latencies.to_json())
    else:
        lists = {"samples": one.samples, "failed": one.failed, "lateness": one.lateness}
        print_json(**one.tally.to_json(), **lists)


# ---------------------------------------------------------------------------------- large bodies


class Blocks:
    """A long body that can be made again for comparison: one block with a number in it."""

    def __init__(self) -> None:
        self._block = bytearray(random.Random(1).randbytes(BLOCK_BYTES))

    def block(self, number: int) -> bytearray:
        """The block of this number; it is valid until the next call."""
        self._block[:8] = number.to_bytes(8, "big")
        return self._block


def upload(port: int, target: str, size: int) -> None:
    """Send a body of `size` bytes; prints status, seconds and the start of the response's body."""
    blocks = Blocks()
    with connected(port, 0) as client:
        start = time.monotonic()
        client.sendall(request("POST", target, f"Content-Length: {size}\r\n"))
        try:
            for number in range(size // BLOCK_BYTES):
                client.sendall(blocks.block(number))
        except OSError:
            pass  # perhaps an early response, which is read below
        status, body = exchange(client, b"")
        seconds = time.monotonic() - start
        print_json(status=status, seconds=seconds, body=body[:200].decode("latin-1"))


def download(port: int, target: str, size: int) -> None:
    """Read a body of `size` bytes; prints status, seconds and how many bytes are correct."""
    with connected(port, 0) as client:
        start = time.monotonic()
        client.sendall(request("GET", target))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1) or b"\r\n\r\n"  # byte by byte, so that the body stays unread
        correct = _count_correct_blocks(client, size // BLOCK_BYTES)
        seconds = time.monotonic() - start
    print_json(status=int(head[9:12] or 0), seconds=seconds, correct=correct * BLOCK_BYTES)


def _count_correct_blocks(client: socket.socket, count: int) -> int:
    blocks, received = Blocks(), bytearray(BLOCK_BYTES)
    for number in range(count):
        if not _filled(client, memoryview(received)) or received != blocks.block(number):
            return number
    return count


def _filled(client: socket.socket, into: memoryview) -> bool:
    """Fill `into`; returns whether enough bytes came before the end."""
    while into:
        count = client.recv_into(into)
        if not count:
            return False
        into = into[count:]
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="Many slow clients, or one with a large body.")
    parser.add_argument("kind", choices=["idle", "slow", "bystander", "upload", "download"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--count", type=int, default=1, help="connections of idle and slow")
    parser.add_argument("--size", type=int, default=1024**3, help="bytes of upload and download")
    parser.add_argument("--patience", type=float, default=BYSTANDER_PATIENCE, help="seconds")
    parser.add_argument("--period", type=float, default=BYSTANDER_PERIOD, help="seconds")
    parser.add_argument("--connections", choices=["both", "kept", "new"], default="both")
    parser.add_argument("--spare", type=int, default=0, help="connections kept from the start")
    parser.add_argument(
        "--histogram", action="store_true", help="print the bystander's histogram, not its samples"
    )
    parser.add_argument("--tls", action="store_true", help="HTTPS, for bystander and idle")
    options = parser.parse_args()
    if options.kind == "bystander":
        habit = Habit(*(getattr(options, name) for name in Habit._fields))
        bystander(options.port, options.target, habit, options.histogram)
    elif options.kind in ("idle", "slow"):
        many = partial(idle, tls=options.tls) if options.kind == "idle" else slow
        many(options.port, options.target, options.count)
    else:
        transfer = upload if options.kind == "upload" else download
        transfer(options.port, options.target, options.size)


if __name__ == "__main__":
    main()
