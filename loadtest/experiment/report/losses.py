"""Every figure in which another server is better than the reactor: all cells, all servers.

A figure is a loss where the other server is better by more than a twentieth, and in every round. A
p99 that single rounds are too short for is compared over all rounds. The compared value is the one
that every table shows: a median over rounds, or the percentile of all requests together. Beside a
loss stands the best of the other servers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final, TypeAlias

from loadtest.experiment.measure.samples import BYSTANDER, OURS
from loadtest.experiment.report.comparison import order
from loadtest.experiment.report.formatting import (
    DAGGER,
    PARTLY,
    Form,
    duration,
    number,
    percent,
    size,
)
from loadtest.experiment.report.summary import ArmOutcome, Measured, Spread, Summary

PACED_BY_OFFER: Final = ("open", "mix", "overload")  # workloads whose rate is given
OUT: Final = "out of service"
Read: TypeAlias = Callable[[ArmOutcome], float | None]


@dataclass(frozen=True)
class Figure:
    """A figure that is compared."""

    name: str
    whole: Read
    rounds: Callable[[ArmOutcome], Spread | None]
    form: Form = number
    more_is_better: bool = False


@dataclass(frozen=True)
class Loss:
    """A figure of a cell in which the reactor is worse than another server."""

    cell: Measured
    figure: str
    ours: str
    arm: str  # the best of the other servers
    theirs: str
    ratio: float  # inf where the reactor does not serve its bystander
    rounds: int  # the number that both have; with one, or none, it may be chance


def losses(summary: Summary) -> list[Loss]:
    """All losses, the largest ratio first."""
    found = [
        loss
        for one in summary.cells
        for figure in FIGURES
        if (loss := _loss(one, figure)) is not None
    ]
    return sorted(found, key=lambda one: -one.ratio)


def compared(summary: Summary) -> list[Measured]:
    """The cells in which the reactor and another server were measured."""
    return [
        one
        for one in summary.cells
        if one.arm(OURS).measured
        and any(other.measured for arm, other in one.outcomes.items() if arm != OURS)
    ]


def _loss(one: Measured, figure: Figure) -> Loss | None:
    if figure.name == RATE and one.cell.workload in PACED_BY_OFFER:
        return None
    ours = one.arm(OURS)
    better = [
        other
        for arm, other in one.outcomes.items()
        if arm != OURS and _is_better(figure, other, ours)
    ]
    if not better:
        return None
    mine = figure.whole(ours) or 0.0
    values = [(figure.whole(other) or 0.0, other) for other in better]
    best = max if figure.more_is_better else min
    value, other = best(values, key=lambda each: each[0])
    ratio = max(mine, value) / min(mine, value) if min(mine, value) else inf
    counts = [len(spread.values) if spread else 0 for spread in map(figure.rounds, (ours, other))]
    texts = [_shown(figure, outcome) for outcome in (ours, other)]
    return Loss(one, figure.name, texts[0], other.arm, texts[1], ratio, min(counts))


def _shown(figure: Figure, outcome: ArmOutcome) -> str:
    value = figure.whole(outcome) or 0.0
    if value == inf:
        return OUT if outcome.out_of_service else PARTLY
    mark = DAGGER if figure.name == CPU and outcome.generator_bound else ""
    return figure.form(value) + mark


def _is_better(figure: Figure, other: ArmOutcome, ours: ArmOutcome) -> bool:
    first, second = figure.whole(other), figure.whole(ours)
    if first is None or second is None:
        return False
    if order(first, second) != (1 if figure.more_is_better else -1):
        return False
    mine, theirs = figure.rounds(ours), figure.rounds(other)
    return mine is None or theirs is None or second == inf or mine.apart_from(theirs)


def _value(name: str, head: str, form: Form = number, more_is_better: bool = False) -> Figure:
    return Figure(
        head, lambda one: one.median(name), lambda one: one.spread(name), form, more_is_better
    )


def _share(outcome: ArmOutcome) -> float | None:
    return outcome.served.share if outcome.served else None


def _of_samples(read: Read) -> Callable[[ArmOutcome], Spread | None]:
    """The figure of each round by itself."""

    def rounds(outcome: ArmOutcome) -> Spread | None:
        alone = (ArmOutcome(outcome.arm, [sample], []) for sample in outcome.samples)
        values = tuple(value for one in alone if (value := read(one)) is not None)
        return Spread(values) if values else None

    return rounds


CPU: Final = "CPU µs/request"
RATE: Final = "requests/s"
FIGURES: Final = (
    _value("cpu_us", CPU),
    _value("rate", RATE, more_is_better=True),
    Figure(
        "p99",
        lambda one: one.tail(),
        lambda one: one.of_rounds(one.latency, 0.99),
        duration,
    ),
    Figure(
        "p99 of a bystander",
        lambda one: one.wait,
        lambda one: one.of_rounds(BYSTANDER, 0.99),
        duration,
    ),
    Figure("served", _share, _of_samples(_share), percent, more_is_better=True),
    Figure("memory each", ArmOutcome.memory_each, _of_samples(ArmOutcome.memory_each), size),
    _value("done_seconds", "all served", duration),
    _value("recovery_seconds", "recovered", duration),
)
