"""The targets of the experiment, each with its measured figure.

A target is met, not met, or not measured. A range that was measured in part is not measured, unless
the part already misses the target. Figures are judged by their medians.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.experiment.measure.samples import BYSTANDER, OURS, POOL, THREADS
from loadtest.experiment.report.formatting import (
    BOUND,
    PARTLY,
    duration,
    number,
    size,
    spread,
    times,
)
from loadtest.experiment.report.summary import MEMORY, ArmOutcome, Measured, Summary

MET: Final = "met"
NOT_MET: Final = "not met"
NOT_MEASURED: Final = "not measured"

FLAT: Final = 2.0  # ratio of the most expensive request to the cheapest
FROM_CONNECTIONS: Final = 8
TO_CONNECTIONS: Final = 10_000
COUNTED: Final = ("fairness", "keepalive")  # workloads that may count responses by connection
FAIR: Final = 0.99  # Jain's index
FAIR_AT: Final = 4096  # connections
LESS_MEMORY: Final = 15.0  # times
SLOW: Final = ("slow-heads", "slow-readers")
SLOW_CLIENTS: Final = 500
CALM: Final = 0.020  # seconds: a bystander's p99
BLOCKED_CLIENTS: Final = 64
BY_FAR: Final = 5.0  # times


@dataclass(frozen=True)
class Target:
    """One line of the table; `verdict` is MET, NOT_MET or NOT_MEASURED."""

    name: str
    target: str
    measured: str
    verdict: str


def targets(summary: Summary) -> list[Target]:
    """All targets, in the order of the table."""
    return [
        flatness(summary),
        fairness(summary),
        memory(summary),
        pool_beside_slow(summary),
        reactor_beside_slow(summary),
        blocking(summary),
    ]


def flatness(summary: Summary) -> Target:
    name = f"CPU per request from {FROM_CONNECTIONS} to {TO_CONNECTIONS:,} connections"
    target = f"flat within {FLAT:g} ×"
    found = [(one.cell.x, one.arm(OURS).median("cpu_us")) for one in summary.of("keepalive")]
    costs = [(x, cpu) for x, cpu in found if cpu and FROM_CONNECTIONS <= x <= TO_CONNECTIONS]
    if len(costs) < 2:
        return Target(name, target, NOT_MEASURED, NOT_MEASURED)
    least, most = min(cpu for _, cpu in costs), max(cpu for _, cpu in costs)
    first, last = costs[0][0], costs[-1][0]
    text = f"{times(most / least)}: {number(least)} to {number(most)} µs"
    whole = first == FROM_CONNECTIONS and last == TO_CONNECTIONS
    if not whole:
        text += f"; only from {first:,.0f} to {last:,.0f} connections"
    if most / least > FLAT:
        return Target(name, target, text, NOT_MET)
    return Target(name, target, text, MET if whole else NOT_MEASURED)


def fairness(summary: Summary) -> Target:
    name = f"Jain's index at {FAIR_AT:,} connections"
    cells = [one for workload in COUNTED for one in summary.of(workload)]
    found = [one.arm(OURS).spread("jain") for one in cells if one.cell.x == FAIR_AT]
    jain = next((spread for spread in found if spread is not None), None)
    if jain is None:
        return Target(name, f"≥ {FAIR:g}", NOT_MEASURED, NOT_MEASURED)
    met = MET if jain.median >= FAIR else NOT_MET
    return Target(name, f"≥ {FAIR:g}", spread(jain, lambda value: f"{value:.3f}"), met)


def memory(summary: Summary) -> Target:
    name = "memory per idle connection, beside a thread for each"
    target = f"≥ {LESS_MEMORY:g} × less"
    one = most_idle(summary)
    if one is None:
        return Target(name, target, NOT_MEASURED, NOT_MEASURED)
    ours, theirs = one.arm(OURS).memory() or 0.0, one.arm(THREADS).memory() or 0.0
    text = (
        f"{times(theirs / ours)}: {size(ours / one.cell.x)} and {size(theirs / one.cell.x)} each"
        f" at {one.cell.x:,.0f}"
    )
    with_kernel = [one.arm(arm).memory(MEMORY) or 0.0 for arm in (OURS, THREADS)]
    if with_kernel[0] > ours:
        text += f"; {times(with_kernel[1] / with_kernel[0])} with the kernel's sockets, both ends"
    return Target(name, target, text, MET if theirs / ours >= LESS_MEMORY else NOT_MET)


def most_idle(summary: Summary) -> Measured | None:
    """The cell with the most idle connections in which the memory of both servers is known."""
    for one in reversed(summary.of("idle")):
        both = [one.arm(arm).memory() for arm in (OURS, THREADS)]
        if one.cell.x > 0 and all(value is not None and value > 0 for value in both):
            return one
    return None


def pool_beside_slow(summary: Summary) -> Target:
    name = f"a pool of 32 threads beside {SLOW_CLIENTS} slow clients"
    found = [(one, one.arm(POOL)) for one in beside_slow(summary) if probed(one.arm(POOL))]
    if not found:
        return Target(name, "out of service", NOT_MEASURED, NOT_MEASURED)
    text = "; ".join(f"{one.cell.workload}: {beside(outcome)}" for one, outcome in found)
    met = all(outcome.out_of_service for _, outcome in found)
    return Target(name, "out of service", text, MET if met else NOT_MET)


def reactor_beside_slow(summary: Summary) -> Target:
    name = f"the reactor's bystander beside {SLOW_CLIENTS} slow clients"
    target = f"p99 ≤ {duration(CALM)}"
    found = [(one, one.arm(OURS)) for one in beside_slow(summary) if probed(one.arm(OURS))]
    if not found:
        return Target(name, target, NOT_MEASURED, NOT_MEASURED)
    text = "; ".join(f"{one.cell.workload}: {beside(outcome)}" for one, outcome in found)
    calm = [(one.wait or 0.0) <= CALM for _, one in found]
    return Target(name, target, text, MET if all(calm) else NOT_MET)


def beside_slow(summary: Summary) -> Sequence[Measured]:
    cells = [one for workload in SLOW for one in summary.of(workload)]
    return [one for one in cells if one.cell.x == SLOW_CLIENTS]


def probed(outcome: ArmOutcome) -> bool:
    """Whether it is known how long the bystander waits."""
    return outcome.wait is not None


def beside(outcome: ArmOutcome) -> str:
    """The bystander's p99 as text."""
    if outcome.out_of_service:
        return "out of service"
    if BYSTANDER in outcome.latencies and outcome.generator_bound:
        return BOUND
    if outcome.partly_served(BYSTANDER):
        return PARTLY
    p99 = outcome.bystander()
    return NOT_MEASURED if p99 is None else f"p99 {duration(p99)}"


def blocking(summary: Summary) -> Target:
    name = f"{BLOCKED_CLIENTS} clients of a handler that blocks 20 ms"
    target = f"the reactor loses by far (≥ {BY_FAR:g} ×)"
    at = [one for one in summary.of("block") if one.cell.x == BLOCKED_CLIENTS]
    rates = [at[0].arm(arm).median("rate") for arm in (OURS, THREADS)] if at else [None, None]
    ours, theirs = rates
    if not ours or theirs is None:
        return Target(name, target, NOT_MEASURED, NOT_MEASURED)
    text = f"{number(ours)} and {number(theirs)} requests/s: {times(theirs / ours)}"
    return Target(name, target, text, MET if theirs / ours >= BY_FAR else NOT_MET)
