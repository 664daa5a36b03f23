"""Measuring. In the order in which to read it:

samples.py (what is kept of a measurement), served.py (the share of clients with a response),
arms.py (the servers that are compared), sample_server.py (one server while it is measured),
generators.py and workloads.py (the load), memory_breakdown.py, plans.py (which cells each plan
has), harness.py (the rules of a run).
"""
