"""Compressed files: one job for all who ask, a bound that is kept, files let go when they should.

The stage stands in for the pool: it holds jobs until the test lets them run, one by one.
"""

import gzip
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import Cancelled, File, Future, PoolFull, Response
from reactor.messages.request import BaseRequest
from reactor.tasks.futures import Lane
from reactor.web.compression import encoders
from reactor.web.static.compressed_cache import (
    ENTRY_BYTES,
    STREAMED_BYTES,
    WINDOW_BYTES,
    CompressedCache,
    stream,
)
from reactor.web.streams import BodyStream
from tests.conftest import Serve
from tests.support.coroutine_driver import Play, Stage, drive
from tests.support.zstd_double import decode

TEXT = b"".join(b"line %d of a text\n" % number for number in range(5000))
VERSION = (1, 2, 3, 4, 5)


pytestmark = pytest.mark.usefixtures("zstd_or_double")


class WatchedFile(File):
    """Records the reads, and when it is closed; fails and shrinks when the test says so."""

    def __init__(self, path: Path, text: bytes = TEXT) -> None:
        path.write_bytes(text)
        super().__init__(os.open(path, os.O_RDONLY), len(text))
        self.reads: list[tuple[int, int]] = []
        self.error: Exception | None = None

    def load(self, offset: int, count: int) -> bytes:
        assert not self.closed, "read after the last who held it let go"
        self.reads.append((offset, count))
        if self.error is not None:
            raise self.error
        return super().load(offset, count)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[WatchedFile]:
    watched = WatchedFile(tmp_path / "file")
    yield watched
    if not watched.closed:
        watched.release()
    assert watched.closed


class Backstage(Stage):
    """A stage that holds jobs, with the lane of each; full lanes refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.holding = True
        self.lanes: list[Lane] = []
        self.full: set[Lane] = set()

    def submit(self, lane: Lane, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if lane in self.full:
            if lane is Lane.COMPRESSION:
                raise PoolFull
            future: Future[Any] = Future()
            future.set_exception(PoolFull())
            return future
        self.lanes.append(lane)
        return super().submit(lane, function, *arguments)

    def run_next(self) -> None:
        self.jobs.pop(0)()


class Asking:
    """A request that waits for a file."""

    def __init__(
        self,
        files: CompressedCache,
        file: File,
        stage: Stage,
        coding: str = "gzip",
        version: Any = VERSION,
    ) -> None:
        self.play = Play(files.make(file, version, coding), stage)
        self.future = None if self.play.operation is None else self.play.operation.start(stage)

    @property
    def done(self) -> bool:
        return self.future is None or self.future.done

    @property
    def response(self) -> bytes | None:
        """The result, or the error raised."""
        assert self.done
        if self.future is not None:
            self.play.resume(self.future)
        result: bytes | None = self.play.result
        return result

    def cancel(self) -> None:
        with pytest.raises(Cancelled):
            self.play.throw(Cancelled())


def make(files: CompressedCache, file: File, version: Any = VERSION, coding: str = "gzip") -> bytes:
    data = drive(files.make(file, version, coding))
    assert data is not None
    return data


# --- making --------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [0, 1, 1000, WINDOW_BYTES, WINDOW_BYTES + 1, 3 * WINDOW_BYTES])
def test_the_result_is_the_file_in_the_coding(tmp_path: Path, coding: str, size: int) -> None:
    text = (TEXT * 10)[:size]
    file = WatchedFile(tmp_path / "file", text)
    files = CompressedCache(1 << 24)
    data = make(files, file, coding=coding)
    assert decode(data, coding) == text
    assert files.get(VERSION, coding) is data
    file.release()
    assert file.closed


def test_a_file_is_read_in_the_lane_of_files_before_it_is_compressed(file: WatchedFile) -> None:
    """So no cold disk is waited for by a thread that compresses."""
    stage, files = Backstage(), CompressedCache(1 << 20)
    asking = Asking(files, file, stage)
    assert stage.lanes == [Lane.FILES]
    stage.run_next()
    assert stage.lanes == [Lane.FILES, Lane.COMPRESSION]
    assert sum(count for _, count in file.reads) == len(TEXT)
    assert max(count for _, count in file.reads) <= WINDOW_BYTES
    assert not asking.done
    assert files.get(VERSION, "gzip") is None
    stage.run_next()
    data = asking.response
    assert data is not None
    assert gzip.decompress(data) == TEXT
    assert not stage.jobs
    assert file.holders == 1


def test_a_file_is_known_by_version_and_coding(tmp_path: Path) -> None:
    files = CompressedCache(1 << 20)
    for version in ("old", "new"):
        file = WatchedFile(tmp_path / "file", version.encode())
        for coding in ("gzip", "zstd"):
            make(files, file, version, coding)
        file.release()
    assert len(files) == 4
    for version in ("old", "new"):
        for coding in ("gzip", "zstd"):
            kept = files.get(version, coding)
            assert kept is not None
            assert decode(kept, coding) == version.encode()
    assert files.get("other", "gzip") is None


def test_an_entry_is_not_made_again(file: WatchedFile) -> None:
    files, stage = CompressedCache(1 << 20), Backstage()
    data = make(files, file)
    assert Asking(files, file, stage).response is data
    assert not stage.lanes


def test_requests_during_a_job_share_it(file: WatchedFile, tmp_path: Path) -> None:
    """Also those who have opened the file for themselves."""
    stage, files = Backstage(), CompressedCache(1 << 20)
    other = WatchedFile(tmp_path / "file")
    asking = [Asking(files, file, stage), Asking(files, other, stage)]
    stage.run_next()
    asking.append(Asking(files, file, stage))
    assert len(stage.jobs) == 1
    stage.run_next()
    responses = [one.response for one in asking]
    assert responses[0] is not None
    assert responses[0] is responses[1] is responses[2]
    assert (file.holders, other.holders, other.reads) == (1, 1, [])
    other.release()


def test_different_codings_and_versions_are_different_jobs(file: WatchedFile) -> None:
    stage, files = Backstage(), CompressedCache(1 << 20)
    asking = [
        Asking(files, file, stage, coding, version)
        for coding in ("gzip", "zstd")
        for version in (1, 2)
    ]
    for _ in range(8):
        stage.run_next()
    assert not stage.jobs
    assert len({id(one.response) for one in asking}) == 4
    assert len(files) == 4
    assert file.holders == 1


# --- cancelling, failing -------------------------------------------------------------------------


@pytest.mark.parametrize("leaving", [0, 1])
@pytest.mark.parametrize("jobs", [0, 1])
def test_one_is_cancelled_and_the_other_gets_it(file: WatchedFile, leaving: int, jobs: int) -> None:
    stage, files = Backstage(), CompressedCache(1 << 20)
    asking = [Asking(files, file, stage), Asking(files, file, stage)]
    for _ in range(jobs):
        stage.run_next()
    asking[leaving].cancel()
    for _ in range(2 - jobs):
        stage.run_next()
    data = asking[1 - leaving].response
    assert data is not None
    assert files.get(VERSION, "gzip") is data
    assert file.holders == 1


def test_all_are_cancelled_before_it_is_read_and_nothing_is_compressed(file: WatchedFile) -> None:
    stage, files = Backstage(), CompressedCache(1 << 20)
    asking = [Asking(files, file, stage), Asking(files, file, stage)]
    for one in asking:
        one.cancel()
    assert file.holders == 3  # one is held by the work, one by its job
    stage.run_next()
    assert stage.lanes == [Lane.FILES]
    assert not stage.jobs
    assert file.holders == 1
    assert make(files, file)  # and who asks later begins anew


def test_a_request_after_all_have_left_shares_the_same_job(file: WatchedFile) -> None:
    stage, files = Backstage(), CompressedCache(1 << 20)
    Asking(files, file, stage).cancel()
    asking = Asking(files, file, stage)
    stage.run_next()
    stage.run_next()
    assert asking.response is not None
    assert stage.lanes == [Lane.FILES, Lane.COMPRESSION]


def test_all_give_up_while_it_is_compressed_and_it_is_kept(file: WatchedFile) -> None:
    stage, files = Backstage(), CompressedCache(1 << 20)
    asking = Asking(files, file, stage)
    stage.run_next()
    asking.cancel()
    stage.run_next()
    assert files.get(VERSION, "gzip") is not None
    assert file.holders == 1


def test_the_caller_may_release_the_file_at_once(file: WatchedFile) -> None:
    """As when it is put out of the cache of open files: the jobs hold it themselves."""
    stage, files = Backstage(), CompressedCache(1 << 20)
    asking = Asking(files, file, stage)
    file.release()
    stage.run_next()
    stage.run_next()
    assert asking.response is not None
    assert file.closed


@pytest.mark.parametrize("full", [Lane.COMPRESSION, Lane.FILES])
def test_a_full_pool_gives_none_and_later_is_another_time(file: WatchedFile, full: Lane) -> None:
    stage, files = Backstage(), CompressedCache(1 << 20)
    stage.full.add(full)
    asking = [Asking(files, file, stage), Asking(files, file, stage)]
    while stage.jobs:
        stage.run_next()
    assert [one.response for one in asking] == [None, None]
    assert len(files) == 0
    assert file.holders == 1
    assert make(files, file)


@pytest.mark.parametrize("when", [0, 1])
def test_a_file_that_shrinks_gives_none(file: WatchedFile, tmp_path: Path, when: int) -> None:
    stage, files = Backstage(), CompressedCache(1 << 20)
    asking = Asking(files, file, stage)
    for job in range(2):
        if job == when:
            os.truncate(tmp_path / "file", len(TEXT) - 1)
        if stage.jobs:
            stage.run_next()
    assert asking.response is None
    assert stage.lanes == [Lane.FILES, Lane.COMPRESSION][: when + 1]
    assert len(files) == 0
    assert file.holders == 1


def test_a_file_that_grows_is_served_as_it_was(file: WatchedFile, tmp_path: Path) -> None:
    with (tmp_path / "file").open("ab") as end:
        end.write(b"more")
    assert gzip.decompress(make(CompressedCache(1 << 20), file)) == TEXT


@pytest.mark.parametrize("when", [0, 1])
def test_an_error_of_the_disk_is_raised_for_all_and_not_kept(file: WatchedFile, when: int) -> None:
    stage, files = Backstage(), CompressedCache(1 << 20)
    asking = [Asking(files, file, stage), Asking(files, file, stage)]
    for _ in range(when):
        stage.run_next()
    file.error = OSError(5, "on purpose")
    stage.run_next()
    assert not stage.jobs
    for one in asking:
        with pytest.raises(OSError, match="on purpose"):
            one.response  # noqa: B018
    assert file.holders == 1
    file.error = None
    assert make(files, file)


# --- the bound -----------------------------------------------------------------------------------


def test_the_bound_is_exact() -> None:
    size = 1000
    files = CompressedCache(10 * (size + ENTRY_BYTES))
    for version in range(10):
        files._keep((version, "gzip"), bytes(size))
    assert len(files) == 10
    assert files.bytes == 10 * (size + ENTRY_BYTES)
    files._keep((10, "gzip"), b"")  # one entry more, however small
    assert len(files) == 10
    assert files.bytes == 9 * (size + ENTRY_BYTES) + ENTRY_BYTES
    assert files.get(0, "gzip") is None


def test_the_least_recently_used_is_evicted_first() -> None:
    files = CompressedCache(10 * (100 + ENTRY_BYTES))
    for version in range(10):
        files._keep((version, "gzip"), bytes(100))
    assert files.get(0, "gzip") is not None
    assert files.get(3, "gzip") is not None
    for version in range(10, 18):
        files._keep((version, "gzip"), bytes(100))
    left = [version for version in range(18) if files.get(version, "gzip") is not None]
    assert left == [0, 3, *range(10, 18)]


def test_a_result_of_more_than_an_eighth_is_returned_but_not_kept(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(4000)
    file = WatchedFile(tmp_path / "file", noise)
    size = len(encoders.gzip_bytes(noise)) + ENTRY_BYTES
    for most, count in ((8 * size, 1), (8 * size - 1, 0)):
        files = CompressedCache(most)
        assert gzip.decompress(make(files, file)) == noise
        assert len(files) == count
        assert files.bytes == count * size
    file.release()


@settings(max_examples=100)
@given(
    most=st.integers(0, 20_000),
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3000), st.booleans()), max_size=60),
)
def test_the_cache_against_a_list(most: int, steps: list[tuple[int, int, bool]]) -> None:
    files = CompressedCache(most)
    model: list[tuple[int, int]] = []  # version and size, the one used last is last
    for version, size, asked in steps:
        found = [one for one in model if one[0] == version]
        data = files.get(version, "gzip")
        assert (data is not None) == bool(found)
        for one in found:
            assert data is not None
            assert len(data) == one[1]
            model.remove(one)
            model.append(one)
        if not found and not asked:
            files._keep((version, "gzip"), bytes(size))
            if 8 * (size + ENTRY_BYTES) <= most:
                model.append((version, size))
        while sum(size + ENTRY_BYTES for _, size in model) > most:
            del model[0]
        assert files.bytes == sum(size + ENTRY_BYTES for _, size in model) <= most
        assert len(files) == len(model)


# --- large files, streamed -----------------------------------------------------------------------


def test_a_stream_is_the_file_in_the_coding() -> None:
    assert STREAMED_BYTES == 8 << 20
    assert WINDOW_BYTES == 256 << 10


def collect(pieces: BodyStream, stage: Stage | None = None) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            play = Play(pieces.__anext__(), stage or Stage())
            while play.operation is not None:
                play.step()
        except StopAsyncIteration:
            return found
        found.append(play.result)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [0, 1, WINDOW_BYTES, 2 * WINDOW_BYTES + 1])
def test_a_stream_is_the_file_window_by_window(tmp_path: Path, coding: str, size: int) -> None:
    text = (TEXT * 10)[:size]
    file = WatchedFile(tmp_path / "file", text)
    body = stream(file, size, coding)
    assert file.holders == 2
    file.release()  # the caller's
    found = collect(body)
    assert len(found) == -(-size // WINDOW_BYTES) + 1
    assert decode(b"".join(found), coding) == text
    assert file.holders == 1
    drive(body.aclose())
    assert file.closed


def test_the_lanes_of_a_stream(tmp_path: Path) -> None:
    file = WatchedFile(tmp_path / "file", bytes(2 * WINDOW_BYTES))
    stage = Backstage()
    stage.holding = False
    body = stream(file, file.size, "gzip")
    collect(body, stage)
    assert stage.lanes == [Lane.FILES, Lane.STREAMS] * 2
    assert [count for _, count in file.reads] == [WINDOW_BYTES] * 2
    drive(body.aclose())
    file.release()


def test_a_stream_ends_where_it_was_said(file: WatchedFile) -> None:
    body = stream(file, 1000, "gzip")
    assert gzip.decompress(b"".join(collect(body))) == TEXT[:1000]
    drive(body.aclose())


@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
def test_a_stream_lets_go_of_its_file_once_wherever_it_is_closed(
    tmp_path: Path, pieces: int
) -> None:
    file = WatchedFile(tmp_path / "file", bytes(2 * WINDOW_BYTES))
    body = stream(file, file.size, "gzip")
    for _ in range(pieces):
        drive(body.__anext__())
    for _ in range(2):
        drive(body.aclose())
        assert file.holders == 1
        with pytest.raises(StopAsyncIteration):
            drive(body.__anext__())
    file.release()


def test_a_job_holds_the_file_when_the_stream_is_closed_before_its_end(file: WatchedFile) -> None:
    """Otherwise it would read from another file that has got the descriptor's number."""
    stage = Backstage()
    body = stream(file, file.size, "gzip")
    file.release()
    waiting = Play(body.__anext__(), stage)
    waiting.operation.start(stage)
    with pytest.raises(Cancelled):
        waiting.throw(Cancelled())
    drive(body.aclose())
    assert file.holders == 1
    stage.run_next()
    assert file.closed


def test_a_file_that_shrinks_is_no_end(file: WatchedFile, tmp_path: Path) -> None:
    body = stream(file, file.size, "gzip")
    os.truncate(tmp_path / "file", 10)
    with pytest.raises(EOFError):
        drive(body.__anext__())
    with pytest.raises(StopAsyncIteration):
        drive(body.__anext__())
    drive(body.aclose())
    assert file.holders == 1


def test_a_disk_that_fails(file: WatchedFile) -> None:
    body = stream(file, file.size, "gzip")
    file.error = OSError(5, "on purpose")
    with pytest.raises(OSError, match="on purpose"):
        drive(body.__anext__())
    drive(body.aclose())
    assert file.holders == 1


# --- through a server ----------------------------------------------------------------------------


def test_files_through_a_server(serve: Serve, tmp_path: Path) -> None:
    """On real threads, both ways; a client that leaves takes its stream's hold along."""
    text = TEXT * 20
    file = WatchedFile(tmp_path / "file", text)
    files = CompressedCache(1 << 24)
    fields = [("Content-Encoding", "gzip")]

    async def handle(request: BaseRequest) -> Response:
        if request.path == "/streamed":
            return Response(200, stream(file, file.size, "gzip"), fields)
        data = await files.make(file, VERSION, "gzip")
        return Response(500) if data is None else Response(200, data, fields)

    running = serve(handle)
    clients = [running.connect() for _ in range(5)]
    for path in ("/kept", "/streamed"):
        for client in clients:
            client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        for client in clients:
            assert gzip.decompress(client.read_response().body) == text
    client = running.connect(receive_buffer=4096)
    client.send(b"GET /streamed HTTP/1.1\r\nHost: x\r\n\r\n")
    client.read_until(b"\r\n\r\n")
    client.reset()
    assert running.connect().ask("/streamed", method="HEAD").status == 200
    running.wait_until(lambda: file.holders == 1)
    running.call(file.release)
    assert file.closed
    assert len(files) == 1
