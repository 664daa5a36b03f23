"""One stream of bytes, fed to the parser in every way there is, must mean one thing.

A request's bytes arrive in any pieces that the network makes, and where a server's response depends
on them there is a way to smuggle. So every case of the protocol tests goes through
`expect_outcome`: it feeds the case whole, byte by byte, split at every place (short ones at every
two places), behind another request and with one that follows in the same segment, with bodies
pulled by the byte and by the lot, and it expects the same requests, the same bodies and the same
status each time.

Only when an error is noticed may differ, and which of two errors: the tests say so where it does.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from reactor import Limits
from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest
from reactor.protocol.request_parser import RequestParser

LIMITS: Final = Limits()
BEFORE: Final = b"POST /before HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nabc"
AFTER: Final = b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n"

IDLE: Final = "idle"  # all that came is used, and nothing is begun
IN_HEAD: Final = "in a head"
IN_BODY: Final = "in a body"

THREE_PIECES_BYTES: Final = 32  # cases up to this size are cut at every two places
EVERY_PLACE_BYTES: Final = 1200  # longer ones are cut where a limit may be, and here and there
ALL: Final = 1 << 20


@dataclass(frozen=True)
class Message:
    """A request as a handler would get it."""

    method: str
    target: str
    path: str
    query: str
    host: str
    minor: int
    keep_alive: bool
    expects_continue: bool
    length: int | None
    fields: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """The result of a stream: its messages, the last perhaps without its end, and how it ended."""

    messages: tuple[Message, ...]
    ending: str  # IDLE, IN_HEAD, IN_BODY or the status of a refusal
    next_at: int  # where the first byte is that was not used; only after IDLE and IN_HEAD

    @property
    def targets(self) -> list[str]:
        return [message.target for message in self.messages]

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.messages]


class _Player:
    """Feeds one parser, pulls all that can be pulled, and keeps what came out."""

    def __init__(self, limits: Limits, most: int) -> None:
        self._parser = RequestParser(limits)
        self._most = most
        self._done: list[Message] = []
        self._request: BaseRequest | None = None
        self._body = b""
        self._fed = 0
        self.refused = ""

    def feed(self, data: bytes) -> None:
        self._parser.feed(data)
        self._fed += len(data)
        try:
            while self._advance():
                pass
        except ProtocolError as error:
            self.refused = str(error.status)

    def _advance(self) -> bool:
        if self._request is None:
            self._request = self._parser.next_request()
            return self._request is not None
        piece = self._parser.next_piece(self._most)
        if piece is None:
            return False
        assert len(piece) <= self._most
        self._body += piece
        if not piece:
            assert self._parser.body_complete
            self._done.append(_message(self._request, self._body))
            self._request, self._body = None, b""
        return True

    def outcome(self) -> Outcome:
        messages = list(self._done)
        if self._request is not None:
            messages.append(_message(self._request, self._body))
            return Outcome(tuple(messages), self.refused or IN_BODY, -1)
        if self.refused:
            return Outcome(tuple(messages), self.refused, -1)
        unused = len(self._parser.buffer) - self._parser._position
        assert bool(self._parser.buffer) == bool(unused)  # or an idle connection looks busy
        return Outcome(tuple(messages), IN_HEAD if unused else IDLE, self._fed - unused)


def _message(request: BaseRequest, body: bytes) -> Message:
    return Message(
        request.method,
        request.target,
        request.path,
        request.query,
        request.host,
        request.minor,
        request.keep_alive,
        request.expects_continue,
        request.length,
        tuple(request.headers.fields()),
        body,
    )


def play(pieces: Iterable[bytes], limits: Limits = LIMITS, most: int = ALL) -> Outcome:
    """Feed the pieces, up to the first refusal."""
    player = _Player(limits, most)
    for piece in pieces:
        player.feed(piece)
        if player.refused:
            break
    return player.outcome()


def feedings(data: bytes, marks: Iterable[int] = ()) -> Iterator[list[bytes]]:
    """`data` in every kind of pieces; a long one is cut around `marks` and at every 997th byte."""
    size = len(data)
    yield [data[at : at + 1] for at in range(size)]
    if size <= EVERY_PLACE_BYTES:
        places: Iterable[int] = range(1, size)
    else:
        near = {at + by for at in (*marks, 1, size) for by in range(-3, 4)}
        places = sorted(at for at in near | set(range(997, size, 997)) if 0 < at < size)
    for first in places:
        yield [data[:first], data[first:]]
        if size <= THREE_PIECES_BYTES:
            for second in range(first + 1, size):
                yield [data[:first], data[first:second], data[second:]]


def play_all_ways(
    data: bytes, limits: Limits = LIMITS, marks: Iterable[int] = (), ending: str = ""
) -> Outcome:
    """The outcome of `data`, which is the same however it is fed and pulled.

    `ending` stands in place of the statuses, where the test explains why they differ.
    """

    def plain(outcome: Outcome) -> Outcome:
        if ending and outcome.ending.isdigit():
            return Outcome(outcome.messages, ending, -1)
        return outcome

    whole = plain(play([data], limits))
    for most in (1, 2, 7):
        assert plain(play([data], limits, most)) == whole, f"pulled by {most}"
    for pieces in feedings(data, marks):
        assert plain(play(pieces, limits)) == whole, f"fed as {[len(one) for one in pieces]}"
    assert plain(play((data[at : at + 1] for at in range(len(data))), limits, 1)) == whole
    return whole


def expect_outcome(data: bytes, limits: Limits = LIMITS, marks: Iterable[int] = ()) -> Outcome:
    """The outcome of `data` alone, once it is sure that nothing around it changes it."""
    marks = tuple(marks)
    alone = play_all_ways(data, limits, marks)

    behind = play_all_ways(BEFORE + data, limits, [len(BEFORE) + at for at in marks])
    assert behind.targets == ["/before", *alone.targets]
    assert behind.messages[1:] == alone.messages
    assert behind.ending == alone.ending
    assert behind.next_at == alone.next_at + (len(BEFORE) if alone.next_at >= 0 else 0)

    if alone.ending == IDLE:
        followed = play_all_ways(data + AFTER, limits, marks)
        assert followed.targets == [*alone.targets, "/after"]
        assert followed.messages[:-1] == alone.messages
        assert followed.ending == IDLE
    elif alone.ending.isdigit():
        assert play_all_ways(data + AFTER, limits, marks) == alone
    return alone


def expect_request(data: bytes, limits: Limits = LIMITS, marks: Iterable[int] = ()) -> Message:
    """`data` is exactly one request."""
    outcome = expect_outcome(data, limits, marks)
    assert outcome.ending == IDLE, f"{outcome.ending}: {data[:200]!r}"
    assert outcome.next_at == len(data)
    (message,) = outcome.messages
    return message


def expect_refusal(
    status: int, data: bytes, limits: Limits = LIMITS, marks: Iterable[int] = ()
) -> Outcome:
    """`data` is refused with `status`, and nothing that follows is taken for a request."""
    outcome = expect_outcome(data, limits, marks)
    assert outcome.ending == str(status), f"{outcome.ending}: {data[:200]!r}"
    return outcome


def bytes_until_refusal(start: bytes, endless: bytes, most: int, limits: Limits = LIMITS) -> int:
    """How many bytes of `start`, then `endless` for ever, are taken, one at a time."""
    player = _Player(limits, ALL)
    for count, value in enumerate(_forever(start, endless)):
        player.feed(bytes([value]))
        if player.refused:
            return count
        assert count <= most, f"not refused after {count} bytes"
    raise AssertionError("unreachable")


def _forever(start: bytes, endless: bytes) -> Iterator[int]:
    yield from start
    while True:
        yield from endless


def assert_linear(work: Callable[[int], object], size: int) -> None:
    """Four times the size may cost ten times the CPU time: 4 is linear, 16 would be quadratic.

    A ratio of the best of several runs, since the machine is not ours alone, each repeated until
    it differs from noise; three tries.
    """
    repeats = 1
    while _best_time(work, size, repeats) < 0.002:
        repeats *= 4
    ratio = 0.0
    for _ in range(3):
        ratio = _best_time(work, 4 * size, repeats) / _best_time(work, size, repeats)
        if ratio <= 10:
            return
    raise AssertionError(f"4 times the input takes {ratio:.1f} times as long")


def _best_time(work: Callable[[int], object], size: int, repeats: int) -> float:
    times = []
    for _ in range(3):
        begin = time.process_time()
        for _ in range(repeats):
            work(size)
        times.append(time.process_time() - begin)
    return min(times)
