"""Bodies that are read whole: the memory that they hold, and wait for."""

from collections.abc import Coroutine
from typing import Any

import pytest

from reactor.errors import ProtocolError
from reactor.messages.body import Body
from reactor.messages.headers import Fields
from reactor.tasks.futures import Future
from reactor.tasks.semaphore import WeightedSemaphore


def done(future: Future[int] | None) -> bool:
    return future is not None and future.done


class Silent:
    """A source without a client to inform."""

    def inform(self, status: int, headers: Fields) -> bool:
        return False


class Source(Silent):
    """A body whose pieces have arrived."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [*pieces, b""]

    def pull(self, most: int) -> bytes:
        piece = self.pieces.pop(0)
        assert len(piece) <= most
        return piece


class Stuck(Silent):
    """A body that does not arrive."""

    def pull(self, most: int) -> Future[bytes]:
        return Future()


def begin(coroutine: Coroutine[Any, Any, bytes]) -> Any:
    """The result of a coroutine, or the future that it waits for."""
    try:
        return coroutine.send(None)
    except StopIteration as stop:
        return stop.value


def test_a_body_in_memory_is_paid_for_until_it_is_closed() -> None:
    memory = WeightedSemaphore(100)
    body = Body(Source(b"12345", b"678"), 8, 50, memory)
    assert begin(body.read()) == b"12345678"
    assert memory.used == 8
    body.close()
    body.close()
    assert memory.used == 0
    with pytest.raises(RuntimeError):
        begin(body.read())
    assert memory.used == 0


def test_a_body_of_unknown_length_is_paid_for_as_it_arrives() -> None:
    memory = WeightedSemaphore(100)
    body = Body(Source(b"12345"), None, 50, memory)
    assert begin(body.read()) == b"12345"
    assert memory.used == 5


def test_a_body_that_is_too_large_is_413_and_pays_nothing() -> None:
    memory = WeightedSemaphore(100)
    for body in (
        Body(Source(), 51, 50, memory),
        Body(Source(b"x" * 50, b"y"), None, 50, memory),
    ):
        with pytest.raises(ProtocolError) as caught:
            begin(body.read())
        assert caught.value.status == 413
        body.close()
        assert memory.used == 0


def test_bodies_wait_for_memory_before_they_hold_any() -> None:
    memory = WeightedSemaphore(100)
    first, second = Body(Stuck(), 60, 80, memory), Body(Source(b"x" * 60), 60, 80, memory)
    begin(first.read())
    reading = second.read()
    room = begin(reading)
    assert not done(room)
    assert memory.used == 60
    first.close()
    assert done(room)
    assert begin(reading) == b"x" * 60
    second.close()
    assert memory.used == 0


@pytest.mark.parametrize("granted", [False, True])
def test_a_body_that_is_closed_while_it_waits_for_memory(granted: bool) -> None:
    """Also when it was granted its memory in this turn, and its task has not been stepped yet."""
    memory = WeightedSemaphore(100)
    first, second = Body(Stuck(), 60, 80, memory), Body(Stuck(), 60, 80, memory)
    begin(first.read())
    reading = second.read()
    begin(reading)
    if granted:
        first.close()
    second.close()
    first.close()
    reading.close()
    assert memory.used == 0
    assert memory.acquire(100) is None
