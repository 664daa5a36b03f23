"""The event loop: wait, now, events, timers, soon, bulk.

Read reactor.py first (one turn of the loop is one function), then scheduler.py (its timers and
queued callbacks) and timers.py (the deadlines). waker.py ends its wait from other threads.
tracer.py is the protocol of all that watches the loop, tracing.py makes its reports, and
slow_callbacks.py is a tracer that logs callbacks that hold the loop. describe.py names a callback
for the log.

The loop does not know what a connection is, and it owns no socket but the waker's pair.
"""
