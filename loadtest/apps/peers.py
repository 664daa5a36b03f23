"""The peers of the experiment: other servers, each with the same two responses.

/hello is 13 bytes, /pid is the process id of the server. There is no framework and no log, so this
is less work than that of our arms, which have a router and write an access log.

    python -m uvicorn loadtest.apps.peers:asgi
    python -m loadtest.apps.peers waitress --port 8000
"""

import argparse
import os
from collections.abc import Awaitable, Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

BODY: Final = b"hello-world!!"
BACKLOG: Final = 4096  # connections that the kernel holds, as for our arms
THREADS: Final = 32  # threads of waitress, as many as our pool has
MOST_CONNECTIONS: Final = 20_000

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def body_of(path: str) -> bytes:
    """The body of the response."""
    return b"%d\n" % os.getpid() if path == "/pid" else BODY


async def asgi(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """An ASGI application."""
    body = body_of(scope["path"])
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application."""
    body = body_of(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def serve_waitress(port: int) -> None:
    """waitress, with the WSGI application."""
    import waitress

    waitress.serve(
        wsgi,
        listen=f"127.0.0.1:{port}",
        threads=THREADS,
        backlog=BACKLOG,
        connection_limit=MOST_CONNECTIONS,
        asyncore_use_poll=True,  # select is limited to 1,024 file descriptors
    )


def serve_tornado(port: int) -> None:
    """Tornado, with one handler for all paths."""
    import asyncio

    from tornado.web import Application, RequestHandler

    class Handler(RequestHandler):
        def get(self, path: str) -> None:
            self.set_header("Content-Type", "text/plain")
            self.finish(body_of(path))

    async def serve() -> None:
        application = Application(
            [("(.*)", Handler)], log_function=lambda handler: None, compress_response=False
        )
        application.listen(port, "127.0.0.1", backlog=BACKLOG)
        await asyncio.Event().wait()

    asyncio.run(serve())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one send
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = body_of(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")  # the class closes without announcing it
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Write no log, as the other peers."""


class _ThreadingServer(ThreadingHTTPServer):
    request_queue_size = BACKLOG


def serve_http_server(port: int) -> None:
    """http.server of the standard library, with a thread for each connection."""
    _ThreadingServer(("127.0.0.1", port), _Handler).serve_forever()


SERVERS: Final = {
    "waitress": serve_waitress,
    "tornado": serve_tornado,
    "http.server": serve_http_server,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Other servers with the same two responses.")
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    SERVERS[options.server](options.port)


if __name__ == "__main__":
    main()
