"""What is kept of a measurement: a line of JSON each, written when it ends.

A file begins with a Run: the machine, and which cells are planned. A Sample follows for each arm of
a cell in each round, in the order in which they were measured, and nothing of it is a summary:
counts stay counts and latencies histograms, so every figure of a report can be made again, merged
over rounds, long after. The last line says that the run ended; where it is missing, it did not.

The words: a *workload* is what is done, with one quantity that varies, `x` (connections, the share
of capacity that is offered, milliseconds of a burning handler). A *cell* is a workload at one x.
An *arm* is a server with its options. A cell without a number says why, in `failure`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtest.clients.histogram import Histogram

FILE: Final = "raw.jsonl"  # in the report's folder
GENERATOR_BOUND: Final = 0.8  # of a core: a generator above it measures itself

# The arms that a report compares.
OURS: Final = "reactor"
THREADS: Final = "threads"
POOL_THREADS: Final = 32
POOL: Final = f"pool-{POOL_THREADS}"

# The names of a sample's values, and what they mean. All are optional.
VALUES: Final = {
    "requests": "answers that were right, within the window",
    "errors": "answers that were wrong, cut or late, and connections that broke",
    "refused": "connections or requests that were turned away (a refusal, a reset, 503)",
    "rate": "right answers per second",
    "offered": "requests per second that were due",
    "cpu_us": "µs of the server's CPU time per right answer, all its threads and children",
    "server_share": "of one core that the server used, 0 to 1 (more with more cores)",
    "generator_share": "of one core that the load generator used, 0 to 1",
    "bytes_rate": "bytes of bodies per second",
    "connections": "that were open, or asked for",
    "served": "0 to 1: connections that got at least one answer",
    "jain": "Jain's index of the answers of each connection, 0 to 1",
    "process_bytes": "written memory of the process without its stacks, above its base",
    "stacks_bytes": "memory of thread stacks, above the base",
    "tables_bytes": "page tables, above the base",
    "sockets_bytes": "the kernel's socket buffers and objects, both ends, above the base",
    "done_seconds": "until the last of a burst was answered",
    "late": "seconds that the generator itself was late, p99",
    "bystander_errors": "answers to the bystander that were wrong, cut or did not come",
    "recovery_seconds": "after an overload until p99 was as before; the window's length if never",
}

# The names of its latencies.
SERVICE: Final = "service"  # from the sending of a request to the end of its answer
INTENDED: Final = "intended"  # from the moment when it was due to the end of its answer
BYSTANDER: Final = "bystander"  # of one client that asks for /hello each 10 ms; intended


@dataclass
class Cell:
    """As planned: in the order of the report."""

    name: str  # unique, as in keepalive-64
    workload: str  # as in keepalive
    x: float
    title: str  # for the reader, as in "64 keep-alive connections"
    arms: list[str]  # names, ours first
    unit: str = ""  # of x


@dataclass
class Run:
    """The first line of a file."""

    plan: str  # quick, bench, full
    started: float  # by the Unix clock
    rounds: int
    commit: str  # "" where it is not known
    machine: dict[str, Any]  # see machine.described
    versions: dict[str, str]  # of the generators and the peers
    cells: list[Cell]


@dataclass
class Sample:
    """One arm in one cell in one round."""

    cell: str
    workload: str
    x: float
    arm: str
    round: int
    at: float  # when it began, by the Unix clock
    seconds: float  # of the window that was measured
    server: list[str]  # its command
    generator: list[str]  # its command; [] where it is a part of the harness
    values: dict[str, float] = field(default_factory=dict)  # see VALUES
    latencies: dict[str, Histogram] = field(default_factory=dict)
    load: float = 0.0  # the load average of a minute, before
    steal: float = 0.0  # of the machine's time, 0 to 1, taken by its host, meanwhile
    noisy: bool = False  # the machine was not ours alone
    failure: str = ""

    @property
    def generator_bound(self) -> bool:
        """Its rates and latencies are the generator's own, and no number of the server's.

        In a burst it is busy for as long as its connections take, and how long that is in all is
        what is asked; there the slower server leaves it more to wait for.
        """
        if self.workload == "burst":
            return False
        return self.values.get("generator_share", 0.0) > GENERATOR_BOUND


@dataclass
class Recorded:
    """What a file has."""

    run: Run
    samples: list[Sample]
    ended: bool  # whole; otherwise it was interrupted, or goes on


class Recorder:
    """Appends to a new file; what is written is there, whatever happens next."""

    def __init__(self, path: Path, run: Run) -> None:
        """Raises OSError."""
        self._file = path.open("w", encoding="utf-8")
        self._write("run", asdict(run))

    def add(self, sample: Sample) -> None:
        content = asdict(sample)
        content["latencies"] = {
            name: latencies.to_json() for name, latencies in sample.latencies.items()
        }
        self._write("sample", content)

    def end(self) -> None:
        self._write("end", {})

    def close(self) -> None:
        self._file.close()

    def _write(self, kind: str, content: dict[str, Any]) -> None:
        self._file.write(json.dumps({"kind": kind, **content}, ensure_ascii=False) + "\n")
        self._file.flush()


def read(path: Path) -> Recorded:
    """Raises OSError, and ValueError for what is no such file. A last line that is cut is left."""
    lines = list(_lines(path))
    if not lines or lines[0].pop("kind", "") != "run":
        raise ValueError(f"{path} does not begin with a run")
    cells = [Cell(**cell) for cell in lines[0].pop("cells")]
    run = Run(**lines[0], cells=cells)
    samples = [_sample(line) for line in lines if line.get("kind") == "sample"]
    return Recorded(run, samples, any(line.get("kind") == "end" for line in lines))


def samples_of(samples: Iterable[Sample], cell: str, arm: str) -> Sequence[Sample]:
    """Of all rounds, those that came to a number."""
    return [one for one in samples if one.cell == cell and one.arm == arm and not one.failure]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    # Not splitlines: JSON lets a string have U+2028 and others that it takes for ends of lines.
    texts = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for number, text in enumerate(texts, 1):
        try:
            yield json.loads(text)
        except ValueError as error:
            if number < len(texts):
                raise ValueError(f"{path}, line {number}: {error}") from error


def _sample(line: dict[str, Any]) -> Sample:
    latencies = {
        name: Histogram.from_json(content) for name, content in line.pop("latencies").items()
    }
    del line["kind"]
    return Sample(**line, latencies=latencies)
