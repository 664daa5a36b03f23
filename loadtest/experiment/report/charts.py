"""The six plots of the report, each with a caption that states its result.

Each function returns a Plot, which is empty where there is nothing to draw. Points of an arm whose
generator was the limit are left out of rates and latencies, as everywhere in the report.
"""

from collections.abc import Sequence
from math import log10
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from loadtest.experiment.measure.samples import INTENDED, OURS, SERVICE, THREADS
from loadtest.experiment.report import svg
from loadtest.experiment.report.comparison import (
    Points,
    Reading,
    crossing_words,
    crossings,
    rounded,
)
from loadtest.experiment.report.formatting import duration, name_of, number, size
from loadtest.experiment.report.heatmap import heatmap
from loadtest.experiment.report.lines import Lines, Point, arms_of_lines, draw, lines_of
from loadtest.experiment.report.summary import MEMORY, Measured, Summary, known
from loadtest.experiment.report.svg import Plot, colour_of, drawn_arms, finished, paper

MIB: Final = 1024 * 1024
WHAT_LINES_SHOW: Final = {
    "cpu": "CPU time of the server for one request; lower is better.",
    "p99": "The time that 99 of 100 responses do not exceed; lower is better.",
}
HOLLOW_SAYS: Final = "Hollow points: less than 99 % of the connections were certainly served."
TIGHT: Final = 80.0  # % of capacity at which there are queues that do not grow without end
NINES: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
PARTS: Final = {
    "process_bytes": ("process", "#0072b2", ""),
    "stacks_bytes": ("thread stacks", "#e69f00", "//"),
    "tables_bytes": ("page tables", "#cc79a7", "xx"),
    "sockets_bytes": ("kernel sockets, both ends", "#56b4e9", ".."),
}


def charts(summary: Summary) -> list[Plot]:
    """All plots, in the order of the page."""
    return [
        cpu(summary),
        p99(summary),
        memory(summary),
        latency(summary),
        throughput(summary),
        heatmap(summary),
    ]


def cpu(summary: Summary) -> Plot:
    """CPU per request against the number of keep-alive connections."""
    title = "CPU per request against connections"
    ways = ("cheaper", "more expensive")
    return _against_connections(
        summary, "cpu", title, "µs of CPU", lambda one: one.median("cpu_us"), ways
    )


def p99(summary: Summary) -> Plot:
    """p99 against the number of keep-alive connections."""
    title = "p99 against connections"
    ways = ("faster", "slower")
    return _against_connections(
        summary, "p99", title, "p99, ms", lambda one: _ms(one.recorded_tail()), ways
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _against_connections(
    summary: Summary, name: str, title: str, unit: str, read: Reading, ways: tuple[str, str]
) -> Plot:
    """`ways` says what the reactor is where its line is below the other, and where it is above."""
    cells = summary.of("keepalive")
    lines = lines_of(summary, cells, read)
    if not lines:
        return Plot(name, title)
    ours, theirs = (_compared(lines.get(arm, []), name) for arm in (OURS, THREADS))
    caption = (
        f"{WHAT_LINES_SHOW[name]} The load is a closed loop. "
        f"Compared with the threaded server the reactor is {crossing_words(ours, theirs, *ways)}."
    )
    with paper() as figure:
        axes = figure.subplots()
        _log_log(axes, "connections", unit)
        draw(axes, figure, lines)
        for one in crossings(ours, theirs):
            _ring(axes, one.x, one.y)
        return finished(figure, name, title, caption + _caveats(cells, lines))


def _compared(line: Sequence[Point], name: str) -> Points:
    """The points that are compared; a latency of few clients is not."""
    return [one[:2] for one in line if name == "cpu" or not one.hollow]


def _caveats(cells: Sequence[Measured], lines: Lines) -> str:
    """Sentences about points that are hollow or missing."""
    text = ""
    if any(one.hollow for line in lines.values() for one in line):
        text = f" {HOLLOW_SAYS}"
    outcomes = [one.arm(arm) for one in cells for arm in lines]
    if any(one.measured and one.served and not one.served.share for one in outcomes):
        text += " A point is missing where no connection got a response."
    if any(one.generator_bound for one in outcomes):
        text += " Points where the generator was the limit are left out."
    return text


def _log_log(axes: Axes, across: str, up: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(across)
    axes.set_title(up, loc="left", fontsize=9.5)
    for axis in (axes.xaxis, axes.yaxis):
        svg.plain_ticks(axis)


def _ring(axes: Axes, x: float, y: float) -> None:
    axes.plot([x], [y], marker="o", markersize=11, markerfacecolor="none", markeredgecolor=svg.INK)
    axes.annotate(
        f"crossing near {rounded(x)}",
        (x, y),
        (8, -12),  # below: shares of connections stand above their points
        textcoords="offset points",
        ha="left",
        va="top",
        color=svg.INK,
    )


def memory(summary: Summary) -> Plot:
    """Memory against the number of idle connections, in its parts."""
    title = "Memory against idle connections"
    cells = summary.of("idle")
    arms = [
        arm
        for arm in drawn_arms(summary)
        if any(one.cell.x > 0 and one.arm(arm).memory(MEMORY) is not None for one in cells)
    ]
    if not arms:
        return Plot("memory", title)
    measured = {arm: [one for one in cells if one.arm(arm).memory() is not None] for arm in arms}
    farthest = max(of_arm[-1].cell.x for of_arm in measured.values())
    drawn = [arm for arm in arms if measured[arm][-1].cell.x == farthest]  # the caption has all
    with paper(height=3.6) as figure:
        panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        for axes, arm in zip(panels, drawn, strict=True):
            _stack(axes, arm, measured[arm])
        totals = [_total(arm, measured[arm][-1]) for arm in arms]
        panels[0].set_ylim(0, (max(total for total, _ in totals) / MIB or 1.0) * 1.05)
        panels[0].set_ylabel("MiB")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        caption = "Memory above that of the idle server, its parts stacked: " + "; ".join(
            f"{name_of(arm)} {size(total)} at {number(most)} connections"
            for arm, (total, most) in zip(arms, totals, strict=True)
        )
        return finished(figure, "memory", title, f"{caption}.")


def _total(arm: str, one: Measured) -> tuple[float, float]:
    """The bytes of all parts, and at how many connections."""
    outcome = one.arm(arm)
    return sum(max(0.0, outcome.median(name) or 0.0) for name in PARTS), one.cell.x


def _stack(axes: Axes, arm: str, cells: Sequence[Measured]) -> None:
    """Draw the panel of one arm."""
    across = [0.0, *(one.cell.x for one in cells if one.cell.x > 0)]
    measured = [one.arm(arm) for one in cells if one.cell.x > 0]
    # The parts grow from 0; where memory was returned to the system, the part is 0.
    parts = [[0.0, *(max(0.0, one.median(name) or 0.0) for one in measured)] for name in PARTS]
    labels, colours, hatches = map(list, zip(*PARTS.values(), strict=True))
    areas = [[value / MIB for value in part] for part in parts]
    axes.stackplot(
        across,
        *areas,
        colors=colours,
        labels=labels,
        hatch=hatches,
        linewidth=0,
        edgecolor=svg.CARD,
    )
    axes.set_title(arm, loc="left", color=colour_of(arm), fontweight="bold", fontsize=9.5)
    axes.set_xlabel("idle connections")
    axes.set_xlim(0, across[-1])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: number(value))


def latency(summary: Summary) -> Plot:
    """The distribution of latencies in the open loop nearest to TIGHT."""
    title = "Latency distribution at a constant rate"
    cell = _tight(summary)
    if cell is None:
        return Plot("latency", title)
    with paper() as figure:
        axes = figure.subplots()
        axes.set_yscale("log")
        axes.set_title("ms", loc="left", fontsize=9.5)
        axes.set_xlabel("percentile")
        svg.plain_ticks(axes.yaxis)
        axes.set_xticks([_nines(one) for one in NINES])
        axes.set_xticklabels([f"{one * 100:g}" for one in NINES])
        axes.set_xlim(0, _nines(NINES[-1]))
        svg.label_ends(axes, figure, _distributions(axes, cell))
        return finished(figure, "latency", title, _distribution_words(cell))


def _nines(share: float) -> float:
    return -log10(1.0 - share)


def _tight(summary: Summary) -> Measured | None:
    """The open-loop cell nearest to TIGHT for which the reactor has a distribution."""
    cells = [one for one in summary.of("open") if one.arm(OURS).percentile(INTENDED, 0.9)]
    return min(cells, key=lambda one: abs(one.cell.x - TIGHT), default=None)


def _distributions(axes: Axes, cell: Measured) -> list[tuple[float, float, str, str]]:
    ends = []
    for arm in (OURS, THREADS):
        outcome = cell.arm(arm)
        for name, style in ((INTENDED, "-"), (SERVICE, ":")):
            hidden = outcome.generator_bound or outcome.partly_served(name)
            if hidden or name not in outcome.latencies:
                continue
            whole = outcome.latencies[name]
            shares = [share for share in _steps() if known(whole, share) is not None]
            up = [max(whole.percentile(share) * 1000, 1e-3) for share in shares]
            if shares:
                across = [_nines(share) for share in shares]
                marker = svg.marker_of(arm)
                axes.plot(across, up, style, color=colour_of(arm), marker=marker, markevery=16)
                ends.append((across[-1], up[-1], f"{arm}, {name}", colour_of(arm)))
    return ends


def _steps() -> list[float]:
    """The drawn shares: twenty to each nine, up to the last of NINES."""
    return [1.0 - 10 ** (-step / 20) for step in range(1, 81)]


def _distribution_words(cell: Measured) -> str:
    parts = []
    for arm in (OURS, THREADS):
        both = [cell.arm(arm).percentile(name, 0.99) for name in (INTENDED, SERVICE)]
        if both[0] is not None and both[1] is not None:
            parts.append(
                f"{name_of(arm)} has a p99 of {duration(both[0])} from when requests were due, "
                f"and of {duration(both[1])} from when they were sent"
            )
    text = "; ".join(parts) or "p99 is not known for both"
    return (
        f"At {number(cell.cell.x)} % of the reactor's capacity {text}. The gap between solid and "
        "dotted lines is the waiting that a closed loop does not measure."
    )


def throughput(summary: Summary) -> Plot:
    """Correct responses against offered requests, in open loops."""
    title = "Throughput against offered load"
    cells = summary.of("open")
    lines = {
        arm: [
            Point(offered, rate)
            for one in cells
            if (offered := one.arm(arm).median("offered")) is not None
            and (rate := one.arm(arm).median("rate")) is not None
        ]
        for arm in arms_of_lines(summary)
    }
    lines = {arm: line for arm, line in lines.items() if line}
    if not lines:
        return Plot("throughput", title)
    most = {name_of(arm): max(one.y for one in line) for arm, line in lines.items()}
    caption = (
        "Correct responses against requests that were due, per second; on the dashed line every "
        "request has its response. The largest rates: "
    ) + "; ".join(f"{arm} {number(rate)}" for arm, rate in most.items())
    with paper() as figure:
        axes = figure.subplots()
        end = max(one.x for line in lines.values() for one in line)
        axes.plot([0, end], [0, end], "--", color=svg.FAINT, linewidth=1)
        axes.set_xlabel("requests per second that were due")
        axes.set_title("correct responses per second", loc="left", fontsize=9.5)
        for axis in (axes.xaxis, axes.yaxis):
            svg.plain_ticks(axis)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        draw(axes, figure, lines)
        return finished(figure, "throughput", title, f"{caption}.")
