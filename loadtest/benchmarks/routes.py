"""What an application costs: beside a peer, beside itself, and with many listeners.

CPU time per request, as a ratio within a round, the median of the rounds; how it is measured is
said in `loadtest.benchmarks.cpu`. One process on one core, clients on another, logs off but where
it is said.

    hello        a parameter and three pass-through middlewares, beside the same on Starlette under
                 uvicorn with httptools and uvloop
    many-routes  a thousand routes beside ten
    async        an `async def` that awaits nothing, beside a `def`
    json-log     an access log in JSON, into a file, beside none
    events       1,000 listeners of an event stream, one event a second each: share of a core

Paths change from request to request, so that no cache of paths has them.

    python -m loadtest.benchmarks.routes --rounds 5 --seconds 3 --only hello --json FILE
"""

import importlib.util
import selectors
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from loadtest import system
from loadtest.benchmarks import common
from loadtest.benchmarks.memory import Figures
from loadtest.system import ADDRESS, MeasurementError

CONNECTIONS: Final = 64
LISTENERS: Final = 1000
LISTEN_SECONDS: Final = 10.0
SCRIPT: Final = system.PROJECT / "loadtest" / "clients" / "wrk_paths.lua"

Command = Callable[[int, Path], list[str]]  # of a port and a folder for files


class Arm(NamedTuple):
    """A server, and the prefix of the paths that it is asked for."""

    name: str
    command: Command
    prefix: str = "/hello/"


class Comparison(NamedTuple):
    """Two arms, and what a request of the first may cost as a multiple of the second's."""

    ours: Arm
    other: Arm
    most: float


def ours(application: str, *options: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        named = [option.replace("FOLDER", str(folder)) for option in options or LOG_OFF]
        where = f"loadtest.apps.routed:{application}"
        return [sys.executable, "-m", "reactor", where, "--port", str(port), *named]

    return command


def starlette(port: int, folder: Path) -> list[str]:
    module = [
        sys.executable,
        "-m",
        "uvicorn",
        "loadtest.apps.starlette_hello:app",
        "--port",
        str(port),
    ]
    parts = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
    return [*module, *parts, "--no-access-log", "--log-level", "warning"]


LOG_OFF: Final = ("--access-log", "off")
JSON_LOG: Final = ("--access-log", "FOLDER/access.log", "--access-log-format", "json")
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
    """Its process id and port."""
    core, _ = system.cores()
    port = system.free_port()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        folder = Path(name)
        with system.serving(arm.command(port, folder), port, core, folder / "server.log") as pid:
            yield pid, port


def cost(arm: Arm, seconds: int) -> float:
    """Microseconds of the server's CPU time per request."""
    with serving(arm) as (pid, port):
        url = f"http://{ADDRESS}:{port}{arm.prefix}"
        options = [f"-c{CONNECTIONS}", "-s", str(SCRIPT), url]
        return common.cpu_per_request(pid, arm.name, options, seconds)


def compare(figures: Figures, case: str, seconds: int, number: int) -> None:
    """One round: both, in turn forwards and backwards."""
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
    """Listeners that come within a second, as people do not all come at once."""
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
            count_events(selector, 2.0)
            used = system.cpu_seconds(pid)
            begun = time.monotonic()
            events = count_events(selector, LISTEN_SECONDS)
            used = system.cpu_seconds(pid) - used
            seconds = time.monotonic() - begun
        finally:
            for listener in listeners:
                listener.close()
            selector.close()
    if events < LISTENERS * LISTEN_SECONDS * 0.95:
        raise MeasurementError(f"only {events} events came")
    figures.add("events", "share of a core", used / seconds * 100, "%", 10.0)
    figures.add("events", "CPU per event", used / events * 1e6, "µs")


def count_events(selector: selectors.BaseSelector, seconds: float) -> int:
    until = time.monotonic() + seconds
    count = 0
    while (left := until - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            assert isinstance(key.fileobj, socket.socket)
            received = key.fileobj.recv(65536)
            if not received:
                raise MeasurementError("a stream ended")
            count += received.count(b"data:")
    return count


# ---------------------------------------------------------------------------------- telling


def run(figures: Figures, cases: Sequence[str], rounds: int, seconds: int) -> None:
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
    return common.main("What an application costs.", [*COMPARISONS, "events"], run)


if __name__ == "__main__":
    raise SystemExit(main())
