"""The options of a process that serves: where it listens, and what its logs look like."""

from dataclasses import dataclass
from typing import Final

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class ServeOptions:
    """Where to listen, and how to log; see `reactor.serve`."""

    host: str = "127.0.0.1"
    port: int = 4221
    access_log: str = "-"  # "-": standard output; "off"; otherwise a path
    access_log_format: str = "common"
    error_log: str = "-"  # "-": standard error; otherwise a path
    log_level: str = "info"
    server_header: str = "reactor"  # "": no such field
    date_header: bool = True
