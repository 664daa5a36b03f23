"""Waiting for what comes next, and not losing it when something else has to be done meanwhile.

A stream that has been silent for a while wants a sign of life: a comment in an event stream, a
ping. The item that is waited for must go on being waited for: an asynchronous generator that is
cancelled is at its end. So each step of the source is a task of its own, which outlives who waits
for it, and the next who waits finds it. Waiting brings news only; an item stays in its task until
it is taken.

There may be thousands of streams with an item a second each, so an item moves no timer. One is
under way for as long as somebody waits; when it goes off it looks how long ago the wait began, and
mostly goes back to sleep.
"""

from collections.abc import AsyncIterator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from reactor.tasks.futures import Cancellable, Future, RuntimeLike, TimerLike
from reactor.tasks.operations import Operation, as_coroutine

T = TypeVar("T")


class Heartbeat(Generic[T]):
    """The items of an asynchronous iterator, and None whenever none has come for `seconds`.

    A reader that is cancelled loses nothing: what was waited for is there for the next. All steps
    of the source are made in one context. A step raises what the source raises, and TypeError where
    that gives None itself. Closing gives up the step that is under way, and leaves the source to be
    closed by its owner.
    """

    __slots__ = ("_began", "_context", "_news", "_seconds", "_source", "_step", "_timer")

    def __init__(self, source: AsyncIterator[T], seconds: float) -> None:
        """Raises ValueError for `seconds` of 0 or less."""
        if not seconds > 0:
            raise ValueError(f"a tick comes after more than 0 seconds, not {seconds:g}")
        self._source = source
        self._seconds = seconds
        self._context = copy_context()
        self._step: Cancellable[T] | None = None  # of the source, under way or not yet taken
        self._news: Future[None] | None = None  # for who waits: the step is made, or a tick is due
        self._began = 0.0  # when that wait did
        self._timer: TimerLike | None = None

    def __aiter__(self) -> "Heartbeat[T]":
        return self

    async def __anext__(self) -> T | None:
        if self._news is not None:
            raise RuntimeError("somebody else is waiting for the next item")
        if self._step is None or not self._step.done:
            try:
                await _News(self)
            finally:
                self._news = None
        step = self._step
        if step is None or not step.done:
            return None
        self._step = None
        try:
            item = step.result()
        finally:
            del step  # or error, frame and step are a cycle
        if item is None:
            raise TypeError("the source has given None, which is a tick")
        return item

    async def aclose(self) -> None:
        """Cancel the step that is under way, and wait until it has cleaned up."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        step, self._step = self._step, None
        if step is not None and not step.done:
            ended: Future[None] = Future()
            step.add_callback(lambda _: ended.set_result(None))
            step.cancel()
            await ended

    def begin_wait(self, runtime: RuntimeLike) -> Future[None]:
        """For the wish of who waits."""
        news: Future[None] = Future()
        self._news = news
        self._began = runtime.now()
        if self._step is None:
            self._step = runtime.spawn(as_coroutine(anext(self._source)), self._context)
            self._step.add_callback(self._tell)
        if self._timer is None and not news.done:
            self._timer = runtime.call_later(self._seconds, self._look, runtime)
        return news

    def _tell(self, step: Future[Any]) -> None:
        """The source has made its step; where nobody waits, it is kept."""
        if self._news is not None:
            self._news.set_result(None)

    def _look(self, runtime: RuntimeLike) -> None:
        """The timer has gone off: a tick, if that is how long somebody has waited."""
        self._timer = None
        if self._news is None:
            return
        left = self._began + self._seconds - runtime.now()
        if left > 0:
            self._timer = runtime.call_later(left, self._look, runtime)
        else:
            self._news.set_result(None)


class _News(Operation[None]):
    __slots__ = ("_ticking",)

    def __init__(self, ticking: Heartbeat[Any]) -> None:
        self._ticking = ticking

    def start(self, runtime: RuntimeLike) -> Future[None]:
        return self._ticking.begin_wait(runtime)
