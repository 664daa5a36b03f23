"""The cost of an application: beside a peer, beside itself, and with many listeners.

CPU time per request is judged as a ratio within a round, the median of the rounds; it is measured
as in `loadtest.benchmarks.cpu`. The server is one process on one core, its clients are on another,
and the access log is off except in json-log.

    hello        a parameter and three pass-through middlewares, beside the same on Starlette under
                 uvicorn with httptools and uvloop
    many-routes  a thousand routes beside ten
    async        an `async def` that awaits nothing, beside a `def`
    json-log     an access log in JSON, into a file, beside none
    events       1,000 listeners of an event stream, one event a second each: share of a core

The path differs in every request, so that no cache of paths has it.

    python -m loadtest.benchmarks.routes --rounds 5 --seconds 3 --only hello --json FILE
"""

import importlib.util
import selectors
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from loadtest import system
from loadtest.benchmarks import common
from loadtest.benchmarks.figures import Figures
from loadtest.benchmarks.peers import Command
from loadtest.system import ADDRESS, MeasurementError

CONNECTIONS: Final = 64
LISTENERS: Final = 1000
LISTEN_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 2.0
LEAST_EVENTS: Final = 0.95  # share of those that are due
SCRIPT: Final = system.PROJECT / "loadtest" / "clients" / "wrk_paths.lua"


class Arm(NamedTuple):
    """A server, and the prefix of the paths that are requested."""

    name: str
    command: Command
    prefix: str = "/hello/"


class Comparison(NamedTuple):
    """Two arms, and the largest cost of the first as a multiple of the second."""

    ours: Arm
    other: Arm
    most: float


def ours(application: str, *options: str) -> Command:
    """An application of `apps/routed.py` on this server; WORKDIR in options is its directory."""

    def command(port: int, workdir: Path) -> list[str]:
        named = [option.replace("WORKDIR", str(workdir)) for option in options or LOG_OFF]
        where = f"loadtest.apps.routed:{application}"
        return [sys.executable, "-m", "reactor", where, "--port", str(port), *named]

    return command


def starlette(port: int, workdir: Path) -> list[str]:
    """The peer: Starlette under uvicorn with httptools and uvloop, without a log."""
    where = "loadtest.apps.starlette_hello:app"
    module = [sys.executable, "-m", "uvicorn", where, "--port", str(port)]
    parts = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
    return [*module, *parts, "--no-access-log", "--log-level", "warning"]


LOG_OFF: Final = ("--access-log", "off")
JSON_LOG: Final = ("--access-log", "WORKDIR/access.log", "--access-log-format", "json")
COMPARISONS: Final = {
    "hello": Comparison(Arm("reactor", ours("hello")), Arm("Starlette, uvicorn", starlette), 0.4),
    "many-routes": Comparison(
        Arm("1,000 routes", ours("many"), "/section-999/"),
        Arm("10 routes", ours("few"), "/section-9/"),
        1.1,
    ),
    "async": Comparison(
        Arm("async def", ours("either_way"), "/async/"),
        Arm("def", ours("either_way"), "/plain/"),
        1.25,
    ),
    "json-log": Comparison(
        Arm("JSON log", ours("hello", *JSON_LOG)), Arm("no log", ours("hello")), 1.3
    ),
}


# ---------------------------------------------------------------------------------- CPU time


@contextmanager
def serving(arm: Arm) -> Iterator[tuple[int, int]]:
    """The server of an arm: its process id and port."""
    core, _ = system.cores()
    port = system.free_port()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        workdir = Path(name)
        with system.serving(arm.command(port, workdir), port, core, workdir / "server.log") as pid:
            yield pid, port


def cost(arm: Arm, seconds: int) -> float:
    """Microseconds of the server's CPU time per request."""
    with serving(arm) as (pid, port):
        url = f"http://{ADDRESS}:{port}{arm.prefix}"
        options = [f"-c{CONNECTIONS}", "-s", str(SCRIPT), url]
        return common.cpu_per_request(pid, arm.name, options, seconds)


def compare(figures: Figures, case: str, seconds: int, number: int) -> None:
    """One round of a case: both arms, in every second round in the other order."""
    comparison = COMPARISONS[case]
    arms = [comparison.ours, comparison.other]
    costs = {arm: cost(arm, seconds) for arm in (reversed(arms) if number % 2 else arms)}
    for arm in arms:
        figures.add(case, arm.name, costs[arm], "µs/request")
    ratio = costs[comparison.ours] / costs[comparison.other]
    name = f"{comparison.ours.name} : {comparison.other.name}"
    figures.add(case, name, ratio, "", comparison.most, 2)


# ---------------------------------------------------------------------------------- listeners


def listen(figures: Figures) -> None:
    """CPU time with LISTENERS of an event stream, whose arrival is spread over a second."""
    request = f"GET /events HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n".encode()
    with serving(Arm("events", ours("stream"))) as (pid, port):
        selector = selectors.DefaultSelector()
        listeners = []
        try:
            for _ in range(LISTENERS):
                listener = socket.create_connection((ADDRESS, port), timeout=5)
                listener.sendall(request)
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ)
                listeners.append(listener)
                time.sleep(1 / LISTENERS)
            count_events(selector, SETTLE_SECONDS)
            used = system.cpu_seconds(pid)
            start = time.monotonic()
            events = count_events(selector, LISTEN_SECONDS)
            used = system.cpu_seconds(pid) - used
            seconds = time.monotonic() - start
        finally:
            for listener in listeners:
                listener.close()
            selector.close()
    due = LISTENERS * LISTEN_SECONDS
    if events < due * LEAST_EVENTS:
        raise MeasurementError(f"{events} events of {due:,.0f} came")
    figures.add("events", "share of a core", used / seconds * 100, "%", 10.0)
    figures.add("events", "CPU per event", used / events * 1e6, "µs")


def count_events(selector: selectors.BaseSelector, seconds: float) -> int:
    """The events that all listeners receive. Raises MeasurementError where a stream ends."""
    until = time.monotonic() + seconds
    count = 0
    while (left := until - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            assert isinstance(key.fileobj, socket.socket)
            received = key.fileobj.recv(65536)
            if not received:
                raise MeasurementError("an event stream ended")
            count += received.count(b"data:")
    return count


# ---------------------------------------------------------------------------------- the program


def run(figures: Figures, cases: Sequence[str], rounds: int, seconds: int) -> None:
    """Measure the cases; one that fails is reported and does not stop the others."""
    for number in range(rounds):
        for case in cases:
            print(f"round {number + 1}: {case}", file=sys.stderr, flush=True)
            try:
                if case == "events":
                    listen(figures)
                elif case == "hello" and importlib.util.find_spec("starlette") is None:
                    figures.fail(case, "Starlette is not installed")
                else:
                    compare(figures, case, seconds, number)
            except (MeasurementError, OSError) as failure:
                figures.fail(case, str(failure))


def main() -> int:
    return common.main("CPU time per request of an application.", [*COMPARISONS, "events"], run)


if __name__ == "__main__":
    raise SystemExit(main())
