"""A tracer that logs the callbacks that hold the loop.

One thread serves all connections, so a callback that computes or blocks for 200 ms makes everybody
wait for 200 ms. This tracer times each ready socket, timer and callback, at the price of one
reading of the clock for a socket and of two for a timer or callback. A callback that takes longer
than the limit is named in the log, with the number of sockets that were ready in that moment and
had to wait.
"""

import logging
from selectors import BaseSelector

from reactor.errors import counted
from reactor.loop.describe import describe
from reactor.loop.tracer import CALLBACKS, Phase, Tracer

log = logging.getLogger("reactor")


class SlowCallbacks(Tracer):
    """Logs callbacks that take `limit` seconds or more."""

    phases = CALLBACKS

    def __init__(self, limit: float, selector: BaseSelector) -> None:
        """`selector` is the reactor's, which knows how many sockets are ready."""
        self.limit = limit
        self._selector = selector

    def called(
        self, phase: Phase, callback: object, began: float, ended: float, late: float
    ) -> None:
        """Log the callback."""
        waiting = len(self._selector.select(0))
        log.warning(
            "%s held the loop for %.3f s; %s waited",
            describe(callback),
            ended - began,
            counted(waiting, "socket"),
        )
