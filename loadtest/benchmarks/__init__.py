"""CPU time, memory and latency of the server, beside a raw loop and other servers in the same run.

    python -m loadtest.benchmarks.cpu       CPU time per request
    python -m loadtest.benchmarks.files     CPU time per file, and a bystander's latency
    python -m loadtest.benchmarks.routes    CPU time per request of an application
    python -m loadtest.benchmarks.memory    memory of idle connections, slow and large transfers
    python -m loadtest.benchmarks.fairness  latency of bystanders beside crowds
    python -m loadtest.benchmarks.tls       CPU time, memory and bystanders over TLS

common.py is the command line and the loop of files.py and routes.py, workloads.py has the requests
of cpu.py, peers.py starts the other servers, subject.py the server under test with its clients.
figures.py collects what was measured, tables.py turns numbers into text.
"""
