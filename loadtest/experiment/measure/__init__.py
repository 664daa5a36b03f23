"""Measuring: samples.py (what is kept of a measurement) first, then arms.py (the servers),
sample_server.py (one server and its surroundings), generators.py and workloads.py (the load),
memory_breakdown.py, plans.py (which cells in which run) and harness.py (the rules).
"""
