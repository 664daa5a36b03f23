"""A server: it accepts connections, shares what they have in common, and shuts down in order.

Read server.py first, then admission.py (the limit of connections, and what happens above it),
listeners.py (the way in at each listener, TLS), shutdown.py (delay, drain, abort), lifecycle.py (an
application's start, end and periodic tasks), logs.py (the files that the server writes lines into),
interpreter.py (settings of Python for a process that serves) and state_dump.py (what SIGUSR2 writes
into the error log).
"""
