"""The published report: made of a full run from its raw data, and shown on the page Performance.

Every figure that a reader sees (the README, the page Performance, the verdict and the losses of the
report) is computed here again, from the lines of the raw data and without the report's code.
"""

import html
import json
import math
import re
import shutil
import statistics
from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtest.experiment.measure import samples
from loadtest.experiment.report.markdown import headline
from loadtest.experiment.report.summary import summarized
from loadtest.experiment.report.write import write
from tests.support.paths import ROOT

PUBLISHED = ROOT / "docs" / "experiment"
PAGE = (ROOT / "docs" / "performance.md").read_text()
README = (ROOT / "README.md").read_text()
REPORT = (PUBLISHED / "index.html").read_text()
BOTH = ("reactor", "threads")
FROM_8 = (8, 64, 512, 4096, 10_000)  # connections
MIXES = (500, 1000, 2000, 4000)  # requests/s
SLOW = ("heads", "readers")
NAMES = {
    "reactor": "the reactor",
    "threads": "the threaded server",
    **{name: name for name in ("uvicorn", "nginx", "waitress", "tornado", "http.server")},
}


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("report")
    shutil.copyfile(PUBLISHED / samples.FILE, directory / samples.FILE)
    write(directory)
    return directory


def figures(directory: Path) -> Any:
    return json.loads((directory / "report.json").read_text())


def test_the_report_is_of_a_complete_full_run() -> None:
    recorded = samples.read(PUBLISHED / samples.FILE)
    assert recorded.ended
    assert recorded.run.plan == "full"
    assert recorded.run.rounds >= 5
    planned = sum(len(cell.arms) for cell in recorded.run.cells) * recorded.run.rounds
    assert len(recorded.samples) == planned


@pytest.mark.slow
def test_the_report_follows_from_its_raw_data(again: Path) -> None:
    assert figures(again) == figures(PUBLISHED)
    assert (again / "table.md").read_text() == (PUBLISHED / "table.md").read_text()


def test_the_performance_page_has_its_table_and_its_plots() -> None:
    assert (PUBLISHED / "table.md").read_text().strip() in PAGE
    for name in ("cpu.svg", "p99.svg"):
        assert f"](experiment/{name})" in PAGE
        assert (PUBLISHED / name).read_text().lstrip().startswith("<?xml")


def test_the_readme_has_its_table() -> None:
    summary = summarized(samples.read(PUBLISHED / samples.FILE))
    assert headline(summary).strip() in README


# ------------------------------------------------------------------------------ from the raw data

# The figures are computed here once more, from the lines of the raw data alone: by another way
# than the report's, and without its code.

Number = float | None
SHARES = {"p50 ms": 0.5, "p99 ms": 0.99, "p99.9 ms": 0.999}


class Raw:
    """The figures of the published raw data."""

    def __init__(self) -> None:
        lines = [json.loads(line) for line in (PUBLISHED / "raw.jsonl").read_text().splitlines()]
        self.run = lines[0]
        self.cells = {one["name"]: one for one in self.run["cells"]}
        self.named = {title_of(one): name for name, one in self.cells.items()}
        self.samples = [one for one in lines if one["kind"] == "sample"]

    def of(self, cell: str, arm: str) -> list[dict[str, Any]]:
        return [one for one in self.samples if (one["cell"], one["arm"]) == (cell, arm)]

    def arms(self, cell: str) -> list[str]:
        return list(self.cells[cell]["arms"])

    def rounds(self, cell: str, arm: str, name: str) -> list[float]:
        return [one["values"][name] for one in self.of(cell, arm) if name in one["values"]]

    def median(self, cell: str, arm: str, name: str) -> Number:
        values = sorted(self.rounds(cell, arm, name))
        return statistics.median(values) if values else None

    def total(self, cell: str, arm: str, name: str) -> float:
        return sum(self.rounds(cell, arm, name))

    def bound(self, cell: str, arm: str) -> bool:
        if self.cells[cell]["workload"] == "burst":
            return False
        return max(self.rounds(cell, arm, "generator_share"), default=0.0) > 0.8

    def percentile(self, cell: str, arm: str, share: float, name: str) -> Number:
        """Seconds, of all rounds together."""
        return percentile_of([one["latencies"][name] for one in self.of(cell, arm)], share)

    def has(self, cell: str, arm: str, name: str) -> bool:
        return any(name in one["latencies"] for one in self.of(cell, arm))

    def tail(self, cell: str, arm: str, share: float = 0.99) -> Number:
        name = "intended" if self.has(cell, arm, "intended") else "service"
        if not self.has(cell, arm, name) or self.bound(cell, arm):
            return None
        served = self.served(cell, arm)
        if served is not None and served < 0.99:
            return None
        return self.percentile(cell, arm, share, name)

    def rounds_of_tail(self, cell: str, arm: str, name: str) -> list[float]:
        each = (percentile_of([one["latencies"][name]], 0.99) for one in self.of(cell, arm))
        return [value for value in each if value is not None]

    def served(self, cell: str, arm: str) -> Number:
        """The share of connections with a response: counted, or the least after Jain's index."""
        shares = []
        for one in self.of(cell, arm):
            values = one["values"]
            failed = values.get("errors", 0) + values.get("refused", 0)
            if "served" in values:
                shares.append(values["served"])
            elif "jain" in values:
                count = values["connections"]
                shares.append(math.ceil(values["jain"] * count - 1e-6) / count)
            elif one["workload"] in ("open", "overload"):
                shares.append(1 - failed / (values["offered"] * one["seconds"]))
            elif one["workload"] in ("mix", "connect"):
                shares.append(values["requests"] / (values["requests"] + failed))
            elif one["workload"] == "idle" and values["connections"]:
                shares.append(1 - failed / values["connections"])
        return sum(shares) / len(shares) if shares else None

    def failed(self, cell: str, arm: str) -> float:
        """Errors, refusals and connections without a response."""
        known = self.total(cell, arm, "errors") + self.total(cell, arm, "refused")
        if not self.rounds(cell, arm, "jain") and not self.rounds(cell, arm, "served"):
            return known
        served, count = self.served(cell, arm), self.total(cell, arm, "connections")
        assert served is not None
        return max(known, round(count * (1 - served)))

    def out_of_service(self, cell: str, arm: str) -> bool:
        if not self.has(cell, arm, "bystander") or self.bound(cell, arm):
            return False
        counts = [one["latencies"]["bystander"]["counts"] for one in self.of(cell, arm)]
        whole = sum(count for each in counts for _, count in each)
        if self.total(cell, arm, "bystander_errors") >= whole / 4:
            return True
        return (percentile_of([{"counts": [*chain(*counts)]}], 0.75, few=True) or 0.0) > 1.0

    def bystander(self, cell: str, arm: str) -> Number:
        if self.bound(cell, arm) or not self.has(cell, arm, "bystander"):
            return None
        counts = [one["latencies"]["bystander"]["counts"] for one in self.of(cell, arm)]
        whole = sum(count for each in counts for _, count in each)
        if self.total(cell, arm, "bystander_errors") > whole / 100:
            return None
        return self.percentile(cell, arm, 0.99, "bystander")

    def memory(self, cell: str, arm: str) -> Number:
        parts = [self.median(cell, arm, f"{one}_bytes") for one in ("process", "stacks", "tables")]
        count = float(self.cells[cell]["x"])
        served = self.served(cell, arm)
        if parts[0] is None or not count or (served is not None and served < 0.99):
            return None
        return sum(part for part in parts if part is not None) / count


def title_of(cell: dict[str, Any]) -> str:
    title: str = cell["title"]
    return title.replace("connections", "connection") if cell["x"] == 1 else title


def percentile_of(histograms: list[dict[str, Any]], share: float, few: bool = False) -> Number:
    """Seconds. A bucket is a microsecond wide up to 64, and then there are 32 to a doubling."""
    counts: Counter[int] = Counter()
    for one in histograms:
        counts.update({int(bucket): 0 for bucket, _ in one["counts"]})
        for bucket, count in one["counts"]:
            counts[int(bucket)] += count
    whole = sum(counts.values())
    if not few and round(whole * (1 - share), 6) < 1:
        return None
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= share * whole - 1e-9:
            break
    end = bucket + 1
    if bucket >= 64:
        doublings = bucket // 32 - 1
        end = (bucket - doublings * 32 + 1) * 2**doublings
    longest = max((one.get("longest", math.inf) for one in histograms), default=math.inf)
    return float(min(end / 1e6, longest))


def agrees(text: str, value: Number, unit: float = 1.0) -> bool:
    """Whether a text with three digits is this value, to its last digit."""
    if value is None:
        return not any(map(str.isdigit, text))
    found = re.fullmatch(r"[≥≤]? ?([\d,]+)(?:\.(\d+))?†?", text.strip())
    if found is None:
        return False
    shown = float(text.strip("≥≤† ").replace(",", ""))
    digits = len(found[2] or "")
    return abs(shown - value * unit) <= 0.5000001 * 0.1**digits


@pytest.fixture(scope="module")
def raw() -> Raw:
    return Raw()


def tables_of(text: str) -> list[list[list[str]]]:
    """The fields of each table in a Markdown text, with its head."""
    found = re.findall(r"(?:^\|.*\n)+", text, re.M)
    lines = [[line for line in one.splitlines() if "| ---" not in line] for one in found]
    return [[[each.strip() for each in line.split("|")[1:-1]] for line in one] for one in lines]


def sized(text: str, value: Number) -> bool:
    """Whether it is a size in bytes, as in `1.05 KiB`."""
    number, _, unit = text.partition(" ")
    return agrees(number, value, {"B": 1.0, "KiB": 1 / 1024, "MiB": 1 / 1024**2}.get(unit, 1.0))


def timed(text: str, value: Number) -> bool:
    """Whether it is a duration, as in `2.30 ms`."""
    number, _, unit = text.partition(" ")
    return agrees(number, value, 1.0 if unit == "s" else 1000.0)


def shared(text: str, value: Number) -> bool:
    """Whether it is a share in percent; 100 % are all, and not nearly all."""
    if value is not None and 0.999 < value < 1:
        return text == "99.9 %"
    return agrees(text.removesuffix("%").strip(), value, 100.0)


def field_is_right(raw: Raw, head: str, text: str, cell: str, arm: str) -> bool:
    """Whether a field of the tables of cells follows from the raw data."""
    bound = raw.bound(cell, arm)
    if head in ("CPU µs", "CPU µs/request"):
        mark = ("†" in text) == (bound and raw.median(cell, arm, "cpu_us") is not None)
        return mark and agrees(text, raw.median(cell, arm, "cpu_us"))
    if head == "served":
        return shared(text, raw.served(cell, arm))
    if head in ("errors", "errors + refused"):
        return agrees(text, raw.failed(cell, arm))
    if head == "offered/s":
        return agrees(text, raw.median(cell, arm, "offered"))
    if head in ("bystander errors", "refused"):
        name = head.replace(" ", "_")
        return agrees(text, raw.total(cell, arm, name) if raw.rounds(cell, arm, name) else None)
    if head == "requests/s":
        return agrees(text, None if bound else raw.median(cell, arm, "rate"))
    if head in SHARES:
        return agrees(text, raw.tail(cell, arm, SHARES[head]), 1000)
    if head == "bystander p99 ms":
        if raw.out_of_service(cell, arm):
            return text == "out of service"
        return agrees(text, raw.bystander(cell, arm), 1000)
    assert head == "memory each", head
    return sized(text, raw.memory(cell, arm))


def test_every_figure_of_the_table_of_cells_follows_from_the_raw_data(raw: Raw) -> None:
    heads, *rows = tables_of(PAGE[PAGE.index("Each column has reactor") :])[0]
    assert len(rows) >= 20
    for title, *fields in rows:
        cell = raw.named[title]
        for head, field in zip(heads[1:], fields, strict=True):
            texts = field.split(" / ")
            arms = [one for one in ("reactor", "threads", "pool-32") if one in raw.arms(cell)]
            if len(texts) == 1:  # all are alike
                texts *= len(arms)
            for arm, text in zip(arms, texts, strict=True):
                assert field_is_right(raw, head, text, cell, arm), (title, head, arm, text)


def test_every_figure_of_the_mix_follows_from_the_raw_data(raw: Raw) -> None:
    heads, *rows = tables_of(PAGE[PAGE.index("The locust mix,") :])[0]
    assert len(rows) == 4
    for offered, *fields in rows:
        for head, text in zip(heads[1:], fields, strict=True):
            arm, _, figure = head.partition(": ")
            cell = f"mix-{offered.replace(',', '')}"
            assert field_is_right(raw, figure, text, cell, arm), (offered, head, text)


OTHER_HEADS = {  # figures with a form of their own, and the number of rounds
    *("Jain's index", "bodies/s", "all served, s", "recovered, s", "generator late, ms"),
    *("with kernel's", "rounds"),
}


def rows_of_the_report() -> Iterator[tuple[str, str, str, str]]:
    """Title of the cell, arm, head and text of each field in the tables of cells."""
    for table in re.findall(r'<table class="outcomes">.*?</table>', REPORT, re.S):
        heads = [html.unescape(one) for one in re.findall(r'<th scope="col">(.*?)</th>', table)]
        for body in re.findall(r"<tbody>(.*?)</tbody>", table, re.S):
            (title,) = re.findall(r'colspan="\d+"><span>(.*?)</span>', body)
            for row in re.findall(r'<tr><th scope="row">.*?</tr>', body, re.S):
                (arm,) = re.findall(r'class="arm"[^>]*>(.*?)<', row)
                fields = re.findall(r"<td>(.*?)</td>", row, re.S)
                for head, field in zip(heads[1:], fields, strict=True):
                    text = re.sub(r'<small class="under">.*?</small>|<[^>]+>', "", field)
                    yield html.unescape(title), arm, head, html.unescape(text)


def test_every_figure_of_the_reports_tables_follows_from_the_raw_data(raw: Raw) -> None:
    checked = 0
    for title, arm, head, text in rows_of_the_report():
        cell = raw.named[title]
        if head in OTHER_HEADS or (head == "errors" and not any(map(str.isdigit, text))):
            continue
        assert field_is_right(raw, head, text, cell, arm), (title, arm, head, text)
        checked += 1
    assert checked > 900


def test_the_report_is_that_of_the_code(again: Path) -> None:
    """All of the page but its plots, whose paths depend on the version of matplotlib."""
    pages = (REPORT, (again / "index.html").read_text())
    first, second = (re.sub(r"<svg.*?</svg>", "", page, flags=re.S) for page in pages)
    assert first == second


def test_the_figures_of_the_targets_follow_from_the_raw_data(raw: Raw) -> None:
    costs = [raw.median(f"keepalive-{x}", "reactor", "cpu_us") or 0.0 for x in FROM_8]
    even = raw.rounds("fairness-4096", "reactor", "jain")
    memory = [raw.memory("idle-10000", arm) or 0.0 for arm in BOTH]
    sockets = [(raw.median("idle-10000", arm, "sockets_bytes") or 0.0) / 10_000 for arm in BOTH]
    ours, theirs = (own + kernel for own, kernel in zip(memory, sockets, strict=True))
    waits = [(raw.bystander(f"slow-{one}-500", "reactor") or 0) * 1000 for one in SLOW]
    rates = [raw.median("block-64", arm, "rate") or 0.0 for arm in BOTH]
    sizes = [one / 1024 for one in memory]
    expected = [
        [max(costs) / min(costs), min(costs), max(costs)],
        [statistics.median(even), min(even), max(even)],
        [memory[1] / memory[0], *sizes, 10_000, theirs / ours],
        [],
        waits,
        [*rates, rates[1] / rates[0]],
    ]
    for one, values in zip(figures(PUBLISHED)["targets"], expected, strict=True):
        text = one["measured"].replace("p99", "").replace("–", " ").replace("(", " ")
        pairs = list(zip(figures_in(text), values, strict=True))
        assert all(agrees(shown, value) for shown, value in pairs), (one["measured"], pairs)
        assert one["measured"] in html.unescape(REPORT)


def test_the_figures_of_the_captions_follow_from_the_raw_data(raw: Raw) -> None:
    captions = [html.unescape(one) for one in re.findall(r"<figcaption>(.*?)</figcaption>", REPORT)]
    memory, latency, throughput, beside = captions[2:]
    for name, text in NAMES.items():
        found = re.search(rf"{text} ([\d.]+) MiB at ([\d,]+) connections", memory)
        assert found is not None, text
        parts = ("process", "stacks", "tables", "sockets")
        cell = f"idle-{found[2].replace(',', '')}"
        whole = sum(max(0.0, raw.median(cell, name, f"{one}_bytes") or 0.0) for one in parts)
        assert agrees(found[1], whole / 1024**2), text
    tails = [
        raw.percentile("open-80", arm, 0.99, name)
        for arm in BOTH
        for name in ("intended", "service")
    ]
    shown = re.findall(r"of ([\d.,]+ m?s) from", latency)
    assert all(timed(text, value) for text, value in zip(shown, tails, strict=True))
    cells = [name for name in raw.cells if name.startswith("open-")]
    most = [max(raw.median(cell, arm, "rate") or 0.0 for cell in cells) for arm in BOTH]
    shown = re.findall(r"(?:reactor|server) ([\d,]+)", throughput)
    assert all(agrees(text, value) for text, value in zip(shown, most, strict=True))
    for arm, count in re.findall(r"([\w.-]+) in (\d+)", beside.partition("Cells out of")[2]):
        lost = [
            cell for cell in raw.cells if arm in raw.arms(cell) and raw.out_of_service(cell, arm)
        ]
        assert len(lost) == int(count), arm


def test_the_figures_of_the_lessons_follow_from_the_raw_data(raw: Raw) -> None:
    quotes = [html.unescape(one) for one in re.findall(r"<q>Here: (.*?)</q>", REPORT)]
    pairs = [(cell, arm) for cell in raw.cells for arm in raw.arms(cell)]
    bound = [one for one in pairs if raw.bound(*one)]
    noisy = sum(one["noisy"] for one in raw.samples)
    assert any(one.startswith(f"{len(bound)} of {len(pairs)} figures") for one in quotes)
    assert any(one.startswith(f"{noisy} of {len(raw.samples)} measurements") for one in quotes)
    (starved,) = [one for one in quotes if "connections without any response" in one]
    shares = [raw.served(f"keepalive-{x}", "threads") for x in FROM_8]
    least = min(one for one in shares if one is not None)
    assert agrees(starved.rpartition(": ")[2].removesuffix(" %."), 1 - least, 100)
    (omission,) = [one for one in quotes if "from when it was due" in one]
    both = [
        (raw.percentile(*one, 0.99, "service"), raw.percentile(*one, 0.99, "intended"))
        for one in pairs
        if raw.has(*one, "service") and raw.has(*one, "intended") and not raw.bound(*one)
    ]
    gaps = [(due / service, service, due) for service, due in both if service and due]
    tails = max(gaps)[1:]
    shown = re.findall(r"([\d.]+ m?s) from when", omission)
    assert all(timed(text, value) for text, value in zip(shown, tails, strict=True))


def loss_of(raw: Raw, figure: str, cell: str, arm: str) -> Number:
    """A compared figure; infinite where the bystander is not served."""
    if figure == "CPU µs/request":
        return raw.median(cell, arm, "cpu_us")
    if figure == "requests/s":
        return None if raw.bound(cell, arm) else raw.median(cell, arm, "rate")
    if figure == "p99":
        return raw.tail(cell, arm)
    if figure == "memory each":
        return raw.memory(cell, arm)
    assert figure == "p99 of a bystander", figure
    return math.inf if raw.out_of_service(cell, arm) else raw.bystander(cell, arm)


def test_every_loss_follows_from_the_raw_data(raw: Raw) -> None:
    _, *rows = tables_of(PAGE[PAGE.index("The reactor loses in") :])[0]
    form = {"p99": timed, "p99 of a bystander": timed, "memory each": sized}
    for title, figure, ours, better, behind, served in rows:
        cell = raw.named[title]
        arm, _, theirs = better.partition(" ")
        right = form.get(figure, agrees)
        mine, other = (loss_of(raw, figure, cell, one) for one in ("reactor", arm))
        assert other is not None
        assert mine is not None
        if mine == math.inf:
            assert (ours, behind) == ("out of service", "–")
        else:
            assert right(ours, mine), (title, figure, ours, mine)
            assert agrees(behind.removesuffix(" ×"), max(mine / other, other / mine)), title
        assert right(theirs, other), (title, figure, theirs, other)
        for text, one in zip(served.split(" / "), ("reactor", arm), strict=True):
            assert shared(text, raw.served(cell, one)), (title, served)


def test_no_loss_is_left_out(raw: Raw) -> None:
    """By more than a twentieth and in every round, in any figure, to any server."""
    _, *rows = tables_of(PAGE[PAGE.index("The reactor loses in") :])[0]
    listed = {(raw.named[row[0]], row[1]) for row in rows}
    assert f"loses in {len(rows)} figures" in PAGE
    assert f"[{len(rows)} losses](docs/performance.md#" in README
    pairs = [(name, arm) for name in raw.cells for arm in raw.arms(name)[1:]]
    for cell, arm in pairs:
        offered = raw.cells[cell]["workload"] in ("open", "mix", "overload")
        for figure in ("CPU µs/request", "requests/s", "p99", "memory each", "p99 of a bystander"):
            if figure == "requests/s" and offered:
                continue
            mine, other = (loss_of(raw, figure, cell, one) for one in ("reactor", arm))
            if mine is None or other is None:
                continue
            more = figure == "requests/s"
            worse = other > 1.06 * mine if more else mine > 1.06 * other
            if worse and rounds_apart(raw, figure, cell, arm):
                assert (cell, figure) in listed, (cell, figure, arm, mine, other)


def rounds_apart(raw: Raw, figure: str, cell: str, arm: str) -> bool:
    """Whether the worst round of the other server is better than the best of the reactor."""
    names = {"CPU µs/request": "cpu_us", "requests/s": "rate", "memory each": "process_bytes"}
    if figure in names:
        ours, theirs = (raw.rounds(cell, one, names[figure]) for one in ("reactor", arm))
    else:
        service = "intended" if raw.has(cell, arm, "intended") else "service"
        name = "bystander" if "bystander" in figure else service
        ours, theirs = (raw.rounds_of_tail(cell, one, name) for one in ("reactor", arm))
    if not ours or not theirs or raw.out_of_service(cell, "reactor"):
        return True
    return max(ours) < min(theirs) or max(theirs) < min(ours)


def test_the_figures_of_the_readme_follow_from_the_raw_data(raw: Raw) -> None:
    _, *rows = tables_of(README[README.index("## Five figures") :])[0]
    assert len(rows) == 5
    cells = ["block-64", "events-1000", "keepalive-64", "keepalive-4096", "idle-10000"]
    for cell, (title, *values, served) in zip(cells, rows, strict=True):
        assert title.split()[0] == f"{raw.cells[cell]['x']:,}"
        for arm, text in zip(("reactor", "threads"), values, strict=True):
            number, _, unit = text.partition(" ")
            if unit == "requests/s":
                assert agrees(number, raw.median(cell, arm, "rate")), title
            elif unit == "µs":
                assert agrees(number, raw.median(cell, arm, "cpu_us")), title
            elif unit == "KiB":
                assert sized(text, raw.memory(cell, arm)), title
            else:
                assert timed(text, raw.tail(cell, arm)), title
        for arm, text in zip(("reactor", "threads"), served.split(" / "), strict=True):
            assert shared(text, raw.served(cell, arm)), title


def test_the_machine_of_the_readme_is_that_of_the_run(raw: Raw) -> None:
    machine = raw.run["machine"]
    text = " ".join(README.split())
    kernel = ".".join(machine["kernel"].split(".")[:2])
    assert f"{machine['processor']} virtual machine" in text
    assert f"Python {machine['python']}, Linux {kernel}" in text
    assert machine["cores"] == 2
    assert "two cores of" in text


def figures_in(text: str) -> list[str]:
    """The numbers of a text."""
    return re.findall(r"(?<![\w.,-])\d[\d,]*(?:\.\d+)?(?![\w-])", text)


def test_the_figures_of_the_verdict_follow_from_the_raw_data(raw: Raw) -> None:
    """Each sentence has just these figures, in this order."""
    ours, theirs = "reactor", "threads"
    rates = [raw.median("block-64", arm, "rate") or 0.0 for arm in (ours, theirs)]
    most = max(x for x in FROM_8 if raw.median(f"keepalive-{x}", theirs, "cpu_us"))
    costs = [
        raw.median(f"keepalive-{x}", arm, "cpu_us") or 0.0
        for arm in (ours, theirs)
        for x in (1, most)
    ]
    memory = [raw.memory("idle-10000", arm) or 0.0 for arm in (ours, theirs)]
    waits = [(raw.bystander("slow-heads-4000", arm) or 0.0) * 1000 for arm in (ours, theirs)]
    rate = max(x for x in MIXES if all(raw.tail(f"mix-{x}", arm) for arm in BOTH))
    mix = [raw.median(f"mix-{rate}", arm, "cpu_us") or 0.0 for arm in (ours, theirs)]
    tails = [(raw.tail(f"mix-{rate}", arm) or 0.0) * 1000 for arm in (ours, theirs)]
    share = (raw.served(f"keepalive-{most}", theirs) or 0.0) * 100
    logs = []
    for x in (1, *FROM_8):
        mine, other = (raw.median(f"keepalive-{x}", arm, "cpu_us") for arm in (ours, theirs))
        if mine and other:
            logs.append((x, math.log(mine / other)))
    (low, first), (high, last) = next(two for two in pairwise(logs) if two[0][1] > 0 > two[1][1])
    crossing = low * (high / low) ** (first / (first - last))
    expected = {
        "Handlers that block": [20, rates[1] / rates[0], 64, *rates],
        "CPU per request": [costs[0], 1, costs[1], most, costs[2], costs[3], share, crossing],
        "The same offered load": [rate, *mix, *tails],
        "Memory": [10_000, memory[0] / 1024, memory[1] / 1024, memory[1] / memory[0]],
        "Bystanders": [4000, *waits],
    }
    for one in figures(PUBLISHED)["verdict"]:
        found = figures_in(one["text"])
        pairs = list(zip(found, expected[one["topic"]], strict=True))
        assert all(agrees(text, value) for text, value in pairs), (one["text"], pairs)
        assert html.escape(one["text"], quote=False) in REPORT


def test_the_prose_around_the_tables_has_no_figures() -> None:
    """A figure in a sentence would be forgotten when the run is made anew."""
    section = PAGE[PAGE.index("## One loop or many threads") :]
    prose = section[: section.index("The reactor loses in")]
    allowed = {"p99", "99", "100", "10"}  # in meanings of words
    assert set(re.findall(r"\w*\d[\w.,]*\b", prose)) <= allowed
