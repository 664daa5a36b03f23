"""The wall clock as HTTP and logs write it, made once a second.

Every answer has a Date (RFC 9110, section 6.6.1) and every log line a time, both with a resolution
of a second. They are formatted when the second has changed and somebody asks.
"""

import time

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def http_date(seconds: float) -> str:
    """`seconds` since the epoch as an IMF-fixdate (RFC 9110, section 5.6.7)."""
    t = time.gmtime(seconds)
    return (
        f"{DAYS[t.tm_wday]}, {t.tm_mday:02} {MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def log_date(seconds: float) -> str:
    """`seconds` since the epoch as the Common Log Format has it, in UTC."""
    t = time.gmtime(seconds)
    return (
        f"{t.tm_mday:02}/{MONTHS[t.tm_mon - 1]}/{t.tm_year:04}"
        f":{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
    )


def log_time(seconds: float) -> str:
    """`seconds` since the epoch as RFC 3339 has it, in UTC: up to the second, without its zone."""
    t = time.gmtime(seconds)
    return f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
