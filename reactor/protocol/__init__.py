"""HTTP/1.x as pure functions and small state machines: bytes to messages and back.

Read request_parser.py first, then chunked.py (chunked coding and trailers), response_encoder.py and
grammar.py (the patterns that they share); dates.py formats dates. No I/O, no clock, no handler.
"""
