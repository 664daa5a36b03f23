"""The experiment: the same protocol and handlers on one loop and on a thread per connection.

    python -m loadtest.experiment quick      6 cells, one round
    python -m loadtest.experiment bench      a dozen cells, five rounds
    python -m loadtest.experiment full       everything
    python -m loadtest.experiment report     the report again, from the raw data
    python -m loadtest.experiment selftest   does the harness notice a frozen server?

Read in this order: raw.py (what is kept of a measurement), arms.py (who is measured), workloads.py
(what is done to them), cells.py (which of it in which run), harness.py (the rules), report.py.
"""
