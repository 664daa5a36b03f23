"""The latency of a client beside the load: a row for each cell, a column for each server.

The colour shows the logarithm of the bystander's p99; the number is in each field as well, since a
colour cannot be read to a digit. Where the bystander was not served the field is the darkest and
says "out of service". A field is empty where nothing was measured.
"""

from math import log10
from typing import Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from loadtest.experiment.measure.samples import BYSTANDER
from loadtest.experiment.report import svg
from loadtest.experiment.report.formatting import BOUND, NOTHING, PARTLY, milliseconds
from loadtest.experiment.report.summary import ArmOutcome, Measured, Summary
from loadtest.experiment.report.svg import Plot, drawn_arms, finished, paper

TITLE: Final = "Latency of bystanders"
FASTEST: Final = 0.3  # ms: the lightest
SLOWEST: Final = 3000.0  # ms: the darkest
MAP: Final = "YlOrBr"  # steadily darker, so that it can be read without its hue
LIGHT, DARK = "#ffffff", "#16181b"
LOST: Final = "#2b1410"
ROW: Final = 0.235  # inches
COLUMN: Final = 1.1  # inches
LETTER: Final = 0.072  # inches, of a title


def heatmap(summary: Summary) -> Plot:
    """The plot; empty where no bystander was measured."""
    rows = [one for one in summary.cells if any(map(_probed, one.outcomes.values()))]
    arms = [arm for arm in drawn_arms(summary) if any(_probed(one.arm(arm)) for one in rows)]
    if not rows:
        return Plot("bystander", TITLE)
    titles = LETTER * max(len(one.cell.title) for one in rows)
    width = max(svg.WIDTH, titles + COLUMN * len(arms))
    with paper(0.6 + ROW * len(rows), width) as figure:
        axes = figure.subplots()
        _frame(axes, rows, arms)
        for down, one in enumerate(rows):
            for across, arm in enumerate(arms):
                _field(axes, across, down, one.arm(arm))
        return finished(figure, "bystander", TITLE, _caption(rows, arms))


def _probed(outcome: ArmOutcome) -> bool:
    return BYSTANDER in outcome.latencies


def _frame(axes: Axes, rows: list[Measured], arms: list[str]) -> None:
    axes.set_xlim(0, len(arms))
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([down + 0.5 for down in range(len(rows))])
    axes.set_yticklabels([one.cell.title for one in rows], fontsize=8.5)
    axes.set_xticks([across + 0.5 for across in range(len(arms))])
    axes.set_xticklabels(arms, fontweight="bold", fontsize=8.5)
    axes.xaxis.tick_top()
    for label, arm in zip(axes.get_xticklabels(), arms, strict=True):
        label.set_color(svg.colour_of(arm))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _field(axes: Axes, across: int, down: int, outcome: ArmOutcome) -> None:
    text, colour, ink = _look(outcome)
    if not text:
        return
    field = Rectangle(
        (across + 0.01, down + 0.04), 0.98, 0.92, facecolor=colour or "none", edgecolor="none"
    )
    axes.add_patch(field)
    middle = (across + 0.5, down + 0.52)
    axes.text(*middle, text, ha="center", va="center", color=ink, fontsize=8)


def _look(outcome: ArmOutcome) -> tuple[str, str, str]:
    """Text, colour of the field, colour of the text."""
    if not _probed(outcome):
        return ("failed", "", svg.FAINT) if outcome.failures else ("", "", "")
    if outcome.out_of_service:
        return "out of service", LOST, LIGHT
    if outcome.generator_bound:
        return BOUND, "", svg.FAINT
    if outcome.partly_served(BYSTANDER):
        return PARTLY, "", svg.FAINT
    p99 = outcome.bystander()
    if p99 is None:
        return NOTHING, "", svg.FAINT
    part = (log10(max(p99 * 1000, 1e-3)) - log10(FASTEST)) / (log10(SLOWEST) - log10(FASTEST))
    part = min(1.0, max(0.0, part))
    colour = matplotlib.colors.to_hex(matplotlib.colormaps[MAP](part))
    return milliseconds(p99), colour, LIGHT if part > 0.66 else DARK


def _caption(rows: list[Measured], arms: list[str]) -> str:
    lost = [sum(one.arm(arm).out_of_service for one in rows) for arm in arms]
    counts = ", ".join(f"{arm} in {count}" for arm, count in zip(arms, lost, strict=True))
    return (
        "p99 in ms of a client that sends a small request every 10 ms beside the load, in turn on "
        "a keep-alive connection and on a new one, timed from when the request was due; darker is "
        "slower, on a logarithmic scale. A server is out of service where a quarter of these "
        f"requests got no response within a second. Cells out of service: {counts}."
    )
