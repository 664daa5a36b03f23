"""The difference to the run before: CPU per request and p99 of every cell that both runs have.

A change is one where the rounds of the two runs do not overlap; that takes rounds, so with fewer
than three in either run nothing is called a change. What was before is read from the report.json of
that run, which may be of an older make: what it does not have is not compared.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtest.experiment.report.summary import Outcome, Spread, Summary

FILE: Final = "previous.json"
ENOUGH: Final = 3  # rounds, to tell a change from chance


@dataclass(frozen=True)
class Change:
    cell: str
    arm: str
    figure: str  # CPU, p99
    before: float  # µs; seconds
    now: float
    beyond: bool  # the spread of rounds

    @property
    def ratio(self) -> float:
        return self.now / self.before - 1.0


@dataclass(frozen=True)
class Changes:
    found: list[Change]
    note: str  # why there are none, or what they are a difference to


def changes(summary: Summary, folder: Path) -> Changes:
    """Never raises: a report does not depend on the one before."""
    path = folder / FILE
    if not path.exists():
        return Changes([], "There is no run before this one.")
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["started"] == summary.run.started:
            return Changes([], "The report before was made from this very run.")
        found = [
            one for pair in summary.outcomes for one in _of(pair[0].cell.name, pair[1], before)
        ]
        note = f"To the run of plan {before['plan']}, commit {before['commit'] or 'unknown'}."
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Changes([], f"{FILE} is no report that this one can be compared with.")
    return Changes(found, note if found else f"{note} The two have no cell in common.")


def _of(cell: str, outcome: Outcome, before: dict[str, Any]) -> list[Change]:
    cells = {one["name"]: one for one in before["cells"]}
    old = cells.get(cell, {}).get("arms", {}).get(outcome.arm)
    if old is None:
        return []
    found = [_change(cell, outcome, "CPU", old["values"].get("cpu_us"), outcome.spread("cpu_us"))]
    if not old["generator_bound"]:
        tail = old["latencies"].get(outcome.latency, {}).get("p99_of_rounds")
        found.append(_change(cell, outcome, "p99", tail, outcome.of_rounds(outcome.latency, 0.99)))
    return [one for one in found if one is not None]


def _change(
    cell: str, outcome: Outcome, figure: str, old: dict[str, Any] | None, now: Spread | None
) -> Change | None:
    if not old or now is None:
        return None
    before = Spread(tuple(map(float, old["rounds"])))
    if not before.values or before.median <= 0:
        return None
    enough = min(len(before.values), len(now.values)) >= ENOUGH
    beyond = enough and before.apart_from(now)
    return Change(cell, outcome.arm, figure, before.median, now.median, beyond)
