"""The cost of files, beside nginx and beside other work of this server, and for bystanders.

CPU time per request is judged as a ratio within a round, the median of the rounds; it is measured
as in `loadtest.benchmarks.cpu`. Both servers are one process on one core with the access log off,
and serve the same directory, which is in memory. nginx has `sendfile on` and, as is its default, no
cache of open files.

    hot-1k, hot-100k, hot-10m   one file, again and again, beside nginx
    not-modified                304 for a file, beside a tiny echo
    compressed                  100 KiB of text, gzipped once and kept, beside its .gz sibling

The other cases are the latency of a bystander, which sends a small request every 10 ms, beside
clients that keep the server busy. "before" is the same without them, which is what client and
machine add. Here the server is not pinned, since its threads are part of what is measured.

    gzip-crowd   64 clients, each of which asks for a text of 1 MiB that was not asked for before
    cold         32 clients, and a disk whose every read takes 200 ms (apps/slow_disk.py)
    listing      4 clients, the listing of a directory of 10,000 files, again and again

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
from loadtest.benchmarks.figures import Figures
from loadtest.benchmarks.peers import NGINX_FRAME, nginx_at
from loadtest.benchmarks.subject import (
    CALM_SECONDS,
    SMALL_TARGET,
    latencies_between,
    samples_of,
    subject,
)
from loadtest.benchmarks.tables import percentile
from loadtest.clients.closed_loop import MARK
from loadtest.system import ADDRESS, MeasurementError
from reactor.web.compression.encoders import encode

LOAD_SECONDS: Final = int(CALM_SECONDS) + 2  # duration of a crowd
BEFORE_SECONDS: Final = 2.0
YOUNG_SECONDS: Final = 1.1  # the entity tag of a file is weak during its first second
TEXTS: Final = 1200  # texts of 1 MiB: more than are compressed in a run
ENTRIES: Final = 10_000
DIRECTORY_TARGET: Final = "/files/many/"
KIB: Final = 1024
MIB: Final = 1024 * 1024

NGINX: Final = NGINX_FRAME.replace(
    "@LOCATION@", "sendfile on; location /files/ {{ alias {directory}/; }}"
)


class Load(NamedTuple):
    """A load of wrk: a target, over so many connections, with these fields."""

    target: str
    connections: int = 64
    fields: tuple[str, ...] = ()


class Comparison(NamedTuple):
    """Two loads, and the largest cost of ours as a multiple of the other."""

    ours: Load
    other: Load
    other_is_nginx: bool
    most: float


def comparisons(tag: str) -> dict[str, Comparison]:
    """The comparisons by case; `tag` is the entity tag of the file of 1 KiB."""
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
        "compressed": Comparison(
            Load("/files/text.txt", fields=gzip), Load("/files/ready.txt", fields=gzip), False, 1.2
        ),
    }


# ---------------------------------------------------------------------------------- the directory


def some_text(size: int, seed: int) -> bytes:
    """Random words: gzip shrinks them to about a third, as it does prose."""
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
    """The files of the comparisons."""
    chance = random.Random(1)
    for name, size in (("1k", KIB), ("100k", 100 * KIB), ("10m", 10 * MIB)):
        (directory / f"{name}.bin").write_bytes(chance.randbytes(size))
    text = some_text(100 * KIB, 1)
    (directory / "text.txt").write_bytes(text)
    (directory / "ready.txt").write_bytes(text)
    (directory / "ready.txt.gz").write_bytes(encode(text, "gzip"))


def make_texts(directory: Path) -> None:
    """The files of gzip-crowd; each begins differently, so that each is compressed."""
    text = some_text(MIB, 2)
    for number in range(TEXTS):
        (directory / f"text-{number:016x}.txt").write_bytes(b"%016x\n" % number + text[17:])


def make_entries(directory: Path) -> None:
    """The directory of the case "listing"."""
    many = directory / "many"
    many.mkdir()
    for number in range(ENTRIES):
        (many / f"file-{number}.txt").touch()


# ---------------------------------------------------------------------------------- CPU time


@contextmanager
def nginx(directory: Path) -> Iterator[tuple[int, int]]:
    """nginx, serving `directory` at /files/: its process id and port."""
    core, _ = system.cores()
    port = system.free_port()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        workdir = Path(name)
        command = nginx_at(workdir, NGINX.format(workdir=workdir, port=port, directory=directory))
        with system.serving(command, port, core, workdir / "server.log") as pid:
            yield pid, port


@contextmanager
def reactor(directory: Path) -> Iterator[tuple[int, int]]:
    """This server, serving `directory` at /files/: its process id and port."""
    with subject("handlers", "--directory", str(directory), "--access-log", "off") as server:
        yield server.pid, server.port


def cost(pid: int, port: int, load: Load, seconds: int) -> float:
    """Microseconds of the server's CPU time per request."""
    fields = [part for one in load.fields for part in ("-H", one)]
    options = [f"-c{load.connections}", *fields, f"http://{ADDRESS}:{port}{load.target}"]
    return common.cpu_per_request(pid, load.target, options, seconds)


def compare(figures: Figures, case: str, directory: Path, seconds: int, number: int) -> None:
    """One round of a case: both servers, in every second round in the other order."""
    tag = tag_of(directory)
    comparison = comparisons(tag)[case]
    other = nginx if comparison.other_is_nginx else reactor
    arms = [("ours", reactor, comparison.ours), ("other", other, comparison.other)]
    costs = {}
    for name, server, load in reversed(arms) if number % 2 else arms:
        with server(directory) as (pid, port):
            costs[name] = cost(pid, port, load, seconds)
    beside = "nginx" if comparison.other_is_nginx else comparison.other.target
    figures.add(case, "reactor", costs["ours"], "µs/request")
    figures.add(case, beside, costs["other"], "µs/request")
    ratio = costs["ours"] / costs["other"]
    figures.add(case, f"reactor : {beside}", ratio, "", comparison.most, 2)


def tag_of(directory: Path) -> str:
    """The strong entity tag of the small file. Raises MeasurementError where it is weak."""
    with reactor(directory) as (_, port):
        connection = HTTPConnection(ADDRESS, port, timeout=5)
        connection.request("HEAD", "/files/1k.bin")
        tag = connection.getresponse().headers["ETag"] or ""
        connection.close()
    if not tag.startswith('"'):
        raise MeasurementError(f"expected a strong entity tag, got {tag!r}")
    return tag


# ---------------------------------------------------------------------------------- bystanders


def client(target: str, connections: int, *fields: str) -> Callable[[int, Path], list[str]]:
    """Our closed loop as a crowd; a MARK in the target is replaced by numbers from 0 on."""

    def command(port: int, workdir: Path) -> list[str]:
        lines = [f"GET {target} HTTP/1.1", f"Host: {ADDRESS}", *fields]
        head = workdir / "head"
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


def listings(port: int, workdir: Path) -> list[str]:
    """Four clients of wrk that ask for a listing."""
    url = f"http://{ADDRESS}:{port}{DIRECTORY_TARGET}"
    return ["wrk", "-t1", "-c4", f"-d{LOAD_SECONDS}s", url]


class Crowd(NamedTuple):
    """Clients that keep a server busy, and the largest p99 of a bystander, in ms."""

    module: str
    prepare: Callable[[Path], None]
    command: Callable[[int, Path], list[str]]
    most: float | None  # with None: half more than before the crowd, and a millisecond


CROWDS: Final = {
    "gzip-crowd": Crowd(
        "handlers",
        make_texts,
        client(f"/files/text-{MARK.decode()}.txt", 64, "Accept-Encoding: gzip"),
        10.0,
    ),
    "cold": Crowd("loadtest.apps.slow_disk", make_files, client("/files/10m.bin", 32), None),
    "listing": Crowd("handlers", make_entries, listings, 10.0),
}


def beside(figures: Figures, case: str) -> None:
    """The latency of a bystander before a crowd comes, and while it is there."""
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
            command = crowd.command(server.port, server.workdir)
            used = system.cpu_seconds(server.pid)
            with system.started(command, core, server.workdir / "crowd.log") as process:
                time.sleep(1.0)
                start = time.monotonic()
                time.sleep(CALM_SECONDS)
                end = time.monotonic()
                process.wait(60)
            used = system.cpu_seconds(server.pid) - used
            samples = samples_of(bystander)
            output = (server.workdir / "crowd.log").read_text().strip()
    before = percentile(latencies_between(samples, 0, came), 0.99)
    during = latencies_between(samples, start, end)
    most = before * 1.5 + 1.0 if crowd.most is None else crowd.most
    figures.add(case, "bystander's p99 before", before, "ms", None, 2)
    figures.add(case, "bystander's p50", percentile(during, 0.5), "ms", None, 2)
    figures.add(case, "bystander's p99", percentile(during, 0.99), "ms", most, 2)
    figures.add(case, "server CPU", used / LOAD_SECONDS * 100, "%", None, 0)
    print(f"{case}: {output}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------- the program


def run(figures: Figures, cases: Sequence[str], rounds: int, seconds: int) -> None:
    """Measure the cases; one that fails is reported and does not stop the others."""
    with tempfile.TemporaryDirectory(prefix="loadtest-files-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's worker runs as another user
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
    return common.main(
        "CPU time per file, and what bystanders notice.", [*comparisons(""), *CROWDS], run
    )


if __name__ == "__main__":
    raise SystemExit(main())
