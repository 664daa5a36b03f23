"""One change of a directory at a time, in this process and among several; nobody waits long."""

import errno
import fcntl
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor.web.storage import locks
from reactor.web.storage.locks import (
    DirectoryBusy,
    directory_lock,
    lock_while_open,
    retry_while_busy,
    try_lock,
)
from tests.support.coroutine_driver import drive, open_descriptors, opened_since

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    before = open_descriptors()
    yield
    gc.collect()
    assert not opened_since(before)
    assert not locks._directory_locks


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[int]:
    """The same directory, opened a second time: as another process would."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.slow
def test_one_thread_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 60.0)  # seconds; a busy machine makes all of them wait
    inside, most, entered = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, entered
        descriptor = os.open(tmp_path, os.O_RDONLY)
        for _ in range(50):
            with directory_lock(descriptor):
                inside += 1
                most = max(most, inside)
                entered += 1
                time.sleep(0.0001)
                inside -= 1
        os.close(descriptor)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, entered) == (1, 300)


@pytest.mark.slow
def test_directories_do_not_wait_for_each_other(directory: int, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    sub = os.open(tmp_path / "sub", os.O_RDONLY)
    with directory_lock(directory), directory_lock(sub):
        pass
    os.close(sub)


@pytest.mark.slow
def test_the_lock_is_for_all_processes(directory: int, other: int) -> None:
    with directory_lock(directory):
        assert not try_lock(other)
    assert try_lock(other)


@pytest.mark.slow
def test_the_lock_is_released_after_an_error(directory: int, other: int) -> None:
    with pytest.raises(ZeroDivisionError), directory_lock(directory):
        raise ZeroDivisionError
    with directory_lock(directory):
        pass
    assert try_lock(other)


@pytest.mark.slow
def test_directory_that_another_process_has_locked(directory: int, other: int) -> None:
    assert try_lock(other)
    started = time.monotonic()
    with pytest.raises(DirectoryBusy) as caught, directory_lock(directory):
        raise AssertionError
    assert time.monotonic() - started < 0.5  # a pool thread is not occupied for long
    assert caught.value.status == 503
    fcntl.flock(other, fcntl.LOCK_UN)
    with directory_lock(directory):
        pass


@pytest.mark.slow
def test_thread_that_keeps_the_lock(
    directory: int, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.01)
    caught = []

    def work() -> None:
        try:
            with directory_lock(other):
                pass
        except DirectoryBusy as error:
            caught.append(error)

    with directory_lock(directory):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(caught) == 1


@pytest.mark.parametrize(
    "code", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF, errno.ENOLCK]
)
def test_file_system_without_locks(
    directory: int, tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with directory_lock(directory):
        pass  # threads still take turns
    with open(tmp_path / "a", "wb") as file:
        assert lock_while_open(file.fileno())


def test_lock_that_fails(directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError), directory_lock(directory):
        raise AssertionError
    with open(tmp_path / "a", "wb") as file, pytest.raises(OSError):
        lock_while_open(file.fileno())


def test_lock_while_open(tmp_path: Path) -> None:
    with open(tmp_path / "a", "wb") as file, open(tmp_path / "a", "rb") as same:
        assert lock_while_open(file.fileno())
        assert not lock_while_open(same.fileno())
    with open(tmp_path / "a", "rb") as file:
        assert lock_while_open(file.fileno())
        os.unlink(tmp_path / "a")
    with open(tmp_path / "b", "wb") as file:
        os.unlink(tmp_path / "b")
        assert not lock_while_open(file.fileno())  # a sweep was faster


@pytest.mark.system
def test_a_lock_ends_with_its_process(tmp_path: Path, directory: int) -> None:
    script = (
        "import fcntl, os, sys\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    assert not try_lock(directory)
    process.kill()
    process.communicate()
    assert try_lock(directory)


class Busy:
    """A function that raises DirectoryBusy the first `times` times."""

    def __init__(self, times: int) -> None:
        self.calls = 0
        self._times = times

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls <= self._times:
            raise DirectoryBusy
        return arguments


def test_retry_while_busy() -> None:
    for times in (0, 1, 5):
        assert drive(retry_while_busy(Busy(times), 1, "a")) == (1, "a")


def test_retries_end() -> None:
    busy = Busy(10**6)
    with pytest.raises(DirectoryBusy):
        drive(retry_while_busy(busy))
    assert (busy.calls - 1) * locks._PAUSE == pytest.approx(locks.PATIENCE)


def test_other_errors_are_not_retried() -> None:
    calls = []

    def fail() -> None:
        calls.append(1)
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        drive(retry_while_busy(fail))
    assert calls == [1]
