"""A client's side of a simulated connection, and the responses that it has received.

Responses are read by a parser that shares nothing with the server's. There are three cases: a
response that is whole, one that is visibly cut, and one that was never begun.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reactor.simulator.network import Action, Script, SimNetwork
from reactor.simulator.response_parser import IncompleteResponse, ResponseHead, ResponseParser
from reactor.simulator.sockets import LATENCY, SimListener, SimSocket

BUFFERS: Final = (65536, 65536, 65536, 65536)
READ_BYTES: Final = 256 * 1024

Pace = Callable[[], tuple[int, float]]  # how many bytes the next recv asks for, and when it is


@dataclass
class SimResponse:
    """One response, as far as a client has received it."""

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
        """Whether the server's listener took the connection."""
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
        """Send no more, but read responses."""
        if self.socket is not None and not self.socket.closed and not self.socket.lost:
            self.socket.shutdown(1)

    def close(self) -> None:
        """Close by a FIN, or by a reset where input is unread; `end` is "left"."""
        if self.socket is not None:
            self.socket.close()
        self._ended("left")

    def reset(self) -> None:
        """Close by a reset; `end` is "left"."""
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
        """The responses to requests with these methods; interim responses are left out."""
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
    """The final responses in `data`, the last one perhaps cut.

    Interim responses are left out; a head that is cut is a response with status 0. `closed`: a
    FIN has come, which ends a body without a length. Raises ValueError for what is no HTTP/1.1.
    """
    responses: list[SimResponse] = []
    while data:
        method = methods[len(responses)] if len(responses) < len(methods) else "GET"
        parser = ResponseParser(method)
        parser.feed(data)
        if (head := _final_head(parser)) is None:
            if parser.surplus:
                responses.append(SimResponse(0, {}))
            break
        response = SimResponse(head.status, _single_fields(head))
        if closed:
            parser.feed_end("fin")
        response.body = b"".join(_pieces(parser))
        response.whole = parser.complete
        responses.append(response)
        if not response.whole:
            break
        data = data[len(data) - parser.surplus :]
    return responses


def _final_head(parser: ResponseParser) -> ResponseHead | None:
    while (head := parser.next_head()) is not None and 100 <= head.status <= 199:
        pass
    return head


def _single_fields(head: ResponseHead) -> dict[str, str]:
    """The fields by their names in lower case, none of which may come twice."""
    if head.minor != 1:
        raise ValueError(f"HTTP/1.{head.minor} in a response to HTTP/1.1")
    fields: dict[str, str] = {}
    for name, value in head.headers.fields():
        if name.lower() in fields:
            raise ValueError(f"the field {name} comes twice")
        fields[name.lower()] = value
    return fields


def _pieces(parser: ResponseParser) -> Iterator[bytes]:
    """The pieces of a body, as far as they are there."""
    try:
        while piece := parser.next_piece():
            yield piece
    except IncompleteResponse:
        pass  # it is as long as it is, and not whole
