"""The log writer: batches, their order, lost lines, and a loop that never waits for a disk."""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reactor import Response, in_pool
from reactor.loop.reactor import Reactor
from reactor.messages.request import BaseRequest
from reactor.observe.log_writer import BATCH_SECONDS, LogFile, LogWriter
from reactor.tasks.task import Runtime
from reactor.tasks.thread_pool import ThreadPool
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

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = LogFile.open(str(path))
        self.reactor = Reactor()
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
    writer = world.writer(delay=0.001)
    old: list[Path] = []
    count = 0
    for turn in range(20):
        for _ in range(500):
            writer.write(f"{count} {'x' * 100}\n")
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
