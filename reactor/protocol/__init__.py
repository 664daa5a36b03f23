"""HTTP/1.x as pure functions and small state machines: bytes to messages and back.

Read request_parser.py first, then field_lines.py (the fields of a head), paths.py (what a decoded
path looks like), framing_fields.py (fields that are lists of options), head_errors.py (why a head
is refused), chunked.py (chunked coding and trailers), response_encoder.py and grammar.py (the
patterns that they share); dates.py formats and parses dates, reason_phrases.py has the phrases of
statuses. No module here does I/O, reads a clock or calls a handler.
"""
