"""Numbers as text: medians, percentiles, spreads, verdicts and tables.

A figure is a list of values, one a run. It is printed as its median with the least and the largest
beside it, because a median alone hides how far it can be trusted. It is judged by its median. A
percentile is the nearest rank: always a value that was measured.
"""

from collections.abc import Sequence
from math import ceil
from statistics import median


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed; NaN without values."""
    if not values:
        return float("nan")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """`median (least-largest)`; a single value alone; a dash without values."""
    if not values:
        return "-"
    middle = f"{median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def verdict(values: Sequence[float], most: float) -> str:
    """`met` where the median is `most` or less, `NOT MET` where it is more."""
    if not values:
        return "not measured"
    return "met" if median(values) <= most else "NOT MET"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of text; the first column is aligned to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def aligned(line: Sequence[str]) -> str:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        return "  ".join([line[0].ljust(widths[0]), *cells[1:]]).rstrip()

    return "\n".join(
        [aligned(header), "  ".join("-" * width for width in widths), *map(aligned, rows)]
    )
