"""The options of a process that serves: where it listens, and what its logs look like."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from reactor.config import types
from reactor.config.options import Section, several, switch, value
from reactor.observe.access_log import check_format

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
SERVER: Final = Section("server")
DEFAULT_HOST: Final = "127.0.0.1"

_server = partial(value, SERVER)


def log_format(text: str) -> str:
    """A format of the access log."""
    check_format(text)
    return text


@dataclass(frozen=True)
class ServeOptions:
    """Where to listen, and how to log; see `reactor.serve`. Raises ValueError for a wrong value."""

    host: Sequence[str] = several(
        SERVER,
        "--host",
        "HOST",
        types.host,
        f"name or address to listen on, at --port ({DEFAULT_HOST}, unless --host or --bind says "
        "otherwise); :: and an empty one stand for every address of the machine",
    )
    port: int = _server(
        4221, "port to listen on; 0: any free one", parse=types.port, metavar="PORT"
    )
    bind: Sequence[types.ListenPlace] = several(
        SERVER,
        "--bind",
        "ADDRESS[:PORT]",
        types.place,
        "name or address to listen on besides those of --host, with a port of its own: "
        "127.0.0.1:8080, [::1]:8080, localhost, or :8080 for every address; without a port "
        "--port counts",
        short="-b",
    )
    access_log: str = _server(
        "-",
        "where the access log goes, a line for each request: a path, - for standard output, or off",
        metavar="-|PATH|off",
    )
    access_log_format: str = _server(
        "common",
        "common, combined, json, or a text with gunicorn's atoms, as in '%(h)s \"%(r)s\" %(s)s'",
        parse=log_format,
        metavar="FORMAT",
    )
    error_log: str = _server(
        "-",
        "where the error log goes: a path, or - for standard error; SIGUSR1 opens the files of "
        "both logs anew, SIGUSR2 writes the server's state into this one",
        metavar="-|PATH",
    )
    log_level: str = _server(
        "info",
        f"the lowest level that the error log takes: {', '.join(LOG_LEVELS)}",
        parse=types.one_of(LOG_LEVELS),
        metavar="LEVEL",
    )
    server_header: str = _server(
        "reactor", "value of the Server field; empty: no such field", parse=types.server_header
    )
    date_header: bool = switch(
        SERVER, True, "--no-date-header", "send no Date field, on a machine without a clock"
    )

    @property
    def places(self) -> list[tuple[str, int]]:
        """The hosts to listen on, with their ports."""
        hosts = self.host or (() if self.bind else (DEFAULT_HOST,))
        return [(host, self.port) for host in hosts] + self.with_ports(self.bind)

    def with_ports(self, places: Sequence[types.ListenPlace]) -> list[tuple[str, int]]:
        """Places, with --port where one names none."""
        return [(one.host, self.port if one.port is None else one.port) for one in places]

    def __post_init__(self) -> None:
        types.port(str(self.port))
        types.one_of(LOG_LEVELS)(self.log_level)
        types.server_header(self.server_header)
        check_format(self.access_log_format)
