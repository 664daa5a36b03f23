"""The page: one file that needs no other, no script and no network.

Sections stand in the order in which a doubter asks: what is the verdict, where does it lose, what
came of the same load on both, were the aims met, on which machine, and only then the pictures and
every cell with its commands. A section is a function of the summary; what it has nothing to say
about it says that nothing was measured, and never that all is well.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from loadtest.experiment.measure.samples import FILE
from loadtest.experiment.report import tables
from loadtest.experiment.report.changes import Change, Changes
from loadtest.experiment.report.comparison import LOSSES, Behind, behind, comparable
from loadtest.experiment.report.formatting import counted, duration, number, percent, times
from loadtest.experiment.report.html import Markup, details, joined, table, tag
from loadtest.experiment.report.lessons import LESSONS
from loadtest.experiment.report.summary import Measured, Summary
from loadtest.experiment.report.svg import Plot
from loadtest.experiment.report.targets import MET, NOT_MET, targets
from loadtest.experiment.report.verdict import ALIKE, HOLDS, LOSES, SHORT, UNKNOWN, sentences

TITLE: Final = "One loop against a thread for each connection"
STYLE: Final = Path(__file__).with_name("page.css")
WIDE: Final = ("throughput", "bystander")  # plots with their caption beside them
NOT_MEASURED: Final = "This run has not measured it."

# What each workload does, above its table.
WORKLOADS: Final = {
    "mix": "The locust mix at the same offered rates for both: pages, files, uploads, waits",
    "block": "A handler that blocks its thread for 20 ms",
    "burn": "A handler that burns CPU",
    "keepalive": "Keep-alive connections that ask as fast as they are answered",
    "fairness": "How evenly connections are served",
    "open": "Open loop: a share of the reactor's capacity is offered to everybody",
    "connect": "A connection for each request",
    "idle": "Idle connections",
    "slow-readers": "Clients that read 1 MiB slowly",
    "slow-heads": "Clients that send their head byte by byte",
    "files": "Files",
    "gzip": "Answers that are compressed",
    "pipelining": "Pipelined requests",
    "burst": "Many connections at once",
    "overload": "Overload, and the time after it",
    "events": "Listeners of an event stream",
}
ADVICE: Final = (
    "Wait in an async def handler, with sleep, a stream or a future, rather than in a call that "
    "blocks: then a waiting request costs nothing.",
    "Give work that takes CPU to another process, or run several processes of the server.",
    "in_pool is for what leaves the interpreter: file I/O, gzip. It makes no Python code faster.",
    "Where most handlers block and cannot be changed, use threads: they are the right design then.",
)


def page(summary: Summary, plots: Sequence[Plot], changes: Changes) -> str:
    sections = (
        ("verdict", "Verdict", _verdict(summary)),
        ("losses", "Where it loses", _losses(summary)),
        ("mix", "The same load on both", _mix(summary)),
        ("targets", "What it set out to show", _targets(summary)),
        ("machine", "Machine and noise", _machine(summary)),
        ("plots", "Pictures", _pictures(plots)),
        ("cells", "Every cell", _cells(summary)),
        ("changes", "Since the last run", _changes(changes)),
        ("lessons", "How one fools oneself", _lessons(summary)),
        ("again", "To run it again", _again()),
    )
    links = [tag("a", title, href=f"#{name}") for name, title, _ in sections]
    parts = [tag("section", tag("h2", title, id=name), body) for name, title, body in sections]
    body = tag("body", _head(summary), tag("nav", *links), tag("main", *parts))
    viewport = tag("meta", name="viewport", content="width=device-width, initial-scale=1")
    style = tag("style", Markup(STYLE.read_text(encoding="utf-8")))
    head = tag("head", tag("meta", charset="utf-8"), viewport, tag("title", TITLE), style)
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _head(summary: Summary) -> Markup:
    run = summary.run
    when = datetime.fromtimestamp(run.started, UTC).strftime("%-d %B %Y, %H:%M UTC")
    cells, rounds = counted(len(summary.cells), "cell"), counted(run.rounds, "round")
    told = f"Plan {run.plan}, {cells}, {rounds}; {when}"
    told += f"; commit {run.commit}." if run.commit else "."
    parts = [tag("h1", TITLE), tag("p", told, class_="meta")]
    if not summary.ended:
        text = (
            f"This run did not come to its end: {summary.tried} of {summary.planned} measurements "
            "were made. What follows is about those."
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
    return tag("ol", *items, class_="verdict")


def _losses(summary: Summary) -> Markup:
    cells = [one for workload in LOSSES for one in summary.of(workload)]
    parts: list[str] = []
    if cells:
        text = (
            "One loop does one thing at a time. While a handler blocks or computes nobody else is "
            "served, and that shows in its rate as in what bystanders notice. What to do about it:"
        )
        parts += [tag("p", text), tag("ul", *(tag("li", one) for one in ADVICE))]
        parts.append(tables.outcomes(cells))
    else:
        parts.append(tag("p", f"Handlers that block or burn CPU. {NOT_MEASURED}"))
    return joined([*parts, _elsewhere(summary, behind(summary))])


def _elsewhere(summary: Summary, found: Sequence[Behind]) -> Markup:
    title = tag("h3", "Elsewhere behind a thread each")
    rule = "worse by more than a twentieth, and in every round"
    if not found:
        count = len(comparable(summary))
        cells = counted(count, "other cell")
        text = f"Of {cells} measured of both there is none where the reactor is {rule}."
        if not count:
            text = "No other cell was measured of both."
        return joined([title, tag("p", text)])
    rows = [
        [one.cell.cell.title, one.figure, one.ours, one.theirs, times(one.ratio)] for one in found
    ]
    heads = ["", "figure", "reactor", "a thread each", "behind"]
    text = f"All other cells where it is {rule}."
    if any(one.rounds == 1 for one in found):
        text += " Where there was one round that may be chance."
    return joined([title, tag("p", text), table(heads, rows)])


def _mix(summary: Summary) -> Markup:
    cells = summary.of("mix")
    if not cells:
        return tag("p", f"The locust mix at the same offered rates. {NOT_MEASURED}")
    text = "Locust offers both the same number of requests; latencies run from when they were due."
    return joined([tag("p", text), tables.outcomes(cells), tables.commands_and_rounds(cells)])


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
    rows = [[name.replace("_", " "), _plain(value)] for name, value in run.machine.items()]
    rows += [[name, version] for name, version in run.versions.items()]
    samples = [sample for _, one in summary.outcomes for sample in one.samples]
    failed = sum(len(one.failures) for _, one in summary.outcomes)
    bound = sum(one.generator_bound for _, one in summary.outcomes)
    if samples:
        noisy = sum(one.noisy for one in samples)
        rows += [
            ["measurements", f"{summary.tried} of {summary.planned} planned; {failed} failed"],
            ["noisy", f"{noisy} of {len(samples)}"],
            ["load average before", f"at most {number(max(one.load for one in samples))}"],
            ["taken by the host", f"at most {percent(max(one.steal for one in samples))}"],
            ["generator-bound", f"{bound} of {sum(1 for _ in summary.outcomes)} figures"],
        ]
    else:
        rows.append(["measurements", f"none of {summary.planned} planned; {failed} failed"])
    return table(["", ""], rows, class_="prose")


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _pictures(plots: Sequence[Plot]) -> Markup:
    drawn = [_picture(plot) for plot in plots if plot.svg]
    missing = [plot.title for plot in plots if not plot.svg]
    text = f"Not drawn, since this run has no figures for it: {'; '.join(missing)}."
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
        "Medians over rounds, the least and the most beneath; percentiles are of all rounds' "
        "requests together, with those of single rounds beneath; errors and refusals are of all "
        "rounds. Latencies run from when a request was due, where that is known. Raw data: "
    )
    parts: list[str] = [tag("p", text, raw, ".", class_="note")]
    if not summary.cells:
        parts.append(tag("p", "This run planned no cell."))
    parts += [_workload(name, summary.of(name)) for name in summary.workloads if name != "mix"]
    return joined(parts)


def _workload(name: str, cells: Sequence[Measured]) -> Markup:
    title = tag("h3", WORKLOADS.get(name, name), id=f"cells-{name}")
    shown = () if name in LOSSES else (tables.outcomes(cells),)
    above = tag("p", "Its table is ", tag("a", "above", href="#losses"), ".", class_="note")
    return joined([title, *(shown or (above,)), tables.commands_and_rounds(cells)])


def _changes(changes: Changes) -> Markup:
    if not changes.found:
        return tag("p", changes.note)
    beyond = [one for one in changes.found if one.beyond]
    text = f"{changes.note} {len(beyond)} of {len(changes.found)} figures changed by more than "
    parts = [tag("p", text, "the rounds of either run differ among themselves.")]
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
        [tag("code", "make bench-full"), "everything; it foretells how long"],
        [
            tag("code", "python -m loadtest.experiment report"),
            "this report again, from its raw data",
        ],
    ]
    return table(["", ""], rows, class_="prose")
