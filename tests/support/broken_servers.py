"""Small servers that a harness may meet: `python -m tests.support.broken_servers KIND --port N`.

Each serves /hello and /pid on keep-alive connections, with a thread for each, until its fault:
after so many responses it dies or stops itself, or its responses are wrong from the first one on.
"""

import argparse
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from itertools import count
from typing import Final

HELLO: Final = b"hello-world!!"
EARLY: Final = 20  # responses: in the middle of a warm-up
LATER: Final = 400  # in the middle of a window

responses = count(1)


def encoded(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def fail(kind: str, number: int) -> None:
    if number == (EARLY if "early" in kind else LATER):
        if kind.startswith("dies"):
            os.write(2, b"something first\nMemoryError: no room\n")
            os._exit(7)
        if kind.startswith("freezes"):
            os.kill(os.getpid(), signal.SIGSTOP)


def respond(kind: str, asked: bytes) -> bytes:
    fail(kind, next(responses))
    if asked.startswith(b"GET /pid"):
        pid = {"other": b"1\n", "huge": b"9" * 5000, "words": b"mine\n"}.get(kind)
        if kind == "no pid":
            return encoded("404 Not Found", b"")
        return encoded("200 OK", pid or b"%d\n" % os.getpid())
    if kind == "garbage" or kind == "unwilling":
        return b"rubbish\r\n\r\n" if kind == "garbage" else encoded("503 No", b"")
    return encoded("200 OK", HELLO)


def serve(kind: str, client: socket.socket) -> None:
    with client, suppress(OSError):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        while piece := client.recv(65536):
            received += piece
            while b"\r\n\r\n" in received:
                asked, _, received = received.partition(b"\r\n\r\n")
                client.sendall(respond(kind, asked))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    # As our servers do, so that one that is frozen does not hear of it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if options.kind == "never begins":
        sys.exit("the port is taken")
    with socket.create_server(("127.0.0.1", options.port), backlog=128) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(options.kind, client), daemon=True).start()


if __name__ == "__main__":
    main()
