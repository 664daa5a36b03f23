"""Bodies of requests: pieces, the whole, limits, and the memory that all bodies share."""

from collections.abc import Coroutine
from typing import Any

import pytest

from reactor import Body, ProtocolError
from reactor.errors import Cancelled
from reactor.messages.body import NO_BODY, PIECE_BYTES
from reactor.tasks.semaphore import WeightedSemaphore
from tests.support.coroutine_driver import Feed, Play, Stage, drive

MEMORY = 1000


def body_of(
    *pieces: bytes | BaseException,
    length: int | None = None,
    memory: WeightedSemaphore | None = None,
) -> Body:
    """A body of these pieces, of which 100 bytes may be held in memory."""
    return Body(Feed(*pieces), length, 100, memory or WeightedSemaphore(MEMORY))


def refused(coroutine: Coroutine[Any, Any, Any]) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as caught:
        drive(coroutine)
    return caught.value.status, caught.value.reason


def test_pieces_come_as_they_arrive() -> None:
    body = body_of(b"one", b"two")
    assert [drive(body.read(2)) for _ in range(5)] == [b"on", b"e", b"tw", b"o", b""]


def test_the_whole() -> None:
    for length in (6, None):
        assert drive(body_of(b"one", b"two", length=length).read()) == b"onetwo"


def test_the_rest_behind_a_piece() -> None:
    body = body_of(b"one", b"two")
    assert drive(body.read(1)) == b"o"
    assert drive(body.read()) == b"netwo"


def test_a_body_is_an_asynchronous_iterator() -> None:
    async def collect(body: Body) -> list[bytes]:
        return [piece async for piece in body]

    large = b"x" * (PIECE_BYTES + 1)
    assert drive(collect(body_of(b"one", large))) == [b"one", large[:-1], b"x"]


def test_nothing_is_pulled_for_nothing() -> None:
    feed = Feed(b"one")
    body = Body(feed, None, 100, WeightedSemaphore(MEMORY))
    assert drive(body.read(0)) == b""
    assert feed.pulls == 0


def test_an_empty_body() -> None:
    for most in (-1, 0, 1):
        assert drive(NO_BODY.read(most)) == b""
    NO_BODY.limit(0)  # it is shared by all requests without a body
    assert not NO_BODY.inform(103)
    assert NO_BODY.length == 0


@pytest.mark.parametrize("status", [400, 408])
def test_an_error_of_the_source_is_raised_by_the_pull(status: int) -> None:
    error = ProtocolError(status, "It is broken.")
    for most in (-1, 10):
        body = body_of(b"", error) if most > 0 else body_of(b"one", error)
        if most > 0:
            drive(body.read(most))
        assert refused(body.read(most)) == (status, "It is broken.")


# --- limits --------------------------------------------------------------------------------------


def test_a_body_that_announces_too_much_is_refused_before_it_is_pulled() -> None:
    feed = Feed(b"x" * 101)
    body = Body(feed, 101, 100, WeightedSemaphore(MEMORY))
    assert refused(body.read()) == (413, "The request's body is larger than 100 bytes.")
    assert feed.pulls == 0


def test_a_chunked_body_is_refused_at_the_first_byte_too_many() -> None:
    assert drive(body_of(b"x" * 60, b"x" * 40).read()) == b"x" * 100
    assert refused(body_of(b"x" * 60, b"x" * 41).read())[0] == 413


def test_pieces_have_no_limit_but_one_that_is_set() -> None:
    body = body_of(b"x" * 90, b"x" * 90)
    assert len(drive(body.read(200))) + len(drive(body.read(200))) == 180
    body = body_of(b"x" * 90, b"x" * 90)
    body.limit(150)
    assert len(drive(body.read(200))) == 90
    assert refused(body.read(200)) == (413, "The request's body is larger than 150 bytes.")
    assert refused(body.read(200))[0] == 413, "and so is every later pull"


def test_a_limit_can_be_lowered_and_not_raised() -> None:
    body = body_of(b"x" * 50)
    body.limit(40)
    body.limit(1000)
    assert refused(body.read()) == (413, "The request's body is larger than 40 bytes.")


# --- memory --------------------------------------------------------------------------------------


def test_memory_is_held_until_the_body_is_closed() -> None:
    memory = WeightedSemaphore(MEMORY)
    for length in (3, None):
        body = body_of(b"one", length=length, memory=memory)
        assert drive(body.read()) == b"one"
        assert memory.used == 3, "no more than the bytes that came"
        body.close()
        assert memory.used == 0


def test_a_body_waits_for_room_before_it_is_pulled() -> None:
    memory = WeightedSemaphore(MEMORY)
    assert memory.acquire(MEMORY) is None
    feed = Feed(b"one")
    body = Body(feed, 3, 100, memory)
    play = Play(body.read(), Stage())
    assert feed.pulls == 0
    room: Any = play.operation
    memory.release(MEMORY)
    play.resume(room)
    while play.operation is not None:
        play.step()
    assert play.result == b"one"
    assert memory.used == 3


@pytest.mark.parametrize("granted", [False, True])
def test_a_body_that_is_closed_while_it_waits_leaves_nothing_taken(granted: bool) -> None:
    memory = WeightedSemaphore(MEMORY)
    assert memory.acquire(MEMORY) is None
    body = body_of(b"one", length=3, memory=memory)
    play = Play(body.read(), Stage())
    room = play.operation
    if granted:
        memory.release(MEMORY)
    body.close()
    if not granted:
        with pytest.raises(Cancelled):
            play.resume(room)
        memory.release(MEMORY)
    assert memory.used == 0
    assert memory.waiting == 0
    play.close()


# --- before and after the response ---------------------------------------------------------------


def test_a_closed_body_cannot_be_read() -> None:
    body = body_of(b"one")
    body.close()
    with pytest.raises(RuntimeError, match="after its response"):
        drive(body.read())
    assert not body.inform(103)


def test_informational_responses_go_to_the_source() -> None:
    feed = Feed()
    body = Body(feed, None, 100, WeightedSemaphore(MEMORY))
    assert body.inform(103, [("Link", "</a>")])
    assert feed.informed == [(103, ("Link", "</a>"))]
