"""Handlers that do one simple thing with a request."""

from reactor import Response
from reactor.messages.request import BaseRequest


def hello(request: BaseRequest) -> Response:
    return Response(200, b"hello")


async def read_all(request: BaseRequest) -> Response:
    return Response(200, b"%d" % len(await request.body.read()))


async def count(request: BaseRequest) -> Response:
    size = 0
    async for piece in request.body:
        size += len(piece)
    return Response(200, b"%d" % size)
