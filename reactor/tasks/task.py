"""Runs coroutines: a Task steps one, and waits for what it yields.

A coroutine yields a wish (a Future, a Sleep, a Job; see tasks/futures.py). The task has the runtime
carry it out and is stepped again, in the loop's `soon` phase, when the result is there. The first
step happens at once, so an `async def` handler that waits for nothing is done when its task is
made.

Cancelling throws Cancelled at the await. The coroutine may still wait for something while it cleans
up, but not for longer than `cancel_timeout`; then it is closed.
"""

import logging
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, ClassVar, TypeVar

from reactor.errors import Cancelled
from reactor.files.file import SCRATCH, File
from reactor.loop.describe import describe
from reactor.loop.scheduler import Scheduler
from reactor.loop.timers import Timer
from reactor.tasks.futures import Cancellable, Future, Lane
from reactor.tasks.thread_pool import ThreadPool

T = TypeVar("T")

log = logging.getLogger("reactor")


class Runtime:
    """What tasks and connections may ask of the world: time, threads, and to be called soon."""

    scratch: ClassVar[memoryview] = SCRATCH  # what is read to be sent at once; this thread's own

    def __init__(self, reactor: Scheduler, pool: ThreadPool, cancel_timeout: float) -> None:
        self.reactor = reactor
        self.pool = pool
        self.cancel_timeout = cancel_timeout
        # Whether these bytes of a file can be sent without waiting for a disk.
        self.in_memory: Callable[[File, int, int], bool] = File.in_memory
        self.call_soon = reactor.call_soon
        self.call_later = reactor.call_later

    def now(self) -> float:
        return self.reactor.now

    def sleep(self, seconds: float) -> Future[None]:
        return _SleepFuture(self.reactor, seconds)

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        return self.pool.submit(lane, function, *arguments)

    def spawn(self, coroutine: Coroutine[Any, Any, T], context: Context | None = None) -> "Task[T]":
        """Run the coroutine to its first wait, and on from there as its wishes come true."""
        return Task(self, coroutine, context or copy_context())

    def close_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Close an asynchronous generator that nobody will pull again; it may wait in doing so."""
        self.spawn(generator.aclose()).cancel_later()

    def adopt_generators(self) -> None:
        """Have this thread's asynchronous generators closed by tasks when they are let go."""
        sys.set_asyncgen_hooks(finalizer=self._finalize)

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        self.call_soon(self.close_generator, generator)


class _SleepFuture(Future[None]):
    """Who gives up waiting takes the timer along: it may be an hour away, and they add up."""

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
    """A running coroutine, and the future of what it returns."""

    __slots__ = ("_awaited", "_context", "_coroutine", "_last_call", "_runtime")

    def __init__(
        self, runtime: Runtime, coroutine: Coroutine[Any, Any, T], context: Context
    ) -> None:
        super().__init__()
        self._runtime = runtime
        self._coroutine = coroutine
        self._context = context
        self._awaited: Future[Any] | None = None  # None: it runs, or is about to
        self._last_call: Timer | None = None
        self._step(None, None)

    def cancel(self) -> None:
        """Throw Cancelled at the await; who wants the result no more has removed its callback."""
        if self.done or self._last_call is not None:
            return
        self.cancel_later()
        if self._awaited is not None:
            self._awaited.remove_callback(self._resume)
            self._awaited = None
            self._step(None, Cancelled())

    def cancel_later(self) -> None:
        """Let it go on for `cancel_timeout`; then it is closed."""
        if not self.done:
            self._last_call = self._runtime.call_later(self._runtime.cancel_timeout, self._close)

    def describe(self) -> str:
        """Its coroutine, and where that waits."""
        return describe(self._coroutine)

    def _resume(self, future: Future[Any]) -> None:
        self._runtime.call_soon(self._step_if_waiting, future)

    def _step_if_waiting(self, future: Future[Any], error: BaseException | None = None) -> None:
        if self._awaited is future:  # otherwise it was cancelled in between
            self._awaited = None
            self._step(future, error)

    def _step(self, fulfilled: Future[Any] | None, error: BaseException | None) -> None:
        coroutine = self._coroutine
        try:
            if error is None:
                wish = self._context.run(coroutine.send, fulfilled)
            else:
                wish = self._context.run(coroutine.throw, error)
        except StopIteration as stop:
            self._end()
            self.set_result(stop.value)
        except (Exception, Cancelled, SystemExit) as problem:
            self._end()
            self.set_exception(_without_first_frame(problem))
        else:
            self._await(wish)

    def _await(self, wish: Any) -> None:
        """Wait for what the coroutine has yielded."""
        start = getattr(wish, "start", None)
        if start is None:
            self._awaited = Future()
            self._runtime.call_soon(self._step_if_waiting, self._awaited, self._foreign(wish))
            return
        try:
            future: Future[Any] = start(self._runtime)
        except Exception as error:
            future = Future()
            future.set_exception(error)
        self._awaited = future
        future.add_callback(self._resume)

    def _foreign(self, wish: Any) -> TypeError:
        """Thrown at the await: what is foreign does not look at what it is sent."""
        awaited: Any = self._coroutine
        while (inner := getattr(awaited, "cr_await", None)) is not None:
            awaited = inner
        return TypeError(
            f"a handler here cannot await {awaited!r}, which yields {wish!r}: "
            "it belongs to another loop"
        )

    def _end(self) -> None:
        if self._last_call is not None:
            self._last_call.cancel()
            self._last_call = None  # it knows the task: a cycle

    def _close(self) -> None:
        """The time to clean up is over."""
        if self._awaited is not None:
            self._awaited.remove_callback(self._resume)
            self._awaited = None
        try:
            self._coroutine.close()
        except Exception:
            log.exception("%r did not let itself be closed", self._coroutine)
        self._last_call = None
        self.set_exception(Cancelled())


def _without_first_frame(error: BaseException) -> BaseException:
    """That frame is a task's: error, traceback, frame and task would be a cycle."""
    traceback = error.__traceback__
    return error.with_traceback(traceback and traceback.tb_next)
