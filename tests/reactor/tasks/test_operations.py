"""Operations: what `then` makes of a result, and what a job holds until its thread has returned."""

import time
from typing import Any

import pytest

from reactor.errors import Cancelled, PoolFull
from reactor.tasks.futures import Future, Lane
from reactor.tasks.operations import Operation, in_pool, sleep
from tests.support.coroutine_driver import Stage
from tests.support.cycles import Cycles
from tests.support.worlds import RuntimeWorld as World


class Held:
    """Counts its holders."""

    def __init__(self) -> None:
        self.holders = 0

    def hold(self) -> "Held":
        self.holders += 1
        return self

    def release(self) -> None:
        self.holders -= 1


async def wait(operation: Operation[Any]) -> Any:
    return await operation


def broken() -> None:
    raise OSError(5, "broken")


def until_done(world: World, task: Future[Any]) -> None:
    """Turn after turn; the clock is a number, and the threads of the pool are real."""
    for _ in range(10_000):
        if task.done:
            return
        world.reactor.run_once(0.01)
        time.sleep(0.0001)
    raise AssertionError("it does not end")


# --- then ----------------------------------------------------------------------------------------


def test_the_waiter_gets_what_landed_returns(world: World) -> None:
    task = world.spawn(wait(in_pool(max, 3, 5).then(str).then(len)))
    until_done(world, task)
    assert task.result() == 1


def test_an_error_goes_on_to_the_waiter_after_failed_was_called(world: World) -> None:
    seen: list[Any] = []
    task = world.spawn(wait(in_pool(broken).then(seen.append, seen.append)))
    until_done(world, task)
    with pytest.raises(OSError, match="broken"):
        task.result()
    assert seen == [task.exception()]


@pytest.mark.parametrize("error", [ValueError, SystemExit, Cancelled])
def test_an_error_of_landed_is_raised_at_the_await(
    world: World, error: type[BaseException]
) -> None:
    def landed(_: int) -> None:
        raise error

    task = world.spawn(wait(in_pool(max, 3, 5).then(landed)))
    until_done(world, task)
    assert isinstance(task.exception(), error)


def test_landed_is_called_though_nobody_waits_any_more() -> None:
    stage = Stage()
    stage.holding = True
    seen: list[Any] = []
    future = in_pool(max, 3, 5).then(seen.append).start(stage)
    future.add_callback(seen.append)
    future.remove_callback(seen.append)
    stage.perform([0])
    assert seen == [5]


def test_landed_is_called_before_the_waiters_are() -> None:
    stage = Stage()
    stage.holding = True
    seen: list[str] = []
    future = in_pool(max, 3, 5).then(lambda _: seen.append("landed")).start(stage)
    future.add_callback(lambda _: seen.append("waiter"))
    stage.perform([0])
    assert seen == ["landed", "waiter"]


def test_a_sleep_has_a_result_as_well(world: World) -> None:
    task = world.spawn(wait(sleep(2).then(lambda _: world.clock.time)))
    began = world.clock.time
    world.turns(10, 1)
    assert task.result() >= began + 2


# --- holding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [bool, broken])
def test_a_job_holds_until_its_thread_has_returned(function: Any) -> None:
    stage, held = Stage(), Held()
    stage.holding = True
    operation = in_pool(function, holding=held)
    assert held.holders == 0, "an operation that is never awaited holds nothing"
    future = operation.start(stage)
    assert held.holders == 1
    seen: list[int] = []
    future.add_callback(lambda _: seen.append(held.holders))
    stage.perform([0])
    assert seen == [0], "released before the waiter goes on"


def test_a_job_holds_on_though_its_waiter_is_cancelled(world: World) -> None:
    held = Held()
    gate: Future[int] = Future()

    world.pool.submit = lambda *_: gate  # type: ignore[method-assign,assignment]
    task = world.spawn(wait(in_pool(bool, holding=held)))
    task.cancel()
    assert task.done
    assert held.holders == 1
    gate.set_result(1)
    assert held.holders == 0


def test_a_job_that_is_refused_holds_nothing() -> None:
    held = Held()

    class Full(Stage):
        def submit(self, *_: Any) -> Future[Any]:
            raise PoolFull

    with pytest.raises(PoolFull):
        in_pool(bool, lane=Lane.COMPRESSION, holding=held).start(Full())
    assert held.holders == 0


# --- cycles --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("function", [bool, broken])
def test_no_cyclic_garbage(world: World, function: Any) -> None:
    async def parent() -> None:
        try:
            await in_pool(function, holding=Held()).then(bool, bool)
        except OSError:
            pass

    def once() -> None:
        task = world.spawn(parent())
        until_done(world, task)
        assert task.result() is None

    once()
    with Cycles():
        for _ in range(20):
            once()
