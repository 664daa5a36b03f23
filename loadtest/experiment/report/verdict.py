"""The verdict: five sentences, made from the data by rules, the worst for the reactor first.

Each sentence is about one question and has its figures from the hardest cell in which both servers
were measured. Its standing is the result for the reactor: it loses, falls short, is even, holds, or
was not measured. The same comparison chooses the words, so they change with the data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from loadtest.experiment.measure.samples import OURS, POOL, THREADS
from loadtest.experiment.report.comparison import crossing_words, order, points
from loadtest.experiment.report.formatting import (
    PARTLY,
    duration,
    listed,
    name_of,
    number,
    served_text,
    size,
    times,
)
from loadtest.experiment.report.summary import ArmOutcome, Measured, Summary
from loadtest.experiment.report.targets import (
    BLOCKED_CLIENTS,
    CALM,
    LESS_MEMORY,
    SLOW,
    most_idle,
    probed,
)

LOSES: Final = "loses"
SHORT: Final = "falls short"
ALIKE: Final = "even"
HOLDS: Final = "holds"
UNKNOWN: Final = "not measured"
STANDINGS: Final = (LOSES, SHORT, ALIKE, HOLDS, UNKNOWN)


@dataclass(frozen=True)
class Sentence:
    """A sentence of the verdict; `standing` is one of STANDINGS."""

    topic: str
    standing: str
    text: str


def sentences(summary: Summary) -> list[Sentence]:
    """All sentences, in the order of STANDINGS."""
    found = [rule(summary) for rule in RULES]
    return sorted(found, key=lambda one: STANDINGS.index(one.standing))


def blocking(summary: Summary) -> Sentence:
    topic = "Handlers that block"
    cells = [one for one in summary.of("block") if both(one, lambda arm: arm.median("rate"))]
    cells.sort(key=lambda one: one.cell.x != BLOCKED_CLIENTS)  # first, where it was measured
    if not cells:
        return Sentence(topic, UNKNOWN, "Blocking handlers were not measured for both servers.")
    one = cells[0]
    ours, theirs = one.arm(OURS).median("rate") or 0.0, one.arm(THREADS).median("rate") or 0.0
    standing = {-1: LOSES, 0: ALIKE, 1: HOLDS}[order(ours, theirs)]
    verb = {LOSES: "loses", ALIKE: "is even", HOLDS: "wins"}[standing]
    by = "" if standing == ALIKE else f" by {times(max(ours, theirs) / min(ours, theirs))}"
    text = (
        f"With a handler that blocks its thread for 20 ms the reactor {verb}{by}: for "
        f"{number(one.cell.x)} clients it serves {number(ours)} requests/s, "
        f"and the threaded server {number(theirs)}."
    )
    return Sentence(topic, standing, text)


def cost(summary: Summary) -> Sentence:
    topic = "CPU per request"
    cells = summary.of("keepalive")
    ours, theirs = (points(cells, arm, lambda one: one.median("cpu_us")) for arm in (OURS, THREADS))
    shared = [(x, y, dict(theirs)[x]) for x, y in ours if x in dict(theirs)]
    if not shared:
        return Sentence(topic, UNKNOWN, "CPU per request was not measured for both servers.")
    orders = [order(y, other) for _, y, other in shared]
    standing = _standing(orders)
    if standing == SHORT and orders[-1] == 1:
        standing = LOSES  # many connections are the purpose of the reactor
    first, last = shared[0], shared[-1]
    text = (
        f"A request costs the reactor {number(first[1])} µs of CPU at {number(first[0])} "
        f"connection{'' if first[0] == 1 else 's'}"
    )
    if len(shared) > 1:
        text += f" and {number(last[1])} at {number(last[0])}"
        text += f", and the threaded server {number(first[2])} and {number(last[2])}"
        there = next(one.arm(THREADS) for one in cells if one.cell.x == last[0])
        if there.served is not None and not there.served.enough:
            text += f" (connections that it serves there: {served_text(there.served)})"
    else:
        text += f", and the threaded server {number(first[2])}"
    words = crossing_words(ours, theirs, "the reactor is cheaper", "the reactor is more expensive")
    used = [one.arm(arm) for one in cells for arm in (OURS, THREADS)]
    bound = " (the generator was at its limit in some of these: †)"
    noted = bound if any(one.generator_bound for one in used) else ""
    return Sentence(topic, standing, f"{text}: {words}{noted}.")


def offered_alike(summary: Summary) -> Sentence:
    topic = "The same offered load"
    cells = [one for one in summary.of("mix") if both(one, lambda arm: arm.median("cpu_us"))]
    if not cells:
        return Sentence(topic, UNKNOWN, "The locust mix was not measured for both servers.")
    # The cell with the highest rate; cells in which the p99 of both is known come first.
    one = max(cells, key=lambda one: (both(one, lambda arm: arm.tail()), one.cell.x))
    ours, theirs = one.arm(OURS), one.arm(THREADS)
    cpu = [outcome.median("cpu_us") or 0.0 for outcome in (ours, theirs)]
    tails = [outcome.tail() for outcome in (ours, theirs)]
    text = (
        f"At {number(one.cell.x)} requests/s of the locust mix the reactor uses "
        f"{number(cpu[0])} µs of CPU for each request, and the threaded server {number(cpu[1])}"
    )
    orders = [order(*cpu)]
    if tails[0] is not None and tails[1] is not None:
        orders.append(order(tails[0], tails[1]))
        text += f", with a p99 of {duration(tails[0])} and {duration(tails[1])}"
    else:
        text += "; p99 is not known for both"
    return Sentence(topic, _standing(orders), f"{text}{_failures(ours, theirs)}.")


def _failures(*outcomes: ArmOutcome) -> str:
    totals = [(one.total("errors") or 0.0) + (one.total("refused") or 0.0) for one in outcomes]
    if not any(totals):
        return ""
    return f"; {number(totals[0])} and {number(totals[1])} requests failed or were refused"


def memory(summary: Summary) -> Sentence:
    topic = "Memory"
    one = most_idle(summary)
    if one is None:
        text = "The memory of idle connections was not measured for both servers."
        return Sentence(topic, UNKNOWN, text)
    ours, theirs = one.arm(OURS).memory() or 0.0, one.arm(THREADS).memory() or 0.0
    ratio = theirs / ours
    standing = HOLDS if ratio >= LESS_MEMORY else SHORT if order(ours, theirs) == -1 else ALIKE
    if order(ours, theirs) == 1:
        standing = LOSES
    text = (
        f"With {number(one.cell.x)} idle connections the reactor uses "
        f"{size(ours / one.cell.x)} for each, and the threaded server "
        f"{size(theirs / one.cell.x)}"
    )
    target = "" if standing == HOLDS else f"; the target was {LESS_MEMORY:g} × less"
    return Sentence(topic, standing, f"{text}: {_less(ratio)}{target}.")


def _less(ratio: float) -> str:
    return f"{times(ratio)} less" if ratio >= 1.0 else f"{times(1 / ratio)} more"


def bystanders(summary: Summary) -> Sentence:
    topic = "Bystanders"
    cells = [one for workload in SLOW for one in summary.of(workload) if probed(one.arm(OURS))]
    if not cells:
        return Sentence(topic, UNKNOWN, "Bystanders beside slow clients were not measured.")
    # The worst of those that miss the target, and the most clients where none does.
    one = max(cells, key=lambda one: (max(_waits(one.arm(OURS)), CALM), one.cell.x))
    ours, theirs = one.arm(OURS), one.arm(THREADS)
    others = [one.arm(arm) for arm in (THREADS, POOL) if probed(one.arm(arm))]
    results = [f"{_wait(other)} on {name_of(other.arm)}" for other in others]
    compared = f", {listed(results)}" if results else "; threads were not measured there"
    standing = HOLDS if _waits(ours) <= CALM else SHORT
    if probed(theirs) and order(_waits(ours), _waits(theirs)) == 1:
        standing = LOSES
    target = "" if _waits(ours) <= CALM else f" (the target was at most {duration(CALM)})"
    text = f"Beside {_clients(one)} a bystander's p99 is {_wait(ours)} on the reactor{target}"
    return Sentence(topic, standing, f"{text}{compared}.")


def _clients(one: Measured) -> str:
    kind = "that send their head" if one.cell.workload == "slow-heads" else "that read"
    return f"{number(one.cell.x)} clients {kind} slowly"


def _wait(outcome: ArmOutcome) -> str:
    if outcome.out_of_service:
        return "unlimited (out of service)"
    return PARTLY if outcome.wait == inf else duration(outcome.wait)


def _waits(outcome: ArmOutcome) -> float:
    return outcome.wait or 0.0


def both(one: Measured, read: Callable[[ArmOutcome], float | None]) -> bool:
    """Whether the reactor and the threaded server have a figure that is not zero."""
    return all(read(one.arm(arm)) for arm in (OURS, THREADS))


def _standing(orders: list[int]) -> str:
    """The standing after several comparisons in which less is better."""
    if 1 in orders:
        return LOSES if min(orders) >= 0 else SHORT
    return HOLDS if -1 in orders else ALIKE


RULES: Final = (blocking, cost, offered_alike, memory, bystanders)
