"""The report of a run, made from its raw data alone, and again whenever that is wished for.

A folder has raw.jsonl, and previous.json where there was a run before. What is made of them lies
beside: index.html for readers, report.json for programs, table.md for the README, and each plot as
a file. The same input gives the same bytes. A plot that there is nothing to draw for has no file,
and one of an older run is taken away, for it would be taken for this run's.
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


def write(folder: Path) -> None:
    """Raises OSError where a file cannot be read or written, ValueError for bad raw data."""
    path = folder / samples.FILE
    try:
        recorded = samples.read(path)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not of this make: {error}") from error
    summary = summarized(recorded)
    plots = charts(summary)
    for name, text in texts(summary, plots, folder).items():
        (folder / name).write_text(text, encoding="utf-8")
    for plot in plots:
        _write(folder / plot.file, plot)


def texts(summary: Summary, plots: Sequence[Plot], folder: Path) -> dict[str, str]:
    """What is written beside the plots, by the names of the files."""
    return {
        PAGE: page(summary, plots, changes(summary, folder)),
        FIGURES: exported(summary),
        TABLE: markdown(summary),
    }


def _write(path: Path, plot: Plot) -> None:
    if plot.svg:
        path.write_text(plot.svg, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
