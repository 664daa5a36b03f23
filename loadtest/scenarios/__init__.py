"""Scenarios for locust: who visits the application of `loadtest.apps.target`, how often, and how
many.

    users.py      those who ask and read: hello, browser, uploader, blocking, burning
    streams.py    those who hold a connection: the slow reader, the listener to events
    openloop.py   requests that are sent when they are due, whether or not answers come
    mix.py        which requests these are, and when: the same for the same seed
    checks.py     what a right answer is
    stages.py     how many users there are over time: steps, spike, soak
    shapes.py     the same for locust
    hooks.py      options of our own, the limits for the exit status, the outcome as JSON
    outcome.py    what came of a run, in histograms that can be merged

    run.py        a run at a fixed rate, for another program
    servers.py    the servers that are compared, with files to serve
    web.py        `make locust`: locust's page, on both servers
    bench.py      `make bench-locust`: without a page, and a table at the end

Modules are imported by their whole names only. locust puts the folder of its file on `sys.path`, so
`client` and `scenarios` would be importable as well, as second copies of what is here.
"""
