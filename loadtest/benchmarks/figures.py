"""The figures of a benchmark with their targets, printed as a table or written as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtest.benchmarks.tables import spread, table, verdict

HEADER: Final = ("case", "what", "median (least-largest)", "unit", "target", "verdict")


@dataclass
class Figure:
    """One line of the table: a value for each run, and the largest allowed median."""

    case: str
    name: str
    unit: str
    most: float | None = None
    digits: int = 1
    values: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        """Its fields, in the order of HEADER."""
        value = spread(self.values, self.digits)
        if self.most is None:
            return [self.case, self.name, value, self.unit, "", ""]
        judged = verdict(self.values, self.most)
        return [self.case, self.name, value, self.unit, f"<= {self.most:g}", judged]


class Figures:
    """All figures, in the order in which they were first measured, and what failed."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], Figure] = {}
        self.failures: list[str] = []

    def add(
        self,
        case: str,
        name: str,
        value: float,
        unit: str,
        most: float | None = None,
        digits: int = 1,
    ) -> None:
        """Add the value of one run; the first call for a name sets unit, target and digits."""
        line = self.lines.setdefault((case, name), Figure(case, name, unit, most, digits))
        line.values.append(value)

    def fail(self, case: str, reason: str) -> None:
        """Print and keep the reason why a case has no value."""
        print(f"{case}: {reason}", flush=True)
        self.failures.append(f"{case}: {reason}")

    def print(self) -> None:
        """Print the table, and a line for each failure below it."""
        print(table(HEADER, [line.row() for line in self.lines.values()]))
        for failure in self.failures:
            print(f"failed: {failure}")

    def write_json(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write every value and its median, with `about` (the machine and the options) beside."""
        lines = [asdict(line) | {"median": median(line.values)} for line in self.lines.values()]
        content = {**about, "failures": self.failures, "figures": lines}
        path.write_text(json.dumps(content, indent=1) + "\n")
