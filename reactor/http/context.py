"""What all connections of a server share: the handler, the limits, the clock, and who is told.

One object for ten thousand connections, so that each holds a reference and no more. It does
nothing by itself: the server makes it, and connections read it.
"""

from collections.abc import Awaitable, Callable
from inspect import isroutine
from typing import Any, TypeAlias

from reactor.http.wall_clock import WallClock
from reactor.limits import Limits
from reactor.messages.headers import Fields
from reactor.messages.request import Request
from reactor.messages.response import Response
from reactor.tasks.semaphore import WeightedSemaphore
from reactor.tasks.task import Runtime

Handler: TypeAlias = Callable[[Request], Response | Awaitable[Response]]
# Called when a response has been queued whole or has broken off: with its request, its status and
# fields, and the number of bytes of its body.
Observer: TypeAlias = Callable[[Request, int, Fields, int], object]


class ServerContext:
    """What all connections of a server share."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        runtime: Runtime,
        wall: WallClock,
        observe: Observer | None,
        closed: Callable[[Any], None],
    ) -> None:
        # Calling an instance costs three times as much as calling a bound method of it.
        if not isroutine(handler):
            handler = handler.__call__  # type: ignore[operator]
        self.handler = handler
        self.limits = limits
        self.runtime = runtime
        self.reactor = runtime.reactor
        self.wall = wall
        self.observe = observe  # told of each answer that is queued whole or has broken off
        self.closed = closed  # told of each connection (HttpConnection) that is lost
        self.memory = WeightedSemaphore(limits.memory_bodies_bytes)
        self.draining = False  # no request after the one that runs
        self.latest: Request | None = None  # the last whose handler was called
        self.accepted = 0  # connections, in all
