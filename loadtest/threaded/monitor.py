"""The guard of the twin's threads: one lock for all that they share.

Handlers and connections are written for one thread: a call is alone until it returns, a coroutine
from one await to the next. Here one lock, MONITOR, makes that true among threads. It is held for
each plain call and each step of a coroutine that is marked as exclusive (reactor/tasks/guard.py),
and for nothing longer. Jobs of the pool run outside of it, as they run on other threads in the
reactor, and their results are taken under it. It is one lock, and it can be taken twice by the same
thread, since a finalizer may run wherever memory is allocated.

    guarded         methods marked as exclusive, of the objects that serve files, keep resumable
                    uploads, read directories and limit rates
    relayed         a future that another thread fulfils: its waiter is resumed in a turn of its
                    own, so that no wake-up is lost between a look and a wait
    own             the scratch buffer: each thread's runtime has one
    never asked     whether a file is in memory: a thread that waits for a disk keeps nobody waiting
    safe as it is   lru_cache (its lock is the interpreter's), the holders of a File (each change is
                    one step of the interpreter), directory locks, the objects that jobs of the pool
                    use (these run on threads in the reactor, too), routes and other structures that
                    are only read once the server runs
    left out        handlers that talk across connections (broadcasts, their own globals): a plain
                    handler of an application runs beside others, and locks what it shares itself
"""

import threading
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import Context
from functools import cached_property, wraps
from inspect import iscoroutine, iscoroutinefunction
from typing import Any, Final, TypeVar

from reactor.files.file import File
from reactor.loop.scheduler import Scheduler
from reactor.net.send_queue import JOIN_BYTES
from reactor.tasks.futures import Future, Lane
from reactor.tasks.task import Runtime, Task
from reactor.tasks.thread_pool import ThreadPool

T = TypeVar("T")

MONITOR: Final = threading.RLock()


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, called under the monitor; so is each step of its coroutine.

    The first step of a coroutine that a plain call has made belongs to that call, as it does on the
    loop, where a task begins at once: a file that the call has found may be closed a moment later.
    """
    if iscoroutinefunction(function):

        @wraps(function)
        async def steps(*arguments: Any, **named: Any) -> Any:
            return await _stepped(function(*arguments, **named))

        return steps

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with MONITOR:
            result = function(*arguments, **named)
            if not iscoroutine(result):
                return result
            try:
                operation = result.send(None)
            except StopIteration as stop:
                return stop.value
        return _begun(result, operation)

    return call


async def _begun(coroutine: Coroutine[Any, Any, T], operation: Any) -> T:
    return await _stepped(coroutine, [operation])


@types.coroutine
def _stepped(
    coroutine: Coroutine[Any, Any, T], first: Sequence[Any] = ()
) -> Generator[Any, Any, T]:
    """Step the coroutine under the monitor, and wait for its operations outside.

    `first` holds its first operation, where it has made its first step already.
    """
    step: Callable[[Any], Any] = coroutine.send
    sent: Any = None
    begun = list(first)
    try:
        while True:
            if begun:
                operation = begun.pop()
            else:
                with MONITOR:
                    try:
                        operation = step(sent)
                    except StopIteration as stop:
                        result: T = stop.value
                        return result
            try:
                sent = yield operation if isinstance(operation, _Guarded) else _Guarded(operation)
                step = coroutine.send
            except GeneratorExit:
                raise
            except BaseException as error:
                step, sent = coroutine.throw, error
    finally:
        sent = None
        with MONITOR:
            coroutine.close()


class _Guarded:
    """An operation that is started under the monitor; the jobs that it submits run outside."""

    __slots__ = ("_operation",)

    def __init__(self, operation: Any) -> None:
        self._operation = operation

    def start(self, runtime: Any) -> Future[Any]:
        pool: _DeferredPool = runtime.guarded.pool
        with MONITOR:
            future: Future[Any] = self._operation.start(runtime.guarded)
        pool.run()
        with MONITOR:
            return future if future.done else Relay(runtime.reactor, future)


class Relay(Future[Any]):
    """The result of a future that any thread may fulfil, for a waiter on this loop's thread."""

    __slots__ = ("_loop", "_shared")

    def __init__(self, loop: Scheduler, shared: Future[Any]) -> None:
        """To be made under the monitor."""
        super().__init__()
        self._loop = loop
        self._shared = shared
        shared.add_callback(self._arrived)

    def remove_callback(self, callback: Callable[[Future[Any]], object]) -> None:
        """The waiter has given up: the shared future forgets it, too."""
        super().remove_callback(callback)
        with MONITOR:
            self._shared.remove_callback(self._arrived)

    def _arrived(self, shared: Future[Any]) -> None:
        """Runs on the thread that fulfils the shared future."""
        self._loop.call_soon(self._take)

    def _take(self) -> None:
        error = self._shared.exception()
        if self.done:
            return
        if error is None:
            self.set_result(self._shared.result())
        else:
            self.set_exception(error)


# --- jobs ----------------------------------------------------------------------------------------


class _InlinePool(ThreadPool):
    """Runs each job where it is submitted: the thread that waits serves nobody else."""

    def __init__(self) -> None:
        """Makes no threads and no queue."""

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()
        _settle(future, *_outcome(function, arguments))
        return future


class _DeferredPool(_InlinePool):
    """Keeps the jobs that are submitted under the monitor, to be run without it."""

    def __init__(self) -> None:
        self._jobs: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()
        self._jobs.append((future, function, arguments))
        return future

    def run(self) -> None:
        """Run all jobs, and those that their ends submit. To be called without the monitor."""
        while self._jobs:
            future, function, arguments = self._jobs.popleft()
            outcome = _outcome(function, arguments)
            with MONITOR:
                _settle(future, *outcome)


def _outcome(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, BaseException | None]:
    """The result of a call, or the error that it raises."""
    try:
        return function(*arguments), None
    except (Exception, SystemExit) as error:
        return None, error


def _settle(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


# --- runtimes ------------------------------------------------------------------------------------


class ThreadRuntime(Runtime):
    """Runs the operations of one thread's coroutines."""

    def __init__(self, loop: Scheduler, cancel_timeout: float) -> None:
        super().__init__(loop, _InlinePool(), cancel_timeout)
        self.in_memory = _within
        self.guarded = _GuardedRuntime(self)  # for coroutines that run under the monitor

    @cached_property
    def scratch(self) -> memoryview:  # type: ignore[override]
        """A buffer of this thread, made when it is first used: few threads of many read files."""
        return memoryview(bytearray(JOIN_BYTES))


class _GuardedRuntime(Runtime):
    """Runs the operations that the same thread's coroutines start under the monitor."""

    def __init__(self, outer: ThreadRuntime) -> None:
        super().__init__(outer.reactor, _DeferredPool(), outer.cancel_timeout)
        self._outer = outer

    def spawn(self, coroutine: Coroutine[Any, Any, T], context: Context | None = None) -> Task[T]:
        """Run a task whose steps are guarded, and whose jobs run outside of the monitor."""
        # The caller holds the monitor, and a first job would run under it: so the first step waits.
        later: Future[None] = Future()
        self.call_soon(later.set_result, None)
        return self._outer.spawn(_step_after(later, coroutine), context)


async def _step_after(later: Future[None], coroutine: Coroutine[Any, Any, T]) -> T:
    await later
    return await _stepped(coroutine)


def _within(file: File, offset: int, count: int) -> bool:
    """In place of File.in_memory: a thread that waits for a disk keeps nobody waiting."""
    return offset + count <= file.size
