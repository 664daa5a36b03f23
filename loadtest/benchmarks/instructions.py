"""Instructions per request: a figure of the hot path that does not depend on the machine.

CPU time depends on the processor, its clock and the other work that it does. The number of
instructions that a request executes depends on the code, on Python and on the C compiler that built
it, and two countings differ by less than 0.1 %. So a change of 1 % is seen at once, without a quiet
machine.

valgrind counts (Debian's package `valgrind`). The servers are those of `loadtest.apps.counted`,
which says how a request is cut out of a process. The client's own part is subtracted. The kernel's
instructions are not counted, nor is it how long an instruction takes: a cache miss costs nothing
here. `loadtest.benchmarks.cpu` has the time.

The figures of the last commit that changed them are in instructions.json, for each Python that has
been used.

    python -m loadtest.benchmarks.instructions [--against DIRECTORY] [--write] [WORKLOAD ...]
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from loadtest.benchmarks.tables import table
from loadtest.system import MeasurementError

ROOT: Final = Path(__file__).parents[2]
FILE: Final = Path(__file__).with_suffix(".json")
PROGRAM: Final = ROOT / "loadtest" / "apps" / "counted.py"
LEEWAY: Final = 1.02  # a workload may cost this many times what is stored
CLIENT: Final = "client"
FLOOR: Final = "raw"
WORKLOADS: Final = {
    FLOOR: "the raw loop, which parses nothing",
    "bare": "a handler that returns a Response; no access log",
    "logged": "the same with an access log",
    "tiny": "the demo, with a log as in all that follow: a tiny head",
    "browser": "the demo: a browser's head",
    "routed": "a parameter in the path, three middlewares",
    "json": "a POST of JSON, a response of JSON",
    "file": "the demo: a file of 1 KiB that is open and in memory",
}
SECONDS: Final = 600.0  # for one counting
COUNTER: Final = "valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null"

Figures = Mapping[str, int]  # instructions per request, by workload


def count(workloads: Sequence[str], directory: Path = ROOT) -> dict[str, int]:
    """Instructions per request of the code in a directory, for these workloads.

    Raises MeasurementError where there is no valgrind, or a server fails.
    """
    if shutil.which("valgrind") is None:
        raise MeasurementError("valgrind is not installed: apt-get install valgrind")
    with tempfile.TemporaryDirectory(prefix="loadtest-") as logs:
        # %p is the process: each fork has a file of its own.
        command = [*COUNTER.split(), f"--log-file={logs}/%p", sys.executable, "-P", str(PROGRAM)]
        fixed = ["setarch", "--addr-no-randomize"] if shutil.which("setarch") else []
        ended = subprocess.run(
            [*fixed, *command, CLIENT, *workloads],
            env={**os.environ, "PYTHONPATH": str(directory), "PYTHONHASHSEED": "0"},
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if ended.returncode:
            raise MeasurementError(f"{PROGRAM.name} failed: {ended.stderr[-2000:]}")
        figures = {}
        for line in ended.stdout.splitlines():
            name, before, after, requests = line.split()
            counted = instructions(Path(logs, after)) - instructions(Path(logs, before))
            figures[name] = round(counted / int(requests))
    client = figures.pop(CLIENT) // 2  # both ends of the pair do what a client does
    return {name: figure - client for name, figure in figures.items()}


def instructions(log: Path) -> int:
    """The instructions of a process and, until they forked it, of its ancestors."""
    found = re.findall(r"I +refs: +([0-9,]+)", log.read_text())
    if not found:
        raise MeasurementError(f"valgrind counted nothing: {log.read_text()[-2000:]}")
    return int(found[-1].replace(",", ""))


def python() -> str:
    """The Python that runs, as far as it changes the figures."""
    version = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{version}, {platform.python_compiler()}, {platform.machine()}"


def stored() -> dict[str, dict[str, int]]:
    """Figures by Python and workload."""
    figures: dict[str, dict[str, int]] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return figures


def write(figures: Figures) -> None:
    """Store the figures of this Python, beside those of workloads that were not counted."""
    content = stored()
    content[python()] = content.get(python(), {}) | dict(figures)
    FILE.write_text(json.dumps(content, indent=1) + "\n")


def print_figures(now: Figures, others: Mapping[str, Figures]) -> None:
    """Print a line for each workload; beside it other figures, and now as a multiple of those."""
    header = ["instructions per request", "now", f"x {FLOOR}"]
    for name in others:
        header += [name, "now /"]
    rows = []
    for workload, figure in now.items():
        row = [workload, f"{figure:,}", f"{figure / now[FLOOR]:.2f}" if FLOOR in now else "-"]
        for other in others.values():
            base = other.get(workload)
            row += [f"{base:,}", f"{figure / base:.3f}"] if base else ["-", "-"]
        rows.append(row)
    print(table(header, rows))


def main() -> int:
    parser = argparse.ArgumentParser(description="Instructions per request, beside stored ones.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--against", type=Path, help="another checkout, to be counted as well")
    parser.add_argument("--write", action="store_true", help=f"store the figures in {FILE.name}")
    options = parser.parse_args()
    chosen = options.workloads or list(WORKLOADS)
    for name in chosen:
        if name not in WORKLOADS:
            parser.error(f"no workload {name!r}: use {', '.join(WORKLOADS)}")
    print(python())
    try:
        now = count(chosen)
        others = {"stored": stored().get(python(), {})}
        if options.against:
            others[str(options.against)] = count(chosen, options.against.resolve())
    except MeasurementError as error:
        print(error, file=sys.stderr)
        return 1
    print_figures(now, others)
    if options.write:
        write(now)
    return 0


if __name__ == "__main__":
    sys.exit(main())
