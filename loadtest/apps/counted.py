"""Servers whose instructions and bytecodes are counted: in-process, over a socket pair.

Started by `loadtest.benchmarks.instructions`, with a way of counting and with names of workloads.
Each request has one turn of the loop. Everything is imported once. Each workload is served by a
process of its own, a fork, which makes its server and serves WARM_UP requests. A line of JSON on
standard output has its result.

    instructions   This program runs under a tool that prints, for each process, the instructions
                   that it has executed when it ends. After the warm-up the process forks again: the
                   fork ends at once, and the process itself ends after COUNTED more requests. The
                   difference of the two is the cost of these requests.
    bytecodes      Python traces TRACED more requests, and each bytecode of the loop's thread counts
                   for its function.

The figure has to be the same each time. So the clock that everybody reads is no clock: each reading
is TICK seconds later than the one before. A batch of the access log is ended by its size, as under
load, and never by the time that the counting takes.
"""

import gc
import itertools
import json
import os
import socket
import ssl
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from types import CodeType, FrameType
from typing import Any, Final

TICK: Final = 10e-6  # about what lies between two readings of the clock under full load
time.monotonic = itertools.count(1000.0, TICK).__next__  # before anybody keeps it

from handlers.app import make_app  # noqa: E402
from loadtest.apps import raw_loop, routed  # noqa: E402
from loadtest.benchmarks.workloads import BROWSER_HEAD, TINY_HEAD  # noqa: E402
from loadtest.clients.closed_loop import MARK  # noqa: E402
from reactor import Application, Request, Response, Server  # noqa: E402
from reactor.net.transport import Transport  # noqa: E402
from reactor.web.limits import Limits  # noqa: E402
from reactor.web.site.options import SiteOptions  # noqa: E402
from reactor.web.site.site import Site  # noqa: E402

WARM_UP: Final = 300  # requests
COUNTED: Final = 1000
TRACED: Final = 100
TURNS: Final = 1000  # at most for a response in the warm-up, which may need a thread
FILE_BYTES: Final = 1024
YOUNG_SECONDS: Final = 2.0  # a file that has just been changed gets another entity tag
SECURE: Final = "tls"  # the workload whose client speaks TLS
HANDSHAKE_TIMEOUT: Final = 60.0
STATUS_LINE: Final = b"HTTP/1.1 200 OK\r\n"
DATA_RECORD: Final = b"\x17\x03\x03"  # how a record of data begins (RFC 8446, section 5.1)
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


def turns_of(handler: Any, *, log: bool, transport: Any = Transport) -> Make:
    """A server's; it writes its access log to nowhere, or has none."""

    def make(accepted: socket.socket, directory: Path) -> Callable[[], object]:
        target = os.open(os.devnull, os.O_WRONLY) if log else None
        server = Server(handler, access_log=target, transport=transport)
        server.connect(accepted, ("127.0.0.1", 1))
        run_once = server.reactor.run_once
        return lambda: run_once(0)

    return make


def turns_of_secure_site(accepted: socket.socket, directory: Path) -> Callable[[], object]:
    """The demo's over TLS."""
    # Imported here, since another checkout may have no TLS.
    from loadtest.benchmarks.tls.arms import make_pair
    from reactor.net.certificates import CertificatePair, Certificates
    from reactor.net.handshakes import Handshakes
    from reactor.net.tls import TlsTransport
    from reactor.server.listeners import tls_settings

    certificates = Certificates([CertificatePair(*map(str, make_pair(directory)))])
    settings = tls_settings(certificates, HANDSHAKE_TIMEOUT, Handshakes())
    site = Site(SiteOptions(directory=str(directory)), Limits(), make_app())
    transport = partial(TlsTransport, settings)
    return turns_of(site.handler, log=True, transport=transport)(accepted, directory)


def turns_of_site(accepted: socket.socket, directory: Path) -> Callable[[], object]:
    """The demo's, as `make run` serves it."""
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
    SECURE: (turns_of_secure_site, heads(TINY_HEAD)),
}


def shake(turn: Callable[[], object], client: socket.socket) -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    """Shake hands with the server: the client's side, and its records to send."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = context.wrap_bio(incoming, outgoing)
    for _ in range(TURNS):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        if outgoing.pending:
            client.send(outgoing.read())
        turn()
        try:
            incoming.write(client.recv(65536, socket.MSG_DONTWAIT))
        except BlockingIOError:
            if side.version() and not outgoing.pending and side.cipher():
                return side, outgoing
    raise OSError(f"no handshake in {TURNS} turns")


def sealed(
    turn: Callable[[], object], client: socket.socket, requests: Iterable[bytes]
) -> list[bytes]:
    """The records of the requests, which are made beforehand: the client does what a plain one
    does, and reads no response.
    """
    side, outgoing = shake(turn, client)
    records = []
    for request in requests:
        side.write(request)
        records.append(outgoing.read())
    return records


def serve(
    turn: Callable[[], object],
    client: socket.socket,
    requests: Sequence[bytes],
    turns: int,
    start: bytes,
) -> None:
    """Ask and serve, a request after the other, where each response has this start.

    Raises OSError if a response needs more turns.
    """
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
        if not response.startswith(start):
            raise OSError(f"unexpected response: {response!r}")


def count_instructions(serve_more: Callable[[int], None]) -> dict[str, Any]:
    """The processes whose difference is the cost of `requests`; this process is to end now."""
    before = os.fork()
    if not before:
        os._exit(0)
    os.waitpid(before, 0)
    serve_more(COUNTED)
    return {"requests": COUNTED, "processes": [before, os.getpid()]}


def count_bytecodes(serve_more: Callable[[int], None]) -> dict[str, Any]:
    """The bytecodes of `requests` by function, those of this program left out."""
    counts: Counter[CodeType] = Counter()
    trace_bytecodes(lambda: serve_more(TRACED), counts)
    counts = Counter({code: n for code, n in counts.items() if code.co_filename != __file__})
    functions = {f"{short_path(code)}: {code.co_qualname}": n for code, n in counts.items()}
    return {"requests": TRACED, "functions": functions}


def trace_bytecodes(function: Callable[[], None], counts: Counter[CodeType]) -> None:
    """Call a function, and count each bytecode until it returns."""

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            counts[frame.f_code] += 1
        return trace

    def executed(code: CodeType, offset: int) -> None:
        counts[code] += 1

    if sys.version_info >= (3, 12):  # where `f_trace_opcodes` is not reliable
        monitoring = sys.monitoring
        monitoring.use_tool_id(monitoring.PROFILER_ID, __file__)
        event = monitoring.events.INSTRUCTION
        monitoring.register_callback(monitoring.PROFILER_ID, event, executed)
        monitoring.set_events(monitoring.PROFILER_ID, event)
        function()
        monitoring.set_events(monitoring.PROFILER_ID, 0)
    else:
        sys.settrace(trace)
        function()
        sys.settrace(None)


def short_path(code: CodeType) -> str:
    """The path of a function's file below the directory from which it was imported."""
    paths = (os.path.relpath(code.co_filename, one) for one in sys.path if one)
    return min(paths, key=len)


WAYS: Final = {"instructions": count_instructions, "bytecodes": count_bytecodes}


def run(way: str, name: str, directory: Path) -> None:
    """Warm up a workload's server and count in the way that was chosen; a line says how much."""
    make, endless = WORKLOADS[name]
    requests = list(itertools.islice(endless, WARM_UP + COUNTED))
    client, accepted = socket.socketpair()
    accepted.setblocking(False)
    turn = make(accepted, directory)
    start = STATUS_LINE
    if name == SECURE:
        requests, start = sealed(turn, client, requests), DATA_RECORD
    serve(turn, client, requests[:WARM_UP], TURNS, start)
    gc.collect()
    more = requests[WARM_UP:]
    result = WAYS[way](lambda count: serve(turn, client, more[:count], 1, start))
    print(json.dumps({"workload": name, **result}), flush=True)


def main() -> None:
    way, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="loadtest-") as directory:
        Path(directory, "small.bin").write_bytes(bytes(FILE_BYTES))
        time.sleep(YOUNG_SECONDS)
        for name in names:
            process = os.fork()
            if not process:
                status = 1
                try:
                    run(way, name, Path(directory))
                    status = 0
                except Exception:
                    traceback.print_exc()
                finally:  # never into what the parent does
                    os._exit(status)
            if os.waitpid(process, 0)[1]:
                sys.exit(f"the workload {name} has failed")


if __name__ == "__main__":
    main()
