"""The page: one file, without scripts and without the network.

It is to be understood in two minutes: the verdict, two plots, and every figure in which another
server is better. Everything else is folded: the other plots, all cells with their commands and
rounds, the targets, the machine, the errors that load tests make. A word is explained where it
stands for the first time. A section is a function of the summary; without figures it says that
nothing was measured.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, Final

from loadtest.experiment.measure.samples import FILE, OURS
from loadtest.experiment.report import tables
from loadtest.experiment.report.changes import Change, Changes
from loadtest.experiment.report.columns import DAGGER_SAYS
from loadtest.experiment.report.formatting import (
    BOUND,
    DAGGER,
    NOTHING,
    counted,
    duration,
    number,
    percent,
    served_text,
    times,
)
from loadtest.experiment.report.html import Markup, details, joined, table, tag
from loadtest.experiment.report.lessons import LESSONS
from loadtest.experiment.report.losses import Loss, compared, losses
from loadtest.experiment.report.summary import Measured, Summary
from loadtest.experiment.report.svg import Plot
from loadtest.experiment.report.targets import MET, NOT_MET, targets
from loadtest.experiment.report.verdict import ALIKE, HOLDS, LOSES, SHORT, UNKNOWN, sentences
from loadtest.experiment.report.words import explained

TITLE: Final = "One loop against a thread for each connection"
STYLE: Final = Path(__file__).with_name("page.css")
FASTER: Final = "threads-0.5ms"  # an arm
FIRST: Final = ("cpu", "p99")  # plots that are not folded
FACTS: Final = {"load_average": "load average before the run"}
OF_VERDICT: Final = (
    "loses",
    "falls short",
    "holds",
    "locust",
    "p99",
    "bystander",
    "out of service",
)
OF_PLOTS: Final = ("closed loop", "served", "hollow point")  # words
WIDE: Final = ("bystander",)  # plots that need the whole width
INTRODUCTION: Final = (
    "An HTTP server can serve many connections on one thread, or start a thread for each. Here the "
    "same protocol code, request handlers, limits and log run in both ways, each on a core of its "
    "own and under the same load. Other servers stand beside them as a scale."
)
NOT_MEASURED: Final = "This run has not measured it."

# The headings above the tables of the workloads.
WORKLOADS: Final = {
    "mix": "The locust mix at the same offered rates for both: pages, files, uploads, waits",
    "block": "A handler that blocks its thread for 20 ms",
    "burn": "A handler that computes",
    "keepalive": "Keep-alive connections that send the next request after each response",
    "fairness": "How evenly connections are served",
    "open": "Open loop: the same share of the reactor's capacity is offered to each server",
    "connect": "A connection for each request",
    "idle": "Idle connections",
    "slow-readers": "Clients that read 1 MiB slowly",
    "slow-heads": "Clients that send their head byte by byte",
    "files": "Files",
    "gzip": "Compressed responses",
    "pipelining": "Pipelined requests",
    "burst": "Many connections at once",
    "overload": "Overload, and the time after it",
    "events": "Listeners of an event stream",
}
ADVICE: Final = (
    "Wait in an async def handler, with sleep, a stream or a future, instead of a blocking call: "
    "a waiting request then costs no thread.",
    "Move long computations to another process, or run several processes of the server.",
    "Use in_pool for calls that release the interpreter lock: file I/O, gzip. It makes Python code "
    "no faster.",
    "Where most handlers block and cannot be changed, use threads: they are the right design then.",
)


def page(summary: Summary, plots: Sequence[Plot], changes: Changes) -> str:
    """The HTML of the page."""
    first = [one for one in plots if one.name in FIRST]
    others = [one for one in plots if one.name not in FIRST]
    shown = (
        ("verdict", "Verdict", _verdict(summary)),
        (
            "plots",
            "Two plots",
            joined([explained(*OF_PLOTS), _pictures(first)]),
        ),
        ("losses", "Where the reactor loses", _losses(losses(summary), len(compared(summary)))),
    )
    folded = (
        ("mix", "The same load on both", _mix(summary)),
        ("more-plots", "Memory, latency, throughput and bystanders", _pictures(others)),
        ("cells", "Every cell, with commands and rounds", _cells(summary)),
        ("targets", "Targets", _targets(summary)),
        ("machine", "Machine and noise", _machine(summary)),
        ("changes", "Changes since the previous run", _changes(changes)),
        ("lessons", "Common errors of load tests", _lessons(summary)),
        ("again", "How to run it again", _again()),
    )
    parts = [tag("section", _title(name, title), body) for name, title, body in shown]
    bodies = _explaining([body for _, _, body in folded], BOUND, "noisy")
    titles = [_title(name, title) for name, title, _ in folded]
    parts += [details(*pair, class_="fold") for pair in zip(titles, bodies, strict=True)]
    body = tag("body", _head(summary), tag("main", *parts))
    viewport = tag("meta", name="viewport", content="width=device-width, initial-scale=1")
    style = tag("style", Markup(STYLE.read_text(encoding="utf-8")))
    head = tag("head", tag("meta", charset="utf-8"), viewport, tag("title", TITLE), style)
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _explaining(bodies: Sequence[Markup], *words: str) -> list[Markup]:
    """The bodies, with each word explained in the first one that has it, or in the last one."""
    found = list(bodies)
    for word in words:
        at = next((at for at, body in enumerate(bodies) if word in body), -1)
        found[at] = joined([explained(word), found[at]])
    return found


def _title(name: str, title: str) -> Markup:
    return tag("h2", title, id=name)


def _head(summary: Summary) -> Markup:
    run = summary.run
    when = datetime.fromtimestamp(run.started, UTC).strftime("%-d %B %Y, %H:%M UTC")
    cells, rounds = counted(len(summary.cells), "cell"), counted(run.rounds, "round")
    text = f"Plan {run.plan}, {cells}, {rounds}; {when}"
    text += f"; commit {run.commit}." if run.commit else "."
    parts = [tag("h1", TITLE), tag("p", INTRODUCTION), tag("p", text, class_="meta")]
    parts.append(explained("reactor", "threads", "pool-32", "cell", "round"))
    if not summary.ended:
        text = (
            f"This run is incomplete: {summary.tried} of {summary.planned} measurements were made. "
            "The figures are those of these measurements."
        )
        parts.append(tag("p", text, class_="warning"))
    elif run.rounds == 1:
        text = "One round: no figure has a spread, and a difference may be chance."
        parts.append(tag("p", text, class_="note"))
    return tag("header", *parts)


def _verdict(summary: Summary) -> Markup:
    classes = {LOSES: "bad", SHORT: "bad", HOLDS: "good"}
    items = []
    for one in sentences(summary):
        standing = tag("span", one.standing, class_=classes.get(one.standing, "faint"))
        subject = {UNKNOWN: "", ALIKE: "the reactor is "}.get(one.standing, "the reactor ")
        items.append(tag("li", tag("b", f"{one.topic}: {subject}", standing), one.text))
    words = explained(*OF_VERDICT)
    return joined([words, tag("ol", *items, class_="verdict")])


def _losses(found: Sequence[Loss], count: int) -> Markup:
    rule = "better by more than a twentieth, and in every round"
    if not count:
        return tag("p", f"The reactor and another server in the same cell. {NOT_MEASURED}")
    cells = counted(count, "cell")
    if not found:
        return tag("p", f"In {cells} with another server, none is {rule}, in any figure.")
    text = (
        f"These are all {counted(len(found), 'figure')}, in {cells}, in which another server is "
        f"{rule}, the worst first; beside the reactor stands the best of the others."
    )
    if any(one.rounds < 2 for one in found):
        text += " Where fewer than two rounds have the figure, it may be chance."
    heads = ["", "figure", "reactor", "better", "behind", "served"]
    table_ = table(heads, [_lost(one) for one in found], class_="losses")
    above = "One loop does one thing at a time. While a handler blocks or computes, no other "
    above += "client is served. There are four remedies:"
    remedies = tag("ul", *(tag("li", one) for one in ADVICE))
    words = [explained(FASTER)] if any(one.arm == FASTER for one in found) else []
    notes = [tag("p", DAGGER_SAYS, class_="note")] if DAGGER in table_ else []
    return joined([tag("p", text), *words, table_, *notes, tag("p", above), remedies])


def _lost(one: Loss) -> list[str]:
    shares = [served_text(one.cell.arm(arm).served) for arm in (OURS, one.arm)]
    behind = times(one.ratio) if isfinite(one.ratio) else NOTHING
    better = joined([one.theirs, tag("span", tables.coloured(one.arm), class_="under")])
    return [one.cell.cell.title, one.figure, one.ours, better, behind, " / ".join(shares)]


def _mix(summary: Summary) -> Markup:
    cells = summary.of("mix")
    if not cells:
        return tag("p", f"The locust mix at the same offered rates. {NOT_MEASURED}")
    text = "Locust offers all the same requests, in an open loop."
    shown = joined([tables.outcomes(cells), tables.commands_and_rounds(cells)])
    words = explained("open loop", "coordinated omission")
    return joined([words, tag("p", text), shown])


def _targets(summary: Summary) -> Markup:
    classes = {MET: "good", NOT_MET: "bad"}
    rows = [
        [
            one.name,
            one.target,
            one.measured,
            tag("span", one.verdict, class_=classes.get(one.verdict, "faint")),
        ]
        for one in targets(summary)
    ]
    return table(["", "target", "measured", ""], rows, class_="prose targets")


def _machine(summary: Summary) -> Markup:
    run = summary.run
    facts = {FACTS.get(name, name): _plain(value) for name, value in run.machine.items()}
    rows = [[name, value] for name, value in (facts | run.versions).items()]
    samples = [sample for _, one in summary.outcomes for sample in one.samples]
    failed = sum(len(one.failures) for _, one in summary.outcomes)
    bound = sum(one.generator_bound for _, one in summary.outcomes)
    if samples:
        noisy = sum(one.noisy for one in samples)
        rows += [
            ["measurements", f"{summary.tried} of {summary.planned} planned; {failed} failed"],
            ["noisy measurements", f"{noisy} of {len(samples)}"],
            ["time taken by the host", f"at most {percent(max(one.steal for one in samples))}"],
            ["generator-bound", f"{bound} of {sum(1 for _ in summary.outcomes)} figures"],
        ]
    else:
        rows.append(["measurements", f"0 of {summary.planned} planned; {failed} failed"])
    return table(["", ""], rows, class_="prose")


def _plain(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _pictures(plots: Sequence[Plot]) -> Markup:
    drawn = [_picture(plot) for plot in plots if plot.svg]
    missing = [plot.title for plot in plots if not plot.svg]
    text = f"This run has no figures for these plots: {'; '.join(missing)}."
    note = [tag("p", text, class_="note")] if missing else []
    return joined([tag("div", *drawn, class_="figures"), *note])


def _picture(plot: Plot) -> Markup:
    drawn = tag("div", Markup(plot.inline()), class_="plot")
    caption = tag("figcaption", plot.caption)
    kind = {"class_": "wide"} if plot.name in WIDE else {}
    return tag("figure", tag("h3", plot.title), drawn, caption, **kind)


def _cells(summary: Summary) -> Markup:
    raw = tag("a", FILE, href=FILE)
    text = (
        "Figures are medians over rounds, with the least and the largest beneath. Percentiles are "
        "those of all rounds' requests together, with those of single rounds beneath. Errors and "
        "refusals are sums over all rounds. Latencies count from when a request was due, where "
        "that is known. The first column is the server. Raw data: "
    )
    words = explained("Jain's index")
    parts: list[str] = [words, tag("p", text, raw, ".", class_="note")]
    if not summary.cells:
        parts.append(tag("p", "This run planned no cell."))
    parts += [_workload(name, summary.of(name)) for name in summary.workloads if name != "mix"]
    return joined(parts)


def _workload(name: str, cells: Sequence[Measured]) -> Markup:
    title = tag("h3", WORKLOADS.get(name, name), id=f"cells-{name}")
    return details(title, tables.outcomes(cells), tables.commands_and_rounds(cells))


def _changes(changes: Changes) -> Markup:
    if not changes.found:
        return tag("p", changes.note)
    beyond = [one for one in changes.found if one.beyond]
    text = f"{changes.note} {len(beyond)} of {len(changes.found)} figures changed by more than "
    parts = [tag("p", text, "the differences between the rounds of either run.")]
    if beyond:
        parts.append(_changed(beyond))
    parts.append(details("All differences", _changed(changes.found)))
    return joined(parts)


def _changed(found: Sequence[Change]) -> Markup:
    rows = []
    for one in found:
        before, now = (
            f"{number(value)} µs" if one.figure == "CPU" else duration(value)
            for value in (one.before, one.now)
        )
        kind = ("bad" if one.ratio > 0 else "good") if one.beyond else "faint"
        ratio = tag("span", f"{one.ratio:+.1%}", class_=kind)
        rows.append([one.cell, one.arm, one.figure, before, now, ratio])
    return table(["cell", "arm", "figure", "before", "now", ""], rows)


def _lessons(summary: Summary) -> Markup:
    parts: list[Markup] = []
    for one in LESSONS:
        here = one.here(summary)
        shown = [tag("q", f"Here: {here}")] if here else []
        parts += [tag("dt", one.title), tag("dd", one.text, *shown)]
    return tag("dl", *parts)


def _again() -> Markup:
    rows = [
        [tag("code", "make bench-quick"), "6 cells, one round: about 2 minutes"],
        [
            tag("code", "make bench"),
            "a dozen cells, reactor and threads, 5 rounds: about 15 minutes",
        ],
        [tag("code", "make bench-full"), "all cells; prints first how long it takes"],
        [
            tag("code", "python -m loadtest.experiment report"),
            "this report again, from its raw data",
        ],
    ]
    return table(["", ""], rows, class_="prose")
