"""Crowds that put a server under pressure: each kind a process of its own that tells what it saw.

burst: many connections at the same moment, a request on each. Every latency counts from the start
of the burst: who is let in late has waited as well.
slow-heads: clients that send a byte of a head each second and never end it. Whoever is cut comes
back at once, so the pressure stays.
events: listeners of an event stream with one event each second, and how late events are. They come
back as well; `silent` are those without an event on their present connection.

A burst ends by itself. The others tell when all of their clients are there, or `--patience` is
over; then they go on until they are told to end by their stdin, and tell what came of it. All
count what they were refused, as a server that turns clients away has an easier life.

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
from loadtest.clients.slow_crowds import request, tell

PATIENCE: Final = 10.0  # seconds
RETRY_SECONDS: Final = 1.0  # before a client that was refused comes back
REFUSAL_SECONDS: Final = 0.2  # who is cut sooner than that was rather refused
COMING_SECONDS: Final = 1.0  # in which all clients of a crowd come
TICK: Final = 0.01  # seconds
TICKS: Final = 100  # from one byte of a slow head to the next
EVENT_PERIOD: Final = 1.0  # seconds from event to event, as /events of the target has it
EVENT: Final = b"data:"
ENDLESS_FIELD: Final = b"X-Slow: "


# ---------------------------------------------------------------------------------- burst


class Burst:
    """All connections are begun before anything is read; each asks once."""

    def __init__(self, port: int, asked: bytes) -> None:
        self.turns = Turns(port)
        self.body_bytes = 0
        self.tally = Tally()
        self.latencies = Histogram()
        self.done_seconds = 0.0  # until the last of those that ended by themselves
        self.opened_seconds = 0.0  # until all were begun: what comes earlier is read only then
        self._asked = asked
        self._start = 0.0
        self._running: set[Connection] = set()

    def run(self, count: int, patience: float) -> None:
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
        connection.ask(self._asked)

    def done(self, connection: Connection, kind: str) -> None:
        self._running.remove(connection)
        self._record(kind)
        self.done_seconds = self.turns.now - self._start

    def gone(self, connection: Connection) -> None:
        """It was kept and is not needed any more."""


def burst(options: argparse.Namespace) -> None:
    fields = "" if options.keep_alive else "Connection: close\r\n"
    one = Burst(options.port, request("GET", options.target, fields))
    options.announce("open")
    one.run(options.count, options.patience)
    options.announce("over")
    all_ended = not one.tally.unanswered
    tell(
        connections=options.count,
        served=one.tally.right / options.count,
        done_seconds=one.done_seconds if all_ended else options.patience,
        opened_seconds=one.opened_seconds,
        **one.tally.to_json(),
        intended=one.latencies.to_json(),
    )


# ---------------------------------------------------------------------------------- crowds


class Crowd:
    """So many clients, who come within about a second and come back when they are lost."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.turns = Turns(options.port, listens=True)
        self.body_bytes = 0
        self.tally = Tally()  # of what ended, although nothing should
        self.there: dict[int, Connection] = {}  # those that are connected
        self.broken = 0  # that had been there
        self.count: int = options.count
        self._patience: float = options.patience
        self._opened = 0
        now = time.monotonic()  # a heap: when, and who
        self._coming = [(now + n / self.count * COMING_SECONDS, n) for n in range(self.count)]

    def run(self) -> None:
        """Until told to end; tells in between when all are there."""
        start, told = time.monotonic(), False
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
            if not told and (ready == self.count or self.turns.now > start + self._patience):
                tell(at=self.turns.now, ready=ready, **self.so_far())
                told = True

    def open(self, number: int, source: int) -> None:
        Connection(self, number, source)

    def tick(self, number: int) -> None:
        """What is to be done each 10 ms."""

    def count_ready(self) -> int:
        return len(self.there)

    def so_far(self) -> dict[str, Any]:
        """What else is to be told when all are there."""
        return {}

    def ready(self, connection: Connection) -> None:
        self.there[connection.number] = connection
        connection.sent = self.turns.now

    def done(self, connection: Connection, kind: str) -> None:
        connection.close()
        was_there = self.there.pop(connection.number, None) is not None
        self.broken += was_there
        self.tally.add(kind)
        stayed = was_there and self.turns.now > connection.sent + REFUSAL_SECONDS
        pause = 0.0 if stayed else RETRY_SECONDS
        heappush(self._coming, (self.turns.now + pause, connection.number))

    def gone(self, connection: Connection) -> None:
        self.done(connection, CLOSED)


class SlowHeads(Crowd):
    """A hundredth of the clients sends its next byte each 10 ms."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self._head = request("GET", options.target).removesuffix(b"\r\n") + ENDLESS_FIELD
        self._sent = [0] * self.count  # bytes of the head

    def ready(self, connection: Connection) -> None:
        super().ready(connection)
        self._sent[connection.number] = 0

    def tick(self, number: int) -> None:
        for one in range(number % TICKS, self.count, TICKS):
            if (connection := self.there.get(one)) is not None:
                place = self._sent[one]
                self._sent[one] += 1
                connection.ask(self._head[place : place + 1] or b"x")


def slow_heads(options: argparse.Namespace) -> None:
    crowd = SlowHeads(options)
    crowd.run()
    tell(connections=crowd.count, connected=len(crowd.there), cut=crowd.broken, **told_of(crowd))
    crowd.turns.close()


class Listener(Connection):
    """Its answer is a stream of events that does not end."""

    __slots__ = ("_end", "_heard", "events", "heard_at")

    def __init__(self, owner: "Listeners", number: int, source: int) -> None:
        self.events = 0
        self.heard_at = 0.0
        self._end = b""  # of the last piece: an event may be cut anywhere
        self._heard = owner.heard
        super().__init__(owner, number, source)

    def _on_chunks(self, piece: bytes) -> None:
        events = (self._end + piece).count(EVENT)
        self._end = (self._end + piece)[1 - len(EVENT) :]
        if events:
            self._heard(self, events)
        super()._on_chunks(piece)


class Listeners(Crowd):
    """`lateness` is how much longer than a second each event was waited for."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.events = 0
        self.lateness = Histogram()
        self._asked = request("GET", options.target, "Accept: text/event-stream\r\n")
        self._listening: dict[int, Listener] = {}  # those that have had an event

    def open(self, number: int, source: int) -> None:
        Listener(self, number, source)

    def ready(self, connection: Connection) -> None:
        super().ready(connection)
        connection.ask(self._asked)

    def count_ready(self) -> int:
        return len(self._listening)

    def so_far(self) -> dict[str, Any]:
        return {"events": self.events}

    def heard(self, listener: Listener, events: int) -> None:
        """The first of them was waited for; the others, if any, came with it."""
        now = self.turns.now
        if listener.events:
            self.lateness.record(max(0.0, now - listener.heard_at - EVENT_PERIOD))
        self._listening[listener.number] = listener
        listener.events += events
        listener.heard_at = now
        self.events += events

    def done(self, connection: Connection, kind: str) -> None:
        self._listening.pop(connection.number, None)
        super().done(connection, kind)

    def end(self) -> None:
        """Who waits for an event that is late already is counted with that."""
        for listener in self._listening.values():
            late = self.turns.now - listener.heard_at - EVENT_PERIOD
            if late > 0.0:
                self.lateness.record(late)


def events(options: argparse.Namespace) -> None:
    crowd = Listeners(options)
    crowd.run()
    crowd.end()
    tell(
        connections=crowd.count,
        connected=len(crowd.there),
        silent=crowd.count - crowd.count_ready(),
        events=crowd.events,
        broken=crowd.broken,
        lateness=crowd.lateness.to_json(),
        **told_of(crowd),
    )
    crowd.turns.close()


def told_of(crowd: Crowd) -> dict[str, Any]:
    told = crowd.tally.to_json()
    return {name: told[name] for name in ("errors", "refused", "kinds")}


def main() -> None:
    kinds = {"burst": burst, "slow-heads": slow_heads, "events": events}
    parser = argparse.ArgumentParser(description="Clients in numbers who press a server.")
    parser.add_argument("kind", choices=list(kinds))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--count", type=int, default=1000, help="connections")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds")
    parser.add_argument("--keep-alive", action="store_true", help="of a burst's connections")
    add_announce(parser)
    options = parser.parse_args()
    make_room(options.count)
    kinds[options.kind](options)


if __name__ == "__main__":
    main()
