"""Futures, coroutines and the thread pool.

Read futures.py first (a Future is a result that is not there yet), then operations.py (what a
coroutine yields), task.py (what runs a coroutine), thread_pool.py and crew.py (blocking calls, and
the threads that make them), combinators.py (gather, timeout and first_of), semaphore.py (an amount
that many share), single_flight.py (a job that many wait for), fair_turns.py (turns that go round
the clients), after_work.py (calls after a response), broadcast.py (one publisher, many readers),
heartbeat.py (a sign of life in a silent stream), guard.py (objects that connections share, where
threads call them) and foreign_loops.py (errors of asyncio's functions, explained).

No module here knows a socket or a request.
"""
