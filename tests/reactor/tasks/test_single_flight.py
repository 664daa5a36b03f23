"""Jobs that many wait for: begun once, ended for all, not disturbed by waiters that leave."""

import traceback
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from reactor.errors import Cancelled, PoolFull
from reactor.tasks.futures import Future
from reactor.tasks.operations import in_pool, sleep
from reactor.tasks.single_flight import SharedJob, SingleFlight
from reactor.tasks.task import Task
from tests.support.coroutine_driver import Stage
from tests.support.cycles import Cycles
from tests.support.worlds import Clock
from tests.support.worlds import RuntimeWorld as World

who: ContextVar[str] = ContextVar("who", default="nobody")


class Jobs:
    """Makes jobs whose ends are Futures that the test sets."""

    def __init__(self) -> None:
        self.begun: list[Future[Any]] = []

    def make(self) -> Awaitable[Any]:
        self.begun.append(Future())
        return self.begun[-1]


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


async def run(flight: SingleFlight[str, Any], key: str, work: Callable[[], Awaitable[Any]]) -> Any:
    return await flight.run(key, work)


# --- one job -------------------------------------------------------------------------------------


def test_the_first_waiter_begins_the_job_and_all_get_its_result(world: World) -> None:
    stage = Stage()
    stage.holding = True
    began: list[int] = []

    def work() -> int:
        began.append(1)
        return 42

    job = SharedJob(in_pool(work))
    assert not stage.jobs
    assert job.start(stage) is job
    assert job.start(stage) is job
    tasks = [world.spawn(job.wait()) for _ in range(3)]
    assert job.waiting == 3
    stage.perform([0])
    world.turns()
    assert [task.result() for task in tasks] == [42] * 3
    assert began == [1]
    assert job.waiting == 0


def test_a_job_that_has_ended_is_there_at_once(world: World) -> None:
    job: SharedJob[int] = SharedJob(Future())
    job.set_result(3)
    assert world.spawn(job.wait()).result() == 3


def test_a_coroutine_runs_as_a_task_in_the_context_of_the_maker(world: World) -> None:
    async def work() -> str:
        await sleep(1)
        return who.get()

    async def make() -> str:
        who.set("first")
        job = SharedJob(work())
        who.set("later")
        return await job.wait()

    task = world.spawn(make())
    world.turns(5, 1)
    assert task.result() == "first"


def test_the_first_to_wait_leaves_and_the_job_goes_on(world: World) -> None:
    ended: list[str] = []

    async def work() -> str:
        try:
            await sleep(1)
            return "done"
        finally:
            ended.append("ended")

    job = SharedJob(work())
    first, second = world.spawn(job.wait()), world.spawn(job.wait())
    first.cancel()
    assert isinstance(first.exception(), Cancelled)
    assert job.waiting == 1
    assert not ended
    world.turns(5, 1)
    assert second.result() == "done"


def test_all_leave_and_the_job_goes_on_and_knows_it(world: World) -> None:
    waiting: list[int] = []

    async def work() -> str:
        await sleep(1)
        waiting.append(job.waiting)
        return "done"

    job = SharedJob(work())
    tasks = [world.spawn(job.wait()) for _ in range(2)]
    for task in tasks:
        task.cancel()
    world.turns(5, 1)
    assert waiting == [0]
    assert job.result() == "done"


@pytest.mark.parametrize("error", [ValueError, Cancelled, SystemExit])
def test_all_get_the_error_each_with_a_traceback_of_its_own(
    world: World, error: type[BaseException]
) -> None:
    async def work() -> None:
        await sleep(1)
        raise error("no")

    async def wait() -> int:
        try:
            await job.wait()
        except (Exception, Cancelled, SystemExit) as problem:
            frames = traceback.extract_tb(problem.__traceback__)
            assert frames[-1].name == "work"
            return len(frames)
        raise AssertionError("no error")

    job = SharedJob(work())
    tasks = [world.spawn(wait()) for _ in range(100)]
    world.turns(150, 1)
    assert len({task.result() for task in tasks}) == 1


def test_a_job_that_cannot_begin_fails_for_all(world: World) -> None:
    class Full(Future[int]):
        def start(self, runtime: object) -> Future[int]:
            raise PoolFull

    job = SharedJob(Full())
    tasks = [world.spawn(job.wait()) for _ in range(2)]
    world.turns()
    assert all(isinstance(task.exception(), PoolFull) for task in tasks)


# --- by key --------------------------------------------------------------------------------------


def test_one_job_for_each_key(world: World, jobs: Jobs) -> None:
    flight: SingleFlight[str, Any] = SingleFlight()
    tasks = [world.spawn(run(flight, key, jobs.make)) for key in "aabab"]
    assert len(jobs.begun) == len(flight) == 2
    assert (flight.waiting("a"), flight.waiting("b"), flight.waiting("c")) == (3, 2, 0)
    jobs.begun[1].set_result("B")
    jobs.begun[0].set_result("A")
    assert len(flight) == 0
    world.turns()
    assert [task.result() for task in tasks] == ["A", "A", "B", "A", "B"]


@pytest.mark.parametrize("failing", [False, True])
def test_a_job_that_has_ended_is_forgotten(world: World, jobs: Jobs, failing: bool) -> None:
    flight: SingleFlight[str, Any] = SingleFlight()
    first = world.spawn(run(flight, "a", jobs.make))
    if failing:
        jobs.begun[0].set_exception(OSError())
    else:
        jobs.begun[0].set_result(1)
    second = world.spawn(run(flight, "a", jobs.make))
    assert len(jobs.begun) == 2
    jobs.begun[1].set_result(2)
    world.turns()
    assert isinstance(first.exception(), OSError) is failing
    assert second.result() == 2


def test_a_key_whose_first_waiter_left_is_joined(world: World, jobs: Jobs) -> None:
    flight: SingleFlight[str, Any] = SingleFlight()
    world.spawn(run(flight, "a", jobs.make)).cancel()
    assert flight.waiting("a") == 0
    later = world.spawn(run(flight, "a", jobs.make))
    assert len(jobs.begun) == 1
    jobs.begun[0].set_result(1)
    world.turns()
    assert later.result() == 1


@pytest.mark.parametrize("every", [False, True])
def test_a_job_that_was_forgotten_is_not_joined(world: World, jobs: Jobs, every: bool) -> None:
    flight: SingleFlight[str, Any] = SingleFlight()
    before = world.spawn(run(flight, "a", jobs.make))
    if every:
        flight.forget_all()
    else:
        flight.forget("a")
        flight.forget("a")
    after = world.spawn(run(flight, "a", jobs.make))
    jobs.begun[0].set_result("old")
    assert len(flight) == 1, "the end of the old one is not that of the new one"
    jobs.begun[1].set_result("new")
    world.turns()
    assert (before.result(), after.result()) == ("old", "new")
    assert len(flight) == 0


def test_a_job_that_is_too_old_is_not_joined(world: World, jobs: Jobs) -> None:
    clock = Clock()
    flight: SingleFlight[str, Any] = SingleFlight(2.0, clock)
    tasks: list[Task[Any]] = []
    for _ in range(4):
        tasks.append(world.spawn(run(flight, "a", jobs.make)))
        clock.time += 1
    assert len(jobs.begun) == 2
    for number, job in enumerate(jobs.begun):
        job.set_result(number)
    world.turns()
    assert [task.result() for task in tasks] == [0, 0, 1, 1]


def test_a_maker_that_fails_leaves_nothing_behind(world: World, jobs: Jobs) -> None:
    def broken() -> Awaitable[Any]:
        raise ValueError

    flight: SingleFlight[str, Any] = SingleFlight()
    assert isinstance(world.spawn(run(flight, "a", broken)).exception(), ValueError)
    assert len(flight) == 0


def test_a_crowd_is_not_resumed_within_each_other(world: World, jobs: Jobs) -> None:
    flight: SingleFlight[str, Any] = SingleFlight()
    tasks = [world.spawn(run(flight, "a", jobs.make)) for _ in range(5_000)]
    jobs.begun[0].set_result(None)
    assert not any(task.done for task in tasks), "waiters go on through `soon`"
    world.turns(200)
    assert all(task.done for task in tasks)


def test_a_chain_of_jobs_may_have_any_length(world: World) -> None:
    """Each job waits for the one before it: the first releases all, through `soon`."""
    gate: Future[int] = Future()
    jobs: list[SharedJob[int]] = [SharedJob(gate)]

    async def after(job: SharedJob[int]) -> int:
        return await job.wait() + 1

    for _ in range(5_000):
        jobs.append(SharedJob(after(jobs[-1])))
    for job in jobs:
        job.start(world.runtime)
    gate.set_result(0)
    world.turns(5_100)
    assert jobs[-1].result() == 5_000


@pytest.mark.parametrize("way", ["result", "error", "first leaves", "all leave"])
def test_no_cyclic_garbage(world: World, way: str) -> None:
    flight: SingleFlight[str, Any] = SingleFlight()

    async def work() -> int:
        await sleep(1)
        if way == "error":
            raise ValueError
        return 1

    async def parent() -> None:
        try:
            await flight.run("a", work)
        except (ValueError, Cancelled):
            pass

    def once() -> None:
        tasks = [world.spawn(parent()) for _ in range(3)]
        for task in tasks[: {"first leaves": 1, "all leave": 3}.get(way, 0)]:
            task.cancel()
        world.turns(5, 1)
        assert all(task.done for task in tasks)
        assert len(flight) == 0
        world.drop_dead_timers()

    once()
    with Cycles():
        for _ in range(20):
            once()
