"""The bare ASGI application that a peer serves: the least work for an ASGI server.

It sends the same body and the same two fields as every other arm of `loadtest.benchmarks.cpu`. It
ignores the request and uses no framework, so that the server alone is measured.

    python -m uvicorn loadtest.apps.asgi_hello:hello
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

BODY: Final = b"hello-world!!"
HEADERS: Final = [(b"content-type", b"text/plain"), (b"content-length", b"13")]


async def hello(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """An ASGI application."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
