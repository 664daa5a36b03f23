"""CPU time and memory of the server as ratios to a raw loop and to other servers, in one run.

    python -m loadtest.benchmarks.cpu       CPU time per request
    python -m loadtest.benchmarks.files     CPU time per file
    python -m loadtest.benchmarks.routes    CPU time per request of an application
    python -m loadtest.benchmarks.memory    memory of idle connections and slow or large transfers

common.py runs what the first three share, peers.py starts the servers, tables.py prints.
"""
