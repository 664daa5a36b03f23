"""Raw data to figures: an Outcome for each arm of each cell, over all rounds.

The rules that every figure of the report keeps are here, once:

- A value is the median over rounds, with the least and the most beside it.
- A percentile is that of the merged histogram, and is there only where there are enough values to
  know it: p99 of fifty requests would be the longest of them under another name.
- An arm whose generator was busy above its limit in any round has no rate and no latency in that
  cell; to leave out just that round would be to choose.
- What was not measured is None, and nothing is put in its place.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from statistics import median
from typing import Final

from loadtest.clients.histogram import Histogram, merged
from loadtest.experiment.measure.samples import (
    BYSTANDER,
    INTENDED,
    SERVICE,
    Cell,
    Recorded,
    Run,
    Sample,
)

PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
PACED: Final = frozenset({"rate", "bytes_rate", "done_seconds", "recovery_seconds"})
OWN_MEMORY: Final = ("process_bytes", "stacks_bytes", "tables_bytes")
MEMORY: Final = (*OWN_MEMORY, "sockets_bytes")
OUT_OF_SERVICE: Final = 1.0  # seconds: so long nobody waits who is served
TURNED_AWAY: Final = 0.25  # of those who come: without an answer, or after so long


@dataclass(frozen=True)
class Spread:
    """A value in each round that has it; at least one."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)

    def apart_from(self, other: "Spread") -> bool:
        """No round of one lies between the rounds of the other."""
        return self.most < other.least or other.most < self.least


@dataclass
class Outcome:
    """One arm in one cell."""

    arm: str
    samples: list[Sample]  # those that came to a number
    failures: list[str]  # what the others said

    @property
    def measured(self) -> bool:
        return bool(self.samples)

    @property
    def tried(self) -> int:
        return len(self.samples) + len(self.failures)

    @property
    def noisy(self) -> int:
        return sum(sample.noisy for sample in self.samples)

    @property
    def generator_bound(self) -> bool:
        return any(sample.generator_bound for sample in self.samples)

    def recorded(self, name: str) -> Spread | None:
        """A value as it is in the raw data, also where the generator was the limit."""
        found = [one.values[name] for one in self.samples if name in one.values]
        values = tuple(filter(isfinite, found))  # what is no number was not measured
        return Spread(values) if values else None

    def spread(self, name: str) -> Spread | None:
        return None if name in PACED and self.generator_bound else self.recorded(name)

    def median(self, name: str) -> float | None:
        spread = self.spread(name)
        return spread.median if spread else None

    def total(self, name: str) -> float | None:
        """Over all rounds: a median of errors would hide the round that had them."""
        spread = self.recorded(name)
        return sum(spread.values) if spread else None

    @cached_property
    def latencies(self) -> dict[str, Histogram]:
        """Merged over rounds, also where the generator was the limit."""
        names = dict.fromkeys(name for sample in self.samples for name in sample.latencies)
        return {
            name: merged(one.latencies[name] for one in self.samples if name in one.latencies)
            for name in names
        }

    @property
    def latency(self) -> str:
        """The name of the latencies that count: from the intended start, where that is known."""
        return INTENDED if INTENDED in self.latencies else SERVICE

    def percentile(self, name: str, share: float) -> float | None:
        """Seconds; None where it was not measured, or there are too few values to tell."""
        if self.generator_bound or name not in self.latencies:
            return None
        return known(self.latencies[name], share)

    def tail(self, share: float = 0.99) -> float | None:
        return self.percentile(self.latency, share)

    def bystander(self, share: float = 0.99) -> float | None:
        return self.percentile(BYSTANDER, share)

    def of_rounds(self, name: str, share: float) -> Spread | None:
        """The percentile of each round by itself, to see how far the merged one can be trusted."""
        return None if self.generator_bound else self.recorded_of_rounds(name, share)

    def recorded_of_rounds(self, name: str, share: float) -> Spread | None:
        """The same, also where the generator was the limit."""
        found = [known(one.latencies[name], share) for one in self.samples if name in one.latencies]
        values = tuple(value for value in found if value is not None)
        return Spread(values) if values else None

    @property
    def out_of_service(self) -> bool:
        """A quarter of the bystander's requests had no right answer, or waited too long for it.

        Half of them come on new connections: a server that lets nobody in any more is out of
        service, however well it serves those who are in.
        """
        if BYSTANDER not in self.latencies or self.generator_bound:
            return False
        beside = self.latencies[BYSTANDER]
        errors = self.total("bystander_errors") or 0.0
        turned_away = errors >= TURNED_AWAY * beside.count
        return turned_away or beside.percentile(1 - TURNED_AWAY) > OUT_OF_SERVICE

    def memory(self, names: Iterable[str] = OWN_MEMORY) -> float | None:
        """Bytes above the base, those of `names` that were measured; None without the first."""
        found = [self.median(name) for name in names]
        return None if found[0] is None else sum(value for value in found if value is not None)


@dataclass
class Measured:
    """A cell, and what came of it for each of its arms."""

    cell: Cell
    outcomes: dict[str, Outcome]

    def arm(self, name: str) -> Outcome:
        """Also for an arm that is not in this cell: then it has no samples."""
        return self.outcomes.get(name) or Outcome(name, [], [])


@dataclass
class Summary:
    run: Run
    cells: list[Measured]
    ended: bool

    def of(self, workload: str) -> list[Measured]:
        """Its cells, by x."""
        found = [one for one in self.cells if one.cell.workload == workload]
        return sorted(found, key=lambda one: one.cell.x)

    @property
    def workloads(self) -> list[str]:
        return list(dict.fromkeys(one.cell.workload for one in self.cells))

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(arm for one in self.cells for arm in one.outcomes))

    @property
    def outcomes(self) -> Iterator[tuple[Measured, Outcome]]:
        for one in self.cells:
            for outcome in one.outcomes.values():
                yield one, outcome

    @property
    def planned(self) -> int:
        return self.run.rounds * sum(len(one.cell.arms) for one in self.cells)

    @property
    def tried(self) -> int:
        return sum(outcome.tried for _, outcome in self.outcomes)


def summarized(recorded: Recorded) -> Summary:
    cells = {cell.name: cell for cell in recorded.run.cells}
    for one in recorded.samples:  # what was measured is told, planned or not
        if one.cell not in cells:
            cells[one.cell] = Cell(one.cell, one.workload, one.x, one.cell, [])
    found = [_measured(cell, recorded.samples) for cell in cells.values()]
    return Summary(recorded.run, found, recorded.ended)


def _measured(cell: Cell, samples: list[Sample]) -> Measured:
    here = [one for one in samples if one.cell == cell.name]
    arms = dict.fromkeys([*cell.arms, *(one.arm for one in here)])
    return Measured(cell, {arm: _outcome(arm, here) for arm in arms})


def _outcome(arm: str, samples: list[Sample]) -> Outcome:
    own = [one for one in samples if one.arm == arm]
    return Outcome(
        arm,
        [one for one in own if not one.failure],
        [one.failure for one in own if one.failure],
    )


def known(histogram: Histogram, share: float) -> float | None:
    """A percentile in seconds, where at least one value is expected to lie beyond it."""
    beyond = round(histogram.count * (1.0 - share), 6)
    return histogram.percentile(share) if beyond >= 1.0 else None
