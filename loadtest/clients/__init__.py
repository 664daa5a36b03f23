"""Load generators: each is a program of its own, on a core of its own.

closed_loop.py sends its next request when it has the response; open_loop.py sends a request when it
is due, however slow the server is. slow_crowds.py, stress_crowds.py and bulk_crowds.py hold many
connections, handshakes.py makes new ones. connection.py, secure.py (TLS) and histogram.py are
shared. wrk.py drives wrk with wrk_heads.lua; wrk_paths.lua is for `loadtest.benchmarks.routes`,
wrk_report.lua for the experiment.
"""
