"""Tasks: steps, contexts, cancelling, foreign awaitables, asynchronous generators."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from reactor.errors import Cancelled
from reactor.tasks.futures import Future
from reactor.tasks.operations import Operation, in_pool, sleep
from tests.support.worlds import RuntimeWorld as World

name: ContextVar[str] = ContextVar("name", default="nobody")


def test_a_task_that_never_waits_is_done_at_once(world: World) -> None:
    async def respond() -> int:
        return 42

    task = world.spawn(respond())
    assert task.done
    assert task.result() == 42


def test_a_task_is_stepped_by_the_future_it_awaits(world: World) -> None:
    future: Future[str] = Future()

    async def wait() -> str:
        return await future + await inner()

    async def inner() -> str:
        await sleep(10)
        return "!"

    task = world.spawn(wait())
    world.turns()
    assert not task.done
    future.set_result("done")
    assert not task.done  # never from within `set_result`
    world.turns()
    assert not task.done
    world.turns(seconds=5)
    assert task.result() == "done!"


def test_futures_that_are_done_cost_no_turn(world: World) -> None:
    future: Future[int] = Future()
    future.set_result(1)

    async def wait() -> int:
        return await future + await future

    assert world.spawn(wait()).result() == 2


def test_an_error_is_raised_at_the_await(world: World) -> None:
    future: Future[int] = Future()

    async def wait() -> str:
        try:
            await future
        except ValueError as error:
            return str(error)
        return "no error"

    task = world.spawn(wait())
    future.set_exception(ValueError("at the await"))
    world.turns()
    assert task.result() == "at the await"


@pytest.mark.parametrize("started", [None, "no future", 3])
def test_an_operation_that_starts_no_future_is_an_error_at_the_await(
    world: World, started: object
) -> None:
    class Odd(Operation[None]):
        def start(self, runtime: Any) -> Any:
            return started

    async def wait() -> str:
        try:
            await Odd()
        except AttributeError as error:
            return str(error)
        return "no error"

    task = world.spawn(wait())
    world.turns()
    assert "has no attribute 'add_callback'" in task.result()


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, Cancelled, GeneratorExit, asyncio.CancelledError]
)
def test_an_error_of_a_task_is_its_result(world: World, error: type[BaseException]) -> None:
    async def fail() -> None:
        await sleep(0)
        raise error("mine")

    task = world.spawn(fail())
    world.turns()
    with pytest.raises(error, match="mine"):
        task.result()


def test_a_task_may_await_a_task(world: World) -> None:
    async def inner() -> str:
        await sleep(1)
        return "inner"

    async def outer() -> str:
        text: str = await world.spawn(inner())
        return f"outer {text}"

    task = world.spawn(outer())
    world.turns(seconds=2)
    assert task.result() == "outer inner"


def test_several_may_wait_for_one_future(world: World) -> None:
    future: Future[int] = Future()

    async def wait(number: int) -> None:
        world.seen.append((number, await future))

    for number in range(3):
        world.spawn(wait(number))
    future.set_result(7)
    world.turns()
    assert world.seen == [(0, 7), (1, 7), (2, 7)]


def test_a_sleep_counts_from_its_await(world: World) -> None:
    async def wait() -> None:
        operation = sleep(10)
        world.clock.time += 100
        await operation
        world.seen.append(world.clock.time)

    began = world.clock.time
    world.spawn(wait())
    world.turns(seconds=1000)
    assert world.seen == [began + 110]


def test_a_job_of_the_pool(world: World) -> None:
    async def wait() -> int:
        return await in_pool(max, 3, 5)

    task = world.spawn(wait())
    while not task.done:
        world.reactor.run_once(0)
    assert task.result() == 5


# --- contexts ------------------------------------------------------------------------------------


def test_every_task_has_its_own_context(world: World) -> None:
    async def handler(who: str) -> None:
        name.set(who)
        for _ in range(3):
            await sleep(0)
            world.seen.append((who, name.get()))

    for who in ("ann", "bob", "eve"):
        world.spawn(handler(who))
    world.turns()
    assert len(world.seen) == 9
    assert all(who == found for who, found in world.seen)
    assert name.get() == "nobody"


def test_a_task_begins_with_the_context_of_its_spawner(world: World) -> None:
    async def child() -> str:
        return name.get()

    async def parent() -> str:
        name.set("parent")
        task = world.spawn(child())
        name.set("later")
        return str(task.result())

    assert world.spawn(parent()).result() == "parent"


# --- cancelling ----------------------------------------------------------------------------------


def test_cancelled_is_thrown_at_the_await(world: World) -> None:
    async def wait() -> None:
        try:
            await sleep(100)
        except Cancelled:
            world.seen.append("cancelled")
            raise

    task = world.spawn(wait())
    task.cancel()
    assert world.seen == ["cancelled"]
    with pytest.raises(Cancelled):
        task.result()


def test_except_exception_does_not_catch_cancelled(world: World) -> None:
    async def stubborn() -> None:
        while True:
            try:
                await sleep(100)
            except Exception:
                world.seen.append("caught")

    task = world.spawn(stubborn())
    task.cancel()
    assert world.seen == []
    assert task.done


def test_cleaning_up_may_take_a_while_but_not_for_ever(world: World) -> None:
    async def wait() -> None:
        try:
            await sleep(100)
        finally:
            await sleep(0.5)
            world.seen.append("half")
            try:
                await sleep(0.7)
                world.seen.append("too late")
            except GeneratorExit:
                world.seen.append("closed")
                raise

    task = world.spawn(wait())
    task.cancel()
    began = world.clock.time
    assert world.seen == []
    while not task.done:
        world.reactor.run_once(10)
    assert world.clock.time == pytest.approx(began + 1.0)
    assert world.seen == ["half", "closed"]


def test_a_coroutine_that_cannot_be_closed_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def stubborn() -> None:
        while True:
            try:
                await sleep(100)
            except BaseException:
                world.seen.append("no")
                if len(world.seen) > 2:
                    raise

    task = world.spawn(stubborn())
    task.cancel()
    while not task.done:
        world.reactor.run_once(10)
    assert "Cannot close <coroutine" in caplog.text
    task.set_result(None)


def test_a_task_may_have_a_result_although_it_is_cancelled(world: World) -> None:
    async def wait() -> str:
        try:
            await sleep(100)
        except Cancelled:
            return "anyway"
        return "not cancelled"

    task = world.spawn(wait())
    task.cancel()
    assert task.result() == "anyway"


def test_cancelling_twice_or_afterwards_does_nothing(world: World) -> None:
    async def wait() -> None:
        try:
            await sleep(100)
        except Cancelled:
            world.seen.append("cancelled")
            await sleep(0.1)

    task = world.spawn(wait())
    task.cancel()
    task.cancel()
    world.turns(seconds=1)
    task.cancel()
    assert world.seen == ["cancelled"]
    assert task.result() is None


def test_a_result_that_comes_in_the_turn_of_the_cancelling(world: World) -> None:
    """The step is queued already when the task is cancelled: it must not be stepped twice."""
    future: Future[str] = Future()

    async def wait() -> str:
        try:
            return await future
        except Cancelled:
            world.seen.append("cancelled")
            await sleep(0.1)
            raise

    task = world.spawn(wait())
    future.set_result("too late")
    task.cancel()
    world.turns(seconds=1)
    assert world.seen == ["cancelled"]
    with pytest.raises(Cancelled):
        task.result()


def test_a_task_that_ended_when_cancelled_leaves_nothing_in_the_loop(world: World) -> None:
    async def wait() -> None:
        await sleep(100)

    for _ in range(5000):
        world.spawn(wait()).cancel()
    assert world.entries() < 12_000
    while world.entries():
        before = world.entries()
        world.reactor.run_once(1000)
        assert world.entries() < before


# --- what is foreign -----------------------------------------------------------------------------


class Foreign:
    def __await__(self) -> Iterator[str]:
        yield "a foreign thing"


@pytest.mark.parametrize(
    ("thing", "named"),
    [
        (Foreign, "Foreign.__await__"),
        (Foreign, "a foreign thing"),
        (lambda: asyncio.sleep(0), "sleep"),
    ],
)
def test_awaiting_something_foreign_is_a_typeerror_that_names_it(
    world: World, thing: Callable[[], Any], named: str
) -> None:
    async def wait() -> None:
        try:
            await thing()
        except TypeError as error:
            world.seen.append(str(error))
            raise

    task = world.spawn(wait())
    world.turns()
    with pytest.raises(TypeError):
        task.result()
    assert len(world.seen) == 1
    assert "another event loop" in world.seen[0]
    assert named in world.seen[0]


def test_asyncio_sleep_is_named(world: World) -> None:
    async def wait() -> None:
        await asyncio.sleep(1)

    task = world.spawn(wait())
    world.turns()
    with pytest.raises((TypeError, RuntimeError)) as caught:
        task.result()
    assert "loop" in str(caught.value)


# --- generators ----------------------------------------------------------------------------------


def test_a_generator_may_wait_while_it_is_closed(world: World) -> None:
    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await sleep(0.5)
            world.seen.append("closed")

    generator = generate()
    assert world.spawn(anext(generator)).result() == 1
    world.runtime.close_generator(generator)
    assert world.seen == []
    world.turns(seconds=1)
    assert world.seen == ["closed"]


def test_a_generator_without_references_is_closed_by_the_loop(world: World) -> None:
    world.runtime.adopt_generators()

    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await sleep(0.5)
            world.seen.append("closed")

    async def use() -> None:
        async for _ in generate():
            break

    world.spawn(use())
    gc.collect()
    world.turns(seconds=1)
    assert world.seen == ["closed"]


def test_a_generator_that_does_not_end_is_given_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await sleep(1000)
            world.seen.append("never")

    generator = generate()
    world.spawn(anext(generator))
    world.runtime.close_generator(generator)
    began = world.clock.time
    for _ in range(5):
        world.reactor.run_once(0.5)
    assert world.clock.time < began + 5
    world.turns(seconds=1000)
    assert world.seen == []
