"""Timers: a point in time that moves often and passes rarely.

Most deadlines of a server never pass: each request moves its connection's further away. So moving a
deadline later is an assignment to `Deadline.deadline`; the loop's heap still holds the old time,
and when that comes the loop sees the new one and pushes the entry again (see reactor.py).
"""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from reactor.loop.describe import describe

NEVER: Final = float("inf")
Callback: TypeAlias = Callable[..., object]


class Deadline:
    """A point in time (of the reactor's clock) that moves often and passes rarely.

    Moving it later is an assignment to `deadline`; moving it earlier goes through
    `Reactor.arm`. NEVER is no deadline.
    """

    __slots__ = ("armed", "deadline")

    def __init__(self) -> None:
        self.deadline = NEVER
        self.armed = NEVER  # when the heap entry that counts wakes up

    def deadline_passed(self) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        """What it costs to raise from `deadline_passed`."""


class TimerQueue(Protocol):
    """Where timers wait for their time: the reactor."""

    def disarm(self, timer: Deadline) -> None: ...


class Timer(Deadline):
    """A callback at a time; `cancel` it at will."""

    __slots__ = ("_arguments", "_callback", "_queue")

    def __init__(self, queue: TimerQueue, callback: Callback, arguments: tuple[Any, ...]) -> None:
        super().__init__()
        self._queue = queue
        self._callback = callback
        self._arguments = arguments

    def cancel(self) -> None:
        self._queue.disarm(self)

    def deadline_passed(self) -> None:
        self._callback(*self._arguments)

    def describe(self) -> str:
        return describe(self._callback)
