"""Crowds that put a server under pressure: each kind is a process that prints what it observed.

burst: many connections at the same moment, with a request on each. Every latency counts from the
start of the burst, so it includes the wait until the connection was accepted.
slow-heads: clients that send one byte of a head each second and never end it. A client that is cut
comes back at once, so the pressure stays.
events: listeners of an event stream with one event each second, and how late events are. They come
back as well; `silent` counts those without an event on their present connection.

silent: clients that connect and say nothing, and that come back when they are cut.

A burst ends by itself. The others print a line when all of their clients are connected, or
`--patience` has passed; then they go on until their stdin is closed, and print their result. All
count refusals, since a server that turns clients away has less to do.

    python -m loadtest.clients.stress_crowds KIND --port 8000 --target /hello --count 5000
"""

import argparse
import time
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Final

from loadtest.clients.connection import (
    CLOSED,
    UNANSWERED,
    Connection,
    Tally,
    Turns,
    add_announce,
    make_room,
)
from loadtest.clients.histogram import Histogram
from loadtest.clients.slow_crowds import print_json, request

PATIENCE: Final = 10.0  # seconds
RETRY_SECONDS: Final = 1.0  # before a client that was refused comes back
REFUSAL_SECONDS: Final = 0.2  # a client that is cut sooner counts as refused
COMING_SECONDS: Final = 1.0  # over which the arrival of a crowd is spread
TICK: Final = 0.01  # seconds
TICKS: Final = 100  # from one byte of a slow head to the next
EVENT_PERIOD: Final = 1.0  # seconds from event to event, as /events of the target has it
EVENT: Final = b"data:"
ENDLESS_FIELD: Final = b"X-Slow: "


# ---------------------------------------------------------------------------------- burst


class Burst:
    """Starts all connections before it reads anything; each sends one request."""

    def __init__(self, port: int, request: bytes) -> None:
        self.turns = Turns(port)
        self.body_bytes = 0
        self.tally = Tally()
        self.latencies = Histogram()
        self.done_seconds = 0.0  # until the last request ended by itself
        self.opened_seconds = 0.0  # until all were started; earlier responses are read only then
        self._request = request
        self._start = 0.0
        self._running: set[Connection] = set()

    def run(self, count: int, patience: float) -> None:
        """Send `count` requests, and wait for their responses, `patience` seconds at most."""
        self._start = time.monotonic()
        for number in range(count):
            self._running.add(Connection(self, number, number))
        self.opened_seconds = time.monotonic() - self._start
        end = self._start + patience
        while self._running and self.turns.now < end:
            self.turns.turn(end)
        for _ in self._running:
            self._record(UNANSWERED)
        self.turns.close()

    def _record(self, kind: str) -> None:
        self.tally.add(kind)
        self.latencies.record(self.turns.now - self._start)

    def ready(self, connection: Connection) -> None:
        """Send the request."""
        connection.ask(self._request)

    def done(self, connection: Connection, kind: str) -> None:
        """Record the outcome."""
        self._running.remove(connection)
        self._record(kind)
        self.done_seconds = self.turns.now - self._start

    def gone(self, connection: Connection) -> None:
        """Ignore a keep-alive connection that has done its request."""


def burst(options: argparse.Namespace) -> None:
    """Run a Burst; prints its outcome."""
    fields = "" if options.keep_alive else "Connection: close\r\n"
    one = Burst(options.port, request("GET", options.target, fields))
    options.announce("open")
    one.run(options.count, options.patience)
    options.announce("over")
    all_ended = not one.tally.unanswered
    print_json(
        connections=options.count,
        served=one.tally.correct / options.count,
        done_seconds=one.done_seconds if all_ended else options.patience,
        opened_seconds=one.opened_seconds,
        **one.tally.to_json(),
        intended=one.latencies.to_json(),
    )


# ---------------------------------------------------------------------------------- crowds


class Crowd:
    """Clients that arrive within about a second, and come back when their connection is lost."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.turns = Turns(options.port, listens=True)
        self.body_bytes = 0
        self.tally = Tally()  # the connections that ended, although none should
        self.connected: dict[int, Connection] = {}
        self.broken = 0  # connections that were lost after they had been made
        self.count: int = options.count
        self._patience: float = options.patience
        self._opened = 0
        now = time.monotonic()
        # A heap of when the next client comes, and its number.
        self._coming = [(now + n / self.count * COMING_SECONDS, n) for n in range(self.count)]

    def run(self) -> None:
        """Run until stdin ends; prints a line when all clients are ready."""
        start, printed = time.monotonic(), False
        for number in count():
            due = start + number * TICK
            self.turns.turn(due)  # at least once, however late it is
            while self.turns.now < min(due, self.turns.end):
                self.turns.turn(due)
            if self.turns.end < inf:
                break
            while self._coming and self._coming[0][0] <= self.turns.now:
                self._opened += 1
                self.open(heappop(self._coming)[1], self._opened)
            self.tick(number)
            ready = self.count_ready()
            if not printed and (ready == self.count or self.turns.now > start + self._patience):
                print_json(at=self.turns.now, ready=ready, **self.so_far())
                printed = True

    def open(self, number: int, source: int) -> None:
        """Make the connection of a client."""
        Connection(self, number, source)

    def tick(self, number: int) -> None:
        """The work of every TICK."""

    def count_ready(self) -> int:
        """How many clients are ready."""
        return len(self.connected)

    def so_far(self) -> dict[str, Any]:
        """More values for the line that `run` prints."""
        return {}

    def ready(self, connection: Connection) -> None:
        """Keep the connection, and the time of its start in `sent`."""
        self.connected[connection.number] = connection
        connection.sent = self.turns.now

    def done(self, connection: Connection, kind: str) -> None:
        """Count the loss, and let the client come back: after a pause where it was refused."""
        connection.close()
        was_connected = self.connected.pop(connection.number, None) is not None
        self.broken += was_connected
        self.tally.add(kind)
        stayed = was_connected and self.turns.now > connection.sent + REFUSAL_SECONDS
        pause = 0.0 if stayed else RETRY_SECONDS
        heappush(self._coming, (self.turns.now + pause, connection.number))

    def gone(self, connection: Connection) -> None:
        """Count the loss of an idle connection."""
        self.done(connection, CLOSED)


class SlowHeads(Crowd):
    """Every 10 ms a hundredth of the clients send their next byte."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self._head = request("GET", options.target).removesuffix(b"\r\n") + ENDLESS_FIELD
        self._sent = [0] * self.count  # bytes of the head

    def ready(self, connection: Connection) -> None:
        """Start a new head."""
        super().ready(connection)
        self._sent[connection.number] = 0

    def tick(self, number: int) -> None:
        """Send the next byte of every TICKSth client."""
        for one in range(number % TICKS, self.count, TICKS):
            if (connection := self.connected.get(one)) is not None:
                place = self._sent[one]
                self._sent[one] += 1
                connection.ask(self._head[place : place + 1] or b"x")


def slow_heads(options: argparse.Namespace) -> None:
    """Run SlowHeads; prints the outcome in the end."""
    crowd = SlowHeads(options)
    crowd.run()
    print_json(
        connections=crowd.count,
        connected=len(crowd.connected),
        cut=crowd.broken,
        **outcome_of(crowd),
    )
    crowd.turns.close()


def silent(options: argparse.Namespace) -> None:
    """Run a Crowd that says nothing; prints the outcome in the end."""
    crowd = Crowd(options)
    crowd.run()
    print_json(
        connections=crowd.count,
        connected=len(crowd.connected),
        cut=crowd.broken,
        **outcome_of(crowd),
    )
    crowd.turns.close()


class Listener(Connection):
    """A connection whose response is an endless stream of events."""

    __slots__ = ("_end", "_heard", "events", "heard_at")

    def __init__(self, owner: "Listeners", number: int, source: int) -> None:
        self.events = 0
        self.heard_at = 0.0
        self._end = b""  # the last bytes, since a piece may end within an event
        self._heard = owner.heard
        super().__init__(owner, number, source)

    def _on_chunked(self, piece: bytes) -> None:
        events = (self._end + piece).count(EVENT)
        self._end = (self._end + piece)[1 - len(EVENT) :]
        if events:
            self._heard(self, events)
        super()._on_chunked(piece)


class Listeners(Crowd):
    """Listeners of one event each second; `lateness` counts the wait beyond that second."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.events = 0
        self.lateness = Histogram()
        self._request = request("GET", options.target, "Accept: text/event-stream\r\n")
        self._listening: dict[int, Listener] = {}  # those that have received an event

    def open(self, number: int, source: int) -> None:
        """Make the connection of a listener."""
        Listener(self, number, source)

    def ready(self, connection: Connection) -> None:
        """Ask for the stream."""
        super().ready(connection)
        connection.ask(self._request)

    def count_ready(self) -> int:
        """How many listeners have received an event."""
        return len(self._listening)

    def so_far(self) -> dict[str, Any]:
        """The events until now."""
        return {"events": self.events}

    def heard(self, listener: Listener, events: int) -> None:
        """Count events that arrived together; the lateness is that of the first one."""
        now = self.turns.now
        if listener.events:
            self.lateness.record(max(0.0, now - listener.heard_at - EVENT_PERIOD))
        self._listening[listener.number] = listener
        listener.events += events
        listener.heard_at = now
        self.events += events

    def done(self, connection: Connection, kind: str) -> None:
        """Count the loss; the listener is silent until its next event."""
        self._listening.pop(connection.number, None)
        super().done(connection, kind)

    def end(self) -> None:
        """Record the lateness until now of events that are due and have not come."""
        for listener in self._listening.values():
            late = self.turns.now - listener.heard_at - EVENT_PERIOD
            if late > 0.0:
                self.lateness.record(late)


def events(options: argparse.Namespace) -> None:
    """Run Listeners; prints the outcome in the end."""
    crowd = Listeners(options)
    crowd.run()
    crowd.end()
    print_json(
        connections=crowd.count,
        connected=len(crowd.connected),
        silent=crowd.count - crowd.count_ready(),
        events=crowd.events,
        broken=crowd.broken,
        lateness=crowd.lateness.to_json(),
        **outcome_of(crowd),
    )
    crowd.turns.close()


def outcome_of(crowd: Crowd) -> dict[str, Any]:
    """The counts of a crowd that has no correct responses to count."""
    counts = crowd.tally.to_json()
    return {name: counts[name] for name in ("errors", "refused", "kinds")}


def main() -> None:
    kinds = {"burst": burst, "slow-heads": slow_heads, "events": events, "silent": silent}
    parser = argparse.ArgumentParser(description="Many clients that put a server under pressure.")
    parser.add_argument("kind", choices=list(kinds))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--count", type=int, default=1000, help="connections")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds")
    parser.add_argument("--keep-alive", action="store_true", help="do not close after a burst")
    add_announce(parser)
    options = parser.parse_args()
    make_room(options.count)
    kinds[options.kind](options)


if __name__ == "__main__":
    main()
