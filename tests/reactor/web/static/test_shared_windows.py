"""Windows of large files: made once for all who read them, bounded, and files let go.

The stage stands in for the pool: it holds jobs until the test lets them run, one by one.
"""

import os
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor import Cancelled, File, Future, PoolFull
from reactor.tasks.futures import Lane
from reactor.web.static.compressed_cache import ENTRY_BYTES, LARGEST_SHARE, CompressedCache
from reactor.web.static.shared_windows import SHARED_WINDOW_BYTES, SharedWindows
from reactor.web.streams import BodyStream
from tests.support.coroutine_driver import Play, Stage, drive

WINDOWS = 4
SIZE = (WINDOWS - 1) * SHARED_WINDOW_BYTES + 1000
TEXT = b"".join(b"line %d of a text\n" % number for number in range(60_000))[:SIZE]


def roomy() -> SharedWindows:
    return SharedWindows(CompressedCache(1 << 26))


class Backstage(Stage):
    """Holds jobs, with the lane of each; full lanes refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.holding = True
        self.lanes: list[Lane] = []
        self.full: set[Lane] = set()

    def submit(self, lane: Lane, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self.lanes.append(lane)
        if lane in self.full:
            future: Future[Any] = Future()
            future.set_exception(PoolFull())
            return future
        return super().submit(lane, function, *arguments)


class Reader:
    """A client that reads a stream step by step."""

    def __init__(self, body: BodyStream, stage: Stage) -> None:
        self.body = body
        self.pieces: list[bytes] = []
        self.error: BaseException | None = None
        self.ended = False
        self._stage = stage
        self._play: Play | None = None
        self._waits_for: Future[Any] | None = None

    def advance(self) -> None:
        """Go on until something has to be waited for."""
        try:
            while not self.ended and self.error is None:
                if self._play is None:
                    self._play = Play(self.body.__anext__(), self._stage)
                elif self._waits_for is not None:
                    if not self._waits_for.done:
                        return
                    waited, self._waits_for = self._waits_for, None
                    self._play.resume(waited)
                if self._play.operation is not None:
                    self._waits_for = self._play.operation.start(self._stage)
                else:
                    self.pieces.append(self._play.result)
                    self._play = None
        except StopAsyncIteration:
            self.ended = True
        except Exception as error:
            self.error = error

    def leave(self) -> None:
        assert self._play is not None
        with pytest.raises(Cancelled):
            self._play.throw(Cancelled())
        drive(self.body.aclose())


def read_all(stage: Backstage, readers: list[Reader]) -> None:
    for one in readers:
        one.advance()
    while stage.jobs:
        stage.jobs.pop(0)()
        for one in readers:
            one.advance()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    opened = File(os.open(path, os.O_RDONLY), SIZE)
    yield opened
    assert opened.holders == 1
    opened.release()


@pytest.mark.parametrize("readers", [1, 2, 900])
def test_readers_share_the_windows(file: File, readers: int) -> None:
    stage, windows = Backstage(), roomy()
    crowd = [Reader(windows.stream(file, "v"), stage) for _ in range(readers)]
    read_all(stage, crowd)
    assert stage.lanes == [Lane.FILES, Lane.STREAMS] * WINDOWS
    assert all(one.ended for one in crowd)
    bodies = {b"".join(one.pieces) for one in crowd}
    (body,) = bodies
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert decoder.decompress(body) == TEXT
    assert decoder.eof
    assert not decoder.unused_data


def test_a_later_reader_finds_what_is_kept(file: File) -> None:
    stage, windows = Backstage(), roomy()
    read_all(stage, [first := Reader(windows.stream(file, "v"), stage)])
    jobs = len(stage.lanes)
    read_all(stage, [second := Reader(windows.stream(file, "v"), stage)])
    assert len(stage.lanes) == jobs
    assert first.pieces == second.pieces
    read_all(stage, [Reader(windows.stream(file, "another version"), stage)])
    assert len(stage.lanes) == 2 * jobs


def test_the_windows_are_bounded_and_the_cache_leaves_room(file: File, tmp_path: Path) -> None:
    with (tmp_path / "file").open("r+b") as writing:
        writing.write(random.Random(0).randbytes(SIZE))  # does not shrink
    most = LARGEST_SHARE * 2 * (SHARED_WINDOW_BYTES + 1000 + ENTRY_BYTES)
    cache = CompressedCache(most)
    for number in range(100):
        cache._keep((number, "gzip"), bytes(most // 50))
    full = cache.bytes
    stage, windows = Backstage(), SharedWindows(cache)
    read_all(stage, [reader := Reader(windows.stream(file, "v"), stage)])
    assert reader.ended
    assert 0 < windows.bytes <= most // LARGEST_SHARE
    assert 1 <= len(windows) < WINDOWS
    assert cache.bytes < full
    assert cache.bytes + windows.bytes <= most


def test_no_memory_at_all_is_no_sharing_of_windows_made_before(file: File) -> None:
    stage, windows = Backstage(), SharedWindows(CompressedCache(1))
    for _ in range(2):
        read_all(stage, [reader := Reader(windows.stream(file, "v"), stage)])
        assert reader.ended
    assert (len(windows), windows.bytes) == (0, 0)
    assert len(stage.lanes) == 2 * 2 * WINDOWS


@pytest.mark.parametrize("readers", [1, 5])
def test_a_file_that_shrinks_cuts_all_streams(file: File, readers: int, tmp_path: Path) -> None:
    stage, windows = Backstage(), roomy()
    crowd = [Reader(windows.stream(file, "v"), stage) for _ in range(readers)]
    os.truncate(tmp_path / "file", SHARED_WINDOW_BYTES + 5)
    read_all(stage, crowd)
    assert {type(one.error) for one in crowd} == {EOFError}
    assert {len(one.pieces) for one in crowd} == {2}  # the head and a window
    for one in crowd:
        drive(one.body.aclose())


@pytest.mark.parametrize("lane", [Lane.FILES, Lane.STREAMS])
def test_a_full_pool_cuts_the_streams_that_wait_and_no_later_ones(file: File, lane: Lane) -> None:
    stage, windows = Backstage(), roomy()
    crowd = [Reader(windows.stream(file, "v"), stage) for _ in range(3)]
    stage.full.add(lane)
    read_all(stage, crowd)
    assert {type(one.error) for one in crowd} == {PoolFull}
    for one in crowd:
        drive(one.body.aclose())
    stage.full.clear()
    read_all(stage, [later := Reader(windows.stream(file, "v"), stage)])
    assert later.ended


def test_the_reader_who_has_begun_a_window_may_leave(file: File) -> None:
    stage, windows = Backstage(), roomy()
    first, second = (Reader(windows.stream(file, "v"), stage) for _ in range(2))
    first.advance()
    second.advance()
    first.leave()
    read_all(stage, [second])
    assert second.ended
    assert len(stage.lanes) == 2 * WINDOWS


def test_a_stream_that_is_closed_has_ended(file: File) -> None:
    stage, windows = Backstage(), roomy()
    reader = Reader(windows.stream(file, "v"), stage)
    drive(reader.body.aclose())
    reader.advance()
    assert reader.ended
    assert reader.pieces == []


def test_an_empty_file_is_an_empty_body(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    empty = File(os.open(tmp_path / "empty", os.O_RDONLY), 0)
    stage, windows = Backstage(), roomy()
    read_all(stage, [reader := Reader(windows.stream(empty, "v"), stage)])
    assert zlib.decompress(b"".join(reader.pieces), zlib.MAX_WBITS | 16) == b""
    empty.release()
