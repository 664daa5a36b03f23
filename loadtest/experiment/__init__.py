"""The experiment: the same protocol and handlers on one loop and on a thread per connection.

    python -m loadtest.experiment quick      6 cells, one round
    python -m loadtest.experiment bench      a dozen cells, five rounds
    python -m loadtest.experiment full       all cells, five rounds, other servers too
    python -m loadtest.experiment report     the report again, from the raw data

measure/ takes the samples, report/ turns them into a page, tables and plots. The program
`python -m loadtest.selftest` checks that the harness notices a server that stalls.
"""
