"""The thread pool: the order of jobs, the bound of its queue, and threads that hang."""

import ctypes
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reactor.errors import Cancelled, PoolFull
from reactor.loop.reactor import Reactor
from reactor.tasks.futures import Future, Lane
from reactor.tasks.thread_pool import COMPRESSION_THREADS, LOG_THREADS, ThreadPool
from tests.support.cycles import Cycles
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


class Outcome(BaseException):
    """As asyncio's CancelledError and the outcomes of test frameworks."""


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("error", [SystemExit, ZeroDivisionError, MemoryError, Outcome])
def test_an_error_of_a_job_fails_its_future_only(
    make: Make, error: type[BaseException], lane: Lane
) -> None:
    def fail() -> None:
        raise error

    world = make(threads=1)
    for _ in range(10):
        with pytest.raises(error):
            world.result(world.pool.submit(lane, fail))
    assert world.result(world.pool.submit(lane, lambda: "alive")) == "alive"
    world.run_until(lambda: world.pool.snapshot().idle == world.pool.snapshot().threads)


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, Cancelled])
def test_an_error_that_means_something_to_the_waiter_is_a_cause(
    make: Make, error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error("in a job")

    world = make(threads=1)
    with pytest.raises(RuntimeError, match=r"the job raised .*in a job") as caught:
        world.result(world.pool.submit(FILES, fail))
    assert isinstance(caught.value.__cause__, error)


def test_an_error_of_a_job_leaves_no_cyclic_garbage(make: Make) -> None:
    world = make(threads=1)

    def fail() -> None:
        future = world.pool.submit(FILES, lambda: 1 // 0)
        world.run_until(lambda: future.done)

    fail()
    with Cycles():
        for _ in range(3):
            fail()


# --- threads that die ----------------------------------------------------------------------------


def test_a_thread_that_dies_in_its_job_is_replaced(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a fault of ours: what follows the job raises."""
    world = make(threads=2)
    crew = world.pool._crews[FILES]
    ended = crew._job_ended
    deaths = 3

    def fail(*arguments: Any) -> object:
        nonlocal deaths
        if deaths:
            deaths -= 1
            raise Outcome
        return ended(*arguments)

    monkeypatch.setattr(crew, "_job_ended", fail)
    jobs = [world.pool.submit(FILES, abs, -number) for number in range(10)]
    world.run_until(lambda: all(job.done for job in jobs))
    failed = [job for job in jobs if job.exception() is not None]
    assert len(failed) == 3
    for job in failed:
        with pytest.raises(RuntimeError, match="has died") as caught:
            job.result()
        assert isinstance(caught.value.__cause__, Outcome)
    assert caplog.text.count("A pool thread has died, and another one takes its place") == 3
    assert caplog.text.count("Outcome") >= 3
    world.run_until(lambda: world.pool.snapshot().idle == world.pool.snapshot().threads)
    assert 1 <= world.pool.snapshot().threads <= 2


@pytest.mark.parametrize("waits", [False, True])
def test_an_error_thrown_into_a_thread_from_outside(make: Make, waits: bool) -> None:
    """`PyThreadState_SetAsyncExc`, as debuggers and impatient programs use it."""
    world = make(threads=1)
    spinning = threading.Event()
    stop = threading.Event()

    def spin() -> str:
        spinning.set()
        while not stop.is_set():
            time.sleep(0.001)
        return "ended"

    if waits:
        world.result(world.pool.submit(FILES, int))
        world.run_until(lambda: world.pool.snapshot().idle == 1)
    first = world.pool.submit(FILES, int if waits else spin)
    if not waits:
        assert spinning.wait(TIMEOUT)
    (thread,) = [one for one in threading.enumerate() if one.name == "reactor-pool"]
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc
    throw(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Outcome))
    world.run_until(lambda: first.done)
    assert isinstance(first.exception(), Outcome | RuntimeError | None)
    stop.set()
    for number in range(5):
        assert world.result(world.pool.submit(FILES, abs, -number)) == number
    world.run_until(lambda: world.pool.snapshot()[:2] == (1, 1))


def test_a_job_whose_thread_died_as_it_woke_gets_another(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle threads are enough for the job, but none of them has been woken for it."""
    world = make(threads=2)
    gate = world.gate()
    crew = world.pool._crews[FILES]
    jobs = [world.pool.submit(FILES, gate.job) for _ in range(2)]
    gate.wait_for(2)
    gate.open.set()
    world.run_until(lambda: all(job.done for job in jobs) and crew.idle == 2)
    with monkeypatch.context() as woken_and_dead:
        woken_and_dead.setattr(crew._work, "notify", lambda: None)
        job = world.pool.submit(FILES, lambda: "done")
    crew.start_threads()
    assert world.result(job) == "done"
    assert crew.threads == 2


def test_a_thread_that_cannot_be_started(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(threads=2)
    gate = world.gate()
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for lane in Lane:
        with pytest.raises(PoolFull):
            world.result(world.pool.submit(lane, int))
    assert caplog.text.count("Cannot start a thread of the pool: can't start new thread") == 3
    assert world.pool.snapshot() == (0, 0, 0, 0, 0, 0, 0)
    monkeypatch.setattr(threading.Thread, "start", start)
    first = world.pool.submit(FILES, gate.job)
    gate.wait_for(1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    second = world.pool.submit(FILES, lambda: "second")  # waits for the one thread there is
    world.run_until(lambda: world.pool.snapshot().files == 1)
    gate.open.set()
    assert world.result(first) is None
    assert world.result(second) == "second"


def test_threads_that_die_all_the_time_leave_no_job_waiting(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(threads=3, jobs=5)
    crew = world.pool._crews[FILES]

    def fail(*_: Any) -> object:
        raise Outcome

    monkeypatch.setattr(crew, "_job_ended", fail)
    jobs = [world.pool.submit(FILES, int) for _ in range(40)]  # most of them wait outside
    world.run_until(lambda: all(job.done for job in jobs))
    assert {type(job.exception()) for job in jobs} == {RuntimeError}
    world.run_until(lambda: world.pool.snapshot().idle == world.pool.snapshot().threads)


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


# --- lanes ---------------------------------------------------------------------------------------


def flood(world: World, lane: Lane, running: int, places: int = 100) -> "Gate":
    """Occupy all threads and all places of a lane."""
    gate = world.gate()
    for _ in range(running):
        world.pool.submit(lane, gate.job)
        gate.wait_for(1)
    for _ in range(places):
        world.pool.submit(lane, gate.job)
    return gate


THREADS = {
    FILES: 1,
    COMPRESSION: COMPRESSION_THREADS,
    Lane.STREAMS: COMPRESSION_THREADS,
    Lane.LOGS: LOG_THREADS,
}


@pytest.mark.parametrize("full", Lane)
def test_a_lane_that_is_full_takes_neither_threads_nor_places_of_another(
    make: Make, full: Lane
) -> None:
    """Compressions and streams alone share threads."""
    world = make(threads=1, jobs=100)
    flood(world, full, THREADS[full])
    for lane in Lane:
        if {lane, full} not in ({COMPRESSION, Lane.STREAMS}, {full}):
            for number in range(200):
                assert world.result(world.pool.submit(lane, abs, -number)) == number


def test_lanes_of_a_crew_take_turns(make: Make) -> None:
    world = make()
    gate = world.gate()
    order: list[Lane] = []
    for _ in range(COMPRESSION_THREADS):
        world.pool.submit(COMPRESSION, gate.job)
    gate.wait_for(COMPRESSION_THREADS)
    jobs = [world.pool.submit(COMPRESSION, order.append, COMPRESSION) for _ in range(50)]
    jobs += [world.pool.submit(Lane.STREAMS, order.append, Lane.STREAMS) for _ in range(5)]
    gate.open.set()
    world.run_until(lambda: all(job.done for job in jobs))
    assert order[:14].count(Lane.STREAMS) == 5


@pytest.mark.parametrize("lane", [FILES, Lane.STREAMS, Lane.LOGS])
def test_jobs_that_wait_for_a_place_get_it_in_their_order(make: Make, lane: Lane) -> None:
    world = make(threads=1, jobs=2)
    gate = flood(world, lane, THREADS[lane], 2)
    order: list[int] = []
    jobs = [world.pool.submit(lane, order.append, number) for number in range(20)]
    assert world.pool.snapshot().outside == 20
    gate.open.set()
    world.run_until(lambda: all(job.done for job in jobs))
    if THREADS[lane] == 1:
        assert order == list(range(20))
    assert sorted(order) == list(range(20))
    assert not world.reactor.snapshot().timers


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


def test_that_it_is_busy_is_one_record(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    world = make(threads=1, jobs=1, timeout=0.05)
    flood(world, COMPRESSION, COMPRESSION_THREADS, 1)
    flood(world, FILES, 1, 1)
    for _ in range(300):
        with pytest.raises(PoolFull):
            world.pool.submit(COMPRESSION, int)
    late = [world.pool.submit(FILES, int) for _ in range(300)]
    world.run_until(lambda: all(job.done for job in late))
    assert {type(job.exception()) for job in late} == {PoolFull}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.exc_info is None
    assert record.getMessage() == (
        "The thread pool is busy: a job of the lane 'compression' found no place"
    )


def test_a_compression_that_fails_releases_its_thread(make: Make) -> None:
    world = make(threads=8)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            world.result(world.pool.submit(COMPRESSION, lambda: 1 // 0))
    assert world.result(world.pool.submit(COMPRESSION, lambda: "done")) == "done"


def test_a_full_lane_refuses_compression_at_once(make: Make) -> None:
    world = make(threads=1, jobs=3)
    gate = flood(world, COMPRESSION, COMPRESSION_THREADS, 3)
    with pytest.raises(PoolFull) as caught:
        world.pool.submit(COMPRESSION, gate.job)
    assert (caught.value.status, caught.value.headers) == (503, [("Retry-After", "1")])


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
        with pytest.raises(PoolFull):
            world.result(job)
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
