"""Awaitables that the runtime carries out: a sleep, a job on the thread pool.

A coroutine yields an Operation; the Task that steps the coroutine calls `start` with its runtime,
which returns the Future to wait for (see task.py). So a coroutine never looks up a loop, and the
same handler runs on the reactor, in the simulator and on a thread of its own.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

from reactor.tasks.futures import Future, Lane, RuntimeLike

T = TypeVar("T")


class Operation(Generic[T]):
    """An awaitable that its task turns into a Future."""

    __slots__ = ()

    def start(self, runtime: RuntimeLike) -> Future[T]:
        raise NotImplementedError

    def __await__(self) -> Generator[Any, Future[T], T]:
        return (yield self).result()  # no name for it: error, frame and future would be a cycle


class _Sleep(Operation[None]):
    __slots__ = ("_seconds",)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def start(self, runtime: RuntimeLike) -> Future[None]:
        return runtime.sleep(self._seconds)


class _Job(Operation[T]):
    __slots__ = ("_arguments", "_function", "_lane")

    def __init__(self, lane: Lane, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        self._lane = lane
        self._function = function
        self._arguments = arguments

    def start(self, runtime: RuntimeLike) -> Future[T]:
        return runtime.submit(self._lane, self._function, *self._arguments)


def sleep(seconds: float) -> Awaitable[None]:
    """Wait `seconds`, counted from the moment it is awaited; other connections go on meanwhile."""
    return _Sleep(seconds)


def in_pool(function: Callable[..., T], *arguments: Any, lane: Lane = Lane.FILES) -> Awaitable[T]:
    """Run `function(*arguments)` on a thread of the pool and wait for what it returns or raises.

    For calls that release the GIL: file I/O, and gzip with `lane=Lane.COMPRESSION`. Where the
    pool is full a file job waits for its turn, `Limits.pool_timeout` at most, and then raises
    ProtocolError(503); a compression job raises PoolFull at once.
    """
    return _Job(lane, function, arguments)
