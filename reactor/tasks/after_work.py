"""Work that begins when a response has been sent: `request.after(function, *arguments)`.

A request's calls are registered while its handler runs. They begin in the loop's `soon` phase, when
the whole response is queued and the turn has sent what the peer takes, or when the client has left
in the middle of it. They are forgotten where the handler fails. The calls of one request run one
after the other, those of several requests beside each other; a failure is logged and ends no more
than its own call.

Calls that are registered, wait or run count as one number, which is limited. A server that drains
waits for them (see server/shutdown.py).
"""

import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from inspect import isawaitable
from typing import Any, Final, NamedTuple, Protocol

from reactor.errors import ProtocolError, all_but_interrupts, counted
from reactor.log_limit import LogLimit
from reactor.loop.describe import describe, safe_repr
from reactor.tasks.foreign_loops import explain
from reactor.tasks.task import Runtime, Task

NAMED: Final = 5  # calls that the record of their end names

log = logging.getLogger("reactor")


class AfterCall(NamedTuple):
    """A function, and what it is called with."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class _Series:
    """The calls of one request, which run one after the other."""

    __slots__ = ("calls", "context", "current", "first", "is_cancelled", "request", "task")

    def __init__(self, request: str, first: Callable[..., Any]) -> None:
        self.first = first  # the first of its functions
        self.calls: deque[AfterCall] = deque()
        self.current: AfterCall | None = None  # while it runs
        self.context: Context = copy_context()
        self.request = request  # as the log names it
        self.task: Task[None] | None = None  # once they have begun
        self.is_cancelled = False

    def describe(self) -> str:
        """The first function and the request, for the log of slow callbacks."""
        return f"{describe(self.first)}, after the response to {self.request},"

    def begin(self, run: Callable[["_Series"], object]) -> None:
        """Run it: the callback of the loop, which describes itself."""
        run(self)


class _Late:
    """In the place of an AfterWork, for requests whose response has ended: calls begin at once."""

    __slots__ = ("_work",)

    def __init__(self, work: "AfterWork") -> None:
        self._work = work

    def add(
        self, request: "Registrant", function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        """Call the function soon."""
        self._work.add(request, function, arguments)
        self._work.begin(request)

    def forget(self, request: "Registrant") -> None:
        """Forget nothing: all calls have begun."""


class Registrant(Protocol):
    """A request: the calls that it gets are added to its `after_work`."""

    after_work: Any


class AfterWork:
    """The calls after the responses of one server."""

    def __init__(self, runtime: Runtime, most: int, ended: Callable[[], object]) -> None:
        """`most` calls at a time; `ended` is called when the last one that ran has ended."""
        self.registered: dict[Registrant, _Series] = {}  # until the response ends
        self.late = _Late(self)  # takes the place of this object when the response has ended
        self.count = 0  # calls that are registered, wait or run
        self._running: dict[_Series, None] = {}
        self._runtime = runtime
        self._most = most
        self._ended = ended
        self._too_many = LogLimit(log.warning, clock=runtime.reactor.clock)

    @property
    def is_busy(self) -> bool:
        """Whether calls wait or run after responses that have ended."""
        return bool(self._running)

    def add(
        self, request: Registrant, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        """Call the function after the response to this request.

        Raises ProtocolError (503) beyond the limit, TypeError for an object that is not callable.
        """
        if not callable(function):
            raise TypeError(f"`after` takes a function and its arguments, not {function!r}")
        if self.count >= self._most:
            self._too_many.log("%r: %d calls wait after responses already", request, self.count)
            raise ProtocolError(503, "The server is too busy.", [("Retry-After", "1")])
        series = self.registered.get(request)
        if series is None:
            series = self.registered[request] = _Series(safe_repr(request), function)
        series.calls.append(AfterCall(function, arguments))
        self.count += 1

    def forget(self, request: Registrant) -> None:
        """Call nothing after the response to this request."""
        series = self.registered.pop(request, None)
        if series is not None:
            self._drop(series)

    def begin(self, request: Registrant) -> None:
        """The response has ended: call the functions that were registered."""
        series = self.registered.pop(request, None)
        if series is not None:
            self._running[series] = None
            self._runtime.call_soon(series.begin, self.run)

    def leave(self, request: Registrant, *, has_begun: bool) -> None:
        """The client has left: call the functions if its response `has_begun`, or forget them.

        Those that the handler adds while it cleans up are called.
        """
        if has_begun:
            self.begin(request)
        else:
            self.forget(request)
        request.after_work = self.late

    def cancel(self, reason: str) -> None:
        """Cancel all calls that wait or run, and log their names."""
        calls = [one for series in self._running for one in (series.current, *series.calls) if one]
        if calls:
            names = ", ".join(describe(call.function) for call in calls[:NAMED])
            log.warning(
                "Cancelled %s after responses, since %s: %s",
                *(counted(len(calls), "call"), reason, names),
            )
        for series in tuple(self._running):
            self._drop(series)
            series.is_cancelled = True
            if series.task is not None:
                series.task.cancel()

    def _drop(self, series: _Series) -> None:
        self.count -= len(series.calls)
        series.calls.clear()

    def run(self, series: _Series) -> None:
        """Begin the calls of a series."""
        series.task = self._runtime.spawn(self._run(series), series.context)
        series.task.add_callback(lambda task: self._series_ended(series))

    async def _run(self, series: _Series) -> None:
        """Call one function after the other. An error of one is logged.

        Cancelled is an error as well, where the function itself raises it.
        """
        while series.calls:
            series.current = call = series.calls.popleft()
            try:
                result = call.function(*call.arguments)
                if isawaitable(result):
                    await result
            except all_but_interrupts() as error:
                if series.is_cancelled or isinstance(error, GeneratorExit):
                    raise
                explain(error)
                name, request = describe(call.function), series.request
                log.error("%s failed after the response to %s", name, request, exc_info=error)
            finally:
                series.current = None
                self.count -= 1

    def _series_ended(self, series: _Series) -> None:
        series.task = None  # or series, task and callback are a cycle
        self._drop(series)  # calls are left where the loop has closed the task
        self._running.pop(series, None)
        if not self._running:
            self._ended()
