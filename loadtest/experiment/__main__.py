"""The command line of the experiment; see the package's docstring."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loadtest import system, system_idle
from loadtest.experiment.measure.arms import ARMS, versions
from loadtest.experiment.measure.harness import Harness, Options, confine, make_files
from loadtest.experiment.measure.plans import PLANS, Planned, available, expected_seconds, narrowed
from loadtest.experiment.measure.samples import FILE, Recorder, Run
from loadtest.experiment.report import changes
from loadtest.experiment.report.write import FIGURES, write
from loadtest.system import MeasurementError

ROUNDS: Final = {"quick": 1, "bench": 5, "full": 5}
SECONDS: Final = 3.0  # length of a window
DIRECTORY: Final = system.PROJECT / "loadtest" / "report"


def main() -> int:
    """Run the command line; returns the exit status."""
    options = _parse_options()
    system.end_on_sigterm()
    if options.plan == "report":
        return _write(options.directory)
    plan, lacking = available(narrowed(PLANS[options.plan], options.only or (), options.arm or ()))
    rounds = options.rounds or ROUNDS[options.plan]
    expected = expected_seconds(plan, rounds, options.seconds)
    print(system_idle.machine_summary(system_idle.machine_facts()))
    print(
        f"{options.plan}: {len(plan)} cells, {rounds} rounds, "
        f"{rounds * sum(len(one.cell.arms) for one in plan)} samples, "
        f"about {max(1.0, expected / 60):.0f} minutes; Ctrl-C writes a report of what was measured"
    )
    for arm, what in lacking.items():
        print(f"{arm} is left out: {what} is not installed")
    if options.list:
        for one in plan:
            print(f"  {one.cell.name:20} {one.cell.title}: {', '.join(one.cell.arms)}")
        return 0
    if not plan:
        print("There is nothing to measure.", file=sys.stderr)
        return 2
    return _run(options, plan, rounds)


def _run(options: argparse.Namespace, plan: Sequence[Planned], rounds: int) -> int:
    directory: Path = options.directory
    about = _about(options.plan, plan, rounds)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / FIGURES).exists():
            shutil.copyfile(directory / FIGURES, directory / changes.FILE)
        recorder = Recorder(directory / FILE, about)
    except OSError as error:
        print(f"Cannot write a report: {error}", file=sys.stderr)
        return 2
    status = 0
    try:
        confine()
        with tempfile.TemporaryDirectory(prefix="loadtest-files-") as files:
            make_files(Path(files))
            Harness(plan, Options(rounds, options.seconds), recorder, Path(files)).run()
        recorder.end()
    except KeyboardInterrupt:
        print("Interrupted: the report has what was measured until now.", file=sys.stderr)
        status = 130
    except MeasurementError as failure:
        print(f"Cannot measure: {failure}", file=sys.stderr)
        status = 1
    finally:
        recorder.close()
    return _write(directory) or status


def _about(name: str, plan: Sequence[Planned], rounds: int) -> Run:
    return Run(
        plan=name,
        started=time.time(),
        rounds=rounds,
        commit=_commit(),
        machine=system_idle.machine_facts(),
        versions=versions({arm for one in plan for arm in one.cell.arms}),
        cells=[one.cell for one in plan],
    )


def _write(directory: Path) -> int:
    try:
        write(directory)
    except (OSError, ValueError) as error:
        print(f"Cannot write the report: {error}", file=sys.stderr)
        return 1
    print(f"The report is {directory / 'index.html'}")
    return 0


def _commit() -> str:
    """The commit of the project, with a + where files have changed since; "" outside git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            cwd=system.PROJECT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _parse_options() -> argparse.Namespace:
    cells = sorted({one.cell.name for plan in PLANS.values() for one in plan})
    parser = argparse.ArgumentParser(
        prog="loadtest.experiment",
        description="Measure the reactor beside a thread per connection and other servers.",
        epilog=f"Cells: {', '.join(cells)}.",
    )
    parser.add_argument("plan", choices=[*PLANS, "report"])
    parser.add_argument("--only", action="append", choices=cells, metavar="CELL")
    parser.add_argument("--arm", action="append", choices=list(ARMS), help="only this one")
    parser.add_argument("--rounds", type=int, help="instead of the plan's (1 for quick, else 5)")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="length of a window (default: %(default)g)"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=DIRECTORY,
        help="directory of the report (default: %(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="print cells and duration, and end")
    options = parser.parse_args()
    rounds = 1 if options.rounds is None else options.rounds
    if rounds < 1 or not 1 <= options.seconds <= 600:
        parser.error("There must be at least one round, and windows of 1 to 600 seconds.")
    return options


if __name__ == "__main__":
    sys.exit(main())
