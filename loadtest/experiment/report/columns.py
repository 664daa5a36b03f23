"""The columns of a table of outcomes: CPU per request first, requests per second second.

A column turns an outcome into a text, "" where it has no figure; a table has the columns with a
figure in at least one row. Where the generator was the limit, rates and latencies are replaced by a
note, and CPU per request has a mark.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.experiment.measure.samples import BYSTANDER
from loadtest.experiment.report.formatting import (
    BOUND,
    DAGGER,
    PARTLY,
    Form,
    limits,
    milliseconds,
    most,
    number,
    partly,
    percent,
    served_text,
    size,
)
from loadtest.experiment.report.html import Markup, joined, tag
from loadtest.experiment.report.summary import MEMORY, OWN_MEMORY, ArmOutcome

DAGGER_SAYS: Final = (
    "† The generator was at its limit, so rates and latencies would be its own. CPU per request is "
    "the server's own time and is shown; a server that waits for its generator works in smaller "
    "batches, which makes a request more expensive, not cheaper."
)
FEW: Final = "too few"
PARTLY_SAYS: Final = (
    f"“{PARTLY}”: it is not certain that 99 % of the connections (in an open loop: requests) got a "
    "response. A latency of the others would flatter the server, so none is shown. "
    "Connections without a response are errors."
)
BOUND_SAYS: Final = (
    "≥ and ≤: the generator reports that some connections got no response and not how many; the "
    "share is the least that follows from the evenness of the responses."
)


@dataclass(frozen=True)
class Column:
    """A column: its head, and the text for an outcome."""

    head: str
    read: Callable[[ArmOutcome], str]
    always: bool = False  # also where no row has a figure


def fitting(columns: Sequence[Column], outcomes: Sequence[ArmOutcome]) -> list[Column]:
    """The columns that have a figure for one of the outcomes, and those that are always there."""
    return [one for one in columns if one.always or any(map(one.read, outcomes))]


def value(name: str, head: str, form: Form = number) -> Column:
    """A column of medians over rounds, with the least and the largest beneath."""

    def read(outcome: ArmOutcome) -> str:
        whole = outcome.recorded(name)
        if whole is None:
            return ""
        if outcome.spread(name) is None:
            return bound()
        mark = DAGGER if name == "cpu_us" and outcome.generator_bound else ""
        return joined([form(whole.median) + mark, under(limits(whole, form))])

    return Column(head, read)


def total(name: str, head: str) -> Column:
    """A column of sums over rounds, with their share of all requests beneath."""

    def read(outcome: ArmOutcome) -> str:
        count = outcome.total(name)
        if count is None:
            return ""
        right = outcome.total("requests")
        whole = right + count if right else 0.0
        if name == "bystander_errors" and BYSTANDER in outcome.latencies:
            whole = outcome.latencies[BYSTANDER].count  # the failed ones are among them
        share = percent(count / whole) if count and whole else ""
        return joined([number(count), under(share)])

    return Column(head, read)


def latency(share: float, head: str) -> Column:
    """A column of percentiles of all rounds, with the least and largest of rounds beneath."""
    return Column(head, lambda outcome: _percentile(outcome, outcome.latency, share))


def _percentile(outcome: ArmOutcome, name: str, share: float) -> str:
    if name not in outcome.latencies:
        return ""
    if outcome.generator_bound:
        return bound()
    if outcome.partly_served(name):
        return small(partly(outcome.served))
    seconds = outcome.percentile(name, share)
    if seconds is None:
        return small(FEW)
    rounds = outcome.of_rounds(name, share)
    return joined([milliseconds(seconds), under(limits(rounds, milliseconds))])


def _beside(outcome: ArmOutcome) -> str:
    if outcome.out_of_service:
        return tag("span", "out of service", class_="bad")
    return _percentile(outcome, BYSTANDER, 0.99)


def _served(outcome: ArmOutcome) -> str:
    return "" if outcome.served is None else served_text(outcome.served)


def _errors(outcome: ArmOutcome) -> str:
    """Errors, with the connections without a response or the share of all requests beneath."""
    if not outcome.unserved:
        return ERRORS.read(outcome)
    exact = outcome.served is None or outcome.served.exact
    silent = f"{number(outcome.unserved)} without a response"
    return joined([most(outcome.errors, exact), under(silent)])


def _memory_each(names: Sequence[str]) -> Callable[[ArmOutcome], str]:
    def read(outcome: ArmOutcome) -> str:
        each = outcome.memory_each(names)
        return "" if each is None else size(each)

    return read


def _rounds(outcome: ArmOutcome) -> str:
    """The number of rounds, how many of them were noisy, and the failures."""
    if not outcome.tried:
        return small("not measured")
    counts = [f"{len(outcome.samples)}" + (f" of {outcome.tried}" if outcome.failures else "")]
    if outcome.noisy:
        counts.append(f"{outcome.noisy} noisy")
    parts: list[str] = [", ".join(counts)]
    for text in dict.fromkeys(outcome.failures):
        parts.append(tag("span", f"failed: {text}", class_="failure"))
    return joined(parts, " ")


def bound() -> Markup:
    """The note in place of a figure of the generator."""
    return small(BOUND)


def small(text: str) -> Markup:
    """Small text; empty where `text` is."""
    return tag("small", text) if text else Markup("")


def under(text: str) -> Markup:
    """Small text on a line of its own beneath a figure; empty where `text` is."""
    return tag("small", text, class_="under") if text else Markup("")


ERRORS: Final = total("errors", "errors")
OUTCOME: Final = (
    value("cpu_us", "CPU µs/request"),
    value("rate", "requests/s"),
    value("offered", "offered/s"),
    Column("served", _served, always=True),
    latency(0.5, "p50 ms"),
    latency(0.99, "p99 ms"),
    latency(0.999, "p99.9 ms"),
    Column("bystander p99 ms", _beside),
    total("bystander_errors", "bystander errors"),
    value("jain", "Jain's index", lambda index: f"{index:.3f}"),
    value("bytes_rate", "bodies/s", size),
    value("done_seconds", "all served, s"),
    value("recovery_seconds", "recovered, s"),
    value("late", "generator late, ms", milliseconds),
    Column("memory each", _memory_each(OWN_MEMORY)),
    Column("with kernel's", _memory_each(MEMORY)),
    Column("errors", _errors),
    total("refused", "refused"),
    Column("rounds", _rounds),
)
