"""The experiment: the same protocol and handlers on one loop and on a thread per connection.

    python -m loadtest.experiment quick      6 cells, one round
    python -m loadtest.experiment bench      a dozen cells, five rounds
    python -m loadtest.experiment full       everything
    python -m loadtest.experiment report     the report again, from the raw data

Measuring, in the order in which to read it: raw.py (what is kept of a measurement), arms.py (who is
measured), setting.py (one server and its surroundings), generators.py and workloads.py (what is
done to it), memory.py, cells.py (which of it in which run), harness.py (the rules).

Telling: summary.py (every figure is made there), comparing.py, targets.py, verdict.py, changes.py
and lessons.py (what follows from them), plots.py, charts.py and heatmap.py (pictures), columns.py,
tables.py, markup.py and page.py (the page), markdown.py (the README's tables), export.py (JSON),
report.py (all of it into a folder).

Whether the harness notices what it should is asked by `python -m loadtest.selftest`.
"""
