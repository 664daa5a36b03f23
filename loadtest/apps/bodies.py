"""The application of `loadtest.benchmarks.memory`: one MiB, as the three kinds of body a handler
may return.

/bytes is one object that all answers share, so a server that copies what it has not sent yet shows
it at once: 4,000 copies are 4 GB. /iterator makes its pieces anew, as a handler that computes them
does, and they are small, because one piece a connection is all that a server may hold. /file is a
region of a file that is open once. Everything else is answered with a small body, for bystanders.

    python -m loadtest.apps.bodies --port 8000
"""

import argparse
import signal
import tempfile
from collections.abc import Callable, Iterator
from typing import Final

from reactor import File, FileRegion, Response, Server
from reactor.messages.request import Request

BODY_BYTES: Final = 1024 * 1024
PIECE_BYTES: Final = 8 * 1024
BODY: Final = bytes(range(256)) * (BODY_BYTES // 256)
LENGTH: Final = (("Content-Length", str(BODY_BYTES)),)

Handler = Callable[[Request], Response]


def pieces() -> Iterator[bytes]:
    for start in range(0, BODY_BYTES, PIECE_BYTES):
        yield BODY[start : start + PIECE_BYTES]


def application(file: File) -> Handler:
    """The handler; `file` has the body."""

    def handler(request: Request) -> Response:
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
