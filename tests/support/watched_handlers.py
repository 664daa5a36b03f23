"""Handlers that wait or send without end, and record how they ended."""

import threading
from collections.abc import AsyncIterator, Iterator

from reactor import Cancelled, Response, sleep
from reactor.messages.request import BaseRequest


class WatchedHandlers:
    """Handlers that record how they ended."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()
        self.how = ""

    def end(self, how: str) -> None:
        self.how = how
        self.ended.set()

    async def wait(self, request: BaseRequest) -> Response:
        self.began.set()
        try:
            await sleep(1000)
        except Cancelled:
            self.end("cancelled" if request.client_closed else "no reason")
            raise
        return Response(200)

    async def read(self, request: BaseRequest) -> Response:
        self.began.set()
        try:
            await request.body.read()
        except Cancelled:
            self.end("cancelled")
            raise
        return Response(200)

    def stream(self, request: BaseRequest) -> Response:
        return Response(200, self.pieces())

    def pieces(self) -> Iterator[bytes]:
        self.began.set()
        try:
            while True:
                yield bytes(50_000)
        except GeneratorExit:
            self.end("closed")
            raise

    def stream_slowly(self, request: BaseRequest) -> Response:
        return Response(200, self.slow_pieces())

    async def slow_pieces(self) -> AsyncIterator[bytes]:
        self.began.set()
        yield b"one"
        try:
            await sleep(1000)
        except Cancelled:
            self.end("cancelled")
            raise
        yield b"two"

    def stream_awaited(self, request: BaseRequest) -> Response:
        return Response(200, self.awaited_pieces())

    async def awaited_pieces(self) -> AsyncIterator[bytes]:
        self.began.set()
        try:
            while True:
                yield bytes(50_000)
        finally:
            self.end("closed")
