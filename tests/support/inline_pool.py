"""A world of tasks whose pool runs a job where it is submitted, or when the test says so."""

from collections.abc import Callable
from typing import Any, TypeVar

from reactor.tasks.futures import Future, Lane
from reactor.tasks.task import Runtime, Task
from reactor.tasks.thread_pool import ThreadPool
from tests.support.worlds import RuntimeWorld

T = TypeVar("T")


class InlinePool(ThreadPool):
    """Runs jobs at once, and keeps them while it is `holding`. It has no threads."""

    def __init__(self) -> None:
        self.holding = False
        self.jobs: list[Callable[[], None]] = []
        self.count = 0

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()

        def job() -> None:
            try:
                result = function(*arguments)
            except Exception as error:
                # Its frames know those below, down to the task that waits: a cycle.
                future.set_exception(error.with_traceback(None))
            else:
                future.set_result(result)

        self.count += 1
        if self.holding:
            self.jobs.append(job)
        else:
            job()
        return future

    def perform(self, count: int | None = None) -> None:
        """Run the first `count` of the jobs that are kept, or all."""
        jobs, self.jobs = self.jobs[:count], self.jobs[len(self.jobs[:count]) :]
        for job in jobs:
            job()

    def close(self) -> None:
        """Nothing to end."""


class InlineWorld(RuntimeWorld):
    """A world of tasks with such a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: InlinePool = InlinePool()
        self.runtime = Runtime(self.reactor, self.pool, 1.0)

    def finish(self, *tasks: Task[Any]) -> list[Any]:
        """Turn after turn until the tasks have ended, without time passing; their results."""
        for _ in range(100_000):
            if all(task.done for task in tasks):
                return [task.result() for task in tasks]
            self.reactor.run_once(0)
        raise AssertionError("they do not end")
