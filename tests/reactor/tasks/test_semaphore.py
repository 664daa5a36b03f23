"""The weighted semaphore: order, amounts above the total, cancelled waiters, long chains."""

import pytest

from reactor.errors import Cancelled
from reactor.tasks.futures import Future
from reactor.tasks.semaphore import WeightedSemaphore
from tests.support.cycles import Cycles
from tests.support.worlds import RuntimeWorld as World


def done(future: Future[int] | None) -> bool:
    return future is not None and future.done


def test_an_amount_that_fits_is_granted_at_once() -> None:
    semaphore = WeightedSemaphore(100)
    assert semaphore.acquire(60) is None
    assert semaphore.acquire(40) is None
    assert semaphore.used == 100


def test_an_amount_that_does_not_fit_waits_first_come_first_served() -> None:
    semaphore = WeightedSemaphore(100)
    semaphore.acquire(80)
    large, small = semaphore.acquire(50), semaphore.acquire(10)
    assert not done(large)
    assert not done(small)  # it would fit, but it came later
    semaphore.release(20)
    assert not done(large)
    semaphore.release(20)  # 40 are used: room for both
    assert done(large)
    assert done(small)
    assert semaphore.used == 100


def test_an_amount_above_the_total_is_granted_alone() -> None:
    """Otherwise it would wait for ever."""
    semaphore = WeightedSemaphore(100)
    assert semaphore.acquire(500) is None
    other = semaphore.acquire(1)
    assert other is not None
    semaphore.release(500)
    assert other.done
    large = semaphore.acquire(500)
    assert large is not None
    semaphore.release(1)
    assert large.done
    assert semaphore.used == 500


def test_a_waiter_that_gave_up_is_passed_over() -> None:
    semaphore = WeightedSemaphore(100)
    semaphore.acquire(100)
    gone, there = semaphore.acquire(100), semaphore.acquire(100)
    assert gone is not None
    assert there is not None
    gone.set_exception(Cancelled())
    semaphore.release(100)
    assert there.done
    assert semaphore.used == 100
    semaphore.release(100)
    assert semaphore.used == 0


@pytest.mark.slow
def test_nothing_is_lost_over_time() -> None:
    semaphore = WeightedSemaphore(1000)
    held: list[int] = []
    waiting: list[Future[int]] = []
    for number in range(5000):
        count = 1 + number * 7919 % 400
        future = semaphore.acquire(count)
        if future is None:
            held.append(count)
        else:
            waiting.append(future)
        if held and number % 3:
            semaphore.release(held.pop(number * 31 % len(held)))
        held += [one.result() for one in waiting if one.done]
        waiting = [one for one in waiting if not one.done]
        assert semaphore.used == sum(held)
        assert semaphore.used <= 1000
    while held:
        semaphore.release(held.pop())
        held += [one.result() for one in waiting if one.done]
        waiting = [one for one in waiting if not one.done]
    assert semaphore.used == 0
    assert not waiting


def test_small_amounts_do_not_overtake_a_waiter() -> None:
    semaphore = WeightedSemaphore(10)
    assert semaphore.try_acquire(8)
    assert not semaphore.try_acquire(3)
    large = semaphore.acquire(5)
    assert not semaphore.try_acquire(1)
    semaphore.release(8)
    assert done(large)
    assert semaphore.try_acquire(5)
    assert not semaphore.try_acquire()
    assert semaphore.used == 10


def test_those_behind_a_waiter_that_gives_up_are_granted_at_once() -> None:
    semaphore = WeightedSemaphore(10)
    semaphore.acquire(5)
    large, small = semaphore.acquire(10), semaphore.acquire(5)
    assert large is not None
    assert not done(small)
    large.set_exception(Cancelled())
    assert done(small)
    assert semaphore.used == 10


def test_giving_up_after_the_grant_changes_nothing() -> None:
    """The units belong to the caller then, who releases them."""
    semaphore = WeightedSemaphore(10)
    semaphore.acquire(10)
    place = semaphore.acquire(4)
    semaphore.release(10)
    assert place is not None
    place.set_exception(Cancelled())
    assert place.result() == 4
    assert semaphore.used == 4


@pytest.mark.slow
def test_callbacks_that_release_at_once_do_not_recurse() -> None:
    semaphore = WeightedSemaphore(1)
    semaphore.acquire()
    granted: list[int] = []

    def pass_on(future: Future[int]) -> None:
        granted.append(future.result())
        semaphore.release()

    for _ in range(50_000):
        place = semaphore.acquire()
        assert place is not None
        place.add_callback(pass_on)
    semaphore.release()
    assert len(granted) == 50_000
    assert semaphore.used == 0


# --- hold ----------------------------------------------------------------------------------------


def test_holders_take_turns_in_the_order_of_asking(world: World) -> None:
    semaphore = WeightedSemaphore(2)
    gate: Future[None] = Future()
    inside: list[int] = []

    async def work(number: int) -> None:
        async with semaphore.hold():
            inside.append(number)
            await gate

    tasks = [world.spawn(work(number)) for number in range(5)]
    world.turns()
    assert inside == [0, 1]
    gate.set_result(None)
    world.turns()
    assert inside == [0, 1, 2, 3, 4]
    assert all(task.done for task in tasks)
    assert semaphore.used == 0


def test_an_error_inside_releases(world: World) -> None:
    semaphore = WeightedSemaphore(10)

    async def work() -> None:
        async with semaphore.hold(7):
            assert semaphore.used == 7
            raise ValueError

    task = world.spawn(work())
    with pytest.raises(ValueError):
        task.result()
    assert semaphore.used == 0


@pytest.mark.parametrize("when", ["waiting", "granted, not stepped", "inside", "closed"])
def test_a_cancelled_holder_leaves_nothing_taken(world: World, when: str) -> None:
    semaphore = WeightedSemaphore(10)
    semaphore.acquire(5)

    async def work() -> None:
        async with semaphore.hold(10):
            await Future[None]()

    if when == "closed":
        coroutine = work()
        coroutine.send(None)
        coroutine.close()
    else:
        task = world.spawn(work())
        if when != "waiting":
            semaphore.release(5)
        if when == "inside":
            world.turns()
        task.cancel()
        assert isinstance(task.exception(), Cancelled)
    if when in ("waiting", "closed"):
        semaphore.release(5)
    world.turns()
    assert semaphore.used == 0
    assert semaphore.try_acquire(10)


@pytest.mark.slow
def test_a_chain_of_waiters_does_not_recurse(world: World) -> None:
    """Clients choose how many wait, and each is released by the one before it."""
    semaphore = WeightedSemaphore(1)
    ended: list[int] = []

    async def work(number: int) -> None:
        async with semaphore.hold():
            ended.append(number)

    async def first() -> None:
        async with semaphore.hold():
            await gate

    gate: Future[None] = Future()
    world.spawn(first())
    for number in range(5_000):
        world.spawn(work(number))
    gate.set_result(None)
    world.turns(5_100)
    assert ended == list(range(5_000))


@pytest.mark.slow
def test_a_crowd_that_is_cancelled_leaves_the_rest_served(world: World) -> None:
    semaphore = WeightedSemaphore(1)
    semaphore.acquire()
    ended: list[int] = []

    async def work(number: int) -> None:
        async with semaphore.hold():
            ended.append(number)

    tasks = [world.spawn(work(number)) for number in range(3_000)]
    for number, task in enumerate(tasks):
        if number % 1_000:
            task.cancel()
    semaphore.release()
    world.turns()
    assert ended == [0, 1_000, 2_000]
    assert semaphore.used == 0


@pytest.mark.slow
@pytest.mark.parametrize("cancelled", [False, True])
def test_no_cyclic_garbage(world: World, cancelled: bool) -> None:
    semaphore = WeightedSemaphore(1)

    async def work() -> None:
        async with semaphore.hold():
            pass

    def once() -> None:
        semaphore.acquire()
        task = world.spawn(work())
        if cancelled:
            task.cancel()
        semaphore.release()
        world.turns(3)
        assert task.done
        world.drop_dead_timers()

    once()
    with Cycles():
        for _ in range(20):
            once()
