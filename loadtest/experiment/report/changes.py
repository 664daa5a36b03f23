"""The differences from the previous run: CPU per request and p99 of every cell that both have.

A difference is a change where the rounds of the two runs do not overlap. That needs rounds: with
fewer than three in either run there are no changes. The previous figures are read from the
report.json of that run, which may have an older format: figures that it lacks are not compared.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtest.experiment.report.summary import ArmOutcome, Spread, Summary

FILE: Final = "previous.json"
ENOUGH: Final = 3  # rounds that distinguish a change from chance


@dataclass(frozen=True)
class Change:
    """A figure of an arm in both runs."""

    cell: str
    arm: str
    figure: str  # CPU, p99
    before: float  # µs; seconds
    now: float
    beyond: bool  # whether the rounds of the two runs do not overlap

    @property
    def ratio(self) -> float:
        """The relative difference: 0.1 is 10 % more."""
        return self.now / self.before - 1.0


@dataclass(frozen=True)
class Changes:
    """All differences."""

    found: list[Change]
    note: str  # names the previous run, or the reason why there are no differences


def changes(summary: Summary, directory: Path) -> Changes:
    """The differences from the run whose report.json is FILE in `directory`; never raises."""
    path = directory / FILE
    if not path.exists():
        return Changes([], "There is no previous run.")
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["started"] == summary.run.started:
            return Changes([], "The previous report was made from this same run.")
        found = [
            one for pair in summary.outcomes for one in _of(pair[0].cell.name, pair[1], before)
        ]
        commit = before["commit"] or "unknown"
        note = f"Compared with the run of plan {before['plan']}, commit {commit}."
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Changes([], f"{FILE} is not a report that this one can be compared with.")
    return Changes(found, note if found else f"{note} The two runs have no cell in common.")


def _of(cell: str, outcome: ArmOutcome, before: dict[str, Any]) -> list[Change]:
    cells = {one["name"]: one for one in before["cells"]}
    old = cells.get(cell, {}).get("arms", {}).get(outcome.arm)
    if old is None:
        return []
    found = [_change(cell, outcome, "CPU", old["values"].get("cpu_us"), outcome.spread("cpu_us"))]
    if not old["generator_bound"]:
        of = old["latencies"].get(outcome.latency, {})
        tail = None if of.get("partly_served") else of.get("p99_of_rounds")
        found.append(_change(cell, outcome, "p99", tail, outcome.of_rounds(outcome.latency, 0.99)))
    return [one for one in found if one is not None]


def _change(
    cell: str, outcome: ArmOutcome, figure: str, old: dict[str, Any] | None, now: Spread | None
) -> Change | None:
    if not old or now is None:
        return None
    before = Spread(tuple(map(float, old["rounds"])))
    if not before.values or before.median <= 0:
        return None
    enough = min(len(before.values), len(now.values)) >= ENOUGH
    beyond = enough and before.apart_from(now)
    return Change(cell, outcome.arm, figure, before.median, now.median, beyond)
