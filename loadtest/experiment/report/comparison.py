"""Two figures, or two lines, beside each other: which is less, and where lines cross.

Two figures are even when they differ by less than a twentieth; lines that differ by less do not
cross.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Final, TypeAlias

from loadtest.experiment.report.formatting import number
from loadtest.experiment.report.summary import ArmOutcome, Measured

EVEN: Final = 0.05  # share of the larger one

Points: TypeAlias = Sequence[tuple[float, float]]
Reading: TypeAlias = Callable[[ArmOutcome], float | None]


@dataclass(frozen=True)
class Crossing:
    """From `x` upwards the first line is below the second, or above it."""

    x: float
    y: float
    below: bool


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
    gaps = [(log(x), log(y / other) if order(y, other) else 0.0, log(y)) for x, y, other in shared]
    found = []
    last = None  # the last point where the two were not even
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
        return ", then ".join(
            f"{better if one.below else worse} from about {rounded(one.x)} connections on"
            for one in found
        )
    if all(y == other for _, y, other in shared):
        return "the same at every measured number"
    orders = {order(y, other) for _, y, other in shared}
    at = "at every measured number: the lines do not cross"
    if orders == {0}:
        return "even at every measured number"
    even = " or even" if 0 in orders else ""
    return f"{better if -1 in orders else worse}{even} {at}"
