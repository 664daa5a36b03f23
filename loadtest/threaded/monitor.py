"""What the threads of `loadtest.threaded.server` share, made safe; nothing of it is a reactor's
business.

Handlers and connections are written for one thread that has its turn. So here is one lock, MONITOR,
and whoever works on what is shared has it for as long as on the loop nobody else would have run:
for a plain call, and for each step of a coroutine from one wait to the next. Jobs of the pool run
outside of it, as they run on other threads there, and their results are taken under it. It is one
lock, and one that may be taken twice: a finalizer may run wherever memory is asked for.

    guarded         methods that are marked as exclusive (reactor/tasks/guard.py): of what serves
                    files, keeps resumable uploads, reads directories, limits rates
    relayed         a future that another thread fulfils: its waiter hears of it in a turn of its
                    own, so that no wake-up falls between a look and a wait
    own             the scratch buffer, for looks at files
    never asked     whether a file is in memory: a thread that waits for a disk keeps nobody waiting
    safe as it is   lru_cache (its lock is the interpreter's), the holders of a File (each change is
                    one step of the interpreter), folder locks, what the pool's jobs
                    touch (they are on threads there, too), what is composed once and then read
    left out        handlers that talk across connections (channels, their own globals): a plain
                    handler of an application runs beside others, and locks what it shares itself
"""

import threading
import time
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import Context
from functools import cached_property, wraps
from inspect import iscoroutine, iscoroutinefunction
from typing import Any, Final, TypeVar, cast

from reactor.files.file import File
from reactor.http.wall_clock import WallClock
from reactor.loop.scheduler import Scheduler
from reactor.net.send_queue import JOIN_BYTES
from reactor.observe.log_writer import BATCH_SECONDS, LogFile
from reactor.tasks.futures import Future, Lane
from reactor.tasks.operations import sleep
from reactor.tasks.semaphore import WeightedSemaphore
from reactor.tasks.task import Runtime, Task
from reactor.tasks.thread_pool import ThreadPool

T = TypeVar("T")

MONITOR: Final = threading.RLock()

LINE_BYTES: Final = 100  # a line of the access log, about: by these lines its memory is limited


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which has the monitor to itself; so has each step of its coroutine.

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
                wish = result.send(None)
            except StopIteration as stop:
                return stop.value
        return _begun(result, wish)

    return call


async def _begun(coroutine: Coroutine[Any, Any, T], wish: Any) -> T:
    return await _stepped(coroutine, [wish])


@types.coroutine
def _stepped(
    coroutine: Coroutine[Any, Any, T], first: Sequence[Any] = ()
) -> Generator[Any, Any, T]:
    """Step the coroutine under the monitor, and wait for its wishes outside.

    `first` has its first wish, where it has made its first step already.
    """
    step: Callable[[Any], Any] = coroutine.send
    news: Any = None
    begun = list(first)
    try:
        while True:
            if begun:
                wish = begun.pop()
            else:
                with MONITOR:
                    try:
                        wish = step(news)
                    except StopIteration as stop:
                        result: T = stop.value
                        return result
            try:
                news = yield wish if isinstance(wish, _Guarded) else _Guarded(wish)
                step = coroutine.send
            except GeneratorExit:
                raise
            except BaseException as error:
                step, news = coroutine.throw, error
    finally:
        news = None
        with MONITOR:
            coroutine.close()


class _Guarded:
    """A wish that is carried out under the monitor, but for the jobs that it has to run."""

    __slots__ = ("_wish",)

    def __init__(self, wish: Any) -> None:
        self._wish = wish

    def start(self, runtime: Any) -> Future[Any]:
        pool: _PutOff = runtime.guarded.pool
        with MONITOR:
            future: Future[Any] = self._wish.start(runtime.guarded)
        pool.run()
        with MONITOR:
            return future if future.done else Relay(runtime.reactor, future)


class Relay(Future[Any]):
    """A future's result, which another thread may set, for who waits on this loop's thread."""

    __slots__ = ("_loop", "_shared")

    def __init__(self, loop: Scheduler, shared: Future[Any]) -> None:
        """With the monitor."""
        super().__init__()
        self._loop = loop
        self._shared = shared
        shared.add_callback(self._arrived)

    def remove_callback(self, callback: Callable[[Future[Any]], object]) -> None:
        """Whoever waits has given up."""
        super().remove_callback(callback)
        with MONITOR:
            self._shared.remove_callback(self._arrived)

    def _arrived(self, shared: Future[Any]) -> None:
        """On whatever thread."""
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


class _Inline(ThreadPool):
    """Blocking calls where they are made: the thread that waits is nobody else's."""

    def __init__(self) -> None:
        """No threads, and no queue."""

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()
        _tell(future, *_outcome(function, arguments))
        return future


class _PutOff(_Inline):
    """The same for who has the monitor: they run when it is free, and end when it is had again."""

    def __init__(self) -> None:
        self._jobs: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, lane: Lane, function: Callable[..., T], *arguments: Any) -> Future[T]:
        future: Future[T] = Future()
        self._jobs.append((future, function, arguments))
        return future

    def run(self) -> None:
        """All of them, and those that their ends lead to. Without the monitor."""
        while self._jobs:
            future, function, arguments = self._jobs.popleft()
            outcome = _outcome(function, arguments)
            with MONITOR:
                _tell(future, *outcome)


def _outcome(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, BaseException | None]:
    """What it returns, or raises."""
    try:
        return function(*arguments), None
    except (Exception, SystemExit) as error:
        return None, error


def _tell(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class ThreadRuntime(Runtime):
    """The wishes of one thread's coroutines."""

    def __init__(self, loop: Scheduler, cancel_timeout: float) -> None:
        super().__init__(loop, _Inline(), cancel_timeout)
        self.in_memory = _within
        self.guarded = _GuardedRuntime(self)  # for what the monitor guards

    @cached_property
    def scratch(self) -> memoryview:  # type: ignore[override]
        """A buffer of this thread, made when it is first used: few threads of many read files."""
        return memoryview(bytearray(JOIN_BYTES))


class _GuardedRuntime(Runtime):
    """The same thread's, asked by who has the monitor."""

    def __init__(self, outer: ThreadRuntime) -> None:
        super().__init__(outer.reactor, _PutOff(), outer.cancel_timeout)
        self._outer = outer

    def spawn(self, coroutine: Coroutine[Any, Any, T], context: Context | None = None) -> Task[T]:
        """Each step of the task has the monitor, and its jobs run outside of it."""
        return self._outer.spawn(_apart(coroutine), context)


async def _apart(coroutine: Coroutine[Any, Any, T]) -> T:
    await sleep(0)  # whoever spawns it has the monitor, and a first job would run under it
    return await _stepped(coroutine)


# --- what connections share ----------------------------------------------------------------------


class ThreadMemory(WeightedSemaphore):
    """One thread's way to the memory that all share."""

    def __init__(self, shared: WeightedSemaphore, loop: Scheduler) -> None:
        self._shared = shared
        self._loop = loop

    def acquire(self, count: int = 1) -> Future[int] | None:
        with MONITOR:
            future = self._shared.acquire(count)
            return None if future is None else _Room(self._loop, future, self._shared)

    def release(self, count: int = 1) -> None:
        with MONITOR:
            self._shared.release(count)


class _Room(Relay):
    """Memory that is waited for; who gives up may have been given it in that very moment."""

    __slots__ = ("_memory",)

    def __init__(self, loop: Scheduler, shared: Future[Any], memory: WeightedSemaphore) -> None:
        super().__init__(loop, shared)
        self._memory = memory

    def set_exception(self, error: BaseException) -> None:
        with MONITOR:
            if not self.done and self._shared.done:
                self._memory.release(self._shared.result())
            elif not self.done:
                self._shared.set_exception(error)
        super().set_exception(error)


class SharedWall(WallClock):
    """Nobody reads the time of one second and remembers it in the next."""

    def refresh(self, now: float) -> None:
        with MONITOR:
            if now >= self.expires:
                super().refresh(now)

    def status_line(self, status: int) -> bytes:
        with MONITOR:
            return super().status_line(status)


class SharedLog:
    """Lines to a file, from all threads; a thread of its own writes them, by batches."""

    def __init__(self, file: LogFile, limit: int) -> None:
        self.lost = 0
        self._file = file
        self._most = max(1, limit // LINE_BYTES)
        self._lines: deque[str] = deque()
        self._writing = threading.Lock()
        self._ended = threading.Event()

    def write(self, line: str) -> None:
        """Needs no lock: to append is one step."""
        if len(self._lines) < self._most:
            self._lines.append(line)
        else:
            self.lost += 1

    def run(self) -> None:
        while not self._ended.wait(BATCH_SECONDS):
            self._write_batch()

    def close(self) -> None:
        self._ended.set()
        self._write_batch()

    def _write_batch(self) -> None:
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if lines:
                self._file.write("".join(lines).encode("utf-8", "backslashreplace"))


class _Clock:
    """What the access log asks of a reactor; the time of one thread's turn is not another's."""

    clock = staticmethod(time.monotonic)

    @property
    def now(self) -> float:
        return time.monotonic()


SHARED_CLOCK: Final = cast(Scheduler, _Clock())


def _within(file: File, offset: int, count: int) -> bool:
    """In place of File.in_memory: a thread that waits for a disk keeps nobody waiting."""
    return offset + count <= file.size
