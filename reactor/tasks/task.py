"""Runs coroutines: a Task steps one, and waits for what it yields.

A coroutine yields a Future or an Operation (see tasks/operations.py). The task starts it with its
runtime and is stepped again, in the loop's `soon` phase, when the result is there. The first step
happens at once, so an `async def` handler that waits for nothing is done when its task is made.

`cancel` throws Cancelled at the await. The coroutine may still wait for something while it cleans
up, but not for longer than `cancel_timeout`; then it is closed.
"""

import logging
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, ClassVar, TypeVar

from reactor.errors import Cancelled, all_but_interrupts
from reactor.files.file import SCRATCH, File
from reactor.loop.describe import describe
from reactor.loop.scheduler import Scheduler
from reactor.loop.timers import Timer
from reactor.tasks.foreign_loops import explain, explain_await
from reactor.tasks.futures import Cancellable, Drainable, Future, Lane
from reactor.tasks.thread_pool import ThreadPool

T = TypeVar("T")

log = logging.getLogger("reactor")


class Runtime:
    """All that tasks and connections know of the world: time, threads, timers, the `soon` queue."""

    scratch: ClassVar[memoryview] = SCRATCH  # holds bytes that are sent at once; this thread's own

    def __init__(self, reactor: Scheduler, pool: ThreadPool, cancel_timeout: float) -> None:
        self.reactor = reactor
        self.pool = pool
        self.cancel_timeout = cancel_timeout
        # Returns whether these bytes of a file can be sent without waiting for a disk.
        self.in_memory: Callable[[File, int, int], bool] = File.in_memory
        self.is_draining = False
        self.endless: dict[Drainable, None] = {}
        self.call_soon = reactor.call_soon
        self.call_bulk = reactor.call_bulk
        self.call_later = reactor.call_later

    def now(self) -> float:
        """The loop's time in seconds, as old as this turn."""
        return self.reactor.now

    def sleep(self, seconds: float) -> Future[None]:
        """A Future that is done after `seconds`."""
        return _SleepFuture(self.reactor, seconds)

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """The Future of a call on a thread of the pool (see ThreadPool.submit)."""
        return self.pool.submit(lane, function, *arguments)

    def spawn(self, coroutine: Coroutine[Any, Any, T], context: Context | None = None) -> "Task[T]":
        """Run the coroutine up to its first wait now, and on from there as results come."""
        return Task(self, coroutine, context or copy_context())

    def drain(self) -> None:
        """End the waits that have no end of their own, those of event streams for instance."""
        self.is_draining = True
        for one in tuple(self.endless):
            one.drain()

    def close_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Close an asynchronous generator that is no longer used; its cleaning up may wait."""
        self.spawn(generator.aclose()).cancel_later()

    def adopt_generators(self) -> None:
        """Close this thread's asynchronous generators by tasks when their last reference goes."""
        sys.set_asyncgen_hooks(finalizer=self._finalize)

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        self.call_soon(self.close_generator, generator)


class _SleepFuture(Future[None]):
    """A sleep. A waiter that leaves cancels its timer: long sleeps do not pile up in the heap."""

    __slots__ = ("_timer",)

    def __init__(self, reactor: Scheduler, seconds: float) -> None:
        super().__init__()
        self._timer: Timer | None = reactor.call_later(seconds, self._end)

    def remove_callback(self, callback: Callable[[Future[None]], object]) -> None:
        super().remove_callback(callback)
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _end(self) -> None:
        self._timer = None
        self.set_result(None)


class Task(Cancellable[T]):
    """A running coroutine, and the Future of its result."""

    __slots__ = ("_awaited", "_close_timer", "_context", "_coroutine", "_runtime")

    def __init__(
        self, runtime: Runtime, coroutine: Coroutine[Any, Any, T], context: Context
    ) -> None:
        super().__init__()
        self._runtime = runtime
        self._coroutine = coroutine
        self._context = context
        self._awaited: Future[Any] | None = None  # while it waits; else it runs, or is about to
        self._close_timer: Timer | None = None
        self._step(None, None)

    def cancel(self) -> None:
        """Throw Cancelled at the await.

        Callbacks are called as at any other end: a caller that no longer wants the result removes
        its own first.
        """
        if self.done or self._close_timer is not None:
            return
        self.cancel_later()
        if self._awaited is not None:
            self._awaited.remove_callback(self._resume)
            self._awaited = None
            self._step(None, Cancelled())

    def cancel_later(self) -> None:
        """Close the coroutine after `cancel_timeout`, unless it has ended by then."""
        if not self.done:
            self._close_timer = self._runtime.call_later(self._runtime.cancel_timeout, self._close)

    def describe(self) -> str:
        """The name of the coroutine and the line where it waits."""
        return describe(self._coroutine)

    def _resume(self, future: Future[Any]) -> None:
        self._runtime.call_soon(self._step_if_waiting, future)

    def _step_if_waiting(self, future: Future[Any], error: BaseException | None = None) -> None:
        if self._awaited is future:  # otherwise it was cancelled in between
            self._awaited = None
            self._step(future, error)

    def _step(self, done: Future[Any] | None, error: BaseException | None) -> None:
        coroutine = self._coroutine
        try:
            if error is None:
                yielded = self._context.run(coroutine.send, done)
            else:
                yielded = self._context.run(coroutine.throw, error)
        except StopIteration as stop:
            self._end()
            self.set_result(stop.value)
        except all_but_interrupts() as problem:
            self._end()
            explain(problem)
            self.set_exception(_without_first_frame(problem))
        else:
            self._await(yielded)

    def _await(self, yielded: Any) -> None:
        """Start the operation that the coroutine has yielded, and wait for it."""
        # No name for the Future: the error that has failed it knows this frame, a cycle.
        try:
            start = getattr(yielded, "start", None)
            if start is None:
                self._awaited = Future()
                foreign = self._foreign(yielded)
                self._runtime.call_soon(self._step_if_waiting, self._awaited, foreign)
                return
            self._awaited = start(self._runtime)
            self._awaited.add_callback(self._resume)
        except all_but_interrupts() as error:
            self._awaited = Future()
            self._awaited.set_exception(error)
            self._awaited.add_callback(self._resume)

    def _foreign(self, yielded: Any) -> TypeError:
        """The error to throw at the await, since a foreign awaitable ignores what it is sent."""
        awaited: Any = self._coroutine
        while (inner := getattr(awaited, "cr_await", None)) is not None:
            awaited = inner
        error = TypeError(
            f"cannot await {awaited!r}, which yields {yielded!r}: it belongs to another event loop"
        )
        explain_await(error, self._coroutine, yielded)
        return error

    def _end(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None  # it knows the task: a cycle

    def _close(self) -> None:
        """Close the coroutine: its time to clean up is over."""
        if self._awaited is not None:
            self._awaited.remove_callback(self._resume)
            self._awaited = None
        try:
            self._coroutine.close()
        except all_but_interrupts():
            log.exception("Cannot close %r, which was cancelled", self._coroutine)
        self._close_timer = None
        self.set_exception(Cancelled())


def _without_first_frame(error: BaseException) -> BaseException:
    """The error without the task's own frame: error, traceback, frame and task were a cycle."""
    traceback = error.__traceback__
    return error.with_traceback(traceback and traceback.tb_next)
