"""Scenarios for locust: users of the application of `loadtest.apps.target`.

    users.py         users that send a request and read the response
    held_users.py    users that hold a connection: the slow reader, the listener to events
    open_loop.py     requests that are sent when they are due, while others still wait
    schedule.py      which requests these are, and when: the same for the same seed
    checks.py        checks of the responses
    load_stages.py   the number of users over time: steps, spike, soak
    shapes.py        the same as classes of locust
    hooks.py         our options, the limits for the exit status, the outcome as JSON
    outcome.py       the results of a run, in histograms that can be merged

    run.py           a run at a fixed rate, for another program
    servers.py       the servers that are compared, with files to serve
    web.py           `make locust`: locust's page, for both servers
    bench.py         `make bench-locust`: without a page, and with a table at the end

Modules are imported by their full names. locust puts the directory of its file on `sys.path`, so
`clients` and `scenarios` could be imported as well, as second copies of these packages.
"""
