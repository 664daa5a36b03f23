"""The reactor beside a thread for each connection: where lines cross, and where it is behind.

Two figures are even when they differ by less than a twentieth. The reactor is behind where it is
worse by more than that, and the rounds of the two do not overlap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Final, TypeAlias

from loadtest.experiment.measure.samples import BYSTANDER, OURS, THREADS
from loadtest.experiment.report.formatting import duration, number
from loadtest.experiment.report.summary import ArmOutcome, Measured, Spread, Summary

EVEN: Final = 0.05  # share of the larger one
LOSSES: Final = ("block", "burn")  # workloads that an event loop is known to be bad at
PACED_BY_OFFER: Final = ("open", "mix")  # workloads whose rate is given

Points: TypeAlias = Sequence[tuple[float, float]]
Reading: TypeAlias = Callable[[ArmOutcome], float | None]


@dataclass(frozen=True)
class Crossing:
    """From `x` upwards the first line is below the second, or above it."""

    x: float
    y: float
    below: bool


@dataclass(frozen=True)
class Behind:
    """A figure of a cell in which the reactor is worse than the threaded server."""

    cell: Measured
    figure: str
    ours: str
    theirs: str
    ratio: float
    rounds: int  # the number that both have; with one it may be chance


def order(first: float, second: float) -> int:
    """-1 where the first is less, 1 where it is more, 0 where the two are even."""
    near = abs(first - second) <= EVEN * max(abs(first), abs(second))
    if first == second or (near and isfinite(first) and isfinite(second)):
        return 0
    return -1 if first < second else 1


def points(cells: Sequence[Measured], arm: str, read: Reading) -> list[tuple[float, float]]:
    """x and figure of the cells that have the figure for this arm."""
    found = [(one.cell.x, read(one.arm(arm))) for one in cells]
    return [(x, y) for x, y in found if y is not None]


def crossings(first: Points, second: Points) -> list[Crossing]:
    """The crossings of two lines on logarithmic axes, between the x that both have."""
    others = dict(second)
    shared = [(x, y, others[x]) for x, y in first if x > 0 and y > 0 and others.get(x, 0.0) > 0]
    gaps = [(log(x), log(y / other), log(y)) for x, y, other in shared]
    found = []
    last = None  # the last point where the two were not the same
    for here in gaps:
        if last is not None and last[1] * here[1] < 0:
            part = last[1] / (last[1] - here[1])
            x, y = (last[i] + part * (here[i] - last[i]) for i in (0, 2))
            found.append(Crossing(exp(x), exp(y), here[1] < 0))
        last = here if here[1] != 0 else last
    return found


def rounded(x: float) -> str:
    """x with two digits, the precision to which a crossing between two points is known."""
    return f"{x:.2g}" if x < 10 else number(float(f"{x:.2g}"))


def crossing_words(first: Points, second: Points, better: str, worse: str) -> str:
    """The relation of two lines, as a part of a sentence about the first.

    `better` describes the first line where it is below, `worse` where it is above.
    """
    others = dict(second)
    shared = [(x, y, others[x]) for x, y in first if x in others]
    if not shared:
        return "not comparable: the two were not measured at the same numbers"
    found = crossings(first, second)
    if found:
        ways = [f"{better if one.below else worse} from about {rounded(one.x)} on" for one in found]
        return ", then ".join(ways)
    if any(y < other for _, y, other in shared):
        return f"{better} at every measured number: the lines do not cross"
    if any(y > other for _, y, other in shared):
        return f"{worse} at every measured number: the lines do not cross"
    return "the same at every measured number"


def behind(summary: Summary) -> list[Behind]:
    """The figures in which the reactor is behind, except in the known losses."""
    return [finding for one in comparable(summary) for finding in _behind(one)]


def comparable(summary: Summary) -> list[Measured]:
    """The cells that both servers were measured in, except the known losses."""
    return [
        one
        for one in summary.cells
        if one.cell.workload not in LOSSES and one.arm(OURS).measured and one.arm(THREADS).measured
    ]


def _behind(one: Measured) -> Iterator[Behind]:
    ours, theirs = one.arm(OURS), one.arm(THREADS)
    for figure, mine, other in _pairs(one, ours, theirs):
        if mine is None or other is None:
            continue
        more_is_worse = figure != "requests/s"
        worse = order(mine.median, other.median) == (1 if more_is_worse else -1)
        if worse and mine.apart_from(other) and min(mine.median, other.median) > 0:
            ratio = max(mine.median, other.median) / min(mine.median, other.median)
            rounds = min(len(mine.values), len(other.values))
            form = duration if "p99" in figure else number
            yield Behind(one, figure, form(mine.median), form(other.median), ratio, rounds)


def _pairs(
    one: Measured, ours: ArmOutcome, theirs: ArmOutcome
) -> Iterator[tuple[str, Spread | None, Spread | None]]:
    yield "CPU µs/request", ours.spread("cpu_us"), theirs.spread("cpu_us")
    if one.cell.workload not in PACED_BY_OFFER:
        yield "requests/s", ours.spread("rate"), theirs.spread("rate")
    name = ours.latency
    if name == theirs.latency:
        yield "p99", ours.of_rounds(name, 0.99), theirs.of_rounds(name, 0.99)
    beside = (ours.of_rounds(BYSTANDER, 0.99), theirs.of_rounds(BYSTANDER, 0.99))
    yield ("bystander p99", *beside)
