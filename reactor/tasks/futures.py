"""Results that are not there yet.

A Future knows no loop: the code that has the result calls `set_result`, and the code that waits has
added a callback. A coroutine that awaits a Future yields it to the task that steps the coroutine;
the task adds the callback (see tasks/task.py). The other awaitables are operations, which a runtime
turns into Futures (see tasks/operations.py).

RuntimeLike is all that tasks, operations and combinators know of the world. So a coroutine never
looks up a loop, and the same handler runs on the reactor, in the simulator and on a thread of its
own.
"""

import logging
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar, cast

from reactor.errors import all_but_interrupts
from reactor.loop.scheduler import abort_owner, owner_of

T = TypeVar("T")

log = logging.getLogger("reactor")


class Lane(Enum):
    """The kinds of jobs that the thread pool runs; no lane takes the places of another."""

    FILES = "files"
    COMPRESSION = "compression"  # refused where there are too many: the body can go as it is
    STREAMS = "streams"  # compressions of the pieces of a body whose head has left
    LOGS = "logs"


class TimerLike(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Never make the call."""


class Drainable(Protocol):
    """A wait without an end of its own, which a server that drains ends."""

    def drain(self) -> None:
        """End the wait."""


class RuntimeLike(Protocol):
    """Time, threads and tasks, for operations and combinators."""

    is_draining: bool  # the server accepts nothing more: endless streams end
    endless: dict[Drainable, None]  # waits that end when it begins to drain

    def now(self) -> float:
        """Seconds of a clock that never goes back; as old as this turn of the loop."""

    def sleep(self, seconds: float) -> "Future[None]":
        """A Future that is done after `seconds`."""

    def submit(self, lane: Lane, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """The Future of a call on a thread of the pool."""

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], context: Context | None = None
    ) -> "Cancellable[T]":
        """Run the coroutine as a task; its Future."""

    def call_later(
        self, seconds: float, callback: Callable[..., object], *arguments: Any
    ) -> TimerLike:
        """Call `callback(*arguments)` after `seconds`."""


class Future(Generic[T]):
    """A result, or an exception, that arrives once."""

    __slots__ = ("_callbacks", "_error", "_result", "done")

    def __init__(self) -> None:
        self.done = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future[T]], object]] | None = None

    def result(self) -> T:
        """The result, or its exception raised. RuntimeError before the Future is `done`."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self = None  # type: ignore[assignment]  # or error, frame and future are a cycle
        if not self.done:
            raise RuntimeError("this future has no result yet: it is not done")
        return cast(T, self._result)

    def exception(self) -> BaseException | None:
        """The exception that `result` raises, or None. Valid once the Future is `done`."""
        return self._error

    def set_result(self, result: T) -> None:
        """End the Future with a result. Nothing happens if it is done: the waiter may have left."""
        if not self.done:
            self._result = result
            self._finish()

    def set_exception(self, error: BaseException) -> None:
        """End the Future with an exception; as `set_result` otherwise."""
        if not self.done:
            self._error = error
            self._finish()

    def add_callback(self, callback: Callable[["Future[T]"], object]) -> None:
        """Call `callback(future)` when the Future is done; at once if it is done already."""
        if self.done:
            callback(self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def remove_callback(self, callback: Callable[["Future[T]"], object]) -> None:
        """Do not call `callback`. Nothing happens if it is not there."""
        if self._callbacks is not None and callback in self._callbacks:
            self._callbacks.remove(callback)

    def start(self, runtime: RuntimeLike) -> "Future[T]":
        """A Future is already running: it is returned unchanged."""
        return self

    def __await__(self) -> Generator[Any, None, T]:
        try:
            if not self.done:
                yield self
            return self.result()
        finally:
            self = None  # type: ignore[assignment]  # as in `result`

    def _finish(self) -> None:
        """Call all callbacks, also those behind one that raises; its owner is aborted.

        The first error is raised then.
        """
        self.done = True
        callbacks, self._callbacks = self._callbacks, None
        failure: BaseException | None = None
        for callback in callbacks or ():
            try:
                callback(self)
            except all_but_interrupts() as error:
                abort_owner(owner_of(callback))
                if failure is None:
                    failure = error
                else:
                    log.exception("A callback failed after another one of the same Future")
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # or error and frame are a cycle


class Cancellable(Future[T]):
    """The Future of an activity that can be cancelled."""

    __slots__ = ()

    def cancel(self) -> None:
        """End the activity. The Future is done soon, though not always at once."""
        raise NotImplementedError
