"""The send queue: partial sends, joining, and regions that are released once."""

import os
import random
from pathlib import Path

import pytest

from reactor.files.file import File
from reactor.files.region import FileRegion
from reactor.net.send_queue import JOIN_BYTES, SendQueue


@pytest.fixture
def file(tmp_path: Path) -> File:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 10)
    return File(os.open(path, os.O_RDONLY), 2560)


def test_first_in_first_out() -> None:
    queue = SendQueue()
    for item in (b"one", b"two", memoryview(b"three")):
        queue.append(item)
    assert queue.unsent == 11
    first = queue.first()
    assert first == b"onetwothree"  # small ones are joined
    queue.sent(5)
    assert queue.unsent == 6
    assert queue.first() == b"othree"
    queue.sent(6)
    assert queue.unsent == 0
    assert not queue


def test_large_items_are_not_copied() -> None:
    queue = SendQueue()
    large = bytes(JOIN_BYTES + 1)
    queue.append(b"head")
    queue.append(large)
    assert queue.first() == b"head"
    queue.sent(4)
    assert queue.first() is large
    queue.sent(10)
    rest = queue.first()
    assert isinstance(rest, memoryview)
    assert rest.obj is large


def test_joining_has_a_bound() -> None:
    queue = SendQueue()
    for _ in range(10):
        queue.append(bytes(JOIN_BYTES // 4))
    first = queue.first()
    assert len(first) == JOIN_BYTES
    assert queue.unsent == JOIN_BYTES // 4 * 10


def test_a_region_moves_and_is_released_when_it_is_sent(file: File) -> None:
    queue = SendQueue()
    queue.append(b"head")
    queue.append(FileRegion(file.hold(), 100, 50))
    queue.append(b"tail")
    assert queue.first() == b"head"  # a region is joined with nothing
    queue.sent(4)
    region = queue.first()
    assert isinstance(region, FileRegion)
    queue.sent(20)
    assert (region.offset, region.length) == (120, 30)
    assert queue.unsent == 34
    file.release()
    states = [file.closed]
    queue.sent(30)
    states.append(file.closed)
    assert states == [False, True]
    assert queue.first() == b"tail"


def test_dropped_regions_are_released(file: File) -> None:
    queue = SendQueue()
    queue.append(FileRegion(file.hold(), 0, 50))
    queue.append(b"x")
    queue.append(FileRegion(file, 50, 50))
    queue.drop()
    assert file.closed
    assert queue.unsent == 0
    queue.drop()


def test_any_partial_sends_give_the_same_bytes() -> None:
    chance = random.Random(3)
    queue = SendQueue()
    expected, got = b"", b""
    for _ in range(300):
        if chance.random() < 0.6:
            size = chance.choice([1, 10, 1000, JOIN_BYTES - 1, JOIN_BYTES, JOIN_BYTES + 1])
            item = chance.randbytes(size)
            expected += item
            queue.append(item if chance.random() < 0.5 else memoryview(item))
        while queue and chance.random() < 0.7:
            first = queue.first()
            assert not isinstance(first, FileRegion)
            count = chance.randint(1, len(first))
            got += bytes(first[:count])
            queue.sent(count)
        assert queue.unsent == len(expected) - len(got)
    while queue:
        first = queue.first()
        assert not isinstance(first, FileRegion)
        got += bytes(first)
        queue.sent(len(first))
    assert got == expected
