"""The peer's application of `loadtest.benchmarks.routes`: Starlette with three ASGI middlewares.

Pure ASGI middlewares are the cheapest kind of Starlette: a class that is called and calls the next
one. Its documentation recommends them over BaseHTTPMiddleware.

    python -m uvicorn loadtest.apps.starlette_hello:app
"""

from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route


class PassThrough:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


async def greet(request: Any) -> PlainTextResponse:
    return PlainTextResponse(f"Hello, {request.path_params['name']}!")


app = Starlette(
    routes=[Route("/hello/{name}", greet)],
    middleware=[Middleware(PassThrough) for _ in range(3)],
)
