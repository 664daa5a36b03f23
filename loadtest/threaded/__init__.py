"""The twin: the same protocol code and handlers with a thread for each connection.

`python -m loadtest.threaded`. Read server.py first, then transport.py (the connection's transport
with blocking calls) and monitor.py (what makes shared objects safe for threads).
"""
