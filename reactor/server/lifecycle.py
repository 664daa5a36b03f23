"""The functions of an application around its serving: at the start, at the end, and in between.

A handler adds its steps in `prepare`: the functions of its start and its end, and periodic tasks,
as one list in the order of their registration.

    start   goes through the list forward: each function of the start has ended before the next one
            is called. The periodic tasks begin behind the last one
    stop    cancels the periodic tasks, and goes backward from where the start has come: so a
            function of the end is called if all functions of the start before it have succeeded

A function is plain or returns an awaitable, which has a limit of time. A failure of the start stops
what has been started, and ends the server; a failure of the end is logged, and the others go on. A
plain function runs on the loop, and no limit can end it.

A periodic task runs at whole multiples of its interval after the start. One that takes longer skips
the times that it misses: it never runs twice at once, and never makes up for them.
"""

import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from inspect import isawaitable
from traceback import walk_tb
from typing import Any, NamedTuple

from reactor.errors import Cancelled, all_but_interrupts
from reactor.limits import ServerLimits
from reactor.loop.describe import describe
from reactor.tasks.combinators import timeout
from reactor.tasks.foreign_loops import explain
from reactor.tasks.futures import Cancellable, Future
from reactor.tasks.operations import as_coroutine, sleep
from reactor.tasks.task import Runtime, Task

log = logging.getLogger("reactor")


class StepKind(Enum):
    """The kinds of steps."""

    START = "start"
    STOP = "stop"
    EVERY = "every"


class Step(NamedTuple):
    """A function of an application, and when it is called."""

    kind: StepKind
    function: Callable[[], Any]
    seconds: float = 0.0  # between the runs of a periodic task


class StartHookError(RuntimeError):
    """A function of the start has failed: `str` is a sentence, `__cause__` the error."""


class Lifecycle:
    """The steps of the handlers of one server."""

    def __init__(self, runtime: Runtime, limits: ServerLimits, ended: Callable[[], object]) -> None:
        """`ended` is called when all that `end` does has been done."""
        self._runtime = runtime
        self._limits = limits
        self._sources: list[Callable[[], Iterable[Step]]] = []
        self._passed: list[Step] = []  # by the start
        self._periodic: dict[Future[None], Task[None]] = {}  # empty once the end has begun
        self._current: Cancellable[Any] | None = None  # the function that is awaited
        self._is_cut = False  # nothing more is called, until a failed start is stopped
        self._ended = ended
        self._starting: Task[None] | None = None
        self._stopping: Task[None] | None = None

    def add(self, steps: Callable[[], Iterable[Step]]) -> None:
        """Add steps, which `steps()` lists when the server starts. One that is known is no new."""
        self._sources.append(steps)

    def steps(self) -> list[Step]:
        """All steps, in their order; the same one counts once."""
        found = {id(step): step for source in self._sources for step in source()}
        return list(found.values())

    @property
    def has_begun(self) -> bool:
        """Whether the start has begun, at least."""
        return self._starting is not None

    @property
    def is_starting(self) -> bool:
        """Whether functions of the start are to be called still."""
        return self._starting is not None and not self._starting.done

    def begin(self) -> Task[None]:
        """The task of the start, begun at the first call.

        It raises StartHookError when a function has failed, and Cancelled after `end`. The
        functions that had been started are stopped then.
        """
        if self._starting is None:
            turn: Future[None] = Future()  # so that `_starting` is known to what is called
            steps = self.steps()
            self._starting = self._runtime.spawn(self._start(steps, turn))
            self._runtime.call_soon(turn.set_result, None)
        return self._starting

    def end(self) -> None:
        """End a start, or stop all that has been started; a second call ends that at once."""
        if self._starting is not None and not self._starting.done:
            if not self._is_cut:
                self._starting.add_callback(lambda _: self._ended())
            self._cut()
        elif self._stopping is None:
            self._stopping = self._runtime.spawn(self._stop())
            self._stopping.add_callback(lambda _: self._ended())
        else:
            self._cut()

    async def _start(self, steps: list[Step], turn: Future[None]) -> None:
        if steps:
            await turn
        for step in steps:
            if step.kind is StepKind.START:
                await self._start_step(step)
            self._passed.append(step)
        if self._is_cut:
            await self._stop()
            raise Cancelled
        for step in self._passed:
            if step.kind is StepKind.EVERY:
                task = self._runtime.spawn(self._repeat(step))
                self._periodic[task] = task
                task.add_callback(lambda ended: self._periodic.pop(ended, None))

    async def _stop(self) -> None:
        """Cancel the periodic tasks, then call the functions of the end."""
        self._is_cut = False
        periodic, self._periodic = self._periodic, {}
        for task in periodic.values():
            await self._cancelled(task)
        while self._passed:
            step = self._passed.pop()
            if step.kind is not StepKind.STOP:
                continue
            if self._is_cut:
                log.warning("%s is not called: the server ends at once", describe(step.function))
                continue
            try:
                await self._call(step, self._limits.stop_timeout)
            except GeneratorExit:
                raise
            except all_but_interrupts() as error:
                explain(error)
                log.error("%s failed at the end", describe(step.function), exc_info=error)

    def _cut(self) -> None:
        """Cancel the function that is awaited, and call none behind it."""
        self._is_cut = True
        if self._current is not None:
            self._current.cancel()

    async def _start_step(self, step: Step) -> None:
        """Raises StartHookError, and Cancelled after `end`."""
        try:
            if self._is_cut:
                raise Cancelled
            await self._call(step, self._limits.start_timeout)
        except GeneratorExit:
            raise
        except all_but_interrupts() as error:
            was_cut = self._is_cut
            await self._stop()
            if was_cut:
                raise Cancelled from None
            explain(error)
            log.debug("%s failed", describe(step.function), exc_info=error)
            what = f"{_place(step.function, error)} failed: {type(error).__name__}: {error}"
            what = ". ".join((what, *getattr(error, "__notes__", ())))
            raise StartHookError(f"The application cannot start: {what}") from error

    async def _call(self, step: Step, seconds: float) -> None:
        result = step.function()
        if not isawaitable(result):
            return
        awaited: Coroutine[Any, Any, Any] = as_coroutine(result)
        task = self._runtime.spawn(timeout(seconds, awaited) if seconds else awaited)
        self._current = task
        try:
            await task
        finally:
            self._current = None
            del task  # or a failed task, its error and this frame are a cycle

    async def _cancelled(self, task: Task[None]) -> None:
        """Cancel a periodic task, and wait until it has cleaned up."""
        ended: Future[None] = Future()
        task.add_callback(lambda _: ended.set_result(None))
        task.cancel()
        await ended

    async def _repeat(self, step: Step) -> None:
        """Call a function again and again.

        Cancelled is an error as any other where the function itself raises it, before the end.
        """
        clock, began, runs = self._runtime.reactor.clock, self._runtime.reactor.clock(), 0
        while True:
            runs = max(runs, int((clock() - began) / step.seconds)) + 1
            await sleep(max(0.0, began + runs * step.seconds - clock()))
            try:
                result = step.function()
                if isawaitable(result):
                    await result
            except all_but_interrupts() as error:
                if not self._periodic or isinstance(error, GeneratorExit):
                    raise
                explain(error)
                log.error("The periodic %s failed", describe(step.function), exc_info=error)


def _place(function: Callable[..., Any], error: BaseException) -> str:
    """The function, with its line that the error has passed last."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return describe(function)
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code is code]
    return f"{code.co_qualname} ({code.co_filename}, line {[code.co_firstlineno, *lines][-1]})"
