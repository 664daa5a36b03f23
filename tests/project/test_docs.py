"""The examples in docs/ run: the Python of a page, from top to bottom, is one program."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def program(text: str) -> str:
    """The page's Python, each line where it stands in the page."""
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for place, line in enumerate(block[1].splitlines(), first):
            lines[place] = line
    return "\n".join(lines)


@pytest.mark.system
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.stem == "whole-application":
        pytest.skip("test_whole_application.py runs it, in the two files that it stands for")
    source = program(page.read_text())
    if not source.strip():
        pytest.skip("a page without Python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": page.stem}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(source, str(page), "exec"), names)
    client = names.get("client")
    if client is not None:
        client.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), link


def test_the_index_lists_every_page() -> None:
    links = set(LINK.findall((ROOT / "docs" / "index.md").read_text()))
    assert {page.name for page in PAGES} - links == {"index.md"}


def test_there_are_pages() -> None:
    assert {page.stem for page in PAGES} >= {
        "index",
        "files",
        "operating",
        "performance",
        "routing",
        "middlewares",
        "streaming",
        "testing",
        "logging",
    }
