"""The logs and the statistics of a server.

Read access_log.py first (a line for each request), then error_log.py (records of loggers),
escaping.py (text that clients have chosen), log_writer.py (writes both without waiting for the
disk), log_file.py (lines that are whole or not there), log_reporter.py (records a log that cannot
be written) and statistics.py (counters and durations).
"""
