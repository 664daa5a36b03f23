"""Turns that go round the clients, and jobs that stand in the queues of all who wait for them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.errors import Cancelled
from reactor.tasks.fair_turns import FairTurns, QueuedJob
from reactor.tasks.futures import Future
from reactor.tasks.task import Task
from tests.support.cycles import Cycles
from tests.support.worlds import RuntimeWorld as World


class Places:
    """Enters places, and notes in which order they are granted."""

    def __init__(self, most: int = 1) -> None:
        self.turns = FairTurns(most)
        self.granted: list[str] = []

    def enter(self, name: str, *clients: str, size: int = 0) -> Future[None]:
        place: Future[None] = Future()

        def note(done: Future[None]) -> None:
            if done.exception() is None:
                self.granted.append(name)

        place.add_callback(note)
        for client in clients:
            self.turns.enter(place, client, size)
        return place

    def run(self) -> str:
        """Release all turns that are granted, one by one; the order of the grants."""
        done = 0
        while done < len(self.granted):
            done += 1
            self.turns.release()
        return " ".join(self.granted)


# --- turns ---------------------------------------------------------------------------------------


def test_turns_are_granted_at_once_while_there_are_any() -> None:
    places = Places(2)
    first, second, third = (places.enter(name, "a") for name in "xyz")
    assert (first.done, second.done, third.done) == (True, True, False)
    places.turns.release()
    assert third.done


def test_turns_go_round_the_clients() -> None:
    places = Places()
    for name in ("a1", "a2", "a3", "a4"):
        places.enter(name, "a")
    for name in ("b1", "b2"):
        places.enter(name, "b")
    places.enter("c1", "c")
    assert places.run() == "a1 a2 b1 c1 a3 b2 a4"


def test_the_smallest_of_one_client_is_first() -> None:
    places = Places()
    places.enter("running", "a")
    for name, size in (("large", 9), ("small", 1), ("large too", 9), ("middle", 5)):
        places.enter(name, "a", size=size)
    assert places.run() == "running small middle large large too"


def test_a_place_in_several_queues_is_granted_once() -> None:
    places = Places()
    for name in ("a1", "a2", "a3"):
        places.enter(name, "a")
    places.enter("both", "a", "b")
    places.enter("a4", "a")
    assert places.run() == "a1 a2 both a3 a4"


def test_a_waiter_that_has_given_up_costs_nobody_a_turn() -> None:
    places = Places()
    places.enter("a1", "a")
    gone = places.enter("gone", "a")
    places.enter("a2", "a")
    places.enter("b1", "b")
    gone.set_exception(Cancelled())
    assert places.run() == "a1 a2 b1"
    assert places.turns.waiting == 0


def test_a_client_whose_waiters_have_all_gone_is_forgotten() -> None:
    places = Places()
    places.enter("a1", "a")
    for _ in range(5):
        places.enter("gone", "b").set_exception(Cancelled())
    assert places.run() == "a1"
    assert places.turns.waiting == 0


def test_as_many_waiters_as_clients_like_need_no_deep_stack() -> None:
    turns = FairTurns(1)
    first: Future[None] = Future()
    turns.enter(first, "a", 0)
    places: list[Future[None]] = [Future() for _ in range(5000)]
    for number, place in enumerate(places):
        place.add_callback(lambda _: turns.release())  # ends its turn when it gets it
        turns.enter(place, number % 7, 0)
    turns.release()
    assert all(place.done for place in places)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=20), st.integers(1, 3)
)
def test_every_place_is_granted_once_and_no_more_than_allowed_at_a_time(
    asked: list[tuple[str, int]], most: int
) -> None:
    places = Places(most)
    for number, (client, size) in enumerate(asked):
        places.enter(str(number), client, size=size)
    assert len(places.granted) == min(most, len(asked))
    places.run()
    assert sorted(map(int, places.granted)) == list(range(len(asked)))


# --- jobs ----------------------------------------------------------------------------------------


class Work(QueuedJob[str]):
    """A job that takes one turn and ends when the test says so."""

    def __init__(self, turns: FairTurns, name: str, log: list[str], size: int = 0) -> None:
        self.name = name
        self.end: Future[str] = Future()
        self._turns = turns
        self._log = log
        self._size = size
        super().__init__()

    async def run(self) -> str:
        async with self.turn(self._turns, self._size):
            self._log.append(self.name)
            return await self.end


class Bench:
    """Jobs that share turns, in a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.turns = FairTurns(1)
        self.log: list[str] = []

    def job(self, name: str, size: int = 0) -> Work:
        return Work(self.turns, name, self.log, size)

    def wait(self, job: Work, client: str) -> Task[Any]:
        task = self.world.spawn(job.wait(client))
        self.world.turns()
        return task

    def finish(self, job: Work, result: str = "done") -> None:
        job.end.set_result(result)
        self.world.turns()


@pytest.fixture
def bench(world: World) -> Bench:
    return Bench(world)


def test_a_job_runs_once_for_all(bench: Bench) -> None:
    job = bench.job("one")
    tasks = [bench.wait(job, client) for client in "aab"]
    bench.finish(job, "result")
    assert [task.result() for task in tasks] == ["result"] * 3
    assert bench.log == ["one"]


def test_a_client_that_joins_does_not_wait_in_the_queue_of_another(bench: Bench) -> None:
    jobs = [bench.job(f"a{number}") for number in range(4)]
    for job in jobs:
        bench.wait(job, "a")
    bench.wait(jobs[3], "b")
    bench.finish(jobs[0])
    bench.finish(jobs[1])
    assert bench.log == ["a0", "a1", "a3"]


def test_a_job_that_waits_again_stands_in_all_queues(bench: Bench) -> None:
    class Twice(Work):
        async def run(self) -> str:
            await super().run()
            self.end = Future()
            return await super().run()

    job = Twice(bench.turns, "twice", bench.log)
    bench.wait(job, "a")
    bench.wait(job, "b")
    others = [bench.job(f"a{number}") for number in range(3)]
    for other in others:
        bench.wait(other, "a")
    bench.finish(job)
    bench.finish(others[0])
    bench.finish(others[1])
    assert bench.log == ["twice", "a0", "a1", "twice"]  # not behind a2


def test_it_is_wanted_while_somebody_waits(bench: Bench) -> None:
    job = bench.job("one")
    wanted: list[bool] = []
    for task in (bench.wait(job, "a"), bench.wait(job, "b")):
        wanted.append(job.wanted)
        task.cancel()
        bench.world.turns()
    assert [*wanted, job.wanted] == [True, True, False]
    bench.finish(job)  # it ends all the same
    assert bench.turns.waiting == 0
    assert bench.wait(bench.job("next"), "a").done is False
    assert bench.log == ["one", "next"]


def test_an_error_reaches_all_and_ends_the_turn(bench: Bench) -> None:
    job, after = bench.job("one"), bench.job("two")
    tasks = [bench.wait(job, client) for client in "ab"]
    bench.wait(after, "a")
    job.end.set_exception(OSError("a broken disk"))
    bench.world.turns()
    for task in tasks:
        with pytest.raises(OSError, match="broken"):
            task.result()
    assert bench.log == ["one", "two"]


def test_it_leaves_no_cyclic_garbage(world: World) -> None:
    class Failing(Work):
        async def run(self) -> str:
            await super().run()
            raise OSError("a broken disk")

    bench = Bench(world)
    with Cycles():
        for kind in (Work, Failing):
            job = kind(bench.turns, "one", bench.log)
            tasks = [bench.wait(job, client) for client in "ab"]
            bench.finish(job)
            assert all(task.done for task in tasks)
            del job, tasks
        world.drop_dead_timers()
