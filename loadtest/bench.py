"""The command line that benchmarks of several cases share, and how they tell what they measured."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest import machine
from loadtest.memory import Figures, write_json
from loadtest.report import table

Run = Callable[[Figures, Sequence[str], int, int], None]  # cases, rounds, seconds of one load


def main(description: str, every: Sequence[str], run: Run) -> int:
    """Run the cases that are asked for, and print a table; the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one load (default: 3)")
    parser.add_argument("--only", action="append", choices=every, metavar="CASE")
    parser.add_argument("--json", type=Path, help="write every value to this file")
    arguments = parser.parse_args()
    machine.end_on_sigterm()
    about = machine.described()
    print(machine.introduction(about))
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
