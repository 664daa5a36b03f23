"""The clients of `loadtest.memory`: each kind a process of its own, told to end by its stdin.

idle: many keep-alive connections, one request each, then silence.
slow: many connections with a small receive buffer, each reading 4 KiB a second of a long body.
bystander: one connection, a request each 10 ms, and how long each answer took.
upload, download: one large body each way, every byte of it checked.

None of them waits for readiness. The slow readers have always something to read, so they are read
by the clock: a hundredth of them each 10 ms. The bystander's latency counts from when its request
was due, so that a server which stalls for 100 ms is charged for all ten requests, not for one; it
therefore includes what the client machine adds, a few hundredths of a millisecond.

Connections come from several loopback addresses, as a crowd's do.

    python -m loadtest.crowd KIND --port 8000 --target /echo/hello-world!!
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

from loadtest.client import exchange

SERVER: Final = "127.0.0.1"
SOURCES: Final = 20  # loopback addresses that a crowd connects from
NO_PORT_YET: Final = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # 24 on Linux, see ip(7)
SOCKET_TIMEOUT: Final = 20.0  # seconds for anything that waits
WAVE: Final = 100  # idle connections whose answers are awaited together
BYSTANDER_PERIOD: Final = 0.01  # seconds
SLOW_BUFFER: Final = 4096  # bytes asked of SO_RCVBUF; the kernel doubles it
SLOW_READ: Final = 4096  # bytes
SLOW_PERIOD: Final = 1.0  # seconds between a client's reads
SLOW_SLICES: Final = 100  # of that period, each with its share of the clients
READY_TIMEOUT: Final = 60.0  # seconds for all slow clients to have got something
BLOCK_BYTES: Final = 1024 * 1024


def connected(port: int, number: int, receive_buffer: int = 0) -> socket.socket:
    """The crowd's `number`th connection. A buffer has to be set before: it decides the window."""
    client = socket.socket()
    client.settimeout(SOCKET_TIMEOUT)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    # With the port left open until connect, the kernel may use one port for several servers.
    client.setsockopt(socket.IPPROTO_IP, NO_PORT_YET, 1)
    client.bind((f"127.0.0.{2 + number % SOURCES}", 0))
    client.connect((SERVER, port))
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


def bystander(port: int, target: str) -> None:
    asked = request("GET", target)
    samples: list[tuple[float, float]] = []  # when due, and seconds from then to the answer
    with connected(port, 0) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.monotonic()
        for turn in _paced(BYSTANDER_PERIOD):
            status, _ = exchange(client, asked)
            if status != 200:
                raise SystemExit(f"the bystander was answered {status}")
            due = start + turn * BYSTANDER_PERIOD
            samples.append((due, time.monotonic() - due))
    tell(samples=samples)


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
    options = parser.parse_args()
    if options.kind == "bystander":
        bystander(options.port, options.target)
    elif options.kind in ("idle", "slow"):
        many = idle if options.kind == "idle" else slow
        many(options.port, options.target, options.count)
    else:
        transfer = upload if options.kind == "upload" else download
        transfer(options.port, options.target, options.size)


if __name__ == "__main__":
    main()
