"""Lines of arms against a number, told apart by marker, dashes and a label at their end.

A point is hollow where it is not certain that 99 % of the clients were served: its figure is that
of the others only. Its label is the share that was served, and the line to it is dotted.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from loadtest.experiment.measure.samples import OURS, POOL, THREADS
from loadtest.experiment.report import svg
from loadtest.experiment.report.comparison import Reading
from loadtest.experiment.report.formatting import served_text
from loadtest.experiment.report.summary import ArmOutcome, Measured, Summary
from loadtest.experiment.report.svg import colour_of, drawn_arms

ARMS: Final = (OURS, THREADS, POOL)  # a plot of all arms would be a knot


class Point(NamedTuple):
    """A figure of an arm at one x."""

    x: float
    y: float
    hollow: str = ""  # the share of clients that were served, where it is too small


Lines: TypeAlias = Mapping[str, Sequence[Point]]


def arms_of_lines(summary: Summary) -> list[str]:
    """The arms that plots with lines have: ARMS, or all where none of these was measured."""
    drawn = drawn_arms(summary)
    return [arm for arm in drawn if arm in ARMS] or drawn


def lines_of(summary: Summary, cells: Sequence[Measured], read: Reading) -> dict[str, list[Point]]:
    """The points of each arm that has any; a figure that is not positive has no point."""
    found = {arm: _points(cells, arm, read) for arm in arms_of_lines(summary)}
    return {arm: line for arm, line in found.items() if line}


def _points(cells: Sequence[Measured], arm: str, read: Reading) -> list[Point]:
    found = ((one.cell.x, read(one.arm(arm)), one.arm(arm)) for one in cells)
    return [Point(x, y, _hollow(outcome)) for x, y, outcome in found if y is not None and x > 0 < y]


def _hollow(outcome: ArmOutcome) -> str:
    few = outcome.served is not None and not outcome.served.enough
    return served_text(outcome.served) if few else ""


def draw(axes: Axes, figure: Figure, lines: Lines) -> None:
    """Draw the lines into axes whose scales are set."""
    if axes.get_yscale() == "log":
        _tick(axes, [one.y for line in lines.values() for one in line])
    for arm, line in lines.items():
        _line(axes, arm, line)
    ends = [(*line[-1][:2], arm, colour_of(arm)) for arm, line in lines.items()]
    svg.label_ends(axes, figure, ends)


def _line(axes: Axes, arm: str, line: Sequence[Point]) -> None:
    colour, marker = colour_of(arm), svg.marker_of(arm)
    for before, after in pairwise(line):
        style = (
            {"linestyle": (0, (1, 2)), "linewidth": 1.2} if after.hollow or before.hollow else {}
        )
        across, up = zip(before[:2], after[:2], strict=True)
        axes.plot(across, up, color=colour, **{"linestyle": svg.dashes_of(arm), **style})
    for one in line:
        face = svg.CARD if one.hollow else colour
        axes.plot(
            [one.x], [one.y], color=colour, marker=marker, markerfacecolor=face, linestyle="none"
        )
        if one.hollow:
            axes.annotate(
                one.hollow,
                one[:2],
                (4, 6),  # above and to the left, since the names of the lines are on the right
                textcoords="offset points",
                ha="right",
                va="bottom",
                color=svg.INK,
                fontsize=svg.SMALL,
            )


def _tick(axes: Axes, heights: Sequence[float]) -> None:
    """Add ticks between the decades, where there are few decades."""
    ratio = max(heights) / min(heights)
    if ratio < 100:
        steps = (1, 2, 3, 4, 5, 6, 8) if ratio < 10 else (1, 2, 5)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        svg.plain_ticks(axes.yaxis)
