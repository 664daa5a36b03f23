"""The objects that all connections of a server share: handler, limits, clock, state.

ServerContext is constant: the server makes it, and connections read it. One object for ten thousand
connections, so that each holds a reference and no more. The values that change while the server
runs are in its ServerState: four fields, each with the one part that writes it.
"""

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from inspect import isroutine
from typing import Any, TypeAlias

from reactor.http.body_memory import BodyMemory
from reactor.http.error_responses import plain_error_response
from reactor.http.wall_clock import WallClock
from reactor.limits import ServerLimits
from reactor.loop.scheduler import Scheduler
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.tasks.after_work import AfterWork
from reactor.tasks.task import Runtime

Handler: TypeAlias = Callable[[BaseRequest], Response | Awaitable[Response]]
# Called with a request and the error that it has led to; it does not raise.
ErrorResponder: TypeAlias = Callable[[BaseRequest, BaseException], Response]
# Called when a response has been queued whole or has broken off: with its request, its status and
# fields, and the number of bytes of its body.
Observer: TypeAlias = Callable[[BaseRequest, int, Fields, int], object]


class ServerState:
    """The values that change while a server runs."""

    def __init__(self, observe: Observer | None = None) -> None:
        self.observe = observe  # called after each response; the server adds its statistics
        self.draining = False  # no request after the one that runs; the server sets it
        self.accepted = 0  # connections, in all; the server counts
        # The last request whose handler was called; connections set it.
        self.latest: BaseRequest | None = None


@dataclass(frozen=True, slots=True)
class ServerContext:
    """The objects that all connections of a server share; no field ever changes.

    A handler may have two attributes. `request_class` is a subclass of BaseRequest without slots of
    its own: the parser makes the requests for this handler of that class. `error_response` makes
    the responses to errors that the server finds in its requests; it must not raise.
    """

    handler: Handler
    limits: ServerLimits
    runtime: Runtime
    wall: WallClock
    memory: BodyMemory  # for request bodies that are read whole
    closed: Callable[[Any], None]  # called with each connection (HttpConnection) that is lost
    after_work: AfterWork  # begins when a response has ended
    state: ServerState
    reactor: Scheduler = field(init=False)  # the runtime's: read with every request
    request_class: type[BaseRequest] = field(init=False)  # the handler's
    plain: "ServerContext" = field(init=False)  # for a response without TLS
    error_response: ErrorResponder = plain_error_response  # the handler's, where it is this one

    def __post_init__(self) -> None:
        object.__setattr__(self, "reactor", self.runtime.reactor)
        object.__setattr__(self, "plain", self)
        chosen = getattr(self.handler, "request_class", BaseRequest)
        object.__setattr__(self, "request_class", chosen)
        if self.error_response is plain_error_response:
            respond = getattr(self.handler, "error_response", plain_error_response)
            object.__setattr__(self, "error_response", respond)
        # Calling an instance costs three times as much as calling a bound method of it.
        if not isroutine(self.handler):
            call = self.handler.__call__  # type: ignore[operator]
            object.__setattr__(self, "handler", call)

    def with_field(self, line: str) -> "ServerContext":
        """The same context for encrypted connections, whose responses all have this field line."""
        changed = copy.copy(self)
        object.__setattr__(changed, "wall", self.wall.with_field(line))
        object.__setattr__(changed, "plain", self)
        return changed
