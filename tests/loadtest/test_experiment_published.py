"""The report that the repository shows: of a full run, of its raw data, and in the README."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from loadtest.experiment.measure import samples
from loadtest.experiment.report.write import write
from tests.support.paths import ROOT

PUBLISHED = ROOT / "docs" / "experiment"
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    shutil.copyfile(PUBLISHED / samples.FILE, folder / samples.FILE)
    write(folder)
    return folder


def figures(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_text())


def test_it_is_of_a_full_run_that_came_to_its_end() -> None:
    recorded = samples.read(PUBLISHED / samples.FILE)
    assert recorded.ended
    assert recorded.run.plan == "full"
    assert recorded.run.rounds >= 5
    planned = sum(len(cell.arms) for cell in recorded.run.cells) * recorded.run.rounds
    assert len(recorded.samples) == planned


def test_it_says_what_its_raw_data_say(again: Path) -> None:
    assert figures(again) == figures(PUBLISHED)
    assert (again / "table.md").read_text() == (PUBLISHED / "table.md").read_text()


def test_the_readme_has_its_table_and_its_pictures() -> None:
    assert (PUBLISHED / "table.md").read_text().strip() in README
    for name in ("cpu.svg", "p99.svg"):
        assert f"](docs/experiment/{name})" in README
        assert (PUBLISHED / name).read_text().lstrip().startswith("<?xml")
