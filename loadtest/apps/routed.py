"""The applications of `loadtest.benchmarks.routes`; the peer's is in starlette_hello.py.

Each is served by its name: `python -m reactor loadtest.apps.routed:hello`.

    hello        a parameter in the path, and three middlewares that pass everything through
    few, many    ten, and a thousand routes of two segments; the requested one is the last
    either_way   the same endpoint as `def` and as `async def`
    stream       an event stream with one event each second
"""

import time
from collections.abc import AsyncIterator
from typing import Any

from reactor import Application, Request, Response, events, sleep

EVENT_SECONDS = 1.0


def first(request: Request, next: Any) -> Any:
    """A middleware that passes everything through, as do the next two."""
    return next(request)


def second(request: Request, next: Any) -> Any:
    return next(request)


def third(request: Request, next: Any) -> Any:
    return next(request)


hello = Application(first, second, third)


@hello.get("/hello/{name}")
def greet(request: Request, name: str) -> str:
    return f"Hello, {name}!"


def application_of(count: int) -> Application:
    """An application with `count` routes `/section-N/{item}`."""
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
