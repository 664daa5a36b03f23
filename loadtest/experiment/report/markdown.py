"""The tables of docs/performance.md and of the README, which tests compare with those files.

The losses come first, all of them; then the locust mix, then the other cells. The page is also read
on phones, so a figure is one column and the arms are within it, divided by slashes; and the mix and
the cells have ROWS lines at most. Where there are more cells than lines, the workload with the most
cells loses one in its middle; the workloads in KEPT keep theirs longest.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Final, NamedTuple, TypeAlias

from loadtest.experiment.measure.samples import BYSTANDER, OURS, POOL, THREADS
from loadtest.experiment.report.columns import BOUND_SAYS, DAGGER_SAYS, PARTLY_SAYS
from loadtest.experiment.report.formatting import (
    BOUND,
    DAGGER,
    NOTHING,
    PARTLY,
    counted,
    milliseconds,
    most,
    number,
    partly,
    served_text,
    size,
    times,
)
from loadtest.experiment.report.losses import Loss, losses
from loadtest.experiment.report.summary import ArmOutcome, Measured, Summary

ROWS: Final = 35  # lines of mix and cells together, heads and rules among them
HEADS: Final = 4  # how many of those are heads and rules
ARMS: Final = (OURS, THREADS, POOL)
HARMFUL: Final = ("block", "burn")  # workloads that come first
KEPT: Final = (*HARMFUL, "keepalive")
Read: TypeAlias = Callable[[ArmOutcome], str]


def markdown(summary: Summary) -> str:
    """The tables, with a sentence above each."""
    mix = summary.of("mix")
    others = fitting(summary, ROWS - HEADS - len(mix))
    parts = _losses(losses(summary))
    if mix:
        parts += ["The locust mix, at the same offered rates:", _mix(mix)]
    if others:
        parts += [_introduction(others), _others(others)]
    if not parts:
        parts.append("Nothing was measured.")
    if any(DAGGER in part for part in parts):
        parts.append(DAGGER_SAYS)
    if any(PARTLY in part for part in parts):
        parts.append(PARTLY_SAYS)
    if any("≥ " in part for part in parts):
        parts.append(BOUND_SAYS)
    left = sum(one.cell.workload != "mix" for one in summary.cells) - len(others)
    if left:
        parts.append(f"{left} more cell{'s are' if left > 1 else ' is'} in the report.")
    return "\n\n".join(parts) + "\n"


def _losses(found: Sequence[Loss]) -> list[str]:
    if not found:
        return []
    rows = [
        [
            one.cell.cell.title,
            one.figure,
            one.ours,
            f"{one.arm} {one.theirs}",
            times(one.ratio) if isfinite(one.ratio) else NOTHING,
            " / ".join(served_text(one.cell.arm(arm).served) for arm in (OURS, one.arm)),
        ]
        for one in found
    ]
    text = (
        f"The reactor loses in {counted(len(found), 'figure')}: another server is better by more "
        "than a twentieth, and in every round. The best of the others stands beside it:"
    )
    return [text, table(["", "figure", "reactor", "better", "behind", "served"], rows)]


class Row(NamedTuple):
    """A line of the README's table."""

    title: str
    cell: str
    read: Read
    unit: str = ""


def headline(summary: Summary) -> str:
    """The README's table: two losses, and three figures in which connections count."""
    cells = {one.cell.name: one for one in summary.cells}
    rows = []
    for title, name, read, unit in HEADLINE:
        if (one := cells.get(name)) is None:
            continue
        texts = [_read(one, arm, read) for arm in (OURS, THREADS)]
        shown = [f"{text}{unit}" if text[:1].isdigit() else text for text in texts]
        shares = [_read(one, arm, _served) for arm in (OURS, THREADS)]
        rows.append([title, *shown, " / ".join(shares)])
    return table(["", "reactor", "a thread each", "served"], rows) + "\n"


def _introduction(cells: Sequence[Measured]) -> str:
    arms = " / ".join(_arms_of(cells))
    return f"Each column has {arms}; errors and refusals are sums over all rounds:"


def _arms_of(cells: Sequence[Measured]) -> list[str]:
    return [arm for arm in ARMS if any(arm in one.outcomes for one in cells)]


def fitting(summary: Summary, rows: int) -> list[Measured]:
    """The cells except the mix, at most `rows`."""
    cells = [one for one in summary.cells if one.cell.workload != "mix"]
    cells.sort(key=lambda one: one.cell.workload not in HARMFUL)
    while len(cells) > max(rows, 0):
        cells.remove(_least_missed(cells))
    return cells


def _least_missed(cells: Sequence[Measured]) -> Measured:
    counts = Counter(one.cell.workload for one in cells)
    most = max(counts, key=lambda name: (name not in KEPT and counts[name] > 1, counts[name]))
    family = [one for one in cells if one.cell.workload == most]
    return family[len(family) // 2] if len(family) > 2 else family[0]


def _mix(cells: Sequence[Measured]) -> str:
    arms = [arm for arm in (OURS, THREADS) if any(arm in one.outcomes for one in cells)]
    figures: dict[str, Read] = {
        "CPU µs": _cpu,
        "served": _served,
        "p50 ms": lambda one: _tail(one, one.latency, 0.5),
        "p99 ms": _p99,
        "errors": _wrong,
    }
    heads = ["offered/s", *(f"{arm}: {figure}" for arm in arms for figure in figures)]
    rows = [
        [number(one.cell.x), *(_read(one, arm, read) for arm in arms for read in figures.values())]
        for one in cells
    ]
    return table(heads, rows)


def _others(cells: Sequence[Measured]) -> str:
    figures: dict[str, Read] = {
        "CPU µs/request": _cpu,
        "requests/s": _rate,
        "served": _served,
        "p99 ms": _p99,
        "bystander p99 ms": _beside,
        "errors + refused": _wrong,
    }
    arms = _arms_of(cells)
    if any(_memory(outcome) != NOTHING for one in cells for outcome in one.outcomes.values()):
        figures["memory each"] = _memory
    rows = [
        [one.cell.title, *(_arms(one, arms, read) for read in figures.values())] for one in cells
    ]
    return table(["", *figures], rows)


def _arms(one: Measured, arms: Sequence[str], read: Read) -> str:
    """`reactor / threads / pool-32`, up to the last arm of the cell; once where all are equal."""
    last = max((at for at, arm in enumerate(arms) if arm in one.outcomes), default=-1)
    texts = [_read(one, arm, read) for arm in arms[: last + 1]]
    alike = len(set(texts)) == 1 and not texts[0][:1].isdigit()
    return texts[0] if alike else " / ".join(texts) or NOTHING


def _read(one: Measured, arm: str, read: Read) -> str:
    outcome = one.arm(arm)
    if not outcome.measured:
        return "failed" if outcome.failures else NOTHING
    return read(outcome)


def _cpu(outcome: ArmOutcome) -> str:
    cpu = outcome.median("cpu_us")
    return number(cpu) + (DAGGER if cpu is not None and outcome.generator_bound else "")


def _rate(outcome: ArmOutcome) -> str:
    if outcome.recorded("rate") and outcome.generator_bound:
        return BOUND
    return number(outcome.median("rate"))


def _tail(outcome: ArmOutcome, name: str, share: float) -> str:
    if name in outcome.latencies and outcome.generator_bound:
        return BOUND
    if outcome.partly_served(name):
        return partly(outcome.served)
    return milliseconds(outcome.percentile(name, share))


def _beside(outcome: ArmOutcome) -> str:
    return "out of service" if outcome.out_of_service else _tail(outcome, BYSTANDER, 0.99)


def _memory(outcome: ArmOutcome) -> str:
    """The memory of one connection, without the kernel's sockets."""
    return size(outcome.memory_each())


def _wrong(outcome: ArmOutcome) -> str:
    found = [outcome.errors, outcome.total("refused")]
    known = [count for count in found if count is not None]
    exact = outcome.served is None or outcome.served.exact or not outcome.unserved
    return most(sum(known), exact) if known else NOTHING


def _served(outcome: ArmOutcome) -> str:
    return served_text(outcome.served)


def _p99(outcome: ArmOutcome) -> str:
    return _tail(outcome, outcome.latency, 0.99)


HEADLINE: Final = (
    Row("64 clients of a handler that blocks for 20 ms", "block-64", _rate, " requests/s"),
    Row("1,000 listeners of events: p99 of how late one is", "events-1000", _p99, " ms"),
    Row("64 keep-alive connections: CPU per request", "keepalive-64", _cpu, " µs"),
    Row("4,096 keep-alive connections: p99", "keepalive-4096", _p99, " ms"),
    Row("10,000 idle connections: memory of one", "idle-10000", _memory),
)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown: the first column aligned to the left, the others to the right."""
    rule = ["---", *("--:" for _ in heads[1:])]
    lines = [heads, rule, *([_escaped(field) for field in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """The text on one line, without ending its field or becoming HTML."""
    text = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("&", "&amp;").replace("<", "&lt;")
