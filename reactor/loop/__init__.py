"""The event loop: wait, now, events, timers, soon.

Read reactor.py first: one turn of the loop is one function. timers.py holds the deadlines that the
loop fires, waker.py interrupts its wait from other threads, slow_callbacks.py logs callbacks that
hold it, and describe.py names a callback for the log.

The loop does not know what a connection is, and it owns no socket but the waker's pair.
"""
