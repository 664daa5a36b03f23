"""The application that test_threaded has both servers run: every kind of response that there is."""

import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator

from reactor import (
    Application,
    Fields,
    File,
    FileRegion,
    ProtocolError,
    Request,
    Response,
    Trailed,
    gather,
    in_pool,
    sleep,
    timeout,
)
from reactor.files.region import MultiRegion

PIECE = bytes(range(256)) * 16
STORED = PIECE * 100

app = Application(redirect_slashes=True)


def _stored() -> File:
    with tempfile.TemporaryFile() as written:
        written.write(STORED)
        written.flush()
        return File(os.dup(written.fileno()), len(STORED))


_file = _stored()


@app.get("/hello")
def hello(request: Request) -> Response:
    return Response(200, b"hello")


@app.get("/peer")
def peer(request: Request) -> Response:
    version = "none" if request.tls is None else request.tls.version
    return Response(200, f"{request.scheme} {version}".encode())


@app.get("/long")
def long(request: Request) -> Response:
    return Response(200, memoryview(STORED))


@app.get("/pieces/{count:int}")
def pieces(request: Request) -> Response:
    return Response(200, (PIECE for _ in range(request.params["count"])))


@app.get("/measured")
def measured(request: Request) -> Response:
    return Response(200, iter([PIECE, PIECE]), [("Content-Length", str(2 * len(PIECE)))])


@app.get("/late")
def late(request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        for number in range(5):
            await sleep(0.005)
            yield b"%d\n" % number
            yield await in_pool(bytes, 3)

    return Response(200, body())


@app.get("/region")
def region(request: Request) -> Response:
    offset, length = int(request.args.get("from", "0")), int(request.args.get("length", "10"))
    return Response(200, FileRegion(_file.hold(), offset, length))


@app.get("/parts")
def parts(request: Request) -> Response:
    return Response(200, MultiRegion([b"a", FileRegion(_file.hold(), 5, 70_000), b"z"]))


@app.get("/trailed")
def trailed(request: Request) -> Response:
    digest = hashlib.sha256()

    def body() -> Iterator[bytes]:
        for _ in range(3):
            digest.update(PIECE)
            yield PIECE

    def trailers() -> Fields:
        return [("X-Digest", digest.hexdigest())]

    return Response(200, Trailed(body(), trailers))


@app.get("/nap")
async def nap(request: Request) -> Response:
    await sleep(float(request.args.get("ms", "10")) / 1000)
    return Response(200, b"rested")


@app.get("/block")
def block(request: Request) -> Response:
    time.sleep(float(request.args.get("ms", "20")) / 1000)
    return Response(200, b"blocked")


@app.get("/both")
async def both(request: Request) -> Response:
    one, two = await gather(in_pool(bytes, 2), in_pool(str, 7))
    return Response(200, one + two.encode())


@app.get("/impatient")
async def impatient(request: Request) -> Response:
    try:
        await timeout(0.01, in_pool_after(10.0))
    except TimeoutError:
        return Response(200, b"too late")
    return Response(500)


async def in_pool_after(seconds: float) -> bytes:
    await sleep(seconds)
    return await in_pool(bytes, 1)


@app.get("/fail")
def fail(request: Request) -> Response:
    raise LookupError("on purpose")


@app.get("/refuse")
async def refuse(request: Request) -> Response:
    raise ProtocolError(418, "No.", [("X-Why", "tea")])


@app.get("/cut")
def cut(request: Request) -> Response:
    def body() -> Iterator[bytes]:
        yield b"begun"
        raise LookupError("on purpose")

    return Response(200, body())


@app.post("/whole")
async def whole(request: Request) -> Response:
    return Response(200, await request.body.read())


@app.post("/counted")
async def counted(request: Request) -> Response:
    digest, size = hashlib.sha256(), 0
    async for piece in request.body:
        digest.update(piece)
        size += len(piece)
    return Response(200, f"{size} {digest.hexdigest()}".encode())


@app.post("/unread")
def unread(request: Request) -> Response:
    return Response(200, b"not read")


@app.post("/mirror")
async def mirror(request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        async for piece in request.body:
            yield piece

    return Response(200, body())
