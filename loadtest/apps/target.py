"""The application under test, the same for every server that can run it.

Each path is one kind of work:

    /hello     a route and 13 bytes
    /page      about 150 µs of plain Python: an HTML table, as a template engine makes it
    /text      64 KiB of text, gzipped for clients that accept it
    /mib       1 MiB, one object that all responses share
    /block     sleeps for ?ms=20 on its thread, as a handler does that waits for a database
    /burn      computes for ?ms=50 of CPU time, as a handler does that scales an image
    /upload    reads a body piece by piece, keeps none of it, and returns its length
    /events    sends one event each second until the client leaves
    /pid       the id of the serving process, for the harness

A handler on a loop should never do as `/block` and `/burn` do; they are here because people write
such handlers.

    python -m reactor loadtest.apps.target:app
    python -m loadtest.threaded --model each loadtest.apps.target:app
"""

import os
import time
from collections.abc import AsyncIterator
from typing import Final

from reactor import (
    Application,
    FieldBlock,
    ProtocolError,
    Request,
    Response,
    compress,
    events,
    html,
    may_wait,
    sleep,
)
from reactor.web.endpoint import ResponseOrAwaitable

HELLO: Final = b"hello-world!!"
EVENT_SECONDS: Final = 1.0
MOST_MILLISECONDS: Final = 10_000
ROWS: Final = 500
TEXT_BYTES: Final = 64 * 1024
MIB: Final = bytes(range(256)) * 4096

_PLAIN: Final = FieldBlock([("Content-Type", "text/plain; charset=utf-8")])
_BINARY: Final = FieldBlock([("Content-Type", "application/octet-stream")])
_SENTENCE: Final = "Among {0} requests number {1} waited {2} microseconds.\n"


def _text() -> bytes:
    """Sentences with numbers in them: about as compressible as a log."""
    lines, length = [], 0
    for number in range(1, TEXT_BYTES):
        line = _SENTENCE.format(number * 7919 % 10007, number, number * number % 104729)
        lines.append(line)
        length += len(line)
        if length >= TEXT_BYTES:
            break
    return "".join(lines).encode()[:TEXT_BYTES]


TEXT: Final = _text()

app = Application()


@app.get("/hello")
def hello(request: Request) -> Response:
    return Response(200, HELLO, _PLAIN)


@app.get("/page")
def page(request: Request) -> Response:
    rows = [
        f"<tr><td>{number}</td><td>{number * number}</td><td>row {number:04}</td></tr>"
        for number in range(ROWS)
    ]
    return html(f"<!doctype html><title>Squares</title><table>{''.join(rows)}</table>")


@app.get("/text")
@may_wait
def text(request: Request) -> ResponseOrAwaitable:
    return compress(request, Response(200, TEXT, _PLAIN))


@app.get("/mib")
def mib(request: Request) -> Response:
    return Response(200, MIB, _BINARY)


@app.get("/block")
def block(request: Request) -> Response:
    time.sleep(_milliseconds(request, 20) / 1000)
    return Response(200, HELLO, _PLAIN)


@app.get("/burn")
def burn(request: Request) -> Response:
    """Computes for CPU time of the thread, so that sharing the processor makes no work cheaper."""
    end = time.thread_time() + _milliseconds(request, 50) / 1000
    while time.thread_time() < end:
        sum(range(1000))
    return Response(200, HELLO, _PLAIN)


@app.post("/upload")
async def upload(request: Request) -> str:
    count = 0
    async for piece in request.body:
        count += len(piece)
    return f"{count}\n"


@app.get("/events")
def listen(request: Request) -> Response:
    async def ticks() -> AsyncIterator[str]:
        number = 0
        while True:
            yield f"{number} {time.time():.3f}"
            number += 1
            await sleep(EVENT_SECONDS)

    return events(ticks())


@app.get("/pid")
def pid(request: Request) -> str:
    return f"{os.getpid()}\n"


def _milliseconds(request: Request, default: int) -> int:
    """The value of ?ms. Raises ProtocolError(400) unless it is a number up to MOST_MILLISECONDS."""
    value = request.args.get("ms", str(default))
    short = len(value) <= len(str(MOST_MILLISECONDS))
    if not (short and value.isascii() and value.isdigit() and int(value) <= MOST_MILLISECONDS):
        raise ProtocolError(400, f"ms is a whole number up to {MOST_MILLISECONDS}.")
    return int(value)
