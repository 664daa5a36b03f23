"""A server: it accepts connections, shares what they have in common, and shuts down in order.

Read server.py first, then admission.py (how many connections the process can hold) and
state_dump.py (what SIGUSR2 writes into the error log).
"""
