"""The next item of a stream, or a sign of life if none comes for a while; no item gets lost.

A stream that has been silent for a while needs a sign of life: a comment in an event stream, a
ping. The wait for the next item must go on meanwhile, because an asynchronous generator that is
cancelled is at its end. So each step of the source is a task of its own, which outlives the reader
that waits for it; the next reader finds it. Waiting returns no item, only the news that there is
something; an item stays in its task until it is taken.

There may be thousands of streams with an item a second each, so an item moves no timer. One timer
is under way for as long as a reader waits. When it fires it compares the time with the beginning of
the wait, and mostly goes back to sleep.
"""

from collections.abc import AsyncIterator
from contextvars import copy_context
from math import inf
from typing import Any, Generic, TypeVar

from reactor.tasks.futures import Cancellable, Drainable, Future, RuntimeLike, TimerLike
from reactor.tasks.operations import Operation, as_coroutine

T = TypeVar("T")


class Heartbeat(Generic[T]):
    """The items of an asynchronous iterator, and None whenever none has come for `seconds`.

    A reader that is cancelled loses nothing: the next reader gets the item. All steps of the source
    are made in one context. A step raises what the source raises, and TypeError where the source
    itself yields None. An endless one ends when the server drains, once no item is there. Closing
    cancels the step that is under way; the source is closed by its owner.
    """

    __slots__ = (
        "_began",
        "_context",
        "_endless",
        "_is_endless",
        "_news",
        "_seconds",
        "_source",
        "_step",
        "_timer",
    )

    def __init__(
        self, source: AsyncIterator[T], seconds: float, *, is_endless: bool = True
    ) -> None:
        """`seconds` may be infinite. Raises ValueError for 0 or less.

        `is_endless`: the source has no end of its own.
        """
        if not seconds > 0:
            raise ValueError(f"the heartbeat is {seconds:g} s, but it must be more than 0 s")
        self._source = source
        self._seconds = seconds
        self._is_endless = is_endless
        self._context = copy_context()
        self._step: Cancellable[T] | None = None  # the source's, under way or not yet taken
        # A reader waits for it: a step, or a beat is due, or, which is True, the server drains.
        self._news: Future[bool] | None = None
        self._endless: dict[Drainable, None] = {}  # the runtime's waits, once there was one
        self._began = 0.0  # the time when that wait began
        self._timer: TimerLike | None = None

    def __aiter__(self) -> "Heartbeat[T]":
        return self

    async def at_once(self) -> T | None:
        """The next item where the source has it without waiting, or else None, without a beat."""
        if self._step is None:
            await _Begin(self)
        ready = self._step is not None and self._step.done
        return await anext(self) if ready else None

    async def __anext__(self) -> T | None:
        if self._news is not None:
            raise RuntimeError("another task is waiting for the next item already")
        drains = False
        if self._step is None or not self._step.done:
            try:
                drains = await _News(self)
            finally:
                self._news = None
                self._endless.pop(self, None)
        step = self._step
        if step is None or not step.done:
            if drains:
                raise StopAsyncIteration
            return None
        self._step = None
        try:
            item = step.result()
        finally:
            del step  # or error, frame and step are a cycle
        if item is None:
            raise TypeError("the source has yielded None, which stands for a beat")
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

    def drain(self) -> None:
        """End the iterator, since the server drains: a reader waits, and there is no item."""
        if self._news is not None:
            self._news.set_result(True)

    def begin_wait(self, runtime: RuntimeLike) -> Future[bool]:
        """For `_News`: a Future that is done with the source's step, or when a beat is due."""
        news: Future[bool] = Future()
        self._news = news
        if self._is_endless:
            self._endless = runtime.endless
            self._endless[self] = None
        self._began = runtime.now()
        if self._step is None:
            self.begin_step(runtime)
        if self._timer is None and not news.done and self._seconds < inf:
            self._timer = runtime.call_later(self._seconds, self._beat_if_due, runtime)
        if runtime.is_draining and self._is_endless:
            self.drain()
        return news

    def begin_step(self, runtime: RuntimeLike) -> None:
        """For `_News` and `_Begin`: begin a step of the source, where none is under way."""
        self._step = runtime.spawn(as_coroutine(anext(self._source)), self._context)
        self._step.add_callback(self._step_ended)

    def _step_ended(self, step: Future[Any]) -> None:
        """Wake the reader; without one the step is kept."""
        if self._news is not None:
            self._news.set_result(False)

    def _beat_if_due(self, runtime: RuntimeLike) -> None:
        """The timer has fired. A beat is due if the reader has waited for that long."""
        self._timer = None
        if self._news is None:
            return
        left = self._began + self._seconds - runtime.now()
        if left > 0:
            self._timer = runtime.call_later(left, self._beat_if_due, runtime)
        else:
            self._news.set_result(False)


class _News(Operation[bool]):
    """The wait of one reader."""

    __slots__ = ("_heartbeat",)

    def __init__(self, heartbeat: Heartbeat[Any]) -> None:
        self._heartbeat = heartbeat

    def start(self, runtime: RuntimeLike) -> Future[bool]:
        return self._heartbeat.begin_wait(runtime)


class _Begin(Operation[None]):
    """A step of the source, as far as it goes without waiting."""

    __slots__ = ("_heartbeat",)

    def __init__(self, heartbeat: Heartbeat[Any]) -> None:
        self._heartbeat = heartbeat

    def start(self, runtime: RuntimeLike) -> Future[None]:
        self._heartbeat.begin_step(runtime)
        begun: Future[None] = Future()
        begun.set_result(None)
        return begun
