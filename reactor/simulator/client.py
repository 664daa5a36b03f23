"""A client's side of a simulated connection, and an understanding of answers of its own.

The answers are read by code that shares nothing with the server's, and that tells three things
apart: an answer that is whole, one that is visibly cut, and one that was never begun.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reactor.simulator.network import Action, Script, SimNetwork
from reactor.simulator.sockets import LATENCY, SimListener, SimSocket

BUFFERS: Final = (65536, 65536, 65536, 65536)
READ_BYTES: Final = 256 * 1024

Pace = Callable[[], tuple[int, float]]  # how many bytes the next recv asks for, and when it is


@dataclass
class SimResponse:
    """What a client has got of one answer."""

    status: int
    fields: dict[str, str]
    body: bytes = b""
    whole: bool = False  # false: visibly cut, or until-close and not closed


class SimClient:
    """The methods act at once; the scripts take time and are `start`ed on the network."""

    def __init__(
        self,
        network: SimNetwork,
        listener: SimListener,
        name: str,
        buffers: tuple[int, int, int, int] = BUFFERS,
        peer: tuple[Any, ...] | None = None,
    ) -> None:
        """`peer`: the address that the server sees; without it, the name."""
        self.name = name
        self.received = bytearray()
        self.end = ""  # "fin", "reset", "refused"; or "left", by itself
        self.heard_time = 0.0  # when it has read something
        self.end_time = 0.0
        self.watchers: list[Action] = []  # for whom it is news that something was read
        self._network = network
        self._listener = listener
        self._buffers = buffers
        self._peer = peer or (name, 0)
        self.socket: SimSocket | None = None

    def connect(self) -> bool:
        self.socket = self._listener.connect(self.name, self._buffers, self._peer)
        if self.socket is None:
            self._ended("refused")
        return self.socket is not None

    def send(self, data: bytes) -> int:
        """As much of it as there is room for now; 0 as well when the connection is lost."""
        if self.socket is None or self.socket.closed:
            return 0
        try:
            return self.socket.send(data)
        except OSError:
            return 0

    def read(self, most: int = READ_BYTES) -> int | None:
        """Take what is there: how many bytes; None: nothing yet. At the end, `end` is set."""
        if self.socket is None or self.socket.closed:
            return None
        try:
            data = self.socket.recv(most)
        except BlockingIOError:
            return None
        except OSError:
            self._ended("reset")
            return 0
        if not data:
            self._ended("reset" if self.socket.lost else "fin")
        self.received += data
        self.heard_time = self._network.time
        self._tell()
        return len(data)

    def half_close(self) -> None:
        """No more is sent, but answers are read."""
        if self.socket is not None and not self.socket.closed and not self.socket.lost:
            self.socket.shutdown(1)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self._ended("left")

    def reset(self) -> None:
        if self.socket is not None:
            self.socket.reset()
        self._ended("left")

    # --- scripts ---------------------------------------------------------------------------------

    def sending(self, data: bytes, pause: float = LATENCY) -> Script:
        """Send all of it, waiting for room where there is none."""
        left = memoryview(data)
        while left and not self.end and self.socket is not None and not self.socket.lost:
            left = left[self.send(bytes(left)) :]
            yield pause

    def reading(self, pace: Pace | None = None) -> Script:
        """Read to the end."""
        while not self.end:
            most, pause = pace() if pace else (READ_BYTES, 0.0)
            if pause:
                yield pause
            if self.read(most) is None and not self.end:
                yield self.socket

    # --- what came -------------------------------------------------------------------------------

    def responses(self, methods: Sequence[str]) -> list[SimResponse]:
        """What came, for requests with these methods; interim answers are left out."""
        return parse_responses(bytes(self.received), methods, self.end == "fin")

    def _ended(self, how: str) -> None:
        if not self.end:
            self.end = how
            self.end_time = self._network.time
            self._network.note(self.name, how)
            self._tell()

    def _tell(self) -> None:
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            self._network.after(0.0, watcher)


def parse_responses(data: bytes, methods: Sequence[str], closed: bool) -> list[SimResponse]:
    """The answers in `data`, the last one perhaps cut; a cut head is an answer with status 0."""
    responses: list[SimResponse] = []
    while data:
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank:
            responses.append(SimResponse(0, {}))
            break
        answer = _parse_head(head.decode("latin-1"))
        if 100 <= answer.status <= 199:
            data = rest
            continue
        method = methods[len(responses)] if len(responses) < len(methods) else "GET"
        data = _take_body(answer, method, rest, closed)
        responses.append(answer)
        if not answer.whole:
            break
    return responses


def _parse_head(head: str) -> SimResponse:
    first, *lines = head.split("\r\n")
    version, status, _ = first.split(" ", 2)
    if version != "HTTP/1.1" or not status.isdigit():
        raise ValueError(f"not a status line: {first!r}")
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name.lower() in fields:
            raise ValueError(f"twice: {name}")
        fields[name.lower()] = value
    return SimResponse(int(status), fields)


def _take_body(answer: SimResponse, method: str, data: bytes, closed: bool) -> bytes:
    """Fill in the body; what is left of `data`."""
    if method == "HEAD" or answer.status in (204, 304):
        answer.whole = True
        return data
    if answer.fields.get("transfer-encoding") == "chunked":
        return _take_chunks(answer, data)
    length = answer.fields.get("content-length")
    if length is None:
        answer.body = data
        answer.whole = closed
        return b""
    answer.body = data[: int(length)]
    answer.whole = len(answer.body) == int(length)
    return data[int(length) :]


def _take_chunks(answer: SimResponse, data: bytes) -> bytes:
    pieces = []
    while True:
        line, end, rest = data.partition(b"\r\n")
        size = int(line, 16) if end else 0
        piece = rest[:size]
        pieces.append(piece)
        answer.body = b"".join(pieces)
        if not end or len(rest) < size + 2:
            return b""
        if rest[size : size + 2] != b"\r\n":
            raise ValueError("a chunk is not as long as its size says")
        data = rest[size + 2 :]
        if size == 0:
            answer.whole = True
            return data
