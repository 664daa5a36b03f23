"""Users that hold a connection for seconds: one that reads slowly, one that listens to events.

Each has a socket of gevent with a small receive buffer, so that the server notices slow reading.
They report to locust themselves, since the duration of their responses means nothing: the slow
reader reports the time until its response began, the listener how late each event was.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import gevent
from gevent import socket as green
from geventhttpclient.response import HTTPParseError, HTTPSocketResponse
from locust import User, between, constant, tag, task

from loadtest.apps.target import EVENT_SECONDS, MIB
from loadtest.scenarios.checks import Refused, Unanswered, Wrong

RECEIVE_BUFFER: Final = 16 * 1024  # bytes; the kernel doubles it
TIMEOUT: Final = 30.0  # seconds without a byte
PIECE_BYTES: Final = 32 * 1024
PAUSE: Final = 0.06  # seconds before each piece: 1 MiB takes about two
LISTEN_SECONDS: Final = 5.0
PATIENCE: Final = 2.0  # seconds that an event may be late before it counts as missing

# Exceptions that end a stream and are reported; any other is an error of this module.
BROKEN: Final = (OSError, HTTPParseError, Wrong, Refused, Unanswered)


class Holder(User):
    """The base of both: a connection, and the report to locust."""

    abstract = True

    @contextmanager
    def asking(self, path: str) -> Iterator[HTTPSocketResponse]:
        """The response to a GET, whose head has arrived; the connection is closed at the end.

        Raises Wrong or Refused where the status is not 200.
        """
        where = urlsplit(self.host or "")
        address = (where.hostname or "", where.port or 80)
        connection = green.socket()
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            connection.settimeout(TIMEOUT)
            connection.connect(address)
            head = f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            response = HTTPSocketResponse(connection)
            if response.status_code != 200:
                kind = Refused if response.status_code == 503 else Wrong
                raise kind(f"status {response.status_code}")
            yield response
        finally:
            connection.close()

    def report(
        self, method: str, name: str, seconds: float, problem: BaseException | None, length: int = 0
    ) -> None:
        """Report one request to locust; it has failed where there is a `problem`."""
        self.environment.events.request.fire(
            request_type=method,
            name=name,
            response_time=seconds * 1000,
            response_length=length,
            exception=problem,
            context={},
        )


class SlowReader(Holder):
    """Takes two seconds to read 1 MiB, a little at a time."""

    weight = 2
    wait_time = between(0.1, 1.0)

    @tag("slow", "held")
    @task
    def read(self) -> None:
        start = time.perf_counter()
        began = 0.0
        body = bytearray()
        problem: BaseException | None = None
        try:
            with self.asking("/mib") as response:
                began = time.perf_counter() - start
                while len(body) < len(MIB):
                    gevent.sleep(PAUSE)
                    if not (piece := response.read(PIECE_BYTES)):
                        break
                    body += piece
            if body != MIB:
                raise Wrong(f"unexpected body of {len(body)} bytes")
        except BROKEN as error:
            problem = error
        taken = began or time.perf_counter() - start
        self.report("GET", "/mib (until it began)", taken, problem, len(body))


class EventListener(Holder):
    """Listens for five seconds, and expects an event each second."""

    weight = 2
    wait_time = constant(0.1)

    @tag("events", "held")
    @task
    def listen(self) -> None:
        start = last = time.perf_counter()
        heard = 0
        try:
            with self.asking("/events") as response:
                while time.perf_counter() - start < LISTEN_SECONDS:
                    self._expect(response, heard)
                    now = time.perf_counter()
                    self._on_event(heard, now - last)
                    last, heard = now, heard + 1
        except BROKEN as error:
            self._on_event(heard, time.perf_counter() - last, error)

    def _expect(self, response: HTTPSocketResponse, number: int) -> None:
        """Read the next event. Raises Wrong or Unanswered unless it has this number."""
        with gevent.Timeout(EVENT_SECONDS + PATIENCE, Unanswered("no event")):
            while not (line := response.readline(b"\n")).startswith(b"data:"):
                if not line:
                    raise Wrong("the stream ended")
        if line.split()[1:2] != [str(number).encode()]:
            raise Wrong(f"expected event {number}, got {line!r}")

    def _on_event(self, number: int, waited: float, problem: BaseException | None = None) -> None:
        """Report an event: the first from the request on, every other from when it was due."""
        if number == 0:
            self.report("EVENT", "/events (first)", waited, problem)
        else:
            late = max(waited - EVENT_SECONDS, 0.0)
            self.report("EVENT", "/events (late by)", late, problem)
