"""Futures, coroutines and the thread pool.

Read futures.py first (a Future is a result that is not there yet), then operations.py (what a
coroutine yields), task.py (what runs a coroutine), thread_pool.py, combinators.py (gather and
timeout), broadcast.py (one publisher, many readers), heartbeat.py (a sign of life in a silent
stream) and semaphore.py (a shared amount).

No module here knows a socket or a request.
"""
