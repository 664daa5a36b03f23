"""Tables of the page: outcomes side by side, and each cell with its command lines and rounds."""

from collections.abc import Sequence
from typing import Final

from loadtest.experiment.measure.samples import VALUES, Sample
from loadtest.experiment.report.columns import (
    BOUND_SAYS,
    DAGGER_SAYS,
    FEW,
    OUTCOME,
    PARTLY_SAYS,
    Column,
    bound,
    fitting,
    small,
)
from loadtest.experiment.report.formatting import NOTHING, PARTLY, milliseconds, number, partly
from loadtest.experiment.report.html import Markup, details, framed, joined, table, tag
from loadtest.experiment.report.summary import PACED, ArmOutcome, Measured, known
from loadtest.experiment.report.svg import COLOURS, VARIABLES

OF_ROUNDS: Final = {"p50": 0.5, "p99": 0.99}
TOO_FEW_SAYS: Final = "A percentile is “too few” where less than one request is expected beyond it."


def outcomes(cells: Sequence[Measured]) -> Markup:
    """A row for each arm of each cell, with the footnotes of these rows."""
    whole = [outcome for one in cells for outcome in one.outcomes.values()]
    columns = fitting(OUTCOME, whole)
    heads = ["", *(column.head for column in columns)]
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    rows = framed(head, *(_cell(one, columns) for one in cells), class_="outcomes")
    notes = []
    if any(one.generator_bound for one in whole):
        notes.append(tag("p", DAGGER_SAYS, class_="note"))
    if PARTLY in rows:
        notes.append(tag("p", PARTLY_SAYS, class_="note"))
    if any(one.served is not None and not one.served.exact for one in whole):
        notes.append(tag("p", BOUND_SAYS, class_="note"))
    if FEW in rows:
        notes.append(tag("p", TOO_FEW_SAYS, class_="note"))
    return joined([rows, *notes])


def _cell(one: Measured, columns: Sequence[Column]) -> Markup:
    title = tag("th", tag("span", one.cell.title), scope="rowgroup", colspan=str(len(columns) + 1))
    rows = [
        tag("tr", tag("th", coloured(outcome.arm), scope="row"), *_fields(outcome, columns))
        for outcome in one.outcomes.values()
    ]
    return tag("tbody", tag("tr", title, class_="title"), *rows)


def _fields(outcome: ArmOutcome, columns: Sequence[Column]) -> list[Markup]:
    return [tag("td", column.read(outcome) or NOTHING) for column in columns]


def coloured(name: str) -> Markup:
    """The name of an arm in its colour of the plots."""
    colour = {"style": f"color: var(--{VARIABLES[COLOURS[name]]})"} if name in COLOURS else {}
    return tag("span", name, class_="arm", **colour)


def commands_and_rounds(cells: Sequence[Measured]) -> Markup:
    """The command lines of each cell, and the figures of each round."""
    each = [details(one.cell.title, *map(_arm, one.outcomes.values())) for one in cells]
    return details("Commands, and the figures of each round", *each)


def _arm(outcome: ArmOutcome) -> Markup:
    if not outcome.measured:
        text = "; ".join(dict.fromkeys(outcome.failures)) or "not measured"
        return tag("p", coloured(outcome.arm), f": {text}")
    first = outcome.samples[0]
    generator = " ".join(first.generator) or "a part of the harness"
    lines = [
        coloured(outcome.arm),
        tag("br"),
        small("server "),
        tag("code", " ".join(first.server) or NOTHING),
        tag("br"),
        small("generator "),
        tag("code", generator),
    ]
    return joined([tag("p", *lines), _rounds(outcome)])


def _rounds(outcome: ArmOutcome) -> Markup:
    values = [name for name in VALUES if outcome.recorded(name)]
    latencies = list(outcome.latencies)
    heads = ["round", *(name.replace("_", " ") for name in values)]
    heads += [f"{name} {text}, ms" for name in latencies for text in OF_ROUNDS]
    heads += ["steal", ""]
    rows = [_round(sample, values, latencies) for sample in outcome.samples]
    return table(heads, rows)


def _round(sample: Sample, values: Sequence[str], latencies: Sequence[str]) -> list[str]:
    row = [str(sample.round + 1)]
    for name in values:
        hidden = name in PACED and sample.generator_bound
        row.append(bound() if hidden else number(sample.values.get(name)))
    for name in latencies:
        for share in OF_ROUNDS.values():
            histogram = sample.latencies.get(name)
            text = milliseconds(known(histogram, share)) if histogram else NOTHING
            alone = ArmOutcome(sample.arm, [sample], [])
            if alone.partly_served(name):
                text = small(partly(alone.served))
            row.append(bound() if sample.generator_bound else text)
    row += [f"{sample.steal:.1%}", "noisy" if sample.noisy else ""]
    return row
