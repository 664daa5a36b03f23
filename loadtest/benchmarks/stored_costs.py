"""The stored costs of a request: what the code of this commit may cost.

A figure holds for the Python that counted it, by kind: instructions depend on the version, the
compiler and the processor's architecture, bytecodes on the minor version alone. So the file has
figures for each Python that has been used. Two builds may have one name; the raw loop, which no
change of the server touches, shows whether this is the build of the file.

A change is mostly counted with one Python. Its factor then changes the figures of the others too,
and these are `estimated` until they are counted: two builds agree on the factor of a change far
better than on the figure itself.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("stored_costs.json")
FLOOR: Final = "raw"  # the workload of the raw loop
INSTRUCTIONS: Final = "instructions"
BYTECODES: Final = "bytecodes"
LEEWAY: Final = 0.02  # the share by which a workload may cost more than is stored
LEEWAY_ESTIMATED: Final = 0.05
SAME: Final = 0.01  # the raw loop costs as much in two countings of one build, within this share
NO_CHANGE: Final = 0.003  # a smaller share is no change, for other Pythons

Figures = Mapping[str, int]  # per request, by workload


@dataclass(frozen=True)
class Costs:
    """The figures of one Python."""

    figures: Figures
    estimated: bool = False

    @property
    def leeway(self) -> float:
        """The share by which a workload may cost more."""
        return LEEWAY_ESTIMATED if self.estimated else LEEWAY


def python(kind: str) -> str:
    """The Python that runs, as far as it decides about figures of this kind."""
    name, version = platform.python_implementation(), platform.python_version_tuple()
    if kind == BYTECODES:
        return f"{name} {version[0]}.{version[1]}"
    return f"{name} {'.'.join(version)}, {platform.python_compiler()}, {platform.machine()}"


def load(kind: str) -> dict[str, Costs]:
    """The costs of this kind by Python."""
    content = json.loads(FILE.read_text()) if FILE.exists() else {}
    return {name: Costs(**costs) for name, costs in content.get(kind, {}).items()}


def store(kind: str, figures: Figures) -> None:
    """Store the figures of this Python, and estimate those of the others by the same change."""
    content = json.loads(FILE.read_text()) if FILE.exists() else {}
    costs = changed(load(kind), python(kind), figures)
    content[kind] = {name: asdict(one) for name, one in sorted(costs.items())}
    FILE.write_text(json.dumps(dict(sorted(content.items())), indent=1) + "\n")


def changed(costs: Mapping[str, Costs], name: str, figures: Figures) -> dict[str, Costs]:
    """The costs of every Python, after the one of this name has counted these figures."""
    old = costs.get(name, Costs({}))
    counted = {**old.figures, **figures}
    # A figure that is not counted now stays an estimate.
    estimated = old.estimated and not figures.keys() >= old.figures.keys()
    factors = {
        workload: figure / old.figures[workload]
        for workload, figure in figures.items()
        if workload in old.figures and same_build(old.figures, figures)
    }
    factors = {one: factor for one, factor in factors.items() if abs(factor - 1) > NO_CHANGE}
    return {
        **{other: estimate(one, factors) for other, one in costs.items()},
        name: Costs(counted, estimated),
    }


def estimate(costs: Costs, factors: Mapping[str, float]) -> Costs:
    """The costs after a change that another Python has counted."""
    figures = {
        workload: round(figure * factors.get(workload, 1.0))
        for workload, figure in costs.figures.items()
    }
    return Costs(figures, True) if factors else replace(costs, figures=figures)


def same_build(old: Figures, now: Figures) -> bool:
    """Whether the raw loop costs the same; True where one of them lacks it."""
    if FLOOR not in old or FLOOR not in now:
        return True
    return abs(now[FLOOR] - old[FLOOR]) <= SAME * old[FLOOR]


def complaints(costs: Costs, now: Figures) -> list[str]:
    """A sentence for each workload that costs more than is stored and allowed."""
    return [
        f"{workload} costs {now[workload]:,}, {now[workload] / figure - 1:.1%} more than "
        f"the stored {figure:,}; at most {costs.leeway:.0%} more is accepted"
        for workload, figure in costs.figures.items()
        if workload in now and now[workload] > figure * (1 + costs.leeway)
    ]


def gains(costs: Costs, now: Figures) -> list[str]:
    """A sentence for each workload that costs less by so much."""
    return [
        f"{workload} costs {now[workload]:,}, {1 - now[workload] / figure:.1%} less than "
        f"the stored {figure:,}"
        for workload, figure in costs.figures.items()
        if workload in now and now[workload] < figure * (1 - costs.leeway)
    ]


def not_comparable(kind: str, costs: Mapping[str, Costs], now: Figures) -> str | None:
    """A sentence that says why the stored figures say nothing about this Python; None if they do.

    `now` may be empty, before anything has been counted.
    """
    name = python(kind)
    if name not in costs:
        return f"no {kind} of {name} are stored, only of {'; '.join(costs) or 'no Python'}"
    if now and not same_build(costs[name].figures, now):
        return (
            f"this {name} is not the build of the stored {kind}: its raw loop costs "
            f"{now[FLOOR]:,} instead of {costs[name].figures[FLOOR]:,}"
        )
    return None
