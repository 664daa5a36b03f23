"""The published report: made of a full run from its raw data, and shown on the page Performance."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from loadtest.experiment.measure import samples
from loadtest.experiment.report.write import write
from tests.support.paths import ROOT

PUBLISHED = ROOT / "docs" / "experiment"
PAGE = (ROOT / "docs" / "performance.md").read_text()


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
