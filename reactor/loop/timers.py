"""Timers: points in time that move often and pass rarely.

Most deadlines of a server never pass: each request moves its connection's further away. So moving a
deadline later is an assignment to `Deadline.deadline`. The scheduler's heap still holds the old
time; when that comes, the scheduler reads the new one and pushes the entry again (see
scheduler.py).
"""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from reactor.loop.describe import describe

NEVER: Final = float("inf")
Callback: TypeAlias = Callable[..., object]


class Deadline:
    """A point in time, by the scheduler's clock; NEVER is no deadline.

    Moving it later is an assignment to `deadline`; moving it earlier goes through `Scheduler.arm`.
    """

    __slots__ = ("armed", "deadline")

    def __init__(self) -> None:
        self.deadline = NEVER
        self.armed = NEVER  # the time of the live entry in the heap

    def deadline_passed(self) -> None:
        """Called once when the deadline has passed."""
        raise NotImplementedError

    def abort(self) -> None:
        """Called if `deadline_passed` raises."""


class TimerQueue(Protocol):
    """The part of a scheduler that its timers use."""

    def disarm(self, timer: Deadline) -> None: ...


class Timer(Deadline):
    """A callback at a time. `Scheduler.call_later` makes it."""

    __slots__ = ("_arguments", "_callback", "_queue")

    def __init__(self, queue: TimerQueue, callback: Callback, arguments: tuple[Any, ...]) -> None:
        super().__init__()
        self._queue = queue
        self._callback = callback
        self._arguments = arguments

    def cancel(self) -> None:
        """Do not call it. Nothing happens where it was called or cancelled before."""
        self._queue.disarm(self)

    def deadline_passed(self) -> None:
        """Call the callback."""
        self._callback(*self._arguments)

    def describe(self) -> str:
        """The name of the callback."""
        return describe(self._callback)
