"""`resident`: never a wrong True, and False where the kernel cannot be asked.

The results are compared with mincore(2), which has one for each page.
"""

import ctypes
import mmap
import os
import socket
from collections.abc import Iterator
from mmap import PAGESIZE
from pathlib import Path
from typing import Any

import pytest

import reactor.files.page_cache
from reactor.files.page_cache import resident
from reactor.simulator import Violation
from tests.simulation.scenario import play

PAGES = 200


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A file of PAGES pages and a byte, on the disk and in memory."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, os.urandom(PAGES * PAGESIZE + 1))
    os.fsync(descriptor)
    yield descriptor
    os.close(descriptor)


def in_core(descriptor: int) -> list[bool]:
    """For each page, whether it is in memory by mincore(2)."""
    size = os.fstat(descriptor).st_size
    library = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(descriptor, size) as mapped:
        address = ctypes.addressof(view := ctypes.c_char.from_buffer(mapped))
        pages = (ctypes.c_ubyte * (size // PAGESIZE + 1))()
        failed = library.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), pages)
        del view  # the mapping cannot be closed while it has a view
    assert not failed
    return [bool(page & 1) for page in pages]


def test_resident_agrees_with_mincore(file: int) -> None:
    """For every range; where the kernel does not know the call, all results are False."""
    able = resident(file, 0, PAGES * PAGESIZE + 1)
    os.posix_fadvise(file, 50 * PAGESIZE, 70 * PAGESIZE, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(
        file, 100 * PAGESIZE, 0, os.POSIX_FADV_RANDOM
    )  # the kernel does not read ahead
    os.pread(file, 1, 110 * PAGESIZE)
    known = in_core(file)
    assert len(known) == PAGES + 1
    for first in range(0, PAGES, 7):
        for last in range(first, PAGES + 1, 5):
            here = able and all(known[first : last + 1])
            begin = first * PAGESIZE
            for offset, end in ((begin, last * PAGESIZE + 1), (begin + 9, last * PAGESIZE + 11)):
                assert resident(file, offset, end - offset) == here, (first, last)


def test_a_dropped_file_is_not_in_memory(file: int) -> None:
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    if not any(in_core(file)):  # the kernel need not drop the pages
        for offset, count in ((0, 1), (0, PAGES * PAGESIZE), (PAGES * PAGESIZE, 1)):
            assert not resident(file, offset, count)


def test_bytes_beyond_the_end_or_in_a_hole_are_not_in_memory(file: int) -> None:
    os.ftruncate(file, 100 * PAGESIZE)
    os.ftruncate(file, 200 * PAGESIZE)
    assert not resident(file, 100 * PAGESIZE, 1)
    assert not resident(file, 99 * PAGESIZE, PAGESIZE + 1)
    assert not resident(file, 200 * PAGESIZE, 1)
    assert not resident(file, 2**62, 10)


def test_a_descriptor_of_no_file_is_not_in_memory(file: int) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    closed = os.dup(file)
    os.close(closed)
    try:
        for descriptor in (ours.fileno(), reader, writer, closed, -1, 1_000_000):
            assert not resident(descriptor, 0, 1)
    finally:
        ours.close()
        theirs.close()
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("result", [None, -1])
def test_without_the_system_call_the_result_is_false(
    file: int, monkeypatch: pytest.MonkeyPatch, result: int | None
) -> None:
    call = None if result is None else lambda *_: result
    monkeypatch.setattr(reactor.files.page_cache, "_syscall", call)
    assert not resident(file, 0, 1)


def test_one_missing_page_is_false(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel made up by the test; the arguments are those of cachestat(2)."""
    asked: list[tuple[int, ...]] = []
    cached = 0

    def syscall(*arguments: Any) -> int:
        number, descriptor, _, _, flags = arguments
        asked.append((number, descriptor, flags))
        asked.append(
            (reactor.files.page_cache._range.offset, reactor.files.page_cache._range.length)
        )
        reactor.files.page_cache._counts.cached = cached
        return 0

    monkeypatch.setattr(reactor.files.page_cache, "_syscall", syscall)
    for offset, count, pages in (
        (0, 1, 1),
        (0, PAGESIZE, 1),
        (0, PAGESIZE + 1, 2),
        (PAGESIZE - 1, 2, 2),
        (PAGESIZE - 1, PAGESIZE + 2, 3),
        (5 * PAGESIZE, 64 * PAGESIZE, 64),
        (2**40 + 1, PAGESIZE, 2),
    ):
        for cached in (0, pages - 1, pages, pages + 1):
            assert resident(7, offset, count) == (cached >= pages), (offset, count, cached)
            assert asked[-2:] == [(451, 7, 0), (offset, count)]


def test_the_numbers_of_simulated_files_never_reach_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real files may have the same numbers."""

    def refuse(*_: object) -> int:
        raise Violation("a simulated descriptor has reached the kernel")

    monkeypatch.setattr(reactor.files.page_cache, "_syscall", refuse)
    monkeypatch.setattr("reactor.files.file.resident", refuse)
    monkeypatch.setattr(os, "preadv", refuse)
    monkeypatch.setattr(os, "pread", refuse)
    monkeypatch.setattr(os, "sendfile", refuse)
    for seed in range(20):
        play(seed)
