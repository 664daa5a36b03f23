"""Servers whose instructions are counted: in-process, over a socket pair, one request a turn.

Started by `loadtest.benchmarks.instructions` under a tool that prints, for each process, the
instructions that it has executed when it ends. Everything is imported once. Each workload is served
by a process of its own, a fork, which makes its server and serves WARM_UP requests. Then it forks
again: the fork ends at once, and the process itself serves COUNTED requests more before it ends.
The difference of the two is what these requests cost. For each workload of the command line, a line
of standard output has its name, both processes and COUNTED.

The figure has to be the same each time. So the clock that everybody reads is no clock: each reading
is TICK seconds later than the one before. A batch of the access log is ended by its size, as under
load, and never by the time that the counting takes.
"""

import gc
import itertools
import os
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any, Final

TICK: Final = 10e-6  # about what lies between two readings of the clock under full load
time.monotonic = itertools.count(1000.0, TICK).__next__  # before anybody keeps it

from handlers.app import make_app  # noqa: E402
from loadtest.apps import raw_loop, routed  # noqa: E402
from loadtest.benchmarks.workloads import BROWSER_HEAD, TINY_HEAD  # noqa: E402
from loadtest.clients.closed_loop import MARK  # noqa: E402
from reactor import Application, Request, Response, Server  # noqa: E402
from reactor.web.limits import Limits  # noqa: E402
from reactor.web.site.options import SiteOptions  # noqa: E402
from reactor.web.site.site import Site  # noqa: E402

WARM_UP: Final = 300  # requests
COUNTED: Final = 1000
TURNS: Final = 1000  # at most for a response in the warm-up, which may need a thread
FILE_BYTES: Final = 1024
AUTHORITY: Final = "127.0.0.1:8000"

# Makes the function that takes a turn, from an accepted socket and a directory for files.
Make = Callable[[socket.socket, Path], Callable[[], object]]


def heads(text: str) -> Iterator[bytes]:
    """Endless requests; each differs where `text` has the mark."""
    data = text.replace("%s", AUTHORITY).encode()
    for number in itertools.count(1 << 32):
        yield data.replace(MARK, b"%016x" % number)


def get(path: str) -> Iterator[bytes]:
    """Endless requests for a path; each differs where it has a "*"."""
    return heads(f"GET {path.replace('*', MARK.decode())} HTTP/1.1\r\nHost: %s\r\n\r\n")


def posts() -> Iterator[bytes]:
    """Endless requests with a JSON body of some 60 bytes."""
    text = f'{{"item": "{MARK.decode()}", "count": 3, "price": 12.5}}'
    head = "POST /orders HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
    return heads(f"{head}Content-Length: {len(text)}\r\n\r\n{text}")


def bare(request: Request) -> Response:
    """The least that a handler can do."""
    return Response(200, b"hello-world!!")


shop = Application()


@shop.post("/orders")
async def order(request: Request) -> dict[str, Any]:
    data = await request.json()
    return {"item": data["item"], "total": data["count"] * data["price"]}


def turns_of_client(accepted: socket.socket, directory: Path) -> Callable[[], object]:
    """As much as a client does: a `recv` and a `send`. Half of what is counted is the client's."""
    return lambda: accepted.send(accepted.recv(65536) and raw_loop.RESPONSE)


def turns_of_loop(accepted: socket.socket, directory: Path) -> Callable[[], object]:
    """The raw loop: what one request costs that nobody parses."""
    selector = DefaultSelector()
    connection = raw_loop.Connection(selector, accepted)
    selector.register(accepted, EVENT_READ, connection.on_events)

    def turn() -> None:
        for key, mask in selector.select(0):
            key.data(mask)

    return turn


def turns_of(handler: Any, *, log: bool) -> Make:
    """A server's; it writes its access log to nowhere, or has none."""

    def make(accepted: socket.socket, directory: Path) -> Callable[[], object]:
        target = os.open(os.devnull, os.O_WRONLY) if log else None
        server = Server(handler, access_log=target)
        server.connect(accepted, ("127.0.0.1", 1))
        run_once = server.reactor.run_once
        return lambda: run_once(0)

    return make


def turns_of_site(accepted: socket.socket, directory: Path) -> Callable[[], object]:
    """The demo's, as `make run` serves it."""
    (directory / "small.bin").write_bytes(bytes(FILE_BYTES))
    site = Site(SiteOptions(directory=str(directory)), Limits(), make_app())
    return turns_of(site.handler, log=True)(accepted, directory)


WORKLOADS: Final[dict[str, tuple[Make, Iterable[bytes]]]] = {
    "client": (turns_of_client, heads(TINY_HEAD)),
    "raw": (turns_of_loop, heads(TINY_HEAD)),
    "bare": (turns_of(bare, log=False), heads(TINY_HEAD)),
    "logged": (turns_of(bare, log=True), heads(TINY_HEAD)),
    "tiny": (turns_of_site, heads(TINY_HEAD)),
    "browser": (turns_of_site, heads(BROWSER_HEAD)),
    "routed": (turns_of(routed.hello, log=True), get("/hello/*")),
    "json": (turns_of(shop, log=True), posts()),
    "file": (turns_of_site, get("/files/small.bin")),
}


def serve(
    turn: Callable[[], object], client: socket.socket, requests: Sequence[bytes], turns: int
) -> None:
    """Ask and serve, a request after the other. Raises OSError if a response needs more turns."""
    send, recv = client.send, client.recv
    for request in requests:
        send(request)
        for _ in range(turns):
            turn()
            try:
                response = recv(65536, socket.MSG_DONTWAIT)
                break
            except BlockingIOError:
                time.sleep(0.001)
        else:
            raise OSError(f"no response to {request!r} in {turns} turns")
        if not response.startswith(b"HTTP/1.1 200 OK\r\n"):
            raise OSError(f"unexpected response: {response!r}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="loadtest-") as directory:
        for name in sys.argv[1:]:
            make, requests = WORKLOADS[name]
            chosen = list(itertools.islice(requests, WARM_UP + COUNTED))
            print(name, *run(make, chosen, Path(directory)), COUNTED, flush=True)


def run(make: Make, requests: Sequence[bytes], directory: Path) -> tuple[int, int]:
    """The processes that end before and after COUNTED requests. Exits where one of them fails."""
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        try:
            run_forked(make, requests, directory, writer)
        except Exception:
            traceback.print_exc()
        finally:  # never into what the parent does
            os._exit(1)
    os.close(writer)
    with open(reader) as pipe:
        before = pipe.read()
    if os.waitpid(process, 0)[1]:
        sys.exit("a workload has failed")
    return int(before), process


def run_forked(make: Make, requests: Sequence[bytes], directory: Path, writer: int) -> None:
    """Warm up, fork a process that ends here, serve the counted requests, and end."""
    client, accepted = socket.socketpair()
    accepted.setblocking(False)
    turn = make(accepted, directory)
    serve(turn, client, requests[:WARM_UP], TURNS)
    gc.collect()
    before = os.fork()
    if not before:
        os._exit(0)
    os.waitpid(before, 0)
    os.write(writer, b"%d" % before)
    serve(turn, client, requests[WARM_UP:], 1)
    os._exit(0)


if __name__ == "__main__":
    main()
