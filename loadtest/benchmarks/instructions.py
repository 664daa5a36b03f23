"""Instructions and bytecodes per request: costs that do not depend on the machine.

CPU time depends on the processor, its clock and the other work that it does. The number of
instructions that a request executes depends on the code, on Python and on the C compiler that built
it, and two countings differ by about 0.1 %. So a change of 1 % is seen at once, without a quiet
machine. The number of bytecodes depends on the code and on Python's minor version alone, and is
always the same; but a call of a C function is one bytecode, however long it takes.

valgrind counts instructions (Debian's package `valgrind`), Python itself bytecodes. The servers are
those of `loadtest.apps.counted`, which says how requests are cut out of a process. The client's own
part is left out. The kernel's instructions are not counted, nor is it how long an instruction
takes: a cache miss costs nothing here. `loadtest.benchmarks.cpu` has the time.

The figures that a commit may cost are in stored_costs.json (see stored_costs.py). They are checked
by `tests/project/test_instruction_cost.py`, and a commit that costs more stores new ones.

    python -m loadtest.benchmarks.instructions [--against DIRECTORY] [--write] [WORKLOAD ...]
    python -m loadtest.benchmarks.instructions --functions WORKLOAD [--against DIRECTORY]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from loadtest.benchmarks.stored_costs import (
    BYTECODES,
    FILE,
    FLOOR,
    INSTRUCTIONS,
    Figures,
    complaints,
    gains,
    load,
    not_comparable,
    python,
    store,
)
from loadtest.benchmarks.tables import table
from loadtest.system import MeasurementError

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = ROOT / "loadtest" / "apps" / "counted.py"
CLIENT: Final = "client"
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
# Counted where they are named, and never stored: OpenSSL and the processor decide about them, too.
UNSTORED: Final = {"tls": "the demo over TLS, a tiny head; not stored"}
# The C library neither returns memory to the system nor makes a heap for each thread.
ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
}
SECONDS: Final = 600.0  # for one counting
VALGRIND: Final = "valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null"


def available() -> bool:
    """Whether instructions can be counted here."""
    return shutil.which("valgrind") is not None


def count_instructions(workloads: Sequence[str], directory: Path = ROOT) -> dict[str, int]:
    """Instructions per request of the code in a directory, for these workloads.

    Raises MeasurementError where there is no valgrind, or a server fails.
    """
    if not available():
        raise MeasurementError("Cannot count instructions: valgrind is not installed")
    with tempfile.TemporaryDirectory(prefix="loadtest-") as logs:
        # %p is the process: each fork has a file of its own.
        counter = [*VALGRIND.split(), f"--log-file={logs}/%p"]
        figures = {}
        for name, result in run_program(counter, INSTRUCTIONS, [CLIENT, *workloads], directory):
            before, after = (instructions(Path(logs, str(one))) for one in result["processes"])
            figures[name] = round((after - before) / result["requests"])
    client = figures.pop(CLIENT) // 2  # both ends of the pair do what a client does
    return {name: figure - client for name, figure in figures.items()}


def instructions(log: Path) -> int:
    """The instructions of a process and, until they forked it, of its ancestors."""
    found = re.findall(r"I +refs: +([0-9,]+)", log.read_text())
    if not found:
        raise MeasurementError(f"valgrind counted nothing: {log.read_text()[-2000:]}")
    return int(found[-1].replace(",", ""))


def count_functions(workloads: Sequence[str], directory: Path = ROOT) -> dict[str, dict[str, int]]:
    """Bytecodes per request by workload and function. Raises MeasurementError as above."""
    return {
        name: {one: round(n / result["requests"]) for one, n in result["functions"].items()}
        for name, result in run_program([], BYTECODES, workloads, directory)
    }


def count_bytecodes(workloads: Sequence[str], directory: Path = ROOT) -> dict[str, int]:
    """Bytecodes per request of the code in a directory. Raises MeasurementError as above."""
    functions = count_functions(workloads, directory)
    return {name: sum(counts.values()) for name, counts in functions.items()}


def run_program(
    counter: Sequence[str], way: str, workloads: Sequence[str], directory: Path
) -> list[tuple[str, dict[str, Any]]]:
    """Serve the workloads with the code in a directory; the results by workload.

    The program is that of this checkout. Addresses, hashes and the heap are the same in each run.
    """
    fixed = ["setarch", "--addr-no-randomize"] if shutil.which("setarch") else []
    ended = subprocess.run(
        [*fixed, *counter, sys.executable, "-P", str(PROGRAM), way, *workloads],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if ended.returncode:
        raise MeasurementError(f"{PROGRAM.name} failed: {ended.stderr[-2000:]}")
    results = map(json.loads, ended.stdout.splitlines())
    return [(result.pop("workload"), result) for result in results]


COUNT: Final = {INSTRUCTIONS: count_instructions, BYTECODES: count_bytecodes}


def print_figures(kind: str, now: Figures, others: Mapping[str, Figures]) -> None:
    """Print a line for each workload; beside it other figures, and now as a multiple of those."""
    header = [f"{kind} per request", "now", f"x {FLOOR}"]
    for name in others:
        header += [name, "now /"]
    rows = []
    for workload, figure in now.items():
        row = [workload, f"{figure:,}", f"{figure / now[FLOOR]:.2f}" if FLOOR in now else "-"]
        for other in others.values():
            base = other.get(workload)
            row += [f"{base:,}", f"{figure / base:.3f}"] if base else ["-", "-"]
        rows.append(row)
    print(table(header, rows), flush=True)


def report(kind: str, chosen: Sequence[str], against: Path | None, *, write: bool) -> None:
    """Count, print the figures beside the stored ones, and store them where that is wanted."""
    print(f"\n{python(kind)}", flush=True)
    now = COUNT[kind](chosen)
    costs = load(kind)
    reason = not_comparable(kind, costs, now)
    others = {} if reason else {"stored": costs[python(kind)].figures}
    if against:
        others[against.name] = COUNT[kind](chosen, against)
    print_figures(kind, now, others)
    if reason:
        print(f"Not compared: {reason}")
    else:
        mine = costs[python(kind)]
        print(*complaints(mine, now), *gains(mine, now), sep="\n")
    if write:
        store(kind, {name: now[name] for name in now if name in WORKLOADS})


def report_functions(workload: str, against: Path | None) -> None:
    """Print the bytecodes of each function that a request calls, the most expensive first."""
    now = count_functions([workload])[workload]
    base = count_functions([workload], against)[workload] if against else {}
    rows = [
        [name, str(now.get(name, 0)), *([str(base.get(name, 0))] if against else [])]
        for name in sorted(
            {**base, **now}, key=lambda name: -max(now.get(name, 0), base.get(name, 0))
        )
    ]
    total = [[f"{workload} in all", str(sum(now.values()))]]
    if against:
        total[0].append(str(sum(base.values())))
    print(
        table(["bytecodes per request", "now", *([against.name] if against else [])], rows + total)
    )


def main() -> int:
    described = "; ".join(f"{name}: {text}" for name, text in {**WORKLOADS, **UNSTORED}.items())
    parser = argparse.ArgumentParser(
        description="Instructions and bytecodes per request, beside stored ones.", epilog=described
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="(default: all)")
    parser.add_argument("--against", type=Path, help="another checkout, to be counted as well")
    parser.add_argument("--write", action="store_true", help=f"store the figures in {FILE.name}")
    parser.add_argument("--bytecodes", action="store_true", help="count only these, in seconds")
    parser.add_argument("--functions", metavar="WORKLOAD", help="list its bytecodes by function")
    options = parser.parse_args()
    chosen = options.workloads or list(WORKLOADS)
    for name in [*chosen, options.functions or FLOOR]:
        if name not in WORKLOADS and name not in UNSTORED:
            parser.error(f"no workload {name!r}: use {', '.join([*WORKLOADS, *UNSTORED])}")
    against = options.against.resolve() if options.against else None
    try:
        if options.functions:
            report_functions(options.functions, against)
            return 0
        report(BYTECODES, chosen, against, write=options.write)
        if not options.bytecodes:
            report(INSTRUCTIONS, chosen, against, write=options.write)
    except MeasurementError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
