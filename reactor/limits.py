"""Every limit and every timeout, in one place.

The suffix of a name is its unit: `_timeout`, `_delay`, `_age` and `_idle` are in seconds, `_bytes`
in bytes, `_rate` in bytes per second; a plural without one of these is a count. `slow_callback` is
a time, too. The command line makes an option of each field (`idle_timeout` is `--idle-timeout`),
the README a row of its table, from the metadata here.

What only the mechanism cares about (how much one connection may do within one turn of the loop) is
a named constant beside the code that needs it.
"""

from dataclasses import dataclass, field, fields
from typing import Any


def _limit(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server. Raises ValueError for a negative or, mostly, a zero value."""

    connections: int = _limit(0, "open connections; 0: as many as RLIMIT_NOFILE allows")
    backlog: int = _limit(4096, "connections the kernel holds until they are accepted")

    idle_timeout: float = _limit(75.0, "until the next request of a kept connection begins")
    head_timeout: float = _limit(10.0, "from the first byte of a request's head to its last")
    handler_timeout: float = _limit(60.0, "until a handler answers, then 503; 0: for ever")
    min_rate: float = _limit(500.0, "what a body must move, in either direction")
    min_rate_timeout: float = _limit(20.0, "how long a body may fall short of that rate")
    half_closed_timeout: float = _limit(10.0, "a handler goes on after its client sent a FIN")
    linger_timeout: float = _limit(2.0, "for the client's FIN, after its last byte")
    linger_total_timeout: float = _limit(30.0, "for the client's FIN, in all")
    cancel_timeout: float = _limit(1.0, "a cancelled handler has to clean up")
    shutdown_delay: float = _limit(0.0, "new clients are taken after SIGTERM; /readyz says 503")
    shutdown_timeout: float = _limit(10.0, "running requests go on after SIGTERM")

    request_line_bytes: int = _limit(8 * 1024, "a request line; longer: 414")
    head_bytes: int = _limit(32 * 1024, "a request's head; longer: 431")
    head_fields: int = _limit(100, "fields in a head or in trailers; more: 431")
    trailer_bytes: int = _limit(8 * 1024, "the trailers of a chunked body; longer: 431")
    memory_body_bytes: int = _limit(1024 * 1024, "a body that is held in memory; longer: 413")
    memory_bodies_bytes: int = _limit(64 * 1024 * 1024, "all such bodies together; beyond: wait")
    upload_bytes: int = _limit(1024**3, "any request's body; longer: 413")

    pool_threads: int = _limit(8, "threads for blocking file I/O and gzip")
    pool_jobs: int = _limit(256, "jobs that wait for a thread")
    pool_timeout: float = _limit(5.0, "a file job waits for a place among them, then 503")
    open_files: int = _limit(
        1024, "files kept open between requests; fewer where RLIMIT_NOFILE is low"
    )
    open_file_age: float = _limit(1.0, "an open file is served without another look at its name")
    open_file_idle: float = _limit(60.0, "a file that nobody asks for is kept open")
    small_file_bytes: int = _limit(16 * 1024, "an open file no longer is kept in memory as well")
    coded_bytes: int = _limit(64 * 1024 * 1024, "compressed files kept in memory")
    ranges: int = _limit(32, "ranges in one request; more: the whole file")
    listing_entries: int = _limit(100_000, "names in the page of a folder; the rest is left out")
    form_parts: int = _limit(1000, "parts of a form, or arguments of a query; more: 413, 414")
    form_head_bytes: int = _limit(8 * 1024, "the fields of a form's part; longer: 413")
    resumable_uploads: int = _limit(1000, "uploads that can be resumed, at a time; more: 507")
    resumable_bytes: int = _limit(16 * 1024**3, "all of these together; more: 507")
    resumable_age: float = _limit(86400.0, "such an upload is kept when nothing more comes")
    resumable_idle: float = _limit(
        3600.0, "such an upload keeps its room when nothing more comes and others need it"
    )
    slow_callback: float = _limit(
        0.1, "what holds the loop longer (in seconds) is named in the log; 0: nothing"
    )
    log_bytes: int = _limit(4 * 1024 * 1024, "log lines held while their disk is slow; then lost")

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            least = 0 if one.name in _MAY_BE_ZERO else 1 if isinstance(one.default, int) else 0.001
            if not least <= value <= 2**53:
                raise ValueError(f"{one.name} must be at least {least:g}, not {value:g}")


_MAY_BE_ZERO = {
    "small_file_bytes",
    "connections",
    "handler_timeout",
    "min_rate",
    "shutdown_delay",
    "shutdown_timeout",
    "slow_callback",
}
