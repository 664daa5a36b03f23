"""The bounds of the cases, and the tables of what was measured."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from loadtest.benchmarks.fairness.arms import BEFORE, OURS, PEER
from loadtest.benchmarks.fairness.trial import BYSTANDERS
from loadtest.benchmarks.tables import spread, table

QUIET: Final = 2.0  # ms: p99 beside nobody, above which the machine is too noisy to judge
MOST_OF_BEFORE: Final = 1.03  # bulk may cost so much more than on the other checkout
MET: Final = "met"
MISSED: Final = "NOT MET"
ARMS: Final = (OURS, BEFORE, PEER)
NOT_MEASURED: Final = "not measured"


class Bound(NamedTuple):
    """The largest or the least allowed median of a figure."""

    figure: str
    value: float
    is_least: bool = False

    def verdict(self, values: Sequence[float]) -> str:
        """Whether the median of the values is within the bound."""
        if not values or isnan(middle := median(values)):
            return NOT_MEASURED
        is_met = middle >= self.value if self.is_least else middle <= self.value
        return MET if is_met else MISSED

    def __str__(self) -> str:
        return f"{'>=' if self.is_least else '<='} {self.value:g}"


def _p99(most: float) -> tuple[Bound, ...]:
    return tuple(Bound(f"{name}: p99, ms", most) for name in BYSTANDERS)


BOUNDS: Final[dict[str, tuple[Bound, ...]]] = {
    "idle": _p99(QUIET),
    "slow-readers": _p99(5.0),
    "many-readers": _p99(30.0),
    "burst": _p99(10.0),
    "closing": _p99(10.0),
    "pipelines": _p99(5.0),
    "pipelines-read": _p99(5.0),
    "downloads": (*_p99(10.0), Bound("Jain's index", 0.98, is_least=True)),
    "mix": (Bound("slowest paced one, of its rate", 0.95, is_least=True),),
    "starving": (Bound("downloads, of the server's time", 0.2, is_least=True),),
}
# Figures of ours that are compared with the other checkout, and whether more is better.
COMPARED: Final = {
    "downloads": {"CPU per 10 MiB, ms": False, "throughput, MB/s": True},
}


@dataclass
class Measurement:
    """The figures of one case on one arm in one round."""

    case: str
    arm: str
    round: int
    figures: dict[str, float]


@dataclass
class Results:
    """All measurements, and the reasons why others failed."""

    measurements: list[Measurement] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def values(self, case: str, arm: str, figure: str) -> list[float]:
        """The values of a figure, a round each."""
        return list(self._by_round(case, arm, figure).values())

    def _by_round(self, case: str, arm: str, figure: str) -> dict[int, float]:
        return {
            one.round: one.figures[figure]
            for one in self.measurements
            if (one.case, one.arm) == (case, arm) and figure in one.figures
        }

    def ratios(self, case: str, figure: str, more_is_better: bool) -> list[float]:
        """How much worse ours is than the other checkout, in each round that has both."""
        ours, before = (self._by_round(case, arm, figure) for arm in (OURS, BEFORE))
        pairs = [(ours[one], before[one]) for one in ours if one in before]
        return [then / now if more_is_better else now / then for now, then in pairs]

    def is_quiet(self) -> bool:
        """Whether the idle rounds of ours were quiet enough to judge the others."""
        noise = BOUNDS["idle"]
        return all(one.verdict(self.values("idle", OURS, one.figure)) == MET for one in noise)

    def judged(self, cases: Sequence[str]) -> Iterator[list[str]]:
        """The lines of the last table: case, figure, the arms, bound and verdict."""
        for case in cases:
            failed = sum(sum(self.values(case, OURS, f"{name}: failed")) for name in BYSTANDERS)
            for bound in BOUNDS[case]:
                of_arms = [self.values(case, arm, bound.figure) for arm in ARMS]
                verdict = f"{MISSED}: {failed:g} requests failed" if failed else ""
                cells = [*map(all_rounds, of_arms), str(bound)]
                yield [case, bound.figure, *cells, verdict or bound.verdict(of_arms[0])]
            for figure, more_is_better in COMPARED.get(case, {}).items():
                if ratios := self.ratios(case, figure, more_is_better):
                    bound = Bound(figure, MOST_OF_BEFORE)
                    name = f"{figure}: times worse than {BEFORE}"
                    cells = [all_rounds(ratios), "", "", str(bound)]
                    yield [case, name, *cells, bound.verdict(ratios)]

    def details(self, cases: Sequence[str]) -> Iterator[list[str]]:
        """The lines of the first table: each figure of each arm."""
        for case in cases:
            of_case = [one.figures for one in self.measurements if one.case == case]
            for name in dict.fromkeys(name for figures in of_case for name in figures):
                cells = [spread(self.values(case, arm, name), digits_of(name)) for arm in ARMS]
                yield [case, name, *cells]

    def print(self, cases: Sequence[str]) -> bool:
        """Print both tables; returns whether all bounds are met, or the machine was noisy."""
        print("\nmedian (least-largest) of the rounds")
        print(table(["case", "figure", *ARMS], list(self.details(cases))))
        judged = list(self.judged(cases))
        print("\nmedian [each round]")
        print(table(["case", "figure", *ARMS, "bound", "verdict"], judged))
        for failure in self.failures:
            print(f"failed: {failure}")
        missed = sum(line[-1] != MET for line in judged)
        print(f"{missed} of {len(judged)} bounds are not met.")
        if self.is_quiet():
            return not missed
        print(
            f"The machine was noisy: beside nobody p99 is above {QUIET:g} ms. This is no verdict."
        )
        return True

    def write_json(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write every measurement, with `about` (the machine and the options) beside."""
        content = {**about, "failures": self.failures, "quiet": self.is_quiet()}
        content["measurements"] = [asdict(one) for one in self.measurements]
        path.write_text(json.dumps(content, indent=1) + "\n")


def digits_of(figure: str) -> int:
    """Digits after the point: shares are small, rates are large."""
    return 3 if "of" in figure.split() or "Jain" in figure else 2 if "," in figure else 0


def all_rounds(values: Sequence[float]) -> str:
    """The median and, in brackets, the value of each round."""
    if not values:
        return "-"
    digits = 3 if max(values) < 1.5 else 1
    each = " ".join(f"{value:.{digits}f}" for value in values)
    return f"{median(values):.{digits}f} [{each}]"
