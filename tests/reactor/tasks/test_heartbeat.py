"""Beats between items: at their time, without losing an item, and with one timer."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import Broadcast, Cancelled, Heartbeat, sleep, timeout
from tests.support.cycles import Cycles
from tests.support.worlds import RuntimeWorld as World
from tests.support.worlds import timers, until_done


async def after(*pauses: float) -> AsyncGenerator[float, None]:
    """An item after each pause: the pause."""
    for pause in pauses:
        if pause:
            await sleep(pause)
        yield pause


def next_of(world: World, heartbeat: Heartbeat[Any]) -> Any:
    """The next item or beat, which is there within a few turns."""
    step = world.spawn(anext(heartbeat))
    world.turns(4)
    return step.result()


async def read(world: World, heartbeat: AsyncIterator[Any]) -> list[tuple[float, Any]]:
    """All items and beats, each with its time."""
    began = world.clock.time
    return [(round(world.clock.time - began, 6), item) async for item in heartbeat]


def test_beats_fill_silent_times(world: World) -> None:
    task = world.spawn(read(world, Heartbeat(after(1, 25, 0, 9, 11), 10)))
    until_done(world, task)
    assert task.result() == [
        (1, 1),
        (11, None),
        (21, None),
        (26, 25),
        (26, 0),
        (35, 9),
        (45, None),
        (46, 11),
    ]


@settings(max_examples=60, deadline=None)
@given(
    pauses=st.lists(st.sampled_from([0, 0.1, 1, 2.5, 7, 100]), max_size=8),
    seconds=st.sampled_from([0.3, 1.7, 3.3, 1000]),
)
def test_every_item_comes_at_its_time_for_any_beat(pauses: list[float], seconds: float) -> None:
    """No pause is a multiple of the beat, so there is one right order."""
    expected: list[tuple[float, Any]] = []
    moment = 0.0
    for pause in pauses:
        expected += [(moment + n * seconds, None) for n in range(1, int(pause / seconds) + 1)]
        moment += pause
        expected.append((moment, pause))
    world = World()
    try:
        task = world.spawn(read(world, Heartbeat(after(*pauses), seconds)))
        until_done(world, task)
        got = task.result()
    finally:
        world.pool.close()
        world.reactor.close()
    assert [item for _, item in got] == [item for _, item in expected]
    assert [when for when, _ in got] == pytest.approx([when for when, _ in expected], abs=1e-3)


def test_an_item_moves_no_timer(world: World) -> None:
    """A thousand items, and one timer, which is cancelled at the end."""
    calls = 0
    call_later = world.reactor.call_later

    def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += arguments[0] == 5
        return call_later(*arguments)

    world.runtime.call_later = counted  # type: ignore[assignment]
    heartbeat = Heartbeat(after(*[0.001] * 1000), 5)
    task = world.spawn(read(world, heartbeat))
    while not task.done:
        world.reactor.run_once(1)
    assert len(task.result()) == 1000
    assert calls == 1
    assert timers(world) == 1
    closing = world.spawn(heartbeat.aclose())
    assert closing.done
    assert timers(world) == 0


def test_a_timer_that_is_left_behind_ends_by_itself(world: World) -> None:
    world.spawn(read(world, Heartbeat(after(1), 5)))
    world.turns(seconds=1)
    world.turns(seconds=10)
    assert timers(world) == 0


def test_a_reader_that_is_cancelled_loses_nothing(world: World) -> None:
    heartbeat = Heartbeat(after(3, 3), 10)

    async def impatient() -> list[float | None]:
        got: list[float | None] = []
        while got.count(3) < 2:
            try:
                got.append(await timeout(1, anext(heartbeat)))
            except TimeoutError:
                got.append(-1.0)
        return got

    task = world.spawn(impatient())
    until_done(world, task)
    got = task.result()
    assert [item for item in got if item != -1] == [3, 3]
    assert got.count(-1) >= 4


def test_an_item_in_the_turn_of_the_cancelling_is_not_lost(world: World) -> None:
    channel: Broadcast[str] = Broadcast()
    heartbeat = Heartbeat(channel.subscribe(), 10)
    reader = world.spawn(anext(heartbeat))
    channel.publish("kept")
    while not (heartbeat._step and heartbeat._step.done):
        world.reactor.run_once(0)
    reader.cancel()
    with pytest.raises(Cancelled):
        reader.result()
    assert next_of(world, heartbeat) == "kept"


def test_one_reader_at_a_time(world: World) -> None:
    heartbeat = Heartbeat(after(3), 10)
    first = world.spawn(anext(heartbeat))
    with pytest.raises(RuntimeError, match="another task"):
        next_of(world, heartbeat)
    until_done(world, first)
    assert first.result() == 3


@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(3), Cancelled()])
@pytest.mark.parametrize("pause", [0, 1, 25])
def test_an_error_of_the_source_is_raised(world: World, error: BaseException, pause: float) -> None:
    async def fails() -> AsyncIterator[int]:
        yield 1
        await sleep(pause)
        raise error

    heartbeat = Heartbeat(fails(), 10)
    task = world.spawn(read(world, heartbeat))
    until_done(world, task)
    with pytest.raises(type(error)) as caught:
        task.result()
    assert caught.value is error
    with pytest.raises(StopAsyncIteration):
        next_of(world, heartbeat)


def test_a_source_that_yields_none_itself(world: World) -> None:
    async def source() -> AsyncIterator[None]:
        yield None

    with pytest.raises(TypeError, match="stands for a beat"):
        next_of(world, Heartbeat(source(), 10))


def test_closing_cancels_the_step_and_waits_for_it(world: World) -> None:
    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            await sleep(100)
            yield 2
        finally:
            world.seen.append("cancelled")
            await sleep(0.5)
            world.seen.append("clean")

    heartbeat = Heartbeat(source(), 10)
    assert next_of(world, heartbeat) == 1
    reader = world.spawn(anext(heartbeat))
    reader.cancel()
    assert world.seen == []
    closing = world.spawn(heartbeat.aclose())
    assert until_done(world, closing) == pytest.approx(0.5)
    assert world.seen == ["cancelled", "clean"]
    closing.result()
    assert timers(world) == 0
    world.spawn(heartbeat.aclose()).result()


def test_closing_before_the_first_step_and_with_an_item_ready(world: World) -> None:
    for begun in (False, True):
        heartbeat = Heartbeat(after(1), 10)
        if begun:
            world.spawn(anext(heartbeat)).cancel()
            world.turns(4, 1)
        world.spawn(heartbeat.aclose()).result()
        assert timers(world) == 0


def test_a_heartbeat_of_no_time_is_refused(world: World) -> None:
    for seconds in (0, -1, float("nan")):
        with pytest.raises(ValueError):
            Heartbeat(after(1), seconds)
    task = world.spawn(read(world, Heartbeat(after(5000), float("inf"))))
    until_done(world, task)
    assert task.result() == [(5000, 5000)]


def test_all_steps_of_a_source_are_made_in_one_context(world: World) -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)

    async def counts() -> AsyncIterator[int]:
        for _ in range(3):
            variable.set(variable.get() + 1)
            await sleep(1)
            yield variable.get()

    task = world.spawn(read(world, Heartbeat(counts(), 0.7)))
    until_done(world, task)
    assert [item for _, item in task.result() if item] == [1, 2, 3]


@pytest.mark.slow
def test_no_cyclic_garbage(world: World) -> None:
    async def use() -> None:
        heartbeat = Heartbeat(after(0, 1, 3), 2)
        async for _ in heartbeat:
            pass
        await heartbeat.aclose()
        failing = Heartbeat(fails(), 2)
        try:
            async for _ in failing:
                pass
        except ValueError:
            pass
        await failing.aclose()

    async def fails() -> AsyncIterator[int]:
        yield 1
        await sleep(1)
        raise ValueError

    def once() -> None:
        task = world.spawn(use())
        while not task.done:
            world.reactor.run_once(10)
        task.result()

    once()
    with Cycles():
        for _ in range(20):
            once()
        world.drop_dead_timers()
