"""What files cost: beside nginx, beside what else this server does, and to who asks for others.

CPU time per request, judged as a ratio within a round, the median of the rounds; the way it is
measured is that of `loadtest.benchmarks.cpu`. Both servers are one process on one core with the
access log off, and serve the same folder, which lies in memory. nginx has `sendfile on` and, as is
its default, no cache of open files.

    hot-1k, hot-100k, hot-10m   a file, again and again, beside nginx
    not-modified                304 for a file, beside a tiny echo
    coded                       100 KiB of text, gzipped once and kept, beside its .gz sibling

Latency of a bystander, who asks for something small each 10 ms, beside clients that keep the server
busy; `before` is the same without them, and is what client and machine add. Here the server is not
pinned, since its threads are part of what is measured.

    gzip-crowd   64 clients, each asking for a text of 1 MiB that nobody has asked for before
    cold         32 clients and a disk whose every read takes 200 ms (see slowdisk.py)
    listing      4 clients, the page of a folder with 10,000 files, again and again

    python -m loadtest.benchmarks.files --rounds 5 --seconds 3 --only hot-1k --json FILE
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, NamedTuple

from loadtest import system
from loadtest.benchmarks import common
from loadtest.benchmarks.memory import (
    CALM_SECONDS,
    KIB,
    MIB,
    SMALL_TARGET,
    Figures,
    latencies_between,
    samples_of,
    subject,
)
from loadtest.benchmarks.peers import NGINX_FRAME, nginx_at
from loadtest.benchmarks.tables import percentile
from loadtest.clients.closed_loop import MARK
from loadtest.system import ADDRESS, MeasurementError
from reactor.web.compression.encoders import encode

LOAD_SECONDS: Final = int(CALM_SECONDS) + 2  # of a crowd
BEFORE_SECONDS: Final = 2.0
YOUNG_SECONDS: Final = 1.1  # a file's tag is weak for a second
TEXTS: Final = 1200  # of a MiB: as many as are compressed in a run, and some
ENTRIES: Final = 10_000
FOLDER_TARGET: Final = "/files/many/"

NGINX: Final = NGINX_FRAME.replace(
    "@LOCATION@", "sendfile on; location /files/ {{ alias {directory}/; }}"
)


class Load(NamedTuple):
    """What wrk asks for."""

    target: str
    connections: int = 64
    fields: tuple[str, ...] = ()


class Comparison(NamedTuple):
    """Two loads, and how much CPU time one of ours may cost as a multiple of the other."""

    ours: Load
    other: Load
    other_is_nginx: bool
    most: float


def comparisons(tag: str) -> dict[str, Comparison]:
    """`tag` is the entity tag of the file of 1 KiB."""
    gzip = ("Accept-Encoding: gzip",)

    def hot(name: str, connections: int, most: float) -> Comparison:
        load = Load(f"/files/{name}.bin", connections)
        return Comparison(load, load, True, most)

    return {
        "hot-1k": hot("1k", 64, 0.8),
        "hot-100k": hot("100k", 32, 1.15),
        "hot-10m": hot("10m", 8, 1.15),
        "not-modified": Comparison(
            Load("/files/1k.bin", fields=(f"If-None-Match: {tag}",)),
            Load(SMALL_TARGET),
            False,
            1.3,
        ),
        "coded": Comparison(
            Load("/files/text.txt", fields=gzip), Load("/files/ready.txt", fields=gzip), False, 1.2
        ),
    }


# ---------------------------------------------------------------------------------- the folder


def some_text(size: int, seed: int) -> bytes:
    """Words by chance: it shrinks to about a third, as prose does."""
    chance = random.Random(seed)
    letters = "etaoinshrdlu"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(2000)]
    lines = []
    length = 0
    while length < size:
        lines.append(" ".join(chance.choices(words, k=12)) + "\n")
        length += len(lines[-1])
    return "".join(lines).encode()[:size]


def make_files(directory: Path) -> None:
    chance = random.Random(1)
    for name, size in (("1k", KIB), ("100k", 100 * KIB), ("10m", 10 * MIB)):
        (directory / f"{name}.bin").write_bytes(chance.randbytes(size))
    text = some_text(100 * KIB, 1)
    (directory / "text.txt").write_bytes(text)
    (directory / "ready.txt").write_bytes(text)
    (directory / "ready.txt.gz").write_bytes(encode(text, "gzip"))


def make_texts(directory: Path) -> None:
    """Each begins otherwise, so no two are compressed to the same."""
    text = some_text(MIB, 2)
    for number in range(TEXTS):
        (directory / f"text-{number:016x}.txt").write_bytes(b"%016x\n" % number + text[17:])


def make_entries(directory: Path) -> None:
    many = directory / "many"
    many.mkdir()
    for number in range(ENTRIES):
        (many / f"file-{number}.txt").touch()


# ---------------------------------------------------------------------------------- CPU time


@contextmanager
def nginx(directory: Path) -> Iterator[tuple[int, int]]:
    """Its process id and port."""
    core, _ = system.cores()
    port = system.free_port()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        folder = Path(name)
        command = nginx_at(folder, NGINX.format(folder=folder, port=port, directory=directory))
        with system.serving(command, port, core, folder / "server.log") as pid:
            yield pid, port


@contextmanager
def reactor(directory: Path) -> Iterator[tuple[int, int]]:
    with subject("reactor", "--directory", str(directory), "--access-log", "off") as server:
        yield server.pid, server.port


def cost(pid: int, port: int, load: Load, seconds: int) -> float:
    """Microseconds of the server's CPU time per request."""
    fields = [part for one in load.fields for part in ("-H", one)]
    options = [f"-c{load.connections}", *fields, f"http://{ADDRESS}:{port}{load.target}"]
    return common.cpu_per_request(pid, load.target, options, seconds)


def compare(figures: Figures, case: str, directory: Path, seconds: int, number: int) -> None:
    """One round: both, in turn forwards and backwards."""
    tag = tag_of(directory)
    comparison = comparisons(tag)[case]
    other = nginx if comparison.other_is_nginx else reactor
    arms = [("ours", reactor, comparison.ours), ("other", other, comparison.other)]
    costs = {}
    for name, server, load in reversed(arms) if number % 2 else arms:
        with server(directory) as (pid, port):
            costs[name] = cost(pid, port, load, seconds)
    than = "nginx" if comparison.other_is_nginx else comparison.other.target
    figures.add(case, "reactor", costs["ours"], "µs/request")
    figures.add(case, than, costs["other"], "µs/request")
    ratio = costs["ours"] / costs["other"]
    figures.add(case, f"reactor : {than}", ratio, "", comparison.most, 2)


def tag_of(directory: Path) -> str:
    """The strong tag of the small file."""
    with reactor(directory) as (_, port):
        connection = HTTPConnection(ADDRESS, port, timeout=5)
        connection.request("HEAD", "/files/1k.bin")
        tag = connection.getresponse().headers["ETag"] or ""
        connection.close()
    if not tag.startswith('"'):
        raise MeasurementError(f"no strong tag: {tag!r}")
    return tag


# ---------------------------------------------------------------------------------- bystanders


def client(target: str, connections: int, *fields: str) -> Callable[[int, Path], list[str]]:
    """Our own load generator; sixteen marks in the target count up from nothing."""

    def command(port: int, folder: Path) -> list[str]:
        lines = [f"GET {target} HTTP/1.1", f"Host: {ADDRESS}", *fields]
        head = folder / "head"
        head.write_text("\r\n".join([*lines, "", ""]))
        options = ["--port", str(port), "--head", str(head), "--connections", str(connections)]
        return [
            sys.executable,
            "-m",
            "loadtest.clients.closed_loop",
            *options,
            "--seconds",
            str(LOAD_SECONDS),
        ]

    return command


def pages(port: int, folder: Path) -> list[str]:
    return ["wrk", "-t1", "-c4", f"-d{LOAD_SECONDS}s", f"http://{ADDRESS}:{port}{FOLDER_TARGET}"]


class Crowd(NamedTuple):
    """Clients that keep a server busy, and how long a bystander may wait: p99 in ms."""

    module: str
    prepare: Callable[[Path], None]
    command: Callable[[int, Path], list[str]]
    most: float | None  # None: as before, within half of it and a millisecond


CROWDS: Final = {
    "gzip-crowd": Crowd(
        "reactor",
        make_texts,
        client(f"/files/text-{MARK.decode()}.txt", 64, "Accept-Encoding: gzip"),
        10.0,
    ),
    "cold": Crowd("loadtest.apps.slow_disk", make_files, client("/files/10m.bin", 32), None),
    "listing": Crowd("reactor", make_entries, pages, 10.0),
}


def beside(figures: Figures, case: str) -> None:
    """A bystander before a crowd comes, and while it is there."""
    crowd = CROWDS[case]
    _, core = system.cores()
    with tempfile.TemporaryDirectory(prefix="loadtest-files-") as name:
        crowd.prepare(Path(name))
        os.sync()
        options = ("--directory", name, "--access-log", "off")
        with (
            subject(crowd.module, *options, pinned=False) as server,
            server.clients("bystander", SMALL_TARGET) as bystander,
        ):
            time.sleep(BEFORE_SECONDS)
            came = time.monotonic()
            command = crowd.command(server.port, server.folder)
            used = system.cpu_seconds(server.pid)
            with system.started(command, core, server.folder / "crowd.log") as process:
                time.sleep(1.0)
                start = time.monotonic()
                time.sleep(CALM_SECONDS)
                end = time.monotonic()
                process.wait(60)
            used = system.cpu_seconds(server.pid) - used
            samples = samples_of(bystander)
            said = (server.folder / "crowd.log").read_text().strip()
    before = percentile(latencies_between(samples, 0, came), 0.99)
    during = latencies_between(samples, start, end)
    most = before * 1.5 + 1.0 if crowd.most is None else crowd.most
    figures.add(case, "bystander's p99 before", before, "ms", None, 2)
    figures.add(case, "bystander's p50", percentile(during, 0.5), "ms", None, 2)
    figures.add(case, "bystander's p99", percentile(during, 0.99), "ms", most, 2)
    figures.add(case, "server CPU", used / LOAD_SECONDS * 100, "%", None, 0)
    print(f"{case}: {said}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------- telling


def run(figures: Figures, cases: Sequence[str], rounds: int, seconds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="loadtest-files-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's worker is another user
        make_files(directory)
        time.sleep(YOUNG_SECONDS)
        for number in range(rounds):
            for case in cases:
                print(f"round {number + 1}: {case}", file=sys.stderr, flush=True)
                try:
                    if case in CROWDS:
                        beside(figures, case)
                    else:
                        compare(figures, case, directory, seconds, number)
                except MeasurementError as failure:
                    figures.fail(case, str(failure))


def main() -> int:
    return common.main("What files cost.", [*comparisons(""), *CROWDS], run)


if __name__ == "__main__":
    raise SystemExit(main())
