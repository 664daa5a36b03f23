"""Raw data to figures: an ArmOutcome for each arm of each cell, over all rounds.

This module has the rules for every figure of the report:

- A value is the median over rounds, with the least and the largest beside it.
- A percentile is that of the merged histogram. It exists where there are enough values to know it:
  the p99 of fifty requests would be the longest of them under another name.
- An arm whose generator was busy above its limit in any round has no rate and no latency in that
  cell; leaving out that round alone would be a choice of results.
- An arm has no latency where it is not certain that 99 % of its clients were served: those without
  a response have no latency, so the percentile would be that of the others. `recorded_tail` has it
  for plots, which draw it hollow.
- Connections without a response are errors.
- A missing measurement is None; no other value replaces it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite
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
from loadtest.experiment.measure.served import Served, served, unserved

PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}
PACED: Final = frozenset({"rate", "bytes_rate", "done_seconds", "recovery_seconds"})
OWN_MEMORY: Final = ("process_bytes", "stacks_bytes", "tables_bytes")
MEMORY: Final = (*OWN_MEMORY, "sockets_bytes")
OUT_OF_SERVICE: Final = 1.0  # seconds after which a bystander counts as not served
TURNED_AWAY: Final = 0.25  # share of a bystander's requests that makes a server out of service


@dataclass(frozen=True)
class Spread:
    """A value in each round that has it; at least one."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median over rounds."""
        return median(self.values)

    @property
    def least(self) -> float:
        """The least value of a round."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The largest value of a round."""
        return max(self.values)

    def apart_from(self, other: "Spread") -> bool:
        """Whether the rounds of the two do not overlap."""
        return self.most < other.least or other.most < self.least


@dataclass
class ArmOutcome:
    """One arm in one cell."""

    arm: str
    samples: list[Sample]  # those with numbers
    failures: list[str]  # the reasons of the others

    @property
    def measured(self) -> bool:
        """Whether a sample has numbers."""
        return bool(self.samples)

    @property
    def tried(self) -> int:
        """The number of samples, failed ones included."""
        return len(self.samples) + len(self.failures)

    @property
    def noisy(self) -> int:
        """The number of noisy samples."""
        return sum(sample.noisy for sample in self.samples)

    @property
    def generator_bound(self) -> bool:
        """Whether the generator was the limit in any round."""
        return any(sample.generator_bound for sample in self.samples)

    def recorded(self, name: str) -> Spread | None:
        """A value of the raw data, also where the generator was the limit."""
        found = [one.values[name] for one in self.samples if name in one.values]
        values = tuple(filter(isfinite, found))  # NaN means that it was not measured
        return Spread(values) if values else None

    def spread(self, name: str) -> Spread | None:
        """A value; None where it is the generator's own."""
        return None if name in PACED and self.generator_bound else self.recorded(name)

    def median(self, name: str) -> float | None:
        """The median of `spread`."""
        spread = self.spread(name)
        return spread.median if spread else None

    def total(self, name: str) -> float | None:
        """The sum over rounds: a median of errors would hide the round that had them."""
        spread = self.recorded(name)
        return sum(spread.values) if spread else None

    @cached_property
    def served(self) -> Served | None:
        """The share of clients that got a response, over all rounds; None where it is unknown."""
        found = [known for one in self.samples if (known := served(one.values, one.seconds))]
        if not found:
            return None
        share = sum(one.share for one in found) / len(found)
        return Served(share, all(one.exact for one in found))

    @property
    def unserved(self) -> float:
        """The connections without a response that no error or refusal counts, over all rounds."""
        return sum(unserved(one.values) for one in self.samples)

    @property
    def errors(self) -> float | None:
        """Errors over all rounds, the connections without a response among them."""
        errors = self.total("errors")
        return (errors or 0.0) + self.unserved if self.unserved or errors is not None else None

    def partly_served(self, name: str) -> bool:
        """Whether the latencies of this name are those of too few clients to be shown."""
        if name != BYSTANDER:
            return self.served is not None and not self.served.enough
        beside = {"errors": self.total("bystander_errors") or 0.0}
        requests = self.latencies[name].count - beside["errors"] if name in self.latencies else 0.0
        found = served({**beside, "requests": requests}, 0.0)
        return found is not None and not found.enough

    @cached_property
    def latencies(self) -> dict[str, Histogram]:
        """Histograms by name, merged over rounds, also where the generator was the limit."""
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
        """Seconds; None where `generator_bound` or `partly_served`, or with too few values."""
        if self.generator_bound or name not in self.latencies or self.partly_served(name):
            return None
        return known(self.latencies[name], share)

    def recorded_tail(self, share: float = 0.99) -> float | None:
        """The same as `tail`, also where too few clients were served."""
        if self.generator_bound or self.latency not in self.latencies:
            return None
        return known(self.latencies[self.latency], share)

    def tail(self, share: float = 0.99) -> float | None:
        """A percentile of the latencies that count, in seconds."""
        return self.percentile(self.latency, share)

    def bystander(self, share: float = 0.99) -> float | None:
        """A percentile of the bystander's latencies, in seconds."""
        return self.percentile(BYSTANDER, share)

    def of_rounds(self, name: str, share: float) -> Spread | None:
        """The percentile of each round, which shows how far the merged one can be trusted."""
        hidden = self.generator_bound or self.partly_served(name)
        return None if hidden else self.recorded_of_rounds(name, share)

    def recorded_of_rounds(self, name: str, share: float) -> Spread | None:
        """The same, also where the generator was the limit, and where few clients were served."""
        found = [known(one.latencies[name], share) for one in self.samples if name in one.latencies]
        values = tuple(value for value in found if value is not None)
        return Spread(values) if values else None

    @property
    def out_of_service(self) -> bool:
        """Whether a quarter of the bystander's requests got no correct response in time.

        Half of the requests use new connections: a server that accepts no more clients is out of
        service, however well it serves its present ones.
        """
        if BYSTANDER not in self.latencies or self.generator_bound:
            return False
        beside = self.latencies[BYSTANDER]
        errors = self.total("bystander_errors") or 0.0
        turned_away = errors >= TURNED_AWAY * beside.count
        return turned_away or beside.percentile(1 - TURNED_AWAY) > OUT_OF_SERVICE

    @property
    def wait(self) -> float | None:
        """The bystander's p99; inf where the server was out of service, or served it in part."""
        lost = self.out_of_service or self.partly_served(BYSTANDER)
        return inf if lost and not self.generator_bound else self.bystander()

    def memory(self, names: Iterable[str] = OWN_MEMORY) -> float | None:
        """Bytes above the base: the sum of the measured `names`; None without the first."""
        found = [self.median(name) for name in names]
        return None if found[0] is None else sum(value for value in found if value is not None)

    def memory_each(self, names: Iterable[str] = OWN_MEMORY) -> float | None:
        """The same for one connection; None where too few connections were served to divide by."""
        count = self.samples[0].x if self.samples else 0.0
        few = self.served is not None and not self.served.enough
        memory = self.memory(names) if count and not few else None
        return None if memory is None else memory / count


@dataclass
class Measured:
    """A cell, and the outcome for each of its arms."""

    cell: Cell
    outcomes: dict[str, ArmOutcome]

    def arm(self, name: str) -> ArmOutcome:
        """The outcome of an arm; without samples where the arm is not in this cell."""
        return self.outcomes.get(name) or ArmOutcome(name, [], [])


@dataclass
class Summary:
    """All outcomes of a run."""

    run: Run
    cells: list[Measured]
    ended: bool

    def of(self, workload: str) -> list[Measured]:
        """The cells of a workload, sorted by x."""
        found = [one for one in self.cells if one.cell.workload == workload]
        return sorted(found, key=lambda one: one.cell.x)

    @property
    def workloads(self) -> list[str]:
        """The names of the workloads, in the order of the cells."""
        return list(dict.fromkeys(one.cell.workload for one in self.cells))

    @property
    def arms(self) -> list[str]:
        """The names of the arms, in the order of the cells."""
        return list(dict.fromkeys(arm for one in self.cells for arm in one.outcomes))

    @property
    def outcomes(self) -> Iterator[tuple[Measured, ArmOutcome]]:
        """Each outcome with its cell."""
        for one in self.cells:
            for outcome in one.outcomes.values():
                yield one, outcome

    @property
    def planned(self) -> int:
        """The number of planned samples."""
        return self.run.rounds * sum(len(one.cell.arms) for one in self.cells)

    @property
    def tried(self) -> int:
        """The number of samples, failed ones included."""
        return sum(outcome.tried for _, outcome in self.outcomes)


def summarized(recorded: Recorded) -> Summary:
    """The outcomes of all samples, also of cells that were not planned."""
    cells = {cell.name: cell for cell in recorded.run.cells}
    for one in recorded.samples:
        if one.cell not in cells:
            cells[one.cell] = Cell(one.cell, one.workload, one.x, one.cell, [])
    for cell in cells.values():
        if cell.x == 1:  # older runs have the plural
            cell.title = cell.title.replace("connections", "connection")
    found = [_measured(cell, recorded.samples) for cell in cells.values()]
    return Summary(recorded.run, found, recorded.ended)


def _measured(cell: Cell, samples: list[Sample]) -> Measured:
    here = [one for one in samples if one.cell == cell.name]
    arms = dict.fromkeys([*cell.arms, *(one.arm for one in here)])
    return Measured(cell, {arm: _outcome(arm, here) for arm in arms})


def _outcome(arm: str, samples: list[Sample]) -> ArmOutcome:
    own = [one for one in samples if one.arm == arm]
    return ArmOutcome(
        arm,
        [one for one in own if not one.failure],
        [one.failure for one in own if one.failure],
    )


def known(histogram: Histogram, share: float) -> float | None:
    """A percentile in seconds; None where less than one value is expected beyond it."""
    beyond = round(histogram.count * (1.0 - share), 6)
    return histogram.percentile(share) if beyond >= 1.0 else None
