"""The tables of docs/performance.md: the mix first, then the other cells, losses before all.

The page is also read on phones, so a figure is one column and the arms are within it, divided by
slashes; and there are ROWS lines at most. Where there are more cells than lines, the workload with
the most cells loses one in its middle; the losses and the workloads of the plots keep theirs
longest.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from loadtest.experiment.measure.samples import BYSTANDER, OURS, POOL, THREADS
from loadtest.experiment.report.columns import DAGGER, DAGGER_SAYS
from loadtest.experiment.report.comparison import LOSSES
from loadtest.experiment.report.formatting import BOUND, NOTHING, milliseconds, number, size
from loadtest.experiment.report.summary import ArmOutcome, Measured, Summary

ROWS: Final = 35  # lines of both tables together, heads and rules among them
HEADS: Final = 4  # how many of those are heads and rules
ARMS: Final = (OURS, THREADS, POOL)
KEPT: Final = (*LOSSES, "keepalive")  # workloads
Read: TypeAlias = Callable[[ArmOutcome], str]


def markdown(summary: Summary) -> str:
    """The tables, with a sentence above each."""
    mix = summary.of("mix")
    others = fitting(summary, ROWS - HEADS - len(mix))
    parts = []
    if mix:
        parts += ["The locust mix, at the same offered rates:", _mix(mix)]
    if others:
        parts += [_introduction(others), _others(others)]
    if not parts:
        parts = ["Nothing was measured."]
    if any(DAGGER in part for part in parts):
        parts.append(DAGGER_SAYS)
    left = sum(one.cell.workload != "mix" for one in summary.cells) - len(others)
    if left:
        parts.append(f"{left} more cell{'s are' if left > 1 else ' is'} in the report.")
    return "\n\n".join(parts) + "\n"


def _introduction(cells: Sequence[Measured]) -> str:
    arms = " / ".join(_arms_of(cells))
    return f"Each column has {arms}; errors and refusals are sums over all rounds:"


def _arms_of(cells: Sequence[Measured]) -> list[str]:
    return [arm for arm in ARMS if any(arm in one.outcomes for one in cells)]


def fitting(summary: Summary, rows: int) -> list[Measured]:
    """The cells except the mix, losses first, at most `rows`."""
    cells = [one for one in summary.cells if one.cell.workload != "mix"]
    cells.sort(key=lambda one: one.cell.workload not in LOSSES)
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
        "p50 ms": lambda one: _tail(one, one.latency, 0.5),
        "p99 ms": lambda one: _tail(one, one.latency, 0.99),
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
        "p99 ms": lambda one: _tail(one, one.latency, 0.99),
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
    return milliseconds(outcome.percentile(name, share))


def _beside(outcome: ArmOutcome) -> str:
    return "out of service" if outcome.out_of_service else _tail(outcome, BYSTANDER, 0.99)


def _memory(outcome: ArmOutcome) -> str:
    """The memory of one connection, without the kernel's sockets."""
    memory = outcome.memory() if outcome.measured else None
    count = outcome.samples[0].x if outcome.samples else 0.0
    return NOTHING if memory is None or not count else size(memory / count)


def _wrong(outcome: ArmOutcome) -> str:
    found = [outcome.total("errors"), outcome.total("refused")]
    known = [count for count in found if count is not None]
    return number(sum(known)) if known else NOTHING


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown: the first column aligned to the left, the others to the right."""
    rule = ["---", *("--:" for _ in heads[1:])]
    lines = [heads, rule, *([_escaped(field) for field in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """The text on one line, without ending its field or becoming HTML."""
    text = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("&", "&amp;").replace("<", "&lt;")
