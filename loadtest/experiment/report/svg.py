"""Plots as SVG, whose bytes depend on the data alone, with text as text and our palette.

The date is left out and the salt of the ids is fixed, so a report that is made again has the same
bytes. A plot is drawn once and shown in two ways: as a file it has a light background, since the
page around it is unknown; within our page its colours become the page's variables, which also have
values for dark mode.

Colours are those of Okabe and Ito, which colour-blind readers can distinguish, darkened until
a text has a contrast of 4.5:1. Arms also differ in their markers and dashes, and lines are labelled
at their end.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from loadtest.experiment.report.formatting import number
from loadtest.experiment.report.summary import Summary

INK: Final = "#24292f"
FAINT: Final = "#626b75"
GRID: Final = "#d8dee4"
CARD: Final = "#fdfdfc"
COLOURS: Final = {
    "reactor": "#0072b2",
    "threads": "#b84c00",
    "pool-32": "#a8487c",
    "uvicorn": "#00785a",
    "nginx": "#1d74a5",
    "waitress": "#8f6000",
    "tornado": "#7a5195",
    "http.server": "#6d6d25",
}
MARKERS: Final = dict(zip(COLOURS, "os^DvPXh", strict=True))
DASHES: Final[dict[str, Any]] = {  # lengths of dash and gap, in line widths
    "threads": (0, (5, 1.5)),
    "pool-32": (0, (4, 1.5, 1, 1.5)),
}
OTHER: Final = "#6a6a6d"  # the colour of arms that are not in COLOURS
# The page's variable for each colour; it has a lighter value for dark mode.
VARIABLES: Final = {INK: "ink", FAINT: "faint", GRID: "grid", CARD: "card", OTHER: "arm-other"} | {
    colour: f"arm-{arm.replace('.', '-')}" for arm, colour in COLOURS.items()
}

WIDTH: Final = 4.8  # inches; a phone shows a wider one with illegible labels
HEIGHT: Final = 3.3
SMALL: Final = 8.5  # points, of a label within a plot
LINE: Final = 12.5  # points from one label to the next
FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
STYLE: Final[Any] = {  # matplotlib's types want every key to be a literal
    "svg.fonttype": "none",
    "svg.hashsalt": "reactor",
    "font.family": ["DejaVu Sans"],  # it comes with matplotlib: the same metrics everywhere
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "figure.facecolor": CARD,
    "axes.facecolor": "none",
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "path.simplify": False,
    "text.parse_math": False,  # a dollar in a title is a dollar
}


@dataclass(frozen=True)
class Plot:
    """A drawn plot."""

    name: str  # as in "cpu", whose file is cpu.svg
    title: str
    caption: str = ""
    svg: str = ""  # empty where there was nothing to draw

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.svg"

    def inline(self) -> str:
        """The SVG within an HTML page: with the page's colours, and ids that no other plot has."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)  # the page decides it
        svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
        svg = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\g<1>{self.name}-", svg)
        svg = re.sub(r'aria-labelledby="', rf'aria-labelledby="{self.name}-', svg)
        for colour, name in VARIABLES.items():
            svg = svg.replace(colour, f"var(--{name})")
        return svg


@contextmanager
def paper(height: float = HEIGHT, width: float = WIDTH) -> Iterator[Figure]:
    """An empty figure in our style; sizes are in inches."""
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def finished(figure: Figure, name: str, title: str, caption: str) -> Plot:
    """The Plot of a figure; to be called within the block of `paper`, whose style it needs."""
    file = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=metadata)
    return Plot(name, title, caption, _described(file.getvalue(), title, caption))


def _described(svg: str, title: str, caption: str) -> str:
    """The SVG with title and description for screen readers, and the reader's system fonts."""
    svg = re.sub(r"'DejaVu Sans'", FONTS, svg)
    svg = svg.replace("<svg ", '<svg role="img" aria-labelledby="title description" ', 1)
    names = f'<title id="title">{_escaped(title)}</title>'
    names += f'<desc id="description">{_escaped(caption)}</desc>'
    end = svg.index(">", svg.index("<svg ")) + 1
    return f"{svg[:end]}\n {names}{svg[end:]}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def colour_of(arm: str) -> str:
    """The colour of an arm."""
    return COLOURS.get(arm, OTHER)


def marker_of(arm: str) -> str:
    """The marker of an arm."""
    return MARKERS.get(arm, ".")


def dashes_of(arm: str) -> Any:
    """The dashes of an arm's line; solid for most."""
    return DASHES.get(arm, "-")


def drawn_arms(summary: Summary) -> list[str]:
    """The arms in the order of the palette, other ones last."""
    known = [arm for arm in COLOURS if arm in summary.arms]
    return known + [arm for arm in summary.arms if arm not in COLOURS]


def label_ends(axes: Axes, figure: Figure, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write the names of lines to the right of their last points, without overlaps.

    An end is x, y, text, colour. The axes must have their final limits.
    """
    figure.draw_without_rendering()
    points = 72.0 / figure.dpi
    placed = sorted(
        (*(axes.transData.transform((x, y)) * points), x, y, text, colour)
        for x, y, text, colour in ends
    )
    placed.sort(key=lambda one: float(one[1]))
    lowest = float("-inf")
    for _, height, x, y, text, colour in placed:
        at = max(float(height), lowest + LINE)
        lowest = at
        axes.annotate(
            text,
            (x, y),
            (8, at - float(height)),
            textcoords="offset points",
            color=colour,
            va="center",
            fontweight="bold",
            annotation_clip=False,
            bbox={"facecolor": CARD, "edgecolor": "none", "pad": 0.5},
        )


def plain_ticks(axis: Any) -> None:
    """Label ticks as 1,000 instead of 10³, and draw no minor ticks."""
    axis.set_major_formatter(lambda value, _: number(value))
    axis.set_minor_locator(NullLocator())
