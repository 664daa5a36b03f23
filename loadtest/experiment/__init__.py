"""The experiment: the same protocol and handlers on one loop and on a thread per connection.

    python -m loadtest.experiment quick      6 cells, one round
    python -m loadtest.experiment bench      a dozen cells, five rounds
    python -m loadtest.experiment full       everything
    python -m loadtest.experiment report     the report again, from the raw data

measure/ takes the samples, report/ turns them into pages, tables and pictures.

Whether the harness notices what it should is asked by `python -m loadtest.selftest`.
"""
