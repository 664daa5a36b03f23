"""What a coroutine may wait for.

A Future is a result that is not there yet. It knows no loop: whoever has the result calls
`set_result`, and whoever waits has left a callback. The other awaitables, Sleep and Job, are
wishes: a coroutine yields one, the task that steps the coroutine has it carried out by its runtime
(see tasks/task.py). So a coroutine never looks for a loop by itself, and the same handler runs on
the reactor, in the simulator and on a thread of its own.
"""

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar, cast

T = TypeVar("T")


class Lane(Enum):
    """The two kinds of work that the thread pool takes."""

    FILES = "files"
    COMPRESSION = "compression"  # at most two threads at a time, so that files never wait for it


class TimerLike(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...


class RuntimeLike(Protocol):
    """What carries out a coroutine's wishes."""

    def now(self) -> float:
        """Seconds of a clock that never goes back; as old as this turn of the loop."""

    def sleep(self, seconds: float) -> "Future[None]": ...
    def submit(
        self, lane: Lane, function: Callable[..., Any], *arguments: Any
    ) -> "Future[Any]": ...
    def spawn(
        self, coroutine: Coroutine[Any, Any, T], context: Context | None = None
    ) -> "Cancellable[T]": ...
    def call_later(
        self, seconds: float, callback: Callable[..., object], *arguments: Any
    ) -> TimerLike: ...


class Future(Generic[T]):
    """A result, or an exception, that arrives once."""

    __slots__ = ("_callbacks", "_error", "_result", "done")

    def __init__(self) -> None:
        self.done = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future[T]], object]] | None = None

    def result(self) -> T:
        """The result; raises the exception instead if there is one. Only once it is `done`."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self = None  # type: ignore[assignment]  # or error, frame and future are a cycle
        if not self.done:
            raise RuntimeError("the result of this future is not there yet")
        return cast(T, self._result)

    def exception(self) -> BaseException | None:
        """What `result` would raise, if anything. Only once it is `done`."""
        return self._error

    def set_result(self, result: T) -> None:
        """Nothing happens when the future is done: who waited may have given up."""
        if not self.done:
            self._result = result
            self._finish()

    def set_exception(self, error: BaseException) -> None:
        if not self.done:
            self._error = error
            self._finish()

    def add_callback(self, callback: Callable[["Future[T]"], object]) -> None:
        """Call `callback(future)` when the result is there: at once if it is there already."""
        if self.done:
            callback(self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def remove_callback(self, callback: Callable[["Future[T]"], object]) -> None:
        if self._callbacks is not None and callback in self._callbacks:
            self._callbacks.remove(callback)

    def start(self, runtime: RuntimeLike) -> "Future[T]":
        """A future is its own wish."""
        return self

    def __await__(self) -> Generator[Any, None, T]:
        try:
            if not self.done:
                yield self
            return self.result()
        finally:
            self = None  # type: ignore[assignment]  # as in `result`

    def _finish(self) -> None:
        self.done = True
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback(self)


class Cancellable(Future[T]):
    """The future of something that is under way and can be given up."""

    __slots__ = ()

    def cancel(self) -> None:
        """Give it up; it ends soon, though not always at once."""
        raise NotImplementedError
