"""Common errors of load tests, each with the number of this run that shows it.

A lesson is a title and a few sentences that hold for any run. A function finds an example in this
run; it returns "" where there is none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadtest.experiment.measure.samples import GENERATOR_BOUND, INTENDED, SERVICE
from loadtest.experiment.report.formatting import duration, name_of, number, percent
from loadtest.experiment.report.summary import ArmOutcome, Measured, Summary

FIRST_OF: Final = 0.98  # share of served connections below which some are starved


@dataclass(frozen=True)
class Lesson:
    """An error, and the function that finds an example in a run."""

    title: str
    text: str
    here: Callable[[Summary], str]


def _omission(summary: Summary) -> str:
    found: list[tuple[float, Measured, ArmOutcome, float, float]] = []
    for one, outcome in summary.outcomes:
        service, due = (outcome.percentile(name, 0.99) for name in (SERVICE, INTENDED))
        if service and due:
            found.append((due / service, one, outcome, service, due))
    if not found:
        return ""
    _, one, outcome, service, due = max(found, key=lambda each: each[0])
    return (
        f"{_place(one, outcome)}: p99 is {duration(service)} from when a request was sent, and "
        f"{duration(due)} from when it was due."
    )


def _bound(summary: Summary) -> str:
    shares = [one.median("generator_share") for _, one in summary.outcomes if one.measured]
    known = [share for share in shares if share is not None]
    if not known:
        return ""
    count = sum(one.generator_bound for _, one in summary.outcomes)
    return (
        f"{count} of {len(known)} figures are generator-bound; the core of the busiest "
        f"generator was busy for {percent(max(known))}."
    )


def _averages(summary: Summary) -> str:
    found: list[tuple[float, Measured, ArmOutcome, float, float]] = []
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
        f"{_place(one, outcome)}: the rounds' p99 are {duration(mean)} on average, the p99 of all "
        f"requests is {duration(merged)}: an error of {percent(off)}."
    )


def _cores(summary: Summary) -> str:
    cores = summary.run.machine.get("cores")
    if not isinstance(cores, int):
        return ""
    if cores < 2:
        return "This machine has one core, so this run has just this error."
    return f"This machine has {cores} cores: the server uses one and its clients another."


def _refused(summary: Summary) -> str:
    found = [(one.total("refused") or 0.0, cell, one) for cell, one in summary.outcomes]
    count, cell, one = max(found, key=lambda each: each[0], default=(0.0, None, None))
    if not count or cell is None or one is None:
        return "Nothing was refused in this run." if any(o.measured for _, _, o in found) else ""
    tail = one.tail()
    others = f", and the p99 of the others is {duration(tail)}" if tail is not None else ""
    return f"{_place(cell, one)}: {number(count)} requests were refused{others}."


def _starved(summary: Summary) -> str:
    found = [
        (one.served.share, cell, one, p50)
        for cell, one in summary.outcomes
        if one.served is not None
        and one.served.exact
        and one.served.share < FIRST_OF
        and (p50 := one.recorded_tail(0.5)) is not None
    ]
    if not found:
        return ""
    served, cell, one, p50 = min(found, key=lambda each: each[0])
    return (
        f"{_place(cell, one)}: a median of {duration(p50)}; connections without any "
        f"response: {percent(1 - served)}."
    )


def _noise(summary: Summary) -> str:
    samples = [sample for _, one in summary.outcomes for sample in one.samples]
    if not samples:
        return ""
    noisy = sum(one.noisy for one in samples)
    steal = max(one.steal for one in samples)
    return (
        f"{noisy} of {len(samples)} measurements are marked as noisy; the largest share of "
        f"time that the host took is {percent(steal)}."
    )


def _nothing(summary: Summary) -> str:
    return ""


def _place(one: Measured, outcome: ArmOutcome) -> str:
    return f"{one.cell.title}, {name_of(outcome.arm)}"


LESSONS: Final = (
    Lesson(
        "Coordinated omission",
        "A client that sends its next request after the last response sends nothing while the "
        "server stalls, so a stall of two seconds is one slow request and not the thousands that "
        "were due in that time. In open loops, latencies count from when a request was due.",
        _omission,
    ),
    Lesson(
        "Measuring the generator",
        "A load generator that has used up its core reports its own speed as the server's. The "
        f"report has no rates and latencies above a share of {GENERATOR_BOUND:.0%}.",
        _bound,
    ),
    Lesson(
        "Averages of percentiles",
        "The mean of five p99 is not the p99 of anything. Histograms are merged first, and the "
        "percentile is that of all requests together.",
        _averages,
    ),
    Lesson(
        "One core for both",
        "On a shared core the generator takes time from the server just when the server needs it. "
        "Here they are pinned to different cores.",
        _cores,
    ),
    Lesson(
        "Warm caches",
        "The second server finds the files in memory and the code compiled. Every server is a "
        "fresh process with the same warm-up, and servers take turns within each round.",
        _nothing,
    ),
    Lesson(
        "Refusing quietly",
        "A server that refuses requests is fast with the rest. Errors and refusals are in the same "
        "row as the figures that they improve.",
        _refused,
    ),
    Lesson(
        "Medians that starve",
        "A server that serves one connection in ten has an excellent median, since connections "
        "without a response have no latency. So the report has the share of connections served, "
        "counts the others as errors, and shows no latency where less than 99 % were served.",
        _starved,
    ),
    Lesson(
        "Noisy neighbours",
        "Another process, or the host, takes the core for a moment, and p99 rises. The CPU time of "
        "both is read at each measurement, and noisy ones are marked.",
        _noise,
    ),
    Lesson(
        "Comparing different work",
        "A server that sends fewer header fields, writes no log or checks no limit does less work; "
        "it is not faster. The threaded server runs the same protocol, handlers, limits and log, "
        "and a test compares its responses byte by byte. Other servers do other work: they are a "
        "scale, not competitors.",
        _nothing,
    ),
)
