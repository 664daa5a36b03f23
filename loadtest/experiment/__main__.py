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
SECONDS: Final = 3.0  # of a window
FOLDER: Final = system.PROJECT / "loadtest" / "report"


def main() -> int:
    options = _parsed()
    system.end_on_sigterm()
    if options.plan == "report":
        return _write(options.folder)
    plan, lacking = available(narrowed(PLANS[options.plan], options.only or (), options.arm or ()))
    rounds = options.rounds or ROUNDS[options.plan]
    expected = expected_seconds(plan, rounds, options.seconds)
    print(system_idle.machine_summary(system_idle.machine_facts()))
    print(
        f"{options.plan}: {len(plan)} cells, {rounds} rounds, "
        f"{rounds * sum(len(one.cell.arms) for one in plan)} samples, "
        f"about {max(1.0, expected / 60):.0f} minutes; Ctrl-C leaves a report of what was done"
    )
    for arm, what in lacking.items():
        print(f"{arm} is left out: {what} is not installed")
    if options.list:
        for one in plan:
            print(f"  {one.cell.name:20} {one.cell.title}: {', '.join(one.cell.arms)}")
        return 0
    if not plan:
        print("there is nothing to measure", file=sys.stderr)
        return 2
    return _run(options, plan, rounds)


def _run(options: argparse.Namespace, plan: Sequence[Planned], rounds: int) -> int:
    folder: Path = options.folder
    about = _about(options.plan, plan, rounds)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / FIGURES).exists():
            shutil.copyfile(folder / FIGURES, folder / changes.FILE)
        recorder = Recorder(folder / FILE, about)
    except OSError as error:
        print(f"no report can be written: {error}", file=sys.stderr)
        return 2
    confine()
    status = 0
    try:
        with tempfile.TemporaryDirectory(prefix="loadtest-files-") as directory:
            make_files(Path(directory))
            Harness(plan, Options(rounds, options.seconds), recorder, Path(directory)).run()
        recorder.end()
    except KeyboardInterrupt:
        print("interrupted: the report is of what was measured until now", file=sys.stderr)
        status = 130
    except MeasurementError as failure:
        print(f"it cannot be measured: {failure}", file=sys.stderr)
        status = 1
    finally:
        recorder.close()
    return _write(folder) or status


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


def _write(folder: Path) -> int:
    try:
        write(folder)
    except (OSError, ValueError) as error:
        print(f"there is no report: {error}", file=sys.stderr)
        return 1
    print(f"{folder / 'index.html'} is the report")
    return 0


def _commit() -> str:
    """Of the project, with a + where something has been changed since; "" outside git."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            cwd=system.PROJECT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.strip()


def _parsed() -> argparse.Namespace:
    cells = sorted({one.cell.name for plan in PLANS.values() for one in plan})
    parser = argparse.ArgumentParser(
        prog="loadtest.experiment",
        description="The reactor beside a thread per connection, and others.",
        epilog=f"Cells: {', '.join(cells)}.",
    )
    parser.add_argument("plan", choices=[*PLANS, "report"])
    parser.add_argument("--only", action="append", choices=cells, metavar="CELL")
    parser.add_argument("--arm", action="append", choices=list(ARMS), help="only this one")
    parser.add_argument("--rounds", type=int, help="instead of the plan's (1, or 5)")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="of a window (default: %(default)g)"
    )
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="of the report (default: %(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="the cells and the time, no more")
    options = parser.parse_args()
    rounds = 1 if options.rounds is None else options.rounds
    if rounds < 1 or not 1 <= options.seconds <= 600:
        parser.error("at least one round, and windows of 1 to 600 seconds")
    return options


if __name__ == "__main__":
    sys.exit(main())
