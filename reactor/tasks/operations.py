"""Awaitables that the runtime carries out: a sleep, a job on the thread pool.

A coroutine yields an Operation; the Task that steps the coroutine calls `start` with its runtime,
which returns the Future to wait for (see task.py). So a coroutine never looks up a loop, and the
same handler runs on the reactor, in the simulator and on a thread of its own.

A task that is cancelled stops waiting for the Future. A job on a thread cannot be stopped: it runs
to its end, and what it uses must live until then. Two options say so where the job is made:
`in_pool(..., holding=file)` holds the file until the thread has finished with it, and `then` has a
function called with the result even if nobody waits any more.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

from reactor.errors import all_but_interrupts
from reactor.tasks.futures import Future, Lane, RuntimeLike

T = TypeVar("T")
R = TypeVar("R")


class Holdable(Protocol):
    """Something that counts its holders and closes itself after the last one, like a File."""

    def hold(self) -> object:
        """Count one more holder."""

    def release(self) -> None:
        """Count one holder less."""


class Operation(Generic[T]):
    """An awaitable that its task turns into a Future."""

    __slots__ = ()

    def start(self, runtime: RuntimeLike) -> Future[T]:
        """Begin the operation and return the Future of its result."""
        raise NotImplementedError

    def then(
        self,
        landed: Callable[[T], R],
        failed: Callable[[BaseException], object] | None = None,
    ) -> "Operation[R]":
        """An operation whose result is `landed(result)`.

        `landed` is called once, on the loop's thread, before any task that waits is stepped, and
        also when no task waits any more. If the operation fails, `failed(error)` is called instead
        and the waiter gets the error. An error that `landed` raises goes to the waiter, too.
        """
        return _Then(self, landed, failed)

    def __await__(self) -> Generator[Any, Any, T]:
        # No name for the future: error, frame and future would be a cycle.
        return (yield self).result()  # type: ignore[no-any-return]


class _Then(Operation[R]):
    """An operation, and the function that its result passes through."""

    __slots__ = ("_failed", "_landed", "_operation")

    def __init__(
        self,
        operation: Operation[T],
        landed: Callable[[T], R],
        failed: Callable[[BaseException], object] | None,
    ) -> None:
        self._operation: Operation[Any] = operation
        self._landed: Callable[[Any], R] = landed
        self._failed = failed

    def start(self, runtime: RuntimeLike) -> Future[R]:
        future: Future[R] = Future()
        self._operation.start(runtime).add_callback(partial(self._ended, future))
        return future

    def _ended(self, future: Future[R], job: Future[Any]) -> None:
        error = job.exception()
        try:
            if error is None:
                result = self._landed(job.result())
            elif self._failed is not None:
                self._failed(error)
        except all_but_interrupts() as problem:
            error = problem
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class _Sleep(Operation[None]):
    """A timer of the runtime."""

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def start(self, runtime: RuntimeLike) -> Future[None]:
        return runtime.sleep(self._seconds)


class _Job(Operation[T]):
    """A call on a thread of the runtime's pool."""

    __slots__ = ("_arguments", "_function", "_holding", "_lane")

    def __init__(
        self,
        lane: Lane,
        function: Callable[..., T],
        arguments: tuple[Any, ...],
        holding: Holdable | None,
    ) -> None:
        self._lane = lane
        self._function = function
        self._arguments = arguments
        self._holding = holding

    def start(self, runtime: RuntimeLike) -> Future[T]:
        held = self._holding
        if held is None:
            return runtime.submit(self._lane, self._function, *self._arguments)
        held.hold()
        try:
            job: Future[T] = runtime.submit(self._lane, self._function, *self._arguments)
        except BaseException:
            held.release()
            raise
        job.add_callback(lambda _: held.release())
        return job


def sleep(seconds: float) -> Operation[None]:
    """Wait `seconds`, counted from the moment it is awaited; other connections go on meanwhile."""
    return _Sleep(seconds)


def in_pool(
    function: Callable[..., T],
    *arguments: Any,
    lane: Lane = Lane.FILES,
    holding: Holdable | None = None,
) -> Operation[T]:
    """Run `function(*arguments)` on a thread of the pool and wait for what it returns or raises.

    For calls that release the GIL: file I/O, and gzip with `lane=Lane.COMPRESSION`. `holding` is
    held from the start of the job until the thread has returned, also when the waiter is cancelled.

    Where all places of the lane are taken, a compression raises PoolFull at once, which is a 503;
    any other job waits for its turn, `Limits.pool_timeout` at most, and then raises it.
    """
    return _Job(lane, function, arguments, holding)


# --- for combinators -----------------------------------------------------------------------------


def begin(
    awaitable: Awaitable[T], runtime: RuntimeLike, context: Context | None = None
) -> Future[T]:
    """The Future of any awaitable, under way.

    An Operation or a Future is started; anything else is run as a task, in `context`.
    """
    start = getattr(awaitable, "start", None)
    if start is None:
        return runtime.spawn(as_coroutine(awaitable), context)
    try:
        future: Future[T] = start(runtime)
    except all_but_interrupts() as error:
        future = Future()
        future.set_exception(error)
    return future


def as_coroutine(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    """A coroutine that a task can step: the argument itself, or one that awaits it."""
    if hasattr(awaitable, "send") and hasattr(awaitable, "throw"):
        return cast(Coroutine[Any, Any, T], awaitable)
    return _await(awaitable)


async def _await(awaitable: Awaitable[T]) -> T:
    try:
        return await awaitable
    finally:
        del awaitable  # a Future that has failed: error, frame and Future would be a cycle
