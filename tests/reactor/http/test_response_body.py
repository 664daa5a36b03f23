"""Bodies of responses on their way: responses at hand, parts in order, frames, released files."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.errors import ResponseError
from reactor.files.file import WINDOW_BYTES
from reactor.files.region import FileRegion, MultiRegion
from reactor.http.response_body import LONGEST_AT_HAND, Piece, ResponseBodyStream, at_hand
from reactor.messages.response import ResponseBody
from reactor.net.send_queue import JOIN_BYTES
from reactor.simulator import SimFile, SimNetwork
from reactor.tasks.futures import Future
from reactor.tasks.task import Runtime
from tests.support.coroutine_driver import Stage
from tests.support.inline_pool import InlineWorld

RUNTIME = cast(Runtime, Stage())
CONTENT = bytes(range(256)) * (WINDOW_BYTES // 256) + b"beyond the first window" * 20_000


def sim_file(coldness: float = 0.0, seed: int = 0) -> SimFile:
    return SimFile(SimNetwork(seed), CONTENT, coldness=coldness)


def outgoing(
    body: ResponseBody, stage: Stage | None = None, chunked: bool = False
) -> ResponseBodyStream:
    length = None if chunked else len(cast(Any, body))
    return ResponseBodyStream(body, length, chunked, cast(Runtime, stage or Stage()))


def taken(piece: Piece) -> bytes:
    """The bytes of a piece that is sent; the piece is released."""
    if not isinstance(piece, FileRegion):
        return bytes(piece)
    file = cast(SimFile, piece.file)
    data = file.stretch(piece.offset, piece.length)
    assert len(data) == piece.length
    piece.release()
    return data


def pulled(body: ResponseBodyStream) -> list[bytes]:
    """Each piece to the end, as it is framed."""
    pieces = []
    while True:
        piece = body.next_piece()
        if isinstance(piece, Future):
            piece = piece.result()
        pieces.append(b"".join(map(taken, body.frame(piece))))
        if piece is None:
            body.close()
            return pieces


# --- what is at hand -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "length", "count"),
    [
        (0, 0, 1),
        (0, 1, 1),
        (7, JOIN_BYTES, 1),
        (0, JOIN_BYTES + 1, 2),
        (7, LONGEST_AT_HAND, 2),
        (0, LONGEST_AT_HAND + 1, 0),
        (WINDOW_BYTES - 10, 20, 1),  # a short one is copied, from any place
        (WINDOW_BYTES - 100_000, 100_000, 2),
        (WINDOW_BYTES - 99_999, 100_000, 2),  # in two windows
    ],
)
def test_a_body_in_memory_that_is_not_long_is_at_hand(offset: int, length: int, count: int) -> None:
    file = sim_file()
    pieces = at_hand(b"head", FileRegion(file.hold(), offset, length), RUNTIME)
    assert len(pieces) == count
    assert file.holders == (1 if count == 1 else 2), "a copy needs no file"
    if count:
        assert b"".join(map(taken, pieces)) == b"head" + CONTENT[offset : offset + length]
        assert file.holders == 1


@pytest.mark.parametrize("length", [1, JOIN_BYTES, JOIN_BYTES + 1, LONGEST_AT_HAND])
@pytest.mark.parametrize("why", ["cold", "shorter"])
def test_a_body_that_is_not_in_memory_is_not_at_hand(length: int, why: str) -> None:
    file = sim_file(1.0 if why == "cold" else 0.0)
    if why == "shorter":
        file.shrink(length - 1)
    region = FileRegion(file.hold(), 0, length)
    assert at_hand(b"head", region, RUNTIME) == ()
    assert (file.holders, region.offset, region.length) == (2, 0, length), "it is to be pulled"


def test_bytes_at_hand_do_not_change_a_moment_later() -> None:
    """All files are read into the same memory."""
    one, other = sim_file(), sim_file()
    first = at_hand(b"", FileRegion(one, 0, 100), RUNTIME)
    at_hand(b"", FileRegion(other, 100, 100), RUNTIME)
    assert first == (CONTENT[:100],)


# --- parts ---------------------------------------------------------------------------------------


@st.composite
def stretches(draw: st.DrawFn) -> list[bytes | tuple[int, int]]:
    """Pieces of a MultiRegion: bytes, or (offset, length) of the file."""
    length = st.sampled_from([0, 1, 100, JOIN_BYTES, JOIN_BYTES + 1, 300_000])
    offset = st.sampled_from([0, 1, 5000, WINDOW_BYTES - 70_000, WINDOW_BYTES - 1, WINDOW_BYTES])
    return draw(st.lists(st.one_of(st.binary(max_size=5), st.tuples(offset, length)), max_size=8))


def parts_of(made: list[bytes | tuple[int, int]], file: SimFile) -> tuple[MultiRegion, bytes]:
    pieces: list[bytes | FileRegion] = []
    expected = b""
    for one in made:
        if isinstance(one, bytes):
            pieces.append(one)
            expected += one
        else:
            pieces.append(FileRegion(file.hold(), *one))
            expected += CONTENT[one[0] : sum(one)]
    return MultiRegion(pieces), expected


@given(made=stretches(), coldness=st.sampled_from([0.0, 0.05, 1.0]), seed=st.integers(0, 99))
def test_parts_come_in_order_hot_or_cold(
    made: list[bytes | tuple[int, int]], coldness: float, seed: int
) -> None:
    file = sim_file(coldness, seed)
    parts, expected = parts_of(made, file)
    body = outgoing(parts)
    assert b"".join(pulled(body)) == expected
    assert body.sent == len(parts)
    assert file.holders == 1


@given(made=stretches(), steps=st.integers(0, 10), data=st.data())
def test_parts_that_are_closed_release_all_files(
    made: list[bytes | tuple[int, int]], steps: int, data: st.DataObject
) -> None:
    """After any piece, and while a thread reads the next; then when the thread ends."""
    stage = Stage()
    stage.holding = True
    file = sim_file(0.05, data.draw(st.integers(0, 99)))
    parts, _ = parts_of(made, file)
    body = outgoing(parts, stage)
    for _ in range(steps):
        piece = body.next_piece()
        if isinstance(piece, Future):
            if data.draw(st.booleans()):
                break  # the job still runs
            stage.perform(range(len(stage.jobs)))
            stage.holding = True
            piece = piece.result()
        if piece is None:
            break
        for item in body.frame(piece):
            taken(item)
    body.close()
    assert file.holders == 1 + len(stage.jobs)
    stage.perform(range(len(stage.jobs)))
    assert file.holders == 1
    body.close()
    assert file.holders == 1


def test_a_file_in_parts_that_has_become_shorter_fails() -> None:
    file = sim_file()
    body = outgoing(MultiRegion([b"a", FileRegion(file.hold(), 0, 1000), b"z"]))
    assert body.next_piece() == b"a"
    file.shrink(500)
    future = body.next_piece()
    assert isinstance(future, Future)
    with pytest.raises(ResponseError, match="shorter"):
        future.result()
    body.close()
    assert file.holders == 1


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [b"", memoryview(b"")])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_empty_piece_sends_no_byte(chunked: bool, nothing: Piece) -> None:
    """A chunk of no bytes would be the last one; and no queue takes an empty item."""
    body = ResponseBodyStream(iter([b""]), None if chunked else 4, chunked, cast(Runtime, Stage()))
    assert body.frame(nothing) == ()
    assert b"".join(map(taken, body.frame(b"four"))) == (b"4\r\nfour\r\n" if chunked else b"four")
    assert body.frame(nothing) == ()
    assert body.frame(None) == ((b"0\r\n\r\n",) if chunked else ())


def test_a_body_is_held_to_its_length() -> None:
    for length, pieces in ((3, [b"four"]), (4, [b"fo", b"", b"urs"]), (5, [b"four"]), (1, [])):
        body = ResponseBodyStream(iter(pieces), length, False, cast(Runtime, Stage()))
        with pytest.raises(ResponseError):
            pulled(body)
    body = ResponseBodyStream(iter([b"fo", b"", b"ur"]), 4, False, cast(Runtime, Stage()))
    assert pulled(body) == [b"fo", b"", b"ur", b""]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_none_among_the_pieces_is_not_the_end(asynchronous: bool) -> None:
    """The body would be cut, and look whole to the client."""
    world = InlineWorld()

    def pieces() -> Iterator[Any]:
        yield from (b"one", None, b"two")

    async def later() -> AsyncIterator[Any]:
        for piece in pieces():
            yield piece

    source = later() if asynchronous else pieces()
    body = ResponseBodyStream(source, None, True, world.runtime)
    assert body.next_piece() == b"one"
    with pytest.raises(TypeError, match="has yielded None"):
        body.next_piece()
    body.close()
    world.reactor.close()


def test_a_large_chunk_is_not_copied() -> None:
    large = bytes(JOIN_BYTES + 1)
    body = ResponseBodyStream(iter([large]), None, True, cast(Runtime, Stage()))
    piece = body.next_piece()
    assert isinstance(piece, bytes)
    size, content, end = body.frame(piece)
    assert content is large
    assert (size, end) == (b"10001\r\n", b"\r\n")
