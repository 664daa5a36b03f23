"""An open loop: requests are due by the clock, however slow the responses are.

People do not stop coming because a server is slow. A closed loop does: its connections wait for
their responses and send nothing meanwhile, so a stall of two seconds is one slow request to it and
not the thousand that would have come. Here a request is due at its moment. It takes a free
connection, or a new one, or waits in a queue until one is free. Its `intended` latency begins when
it was due, its `service` time when it was sent.

Every request that was due in the window is counted: as correct, as an error, as refused or as
unanswered. Each is in `intended`, also those that failed, and those without a response `--patience`
seconds after the window, with their time so far. `service` has the correct ones only. `achieved`
counts correct responses by when they came, not by when they were due.

A generator that is late reports wrong latencies, so it prints how late it sent its requests
(`late`), and its share of a core. Measurements are appended to arrays and become histograms at the
end.

With stages, as in `3000x3,20000x3,3000x6` (requests per second x seconds), `slices` has a histogram
of the intended latencies for each 100 ms in which requests were due: see `recovery`.

    python -m loadtest.clients.open_loop --port 8000 --target /hello --rate 2000 --seconds 5
"""

import argparse
import random
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from math import inf
from typing import Any, Final, NamedTuple

from loadtest.clients.connection import (
    CORRECT,
    UNANSWERED,
    Announce,
    Connection,
    Tally,
    Turns,
    add_announce,
    ignore,
    make_room,
)
from loadtest.clients.histogram import Histogram, merged
from loadtest.clients.slow_crowds import print_json, request

SLICE_SECONDS: Final = 0.1
START_SECONDS: Final = 0.02  # before the first request, so that preparation makes none late
BATCH: Final = 16  # requests that are sent before responses are read again
PATIENCE: Final = 5.0  # seconds
CALM_SLICES: Final = 5  # in a row, for an overload to be over
LEAST_NORMAL: Final = 0.005  # seconds: a p99 below it is always normal


class Stage(NamedTuple):
    """A rate, in requests per second, and how long it lasts."""

    rate: float
    seconds: float


def stages_of(text: str) -> list[Stage]:
    """The stages of a text such as `3000x3,20000x3`. Raises ValueError."""
    parts = (part.partition("x") for part in text.split(","))
    stages = [Stage(float(rate), float(seconds)) for rate, _, seconds in parts]
    if not all(0 < value < inf for stage in stages for value in stage):
        raise ValueError(f"Rates and seconds must be above 0, as in 3000x3,20000x3; got {text!r}.")
    return stages


def schedule(stages: Sequence[Stage], seed: int | None = None) -> Iterator[float]:
    """When each request is due, in seconds from the start.

    With a seed, arrivals are a Poisson process. Constant arrivals stay exact for hours: each is
    computed from the start of its stage.
    """
    start, source = 0.0, None if seed is None else random.Random(seed)
    for rate, seconds in stages:
        if source is None:
            yield from (start + number / rate for number in range(round(rate * seconds)))
        else:
            due = source.expovariate(rate)
            while due < seconds:
                yield start + due
                due += source.expovariate(rate)
        start += seconds


class OpenLoop:
    """A pool of connections, the requests that wait for one, and the outcomes of all."""

    def __init__(
        self, port: int, request: bytes, connections: int, announce: Announce = ignore
    ) -> None:
        self._announce = announce
        self.turns = Turns(port)
        self.body_bytes = 0
        self.tally = Tally()
        self.dues, self.intended = array("d"), array("d")  # one request has the same index in both
        self.service, self.late = array("d"), array("d")
        self.within = 0  # correct responses that came in the window
        self.most = 0  # connections at a time
        self.window_bytes = 0
        self.generator_share = 0.0
        self._request = request
        self._free: list[Connection] = []
        self._busy: set[Connection] = set()
        self._waiting: deque[float] = deque()
        self._connections = connections
        self._opened = 0
        self._from = self._until = 0.0  # the window

    def run(self, dues: Sequence[float], warm_up: float, seconds: float, patience: float) -> None:
        """Send a request at each of these times (seconds from the start).

        Those of the first `warm_up` seconds are not counted.
        """
        start = time.monotonic() + START_SECONDS
        self._from, self._until = start + warm_up, start + warm_up + seconds
        number = self._run_until(self._from, dues, 0, start)
        self._announce("open")
        before = self.body_bytes
        used, since = time.process_time(), time.monotonic()
        number = self._run_until(self._until, dues, number, start)
        self.generator_share = (time.process_time() - used) / (time.monotonic() - since)
        self.window_bytes = self.body_bytes - before
        self._announce("over")
        number = self._run_until(self._until + patience, dues, number, start)
        self._give_up([start + due for due in dues[number:]])
        self.turns.close()

    def _run_until(self, end: float, dues: Sequence[float], number: int, start: float) -> int:
        """Run until `end`, or until nothing is left to do; returns the next request's number."""
        while self.turns.now < end:
            number = self._ask_due(dues, number, start)
            if number < len(dues):
                self.turns.turn(min(start + dues[number], end))
            elif self._busy or self.turns.now < self._until:
                self.turns.turn(end)
            else:
                break
        return number

    def _ask_due(self, dues: Sequence[float], number: int, start: float) -> int:
        """Send the requests that are due, one batch at most; returns the next one's number."""
        end = min(number + BATCH, len(dues))
        while number < end:
            due, now = start + dues[number], time.monotonic()
            if due > now:
                break
            number += 1
            if due >= self._from:
                self.late.append(now - due)
            if self._free:
                self._ask(self._free.pop(), due, now)
            elif len(self._busy) < self._connections:
                self._open(due)
            else:
                self._waiting.append(due)
        return number

    def _ask(self, connection: Connection, due: float, now: float) -> None:
        self._busy.add(connection)
        connection.due = due
        connection.sent = now
        connection.ask(self._request)

    def _open(self, due: float) -> None:
        connection = Connection(self, 0, self._opened)
        connection.due = due
        self._opened += 1
        self._busy.add(connection)
        self.most = max(self.most, len(self._busy))

    # ------------------------------------------------------------------------------ responses

    def ready(self, connection: Connection) -> None:
        """Send the request for which the connection was made."""
        self._ask(connection, connection.due, time.monotonic())

    def done(self, connection: Connection, kind: str) -> None:
        """Record the outcome, and give the connection to the next request that waits."""
        now = self.turns.now
        self._busy.discard(connection)
        self._record(connection.due, now, kind)
        if kind == CORRECT:
            if connection.due >= self._from:
                self.service.append(now - connection.sent)
            self.within += self._from <= now < self._until
        if connection.is_open:
            if self._waiting:
                self._ask(connection, self._waiting.popleft(), time.monotonic())
            else:
                self._free.append(connection)
        elif self._waiting:
            self._open(self._waiting.popleft())

    def gone(self, connection: Connection) -> None:
        """Forget a free connection that the server has closed."""
        self._free.remove(connection)

    def _record(self, due: float, now: float, kind: str) -> None:
        if due >= self._from:
            self.dues.append(due - self._from)
            self.intended.append(now - due)
            self.tally.add(kind)

    def _give_up(self, unasked: Sequence[float]) -> None:
        """Record requests without a response as unanswered, and those not sent as late as well."""
        self.late.extend(self.turns.now - due for due in unasked if due >= self._from)
        asked = (connection.due for connection in self._busy)
        for due in chain(asked, self._waiting, unasked):
            self._record(due, self.turns.now, UNANSWERED)

    def slices(self) -> list[Histogram]:
        """Intended latencies, a histogram for each SLICE_SECONDS in which requests were due."""
        count = max(1, round((self._until - self._from) / SLICE_SECONDS))
        slices = [Histogram() for _ in range(count)]
        for due, latency in zip(self.dues, self.intended, strict=True):
            slices[min(int(due / SLICE_SECONDS), count - 1)].record(latency)
        return slices


def recovery(slices: Sequence[Histogram], before: int, after: int, factor: float = 2.0) -> float:
    """Seconds from the end of an overload until p99 is back to normal.

    The overload lasted from slice `before` to slice `after`. p99 is normal when it is at most
    `factor` times its value before the overload, for CALM_SLICES slices in a row; a slice without
    requests is calm. Where p99 never came back, the result is the whole time after the overload.
    """
    normal = merged(slices[:before]).percentile(0.99)
    most = max(LEAST_NORMAL, factor * normal)
    calm = 0
    for number in range(after, len(slices)):
        calm = 0 if slices[number].percentile(0.99) > most else calm + 1
        if calm == CALM_SLICES:
            return (number + 1 - CALM_SLICES - after) * SLICE_SECONDS
    return (len(slices) - after) * SLICE_SECONDS


def outcome(loop: OpenLoop, seconds: float, with_slices: bool) -> dict[str, Any]:
    """The result that the program prints."""
    late = Histogram(loop.late)
    result = {
        "due": len(loop.dues),
        **loop.tally.to_json(),
        "requests": loop.within,
        "seconds": seconds,
        "offered": len(loop.dues) / seconds,
        "achieved": loop.within / seconds,
        "bytes": loop.window_bytes,
        "connections": loop.most,
        "generator_share": loop.generator_share,
        "late": late.percentile(0.99) if late.count else 0.0,
        "intended": Histogram(loop.intended).to_json(),
        "service": Histogram(loop.service).to_json(),
    }
    if with_slices:
        result["slice_seconds"] = SLICE_SECONDS
        result["slices"] = [one.to_json() for one in loop.slices()]
    return result


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Send requests by the clock.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--stages", type=stages_of, help="RATExSECONDS,... instead of both")
    parser.add_argument("--connections", type=int, default=256, help="at most")
    parser.add_argument("--arrivals", choices=["constant", "poisson"], default="constant")
    parser.add_argument("--seed", type=int, default=1, help="seed of Poisson arrivals")
    parser.add_argument("--warm-up", type=float, default=0.0, help="seconds, not counted")
    add_announce(parser)
    parser.add_argument(
        "--patience", type=float, default=PATIENCE, help="seconds to wait for responses at the end"
    )
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    make_room(options.connections)
    stages = options.stages or [Stage(options.rate, options.seconds)]
    seconds = sum(stage.seconds for stage in stages)
    warm_up = [Stage(stages[0].rate, options.warm_up)] if options.warm_up > 0 else []
    seed = options.seed if options.arrivals == "poisson" else None
    dues = array("d", schedule([*warm_up, *stages], seed))
    head = request("GET", options.target)
    loop = OpenLoop(options.port, head, options.connections, options.announce)
    loop.run(dues, options.warm_up, seconds, options.patience)
    print_json(**outcome(loop, seconds, bool(options.stages)))


if __name__ == "__main__":
    main()
