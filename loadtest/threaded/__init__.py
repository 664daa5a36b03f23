"""The twin: the same protocol code and handlers with a thread for each connection.

`python -m loadtest.threaded`. Read server.py first (how threads begin and end), then transport.py
(a thread's loop, and a transport whose calls wait), secure.py (the same over TLS), monitor.py (the
guard of the methods that threads must not run at once), shared.py (memory, clock and log for all
threads) and command_line.py.
"""
