"""Several coroutines at once, one that must not take too long, and the first of two to end.

`gather`, `timeout` and `first_of` run what they are given as children: tasks of their own, each in
a copy of its parent's context. Three rules, the same for all, keep it small:

- A parent goes on when its children have ended, never before. A child that is cancelled cleans up
  first, within the runtime's `cancel_timeout`, and is closed after that.
- Cancelling the parent cancels the children. Their results and errors then count as at any other
  time, as if they had been awaited one by one.
- Every child has a parent that waits for it. Work that is to outlive its handler is no child.

The children's Futures know the group and the group its children: a cycle, which is cut when they
end. No loop is known here: the runtime that starts an operation does it all (see
tasks/operations.py).
"""

import logging
from collections import deque
from collections.abc import Awaitable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar, overload

from reactor.errors import Cancelled
from reactor.tasks.futures import Cancellable, Future, RuntimeLike, TimerLike
from reactor.tasks.operations import as_coroutine, begin

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")

log = logging.getLogger("reactor")


@overload
async def gather(one: Awaitable[T1], two: Awaitable[T2], /) -> tuple[T1, T2]: ...
@overload
async def gather(
    one: Awaitable[T1], two: Awaitable[T2], three: Awaitable[T3], /
) -> tuple[T1, T2, T3]: ...
@overload
async def gather(*awaitables: Awaitable[T]) -> tuple[T, ...]: ...
async def gather(*awaitables: Awaitable[Any]) -> tuple[Any, ...]:
    """The results of all, in the order of the arguments; all of them run at once.

    The first error cancels the others and is raised once all have ended; further errors are logged.
    After an error at the first step of one, those behind it are not begun.
    """
    try:
        return await result_of(_All(awaitables))
    finally:
        del awaitables  # a Future that has failed: error, frame and Future would be a cycle


async def timeout(seconds: float, awaitable: Awaitable[T]) -> T:
    """The result of `awaitable`; if it takes longer than `seconds`, it is cancelled: TimeoutError.

    With 0 seconds or less it may run up to its first wait. A result that it returns in spite of the
    cancelling is returned, and an error of its own is raised; TimeoutError stands for Cancelled
    only.
    """
    try:
        return await result_of(_Limited(seconds, awaitable))
    finally:
        del awaitable  # as in `gather`


async def first_of(one: Awaitable[T1], two: Awaitable[T2], /) -> T1 | T2:
    """The result of the first of the two to end, or its error raised; the other is cancelled.

    A coroutine that loses cleans up before this returns; what it raises then is logged, what it
    returns is dropped. A Future or an Operation that loses is no longer waited for: a job on a
    thread runs to its end. Where both have ended already, `one` counts, and `two` is not begun.
    Their results should differ, so that the caller knows which one has ended::

        piece = await first_of(body.read(4096), taken_over)  # None: a Future without a result
    """
    try:
        return await result_of(_First((one, two)))
    finally:
        del one, two  # as in `gather`


async def result_of(children: Cancellable[T]) -> T:
    """The result of the children. A caller that is cancelled cancels them, and waits on."""
    try:
        return await children
    except Cancelled:
        if children.done:
            raise
        children.cancel()
        return await children
    except GeneratorExit:  # the time to clean up is over, here as well
        children.cancel()
        raise
    finally:
        del children  # error, frame and children would be a cycle


class _All(Cancellable[tuple[Any, ...]]):
    """The results of all, or the first error, when all have ended."""

    __slots__ = ("_failure", "_running", "_tasks", "_unstarted")

    def __init__(self, awaitables: tuple[Awaitable[Any], ...]) -> None:
        super().__init__()
        self._unstarted: deque[tuple[Coroutine[Any, Any, Any], Context]] = deque(
            (as_coroutine(one), copy_context()) for one in awaitables
        )
        self._running = len(awaitables)
        self._tasks: list[Cancellable[Any]] = []
        self._failure: BaseException | None = None
        self._end_if_due()

    def start(self, runtime: RuntimeLike) -> Future[tuple[Any, ...]]:
        """Begin all children. A second call begins nothing."""
        while self._unstarted:
            coroutine, context = self._unstarted.popleft()
            task = runtime.spawn(coroutine, context)
            self._tasks.append(task)
            task.add_callback(self._ended)
        return self

    def cancel(self) -> None:
        while self._unstarted:
            self._unstarted.popleft()[0].close()
            self._running -= 1
            if self._failure is None:
                self._failure = Cancelled()
        for task in tuple(self._tasks):
            task.cancel()
        self._end_if_due()

    def _ended(self, task: Future[Any]) -> None:
        self._running -= 1
        error = task.exception()
        if error is not None:
            if self._failure is None:
                self._failure = error
                self.cancel()
            elif not isinstance(error, Cancelled):
                log.error("A child of gather failed after another one had failed", exc_info=error)
        self._end_if_due()

    def _end_if_due(self) -> None:
        if self._running or self.done:
            return
        tasks, self._tasks = self._tasks, []
        failure, self._failure = self._failure, None
        if failure is None:
            self.set_result(tuple(task.result() for task in tasks))
        else:
            self.set_exception(failure)


class _First(Cancellable[Any]):
    """The result or error of the first child to end, once the other has ended as well."""

    __slots__ = ("_running", "_unstarted", "_winner")

    def __init__(self, awaitables: tuple[Awaitable[Any], ...]) -> None:
        super().__init__()
        self._unstarted: deque[tuple[Awaitable[Any], Context]] = deque(
            (one, copy_context()) for one in awaitables
        )
        self._running: list[Future[Any]] = []
        self._winner: Future[Any] | None = None

    def start(self, runtime: RuntimeLike) -> Future[Any]:
        while self._unstarted:
            awaitable, context = self._unstarted.popleft()
            future = begin(awaitable, runtime, context)
            self._running.append(future)
            future.add_callback(self._ended)
        return self

    def cancel(self) -> None:
        """Cancel both children; the result or error of the first to end still counts."""
        if self._winner is None and not any(isinstance(one, Cancellable) for one in self._running):
            self._winner = Future()
            self._winner.set_exception(Cancelled())
        self._stop_running()
        self._end_if_due()

    def _ended(self, future: Future[Any]) -> None:
        self._running.remove(future)
        if self._winner is None:
            self._winner = future
            self._stop_running()
        else:
            error = future.exception()
            if error is not None and not isinstance(error, Cancelled):
                log.error(
                    "A child of first_of failed after the other one had ended", exc_info=error
                )
        self._end_if_due()

    def _stop_running(self) -> None:
        """Cancel each child that can be cancelled, and stop waiting for the others."""
        while self._unstarted:
            awaitable, _ = self._unstarted.popleft()
            if isinstance(awaitable, Coroutine):
                awaitable.close()
        for future in tuple(self._running):
            if isinstance(future, Cancellable):
                future.cancel()
            elif future in self._running:  # the cancelling before may have come here as well
                future.remove_callback(self._ended)
                self._running.remove(future)

    def _end_if_due(self) -> None:
        if self._running or self._unstarted or self._winner is None:
            return
        winner, self._winner = self._winner, None
        error = winner.exception()
        if error is None:
            self.set_result(winner.result())
        else:
            self.set_exception(error)


class _Limited(Cancellable[T]):
    """The result or error of one child, with TimeoutError in place of the timer's Cancelled."""

    __slots__ = ("_late", "_seconds", "_task", "_timer", "_unstarted")

    def __init__(self, seconds: float, awaitable: Awaitable[T]) -> None:
        super().__init__()
        self._seconds = seconds
        self._unstarted: tuple[Coroutine[Any, Any, T], Context] | None = (
            as_coroutine(awaitable),
            copy_context(),
        )
        self._task: Cancellable[T] | None = None
        self._timer: TimerLike | None = None
        self._late = False

    def start(self, runtime: RuntimeLike) -> Future[T]:
        unstarted, self._unstarted = self._unstarted, None
        if unstarted is not None:
            task = self._task = runtime.spawn(*unstarted)
            if not task.done:
                if self._seconds > 0:
                    self._timer = runtime.call_later(self._seconds, self._time_out)
                else:
                    self._time_out()
            task.add_callback(self._ended)
        return self

    def cancel(self) -> None:
        if self._unstarted is not None:
            self._unstarted[0].close()
            self._unstarted = None
            self.set_exception(Cancelled())
        elif self._task is not None:
            self._task.cancel()

    def _time_out(self) -> None:
        self._timer = None
        self._late = True
        self.cancel()

    def _ended(self, task: Future[T]) -> None:
        self._task = None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        error = task.exception()
        if error is None:
            self.set_result(task.result())
        elif self._late and isinstance(error, Cancelled):
            self.set_exception(TimeoutError(f"the timeout of {self._seconds:g} s is over"))
        else:
            self.set_exception(error)
