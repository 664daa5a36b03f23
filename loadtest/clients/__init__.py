"""Load generators: each is a program of its own, on a core of its own.

closed_loop.py asks again when it has the answer; open_loop.py asks when a request is due, whatever
the server does. slow_crowds.py and stress_crowds.py hold many connections. connection.py and
histogram.py are shared; wrk.py drives wrk with the scripts beside it.
"""
