"""Numbers as text: three significant digits, a dash for a missing value."""

from collections.abc import Callable
from math import floor, isfinite
from typing import Final, TypeAlias

from loadtest.experiment.measure.served import Served
from loadtest.experiment.report.summary import Spread

NOTHING: Final = "–"
BOUND: Final = "generator-bound"
DAGGER: Final = "†"  # marks a CPU time whose generator was at its limit
PARTLY: Final = "partly served"
UNSERVED: Final = "not served"
UNITS: Final = ("B", "KiB", "MiB", "GiB")
Form: TypeAlias = Callable[[float], str]

NAMES: Final = {
    "reactor": "the reactor",
    "threads": "the threaded server",
    "pool-32": "the pool of 32 threads",
    "threads-0.5ms": "the threaded server with a switch interval of 0.5 ms",
}


def name_of(arm: str) -> str:
    """The name of an arm within a sentence."""
    return NAMES.get(arm, arm)


def number(value: float | None) -> str:
    if value is None or not isfinite(value):
        return NOTHING
    size = abs(value)
    if size >= 99.95 or value == int(value):
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def milliseconds(seconds: float | None) -> str:
    """Milliseconds without the unit, for a column that has it in its head."""
    return NOTHING if seconds is None else number(seconds * 1000)


def duration(seconds: float | None) -> str:
    if seconds is None or not isfinite(seconds):
        return NOTHING
    return f"{number(seconds)} s" if seconds >= 1.0 else f"{number(seconds * 1000)} ms"


def percent(share: float | None) -> str:
    return NOTHING if share is None else f"{number(share * 100)} %"


def served_text(served: Served | None) -> str:
    """The share of served clients; `≥` where it is a lower bound, and 99.9 % of nearly all."""
    if served is None:
        return NOTHING
    text = percent(served.share)
    if served.share < 1.0 and text == percent(1.0):
        text = f"{floor(served.share * 1000) / 10} %"
    return text if served.exact else f"≥ {text}"


def partly(served: Served | None) -> str:
    """The text in place of a latency of too few clients."""
    return UNSERVED if served is not None and not served.share else PARTLY


def most(count: float | None, exact: bool) -> str:
    """A count; `≤` where it may be less."""
    return number(count) if exact or not count else f"≤ {number(count)}"


def times(ratio: float) -> str:
    return f"{ratio:,.1f} ×" if ratio < 10 else f"{ratio:,.0f} ×"


def size(count: float | None) -> str:
    if count is None:
        return NOTHING
    power = 0
    while abs(count) >= 1024 and power < len(UNITS) - 1:
        count, power = count / 1024, power + 1
    return f"{number(count)} {UNITS[power]}"


def spread(values: Spread | None, form: Form = number) -> str:
    """`median (least–most)`; the median alone where all rounds have the same text."""
    if values is None:
        return NOTHING
    ends = limits(values, form)
    return form(values.median) + (f" ({ends})" if ends else "")


def limits(values: Spread | None, form: Form = number) -> str:
    """`least–most`; empty where both have the same text."""
    if values is None or form(values.least) == form(values.most):
        return ""
    return f"{form(values.least)}–{form(values.most)}"


def counted(count: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(parts: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
