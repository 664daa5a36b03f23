"""The clients of `loadtest.benchmarks.memory`: each kind a process of its own, told to end by its
stdin.

idle: many keep-alive connections, one request each, then silence.
slow: many connections with a small receive buffer, each reading 4 KiB a second of a long body.
bystander: a request each 10 ms, and how long each answer took.
upload, download: one large body each way, every byte of it checked.

The slow readers have always something to read, so they do not wait for readiness: they are read by
the clock, a hundredth of them each 10 ms. The bystander's latency counts from when its request was
due, so that a server which stalls for 100 ms is charged for all ten requests, not for one; it
therefore includes what the client machine adds, a tenth of a millisecond. Nor does a request wait
for the one before it: where no connection is free it takes a new one, since a hundred people would,
and one who asks faster than it is answered would measure its own queue. Every other request comes
on a new connection in any case, since who was let in before may be served for ever while nobody
else is. It never ends by itself: who is refused, answered wrongly or not at all waited as well, and
asks again.

Connections come from several loopback addresses, as a crowd's do.

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
from typing import Any, Final

from loadtest.clients.closed_loop import exchange
from loadtest.clients.connection import LATE, RIGHT, SERVER, Connection, Tally, Turns, unconnected
from loadtest.clients.histogram import Histogram

SOCKET_TIMEOUT: Final = 20.0  # seconds for anything that waits
WAVE: Final = 100  # idle connections whose answers are awaited together
BYSTANDER_PERIOD: Final = 0.01  # seconds
BYSTANDER_PATIENCE: Final = 5.0  # seconds that it waits for an answer
SLOW_BUFFER: Final = 4096  # bytes asked of SO_RCVBUF; the kernel doubles it
SLOW_READ: Final = 4096  # bytes
SLOW_PERIOD: Final = 1.0  # seconds between a client's reads
SLOW_SLICES: Final = 100  # of that period, each with its share of the clients
READY_TIMEOUT: Final = 60.0  # seconds for all slow clients to have got something
BLOCK_BYTES: Final = 1024 * 1024


def connected(port: int, number: int, receive_buffer: int = 0) -> socket.socket:
    """The crowd's `number`th connection. A buffer has to be set before: it decides the window."""
    client = unconnected(number)
    client.settimeout(SOCKET_TIMEOUT)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        client.connect((SERVER, port))
    except OSError:
        client.close()
        raise
    return client


def request(method: str, target: str, fields: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {SERVER}\r\n{fields}\r\n".encode()


def tell(**news: Any) -> None:
    print(json.dumps(news), flush=True)


def told_to_end(timeout: float) -> bool:
    """Sleep, but not longer than until stdin is closed."""
    return bool(select.select([sys.stdin], [], [], max(0.0, timeout))[0])


# ---------------------------------------------------------------------------------- idle


def idle(port: int, target: str, count: int) -> None:
    clients: list[socket.socket] = []
    while len(clients) < count:
        clients += _wave(port, target, len(clients), min(WAVE, count - len(clients)))
    tell(connections=len(clients))
    told_to_end(3600)
    tell(still_open=sum(map(_is_open, clients)))


def _wave(port: int, target: str, first: int, count: int) -> list[socket.socket]:
    wave = [connected(port, first + number) for number in range(count)]
    for client in wave:
        status, _ = exchange(client, request("GET", target))
        if status != 200:
            raise SystemExit(f"an idle client was answered {status}")
    return wave


def _is_open(client: socket.socket) -> bool:
    client.setblocking(False)  # with a timeout, Python would wait for it before it asks
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False  # nothing was asked, so this is the end, or something wrong


# ---------------------------------------------------------------------------------- slow readers


class SlowReader:
    """A client that reads far less than it is sent."""

    __slots__ = ("bytes_read", "cut", "socket", "status")

    def __init__(self, port: int, number: int, target: str) -> None:
        self.socket = connected(port, number, SLOW_BUFFER)
        self.socket.setblocking(False)
        self.socket.send(request("GET", target))
        self.bytes_read = 0
        self.status = b""
        self.cut = False

    def read(self) -> None:
        """What is there, if anything is."""
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
    readers = [SlowReader(port, number, target) for number in range(count)]
    start, ready = time.monotonic(), False
    for turn in _paced(SLOW_PERIOD / SLOW_SLICES):
        for reader in readers[turn % SLOW_SLICES :: SLOW_SLICES]:
            reader.read()
        if not ready and turn % SLOW_SLICES == 0:
            if time.monotonic() - start > READY_TIMEOUT:
                raise SystemExit(f"not all clients had an answer after {READY_TIMEOUT:g} s")
            if ready := all(reader.status or reader.cut for reader in readers):
                tell(at=time.monotonic())
    _tell_of_slow(readers, time.monotonic() - start)


def _tell_of_slow(readers: list[SlowReader], seconds: float) -> None:
    tell(
        answered=sum(reader.status == b"200" for reader in readers),
        cut=sum(reader.cut for reader in readers),
        bytes_per_second=sum(reader.bytes_read for reader in readers) / len(readers) / seconds,
    )


def _paced(period: float) -> Iterator[int]:
    """The numbers from 0, one each `period` seconds; late ones at once; until told to end."""
    turn, due = 0, time.monotonic()
    while not told_to_end(due - time.monotonic()):
        yield turn
        turn += 1
        due += period


# ---------------------------------------------------------------------------------- bystander


class Bystander:
    """Asks each 10 ms, whatever became of the requests before; each has its sample."""

    def __init__(self, port: int, target: str, patience: float) -> None:
        self.turns = Turns(port, listens=True)
        self.body_bytes = 0
        self.tally = Tally()
        self.samples: list[tuple[float, float]] = []  # when due, and seconds from then to the end
        self.failed: list[float] = []  # when those were due that were not answered rightly
        self._asked = request("GET", target)
        self._asked_once = request("GET", target, "Connection: close\r\n")
        self._comes_anew = False
        self._patience = patience
        self._free: list[Connection] = []
        self._busy: dict[Connection, None] = {}  # the oldest first
        self._opened = 0

    def run(self) -> None:
        """Until told to end; what was due before that may still be answered, within patience."""
        due = time.monotonic()
        while self.turns.now < self.turns.end:
            while due <= min(time.monotonic(), self.turns.end):
                self._ask(due)
                due += BYSTANDER_PERIOD
            self._give_up()
            self.turns.turn(due)
        while self._busy:
            self.turns.turn(self._oldest.due + self._patience)
            self._give_up()
        self.samples.sort()
        self.turns.close()

    def _ask(self, due: float) -> None:
        """On a connection that was there before and on a new one, in turn."""
        if self._free and not self._comes_anew:
            connection = self._free.pop()
            connection.ask(self._asked)
        else:
            connection = Connection(self, int(self._comes_anew), self._opened)
            self._opened += 1
        self._comes_anew = not self._comes_anew
        connection.due = due
        self._busy[connection] = None

    @property
    def _oldest(self) -> Connection:
        return next(iter(self._busy))

    def _give_up(self) -> None:
        """What has waited for too long."""
        while self._busy and self._oldest.due + self._patience <= self.turns.now:
            late = self._oldest
            late.close()
            self._end(late, LATE)

    def _end(self, connection: Connection, kind: str) -> None:
        del self._busy[connection]
        self.tally.add(kind)
        self.samples.append((connection.due, self.turns.now - connection.due))
        if kind != RIGHT:
            self.failed.append(connection.due)

    def ready(self, connection: Connection) -> None:
        connection.ask(self._asked_once if connection.number else self._asked)

    def done(self, connection: Connection, kind: str) -> None:
        self._end(connection, kind)
        if connection.is_open and kind == RIGHT:
            self._free.append(connection)
        else:
            connection.close()

    def gone(self, connection: Connection) -> None:
        self._free.remove(connection)


def bystander(port: int, target: str, patience: float, as_histogram: bool) -> None:
    one = Bystander(port, target, patience)
    one.run()
    if as_histogram:
        latencies = Histogram(seconds for _, seconds in one.samples)
        tell(**one.tally.to_json(), bystander=latencies.to_json())
    else:
        tell(**one.tally.to_json(), samples=one.samples, failed=one.failed)


# ---------------------------------------------------------------------------------- large bodies


class Blocks:
    """A long body that both directions can make anew: the same block with other numbers in it."""

    def __init__(self) -> None:
        self._block = bytearray(random.Random(1).randbytes(BLOCK_BYTES))

    def block(self, number: int) -> bytearray:
        self._block[:8] = number.to_bytes(8, "big")
        return self._block


def upload(port: int, target: str, size: int) -> None:
    blocks = Blocks()
    with connected(port, 0) as client:
        start = time.monotonic()
        client.sendall(request("POST", target, f"Content-Length: {size}\r\n"))
        try:
            for number in range(size // BLOCK_BYTES):
                client.sendall(blocks.block(number))
        except OSError:
            pass  # an early answer, perhaps; it is read below
        status, body = exchange(client, b"")
        tell(status=status, seconds=time.monotonic() - start, said=body[:200].decode("latin-1"))


def download(port: int, target: str, size: int) -> None:
    with connected(port, 0) as client:
        start = time.monotonic()
        client.sendall(request("GET", target))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1) or b"\r\n\r\n"  # a head is short; its body stays unread
        right = _count_right_blocks(client, size // BLOCK_BYTES)
        seconds = time.monotonic() - start
    tell(status=int(head[9:12] or 0), seconds=seconds, right=right * BLOCK_BYTES)


def _count_right_blocks(client: socket.socket, count: int) -> int:
    blocks, received = Blocks(), bytearray(BLOCK_BYTES)
    for number in range(count):
        if not _filled(client, memoryview(received)) or received != blocks.block(number):
            return number
    return count


def _filled(client: socket.socket, into: memoryview) -> bool:
    """Whether so many bytes came before the end."""
    while into:
        count = client.recv_into(into)
        if not count:
            return False
        into = into[count:]
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="Clients in numbers, slow or with large bodies.")
    parser.add_argument("kind", choices=["idle", "slow", "bystander", "upload", "download"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--count", type=int, default=1, help="connections of idle and slow")
    parser.add_argument("--size", type=int, default=1024**3, help="bytes of upload and download")
    parser.add_argument("--patience", type=float, default=BYSTANDER_PATIENCE, help="in seconds")
    parser.add_argument("--histogram", action="store_true", help="of a bystander, not its samples")
    options = parser.parse_args()
    if options.kind == "bystander":
        bystander(options.port, options.target, options.patience, options.histogram)
    elif options.kind in ("idle", "slow"):
        many = idle if options.kind == "idle" else slow
        many(options.port, options.target, options.count)
    else:
        transfer = upload if options.kind == "upload" else download
        transfer(options.port, options.target, options.size)


if __name__ == "__main__":
    main()
