"""Sockets: the one package that receives, sends and accepts.

Read transport.py first (one connected socket in the loop), then send_queue.py (bytes and file
regions that wait to be sent), listener.py (listening sockets) and min_rate.py (the deadline of a
slow peer).

Nothing here knows the protocol: bytes are handed on and never looked at.
"""
