"""The log writer: batches, their order, lost lines, and a loop that never waits for a disk."""

import errno
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor import Response, in_pool
from reactor.loop.reactor import Reactor
from reactor.messages.request import BaseRequest
from reactor.observe.log_file import LogFile
from reactor.observe.log_reporter import LogReporter
from reactor.observe.log_writer import (
    BATCH_BYTES,
    BATCH_SECONDS,
    CLOSE_SECONDS,
    RETRY_SECONDS,
    LogWriter,
)
from reactor.tasks.futures import Lane
from reactor.tasks.task import Runtime
from reactor.tasks.thread_pool import LOG_THREADS, ThreadPool
from tests.conftest import Serve
from tests.support.pipe_log import PipeLog
from tests.support.raw_client import TIMEOUT, request


@pytest.fixture
def log(no_leaks: None) -> Iterator[PipeLog]:
    log = PipeLog()
    yield log
    log.close()


def hello(request: BaseRequest) -> Response:
    return Response(200, b"hello")


def targets(lines: list[str]) -> list[str]:
    return [line.split('"')[1] for line in lines]


class World:
    """A loop without sockets, its pool, and a log in a file."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.file = LogFile.open(str(path))
        self.reactor = Reactor(clock=clock)
        self.pool = ThreadPool(self.reactor, 2, 10, 5.0)
        self.runtime = Runtime(self.reactor, self.pool, 1.0)

    def writer(self, limit: int = 1 << 20, delay: float = BATCH_SECONDS) -> LogWriter:
        return LogWriter(self.file, self.runtime, limit, delay)

    def run_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < until, "it did not come true"
            self.reactor.run_once(0.01)

    def close(self) -> None:
        self.pool.close()
        self.reactor.close()
        os.close(self.file.descriptor)


@pytest.fixture
def world(no_leaks: None, tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "log")
    yield world
    world.close()


def test_lines_are_written_in_batches_and_soon(serve: Serve, log: PipeLog) -> None:
    running = serve(hello, access_log=log.writer)
    client = running.connect()
    for _ in range(100):
        client.ask()
    began = time.monotonic()
    while log.text.count("\n") < 100:
        assert time.monotonic() < began + TIMEOUT
        time.sleep(0.01)
    assert time.monotonic() < began + BATCH_SECONDS + 10


def test_no_line_is_lost_at_the_end(serve: Serve, log: PipeLog) -> None:
    """Lines in memory, a batch on its way to a thread, a batch being written: all in order."""
    running = serve(lambda request: hello(request), access_log=log.writer)
    client = running.connect()
    for number in range(2000):
        client.ask(f"/{number}")
    assert targets(log.end(running)) == [f"GET /{number} HTTP/1.1" for number in range(2000)]


def test_a_disk_that_is_stuck_does_not_stop_the_server(serve: Serve, log: PipeLog) -> None:
    """Lines beyond the limit are lost and counted, and the count is logged; the order is kept."""
    running = serve(hello, access_log=log.writer, log_bytes=100_000)
    client = running.connect()
    log.go.clear()
    client.ask("/first")
    time.sleep(0.1)
    total = 5000
    for start in range(0, total, 100):
        client.send(b"".join(request(f"/{n}") for n in range(start, start + 100)))
        for _ in range(100):
            assert client.read_response().status == 200
    log.go.set()
    client.ask("/last")
    lines = log.end(running)
    counts = [line for line in lines if line.startswith("# ")]
    kept = [line for line in lines if not line.startswith("# ")]
    assert sum(int(line.split()[1]) for line in counts) + len(kept) == total + 2
    assert counts
    assert "lines were lost: the log could not be written" in counts[0]
    numbers = [int(m[1]) for line in kept if (m := re.search(r"/([0-9]+) HTTP", line))]
    assert numbers == sorted(numbers)


def test_a_pool_that_is_busy_loses_no_lines(serve: Serve, log: PipeLog) -> None:
    """The one thread hangs, the one place is taken, and the log's job is refused and made later."""
    gate = threading.Event()

    async def handler(request: BaseRequest) -> Response:
        if request.path == "/hang":
            await in_pool(gate.wait, TIMEOUT)
        return hello(request)

    running = serve(handler, access_log=log.writer, pool_threads=1, pool_jobs=1, pool_timeout=0.05)
    clients = [running.connect() for _ in range(2)]
    for client in clients:
        client.send(request("/hang"))
    quick = running.connect()
    for number in range(5):
        quick.ask(f"/{number}")
        time.sleep(0.15)
    gate.set()
    for client in clients:
        client.read_response()
    lines = targets(log.end(running))
    assert [line for line in lines if "hang" not in line] == [
        f"GET /{number} HTTP/1.1" for number in range(5)
    ]


def test_a_log_that_cannot_be_written_is_counted(serve: Serve) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        running = serve(hello, access_log=writer)
        client = running.connect()
        for _ in range(3):
            assert client.ask().status == 200
        lines = running.server._logs.writers["access"]
        running.wait_until(lambda: lines.lost == 3)
    finally:
        running.stop()
        os.close(writer)


# --- without a server ----------------------------------------------------------------------------


def test_lines_of_any_text_are_utf_8(world: World) -> None:
    writer = world.writer()
    writer.write("caf\xe9 \u2603 \ud800\n")
    writer.close()
    assert world.path.read_bytes() == "caf\xe9 \u2603 \\ud800\n".encode()


def test_without_a_delay_a_line_leaves_though_the_loop_does_not_turn(world: World) -> None:
    """A thread writes it: the last lines before a loop hangs can be read."""
    writer = world.writer(delay=0.0)
    writer.write("now\n")
    until = time.monotonic() + TIMEOUT
    while world.path.read_text() != "now\n":
        assert time.monotonic() < until
        time.sleep(0.005)
    writer.write("while the first is on its way\n")
    world.run_until(lambda: world.path.read_text().endswith("way\n"))


def test_a_line_of_another_thread_is_there_when_it_goes_on(world: World) -> None:
    writer = world.writer()
    writer.write("one that waits\n")
    assert writer.write_now("two\n")
    assert world.path.read_text() == "two\n"
    writer.close()
    assert world.path.read_text() == "two\none that waits\n"


def test_a_renamed_file_is_left_and_no_line_is_lost(world: World) -> None:
    """Lines are written while the file is renamed again and again; each is whole, in one file."""
    writer = world.writer(limit=100 * BATCH_BYTES, delay=0.001)
    old: list[Path] = []
    count = 0
    for turn in range(20):
        for _ in range(500):  # more than a batch, which waits for no timer
            writer.write(f"{count} {'x' * (BATCH_BYTES // 500)}\n")
            count += 1
        world.reactor.run_once(0)
        old.append(world.path.with_suffix(f".{turn}"))
        world.path.rename(old[-1])
        writer.reopen()
        world.run_until(world.path.exists)
    writer.close()
    files = [path.read_text() for path in (*old, world.path)]
    assert all(text == "" or text.endswith("\n") for text in files)
    assert len([text for text in files if text]) > 5
    numbers = [int(line.split()[0]) for text in files for line in text.splitlines()]
    assert numbers == list(range(count))


def test_a_reopened_file_has_the_same_descriptor_and_is_not_inherited(world: World) -> None:
    before = world.file.descriptor
    world.path.unlink()
    world.file.reopen()
    assert world.file.descriptor == before
    assert os.fstat(before).st_ino == world.path.stat().st_ino
    assert not os.get_inheritable(before)


def test_a_file_that_cannot_be_reopened_is_kept(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    writer = world.writer()
    moved = world.path.with_suffix(".1")
    world.path.rename(moved)
    world.path.mkdir()
    with caplog.at_level(logging.ERROR, logger="reactor"):
        writer.reopen()
        world.run_until(lambda: bool(caplog.records))
    assert caplog.messages == [f"Cannot reopen the log {str(world.path)!r}: is a directory"]
    writer.write("still here\n")
    writer.close()
    assert moved.read_text() == "still here\n"


def test_a_log_without_a_path_is_not_reopened(world: World) -> None:
    reader, end = os.pipe()
    try:
        before = os.fstat(end)
        LogFile(end).reopen()
        assert os.fstat(end) == before
    finally:
        os.close(reader)
        os.close(end)


def test_a_count_that_is_lost_with_its_line_is_reported_again(world: World) -> None:
    """A disk is full for a while: in the end the written and the reported lines are all lines."""
    writer = world.writer(delay=0.001)
    good = world.file.descriptor
    bad = os.open(world.path, os.O_RDONLY)
    try:
        world.file.descriptor = bad
        for turn in range(1, 6):
            writer.write(f"lost {turn}\n")
            world.run_until(lambda turn=turn: writer.lost == turn)  # type: ignore[misc]
        world.file.descriptor = good
        writer.write("kept\n")
        world.run_until(lambda: "kept" in world.path.read_text())
        writer.close()
    finally:
        world.file.descriptor = good
        os.close(bad)
    lines = world.path.read_text().splitlines()
    counts = [int(line.split()[1]) for line in lines if line.startswith("# ")]
    assert sum(counts) == 5
    assert [line for line in lines if not line.startswith("# ")] == ["kept"]
    assert writer.lost == 5


@pytest.mark.parametrize("delay", [0.0, 0.001])
@pytest.mark.parametrize("error", [MemoryError, SystemExit, ZeroDivisionError])
def test_no_error_of_a_batch_ends_the_log(
    world: World,
    delay: float,
    error: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The death of the thread reaches the writer as an error, too, and is no end either."""
    failures = [1, 2]

    def fail(data: memoryview) -> int:
        if failures:
            failures.pop()
            raise error
        return os.write(world.file.descriptor, data)

    monkeypatch.setattr(world.file, "_write_some", fail)
    reporter = LogReporter("access log", world.file)
    writer = LogWriter(world.file, world.runtime, 1 << 20, delay, reporter)
    lines = [f"line {number}\n" for number in range(5)]
    for line in lines:
        writer.write(line)
        world.reactor.run_once(0.01)
    world.run_until(lambda: not world.file.held and not failures)
    writer.write("last\n")
    world.run_until(lambda: "last" in world.path.read_text())
    assert world.path.read_text() == "".join([*lines, "last\n"])
    assert writer.lost == 0
    said = f"Cannot write the access log {str(world.path)!r}: {error.__name__}; "
    assert [message.startswith(said) for message in caplog.messages] == [True, False]
    assert "is written again" in caplog.messages[1]


def test_a_log_is_reopened_when_the_disk_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """While it hangs, the thread of the other log stays free."""
    writer = world.writer()
    moved = world.path.with_suffix(".1")
    world.path.rename(moved)
    with world.file._writing:  # as a thread that hangs in its write
        for _ in range(LOG_THREADS):
            writer.reopen()
        other = world.pool.submit(Lane.LOGS, int)
        world.run_until(lambda: other.done)
        assert not world.path.exists()
    world.run_until(world.path.exists)
    writer.write("line\n")
    world.run_until(lambda: world.path.read_text() == "line\n")
    assert not caplog.messages
    assert not moved.read_text()


@pytest.mark.parametrize("limit", [100, 199, 200, 201, 1000, BATCH_BYTES])
def test_a_small_limit_loses_no_line_of_a_disk_that_works(world: World, limit: int) -> None:
    """A batch begins before the limit is reached, though lines may wait for others for long."""
    writer = world.writer(limit, delay=1000.0)
    line = "a" * 99 + "\n"
    count = 5 + 2 * limit // len(line)
    for _ in range(count):
        writer.write(line)
        world.run_until(lambda: writer._size <= limit // 2)
    writer.close()
    assert writer.lost == 0
    assert world.path.read_text() == line * count


def test_a_thread_is_woken_once_for_the_lines_of_a_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the number of bytes where many lines come, in their order and without a loss."""
    jobs: list[object] = []
    submit = world.pool.submit

    def count(lane: Lane, function: Callable[..., Any], *arguments: Any) -> Any:
        jobs.append(function)
        return submit(lane, function, *arguments)

    monkeypatch.setattr(world.pool, "submit", count)
    writer = world.writer(delay=1000.0)
    lines = [f"{number:07} {'x' * 91}\n" for number in range(10_000)]  # 100 bytes each
    for line in lines:
        writer.write(line)
        if writer._attention == writer._limit:  # a batch is on its way
            world.run_until(lambda: writer._attention != writer._limit)
    assert len(jobs) == len(lines) * 100 // BATCH_BYTES == 3
    writer.close()
    assert world.path.read_text() == "".join(lines)
    assert writer.lost == 0


def test_a_line_waits_for_a_batch_at_most_and_an_idle_log_wakes_nobody(
    no_leaks: None, tmp_path: Path
) -> None:
    """A hundred lines are one job, BATCH_SECONDS after the first; afterwards no timer is left."""
    now = 0.0
    world = World(tmp_path / "log", clock=lambda: now)
    try:
        writer = world.writer()
        for number in range(100):
            writer.write(f"{number}\n")
        times = [when for when, _ in world.reactor.snapshot().timers]
        assert times == [BATCH_SECONDS]
        assert BATCH_SECONDS <= 0.1
        now = BATCH_SECONDS - 0.001
        world.reactor.run_once(0)
        assert world.pool.snapshot().threads == 0
        now = BATCH_SECONDS
        world.run_until(lambda: world.path.read_text().count("\n") == 100)
        world.run_until(lambda: writer._attention == 0)
        assert not world.reactor.snapshot().timers
        writer.close()
    finally:
        world.close()


# --- files that cannot be written for a while ----------------------------------------------------


class FullDisk(LogFile):
    """A file on a disk without room until `room` says so."""

    room = 0
    calls = 0

    def _write_some(self, data: memoryview) -> int:
        self.calls += 1
        size = min(len(data), self.room)
        if not size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= size
        return super()._write_some(data[:size])


def full_disk(world: World, limit: int) -> tuple[FullDisk, LogWriter]:
    file = FullDisk(world.file.descriptor, world.file.path)
    reporter = LogReporter("access log", file)
    return file, LogWriter(file, world.runtime, limit, 0.001, reporter)


def read_lines(world: World, reader: int, count: int) -> bytes:
    """Read a pipe while the world runs, until so many lines have come."""
    found = b""
    os.set_blocking(reader, False)

    def all_there() -> bool:
        nonlocal found
        try:
            found += os.read(reader, 65536)
        except BlockingIOError:
            pass
        return found.count(b"\n") == count

    world.run_until(all_there)
    return found


def turn(world: World, seconds: float) -> int:
    """Let the loop turn for a while; the number of its turns."""
    until, turns = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        world.reactor.run_once(until - time.monotonic())
        turns += 1
    return turns


def test_a_full_disk_loses_no_line_until_the_memory_is_full(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The issue of the operator is one record, and another one when it is over."""
    file, writer = full_disk(world, limit=40_000)
    file.room = 10
    lines = [f"line {number:03} {'x' * 90}\n" for number in range(400)]  # 100 bytes each
    with caplog.at_level(logging.WARNING, logger="reactor"):
        for line in lines:
            writer.write(line)
        world.run_until(lambda: file.calls > 5)
        for _ in range(7):
            writer.write("lost\n")
        assert world.path.read_text() == lines[0][:10]
        file.room = 1 << 20
        world.run_until(lambda: file.held == file.unreported == 0)
        world.run_until(lambda: len(caplog.records) == 2)
    *kept, report = world.path.read_text().splitlines(keepends=True)
    assert kept == lines
    assert report == "# 7 lines were lost: the log could not be written\n"
    assert writer.lost == 7
    path = repr(str(world.path))
    first, second = caplog.messages
    assert re.fullmatch(
        rf"Cannot write the access log {path}: no space left on device; "
        r"[0-9]+ lines held, 0 lost",
        first,
    )
    assert second == f"The access log {path} is written again; 7 lines were lost"


def test_a_disk_that_stays_full_costs_an_attempt_now_and_then(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported once in a minute, though more and more lines are lost."""
    file, writer = full_disk(world, limit=1000)
    until = time.monotonic() + 1.0
    with caplog.at_level(logging.WARNING, logger="reactor"):
        while time.monotonic() < until:
            writer.write("a line that finds no room after a while\n")
            world.reactor.run_once(0.001)
        assert file.calls < 1.0 / RETRY_SECONDS + 3
        assert writer.lost > 0
        assert len(caplog.records) == 1
        writer.close()
    missing = file.held_lines + writer.lost
    assert len(caplog.messages) == 2
    assert caplog.messages[1].startswith(
        f"The access log {str(world.path)!r} lacks {missing} lines"
    )
    assert file.held_lines == 1000 // 40


@pytest.mark.parametrize("blocking", [False, True])
def test_a_pipe_that_nobody_reads_holds_neither_a_thread_nor_the_loop(
    no_leaks: None, tmp_path: Path, blocking: bool
) -> None:
    """The loop does not spin, and later every line comes through, whole and in order."""
    world = World(tmp_path / "unused")
    reader, end = os.pipe()
    try:
        os.set_blocking(end, blocking)
        writer = LogWriter(LogFile(end), world.runtime, 1 << 22)
        lines = [f"{number:04} {'x' * 1000}\n" for number in range(400)]
        for line in lines:
            writer.write(line)
        turns = turn(world, 1.5)
        assert turns < 40
        attempts = [world.pool.snapshot() for _ in range(50) if not turn(world, 0.02) < 0]
        free = [one for one in attempts if one.idle == one.threads]
        assert len(free) > 10  # between two attempts no thread has anything to do
        found = read_lines(world, reader, 400)
        assert found.decode() == "".join(lines)
        assert writer.lost == 0
    finally:
        os.close(reader)
        os.close(end)
        world.close()


def test_a_server_ends_though_nobody_reads_its_log(serve: Serve) -> None:
    """It waits for a second, not for the reader."""
    reader, end = os.pipe()
    try:
        os.set_blocking(end, False)
        running = serve(hello, access_log=end)
        client = running.connect()
        for _ in range(30):
            client.send(request("/" + "x" * 5000))
            assert client.read_response().status == 200
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < CLOSE_SECONDS + TIMEOUT / 2
    finally:
        os.close(reader)
        os.close(end)


def test_records_of_threads_wait_a_moment_for_a_stuck_log(world: World) -> None:
    """Then they go on; the records are written when the log is read again."""
    reader, end = os.pipe()
    try:
        file = LogFile(end)
        writer = LogWriter(file, world.runtime, 1 << 20, 0.0)
        writer.write("x" * 100_000 + "\n")
        began = time.monotonic()
        threads = [threading.Thread(target=writer.write_now, args=(f"{n}\n",)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
        assert time.monotonic() - began < TIMEOUT
        found = read_lines(world, reader, 21)
        assert sorted(int(one) for one in found.split()[1:]) == list(range(20))
    finally:
        os.close(reader)
        os.close(end)
