"""The report: every figure is made in summary.py, the rest shows them.

comparison.py, targets.py, verdict.py, changes.py and lessons.py draw conclusions; svg.py, charts.py
and heatmap.py draw pictures; columns.py, tables.py, html.py and page.py make the page, markdown.py
tables for the README, export.py JSON; write.py puts all of it into a directory.
"""
