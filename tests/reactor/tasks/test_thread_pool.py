"""The thread pool: the order of jobs, the bound of its queue, and threads that hang."""

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reactor.errors import PoolFull, ProtocolError
from reactor.loop.reactor import Reactor
from reactor.tasks.futures import Future, Lane
from reactor.tasks.thread_pool import COMPRESSION_THREADS, ThreadPool
from tests.support.raw_client import TIMEOUT

FILES, COMPRESSION = Lane.FILES, Lane.COMPRESSION


class World:
    """A loop without sockets, and its pool."""

    def __init__(self, threads: int = 4, jobs: int = 100, timeout: float = 1000.0) -> None:
        self.reactor = Reactor()
        self.pool = ThreadPool(self.reactor, threads, jobs, timeout)
        self.gates: list[Gate] = []

    def gate(self) -> "Gate":
        self.gates.append(Gate())
        return self.gates[-1]

    def run_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < until, "it did not come true"
            self.reactor.run_once(0.01)

    def result(self, future: "Future[Any]") -> Any:
        self.run_until(lambda: future.done)
        return future.result()

    def close(self) -> None:
        for gate in self.gates:
            gate.open.set()
        self.pool.close()
        self.reactor.close()


class Gate:
    """A job that signals its beginning and waits until the test opens the gate."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Semaphore(0)

    def job(self, result: object = None) -> object:
        self.begun.release()
        assert self.open.wait(TIMEOUT)
        return result

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.begun.acquire(timeout=TIMEOUT)


@pytest.fixture
def make(no_leaks: None) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make_one(*arguments: float, **named: float) -> World:
        worlds.append(World(*arguments, **named))  # type: ignore[arg-type]
        return worlds[-1]

    yield make_one
    for world in worlds:
        world.close()


Make = Callable[..., World]


def test_results_and_errors_come_back_on_the_loop(make: Make) -> None:
    world = make()
    threads: list[str] = []

    def add(a: int, b: int) -> int:
        threads.append(threading.current_thread().name)
        return a + b

    future: Future[int] = world.pool.submit(FILES, add, 2, 3)
    future.add_callback(lambda _: threads.append(threading.current_thread().name))
    assert world.result(future) == 5
    assert threads == ["reactor-pool", threading.current_thread().name]
    with pytest.raises(ZeroDivisionError):
        world.result(world.pool.submit(FILES, lambda: 1 // 0))


@pytest.mark.parametrize("error", [SystemExit, ZeroDivisionError, MemoryError])
def test_an_error_of_a_job_fails_its_future_only(make: Make, error: type[BaseException]) -> None:
    world = make(threads=1)

    def fail() -> None:
        raise error

    with pytest.raises(error):
        world.result(world.pool.submit(FILES, fail))
    assert world.result(world.pool.submit(FILES, lambda: "alive")) == "alive"


def test_threads_are_started_when_they_are_needed(make: Make) -> None:
    world = make(threads=3)
    assert world.pool.snapshot().threads == 0
    for _ in range(5):
        world.result(world.pool.submit(FILES, int))
        world.run_until(lambda: world.pool.snapshot().idle == 1)
    assert world.pool.snapshot().threads == 1
    gate = world.gate()
    for _ in range(5):
        world.pool.submit(FILES, gate.job)
    gate.wait_for(3)
    assert world.pool.snapshot().threads == 3


def test_a_job_does_not_wait_while_a_thread_can_be_started(make: Make) -> None:
    """Two jobs come while one thread is idle. It has been woken for the first and is not there for
    the second, although it counts as idle until it wakes up.
    """
    world = make(threads=2)
    world.result(world.pool.submit(FILES, int))
    world.run_until(lambda: world.pool.snapshot().idle == 1)
    gate = world.gate()
    world.pool.submit(FILES, gate.job)
    second = world.pool.submit(FILES, lambda: "second")
    assert world.result(second) == "second"  # the first one hangs


def test_a_file_wakes_a_thread_while_compressions_wait(make: Make) -> None:
    """There are idle threads and more jobs, but the idle threads may not take these jobs."""
    world = make(threads=3)
    gate = world.gate()
    for _ in range(10):
        world.pool.submit(COMPRESSION, gate.job)
    gate.wait_for(COMPRESSION_THREADS)
    world.run_until(lambda: world.pool.snapshot().idle == 1)
    for number in range(3):
        assert world.result(world.pool.submit(FILES, abs, -number)) == number


def test_files_go_first(make: Make) -> None:
    world = make(threads=1)
    gate = world.gate()
    order: list[Lane] = []
    world.pool.submit(FILES, gate.job)
    gate.wait_for(1)
    jobs: list[Future[None]] = []
    for lane in (COMPRESSION, FILES, COMPRESSION, FILES):
        jobs.append(world.pool.submit(lane, order.append, lane))
    gate.open.set()
    world.run_until(lambda: all(job.done for job in jobs))
    assert order == [FILES, FILES, COMPRESSION, COMPRESSION]


def test_compressions_run_on_two_threads_at_most(make: Make) -> None:
    world = make(threads=8)
    gate = world.gate()
    compressions = [world.pool.submit(COMPRESSION, gate.job, n) for n in range(6)]
    gate.wait_for(COMPRESSION_THREADS)
    assert COMPRESSION_THREADS == 2
    assert world.result(world.pool.submit(FILES, lambda: "a file")) == "a file"
    assert not gate.begun.acquire(timeout=0.1)
    gate.open.set()
    assert [world.result(one) for one in compressions] == list(range(6))


def test_a_compression_that_fails_releases_its_thread(make: Make) -> None:
    world = make(threads=8)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            world.result(world.pool.submit(COMPRESSION, lambda: 1 // 0))
    assert world.result(world.pool.submit(COMPRESSION, lambda: "done")) == "done"


def test_a_full_pool_refuses_compression_at_once(make: Make) -> None:
    world = make(threads=1, jobs=3)
    gate = world.gate()
    world.pool.submit(FILES, gate.job)
    gate.wait_for(1)
    for _ in range(3):
        world.pool.submit(COMPRESSION, gate.job)
    with pytest.raises(PoolFull):
        world.pool.submit(COMPRESSION, gate.job)


def test_a_file_waits_outside_and_gets_the_next_place(make: Make) -> None:
    world = make(threads=1, jobs=2)
    gate = world.gate()
    jobs = [world.pool.submit(FILES, gate.job, 0)]
    gate.wait_for(1)
    jobs += [world.pool.submit(FILES, gate.job, number) for number in range(1, 10)]
    assert world.pool.snapshot().outside == 7
    gate.open.set()
    assert [world.result(job) for job in jobs] == list(range(10))
    assert not world.pool.snapshot().outside
    assert not world.reactor.snapshot().timers, "all are cancelled"


def test_a_file_that_waits_too_long_is_503(make: Make) -> None:
    world = make(threads=1, jobs=1, timeout=0.1)
    gate = world.gate()
    first = world.pool.submit(FILES, gate.job, "first")
    gate.wait_for(1)
    second = world.pool.submit(FILES, gate.job, "second")
    late = [world.pool.submit(FILES, gate.job) for _ in range(3)]
    for job in late:
        with pytest.raises(ProtocolError) as caught:
            world.result(job)
        assert caught.value.status == 503
    gate.open.set()
    assert [world.result(first), world.result(second)] == ["first", "second"]
    gate.wait_for(1)
    assert not gate.begun.acquire(timeout=0.1)  # the jobs that were given up do not run


def test_the_arguments_of_a_job_are_dropped_at_its_end(make: Make) -> None:
    """The thread's next job may come an hour later."""
    gone = threading.Event()

    class Held:
        def __del__(self) -> None:
            gone.set()

    world = make(threads=1)
    future = world.pool.submit(FILES, lambda held: None, Held())
    world.run_until(lambda: future.done)
    world.run_until(gone.is_set)


def test_idle_threads_end_with_the_pool(make: Make) -> None:
    world = make(threads=3)
    gate = world.gate()
    for _ in range(3):
        world.pool.submit(FILES, gate.job)
    gate.wait_for(3)
    gate.open.set()
    world.run_until(lambda: world.pool.snapshot().idle == 3)
    world.pool.close()
    until = time.monotonic() + TIMEOUT
    while "reactor-pool" in [thread.name for thread in threading.enumerate()]:
        assert time.monotonic() < until
        time.sleep(0.005)


HANG = """
    import threading
    from reactor.tasks.futures import Lane
    from reactor.loop.reactor import Reactor
    from reactor.tasks.thread_pool import ThreadPool

    pool = ThreadPool(Reactor(), 2, 10, 5.0)
    begun = threading.Event()
    def hang():
        begun.set()
        threading.Event().wait()
    pool.submit(Lane.FILES, hang)
    begun.wait()
    pool.close()
    print("ended")
"""


@pytest.mark.system
def test_a_hung_thread_does_not_keep_the_process_alive() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HANG)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert done.stdout == "ended\n"
