"""A reactor that tells who has held it.

One thread serves all, so whoever computes or blocks for 200 ms lets everybody wait for 200 ms. Here
each ready socket, timer and callback is timed, at the price of one look at the clock for a socket
and of two for a timer or callback, and who takes longer than the limit is named in the log, with
how many sockets were ready in that moment and had to wait.

It changes nothing of what the loop does (see loop/reactor.py), and where nobody is to be named the
plain Reactor is the one to use.
"""

import logging
from collections.abc import Callable
from selectors import BaseSelector, SelectorKey
from time import monotonic
from typing import Any

from reactor.loop.describe import describe
from reactor.loop.reactor import Reactor
from reactor.loop.timers import Callback
from reactor.loop.waker import Waker

log = logging.getLogger("reactor")


class TimedReactor(Reactor):
    """A Reactor whose callbacks may take `limit` seconds."""

    def __init__(
        self,
        limit: float,
        selector: BaseSelector | None = None,
        clock: Callable[[], float] = monotonic,
        waker: Waker | None = None,
    ) -> None:
        super().__init__(selector, clock, waker)
        self._limit = limit

    def _run_events(self, ready: list[tuple[SelectorKey, int]]) -> None:
        clock, limit = self.clock, self._limit
        began = clock() if self.behind else self.now
        for key, mask in ready:
            try:
                key.data.on_events(mask)
            except Exception:
                self._blame(key.data)
            ended = clock()
            if ended - began > limit:
                self._tell(key.data, ended - began)
                ended = clock()
            began = ended

    def _call(self, callback: Callback, arguments: tuple[Any, ...] = ()) -> None:
        began = self.clock()
        Reactor._call(self, callback, arguments)
        seconds = self.clock() - began
        if seconds > self._limit:
            self._tell(callback, seconds)

    def _tell(self, callback: object, seconds: float) -> None:
        waiting = len(self.selector.select(0))
        log.warning(
            "%s held the loop for %.3f s; %d %s waited",
            describe(callback),
            seconds,
            waiting,
            "socket" if waiting == 1 else "sockets",
        )
