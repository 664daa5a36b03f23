"""The application of the simulation: handlers of every kind, and the right response of each.

`exchange` makes up a request together with its right response, from the request alone: it may
not depend on how bytes were cut, on who else is there, or on when a thread was done.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from reactor import Cancelled, FileRegion, PoolFull, Response, in_pool, sleep
from reactor.files.file import WINDOW_BYTES
from reactor.files.region import MultiRegion
from reactor.messages.request import BaseRequest
from reactor.simulator import SimFile, SimNetwork
from reactor.tasks.futures import Lane

PATTERN: Final = random.Random(0).randbytes(400_000)
CONTENT: Final = PATTERN * 6  # sizes of the files, in bytes
SIZES: Final = (200_000, 3000, WINDOW_BYTES + 100_000)  # in bytes, of each
SLOW_SECONDS: Final = 200.0  # longer than any handler may take


class Outcome(BaseException):
    """As asyncio's CancelledError and the outcomes of test frameworks."""


ERRORS: Final = (ValueError, SystemExit, GeneratorExit, Cancelled, Outcome)  # raised by handlers


@dataclass
class Exchange:
    """A request on its way, and what must come back."""

    data: bytes
    method: str
    status: int
    body: bytes
    may_overload: bool = False  # 503 is right as well, where pool or memory are small
    must_cut: bool = False  # the handler fails after the head: the response must look cut
    may_cut: bool = False
    must_close: bool = False  # it is the connection's last
    may_close: bool = False
    head_bytes: int = 0  # bytes of `data`, if the body waits for 100 (Continue)
    seconds: float = 0.0  # that the handler takes, about


class Site:
    """A handler for everything; it counts what it has begun and ended."""

    def __init__(self, network: SimNetwork, files: list[SimFile]) -> None:
        self.files = files
        self.begun: dict[str, int] = {}  # requests by client
        self.running = 0  # generators and coroutines that have not been closed
        self.behind = 0  # calls after responses that have ended
        self._network = network

    def __call__(self, request: BaseRequest) -> Response | Awaitable[Response]:
        name = request.client[0]
        self.begun[name] = self.begun.get(name, 0) + 1
        self._network.note(f"{name}'s server", f"handler: {request.method} {request.target}")
        values = {
            key: int(value)
            for key, _, value in (pair.partition("=") for pair in request.query.split("&"))
            if key
        }
        request.after(self._behind if self.begun[name] % 2 else self._later)
        response = getattr(self, "do_" + request.path[1:])(request, **values)
        assert isinstance(response, Response | Awaitable)
        return response

    def _behind(self) -> None:
        self.behind += 1

    async def _later(self) -> None:
        """Work behind a response that takes a while."""
        self.running += 1
        try:
            await sleep(0.05)
        finally:
            self.running -= 1
        self.behind += 1

    # --- responses at once -----------------------------------------------------------------------

    def do_bytes(self, request: BaseRequest, n: int, k: int = 0) -> Response:
        return Response(200, PATTERN[k : k + n], [("X-Kind", "bytes")])

    def do_view(self, request: BaseRequest, n: int, k: int = 0) -> Response:
        return Response(200, memoryview(PATTERN)[k : k + n])

    def do_empty(self, request: BaseRequest, status: int) -> Response:
        return Response(status)

    def do_raise(self, request: BaseRequest, n: int) -> Response:
        raise ERRORS[n % len(ERRORS)](n)

    def do_framing(self, request: BaseRequest, n: int) -> Response:
        return Response(200, b"x", [("Transfer-Encoding", "chunked")])

    def do_spend(self, request: BaseRequest, ms: int) -> Response:
        self._network.time += ms / 1000
        return Response(200, b"spent")

    def do_file(self, request: BaseRequest, file: int, at: int, n: int) -> Response:
        return Response(200, self._region(file, at, n))

    def do_parts(
        self, request: BaseRequest, file: int, at: int, n: int, other: int, k: int
    ) -> Response:
        """Stretches of two files and bytes around them."""
        begin = self._region(file, at, n)
        end = self._region(other, k, min(k, n))
        return Response(206, MultiRegion([PATTERN[:k], begin, b"", PATTERN[:9], end, PATTERN[:1]]))

    def _region(self, file: int, at: int, n: int) -> FileRegion:
        return FileRegion(self.files[file].hold(), at, n)

    # --- bodies that are made as they are read ---------------------------------------------------

    def do_iterate(self, request: BaseRequest, n: int, step: int) -> Response:
        return Response(200, self._pieces(n, step))

    def do_promise(self, request: BaseRequest, n: int, step: int, length: int) -> Response:
        return Response(200, self._pieces(n, step), [("Content-Length", str(length))])

    def do_break(self, request: BaseRequest, n: int, step: int) -> Response:
        return Response(200, self._pieces(n, step, fails=True))

    def do_break_later(self, request: BaseRequest, ms: int) -> Response:
        return Response(200, self._awaited_failure(ms / 1000))

    def do_await(self, request: BaseRequest, n: int, step: int, ms: int) -> Response:
        return Response(200, self._awaited_pieces(n, step, ms / 1000))

    def do_mirror(self, request: BaseRequest, step: int) -> Response:
        return Response(200, self._mirror(request, step))

    def _pieces(self, n: int, step: int, fails: bool = False) -> Iterator[bytes]:
        self.running += 1
        try:
            for at in range(0, n, step):
                yield PATTERN[at : min(at + step, n)]
            if fails:
                raise Outcome("broken")
        finally:
            self.running -= 1

    async def _awaited_failure(self, pause: float) -> AsyncIterator[bytes]:
        self.running += 1
        try:
            await sleep(pause)
            if pause >= 0:
                raise Outcome("broken")
            yield b""
        finally:
            self.running -= 1

    async def _awaited_pieces(self, n: int, step: int, pause: float) -> AsyncIterator[bytes]:
        self.running += 1
        try:
            for at in range(0, n, step):
                if pause:
                    await sleep(pause)
                yield PATTERN[at : min(at + step, n)]
        finally:
            self.running -= 1

    async def _mirror(self, request: BaseRequest, step: int) -> AsyncIterator[bytes]:
        self.running += 1
        try:
            while piece := await request.body.read(step):
                yield piece
        finally:
            self.running -= 1

    # --- coroutines ------------------------------------------------------------------------------

    async def do_echo(self, request: BaseRequest) -> Response:
        self.running += 1
        try:
            return Response(200, await request.body.read())
        finally:
            self.running -= 1

    async def do_count(self, request: BaseRequest) -> Response:
        self.running += 1
        try:
            size = 0
            async for piece in request.body:
                size += len(piece)
            return Response(200, str(size).encode())
        finally:
            self.running -= 1

    async def do_inform(self, request: BaseRequest) -> Response:
        """Notes how far it has come, whenever it has."""
        self.running += 1
        try:
            size = 0
            while piece := await request.body.read(3000):
                size += len(piece)
                if request.body.inform(104, [("Upload-Offset", str(size))]) != (request.minor > 0):
                    raise ValueError(size)
            return Response(200, str(size).encode())
        finally:
            self.running -= 1

    async def do_sleep(self, request: BaseRequest, ms: int) -> Response:
        self.running += 1
        try:
            await sleep(ms / 1000)
            return Response(200, b"slept")
        finally:
            self.running -= 1

    async def do_stubborn(self, request: BaseRequest) -> Response:
        """It goes on after a cancellation."""
        self.running += 1
        try:
            try:
                await sleep(SLOW_SECONDS)
            except Cancelled:
                await sleep(SLOW_SECONDS)
            return Response(200, b"late")
        finally:
            self.running -= 1

    async def do_job(self, request: BaseRequest, n: int) -> Response:
        return Response(200, await in_pool(lambda: PATTERN[:n]))

    async def do_pack(self, request: BaseRequest, n: int) -> Response:
        try:
            return Response(200, await in_pool(lambda: PATTERN[:n], lane=Lane.COMPRESSION))
        except PoolFull:
            return Response(200, PATTERN[:n])

    async def do_fail(self, request: BaseRequest, ms: int) -> Response:
        await sleep(ms / 1000)
        raise ERRORS[ms % len(ERRORS)](ms)


# --- requests and their right responses ----------------------------------------------------------


class Exchanges:
    """Makes up requests."""

    def __init__(self, chance: random.Random, files: int, scheme: str = "http") -> None:
        self._scheme = scheme
        self._chance = chance
        self._files = files
        self._kinds = [
            *([self._bytes] * 4),
            *([self._upload] * 4),
            *([self._iterated] * 2),
            *([self._file] * 2),
            *([self._parts] * 2),
            *([self._pool] * 4),
            self._view,
            self._empty,
            self._sleep,
            self._ignore,
            self._wrong,
            self._spend,
        ]

    def good(self) -> Exchange:
        """A request that a polite client sends, which leaves the connection open."""
        return self._chance.choice(self._kinds)()

    def last(self) -> Exchange:
        """One after which no other comes: the handler fails late, or the request is malformed."""
        return self._chance.choice(
            [self._closing, self._old, self._cut, self._malformed, self._malformed, self._too_slow]
        )()

    def small(self) -> Exchange:
        """One of a pipeline of many: it takes a moment."""
        if self._chance.random() < 0.7:
            n = self._size(2000)
            return self._get(f"/bytes?n={n}&k=0", PATTERN[:n])
        return self._chance.choice([self._empty, self._sleep])()

    def long(self) -> Exchange:
        """One with a long response."""
        return self._chance.choice([self._file, self._file, self._iterated, self._parts])()

    # Each makes one kind.

    def _size(self, most: int = 120_000) -> int:
        """Mostly small, sometimes large."""
        return int(most ** self._chance.random()) if self._chance.random() < 0.9 else 0

    def _get(self, target: str, body: bytes, status: int = 200, **more: Any) -> Exchange:
        method = "HEAD" if self._chance.random() < 0.1 else "GET"
        fields = "X-Filler: " + "f" * self._size(400) + "\r\n"
        if self._chance.random() < 0.05:
            target = f"{self._scheme}://somewhere{target}"
        data = f"{method} {target} HTTP/1.1\r\nHost: sim\r\n{fields}\r\n".encode()
        return Exchange(data, method, status, b"" if method == "HEAD" else body, **more)

    def _bytes(self) -> Exchange:
        n, k = self._size(), self._chance.randint(0, 1000)
        return self._get(f"/bytes?n={n}&k={k}", PATTERN[k : k + n])

    def _view(self) -> Exchange:
        n = self._size()
        return self._get(f"/view?n={n}", PATTERN[:n])

    def _empty(self) -> Exchange:
        status = self._chance.choice([200, 204, 304, 404])
        return self._get(f"/empty?status={status}", b"", status)

    def _sleep(self) -> Exchange:
        ms = self._chance.choice([0, 1, 20, 300])
        return self._get(f"/sleep?ms={ms}", b"slept")

    def _spend(self) -> Exchange:
        return self._get("/spend?ms=150", b"spent")

    def _wrong(self) -> Exchange:
        which = self._chance.randrange(len(ERRORS))
        target = self._chance.choice(
            [
                f"/raise?n={which}",
                f"/fail?ms={which}",
                "/framing?n=1",
                "/nowhere?n=1",
                "/break?n=0&step=1",
                f"/break_later?ms={which}",
            ]
        )
        return self._get(target, b"The server failed to process this request.\n", 500)

    def _iterated(self) -> Exchange:
        n = self._size(40_000)
        step = max(1, n // self._chance.randint(1, 40))
        form = self._chance.randint(0, 2)
        if form == 0:
            return self._get(f"/iterate?n={n}&step={step}", PATTERN[:n])
        if form == 1:
            return self._get(f"/promise?n={n}&step={step}&length={n}", PATTERN[:n])
        ms = self._chance.choice([0, 0, 1, 10])
        return self._get(f"/await?n={n}&step={step}&ms={ms}", PATTERN[:n])

    def _file(self) -> Exchange:
        file, at, n = self._stretch()
        target = f"/file?file={file}&at={at}&n={n}"
        # The pool may be full for too long, and then it is too late for a 503.
        return self._get(target, CONTENT[at : at + n], may_cut=True)

    def _parts(self) -> Exchange:
        file, at, n = self._stretch()
        other, k = self._chance.randrange(self._files), self._chance.randint(0, 1000)
        body = PATTERN[:k] + CONTENT[at : at + n] + PATTERN[:9]
        body += CONTENT[k : k + min(k, n)] + PATTERN[:1]
        target = f"/parts?file={file}&at={at}&n={n}&other={other}&k={k}"
        return self._get(target, body, 206, may_cut=True)

    def _stretch(self) -> tuple[int, int, int]:
        """A file, an offset and a length; now and then a large one, or one of two windows."""
        chance = self._chance
        file = chance.randrange(self._files)
        size = SIZES[file]
        n = min(size, chance.randint(0, 200_000) if chance.random() < 0.3 else self._size())
        at = chance.randint(0, size - n)
        if size > WINDOW_BYTES and chance.random() < 0.5:
            at = min(size - n, max(0, WINDOW_BYTES - chance.randint(0, n)))
        if chance.random() < 0.2:
            at = 0
        if chance.random() < 0.2:
            n = size - at if size - at < 300_000 else n
        return file, at, n

    def _pool(self) -> Exchange:
        n = self._size(1000)
        if self._chance.random() < 0.5:
            return self._get(f"/pack?n={n}", PATTERN[:n])
        return self._get(f"/job?n={n}", PATTERN[:n], may_overload=True)

    def _upload(self) -> Exchange:
        n, k = (
            self._size(90_000 if self._chance.random() < 0.1 else 20_000),
            self._chance.randint(0, 1000),
        )
        content = PATTERN[k : k + n]
        form = self._chance.randint(0, 3)
        if form == 0:
            exchange = self._post("/echo", content, content)
            exchange.may_overload = True  # memory may be short for a minute
            return exchange
        if form < 3:
            return self._post("/count" if form == 1 else "/inform", content, str(n).encode())
        step = self._chance.choice([100, 5000, 65536])
        exchange = self._post(f"/mirror?step={step}", content, content)
        exchange.may_close = True  # its head leaves before all of the body was there
        return exchange

    def _ignore(self) -> Exchange:
        exchange = self._post("/bytes?n=7", PATTERN[: self._size(20_000)], PATTERN[:7])
        exchange.may_close = True  # if not all of the body was there
        return exchange

    def _post(self, target: str, content: bytes, response: bytes) -> Exchange:
        chance = self._chance
        expects = chance.random() < 0.2
        fields = "Expect: 100-continue\r\n" if expects else ""
        if chance.random() < 0.5:
            fields += f"Content-Length: {len(content)}\r\n"
        else:
            fields += "Transfer-Encoding: chunked\r\n"
            content = self._chunks(content)
        head = f"POST {target} HTTP/1.1\r\nHost: sim\r\n{fields}\r\n".encode()
        exchange = Exchange(head + content, "POST", 200, response)
        if expects:
            exchange.head_bytes = len(head)
        return exchange

    def _chunks(self, content: bytes) -> bytes:
        chance = self._chance
        step = max(1, len(content) // chance.randint(1, 8))
        chunks = []
        for at in range(0, len(content), step):
            piece = content[at : at + step]
            extension = b";x=y" if chance.random() < 0.1 else b""
            chunks.append(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece))
        trailer = b"X-Sum: 1\r\n" if chance.random() < 0.2 else b""
        return b"%b0\r\n%b\r\n" % (b"".join(chunks), trailer)

    def _closing(self) -> Exchange:
        exchange = self._bytes()
        exchange.data = exchange.data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        exchange.must_close = True
        return exchange

    def _old(self) -> Exchange:
        n = self._size()
        if self._chance.random() < 0.5:
            return Exchange(
                f"GET /bytes?n={n} HTTP/1.0\r\n\r\n".encode(),
                "GET", 200, PATTERN[:n], must_close=True,
            )  # fmt: skip
        data = f"GET /iterate?n={n}&step=5000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        return Exchange(data.encode(), "GET", 200, PATTERN[:n], must_close=True)

    def _cut(self) -> Exchange:
        n = self._size(40_000)
        target = self._chance.choice(
            [
                # An error before the first piece is a response.
                f"/break?n={n}&step=1000" if n else "/promise?n=0&step=1000&length=1",
                f"/promise?n={n}&step=1000&length={n + 1}",
                f"/promise?n={n + 1}&step=1000&length={n}",
            ]
        )
        data = f"GET {target} HTTP/1.1\r\nHost: sim\r\n\r\n".encode()
        return Exchange(data, "GET", 200, PATTERN[:n], must_cut=True, must_close=True)

    def _too_slow(self) -> Exchange:
        target = self._chance.choice(["/stubborn?", f"/sleep?ms={SLOW_SECONDS * 1000:.0f}"])
        data = f"GET {target} HTTP/1.1\r\nHost: sim\r\n\r\n".encode().replace(b"? ", b" ")
        return Exchange(
            data, "GET", 503, b"The response took too long.\n", must_close=True, seconds=60
        )

    def _malformed(self) -> Exchange:
        data, status = self._chance.choice(
            [
                (b"GET / HTTP/1.1\r\n\r\n", 400),
                (b"GET / HTTP/2.0\r\nHost: sim\r\n\r\n", 505),
                (b"CONNECT sim:1 HTTP/1.1\r\nHost: sim\r\n\r\n", 501),
                (b"GET / HTTP/1.1\nHost: sim\n\n", 400),
                (b"GET /" + b"a" * 9000, 414),
                (b"GET / HTTP/1.1\r\nHost: sim\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
                (b"GET / HTTP/1.1\r\nHost: sim\r\nA: " + b"a" * 33_000, 431),
                (b"POST /echo HTTP/1.1\r\nHost: sim\r\nContent-Length: +1\r\n\r\nx", 400),
                (b"POST /echo HTTP/1.1\r\nHost: sim\r\nContent-Length: 99999999999\r\n\r\n", 413),
                (b"POST /echo HTTP/1.1\r\nHost: sim\r\nContent-Length: 900000\r\n\r\n", 413),
                (
                    b"POST /echo HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
                    400,
                ),
                (
                    b"POST /count HTTP/1.1\r\nHost: sim\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
                    400,
                ),
            ]
        )
        return Exchange(data, "GET", status, b"", must_close=True)
