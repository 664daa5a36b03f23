"""How one fools oneself with load tests, each way with the number of this run that shows it.

A lesson is a title and a few sentences that hold of any run; what this run has to say about it is
found by a function, and is "" where it has nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadtest.experiment.measure.samples import GENERATOR_BOUND, INTENDED, SERVICE
from loadtest.experiment.report.formatting import duration, name_of, number, percent
from loadtest.experiment.report.summary import Measured, Outcome, Summary

FIRST_OF: Final = 0.98  # a share of connections that is not all of them


@dataclass(frozen=True)
class Lesson:
    title: str
    text: str
    here: Callable[[Summary], str]


def _omission(summary: Summary) -> str:
    found: list[tuple[float, Measured, Outcome, float, float]] = []
    for one, outcome in summary.outcomes:
        service, due = (outcome.percentile(name, 0.99) for name in (SERVICE, INTENDED))
        if service and due:
            found.append((due / service, one, outcome, service, due))
    if not found:
        return ""
    _, one, outcome, service, due = max(found, key=lambda each: each[0])
    return (
        f"{_place(one, outcome)}: p99 is {duration(service)} from the sending, and {duration(due)} "
        "from when the request was due."
    )


def _bound(summary: Summary) -> str:
    shares = [one.median("generator_share") for _, one in summary.outcomes if one.measured]
    known = [share for share in shares if share is not None]
    if not known:
        return ""
    count = sum(one.generator_bound for _, one in summary.outcomes)
    return (
        f"{count} of {len(known)} figures are generator-bound; the busiest generator took "
        f"{percent(max(known))} of its core."
    )


def _averages(summary: Summary) -> str:
    found: list[tuple[float, Measured, Outcome, float, float]] = []
    for one, outcome in summary.outcomes:
        rounds = outcome.of_rounds(outcome.latency, 0.99)
        merged = outcome.tail()
        if rounds and merged and len(rounds.values) > 1:
            mean = sum(rounds.values) / len(rounds.values)
            found.append((abs(mean / merged - 1), one, outcome, mean, merged))
    if not found:
        return ""
    off, one, outcome, mean, merged = max(found, key=lambda each: each[0])
    return (
        f"{_place(one, outcome)}: the rounds' p99 are {duration(mean)} on average, that of all "
        f"requests is {duration(merged)}; {percent(off)} off."
    )


def _cores(summary: Summary) -> str:
    cores = summary.run.machine.get("cores")
    if not isinstance(cores, int):
        return ""
    if cores < 2:
        return "This machine has one core, so this run fools you in just this way."
    return f"This machine has {cores} cores: the server has one and its clients another."


def _refused(summary: Summary) -> str:
    found = [(one.total("refused") or 0.0, cell, one) for cell, one in summary.outcomes]
    count, cell, one = max(found, key=lambda each: each[0], default=(0.0, None, None))
    if not count or cell is None or one is None:
        return "Nothing was refused in this run." if any(o.measured for _, _, o in found) else ""
    tail = one.tail()
    others = f", and p99 of the others is {duration(tail)}" if tail is not None else ""
    return f"{_place(cell, one)}: {number(count)} were refused{others}."


def _starved(summary: Summary) -> str:
    found = [
        (served, cell, one, p50)
        for cell, one in summary.outcomes
        if (served := one.median("served")) is not None
        and served < FIRST_OF
        and (p50 := one.tail(0.5)) is not None
    ]
    if not found:
        return ""
    served, cell, one, p50 = min(found, key=lambda each: each[0])
    return (
        f"{_place(cell, one)}: a median of {duration(p50)}, while {percent(1 - served)} of the "
        "connections had no answer at all."
    )


def _noise(summary: Summary) -> str:
    samples = [sample for _, one in summary.outcomes for sample in one.samples]
    if not samples:
        return ""
    noisy = sum(one.noisy for one in samples)
    steal = max(one.steal for one in samples)
    return (
        f"{noisy} of {len(samples)} measurements are marked noisy; the host took at most "
        f"{percent(steal)} of the machine's time."
    )


def _nothing(summary: Summary) -> str:
    return ""


def _place(one: Measured, outcome: Outcome) -> str:
    return f"{one.cell.title}, {name_of(outcome.arm)}"


LESSONS: Final = (
    Lesson(
        "Coordinated omission",
        "A client that sends its next request when it has the last answer stops asking while the "
        "server stalls, so a stall of two seconds is one slow request and not the thousands that "
        "were due meanwhile. Time runs here from when a request was due.",
        _omission,
    ),
    Lesson(
        "Measuring the generator",
        "A load generator at the end of its own core reports its own speed as the server's. Above "
        f"{GENERATOR_BOUND:.0%} of a core no rate and no latency is printed.",
        _bound,
    ),
    Lesson(
        "Averages of percentiles",
        "The mean of five p99 is the p99 of nothing. Histograms are merged first, and the "
        "percentile is taken of all requests together.",
        _averages,
    ),
    Lesson(
        "One core for both",
        "On the same core the generator takes time from the server just when the server needs it. "
        "They are pinned apart.",
        _cores,
    ),
    Lesson(
        "Warm caches",
        "The second in line finds the file in memory and the code compiled. Every arm has a fresh "
        "process and the same warming up, and arms take turns within each round.",
        _nothing,
    ),
    Lesson(
        "Refusing quietly",
        "A server that turns away what it cannot do is quick with the rest. Errors and refusals "
        "stand in the row of the figures that they flatter.",
        _refused,
    ),
    Lesson(
        "Medians that starve",
        "Serve one connection in ten and forget nine: the median is splendid, since those who get "
        "no answer have no latency. Hence the share of connections served, and Jain's index.",
        _starved,
    ),
    Lesson(
        "Noisy neighbours",
        "Another process, or the host, takes the core for a moment, and p99 is its doing. Load and "
        "steal are read at each measurement, and noisy ones are marked.",
        _noise,
    ),
    Lesson(
        "Comparing different work",
        "A server that sends fewer fields, keeps no log or checks no limit does less, not better. "
        "The threads here run the same protocol, handlers, limits and log, and a test compares "
        "their answers byte by byte. Other servers do other work: they are a scale, no rivals.",
        _nothing,
    ),
)
