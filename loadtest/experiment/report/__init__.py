"""The report: summary.py computes every figure, the other modules show them.

comparison.py, targets.py, verdict.py, changes.py and lessons.py draw conclusions; svg.py, lines.py,
charts.py and heatmap.py draw plots; columns.py, tables.py, html.py and page.py make the page,
markdown.py the tables of docs/performance.md, export.py the JSON; write.py writes all of it into a
directory.
"""
