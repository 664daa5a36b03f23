"""The applications of `loadtest.benchmarks.routes`, ours and the peer's, which answer with the same
bytes.

Served by name: `python -m reactor loadtest.apps.routed:hello`. The peer's is in a module of its
own, since Starlette may not be there.

    hello    a parameter in the path, and three middlewares that pass everything through
    few      ten routes of two segments, many of them a thousand, the one asked for the last
    events   an event stream for everybody: one event each second
"""

import time
from collections.abc import AsyncIterator
from typing import Any

from reactor import Response, sleep
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.realtime.server_sent_events import events

EVENT_SECONDS = 1.0


def pass_through(request: Request, next: Any) -> Any:
    return next(request)


def another(request: Request, next: Any) -> Any:
    return next(request)


def a_third(request: Request, next: Any) -> Any:
    return next(request)


hello = Application(pass_through, another, a_third)


@hello.get("/hello/{name}")
def greet(request: Request, name: str) -> str:
    return f"Hello, {name}!"


def application_of(count: int) -> Application:
    """So many routes below each other's neighbours; `/section-N/{item}` is found by a walk."""
    app = Application()
    for number in range(count):
        app.add("GET", f"/section-{number}/{{item}}", greet_item)
    app.add("GET", "/hello/{name}", greet)
    return app


def greet_item(request: Request, item: str) -> str:
    return item


few = application_of(10)
many = application_of(1000)

either_way = Application()


@either_way.get("/plain/{name}")
def plain(request: Request, name: str) -> str:
    return f"Hello, {name}!"


@either_way.get("/async/{name}")
async def asynchronous(request: Request, name: str) -> str:
    return f"Hello, {name}!"


stream = Application()


@stream.get("/hello/{name}")
def alive(request: Request, name: str) -> str:
    return name


@stream.get("/events")
def listen(request: Request) -> Response:
    async def ticks() -> AsyncIterator[str]:
        while True:
            await sleep(EVENT_SECONDS)
            yield f"{time.time():.3f}"

    return events(ticks())
