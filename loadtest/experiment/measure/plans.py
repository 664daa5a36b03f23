"""The three plans: which workloads, at which sizes, for which arms.

A cell has the arms that can do its workload. The duration of a sample is known from its workload,
so the duration of a plan is known before it begins. The order is that of the report: cells in which
the reactor loses come first.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadtest.experiment.measure.arms import ARMS, PEERS, QUICK_THREADS
from loadtest.experiment.measure.samples import OURS, POOL, THREADS, Cell
from loadtest.experiment.measure.workloads import WORKLOADS, Workload

BOTH: Final = (OURS, THREADS)
ALL: Final = (OURS, THREADS, POOL)
PEERED: Final = (*ALL, *PEERS)
OVERHEAD_SECONDS: Final = 2.2  # for start, warm-up, bystander and stop of a sample


@dataclass(frozen=True)
class Planned:
    """A cell, and how it is measured."""

    cell: Cell
    workload: Workload

    def among(self, arms: Container[str]) -> "Planned":
        """The same cell with those of its arms that are in `arms`."""
        having = [arm for arm in self.cell.arms if arm in arms]
        return replace(self, cell=replace(self.cell, arms=having))

    def expected(self, seconds: float) -> float:
        """Seconds of a sample with a window of `seconds`."""
        return OVERHEAD_SECONDS + self.workload.expected(seconds, self.cell.x)


def _planned(workload: str, *sizes: float, arms: Sequence[str] = BOTH) -> list[Planned]:
    kind = WORKLOADS[workload]
    return [
        Planned(
            Cell(
                name=f"{workload}-{kind.label(x)}",
                workload=workload,
                x=x,
                title=kind.title(x),
                arms=list(arms),
                unit=kind.unit,
            ),
            kind,
        )
        for x in sizes
    ]


FULL: Final = [
    *_planned("block", 64, arms=ALL),
    *_planned("burn", 5, 50, 200, arms=(*BOTH, QUICK_THREADS)),
    *_planned("mix", 500, 1000, 2000, 4000, arms=ALL),
    *_planned("keepalive", 1, 8, arms=ALL),
    *_planned("keepalive", 64, 512, arms=(*ALL, QUICK_THREADS, *PEERS)),
    *_planned("keepalive", 4096, 10_000),
    *_planned("fairness", 4096, arms=ALL),
    *_planned("open", 20, 50, 80, 100, 120),
    *_planned("connect", 64, arms=PEERED),
    *_planned("idle", 0, 100),
    *_planned("idle", 1000, arms=(*BOTH, *PEERS)),
    *_planned("idle", 10_000),
    *_planned("slow-readers", 50),
    *_planned("slow-readers", 500, arms=ALL),
    *_planned("slow-readers", 4000),
    *_planned("slow-heads", 500, arms=ALL),
    *_planned("slow-heads", 4000),
    *_planned("files", 1024, 100 * 1024, 100 * 1024 * 1024),
    *_planned("gzip", 16),
    *_planned("pipelining", 16),
    *_planned("burst", 5000, arms=ALL),
    *_planned("overload", 200),
    *_planned("events", 1000),
]

_BY_NAME: Final = {planned.cell.name: planned for planned in FULL}


def narrowed(plan: Sequence[Planned], names: Sequence[str], arms: Sequence[str]) -> list[Planned]:
    """The plan with the named cells and arms alone; all of them where none is named.

    A named cell that is not in the plan is taken from the full one. A cell without any of the arms
    is left out.
    """
    chosen = [_BY_NAME[name] for name in names] if names else list(plan)
    return [left for one in chosen if (left := one.among(arms or ARMS)).cell.arms]


QUICK: Final = narrowed(
    FULL,
    ["block-64", "mix-1000", "keepalive-64", "keepalive-4096", "idle-1000", "slow-readers-500"],
    BOTH,
)
BENCH: Final = narrowed(
    FULL,
    [
        "block-64",
        "burn-50",
        "mix-1000",
        "keepalive-8",
        "keepalive-64",
        "keepalive-4096",
        "open-80",
        "connect-64",
        "idle-1000",
        "slow-readers-500",
        "files-100k",
        "burst-5000",
    ],
    BOTH,
)
PLANS: Final = {"quick": QUICK, "bench": BENCH, "full": FULL}


def available(plan: Sequence[Planned]) -> tuple[list[Planned], dict[str, str]]:
    """The plan without the arms that are not installed, and what is missing for these.

    A cell without any other arm is left out.
    """
    lacking = {name: what for name, arm in ARMS.items() if (what := arm.missing())}
    left = narrowed(plan, (), [arm for arm in ARMS if arm not in lacking])
    used = {arm for planned in plan for arm in planned.cell.arms}
    return left, {arm: what for arm, what in lacking.items() if arm in used}


def expected_seconds(plan: Sequence[Planned], rounds: int, seconds: float) -> float:
    """The duration of a run."""
    return rounds * sum(planned.expected(seconds) * len(planned.cell.arms) for planned in plan)
