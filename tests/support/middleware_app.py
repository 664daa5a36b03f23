"""An application for tests of middlewares: all kinds of endpoints below them, and errors."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from reactor import ProtocolError, Response, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.app.responses import json, text

STATUSES: Final = {  # by path
    "/plain": 200,
    "/async": 200,
    "/stream": 200,
    "/later": 200,
    "/refuses": 409,
    "/fails": 500,
    "/fails-later": 500,
    "/none": 404,
}
PATHS: Final = tuple(STATUSES)
SHARED: Final = Response(200, b"shared", (("Content-Type", "text/plain"),))


def application(*middlewares: Any) -> Application:
    app = Application(*middlewares)
    app.add(("GET", "POST"), "/plain", plain)
    app.add(("GET", "POST"), "/async", awaited)
    app.add("POST", "/read", read)
    app.add("POST", "/pieces", pieces)
    app.add("GET", "/stream", stream)
    app.add("GET", "/later", stream_later)
    app.add("GET", "/refuses", refuses)
    app.add("GET", "/fails", fails)
    app.add("GET", "/fails-later", fails_later)
    app.add("GET", "/shared", lambda request: SHARED)
    app.add("GET", "/state", state)
    return app


def served(*middlewares: Any, **options: Any) -> Client:
    """A client of `application`, for which failures are 500 responses."""
    return Client(application(*middlewares), raise_server_exceptions=False, **options)


def plain(request: Any) -> Any:
    return text(f"plain {request.content.decode()}")


async def awaited(request: Request) -> Any:
    await sleep(0.5)
    return f"async {await request.text()}"


async def read(request: Request) -> Any:
    return str(len(await request.read()))


async def pieces(request: Request) -> Any:
    """Read a body as a stream and return its size; errors contain the size so far."""
    size = 0
    try:
        async for piece in request.body:
            size += len(piece)
    except ProtocolError as error:
        raise ProtocolError(error.status, f"{error.reason} {size}") from None
    return str(size)


def stream(request: Request) -> Iterator[str]:
    yield "one "
    yield "two"


async def stream_later(request: Request) -> AsyncIterator[bytes]:
    yield b"one "
    await sleep(1)
    yield b"two"


def refuses(request: Request) -> Any:
    raise ProtocolError(409, "Not now.", [("X-Own", "1")])


def fails(request: Request) -> Any:
    raise ZeroDivisionError


async def fails_later(request: Request) -> Any:
    await sleep(0.5)
    raise ZeroDivisionError


def state(request: Any) -> Any:
    """The state of the request, as JSON."""
    return json({name: repr(value) for name, value in request.state.items()})
