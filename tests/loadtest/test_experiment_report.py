"""The report is right about all raw data, and has no statements about missing ones.

Raw data are built here, small enough to know every figure by hand, and written to disk as the
harness does; each test then looks at the files that a reader gets.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtest.clients.histogram import Histogram
from loadtest.experiment.measure import samples
from loadtest.experiment.measure.samples import Cell, Recorder, Run, Sample
from loadtest.experiment.report import comparison, markdown
from loadtest.experiment.report import write as report
from loadtest.experiment.report.charts import charts
from loadtest.experiment.report.losses import losses
from loadtest.experiment.report.summary import Summary, summarized
from loadtest.experiment.report.targets import targets
from loadtest.experiment.report.verdict import sentences
from loadtest.experiment.report.write import write

BOTH = ("reactor", "threads")
ALL = (*BOTH, "pool-32")
STARTED = 1_790_000_000.0
MACHINE = {"processor": "Some Processor", "cores": 2, "kernel": "6.1", "load_average": 0.25}
PLOTS = ("cpu", "p99", "memory", "latency", "throughput", "bystander")


class Data:
    """Cells and samples, in the order in which they are added."""

    def __init__(self, rounds: int = 1, plan: str = "bench") -> None:
        self.run = Run(plan, STARTED, rounds, "abc123", dict(MACHINE), {"wrk": "4.2"}, [])
        self.samples: list[Sample] = []
        self.ended = True

    def cell(self, workload: str, x: float, arms: Iterable[str] = BOTH, title: str = "") -> str:
        name = f"{workload}-{x:g}"
        self.run.cells.append(Cell(name, workload, x, title or f"{workload} {x:g}", [*arms]))
        return name

    def add(
        self,
        cell: str,
        arm: str,
        latencies: Mapping[str, Iterable[float]] | None = None,
        **values: float,
    ) -> Sample:
        """A sample of the arm's next round."""
        where = next(one for one in self.run.cells if one.name == cell)
        before = [one for one in self.samples if (one.cell, one.arm) == (cell, arm)]
        histograms = {name: Histogram(of) for name, of in (latencies or {}).items()}
        sample = Sample(
            cell,
            where.workload,
            where.x,
            arm,
            len(before) + 1,
            STARTED,
            10.0,
            ["serve", arm],
            ["load", cell],
            values,
            histograms,
        )
        self.samples.append(sample)
        return sample

    def fail(self, cell: str, arm: str, why: str) -> None:
        self.add(cell, arm).failure = why

    def summary(self) -> Summary:
        return summarized(samples.Recorded(self.run, self.samples, self.ended))

    def put(self, directory: Path) -> None:
        recorder = Recorder(directory / samples.FILE, self.run)
        for sample in self.samples:
            recorder.add(sample)
        if self.ended:
            recorder.end()
        recorder.close()

    def written(self, directory: Path) -> "Written":
        """All files: for tests of plots, which take their time."""
        self.put(directory)
        write(directory)
        return Written(directory)

    def shown(self, directory: Path) -> "Written":
        """All files but plots."""
        self.put(directory)
        summary = summarized(samples.read(directory / samples.FILE))
        for name, text in report.texts(summary, [], directory).items():
            (directory / name).write_text(text)
        return Written(directory)


class Written:
    """The files that a reader gets."""

    def __init__(self, directory: Path) -> None:
        self.page = (directory / "index.html").read_text()
        self.table = (directory / "table.md").read_text()
        self.json: dict[str, Any] = json.loads((directory / "report.json").read_text())
        self.plots = {
            name: (directory / f"{name}.svg").read_text()
            for name in PLOTS
            if (directory / f"{name}.svg").exists()
        }
        check(self)

    def arm(self, cell: str, arm: str) -> dict[str, Any]:
        found = next(one for one in self.json["cells"] if one["name"] == cell)
        of: dict[str, Any] = found["arms"][arm]
        return of

    @property
    def text(self) -> str:
        """The text of the page, without its tags."""
        return Balanced(self.page).text


class Balanced(HTMLParser):
    """Raises AssertionError where a tag is not closed, or closed twice, or loads something."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base"}, tag
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self._look_at(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look_at(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title", "desc"} & set(self.open):
            self.said.append(data)

    def _look_at(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "xlink:href", "style"}:
                assert "//" not in (value or ""), value

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def check(written: Written) -> None:
    """Check the properties of every report."""
    page = Balanced(written.page)
    assert len(page.ids) == len(set(page.ids)), "an id is there twice"
    for target in re.findall(r'(?:href="|url\()#([^")]+)', written.page):
        assert target in page.ids, target
    assert not re.search(r"@import|url\((?!#)", written.page)
    assert not re.search(r"\bnan\b|\binf\b|None", page.text)
    for name, svg in written.plots.items():
        assert ElementTree.fromstring(svg).get("role") == "img", name
        assert f"<h3>{ElementTree.fromstring(svg)[0].text}</h3>" in written.page
    lines = [line for line in written.table.splitlines() if line[:1] == "|"]
    lost = len(written.json["losses"])
    assert len(lines) - (lost + 2 if lost else 0) <= markdown.ROWS
    assert len(written.json["verdict"]) == 5


def steady(seconds: float, count: int = 1000) -> dict[str, Iterable[float]]:
    return {"service": [seconds] * count, "bystander": [seconds] * count}


def keepalive(ours: dict[float, float], theirs: dict[float, float]) -> Data:
    """CPU per request at each number of connections."""
    data = Data()
    for x in sorted({*ours, *theirs}):
        name = data.cell("keepalive", x)
        for arm, costs in zip(BOTH, (ours, theirs), strict=True):
            if x in costs:
                data.add(name, arm, steady(0.001), cpu_us=costs[x], rate=1000)
    return data


def everything(rounds: int = 3) -> Data:
    """Something of each workload, as a full run has it."""
    data = Data(rounds, "full")
    for name, workload, xs in (
        ("mix", "mix", (100, 200)),
        ("keepalive", "keepalive", (8, 64, 4096, 10_000)),
        ("open", "open", (20, 80, 120)),
        ("idle", "idle", (0, 100, 10_000)),
        ("slow", "slow-heads", (500, 4000)),
        ("slow", "slow-readers", (500,)),
        ("rest", "files", (1024, 104857600)),
        *(("rest", other, (16,)) for other in ("gzip", "pipelining", "burst", "overload")),
        *(("rest", other, (16,)) for other in ("connect", "events", "a-new-one")),
        ("burn", "burn", (5, 200)),
        ("block", "block", (1, 64)),
    ):
        for x in xs:
            cell = data.cell(workload, x, ALL)
            for turn in range(rounds):
                for arm in ALL:
                    sample(data, name, cell, arm, x, turn)
    return data


def sample(data: Data, kind: str, cell: str, arm: str, x: float, turn: int) -> None:
    slower = 1 + ALL.index(arm) + turn / 100
    latencies = steady(0.001 * slower, 200)
    values = {"cpu_us": 50 * slower, "rate": 9000 / slower, "errors": 0, "refused": turn}
    if kind in ("open", "mix"):
        latencies["intended"] = [0.003 * slower] * 200
        values["offered"] = x * 100
    if kind == "idle":
        values |= dict.fromkeys(("process_bytes", "sockets_bytes"), x * 1000 * slower)
        values |= dict.fromkeys(("stacks_bytes", "tables_bytes"), x * (slower - 1) * 9000)
    if kind == "keepalive":
        values |= {"jain": 1 / slower, "served": 1 / slower, "requests": 5000}
    if kind == "slow" and arm == "pool-32":
        latencies["bystander"] = []
    data.add(cell, arm, latencies).values = values


# ------------------------------------------------------------------------------ whole reports


@pytest.mark.slow
def test_a_full_run_has_all_files(tmp_path: Path) -> None:
    written = everything().written(tmp_path)
    assert set(written.plots) == set(PLOTS)
    assert "did not come to its end" not in written.text
    for workload in ("a-new-one", "overload", "slow-readers"):
        assert f'id="cells-{workload}"' in written.page


@pytest.mark.slow
def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    directories = [tmp_path / "one", tmp_path / "two"]
    for directory in directories:
        directory.mkdir()
        few = everything(1)
        few.samples = [one for one in few.samples if one.workload in ("keepalive", "idle")]
        few.written(directory)
    first, second = ({p.name: p.read_bytes() for p in one.iterdir()} for one in directories)
    assert first == second
    write(directories[0])
    assert {path.name: path.read_bytes() for path in directories[0].iterdir()} == first


def test_sections_stand_in_this_order(tmp_path: Path) -> None:
    written = everything(1).shown(tmp_path)
    ids = ["verdict", "plots", "losses", "mix", "more-plots", "cells", "targets", "machine"]
    ids += ["changes", "lessons", "again"]
    assert re.findall(r'<h2 id="([a-z-]+)">', written.page) == ids


def test_a_run_without_a_sample(tmp_path: Path) -> None:
    data = Data()
    data.cell("keepalive", 8)
    data.ended = False
    written = data.written(tmp_path)
    assert {one["standing"] for one in written.json["verdict"]} == {"not measured"}
    assert {one["verdict"] for one in written.json["targets"]} == {"not measured"}
    assert "0 of 2 measurements were made" in written.text
    assert written.plots == {}


def test_a_run_without_a_cell(tmp_path: Path) -> None:
    written = Data().written(tmp_path)
    assert "This run planned no cell" in written.text
    assert "Nothing was measured" in written.table


@pytest.mark.parametrize("part", [1, 7, 60])
def test_an_interrupted_run(tmp_path: Path, part: int) -> None:
    data = everything()
    planned = len(data.samples)
    del data.samples[part:]
    data.ended = False
    written = data.shown(tmp_path)
    assert f"{part} of {planned} measurements were made" in written.text
    assert "not measured" in written.text


@pytest.mark.parametrize("missing", ["mix", "block", "keepalive", "open", "idle", "slow-heads"])
def test_any_workload_may_be_missing(tmp_path: Path, missing: str) -> None:
    data = everything(1)
    data.run.cells = [one for one in data.run.cells if one.workload != missing]
    data.samples = [one for one in data.samples if one.workload != missing]
    written = data.shown(tmp_path)
    assert f'id="cells-{missing}"' not in written.page
    unknown = [one["topic"] for one in written.json["verdict"] if one["standing"] == "not measured"]
    topics = {"mix": "The same offered load", "block": "Handlers that block", "idle": "Memory"}
    topics["keepalive"] = "CPU per request"
    assert unknown == [topics[missing]] if missing in topics else unknown == []


def test_plots_without_figures_are_not_drawn() -> None:
    data = everything(1)
    data.samples = [one for one in data.samples if one.workload in ("gzip", "block")]
    assert [one.name for one in charts(data.summary()) if one.svg] == ["bystander"]


@pytest.mark.slow
@pytest.mark.parametrize("only", ["reactor", "threads", "pool-32", "unheard-of"])
def test_one_arm_alone(tmp_path: Path, only: str) -> None:
    data = everything(1)
    data.samples = [replace(one, arm=only) for one in data.samples if one.arm == "reactor"]
    data.run.cells = [replace(one, arms=[only]) for one in data.run.cells]
    written = data.shown(tmp_path)
    known = {one["standing"] for one in written.json["verdict"]}
    assert known <= {"not measured", "holds"}
    if only == "unheard-of":
        assert all(only in one.svg for one in charts(data.summary()) if one.svg)


@pytest.mark.slow
def test_a_plot_of_an_older_run_is_taken_away(tmp_path: Path) -> None:
    everything(1).written(tmp_path)
    written = keepalive({8: 50}, {}).written(tmp_path)
    assert set(written.plots) == {"cpu", "p99", "bystander"}


def test_samples_of_a_cell_that_was_not_planned_are_shown(tmp_path: Path) -> None:
    data = keepalive({8: 50}, {8: 60})
    data.run.cells = []
    assert data.shown(tmp_path).arm("keepalive-8", "threads")["values"]["cpu_us"]["median"] == 60


def test_nan_is_not_measured(tmp_path: Path) -> None:
    data = keepalive({8: float("nan"), 64: 0.0}, {8: float("inf"), 64: 10})
    written = data.written(tmp_path)
    assert written.arm("keepalive-8", "reactor")["values"]["cpu_us"] is None


def test_no_raw_data_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"raw\.jsonl"):
        write(tmp_path)


@pytest.mark.parametrize("text", ["", "x\n", "[1]\n", '{"kind": "run"}\n', '{"kind": "sample"}\n'])
def test_bad_raw_data_are_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / samples.FILE).write_text(text)
    with pytest.raises(ValueError, match=r"raw\.jsonl"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [samples.FILE]


# ------------------------------------------------------------------------------ figures


def test_values_are_medians_with_least_and_most(tmp_path: Path) -> None:
    data = Data(rounds=5)
    cell = data.cell("keepalive", 8)
    for cost in (52.0, 50.0, 51.0, 99.0, 50.5):
        data.add(cell, "reactor", cpu_us=cost, errors=1, refused=2)
    written = data.shown(tmp_path)
    cpu = written.arm(cell, "reactor")["values"]["cpu_us"]
    assert (cpu["median"], cpu["least"], cpu["most"]) == (51.0, 50.0, 99.0)
    assert "51 50–99" in written.text
    assert (
        "| keepalive 8 | 51 / – | – | – | – | – | 15 / – |" in written.table
    )  # errors are a sum over rounds


def test_percentiles_are_merged_and_not_averaged(tmp_path: Path) -> None:
    """Two rounds of very different size: the mean of their p99 would be 0.5 s."""
    data = Data(rounds=2)
    cell = data.cell("keepalive", 8)
    data.add(cell, "reactor", {"service": [0.001] * 9900})
    data.add(cell, "reactor", {"service": [1.0] * 100})
    latencies = data.shown(tmp_path).arm(cell, "reactor")["latencies"]["service"]
    assert latencies["count"] == 10_000
    assert latencies["p99"] == pytest.approx(0.001, rel=0.04)
    assert latencies["p99.9"] == 1.0
    assert latencies["p99_of_rounds"]["most"] == 1.0
    assert latencies["mean"] == pytest.approx((9900 * 0.001 + 100) / 10_000)


def test_a_percentile_needs_enough_values(tmp_path: Path) -> None:
    data = Data()
    cell = data.cell("keepalive", 8)
    data.add(cell, "reactor", {"service": [0.001] * 99})
    data.add(cell, "threads", {"service": [0.001] * 100})
    written = data.shown(tmp_path)
    assert written.arm(cell, "reactor")["latencies"]["service"]["p99"] is None
    assert written.arm(cell, "reactor")["latencies"]["service"]["p90"] is not None
    assert written.arm(cell, "threads")["latencies"]["service"]["p99"] == 0.001
    assert "too few" in written.text


def test_latencies_run_from_when_requests_were_due(tmp_path: Path) -> None:
    data = Data()
    cell = data.cell("open", 80)
    data.add(cell, "reactor", {"service": [0.001] * 1000, "intended": [0.5] * 1000}, rate=1)
    assert "| open 80 | – | 1 / – | – | 500 / – | – | – |" in data.shown(tmp_path).table


def test_generator_bound_replaces_numbers(tmp_path: Path) -> None:
    """One round is enough: to leave that one out would be to choose."""
    data = Data(rounds=3)
    cell = data.cell("mix", 500)
    for share in (0.5, 0.81, 0.6):
        data.add(
            cell,
            "reactor",
            {"intended": [0.0437] * 1000, "bystander": [0.0437] * 1000},
            cpu_us=61.5,
            rate=4321,
            generator_share=share,
        )
        data.add(cell, "threads", {"intended": [0.005] * 1000}, cpu_us=71.5, generator_share=0.8)
    written = data.written(tmp_path)
    row = "| 500 | 61.5† | – | generator-bound | generator-bound | – | 71.5 | – | 5 | 5 | – |"
    assert row in written.table
    assert "smaller batches" in written.table
    shown = written.page[: written.page.index("<summary>Commands, ")]
    assert "4,321" not in shown
    assert "43.7" not in shown
    assert "61.5†" in shown
    assert "generator-bound" in written.plots["bystander"]
    assert written.arm(cell, "reactor")["generator_bound"] is True
    assert written.arm(cell, "threads")["generator_bound"] is False


def test_generator_bound_points_are_in_no_plot_of_latencies(tmp_path: Path) -> None:
    data = keepalive({8: 50, 64: 50}, {8: 60, 64: 60})
    for one in data.samples:
        one.values["generator_share"] = 0.9
    assert set(data.written(tmp_path).plots) == {"cpu", "bystander"}


def test_noisy_samples_are_counted(tmp_path: Path) -> None:
    data = Data(rounds=3)
    cell = data.cell("keepalive", 8)
    for turn in range(3):
        data.add(cell, "reactor", cpu_us=50).noisy = turn > 0
    written = data.shown(tmp_path)
    assert "3, 2 noisy" in written.text
    assert "noisy measurements 2 of 3" in written.text
    assert written.arm(cell, "reactor")["noisy"] == 2


def test_failures_are_shown_with_their_text(tmp_path: Path) -> None:
    data = Data(rounds=2)
    cell = data.cell("keepalive", 8)
    data.add(cell, "reactor", cpu_us=50)
    data.fail(cell, "reactor", "the moon was full")
    data.fail(cell, "threads", "no more threads")
    written = data.shown(tmp_path)
    assert "1 of 2 failed: the moon was full" in written.text
    assert "0 of 1 failed: no more threads" in written.text
    assert "| keepalive 8 | 50 / failed |" in written.table
    assert written.arm(cell, "threads")["failures"] == ["no more threads"]


def test_errors_stand_in_the_row_of_their_figures(tmp_path: Path) -> None:
    data = Data(rounds=2)
    cell = data.cell("burst", 5000)
    for errors in (0, 10):
        data.add(cell, "reactor", errors=errors, refused=5, requests=990, done_seconds=2)
    written = data.shown(tmp_path)
    row = re.search(r"<tr><th[^>]*><span[^>]*>reactor.*?</tr>", written.page)
    assert row is not None
    cells = [Balanced(one).text for one in re.findall(r"<td>.*?</td>", row[0])]
    assert cells == ["99.0 %", "2", "10 0.50 %", "10 0.50 %", "2"]


HOSTILE = "<script>alert('&')</script>\"|$x_{$ </style></svg>"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    data = Data()
    cell = data.cell("keepalive", 8, ("reactor", HOSTILE), title=HOSTILE)
    one = data.add(cell, "reactor", steady(0.001), cpu_us=50)
    one.server = one.generator = ["serve", HOSTILE]
    data.add(cell, HOSTILE, steady(0.001), cpu_us=50)
    data.fail(cell, "reactor", HOSTILE)
    data.add(data.cell(f'"><script>{HOSTILE}', 1), "reactor", steady(0.001))
    data.run.machine[HOSTILE] = HOSTILE
    data.run.versions[HOSTILE] = HOSTILE
    data.run = replace(data.run, commit=HOSTILE, plan=HOSTILE)
    written = data.written(tmp_path)
    assert f"failed: {HOSTILE}" in written.text
    assert f"serve {HOSTILE}" in written.text
    assert "<script" not in written.page
    assert "<script" not in written.table
    assert "<script" not in written.plots["bystander"]


def test_every_cell_has_its_commands(tmp_path: Path) -> None:
    written = keepalive({8: 50}, {8: 60}).shown(tmp_path)
    for text in ("serve reactor", "serve threads", "load keepalive-8"):
        assert f"<code>{text}</code>" in written.page
    assert 'href="raw.jsonl"' in written.page


# ------------------------------------------------------------------------------ partly served


def partly(rounds: int = 2, x: float = 512) -> Data:
    """The pool serves 32 of 512 connections, quickly; h2load prints no count of them."""
    data = Data(rounds)
    for at in (8, x):
        cell = data.cell("keepalive", at, ALL)
        few = {"jain": 32 / at} if at > 32 else {"served": 1.0, "jain": 1.0}
        for _ in range(rounds):
            counts = {"connections": at, "requests": 90_000, "errors": 0, "cpu_us": 50}
            whole = {"served": 1.0, "jain": 1.0} | counts
            data.add(cell, "reactor", {"service": [0.0131] * 1000}, **whole)
            data.add(cell, "threads", {"service": [0.0584] * 1000}, **whole)
            data.add(cell, "pool-32", {"service": [0.00125] * 1000}, **few, **counts)
    return data


def test_a_latency_of_few_connections_is_in_no_table(tmp_path: Path) -> None:
    written = partly().shown(tmp_path)
    row = next(line for line in written.table.splitlines() if line.startswith("| keepalive 512"))
    fields = [field.strip() for field in row.split("|")]
    assert fields[4:6] == ["100 % / 100 % / ≥ 6.25 %", "13.1 / 58.4 / partly served"]
    assert fields[7] == "0 / 0 / ≤ 960"  # 480 connections without a response, in two rounds
    assert "| served | p99 ms |" in written.table
    for text in (written.table, written.text):
        assert "it is not certain that 99 % of the connections" in text
    page = written.page[written.page.index('id="cells"') :]
    rows = re.findall(r'<tr><th[^>]*><span[^>]*class="arm"[^>]*>pool-32<.*?</tr>', page)
    assert ["1.25" in row for row in rows] == [True, False]  # with 8 connections, with 512
    assert "partly served" in rows[1]
    assert "960 without a response" in rows[1]


def test_a_latency_of_few_connections_is_not_compared() -> None:
    found = {(one.arm, one.figure) for one in losses(partly().summary()) if one.cell.cell.x == 512}
    assert found == set()
    found = {(one.arm, one.figure) for one in losses(partly().summary())}
    assert found == {("pool-32", "p99")}  # with 8 connections, which it serves


def test_a_latency_of_few_connections_is_hollow(tmp_path: Path) -> None:
    written = partly().written(tmp_path)
    for name in ("cpu", "p99"):
        tree = ElementTree.fromstring(written.plots[name])
        texts = [one.text for one in tree.iter("{http://www.w3.org/2000/svg}text")]
        assert "≥ 6.25 %" in texts, name
        assert texts.count("pool-32") == 1
    assert "Hollow points" in written.text
    data = partly()
    data.samples = [one for one in data.samples if one.arm != "pool-32"]
    whole = data.written(tmp_path)
    assert "≥" not in whole.plots["p99"]
    assert "Hollow points" not in whole.text


def test_a_distribution_of_few_requests_is_not_drawn() -> None:
    data = Data()
    cell = data.cell("open", 80)
    latencies = {"service": [0.001] * 1000, "intended": [0.002] * 1000}
    data.add(cell, "reactor", latencies, requests=1000, errors=0, offered=100)
    data.add(cell, "threads", latencies, requests=900, errors=100, offered=100)
    plot = next(one for one in charts(data.summary()) if one.name == "latency")
    assert ">reactor, intended</text>" in plot.svg
    assert "threads" not in plot.svg


def test_no_connection_served_is_a_row_without_a_latency(tmp_path: Path) -> None:
    data = Data()
    cell = data.cell("keepalive", 10_000)
    nothing = {"connections": 10_000, "served": 0.0, "jain": 0.0, "requests": 0, "rate": 0}
    data.add(cell, "threads", {"service": []}, errors=0, refused=0, **nothing)
    data.add(cell, "reactor", steady(0.001), connections=10_000, served=1.0, errors=0, rate=9)
    written = data.shown(tmp_path)
    assert "| 9 / 0 | 100 % / 0 % | 1 / not served | 1 / – | 0 / 10,000 |" in written.table


def test_nearly_all_is_not_all(tmp_path: Path) -> None:
    data = Data()
    cell = data.cell("open", 100)
    data.add(cell, "reactor", steady(0.001), requests=99_990, errors=4, offered=10_000, rate=1)
    table = data.shown(tmp_path).table
    assert "| 99.9 % / – | 1 / – |" in table, "99.996 % of 100,000 requests in ten seconds"


@pytest.mark.parametrize(("failed", "text"), [(10, "1 / 1"), (11, "1 / partly served")])
def test_a_bystander_that_is_served_in_part_has_no_latency(
    tmp_path: Path, failed: int, text: str
) -> None:
    data = Data()
    cell = data.cell("gzip", 1)
    data.add(cell, "reactor", steady(0.001))
    data.add(cell, "threads", steady(0.001), bystander_errors=failed)
    written = data.shown(tmp_path)
    assert f"| {text} |" in written.table
    assert f"{failed} {failed / 10:.2f} %".replace("1.00", "1") in written.text


def test_memory_is_not_divided_by_connections_without_a_response(tmp_path: Path) -> None:
    data = Data()
    cell = data.cell("slow-readers", 500)
    for arm, share in zip(BOTH, (1.0, 0.064), strict=True):
        data.add(cell, arm, served=share, connections=500, errors=0, process_bytes=512_000)
    assert "| 0 / 468 | 1 KiB / – |" in data.shown(tmp_path).table


def test_every_table_has_a_column_served(tmp_path: Path) -> None:
    written = everything(1).shown(tmp_path)
    heads = re.findall(r"<thead>.*?</thead>", written.page)
    outcomes = [head for head in heads if "errors" in head and ">round<" not in head]
    assert len(outcomes) == len({one["workload"] for one in written.json["cells"]})
    assert all("served" in head for head in outcomes)
    lines = written.table.splitlines()
    above = [line for line, rule in pairwise(lines) if rule.startswith("| ---")]
    assert above
    assert all("served" in head for head in above)


# ------------------------------------------------------------------------------ verdict


def sentence(data: Data, topic: str) -> tuple[str, str]:
    found = next(one for one in sentences(data.summary()) if one.topic == topic)
    assert found.text.endswith(".")
    assert found.text.count(". ") == 0
    return found.standing, found.text


def blocked(ours: float, theirs: float) -> Data:
    data = Data()
    cell = data.cell("block", 64)
    data.add(cell, "reactor", rate=ours)
    data.add(cell, "threads", rate=theirs)
    return data


@pytest.mark.parametrize(
    ("ours", "theirs", "standing", "words"),
    [
        (50, 3100, "loses", "loses by 62 ×: for 64 clients it serves 50 requests/s"),
        (100, 98, "even", "the reactor is even: for 64"),
        (300, 100, "holds", "wins by 3.0 ×"),
    ],
)
def test_the_verdict_on_handlers_that_block(
    ours: float, theirs: float, standing: str, words: str
) -> None:
    found, text = sentence(blocked(ours, theirs), "Handlers that block")
    assert found == standing
    assert words in text


@pytest.mark.parametrize(
    ("ours", "theirs", "standing", "words"),
    [
        ({8: 50, 800: 50}, {8: 60, 800: 90}, "holds", "cheaper at every measured number"),
        ({8: 70, 800: 95}, {8: 60, 800: 90}, "loses", "more expensive at every measured number"),
        (
            {10: 50, 1000: 50},
            {10: 25, 1000: 100},
            "falls short",
            "cheaper from about 100 connections on",
        ),
        (
            {10: 25, 1000: 100},
            {10: 50, 1000: 50},
            "loses",
            "more expensive from about 100 connections on",
        ),
        ({8: 50, 800: 50}, {8: 50, 800: 50}, "even", "the same at every measured number"),
        ({8: 50}, {8: 60}, "holds", "at 8 connections, and the threaded server 60:"),
        ({8: 50}, {64: 60}, "not measured", "not measured for both servers"),
    ],
)
def test_the_verdict_on_cpu(
    ours: dict[float, float], theirs: dict[float, float], standing: str, words: str
) -> None:
    found, text = sentence(keepalive(ours, theirs), "CPU per request")
    assert (found, words in text) == (standing, True), text


def mixed(cpu: tuple[float, float], tails: tuple[float, float]) -> Data:
    data = Data()
    cell = data.cell("mix", 500)
    for arm, cost, tail in zip(BOTH, cpu, tails, strict=True):
        data.add(cell, arm, {"intended": [tail] * 100}, cpu_us=cost, errors=0)
    return data


@pytest.mark.parametrize(
    ("cpu", "tails", "standing"),
    [
        ((100, 150), (0.01, 0.02), "holds"),
        ((100, 150), (0.02, 0.01), "falls short"),
        ((150, 100), (0.02, 0.01), "loses"),
        ((100, 101), (0.02, 0.01), "loses"),
        ((100, 101), (0.01, 0.01), "even"),
    ],
)
def test_the_verdict_on_the_same_load(
    cpu: tuple[float, float], tails: tuple[float, float], standing: str
) -> None:
    found, text = sentence(mixed(cpu, tails), "The same offered load")
    assert found == standing
    assert f"{cpu[0]:g} µs of CPU for each request, and the threaded server {cpu[1]:g}" in text
    assert "failed" not in text


def test_the_verdict_on_the_same_load_has_errors() -> None:
    data = mixed((100, 150), (0.01, 0.02))
    data.samples[0].values |= {"errors": 3, "refused": 4}
    assert "7 and 0 requests failed or were refused" in sentence(data, "The same offered load")[1]


def idle(ours: float, theirs: float, sockets: float = 0.0) -> Data:
    data = Data()
    cell = data.cell("idle", 1000)
    half = theirs / 2
    data.add(cell, "reactor", process_bytes=1000 * ours)
    data.add(cell, "threads", process_bytes=1000 * half, stacks_bytes=1000 * half)
    for one in data.samples:
        one.values |= {"sockets_bytes": 1000 * sockets} if sockets else {}
    return data


@pytest.mark.parametrize(
    ("ours", "theirs", "standing", "words", "target"),
    [
        (1024, 15 * 1024, "holds", "1 KiB for each, and the threaded server 15 KiB", "met"),
        (1024, 14 * 1024, "falls short", "14 × less; the target was 15 × less", "not met"),
        (1024, 1024, "even", "1.0 × less", "not met"),
        (2048, 1024, "loses", "2.0 × more", "not met"),
    ],
)
def test_the_verdict_on_memory(
    ours: float, theirs: float, standing: str, words: str, target: str
) -> None:
    data = idle(ours, theirs)
    found, text = sentence(data, "Memory")
    assert (found, words in text) == (standing, True), text
    assert verdict_of(data, "memory") == target


def test_memory_with_the_kernels_sockets_is_shown_too() -> None:
    data = idle(1000, 20_000, sockets=3000)
    found = next(one for one in targets(data.summary()) if "memory" in one.name)
    assert "20 ×" in found.measured
    assert "5.8 × with the kernel's sockets" in found.measured  # 23,000 and 4,000


def slow(ours: float, theirs: float, pool: Iterable[float] = ()) -> Data:
    data = Data()
    cell = data.cell("slow-heads", 500, ALL)
    data.add(cell, "reactor", {"bystander": [ours] * 100})
    data.add(cell, "threads", {"bystander": [theirs] * 100})
    data.add(cell, "pool-32", {"bystander": pool})
    return data


@pytest.mark.parametrize(
    ("ours", "theirs", "standing", "words"),
    [
        (0.002, 0.004, "holds", "p99 is 2 ms on the reactor, 4 ms on the threaded server"),
        (0.004, 0.002, "loses", "p99 is 4 ms on the reactor"),
        (0.030, 0.040, "falls short", "30 ms on the reactor (the target was at most 20 ms)"),
        (2.000, 0.004, "loses", "unlimited (out of service) on the reactor (the target"),
    ],
)
def test_the_verdict_on_bystanders(ours: float, theirs: float, standing: str, words: str) -> None:
    found, text = sentence(slow(ours, theirs), "Bystanders")
    assert (found, words in text) == (standing, True), text
    assert "unlimited (out of service) on the pool of 32 threads" in text


def test_the_worst_comes_first() -> None:
    """The order of the questions does not matter."""
    data = keepalive({8: 90, 64: 90}, {8: 50, 64: 50})
    cell = data.cell("block", 64)
    data.add(cell, "reactor", rate=300)
    data.add(cell, "threads", rate=100)
    found = [(one.topic, one.standing) for one in sentences(data.summary())]
    assert found[0] == ("CPU per request", "loses")
    assert found[1] == ("Handlers that block", "holds")
    assert {standing for _, standing in found[2:]} == {"not measured"}


# ------------------------------------------------------------------------------ targets


def verdict_of(data: Data, words: str) -> str:
    (found,) = [one for one in targets(data.summary()) if words in one.name]
    return found.verdict


@pytest.mark.parametrize(
    ("costs", "verdict"),
    [
        ({1: 500, 8: 50, 64: 60, 10_000: 100}, "met"),  # one connection is not asked about
        ({8: 50, 64: 101, 10_000: 60}, "not met"),
        ({8: 50, 4096: 60}, "not measured"),  # not to the end
        ({64: 50, 10_000: 60}, "not measured"),
        ({8: 50, 4096: 101}, "not met"),  # and no more is needed to know it
        ({8: 50}, "not measured"),
    ],
)
def test_flat_cpu(costs: dict[float, float], verdict: str) -> None:
    assert verdict_of(keepalive(costs, {}), "CPU per request") == verdict


@pytest.mark.parametrize(
    ("x", "values", "verdict"),
    [
        (4096, (0.98, 0.99, 1.0), "met"),
        (4096, (0.98, 0.98, 1.0), "not met"),
        (4000, (1.0, 1.0, 1.0), "not measured"),
    ],
)
@pytest.mark.parametrize("workload", ["keepalive", "fairness"])
def test_fairness(x: float, values: tuple[float, ...], verdict: str, workload: str) -> None:
    data = Data(rounds=3)
    if workload != "keepalive":
        data.add(data.cell("keepalive", 4096), "reactor", cpu_us=50)  # which does not count them
    cell = data.cell(workload, x)
    for jain in values:
        data.add(cell, "reactor", jain=jain)
    assert verdict_of(data, "Jain") == verdict


@pytest.mark.parametrize(
    ("pool", "verdict"),
    [([], "met"), ([1.5] * 30 + [0.1] * 70, "met"), ([0.9] * 200, "not met")],
)
def test_a_pool_out_of_service(pool: list[float], verdict: str) -> None:
    data = slow(0.001, 0.001, pool)
    assert verdict_of(data, "pool of 32") == verdict
    assert verdict_of(data, "the reactor's bystander") == "met"


@pytest.mark.parametrize(("errors", "verdict"), [(24, "not met"), (25, "met")])
def test_a_quarter_without_a_response_is_out_of_service(errors: float, verdict: str) -> None:
    data = slow(0.001, 0.001, [0.001] * 100)
    data.samples[-1].values["bystander_errors"] = errors
    assert verdict_of(data, "pool of 32") == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(0.02, "met"), (0.021, "not met")])
def test_a_calm_bystander(ours: float, verdict: str) -> None:
    assert verdict_of(slow(ours, 1), "the reactor's bystander") == verdict


@pytest.mark.parametrize(("theirs", "verdict"), [(500, "met"), (499, "not met")])
def test_losing_by_far(theirs: float, verdict: str) -> None:
    assert verdict_of(blocked(100, theirs), "blocks") == verdict


# ------------------------------------------------------------------------------ losses


def rounds_of(change: Callable[[int], tuple[float, float]]) -> Data:
    data = Data(rounds=3)
    cell = data.cell("gzip", 1)
    for turn in range(3):
        for arm, cost in zip(BOTH, change(turn), strict=True):
            data.add(cell, arm, cpu_us=cost)
    return data


def test_where_else_it_is_behind(tmp_path: Path) -> None:
    data = rounds_of(lambda turn: (80 + turn, 60 + turn))
    (found,) = losses(data.summary())
    assert (found.figure, found.ours, found.theirs) == ("CPU µs/request", "81", "61")
    written = data.shown(tmp_path)
    assert "gzip 1 CPU µs/request 81 61 threads 1.3 ×" in written.text
    assert "| gzip 1 | CPU µs/request | 81 | threads 61 | 1.3 × | – / – |" in written.table
    assert "may be chance" not in written.text
    del data.samples[2:]  # interrupted in the second of three rounds
    assert "it may be chance" in data.shown(tmp_path).text


@pytest.mark.parametrize(
    "change",
    [
        lambda turn: (60 + turn, 80 + turn),  # ahead
        lambda turn: (61 + turn / 100, 60 + turn / 100),  # even
        lambda turn: (80 + turn, 60 + 11 * turn),  # rounds overlap
    ],
)
def test_cells_in_which_it_is_not_behind(change: Callable[[int], tuple[float, float]]) -> None:
    assert losses(rounds_of(change).summary()) == []


def test_it_is_not_ahead_where_it_was_not_compared(tmp_path: Path) -> None:
    text = keepalive({8: 50, 64: 50}, {8: 60}).shown(tmp_path).text
    assert "In 1 cell with another server, none is better" in text
    text = keepalive({8: 50}, {64: 60}).shown(tmp_path).text
    assert "The reactor and another server in the same cell. This run has not measured it" in text
    assert "none is better" not in text


def test_the_best_of_the_other_servers_stands_beside_a_loss() -> None:
    data = Data()
    cell = data.cell("keepalive", 8, (*ALL, "nginx"))
    for arm, cost in zip((*ALL, "nginx"), (50, 40, 30, 35), strict=True):
        data.add(cell, arm, cpu_us=cost)
    (found,) = losses(data.summary())
    assert (found.arm, found.theirs) == ("pool-32", "30")


def test_a_loss_has_the_figures_of_the_tables(tmp_path: Path) -> None:
    """The rounds' p99 are 0.2, 0.3 and 0.4 ms; that of all requests is not their median."""
    data = Data(rounds=3)
    cell = data.cell("events", 1000)
    for turn in range(3):
        data.add(cell, "reactor", {"service": [0.002] * 1000})
        data.add(cell, "threads", {"service": [0.0002 + turn / 10000] * (10 if turn else 5000)})
    (found,) = losses(data.summary())
    written = data.shown(tmp_path)
    merged = written.arm(cell, "threads")["latencies"]["service"]["p99"]
    assert found.theirs == f"{merged * 1000:.2f} ms"
    assert found.ratio == pytest.approx(0.002 / merged, rel=0.05)
    assert f"| 2 / {merged * 1000:.2f} |" in written.table


def test_a_server_that_does_not_serve_its_bystander_loses_against_one_that_does() -> None:
    data = Data()
    cell = data.cell("block", 64)
    data.add(cell, "reactor", {"bystander": [2.0] * 300})
    data.add(cell, "threads", {"bystander": [0.001] * 300})
    (found,) = losses(data.summary())
    assert (found.ours, found.theirs) == ("out of service", "1 ms")
    data.samples[0] = replace(data.samples[1], arm="reactor", values={"bystander_errors": 10})
    (found,) = losses(data.summary())
    assert (found.ours, found.theirs) == ("partly served", "1 ms")
    data.samples.reverse()
    data.samples = [replace(one, arm=BOTH[at]) for at, one in enumerate(data.samples)]
    assert losses(data.summary()) == []


def test_unserved_connections_are_a_loss_of_the_reactor_as_well() -> None:
    data = Data()
    cell = data.cell("keepalive", 512)
    data.add(cell, "reactor", steady(0.001), connections=512, served=0.5)
    data.add(cell, "threads", steady(0.1), connections=512, served=1.0)
    found = [(one.figure, one.ours, one.theirs) for one in losses(data.summary())]
    assert found == [("served", "50 %", "100 %")]


def test_less_requests_are_behind_but_not_where_all_get_the_same_offer() -> None:
    data = Data()
    for workload in ("gzip", "open"):
        cell = data.cell(workload, 1)
        data.add(cell, "reactor", rate=50)
        data.add(cell, "threads", rate=100)
    (found,) = losses(data.summary())
    assert (found.cell.cell.workload, found.figure) == ("gzip", "requests/s")


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ([(1, 10), (100, 10)], [(1, 1), (100, 100)], [(10, 10, True)]),
        ([(1, 1), (100, 100)], [(1, 10), (100, 10)], [(10, 10, False)]),
        ([(1, 1), (100, 1)], [(1, 2), (100, 2)], []),
        ([(1, 1), (10, 2), (100, 1)], [(1, 2), (10, 2), (100, 4)], []),  # it touches
        ([(1, 1), (50, 9)], [(2, 2), (100, 2)], []),  # no x in common
        ([(0, 1), (100, 10)], [(0, 2), (100, 1)], []),  # zero is nowhere on such paper
    ],
)
def test_where_lines_cross(
    first: comparison.Points, second: comparison.Points, found: list[tuple[float, float, bool]]
) -> None:
    crossings = comparison.crossings(first, second)
    computed = [(round(one.x, 6), round(one.y, 6), one.below) for one in crossings]
    assert computed == found


def test_the_crossing_is_marked(tmp_path: Path) -> None:
    written = keepalive({10: 50, 1000: 50}, {10: 25, 1000: 100}).written(tmp_path)
    assert "crossing near 100" in written.plots["cpu"]
    assert "cheaper from about 100 connections on" in written.text
    written = keepalive({10: 50, 1000: 50}, {10: 60, 1000: 100}).written(tmp_path)
    assert "crossing" not in written.plots["cpu"]
    assert "the lines do not cross" in written.text


# ------------------------------------------------------------------------------ the table


def test_the_losses_come_first_and_then_the_mix() -> None:
    data = everything(1)
    for one in data.samples:
        if one.workload in ("block", "events") and one.arm == "reactor":
            one.values["cpu_us"] = 500
    table = markdown.markdown(data.summary())
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line[:1] == "|"]
    lost = losses(data.summary())
    assert {one.cell.cell.title for one in lost} == {"block 1", "block 64", "events 16"}
    assert rows[: 2 + len(lost)] == ["", "---", *(one.cell.cell.title for one in lost)]
    rows = rows[2 + len(lost) :]
    assert rows[:8] == [
        *("offered/s", "---", "100", "200"),
        *("", "---", "burn 5", "burn 200"),
    ]
    assert rows[8:10] == ["block 1", "block 64"]


def test_figures_stand_where_their_arm_has_its_place() -> None:
    data = Data()
    for x, arms in ((1, BOTH), (2, ["threads"]), (3, ["reactor"]), (4, ["nginx"])):
        cell = data.cell("gzip", x, arms)
        for cost, arm in enumerate(arms, 5 * x):
            data.add(cell, arm, cpu_us=cost)
    table = markdown.markdown(data.summary())
    assert "Each column has reactor / threads;" in table
    found = re.findall(r"^\| gzip \d \| (.*?) \|", table, re.M)
    assert found == ["5 / 6", "– / 10", "15", "–"]


def test_a_table_has_room_for_every_loss_and_every_workload() -> None:
    data = Data()
    for x in range(40):
        data.add(data.cell("keepalive", x + 1), "reactor", cpu_us=50)
    for workload in ("gzip", "burst", "block", "burn"):
        for x in (1, 2):
            data.add(data.cell(workload, x), "reactor", cpu_us=50)
    kept = markdown.fitting(data.summary(), 20)
    counts = dict.fromkeys(("block", "burn", "keepalive", "gzip", "burst"), 0)
    for one in kept:
        counts[one.cell.workload] += 1
    assert counts == {"block": 2, "burn": 2, "keepalive": 14, "gzip": 1, "burst": 1}
    ends = [one.cell.x for one in kept if one.cell.workload == "keepalive"]
    assert (ends[0], ends[-1]) == (1, 40)
    assert "17 more cells are in the report" in markdown.markdown(data.summary())


# ------------------------------------------------------------------------------ the last run


def run_of(rounds: int, cost: float, started: float) -> Data:
    data = Data(rounds)
    data.run.started = started
    cell = data.cell("keepalive", 8)
    for turn in range(rounds):
        data.add(cell, "reactor", steady(0.001), cpu_us=cost + turn)
    return data


def follow(directory: Path, before: Data, now: Data) -> Written:
    before.shown(directory)
    (directory / "report.json").rename(directory / "previous.json")
    return now.shown(directory)


def test_a_change_beyond_the_rounds_is_shown(tmp_path: Path) -> None:
    written = follow(tmp_path, run_of(3, 50, 1), run_of(3, 60, 2))
    assert "1 of 2 figures changed" in written.text
    assert "keepalive-8 reactor CPU 51 µs 61 µs +19.6%" in written.text
    assert '<span class="bad">+19.6%</span>' in written.page
    assert '<span class="faint">+0.0%</span>' in written.page


def test_a_difference_within_the_rounds_is_not_a_change(tmp_path: Path) -> None:
    written = follow(tmp_path, run_of(3, 50, 1), run_of(3, 51, 2))
    assert "0 of 2 figures changed" in written.text
    assert '<span class="faint">+2.0%</span>' in written.page


def test_one_round_cannot_tell_a_change(tmp_path: Path) -> None:
    assert "0 of 2 figures changed" in follow(tmp_path, run_of(3, 50, 1), run_of(1, 99, 2)).text


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    assert "this same run" in follow(tmp_path, run_of(3, 50, 1), run_of(3, 50, 1)).text


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"started": 1, "plan": "", "cells": 3}'])
def test_a_malformed_previous_report_is_noted(tmp_path: Path, text: str) -> None:
    (tmp_path / "previous.json").write_text(text)
    assert "previous.json is not a report" in run_of(3, 50, 2).shown(tmp_path).text


# ------------------------------------------------------------------------------ lessons


def test_lessons_have_their_numbers(tmp_path: Path) -> None:
    data = Data(rounds=2)
    cell = data.cell("open", 120)
    for due in (4.0, 5.0):
        data.add(
            cell,
            "threads",
            {"service": [0.01] * 100, "intended": [due] * 100},
            generator_share=0.5,
        )
    cell = data.cell("keepalive", 4096)
    for _ in range(2):
        data.add(cell, "threads", steady(0.1, 100), refused=30, served=0.25, connections=4096)
    text = data.shown(tmp_path).text
    assert "p99 is 10 ms from when a request was sent, and 5 s from when it was due" in text
    assert (
        "rounds' p99 are 4.50 s on average, the p99 of all requests is 5 s: an error of 10.0 %"
        in text
    )
    assert "60 requests were refused." in text, "the p99 of a quarter is not shown"
    assert "connections without any response: 75 %" in text
    assert (
        "0 of 1 figures are generator-bound; the core of the busiest generator was busy for 50 %"
        in text
    )
    assert "2 cores" in text


def test_lessons_without_numbers_have_no_example(tmp_path: Path) -> None:
    data = Data()
    data.run.machine.clear()
    assert "Here:" not in data.shown(tmp_path).text
