"""The raw data of a run: one line of JSON for each measurement, written when it ends.

A file begins with a Run: the machine, and the planned cells. A Sample follows for each arm of a
cell in each round, in the order in which they were measured. Samples have no summaries: counts stay
counts and latencies histograms, so every figure of a report can be computed again later, merged
over rounds. The last line marks the end of the run; it is missing where the run was interrupted.

The terms: a *workload* is a kind of load with one quantity that varies, `x` (connections, the share
of capacity that is offered, milliseconds of a computing handler). A *cell* is a workload at one x.
An *arm* is a server with its options. A sample without numbers has a reason, in `failure`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtest.clients.histogram import Histogram

FILE: Final = "raw.jsonl"  # in the report's directory
GENERATOR_BOUND: Final = 0.8  # share of a core above which a generator measures itself

# The arms that a report compares.
OURS: Final = "reactor"
THREADS: Final = "threads"
POOL_THREADS: Final = 32
POOL: Final = f"pool-{POOL_THREADS}"

# The names of a sample's values, and their meanings. All are optional.
VALUES: Final = {
    "requests": "correct responses within the window",
    "errors": "responses that were wrong, cut or late, and connections that broke",
    "refused": "connections or requests that were turned away (a refusal, a reset, 503)",
    "rate": "correct responses per second",
    "offered": "requests per second that were due",
    "cpu_us": "µs of the server's CPU time per correct response, all its threads and children",
    "server_share": "share of one core that the server used, 0 to 1 (more with more cores)",
    "generator_share": "share of one core that the load generator used, 0 to 1",
    "bytes_rate": "bytes of bodies per second",
    "connections": "open or requested connections",
    "served": "share of connections that got at least one response, 0 to 1",
    "unserved": "connections without a response, an error or a refusal; they count as errors",
    "jain": "Jain's index of the responses of each connection, 0 to 1",
    "process_bytes": "written memory of the process without its stacks, above its base",
    "stacks_bytes": "memory of thread stacks, above the base",
    "tables_bytes": "page tables, above the base",
    "sockets_bytes": "the kernel's socket buffers and objects, both ends, above the base",
    "done_seconds": "seconds until the last request of a burst had its response",
    "late": "seconds that the generator itself was late, p99",
    "bystander_errors": "responses to the bystander that were wrong, cut or missing",
    "recovery_seconds": "seconds after an overload until p99 was normal; the whole time if never",
}

# The names of its latencies.
SERVICE: Final = "service"  # from the sending of a request to the end of its response
INTENDED: Final = "intended"  # from the moment when it was due to the end of its response
BYSTANDER: Final = "bystander"  # intended times of a client that asks for /hello every 10 ms


@dataclass
class Cell:
    """A cell of a plan; cells are in the order of the report."""

    name: str  # unique, as in keepalive-64
    workload: str  # as in keepalive
    x: float
    title: str  # for the reader, as in "64 keep-alive connections"
    arms: list[str]  # names, ours first
    unit: str = ""  # the unit of x


@dataclass
class Run:
    """The first line of a file."""

    plan: str  # quick, bench, full
    started: float  # by the Unix clock
    rounds: int
    commit: str  # "" where it is not known
    machine: dict[str, Any]  # see system_idle.machine_facts
    versions: dict[str, str]  # versions of the generators and the peers
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
    seconds: float  # length of the window
    server: list[str]  # its command line
    generator: list[str]  # its command line; [] where it is a part of the harness
    values: dict[str, float] = field(default_factory=dict)  # see VALUES
    latencies: dict[str, Histogram] = field(default_factory=dict)
    load: float = 0.0  # the load average over a minute, before the sample
    steal: float = 0.0  # share of the machine's time, 0 to 1, that its host took
    noisy: bool = False  # whether another process or the host was busy
    failure: str = ""

    @property
    def generator_bound(self) -> bool:
        """Whether its rates and latencies are the generator's own, and not the server's.

        In a burst the generator is busy while it connects, and the duration of all of it is the
        result; a slower server makes it wait more. So a burst is never generator-bound.
        """
        if self.workload == "burst":
            return False
        return self.values.get("generator_share", 0.0) > GENERATOR_BOUND


@dataclass
class Recorded:
    """The content of a file."""

    run: Run
    samples: list[Sample]
    ended: bool  # False where the run was interrupted, or still goes on


class Recorder:
    """Appends to a new file, and flushes each line, so that an interruption loses none."""

    def __init__(self, path: Path, run: Run) -> None:
        """Write the first line. Raises OSError."""
        self._file = path.open("w", encoding="utf-8")
        self._write("run", asdict(run))

    def add(self, sample: Sample) -> None:
        """Write a sample. Raises OSError."""
        content = asdict(sample)
        content["latencies"] = {
            name: latencies.to_json() for name, latencies in sample.latencies.items()
        }
        self._write("sample", content)

    def end(self) -> None:
        """Write the line that marks a complete run."""
        self._write("end", {})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, kind: str, content: dict[str, Any]) -> None:
        self._file.write(json.dumps({"kind": kind, **content}, ensure_ascii=False) + "\n")
        self._file.flush()


def read(path: Path) -> Recorded:
    """The content of a file, without a last line that is cut.

    Raises OSError, and ValueError for a file that is malformed.
    """
    lines = list(_lines(path))
    if not lines or lines[0].pop("kind", "") != "run":
        raise ValueError(f"{path} has no run in its first line")
    cells = [Cell(**cell) for cell in lines[0].pop("cells")]
    run = Run(**lines[0], cells=cells)
    samples = [_sample(line) for line in lines if line.get("kind") == "sample"]
    return Recorded(run, samples, any(line.get("kind") == "end" for line in lines))


def samples_of(samples: Iterable[Sample], cell: str, arm: str) -> Sequence[Sample]:
    """The samples of a cell and an arm that have numbers, of all rounds."""
    return [one for one in samples if one.cell == cell and one.arm == arm and not one.failure]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    # splitlines would also split at U+2028 and others, which JSON allows within strings.
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
