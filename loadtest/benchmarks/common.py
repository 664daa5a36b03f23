"""The shared parts of the benchmarks of files and routes: a load of wrk, the command line."""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from loadtest import system, system_idle
from loadtest.benchmarks.figures import Figures
from loadtest.clients.wrk import read_wrk, run_generator
from loadtest.system import MeasurementError

Run = Callable[[Figures, Sequence[str], int, int], None]  # cases, rounds, seconds of one load

WARM_UP_SECONDS: Final = 1
INTERRUPTED: Final = "Interrupted: the table has what was measured until now."


def cpu_per_request(pid: int, name: str, options: Sequence[str], seconds: int) -> float:
    """Microseconds of the server's CPU time per request, under wrk with these options.

    Raises MeasurementError where a request failed.
    """
    _, core = system.cores()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as workdir:
        log = Path(workdir) / "wrk.log"

        def run(duration: int) -> int:
            run_generator(["wrk", "-t1", f"-d{duration}s", *options], duration, core, log)
            outcome = read_wrk(log.read_text())
            if outcome.errors or not outcome.requests:
                raise MeasurementError(f"{name}: {outcome.requests} requests, {outcome.errors}")
            return outcome.requests

        run(WARM_UP_SECONDS)
        used = system.cpu_seconds(pid)
        requests = run(seconds)
        return (system.cpu_seconds(pid) - used) / requests * 1e6


def main(description: str, every: Sequence[str], run: Run) -> int:
    """Run the chosen cases and print a table; returns the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="duration of one load (default: 3)")
    parser.add_argument("--only", action="append", choices=every, metavar="CASE")
    parser.add_argument("--json", type=Path, help="write every value to this file")
    arguments = parser.parse_args()
    system.end_on_sigterm()
    about = system_idle.machine_facts()
    print(system_idle.machine_summary(about))
    figures = Figures()
    status = 0
    try:
        run(figures, arguments.only or every, arguments.rounds, arguments.seconds)
    except KeyboardInterrupt:
        status = 130
        print(INTERRUPTED)
    figures.print()
    if arguments.json:
        figures.write_json(arguments.json, about)
    return status
