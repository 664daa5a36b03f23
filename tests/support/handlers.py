"""Handlers that do one simple thing with a request."""

from reactor import Response
from reactor.messages.request import Request


def hello(request: Request) -> Response:
    return Response(200, b"hello")


async def read_all(request: Request) -> Response:
    return Response(200, b"%d" % len(await request.body.read()))


async def count(request: Request) -> Response:
    size = 0
    async for piece in request.body:
        size += len(piece)
    return Response(200, b"%d" % size)
