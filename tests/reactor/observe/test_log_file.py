"""The file of a log: whole lines or none, with any disk, pipe and reader."""

import errno
import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from reactor.observe.log_file import FLUSH_SECONDS, LogFile
from tests.support.raw_client import TIMEOUT

LINES = ("one\n", "caf\xe9 \u2603\n", "\n", "a record\n    of two lines\n", "last\n")
ALL = "".join(LINES).encode()


class SmallDisk(LogFile):
    """A file on a disk with room for `room` bytes, written `most` bytes at a time."""

    room = 0
    most = 1 << 20
    error = errno.ENOSPC

    def _write_some(self, data: memoryview) -> int:
        size = min(len(data), self.room, self.most)
        if not size:
            raise OSError(self.error, os.strerror(self.error))
        self.room -= size
        return super()._write_some(data[:size])


@pytest.fixture
def disk(no_leaks: None, tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk.open(str(tmp_path / "log"))
    assert isinstance(disk, SmallDisk)
    yield disk
    os.close(disk.descriptor)


def content(file: LogFile) -> bytes:
    return Path(file.path).read_bytes()


@pytest.fixture
def pipe(no_leaks: None) -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that is full but for the room of 8 kB, the writer's non-blocking."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 65536)  # F_SETPIPE_SZ
    os.set_blocking(writer, False)
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            pass  # the test has closed it


def read_all(reader: int, size: int) -> bytes:
    found = b""
    while len(found) < size and (data := os.read(reader, 65536)):
        found += data
    return found


# --- a disk that is full for a while -------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG])
@pytest.mark.parametrize("room", range(len(ALL)))
def test_a_line_is_whole_though_the_disk_fills_up_in_it(
    disk: SmallDisk, room: int, error: int
) -> None:
    """At any byte: nothing is lost, doubled or glued, and the rest comes when there is room."""
    disk.error = error
    disk.room = room
    disk.add(LINES)
    flushed = disk.flush(TIMEOUT)
    assert flushed.error is not None
    assert flushed.error.errno == error
    assert flushed.progress == (room > 0)
    assert content(disk) == ALL[:room]
    assert disk.flush(TIMEOUT).progress is False
    ends = accumulate(len(line.encode()) for line in LINES)
    assert disk.held_lines == sum(end > room for end in ends)
    disk.add(["later\n"])
    disk.room = 1 << 20
    assert disk.flush(TIMEOUT).error is None
    assert content(disk) == ALL + b"later\n"
    assert (disk.held, disk.held_lines, disk.lost) == (0, 0, 0)


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_a_disk_that_takes_a_few_bytes_and_is_full_again_and_again(
    disk: SmallDisk, most: int
) -> None:
    disk.add(LINES)
    for size in range(len(ALL)):
        disk.room, disk.most = most, most
        disk.flush(TIMEOUT)
        assert content(disk) == ALL[: (size + 1) * most]
    assert disk.flush(TIMEOUT).error is None
    assert content(disk) == ALL
    assert disk.held == 0


def test_all_of_the_limit_is_used_and_the_loss_is_reported_once(disk: SmallDisk) -> None:
    disk.limit = 100
    disk.room = 3
    for number in range(25):
        disk.put(f"line {number:02} xx\n")  # 11 bytes
    assert (disk.held_lines, disk.lost, disk.unreported) == (9, 16, 16)
    disk.put("\n")  # a shorter one fits
    assert content(disk) == b"lin"
    disk.room = 1 << 20
    assert disk.put("too long to fit\n") is True
    assert disk.put("after\n") is True
    lines = content(disk).decode().splitlines()
    assert lines == [
        *(f"line {number:02} xx" for number in range(9)),
        "",
        "# 17 lines were lost: the log could not be written",
        "after",
    ]
    assert (disk.held, disk.held_lines, disk.lost, disk.unreported) == (0, 0, 17, 0)


def test_the_end_of_a_line_that_cannot_be_written_is_its_beginning(disk: SmallDisk) -> None:
    """When the server ends, the piece of a line in the file is removed from it."""
    disk.room = 6
    disk.add(LINES)
    disk.finish(0.0)
    assert content(disk) == b"one\n"
    assert disk.held_lines == 4


def test_a_line_behind_which_another_process_has_written_stays(disk: SmallDisk) -> None:
    disk.room = 6
    disk.add(LINES)
    disk.flush(0.0)
    with open(disk.path, "ab") as other:
        other.write(b"theirs\n")
    disk.finish(0.0)
    assert content(disk) == b"one\ncatheirs\n"


def test_a_renamed_file_keeps_no_piece_of_a_line(disk: SmallDisk) -> None:
    """The line is written whole into the new file."""
    disk.room = 6
    disk.add(LINES)
    disk.flush(0.0)
    old = Path(disk.path).rename(disk.path + ".1")
    disk.reopen()
    disk.room = 1 << 20
    assert disk.flush(TIMEOUT).error is None
    assert old.read_bytes() == b"one\n"
    assert content(disk) == ALL[4:]


# --- pipes ---------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a pipe is known on Linux")
def test_an_empty_pipe_takes_a_batch_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write releases the GIL, and to get it again costs the loop's thread time."""
    reader, writer = os.pipe()
    file = LogFile(writer)
    written: list[int] = []

    def write(data: memoryview) -> int:
        written.append(len(data))
        return len(data)

    monkeypatch.setattr(file, "_write_some", write)
    file.add(["x" * 99 + "\n"] * 600)
    assert file.flush(1.0).error is None
    assert written == [60_000]
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("blocking", [False, True])
def test_a_pipe_that_nobody_reads_holds_a_thread_for_a_moment(
    pipe: tuple[int, int], blocking: bool
) -> None:
    """Whether it is non-blocking or not; each line comes through whole when it is read again."""
    reader, writer = pipe
    os.set_blocking(writer, blocking)
    file = LogFile(writer, limit=1 << 20)
    lines = [f"{number:04} {'x' * 400}\n" for number in range(400)]
    file.add(lines)
    began = time.monotonic()
    for _ in range(3):
        error = file.flush(FLUSH_SECONDS).error
        assert isinstance(error, BlockingIOError)
    assert time.monotonic() - began < TIMEOUT
    assert file.put("last\n") is False
    found: list[bytes] = []
    size = len("".join(lines)) + 5
    thread = threading.Thread(target=lambda: found.append(read_all(reader, size)))
    thread.start()
    while file.flush(FLUSH_SECONDS).error:
        pass
    thread.join(TIMEOUT)
    assert found[0].decode().splitlines(keepends=True) == [*lines, "last\n"]
    assert (file.held, file.lost) == (0, 0)


@pytest.mark.parametrize("room", [0, 1, 4095, 4096, 4097, 8191, 8192, 12288])
def test_a_line_longer_than_the_room_of_a_pipe(pipe: tuple[int, int], room: int) -> None:
    reader, writer = pipe
    filling = b"f" * (65536 - room)
    assert os.write(writer, filling) == len(filling)
    file = LogFile(writer)
    line = "a" * 20_000 + "\n"
    assert file.put(line) is False
    file.add(["b\n"])
    found: list[bytes] = []
    size = len(filling) + len(line) + 2
    thread = threading.Thread(target=lambda: found.append(read_all(reader, size)))
    thread.start()
    while file.flush(FLUSH_SECONDS).error:
        pass
    thread.join(TIMEOUT)
    assert found[0] == filling + line.encode() + b"b\n"


def test_a_pipe_without_a_reader_loses_its_lines_at_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    file = LogFile(writer)
    for count in range(1, 4):
        assert file.put("lost\n") is False
        assert (file.lost, file.unreported, file.held) == (count, count, 0)


def test_a_thread_does_not_wait_for_another_one_that_is_stuck(pipe: tuple[int, int]) -> None:
    """The writer of a record leaves after a moment, though a disk hangs; its line is kept."""
    entered, gate = threading.Event(), threading.Event()

    class Hanging(LogFile):
        def _write_some(self, data: memoryview) -> int:
            entered.set()
            gate.wait(TIMEOUT)
            return super()._write_some(data)

    reader, writer = pipe
    file = Hanging(writer)
    thread = threading.Thread(target=file.put, args=("first\n",))
    thread.start()
    assert entered.wait(TIMEOUT)
    assert file.put("second\n") is False
    file.add(["third\n"])
    gate.set()
    thread.join(TIMEOUT)
    assert file.flush(TIMEOUT).error is None
    assert read_all(reader, 19) == b"first\nsecond\nthird\n"


def test_an_error_of_any_kind_loses_no_line(disk: SmallDisk, monkeypatch: Any) -> None:
    """Memory runs out in a flush that has the rest of a line to write."""
    disk.add(LINES)
    disk.room = 2
    assert disk.flush(TIMEOUT).error is not None
    held = disk.held
    disk.room = 1 << 20
    with monkeypatch.context() as without_memory:
        without_memory.setattr(disk, "_write", without_room)
        with pytest.raises(MemoryError):
            disk.flush(TIMEOUT)
    assert (disk.held, disk.held_lines, disk.lost) == (held, len(LINES), 0)
    assert disk.flush(TIMEOUT).error is None
    assert content(disk) == ALL
    assert (disk.held, disk.held_lines, disk.lost) == (0, 0, 0)


def without_room(*_: object) -> None:
    raise MemoryError


def test_to_reopen_a_file_takes_no_thread_while_its_disk_hangs(disk: SmallDisk) -> None:
    with disk._writing, pytest.raises(BlockingIOError):  # the thread that hangs has this lock
        disk.reopen()
    disk.reopen()


@pytest.mark.slow
def test_lines_of_many_threads_are_whole_and_counted(pipe: tuple[int, int]) -> None:
    """A reader that stops and goes on: each line is in the pipe once, or counted as lost."""
    reader, writer = pipe
    file = LogFile(writer, limit=20_000)
    found: list[bytes] = []

    def read() -> None:
        while data := os.read(reader, 5000):
            found.append(data)
            time.sleep(0.002)

    def write(name: int) -> None:
        for number in range(300):
            line = f"{name} {number} {'x' * (number * 7 % 1500)}\n"
            if number % 8:
                file.add((line,))
            else:
                file.put(line)

    reading = threading.Thread(target=read)
    threads = [threading.Thread(target=write, args=(name,)) for name in range(6)]
    for thread in (reading, *threads):
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    while file.flush(FLUSH_SECONDS).error:
        pass
    file.report_lost()
    file.flush(TIMEOUT)
    os.close(writer)
    reading.join(TIMEOUT)
    lines = b"".join(found).decode().splitlines()
    reports = [line for line in lines if line.startswith("# ")]
    kept = [line for line in lines if not line.startswith("# ")]
    assert sum(int(line.split()[1]) for line in reports) == file.lost
    assert len(kept) + file.lost == 1800
    assert len(set(kept)) == len(kept)
    for line in kept:
        _, number, *text = line.split(" ")
        assert text == ["x" * (int(number) * 7 % 1500)]
