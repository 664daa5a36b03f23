"""The README is short, its examples run, and its links, targets and figures are those of today."""

import re
from typing import Any

import pytest

import reactor
from reactor.testing import Client
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()
LINES = 150  # at most


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= LINES


def test_it_has_what_a_stranger_needs_in_this_order() -> None:
    assert re.findall(r"^## (.*)", README, re.M) == [
        "Start",
        "Serve a directory",
        "Write an application",
        "Five figures",
        "Read the code",
        "Documentation",
    ]


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each handler responds; `serve` is called with it and not carried out."""
    served: list[Any] = []
    monkeypatch.setattr(reactor, "serve", lambda app, **options: served.append(app))
    application, callable_ = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(application, "README.md", "exec"), {"__name__": "__main__"})
    exec(compile(callable_, "README.md", "exec"), {"__name__": "__main__"})
    assert len(served) == 2
    with Client(served[0]) as client:
        assert client.get("/hello/you").json() == {"hello": "you"}
    with Client(served[1]) as client:
        assert client.get("/").text == "hello\n"


def test_the_figures_are_those_of_the_page_on_performance() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    table = README[README.index("|  | reactor | a thread each") : README.index("[The report]")]
    figures = re.findall(r"\d[\d,.]* (?:µs|ms|KiB|requests/s)(?= \|)", table)
    figures.remove("20 ms")  # in a title
    assert len(figures) == 9, "and a latency of few connections"
    for figure in figures:
        number, unit = figure.split()
        assert figure in page or (unit != "KiB" and number in page), figure


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_make_target_of_the_readme_is_one() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"(?:^    |`)make ([a-z-]+)", README, re.M)
    assert {"run", "test", "test-fast"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target
