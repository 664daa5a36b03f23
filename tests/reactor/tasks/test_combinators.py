"""gather, timeout and first_of: order, errors, cancelling, cleaning up."""

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from reactor import Cancelled, Future, Response, gather, in_pool, sleep, timeout
from reactor.messages.request import BaseRequest
from reactor.simulator import simulation
from reactor.tasks.combinators import _All, _First, _Limited, first_of
from reactor.tasks.futures import RuntimeLike
from reactor.tasks.operations import Operation
from tests.support.coroutine_driver import Play, Stage
from tests.support.cycles import Cycles
from tests.support.worlds import GET, only, timers, until_done
from tests.support.worlds import CalmWorld as ServerWorld
from tests.support.worlds import RuntimeWorld as World

name: ContextVar[str] = ContextVar("name", default="nobody")


async def give(value: Any, seconds: float = 0.0) -> Any:
    if seconds:
        await sleep(seconds)
    return value


async def fail(error: BaseException, seconds: float = 0.0) -> Any:
    if seconds:
        await sleep(seconds)
    raise error


class Watched:
    """Coroutines that record when they begin, are cancelled, and have cleaned up."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.said: list[str] = []

    async def wait(self, who: str, seconds: float, cleaning: float = 0.0) -> str:
        self.said.append(f"{who} begins")
        try:
            await sleep(seconds)
        except Cancelled:
            self.said.append(f"{who} is cancelled")
            if cleaning:
                await sleep(cleaning)
                self.said.append(f"{who} is clean")
            raise
        self.said.append(f"{who} ends")
        return who


@pytest.fixture
def watched(world: World) -> Watched:
    return Watched(world)


# --- gather --------------------------------------------------------------------------------------


def test_results_are_in_the_order_of_the_arguments(world: World) -> None:
    async def parent() -> tuple[Any, ...]:
        return await gather(give("a", 3), give("b", 1), give("c"), give("d", 2))

    task = world.spawn(parent())
    assert until_done(world, task) == pytest.approx(3)
    assert task.result() == ("a", "b", "c", "d")


def test_no_children_and_children_that_never_wait(world: World) -> None:
    async def parent() -> None:
        assert await gather() == ()
        assert await gather(give(1)) == (1,)
        assert await gather(give(1), give(2)) == (1, 2)
        assert await gather(*map(give, range(10_000))) == tuple(range(10_000))

    task = world.spawn(parent())
    until_done(world, task)
    task.result()


def test_every_awaitable_can_be_gathered(world: World) -> None:
    future: Future[str] = Future()

    async def parent() -> tuple[Any, ...]:
        return await gather(sleep(1), in_pool(max, 3, 5), future, gather(give("x"), give("y")))

    task = world.spawn(parent())
    future.set_result("future")
    while not task.done:
        world.reactor.run_once(0.5)
    assert task.result() == (None, 5, "future", ("x", "y"))


def test_the_first_error_cancels_the_others_and_waits_for_them(
    world: World, watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    async def parent() -> None:
        try:
            await gather(
                watched.wait("slow", 100, cleaning=0.5),
                fail(ValueError("mine"), 2),
                watched.wait("quick", 1),
                watched.wait("other", 100),
            )
        finally:
            watched.said.append("parent goes on")

    task = world.spawn(parent())
    assert until_done(world, task) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="mine"):
        task.result()
    assert watched.said[-5:] == [
        "quick ends",
        "slow is cancelled",
        "other is cancelled",
        "slow is clean",
        "parent goes on",
    ]
    assert not caplog.text, "being cancelled is no error"
    assert not timers(world)


def test_a_child_that_does_not_clean_up_in_time_is_closed(world: World, watched: Watched) -> None:
    async def parent() -> None:
        await gather(watched.wait("slow", 100, cleaning=50), fail(KeyError("k"), 1))

    task = world.spawn(parent())
    assert until_done(world, task) == pytest.approx(1 + world.runtime.cancel_timeout)
    with pytest.raises(KeyError):
        task.result()
    assert watched.said == ["slow begins", "slow is cancelled"]


def test_further_errors_are_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def breaks_when_cancelled() -> None:
        try:
            await sleep(100)
        finally:
            raise OSError("while cleaning up")

    async def parent() -> None:
        await gather(breaks_when_cancelled(), fail(ValueError("first"), 1))

    task = world.spawn(parent())
    until_done(world, task)
    with pytest.raises(ValueError, match="first"):
        task.result()
    assert "while cleaning up" in caplog.text


def test_an_error_at_the_first_step_keeps_the_rest_from_beginning(
    world: World, watched: Watched
) -> None:
    async def parent() -> None:
        await gather(watched.wait("a", 100), fail(ValueError("now")), watched.wait("b", 100))

    task = world.spawn(parent())
    until_done(world, task)
    with pytest.raises(ValueError, match="now"):
        task.result()
    assert watched.said == ["a begins", "a is cancelled"]
    gc.collect()  # a coroutine that was never awaited, nor closed, would warn, which is an error


@pytest.mark.parametrize("error", [Cancelled("by itself"), SystemExit(3), StopAsyncIteration()])
def test_errors_that_are_no_exceptions_are_raised_as_well(
    world: World, error: BaseException
) -> None:
    async def parent() -> None:
        await gather(give(1, 100), fail(error, 1))

    task = world.spawn(parent())
    assert until_done(world, task) == pytest.approx(1)
    with pytest.raises(type(error)) as caught:
        task.result()
    assert caught.value is error


def test_an_error_can_be_caught_and_the_parent_goes_on(world: World) -> None:
    async def parent() -> Any:
        try:
            await gather(give(1, 100), fail(ValueError(), 1))
        except ValueError:
            await sleep(1)
            return await gather(give("again", 1))

    task = world.spawn(parent())
    assert until_done(world, task) == pytest.approx(3)
    assert task.result() == ("again",)


@pytest.mark.parametrize("cleaning", [0.0, 0.5, 50.0])
def test_cancelling_the_parent_cancels_all_and_waits_for_them(
    world: World, watched: Watched, cleaning: float
) -> None:
    async def parent() -> None:
        try:
            await gather(watched.wait("a", 100), watched.wait("b", 100, cleaning), give(1))
        finally:
            watched.said.append("parent ends")

    task = world.spawn(parent())
    world.turns(3)
    task.cancel()
    assert until_done(world, task) <= world.runtime.cancel_timeout + 0.01
    with pytest.raises(Cancelled):
        task.result()
    cleaned = ["b is clean"] if cleaning == 0.5 else []
    assert watched.said[2:] == ["a is cancelled", "b is cancelled", *cleaned, "parent ends"]
    world.turns(3, 10)
    assert not timers(world), "nothing is left to run"


def test_cancelling_reaches_the_innermost_child(world: World, watched: Watched) -> None:
    async def deep(depth: int) -> Any:
        if depth:
            return await gather(deep(depth - 1), timeout(50, deep(depth - 1)))
        return await watched.wait("leaf", 100, cleaning=0.1)

    task = world.spawn(deep(4))
    world.turns(3)
    task.cancel()
    assert until_done(world, task) < 1
    assert watched.said.count("leaf is clean") == 16
    with pytest.raises(Cancelled):
        task.result()
    assert not timers(world)


def test_children_that_catch_their_cancelling(world: World) -> None:
    """Their results and errors count as if they had been awaited one after the other."""

    async def anyway() -> str:
        try:
            await sleep(100)
        except Cancelled:
            return "anyway"
        return "not cancelled"

    async def parent() -> tuple[str, ...]:
        return await gather(anyway(), anyway())

    task = world.spawn(parent())
    task.cancel()
    until_done(world, task)
    assert task.result() == ("anyway", "anyway")


def test_a_result_in_the_turn_of_the_cancelling(world: World) -> None:
    future: Future[int] = Future()

    async def parent() -> None:
        try:
            await gather(future, future)
        except Cancelled:
            world.seen.append("cancelled")
            raise

    task = world.spawn(parent())
    future.set_result(1)
    world.reactor.run_once(0)  # the children end; the parent's step is queued
    assert not task.done
    task.cancel()
    world.turns()
    assert world.seen == ["cancelled"]


def test_a_parent_that_is_closed_leaves_nothing_running(world: World, watched: Watched) -> None:
    """Such as an asynchronous generator that is closed in the middle of its waiting."""

    async def parent() -> None:
        await gather(watched.wait("a", 100), timeout(50, watched.wait("b", 100)))

    coroutine = parent()
    play = Play(coroutine, Stage())
    play.operation.start(world.runtime)
    play.close()
    world.turns(5)
    assert watched.said[2:] == ["a is cancelled", "b is cancelled"]
    assert not timers(world)


@pytest.mark.parametrize("make", [gather, lambda one: timeout(1, one)])
def test_cancelling_before_the_first_step_closes_the_children(
    make: Callable[[Awaitable[Any]], Awaitable[Any]], watched: Watched
) -> None:
    play = Play(make(watched.wait("a", 1)), Stage())  # type: ignore[arg-type]
    with pytest.raises(Cancelled):
        play.throw(Cancelled())
    assert watched.said == []


def test_children_have_contexts_of_their_own(world: World) -> None:
    async def child(number: int) -> tuple[str, str]:
        inherited = name.get()
        name.set(f"child {number}")
        await sleep(0)
        return inherited, name.get()

    async def parent() -> None:
        name.set("parent")
        found = await gather(child(1), child(2))
        assert found == (("parent", "child 1"), ("parent", "child 2"))
        assert await timeout(1, child(3)) == ("parent", "child 3")
        assert name.get() == "parent"

    task = world.spawn(parent())
    until_done(world, task)
    task.result()


# --- timeout -------------------------------------------------------------------------------------


def test_a_result_in_time_is_returned_and_no_timer_is_left(world: World) -> None:
    async def parent() -> tuple[Any, ...]:
        return await timeout(2, give("in time", 1)), await timeout(2, give("at once"))

    task = world.spawn(parent())
    assert until_done(world, task) == pytest.approx(1)
    assert task.result() == ("in time", "at once")
    assert not timers(world)


def test_a_child_that_is_late_is_cancelled_and_cleans_up_first(
    world: World, watched: Watched
) -> None:
    async def parent() -> None:
        try:
            await timeout(2, watched.wait("slow", 100, cleaning=0.5))
        except TimeoutError as error:
            watched.said.append(str(error))

    assert until_done(world, world.spawn(parent())) == pytest.approx(2.5)
    assert watched.said[1:] == [
        "slow is cancelled",
        "slow is clean",
        "the timeout of 2 s is over",
    ]
    assert not timers(world)


def test_a_late_child_that_does_not_end_is_closed(world: World, watched: Watched) -> None:
    async def parent() -> None:
        await timeout(2, watched.wait("slow", 100, cleaning=50))

    task = world.spawn(parent())
    assert until_done(world, task) == pytest.approx(2 + world.runtime.cancel_timeout)
    with pytest.raises(TimeoutError):
        task.result()


@pytest.mark.parametrize("seconds", [0, -1, -float("inf"), float("nan")])
def test_a_timeout_of_no_time(world: World, watched: Watched, seconds: float) -> None:
    async def parent() -> Any:
        assert await timeout(seconds, give("needs none")) == "needs none"
        with pytest.raises(ValueError):
            await timeout(seconds, fail(ValueError()))
        await timeout(seconds, watched.wait("needs some", 0))

    task = world.spawn(parent())
    assert until_done(world, task) == 0
    with pytest.raises(TimeoutError):
        task.result()
    assert watched.said == ["needs some begins", "needs some is cancelled"]


def test_a_timeout_that_never_ends(world: World) -> None:
    task = world.spawn(timeout(float("inf"), give("late", 1e5)))
    assert until_done(world, task) == pytest.approx(1e5)
    assert task.result() == "late"


@pytest.mark.parametrize(
    "error", [ValueError("mine"), TimeoutError("mine"), Cancelled("mine"), SystemExit("mine")]
)
def test_an_error_of_the_child_is_raised(world: World, error: BaseException) -> None:
    for seconds in (0.0, 1.0):
        task = world.spawn(timeout(2, fail(error, seconds)))
        until_done(world, task)
        with pytest.raises(type(error), match="mine") as caught:
            task.result()
        assert caught.value is error


def test_an_error_while_cleaning_up_is_not_swallowed(world: World) -> None:
    async def breaks() -> None:
        try:
            await sleep(100)
        finally:
            raise OSError("while cleaning up")

    task = world.spawn(timeout(1, breaks()))
    until_done(world, task)
    with pytest.raises(OSError, match="while cleaning up"):
        task.result()


def test_a_result_in_spite_of_the_cancelling(world: World) -> None:
    async def anyway() -> str:
        try:
            await sleep(100)
        except Cancelled:
            return "what there was"
        return "all"

    task = world.spawn(timeout(1, anyway()))
    until_done(world, task)
    assert task.result() == "what there was"


def test_the_innermost_and_the_outermost_timeout(world: World, watched: Watched) -> None:
    async def parent(outer: float, inner: float) -> str:
        try:
            await timeout(outer, timeout(inner, watched.wait("child", 100, cleaning=0.5)))
        except TimeoutError as error:
            return str(error)
        return "in time"

    for outer, inner, least in ((2, 1, 1), (1, 2, 1), (1, 1, 1), (1.4, 1, 1)):
        task = world.spawn(parent(outer, inner))
        assert until_done(world, task) == pytest.approx(least + 0.5)
        assert f"{least} s" in task.result() or outer == 1.4
        assert not timers(world)
    assert watched.said.count("child is clean") == 4


def test_a_parent_cancelled_after_the_timeout(world: World, watched: Watched) -> None:
    async def parent() -> None:
        await timeout(1, watched.wait("slow", 100, cleaning=0.5))

    task = world.spawn(parent())
    world.turns(2, 1.2)
    assert "slow is cancelled" in watched.said
    task.cancel()
    until_done(world, task)
    assert watched.said.count("slow is cancelled") == 1
    assert "slow is clean" in watched.said


def test_a_thousand_timeouts_leave_no_timers_behind(world: World) -> None:
    async def parent() -> None:
        for _ in range(5000):
            await timeout(3600, sleep(0.001))

    until = world.spawn(parent())
    while not until.done:
        world.reactor.run_once(1)
    assert world.entries() < 3000


# --- first_of ------------------------------------------------------------------------------------


def test_the_first_to_end_counts_and_the_other_is_cancelled(world: World, watched: Watched) -> None:
    async def parent() -> str:
        return await first_of(watched.wait("slow", 100, cleaning=0.5), watched.wait("quick", 1))

    task = world.spawn(parent())
    assert until_done(world, task) == pytest.approx(1.5)
    assert task.result() == "quick"
    assert watched.said[2:] == ["quick ends", "slow is cancelled", "slow is clean"]
    assert not timers(world)


def test_the_first_error_counts(world: World, watched: Watched) -> None:
    async def parent() -> str:
        return await first_of(fail(ValueError("mine"), 1), watched.wait("slow", 100))

    task = world.spawn(parent())
    assert until_done(world, task) == pytest.approx(1)
    with pytest.raises(ValueError, match="mine"):
        task.result()
    assert watched.said[1:] == ["slow is cancelled"]


def test_one_that_ends_at_once_keeps_two_from_beginning(world: World, watched: Watched) -> None:
    async def parent() -> Any:
        return await first_of(give("one"), watched.wait("two", 1))

    task = world.spawn(parent())
    world.turns()
    assert task.result() == "one"
    assert not watched.said


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_future_that_loses_is_left_alone(world: World, order: str) -> None:
    """Many wait for an event such as "taken over", one after the other."""
    event: Future[str] = Future()

    async def parent() -> Any:
        return await (first_of(event, sleep(1)) if order == "first" else first_of(sleep(1), event))

    for _ in range(3):
        task = world.spawn(parent())
        until_done(world, task)
        assert task.result() is None
    assert not event.done
    assert not event._callbacks
    event.set_result("event")
    task = world.spawn(parent())
    world.turns()
    assert task.result() == "event"
    assert not timers(world)


def test_an_event_ends_the_wait_for_a_coroutine(world: World, watched: Watched) -> None:
    event: Future[None] = Future()

    async def parent() -> Any:
        return await first_of(watched.wait("slow", 100), event)

    task = world.spawn(parent())
    world.turns()
    event.set_exception(KeyError("taken over"))
    world.turns()
    assert isinstance(task.exception(), KeyError)
    assert watched.said == ["slow begins", "slow is cancelled"]


def test_an_error_of_the_loser_is_logged_and_its_result_dropped(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def stubborn(error: Exception | None) -> str:
        try:
            await sleep(100)
        except Cancelled:
            if error is not None:
                raise error from None
        return "all the same"

    async def parent(error: Exception | None) -> Any:
        return await first_of(stubborn(error), sleep(1))

    for error in (None, OSError("while cleaning up")):
        task = world.spawn(parent(error))
        until_done(world, task)
        assert task.result() is None
    assert caplog.text.count("while cleaning up") == 1


def test_cancelling_the_parent_of_two_cancels_both(world: World, watched: Watched) -> None:
    async def parent() -> Any:
        return await first_of(watched.wait("one", 100, cleaning=0.5), watched.wait("two", 100))

    task = world.spawn(parent())
    world.turns()
    task.cancel()
    assert not task.done
    assert until_done(world, task) == pytest.approx(0.5)
    assert isinstance(task.exception(), Cancelled)
    assert watched.said[2:] == ["one is cancelled", "two is cancelled", "one is clean"]
    assert not timers(world)


@pytest.mark.parametrize("order", [1, -1])
def test_cancelling_the_parent_of_a_coroutine_and_an_event(
    world: World, watched: Watched, order: int
) -> None:
    event: Future[Any] = Future()

    async def parent() -> Any:
        one, two = (watched.wait("slow", 100), event)[::order]
        return await first_of(one, two)

    task = world.spawn(parent())
    world.turns()
    task.cancel()
    world.turns()
    assert isinstance(task.exception(), Cancelled)
    assert not event.done
    assert not event._callbacks
    assert watched.said == ["slow begins", "slow is cancelled"]


def test_cancelling_the_parent_of_two_events(world: World) -> None:
    one: Future[int] = Future()
    two: Future[int] = Future()

    async def parent() -> int:
        return await first_of(one, two)

    task = world.spawn(parent())
    task.cancel()
    world.turns()
    assert isinstance(task.exception(), Cancelled)
    assert not one._callbacks
    assert not two._callbacks


def test_the_first_of_two_that_is_closed_leaves_nothing_running(
    world: World, watched: Watched
) -> None:
    async def parent() -> Any:
        return await first_of(watched.wait("one", 100, cleaning=50), sleep(100))

    task = world.spawn(parent())
    world.turns()
    task.cancel()
    until_done(world, task)
    assert watched.said == ["one begins", "one is cancelled"]
    until = world.clock.time + 100
    while world.clock.time < until:
        world.reactor.run_once(10)
    assert not timers(world)


def test_the_first_of_two_that_never_began_closes_both(world: World, watched: Watched) -> None:
    first = _First((watched.wait("one", 1), sleep(1)))
    first.cancel()
    assert isinstance(first.exception(), Cancelled)
    assert not watched.said


# --- cycles --------------------------------------------------------------------------------------


async def fail_freshly(seconds: float = 0.0) -> None:
    """Its error has no name, which would be a cycle of the test's own."""
    if seconds:
        await sleep(seconds)
    raise ValueError


def failing_later(world: World) -> Future[None]:
    """A Future that fails, and so knows its error."""
    future: Future[None] = Future()
    world.runtime.call_later(0.1, lambda: future.set_exception(ValueError()))
    return future


class Refused(Operation[None]):
    """An operation that cannot begin."""

    def start(self, runtime: RuntimeLike) -> Future[None]:
        raise ValueError


async def _ways(world: World, way: str) -> None:
    if way == "a refusal":
        await Refused()
    elif way == "gather, a Future's error":
        await gather(failing_later(world))
    elif way == "timeout, a Future's error":
        await timeout(10, failing_later(world))
    elif way == "first of two, a Future's error":
        await first_of(sleep(100), failing_later(world))
    elif way == "gather":
        await gather(give(1, 0.1), give(2))
    elif way == "an error":
        await gather(give(1, 100), fail_freshly(0.1))
    elif way == "an error at once":
        await gather(fail_freshly(), give(1))
    elif way == "in time":
        await timeout(1, give(1, 0.1))
    elif way == "late":
        await timeout(0.1, give(1, 100))
    elif way == "too late at once":
        await timeout(0, give(1, 100))
    elif way == "first of two":
        await first_of(give(1, 0.1), give(1, 100))
    elif way == "first of two, an error":
        await first_of(sleep(100), fail_freshly(0.1))
    else:
        await gather(timeout(50, give(1, 100)), give(2, 100))


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        *("gather", "an error", "an error at once", "in time", "late", "too late at once"),
        *("first of two", "first of two, an error", "cancelled", "a refusal"),
        *("gather, a Future's error", "timeout, a Future's error"),
        "first of two, a Future's error",
    ],
)
def test_no_cyclic_garbage(world: World, way: str) -> None:
    async def parent() -> None:
        try:
            await _ways(world, way)
        except (ValueError, TimeoutError, Cancelled):
            pass

    def once() -> None:
        task = world.spawn(parent())
        if way == "cancelled":
            task.cancel()
        while not task.done:
            world.reactor.run_once(10)
        assert task.result() is None

    once()
    with Cycles():
        for _ in range(50):
            once()
        # The heap drops its dead entries now and then, and holds their owners until then.
        world.drop_dead_timers()


def test_a_runtime_is_runtime_like(world: World) -> None:
    runtime: RuntimeLike = world.runtime  # to the type checker
    assert runtime.now() == world.reactor.now
    assert _All(()).done
    limited: _Limited[int] = _Limited(1, give(1))
    limited.cancel()
    assert isinstance(limited.exception(), Cancelled)


# --- under a server ------------------------------------------------------------------------------


@pytest.fixture
def _simulated() -> Iterator[None]:
    with simulation():
        yield


@pytest.mark.usefixtures("_simulated")
def test_a_handler_that_does_several_things_at_once() -> None:
    async def handler(request: BaseRequest) -> Response:
        try:
            words = await timeout(5, gather(give("a", 1), give("b", 2), in_pool(str, 7)))
            await timeout(1, sleep(100))
        except TimeoutError:
            return Response(200, " ".join(words).encode())
        return Response(500)

    server = ServerWorld(handler)
    client = server.client(GET)
    server.run(2.5)
    assert not client.received
    server.run(1)
    assert only(client).body == b"a b 7"
    client.close()
    server.run(3)
    server.invariants.check_rest()


@pytest.mark.usefixtures("_simulated")
def test_a_client_that_leaves_cancels_all(watched: Watched) -> None:
    async def handler(request: BaseRequest) -> Response:
        await gather(watched.wait("a", 50, 0.1), timeout(40, watched.wait("b", 50)))
        return Response(200)

    server = ServerWorld(handler)
    server.client(GET).reset()
    server.run(3)
    assert watched.said[2:] == ["a is cancelled", "b is cancelled", "a is clean"]
    server.invariants.check_rest()
