"""Load tests and benchmarks: programs that are run by hand, on Linux.

    python -m loadtest.benchmarks.cpu      CPU time per request, beside a raw loop and other servers
    python -m loadtest.benchmarks.files    CPU time per file, beside nginx
    python -m loadtest.benchmarks.routes   CPU time per request of an application, beside Starlette
    python -m loadtest.benchmarks.memory   memory of idle connections, slow readers, large transfers
    python -m loadtest.benchmarks.fairness latency of bystanders beside crowds, and what crowds get
    python -m loadtest.benchmarks.tls      CPU time, memory and bystanders over TLS
    python -m loadtest.experiment bench    one loop beside a thread for each connection: a report
    python -m loadtest.selftest            whether the experiment notices a server that stalls
    python -m loadtest.scenarios.web       locust's page, for both servers
    python -m loadtest.scenarios.bench     locust without its page, with a table at the end
    python -m loadtest.threaded            the same server with threads in place of the loop

apps/ has the applications that are served, clients/ the load generators, threaded/ the second
server. system.py starts processes and reads their CPU time and memory; system_idle.py says whether
the machine is quiet enough to measure on.
"""
