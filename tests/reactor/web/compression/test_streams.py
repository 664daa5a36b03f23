"""Streams in a content coding: a piece for a piece, decodable at once, and closed in every case.

They are driven here by hand, operation by operation, and at the end by a server.
"""

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import Cancelled, Future, PoolFull, Response, sleep
from reactor.messages.request import BaseRequest
from reactor.tasks.futures import Lane
from reactor.web.compression.encoders import INLINE_BYTES
from reactor.web.compression.streams import encode_stream
from reactor.web.streams import BodyStream, PieceSource, close_source
from tests.conftest import Serve
from tests.support.coroutine_driver import Play, Stage, drive
from tests.support.raw_client import Client
from tests.support.zstd_double import Reader, decode

LONG = INLINE_BYTES + 1
PIECES = st.lists(
    st.one_of(st.just(b""), st.binary(max_size=50), st.binary(min_size=LONG, max_size=LONG + 50)),
    max_size=5,
)


pytestmark = pytest.mark.usefixtures("zstd_or_double")


class Source:
    """An iterator whose end can be seen."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        self._pieces = iter(pieces)
        self.closed = 0

    def __iter__(self) -> "Source":
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def close(self) -> None:
        self.closed += 1


class LateSource(Source):
    """The same, asynchronous; each piece is awaited."""

    def __aiter__(self) -> "LateSource":
        return self

    async def __anext__(self) -> bytes:
        await sleep(0)
        try:
            return super().__next__()
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        await sleep(0)
        self.close()


class CountingStage(Stage):
    """Counts jobs by lane; refuses those of streams as often as `refusals` says."""

    def __init__(self, refusals: int = 0) -> None:
        super().__init__()
        self.refusals = refusals
        self.submitted: list[Lane] = []

    def submit(self, lane: Lane, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if lane is Lane.STREAMS and self.refusals:
            self.refusals -= 1
            raise PoolFull
        self.submitted.append(lane)
        return super().submit(lane, function, *arguments)


def step(stream: BodyStream, stage: Stage | None = None) -> bytes:
    """The next piece. Raises StopAsyncIteration at the end."""
    piece: bytes = play(anext(stream), stage or Stage())
    return piece


def play(awaitable: Any, stage: Stage) -> Any:
    """Run the coroutine and return its result; a failed operation raises at the await, as in a
    task.
    """
    running = Play(awaitable, stage)
    while running.operation is not None:
        try:
            future = running.operation.start(stage)
        except Exception as error:
            future = Future()
            future.set_exception(error)
        assert future.done, "this would wait for ever"
        running.resume(future)
    return running.result


def collect(stream: BodyStream, stage: Stage | None = None) -> list[bytes]:
    pieces = []
    while True:
        try:
            pieces.append(step(stream, stage))
        except StopAsyncIteration:
            return pieces


def late(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    async def generate() -> AsyncGenerator[bytes, None]:
        for piece in pieces:
            await sleep(0)
            yield piece

    return generate()


# --- pieces --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("make", [iter, lambda pieces: late(*pieces), lambda p: LateSource(*p)])
@settings(max_examples=40)
@given(pieces=PIECES)
def test_a_piece_for_each_and_one_for_the_end(
    coding: str, make: Callable[[list[bytes]], PieceSource], pieces: list[bytes]
) -> None:
    stream = encode_stream(make(pieces), coding)
    reader = Reader(coding)
    for piece in pieces:
        encoded = step(stream)
        assert type(encoded) is bytes
        assert reader.read(encoded) == piece  # all of it, before the next piece
        assert bool(encoded) == bool(piece)  # an empty piece sends nothing
        assert not reader.ended
    assert reader.read(step(stream)) == b""
    assert reader.ended
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            step(stream)


def test_long_pieces_are_encoded_on_threads_and_short_ones_are_not() -> None:
    for source in (iter, lambda pieces: late(*pieces)):
        stage = CountingStage()
        texts = [b"s" * INLINE_BYTES, b"l" * LONG, b"", b"x", b"m" * 10 * LONG]
        encoded = collect(encode_stream(source(texts), "gzip"), stage)
        assert stage.submitted == [Lane.STREAMS] * 2
        assert decode(b"".join(encoded), "gzip") == b"".join(texts)


def test_a_full_pool_ends_the_stream_and_nothing_follows() -> None:
    """The pool has let the piece wait for a place by then."""
    stage = CountingStage(refusals=1)
    stream = encode_stream(iter([b"x", b"l" * LONG, b"y"]), "gzip")
    step(stream, stage)
    with pytest.raises(PoolFull):
        step(stream, stage)
    with pytest.raises(StopAsyncIteration):
        step(stream)


@pytest.mark.parametrize("source_type", [Source, LateSource])
@pytest.mark.parametrize("error", [OSError("no disk"), Cancelled(), SystemExit(3), ValueError()])
def test_an_error_passes_through_and_nothing_follows(
    source_type: type[Source], error: BaseException
) -> None:
    source = source_type(b"x", error, b"y")
    stream = encode_stream(source, "gzip")
    reader = Reader("gzip")
    assert reader.read(step(stream)) == b"x"
    with pytest.raises(type(error)) as caught:
        step(stream)
    assert caught.value is error
    with pytest.raises(StopAsyncIteration):  # no trailer, which would make it look whole
        step(stream)
    assert not reader.ended
    drive(stream.aclose())
    assert source.closed == 1


def test_a_piece_that_is_not_bytes_is_an_error() -> None:
    for wrong in ("text", 7, "t" * LONG):
        with pytest.raises(TypeError):
            collect(encode_stream(iter([wrong]), "gzip"))  # type: ignore[arg-type]


def test_an_unknown_coding() -> None:
    with pytest.raises(ValueError):
        encode_stream(iter(()), "br")


# --- closing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("source_type", [Source, LateSource])
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_closing_closes_the_source_even_if_it_was_never_begun(
    source_type: type[Source], steps: int
) -> None:
    source = source_type(b"x", b"y")
    stream = encode_stream(source, "gzip")
    for _ in range(steps):
        step(stream)
    drive(stream.aclose())
    assert source.closed == 1
    with pytest.raises(StopAsyncIteration):
        step(stream)


def test_closing_closes_a_generator() -> None:
    closed = []

    def generate() -> Iterator[bytes]:
        try:
            yield b"x"
            yield b"y"
        finally:
            closed.append("plain")

    async def generate_late() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            yield b"y"
        finally:
            await sleep(0)
            closed.append("asynchronous")

    for source in (generate(), generate_late()):
        stream = encode_stream(source, "gzip")
        step(stream)
        drive(stream.aclose())
    assert closed == ["plain", "asynchronous"]


def test_a_source_that_cannot_be_closed() -> None:
    stream = encode_stream(iter([b"x"]), "gzip")
    drive(stream.aclose())
    drive(close_source(iter(())))


def test_cancelled_while_a_thread_encodes() -> None:
    """The job goes on, alone with the encoder; the stream has ended."""
    stage = Stage()
    stage.holding = True
    source = Source(b"l" * LONG, b"y")
    stream = encode_stream(source, "gzip")
    waiting = Play(stream.__anext__(), stage)
    waiting.operation.start(stage)
    with pytest.raises(Cancelled):
        waiting.throw(Cancelled())
    drive(stream.aclose())
    stage.perform([0])
    assert source.closed == 1
    with pytest.raises(StopAsyncIteration):
        step(stream)


def test_it_is_a_generator_to_the_connection() -> None:
    stream = encode_stream(Source(b"x"), "gzip")
    assert isinstance(stream, AsyncGenerator)
    assert stream.__aiter__() is stream
    assert Reader("gzip").read(drive(stream.asend(None))) == b"x"
    for error in (KeyError, KeyError("k")):
        source = Source(b"x")
        with pytest.raises(KeyError):
            drive(encode_stream(source, "gzip").athrow(error))
        assert source.closed == 1


# --- through a server ----------------------------------------------------------------------------


def read_chunk(client: Client) -> bytes:
    size = int(client.read_until(b"\r\n"), 16)
    chunk = client.read_exactly(size)
    assert client.read_exactly(2) == b"\r\n"
    return chunk


def test_an_event_is_read_before_the_next_is_made(serve: Serve) -> None:
    gates = [threading.Event() for _ in range(3)]

    async def events() -> AsyncIterator[bytes]:
        for number, gate in enumerate(gates):
            while not gate.is_set():
                await sleep(0.005)
            yield b"event %d\n" % number

    fields = [("Content-Encoding", "gzip"), ("Content-Type", "text/event-stream")]
    running = serve(lambda request: Response(200, encode_stream(events(), "gzip"), fields))
    client = running.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head = client.read_until(b"\r\n\r\n")
    assert b"chunked" in head.lower()
    reader = Reader("gzip")
    for number, gate in enumerate(gates):
        gate.set()
        assert reader.read(read_chunk(client)) == b"event %d\n" % number
    assert reader.read(read_chunk(client)) == b""
    assert reader.ended
    assert client.read_exactly(5) == b"0\r\n\r\n"


@pytest.mark.parametrize("source_type", [Source, LateSource])
def test_the_source_is_closed_when_the_body_is_not_wanted(
    serve: Serve, source_type: type[Source]
) -> None:
    """For HEAD it does not even begin."""
    sources: list[Source] = []

    def handle(request: BaseRequest) -> Response:
        sources.append(source_type(b"x"))
        return Response(200, encode_stream(sources[-1], "gzip"))

    running = serve(handle)
    assert running.connect().ask("/", method="HEAD").body == b""
    running.wait_until(lambda: [source.closed for source in sources] == [1])


def test_the_source_is_closed_when_the_client_leaves(serve: Serve) -> None:
    class Endless(LateSource):
        async def __anext__(self) -> bytes:
            await sleep(0.001)
            return b"l" * 5 * LONG

    source = Endless()
    running = serve(lambda request: Response(200, encode_stream(source, "gzip")))
    client = running.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.read_until(b"\r\n\r\n")
    client.close()
    running.wait_until(lambda: source.closed == 1)


def test_a_failed_stream_is_cut_and_looks_cut(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    source = LateSource(b"x", RuntimeError("on purpose"))
    running = serve(lambda request: Response(200, encode_stream(source, "gzip")))
    client = running.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises((ConnectionError, EOFError)):
        client.read_response()
    running.wait_until(lambda: source.closed == 1)
