"""The command line: python -m loadtest.benchmarks.fairness."""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from loadtest import system, system_idle
from loadtest.benchmarks.common import INTERRUPTED
from loadtest.benchmarks.fairness.arms import PEER, Arm, arms, make_files
from loadtest.benchmarks.fairness.cases import CASES, MOST_CLIENTS
from loadtest.benchmarks.fairness.report import Measurement, Results
from loadtest.benchmarks.fairness.trial import Size, trial
from loadtest.system import MeasurementError

SECONDS_EACH: Final = 6.0  # for one measurement, about
IDLE_A_SECOND: Final = 5000  # idle connections, about
SPARE_DESCRIPTORS: Final = 300  # beside idle connections and a crowd


def run(
    results: Results, cases: Sequence[str], servers: Mapping[str, Arm], rounds: int, size: Size
) -> None:
    """Measure all cases on all arms, in turn; a measurement that fails is reported."""
    for number in range(rounds):
        order = list(servers)
        for case in cases:
            for name in reversed(order) if number % 2 else order:
                try:
                    figures = measured(case, servers[name], size)
                except MeasurementError as failure:
                    text = f"round {number + 1}, {case}, {name}: {failure}"
                    print(text, file=sys.stderr, flush=True)
                    results.failures.append(text)
                    continue
                results.measurements.append(Measurement(case, name, number + 1, figures))
                p99 = " and ".join(f"{figures[f'{one}: p99, ms']:.1f}" for one in ("kept", "new"))
                text = f"round {number + 1}, {case}, {name}: p99 {p99} ms"
                print(text, file=sys.stderr, flush=True)


def measured(case: str, arm: Arm, size: Size) -> dict[str, float]:
    """The figures of one case on one arm."""
    with trial(arm, size) as one:
        CASES[case](one)
    return one.figures


def room_for(size: Size) -> None:
    """Raise the limit of open files. Raises SystemExit where it stays too low."""
    limit = system.raise_descriptor_limit()
    needed = size.idle + size.of(MOST_CLIENTS) + SPARE_DESCRIPTORS
    if needed > limit:
        raise SystemExit(
            f"The limit of open files (ulimit -Hn) is {limit}; the server needs {needed}. "
            "A smaller --idle or --share needs fewer."
        )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The latency of bystanders beside crowds.")
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--only", action="append", choices=list(CASES), metavar="CASE")
    parser.add_argument("--idle", type=int, default=0, help="idle connections beside (default: 0)")
    parser.add_argument(
        "--against", type=Path, metavar="DIRECTORY", help="another checkout, measured as well"
    )
    parser.add_argument("--without-nginx", action="store_true")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="duration of lasting crowds (default: 3)"
    )
    parser.add_argument(
        "--share", type=float, default=1.0, help="size of each crowd (default: 1, the whole)"
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    if options.against and not (options.against / "handlers").is_dir():
        parser.error(f"{options.against} is not a checkout: it has no directory handlers.")
    return options


def run_all(results: Results, cases: Sequence[str], options: argparse.Namespace) -> int:
    """Measure on all servers that are installed; returns the exit status."""
    size = Size(options.share, options.seconds, options.idle)
    room_for(size)
    with tempfile.TemporaryDirectory(prefix="loadtest-files-") as name:
        directory = Path(name)
        make_files(directory)
        servers = arms(directory, options.against and options.against.resolve())
        if options.without_nginx:
            servers.pop(PEER, None)
        each = SECONDS_EACH + size.idle / IDLE_A_SECOND
        minutes = options.rounds * len(cases) * len(servers) * each / 60
        names = ", ".join(servers)
        print(f"{names}: {options.rounds} rounds, about {minutes:.0f} minutes", flush=True)
        try:
            run(results, cases, servers, options.rounds, size)
        except KeyboardInterrupt:
            print(INTERRUPTED)
            return 130
    return 0


def main() -> int:
    options = parse_options()
    system.end_on_sigterm()
    # The noise is always measured, and first.
    cases = ["idle", *(one for one in CASES if one in (options.only or CASES) and one != "idle")]
    asked = {name: str(value) for name, value in vars(options).items() if name != "json"}
    about = system_idle.machine_facts() | {"options": asked}
    print(system_idle.machine_summary(about))
    if not system.real_time_is_permitted():
        print("Bystanders do not run in real time: they may wait for the crowd on their core.")
    results = Results()
    status = run_all(results, cases, options)
    is_met = results.print(cases)
    if options.json:
        results.write_json(options.json, about)
    return status or int(not is_met)


if __name__ == "__main__":
    raise SystemExit(main())
