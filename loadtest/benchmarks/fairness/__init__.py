"""The latency of bystanders beside crowds, and what the crowds themselves get.

A bystander asks for 13 bytes every 4 ms. One uses keep-alive connections, another makes a new
connection for each request. Latencies count from when a request was due, by a fixed schedule, so a
stall of 100 ms counts for all 25 requests that were due in it. Beside them a crowd does one of:

    idle             nobody else: the noise of the machine
    slow-readers     500 clients come at once and read a file of 10 MiB at 4 KiB/s each
    many-readers     4,000 clients come at once and read a file of 1 MiB at 4 KiB/s each
    burst            1,000 clients connect and ask at once, three times
    closing          a process with 5,000 idle keep-alive connections is killed
    pipelines        50 clients send requests as fast as they can, and read no response
    pipelines-read   50 clients do the same and read all responses
    downloads        64 downloads of 10 MiB at full speed, again and again
    mix              8 downloads at full speed and 32 that take 1 MB/s each
    starving         8 downloads at full speed beside 64 connections with tiny requests

Each measurement has a fresh server, which has served a few requests, on a core of its own. All
clients share another core, where bystanders run before the crowd: in real time where the user may
do that, otherwise because the crowd has the lowest priority. Percentiles are of the requests that
were due in a case's windows: from the start of what the crowd does until it is over, and for a
second at least (half a second for each burst); or 3 s where the crowd goes on. A request without a
correct response misses the bound. The figure of a case is the median of the rounds.

The arms are this checkout (`reactor`), another one (`before`, with `--against DIRECTORY`) and
nginx. They are interleaved: every round measures all cases, each on all arms in turn. Our arms
write their access log to a file, nginx writes none.

The server's share of its time for downloads in `starving` is computed: bytes taken beside the tiny
requests, times the CPU time of a byte when the downloads are alone, over the server's CPU time.

cases.py has what the crowds do, trial.py a server with its bystanders, arms.py the servers, and
report.py the bounds and tables.

    python -m loadtest.benchmarks.fairness --rounds 5 --idle 10000 --against DIRECTORY --json FILE
"""
