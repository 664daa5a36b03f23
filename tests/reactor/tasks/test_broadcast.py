"""Broadcasts: each item reaches all readers in order, and a slow reader holds up nobody."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import Broadcast, Cancelled, TooSlow, gather, sleep, timeout
from reactor.tasks.broadcast import BACKLOG_ITEMS, Subscription
from tests.support.coroutine_driver import Play, Stage
from tests.support.cycles import Cycles
from tests.support.worlds import RuntimeWorld as World
from tests.support.worlds import until_done


async def collect(subscription: Subscription[Any], into: list[Any]) -> None:
    async for item in subscription:
        into.append(item)


def test_all_readers_get_all_items_in_order(world: World) -> None:
    broadcast: Broadcast[int] = Broadcast()
    early, late = broadcast.subscribe(), broadcast.subscribe()
    got: tuple[list[int], list[int]] = ([], [])
    tasks = [world.spawn(collect(early, got[0]))]
    for item in (1, 2):
        broadcast.publish(item)
    world.turns()
    assert got == ([1, 2], [])
    broadcast.publish(3)
    tasks.append(world.spawn(collect(late, got[1])))
    world.turns()
    assert got == ([1, 2, 3], [1, 2, 3])
    broadcast.publish(4)
    broadcast.close()
    world.turns()
    assert got == ([1, 2, 3, 4], [1, 2, 3, 4])
    assert all(task.done for task in tasks)


def test_a_later_subscription_gets_the_later_items(world: World) -> None:
    broadcast: Broadcast[str] = Broadcast()
    broadcast.publish("before")
    subscription = broadcast.subscribe()
    broadcast.publish("after")
    broadcast.close()
    got: list[str] = []
    world.spawn(collect(subscription, got))
    assert got == ["after"]
    world.spawn(collect(broadcast.subscribe(), got))
    assert got == ["after"]
    with pytest.raises(RuntimeError, match="closed"):
        broadcast.publish("too late")


def test_publishing_runs_no_reader(world: World) -> None:
    """It can be called from anywhere, also from a reader."""
    broadcast: Broadcast[int] = Broadcast()
    got: list[int] = []
    world.spawn(collect(broadcast.subscribe(), got))
    broadcast.publish(1)
    assert got == []
    world.turns()
    assert got == [1]


def test_only_a_slow_reader_is_dropped_and_gets_too_slow(world: World) -> None:
    broadcast: Broadcast[int] = Broadcast(backlog=3)
    slow, quick = broadcast.subscribe(), broadcast.subscribe()
    got: list[int] = []
    reader = world.spawn(collect(quick, got))
    for item in range(3):
        broadcast.publish(item)
    world.turns()
    assert len(broadcast) == 2
    broadcast.publish(3)
    assert len(broadcast) == 1, "nothing is held for it any more"
    world.turns()
    assert got == [0, 1, 2, 3]
    with pytest.raises(TooSlow, match="more than 3 items"):
        world.spawn(anext(slow)).result()
    with pytest.raises(StopAsyncIteration):
        world.spawn(anext(slow)).result()
    assert not reader.done


def test_a_backlog_can_be_taken_at_its_limit(world: World) -> None:
    broadcast: Broadcast[int] = Broadcast()
    subscription = broadcast.subscribe()
    for item in range(BACKLOG_ITEMS):
        broadcast.publish(item)
    broadcast.close()
    got: list[int] = []
    world.spawn(collect(subscription, got)).result()
    assert got == list(range(BACKLOG_ITEMS))
    with pytest.raises(ValueError):
        Broadcast(0)


def test_a_reader_that_is_cancelled_loses_nothing(world: World) -> None:
    """Also when the item came in the very turn."""
    broadcast: Broadcast[int] = Broadcast()
    subscription = broadcast.subscribe()
    reader = world.spawn(anext(subscription))
    broadcast.publish(1)
    reader.cancel()
    with pytest.raises(Cancelled):
        reader.result()
    assert world.spawn(anext(subscription)).result() == 1


def test_a_reader_with_a_timeout(world: World) -> None:
    broadcast: Broadcast[int] = Broadcast()

    async def read() -> list[int]:
        got: list[int] = []
        with broadcast.subscribe() as news:
            while len(got) < 3:
                try:
                    got.append(await timeout(1, anext(news)))
                except TimeoutError:
                    got.append(-1)
        return got

    async def write() -> None:
        await sleep(1.5)
        broadcast.publish(1)
        await sleep(0.1)
        broadcast.publish(2)

    task = world.spawn(gather(read(), write()))
    until_done(world, task)
    assert task.result()[0] == [-1, 1, 2]
    assert len(broadcast) == 0


def test_several_readers_of_one_subscription_share_it(world: World) -> None:
    broadcast: Broadcast[int] = Broadcast()
    subscription = broadcast.subscribe()
    got: list[int] = []
    for _ in range(3):
        world.spawn(collect(subscription, got))
    for item in range(10):
        broadcast.publish(item)
        if item % 3 == 0:
            world.turns(2)
    world.turns()
    assert got == list(range(10))


@pytest.mark.parametrize("waiting", [True, False])
def test_closing_ends_the_reader_and_the_subscription(world: World, waiting: bool) -> None:
    broadcast: Broadcast[int] = Broadcast()
    subscription = broadcast.subscribe()
    got: list[int] = []
    if waiting:
        reader = world.spawn(collect(subscription, got))
    else:
        broadcast.publish(1)
    subscription.close()
    subscription.close()
    assert len(broadcast) == 0
    assert broadcast, "a broadcast that nobody listens to is still one"
    if not waiting:
        reader = world.spawn(collect(subscription, got))
    world.turns()
    assert reader.done
    assert got == []


def test_readers_that_leave_or_come_while_an_item_is_published(world: World) -> None:
    broadcast: Broadcast[int] = Broadcast(backlog=1)
    many = [broadcast.subscribe() for _ in range(5)]
    broadcast.publish(0)
    world.spawn(anext(many[2]))
    broadcast.publish(1)  # the four others are dropped in the middle of it
    assert len(broadcast) == 1
    assert world.spawn(anext(many[2])).result() == 1


@given(steps=st.lists(st.sampled_from(["publish", "read", "subscribe", "close"]), max_size=60))
def test_against_a_model(steps: list[str]) -> None:
    """The model of a subscription is a list; a read never waits, it is only tried."""
    broadcast: Broadcast[int] = Broadcast(backlog=4)
    open_ones: list[tuple[Subscription[int], list[int]]] = []
    for number, step in enumerate(steps):
        if step == "publish":
            broadcast.publish(number)
            for _, items in open_ones:
                items.append(number)
            open_ones = [one for one in open_ones if len(one[1]) <= 4]
        elif step == "subscribe":
            open_ones.append((broadcast.subscribe(), []))
        elif open_ones and step == "close":
            open_ones.pop(number % len(open_ones))[0].close()
        elif open_ones:
            subscription, items = open_ones[number % len(open_ones)]
            tried = Play(anext(subscription), Stage())
            if items:
                assert tried.result == items.pop(0)
            assert (tried.operation is None) is (tried.result is not None)
            tried.close()
        assert len(broadcast) == len(open_ones)


@pytest.mark.slow
def test_no_cyclic_garbage(world: World) -> None:
    broadcast: Broadcast[int] = Broadcast(backlog=2)

    async def read() -> None:
        with broadcast.subscribe() as news:
            try:
                async for _ in news:
                    await sleep(0.1)
            except TooSlow:
                pass

    def once() -> None:
        task = world.spawn(read())
        for item in range(4):
            broadcast.publish(item)
        while not task.done:
            world.reactor.run_once(1)
        task.result()

    once()
    with Cycles():
        for _ in range(20):
            once()


def test_a_generator_over_a_subscription_closes_it(world: World) -> None:
    broadcast: Broadcast[int] = Broadcast()

    async def doubled() -> AsyncGenerator[int, None]:
        with broadcast.subscribe() as news:
            async for item in news:
                yield 2 * item

    generator = doubled()
    step = world.spawn(anext(generator))
    broadcast.publish(4)
    world.turns()
    assert step.result() == 8
    world.runtime.close_generator(generator)
    assert len(broadcast) == 0
