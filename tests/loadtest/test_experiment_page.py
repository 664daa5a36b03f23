"""The published report in a browser: short until it is unfolded, legible, and never too wide.

The page is the one in docs/experiment, which a test of its own compares with its raw data.
"""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from loadtest.experiment.report.words import WORDS
from tests.support.chromium import PROGRAM, Page
from tests.support.paths import ROOT

REPORT = ROOT / "docs" / "experiment" / "index.html"
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
browsers = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
UNFOLD = "for (const one of document.querySelectorAll('details')) one.open = true"

# Texts with less contrast than 4.5:1 to what is behind them; large ones need no more than 3:1,
# which is not made use of. A text of a plot stands on its figure, or on a field of the heat map.
PALE = """(() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = text => {
    const [r, g, b] = channels(text).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const pale = new Set();
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(one => one.nodeType === 3 && one.data.trim());
    if (!own || ['STYLE', 'title', 'desc'].includes(node.tagName) || !node.checkVisibility())
      continue;
    const style = getComputedStyle(node);
    const ink = node instanceof SVGElement ? style.fill : style.color;
    if (node.closest('figure.wide') && node instanceof SVGElement) continue;
    const [a, b] = [light(ink), light(behind(node))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) pale.add(`${node.textContent.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return [...pale];
})()"""


class Visible(HTMLParser):
    """The texts of a page that are not folded, and the words explained in them."""

    def __init__(self) -> None:
        super().__init__()
        self.prose: list[str] = []  # without tables, labels of plots, and explanations of words
        self.all: list[tuple[str, bool]] = []  # each text, and whether it is an explained word
        self.tables = 0
        self._open: list[str] = []
        self.feed(REPORT.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br"}:
            self._open.append(tag)
        self.tables += tag == "table" and "details" not in self._open

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"style", "title", "desc", "code"} & set(self._open) or not data.strip():
            return
        self.all.append((data, "dfn" in self._open))
        folded = self._open.count("details") - ("summary" in self._open)
        if folded <= 0 and not {"table", "svg", "dl"} & set(self._open):
            self.prose.append(data)


def test_verdict_two_plots_and_losses_come_before_everything_folded() -> None:
    text = REPORT.read_text()
    parts = re.findall(r'<(h2|figure|table|details)\b(?: id="([\w-]+)")?', text)
    assert [name or kind for kind, name in parts[:7]] == [
        *("verdict", "plots", "figure", "figure", "losses", "table", "details"),
    ]
    assert Visible().tables == 1
    assert len(" ".join(Visible().prose).split()) < 600, "two minutes' reading"


def test_a_word_is_explained_where_it_stands_first() -> None:
    """In the text of the page, from above; the title and the headings of folded parts count."""
    texts = Visible().all
    for word in WORDS:
        if word in ("loses", "holds", "served", "threads", "round"):  # English words as well
            continue
        pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])", re.I)
        first = next(((one, explains) for one, explains in texts if pattern.search(one)), None)
        if first is not None:
            assert first[1], f"{word} stands first in: {first[0]}"


def test_explained_words_are_there_once() -> None:
    explained = [text for text, explains in Visible().all if explains]
    assert sorted(explained) == sorted(set(explained))
    assert set(explained) == set(WORDS)


@browsers
@pytest.mark.system
class TestInABrowser:
    @pytest.mark.parametrize("width", WIDTHS)
    def test_it_is_never_wider_than_its_window(self, page: Page, width: int) -> None:
        page.show(width, 900, "light")
        page.go(REPORT.as_uri())
        for script in ("0", UNFOLD):
            page.evaluate(script)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.complaints == []

    def test_it_is_short_until_it_is_unfolded(self, page: Page) -> None:
        page.show(1280, 900, "light")
        page.go(REPORT.as_uri())
        folded = page.evaluate("document.documentElement.scrollHeight")
        page.evaluate(UNFOLD)
        unfolded = page.evaluate("document.documentElement.scrollHeight")
        assert folded < 4200
        assert unfolded > 4 * folded

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_every_text_has_a_contrast_of_45_to_10(self, page: Page, scheme: str) -> None:
        page.show(1280, 900, scheme)
        page.go(REPORT.as_uri())
        page.evaluate(
            "document.querySelectorAll('details:not(details details details)')"
            ".forEach(one => { one.open = true })"
        )
        assert page.evaluate(PALE) == []

    def test_the_first_column_of_a_table_stays(self, page: Page) -> None:
        page.show(390, 900, "light")
        page.go(REPORT.as_uri())
        edges: Any = page.evaluate(
            """(() => {
              const frame = document.querySelector('#losses ~ .scroll');
              frame.scrollLeft = 200;
              const head = frame.querySelector('tbody th').getBoundingClientRect();
              return [frame.scrollLeft, frame.getBoundingClientRect().left, head.left];
            })()"""
        )
        assert edges[0] > 50, "it scrolls"
        assert edges[2] == pytest.approx(edges[1], abs=1)

    @pytest.mark.parametrize("width", WIDTHS)
    def test_labels_of_plots_are_legible_and_do_not_cover_each_other(
        self, page: Page, width: int
    ) -> None:
        page.show(width, 900, "light")
        page.go(REPORT.as_uri())
        page.evaluate("document.querySelector('#more-plots').closest('details').open = true")
        plots = page.evaluate(
            """[...document.querySelectorAll('figure')].map(figure => {
              const frame = figure.querySelector('svg').getBoundingClientRect();
              return [...figure.querySelectorAll('svg text')].map(text => {
                const box = text.getBoundingClientRect();
                return [text.textContent, box.left - frame.left, box.top - frame.top,
                        box.right - frame.left, box.bottom - frame.top, frame.width, frame.height];
              });
            })"""
        )
        assert len(plots) == 6
        for labels in plots:
            for text, left, top, right, bottom, most_right, most_down in labels:
                assert -1 <= left < right <= most_right + 1, text
                assert -1 <= top < bottom <= most_down + 1, text
                assert bottom - top >= 8, text
            for at, (one, *first) in enumerate(labels):
                for other, *second in labels[at + 1 :]:
                    across = min(first[2], second[2]) - max(first[0], second[0])
                    down = min(first[3], second[3]) - max(first[1], second[1])
                    assert across < 1 or down < 3, (one, other)


def test_plots_differ_without_colour() -> None:
    """Each line of an arm has dashes or is the only solid one, and each arm a marker of its own."""
    for name in ("cpu", "p99"):
        svg = (REPORT.parent / f"{name}.svg").read_text()
        dashes = set(re.findall(r"stroke-dasharray: ([\d. ,]+)", svg))
        assert len(dashes) >= 3, "threads, pool-32, and to hollow points"
        assert len(set(re.findall(r'xlink:href="#(m\w+)"', svg))) >= 5, "markers, full and hollow"
        for arm in ("reactor", "threads", "pool-32"):
            assert svg.count(f">{arm}</text>") == 1, "a label at the end of its line"


def test_files_of_plots_have_a_size(tmp_path: Path) -> None:
    """Otherwise a page that shows them makes them as wide as itself."""
    for path in REPORT.parent.glob("*.svg"):
        assert re.search(r'<svg [^>]*width="[\d.]+pt"', path.read_text()), path.name
