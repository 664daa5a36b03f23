"""What benchmarks of several cases share: a load, a command line, and how they tell the outcome."""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from loadtest import system
from loadtest.benchmarks.memory import Figures, write_json
from loadtest.benchmarks.tables import table
from loadtest.clients.wrk import read_wrk, run_generator
from loadtest.system import MeasurementError

Run = Callable[[Figures, Sequence[str], int, int], None]  # cases, rounds, seconds of one load


WARM_UP_SECONDS: Final = 1


def cpu_per_request(pid: int, name: str, options: Sequence[str], seconds: int) -> float:
    """Microseconds of a server's CPU time for each request of wrk, which has these options."""
    _, core = system.cores()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as folder:
        log = Path(folder) / "wrk.log"

        def run(duration: int) -> int:
            run_generator(["wrk", "-t1", f"-d{duration}s", *options], duration, core, log)
            outcome = read_wrk(log.read_text())
            if outcome.errors or not outcome.requests:
                raise MeasurementError(f"{name}: {outcome.requests}, {outcome.errors}")
            return outcome.requests

        run(WARM_UP_SECONDS)
        used = system.cpu_seconds(pid)
        requests = run(seconds)
        return (system.cpu_seconds(pid) - used) / requests * 1e6


def main(description: str, every: Sequence[str], run: Run) -> int:
    """Run the cases that are asked for, and print a table; the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one load (default: 3)")
    parser.add_argument("--only", action="append", choices=every, metavar="CASE")
    parser.add_argument("--json", type=Path, help="write every value to this file")
    arguments = parser.parse_args()
    system.end_on_sigterm()
    about = system.described()
    print(system.introduction(about))
    figures = Figures()
    interrupted = False
    try:
        run(figures, arguments.only or every, arguments.rounds, arguments.seconds)
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted: what follows is what was measured until then")
    header = ["case", "what", "median (least-largest)", "unit", "target", "verdict"]
    print(table(header, [line.row() for line in figures.lines.values()]))
    for failure in figures.failures:
        print(f"failed: {failure}")
    if arguments.json:
        write_json(arguments.json, about, figures)
    return 130 if interrupted else 0
