"""Bodies of requests: pieces, the whole, limits, and the memory that all bodies share."""

import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from reactor import Body, Future, ProtocolError
from reactor.messages.body import NO_BODY, PIECE_BYTES, SMALL_PIECE_BYTES
from tests.support.coroutine_driver import Feed, Play, Stage, drive
from tests.support.growth import check_growth


def body_of(*pieces: bytes | BaseException, length: int | None = None) -> Body:
    """A body of these pieces, of which 100 bytes may be held in memory."""
    return Body(Feed(*pieces), length, 100)


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
    body = Body(feed, None, 100)
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


def test_a_body_that_is_held_is_read_byte_by_byte_in_linear_time() -> None:
    async def read_again(body: Body) -> None:
        await body.read()
        while await body.read(10):
            pass

    def reading(size: int) -> Callable[[], object]:
        body = Body(Feed(b"x" * size), None, 10**9)
        return lambda: drive(read_again(body))

    check_growth(reading, 1_000_000)


# --- limits --------------------------------------------------------------------------------------


def test_a_body_that_announces_too_much_is_refused_before_it_is_pulled() -> None:
    feed = Feed(b"x" * 101)
    body = Body(feed, 101, 100)
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


class Tight(Feed):
    """A source that grants memory when the test says so."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        super().__init__(*pieces)
        self.asked: list[int] = []
        self.rooms: list[Future[None]] = []
        self.released = 0

    def hold(self, size: int) -> Future[None]:
        self.asked.append(size)
        self.rooms.append(Future())
        return self.rooms[-1]

    def release(self) -> None:
        self.released += 1


def test_memory_is_held_until_the_body_is_closed() -> None:
    for length in (3, None):
        feed = Feed(b"one")
        body = Body(feed, length, 100)
        assert drive(body.read()) == b"one"
        assert body.ended
        assert feed.held == 3, "no more than the bytes that came"
        body.close()
        assert feed.held == 0
        body.close()


def test_a_body_asks_for_room_for_what_has_come_and_pulls_nothing_until_it_is_there() -> None:
    feed = Tight(b"one", b"two", b"three")
    body = Body(feed, 11, 100)
    play = Play(body.read(), Stage())
    for pulls, size in ((1, 3), (2, 6), (3, 11)):
        while not isinstance(play.operation, Future) or play.operation not in feed.rooms:
            play.step()
        assert (feed.pulls, feed.asked[-1]) == (pulls, size)
        room = feed.rooms[-1]
        room.set_result(None)
        play.resume(room)
    assert play.result == b"onetwothree"
    assert feed.pulls == 3, "the end of a body with a length is not pulled"
    body.close()
    assert feed.released == 1


@pytest.mark.parametrize("announced", [101, None])
def test_a_body_that_is_too_large_asks_for_no_room_beyond_the_limit(announced: int | None) -> None:
    feed = Feed(b"x" * 60, b"x" * 41)
    assert refused(Body(feed, announced, 100).read())[0] == 413
    assert feed.held == (0 if announced else 60)


@pytest.mark.parametrize("length", [True, False])
def test_a_body_of_small_and_large_pieces(length: bool) -> None:
    large = b"x" * SMALL_PIECE_BYTES
    pieces = [b"one", b"two", large, large, b"three", large, b"four", b"five"]
    body = Body(Feed(*pieces), sum(map(len, pieces)) if length else None, 10_000)
    content = drive(body.read())
    assert type(content) is bytes
    assert content == b"".join(pieces)


def test_small_pieces_cost_no_object_each() -> None:
    """Otherwise a body of 100 kB takes several times as much memory as is counted."""

    def measured(count: int) -> int:
        feed = Feed(*[b"%02d" % (number % 100) for number in range(count)], ProtocolError(400, ""))
        reading = Body(feed, None, 10**6).read()
        tracemalloc.start()
        try:
            refused(reading)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert measured(50_000) - measured(10) < 500_000


# --- before and after the response ---------------------------------------------------------------


def test_a_closed_body_cannot_be_read() -> None:
    body = body_of(b"one")
    body.close()
    with pytest.raises(RuntimeError, match="after its response"):
        drive(body.read())
    assert not body.inform(103)


def test_informational_responses_go_to_the_source() -> None:
    feed = Feed()
    body = Body(feed, None, 100)
    assert body.inform(103, [("Link", "</a>")])
    assert feed.informed == [(103, ("Link", "</a>"))]
