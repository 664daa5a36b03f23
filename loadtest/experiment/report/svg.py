"""Paper for plots: SVG whose bytes depend on the data alone, whose text is text, in our palette.

What would differ from run to run is left out (the date) or fixed (the salt of the ids), so a report
that is made again is the same file. A plot is drawn once and shown in two ways: as a file of its
own it lies on a light card, since nobody knows on which page it will be put; within our page its
colours become the page's variables, and follow it into the dark.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; arms differ in their
markers as well, and lines are labelled at their end, where the eye is anyway.
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
FAINT: Final = "#6e7781"
GRID: Final = "#d8dee4"
CARD: Final = "#fdfdfc"
COLOURS: Final = {
    "reactor": "#0072b2",
    "threads": "#d55e00",
    "pool-32": "#cc79a7",
    "uvicorn": "#009e73",
    "nginx": "#56b4e9",
    "waitress": "#e69f00",
    "tornado": "#7a5195",
    "http.server": "#8c8c3b",
}
MARKERS: Final = dict(zip(COLOURS, "os^DvPXh", strict=True))
OTHER: Final = "#77777a"  # an arm that we have no colour for
# What each colour is called in the page, which has a lighter one for the dark.
VARIABLES: Final = {INK: "ink", FAINT: "faint", GRID: "grid", CARD: "card"} | {
    colour: f"arm-{arm.replace('.', '-')}" for arm, colour in COLOURS.items()
}

WIDTH: Final = 6.3  # inches
HEIGHT: Final = 3.7
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
    name: str  # cpu: the file is cpu.svg
    title: str
    caption: str = ""  # what is to be seen in it
    svg: str = ""  # empty where there was nothing to draw

    @property
    def file(self) -> str:
        return f"{self.name}.svg"

    def inline(self) -> str:
        """For an HTML page: with the page's colours, and ids that no other plot has."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
        svg = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\g<1>{self.name}-", svg)
        svg = re.sub(r'aria-labelledby="', rf'aria-labelledby="{self.name}-', svg)
        for colour, name in VARIABLES.items():
            svg = svg.replace(colour, f"var(--{name})")
        return svg


@contextmanager
def paper(height: float = HEIGHT, width: float = WIDTH) -> Iterator[Figure]:
    """A figure to draw on, in our style."""
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def finished(figure: Figure, name: str, title: str, caption: str) -> Plot:
    """To be called while the paper's style is in force."""
    file = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=metadata)
    return Plot(name, title, caption, _described(file.getvalue(), title, caption))


def _described(svg: str, title: str, caption: str) -> str:
    """With a name for those who do not see it, and fonts of the reader's system."""
    svg = re.sub(r"'DejaVu Sans'", FONTS, svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace("<svg ", '<svg role="img" aria-labelledby="title description" ', 1)
    names = f'<title id="title">{_escaped(title)}</title>'
    names += f'<desc id="description">{_escaped(caption)}</desc>'
    end = svg.index(">", svg.index("<svg ")) + 1
    return f"{svg[:end]}\n {names}{svg[end:]}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def colour_of(arm: str) -> str:
    return COLOURS.get(arm, OTHER)


def marker_of(arm: str) -> str:
    return MARKERS.get(arm, ".")


def drawn_arms(summary: Summary) -> list[str]:
    """In the order of the palette, those unknown to it last."""
    known = [arm for arm in COLOURS if arm in summary.arms]
    return known + [arm for arm in summary.arms if arm not in COLOURS]


def label_ends(axes: Axes, figure: Figure, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Name lines at their last point, to its right, and push names apart that would touch.

    An end is x, y, text, colour. The axes must have their limits.
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
    """1,000 rather than 10³, and no ticks between."""
    axis.set_major_formatter(lambda value, _: number(value))
    axis.set_minor_locator(NullLocator())
