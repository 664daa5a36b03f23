"""Endpoints and middlewares of every kind, and a client, for tests of applications."""

from typing import Any

from reactor import Response, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.app.responses import text
from reactor.web.endpoint import Middleware, before_only


def served(app: Application, **options: Any) -> Client:
    """A client of the application that returns the 500 of a failure."""
    return Client(app, raise_server_exceptions=False, **options)


def plain(request: Any, next: Any) -> Any:
    response = next(request)
    assert isinstance(response, Response)
    return response.with_headers(("X-Plain", "1"))


async def asynchronous(request: Any, next: Any) -> Any:
    await sleep(0.5)
    response = await next(request)
    assert isinstance(response, Response)
    return response.with_headers(("X-Async", "1"))


@before_only
def before(request: Any, next: Any) -> Any:
    if "stop" in request.query:
        return text("stopped", 403)
    return next(request)


class Hooks(Middleware):
    def before(self, request: Any) -> Response | None:
        return text("hooked", 403) if "hook" in request.query else None

    def after(self, request: Any, response: Response) -> Response:
        return response.with_headers(("X-Hooks", "1"))


def endpoint(request: Any) -> str:
    return f"body {request.content.decode()}"


async def async_endpoint(request: Request) -> str:
    await sleep(0.5)
    return f"body {await request.text()}"


class Notes(Middleware):
    """Writes down every request and response that passes."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def before(self, request: Any) -> Response | None:
        self.notes.append(f"{self.name} in")
        return None

    def after(self, request: Any, response: Response) -> Response:
        self.notes.append(f"{self.name} out {response.status}")
        return response
