"""Writes the report of a run, from its raw data alone, as often as needed.

The directory has raw.jsonl, and previous.json where there was a previous run. The report is written
beside them: index.html for readers, report.json for programs, table.md for docs/performance.md, and
each plot as a file. The same input makes the same bytes. A plot without figures has no file, and a
file that an older run left is removed.
"""

from collections.abc import Sequence
from pathlib import Path

from loadtest.experiment.measure import samples
from loadtest.experiment.report.changes import changes
from loadtest.experiment.report.charts import charts
from loadtest.experiment.report.export import exported
from loadtest.experiment.report.markdown import markdown
from loadtest.experiment.report.page import page
from loadtest.experiment.report.summary import Summary, summarized
from loadtest.experiment.report.svg import Plot

PAGE = "index.html"
FIGURES = "report.json"
TABLE = "table.md"


def write(directory: Path) -> None:
    """Write the report of the raw data in `directory`.

    Raises OSError where a file cannot be read or written, ValueError for malformed raw data.
    """
    path = directory / samples.FILE
    try:
        recorded = samples.read(path)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has another format: {error}") from error
    summary = summarized(recorded)
    plots = charts(summary)
    for name, text in texts(summary, plots, directory).items():
        (directory / name).write_text(text, encoding="utf-8")
    for plot in plots:
        _write(directory / plot.file, plot)


def texts(summary: Summary, plots: Sequence[Plot], directory: Path) -> dict[str, str]:
    """The contents of the files except the plots, by their names."""
    return {
        PAGE: page(summary, plots, changes(summary, directory)),
        FIGURES: exported(summary),
        TABLE: markdown(summary),
    }


def _write(path: Path, plot: Plot) -> None:
    if plot.svg:
        path.write_text(plot.svg, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
