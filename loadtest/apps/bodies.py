"""The application of `loadtest.benchmarks.memory`: 1 MiB as each of the three kinds of body.

/bytes is one object that all responses share, so a server that copies unsent bytes shows it at
once: 4,000 copies are 4 GB. /iterator makes its pieces anew, as a handler that computes them does;
they are small, because a server may hold one piece of each connection. /file is a region of a file
that is open once. Every other path has a small body, for bystanders.

    python -m loadtest.apps.bodies --port 8000
"""

import argparse
import signal
import tempfile
from collections.abc import Callable, Iterator
from typing import Final

from reactor import File, FileRegion, Response, Server
from reactor.messages.request import BaseRequest

BODY_BYTES: Final = 1024 * 1024
PIECE_BYTES: Final = 8 * 1024
BODY: Final = bytes(range(256)) * (BODY_BYTES // 256)
LENGTH: Final = (("Content-Length", str(BODY_BYTES)),)

Handler = Callable[[BaseRequest], Response]


def pieces() -> Iterator[bytes]:
    """BODY in new pieces of PIECE_BYTES."""
    for start in range(0, BODY_BYTES, PIECE_BYTES):
        yield BODY[start : start + PIECE_BYTES]


def application(file: File) -> Handler:
    """The handler; `file` contains BODY."""

    def handler(request: BaseRequest) -> Response:
        match request.path:
            case "/bytes":
                return Response(200, BODY)
            case "/iterator":
                return Response(200, pieces(), LENGTH)
            case "/file":
                return Response(200, FileRegion(file.hold(), 0, BODY_BYTES))
            case _:
                return Response(200, b"hello-world!!")

    return handler


def serve(handler: Handler, port: int) -> None:
    """Serve until SIGTERM."""
    server = Server(handler)
    server.listen("127.0.0.1", port)
    signal.signal(
        signal.SIGTERM, lambda *_: server.reactor.call_soon_threadsafe(server.reactor.stop)
    )
    server.run()


def main() -> None:
    parser = argparse.ArgumentParser(description="Bodies of 1 MiB: /bytes, /iterator, /file.")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    with tempfile.NamedTemporaryFile(prefix="loadtest-") as written:
        written.write(BODY)
        written.flush()
        serve(application(File(written.fileno(), BODY_BYTES)), options.port)


if __name__ == "__main__":
    main()
