"""HTTP/1.1 and its relatives as pure functions of bytes: no I/O, no clock, no logging."""
