"""The limits and timeouts of the server itself.

The suffix of a name is its unit: `_timeout`, `_delay`, `_age` and `_idle` are in seconds, `_bytes`
in bytes, `_rate` in bytes per second; a plural without one of these is a count. `slow_callback` is
a time, too. Each field is an option of the command line (`idle_timeout` is `--idle-timeout`) and a
row of docs/options.md.

The packages of the application layer add tables of their own: see web/limits.py, whose `Limits` has
all fields. How much one connection may do within one turn of the loop is no limit in this sense: it
is a named constant beside the code that needs it.
"""

from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final, Self

from reactor.config.options import Section, Unit, check, limit

CONNECTIONS: Final = Section("limits of connections")
REQUESTS: Final = Section("limits of requests")
RESOURCES: Final = Section("limits of threads and logs")

_connection = partial(limit, CONNECTIONS)
_request = partial(limit, REQUESTS)
_resource = partial(limit, RESOURCES)


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """The limits of one server. Raises ValueError for a value that is out of its range."""

    connections: int = _connection(
        0, Unit.COUNT, "open connections; 0: as many as RLIMIT_NOFILE allows", least=0
    )
    backlog: int = _connection(
        4096, Unit.COUNT, "connections that the kernel holds until they are accepted"
    )
    idle_timeout: float = _connection(
        75.0, Unit.SECONDS, "how long a keep-alive connection may stay idle"
    )
    head_timeout: float = _connection(
        10.0, Unit.SECONDS, "how long a client may take to send the head of a request"
    )
    tls_handshake_timeout: float = _connection(
        10.0, Unit.SECONDS, "how long the handshake of a TLS connection may take"
    )
    handler_timeout: float = _connection(
        60.0,
        Unit.SECONDS,
        "how long a handler may take until its response begins; then 503; 0: no limit",
        least=0,
    )
    min_rate: float = _connection(
        500.0,
        Unit.RATE,
        "the least rate at which a body must move, in either direction; 0: any rate",
        least=0,
    )
    min_rate_timeout: float = _connection(
        20.0, Unit.SECONDS, "how long a body may move more slowly than that"
    )
    unread_body_timeout: float = _connection(
        1.0,
        Unit.SECONDS,
        "how long the rest of an unread body is awaited behind its response; then the connection "
        "is closed",
    )
    half_closed_timeout: float = _connection(
        10.0, Unit.SECONDS, "how long a handler may go on after its client has sent a FIN"
    )
    linger_timeout: float = _connection(
        2.0, Unit.SECONDS, "how long a closing connection waits for a FIN after the last byte"
    )
    linger_total_timeout: float = _connection(
        30.0, Unit.SECONDS, "how long a closing connection waits for a FIN in all"
    )
    cancel_timeout: float = _connection(
        1.0, Unit.SECONDS, "how long a cancelled handler may clean up"
    )
    shutdown_delay: float = _connection(
        0.0,
        Unit.SECONDS,
        "how long clients are still accepted after SIGTERM, while the server says that it drains",
        least=0,
    )
    shutdown_timeout: float = _connection(
        10.0, Unit.SECONDS, "how long running requests may go on after SIGTERM", least=0
    )
    start_timeout: float = _connection(
        60.0,
        Unit.SECONDS,
        "how long each function of on_start may take; then the start fails; 0: no limit",
        least=0,
    )
    stop_timeout: float = _connection(
        10.0,
        Unit.SECONDS,
        "how long each function of on_stop may take; then it is cancelled; 0: no limit",
        least=0,
    )

    request_line_bytes: int = _request(8 * 1024, Unit.BYTES, "the request line; longer: 414")
    head_bytes: int = _request(32 * 1024, Unit.BYTES, "the head of a request; longer: 431")
    head_fields: int = _request(
        100, Unit.COUNT, "fields in a head, or in the trailers of a body; more: 431"
    )
    trailer_bytes: int = _request(
        8 * 1024, Unit.BYTES, "the trailers of a chunked body; longer: 431"
    )
    surplus_bytes: int = _request(
        64 * 1024,
        Unit.BYTES,
        "bytes received behind a request that is served; then the client waits",
    )
    unread_body_bytes: int = _request(
        64 * 1024,
        Unit.BYTES,
        "the rest of an unread body that is dropped behind its response; longer: the connection is "
        "closed",
        least=0,
    )
    memory_body_bytes: int = _request(
        1024 * 1024, Unit.BYTES, "a body that is held in memory; longer: 413"
    )
    memory_bodies_bytes: int = _request(
        64 * 1024 * 1024,
        Unit.BYTES,
        "the bytes that have arrived of all such bodies; more of them wait",
    )
    memory_client_bytes: int = _request(
        0,
        Unit.BYTES,
        "the same for the bodies of one client, an IPv4 address or an IPv6 /56; "
        "0: a quarter of all",
        least=0,
    )
    memory_timeout: float = _request(
        5.0, Unit.SECONDS, "how long a body may wait for such memory, in all; then 503"
    )
    slow_body_timeout: float = _request(
        30.0,
        Unit.SECONDS,
        "how long a body in memory may take to arrive, and its response to be read, while another "
        "one waits; then 408, or a reset",
    )
    small_body_bytes: int = _request(
        16 * 1024,
        Unit.BYTES,
        "the beginning of a body, which is held without waiting and not counted; all that is "
        "held of a body that is read piece by piece",
        least=0,
    )
    upload_bytes: int = _request(1024**3, Unit.BYTES, "the body of any request; longer: 413")

    pool_threads: int = _resource(
        8, Unit.COUNT, "threads for file I/O; compression and logs have two of their own each"
    )
    pool_jobs: int = _resource(
        256, Unit.COUNT, "jobs of one kind (file, compression, stream, log) that wait for a thread"
    )
    pool_timeout: float = _resource(
        5.0, Unit.SECONDS, "how long a job may wait for a place among these; then 503"
    )
    after_calls: int = _resource(
        1000,
        Unit.COUNT,
        "calls of request.after that are registered, wait or run; more: 503",
    )
    slow_callback: float = _resource(
        0.1, Unit.SECONDS, "a callback that holds the loop longer is logged; 0: none is", least=0
    )
    log_bytes: int = _resource(
        4 * 1024 * 1024,
        Unit.BYTES,
        "log lines held while their disk or reader is slow; more are lost",
    )
    log_field_bytes: int = _resource(
        1024, Unit.BYTES, "one field of a request in a line of the access log; the rest is cut off"
    )

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def of(cls, limits: "ServerLimits") -> Self:
        """The limits themselves, or, where they have not all fields of this table, with those."""
        if isinstance(limits, cls):
            return limits
        names = {one.name for one in fields(cls)}
        known: dict[str, Any] = {key: one for key, one in vars(limits).items() if key in names}
        return cls(**known)
